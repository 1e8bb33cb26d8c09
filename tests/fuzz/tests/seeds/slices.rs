//! Seeds of slices of the manifests.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{KeyAlgorithm, PublicKey, cbor};
use kos_policy::slice::{
    Atom, Attribute, Clause, Comparison, Pattern, PatternKind, Polarity, RuleEffect, Slice, SliceRule, Value,
};

use super::{Seed, conversation::NOW};

pub(super) fn seeds() -> Vec<Seed> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[22; 32]).unwrap();
    let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let device = "kdev-0000000000000001";
    let clause = |polarity, atoms: [(Attribute, Comparison, Value); 2]| Clause {
        polarity,
        all: atoms.into_iter().map(|(what, how, value)| Atom::new(what, how, value).unwrap()).collect(),
    };
    let when = clause(
        Polarity::When,
        [
            (Attribute::Profile, Comparison::Less, Value::Number(2)),
            (Attribute::Role, Comparison::Equal, Value::Word("sensor".to_owned())),
        ],
    );
    let unless = clause(
        Polarity::Unless,
        [
            (Attribute::Evidence, Comparison::Equal, Value::Number(1)),
            (Attribute::Channel, Comparison::Equal, Value::Word("beta".to_owned())),
        ],
    );
    let rule =
        |id: &str, effect, resource, clauses| SliceRule { id: id.to_owned(), effect, resource, clauses };
    let full = Slice {
        authority: "attic".parse().unwrap(),
        device: device.parse().unwrap(),
        counter: 7,
        record: 3,
        issued: NOW,
        expires: NOW.plus(core::time::Duration::from_secs(86_400)),
        governs: true,
        rules: vec![
            rule("base/all", RuleEffect::Permit, Pattern::any(PatternKind::Anything), Vec::new()),
            rule("quiet/log", RuleEffect::Forbid, Pattern::named(PatternKind::Message, "LOG"), vec![when]),
            rule(
                "quiet/report",
                RuleEffect::Forbid,
                Pattern::named(PatternKind::Errand, "report"),
                vec![unless],
            ),
        ],
    };
    let free = Slice { governs: false, rules: Vec::new(), ..full.clone() };
    let signed = |slice: &Slice| {
        let unsigned = slice.unsigned(&key);
        let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
        unsigned.finish(signature)
    };
    [("full", full), ("free", free)]
        .into_iter()
        .flat_map(|(name, slice)| {
            [
                (format!("slice/{name}.cose"), signed(&slice)),
                (format!("slice/{name}.cbor"), cbor::encode(&slice)),
            ]
        })
        .collect()
}
