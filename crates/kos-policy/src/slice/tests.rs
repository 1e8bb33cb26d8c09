use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::KeyAlgorithm;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
const FACTS: Facts = Facts {
    profile: SecurityProfile::Sec2,
    evidence: EvidenceTier::KeyOnDevice,
    role: Role::Sensor,
    channel: Channel::Stable,
};
const LOG: Sent<'static> = Sent::Message("LOG", "report");

fn key(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    (pair, public)
}

fn device(n: u8) -> DeviceId {
    format!("kdev-{:0>16}", n.to_string()).parse().unwrap()
}

fn rule(id: &str, effect: RuleEffect, resource: Pattern, clauses: Vec<Clause>) -> SliceRule {
    SliceRule { id: id.to_owned(), effect, resource, clauses }
}

fn when(attribute: Attribute, comparison: Comparison, value: Value) -> Vec<Clause> {
    vec![Clause { polarity: Polarity::When, all: vec![Atom::new(attribute, comparison, value).unwrap()] }]
}

fn slice(rules: Vec<SliceRule>) -> Slice {
    Slice {
        authority: "attic".parse().unwrap(),
        device: device(1),
        counter: 7,
        record: 3,
        issued: NOW,
        expires: Timestamp::from_unix_s(1_800_600_000),
        governs: true,
        rules,
    }
}

fn sample() -> Slice {
    slice(vec![
        rule("base/all", RuleEffect::Permit, Pattern::any(PatternKind::Anything), Vec::new()),
        rule(
            "quiet/night",
            RuleEffect::Forbid,
            Pattern::named(PatternKind::Errand, "report"),
            when(Attribute::Profile, Comparison::Less, Value::Number(2)),
        ),
    ])
}

fn signed(slice: &Slice, seed: u8) -> Vec<u8> {
    let (pair, public) = key(seed);
    let unsigned = slice.unsigned(&public);
    let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
    unsigned.finish(signature)
}

fn opened(bytes: &[u8]) -> Result<Slice, SliceError> {
    open(bytes, &key(1).1, &"attic".parse().unwrap(), &device(1))
}

#[test]
fn a_slice_is_read_back_by_whom_it_is_for_and_no_other_byte_counts() {
    let bytes = signed(&sample(), 1);
    assert_eq!(opened(&bytes).unwrap(), sample());
    for at in 0..bytes.len() {
        for bit in [1, 0x10, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            assert_eq!(opened(&changed).unwrap_err().code().number(), 796, "byte {at}");
        }
        assert!(opened(&bytes[..at]).is_err());
    }
    assert!(matches!(opened(&signed(&sample(), 2)), Err(SliceError::Envelope(CoseError::OtherKey))));
    let other = Slice { device: device(2), ..sample() };
    assert!(matches!(opened(&signed(&other, 1)), Err(SliceError::Foreign { .. })));
    let other = Slice { authority: "cellar".parse().unwrap(), ..sample() };
    assert!(matches!(opened(&signed(&other, 1)), Err(SliceError::Foreign { .. })));
}

#[test]
fn what_is_over_a_limit_is_no_slice_even_when_signed() {
    let anything = || Pattern::any(PatternKind::Anything);
    let one = |id: &str| rule(id, RuleEffect::Permit, anything(), Vec::new());
    let many = slice((0..=RULES_MAX).map(|n| one(&n.to_string())).collect());
    assert!(opened(&signed(&many, 1)).is_err());
    let long = slice(vec![one(&"x".repeat(NAME_BYTES_MAX + 1))]);
    assert_eq!(opened(&signed(&long, 1)), Err(SliceError::Limit));
    let nameless = slice(vec![rule("a", RuleEffect::Permit, Pattern::any(PatternKind::Message), Vec::new())]);
    assert_eq!(opened(&signed(&nameless, 1)), Err(SliceError::Limit));
    let clauses = (0..=CLAUSES_MAX).map(|_| Clause { polarity: Polarity::When, all: Vec::new() });
    let conditional = slice(vec![rule("a", RuleEffect::Permit, anything(), clauses.collect())]);
    assert_eq!(opened(&signed(&conditional, 1)), Err(SliceError::Limit));
    let over = Slice { expires: NOW, ..sample() };
    assert_eq!(opened(&signed(&over, 1)), Err(SliceError::Limit));
    // Words are compared for equality, numbers with numbers.
    assert_eq!(Atom::new(Attribute::Role, Comparison::Less, Value::Word("relay".to_owned())), None);
    assert_eq!(Atom::new(Attribute::Profile, Comparison::Equal, Value::Word("2".to_owned())), None);
}

#[test]
fn an_older_slice_does_not_follow_a_newer_one() {
    let held = sample();
    for (newer, follows) in [
        (sample(), true),
        (Slice { counter: 6, record: 9, ..sample() }, false),
        (Slice { counter: 8, record: 0, issued: Timestamp::from_unix_s(1), ..sample() }, true),
        (Slice { record: 2, ..sample() }, false),
        (Slice { issued: Timestamp::from_unix_s(1_799_999_999), ..sample() }, false),
    ] {
        assert_eq!(newer.follows(&held).is_ok(), follows, "{newer:?}");
    }
}

#[test]
fn what_forbids_comes_first_and_what_nothing_permits_is_refused() {
    let of = sample();
    assert_eq!(of.decide(NOW, &FACTS, LOG), Ruling::Permitted("base/all"));
    let weak = Facts { profile: SecurityProfile::Sec1, ..FACTS };
    assert_eq!(of.decide(NOW, &weak, LOG), Ruling::Forbidden("quiet/night"));
    let witness = Sent::Message("WITNESS", "witness");
    assert_eq!(of.decide(NOW, &weak, witness), Ruling::Permitted("base/all"));
    assert_eq!(of.decide(of.expires, &FACTS, LOG), Ruling::Expired);
    assert_eq!(slice(Vec::new()).decide(NOW, &FACTS, LOG), Ruling::Unpermitted);
    let free = Slice { governs: false, ..slice(Vec::new()) };
    assert_eq!(free.decide(NOW, &FACTS, LOG), Ruling::Ungoverned);
}

#[test]
fn patterns_and_comparisons_mean_what_they_say() {
    let (one, two) = (device(1), device(2));
    let named = Pattern::named;
    let cases = [
        (Pattern::any(PatternKind::Anything), [true, true, true]),
        (Pattern::any(PatternKind::AnyMessage), [true, false, false]),
        (Pattern::any(PatternKind::AnyDevice), [false, true, true]),
        (named(PatternKind::Message, "LOG"), [true, false, false]),
        (named(PatternKind::Message, "REPORT"), [false, false, false]),
        (named(PatternKind::Errand, "report"), [true, false, false]),
        (named(PatternKind::Device, one.as_ref()), [false, true, false]),
    ];
    for (pattern, expected) in cases {
        let of = slice(vec![rule("a", RuleEffect::Permit, pattern.clone(), Vec::new())]);
        let asked = [LOG, Sent::Device(&one), Sent::Device(&two)];
        assert_eq!(asked.map(|sent| of.decide(NOW, &FACTS, sent).is_allowed()), expected, "{pattern:?}");
    }
    use Comparison::{AtLeast, AtMost, Equal, Less, More, Unequal};
    for (comparison, expected) in [
        (Equal, [false, true, false]),
        (Unequal, [true, false, true]),
        (Less, [false, false, true]),
        (AtMost, [false, true, true]),
        (More, [true, false, false]),
        (AtLeast, [true, true, false]),
    ] {
        let allowed = |number: i64, comparison| {
            let clauses = when(Attribute::Profile, comparison, Value::Number(number));
            let of = slice(vec![rule("a", RuleEffect::Permit, Pattern::any(PatternKind::Anything), clauses)]);
            of.decide(NOW, &FACTS, LOG).is_allowed()
        };
        assert_eq!([1, 2, 3].map(|number| allowed(number, comparison)), expected, "{comparison:?}");
        let opposite = [1, 2, 3].map(|number| !allowed(number, comparison.negated()));
        assert_eq!(opposite, expected, "{comparison:?}");
    }
}
