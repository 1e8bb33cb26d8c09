//! Orders of quarantine as a device meets them over a real connection: those that count, and those that do nothing.

use std::io::Read as _;

use age::x25519;
use kos_identity::{enrolment::device::Stage, quarantine::Order, registry::Operation};

use super::{reports::reporting, *};

/// What the device remembers.
fn journal(root: &Path) -> kos_identity::enrolment::device::Journal {
    let config = Config::load(&Root::config_file(root)).unwrap().config;
    kosd::life::remembered(&Root::new(root, &config)).unwrap().unwrap()
}

fn stage(root: &Path) -> Option<Stage> {
    journal(root).isolation.map(|case| case.stage)
}

async fn refused(device: &mut Running) -> Code {
    device
        .wait_for(|news| match news {
            News::Untrusted(code) | News::Refused(code) => Some(code),
            _ => None,
        })
        .await
}

fn reinstate(authority: &Authority) {
    authority.operate(Operation::Reinstate { reason: "looked at".to_owned(), approvers: Box::default() });
}

#[tokio::test]
async fn a_device_obeys_reports_and_goes_on_after_restarts_and_comes_back() {
    let authority = Authority::start().await;
    let guardian = x25519::Identity::generate();
    let (mut device, root) = reporting(&authority, "").await;
    authority.quarantine(|order| Order { recipients: vec![guardian.to_public().to_string()], ..order });
    let confirmed = |seen: &authority::View<'_>| {
        seen.devices[0].case.as_ref().and_then(|case| case.confirmed_at.and(case.bundle.clone()))
    };
    let bundle = authority.until("the record", confirmed).await;
    let sealed = authority.bundle();
    assert_eq!(usize::try_from(bundle.bytes), Ok(sealed.len()));
    let mut document = String::new();
    let keys: [&dyn age::Identity; 1] = [&guardian];
    let mut opened = age::Decryptor::new(sealed.as_slice()).unwrap().decrypt(keys.into_iter()).unwrap();
    opened.read_to_string(&mut document).unwrap();
    assert!(document.contains("PF3XYZ12") && document.contains("quarantine_ordered"), "{document}");
    wait::until(|| (stage(root.path()) == Some(Stage::Reported)).then_some(())).await;
    let held = keystore(root.path());
    for slot in [Slot::A, Slot::B] {
        assert!(held.signing(KeySlot::Operational(slot), NOW).is_err());
        assert!(held.agreement(slot, NOW).is_err());
    }
    assert!(held.signing(KeySlot::Identity, NOW).is_ok());
    assert!(!root.path().join("etc/kos/identity.cert").exists());
    let status = device.ask(Question::Status).await;
    assert_eq!((status.state, status.carrier), (DeviceState::Quarantined, None));
    device.stop().await;

    // A restart changes nothing, and reports nothing twice.
    let beats = authority.look(|seen| seen.beats.len());
    device = Running::start(root.path(), None);
    assert_eq!(device.ask(Question::Status).await.state, DeviceState::Quarantined);
    let log = words(&device, root.path()).await;
    assert_eq!(log.matches("quarantine_ordered").count(), 1, "{log}");
    // Nor does a ticket.
    device.stop().await;
    let ticket = authority.ticket(Role::Sensor);
    let again = Device::boot(root.path(), Options { ticket: Some(ticket), ..Options::default() });
    drop(again);
    assert!(journal(root.path()).isolation.is_some());
    assert_eq!(authority.count(|change| matches!(change, Change::QuarantineConfirmed { .. })), 1);
    assert_eq!(authority.look(|seen| seen.beats.len()), beats, "it reports nothing else");

    reinstate(&authority);
    device = Running::start(root.path(), None);
    device.heartbeat().await;
    assert_eq!(authority.look(|seen| seen.beats.last().unwrap().issue), 2);
    assert_eq!(journal(root.path()).isolation, None);
    device.stop().await;
}

#[tokio::test]
async fn orders_that_are_forged_or_for_another_device_do_nothing() {
    let authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    let before = names(root.path().join("etc/kos/secrets"));
    let other = "kdev-7f4ac30123456789".parse::<DeviceId>().unwrap();
    authority.quarantine(|order| Order { device: other, ..order });
    assert_eq!(refused(&mut device).await, code::quarantine::ORDER_INVALID);
    authority.change_order(|signed| *signed.last_mut().unwrap() ^= 1);
    assert_eq!(refused(&mut device).await, code::quarantine::ORDER_INVALID);
    assert_eq!(stage(root.path()), None);
    assert_eq!(names(root.path().join("etc/kos/secrets")), before);
    let log = words(&device, root.path()).await;
    assert!(log.contains("authority_untrusted") && !log.contains("quarantine_ordered"), "{log}");
    device.stop().await;
}

#[tokio::test]
async fn an_old_order_that_is_played_again_does_nothing() {
    let authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    authority.quarantine(|order| order);
    wait::until(|| (stage(root.path()) == Some(Stage::Reported)).then_some(())).await;
    let old = authority.devices()[0].case.clone().unwrap();
    reinstate(&authority);
    device.heartbeat().await;
    // It is in service again; whoever holds the old order brings it once more.
    authority.quarantine(|order| order);
    authority.change_order(|signed| signed.clone_from(&old.signed));
    let stale = |news| (news == News::Untrusted(code::quarantine::ORDER_STALE)).then_some(());
    device.wait_for(stale).await;
    assert_eq!((stage(root.path()), journal(root.path()).active.map(|held| held.issue)), (None, Some(2)));
    device.stop().await;
}
