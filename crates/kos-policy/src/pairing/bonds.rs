//! What a device gets of its pairings and of the grants that are about it.

use core::time::Duration;

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, PublicKey, Timestamp,
    cbor::{self, CborError},
    code::pairing as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

use super::{AgentId, GRANTS_MAX, PAIRS_MAX, Partner};
use crate::{
    grant::{GRANT_BYTES_MAX, Grant},
    trust::TrustLevel,
};

const BONDS: Purpose = Purpose { domain: "kos bonds v1", typ: "application/kos-bonds+cbor" };

/// Longest signed bonds, in bytes: they go in one message. Stops an authority gone wild from filling a device.
pub const BONDS_BYTES_MAX: usize = 49_152;
/// How long they count when no others come. Stops a device that is kept from its authority from being called for ever.
pub const BONDS_LIFE: Duration = Duration::from_secs(7 * 86_400);
/// Longest name of a person in them, in bytes.
const LABEL_BYTES_MAX: usize = 192;

/// With whom a device is paired, or might be, and what agents may ask of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bonds {
    /// Of whose fleet.
    #[n(1)]
    pub authority: AuthorityName,
    /// Which device.
    #[n(2)]
    pub device: DeviceId,
    /// Rises with every change.
    #[n(3)]
    pub counter: u64,
    /// When they were made.
    #[n(4)]
    pub issued: Timestamp,
    /// From then on the device is paired with nobody.
    #[n(5)]
    pub expires: Timestamp,
    /// Pairings that are not over.
    #[n(6)]
    pub pairs: Vec<Bond>,
    /// Grants that were not revoked.
    #[n(7)]
    pub grants: Vec<Held>,
}

/// One pairing, as the device sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bond {
    /// Which.
    #[n(1)]
    pub id: EntryId,
    /// With whom.
    #[n(2)]
    pub partner: Partner,
    /// What a person is called, for people at the device.
    #[n(3)]
    pub label: Option<String>,
    /// How far an agent is trusted.
    #[n(4)]
    pub level: TrustLevel,
    /// By which key an agent is known.
    #[n(5)]
    pub key: Option<PublicKey>,
    /// Whether the device has confirmed it.
    #[n(6)]
    pub device_said: bool,
    /// Whether the other side has.
    #[n(7)]
    pub partner_said: bool,
    /// When it was proposed.
    #[n(8)]
    pub proposed: Timestamp,
}

impl Bond {
    /// Whether both have confirmed it.
    pub const fn is_paired(&self) -> bool {
        self.device_said && self.partner_said
    }
}

/// A grant with its signature, and what a person says of it for now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Held {
    /// The signed grant.
    #[n(1)]
    pub signed: ByteVec,
    /// A person's word.
    #[n(2)]
    pub lifted: Option<Lifted>,
}

/// What a person says of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Lifting {
    /// Its end, its number of uses and its conditions do not count.
    #[n(0)]
    Allow,
    /// It allows nothing.
    #[n(1)]
    Deny,
}

impl Lifting {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a person says of a grant, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lifted {
    /// What.
    #[n(1)]
    pub lifting: Lifting,
    /// Until when it holds.
    #[n(2)]
    pub until: Timestamp,
}

/// Why bytes are not the bonds of this device, or not newer ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BondsError {
    /// The order key did not sign them for this purpose.
    #[error(transparent)]
    Envelope(#[from] CoseError),
    /// What was signed are none.
    #[error(transparent)]
    Shape(#[from] CborError),
    /// They are over a limit.
    #[error("the bonds are over a limit")]
    Limit,
    /// They are about another device, or of another authority.
    #[error("the bonds are of {authority} and for {device}")]
    Foreign {
        /// Whose.
        authority: AuthorityName,
        /// For whom.
        device: DeviceId,
    },
    /// Newer ones are held.
    #[error("the bonds have number {found}, and number {held} is held")]
    Older {
        /// The counter of those that are held.
        held: u64,
        /// The counter of these.
        found: u64,
    },
}

impl BondsError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) | Self::Shape(_) | Self::Limit | Self::Foreign { .. } => codes::BONDS_UNSOUND,
            Self::Older { .. } => codes::BONDS_OLDER,
        }
    }
}

impl Bonds {
    /// Prepares them for the order key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(BONDS, key, cbor::encode(self))
    }

    /// Whether they may come after those that are held.
    ///
    /// # Errors
    /// [`BondsError::Older`].
    pub fn follow(&self, held: &Self) -> Result<(), BondsError> {
        if (self.counter, self.issued) >= (held.counter, held.issued) {
            Ok(())
        } else {
            Err(BondsError::Older { held: held.counter, found: self.counter })
        }
    }

    /// The pairing with an agent that both have confirmed, at `now`.
    pub fn paired(&self, agent: &AgentId, now: Timestamp) -> Option<&Bond> {
        let fits = |bond: &&Bond| bond.partner.agent() == Some(agent) && bond.is_paired();
        self.pairs.iter().find(fits).filter(|_| now < self.expires)
    }

    /// A grant that they hold, if `key`, the order key, signed it for this device; with a person's word about it.
    pub fn grant(&self, id: EntryId, key: &PublicKey) -> Option<(Grant, Option<Lifted>)> {
        let read = |held: &Held| {
            let grant = Grant::open(&held.signed, key).ok()?;
            let ours = grant.device == self.device && grant.authority == self.authority && grant.id == id;
            ours.then_some((grant, held.lifted))
        };
        self.grants.iter().find_map(read)
    }

    fn is_in_limits(&self) -> bool {
        self.issued < self.expires
            && self.pairs.len() <= PAIRS_MAX
            && self.grants.len() <= GRANTS_MAX
            && self.grants.iter().all(|held| held.signed.len() <= GRANT_BYTES_MAX)
            && self.pairs.iter().all(|bond| {
                bond.label.as_ref().is_none_or(|label| label.len() <= LABEL_BYTES_MAX)
                    && bond.partner.agent().is_some() == bond.key.is_some()
            })
    }
}

/// Reads bonds that are for `device` of `authority`, whose order key is `key`.
///
/// # Errors
/// When they are not: keep what is held.
pub fn open(
    signed: &[u8],
    key: &PublicKey,
    authority: &AuthorityName,
    device: &DeviceId,
) -> Result<Bonds, BondsError> {
    let payload = Sealed::parse(signed, BONDS_BYTES_MAX)?.verify(BONDS, key)?;
    let bonds: Bonds = cbor::decode(&payload, BONDS_BYTES_MAX)?;
    if bonds.authority != *authority || bonds.device != *device {
        return Err(BondsError::Foreign { authority: bonds.authority, device: bonds.device });
    }
    if bonds.is_in_limits() { Ok(bonds) } else { Err(BondsError::Limit) }
}
