//! Approval rules: whom an operator has let in beforehand, without a person at the moment when the device comes.
//!
//! A rule says which devices it speaks of and the most that it gives them. What it asks for by hardware address or serial
//! is what the device says of itself, and any stranger can say it; what it asks for by key is proven by the handshake. So a
//! rule without keys gives little, and no rule settles what only a person can: see [`super::admit`].
//!
//! Source: `docs/spec/enrolment.md` RUL-1 to RUL-4.

use std::collections::BTreeSet;

use kos_base::{Capability, KeyId, Mac, Role, SecurityProfile};

/// What a rule is called in the record: a label of at most 48 characters.
pub type RuleName = Capability;

/// Lets in the devices that show everything it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRule {
    name: RuleName,
    asks: Asks,
    profile: SecurityProfile,
}

/// Of each list that is not empty, a device has to show one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Hardware serials, exactly.
    pub serials: BTreeSet<String>,
    /// Universally administered hardware addresses.
    pub macs: BTreeSet<Mac>,
    /// Identity keys.
    pub keys: BTreeSet<KeyId>,
    /// Endorsement keys of TPMs, which prove that they have the device's keys.
    pub eks: BTreeSet<KeyId>,
    /// Roles that the device may ask for.
    pub roles: BTreeSet<Role>,
}

impl Asks {
    /// Whether it asks for something that is proven.
    fn names_keys(&self) -> bool {
        !self.keys.is_empty() || !self.eks.is_empty()
    }
}

/// What a device shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub(super) macs: &'a [Mac],
    pub(super) serials: &'a [String],
    pub(super) key: KeyId,
    /// Of the TPM that proved itself in this conversation.
    pub(super) ek: Option<KeyId>,
    pub(super) role: Role,
}

/// There is no such rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It would let everybody in.
    #[error("a rule names serials, hardware addresses, identity keys or endorsement keys")]
    Everybody,
    /// It names a hardware address that software chooses.
    #[error("{0} is not a hardware address that a maker assigned")]
    Address(Mac),
    /// It gives more than claims are worth.
    #[error("a rule that names no keys gives at most {most}, not {0}", most = ApprovalRule::CLAIMS_GIVE)]
    Profile(SecurityProfile),
}

impl ApprovalRule {
    /// The most that a rule gives to a device for what it says of itself.
    pub const CLAIMS_GIVE: SecurityProfile = SecurityProfile::Sec1;

    /// A rule that gives at most `profile`.
    ///
    /// # Errors
    /// When it would let everybody in, or give more than what it asks for is worth; mend it.
    pub fn new(name: RuleName, asks: Asks, profile: SecurityProfile) -> Result<Self, RuleError> {
        if asks.serials.is_empty() && asks.macs.is_empty() && !asks.names_keys() {
            return Err(RuleError::Everybody);
        }
        if let Some(mac) = asks.macs.iter().find(|mac| !mac.is_universal()) {
            return Err(RuleError::Address(*mac));
        }
        if !asks.names_keys() && profile > Self::CLAIMS_GIVE {
            return Err(RuleError::Profile(profile));
        }
        Ok(Self { name, asks, profile })
    }

    /// What the record calls it.
    pub const fn name(&self) -> &RuleName {
        &self.name
    }

    /// What it asks for.
    pub const fn asks(&self) -> &Asks {
        &self.asks
    }

    /// The most that it gives.
    pub const fn profile(&self) -> SecurityProfile {
        self.profile
    }

    /// Whether a device that shows this is one of those that it speaks of.
    pub(super) fn fits(&self, shown: &Shown<'_>) -> bool {
        let Asks { serials, macs, keys, eks, roles } = &self.asks;
        (serials.is_empty() || shown.serials.iter().any(|serial| serials.contains(serial)))
            && (macs.is_empty() || shown.macs.iter().any(|mac| macs.contains(mac)))
            && (keys.is_empty() || keys.contains(&shown.key))
            && (eks.is_empty() || shown.ek.is_some_and(|ek| eks.contains(&ek)))
            && (roles.is_empty() || roles.contains(&shown.role))
    }
}
