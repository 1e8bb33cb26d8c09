//! Grants over the API, and calls under them.
//!
//! Source: `docs/spec/grant.md` GRANT-10 to GRANT-26.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::BASE64;
use kos_api::pairing::{
    AgentAnswer, CreateGrant, Grant as Item, GrantFilter, GrantWord, NarrowGrant, OverrideGrant,
    ResourceAccess, SignedByAgent,
};
use kos_base::{EntryId, Timestamp, code, code::pairing as codes, key::SignatureForm, text::printable};
use kos_net::entropy;
use kos_policy::{
    Direction, Request, Tie, decide,
    grant::{Ability, Call as AgentsCall, Grant, GrantError, Memory, judge},
    pairing::{GRANTS_MAX, Lifted, Lifting, PairState, Pairing, Partner},
    slice::Atom,
    trust::{Network, Storage},
};

use super::{
    answer::{Refusal, document, limit, page},
    call::{Asked, Body, Call, Context, Mode, RequestId},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::short,
    lifecycle::Demanded,
    operators::Nothing,
    pairings::{device_of, plan, signed_bytes, trust_level},
};
use crate::{
    authority::Shared,
    bonds::{self, next_number},
    clock,
    record::SystemChange,
    store::{PersonsWord, StoredGrant},
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Longest time that a person's word about a grant holds. Stops an exception from becoming the rule.
const WORD_TIME_MAX: Duration = Duration::from_secs(86_400);

pub(super) async fn list(
    State(shared): Shares,
    context: Context,
    Asked(filter): Asked<GrantFilter>,
) -> Result<Response, Refusal> {
    let (now, wanted) = (clock::now(), limit(filter.limit)?);
    let after = filter.cursor.as_deref().map(str::parse::<EntryId>).transpose();
    let after = after.map_err(|_| context.bad("the cursor is not one of this list"))?;
    let held = match &filter.device {
        Some(device) => shared.store.grants(device).await?,
        None => shared.store.all_grants(after, wanted).await?,
    };
    let is_full = filter.device.is_none() && held.len() >= usize::try_from(wanted).unwrap_or(usize::MAX);
    let next = held.last().filter(|_| is_full).map(|stored| stored.grant.id.to_string());
    let mut items = Vec::new();
    for stored in &held {
        items.push(view(&shared, stored, now).await?);
    }
    Ok(page(items, next))
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(grant): Path<String>,
) -> Result<Response, Refusal> {
    let stored = stored(&shared, &grant, context.id).await?;
    Ok(document(view(&shared, &stored, clock::now()).await?))
}

pub(super) async fn create(
    State(shared): Shares,
    call: Call<Demanded<CreateGrant>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let device = device_of(&shared, wanted.device_id.as_ref(), call.id).await?.id;
        let none = || Refusal::new(codes::PAIR_NONE).about("device", &device).under(call.id);
        let agent: Partner = wanted.agent_id.parse().map_err(|_| none())?;
        let pairing = paired(&shared, &wanted.device_id, &agent, now).await?.ok_or_else(none)?;
        let grants = shared.store.grants(&device).await?;
        if grants.len() >= GRANTS_MAX {
            return Err(Refusal::new(codes::PAIR_LIMIT).about("device", &device).under(call.id));
        }
        let grant = asked_for(&shared, wanted, &pairing, now)
            .and_then(|grant| grant.check(pairing.level).map(|()| grant).map_err(|error| refusal(&error)));
        let grant = grant.map_err(|refused| refused.about("device", &device).under(call.id))?;
        let change = SystemChange::GrantMade(Box::new(grant.clone()));
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, &device, &[change.into()])));
        }
        let signed = signed(&shared, &grant).map_err(|refused| refused.under(call.id))?;
        let stored = StoredGrant { grant, signed: signed.into(), usage: Default::default(), word: None };
        if let Some(response) = put(&shared, &call, now, change, (stored, None), pairing).await? {
            return Ok(response);
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("device", &wanted.device_id).under(call.id))
}

pub(super) async fn narrow(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Demanded<NarrowGrant>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    change(&shared, &id, &call, |held, now| {
        let before = &held.grant;
        let mut grant = Grant { version: before.version.saturating_add(1), issued: now, ..before.clone() };
        if let Some(scope) = &wanted.scope {
            grant.scope = patterns(scope)?;
        }
        if let Some(conditions) = &wanted.conditions {
            grant.conditions = atoms(conditions)?;
        }
        grant.expires = wanted.expiry.unwrap_or(grant.expires);
        grant.uses = wanted.uses.or(grant.uses);
        if let Some(level) = &wanted.trust_level {
            grant.level = trust_level(level).map_err(|why| invalid(&why))?;
        }
        grant.narrows(before).map_err(|error| refusal(&error))?;
        grant.check(before.level).map_err(|error| refusal(&error))?;
        let signed = signed(&shared, &grant)?.into();
        let change = SystemChange::GrantNarrowed(Box::new(grant.clone()));
        Ok(Some((change, StoredGrant { grant, signed, ..held.clone() })))
    })
    .await
}

pub(super) async fn revoke(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let held = stored(&shared, &id, call.id).await?;
        let device = held.grant.device.clone();
        let change = SystemChange::GrantRevoked(Box::new(held.grant.clone()));
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, &device, &[change.into()])));
        }
        let mut shown = view(&shared, &held, now).await?;
        (shown.granted, shown.why) = (false, "it was revoked".to_owned());
        let mut system = vec![SystemWrite::NoGrant(held.grant.id)];
        system.extend(risen(&shared, &held.grant, now).await?);
        let (actor, changes) = (call.who.actor(), vec![change.into()]);
        let transaction = Transaction { at: now, actor, changes, writes: Vec::new(), system, answer: None };
        if let Attempt::Done(_, response) =
            commit(&shared, &call, transaction, move |_| shown.clone()).await?
        {
            shared.links.bonds_changed(&device);
            return Ok(response);
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("grant", &short(&id)).under(call.id))
}

pub(super) async fn word(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Demanded<OverrideGrant>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    change(&shared, &id, &call, |held, now| {
        let lifting = match wanted.verdict.as_deref() {
            None => None,
            Some("allow") => Some(Lifting::Allow),
            Some("deny") => Some(Lifting::Deny),
            Some(_) => return Err(invalid("a person's word is allow or deny")),
        };
        let word = match (lifting, wanted.seconds.map(Duration::from_secs)) {
            (None, None) => None,
            (Some(lifting), Some(time)) if !time.is_zero() && time <= WORD_TIME_MAX => Some(PersonsWord {
                lifted: Lifted { lifting, until: now.plus(time) },
                reason: wanted.reason.to_string(),
                at: now,
            }),
            _ => return Err(invalid("a person's word holds for 1 s to 24 h; taken back it has no time")),
        };
        if word.is_none() && held.word.is_none() {
            return Ok(None);
        }
        let change =
            SystemChange::GrantOverridden { grant: Box::new(held.grant.clone()), word: word.clone() };
        Ok(Some((change, StoredGrant { word, ..held.clone() })))
    })
    .await
}

/// A call that an agent signed. Whoever hands it in is nobody: the signature alone counts.
pub(super) async fn call(
    State(shared): Shares,
    asked: Body<Demanded<SignedByAgent>>,
) -> Result<Response, Refusal> {
    let signed = signed_bytes(asked.body.get()?).map_err(|refusal| refusal.under(asked.id))?;
    match bonds::call(&shared, &signed, clock::now()).await {
        Ok(answered) => Ok(document(AgentAnswer {
            device_id: answered.call.device,
            agent_id: answered.call.agent.to_string(),
            grant_id: answered.call.grant,
            basis: answered.basis.as_str().to_owned(),
            uses_left: answered.uses_left,
            result: serde_json::from_slice(&answered.result).unwrap_or_default(),
        })),
        Err((code, why)) => Err(Refusal::new(code).saying(&printable(&why, 300)).under(asked.id)),
    }
}

/// Carries out what `decide` makes of a grant; nothing when it is so already.
async fn change<T>(
    shared: &Arc<Shared>,
    id: &str,
    call: &Call<T>,
    decide: impl Fn(&StoredGrant, Timestamp) -> Result<Option<(SystemChange, StoredGrant)>, Refusal>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(shared, call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let held = stored(shared, id, call.id).await?;
        let about = |refused: Refusal| refused.about("grant", &held.grant.id).under(call.id);
        let Some((change, after)) = decide(&held, now).map_err(about)? else {
            return Ok(document(view(shared, &held, now).await?));
        };
        let none = || Refusal::new(codes::PAIR_NONE).about("device", &held.grant.device).under(call.id);
        let agent = Partner::Agent(held.grant.agent.clone());
        let pairing = paired(shared, &held.grant.device, &agent, now).await?.ok_or_else(none)?;
        if call.mode == Mode::Plan {
            return Ok(document(plan(call, &held.grant.device, &[change.into()])));
        }
        if let Some(response) = put(shared, call, now, change, (after, Some(held)), pairing).await? {
            return Ok(response);
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("grant", &short(id)).under(call.id))
}

/// Commits a grant, with a higher number of its pairing, and tells the device. Nothing when somebody else was faster.
async fn put<T>(
    shared: &Arc<Shared>,
    call: &Call<T>,
    at: Timestamp,
    change: SystemChange,
    (after, before): (StoredGrant, Option<StoredGrant>),
    pairing: Pairing,
) -> Result<Option<Response>, Refusal> {
    let device = pairing.device.clone();
    let all = shared.store.pairings(&device).await?;
    let risen = Pairing { number: next_number(&all, at), ..pairing.clone() };
    let system = vec![
        SystemWrite::Grant(Box::new(after.clone()), before.map(Box::new)),
        SystemWrite::Pairing(Box::new(risen), Some(pairing.number)),
    ];
    let shown = view(shared, &after, at).await?;
    let (actor, changes) = (call.who.actor(), vec![change.into()]);
    let transaction = Transaction { at, actor, changes, writes: Vec::new(), system, answer: None };
    match commit(shared, call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.links.bonds_changed(&device);
            Ok(Some(response))
        }
        Attempt::Conflict => Ok(None),
    }
}

/// The pairing of a grant with a higher number, if it is still there.
async fn risen(shared: &Shared, grant: &Grant, now: Timestamp) -> Result<Option<SystemWrite>, Refusal> {
    let all = shared.store.pairings(&grant.device).await?;
    let number = next_number(&all, now);
    let held = all.into_iter().find(|pairing| pairing.id == grant.pairing);
    Ok(held.map(|held| {
        let before = held.number;
        SystemWrite::Pairing(Box::new(Pairing { number, ..held }), Some(before))
    }))
}

async fn paired(
    shared: &Shared,
    device: &kos_base::DeviceId,
    partner: &Partner,
    now: Timestamp,
) -> Result<Option<Pairing>, Refusal> {
    let held = shared.store.pairing(device, partner).await?;
    Ok(held.filter(|held| held.state(now) == PairState::Paired && held.partner.agent().is_some()))
}

async fn stored(shared: &Shared, id: &str, request: RequestId) -> Result<StoredGrant, Refusal> {
    let unknown = || Refusal::new(codes::GRANT_UNKNOWN).about("grant", &short(id)).under(request);
    let parsed: EntryId = id.parse().map_err(|_| unknown())?;
    shared.store.grant(parsed).await?.ok_or_else(unknown)
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(codes::GRANT_INVALID).saying(&printable(why, 300))
}

fn refusal(error: &GrantError) -> Refusal {
    Refusal::new(error.code()).saying(&error.to_string())
}

fn signed(shared: &Shared, grant: &Grant) -> Result<Vec<u8>, Refusal> {
    let key = &shared.keys.orders;
    let unsigned = grant.unsigned(key.public());
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
    let signed = unsigned.finish(signature.map_err(|e| Refusal::new(e.code()))?);
    match signed.len() <= kos_policy::grant::GRANT_BYTES_MAX {
        true => Ok(signed),
        false => Err(invalid("the grant is too long: use fewer patterns or conditions")),
    }
}

fn patterns(scope: &[String]) -> Result<Vec<kos_policy::grant::Pattern>, Refusal> {
    let one = |text: &String| {
        text.parse().map_err(|_| invalid("a pattern is a resource, or its beginning and `*`"))
    };
    scope.iter().map(one).collect()
}

fn atoms(conditions: &[String]) -> Result<Vec<Atom>, Refusal> {
    let one = |text: &String| {
        text.parse().map_err(|error: kos_policy::slice::ParseAtomError| invalid(&error.to_string()))
    };
    conditions.iter().map(one).collect()
}

/// What somebody asks for, in the form of a grant.
fn asked_for(
    shared: &Shared,
    wanted: &CreateGrant,
    pairing: &Pairing,
    now: Timestamp,
) -> Result<Grant, Refusal> {
    let ability: Ability =
        wanted.capability.parse().map_err(|error: kos_policy::grant::ParseAbilityError| {
            Refusal::new(codes::GRANT_NO_DOOR).saying(&error.to_string())
        })?;
    let level = wanted.trust_level.as_deref().map(trust_level).transpose().map_err(|why| invalid(&why))?;
    let agent = pairing.partner.agent().cloned().ok_or_else(|| Refusal::new(codes::PAIR_NONE))?;
    let (memory, network, storage) = match &wanted.resource_access {
        None => (ability.memory(), Network::None, Storage::None),
        Some(access) => access_of(access).ok_or_else(|| {
            invalid("memory is none, read or write; network none, restricted or full; storage none, temporary or persistent")
        })?,
    };
    Ok(Grant {
        authority: shared.name.clone(),
        id: EntryId::from_parts(now, entropy::array().map_err(|e| Refusal::new(e.code()))?),
        version: 1,
        pairing: pairing.id,
        agent,
        device: pairing.device.clone(),
        ability,
        scope: patterns(&wanted.scope)?,
        issued: now,
        expires: wanted.expiry,
        uses: wanted.uses,
        conditions: atoms(&wanted.conditions)?,
        memory,
        network,
        storage,
        level: level.unwrap_or(pairing.level),
    })
}

fn access_of(access: &ResourceAccess) -> Option<(Memory, Network, Storage)> {
    let memory = Memory::ALL.into_iter().find(|memory| memory.as_str() == access.memory)?;
    let network = Network::ALL.into_iter().find(|network| network.as_str() == access.network)?;
    let storage = Storage::ALL.into_iter().find(|storage| storage.as_str() == access.storage)?;
    Some((memory, network, storage))
}

/// A grant as it is shown, with what would become of a call now.
async fn view(shared: &Shared, stored: &StoredGrant, now: Timestamp) -> Result<Item, Refusal> {
    let StoredGrant { grant, signed, usage, word } = stored;
    let (granted, why) = standing(shared, stored, now).await?;
    Ok(Item {
        grant_id: grant.id,
        version: grant.version,
        agent_id: grant.agent.to_string(),
        device_id: grant.device.clone(),
        pairing_id: grant.pairing,
        capability: grant.ability.to_string(),
        granted,
        why,
        scope: grant.scope.iter().map(ToString::to_string).collect(),
        expiry: grant.expires,
        uses: grant.uses,
        used: usage.used,
        conditions: grant.conditions.iter().map(ToString::to_string).collect(),
        resource_access: ResourceAccess {
            memory: grant.memory.as_str().to_owned(),
            network: grant.network.as_str().to_owned(),
            storage: grant.storage.as_str().to_owned(),
        },
        trust_level: grant.level.to_string(),
        signed_by: shared.keys.orders.public().id(),
        timestamp: grant.issued,
        word: word.as_ref().map(|word| GrantWord {
            verdict: word.lifted.lifting.as_str().to_owned(),
            until: word.lifted.until,
            reason: word.reason.clone(),
            said_at: word.at,
        }),
        signed: BASE64.encode(signed),
    })
}

/// Whether a call would be let through now, and why: what the doors would say.
async fn standing(shared: &Shared, stored: &StoredGrant, now: Timestamp) -> Result<(bool, String), Refusal> {
    let grant = &stored.grant;
    let Some(record) = shared.store.device(&grant.device).await?.filter(|record| record.is_admitted()) else {
        return Ok((false, "the device is not in service".to_owned()));
    };
    let (standing, facts) = bonds::facts_of(&record);
    let tie = match paired(shared, &grant.device, &Partner::Agent(grant.agent.clone()), now).await? {
        Some(pairing) if pairing.id == grant.pairing => Tie::Paired,
        _ => Tie::Unpaired,
    };
    if let Err(refusal) = decide(standing, Request::Agent(Direction::Calls, tie)).check() {
        return Ok((false, refusal.to_string()));
    }
    // Any resource of its scope.
    let fitting = grant.scope.iter().find_map(|pattern| {
        let start = pattern.as_ref().trim_end_matches('*');
        [start.to_owned(), format!("{start}x")].into_iter().find_map(|text| text.parse().ok())
    });
    let Some(resource) = fitting else { return Ok((false, "its scope has nothing".to_owned())) };
    let call = AgentsCall {
        authority: grant.authority.clone(),
        agent: grant.agent.clone(),
        device: grant.device.clone(),
        grant: grant.id,
        ability: grant.ability,
        resource,
        at: now,
        number: u64::MAX,
    };
    let lifted = stored.word.as_ref().map(|word| word.lifted);
    Ok(match judge(grant, &call, stored.usage, lifted, now, &facts) {
        Ok(kos_policy::grant::Basis::Grant) => (true, "the grant allows it".to_owned()),
        Ok(kos_policy::grant::Basis::Override) => {
            let reason = stored.word.as_ref().map(|word| word.reason.as_str()).unwrap_or_default();
            (true, format!("a person's word allows it: {reason}"))
        }
        Err(refused) => (false, refused.to_string()),
    })
}
