//! Enforcement modules over the API: how they are wanted, and what they make of a device.
//!
//! Source: `docs/spec/modules.md` MOD-10 to MOD-16.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    plan::Plan,
    policy::{ModuleFinding, ModulePolicy, SetModule},
    problem::Party,
};
use kos_base::{SecurityProfile, code};
use kos_policy::{
    Standing,
    module::{MODULES, Module, Stance, module},
};

use super::{
    answer::{Refusal, document, page},
    call::{Call, Context, Mode},
    change::{Attempt, commit, given_before},
    devices::{find, short},
    lifecycle::Demanded,
};
use crate::{
    authority::Shared,
    clock,
    modules::{findings, stance_of},
    record::SystemChange,
    store::{Setting, StoreError},
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

pub(super) async fn list(State(shared): Shares, _: Context) -> Result<Response, Refusal> {
    let wanted = shared.modules.wanted();
    let all = MODULES.into_iter().flat_map(|module| SecurityProfile::ALL.iter().map(move |of| (module, *of)));
    let item = |(module, of): (&dyn Module, _)| shown(module, of, stance_of(&wanted, module.name(), of));
    Ok(page(all.map(item).collect(), None))
}

pub(super) async fn set(State(shared): Shares, call: Call<Demanded<SetModule>>) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let wanted = call.body.get()?.clone();
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id);
    let unknown =
        || Refusal::new(code::pairing::MODULE_UNKNOWN).about("module", &short(&wanted.module)).under(call.id);
    let of = module(&wanted.module).ok_or_else(unknown)?;
    let stance = Stance::ALL.into_iter().find(|stance| stance.as_str() == wanted.stance);
    let stance = stance.ok_or_else(|| bad("a module is off, advisory or mandatory"))?;
    let _turn = shared.attesting.turn.lock().await;
    let mut all = shared.modules.wanted();
    let change = SystemChange::ModulesChanged { module: of.name(), profile: wanted.profile, stance };
    if call.mode == Mode::Plan {
        let effects = vec!["log: modules_changed".to_owned()];
        let object = Some(Party::new("module", &of.name()));
        return Ok(document(Plan {
            action: call.route.name.to_owned(),
            object,
            changes: Vec::new(),
            effects,
        }));
    }
    all.entry(of.name().to_owned()).or_default().insert(wanted.profile, stance.as_str().to_owned());
    let text = serde_json::to_string(&all).map_err(|e| StoreError::Entry(e.to_string()))?;
    let item = shown(of, wanted.profile, stance);
    let transaction = Transaction {
        at: clock::now(),
        actor: call.who.actor(),
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![SystemWrite::Setting(Setting::Modules, Some(text))],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => {
            shared.modules.put(all);
            shared.links.modules_changed();
            Ok(response)
        }
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

pub(super) async fn of_device(
    State(shared): Shares,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let certified = record.credential.as_ref().map(|held| record.certified_profile(held));
    let standing = Standing::certified(certified.unwrap_or(SecurityProfile::Sec0), record.evidence);
    let judged = findings(&shared, &record, standing, clock::now()).into_iter();
    let item =
        |(module, stance, finding): (&dyn Module, Stance, kos_policy::module::Finding)| ModuleFinding {
            device_id: record.id.clone(),
            module: module.name().to_owned(),
            version: module.version(),
            stance: stance.to_string(),
            verdict: finding.verdict.as_str().to_owned(),
            basis: module.basis().as_str().to_owned(),
            why: finding.why,
        };
    Ok(page(judged.map(item).collect(), None))
}

fn shown(module: &dyn Module, profile: SecurityProfile, stance: Stance) -> ModulePolicy {
    ModulePolicy {
        module: module.name().to_owned(),
        version: module.version(),
        profile,
        stance: stance.to_string(),
        demand: module.demand(profile).to_owned(),
        basis: module.basis().as_str().to_owned(),
    }
}
