//! kOS and the second implementation in `tests/vectors/enrolment/make.py` write the same bytes.
#![expect(
    clippy::disallowed_methods,
    reason = "the second implementation is another process that writes files"
)]

use std::{path::Path, process::Command};

use data_encoding::HEXLOWER;
use kos_base::{
    EntryId, KeyAlgorithm, KeyId, PublicKey, Secret, Timestamp, cbor, digest::Sha256, key::SignatureForm,
};
use kos_identity::{
    decommission::{self, Assurance, Record, receipt_hash, verify_order, verify_record},
    enrolment::{
        message::{Carrier, FromAuthority, FromDevice, HealthCheck, Image, Means},
        proof::{RenewalKind, RenewalProof, TicketProof, commitment, comparison_code},
        ticket::{TicketText, proof_seed},
    },
    quarantine::{self, Known, OrderFault},
};
use serde_json::Value;

use crate::test_keys::TestKey;

const TICKETS: &str = include_str!("../../../../tests/vectors/enrolment/ticket.json");
const PROOFS: &str = include_str!("../../../../tests/vectors/enrolment/proof.json");
const CODES: &str = include_str!("../../../../tests/vectors/enrolment/code.json");
const MESSAGES: &str = include_str!("../../../../tests/vectors/enrolment/message.json");
const QUARANTINES: &str = include_str!("../../../../tests/vectors/enrolment/quarantine.json");
const ENDINGS: &str = include_str!("../../../../tests/vectors/enrolment/ending.json");

fn cases(text: &str) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(!cases.is_empty());
    cases
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_else(|| panic!("{key} of {case}"))
}

fn parsed<T: core::str::FromStr<Err: core::fmt::Debug>>(case: &Value, key: &str) -> T {
    text(case, key).parse().unwrap()
}

fn list<T: core::str::FromStr<Err: core::fmt::Debug>>(case: &Value, key: &str) -> Vec<T> {
    case[key].as_array().unwrap().iter().map(|item| item.as_str().unwrap().parse().unwrap()).collect()
}

fn bytes(case: &Value, key: &str) -> Vec<u8> {
    HEXLOWER.decode(text(case, key).as_bytes()).unwrap()
}

fn hash(case: &Value, key: &str) -> Sha256 {
    bytes(case, key).try_into().unwrap()
}

fn signer(case: &Value) -> PublicKey {
    PublicKey::from_spki_der(&bytes(case, "signerSpki")).unwrap()
}

#[test]
fn tickets_are_written_and_read_alike() {
    for case in cases(TICKETS) {
        let ticket = TicketText {
            authority: parsed(&case, "authority"),
            id: parsed(&case, "id"),
            secret: Secret::new(hash(&case, "secret")),
            pins: list(&case, "pins"),
            addresses: list(&case, "addresses"),
            expires_at: Timestamp::from_unix_ms(case["expiresAtMs"].as_u64().unwrap()),
            role: parsed(&case, "role"),
            profile_cap: parsed(&case, "profileCap"),
        };
        assert_eq!(ticket.to_text().as_str(), text(&case, "text"));
        let read = TicketText::parse(text(&case, "text")).unwrap();
        assert_eq!((read.id, &read.secret, read.pins), (ticket.id, &ticket.secret, ticket.pins.clone()));
        let seed = proof_seed(&ticket.secret);
        assert_eq!(HEXLOWER.encode(seed.expose()), text(&case, "proofSeed"));
    }
}

#[test]
fn proofs_are_written_alike_and_foreign_signatures_verify() {
    for case in cases(PROOFS) {
        let (exporter, csr) = (hash(&case, "exporter"), hash(&case, "csr"));
        let signed = match text(&case, "kind") {
            "ticket" => TicketProof {
                exporter: &exporter,
                identity: parsed::<KeyId>(&case, "identityKeyId"),
                csr: &csr,
                ticket: parsed::<EntryId>(&case, "ticket"),
                role: parsed(&case, "role"),
                profile: parsed(&case, "profile"),
            }
            .to_be_signed(),
            kind => RenewalProof {
                exporter: &exporter,
                challenge: &hash(&case, "challenge"),
                device: &parsed(&case, "device"),
                csr: &csr,
                issue: u32::try_from(case["issue"].as_u64().unwrap()).unwrap(),
                kind: if kind == "renewal" { RenewalKind::Renewal } else { RenewalKind::Recovery },
            }
            .to_be_signed(),
        };
        assert_eq!(HEXLOWER.encode(&signed), text(&case, "toBeSigned"), "{}", text(&case, "name"));
        let ticket = cases(TICKETS).remove(0);
        assert_eq!(text(&case, "seed"), text(&ticket, "proofSeed"));
        let key = PublicKey::from_spki_der(&bytes(&ticket, "proofKeySpki")).unwrap();
        key.verify(SignatureForm::Fixed, &signed, &bytes(&case, "signature")).unwrap();
    }
}

#[test]
fn codes_and_commitments_are_computed_alike() {
    for case in cases(CODES) {
        let [seed, ..] = hash(&case, "deviceSeed");
        let device = TestKey::new(KeyAlgorithm::Ed25519, seed);
        let (own, theirs) = (hash(&case, "deviceNonce"), hash(&case, "authorityNonce"));
        let code = comparison_code(device.public(), parsed(&case, "rootKeyId"), &own, &theirs);
        assert_eq!(code, text(&case, "code"), "{}", text(&case, "name"));
        assert_eq!(HEXLOWER.encode(&commitment(&own)), text(&case, "commitment"));
    }
}

#[test]
fn messages_are_written_and_read_alike() {
    for case in cases(MESSAGES) {
        let frame = bytes(&case, "bytes");
        let name = text(&case, "name");
        let again = match text(&case, "from") {
            "device" => FromDevice::from_bytes(&frame).unwrap().to_bytes(),
            _ => FromAuthority::from_bytes(&frame).unwrap().to_bytes(),
        };
        assert_eq!(again, frame, "{name}");
    }
    let named = |name: &str| {
        let case = cases(MESSAGES).into_iter().find(|case| text(case, "name") == name).unwrap();
        bytes(&case, "bytes")
    };
    // What the numbers mean, once for each that could be mistaken.
    match FromDevice::from_bytes(&named("hello with an image and a name")).unwrap() {
        FromDevice::Hello(hello) => {
            assert_eq!(hello.image, Image::Verified([9; 32].into()));
            assert_eq!(hello.name.unwrap().to_string(), "Küche 2");
        }
        other => panic!("{other:?}"),
    }
    match FromDevice::from_bytes(&named("prove: renewal")).unwrap() {
        FromDevice::Prove(prove) => {
            let (old, new) = (vec![11; 64].into(), vec![12; 64].into());
            assert_eq!(prove.means, Means::Renewal { issue: 41, old, new });
        }
        other => panic!("{other:?}"),
    }
    match FromAuthority::from_bytes(&named("issued")).unwrap() {
        FromAuthority::Issued(grant) => {
            assert_eq!(grant.role.carriers, [Carrier::Quic, Carrier::Tls, Carrier::WebSocket]);
            assert_eq!(grant.role.health_checks, [HealthCheck::Disk, HealthCheck::Clock]);
            let keys = [&grant.keys.kid, &grant.keys.orders, &grant.keys.log];
            let expected = [11, 12, 13].map(|seed| TestKey::new(KeyAlgorithm::Ed25519, seed));
            assert_eq!(keys, expected.each_ref().map(TestKey::public));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn orders_and_records_are_verified_and_written_alike() {
    for case in cases(ENDINGS) {
        let (cose, payload, key) = (bytes(&case, "cose"), bytes(&case, "payload"), signer(&case));
        let receipt = if text(&case, "name") == "an order" {
            let device = "kdev-7f4ac30123456789".parse().unwrap();
            let order = verify_order(&cose, &key, &device).unwrap().order().clone();
            assert_eq!(cbor::encode(&order), payload);
            assert!(verify_record(&cose, &key).is_err(), "an order is no record");
            let unsigned = order.unsigned(&key);
            let signature = TestKey::new(KeyAlgorithm::Ed25519, 12).sign(&unsigned.to_be_signed());
            assert_eq!(unsigned.finish(signature), cose);
            order.receipt
        } else {
            let record = verify_record(&cose, &key).unwrap().record().clone();
            assert_eq!(cbor::encode(&record), payload);
            assert_eq!(record, Record::peek(&cose).unwrap());
            let alone = record.assurance == Assurance::CryptoErased;
            assert_eq!(record.order.is_none(), alone, "{}", text(&case, "name"));
            record.receipt
        };
        assert_eq!(HEXLOWER.encode(&receipt_hash(&receipt)), text(&case, "receiptHash"));
        assert!(cose.len() <= decommission::SIGNED_BYTES_MAX);
    }
}

#[test]
fn orders_and_records_of_a_quarantine_are_written_and_read_alike() {
    for case in cases(QUARANTINES) {
        let (cose, payload, key) = (bytes(&case, "cose"), bytes(&case, "payload"), signer(&case));
        let receipt = if text(&case, "name").starts_with("an order") {
            let (device, authority) = ("kdev-7f4ac30123456789".parse().unwrap(), "attic".parse().unwrap());
            let known =
                Known { device: &device, authority: &authority, orders: &key, issue: 7, obeyed: None };
            let order = quarantine::judge(&cose, &known).unwrap().order().clone();
            assert_eq!(cbor::encode(&order), payload);
            // Neither a device that came back since nor a record takes it.
            for known in [Known { issue: 8, ..known }, Known { obeyed: Some(order.at), ..known }] {
                assert_eq!(quarantine::judge(&cose, &known), Err(OrderFault::Stale));
            }
            assert!(quarantine::verify_record(&cose, &key).is_err(), "an order is no record");
            let unsigned = order.unsigned(&key);
            let signature = TestKey::new(KeyAlgorithm::Ed25519, 12).sign(&unsigned.to_be_signed());
            assert_eq!(unsigned.finish(signature), cose);
            order.receipt
        } else {
            let record = quarantine::verify_record(&cose, &key).unwrap().record().clone();
            assert_eq!(cbor::encode(&record), payload);
            let unsigned = record.unsigned(&key);
            let signature = TestKey::new(KeyAlgorithm::Ed25519, 14).sign(&unsigned.to_be_signed());
            assert_eq!(unsigned.finish(signature), cose);
            record.receipt
        };
        assert_eq!(HEXLOWER.encode(&quarantine::receipt_hash(&receipt)), text(&case, "receiptHash"));
        assert!(cose.len() <= quarantine::SIGNED_BYTES_MAX);
        assert!(verify_record(&cose, &key).is_err(), "what is of a quarantine ends no device");
    }
}

#[test]
fn the_second_implementation_still_makes_the_vectors() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(here.join("../../target/judges/bin/python"))
        .arg(here.join("../../tests/vectors/enrolment/make.py"))
        .arg(folder.path())
        .output()
        .expect("the judges are installed by `cargo xtask test deps`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let files = [
        ("ticket.json", TICKETS),
        ("proof.json", PROOFS),
        ("code.json", CODES),
        ("message.json", MESSAGES),
        ("ending.json", ENDINGS),
        ("quarantine.json", QUARANTINES),
    ];
    for (name, stored) in files {
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), stored, "{name}");
    }
}
