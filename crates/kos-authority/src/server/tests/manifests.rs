//! Manifests on the wire: put in force over TLS, brought to a device over its link, and decided on there by the
//! authority, whatever the device does.
//!
//! Source: `docs/spec/manifest.md` MAN-14 to MAN-19, MAN-24, MAN-25.

use kos_api::operator::OperatorRole;
use kos_base::code;
use kos_klp::{
    body::{Log, Policy},
    freshness::{GuardLimits, ReplayGuard},
    proof::ProofClass,
};
use kos_policy::slice::{self, Slice};

use super::{messages::Device, *};

const QUIET: &str = "// manifest quiet 1
@id(\"all\") permit(principal, action == Action::\"send\", resource);
@id(\"no-log\") forbid(principal == Device::\"kdev-0000000000000001\", action == Action::\"send\", resource == Message::\"LOG\");
";

fn open() -> String {
    let permit = "@id(\"all\") permit(principal, action == Action::\"send\", resource);";
    format!("// manifest quiet 2\n{permit}\n")
}

struct Desk<'a> {
    attic: &'a Running,
    anna: Enrolled,
}

impl Desk<'_> {
    async fn apply(&self, text: &str) -> (u16, Value) {
        let request = put("/api/v1/policy/manifests", &json!({"text": text}));
        let (status, body, _) = self.attic.ask(HERE, &self.anna, &request).await;
        (status, body)
    }
}

/// The slice of the next POLICY on a link.
async fn slice(attic: &Running, device: &mut Device<'_>, n: u8) -> Slice {
    let mut heard = ReplayGuard::new(GuardLimits::DEVICE);
    loop {
        let frame = timeout(SOON, device.link.receiver.recv()).await.unwrap().unwrap().unwrap();
        let Content::Plain(envelope) = Frame::parse(&frame).unwrap().into_content() else { continue };
        if envelope.class() != ProofClass::Solo {
            continue;
        }
        let received = device.session.receive_signed(clock::now(), envelope, None, &mut heard).unwrap();
        let Incoming::Message(received) = received else { continue };
        if received.message().kind != MessageType::POLICY {
            continue;
        }
        let Policy::Slice(said) = body::read(received.message().body).unwrap() else { continue };
        let key = attic.shared.keys.orders.public();
        return slice::open(&said, key, &attic.shared.name, &device_id(n)).unwrap();
    }
}

/// What the authority answers to a LOG of a device.
async fn sends_log(device: &mut Device<'_>) -> u16 {
    let log = body::write(&Log { key: [7; 32], first: 0, leaves: Vec::new(), checkpoint: String::new() });
    let id = MessageId::from_bytes(entropy::array().unwrap());
    let frames = device.frames(ProofClass::Link, clock::now(), &[Outgoing::new(MessageType::LOG, id, &log)]);
    device.send(&frames).await;
    loop {
        let (of, status) = device.answer().await;
        if of == Some(id) {
            return status;
        }
    }
}

#[tokio::test]
async fn what_a_manifest_forbids_is_refused_to_a_device_that_sends_it_all_the_same() {
    let attic = Running::new().await;
    let (one, _) = Enrolled::device(&attic.shared, 1).await;
    let (two, _) = Enrolled::device(&attic.shared, 2).await;
    let anna = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let desk = Desk { attic: &attic, anna };
    let link = attic.dial(HERE, Carrier::Tls, &one.client(&attic.shared)).await;
    let mut one = Device::new(&attic, &one, 1, link);
    let refused = code::manifest::MANIFEST_REFUSES.number();
    assert_ne!(sends_log(&mut one).await, refused, "nothing is in force");

    let (status, body) = desk.apply(QUIET).await;
    assert_eq!(status, 200, "{body}");
    let counter = body["item"]["counter"].as_u64().unwrap();
    let held = slice(&attic, &mut one, 1).await;
    assert_eq!((held.counter, held.governs, held.rules.len()), (counter, true, 2));
    assert_eq!(sends_log(&mut one).await, refused);
    // A device that links later gets it at once, and another one is another matter.
    let link = attic.dial(HERE, Carrier::Quic, &two.client(&attic.shared)).await;
    let mut two = Device::new(&attic, &two, 2, link);
    let other = slice(&attic, &mut two, 2).await;
    assert_eq!(other.rules.len(), 1);
    assert_ne!(sends_log(&mut two).await, refused);

    // An older one, and the same one with something else in it.
    for older in [QUIET, &QUIET.replace("no-log", "no-more")] {
        let (status, body) = desk.apply(older).await;
        assert_eq!((status, body["code"].as_str()), (409, Some("KOS-E0793")), "{body}");
    }
    for (bad, code) in [
        (open().replace("send", "execute"), "KOS-E0792"),
        (open().replace("principal,", "principal == Device::\"kdev-0000000000000009\","), "KOS-E0791"),
        (open() + &"(".repeat(17), "KOS-E0794"),
    ] {
        let (_, body) = desk.apply(&bad).await;
        assert_eq!(body["code"], code, "{body}");
    }
    assert_eq!(sends_log(&mut one).await, refused, "and nothing of it is in force");

    crate::policy::manifest::refused::record(&attic.shared, clock::now()).await.unwrap();
    let query = EntryQuery { event: Some(kos_audit::EventType::PolicyRefused), ..EntryQuery::default() };
    let entries = attic.shared.store.entries(&query, 10).await.unwrap();
    let text = String::from_utf8_lossy(&entries[0].leaf).into_owned();
    assert!(text.contains("quiet/no-log") && text.contains("send/LOG"), "{text}");

    let (status, body) = desk.apply(&open()).await;
    assert_eq!(status, 200, "{body}");
    let newer = slice(&attic, &mut one, 1).await;
    assert!(newer.follows(&held).is_ok() && held.follows(&newer).is_err());
    assert_ne!(sends_log(&mut one).await, refused);
    attic.end().await;
}
