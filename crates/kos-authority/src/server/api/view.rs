//! Records of the registry as the API shows them.

use kos_api::{
    device::{Device, Health, ImageVerdict, Lobby, Quarantine},
    hex::{Digest, Serial},
    text::Tag,
    ticket::{Ticket, TicketState},
};
use kos_base::{DeviceId, KidSubject, Timestamp};
use kos_identity::registry;
use kos_klp::body;

use crate::{
    authority::Shared,
    store::{Heartbeat, StoreError},
};

/// The component of a heartbeat's versions that is the daemon.
const DAEMON: &str = "kosd";

/// Devices shown of one ticket; a ticket for a whole fleet has the rest in the log.
const TICKET_DEVICES_MAX: u32 = 100;

/// A device with what only the store and the heartbeats know.
pub(super) async fn device(
    shared: &Shared,
    record: &registry::Device,
    now: Timestamp,
) -> Result<Device, StoreError> {
    let last = shared.store.last_entry_about(record.id.as_ref()).await?;
    Ok(device_with(shared, record, last, now))
}

/// A device whose last entry in the log is known.
pub(super) fn device_with(
    shared: &Shared,
    record: &registry::Device,
    last_audit_index: Option<u64>,
    now: Timestamp,
) -> Device {
    let beat = shared.presence.last(&record.id);
    let said = beat.as_ref().and_then(|beat| body::read::<body::Heartbeat>(&beat.body).ok());
    let credential = record.credential.as_ref();
    let stage = record.stage_at(now);
    let version = said.as_ref().and_then(|said| {
        said.versions.iter().find(|v| v.component.to_string() == DAEMON).map(|v| v.version.to_string())
    });
    Device {
        device_id: record.id.clone(),
        name: Some(record.name.clone()),
        role: Some(record.role),
        profile: record.profile(),
        evidence_tier: record.evidence,
        group: record.group.clone(),
        user: record.user.clone(),
        state: stage.state,
        state_reason: Some(stage.reason.to_owned()),
        state_since: stage.since,
        banned: record.banned,
        online: shared.presence.is_online(&record.id, now),
        channel: record.channel,
        capabilities: record.capabilities.clone(),
        kid_subject: credential.map(|held| KidSubject {
            authority: shared.name.clone(),
            device: record.id.clone(),
            issue: held.issue,
        }),
        identity_key_id: record.identity_key.id(),
        operational_key_id: credential.map(|held| held.key.id()),
        cert_serial: credential.and_then(|held| Serial::from_bytes(&held.serial)),
        cert_not_after: credential.map(|held| held.not_after),
        enrolled_at: record.enrolled_at,
        last_heartbeat_at: beat.as_ref().map(|Heartbeat { at, .. }| *at),
        health: said.as_ref().map(health),
        version,
        last_audit_index,
        tags: record.tags.iter().filter_map(|tag| tag.as_ref().parse::<Tag>().ok()).collect(),
        dev_allowed: record.dev_allowed,
        image: Some(if record.image.is_some() { ImageVerdict::Verified } else { ImageVerdict::Unverified }),
        recoveries_left: Some(record.recoveries_left),
        successor_of: record.successor_of.clone(),
        admitted_by: record.admitted_by.as_ref().map(ToString::to_string),
        lobby: record.lobby.as_ref().map(|lobby| waiting(record, lobby)),
        quarantine: record.case.as_ref().map(|case| quarantine(record, case)),
    }
}

fn quarantine(record: &registry::Device, case: &registry::Case) -> Quarantine {
    let bundle = case.bundle.as_ref();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Quarantine {
        order_id: (!case.signed.is_empty()).then_some(case.order),
        ordered_at: case.at,
        confirmed_at: case.confirmed_at,
        forensics_sha256: bundle.map(|bundle| Digest::from_bytes(*bundle.sha256)),
        forensics_bytes: bundle.map(|bundle| bundle.bytes),
        approvals: number(case.approvals.len()),
        approvals_needed: number(registry::Case::approvals_needed(record.profile())),
    }
}

/// Changes whenever the record does, and with nothing else.
pub(super) fn tag(record: &registry::Device) -> String {
    format!("\"{}\"", record.version)
}

fn waiting(record: &registry::Device, lobby: &registry::Lobby) -> Lobby {
    Lobby {
        comparison_code: lobby.comparison.clone(),
        requested_role: Some(record.role),
        requested_profile: lobby.requested,
        source: lobby.source.clone(),
        since: lobby.since,
        until: lobby.since.plus(registry::Lobby::WAIT),
        macs: record.macs.iter().map(ToString::to_string).collect(),
        serials: record.serials.clone(),
        clones: lobby.lookalikes.clone(),
        withheld: lobby.withheld.as_ref().map(ToString::to_string),
    }
}

fn health(said: &body::Heartbeat) -> Health {
    let failed = said.checks.iter().filter(|check| !check.passed);
    let mut errors: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    if said.errors > 0 {
        errors.push(format!("{} errors since the heartbeat before", said.errors));
    }
    Health {
        cpu_percent: said.cpu_percent.map(f64::from),
        ram_used_bytes: said.ram_used_bytes,
        ram_total_bytes: said.ram_total_bytes,
        uptime_seconds: said.uptime_seconds,
        errors,
    }
}

/// A ticket, without the secret that nobody has any more.
pub(super) async fn ticket(
    shared: &Shared,
    record: &registry::Ticket,
    now: Timestamp,
) -> Result<Ticket, StoreError> {
    let devices = shared.store.admitted_by(record.id, TICKET_DEVICES_MAX).await?;
    let made_by = super::entry::ticket_maker(shared, &record.id.to_string()).await?;
    Ok(ticket_with(record, devices, made_by, now))
}

/// A ticket whose maker and users are known.
pub(super) fn ticket_with(
    record: &registry::Ticket,
    devices: Vec<DeviceId>,
    created_by: String,
    now: Timestamp,
) -> Ticket {
    Ticket {
        ticket_id: record.id,
        text: None,
        url: None,
        device_name: record.device_name.clone(),
        role: record.role,
        profile_cap: record.profile_cap,
        group: record.group.clone(),
        uses: record.uses_max,
        expires_at: record.expires_at,
        state: ticket_state(record, now),
        uses_left: record.uses_max.saturating_sub(record.uses),
        created_at: record.created_at,
        created_by,
        devices,
    }
}

/// Whether a ticket lets anybody in at `now`.
pub(super) fn ticket_state(record: &registry::Ticket, now: Timestamp) -> TicketState {
    if record.revoked {
        TicketState::Revoked
    } else if record.uses >= record.uses_max {
        TicketState::Spent
    } else if now >= record.expires_at {
        TicketState::Expired
    } else {
        TicketState::Open
    }
}
