//! The record of an enrolment ticket: what it allows, to whom, how often and until when. It holds no secret.

use kos_base::{Code, EntryId, GroupPath, KeyId, Name, PublicKey, Role, SecurityProfile, Timestamp, code};
use minicbor::{Decode, Encode};

/// A ticket as the authority keeps it. A leaked table makes no devices: only the public half of the proof key is here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ticket {
    /// Names it; no secret.
    #[n(0)]
    pub id: EntryId,
    /// Successor of the version in the store; 1 for a new ticket.
    #[n(1)]
    pub version: u64,
    /// Public half of the key that the ticket's secret yields.
    #[n(2)]
    pub proof_key: PublicKey,
    /// The role it gives.
    #[n(3)]
    pub role: Role,
    /// The highest profile it gives.
    #[n(4)]
    pub profile_cap: SecurityProfile,
    /// The group it puts the device in.
    #[n(5)]
    pub group: Option<GroupPath>,
    /// The name it gives the device.
    #[n(6)]
    pub device_name: Option<Name>,
    /// How many devices it may let in.
    #[n(7)]
    pub uses_max: u32,
    /// How many it has let in.
    #[n(8)]
    pub uses: u32,
    /// When it was made.
    #[n(9)]
    pub created_at: Timestamp,
    /// From when on it lets nobody in.
    #[n(10)]
    pub expires_at: Timestamp,
    /// Withdrawn by an operator.
    #[n(11)]
    pub revoked: bool,
    /// Only for the device with this serial.
    #[n(12)]
    pub serial: Option<String>,
    /// Only for the device with this identity key.
    #[n(13)]
    pub identity_key: Option<KeyId>,
    /// The device that spent it last, to answer "who came in with this".
    #[n(14)]
    pub last_device: Option<kos_base::DeviceId>,
}

/// Why a ticket does not let a device in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not made here, or forgotten.
    #[error("this enrolment ticket is not known here")]
    Unknown,
    /// Its time is over.
    #[error("this enrolment ticket has expired")]
    Expired,
    /// It let in as many devices as it may.
    #[error("this enrolment ticket has been used")]
    Spent,
    /// An operator withdrew it.
    #[error("this enrolment ticket was revoked")]
    Revoked,
    /// The proof does not verify under its key.
    #[error("the proof of the ticket is wrong")]
    Proof,
    /// The device asks for another role.
    #[error("the ticket is for another role")]
    Role,
    /// The device asks for a higher profile.
    #[error("the ticket does not allow this security profile")]
    Profile,
    /// The device has another serial or identity key.
    #[error("the ticket is bound to another device")]
    Bound,
}

impl TicketError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Unknown => code::enrolment::TICKET_UNKNOWN,
            Self::Expired => code::enrolment::TICKET_EXPIRED,
            Self::Spent => code::enrolment::TICKET_SPENT,
            Self::Revoked => code::enrolment::TICKET_REVOKED,
            Self::Proof => code::enrolment::TICKET_PROOF,
            Self::Role => code::enrolment::TICKET_ROLE,
            Self::Profile => code::enrolment::TICKET_PROFILE,
            Self::Bound => code::enrolment::TICKET_BOUND,
        }
    }
}

/// What a device brings to a ticket.
#[derive(Debug)]
pub(crate) struct TicketUse<'a> {
    pub(crate) identity_key: KeyId,
    pub(crate) serials: &'a [String],
    pub(crate) role: Role,
    pub(crate) profile: SecurityProfile,
}

impl Ticket {
    /// Longest life of a ticket, unless the operator gives a reason: short enough that a ticket left in a chat is dead.
    pub const LIFE_MAX: core::time::Duration = core::time::Duration::from_secs(600);
    /// Longest life of a ticket with a reason.
    pub const LIFE_MAX_WITH_REASON: core::time::Duration = core::time::Duration::from_secs(30 * 24 * 3600);
    /// Most devices that one ticket lets in.
    pub const USES_MAX: u32 = 10_000;

    /// The ticket with one use more.
    ///
    /// # Errors
    /// When it does not let this device in now. The proof was checked before.
    pub(crate) fn spend(
        mut self,
        now: Timestamp,
        by: &TicketUse<'_>,
        device: kos_base::DeviceId,
    ) -> Result<Self, TicketError> {
        if self.revoked {
            return Err(TicketError::Revoked);
        }
        if self.uses >= self.uses_max {
            return Err(TicketError::Spent);
        }
        if now >= self.expires_at {
            return Err(TicketError::Expired);
        }
        if by.role != self.role {
            return Err(TicketError::Role);
        }
        if by.profile > self.profile_cap {
            return Err(TicketError::Profile);
        }
        let serial_fits = self.serial.as_ref().is_none_or(|s| by.serials.contains(s));
        if !serial_fits || self.identity_key.is_some_and(|key| key != by.identity_key) {
            return Err(TicketError::Bound);
        }
        self.uses += 1;
        self.version += 1;
        self.last_device = Some(device);
        Ok(self)
    }
}
