//! How a device stands on its link: by what it reports and for how long, and what it is told until it has taken it.
//!
//! Source: `docs/spec/modules.md` MOD-12 to MOD-14; `docs/spec/manifest.md` MAN-18; `docs/spec/pairing.md` PAIR-32.

use std::collections::BTreeMap;

use kos_api::operator::OperatorRole;
use kos_base::{SecurityProfile, code};
use kos_klp::{
    body::{Ack, Log, Policy},
    frame::{self, Hop},
    freshness::{GuardLimits, ReplayGuard},
    party::Party,
    proof::ProofClass,
};
use kos_policy::{
    Forwarding,
    module::{Disk, Report},
};

use super::{messages::Device, *};
use crate::fleet::Relayed;

/// A device with its memory of what it heard.
struct Peer<'a> {
    device: Device<'a>,
    heard: ReplayGuard,
}

impl<'a> Peer<'a> {
    async fn new(attic: &Running, enrolled: &'a Enrolled, n: u8) -> Self {
        let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
        let heard = ReplayGuard::new(GuardLimits::DEVICE);
        Self { device: Device::new(attic, enrolled, n, link), heard }
    }

    async fn send(&mut self, kind: MessageType, reply_to: Option<MessageId>, said: &[u8]) -> MessageId {
        let id = MessageId::from_bytes(entropy::array().unwrap());
        let outgoing = [Outgoing { reply_to, ..Outgoing::new(kind, id, said) }];
        let frames = self.device.frames(ProofClass::Link, clock::now(), &outgoing);
        self.device.send(&frames).await;
        id
    }

    async fn frame(&mut self) -> Vec<u8> {
        timeout(SOON, self.device.link.receiver.recv()).await.unwrap().unwrap().unwrap()
    }

    /// The next POLICY.
    async fn policy(&mut self) -> (MessageId, Policy) {
        loop {
            let frame = self.frame().await;
            let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
            if envelope.class() != ProofClass::Solo {
                continue;
            }
            let said = self.device.session.receive_signed(clock::now(), envelope, None, &mut self.heard);
            let Incoming::Message(received) = said.unwrap() else { continue };
            let message = received.message();
            if message.kind == MessageType::POLICY {
                return (message.id, body::read(message.body).unwrap());
            }
        }
    }

    async fn answer(&mut self, of: MessageId, code: Option<kos_base::Code>) {
        let ack = code.map_or_else(|| Ack::done(None), |code| Ack::refused(code, code.title()));
        self.send(MessageType::ACK, Some(of), &body::write(&ack)).await;
    }

    /// Reports; how many POLICY there were before the answer.
    async fn reports(&mut self, said: &[u8]) -> usize {
        let id = self.send(MessageType::HEARTBEAT, None, said).await;
        let mut told = 0;
        loop {
            let frame = self.frame().await;
            let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
            if envelope.class() == ProofClass::Solo {
                told += 1;
                continue;
            }
            let received = self.device.session.receive_link(clock::now(), envelope).unwrap();
            let Incoming::Message(received) = received else { continue };
            if received.message().reply_to == Some(id) {
                return told;
            }
        }
    }
}

/// Demands that devices of SEC-2 say what time it is.
fn demand(attic: &Running) {
    let sec2 = BTreeMap::from([(SecurityProfile::Sec2, "mandatory".to_owned())]);
    attic.shared.modules.put(BTreeMap::from([("clock-sanity".to_owned(), sec2)]));
}

fn reporting() -> Vec<u8> {
    let report = Report { clock: clock::now(), steps_back: 0, disk: Disk::Memory };
    let plain: Heartbeat = body::read(&heartbeat()).unwrap();
    body::write(&Heartbeat { modules: Some(report), ..plain })
}

fn profile(attic: &Running, n: u8) -> Option<SecurityProfile> {
    attic.shared.links.standing(&device_id(n)).map(|standing| standing.profile)
}

/// Virtual time passes, in which nothing comes in.
async fn later(passed: Duration) {
    tokio::time::pause();
    tokio::time::advance(passed).await;
    tokio::time::resume();
}

async fn becomes(attic: &Running, n: u8, wanted: SecurityProfile) {
    let there = async {
        while profile(attic, n) != Some(wanted) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, there).await.unwrap();
}

#[tokio::test]
async fn a_device_that_falls_silent_is_in_the_lobby_when_its_report_has_had_its_time() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    demand(&attic);
    let mut peer = Peer::new(&attic, &enrolled, 1).await;
    becomes(&attic, 1, SecurityProfile::Sec0).await;
    peer.reports(&reporting()).await;
    assert_eq!(profile(&attic, 1), Some(SecurityProfile::Sec2));
    // It says other things, so that its link is kept.
    for _ in 0..6 {
        later(Duration::from_secs(149)).await;
        let log = Log { key: [7; 32], first: 0, leaves: Vec::new(), checkpoint: String::new() };
        let id = peer.send(MessageType::LOG, None, &body::write(&log)).await;
        assert_eq!(peer.device.answer().await.0, Some(id));
        assert_eq!(profile(&attic, 1), Some(SecurityProfile::Sec2));
    }
    later(Duration::from_secs(7)).await;
    becomes(&attic, 1, SecurityProfile::Sec0).await;
    peer.reports(&reporting()).await;
    assert_eq!(profile(&attic, 1), Some(SecurityProfile::Sec2), "and out again by the next one");
    attic.end().await;
}

#[tokio::test]
async fn a_frame_that_waits_for_a_link_does_not_reach_a_device_that_fell_to_the_lobby() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let mut peer = Peer::new(&attic, &enrolled, 1).await;
    peer.reports(&reporting()).await;
    let passed_on = |byte: u8| {
        let to = Party::device(&attic.shared.name, &device_id(1));
        let hop = Hop::to(to.as_party(), clock::now().plus(SOON));
        let mut record = vec![0x84, 4, 0x50];
        record.extend_from_slice(&[9; 16]);
        record.extend_from_slice(&[1, 0x59, 1, 0]);
        record.resize(record.len() + 256, byte);
        let frame = frame::write_channel(&hop, &record).unwrap();
        let relayed = Relayed { frame: frame.clone(), forwarding: Forwarding::Channel, from: fixtures::SEC2 };
        attic.shared.links.pass_on(&device_id(1), relayed).unwrap();
        frame
    };
    // Both wait when the link looks next.
    peer.reports(&heartbeat()).await;
    demand(&attic);
    attic.shared.links.modules_changed();
    passed_on(1);
    becomes(&attic, 1, SecurityProfile::Sec0).await;
    let id = peer.send(MessageType::HEARTBEAT, None, &reporting()).await;
    assert_eq!(peer.device.answer().await, (Some(id), 0));
    becomes(&attic, 1, SecurityProfile::Sec2).await;
    let second = passed_on(2);
    assert_eq!(peer.frame().await, second);
    attic.end().await;
}

#[tokio::test]
async fn what_the_manifests_say_is_told_until_the_device_has_taken_it() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let anna = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let mut peer = Peer::new(&attic, &enrolled, 1).await;
    peer.reports(&heartbeat()).await;
    let text = "// manifest quiet 1\n@id(\"all\") permit(principal, action == Action::\"send\", resource);\n";
    let request = put("/api/v1/policy/manifests", &json!({"text": text}));
    assert_eq!(attic.ask(HERE, &anna, &request).await.0, 200);
    let (id, said) = peer.policy().await;
    assert!(matches!(said, Policy::Slice(_)));
    // It is under way, and not said again for that.
    assert_eq!(peer.reports(&heartbeat()).await, 0);
    // The device was cleared a moment ago, say, and hears nothing from before.
    peer.answer(id, Some(code::klp::KLP_BEFORE_START)).await;
    assert_eq!(peer.reports(&heartbeat()).await, 1);
    attic.end().await;
}

#[tokio::test]
async fn what_a_device_is_paired_with_is_told_until_it_has_taken_it() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let mut peer = Peer::new(&attic, &enrolled, 1).await;
    peer.reports(&heartbeat()).await;
    agents::put(&attic.shared, &agents::pairing(), None).await;
    attic.shared.links.bonds_changed(&device_id(1));
    let mut last = None;
    for refused in [Some(code::klp::KLP_BEFORE_START), None] {
        if last.is_some() {
            let beat = heartbeat();
            peer.send(MessageType::HEARTBEAT, None, &beat).await;
        }
        let (id, said) = peer.policy().await;
        assert!(matches!(said, Policy::Bonds(_)));
        peer.answer(id, refused).await;
        last = Some(id);
    }
    let id = peer.send(MessageType::HEARTBEAT, None, &heartbeat()).await;
    while peer.device.answer().await.0 != Some(id) {}
    assert_eq!(peer.reports(&heartbeat()).await, 0, "it was taken");
    attic.end().await;
}
