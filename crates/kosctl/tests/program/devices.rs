//! The socket of a device: the same commands, without naming a device.

use kos_api::{
    lifecycle::{Decommission, Wipe},
    local::DeviceStatus,
};
use kos_base::{Channel, DeviceState, SecurityProfile};

use crate::{
    identities::chain,
    program::User,
    sample::{ID, at},
    stand_in::{Asked, StandIn, Told},
};

fn kosd() -> StandIn {
    StandIn::start(|asked: &Asked| match asked.path.as_str() {
        "/api/v1/identity" => Told::item(chain(true)),
        "/api/v1/decommission" => Told::item(Decommission {
            device_id: ID.parse().unwrap(),
            state: DeviceState::Decommissioned,
            revoked_at: None,
            crl_number: None,
            wipe: Wipe::CryptoErased,
            audit_index: None,
        }),
        "/api/v1/status" => Told::item(DeviceStatus {
            device_id: Some(ID.parse().unwrap()),
            name: Some("kitchen".parse().unwrap()),
            state: DeviceState::Active,
            state_reason: None,
            authority: Some("attic".parse().unwrap()),
            server: Some("attic.local:8641".into()),
            role: None,
            profile: SecurityProfile::Sec2,
            channel: Channel::Stable,
            kid_subject: None,
            identity_key_id: None,
            cert_serial: None,
            cert_not_after: Some(at("2001-01-01T00:00:00.000Z")),
            renew_at: None,
            carrier: Some("quic".into()),
            last_heartbeat_at: None,
            health: None,
            image: None,
            keys: None,
            log_entries: None,
            log_delivered: None,
            comparison_code: None,
            witness: None,
            last_alert: None,
            modules: Vec::new(),
            warnings: vec!["kDNS is not built in: `mcp_discovery` falls through".into()],
            version: "0.1.0".into(),
        }),
        _ => Told::nothing_there(),
    })
}

#[test]
fn status_identity_and_doctor_speak_of_the_device_itself() {
    let (server, user) = (kosd(), User::new());
    let run = |words: &[&str]| user.run(&[words, &["-o", "json", "--server", &server.server()]].concat());
    let status = run(&["status"]);
    assert_eq!((status.code, status.json()["kind"].as_str()), (0, Some("DeviceStatus")), "{status:?}");
    assert_eq!(run(&["identity", "chain"]).json()["item"]["deviceId"], ID);
    let doctor = run(&["doctor"]);
    let failed: Vec<_> = doctor.json()["item"]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["ok"] == false)
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        (doctor.code, failed),
        (10, vec!["heartbeat".into(), "certificate".into(), "warning".to_owned()])
    );
}

#[test]
fn a_device_is_ended_on_the_spot_by_its_name() {
    let (server, user) = (kosd(), User::new());
    let run = |words: &[&str]| user.run(&[words, &["-o", "json", "--server", &server.server()]].concat());
    assert_eq!(run(&["decommission"]).failure()["fix"], "repeat with --confirm kitchen");
    let done = run(&["decommission", "--confirm", "kitchen"]);
    assert_eq!((done.code, done.json()["item"]["wipe"].as_str()), (0, Some("crypto-erased")), "{done:?}");
    assert_eq!(server.lines().last().unwrap(), "POST /api/v1/decommission");
}
