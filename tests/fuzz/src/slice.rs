//! Slices of the manifests: nothing opens that nobody signed, and what a device keeps decides, whatever its authority wrote.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{
    Channel, EvidenceTier, KeyAlgorithm, PublicKey, Role, SecurityProfile, Timestamp, cbor, cose::Sealed,
};
use kos_policy::slice::{Facts, RULES_MAX, Ruling, SLICE_BYTES_MAX, Sent, Slice, open};

use crate::{Verdict, cast::nobodys_key};

/// Reads the bytes as a signed slice, and what is in it as one that the authority has signed.
pub fn run(bytes: &[u8]) -> Verdict {
    let (authority, device) =
        ("attic".parse().expect("a name"), "kdev-0000000000000001".parse().expect("an id"));
    assert!(open(bytes, &nobodys_key(), &authority, &device).is_err(), "nobody signed this");
    let sealed = Sealed::parse(bytes, SLICE_BYTES_MAX);
    let inside = sealed.as_ref().map(|sealed| sealed.unverified_payload().to_vec()).unwrap_or_default();
    Verdict::of(&sealed).or(payload(&inside)).or(payload(bytes))
}

/// An authority gone wild signs whatever it likes.
fn payload(bytes: &[u8]) -> Verdict {
    let read = cbor::decode::<Slice>(bytes, SLICE_BYTES_MAX);
    let Ok(slice) = &read else { return Verdict::Refused };
    assert_eq!(cbor::encode(slice), bytes);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes");
    let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).expect("32 bytes");
    let unsigned = slice.unsigned(&key);
    let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
    let signed = unsigned.finish(signature);
    if let Ok(opened) = open(&signed, &key, &slice.authority, &slice.device) {
        assert_eq!(opened, *slice);
        assert!(opened.rules.len() <= RULES_MAX && opened.follows(&opened).is_ok());
        decide(&opened);
    }
    let other = "kdev-vvvvvvvvvvvvvvvv".parse().expect("an id");
    if slice.device != other {
        assert!(open(&signed, &key, &slice.authority, &other).is_err(), "it is about somebody else");
    }
    Verdict::Read
}

fn decide(slice: &Slice) {
    for profile in SecurityProfile::ALL {
        let facts = Facts {
            profile: *profile,
            evidence: EvidenceTier::KeyOnDevice,
            role: Role::Sensor,
            channel: Channel::Stable,
        };
        for sent in [Sent::Message("LOG", "report"), Sent::Device(&slice.device)] {
            for now in [Timestamp::from_unix_ms(0), slice.issued, slice.expires, Timestamp::MAX] {
                let ruling = slice.decide(now, &facts, sent);
                // Past its end it allows nothing, and what it allows names a rule of its own.
                assert_eq!(ruling == Ruling::Expired, now >= slice.expires);
                let known = |rule: &str| slice.rules.iter().any(|held| held.id == rule);
                assert!(ruling.rule().is_none_or(known));
                assert!(!ruling.is_allowed() || ruling.rule().is_some() || !slice.governs);
            }
        }
    }
}
