//! The messages of enrolment, renewal, recovery and decommissioning.
//!
//! One message a frame: 4 bytes of big-endian length, at most [`FRAME_BYTES_MAX`], then deterministic CBOR. A message is
//! an array of its number and a map with integer keys. Everything variable has a limit that is checked on reading, so a
//! stranger cannot make the other side keep more than a frame.
//!
//! Who sends what, in which order, is the business of the machines.
//!
//! Source: `docs/spec/enrolment.md` ENR-3, ENR-6 to ENR-9; vectors in `tests/vectors/enrolment`; fuzz target
//! `enrolment_message`.

pub use super::attestation::{KeyCertificate, Offer, PcrQuote, Statement, TpmChallenge};
use kos_base::{
    AgreementKey, AuthorityName, Capability, Channel, DeviceId, EntryId, GroupPath, KeyId, Mac, Name,
    PublicKey, Role, SecurityProfile, Timestamp,
    cbor::{self, CborError},
};
use kos_voucher::{VOUCH_BYTES_MAX, VOUCHER_BYTES_MAX, idevid};
use minicbor::{Decode, Encode};

use crate::quarantine::BUNDLE_BYTES_MAX;

/// Longest message in bytes.
pub const FRAME_BYTES_MAX: usize = 65_536;
/// Most hardware addresses that a device may name.
pub const MACS_MAX: usize = 16;
/// Most hardware serials that a device may name.
pub const SERIALS_MAX: usize = 8;
/// Longest hardware serial in bytes.
pub const SERIAL_BYTES_MAX: usize = 64;
/// Most certificates in a chain: device, issuing CA, root.
pub const CHAIN_MAX: usize = 3;
/// Most carriers, and most health checks, in a role profile: more than there are to name. Stops an authority from making
/// a device keep a journal that it could not read again.
pub const ROLE_LIST_MAX: usize = 8;

/// Bytes of a fixed or limited length.
pub type Bytes = minicbor::bytes::ByteVec;
/// 32 bytes: a nonce, a digest, a token.
pub type Bytes32 = minicbor::bytes::ByteArray<32>;

/// Device to authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromDevice {
    /// Opens a run: who it is, what it asks for, and a commitment to its nonce.
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// Opens the commitment, asks for a certificate and says what entitles it.
    #[n(1)]
    Prove(#[n(0)] Prove),
    /// The certificate is durable; sent over a new connection with the new key.
    #[n(2)]
    Stored(#[n(0)] Stored),
    /// The device decommissions itself: its signed record.
    #[n(3)]
    Notice(#[n(0)] Notice),
    /// The wipe that was ordered is done; sent without a client certificate.
    #[n(4)]
    Receipt(#[n(0)] Receipt),
    /// A quarantine that was ordered is obeyed; sent by the identity key.
    #[n(5)]
    Isolated(#[n(0)] Isolated),
}

/// Authority to device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FromAuthority {
    /// Answers `Hello`.
    #[n(0)]
    Welcome(#[n(0)] Welcome),
    /// Nobody has let the device in yet; ask again.
    #[n(1)]
    Pending(#[n(0)] Pending),
    /// The certificate and everything that comes with it.
    #[n(2)]
    Issued(#[n(0)] Box<Grant>),
    /// `Stored`, `Notice` or `Receipt` is recorded.
    #[n(3)]
    Recorded,
    /// No.
    #[n(4)]
    Refused(#[n(0)] Refused),
    /// The device is to wipe itself.
    #[n(5)]
    Order(#[n(0)] SignedOrder),
    /// The device is to go into quarantine, or is still in it.
    #[n(6)]
    Quarantine(#[n(0)] SignedOrder),
}

/// Who a device is and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// SHA-256 of [`COMMITMENT_DOMAIN`] and the nonce that `Prove` opens.
    #[n(0)]
    pub commitment: Bytes32,
    /// Its hardware.
    #[n(1)]
    pub facts: Facts,
    /// What the boot found out about its image.
    #[n(2)]
    pub image: Image,
    /// The role it asks for.
    #[n(3)]
    pub role: Role,
    /// The profile it asks for.
    #[n(4)]
    pub profile: SecurityProfile,
    /// What it would like to be called.
    #[n(5)]
    pub name: Option<Name>,
    /// What it offers.
    #[n(6)]
    pub capabilities: Vec<Capability>,
    /// The keys of its TPM, if it is to prove that its own are in one.
    #[n(7)]
    pub attestation: Option<Offer>,
    /// Key id of the maker whose vouchers it believes; it asks for one that names it.
    #[n(20)]
    pub maker: Option<KeyId>,
    /// Its factory certificate and issuers, DER.
    #[n(21)]
    pub factory: Option<Vec<Bytes>>,
}

/// Hashing domain of the commitment in `Hello`.
pub const COMMITMENT_DOMAIN: &str = "kos enrolment commitment v1";

/// Hardware addresses and serials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Facts {
    /// Universally administered addresses.
    #[n(0)]
    pub macs: Vec<Mac>,
    /// Serials of chip and secure element.
    #[n(1)]
    pub serials: Vec<String>,
}

/// What the boot found out about the image.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Image {
    /// No manifest.
    #[n(0)]
    Unverified,
    /// The manifest is signed and fits; its digest.
    #[n(1)]
    Verified(#[n(0)] Bytes32),
}

impl Image {
    /// The digest of the manifest, when it was verified.
    pub fn digest(&self) -> Option<&[u8]> {
        match self {
            Self::Verified(digest) => Some(digest.as_slice()),
            Self::Unverified => None,
        }
    }
}

/// The authority's answer to `Hello`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// Session token: lives on this connection only, comes back in `Prove`.
    #[n(0)]
    pub token: Bytes32,
    /// The authority's nonce, and the challenge that proofs answer.
    #[n(1)]
    pub nonce: Bytes32,
    /// Minted at first contact; the same for the same identity key.
    #[n(2)]
    pub uuid: EntryId,
    /// The authority's time.
    #[n(3)]
    pub time: Timestamp,
    /// The authority's name.
    #[n(4)]
    pub authority: AuthorityName,
    /// How many certificates the device has had.
    #[n(5)]
    pub issues: u32,
    /// Number of the certificate in service, if there is one.
    #[n(6)]
    pub in_service: Option<u32>,
    /// What its TPM is to open, when it offered that.
    #[n(7)]
    pub challenge: Option<TpmChallenge>,
    /// A voucher of the maker that it named, by which it may know the authority.
    #[n(20)]
    pub voucher: Option<Bytes>,
}

/// The request for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Prove {
    /// The token of `Welcome`.
    #[n(0)]
    pub token: Bytes32,
    /// Opens the commitment of `Hello`.
    #[n(1)]
    pub nonce: Bytes32,
    /// PKCS#10 of the new operational key.
    #[n(2)]
    pub csr: Bytes,
    /// Public half of the new agreement key.
    #[n(3)]
    pub agreement: AgreementKey,
    /// What entitles the device.
    #[n(4)]
    pub means: Means,
    /// What its TPM says, when it was challenged.
    #[n(5)]
    pub attestation: Option<Statement>,
    /// The word of a node that is trusted already.
    #[n(20)]
    pub vouch: Option<Bytes>,
}

/// What entitles a device to a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Means {
    /// Nothing yet: wait in the lobby.
    #[n(0)]
    Lobby,
    /// A ticket's proof.
    #[n(1)]
    Ticket {
        /// Which ticket.
        #[n(0)]
        ticket: EntryId,
        /// By the key that the ticket's secret yields, over [`super::proof::TicketProof`].
        #[n(1)]
        signature: Bytes,
    },
    /// The certificate in service, on whose connection this comes.
    #[n(2)]
    Renewal {
        /// The last issue number that the device knows.
        #[n(0)]
        issue: u32,
        /// By the old operational key, over [`super::proof::RenewalProof`].
        #[n(1)]
        old: Bytes,
        /// By the new operational key, over the same.
        #[n(2)]
        new: Bytes,
    },
    /// The identity key, on whose connection this comes.
    #[n(3)]
    Recovery {
        /// The last issue number that the device knows.
        #[n(0)]
        issue: u32,
        /// By the identity key, over [`super::proof::RenewalProof`].
        #[n(1)]
        identity: Bytes,
        /// By the new operational key, over the same.
        #[n(2)]
        new: Bytes,
    },
}

/// Nobody has let the device in yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pending {
    /// How long to wait before asking again, in seconds.
    #[n(0)]
    pub retry_after_s: u32,
    /// The number of the code that says why what it showed does not let it in; only for who showed something.
    #[n(20)]
    pub why: Option<u16>,
}

/// A certificate and everything that comes with it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// DER, device first, root last.
    #[n(0)]
    pub chain: Vec<Bytes>,
    /// The kID.
    #[n(1)]
    pub kid: Bytes,
    /// Id of the device.
    #[n(2)]
    pub device: DeviceId,
    /// Number of this certificate.
    #[n(3)]
    pub issue: u32,
    /// What the device is to be called.
    #[n(4)]
    pub name: Name,
    /// Where it stands.
    #[n(5)]
    pub group: Option<GroupPath>,
    /// What its role brings.
    #[n(6)]
    pub role: RoleProfile,
    /// The authority's signing keys.
    #[n(7)]
    pub keys: AuthorityKeys,
    /// Newest revocation lists, DER.
    #[n(8)]
    pub crls: Vec<Bytes>,
}

/// What a device receives with its role.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RoleProfile {
    /// The role.
    #[n(0)]
    pub role: Role,
    /// The security profile that was given.
    #[n(1)]
    pub profile: SecurityProfile,
    /// Firmware channel.
    #[n(2)]
    pub channel: Channel,
    /// Carriers that it may use, best first.
    #[n(3)]
    pub carriers: Vec<Carrier>,
    /// The health checks that it reports.
    #[n(4)]
    pub health_checks: Vec<HealthCheck>,
    /// Time between heartbeats in seconds.
    #[n(5)]
    pub heartbeat_s: u32,
}

/// Ways to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Carrier {
    /// QUIC over UDP.
    #[n(0)]
    Quic,
    /// TLS over TCP.
    #[n(1)]
    Tls,
    /// WebSocket over TLS.
    #[n(2)]
    WebSocket,
}

/// What a device looks at before each heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum HealthCheck {
    /// Free space where the device keeps its state.
    #[n(0)]
    Disk,
    /// Free memory.
    #[n(1)]
    Memory,
    /// Load of the processors.
    #[n(2)]
    Load,
    /// Whether the clock agrees with the authority's.
    #[n(3)]
    Clock,
}

impl HealthCheck {
    /// What the smallest devices report.
    pub const LEAST: &'static [Self] = &[Self::Disk, Self::Clock];
    /// All.
    pub const ALL: &'static [Self] = &[Self::Disk, Self::Memory, Self::Load, Self::Clock];

    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Load => "load",
            Self::Clock => "clock",
        }
    }
}

/// The keys by which a device knows what its authority signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuthorityKeys {
    /// Signs kIDs.
    #[n(0)]
    pub kid: PublicKey,
    /// Signs orders.
    #[n(1)]
    pub orders: PublicKey,
    /// Signs the log.
    #[n(2)]
    pub log: PublicKey,
}

/// A device has its certificate on disk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stored {
    /// Which certificate.
    #[n(0)]
    pub issue: u32,
    /// What came of the bootloader lock command, when one is configured.
    #[n(1)]
    pub bootloader: Option<Bootloader>,
}

/// What came of the bootloader lock command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Bootloader {
    /// It succeeded.
    #[n(0)]
    Locked,
    /// It failed; profiles SEC-3 and SEC-4 stay closed.
    #[n(1)]
    Failed,
}

/// A device's signed record of its own end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// COSE_Sign1 by the operational key over [`crate::decommission::Record`].
    #[n(0)]
    pub record: Bytes,
}

/// An order that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Whose.
    #[n(0)]
    pub device: DeviceId,
    /// The random bytes that the order held.
    #[n(1)]
    pub receipt: Bytes32,
    /// The device's signed record.
    #[n(2)]
    pub record: Bytes,
}

/// A quarantine that was obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Isolated {
    /// COSE_Sign1 by the identity key over [`crate::quarantine::Record`].
    #[n(0)]
    pub record: Bytes,
    /// The bundle, sealed to the recipients of the order.
    #[n(1)]
    pub bundle: Option<Bytes>,
}

/// An order, signed by the authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedOrder {
    /// COSE_Sign1 by the order key over [`crate::decommission::Order`] or [`crate::quarantine::Order`].
    #[n(0)]
    pub order: Bytes,
}

/// A refusal that tells a stranger no more than it must know.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// The number of a [`kos_base::Code`].
    #[n(0)]
    pub code: u16,
    /// When to try again, if that can help, in seconds.
    #[n(1)]
    pub retry_after_s: Option<u32>,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not deterministic CBOR of a message.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Well-formed, but beyond a limit.
    #[error("{what} beyond the limit")]
    Limit {
        /// What there is too much of.
        what: &'static str,
    },
}

impl FromDevice {
    /// The message as a frame's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a frame's content.
    ///
    /// # Errors
    /// When it is not exactly a message within its limits. Close the connection.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let message: Self = cbor::decode(bytes, FRAME_BYTES_MAX)?;
        if let Self::Hello(hello) = &message {
            limit(hello.facts.macs.len() <= MACS_MAX, "hardware addresses")?;
            limit(hello.facts.serials.len() <= SERIALS_MAX, "serials")?;
            let fits = |s: &String| {
                (1..=SERIAL_BYTES_MAX).contains(&s.len()) && s.chars().all(kos_base::text::is_safe)
            };
            limit(hello.facts.serials.iter().all(fits), "serial")?;
            limit(hello.capabilities.len() <= Capability::COUNT_MAX, "capabilities")?;
            limit(hello.attestation.as_ref().is_none_or(Offer::is_within_limits), "attestation")?;
            let chain = hello.factory.as_deref();
            limit(chain.is_none_or(|chain| (1..=idevid::CHAIN_MAX).contains(&chain.len())), "certificates")?;
            let fits = |der: &Bytes| der.len() <= idevid::CERTIFICATE_BYTES_MAX;
            limit(chain.is_none_or(|chain| chain.iter().all(fits)), "certificate")?;
        }
        if let Self::Prove(Prove { vouch: Some(vouch), .. }) = &message {
            limit(vouch.len() <= VOUCH_BYTES_MAX, "vouch")?;
        }
        if let Self::Isolated(Isolated { bundle: Some(bundle), .. }) = &message {
            limit(bundle.len() <= BUNDLE_BYTES_MAX, "bundle")?;
        }
        Ok(message)
    }
}

impl FromAuthority {
    /// The message as a frame's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a frame's content.
    ///
    /// # Errors
    /// When it is not exactly a message within its limits. Close the connection and try again later.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MessageError> {
        let message: Self = cbor::decode(bytes, FRAME_BYTES_MAX)?;
        if let Self::Issued(grant) = &message {
            limit(grant.chain.len() == CHAIN_MAX, "certificates in the chain")?;
            limit(grant.role.carriers.len() <= ROLE_LIST_MAX, "carriers")?;
            limit(grant.role.health_checks.len() <= ROLE_LIST_MAX, "health checks")?;
        }
        if let Self::Welcome(Welcome { voucher: Some(voucher), .. }) = &message {
            limit(voucher.len() <= VOUCHER_BYTES_MAX, "voucher")?;
        }
        Ok(message)
    }
}

fn limit(is_kept: bool, what: &'static str) -> Result<(), MessageError> {
    if is_kept { Ok(()) } else { Err(MessageError::Limit { what }) }
}
