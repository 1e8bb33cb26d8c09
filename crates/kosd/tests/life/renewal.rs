//! Certificates that run out, and copies of a device.

use kos_identity::registry::Operation;

use super::{reports::reporting, *};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn renewed(device: &mut Running) -> u32 {
    device
        .wait_for(|news| match news {
            News::Renewed(issue) => Some(issue),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_certificate_is_renewed_when_it_is_due_by_the_authoritys_time() {
    let authority = Authority::start().await;
    let (mut device, _root) = reporting(&authority, "network: {heartbeat_s: 1}\n").await;
    // 70 % of 14 days.
    authority.let_pass(DAY * 10);
    assert_eq!(renewed(&mut device).await, 2);
    device.heartbeat().await;
    assert_eq!(authority.count(|change| matches!(change, Change::CertificateRenewed { .. })), 1);
}

#[tokio::test]
async fn a_device_that_slept_past_its_certificate_comes_back_by_its_identity_key() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    authority.let_pass(DAY * 40);
    let mut device = Running::start(root.path(), None);
    assert_eq!(renewed(&mut device).await, 2);
    device.heartbeat().await;
    assert_eq!(authority.count(|change| matches!(change, Change::IdentityRecovered { .. })), 1);
    assert!(device.ask(Question::Identity).await.unwrap().valid);
}

#[tokio::test]
async fn a_device_restored_from_a_copied_disk_is_noticed() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    let copy = tempfile::tempdir().unwrap();
    copy_folder(root.path(), copy.path());

    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    authority.operate(Operation::Regenerate);
    device.stop().await;
    let mut device = Running::start(root.path(), None);
    assert_eq!(renewed(&mut device).await, 2);
    device.heartbeat().await;

    let mut twin = Running::start(copy.path(), None);
    twin.wait_for(|news| (news == News::Refused(code::enrolment::CLONE)).then_some(())).await;
    assert_eq!(authority.count(|change| matches!(change, Change::CloneSuspected { .. })), 1);
    assert_eq!(authority.devices()[0].state(), DeviceState::Suspended);
    // The original cannot be told from the copy: both stay out.
    device.wait_for(|news| matches!(news, News::Refused(_)).then_some(())).await;
}

#[tokio::test]
async fn a_device_that_is_stopped_again_and_again_while_it_renews_ends_with_one_certificate() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    authority.operate(Operation::Regenerate);
    let mut stopped = 0;
    loop {
        let (device, mut news) = Device::boot(root.path(), Options::default()).unwrap();
        // Dropped after a little more time at each round, wherever it is then.
        let life = timeout(Duration::from_millis(stopped * 3), device.run(std::future::pending()));
        assert!(life.await.is_err());
        if std::iter::from_fn(|| news.try_recv().ok()).any(|told| matches!(told, News::Renewed(_))) {
            break;
        }
        stopped += 1;
        assert!(stopped < 300, "it never renews");
    }
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    let known = authority.devices().remove(0);
    assert_eq!(known.state(), DeviceState::Active);
    assert_eq!((known.pending.is_some(), known.regenerate), (false, false));
    assert_eq!(authority.look(|seen| seen.beats.last().unwrap().issue), known.issues);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        let meta = fs::symlink_metadata(&from).unwrap();
        if meta.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy_folder(&from, &to);
        } else if meta.is_file() {
            fs::copy(&from, &to).unwrap();
        }
    }
}
