//! What an authority says to a device that is in service.

use kos_base::Channel;
use kos_identity::registry::{AllowDev, Operation};
use kos_klp::body::Instruction;

use super::{authority::Push, reports::reporting, *};

fn follow(channel: Channel) -> Push {
    Push::Order(Instruction::SetChannel(channel))
}

fn set_channel(authority: &Authority, channel: Channel) {
    authority.operate(Operation::SetChannel { channel, allow_dev: AllowDev::Mark });
}

/// The channels that heartbeats named, in their order.
fn channels(authority: &Authority) -> Vec<Channel> {
    authority.look(|seen| seen.beats.iter().map(|beat| beat.said.channel).collect())
}

#[tokio::test]
async fn a_channel_that_is_ordered_is_followed_and_told_at_once_and_for_ever() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    set_channel(&authority, Channel::Beta);
    authority.push(&follow(Channel::Beta));
    authority.until("beta", |seen| (seen.beats.last()?.said.channel == Channel::Beta).then_some(())).await;
    authority.until("an answer", |seen| (seen.answers == [0]).then_some(())).await;
    assert_eq!(device.ask(Question::Status).await.channel, Channel::Beta);
    device.stop().await;
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    assert_eq!(channels(&authority), [Channel::Stable, Channel::Beta, Channel::Beta]);
    device.stop().await;
}

#[tokio::test]
async fn a_channel_that_was_set_while_the_device_was_away_comes_with_its_heartbeat() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    device.stop().await;
    set_channel(&authority, Channel::Beta);
    let device = Running::start(root.path(), None);
    authority.until("beta", |seen| (seen.beats.last()?.said.channel == Channel::Beta).then_some(())).await;
    device.stop().await;
    assert_eq!(channels(&authority), [Channel::Stable, Channel::Stable, Channel::Beta]);
}

#[tokio::test]
async fn an_order_that_is_played_again_does_nothing_not_even_after_a_restart() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    let steps = [Channel::Beta, Channel::Stable];
    for (count, channel) in steps.into_iter().enumerate() {
        set_channel(&authority, channel);
        authority.push(&follow(channel));
        authority.until("an answer", |seen| (seen.answers.len() == count + 1).then_some(())).await;
    }
    let beta = authority.sent()[0].clone();
    authority.push(&Push::Raw(beta.clone()));
    set_channel(&authority, Channel::Dev);
    authority.push(&follow(Channel::Dev));
    authority.until("dev", |seen| (seen.beats.last()?.said.channel == Channel::Dev).then_some(())).await;
    device.stop().await;

    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    authority.push(&Push::Raw(beta));
    set_channel(&authority, Channel::Stable);
    authority.push(&follow(Channel::Stable));
    authority.until("a last answer", |seen| (seen.answers.len() == 4).then_some(())).await;
    let stable = |seen: &authority::View<'_>| (seen.beats.len() == 6).then_some(());
    authority.until("a last heartbeat", stable).await;
    let told: Vec<_> = channels(&authority).iter().map(|channel| channel.as_str()).collect();
    assert_eq!(told, ["stable", "beta", "stable", "dev", "dev", "stable"]);
    device.stop().await;
}

#[tokio::test]
async fn an_order_for_new_keys_is_carried_out_and_the_old_ones_go() {
    let authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    authority.operate(Operation::Regenerate);
    authority.push(&Push::Order(Instruction::Regenerate));
    let issue = device.wait_for(|news| match news {
        News::Renewed(issue) => Some(issue),
        _ => None,
    });
    assert_eq!(issue.await, 2);
    device.heartbeat().await;
    assert_eq!(authority.look(|seen| seen.beats.last().unwrap().issue), 2);
    let secrets = names(root.path().join("etc/kos/secrets"));
    assert_eq!(secrets, set(&["journal", "machine.json", "machine.key", "standing"]));
    let held = keystore(root.path());
    assert!(held.signing(KeySlot::Operational(Slot::A), NOW).is_err());
    assert!(held.agreement(Slot::A, NOW).is_err());
    assert!(held.signing(KeySlot::Operational(Slot::B), NOW).is_ok());
    assert!(held.agreement(Slot::B, NOW).is_ok());
    assert!(device.ask(Question::Identity).await.unwrap().valid);
}

#[tokio::test]
async fn a_device_that_is_suspended_says_why_and_comes_back_by_itself() {
    let authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    authority.operate(Operation::Suspend { reason: "lost".to_owned() });
    let refused = device.wait_for(|news| match news {
        News::Refused(code) => Some(code),
        _ => None,
    });
    assert_eq!(refused.await, code::enrolment::STATE_FORBIDS);
    let reason = device.ask(Question::Status).await.state_reason.unwrap();
    assert!(reason.contains(&code::enrolment::STATE_FORBIDS.to_string()), "{reason}");
    // It asks again and again, and writes it down once.
    device.wait_for(|news| matches!(news, News::Refused(_)).then_some(())).await;
    let log = words(&device, root.path()).await;
    assert_eq!(log.matches("standing_lost").count(), 1, "{log}");
    authority.operate(Operation::Reinstate { reason: "found".to_owned(), approvers: Box::default() });
    device.heartbeat().await;
}

#[tokio::test]
async fn an_authority_whose_certificate_was_taken_back_is_refused_by_the_newest_list() {
    let authority = Authority::start().await;
    let (mut device, root) = reporting(&authority, "").await;
    let state = root.path().join("var/lib/kos/device");
    let lists = |ending: &str| {
        let all = names(state.clone());
        all.into_iter().filter(|name| name.ends_with(ending)).collect::<Vec<_>>()
    };
    assert_eq!((lists(".crl").len(), lists(".crt").len()), (3, 1));
    let content = || lists(".crl").iter().map(|name| fs::read(state.join(name)).unwrap()).collect::<Vec<_>>();
    let held = content();

    authority.revoke_own_certificate();
    let newest = authority.lists();
    let mut forged = newest.clone();
    forged.iter_mut().for_each(|list| *list.last_mut().unwrap() ^= 1);
    authority.push(&Push::Lists(forged));
    authority.until("an answer", |seen| (seen.answers == [0]).then_some(())).await;
    assert_eq!(content(), held);

    authority.push(&Push::Lists(newest));
    let untrusted = |news| (news == News::Untrusted(code::certificate::CERT_REVOKED)).then_some(());
    device.wait_for(untrusted).await;
    assert_ne!(content(), held);
    device.stop().await;
    // What it knows it does not forget.
    let mut device = Running::start(root.path(), None);
    device.wait_for(untrusted).await;
}

#[tokio::test]
async fn a_list_that_is_longer_than_a_message_arrives_whole() {
    let authority = Authority::start().await;
    let (device, root) = reporting(&authority, "").await;
    authority.revoke_others(5_000);
    let newest = authority.lists();
    let long = newest.iter().max_by_key(|list| list.len()).unwrap().clone();
    assert!(long.len() > 100_000, "{}", long.len());
    authority.push(&Push::Lists(newest));
    let state = root.path().join("var/lib/kos/device");
    let held = || {
        let lists = names(state.clone()).into_iter().filter(|name| name.ends_with(".crl"));
        lists.map(|name| fs::read(state.join(name)).unwrap()).any(|list| list == long).then_some(())
    };
    wait::until(held).await;
    device.stop().await;
    // And it is read again at the next start.
    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    let status = device.ask(Question::Status).await;
    assert!(!status.warnings.iter().any(|warning| warning.contains("not used")), "{:?}", status.warnings);
}
