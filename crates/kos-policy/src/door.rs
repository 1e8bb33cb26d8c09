//! The doors, and what is asked at them.
//!
//! Only doors that exist are here. Whoever builds another one adds it, and its row in the matrix.
//!
//! Source: `docs/spec/policy.md` POLS-10 to POLS-24.

use core::fmt;

use kos_base::{EvidenceTier, SecurityProfile};

use crate::profile::{Standing, Suite, guardrails};

/// A place at which something is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// The algorithms of a TLS connection.
    Tls,
    /// What is shown at the enrolment door, on a link, at the API.
    Entry,
    /// Issuance, and what leads to it.
    Certificate,
    /// The kID that goes with a certificate.
    Kid,
    /// A message on a link between a device and its authority.
    Message,
    /// A frame that goes on to another device.
    Peer,
    /// A route of the API that a device calls.
    Api,
    /// The device's own configuration.
    Config,
    /// What an agent asks of a device, or a device of an agent.
    Agent,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Tls,
        Self::Entry,
        Self::Certificate,
        Self::Kid,
        Self::Message,
        Self::Peer,
        Self::Api,
        Self::Config,
        Self::Agent,
    ];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Entry => "entry",
            Self::Certificate => "certificate",
            Self::Kid => "kid",
            Self::Message => "message",
            Self::Peer => "peer",
            Self::Api => "api",
            Self::Config => "config",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// Where devices enrol, renew and report their end.
    Enrolment,
    /// A KLP link.
    Link,
    /// The API.
    Api,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key that nobody has certified.
    IdentityKey,
    /// A certificate of ours. The record of the same device gives it this profile.
    Certificate {
        /// Of the record; what a certificate says and the record does not is not believed.
        record: SecurityProfile,
    },
}

/// How a device comes to a certificate, or to the profile of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// By ticket, or out of the lobby.
    Enrolment,
    /// By the key in service.
    Renewal,
    /// By the identity key, after the certificate ran out.
    Recovery,
    /// Back from quarantine, through the lobby.
    Return,
    /// From a backup.
    Restore,
    /// An operator lets it in with at most this. What it is given is decided again when it has shown its evidence.
    Approval,
    /// An operator gives a device in service another profile.
    Change,
    /// The device takes it into service.
    Adoption,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Enrolment,
        Self::Renewal,
        Self::Recovery,
        Self::Return,
        Self::Restore,
        Self::Approval,
        Self::Change,
        Self::Adoption,
    ];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrolment => "enrolment",
            Self::Renewal => "renewal",
            Self::Recovery => "recovery",
            Self::Return => "return",
            Self::Restore => "restore",
            Self::Approval => "approval",
            Self::Change => "change",
            Self::Adoption => "adoption",
        }
    }
}

/// What a message is for. The types of KLP each have one (POLS-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    /// Keeps link, identity and revocation lists alive: belongs to enrolment.
    Upkeep,
    /// Tells a guardian.
    Alert,
    /// Tells what happened on a device. Alarms are raised from it.
    Report,
    /// Has a device do or write something.
    Command,
    /// Asks a device to vouch for a log.
    Witness,
    /// News between nodes: whom they trust, what they offer, what they know.
    Peer,
    /// Has an agent work or move.
    Agent,
}

impl Errand {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Upkeep, Self::Alert, Self::Report, Self::Command, Self::Witness, Self::Peer, Self::Agent];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upkeep => "upkeep",
            Self::Alert => "alert",
            Self::Report => "report",
            Self::Command => "command",
            Self::Witness => "witness",
            Self::Peer => "peer",
            Self::Agent => "agent",
        }
    }
}

/// How what is passed on is kept from whoever passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// Encrypted to the recipient's agreement key: whoever gets that key later reads it.
    Encrypted,
    /// In a secure channel, whose keys are gone afterwards.
    Channel,
}

/// Whether a route changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It changes something.
    Changes,
}

/// Who asks whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// An agent asks the device.
    Calls,
    /// The device asks an agent.
    Called,
}

/// Whether a device and an agent are paired, confirmed by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tie {
    /// They are.
    Paired,
    /// They are not.
    Unpaired,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// To speak TLS 1.3 with this suite.
    Connect(Suite),
    /// To come in.
    Enter(Entrance, Credential),
    /// To have a certificate of this profile; [`Standing::profile`] is what it has held in service.
    Certify(Way, SecurityProfile),
    /// To be called this in a kID; [`Standing::profile`] is that of the certificate.
    Name(SecurityProfile),
    /// To send or to be sent a message.
    Message(Errand),
    /// To send or to be sent something through a relay, from or to a device that is this.
    Peer(Forwarding, Standing),
    /// To call a route about itself.
    Call(Effect),
    /// To be this by its own configuration.
    Configure(SecurityProfile),
    /// To have an agent ask something of it, or to ask something of an agent.
    Agent(Direction, Tie),
}

impl Request {
    /// At which door.
    pub const fn door(&self) -> Door {
        match self {
            Self::Connect(_) => Door::Tls,
            Self::Enter(..) => Door::Entry,
            Self::Certify(..) => Door::Certificate,
            Self::Name(_) => Door::Kid,
            Self::Message(_) => Door::Message,
            Self::Peer(..) => Door::Peer,
            Self::Call(_) => Door::Api,
            Self::Configure(_) => Door::Config,
            Self::Agent(..) => Door::Agent,
        }
    }

    /// Everything that can be asked about a device, where a number of answers is finite: the rows of the matrix.
    /// Peers are those that have proven as much as their profile needs; the record says what the certificate says.
    pub fn catalogue(of: Standing) -> Vec<Self> {
        let profiles = || SecurityProfile::ALL.iter().copied();
        let peer = |profile: SecurityProfile| Standing::certified(profile, guardrails(profile).evidence);
        let mut all: Vec<Self> = Suite::ALL.into_iter().map(Self::Connect).collect();
        for entrance in [Entrance::Enrolment, Entrance::Link, Entrance::Api] {
            all.push(Self::Enter(entrance, Credential::IdentityKey));
            all.push(Self::Enter(entrance, Credential::Certificate { record: of.profile }));
        }
        all.extend(Way::ALL.into_iter().flat_map(|way| profiles().map(move |to| Self::Certify(way, to))));
        all.extend(profiles().map(Self::Name));
        all.extend(Errand::ALL.iter().copied().map(Self::Message));
        for forwarding in [Forwarding::Encrypted, Forwarding::Channel] {
            all.extend(profiles().map(|other| Self::Peer(forwarding, peer(other))));
        }
        all.extend([Effect::Reads, Effect::Changes].map(Self::Call));
        all.extend(profiles().map(Self::Configure));
        for direction in [Direction::Calls, Direction::Called] {
            all.extend([Tie::Paired, Tie::Unpaired].map(|tie| Self::Agent(direction, tie)));
        }
        all
    }
}

/// The door and what is asked, such as `message/command`. Stable.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let door = self.door();
        match self {
            Self::Connect(suite) => write!(f, "{door}/{suite}"),
            Self::Enter(entrance, credential) => {
                let entrance = match entrance {
                    Entrance::Enrolment => "enrolment",
                    Entrance::Link => "link",
                    Entrance::Api => "api",
                };
                let credential = match credential {
                    Credential::IdentityKey => "identity-key",
                    Credential::Certificate { .. } => "certificate",
                };
                write!(f, "{door}/{entrance}/{credential}")
            }
            Self::Certify(way, to) => write!(f, "{door}/{}/{to}", way.as_str()),
            Self::Name(profile) | Self::Configure(profile) => write!(f, "{door}/{profile}"),
            Self::Message(errand) => write!(f, "{door}/{}", errand.as_str()),
            Self::Peer(forwarding, other) => {
                let forwarding = match forwarding {
                    Forwarding::Encrypted => "encrypted",
                    Forwarding::Channel => "channel",
                };
                write!(f, "{door}/{forwarding}/{}", other.profile)
            }
            Self::Call(Effect::Reads) => write!(f, "{door}/read"),
            Self::Call(Effect::Changes) => write!(f, "{door}/change"),
            Self::Agent(direction, tie) => {
                let direction = match direction {
                    Direction::Calls => "calls",
                    Direction::Called => "called",
                };
                let tie = match tie {
                    Tie::Paired => "paired",
                    Tie::Unpaired => "unpaired",
                };
                write!(f, "{door}/{direction}/{tie}")
            }
        }
    }
}

impl Standing {
    /// Whether it counts as verified among devices that speak with verified ones alone.
    pub(crate) fn is_verified(&self) -> bool {
        let evidence: EvidenceTier = self.proven.evidence;
        evidence >= crate::profile::Peers::VERIFIED
    }
}
