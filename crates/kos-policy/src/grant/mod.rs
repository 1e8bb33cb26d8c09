//! What an agent may ask of a device: a grant, signed, bounded and only ever narrowed; a call under it; a person's word.
//!
//! Shape: a [`Grant`] is signed by the order key of the authority (domain `kos agent grant v1`), a [`Call`] by the key of
//! the agent (domain `kos agent call v1`). [`Grant::check`] judges what an operator asks for, [`Grant::narrows`] a newer
//! version against the one before, [`judge`] a call. The field names are those of the source (`AgentPermissions`) where
//! people see them.
//!
//! Invariants: deny by default: what a grant does not name it does not give. It never gives more than the trust level
//! does, nor anything that no door decides on ([`Ability`]). A newer version is never wider in any field. A person's word
//! lifts the end, the uses and the conditions for a time, never the scope, the level or the pairing.
//!
//! Limits: [`GRANT_BYTES_MAX`], [`CALL_BYTES_MAX`], [`SCOPE_MAX`], [`CONDITIONS_MAX`], [`GRANT_LIFE_MAX`], [`CALL_AGE_MAX`].
//!
//! Errors: [`GrantError`], [`Refused`], each with a stable code.
//!
//! What it does not do: count uses or remember numbers of calls, which whoever keeps them hands in ([`Usage`]).
//!
//! Source: `docs/spec/grant.md`; fuzz target `grant`.

mod ability;
mod call;
#[cfg(test)]
mod tests;

use core::time::Duration;

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, PublicKey, Timestamp, cbor,
    code::pairing as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

pub use self::{
    ability::{Ability, Memory, ParseAbilityError, Pattern, Resource},
    call::{Basis, CALL_AGE_MAX, CALL_BYTES_MAX, Call, Refused, Usage, judge},
};
use crate::{
    pairing::AgentId,
    slice::Atom,
    trust::{self, Act, Network, Storage, TrustLevel, Untrusted},
};

const GRANT: Purpose = Purpose { domain: "kos agent grant v1", typ: "application/kos-agent-grant+cbor" };

/// Longest signed grant, in bytes: a device has 16 of them in one message.
pub const GRANT_BYTES_MAX: usize = 2_048;
/// Most patterns of a scope.
pub const SCOPE_MAX: usize = 8;
/// Most conditions.
pub const CONDITIONS_MAX: usize = 8;
/// Longest life of a grant. Stops one that everybody forgot from being used years later.
pub const GRANT_LIFE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Most uses that can be counted.
const USES_MAX: u64 = 1_000_000_000;

/// What an agent may ask of a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// Of whose fleet.
    #[n(1)]
    pub authority: AuthorityName,
    /// Which.
    #[n(2)]
    pub id: EntryId,
    /// Rises with every change.
    #[n(3)]
    pub version: u32,
    /// Under which pairing; it ends with that.
    #[n(4)]
    pub pairing: EntryId,
    /// Who may ask.
    #[n(5)]
    pub agent: AgentId,
    /// Whom.
    #[n(6)]
    pub device: DeviceId,
    /// For what.
    #[n(7)]
    pub ability: Ability,
    /// About what: one of these.
    #[n(8)]
    pub scope: Vec<Pattern>,
    /// When this version was signed.
    #[n(9)]
    pub issued: Timestamp,
    /// From then on it gives nothing.
    #[n(10)]
    pub expires: Timestamp,
    /// How often.
    #[n(11)]
    pub uses: Option<u64>,
    /// Only while all of these hold.
    #[n(12)]
    pub conditions: Vec<Atom>,
    /// Memory of the device.
    #[n(13)]
    pub memory: Memory,
    /// How far the network reaches.
    #[n(14)]
    pub network: Network,
    /// What may be stored.
    #[n(15)]
    pub storage: Storage,
    /// How far the agent is trusted.
    #[n(16)]
    pub level: TrustLevel,
}

/// Why a grant is none, or is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The order key did not sign it.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// It says something that makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// Nothing decides on it.
    #[error("{0}")]
    NoDoor(&'static str),
    /// The trust level does not give so much.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// It would be wider than the one before, in this field.
    #[error("`{0}` would be wider than before")]
    Widened(&'static str),
}

impl GrantError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Signature(_) | Self::Invalid(_) => codes::GRANT_INVALID,
            Self::NoDoor(_) => codes::GRANT_NO_DOOR,
            Self::Untrusted(_) => codes::GRANT_TRUST,
            Self::Widened(_) => codes::GRANT_WIDENED,
        }
    }
}

impl Grant {
    /// Prepares it for the order key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(GRANT, key, cbor::encode(self))
    }

    /// Reads a grant that `key` signed.
    ///
    /// # Errors
    /// When it did not, or the grant is over a limit.
    pub fn open(signed: &[u8], key: &PublicKey) -> Result<Self, GrantError> {
        let payload = Sealed::parse(signed, GRANT_BYTES_MAX)?.verify(GRANT, key)?;
        let grant: Self = cbor::decode(&payload, GRANT_BYTES_MAX).map_err(CoseError::from)?;
        grant.in_form().map(|()| grant)
    }

    /// Whether its form is right, whenever it is read.
    fn in_form(&self) -> Result<(), GrantError> {
        let within = |holds: bool, why| if holds { Ok(()) } else { Err(GrantError::Invalid(why)) };
        within((1..=SCOPE_MAX).contains(&self.scope.len()), "a scope has 1 to 8 patterns")?;
        within(self.conditions.len() <= CONDITIONS_MAX, "a grant has at most 8 conditions")?;
        within(self.conditions.iter().all(Atom::is_in_limits), "a condition is over a limit")?;
        within(self.uses.is_none_or(|uses| (1..=USES_MAX).contains(&uses)), "uses are 1 to 1000000000")?;
        within(self.version >= 1, "versions begin with 1")?;
        within(self.issued < self.expires, "it would end before it begins")?;
        within(self.expires.since(self.issued) <= GRANT_LIFE_MAX, "a grant lasts at most 366 days")
    }

    /// Judges one that is asked for, under a pairing of this level.
    ///
    /// # Errors
    /// When it makes no sense, gives more than its level or that of the pairing does, or is about what has no door.
    pub fn check(&self, of_pairing: TrustLevel) -> Result<(), GrantError> {
        self.in_form()?;
        if self.level > of_pairing {
            return Err(GrantError::Widened("trustLevel"));
        }
        let acts = self.ability.acts().iter().copied();
        for act in acts.chain([Act::Reach(self.network), Act::Store(self.storage)]) {
            trust::judge(self.level, act)?;
        }
        if self.network != Network::None {
            return Err(GrantError::NoDoor("no door lets an agent into the network of a device yet"));
        }
        if self.storage != Storage::None {
            return Err(GrantError::NoDoor("no door lets an agent store anything on a device yet"));
        }
        if self.memory < self.ability.memory() {
            return Err(GrantError::Invalid("with so little access to memory the grant could not be used"));
        }
        if self.memory > self.ability.memory() {
            return Err(GrantError::NoDoor("no door gives this capability more access to memory"));
        }
        Ok(())
    }

    /// Whether it gives nothing that `before`, the version before it, does not give.
    ///
    /// # Errors
    /// [`GrantError::Widened`] with the first field that would be wider.
    pub fn narrows(&self, before: &Self) -> Result<(), GrantError> {
        let same = self.authority == before.authority
            && self.id == before.id
            && self.pairing == before.pairing
            && self.device == before.device;
        let covered = |pattern: &Pattern| before.scope.iter().any(|wider| wider.covers(pattern));
        let uses = match (before.uses, self.uses) {
            (None, _) => true,
            (Some(before), now) => now.is_some_and(|now| now <= before),
        };
        let checks = [
            ("id", same && self.version > before.version),
            ("agentId", self.agent == before.agent),
            ("capability", self.ability == before.ability),
            ("scope", self.scope.iter().all(covered)),
            ("expiry", self.expires <= before.expires),
            ("uses", uses),
            ("conditions", before.conditions.iter().all(|held| self.conditions.contains(held))),
            ("memory", self.memory <= before.memory),
            ("network", self.network <= before.network),
            ("storage", self.storage <= before.storage),
            ("trustLevel", self.level <= before.level),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(GrantError::Widened(field)),
            None => Ok(()),
        }
    }
}
