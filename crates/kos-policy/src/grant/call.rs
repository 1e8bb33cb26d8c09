//! A call of an agent, and whether a grant covers it.

use core::time::Duration;

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, PublicKey, Timestamp, cbor,
    code::pairing as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

use super::{Ability, Grant, Resource};
use crate::{
    pairing::{AgentId, Lifted, Lifting},
    slice::{Atom, Facts},
    trust::{self, Act, Untrusted},
};

const CALL: Purpose = Purpose { domain: "kos agent call v1", typ: "application/kos-agent-call+cbor" };

/// Longest signed call, in bytes. Stops a stranger from having much read.
pub const CALL_BYTES_MAX: usize = 1_024;
/// How far the time of a call may be from that of whoever judges it. Stops a call that was held back from being handed in
/// much later.
pub const CALL_AGE_MAX: Duration = Duration::from_secs(300);

/// What an agent asks of a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Call {
    /// Through which authority.
    #[n(1)]
    pub authority: AuthorityName,
    /// Who asks.
    #[n(2)]
    pub agent: AgentId,
    /// Whom.
    #[n(3)]
    pub device: DeviceId,
    /// Under which grant.
    #[n(4)]
    pub grant: EntryId,
    /// For what.
    #[n(5)]
    pub ability: Ability,
    /// About what.
    #[n(6)]
    pub resource: Resource,
    /// When.
    #[n(7)]
    pub at: Timestamp,
    /// Rises with every call under this grant.
    #[n(8)]
    pub number: u64,
}

impl Call {
    /// Prepares it for the key of the agent.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(CALL, key, cbor::encode(self))
    }

    /// What it claims before anybody has looked at its signature, to find the key.
    ///
    /// # Errors
    /// When it has not the form of one.
    pub fn claimed(signed: &[u8]) -> Result<Self, Refused> {
        let sealed = Sealed::parse(signed, CALL_BYTES_MAX)?;
        Ok(cbor::decode(sealed.unverified_payload(), CALL_BYTES_MAX).map_err(CoseError::from)?)
    }

    /// Reads a call that `key` signed.
    ///
    /// # Errors
    /// When it did not.
    pub fn open(signed: &[u8], key: &PublicKey) -> Result<Self, Refused> {
        let payload = Sealed::parse(signed, CALL_BYTES_MAX)?.verify(CALL, key)?;
        Ok(cbor::decode(&payload, CALL_BYTES_MAX).map_err(CoseError::from)?)
    }
}

/// What is remembered of the calls under a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Usage {
    /// How often it was used.
    #[n(1)]
    pub used: u64,
    /// The highest number of a call.
    #[n(2)]
    pub number: u64,
}

impl Usage {
    /// After one more call.
    #[must_use]
    pub const fn after(self, call: &Call) -> Self {
        Self { used: self.used.saturating_add(1), number: call.number }
    }
}

/// By what a call is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// By the grant as it stands.
    Grant,
    /// By a person's word, which lifts what would have refused it.
    Override,
}

impl Basis {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Override => "override",
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The agent did not sign it.
    #[error("the call was not signed by the agent: {0}")]
    Signature(#[from] CoseError),
    /// It is for another authority, device, agent or grant.
    #[error("the call is not one under this grant")]
    Another,
    /// It was made too long ago, or is from the future.
    #[error("the call was made at {0}, which is more than 300 s from now")]
    NotNow(Timestamp),
    /// A call with this number or a higher one was made.
    #[error("a call with number {0} was made, and this one has none that is higher")]
    Replayed(u64),
    /// A person stopped the grant.
    #[error("a person has stopped the grant until {0}")]
    Stopped(Timestamp),
    /// The grant is for something else.
    #[error("the grant is for {0}")]
    Ability(Ability),
    /// The grant is about something else.
    #[error("the scope of the grant does not have `{0}`")]
    Scope(Resource),
    /// The trust level does not give it.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The access to memory does not.
    #[error("the grant gives too little access to memory")]
    Memory,
    /// It has run out.
    #[error("the grant ran out at {0}")]
    Expired(Timestamp),
    /// It is used up.
    #[error("the grant was for {0} uses, and all are made")]
    UsedUp(u64),
    /// A condition does not hold.
    #[error("`{0}` does not hold")]
    Condition(Box<Atom>),
}

impl Refused {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Signature(_) | Self::Another => codes::CALL_FORGED,
            Self::NotNow(_) | Self::Replayed(_) => codes::CALL_REPLAYED,
            Self::Stopped(_) => codes::GRANT_STOPPED,
            Self::Ability(_) | Self::Scope(_) | Self::Memory => codes::GRANT_SCOPE,
            Self::Untrusted(_) => codes::GRANT_TRUST,
            Self::Expired(_) => codes::GRANT_EXPIRED,
            Self::UsedUp(_) => codes::GRANT_USED_UP,
            Self::Condition(_) => codes::GRANT_CONDITION,
        }
    }
}

/// Whether a grant covers a call that its agent signed, at a device that is this.
///
/// # Errors
/// When it does not: nothing is routed.
pub fn judge(
    grant: &Grant,
    call: &Call,
    usage: Usage,
    lifted: Option<Lifted>,
    now: Timestamp,
    facts: &Facts,
) -> Result<Basis, Refused> {
    let ours = call.authority == grant.authority
        && call.agent == grant.agent
        && call.device == grant.device
        && call.grant == grant.id;
    if !ours {
        return Err(Refused::Another);
    }
    if now.since(call.at).max(call.at.since(now)) > CALL_AGE_MAX {
        return Err(Refused::NotNow(call.at));
    }
    if call.number <= usage.number {
        return Err(Refused::Replayed(usage.number));
    }
    let lifted = lifted.filter(|lifted| now < lifted.until);
    if let Some(Lifted { lifting: Lifting::Deny, until }) = lifted {
        return Err(Refused::Stopped(until));
    }
    if call.ability != grant.ability {
        return Err(Refused::Ability(grant.ability));
    }
    if !grant.scope.iter().any(|pattern| pattern.fits(&call.resource)) {
        return Err(Refused::Scope(call.resource.clone()));
    }
    let acts = grant.ability.acts().iter().copied();
    for act in acts.chain([Act::Reach(grant.network), Act::Store(grant.storage)]) {
        trust::judge(grant.level, act)?;
    }
    if grant.memory < grant.ability.memory() {
        return Err(Refused::Memory);
    }
    match (within(grant, usage, now, facts), lifted) {
        (Ok(()), _) => Ok(Basis::Grant),
        (Err(_), Some(_)) => Ok(Basis::Override),
        (Err(refused), None) => Err(refused),
    }
}

/// Its end, its uses and its conditions.
fn within(grant: &Grant, usage: Usage, now: Timestamp, facts: &Facts) -> Result<(), Refused> {
    if now >= grant.expires {
        return Err(Refused::Expired(grant.expires));
    }
    if let Some(uses) = grant.uses.filter(|uses| usage.used >= *uses) {
        return Err(Refused::UsedUp(uses));
    }
    match grant.conditions.iter().find(|condition| !condition.holds(now, facts)) {
        Some(condition) => Err(Refused::Condition(Box::new(condition.clone()))),
        None => Ok(()),
    }
}
