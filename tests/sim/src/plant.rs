//! Bugs that are put in on purpose, to show that the laws would notice them. Each changes the simulated shell; the
//! machines under test are never touched.

use core::{fmt, str::FromStr};

macro_rules! plants {
    ($($(#[$meta:meta])* $variant:ident = $word:literal,)+) => {
        /// A bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Plant { $($(#[$meta])* $variant,)+ }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for Plant {
            type Err = UnknownPlant;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s { $($word => Ok(Self::$variant),)+ _ => Err(UnknownPlant(s.to_owned())) }
            }
        }
    };
}

plants! {
    /// A device's journal reaches the disk only after the frame that relies on it has left.
    PersistAfterSend = "persist-after-send",
    /// A device tells of a new key before the key is on the disk.
    KeyNotSynced = "key-not-synced",
    /// A device erases the old key as soon as the new certificate has arrived.
    EraseBeforeRecorded = "erase-before-recorded",
    /// A device takes the new certificate into service without asking the authority.
    ProbeSkipped = "probe-skipped",
    /// A device wipes itself while the record of its end is still on the way to the disk.
    WipeBeforeRecord = "wipe-before-record",
    /// The store does not compare versions of tickets.
    TicketSpentTwice = "ticket-spent-twice",
    /// The store says of every ticket that it is still good.
    TicketExpiryIgnored = "ticket-expiry-ignored",
    /// The store does not compare versions of devices.
    LostUpdate = "lost-update",
    /// The authority answers first and commits later.
    CommitAfterAnswer = "commit-after-answer",
    /// Some commits leave out an entry of the log.
    EntryMissing = "entry-missing",
    /// Numbers of revocation lists are counted in memory only.
    CrlNumberReused = "crl-number-reused",
    /// Superseded certificates do not reach the revocation list.
    RevocationForgotten = "revocation-forgotten",
    /// The store says of a device in service that its security profile, and that of its certificate, is lower.
    ProfileForgotten = "profile-forgotten",
    /// The alert that a copy of a device is about is dropped.
    AlertSwallowed = "alert-swallowed",
    /// A kill switch destroys while its notice is still on the way to the disk.
    KillBeforeNotice = "kill-before-notice",
    /// The journal of a kill switch is written and never synced.
    KillJournalNotSynced = "kill-journal-not-synced",
    /// A kill switch that goes on after a power cut takes its first target for destroyed.
    KillStepSkipped = "kill-step-skipped",
    /// A witness signs before its record is on the disk.
    WitnessSignsFirst = "witness-signs-first",
    /// The record of a witness is written and never synced.
    WitnessNotSynced = "witness-not-synced",
    /// An authority acknowledges a part of a device's log and writes it later.
    LogAnsweredFirst = "log-answered-first",
    /// A device tells of an entry that is not synced.
    LogTailNotSynced = "log-tail-not-synced",
    /// The checkpoint of a log is written before the tiles that it needs.
    LogCheckpointFirst = "log-checkpoint-first",
    /// A device empties the tail of its log before the checkpoint covers what was in it.
    LogTailFirst = "log-tail-first",
    /// A TPM certifies the identity key in place of the operational key.
    OtherKeyAttested = "other-key-attested",
    /// A device in quarantine says that its keys are gone, and keeps them.
    KeysKeptInQuarantine = "keys-kept-in-quarantine",
    /// A device says that it has obeyed an order before that is on its disk.
    IsolationNotSynced = "isolation-not-synced",
    /// Somebody who approves a reinstatement is given another name each time.
    OnePersonTwice = "one-person-twice",
    /// A device uses a key of its own before it is on the disk.
    OwnKeyNotSynced = "own-key-not-synced",
    /// A device that is given a key that it has already stays on the link that has not shown it.
    OwnKeyNotShownAgain = "own-key-not-shown-again",
    /// An authority sends a key that it has not recorded yet.
    OwnKeySentEarly = "own-key-sent-early",
    /// An authority takes a key for shown that it has only sent.
    OwnKeyConfirmedUnseen = "own-key-confirmed-unseen",
    /// An authority goes by what it knew of a second verifier when it asked.
    NodeNotReadAgain = "node-not-read-again",
    /// An authority takes the digest of a transcript from the answer.
    TranscriptOfTheAnswer = "transcript-of-the-answer",
    /// A device forgets what it obeyed, and its number, as one whose old disk was put back.
    OrderForgotten = "order-forgotten",
    /// An operator who was removed since counts among those who approve a return.
    RemovalForgotten = "removal-forgotten",
}

impl Plant {
    /// Whether it is one of the kill switch, which has a world of its own.
    pub const fn is_of_the_kill_switch(self) -> bool {
        matches!(self, Self::KillBeforeNotice | Self::KillJournalNotSynced | Self::KillStepSkipped)
    }

    /// Whether it is one of a witness, which has a world of its own as well.
    pub const fn is_of_a_witness(self) -> bool {
        matches!(self, Self::WitnessSignsFirst | Self::WitnessNotSynced)
    }

    /// Whether it is one of the device that is taken out and brought back.
    pub const fn is_of_quarantine(self) -> bool {
        matches!(self, Self::OnePersonTwice | Self::OrderForgotten | Self::RemovalForgotten)
    }

    /// Whether it is one of second verdicts.
    pub const fn is_of_second_verdicts(self) -> bool {
        matches!(self, Self::NodeNotReadAgain | Self::TranscriptOfTheAnswer)
    }

    /// Whether it is one of a device's own key.
    pub const fn is_of_own_keys(self) -> bool {
        matches!(
            self,
            Self::OwnKeyNotSynced
                | Self::OwnKeyNotShownAgain
                | Self::OwnKeySentEarly
                | Self::OwnKeyConfirmedUnseen
        )
    }

    /// Whether it is one of the logs of devices, which have a world of their own.
    pub const fn is_of_device_logs(self) -> bool {
        matches!(
            self,
            Self::LogAnsweredFirst | Self::LogTailNotSynced | Self::LogCheckpointFirst | Self::LogTailFirst
        )
    }
}

/// There is no such bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPlant(String);

impl fmt::Display for UnknownPlant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = Plant::ALL.iter().map(|plant| plant.as_str()).collect();
        write!(f, "there is no planted bug `{}`; there are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownPlant {}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
