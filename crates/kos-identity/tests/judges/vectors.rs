//! This crate and the second implementation in `tests/vectors/identity/make.py` write the same bytes.

use data_encoding::HEXLOWER;
use kos_base::{AgreementKey, Capability, DeviceId, KeyAlgorithm, Timestamp, id::DeviceIdInputs};
use kos_identity::{
    certificate::{DeviceFacts, capabilities_hash},
    kid,
};
use serde_json::Value;

use crate::{desk::Desk, test_keys::TestKey};

const DEVICE_ID: &str = include_str!("../../../../tests/vectors/identity/device-id.json");
const EXTENSION: &str = include_str!("../../../../tests/vectors/identity/extension.json");
const KID: &str = include_str!("../../../../tests/vectors/identity/kid.json");

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

fn optional<T: core::str::FromStr<Err: core::fmt::Debug>>(case: &Value, key: &str) -> Option<T> {
    case[key].as_str().map(|text| text.parse().unwrap())
}

fn list<T: core::str::FromStr<Err: core::fmt::Debug>>(case: &Value, key: &str) -> Vec<T> {
    case[key].as_array().unwrap().iter().map(|item| item.as_str().unwrap().parse().unwrap()).collect()
}

fn hex<const N: usize>(case: &Value, key: &str) -> [u8; N] {
    HEXLOWER.decode(text(case, key).as_bytes()).unwrap().try_into().unwrap()
}

fn seconds(case: &Value, key: &str) -> Timestamp {
    Timestamp::from_unix_s(case[key].as_u64().unwrap())
}

#[test]
fn device_ids_follow_from_their_inputs() {
    for case in cases(DEVICE_ID) {
        let id = DeviceId::derive(&DeviceIdInputs {
            uuid: parsed::<kos_base::EntryId>(&case, "uuid").uuid(),
            macs: &list(&case, "macs"),
            serials: &list(&case, "serials"),
            identity_key: parsed(&case, "identityKeyId"),
        });
        assert_eq!(id.to_string(), text(&case, "deviceId"), "{}", text(&case, "name"));
    }
}

#[test]
fn extensions_are_written_and_read_alike() {
    for case in cases(EXTENSION) {
        let capabilities: Vec<Capability> = list(&case, "capabilities");
        let facts = DeviceFacts {
            subject: parsed(&case, "subject"),
            role: parsed(&case, "role"),
            profile: parsed(&case, "profile"),
            evidence: parsed(&case, "evidence"),
            group: optional(&case, "group"),
            capabilities: capabilities_hash(&capabilities),
        };
        assert_eq!(HEXLOWER.encode(&facts.capabilities), text(&case, "capabilitiesHash"));
        let der = facts.to_der().unwrap();
        assert_eq!(HEXLOWER.encode(&der), text(&case, "der"), "{}", text(&case, "name"));
        assert_eq!(DeviceFacts::from_der(&der), Ok(facts));
    }
}

#[test]
fn kids_are_written_and_read_alike() {
    for case in cases(KID) {
        let [seed, ..] = hex::<32>(&case, "signerSeed");
        let signer = TestKey::new(KeyAlgorithm::Ed25519, seed);
        assert_eq!(HEXLOWER.encode(signer.public().spki_der()), text(&case, "signerSpki"));
        let grant = kid::Grant {
            subject: parsed(&case, "subject"),
            audience: parsed(&case, "audience"),
            holder: parsed(&case, "holder"),
            certificate_not_after: seconds(&case, "certificateNotAfter"),
            traits: kid::Traits {
                role: parsed(&case, "role"),
                profile: parsed(&case, "profile"),
                group: optional(&case, "group"),
                user: optional(&case, "user"),
                capabilities: list(&case, "capabilities"),
                evidence: parsed(&case, "evidence"),
                channel: parsed(&case, "channel"),
                agreement_key: AgreementKey(hex(&case, "agreementKey")),
            },
        };
        let now = seconds(&case, "issuedAt");
        let expected = kid::Expected {
            signer: signer.public(),
            audience: &grant.audience.clone(),
            holder: grant.holder,
        };
        let unsigned = kid::build(now, grant, hex(&case, "id"), signer.public());
        let signature = signer.sign(&unsigned.to_be_signed());
        let cwt = unsigned.finish(signature);
        assert_eq!(HEXLOWER.encode(&cwt), text(&case, "cwt"), "{}", text(&case, "name"));
        let verified = kid::verify(now, &cwt, &expected).unwrap();
        let claims = kos_base::cbor::encode(verified.claims());
        assert_eq!(HEXLOWER.encode(&claims), text(&case, "claims"));
    }
}

#[test]
fn the_second_implementation_still_makes_the_vectors() {
    let desk = Desk::new();
    let here = desk.path("");
    let program = "../../../../tests/vectors/identity/make.py";
    let (done, said) = desk.ask_python(program, &[here.to_str().unwrap()]);
    assert!(done, "{said}");
    for (name, stored) in [("device-id.json", DEVICE_ID), ("extension.json", EXTENSION), ("kid.json", KID)] {
        assert_eq!(String::from_utf8(desk.take(name)).unwrap(), stored, "{name}");
    }
}
