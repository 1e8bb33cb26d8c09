//! Second verifiers over the API: devices that judge others for SEC-4.
//!
//! Source: `docs/spec/second-verifier.md` SECV-2, SECV-3.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    attestation::{AddVerifier, Verifier},
    problem::Party,
};
use kos_audit::EventType;
use kos_base::code;
use kos_identity::second::{Fault, fit};

use super::{
    answer::{Refusal, document, page},
    attestation::{Named, done, plan, take_out},
    call::{Call, Mode},
    change::given_before,
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::Shared,
    clock,
    record::SystemChange,
    second,
    store::{StoreError, StoredVerifier},
};

type Shares = State<Arc<Shared>>;

/// Most second verifiers: each may be asked within one session.
const VERIFIERS_MAX: usize = 16;

pub(super) async fn list(State(shared): Shares) -> Result<Response, Refusal> {
    let mut items = Vec::new();
    for named in &shared.store.attestation_lists().await?.verifiers {
        items.push(item(&shared, named).await?);
    }
    Ok(page(items, None))
}

pub(super) async fn add(
    State(shared): Shares,
    call: Call<Demanded<AddVerifier>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let AddVerifier { device_id } = call.body.get()?.clone();
    let refused = |code| Refusal::new(code).about("device", &device_id).under(call.id);
    let record = shared.store.device(&device_id).await?;
    let record = record.ok_or_else(|| refused(code::enrolment::DEVICE_UNKNOWN))?;
    let now = clock::now();
    if let Err(fault) = fit(&record, now) {
        let why = match fault {
            Fault::Unfit(why) => format!("it {why}"),
            other => other.to_string(),
        };
        return Err(refused(code::second::SECOND_UNFIT).saying(&why));
    }
    let _turn = shared.attesting.turn.lock().await;
    let mut lists = shared.store.attestation_lists().await?;
    if lists.names_verifier(&device_id) || lists.verifiers.len() >= VERIFIERS_MAX {
        return Err(refused(code::second::SECOND_EXISTS));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("device", &device_id), "log: verifier_added")));
    }
    let named = StoredVerifier { device: device_id.clone(), added_at: now };
    let item = item(&shared, &named).await?;
    lists.verifiers.push(named);
    done(&shared, &call, now, SystemChange::VerifierAdded { device: device_id }, &lists, item).await
}

pub(super) async fn remove(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let named = Named { kind: "device", id: &id, unknown: code::second::SECOND_UNKNOWN };
    take_out(&shared, &call, named, EventType::VerifierRemoved, |lists| {
        let at = lists.verifiers.iter().position(|named| named.device.as_ref() == id)?;
        let StoredVerifier { device, added_at } = lists.verifiers.remove(at);
        let hindrance = Some("is named no more".to_owned());
        let item = Verifier { device_id: device.clone(), added_at, hindrance };
        Some((SystemChange::VerifierRemoved { device }, item))
    })
    .await
}

async fn item(shared: &Shared, named: &StoredVerifier) -> Result<Verifier, StoreError> {
    let record = shared.store.device(&named.device).await?;
    let hindrance = second::hindrance(shared, &named.device, record.as_ref());
    Ok(Verifier { device_id: named.device.clone(), added_at: named.added_at, hindrance })
}
