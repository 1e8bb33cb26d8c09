//! Ending a device: its certificates are revoked at once, and a signed order to wipe waits for it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    Document,
    lifecycle::{Decommission, DecommissionOrder, Wipe},
};
use kos_audit::EventType;
use kos_base::{DeviceState, EntryId, Timestamp, code, key::SignatureForm};
use kos_identity::{
    certificate::Serial,
    decommission::{self, receipt_hash},
    registry::{Device, Operation, Order, Write},
};
use kos_net::entropy;
use kos_policy::pairing::EndedBy;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    answer::{Refusal, document},
    call::{Call, Context, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before, keep_again},
    devices::{find, short},
    entry,
    lifecycle::{Step, because, decide, plan_of},
};
use crate::{
    authority::Shared,
    bonds, clock,
    store::{EntryQuery, StoreError},
    writer::Receipt,
};

/// How long an answer waits for the list that names the revoked certificate; the list follows within a second.
const LIST_WAIT: Duration = Duration::from_secs(3);

pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    call: Call<DecommissionOrder>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "decommissioned by an operator");
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let steps = |record: &Device| {
            if matches!(record.state(), DeviceState::Decommissioning | DeviceState::Decommissioned) {
                return Ok(Vec::new());
            }
            let order = sign(&shared, record, now)?;
            let mut steps = vec![Step::Operation(Operation::Decommission { reason: reason.clone(), order })];
            if call.body.ban {
                steps.push(Step::Operation(Operation::Ban { reason: reason.clone() }));
            }
            Ok(steps)
        };
        let mut decided =
            decide(&shared, &device, &call, now, &steps).await.map_err(|refusal| refusal.under(call.id))?;
        if let Some((_, transaction)) = &mut decided.after {
            let by = EndedBy::DeviceStopped;
            let (changes, system) = bonds::end_of_device(&shared.store, &decided.before.id, by, now).await?;
            transaction.changes.extend(changes);
            transaction.system.extend(system);
        }
        if call.mode == Mode::Plan {
            return Ok(document(plan_of(&shared, &call, &decided, now)));
        }
        let Some((after, transaction)) = decided.after else {
            return Ok(document(progress(&shared, &decided.before).await?));
        };
        let revoked: Vec<_> = transaction
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::Revoke(record) => Some((record.issuer, serial(&record.serial)?)),
                _ => None,
            })
            .collect();
        let render = move |receipt: Receipt| Decommission {
            device_id: after.id.clone(),
            state: after.state(),
            revoked_at: Some(now),
            crl_number: None,
            wipe: Wipe::Pending,
            audit_index: Some(receipt.first),
        };
        match commit(&shared, &call, transaction, render.clone()).await? {
            Attempt::Conflict => {}
            Attempt::Done(receipt, _) => {
                let number = listed(&shared, &revoked).await;
                let told = Document::new(Decommission { crl_number: number, ..render(receipt) });
                keep_again(&shared, &call, now, &told).await?;
                return Ok(document(told.item));
            }
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("device", &short(&device)).under(call.id))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    if !matches!(record.state(), DeviceState::Decommissioning | DeviceState::Decommissioned) {
        let refusal = Refusal::new(code::config::NOT_FOUND).saying("the device is not being decommissioned");
        return Err(refusal.about("device", &record.id).under(context.id));
    }
    Ok(document(progress(&shared, &record).await?))
}

/// The order to wipe, signed, with a receipt that only who reads the order can send back.
fn sign(shared: &Shared, record: &Device, now: Timestamp) -> Result<Order, Refusal> {
    let drawn = |_| Refusal::new(code::config::INTERNAL);
    let receipt: [u8; 32] = entropy::array().map_err(drawn)?;
    let order = decommission::Order {
        id: EntryId::from_parts(now, entropy::array().map_err(drawn)?),
        device: record.id.clone(),
        authority: shared.name.clone(),
        at: now,
        receipt: receipt.into(),
    };
    let signer = &shared.keys.orders;
    let unsigned = order.unsigned(signer.public());
    let signature = signer.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
    let signature = signature.map_err(|e| Refusal::new(e.code()))?;
    Ok(Order { signed: unsigned.finish(signature), receipt_hash: receipt_hash(&receipt).to_vec(), at: now })
}

/// How far a decommissioning is, from the record and the log.
async fn progress(shared: &Shared, record: &Device) -> Result<Decommission, StoreError> {
    let about = |event| EntryQuery {
        event: Some(event),
        target: Some(record.id.to_string()),
        ..EntryQuery::default()
    };
    let ordered = shared.store.entries(&about(EventType::DecommissionOrdered), 1).await?;
    let ended = shared.store.entries(&about(EventType::DeviceDecommissioned), 1).await?;
    let mut wipe = Wipe::Pending;
    if let Some(row) = ended.first() {
        wipe = match entry::shown(shared, row).await?.details.get("wipe").and_then(Value::as_str) {
            Some("crypto-erased") => Wipe::CryptoErased,
            Some("cleared") => Wipe::Cleared,
            _ => Wipe::Pending,
        };
    }
    let held = record.credentials().find_map(|held| shared.board.record(held.issuer, serial(&held.serial)?));
    let number = held.as_ref().and_then(|held| Some((held.issuer, serial(&held.serial)?)));
    let view = shared.board.view();
    let number = number.and_then(|(issuer, serial)| {
        view.list(issuer).filter(|list| list.find(serial).is_some()).map(|list| list.number())
    });
    Ok(Decommission {
        device_id: record.id.clone(),
        state: record.state(),
        revoked_at: held.map(|held| held.at),
        crl_number: number,
        wipe,
        audit_index: ordered.first().or(ended.first()).map(|row| row.position),
    })
}

/// The number of the first list that names all of these; nothing when none does in time.
async fn listed(shared: &Shared, revoked: &[(kos_base::KeyId, Serial)]) -> Option<u64> {
    let mut changed = shared.board.subscribe();
    let wait = async {
        loop {
            let view = shared.board.view();
            let named = |(issuer, serial): &(kos_base::KeyId, Serial)| {
                view.list(*issuer).filter(|list| list.find(*serial).is_some()).map(|list| list.number())
            };
            let numbers: Option<Vec<u64>> = revoked.iter().map(named).collect();
            match numbers {
                Some(numbers) => return numbers.into_iter().max(),
                None => changed.changed().await.ok()?,
            }
        }
    };
    timeout(LIST_WAIT, wait).await.ok().flatten()
}

fn serial(bytes: &[u8]) -> Option<Serial> {
    <[u8; 16]>::try_from(bytes).ok().map(Serial::from_random)
}
