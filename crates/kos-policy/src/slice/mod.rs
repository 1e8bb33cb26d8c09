//! What a manifest says about one device, in a form that the device decides by itself.
//!
//! Shape: a signed object (ID-14 to ID-16), domain `kos policy slice v1`; its payload is deterministic CBOR of a
//! [`Slice`]: whose it is, its place in the row of those that were given, when it ends, and its rules in a closed form.
//!
//! Invariants: what was not signed by the order key of the device's own authority for this very device is no slice
//! ([`open`]). None gives way to an older one ([`Slice::place`]). What no rule permits is refused, and so is everything
//! once the slice has run out ([`Slice::decide`]).
//!
//! Limits: [`SLICE_BYTES_MAX`], [`RULES_MAX`], [`CLAUSES_MAX`], [`ATOMS_MAX`], [`NAME_BYTES_MAX`].
//!
//! Errors: [`SliceError`], each with a stable code. The device keeps what it holds.
//!
//! What it does not do: say where it is kept, what the time is, or that a rule means what Cedar makes of it; that the
//! two decide alike is shown by the tests of `kos-authority`, which has Cedar.
//!
//! Source: `docs/spec/manifest.md` MAN-20 to MAN-29. Fuzz target: `slice`.

mod rule;
#[cfg(test)]
mod tests;

use kos_base::{
    AuthorityName, Channel, Code, DeviceId, EvidenceTier, PublicKey, Role, SecurityProfile, Timestamp,
    cbor::{self, CborError},
    code::manifest as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

pub use self::rule::{
    Atom, Attribute, Clause, Comparison, ParseAtomError, Pattern, PatternKind, Polarity, RuleEffect,
    SliceRule, Value,
};

/// What the signature of a slice is for.
const SLICE: Purpose = Purpose { domain: "kos policy slice v1", typ: "application/kos-policy-slice+cbor" };

/// Longest signed slice, in bytes: it goes in one message. Stops an authority gone wild from filling a device.
pub const SLICE_BYTES_MAX: usize = 49_152;
/// Most rules of a slice. Stops a decision from taking long.
pub const RULES_MAX: usize = 1_024;
/// Most clauses of a rule, likewise.
pub const CLAUSES_MAX: usize = 8;
/// Most comparisons of a clause, likewise.
pub const ATOMS_MAX: usize = 8;
/// Longest name in a slice, in bytes: of a rule, a resource, a value. Stops names from filling the memory.
pub const NAME_BYTES_MAX: usize = 128;

/// What a device may send, by the manifests of its authority.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slice {
    /// Whose manifests they are.
    #[n(1)]
    pub authority: AuthorityName,
    /// About whom.
    #[n(2)]
    pub device: DeviceId,
    /// Rises with every manifest that is applied.
    #[n(3)]
    pub counter: u64,
    /// The version of the device's record that it was made from.
    #[n(4)]
    pub record: u64,
    /// When it was made.
    #[n(5)]
    pub issued: Timestamp,
    /// From then on it allows nothing.
    #[n(6)]
    pub expires: Timestamp,
    /// Whether any manifest is in force. If none is, the guardrails alone decide.
    #[n(7)]
    pub governs: bool,
    /// The rules that can concern the device.
    #[n(8)]
    pub rules: Vec<SliceRule>,
}

/// The place of a slice in the row of those of one device. A later one is greater.
pub type Place = (u64, u64, Timestamp);

/// Why bytes are not the slice of this device, or not a newer one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The order key did not sign it for this purpose.
    #[error(transparent)]
    Envelope(#[from] CoseError),
    /// What was signed is no slice.
    #[error(transparent)]
    Shape(#[from] CborError),
    /// It is over a limit, or a rule is not of the closed form.
    #[error("the slice is over a limit")]
    Limit,
    /// It is about another device, or of another authority.
    #[error("the slice is of {authority} and for {device}")]
    Foreign {
        /// Whose.
        authority: AuthorityName,
        /// For whom.
        device: DeviceId,
    },
    /// A newer one is held.
    #[error("the slice has number {found}, and number {held} is held")]
    Older {
        /// The counter of the one that is held.
        held: u64,
        /// The counter of this one.
        found: u64,
    },
}

impl SliceError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) | Self::Shape(_) | Self::Limit | Self::Foreign { .. } => codes::SLICE_UNSOUND,
            Self::Older { .. } => codes::SLICE_OLDER,
        }
    }
}

/// What is known of the device when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What its certificate says.
    pub profile: SecurityProfile,
    /// Likewise.
    pub evidence: EvidenceTier,
    /// Its role.
    pub role: Role,
    /// The channel that it follows.
    pub channel: Channel,
}

/// What is asked: to send a message of this type to the authority, or anything to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// A message, by the names of its type and of its errand.
    Message(&'a str, &'a str),
    /// Something for another device.
    Device(&'a DeviceId),
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling<'a> {
    /// No manifest is in force: the guardrails alone decide.
    Ungoverned,
    /// This rule permits it, and none forbids it.
    Permitted(&'a str),
    /// This rule forbids it.
    Forbidden(&'a str),
    /// No rule permits it.
    Unpermitted,
    /// The slice has run out.
    Expired,
}

impl Ruling<'_> {
    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Ungoverned | Self::Permitted(_))
    }

    /// The rule that decided, if one did.
    pub const fn rule(&self) -> Option<&str> {
        match self {
            Self::Permitted(rule) | Self::Forbidden(rule) => Some(rule),
            Self::Ungoverned | Self::Unpermitted | Self::Expired => None,
        }
    }

    /// Why, in one sentence.
    pub fn why(&self) -> String {
        match self {
            Self::Ungoverned => "no manifest is in force".to_owned(),
            Self::Permitted(rule) => format!("rule `{rule}` permits it"),
            Self::Forbidden(rule) => format!("rule `{rule}` forbids it"),
            Self::Unpermitted => "no rule of the manifests permits it".to_owned(),
            Self::Expired => "what the authority said about it has run out".to_owned(),
        }
    }
}

impl Slice {
    /// Its place in the row.
    pub const fn place(&self) -> Place {
        (self.counter, self.record, self.issued)
    }

    /// Prepares it for the order key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(SLICE, key, cbor::encode(self))
    }

    /// Whether it may come after the one that is held.
    ///
    /// # Errors
    /// [`SliceError::Older`].
    pub fn follows(&self, held: &Self) -> Result<(), SliceError> {
        if self.place() >= held.place() {
            Ok(())
        } else {
            Err(SliceError::Older { held: held.counter, found: self.counter })
        }
    }

    /// Decides at `now`.
    ///
    /// Of the rules that hold, a forbidding one decides before a permitting one; of several the first by name.
    ///
    /// *Cost*: looks at every rule once.
    pub fn decide(&self, now: Timestamp, facts: &Facts, sent: Sent<'_>) -> Ruling<'_> {
        if now >= self.expires {
            return Ruling::Expired;
        }
        if !self.governs {
            return Ruling::Ungoverned;
        }
        let holding = |effect: RuleEffect| {
            let fits = |rule: &&SliceRule| rule.effect == effect && rule.holds(now, facts, sent);
            self.rules.iter().filter(fits).map(|rule| rule.id.as_str()).min()
        };
        match holding(RuleEffect::Forbid) {
            Some(rule) => Ruling::Forbidden(rule),
            None => holding(RuleEffect::Permit).map_or(Ruling::Unpermitted, Ruling::Permitted),
        }
    }

    fn is_in_limits(&self) -> bool {
        self.issued < self.expires
            && self.rules.len() <= RULES_MAX
            && self.rules.iter().all(SliceRule::is_in_limits)
    }
}

/// Reads a slice that is for `device` of `authority`, whose order key is `key`.
///
/// # Errors
/// When it is not one: keep what is held.
pub fn open(
    signed: &[u8],
    key: &PublicKey,
    authority: &AuthorityName,
    device: &DeviceId,
) -> Result<Slice, SliceError> {
    let payload = Sealed::parse(signed, SLICE_BYTES_MAX)?.verify(SLICE, key)?;
    let slice: Slice = cbor::decode(&payload, SLICE_BYTES_MAX)?;
    if slice.authority != *authority || slice.device != *device {
        return Err(SliceError::Foreign { authority: slice.authority, device: slice.device });
    }
    if slice.is_in_limits() { Ok(slice) } else { Err(SliceError::Limit) }
}
