//! The word of a node: an enrolled device vouches for a new one, within what an operator granted.
//!
//! A grant is signed by the authority and goes to the node, so that it knows what its word is worth; what counts is the
//! record of the authority. A vouch is signed by the operational key of the node.
//!
//! Source: `docs/spec/voucher.md` VOU-30 to VOU-37.

use core::time::Duration;

use kos_base::{
    AuthorityName, DeviceId, EntryId, GroupPath, KeyId, PublicKey, Role, SecurityProfile, Timestamp,
    cbor::{self, CborError},
    code::voucher as code,
    cose::{Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

use crate::Withheld;

/// Longest grant or vouch in bytes.
pub const VOUCH_BYTES_MAX: usize = 1024;
/// Longest life of a vouch: whoever carries it to a new device does so within days.
pub const VOUCH_LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far the clock of a node may be ahead. Stops one from making vouches for later.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(300);

const GRANT: Purpose =
    Purpose { domain: "kos vouching grant v1", typ: "application/kos-vouching-grant+cbor" };
const VOUCH: Purpose = Purpose { domain: "kos vouch v1", typ: "application/kos-vouch+cbor" };

/// What an authority lets a node vouch for, as the node holds it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Names it.
    #[n(0)]
    pub id: EntryId,
    /// Who may vouch.
    #[n(1)]
    pub device: DeviceId,
    /// Whose word this is.
    #[n(2)]
    pub authority: AuthorityName,
    /// Key id of its root.
    #[n(3)]
    pub pin: KeyId,
    /// The highest profile.
    #[n(4)]
    pub profile: SecurityProfile,
    /// For how many devices.
    #[n(5)]
    pub uses: u32,
    /// Until when.
    #[n(6)]
    pub expires: Timestamp,
}

/// What a node says of a new device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Vouch {
    /// By which grant.
    #[n(0)]
    pub grant: EntryId,
    /// Who says it.
    #[n(1)]
    pub node: DeviceId,
    /// To whom.
    #[n(2)]
    pub authority: AuthorityName,
    /// Key id of the root of that authority: the new device may know it by this.
    #[n(3)]
    pub pin: KeyId,
    /// Identity key of the new device.
    #[n(4)]
    pub subject: KeyId,
    /// The highest profile.
    #[n(5)]
    pub profile: SecurityProfile,
    /// When it was said.
    #[n(6)]
    pub created: Timestamp,
    /// Until when it counts.
    #[n(7)]
    pub expires: Timestamp,
}

/// A vouch whose signature nobody has checked yet, so that grant and node can be looked up.
#[derive(Clone, Debug)]
pub struct Vouched {
    sealed: Sealed,
    said: Vouch,
}

/// The node as the authority knows it now.
#[derive(Clone, Copy, Debug)]
pub struct SignedBy<'a> {
    /// The key of its certificate in service; nothing when it has none that counts, or the node is stopped.
    pub key: Option<&'a PublicKey>,
    /// The profile of that certificate.
    pub profile: SecurityProfile,
}

/// A grant as the authority keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sponsor {
    /// Names it.
    #[n(0)]
    pub id: EntryId,
    /// Successor of the version in the store; 1 for a new one.
    #[n(1)]
    pub version: u64,
    /// Who may vouch.
    #[n(2)]
    pub device: DeviceId,
    /// The highest profile that it may give.
    #[n(3)]
    pub profile: SecurityProfile,
    /// The role of the devices that it lets in; what they ask for where it is absent.
    #[n(4)]
    pub role: Option<Role>,
    /// Their group.
    #[n(5)]
    pub group: Option<GroupPath>,
    /// For how many devices it may vouch.
    #[n(6)]
    pub uses_max: u32,
    /// For how many it has.
    #[n(7)]
    pub uses: u32,
    /// When it was granted.
    #[n(8)]
    pub created_at: Timestamp,
    /// Until when it counts.
    #[n(9)]
    pub expires_at: Timestamp,
    /// Withdrawn by an operator.
    #[n(10)]
    pub revoked: bool,
}

impl Grant {
    /// Prepares it for the authority's key of orders.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(GRANT, key, cbor::encode(self))
    }

    /// Reads a grant that the authority with this key of orders signed.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(signed: &[u8], key: &PublicKey) -> Result<Self, Withheld> {
        let invalid = |error: &dyn core::fmt::Display| {
            Withheld::saying(code::VOUCH_INVALID, &format!("the grant: {error}"))
        };
        let sealed = Sealed::parse(signed, VOUCH_BYTES_MAX).map_err(|error| invalid(&error))?;
        let payload = sealed.verify(GRANT, key).map_err(|error| invalid(&error))?;
        cbor::decode(&payload, VOUCH_BYTES_MAX).map_err(|error: CborError| invalid(&error))
    }

    /// What the node says of the device with this identity key, if the grant lets it.
    ///
    /// # Errors
    /// When the grant has run out, gives less, or is for another node or authority.
    pub fn vouch(
        &self,
        node: (&DeviceId, &AuthorityName),
        subject: KeyId,
        (profile, life): (SecurityProfile, Duration),
        now: Timestamp,
    ) -> Result<Vouch, Withheld> {
        if (&self.device, &self.authority) != node {
            return Err(Withheld::saying(code::SPONSOR_UNKNOWN, &"the grant is for another device"));
        }
        if now >= self.expires {
            return Err(Withheld::new(code::SPONSOR_EXPIRED));
        }
        if profile > self.profile {
            let why = format!("the grant gives at most {}", self.profile);
            return Err(Withheld::saying(code::VOUCH_INVALID, &why));
        }
        Ok(Vouch {
            grant: self.id,
            node: self.device.clone(),
            authority: self.authority.clone(),
            pin: self.pin,
            subject,
            profile,
            created: now,
            expires: now.plus(life.min(VOUCH_LIFE_MAX)).min(self.expires),
        })
    }
}

impl Vouch {
    /// Prepares it for the operational key of the node.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(VOUCH, key, cbor::encode(self))
    }
}

impl Vouched {
    /// Reads what a new device handed in, or was given.
    ///
    /// # Errors
    /// When it is no vouch.
    pub fn parse(signed: &[u8]) -> Result<Self, Withheld> {
        let invalid = |error: &dyn core::fmt::Display| Withheld::saying(code::VOUCH_INVALID, &error);
        let sealed = Sealed::parse(signed, VOUCH_BYTES_MAX).map_err(|error| invalid(&error))?;
        let said = cbor::decode(sealed.unverified_payload(), VOUCH_BYTES_MAX);
        let said = said.map_err(|error: CborError| invalid(&error))?;
        Ok(Self { sealed, said })
    }

    /// What it says, before anybody has checked it.
    pub const fn unverified(&self) -> &Vouch {
        &self.said
    }

    /// Checks it for the device with the identity key `subject`, under the authority with the root `pin`.
    ///
    /// # Errors
    /// At the first thing that does not hold.
    pub fn check(
        self,
        sponsor: Option<&Sponsor>,
        node: SignedBy<'_>,
        (subject, pin): (KeyId, KeyId),
        now: Timestamp,
    ) -> Result<Vouch, Withheld> {
        let invalid = |why: &dyn core::fmt::Display| Withheld::saying(code::VOUCH_INVALID, &why);
        let said = self.said;
        let sponsor = sponsor.filter(|held| held.device == said.node && !held.revoked);
        let sponsor = sponsor.ok_or(Withheld::new(code::SPONSOR_UNKNOWN))?;
        let key = node.key.ok_or(Withheld::new(code::SPONSOR_STOPPED))?;
        self.sealed.verify(VOUCH, key).map_err(|error| invalid(&error))?;
        if said.subject != subject {
            return Err(invalid(&"it is for another device"));
        }
        if said.pin != pin {
            return Err(invalid(&"it is for another authority"));
        }
        let latest = said.created.plus(VOUCH_LIFE_MAX);
        if said.created > now.plus(CLOCKS_APART_MAX) || said.expires > latest {
            return Err(invalid(&"it counts longer than a node can say"));
        }
        if now >= sponsor.expires_at || now >= said.expires || now > latest {
            return Err(Withheld::new(code::SPONSOR_EXPIRED));
        }
        if sponsor.uses >= sponsor.uses_max {
            return Err(Withheld::new(code::SPONSOR_SPENT));
        }
        let most = sponsor.profile.min(node.profile);
        if said.profile > most {
            return Err(invalid(&format_args!("it gives {}, where the node may give {most}", said.profile)));
        }
        Ok(said)
    }
}

impl Sponsor {
    /// Most devices that a node may vouch for by one grant. Stops a node that turns hostile from filling a fleet.
    pub const USES_MAX: u32 = 1000;
    /// Longest life of a grant.
    pub const LIFE_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

    /// The grant with one use more.
    #[must_use]
    pub fn spent(mut self) -> Self {
        self.uses += 1;
        self.version += 1;
        self
    }
}
