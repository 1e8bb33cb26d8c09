//! Heartbeats, and the links that carry them.

use kos_base::{Channel, digest::sha256};
use kos_net::carrier::Carrier;

use super::{authority::Network, *};

/// A disk check that passes also where the machine of the test has little room.
const ROOM: &str = "health: {checks: {disk: disk-free / 1}}\n";

/// An enrolled device that has reported, and where it lives.
pub(crate) async fn reporting(authority: &Authority, sections: &str) -> (Running, tempfile::TempDir) {
    let root = root_with(sections);
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    device.heartbeat().await;
    (device, root)
}

#[tokio::test]
async fn a_device_reports_at_once_and_at_every_start() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, ROOM).await;
    let beat = authority.look(|seen| seen.beats[0].clone());
    assert_eq!((beat.carrier, beat.issue), (Carrier::Quic, 1));
    let said = beat.said;
    assert_eq!(said.channel, Channel::Stable);
    assert_eq!(said.config_digest, sha256(&fs::read(root.path().join("etc/kos/config.yaml")).unwrap()));
    assert_ne!(said.boot_id, [0; 16]);
    assert_eq!(said.versions[0].component.as_str(), "kosd");
    let checks: Vec<_> = said.checks.iter().map(|check| (check.name.as_str(), check.passed)).collect();
    assert_eq!(checks, [("disk", true), ("clock", true)]);

    let status = device.ask(Question::Status).await;
    assert_eq!(status.carrier.as_deref(), Some("quic"));
    assert!(status.last_heartbeat_at.is_some() && status.state_reason.is_none());
    assert_eq!(status.health.unwrap().errors, Vec::<String>::new());
    let chain = device.ask(Question::Identity).await.unwrap();
    assert!(chain.valid, "{:?}", chain.checks);
    device.stop().await;

    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    let again = device.ask(Question::Identity).await.unwrap();
    assert!(again.valid && again.device_id == chain.device_id, "{:?}", again.checks);
    device.stop().await;
}

#[tokio::test]
async fn without_udp_the_link_is_made_over_tls() {
    let authority = Authority::start_on(Network::TcpAlone).await;
    let (device, _root) = reporting(&authority, "").await;
    assert_eq!(authority.look(|seen| seen.beats[0].carrier), Carrier::Tls);
    assert_eq!(device.ask(Question::Status).await.carrier.as_deref(), Some("tls"));
}

#[tokio::test]
async fn a_carrier_that_the_role_profile_does_not_have_is_never_dialled() {
    let authority = Authority::start_on(Network::TcpAlone).await;
    let root = root_with("network: {fallback: [websocket]}\n");
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    device.wait_for(|news| (news == News::Unreachable).then_some(())).await;
    assert_eq!(authority.look(|seen| (seen.beats.len(), seen.upgrades)), (0, 0));
}

#[tokio::test]
async fn heartbeats_come_as_often_as_the_configuration_says_with_its_checks() {
    let authority = Authority::start().await;
    let sections =
        "network: {heartbeat_s: 1}\nhealth: {checks: {disk: disk-free / 1, web: socket /nowhere.sock}}\n";
    let (device, _root) = reporting(&authority, sections).await;
    let beat = authority.until("a third heartbeat", |seen| seen.beats.get(2).cloned()).await;
    let web = beat.said.checks.iter().find(|check| check.name.as_str() == "web").unwrap();
    assert!(!web.passed);
    assert_eq!(authority.look(|seen| seen.links), 1);
    let errors = device.ask(Question::Status).await.health.unwrap().errors;
    assert_eq!(errors, ["web: entity not found"]);
}

#[tokio::test]
async fn a_link_is_made_again_when_the_authority_comes_back() {
    let mut authority = Authority::start().await;
    let (mut device, _root) = reporting(&authority, "").await;
    authority.turn_off().await;
    device.wait_for(|news| (news == News::Unreachable).then_some(())).await;
    let status = device.ask(Question::Status).await;
    assert_eq!(status.carrier, None);
    assert!(status.state_reason.unwrap().contains(&code::config::UNREACHABLE.to_string()));
    authority.turn_on().await;
    device.heartbeat().await;
    assert_eq!(device.ask(Question::Status).await.state_reason, None);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_dialled() {
    let authority = Authority::start().await;
    let root = root_with("services: {allowed_endpoints: []}\n");
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let refused = device.wait_for(|news| match news {
        News::Untrusted(code) => Some(code),
        _ => None,
    });
    assert_eq!(refused.await, code::config::ENDPOINT_FORBIDDEN);
    device.stop().await;

    // Neither is one that was allowed when the device enrolled.
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    authority.until("no link", |seen| (seen.links == 0).then_some(())).await;
    let beats = authority.look(|seen| seen.beats.len());
    let config = root.path().join("etc/kos/config.yaml");
    let narrower = fs::read_to_string(&config).unwrap() + "services: {allowed_endpoints: [attic.kos]}\n";
    fs::write(&config, narrower).unwrap();
    let mut device = Running::start(root.path(), None);
    device.wait_for(|news| (news == News::Untrusted(code::config::ENDPOINT_FORBIDDEN)).then_some(())).await;
    assert_eq!(authority.look(|seen| (seen.beats.len(), seen.links)), (beats, 0));
}

#[tokio::test]
async fn a_device_whose_clock_is_wrong_learns_the_time_and_reports() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    authority.let_pass(Duration::from_secs(3600));
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    let beat = authority.look(|seen| seen.beats[1].clone());
    let clock = beat.said.checks.iter().find(|check| check.name.as_str() == "clock").unwrap();
    assert!(!clock.passed, "{clock:?}");
}

#[tokio::test]
async fn a_device_whose_clock_is_months_ahead_enrols_and_reports_and_does_so_again() {
    // By the device's clock the authority's certificate of 90 days has run out.
    let authority = Authority::start_behind(Duration::from_secs(100 * 24 * 3600)).await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    assert_eq!(authority.count(|change| matches!(change, Change::CertificateIssued { .. })), 1);
}
