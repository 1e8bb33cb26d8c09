//! Looking at devices.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{audit::AuditFilter, device::DeviceFilter};
use kos_base::{DeviceId, DeviceState, Timestamp, code};
use kos_identity::registry::Device;

use super::{
    answer::{Refusal, limit, page, tagged},
    audit,
    call::{Asked, Context},
    view,
};
use crate::{authority::Shared, clock, store::DeviceQuery};

/// Devices that one request looks at: a filter that fits few must not read the whole fleet in one go.
const LOOKED_AT_MAX: usize = 5_000;

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Asked(filter): Asked<DeviceFilter>,
) -> Result<Response, Refusal> {
    let now = clock::now();
    let wanted = limit(filter.limit)?;
    let after: Option<DeviceId> = filter
        .cursor
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| context.bad("the cursor is not one of this list"))?;
    let mut query = DeviceQuery {
        states: filter.state.map(recorded_as).unwrap_or_default(),
        role: filter.role,
        group: filter.group.clone(),
        channel: filter.channel,
        after,
    };
    let mut items = Vec::new();
    let mut looked_at = 0;
    loop {
        let found = shared.store.devices(&query, wanted).await?;
        let is_last = found.len() < usize::try_from(wanted).unwrap_or(usize::MAX);
        looked_at += found.len();
        for record in &found {
            query.after = Some(record.id.clone());
            if fits(&shared, &filter, record, now) {
                items.push(view::device(&shared, record, now).await?);
            }
            if items.len() >= usize::try_from(wanted).unwrap_or(usize::MAX) {
                break;
            }
        }
        let is_full = items.len() >= usize::try_from(wanted).unwrap_or(usize::MAX);
        if is_last && !is_full {
            return Ok(page(items, None));
        }
        if is_full || looked_at >= LOOKED_AT_MAX {
            return Ok(page(items, query.after.map(|id| id.to_string())));
        }
    }
}

/// The recorded states that a state shows as: what only time decides is recorded as active.
fn recorded_as(state: DeviceState) -> Vec<DeviceState> {
    match state {
        DeviceState::RenewalDue | DeviceState::Expired => vec![DeviceState::Active],
        recorded => vec![recorded],
    }
}

fn fits(shared: &Shared, filter: &DeviceFilter, record: &Device, now: Timestamp) -> bool {
    let tagged = |tag: &kos_api::text::Tag| record.tags.iter().any(|held| held.as_ref() == tag.as_ref());
    filter.state.is_none_or(|state| record.state_at(now) == state)
        && filter.profile.is_none_or(|profile| record.profile() == profile)
        && filter.tag.as_ref().is_none_or(tagged)
        && filter.online.is_none_or(|online| shared.presence.is_online(&record.id, now) == online)
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let shown = view::device(&shared, &record, clock::now()).await?;
    Ok(tagged(shown, &view::tag(&record)))
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
    Asked(filter): Asked<AuditFilter>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let filter = AuditFilter { target: Some(record.id.to_string()), ..filter };
    audit::entries(&shared, &context, &filter).await
}

/// The device with this id, or the only one whose id begins so.
pub(super) async fn find(shared: &Shared, context: &Context, typed: &str) -> Result<Device, Refusal> {
    let unknown = || {
        let why = "a device is named by its id or the first 4 or more characters of it, not by its name";
        let refusal = Refusal::new(code::enrolment::DEVICE_UNKNOWN).saying(why);
        refusal.about("device", &short(typed)).under(context.id)
    };
    let id = match typed.parse::<DeviceId>() {
        Ok(id) => id,
        Err(_) => match shared.store.devices_with_prefix(typed, 6).await?.as_slice() {
            [] => return Err(unknown()),
            [only] => only.clone(),
            several => {
                let named = several.iter().map(DeviceId::to_string).collect::<Vec<_>>().join(", ");
                let refusal = Refusal::new(code::config::AMBIGUOUS).saying(&format!("it could be {named}"));
                return Err(refusal.about("device", &short(typed)).under(context.id));
            }
        },
    };
    shared.store.device(&id).await?.ok_or_else(unknown)
}

/// What somebody typed, as it may be shown.
pub(super) fn short(typed: &str) -> String {
    kos_base::text::printable(typed, 40)
}
