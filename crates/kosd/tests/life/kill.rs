//! The kill switch of a device: armed, fired, told or jammed, cut and gone on with.

use kos_api::kill::{ArmKill, FireKill, KillProgram, KillReport, KillState};
use kos_api::text::SecretText;
use kos_vault::kill::{NoticeSubject, verify_notice};
use kosd::{
    kill::{self, Found},
    life::Refused,
    socket::KillQuestion,
};

use super::*;

const STATE: &str = "var/lib/kos/device";

async fn arm(device: &Running) -> String {
    let order = ArmKill { program: KillProgram::Keep };
    let armed = device.ask(|reply| Question::Kill(KillQuestion::Arm(order, reply))).await.unwrap();
    assert_eq!(armed.code.expose().len(), 9);
    armed.code.expose().to_owned()
}

async fn fire(device: &Running, code: &str) -> Result<KillReport, Refused> {
    let order = FireKill { code: SecretText::new(code.to_owned()) };
    device.ask(|reply| Question::Kill(KillQuestion::Fire(order, reply))).await
}

/// Every key that the device holds, and the one of its vault.
fn secrets(root: &Path) -> Vec<Vec<u8>> {
    let held = keystore(root);
    let signing = [KeySlot::Identity, KeySlot::Operational(Slot::A)]
        .map(|slot| held.signing(slot, NOW).unwrap().to_pkcs8().unwrap().to_vec());
    let mut keys = signing.map(|pkcs8| pkcs8.last_chunk::<32>().unwrap().to_vec()).to_vec();
    keys.push(held.agreement(Slot::A, NOW).unwrap().secret().expose().to_vec());
    keys.push(fs::read(root.join("etc/kos/secrets/machine.key")).unwrap().trim_ascii_end().to_vec());
    keys
}

fn assert_gone(root: &Path, secrets: &[Vec<u8>]) {
    assert_eq!(names(root.join("etc/kos/secrets")), set(&[]));
    assert_eq!(names(root.join("etc/kos")), set(&["config.yaml", "secrets"]));
    let kept = ["death-notice.cose", "decommissioned.cose", "kill-report.json", "kill.journal"];
    assert_eq!(names(root.join(STATE)), set(&kept));
    let mut left = Vec::new();
    contents(root, &mut left);
    for secret in secrets {
        assert!(left.iter().all(|file| !file.windows(secret.len()).any(|part| part == secret)));
    }
}

#[tokio::test]
async fn a_device_that_is_fired_tells_its_authority_and_is_none_any_more() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;
    let keys = secrets(root.path());
    let code = arm(&device).await;
    let report = fire(&device, &code).await.unwrap();
    assert!(report.complete && report.recorded, "{report:?}");
    assert_eq!((report.notified.as_str(), report.name.as_str()), ("told", id.as_ref()));
    let said: Vec<_> = report.targets.iter().map(|target| target.assurance.as_str()).collect();
    // The key of the vault first, then the vault, of which more may be said for that reason.
    assert_eq!(said.first_chunk(), Some(&["cleared", "crypto-erased"]), "{report:?}");
    assert!(said.iter().skip(2).all(|word| ["cleared", "absent", "deleted"].contains(word)), "{report:?}");
    assert_eq!(timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap(), Outcome::Killed);
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioning);
    assert_gone(root.path(), &keys);

    let notice = fs::read(report.notice.unwrap()).unwrap();
    let notice = verify_notice(&notice).unwrap();
    let notice = notice.notice();
    assert_eq!((notice.subject, notice.name.as_str()), (NoticeSubject::Device, id.as_ref()));
    assert_eq!(notice.key.id(), authority.devices()[0].identity_key.id());

    // A start after the end delivers the receipt, and keeps the proof.
    let device = Running::start(root.path(), None);
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);
    assert_gone(root.path(), &keys);
}

#[tokio::test]
async fn an_authority_that_does_not_answer_is_not_waited_for() {
    let (mut authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    let keys = secrets(root.path());
    authority.turn_off().await;
    // Worse than nobody: somebody who takes connections and never says a word.
    let _deaf = tokio::net::TcpListener::bind(authority.address()).await.unwrap();
    let code = arm(&device).await;
    let begun = std::time::Instant::now();
    let report = fire(&device, &code).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!((report.notified.as_str(), report.complete), ("unreached", true));
    assert_gone(root.path(), &keys);
}

#[tokio::test]
async fn wrong_codes_are_counted_and_the_third_disarms() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    let status =
        async |device: &Running| device.ask(|reply| Question::Kill(KillQuestion::Status(reply))).await;
    assert_eq!(fire(&device, "0000-0000").await.unwrap_err().code, code::kill::KILL_NOT_ARMED);
    let right = arm(&device).await;
    let order = ArmKill { program: KillProgram::Delete };
    let again = device.ask(|reply| Question::Kill(KillQuestion::Arm(order, reply))).await;
    assert_eq!(again.unwrap_err().code, code::kill::KILL_ARMED);
    assert_eq!(fire(&device, "0000-0000").await.unwrap_err().code, code::kill::KILL_CODE);
    // The count outlives the daemon.
    device.stop().await;
    let device = Running::start(root.path(), None);
    let armed = status(&device).await;
    assert_eq!((armed.state, armed.wrong_codes), (KillState::Armed, 1));
    assert_eq!(fire(&device, "0000-0000").await.unwrap_err().code, code::kill::KILL_CODE);
    assert_eq!(fire(&device, "0000-0000").await.unwrap_err().code, code::kill::KILL_DISARMED);
    assert_eq!(fire(&device, &right).await.unwrap_err().code, code::kill::KILL_NOT_ARMED);
    assert_eq!(status(&device).await.state, KillState::Safe);
    let log = words(&device, root.path()).await;
    for event in ["kill_armed", "kill_disarmed"] {
        assert!(log.contains(event), "{log}");
    }
    assert_eq!(secrets(root.path()).len(), 4);
    device.stop().await;
}

#[tokio::test]
async fn a_firing_that_is_cut_goes_on_with_the_next_start_before_anything_else() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    let keys = secrets(root.path());
    let code = arm(&device).await;
    let order = FireKill { code: SecretText::new(code) };
    let (reply, _answer) = oneshot::channel();
    device.asker.send(Question::Kill(KillQuestion::Fire(order, reply))).await.unwrap();
    // Cut as soon as there is no way back.
    wait::until(|| root.path().join(STATE).join("death-notice.cose").exists().then_some(())).await;
    device.life.abort();
    drop(device.life.await);
    // Not even a configuration that nobody can read keeps it.
    fs::write(root.path().join("etc/kos/config.yaml"), "{").unwrap();
    match kill::resume(root.path(), None).unwrap() {
        Found::Finished(report) => assert!(report.complete, "{report:?}"),
        // It was cut after its last step.
        other => assert!(matches!(other, Found::Killed { .. }), "{other:?}"),
    }
    assert_gone(root.path(), &keys);
    assert!(matches!(kill::resume(root.path(), None).unwrap(), Found::Killed { .. }));
}
