//! The end of a device, wherever it begins.

use super::*;

#[tokio::test]
async fn a_device_that_is_decommissioned_here_keeps_nothing_but_the_record() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;
    let keys = names(root.path().join("etc/kos/secrets"));
    let keys = keys.iter().filter(|name| name.ends_with(".key"));
    let keys: Vec<_> =
        keys.map(|name| fs::read(root.path().join("etc/kos/secrets").join(name)).unwrap()).collect();
    assert_eq!(keys.len(), 3);

    let done = device.ask(|reply| Question::Decommission(DecommissionOrder::default(), reply)).await.unwrap();
    assert_eq!((done.device_id, done.state), (id, DeviceState::Decommissioned));
    let delivery = device.wait_for(|news| match news {
        News::Ended(delivery) => Some(delivery),
        _ => None,
    });
    assert_eq!(delivery.await, Delivery::Recorded);
    assert_eq!(device.stop().await, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);

    assert_eq!(names(root.path().join("etc/kos/secrets")), set(&[]));
    assert_eq!(names(root.path().join("etc/kos")), set(&["config.yaml", "secrets"]));
    assert_eq!(names(root.path().join("var/lib/kos/device")), set(&["decommissioned.cose"]));
    let mut left = Vec::new();
    contents(root.path(), &mut left);
    for key in &keys {
        // The secret part stands before the digest of 32 bytes at the end.
        let secret = &key[key.len() - 64..key.len() - 32];
        assert!(left.iter().all(|file| !file.windows(secret.len()).any(|part| part == secret)));
    }
    // A start after the end tells the authority once more and stops.
    let device = Running::start(root.path(), None);
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
}

