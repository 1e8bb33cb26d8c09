//! Other people's libraries judge our bytes, and we judge theirs. Needs the Python of `cargo xtask test deps`; without it
//! these tests fail.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a foreign judge is another process that reads files")]

mod cast;

use std::process::Command;

use cast::{Node, golden, vectors};
use data_encoding::HEXLOWER;
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as HPKE,
    hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey},
};
use serde_json::Value;

fn python(script: &str, arguments: &[&std::path::Path]) -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../../target/judges/bin/python");
    let output = Command::new(&python).arg(root.join("tests/judges").join(script)).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", python.display()));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn another_implementation_makes_the_same_channel() {
    let made: Value = serde_json::from_slice(&python("channel.py", &[])).unwrap();
    let kept: Value = serde_json::from_slice(&cast::vector("channel.json")).unwrap();
    assert_eq!(made, kept);
}

#[test]
fn another_cose_library_verifies_and_opens_the_golden_frames() {
    let verdict: Value = serde_json::from_slice(&python("objects.py", &[&vectors("golden")])).unwrap();
    for (name, kind, body) in [
        ("link", 8, HEXLOWER.encode(&golden::heartbeat())),
        ("solo", 10, HEXLOWER.encode(b"report")),
        ("batch", 13, HEXLOWER.encode(b"log entry 2")),
        ("encrypted", 1, HEXLOWER.encode(b"task")),
    ] {
        assert_eq!(verdict[name]["type"], kind, "{name}");
        assert_eq!(verdict[name]["body"], body.as_str(), "{name}");
    }
}

#[test]
fn another_hpke_opens_what_ours_sealed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["inputs.json", "link.cbor", "solo.cbor", "batch.cbor"] {
        std::fs::write(folder.path().join(name), cast::vector(&format!("golden/{name}"))).unwrap();
    }
    let sealed = cast::seal(golden::stored(), &Node::authority());
    std::fs::write(folder.path().join("encrypted.cbor"), sealed).unwrap();
    let verdict: Value = serde_json::from_slice(&python("objects.py", &[folder.path()])).unwrap();
    assert_eq!(verdict["encrypted"]["type"], 1);
}

#[test]
fn another_hpke_seals_the_golden_frame_again() {
    let sealed = python("seal.py", &[&vectors("golden/inputs.json")]);
    let sealed = HEXLOWER.decode(String::from_utf8(sealed).unwrap().trim().as_bytes()).unwrap();
    let (encapsulated, ciphertext) = sealed.split_at(32);
    let frame = golden::sealing().finish(encapsulated.try_into().unwrap(), ciphertext).unwrap();
    cast::compare(&[("golden/encrypted.cbor".to_owned(), frame)]);
}

/// RFC 9180 A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode.
#[test]
fn the_published_hpke_vector_opens() {
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
    let enc = EncapsulatedSecret(hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"));
    let key = HpkePrivateKey::from(hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"));
    let ciphertext =
        hex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28");
    let opened = HPKE.open(&enc, b"Ode on a Grecian Urn", b"Count-0", &ciphertext, &key).unwrap();
    assert_eq!(opened, b"Beauty is truth, truth beauty");
}
