//! The end of a device, wherever it begins.

use super::{reports::reporting, *};

#[tokio::test]
async fn a_device_that_is_decommissioned_here_keeps_nothing_but_the_record() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;
    let held = keystore(root.path());
    let signing = [KeySlot::Identity, KeySlot::Operational(Slot::A)]
        .map(|slot| held.signing(slot, NOW).unwrap().to_pkcs8().unwrap().to_vec());
    // The seed of an Ed25519 key stands at the end of its PKCS#8.
    let mut keys = signing.map(|pkcs8| pkcs8[pkcs8.len() - 32..].to_vec()).to_vec();
    keys.push(held.agreement(Slot::A, NOW).unwrap().secret().expose().to_vec());
    let opener = fs::read(root.path().join("etc/kos/secrets/machine.key")).unwrap();
    keys.push(opener.trim_ascii_end().to_vec());

    let done = device.ask(|reply| Question::Decommission(DecommissionOrder::default(), reply)).await.unwrap();
    assert_eq!((done.device_id, done.state), (id, DeviceState::Decommissioned));
    let delivery = device.wait_for(|news| match news {
        News::Ended(delivery) => Some(delivery),
        _ => None,
    });
    assert_eq!(delivery.await, Delivery::Recorded);
    assert_eq!(device.stop().await, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);

    assert_wiped(root.path());
    let mut left = Vec::new();
    contents(root.path(), &mut left);
    for key in &keys {
        assert!(left.iter().all(|file| !file.windows(key.len()).any(|part| part == key)));
    }
    // A start after the end tells the authority once more and stops.
    let device = Running::start(root.path(), None);
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
}

/// What every end leaves behind.
fn assert_wiped(root: &Path) {
    assert_eq!(names(root.join("etc/kos/secrets")), set(&[]));
    assert_eq!(names(root.join("etc/kos")), set(&["config.yaml", "secrets"]));
    assert_eq!(names(root.join("var/lib/kos/device")), set(&["decommissioned.cose"]));
}

#[tokio::test]
async fn an_order_to_end_reaches_a_device_in_service_and_is_obeyed() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    authority.order_the_end();
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);
    assert_wiped(root.path());
}

#[tokio::test]
async fn an_order_that_waits_is_obeyed_at_the_next_start_whatever_cuts_the_power() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    authority.order_the_end();
    let mut stopped = 0;
    loop {
        let (device, _news) = Device::boot(root.path(), Options::default()).unwrap();
        let life = timeout(Duration::from_millis(stopped * 2), device.run(std::future::pending()));
        if let Ok(ended) = life.await {
            assert_eq!(ended.unwrap(), Outcome::Ended(Delivery::Recorded));
            break;
        }
        stopped += 1;
        assert!(stopped < 1500, "it never ends");
    }
    assert!(stopped > 0);
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);
    assert_eq!(authority.count(|change| matches!(change, Change::DeviceDecommissioned { .. })), 1);
    assert_wiped(root.path());
}

#[tokio::test]
async fn a_device_that_ends_out_of_reach_tells_its_authority_later() {
    let mut authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    authority.turn_off().await;
    let done = device.ask(|reply| Question::Decommission(DecommissionOrder::default(), reply)).await.unwrap();
    assert_eq!(done.state, DeviceState::Decommissioned);
    assert_wiped(root.path());
    let delivery = device.wait_for(|news| match news {
        News::Ended(delivery) => Some(delivery),
        _ => None,
    });
    assert_eq!(delivery.await, Delivery::Owed);
    assert_eq!(device.stop().await, Outcome::Stopped);
    assert_eq!(authority.devices()[0].state(), DeviceState::Active);

    authority.turn_on().await;
    let device = Running::start(root.path(), None);
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);
    assert_wiped(root.path());
}

#[tokio::test]
async fn an_authority_that_refuses_to_hear_of_an_end_leaves_no_trace_on_the_device() {
    let mut authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    authority.turn_off().await;
    device.ask(|reply| Question::Decommission(DecommissionOrder::default(), reply)).await.unwrap();
    assert_eq!(device.stop().await, Outcome::Stopped);

    authority.forget_all();
    authority.turn_on().await;
    let mut device = Running::start(root.path(), None);
    device.wait_for(|news| matches!(news, News::Refused(_)).then_some(())).await;
    assert_eq!(device.stop().await, Outcome::Stopped);
    assert_wiped(root.path());
}
