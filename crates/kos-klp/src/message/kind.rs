//! The types of messages, and what a receiver demands of each.
//!
//! Source: `docs/spec/klp.md` KLP-22, KLP-23; `docs/spec/policy.md` POLS-16.

use core::{fmt, time::Duration};

use kos_policy::Errand;

use crate::proof::ProofClass;

/// Type numbers from here up may be ignored by whoever does not know them (KLP-22).
const IGNORABLE_FROM: u16 = 32_768;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Type of a message: one of the table, or a number that this version does not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(u16);

/// What a node without a handler for a type does with a message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unhandled {
    /// Drops it.
    Ignore,
    /// Refuses it, with an ACK that says so.
    Refuse,
}

/// Whether a message may be sent to everyone under an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// To one party.
    One,
    /// To one party or to everyone.
    Everyone,
}

/// One row of KLP-23.
struct Row {
    name: &'static str,
    least: ProofClass,
    life_s: u64,
    unhandled: Unhandled,
    audience: Audience,
    errand: Errand,
}

const fn row(
    name: &'static str,
    least: ProofClass,
    life_s: u64,
    unhandled: Unhandled,
    audience: Audience,
    errand: Errand,
) -> Row {
    Row { name, least, life_s, unhandled, audience, errand }
}

/// KLP-23, in order of the numbers from 1 up; a number that is not given yet has no row.
static TABLE: [Option<Row>; 18] = {
    use Audience::{Everyone, One};
    use ProofClass::{Batch, Link, Solo};
    use Unhandled::{Ignore, Refuse};
    [
        Some(row("TASK_REQUEST", Batch, HOUR, Refuse, One, Errand::Agent)),
        Some(row("AGENT_MIGRATION", Solo, HOUR, Refuse, One, Errand::Agent)),
        Some(row("REPUTATION_DELTA", Solo, 7 * DAY, Ignore, One, Errand::Peer)),
        Some(row("BROADCAST_ANNOUNCE", Solo, HOUR, Ignore, Everyone, Errand::Peer)),
        Some(row("VECTOR_SYNC", Batch, DAY, Ignore, One, Errand::Peer)),
        Some(row("TRUST_UPDATE", Solo, 7 * DAY, Refuse, Everyone, Errand::Peer)),
        Some(row("SERVICE_DISCOVERY", Solo, HOUR, Ignore, Everyone, Errand::Peer)),
        Some(row("HEARTBEAT", Link, 5 * MINUTE, Refuse, One, Errand::Upkeep)),
        Some(row("COMMAND", Solo, DAY, Refuse, One, Errand::Command)),
        Some(row("REPORT", Link, DAY, Ignore, One, Errand::Report)),
        Some(row("CONFIG", Solo, DAY, Refuse, One, Errand::Command)),
        Some(row("UPDATE", Solo, 7 * DAY, Refuse, One, Errand::Command)),
        Some(row("LOG", Link, 7 * DAY, Ignore, One, Errand::Report)),
        Some(row("REVOCATION", Solo, 7 * DAY, Refuse, Everyone, Errand::Upkeep)),
        Some(row("ACK", Link, DAY, Ignore, One, Errand::Upkeep)),
        Some(row("WITNESS", Link, 5 * MINUTE, Refuse, One, Errand::Witness)),
        Some(row("ALERT", Solo, DAY, Refuse, One, Errand::Alert)),
        Some(row("POLICY", Solo, DAY, Refuse, One, Errand::Upkeep)),
    ]
};

/// What holds for a type that is not in the table: the strictest of everything.
static STRANGER: Row =
    row("UNKNOWN", ProofClass::Solo, 5 * MINUTE, Unhandled::Refuse, Audience::One, Errand::Agent);

impl MessageType {
    /// Work for an agent or service of the recipient.
    pub const TASK_REQUEST: Self = Self(1);
    /// An agent on its way to another node.
    pub const AGENT_MIGRATION: Self = Self(2);
    /// Evidence about a peer's conduct.
    pub const REPUTATION_DELTA: Self = Self(3);
    /// News for everyone.
    pub const BROADCAST_ANNOUNCE: Self = Self(4);
    /// Part of a vector space.
    pub const VECTOR_SYNC: Self = Self(5);
    /// A change in whom the sender trusts.
    pub const TRUST_UPDATE: Self = Self(6);
    /// Who offers what.
    pub const SERVICE_DISCOVERY: Self = Self(7);
    /// How a device is.
    pub const HEARTBEAT: Self = Self(8);
    /// An order of the authority to a device.
    pub const COMMAND: Self = Self(9);
    /// What happened on a device.
    pub const REPORT: Self = Self(10);
    /// Configuration for a device.
    pub const CONFIG: Self = Self(11);
    /// An update for a device.
    pub const UPDATE: Self = Self(12);
    /// Log entries.
    pub const LOG: Self = Self(13);
    /// News about revoked certificates.
    pub const REVOCATION: Self = Self(14);
    /// The answer to any of them.
    pub const ACK: Self = Self(15);
    /// A checkpoint to be cosigned.
    pub const WITNESS: Self = Self(16);
    /// Something suspicious that a guardian has to see.
    pub const ALERT: Self = Self(17);
    /// What the manifests say about a device.
    pub const POLICY: Self = Self(18);

    /// The type of this number.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Every type that this version knows.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..).take(TABLE.len()).map(Self).filter(|kind| kind.is_known())
    }

    /// Whether this version knows it.
    pub fn is_known(self) -> bool {
        self.known().is_some()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The weakest proof that a receiver takes.
    pub fn least_proof(self) -> ProofClass {
        self.row().least
    }

    /// The longest time between issued and expires.
    pub fn life_max(self) -> Duration {
        Duration::from_secs(self.row().life_s)
    }

    /// What a node that has no handler for it does.
    pub fn unhandled(self) -> Unhandled {
        if self.0 >= IGNORABLE_FROM { Unhandled::Ignore } else { self.row().unhandled }
    }

    /// To whom it may go.
    pub fn audience(self) -> Audience {
        self.row().audience
    }

    /// What it is for, by which the security profiles of both ends decide. None of a type that is not in the table:
    /// nobody handles it, and KLP-22 decides.
    pub fn errand(self) -> Option<Errand> {
        self.known().map(|row| row.errand)
    }

    fn known(self) -> Option<&'static Row> {
        self.0.checked_sub(1).and_then(|at| TABLE.get(usize::from(at))?.as_ref())
    }

    fn row(self) -> &'static Row {
        self.known().unwrap_or(&STRANGER)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_known() { f.pad(self.name()) } else { write!(f, "type {}", self.0) }
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_specification() {
        let spec = include_str!("../../../../docs/spec/klp.md");
        for kind in MessageType::all() {
            let life = match kind.life_max().as_secs() {
                300 => "300 s".to_owned(),
                HOUR => "1 h".to_owned(),
                seconds => format!("{} d", seconds / DAY),
            };
            let yes_no = |yes| if yes { "yes" } else { "no" };
            let row = format!(
                "| {} | {} | {} | {life} | {} | {} |",
                kind.number(),
                kind.name(),
                kind.least_proof(),
                yes_no(kind.unhandled() == Unhandled::Refuse),
                yes_no(kind.audience() == Audience::Everyone),
            );
            assert!(spec.contains(&row), "{row}");
        }
        assert_eq!(MessageType::ACK.name(), "ACK");
        assert_eq!(MessageType::all().last(), Some(MessageType::POLICY));
    }

    #[test]
    fn an_unknown_type_is_refused_below_32768_and_ignored_from_there() {
        for (number, unhandled) in [
            (0, Unhandled::Refuse),
            (4_096, Unhandled::Refuse),
            (32_767, Unhandled::Refuse),
            (32_768, Unhandled::Ignore),
        ] {
            let kind = MessageType::from_number(number);
            assert!(!kind.is_known(), "{number}");
            assert_eq!(kind.unhandled(), unhandled, "{number}");
        }
    }
}
