//! One frame of each proof, from fixed keys and times. `tests/vectors/klp/golden` holds what comes out.

use std::time::Duration;

use kos_base::{Channel, Secret};
use kos_klp::{
    body::{self, HealthCheck, Heartbeat, Version},
    encryption::SealRequest,
    message::{MessageType, RevocationHead},
    proof::{
        ProofClass, Proven,
        link::{LinkEnd, LinkKeys, LinkRole},
        solo::SoloDraft,
    },
    session::Outgoing,
};
use serde_json::{Value, json};

use super::{LINK_SECRET, NOW, Node, id, sender};

/// What the device has to say each time.
pub(crate) fn heartbeat() -> Vec<u8> {
    let check =
        HealthCheck { name: "disk".parse().unwrap(), passed: true, detail: "61 % free".parse().unwrap() };
    body::write(&Heartbeat {
        cpu_percent: Some(7),
        ram_used_bytes: Some(268_435_456),
        ram_total_bytes: Some(1_073_741_824),
        uptime_seconds: Some(86_400),
        errors: 0,
        checks: vec![check],
        versions: vec![Version { component: "kosd".parse().unwrap(), version: "0.1.0".parse().unwrap() }],
        config_digest: [0x51; 32],
        boot_id: [0x52; 16],
        channel: Channel::Stable,
        interval_seconds: None,
        statements: Vec::new(),
        modules: None,
    })
}

pub(crate) fn outgoing(kind: MessageType, n: u8, body: &[u8]) -> Outgoing<'_> {
    Outgoing {
        revocation: Some(RevocationHead { number: 1_795_000_000_000, hash: [0x53; 32] }),
        ..Outgoing::new(kind, id(n), body)
    }
}

/// LINK: the device's heartbeat, from its end of the link.
pub(crate) fn link() -> Vec<u8> {
    let mut session = Node::device().session(LinkRole::Dialler, &Node::authority());
    session.link_frame(NOW, &outgoing(MessageType::HEARTBEAT, 0x61, &heartbeat())).unwrap()
}

/// SOLO: a report of the device, on the link.
pub(crate) fn solo() -> Vec<u8> {
    let (device, authority) = (Node::device(), Node::authority());
    let session = device.session(LinkRole::Dialler, &authority);
    let report = outgoing(MessageType::REPORT, 0x62, b"report");
    let draft = session.solo_draft(NOW, &report, &mut sender(), &device.key()).unwrap();
    device.finish(draft).direct_frame().unwrap()
}

/// BATCH: the third of five log messages of the device, on the link.
pub(crate) fn batch() -> Vec<u8> {
    let device = Node::device();
    let session = device.session(LinkRole::Dialler, &Node::authority());
    let bodies: Vec<_> = (0..5).map(|n| format!("log entry {n}")).collect();
    let logs: Vec<_> =
        (0x63..).zip(&bodies).map(|(n, body)| outgoing(MessageType::LOG, n, body.as_bytes())).collect();
    let draft = session.batch_draft(NOW, &logs, &mut sender(), &device.key()).unwrap();
    let signature = device.sign(&draft.to_be_signed());
    draft.finish(&signature)[2].direct_frame().unwrap()
}

/// SOLO: a message from the stranger to the authority that relays may carry once it is encrypted.
pub(crate) fn stored() -> Proven {
    let (from, to) = (Node::stranger(), Node::authority());
    let task =
        Outgoing { life: Duration::from_secs(600), ..outgoing(MessageType::TASK_REQUEST, 0x68, b"task") };
    let (from_party, to_party) = (from.party.as_party(), to.party.as_party());
    let message = task.message(NOW, from_party, to_party, sender().stored(), ProofClass::Solo).unwrap();
    from.finish(SoloDraft::new(&message, &from.key()))
}

/// The request to encrypt it, which another implementation fulfils with a fixed ephemeral key.
pub(crate) fn sealing() -> SealRequest {
    SealRequest::new(stored(), Node::authority().agreement_key())
}

/// Everything that another implementation needs to make or check the frames. Members stand in order, since `serde_json`
/// puts them in order only in builds that do not ask it to keep theirs.
pub(crate) fn inputs() -> Value {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let node = |node: &Node| {
        json!({
            "agreementPublic": hex(&node.agreement_key().0),
            "agreementSecret": hex(&node.agreement_secret),
            "keyId": node.key().id().to_string(),
            "party": node.party.as_str(),
            "signingPublic": hex(node.key().raw()),
            "signingSeed": hex(&node.signing_seed),
        })
    };
    json!({
        "authority": node(&Node::authority()),
        "device": node(&Node::device()),
        "encrypted": {
            "aad": hex(sealing().aad()),
            "ephemeralSecret": hex(&EPHEMERAL),
            "plaintext": hex(sealing().plaintext()),
        },
        "linkDialler": "device",
        "linkListener": "authority",
        "linkSecret": hex(&LINK_SECRET),
        "now": NOW.unix_ms(),
        "stranger": node(&Node::stranger()),
    })
}

/// The ephemeral key of the encrypted frame.
pub(crate) const EPHEMERAL: [u8; 32] = [0x77; 32];

/// The device's own key on the link, for messages that no honest session would make.
pub(crate) fn link_keys() -> LinkKeys {
    let (device, authority) = (Node::device(), Node::authority());
    let own = LinkEnd { party: device.party.as_party(), key_id: device.key().id() };
    let peer = LinkEnd { party: authority.party.as_party(), key_id: authority.key().id() };
    LinkKeys::derive(&Secret::new(LINK_SECRET), LinkRole::Dialler, own, peer).unwrap()
}
