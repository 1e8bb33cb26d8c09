//! What a device refuses by its own security profile, whoever asks.
//!
//! Source: `docs/spec/policy.md` POLS-13, POLS-17, POLS-23, POLS-27, POLS-28.

use std::time::Duration;

use kos_base::{Channel, SecurityProfile, code};
use kos_identity::registry::Operation;
use kos_klp::{body::Instruction, message::MessageType, proof::ProofClass};

use super::{authority::Push, reports::reporting, *};

/// Sections of a configuration that asks for this profile, besides what every root of these tests says.
fn asking_for(root: &Path, profile: SecurityProfile) {
    let path = root.join("etc/kos/config.yaml");
    let config = fs::read_to_string(&path).unwrap();
    let asked = format!("role: sensor, profile: {profile}");
    fs::write(path, config.replace("role: sensor", &asked)).unwrap();
}

/// A device in service whose configuration asked for this profile.
async fn with(authority: &Authority, profile: SecurityProfile) -> (Running, tempfile::TempDir) {
    let root = root();
    asking_for(root.path(), profile);
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.enrolled().await;
    device.heartbeat().await;
    assert_eq!(authority.devices().pop().unwrap().profile(), profile);
    (device, root)
}

#[tokio::test]
async fn a_device_of_the_lobby_profile_hears_alarms_and_lists_and_carries_out_nothing() {
    let authority = Authority::start().await;
    let (device, root) = with(&authority, SecurityProfile::Sec0).await;
    // An authority that does not know what it may not.
    authority.push(&Push::Order(Instruction::SetChannel(Channel::Beta)));
    for (kind, class) in [
        (MessageType::WITNESS, ProofClass::Link),
        (MessageType::CONFIG, ProofClass::Solo),
        (MessageType::UPDATE, ProofClass::Solo),
        (MessageType::TASK_REQUEST, ProofClass::Solo),
    ] {
        authority.push(&Push::Odd(kind, class, Duration::ZERO));
    }
    authority.push(&Push::Lists(authority.lists()));
    authority.until("the lists are taken", |seen| (seen.answers.last() == Some(&0)).then_some(())).await;
    let scope = code::policy::POLICY_SCOPE.number();
    let answers = authority.look(|seen| seen.answers.to_vec());
    assert_eq!(answers, [scope, scope, scope, scope, scope, 0]);
    let status = device.ask(Question::Status).await;
    assert_eq!((status.channel, status.profile), (Channel::Stable, SecurityProfile::Sec0));
    let said = words(&device, root.path()).await;
    assert!(said.contains("policy_refused") && said.contains("message/"), "{said}");
    device.stop().await;
}

#[tokio::test]
async fn the_same_orders_are_carried_out_by_a_device_of_the_next_profile() {
    let authority = Authority::start().await;
    let (device, _root) = with(&authority, SecurityProfile::Sec1).await;
    authority.push(&Push::Order(Instruction::SetChannel(Channel::Beta)));
    authority.until("beta", |seen| (seen.beats.last()?.said.channel == Channel::Beta).then_some(())).await;
    // Agents are for SEC-2; what nobody handles is another refusal.
    authority.push(&Push::Odd(MessageType::TASK_REQUEST, ProofClass::Solo, Duration::ZERO));
    authority.push(&Push::Odd(MessageType::UPDATE, ProofClass::Solo, Duration::ZERO));
    authority.until("the answers", |seen| (seen.answers.len() == 3).then_some(())).await;
    let answers = authority.look(|seen| seen.answers.to_vec());
    assert_eq!(answers, [0, code::policy::POLICY_SCOPE.number(), code::klp::KLP_TYPE.number()]);
    device.stop().await;
}

#[tokio::test]
async fn a_configuration_does_not_lower_the_profile_of_a_device_in_service() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    asking_for(root.path(), SecurityProfile::Sec1);
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    authority.operate(Operation::Regenerate);
    authority.push(&Push::Order(Instruction::Regenerate));
    device.wait_for(|news| matches!(news, News::Renewed(2)).then_some(())).await;
    assert_eq!(device.ask(Question::Status).await.profile, SecurityProfile::Sec2);
    assert_eq!(authority.devices()[0].profile(), SecurityProfile::Sec2);
    let said = words(&device, root.path()).await;
    assert!(said.contains("policy_refused") && said.contains("config/SEC-1"), "{said}");
    device.stop().await;
}

#[tokio::test]
async fn a_profile_that_was_raised_counts_from_the_next_certificate_on() {
    let authority = Authority::start().await;
    let (mut device, root) = with(&authority, SecurityProfile::Sec1).await;
    authority.operate(Operation::SetProfile { profile: SecurityProfile::Sec2 });
    assert_eq!(device.ask(Question::Status).await.profile, SecurityProfile::Sec1);
    authority.push(&Push::Order(Instruction::Regenerate));
    device.wait_for(|news| matches!(news, News::Renewed(2)).then_some(())).await;
    assert_eq!(device.ask(Question::Status).await.profile, SecurityProfile::Sec2);
    device.stop().await;
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    assert_eq!(device.ask(Question::Status).await.profile, SecurityProfile::Sec2);
    device.stop().await;
}
