//! Quarantine over the API: the order with everything that goes with it in one transaction, and the sealed
//! bundles.
//!
//! Source: `docs/spec/quarantine.md` QRN-17, QRN-19.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use kos_api::{device::ForensicBundle, hex::Digest, lifecycle::Because};
use kos_base::{DeviceState, EntryId, code, digest::sha256};
use kos_identity::registry::{Device, Operation, Write};
use kos_policy::pairing::EndedBy;

use super::{
    answer::{Refusal, document, page, tagged},
    call::{Call, Context, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::{find, short},
    lifecycle::{Step, because, decide, plan_of},
    view,
};
use crate::{authority::Shared, bonds, clock, quarantine, writer::Receipt};

pub(super) async fn order(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    call: Call<Because>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "quarantined by an operator");
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let recipients = quarantine::recipients(&shared).await?;
        let steps = |record: &Device| {
            let ordered = record.case.as_ref().is_some_and(|case| !case.signed.is_empty());
            if record.state() == DeviceState::Quarantined && ordered {
                return Ok(Vec::new());
            }
            let case = quarantine::case(&shared, record, now, &recipients);
            let case = Box::new(case.map_err(|_| Refusal::new(code::config::INTERNAL))?);
            Ok(vec![Step::Operation(Operation::Quarantine { reason: reason.clone(), case })])
        };
        let decided =
            decide(&shared, &device, &call, now, &steps).await.map_err(|refusal| refusal.under(call.id))?;
        let mut decided = decided;
        if let Some((_, transaction)) = &mut decided.after {
            let (changes, writes) = quarantine::rotation(&shared, &decided.before, now).await?;
            transaction.changes.extend(changes);
            transaction.writes.extend(writes);
            let by = EndedBy::DeviceStopped;
            let (changes, system) = bonds::end_of_device(&shared.store, &decided.before.id, by, now).await?;
            transaction.changes.extend(changes);
            transaction.system.extend(system);
        }
        if call.mode == Mode::Plan {
            let mut plan = plan_of(&shared, &call, &decided, now);
            if decided.after.is_some() {
                plan.effects.extend(told(&decided.after, recipients.len()));
            }
            return Ok(document(plan));
        }
        let Some((after, transaction)) = decided.after else {
            let shown = view::device(&shared, &decided.before, now).await?;
            return Ok(tagged(shown, &view::tag(&decided.before)));
        };
        let (shares, record) = (Arc::clone(&shared), after.clone());
        let render = move |receipt: Receipt| {
            view::device_with(&shares, &record, Some(receipt.first + receipt.entries.saturating_sub(1)), now)
        };
        match commit(&shared, &call, transaction, render).await? {
            Attempt::Done(_, mut response) => {
                if let Ok(value) = view::tag(&after).parse() {
                    response.headers_mut().insert(header::ETAG, value);
                }
                return Ok(response);
            }
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("device", &short(&device)).under(call.id))
}

/// What a person wants to know before it happens, besides the entries.
fn told(after: &Option<(Device, crate::writer::Transaction)>, recipients: usize) -> Vec<String> {
    let writes = after.iter().flat_map(|(_, transaction)| &transaction.writes);
    let tickets = writes.filter(|write| matches!(write, Write::Ticket(_))).count();
    let bundle = match recipients {
        0 => "no forensic bundle: no guardian has named a key (kosctl guardian add --bundle-key)".to_owned(),
        count => format!("the device seals a forensic bundle for {count} guardians"),
    };
    vec![
        "its links are cut, its keys and certificates are revoked for good, and it clears its own".to_owned(),
        format!("{tickets} tickets that it knows are taken back"),
        bundle,
    ]
}

/// The bundle of the case, or the newest of those before: a device that is back has no case any more.
pub(super) async fn newest_bundle(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let orders = shared.bundles.orders(&record.id).map_err(|_| unreadable(&context))?;
    let own = record.case.as_ref().map(|case| case.order);
    let newest = own.filter(|own| orders.contains(own)).or_else(|| orders.last().copied());
    sealed(&shared, &context, &record, newest)
}

/// The bundle of one order.
pub(super) async fn bundle(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path((device, order)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    sealed(&shared, &context, &record, order.parse().ok())
}

/// All of them, by the time of their orders.
pub(super) async fn bundles(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let mut items = Vec::new();
    for order_id in shared.bundles.orders(&record.id).map_err(|_| unreadable(&context))? {
        let sealed = shared.bundles.read(&record.id, order_id).map_err(|_| unreadable(&context))?;
        let Some(sealed) = sealed else { continue };
        items.push(ForensicBundle {
            device_id: record.id.clone(),
            order_id,
            current: record.case.as_ref().is_some_and(|case| case.order == order_id),
            bytes: u64::try_from(sealed.len()).unwrap_or(u64::MAX),
            sha256: Digest::from_bytes(sha256(&sealed)),
        });
    }
    Ok(page(items, None))
}

fn sealed(
    shared: &Shared,
    context: &Context,
    record: &Device,
    order: Option<EntryId>,
) -> Result<Response, Refusal> {
    let none = || Refusal::new(code::quarantine::NO_BUNDLE).about("device", &record.id).under(context.id);
    let read = shared.bundles.read(&record.id, order.ok_or_else(none)?);
    let sealed = read.map_err(|_| unreadable(context))?.ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealed).into_response())
}

fn unreadable(context: &Context) -> Refusal {
    Refusal::new(code::config::FILE_UNREADABLE).under(context.id)
}
