//! A call of an agent, from its signature to the answer of the device.
//!
//! Order: who signed it, whether the two are paired, what the device's profile allows, what the grant covers; then the use
//! is on the disk and in the log, and only then the call goes to the device, which judges it again.
//!
//! Source: `docs/spec/grant.md` GRANT-20 to GRANT-26.

use std::time::Duration;

use kos_base::{Code, DeviceId, SecurityProfile, Timestamp, code::pairing as codes};
use kos_identity::registry::{Actor, Device};
use kos_policy::{
    Direction, Request, Standing, Tie, decide,
    grant::{Basis, Call, Refused, judge},
    pairing::{AgentId, PairState, Partner},
    slice::Facts,
};
use tokio::sync::mpsc;

use super::ATTEMPTS_MAX;
use crate::{
    authority::Shared,
    fleet::Undelivered,
    policy::manifest::applied,
    record::SystemChange,
    store::{StoreError, StoredGrant},
    writer::{SystemWrite, Transaction},
};

/// How long a device may take to answer a call.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) call: Call,
    pub(crate) basis: Basis,
    pub(crate) uses_left: Option<u64>,
    pub(crate) result: Vec<u8>,
}

/// Where the answer of a device comes.
type Answers = mpsc::Receiver<Result<Vec<u8>, u16>>;

/// Why nothing came of it: a code, and a sentence.
pub(crate) type Unanswered = (Code, String);

fn refused(refused: &Refused) -> Unanswered {
    (refused.code(), refused.to_string())
}

fn store(error: &StoreError) -> Unanswered {
    tracing::error!(%error, "a call of an agent is not judged");
    (error.code(), error.code().title().to_owned())
}

/// Whether a device and an agent are paired, confirmed by both.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn tie_of(
    shared: &Shared,
    device: &DeviceId,
    agent: &AgentId,
    now: Timestamp,
) -> Result<Tie, StoreError> {
    let held = shared.store.pairing(device, &Partner::Agent(agent.clone())).await?;
    let paired = held.is_some_and(|pairing| pairing.state(now) == PairState::Paired);
    Ok(if paired { Tie::Paired } else { Tie::Unpaired })
}

/// What conditions may ask about a device: on the wire its certificate counts.
pub(crate) fn facts_of(record: &Device) -> (Standing, Facts) {
    let certified = record.credential.as_ref().map(|held| record.certified_profile(held));
    let wire = Standing::certified(certified.unwrap_or(SecurityProfile::Sec0), record.evidence);
    (wire, applied::subject(record, wire).facts)
}

/// Brings a call to the device, if everything allows it.
///
/// # Errors
/// When something does not, or the device does not answer.
pub(crate) async fn call(shared: &Shared, signed: &[u8], now: Timestamp) -> Result<Answered, Unanswered> {
    let claimed = Call::claimed(signed).map_err(|error| refused(&error))?;
    let of = (&claimed.device, Partner::Agent(claimed.agent.clone()));
    let pairing = shared.store.pairing(of.0, &of.1).await.map_err(|error| store(&error))?;
    let none = || (codes::PAIR_NONE, codes::PAIR_NONE.title().to_owned());
    // Who proves nothing is told nothing about pairings, and writes nothing into the log.
    let (pairing, key) = pairing.and_then(|held| held.key.clone().map(|key| (held, key))).ok_or_else(none)?;
    let call = Call::open(signed, &key).map_err(|error| refused(&error))?;
    if call.authority != shared.name {
        return Err(refused(&Refused::Another));
    }
    let record = shared.store.device(&call.device).await.map_err(|error| store(&error))?;
    let record = record.filter(Device::is_admitted).ok_or_else(none)?;
    let (standing, facts) = facts_of(&record);
    let paired = pairing.state(now) == PairState::Paired;
    let tie = if paired { Tie::Paired } else { Tie::Unpaired };
    decide(standing, Request::Agent(Direction::Calls, tie)).check().map_err(|refusal| {
        shared.policy.count(&record.id, refusal);
        (refusal.code(), refusal.to_string())
    })?;
    let request = format!("agent/{}", call.ability);
    let told = |(code, why): Unanswered| {
        shared.manifests.refused.count_grant(&record.id, &request, code, &why);
        (code, why)
    };
    let turn = shared.links.calling.lock().await;
    let unknown = || (codes::GRANT_UNKNOWN, codes::GRANT_UNKNOWN.title().to_owned());
    for _ in 0..ATTEMPTS_MAX {
        let held = shared.store.grant(call.grant).await.map_err(|error| store(&error))?;
        let held = held.filter(|held| held.grant.pairing == pairing.id).ok_or_else(|| told(unknown()))?;
        let lifted = held.word.as_ref().map(|word| word.lifted);
        let basis = judge(&held.grant, &call, held.usage, lifted, now, &facts);
        let basis = basis.map_err(|error| told(refused(&error)))?;
        // Nothing is used up for a device that is not there.
        match shared.links.standing(&record.id) {
            None => {
                let why = "the device has no link now; nothing was used up".to_owned();
                return Err((codes::CALL_NOT_TAKEN, why));
            }
            // A mandatory enforcement module keeps it to the lobby.
            Some(held) if held.profile < standing.profile => {
                return Err((codes::MODULE_UNMET, codes::MODULE_UNMET.title().to_owned()));
            }
            Some(_) => {}
        }
        let usage = held.usage.after(&call);
        let used = usage.used;
        let uses_left = held.grant.uses.map(|uses| uses.saturating_sub(used));
        let change = SystemChange::AgentCalled { call: Box::new(call.clone()), used, basis };
        let after = StoredGrant { usage, ..held.clone() };
        let transaction = Transaction {
            at: now,
            actor: Actor::Agent(call.agent.clone()),
            changes: vec![change.into()],
            writes: Vec::new(),
            system: vec![SystemWrite::Grant(Box::new(after), Some(Box::new(held)))],
            answer: None,
        };
        match shared.writer.commit(transaction).await {
            Ok(_) => {
                let asked = shared.links.call(&call.device, signed.to_vec());
                drop(turn);
                let result = answer_of(asked).await?;
                return Ok(Answered { call, basis, uses_left, result });
            }
            // Another call was faster.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(store(&error)),
        }
    }
    Err((codes::CALL_NOT_TAKEN, "too many calls under this grant at once".to_owned()))
}

/// What the device says.
async fn answer_of(asked: Result<Answers, Undelivered>) -> Result<Vec<u8>, Unanswered> {
    let not_taken = |why: &str| (codes::CALL_NOT_TAKEN, why.to_owned());
    let mut answers = asked.map_err(|_| not_taken("the device has no link, or does not keep up"))?;
    match tokio::time::timeout(ANSWER_TIME_MAX, answers.recv()).await {
        Ok(Some(Ok(result))) => Ok(result),
        Ok(Some(Err(number))) => {
            let code = Code::all().find(|code| code.number() == number).unwrap_or(codes::CALL_NOT_TAKEN);
            Err((code, format!("the device refuses: {}", code.title())))
        }
        Ok(None) => Err(not_taken("the link of the device ended")),
        Err(_) => Err(not_taken("the device did not answer in time")),
    }
}
