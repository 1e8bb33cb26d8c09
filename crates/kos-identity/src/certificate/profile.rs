//! Which certificates there are, and what each kind is allowed.
//!
//! Source: `docs/spec/identity.md` ID-17 to ID-19; RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.12.

use core::time::Duration;

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
};
use kos_base::{KeyAlgorithm, SecurityProfile};
use kos_policy::{IssuingCa, guardrails};

/// How far a certificate is back-dated, so that a peer whose clock is a little slow accepts it at once.
pub const BACK_DATING: Duration = Duration::from_secs(5 * 60);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The authority's root: signs itself, the issuing CAs and the list of revoked issuing CAs.
    Root,
    /// One of the two CAs that sign everything else.
    Issuing(IssuerClass),
    /// A device at a security profile.
    Device(SecurityProfile),
    /// A person or program that operates the authority.
    Operator,
    /// The authority as a server and as a peer.
    Authority,
}

/// Which issuing CA. Two of them, so that the loss of the everyday one leaves the strict profiles standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssuerClass {
    /// Signs devices with SEC-0, SEC-1 and SEC-2.
    One,
    /// Signs devices with SEC-3 and SEC-4, operators and the authority itself.
    Two,
}

impl IssuerClass {
    /// Both.
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    /// The one that signs for devices of a security profile.
    pub const fn of(profile: SecurityProfile) -> Self {
        match guardrails(profile).issuing_ca {
            IssuingCa::One => Self::One,
            IssuingCa::Two => Self::Two,
        }
    }

    /// The digit in the CA's name.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

impl Profile {
    /// How long a certificate of this kind lives, unless its issuer ends earlier.
    pub const fn lifetime(self) -> Duration {
        let days = match self {
            Self::Root => 20 * 365 + 5,
            Self::Issuing(_) => 3 * 365 + 1,
            Self::Device(profile) => guardrails(profile).certificate_days,
            Self::Operator | Self::Authority => 90,
        };
        DAY.saturating_mul(days)
    }

    /// Which issuing CA signs it; none for what the root signs.
    pub const fn issuer(self) -> Option<IssuerClass> {
        match self {
            Self::Root | Self::Issuing(_) => None,
            Self::Device(profile) => Some(IssuerClass::of(profile)),
            Self::Operator | Self::Authority => Some(IssuerClass::Two),
        }
    }

    /// The algorithm that the certified key must have; none where the holder chooses.
    pub const fn algorithm(self) -> Option<KeyAlgorithm> {
        match self {
            Self::Root => Some(KeyAlgorithm::P384),
            Self::Issuing(_) => Some(KeyAlgorithm::P256),
            Self::Device(_) | Self::Operator | Self::Authority => None,
        }
    }

    /// Extended key usages. A device is also a TLS server, towards its peers in a mesh.
    pub(crate) const fn purposes(self) -> &'static [ObjectIdentifier] {
        match self {
            Self::Root | Self::Issuing(_) => &[],
            Self::Operator => &[ID_KP_CLIENT_AUTH],
            Self::Device(_) | Self::Authority => &[ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH],
        }
    }
}
