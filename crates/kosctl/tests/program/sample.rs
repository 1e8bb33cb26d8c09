//! Things that a server could answer.

use kos_api::{
    device::Device,
    ticket::{Ticket, TicketState},
};
use kos_base::{Channel, DeviceState, EvidenceTier, KeyId, Name, Role, SecurityProfile, Timestamp};

pub(crate) const ID: &str = "kdev-7f4ac30123456789";
pub(crate) const TICKET: &str = "01890f8e-2b00-7000-8000-000000000001";
pub(crate) const TEXT: &str = "kos1.dGhpcyBpcyBubyB0aWNrZXQ";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A device that has sent a heartbeat.
pub(crate) fn device(id: &str, name: Option<&str>) -> Device {
    Device {
        device_id: id.parse().unwrap(),
        name: name.map(|name| name.parse::<Name>().unwrap()),
        role: Some(Role::Sensor),
        profile: SecurityProfile::Sec2,
        evidence_tier: EvidenceTier::KeyOnDevice,
        group: Some("berlin/line-2".parse().unwrap()),
        user: None,
        state: DeviceState::Active,
        state_reason: None,
        state_since: at("2026-11-20T10:00:00.000Z"),
        banned: false,
        online: true,
        channel: Channel::Stable,
        capabilities: vec!["telemetry".parse().unwrap()],
        kid_subject: None,
        identity_key_id: KeyId::from_bytes([7; 32]),
        operational_key_id: None,
        cert_serial: Some("01".repeat(16).parse().unwrap()),
        cert_not_after: Some(at("2026-12-04T10:00:00.000Z")),
        enrolled_at: Some(at("2026-11-20T10:00:00.000Z")),
        last_heartbeat_at: Some(at("2026-11-20T10:01:00.000Z")),
        health: None,
        version: Some("0.1.0".into()),
        last_audit_index: Some(4),
        tags: Vec::new(),
        dev_allowed: false,
        image: None,
        recoveries_left: Some(3),
        successor_of: None,
        quarantine: None,
        admitted_by: None,
        lobby: None,
    }
}

pub(crate) fn ticket() -> Ticket {
    Ticket {
        ticket_id: TICKET.parse().unwrap(),
        text: Some(kos_api::text::SecretText::new(TEXT.into())),
        url: Some(kos_api::text::SecretText::new(format!("https://attic.local:8641/enroll#{TEXT}"))),
        device_name: Some("kitchen".parse().unwrap()),
        role: Role::Sensor,
        profile_cap: SecurityProfile::Sec2,
        group: None,
        uses: 1,
        expires_at: at("2026-11-20T10:10:00.000Z"),
        state: TicketState::Open,
        uses_left: 1,
        created_at: at("2026-11-20T10:00:00.000Z"),
        created_by: "local:root".into(),
        devices: Vec::new(),
    }
}
