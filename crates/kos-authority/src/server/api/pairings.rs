//! Pairings over the API: proposed, confirmed by who they are about, ended.
//!
//! Source: `docs/spec/pairing.md` PAIR-10 to PAIR-24.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::BASE64;
use kos_api::{
    operator::OperatorRole,
    pairing::{Pairing as Item, ProposePairing, SignedByAgent},
    plan::Plan,
    problem::Party,
};
use kos_base::{
    Code, DeviceId, EntryId, PublicKey, Timestamp, code, code::pairing as codes, text::printable,
};
use kos_identity::registry::Actor;
use kos_net::entropy;
use kos_policy::{
    pairing::{AgentId, EndedBy, PAIRS_MAX, PairState, Pairing, PairingError, Partner, Side, Statement},
    trust::TrustLevel,
};

use super::{
    answer::{Refusal, document, page},
    call::{Body, Call, Context, Mode, RequestId, Who},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::{find, short},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::Shared,
    bonds::{self, BondsFault, next_number},
    clock,
    record::{Change, SystemChange},
    store::StoreError,
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

pub(super) async fn list(
    State(shared): Shares,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let (now, mut items) = (clock::now(), Vec::new());
    for pairing in shared.store.pairings(&record.id).await? {
        items.push(view(&shared, &context.who, &pairing, now).await?);
    }
    Ok(page(items, None))
}

pub(super) async fn propose(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Demanded<ProposePairing>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let invalid = |why: &str| {
        let refusal = Refusal::new(codes::PAIR_INVALID).saying(&printable(why, 300));
        refusal.about("device", &short(&device)).under(call.id)
    };
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let (partner, own) = partner_of(&shared, &call.who, &wanted.with).await?.ok_or_else(|| {
            invalid("it is `user:` and the name of an operator who may write, or `kai:` and an id")
        })?;
        let (key, level) = terms(&partner, wanted).map_err(|why| invalid(&why))?;
        let record = device_of(&shared, &device, call.id).await?;
        if !record.is_admitted() {
            let refusal = Refusal::new(code::enrolment::STATE_FORBIDS).about("device", &record.id);
            return Err(refusal.saying("a device is paired while it is in service").under(call.id));
        }
        let all = shared.store.pairings(&record.id).await?;
        let held = all.iter().find(|held| held.partner == partner);
        if held.is_some_and(|held| held.state(now) != PairState::Ended) {
            return Err(Refusal::new(codes::PAIR_EXISTS).about("device", &record.id).under(call.id));
        }
        let live = all.iter().filter(|held| held.state(now) != PairState::Ended).count();
        if live >= PAIRS_MAX {
            return Err(Refusal::new(codes::PAIR_LIMIT).about("device", &record.id).under(call.id));
        }
        let pairing = Pairing {
            id: EntryId::from_parts(now, entropy::array().map_err(|e| Refusal::new(e.code()))?),
            device: record.id.clone(),
            partner: partner.clone(),
            level,
            key,
            proposed: now,
            device_said: None,
            // Who proposes themselves has said so.
            partner_said: own.then_some(now),
            ended: None,
            number: next_number(&all, now),
        };
        let mut changes: Vec<Change> = vec![SystemChange::PairingProposed(Box::new(pairing.clone())).into()];
        if own {
            let (pairing, side) = (Box::new(pairing.clone()), Side::Partner);
            changes.push(SystemChange::PairingConfirmed { pairing, side }.into());
        }
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, &record.id, &changes)));
        }
        let write = SystemWrite::Pairing(Box::new(pairing.clone()), held.map(|held| held.number));
        if let Some(response) = done(&shared, &call, now, changes, vec![write], pairing).await? {
            return Ok(response);
        }
    }
    Err(conflict(&device, call.id))
}

/// The user who calls confirms; nobody confirms for somebody else, whatever they may do otherwise.
pub(super) async fn confirm(
    State(shared): Shares,
    Path(device): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let record = device_of(&shared, &device, call.id).await?;
        let own = own_partner(&shared, &call.who).await?;
        let own = own
            .ok_or_else(|| Refusal::new(codes::PAIR_NOT_YOURS).about("device", &record.id).under(call.id))?;
        let all = shared.store.pairings(&record.id).await?;
        let unknown = || Refusal::new(codes::PAIR_UNKNOWN).about("device", &record.id).under(call.id);
        let mut pairing = all.iter().find(|held| held.partner == own).cloned().ok_or_else(unknown)?;
        let before = pairing.number;
        let effect = pairing.confirm(Side::Partner, now).map_err(|_| unknown())?;
        if effect == kos_policy::pairing::Effect::Nothing {
            return Ok(document(view(&shared, &call.who, &pairing, now).await?));
        }
        pairing.number = next_number(&all, now);
        let change =
            SystemChange::PairingConfirmed { pairing: Box::new(pairing.clone()), side: Side::Partner };
        let changes = vec![change.into()];
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, &record.id, &changes)));
        }
        let write = SystemWrite::Pairing(Box::new(pairing.clone()), Some(before));
        if let Some(response) = done(&shared, &call, now, changes, vec![write], pairing).await? {
            return Ok(response);
        }
    }
    Err(conflict(&device, call.id))
}

pub(super) async fn end(
    State(shared): Shares,
    Path((device, partner)): Path<(String, String)>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let record = device_of(&shared, &device, call.id).await?;
        let unknown = || Refusal::new(codes::PAIR_UNKNOWN).about("device", &record.id).under(call.id);
        let named = partner_of(&shared, &call.who, &partner).await?.map(|(partner, _)| partner);
        let partner = named.or_else(|| partner.parse().ok()).ok_or_else(unknown)?;
        let all = shared.store.pairings(&record.id).await?;
        let held = all.iter().find(|held| held.partner == partner).cloned().ok_or_else(unknown)?;
        let own = own_partner(&shared, &call.who).await?.is_some_and(|own| own == partner);
        let by = if own { EndedBy::Partner } else { EndedBy::Operator };
        let grants = shared.store.grants(&record.id).await?;
        let ending = bonds::ending(held.clone(), &grants, by, next_number(&all, now), now);
        let Some((after, changes, system)) = ending else {
            return Ok(document(view(&shared, &call.who, &held, now).await?));
        };
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, &record.id, &changes)));
        }
        if let Some(response) = done(&shared, &call, now, changes, system, after).await? {
            return Ok(response);
        }
    }
    Err(conflict(&device, call.id))
}

/// What an agent signed about a pairing. Whoever hands it in is nobody: the signature alone counts.
pub(super) async fn statement(
    State(shared): Shares,
    call: Body<Demanded<SignedByAgent>>,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let refuse = |code: Code, why: &str| Refusal::new(code).saying(why).under(call.id);
    let signed = signed_bytes(call.body.get()?).map_err(|refusal| refusal.under(call.id))?;
    let proof = |error: PairingError| refuse(error.code(), &error.to_string());
    let claimed = Statement::claimed(&signed).map_err(proof)?;
    let held = shared.store.pairing(&claimed.device, &claimed.partner).await?;
    let key = held.and_then(|held| held.key).ok_or_else(|| proof(PairingError::Another))?;
    let statement = Statement::open(&signed, Side::Partner, &key).map_err(proof)?;
    let agent = statement.partner.agent().cloned().ok_or_else(|| proof(PairingError::Another))?;
    match bonds::take(&shared, Side::Partner, &Actor::Agent(agent), &statement, now).await {
        Ok(pairing) => Ok(document(view(&shared, &call.who, &pairing, now).await?)),
        Err(BondsFault::Store(error)) => Err(Refusal::from(error).under(call.id)),
        Err(BondsFault::Pairing(error)) => Err(proof(error)),
        Err(BondsFault::Unknown) => Err(proof(PairingError::Another)),
    }
}

/// The bytes that an agent signed.
pub(super) fn signed_bytes(body: &SignedByAgent) -> Result<Vec<u8>, Refusal> {
    let bytes = BASE64.decode(body.signed.as_bytes());
    bytes.map_err(|_| Refusal::new(code::config::BAD_REQUEST).saying("`signed` is not base64"))
}

/// The device of this whole id.
pub(super) async fn device_of(
    shared: &Shared,
    id: &str,
    request: RequestId,
) -> Result<kos_identity::registry::Device, Refusal> {
    let unknown = || Refusal::new(code::enrolment::DEVICE_UNKNOWN).about("device", &short(id)).under(request);
    let parsed: DeviceId = id.parse().map_err(|_| unknown())?;
    shared.store.device(&parsed).await?.ok_or_else(unknown)
}

/// Whom a text means, and whether that is who calls. Nothing when there is nobody with whom a device could be paired.
async fn partner_of(shared: &Shared, who: &Who, text: &str) -> Result<Option<(Partner, bool)>, StoreError> {
    let Some(name) = text.strip_prefix("user:") else {
        return Ok(text.parse::<AgentId>().ok().map(|agent| (Partner::Agent(agent), false)));
    };
    let found = shared.store.active_operator(name).await?;
    let own = matches!(who, Who::Operator(own, _) if own.as_ref() == name);
    // Who may only look could not confirm.
    let may = found.filter(|operator| operator.role >= OperatorRole::Operator);
    Ok(may.map(|operator| (Partner::User(operator.id), own)))
}

/// Who calls, as a partner: a user of the machine is none, since their name proves nothing to a device.
async fn own_partner(shared: &Shared, who: &Who) -> Result<Option<Partner>, StoreError> {
    let Who::Operator(name, _) = who else { return Ok(None) };
    Ok(shared.store.active_operator(name.as_ref()).await?.map(|operator| Partner::User(operator.id)))
}

/// The key and the trust level of a pairing.
fn terms(partner: &Partner, wanted: &ProposePairing) -> Result<(Option<PublicKey>, TrustLevel), String> {
    let level = wanted.trust_level.as_deref().map(trust_level).transpose()?;
    match (partner, &wanted.key) {
        (Partner::User(_), None) if level.is_none() => Ok((None, TrustLevel::Trusted)),
        (Partner::User(_), _) => Err("a user has neither a key nor a trust level here".to_owned()),
        (Partner::Agent(_), None) => Err("an agent is known by a key".to_owned()),
        (Partner::Agent(_), Some(key)) => {
            let der = BASE64.decode(key.as_bytes()).map_err(|_| "the key is not base64".to_owned())?;
            let key = PublicKey::from_spki_der(&der).map_err(|error| error.to_string())?;
            Ok((Some(key), level.unwrap_or(TrustLevel::External)))
        }
    }
}

/// The trust level of this name.
pub(super) fn trust_level(name: &str) -> Result<TrustLevel, String> {
    let found = TrustLevel::ALL.into_iter().find(|level| level.as_str() == name);
    found.ok_or_else(|| "a trust level is external, partner or trusted".to_owned())
}

/// How a pairing looks to whom.
async fn view(shared: &Shared, who: &Who, pairing: &Pairing, now: Timestamp) -> Result<Item, StoreError> {
    let own = match who {
        Who::Operator(name, _) => Some(name.as_ref()),
        _ => None,
    };
    let with = match &pairing.partner {
        Partner::Agent(agent) => agent.to_string(),
        Partner::User(id) => {
            let operator = shared.store.operator(*id).await?;
            let name = operator.map(|operator| operator.name.to_string());
            let sees = |name: &String| who.sees_names() || own == Some(name.as_str());
            name.filter(sees).map_or_else(|| pairing.partner.to_string(), |name| format!("user:{name}"))
        }
    };
    Ok(Item {
        pairing_id: pairing.id,
        device_id: pairing.device.clone(),
        with,
        state: pairing.state(now).as_str().to_owned(),
        trust_level: pairing.level.to_string(),
        key_id: pairing.key.as_ref().map(PublicKey::id),
        proposed_at: pairing.proposed,
        device_confirmed_at: pairing.device_said,
        partner_confirmed_at: pairing.partner_said,
        ended_at: pairing.ended.map(|ended| ended.at),
        ended_by: pairing.ended.map(|ended| ended.by.as_str().to_owned()),
        counter: pairing.number,
    })
}

/// Commits a change of a pairing, and tells the device. Nothing when somebody else was faster.
async fn done<T>(
    shared: &Arc<Shared>,
    call: &Call<T>,
    at: Timestamp,
    changes: Vec<Change>,
    system: Vec<SystemWrite>,
    pairing: Pairing,
) -> Result<Option<Response>, Refusal> {
    let shown = view(shared, &call.who, &pairing, at).await?;
    let transaction =
        Transaction { at, actor: call.who.actor(), changes, writes: Vec::new(), system, answer: None };
    match commit(shared, call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.links.bonds_changed(&pairing.device);
            Ok(Some(response))
        }
        Attempt::Conflict => Ok(None),
    }
}

fn conflict(device: &str, request: RequestId) -> Refusal {
    Refusal::new(code::store::STORE_CONFLICT).about("device", &short(device)).under(request)
}

/// What a change of pairings or grants would do.
pub(super) fn plan<T>(call: &Call<T>, device: &DeviceId, changes: &[Change]) -> Plan {
    Plan {
        action: call.route.name.to_owned(),
        object: Some(Party::new("device", device)),
        changes: Vec::new(),
        effects: changes
            .iter()
            .map(|change| format!("log: {}", crate::record::event_of(change).event))
            .collect(),
    }
}
