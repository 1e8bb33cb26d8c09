//! What happened, to be recorded, together with what it writes.

use kos_base::{
    Capability, Channel, Code, DeviceId, DeviceState, EntryId, EvidenceTier, KeyId, Name, Role,
    SecurityProfile, Timestamp,
};
use kos_policy::pairing::AgentId;
use kos_voucher::{By, Kept, Sponsor, VoucherId, Withheld};
use minicbor::{Decode, Encode};

use super::{Device, Ticket};

/// Everything that one transaction does: audit entries and records, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Who did it.
    pub actor: Actor,
    /// What happened, in order; one audit entry each. Never empty.
    pub changes: Vec<Change>,
    /// The records as they are to be.
    pub writes: Vec<Write>,
}

/// Who caused a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The authority by itself: a timer, a start, a restore.
    Authority,
    /// A device that proved who it is.
    Device(DeviceId),
    /// An operator with a certificate.
    Operator(Name),
    /// A user of the machine that the authority runs on, by the local socket.
    LocalUser(String),
    /// An agent that signed what it asked for, by the key of its pairing.
    Agent(AgentId),
    /// Somebody on the network, by address.
    Unknown(String),
}

/// One thing that happened. The program turns each into exactly one audit entry, by a function without a wildcard arm.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after the nouns of kos-base, and each variant says what happened"
)]
pub enum Change {
    /// An operator made a ticket.
    TicketCreated {
        ticket: EntryId,
        role: Role,
        profile_cap: SecurityProfile,
        uses_max: u32,
        expires_at: Timestamp,
    },
    /// An operator withdrew one.
    TicketRevoked { ticket: EntryId },
    /// Somebody without entitlement was turned away; `count` of them within a minute.
    Refused { code: Code, source: String, count: u32 },
    /// A device waits in the lobby.
    DeviceWaiting { device: DeviceId, identity_key: KeyId, withheld: Option<Withheld> },
    /// Two devices claim the same hardware or the same identity.
    CloneSuspected { device: DeviceId, others: Vec<DeviceId>, detail: String },
    /// A person or rule let a waiting device in.
    DeviceApproved { device: DeviceId, profile: SecurityProfile, rule: Option<Capability> },
    /// A person turned a waiting device away.
    DeviceRejected { device: DeviceId, reason: String },
    /// A device was let in.
    DeviceEnrolled {
        device: DeviceId,
        identity_key: KeyId,
        role: Role,
        profile: SecurityProfile,
        ticket: Option<EntryId>,
        by: Option<By>,
        /// Vouchers that name it, by which nobody comes in any more.
        spent: Vec<VoucherId>,
    },
    /// A certificate was signed.
    CertificateIssued { device: DeviceId, issue: u32, serial: Vec<u8>, key: KeyId, not_after: Timestamp },
    /// A device confirmed its first certificate.
    DeviceActive { device: DeviceId, issue: u32 },
    /// A device confirmed a certificate that replaces another.
    CertificateRenewed { device: DeviceId, issue: u32 },
    /// A device whose certificate had run out came back by its identity key.
    IdentityRecovered { device: DeviceId, recoveries_left: u32 },
    /// A certificate was revoked.
    CertificateRevoked { device: DeviceId, serial: Vec<u8>, reason: RevocationReason },
    /// A suspension was lifted, and with it the hold on the certificate.
    HoldReleased { device: DeviceId, serial: Vec<u8> },
    /// An operator asked for new keys.
    RegenerateOrdered { device: DeviceId },
    /// The firmware channel changed.
    ChannelChanged { device: DeviceId, from: Channel, to: Channel },
    /// The role changed.
    RoleChanged { device: DeviceId, from: Role, to: Role },
    /// The security profile was raised.
    ProfileChanged { device: DeviceId, from: SecurityProfile, to: SecurityProfile },
    /// The name changed.
    DeviceRenamed { device: DeviceId, to: Name },
    /// The labels changed.
    DeviceTagged { device: DeviceId, tags: Vec<String> },
    /// An operator or alert stopped a device, or let it go on; the state says which.
    StateChanged { device: DeviceId, from: DeviceState, to: DeviceState, reason: String },
    /// A device was ordered into quarantine by a signed order.
    QuarantineOrdered { device: DeviceId, order: EntryId, issue: u32 },
    /// The device says that it has obeyed.
    QuarantineConfirmed { device: DeviceId, order: EntryId },
    /// A sealed bundle came with that.
    ForensicsReceived { device: DeviceId, order: EntryId, sha256: Vec<u8>, bytes: u32 },
    /// A person approved that the device comes back: the `count`-th of `needed`.
    ReinstatementApproved { device: DeviceId, count: usize, needed: usize },
    /// An operator raised the number of recoveries.
    RecoveriesRaised { device: DeviceId, to: u32 },
    /// The order to wipe was given.
    DecommissionOrdered { device: DeviceId, reason: String },
    /// The device is wiped, or given up.
    DeviceDecommissioned { device: DeviceId, wipe: String },
    /// The device reported what came of its bootloader lock command.
    BootloaderReported { device: DeviceId, locked: bool, detail: String },
    /// A device whose image was verified came with another manifest, or with none; both by digest.
    ImageAltered { device: DeviceId, from: Vec<u8>, to: Option<Vec<u8>> },
    /// What a device's TPM said held; who vouches for the TPM, or why nobody does.
    AttestationVerified {
        device: DeviceId,
        ek: KeyId,
        tier: EvidenceTier,
        vouched_by: String,
        golden: Option<String>,
        pcr_digest: Vec<u8>,
    },
    /// What the TPM of a known device said does not hold, or it said nothing any more.
    AttestationFailed { device: DeviceId, code: Code },
    /// The TPM tells of another start than before: the PCRs that have other values, and the digest of all that were quoted.
    AttestationChanged { device: DeviceId, pcrs: Vec<u32>, pcr_digest: Vec<u8> },
    /// A second verifier believes the device; the digest of what it judged, and when it did.
    SecondVerdict { device: DeviceId, verifier: DeviceId, transcript: Vec<u8>, at: Timestamp },
}

/// A record to be written. A record with version 1 must not exist yet; one with version n needs n - 1 in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after the nouns of kos-base, and each variant says what happened"
)]
pub enum Write {
    /// A device.
    Device(Box<Device>),
    /// A waiting device that nobody let in is forgotten; the version is the one that is deleted.
    ForgetDevice { id: DeviceId, version: u64 },
    /// A ticket.
    Ticket(Box<Ticket>),
    /// A voucher.
    Voucher(Box<Kept>),
    /// A grant to vouch.
    Sponsor(Box<Sponsor>),
    /// A certificate, kept for ever.
    Certificate { serial: Vec<u8>, issuer: KeyId, device: DeviceId, issue: u32, der: Vec<u8> },
    /// An entry of a revocation list.
    Revoke(Revocation),
    /// An entry of a revocation list is taken back; only one of reason `Hold`.
    Release { issuer: KeyId, serial: Vec<u8> },
}

/// An entry of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// Key id of the issuing CA.
    #[n(0)]
    pub issuer: KeyId,
    /// Serial number.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub serial: Vec<u8>,
    /// Key id of the certified key: revoked under any certificate.
    #[n(2)]
    pub key: KeyId,
    /// When.
    #[n(3)]
    pub at: Timestamp,
    /// When the certificate runs out, after which the entry may leave the list.
    #[n(4)]
    pub not_after: Timestamp,
    /// Why.
    #[n(5)]
    pub reason: RevocationReason,
    /// Whose certificate it was, for lists that people read.
    #[n(6)]
    pub subject: String,
}

/// Why a certificate was revoked: the reasons of RFC 5280 5.3.1 that kOS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RevocationReason {
    /// The key may be in other hands.
    #[n(1)]
    KeyCompromise,
    /// Replaced by a newer one.
    #[n(4)]
    Superseded,
    /// The device left the fleet.
    #[n(5)]
    CessationOfOperation,
    /// Suspended; can be lifted.
    #[n(6)]
    Hold,
    /// Rights were withdrawn.
    #[n(9)]
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// The number of RFC 5280's CRLReason.
    pub const fn number(self) -> u8 {
        match self {
            Self::KeyCompromise => 1,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::Hold => 6,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::Hold => "hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }
}

impl Device {
    /// The entry that revokes the certificate which `credential` describes.
    pub fn revocation(
        &self,
        now: Timestamp,
        credential: &super::Credential,
        reason: RevocationReason,
    ) -> Revocation {
        Revocation {
            issuer: credential.issuer,
            serial: credential.serial.clone(),
            key: credential.key.id(),
            at: now,
            not_after: credential.not_after,
            reason,
            subject: self.id.to_string(),
        }
    }
}
