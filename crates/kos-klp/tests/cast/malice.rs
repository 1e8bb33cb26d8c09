//! One frame for each fault, and the code with which the authority refuses it. `tests/vectors/klp/malice` holds them.
//!
//! The authority stands at one end of the link, the device at the other. It knows the stranger's key.

use std::time::Duration;

use kos_base::{Code, code::klp::*};
use kos_klp::{
    encryption::SealRequest,
    frame::{self, Content, Frame, Hop},
    message::{Message, MessageType, Order, Place},
    party::PartyRef,
    proof::{batch::BatchDraft, link::LinkRole, solo::SoloDraft},
};
use minicbor::Encoder;

use super::{AUTHORITY, DEVICE, NOW, Node, STRANGER, golden, guard, id, later};

/// How often the frame arrives before the one that is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    First,
    Again,
}

pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) arrival: Arrival,
    /// None: nothing is wrong, it is merely not known and ignored.
    pub(crate) code: Option<Code>,
    pub(crate) frame: Vec<u8>,
}

/// What the authority says to a frame.
pub(crate) fn judge(frame: &[u8], arrival: Arrival) -> Result<(), Code> {
    let (authority, device, stranger) = (Node::authority(), Node::device(), Node::stranger());
    let mut session = authority.session(LinkRole::Listener, &device);
    let mut guard = guard();
    let mut receive = || {
        let parsed = Frame::parse(frame).map_err(|error| error.code())?;
        let opened;
        let envelope = match parsed.into_content() {
            Content::Plain(envelope) => envelope,
            Content::Encrypted(encrypted) => {
                opened = authority.open(&encrypted).ok_or(KLP_DECRYPT)?;
                encrypted.opened(&opened).map_err(|error| error.code())?
            }
            Content::Channel(_) => return Err(KLP_CHANNEL),
        };
        let received = match envelope.class() {
            kos_klp::proof::ProofClass::Link => session.receive_link(NOW, envelope),
            _ => session.receive_signed(NOW, envelope, Some(&stranger.signer()), &mut guard),
        };
        received.map(drop).map_err(|error| error.code())
    };
    if arrival == Arrival::Again {
        receive().expect("the first one is good");
    }
    receive()
}

pub(crate) fn party(text: &str) -> PartyRef<'_> {
    PartyRef::parse(text).unwrap()
}

/// A message of the device to the authority that nothing is wrong with.
fn good() -> Message<'static> {
    Message {
        kind: MessageType::REPORT,
        from: party(DEVICE),
        to: party(AUTHORITY),
        id: id(0x71),
        issued: NOW,
        expires: later(300_000),
        order: Order::Direct(Place { epoch: 7, sequence: 1 }),
        body: b"report",
        reply_to: None,
        revocation: None,
    }
}

fn link_object(message: &Message<'_>) -> Vec<u8> {
    golden::link_keys().own.prove(message, &Node::device().key().id())
}

fn linked(message: &Message<'_>) -> Vec<u8> {
    frame::write(&Hop::default(), &link_object(message)).unwrap()
}

fn linked_with(hop: &Hop<'_>) -> Vec<u8> {
    frame::write(hop, &link_object(&good())).unwrap()
}

fn signed(node: &Node, message: &Message<'_>) -> Vec<u8> {
    node.finish(SoloDraft::new(message, &node.key())).direct_frame().unwrap()
}

fn batched(messages: &[Message<'_>]) -> Vec<Vec<u8>> {
    let device = Node::device();
    let draft = BatchDraft::new(messages, &device.key()).unwrap();
    let signature = device.sign(&draft.to_be_signed());
    draft.finish(&signature).iter().map(|proven| proven.direct_frame().unwrap()).collect()
}

/// `bytes` with the first `from` replaced by `to`.
fn with(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn flipped(bytes: &[u8], at_from_end: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - at_from_end;
    bytes[at] ^= 1;
    bytes
}

/// A LINK object over a payload that no encoder of ours would write, with a MAC that nobody can make: it never matters.
fn raw(payload: &[u8]) -> Vec<u8> {
    let link = linked(&good());
    let own = kos_base::cbor::encode(&good());
    let mut wrapped = Vec::new();
    Encoder::new(&mut wrapped).bytes(&own).unwrap();
    let mut replaced = Vec::new();
    Encoder::new(&mut replaced).bytes(payload).unwrap();
    with(&link, &wrapped, &replaced)
}

pub(crate) fn faults() -> Vec<Fault> {
    use Arrival::{Again, First};
    let (device, stranger) = (Node::device(), Node::stranger());
    let good = good();
    let hours = |n: u64| later(n * 3_600_000);
    let everyone = Message { kind: MessageType::TRUST_UPDATE, to: party("attic/*"), ..good };
    let stored = Order::Stored { epoch: 7 };
    let solo = signed(&device, &good);
    let link = linked(&good);
    let two = batched(&[
        good,
        Message { id: id(0x72), order: Order::Direct(Place { epoch: 7, sequence: 2 }), ..good },
    ]);
    let payload = kos_base::cbor::encode(&good);
    // No key of the authority opens it; who made it does not matter.
    let encrypted_for_other =
        SealRequest::new(golden::stored(), stranger.agreement_key()).finish([1; 32], &[2; 400]).unwrap();
    let mut list = Vec::new();
    let mut add = |name, arrival, code, frame| list.push(Fault { name, arrival, code, frame });

    // Seen before.
    add("replayed-link", Again, Some(KLP_REPLAY), link.clone());
    add("replayed-solo", Again, Some(KLP_REPLAY), solo.clone());
    add("replayed-batch", Again, Some(KLP_REPLAY), two[0].clone());
    add(
        "replayed-broadcast",
        Again,
        Some(KLP_REPLAY),
        signed(&device, &Message { order: stored, ..everyone }),
    );
    // Wrong time.
    let future = Message { issued: later(60_001), expires: later(360_001), ..good };
    add("future", First, Some(KLP_FUTURE), linked(&future));
    let century = Message { issued: hours(876_000), expires: hours(876_001), ..good };
    add("far-future", First, Some(KLP_FUTURE), signed(&device, &century));
    let past = |ms| NOW.minus(Duration::from_millis(ms));
    add(
        "expired",
        First,
        Some(KLP_EXPIRED),
        linked(&Message { issued: past(360_000), expires: past(60_000), ..good }),
    );
    add("long-lived", First, Some(KLP_TTL), linked(&Message { expires: hours(25), ..good }));
    add("never-alive", First, Some(KLP_TTL), linked(&Message { expires: NOW, ..good }));
    // Wrong people.
    add("wrong-recipient", First, Some(KLP_RECIPIENT), linked(&Message { to: party(STRANGER), ..good }));
    add(
        "wrong-recipient-solo",
        First,
        Some(KLP_RECIPIENT),
        signed(&device, &Message { to: party(STRANGER), ..good }),
    );
    add(
        "other-authority",
        First,
        Some(KLP_RECIPIENT),
        signed(&device, &Message { to: party("cellar/*"), ..everyone }),
    );
    let report = Message { kind: MessageType::REPORT, order: stored, ..everyone };
    add("report-to-everyone", First, Some(KLP_RECIPIENT), signed(&device, &report));
    add("wrong-sender-link", First, Some(KLP_SENDER), linked(&Message { from: party(STRANGER), ..good }));
    add("wrong-sender-solo", First, Some(KLP_SENDER), signed(&stranger, &good));
    add("unknown-signer", First, Some(KLP_SIGNER), signed(&Node::new("attic", 9), &good));
    // Wrong proof.
    add(
        "downgraded-to-link",
        First,
        Some(KLP_PROOF_TOO_WEAK),
        linked(&Message { kind: MessageType::COMMAND, ..good }),
    );
    let commands = batched(&[Message { kind: MessageType::COMMAND, ..good }]);
    add("downgraded-to-batch", First, Some(KLP_PROOF_TOO_WEAK), commands[0].clone());
    add("stored-link", First, Some(KLP_PROOF_TOO_WEAK), linked(&Message { order: stored, ..good }));
    add("changed-mac", First, Some(KLP_PROOF), flipped(&link, 1));
    add("changed-signature", First, Some(KLP_PROOF), flipped(&solo, 1));
    add("changed-body-link", First, Some(KLP_PROOF), with(&link, b"report", b"rePort"));
    add("changed-body-solo", First, Some(KLP_PROOF), with(&solo, b"report", b"rePort"));
    add("changed-body-batch", First, Some(KLP_PROOF), with(&two[0], b"report", b"rePort"));
    add("changed-type", First, Some(KLP_PROOF), with(&solo, &[1, 10, 2], &[1, 11, 2]));
    add("other-index", First, Some(KLP_PROOF), with(&two[0], &[0, 0x81, 0x58], &[1, 0x81, 0x58]));
    add("short-path", First, Some(KLP_PROOF), short_path(&two[0]));
    add("link-of-other-key", First, Some(KLP_PROOF), other_key(&link));
    // Wrong way.
    let from_stranger = Message { from: party(STRANGER), kind: MessageType::TASK_REQUEST, ..good };
    add("diverted", First, Some(KLP_REPLAY), signed(&stranger, &from_stranger));
    add("relayed-plain", First, Some(KLP_PLAIN), golden::stored().direct_frame().unwrap());
    add("encrypted-to-other-key", First, Some(KLP_DECRYPT), encrypted_for_other);
    let hop = Hop { to: Some(party(STRANGER)), ..Hop::default() };
    add("hop-recipient", First, Some(KLP_HOP), linked_with(&hop));
    let hop = Hop { expires: Some(later(1)), ..Hop::default() };
    add("hop-expiry", First, Some(KLP_HOP), linked_with(&hop));
    // Unknown types.
    let unknown = |number| Message { kind: MessageType::from_number(number), ..good };
    add("unknown-critical-type", First, Some(KLP_TYPE), signed(&device, &unknown(4_096)));
    add("unknown-ignorable-type", First, None, signed(&device, &unknown(32_768)));
    // Not deterministic CBOR, or not of the form.
    let malformed = Some(KLP_MALFORMED);
    add("empty", First, malformed, Vec::new());
    add("truncated", First, malformed, link[..link.len() - 1].to_vec());
    add("trailing", First, malformed, [&link[..], &[0]].concat());
    add("version-2", First, malformed, with(&link, &[0x83, 1], &[0x83, 2]));
    add("oversize", First, malformed, vec![0x40; frame::FRAME_BYTES_MAX + 1]);
    add("long-form-version", First, malformed, with(&link, &[0x83, 1], &[0x83, 0x18, 1]));
    add("indefinite-frame", First, malformed, [&with(&link, &[0x83, 1], &[0x9f, 1])[..], &[0xff]].concat());
    add("indefinite-body", First, malformed, raw(&with(&payload, b"\x46report", b"\x5f\x46report\xff")));
    add("duplicate-hop-key", First, malformed, with(&link, &[0x83, 1, 0xa0], &[0x83, 1, 0xa2, 4, 1, 4, 1]));
    add(
        "duplicate-message-key",
        First,
        malformed,
        raw(&with(&payload, &[0xa9, 1, 10], &[0xaa, 1, 10, 1, 10])),
    );
    add("keys-out-of-order", First, malformed, with(&link, &[0x83, 1, 0xa0], &[0x83, 1, 0xa2, 4, 1, 3, 1]));
    add("deep-nesting", First, malformed, with(&link, &[0x83, 1, 0xa0], &deep_hop()));
    add("float-in-hop", First, malformed, with(&link, &[0x83, 1, 0xa0], &[0x83, 1, 0xa1, 4, 0xf9, 0x3c, 0]));
    add("null-recipient", First, malformed, with(&link, &[0x83, 1, 0xa0], &[0x83, 1, 0xa1, 1, 0xf6]));
    add("unknown-hop-key", First, malformed, with(&link, &[0x83, 1, 0xa0], &[0x83, 1, 0xa1, 8, 1]));
    add("large-hop", First, malformed, with(&link, &[0x83, 1, 0xa0], &large_hop()));
    add(
        "unknown-message-key",
        First,
        malformed,
        raw(&[&with(&payload, &[0xa9, 1], &[0xaa, 1])[..], &[12, 1]].concat()),
    );
    add(
        "missing-message-key",
        First,
        malformed,
        raw(&with(&with(&payload, &[0xa9], &[0xa8]), b"\x09\x46report", b"")),
    );
    add("message-not-a-map", First, malformed, raw(&[0x80]));
    add("sender-not-a-party", First, malformed, raw(&with(&payload, b"attic/kdev", b"Attic/kdev")));
    add("text-not-utf8", First, malformed, raw(&with(&payload, b"attic/kdev", b"att\xffc/kdev")));
    add("unprotected-header", First, malformed, unprotected_header(&link));
    add("mac-as-signature", First, malformed, with(&link, &[0xd1, 0x84], &[0xd2, 0x84]));
    add("unknown-algorithm", First, malformed, with(&link, &[0xa2, 1, 5, 4], &[0xa2, 1, 6, 4]));
    add("unknown-tag", First, malformed, with(&link, &[0xd1, 0x84], &[0xd3, 0x84]));
    add("number-as-object", First, malformed, vec![0x83, 1, 0xa0, 0]);
    add("encrypted-without-recipient", First, malformed, encrypted_without_recipient());
    list
}

/// The batch proof of two messages without its one hash.
fn short_path(frame: &[u8]) -> Vec<u8> {
    let at =
        frame.windows(4).position(|window| window == [0, 0x81, 0x58, 0x20]).expect("index 0 and one hash");
    [&frame[..at], &[0, 0x80], &frame[at + 36..]].concat()
}

/// The LINK of the device under the key id of the stranger.
fn other_key(link: &[u8]) -> Vec<u8> {
    let (device, stranger) = (Node::device().key().id(), Node::stranger().key().id());
    with(link, device.as_bytes(), stranger.as_bytes())
}

fn encrypted_without_recipient() -> Vec<u8> {
    let frame = golden::sealing().finish([1; 32], b"ciphertext and tag").unwrap();
    let hop = Hop::to(party(AUTHORITY), later(600_000));
    with(&frame, &kos_base::cbor::encode(&hop), &[0xa0])
}

fn unprotected_header(link: &[u8]) -> Vec<u8> {
    let key_id = Node::device().key().id();
    with(link, &[key_id.as_bytes(), &[0xa0][..]].concat(), &[key_id.as_bytes(), &[0xa1, 1, 5][..]].concat())
}

fn deep_hop() -> Vec<u8> {
    let mut hop = vec![0x83, 1, 0xa1, 0x20];
    hop.extend([0x81; 8]);
    hop.push(0);
    hop
}

fn large_hop() -> Vec<u8> {
    let mut hop = vec![0x83, 1, 0xa1, 0x20, 0x59, 4, 0];
    hop.extend([0; 1024]);
    hop
}

/// The line of the index that says what the fault is and what becomes of it.
pub(crate) fn line(fault: &Fault) -> String {
    let code = fault.code.map_or("ignored".to_owned(), |code| code.to_string());
    let arrival = if fault.arrival == Arrival::Again { "again" } else { "first" };
    format!("{}.cbor\t{arrival}\t{code}", fault.name)
}
