//! kOS and the second implementation in `tests/vectors/voucher/make.py` write the same bytes, and no changed byte gets through.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "the second implementation is another process that writes files"
)]

use std::{fs, path::Path, process::Command};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use core::time::Duration;
use data_encoding::HEXLOWER;
use kos_base::{EntryId, KeyAlgorithm, KeyId, PublicKey, SecurityProfile, Timestamp, cose::Unsigned};
use kos_voucher::{Bundle, Endorsement, Grant, Owner, Statement, Subject, Vouch, Vouched};
use minicbor::bytes::ByteArray;
use serde_json::Value;

const MADE: Timestamp = Timestamp::from_unix_s(1_795_170_000);
const DAY: Duration = Duration::from_secs(86_400);

struct Key(Ed25519KeyPair);

fn key(seed: u8) -> Key {
    Key(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
}

impl Key {
    fn public(&self) -> PublicKey {
        PublicKey::from_raw(KeyAlgorithm::Ed25519, self.0.public_key().as_ref()).unwrap()
    }

    fn sign(&self, make: impl FnOnce(&PublicKey) -> Unsigned) -> Vec<u8> {
        let unsigned = make(&self.public());
        let signature = self.0.sign(&unsigned.to_be_signed()).as_ref().to_vec();
        unsigned.finish(signature)
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/voucher")
}

fn vectors() -> Value {
    serde_json::from_slice(&fs::read(folder().join("voucher.json")).unwrap()).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn id(byte: u8) -> KeyId {
    KeyId::from_bytes([byte; 32])
}

fn owner(pin: u8, seed: u8) -> Owner {
    Owner { pin: id(pin), key: key(seed).public() }
}

fn grant_id() -> EntryId {
    let bytes: [u8; 16] = core::array::from_fn(|at| u8::try_from(at).unwrap());
    kos_base::cbor::decode(&[&[0x50], &bytes[..]].concat(), 17).unwrap()
}

fn subjects() -> [(&'static str, Subject); 3] {
    [
        ("identity", Subject::Identity(id(0xb0))),
        ("endorsement", Subject::Endorsement(id(0xb1))),
        ("serial", Subject::Serial { serial: "SN-1".to_owned(), issuer: id(0xb2) }),
    ]
}

fn statement(subject: Subject) -> Statement {
    let ends = matches!(subject, Subject::Identity(_));
    Statement {
        nonce: ByteArray::from(core::array::from_fn::<u8, 16, _>(|at| u8::try_from(at).unwrap())),
        subject,
        owner: owner(0xa0, 2),
        created: MADE,
        expires: ends.then(|| MADE.plus(DAY * 30)),
    }
}

#[test]
fn vouchers_are_the_bytes_of_the_second_implementation() {
    let vectors = vectors();
    let maker = key(1).public();
    for (case, (name, subject)) in vectors["vouchers"].as_array().unwrap().iter().zip(subjects()) {
        assert_eq!(case["subject"], name);
        let signed = key(1).sign(|public| statement(subject.clone()).unsigned(public));
        let bundle = Bundle::signed(signed);
        assert_eq!(bundle.to_bytes(), hex(&case["file"]), "{name}");
        let voucher = bundle.verify(&maker).unwrap();
        assert_eq!(case["id"], voucher.id().to_string());
        assert_eq!(voucher.owner().pin, id(0xa0));

        let first: Endorsement = voucher.endorsement(owner(0xa1, 3), MADE.plus(DAY)).unwrap();
        let bundle = voucher.endorsed(key(2).sign(|public| first.unsigned(public)));
        let voucher = bundle.verify(&maker).unwrap();
        let second = voucher.endorsement(owner(0xa2, 4), MADE.plus(DAY)).unwrap();
        let bundle = voucher.endorsed(key(3).sign(|public| second.unsigned(public)));
        assert_eq!(bundle.to_bytes(), hex(&case["endorsed"]), "{name}");
        let voucher = bundle.verify(&maker).unwrap();
        assert_eq!((voucher.owner().pin, &voucher.statement().subject), (id(0xa2), &subject));
        assert!(voucher.is_for(id(0xa2), MADE).is_ok());
        assert!(voucher.is_for(id(0xa0), MADE).is_err(), "a former owner");
    }
}

#[test]
fn grants_and_vouches_are_the_bytes_of_the_second_implementation() {
    let vectors = vectors();
    let profile = SecurityProfile::Sec1;
    let grant = Grant {
        id: grant_id(),
        device: "kdev-7f4ac30123456789".parse().unwrap(),
        authority: "attic".parse().unwrap(),
        pin: id(0xa0),
        profile,
        uses: 5,
        expires: MADE.plus(DAY),
    };
    let signed = key(2).sign(|public| grant.unsigned(public));
    assert_eq!(signed, hex(&vectors["grant"]));
    assert_eq!(Grant::verify(&signed, &key(2).public()).unwrap(), grant);

    let node = (&grant.device, &grant.authority);
    let said = grant.vouch(node, id(0xb0), (profile, DAY * 9), MADE).unwrap();
    assert_eq!(said.expires, grant.expires, "a word does not outlive its grant");
    let signed = key(5).sign(|public| said.unsigned(public));
    assert_eq!(signed, hex(&vectors["vouch"]));
    let read: Vouch = Vouched::parse(&signed).unwrap().unverified().clone();
    assert_eq!(read, said);
}

#[test]
fn no_changed_byte_of_a_voucher_gets_through() {
    let vectors = vectors();
    let maker = key(1).public();
    for case in vectors["vouchers"].as_array().unwrap() {
        let file = hex(&case["endorsed"]);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let read = Bundle::parse(&changed).and_then(|bundle| bundle.verify(&maker));
            assert!(read.is_err(), "byte {at} of {}", case["subject"]);
        }
        for end in 0..file.len() {
            assert!(Bundle::parse(&file[..end]).is_err(), "cut at {end}");
        }
    }
}

#[test]
fn the_second_implementation_writes_the_vectors_that_are_here() {
    let made = std::env::temp_dir().join(format!("kos-voucher-vectors-{}", std::process::id()));
    fs::create_dir_all(&made).unwrap();
    let python = folder().join("../../../target/judges/bin/python");
    let done = Command::new(&python).arg(folder().join("make.py")).arg(&made).output();
    let done = done.unwrap_or_else(|e| panic!("{}: {e}: cargo xtask test deps", python.display()));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let same =
        fs::read(made.join("voucher.json")).unwrap() == fs::read(folder().join("voucher.json")).unwrap();
    fs::remove_dir_all(&made).unwrap();
    assert!(same, "tests/vectors/voucher/voucher.json is not what make.py writes");
}
