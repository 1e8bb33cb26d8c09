//! Vouchers: a maker's word on whose a device is, and the owners' words on whose it became.
//!
//! One COSE_Sign1 by the maker, and one by each owner who passed the device on. The algorithm is that of the key: the maker's
//! is pinned by whoever trusts it, an owner's by the object before.
//!
//! Source: `docs/spec/voucher.md` VOU-1 to VOU-9.

use core::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use kos_base::{
    DeviceId, KeyAlgorithm, KeyId, PublicKey, Timestamp,
    cbor::{self, CborError},
    code::voucher as code,
    cose::{CoseError, Purpose, Sealed, Unsigned},
    digest::{Sha256, sha256_parts},
    text::is_safe,
};
use minicbor::{
    Decode, Encode,
    bytes::{ByteArray, ByteVec},
};

use crate::Withheld;

/// Longest signed object in bytes: one with two keys and a serial has less than 400.
const SIGNED_BYTES_MAX: usize = 1024;
/// Most endorsements. Stops a stranger from making us check signatures for long.
const ENDORSEMENTS_MAX: usize = 8;
/// Longest voucher with its endorsements in bytes.
pub const VOUCHER_BYTES_MAX: usize = 10 * 1024;
/// Longest serial in bytes.
const SERIAL_BYTES_MAX: usize = 64;

const STATEMENT: Purpose = Purpose { domain: "kos voucher v1", typ: "application/kos-voucher+cbor" };
const ENDORSEMENT: Purpose =
    Purpose { domain: "kos voucher endorsement v1", typ: "application/kos-voucher-endorsement+cbor" };

/// Names a voucher: from its maker's key and its nonce, so that neither a second signature nor an altered one makes another
/// voucher of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct VoucherId(#[n(0)] ByteArray<16>);

/// The text names no voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a voucher id (32 lower-case hex characters)")]
pub struct NotAVoucherId;

impl VoucherId {
    fn new(maker: KeyId, nonce: &[u8; 16]) -> Self {
        let hash = sha256_parts("kos voucher id v1", [maker.as_bytes().as_slice(), nonce.as_slice()]);
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(ByteArray::from(id))
    }
}

impl fmt::Display for VoucherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(self.0.as_slice()))
    }
}

impl FromStr for VoucherId {
    type Err = NotAVoucherId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(s.as_bytes()).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
        bytes.map(|bytes| Self(ByteArray::from(bytes))).ok_or(NotAVoucherId)
    }
}

/// Which device a voucher speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Subject {
    /// The one with this identity key.
    #[n(0)]
    Identity(#[n(0)] KeyId),
    /// The one whose TPM has this endorsement key.
    #[n(1)]
    Endorsement(#[n(0)] KeyId),
    /// The one with this serial in a factory certificate.
    #[n(2)]
    Serial {
        /// As the certificate says it.
        #[n(0)]
        serial: String,
        /// Key id of the CA to which the certificate leads.
        #[n(1)]
        issuer: KeyId,
    },
}

impl Subject {
    /// What it is looked up by: kind and name. Serials of two issuers share it.
    pub fn place(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(key) => write!(f, "key:{key}"),
            Self::Endorsement(key) => write!(f, "ek:{key}"),
            Self::Serial { serial, .. } => write!(f, "serial:{serial}"),
        }
    }
}

/// Whose a device is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Owner {
    /// Key id of the root of its authority, by which the device knows it.
    #[n(0)]
    pub pin: KeyId,
    /// The key by which it passes the device on.
    #[n(1)]
    pub key: PublicKey,
}

/// What the maker signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// 16 random bytes: the voucher lets in once.
    #[n(0)]
    pub nonce: ByteArray<16>,
    /// Which device.
    #[n(1)]
    pub subject: Subject,
    /// Whose it is.
    #[n(2)]
    pub owner: Owner,
    /// When it was made.
    #[n(3)]
    pub created: Timestamp,
    /// From when on it lets nobody in; absent for one that does not end.
    #[n(4)]
    pub expires: Option<Timestamp>,
}

/// What an owner signs who passes the device on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Endorsement {
    /// Hash of the object before.
    #[n(0)]
    pub of: ByteArray<32>,
    /// Whose the device is from now on.
    #[n(1)]
    pub owner: Owner,
    /// When it was made.
    #[n(2)]
    pub created: Timestamp,
}

/// A voucher and its endorsements, of which nobody has checked a signature yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Bundle {
    /// By the maker.
    #[n(0)]
    voucher: ByteVec,
    /// By one owner after the other.
    #[n(1)]
    endorsements: Vec<ByteVec>,
}

/// A voucher whose every signature holds. Only [`Bundle::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voucher {
    bundle: Bundle,
    id: VoucherId,
    maker: KeyId,
    statement: Statement,
    owner: Owner,
}

impl Statement {
    /// Prepares it for the maker's key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(STATEMENT, key, cbor::encode(self))
    }
}

impl Endorsement {
    /// Prepares it for the key of the present owner.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(ENDORSEMENT, key, cbor::encode(self))
    }
}

impl Bundle {
    /// A voucher that its maker has just signed.
    pub fn signed(voucher: Vec<u8>) -> Self {
        Self { voucher: voucher.into(), endorsements: Vec::new() }
    }

    /// Reads a file or what an authority sent.
    ///
    /// # Errors
    /// When it is none, or longer than one can be.
    pub fn parse(bytes: &[u8]) -> Result<Self, Withheld> {
        let bundle: Self = cbor::decode(bytes, VOUCHER_BYTES_MAX).map_err(|error| malformed(&error))?;
        if bundle.endorsements.len() > ENDORSEMENTS_MAX {
            let why = format!("{} endorsements, at most {ENDORSEMENTS_MAX} count", bundle.endorsements.len());
            return Err(Withheld::saying(code::VOUCHER_CHAIN, &why));
        }
        Ok(bundle)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Which key claims to have signed it, so that it can be looked up.
    ///
    /// # Errors
    /// When it is no signed object.
    pub fn maker(&self) -> Result<KeyId, Withheld> {
        Ok(Sealed::parse(&self.voucher, SIGNED_BYTES_MAX).map_err(|error| refused(&error))?.key_id())
    }

    /// Checks every signature, from the maker's on.
    ///
    /// # Errors
    /// At the first thing that does not hold.
    pub fn verify(self, maker: &PublicKey) -> Result<Voucher, Withheld> {
        let statement: Statement = open(&self.voucher, STATEMENT, maker)?;
        if let Subject::Serial { serial, .. } = &statement.subject
            && !((1..=SERIAL_BYTES_MAX).contains(&serial.len()) && serial.chars().all(is_safe))
        {
            return Err(malformed(&"its serial is none"));
        }
        if statement.expires.is_some_and(|expires| expires <= statement.created) {
            return Err(malformed(&"it ends before it begins"));
        }
        let mut owner = statement.owner.clone();
        let mut before = &self.voucher;
        for signed in &self.endorsements {
            let next: Endorsement = open(signed, ENDORSEMENT, &owner.key)?;
            if *next.of != link(before) {
                return Err(Withheld::saying(code::VOUCHER_CHAIN, &"an endorsement is of another voucher"));
            }
            owner = next.owner;
            before = signed;
        }
        let id = VoucherId::new(maker.id(), &statement.nonce);
        Ok(Voucher { id, maker: maker.id(), owner, statement, bundle: self })
    }
}

impl Voucher {
    /// Names it.
    pub const fn id(&self) -> VoucherId {
        self.id
    }

    /// Key id of its maker.
    pub const fn maker(&self) -> KeyId {
        self.maker
    }

    /// What the maker said.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Whose the device is now.
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// With its endorsements.
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Checks that it names this root, and that it has not run out.
    ///
    /// # Errors
    /// When the device is somebody else's, or its time is over.
    pub fn is_for(&self, pin: KeyId, now: Timestamp) -> Result<(), Withheld> {
        if self.owner.pin != pin {
            let why = format!("it names the authority with the root {}", self.owner.pin);
            return Err(Withheld::saying(code::VOUCHER_OWNER, &why));
        }
        match self.statement.expires {
            Some(expires) if now >= expires => {
                Err(Withheld::saying(code::VOUCHER_EXPIRED, &format!("at {expires}")))
            }
            _ => Ok(()),
        }
    }

    /// The word with which the present owner passes the device on.
    ///
    /// # Errors
    /// When it was passed on as often as may be.
    pub fn endorsement(&self, to: Owner, now: Timestamp) -> Result<Endorsement, Withheld> {
        let before = self.bundle.endorsements.last().unwrap_or(&self.bundle.voucher);
        if self.bundle.endorsements.len() >= ENDORSEMENTS_MAX {
            let why = format!("it has {ENDORSEMENTS_MAX} endorsements, and no more count");
            return Err(Withheld::saying(code::VOUCHER_CHAIN, &why));
        }
        Ok(Endorsement { of: ByteArray::from(link(before)), owner: to, created: now })
    }

    /// The voucher with one endorsement more. Whether its signature is right shows when somebody verifies it.
    #[must_use]
    pub fn endorsed(&self, signed: Vec<u8>) -> Bundle {
        let mut bundle = self.bundle.clone();
        bundle.endorsements.push(signed.into());
        bundle
    }
}

/// A voucher as an authority keeps it, its signatures checked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Kept {
    /// Names it.
    #[n(0)]
    pub id: VoucherId,
    /// Successor of the version in the store; 1 for a new one.
    #[n(1)]
    pub version: u64,
    /// Key id of its maker.
    #[n(2)]
    pub maker: KeyId,
    /// Which device.
    #[n(3)]
    pub subject: Subject,
    /// From when on it lets nobody in.
    #[n(4)]
    pub expires: Option<Timestamp>,
    /// As it was imported.
    #[n(5)]
    pub bundle: ByteVec,
    /// When it was.
    #[n(6)]
    pub imported_at: Timestamp,
    /// What became of it.
    #[n(7)]
    pub fate: Fate,
}

/// What became of a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Fate {
    /// Its device has not come.
    #[n(0)]
    Waiting,
    /// This device, which it names, was let in, by it or otherwise.
    #[n(1)]
    Spent {
        /// Which.
        #[n(0)]
        device: DeviceId,
        /// When.
        #[n(1)]
        at: Timestamp,
    },
    /// The device was passed on.
    #[n(2)]
    Endorsed {
        /// Root of the authority that has it now.
        #[n(0)]
        to: KeyId,
        /// When.
        #[n(1)]
        at: Timestamp,
    },
    /// It came back with a backup, or its device was turned away.
    #[n(3)]
    Void {
        /// When.
        #[n(0)]
        at: Timestamp,
        /// The device that was turned away.
        #[n(1)]
        device: Option<DeviceId>,
    },
}

/// Why a voucher is void, for people; with the device that was turned away.
pub fn why_void(device: Option<&DeviceId>) -> String {
    match device {
        Some(device) => format!("{device}, which it names, was turned away"),
        None => "it came back with a backup, and may have been spent since".to_owned(),
    }
}

impl Kept {
    /// A voucher that is kept from now on.
    pub fn new(voucher: &Voucher, now: Timestamp) -> Self {
        Self {
            id: voucher.id,
            version: 1,
            maker: voucher.maker,
            subject: voucher.statement.subject.clone(),
            expires: voucher.statement.expires,
            bundle: voucher.bundle.to_bytes().into(),
            imported_at: now,
            fate: Fate::Waiting,
        }
    }

    /// The record after something became of it.
    #[must_use]
    pub fn becoming(mut self, fate: Fate) -> Self {
        self.fate = fate;
        self.version += 1;
        self
    }
}

/// What an endorsement hashes of the object before it.
fn link(signed: &[u8]) -> Sha256 {
    sha256_parts("kos voucher link v1", [signed])
}

fn open<T>(signed: &[u8], purpose: Purpose, key: &PublicKey) -> Result<T, Withheld>
where
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    if key.algorithm() == KeyAlgorithm::P384 {
        return Err(Withheld::saying(code::VOUCHER_SIGNATURE, &"its algorithm is neither EdDSA nor ES256"));
    }
    let sealed = Sealed::parse(signed, SIGNED_BYTES_MAX).map_err(|error| refused(&error))?;
    let payload = sealed.verify(purpose, key).map_err(|error| refused(&error))?;
    cbor::decode(&payload, SIGNED_BYTES_MAX).map_err(|error: CborError| malformed(&error))
}

fn malformed(error: &impl fmt::Display) -> Withheld {
    Withheld::saying(code::VOUCHER_MALFORMED, error)
}

fn refused(error: &CoseError) -> Withheld {
    match error {
        CoseError::Cbor(_) | CoseError::Shape => malformed(error),
        CoseError::Mismatch | CoseError::OtherKey | CoseError::Signature(_) => {
            Withheld::saying(code::VOUCHER_SIGNATURE, error)
        }
    }
}
