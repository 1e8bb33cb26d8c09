//! What a device remembers of its own identity: one small file, replaced whole.
//!
//! It holds no secret: keys are named by their slot. Which conversation is due follows from it and the time alone
//! ([`Journal::goal`]), so a device that lost power goes on where the journal says, and never where it merely was.
//!
//! Source: `docs/spec/enrolment.md` DEV-1, DEV-2, PRF-8.

use kos_base::{
    AgreementKey, AuthorityName, DeviceId, EntryId, GroupPath, KeyId, Name, PublicKey, SecurityProfile,
    Timestamp,
    cbor::{self, CborError},
};
use minicbor::{Decode, Encode};

use crate::enrolment::message::{AuthorityKeys, Bootloader, Bytes, Bytes32, Facts, RoleProfile};

/// Longest journal in bytes: two chains, two kIDs and the rest.
pub const JOURNAL_BYTES_MAX: usize = 32_768;

/// Most codes that are computed before a person has to begin anew: each is another chance for whoever stands in the
/// middle.
pub const CODES_MAX: u32 = 4;
/// Most codes that are remembered, those of earlier attempts included: the authority keeps to the one of its record.
pub const COMPARISONS_MAX: usize = 16;

/// Everything that survives a power cut, besides the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Journal {
    /// The identity key, once it is durable.
    #[n(0)]
    pub identity: Option<PublicKey>,
    /// Whom the device belongs to, or is about to.
    #[n(1)]
    pub authority: Option<Anchor>,
    /// Who the device is.
    #[n(2)]
    pub membership: Option<Membership>,
    /// The certificate in service.
    #[n(3)]
    pub active: Option<Held>,
    /// The next certificate, on its way.
    #[n(4)]
    pub candidate: Option<Candidate>,
    /// The latest time that the authority told; the clock is not believed below it.
    #[n(5)]
    pub time_floor: Option<Timestamp>,
    /// What came of the bootloader lock command; it runs once.
    #[n(6)]
    pub bootloader: Option<Bootloader>,
    /// The hardware as it was when the device first asked. Its id is computed from it, so it stays the same while the
    /// device waits to be let in, whatever is plugged in or out.
    #[n(7)]
    pub facts: Option<Facts>,
    /// Codes that a person may compare, newest first, while the authority is known by nothing else. More than one when
    /// somebody else answered in its place.
    #[n(8)]
    pub comparisons: Vec<Comparison>,
    /// How many of them were computed since a person named the authority.
    #[n(9)]
    pub codes: u32,
    /// The highest security profile that it had in service; no certificate below it is used (POLS-27).
    #[n(10)]
    pub profile_floor: Option<SecurityProfile>,
}

/// A code to be compared, and the conversation that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Comparison {
    /// The authority's nonce. As long as the authority repeats it, the code stays.
    #[n(0)]
    pub nonce: Bytes32,
    /// Key id of the root that the conversation was held with. It is pinned once the code was confirmed.
    #[n(1)]
    pub root: KeyId,
    /// Six digits.
    #[n(2)]
    pub code: String,
}

/// How a device knows its authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Anchor {
    /// Its name, once known.
    #[n(0)]
    pub name: Option<AuthorityName>,
    /// Key ids of its root key; empty only while a person still has to compare codes.
    #[n(1)]
    pub pins: Vec<KeyId>,
    /// `host:port`, best first.
    #[n(2)]
    pub addresses: Vec<String>,
}

/// Who the device is, as the authority said when it let it in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Membership {
    /// Its id.
    #[n(0)]
    pub device: DeviceId,
    /// What the id was computed from, besides the identity key.
    #[n(1)]
    pub uuid: EntryId,
    /// Likewise, frozen at first contact.
    #[n(2)]
    pub facts: Facts,
    /// Its name.
    #[n(3)]
    pub name: Name,
    /// Where it stands.
    #[n(4)]
    pub group: Option<GroupPath>,
    /// What its role brings.
    #[n(5)]
    pub role: RoleProfile,
    /// The authority's signing keys.
    #[n(6)]
    pub keys: AuthorityKeys,
}

/// One of two places for operational and agreement keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Slot {
    /// The first.
    #[n(0)]
    A,
    /// The second.
    #[n(1)]
    B,
}

impl Slot {
    /// The one that is not this.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A certificate that was checked and is durable.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Held {
    /// Where its keys are.
    #[n(0)]
    pub slot: Slot,
    /// Its number.
    #[n(1)]
    pub issue: u32,
    /// The key that it certifies.
    #[n(2)]
    pub operational: PublicKey,
    /// The agreement key that came with it.
    #[n(3)]
    pub agreement: AgreementKey,
    /// DER, device first, root last.
    #[n(4)]
    pub chain: Vec<Bytes>,
    /// The kID that came with it; heartbeats bring fresher ones.
    #[n(5)]
    pub kid: Bytes,
    /// Start of validity.
    #[n(6)]
    pub not_before: Timestamp,
    /// End of validity.
    #[n(7)]
    pub not_after: Timestamp,
    /// When to renew: a random moment between 50 and 70 % of its life.
    #[n(8)]
    pub renew_at: Timestamp,
}

/// Keys that ask for a certificate, and the certificate once it has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Candidate {
    /// Where its keys are.
    #[n(0)]
    pub slot: Slot,
    /// The operational key.
    #[n(1)]
    pub operational: PublicKey,
    /// The agreement key.
    #[n(2)]
    pub agreement: AgreementKey,
    /// DER of the request; kept, so that asking again asks for the same.
    #[n(3)]
    pub csr: Bytes,
    /// The certificate. From here on only `Stored` is missing.
    #[n(4)]
    pub held: Option<Held>,
}

/// What a device has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Get a first certificate.
    Enrol,
    /// Tell the authority that the new certificate is durable.
    Confirm,
    /// Replace the certificate while it is valid.
    Renew,
    /// Come back after it ran out.
    Recover,
    /// Nothing until the given time.
    Rest(Timestamp),
}

impl Journal {
    /// The highest security profile that the device had in service, also if an earlier version did not write it down.
    pub fn profile_floor(&self) -> Option<SecurityProfile> {
        let served = self.active.as_ref().and(self.membership.as_ref()).map(|member| member.role.profile);
        self.profile_floor.max(served)
    }

    /// What is due at `now`.
    pub fn goal(&self, now: Timestamp) -> Goal {
        if self.candidate.as_ref().is_some_and(|c| c.held.is_some()) {
            return Goal::Confirm;
        }
        match &self.active {
            None => Goal::Enrol,
            Some(held) if now >= held.not_after => Goal::Recover,
            // What was begun is finished: the authority may have issued what a power cut kept from the journal.
            Some(held) if now >= held.renew_at || self.candidate.is_some() => Goal::Renew,
            Some(held) => Goal::Rest(held.renew_at),
        }
    }

    /// The journal as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a journal.
    ///
    /// # Errors
    /// When it is damaged. The device must not go on as if it were new: its identity key is still there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes, JOURNAL_BYTES_MAX)
    }
}
