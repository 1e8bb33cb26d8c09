//! Files of rules: what is refused, and what a signature keeps.
#![cfg(test)]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_audit::{
    LogKey,
    alert::{
        RuleFile, RuleSet,
        signed::{self, NumberedFile, SignedError, UnsignedFile},
    },
};
use kos_base::{KeyAlgorithm, PublicKey, code};
use serde_json::{Value, json};

fn key(seed: u8) -> (Ed25519KeyPair, LogKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    (pair, LogKey::new(&"attic".parse().unwrap(), public).unwrap())
}

fn own(changes: Value) -> Value {
    let mut rule = json!({
        "name": "renames", "severity": "low", "summary": "s", "when": "each", "matches": [{"events": ["device_renamed"]}]
    });
    let Value::Object(changes) = changes else { panic!("{changes}") };
    for (name, value) in changes {
        rule[name] = value;
    }
    json!({"rules": [rule]})
}

fn check(file: Value, says: Option<&str>) {
    let shown = file.to_string();
    let read = serde_json::from_value::<RuleFile>(file).map_err(|e| e.to_string());
    let made = read.and_then(|file| RuleSet::of(&file).map_err(|e| e.to_string()));
    match (made, says) {
        (Ok(_), None) => {}
        (Err(why), Some(says)) => assert!(why.contains(says), "{shown}: {why}"),
        (made, _) => panic!("{shown}: {made:?}"),
    }
}

#[test]
fn a_file_is_read_strictly() {
    check(json!({}), None);
    check(own(json!({})), None);
    check(own(json!({"when": {"count": {"times": 3, "windowSeconds": 60}}, "per": "actor"})), None);
    let then = json!([{"events": ["device_online"]}]);
    check(own(json!({"when": {"sequence": {"then": then, "windowSeconds": 60}}})), None);
    for (changes, says) in [
        (json!({"sevrity": "low"}), "unknown field"),
        (json!({"severity": "grave"}), "unknown variant"),
        (json!({"name": "Renames"}), "not the name of a rule"),
        (json!({"name": "clone"}), "there is another rule `clone`"),
        (json!({"summary": ""}), "a summary has"),
        (json!({"summary": "a\u{1b}[31m"}), "a summary has"),
        (json!({"quietSeconds": 59}), "quietSeconds is 59"),
        (json!({"when": {"count": {"times": 1, "windowSeconds": 60}}}), "times is 1"),
        (json!({"when": {"count": {"times": 101, "windowSeconds": 60}}}), "times is 101"),
        (json!({"when": {"count": {"times": 2, "windowSeconds": 86_401}}}), "windowSeconds is 86401"),
        (json!({"when": {"count": {"times": 2, "windowSeconds": 60, "more": 1}}}), "unknown field"),
        (json!({"when": {"sequence": {"then": [], "windowSeconds": 60}}}), "1 to 8 patterns"),
        (json!({"matches": []}), "1 to 8 patterns"),
        (json!({"matches": [{"events": []}]}), "at least one event"),
        (json!({"matches": [{"events": ["device_moved"]}]}), "not an event type"),
        (json!({"matches": [{"events": ["alert_raised"]}]}), "raises none"),
        (json!({"matches": [{"events": ["device_renamed"], "actors": ["agent"]}]}), "not a kind"),
        (json!({"matches": [{"events": ["device_renamed"], "details": {"a": [1]}}]}), "compared with"),
    ] {
        check(own(changes), Some(says));
    }
    let many: Vec<_> = (0..33).map(|n| own(json!({"name": format!("r{n}")}))["rules"][0].clone()).collect();
    check(json!({"rules": many}), Some("at most 32 rules"));
    let count = json!({"count": {"times": 100, "windowSeconds": 60}});
    let heavy: Vec<_> = (0..11)
        .map(|n| own(json!({"name": format!("r{n}"), "when": count, "per": "target"}))["rules"][0].clone())
        .collect();
    check(json!({"rules": heavy}), Some("add up to"));
}

#[test]
fn an_essential_rule_goes_only_by_its_word_and_is_not_made_blind() {
    for (file, says) in [
        (json!({"remove": ["access-probing"]}), None),
        (json!({"remove": ["failed-unlocks"]}), Some("essential")),
        (json!({"removeEssential": ["failed-unlocks"]}), None),
        (json!({"removeEssential": ["access-probing"]}), Some("not essential")),
        (json!({"remove": ["nothing"]}), Some("no built-in rule `nothing`")),
        (json!({"tune": [{"rule": "failed-unlocks", "times": 3}]}), None),
        (json!({"tune": [{"rule": "failed-unlocks", "times": 20}]}), None),
        (json!({"tune": [{"rule": "failed-unlocks", "times": 21}]}), Some("laxer")),
        (json!({"tune": [{"rule": "failed-unlocks", "windowSeconds": 224}]}), Some("laxer")),
        (json!({"tune": [{"rule": "failed-unlocks", "quietSeconds": 3_601}]}), Some("laxer")),
        (json!({"tune": [{"rule": "failed-unlocks", "severity": "low"}]}), Some("laxer")),
        (json!({"tune": [{"rule": "clone", "times": 3}]}), Some("does not count")),
        (json!({"tune": [{"rule": "access-probing", "times": 100, "severity": "low"}]}), None),
        (json!({"tune": [{"rule": "clone"}, {"rule": "clone"}]}), Some("another rule")),
    ] {
        check(file, says);
    }
    let file = serde_json::from_value(json!({"remove": ["failed-unlocks"]})).unwrap();
    assert_eq!(RuleSet::of(&file).unwrap_err().code(), code::audit::ALERT_RULE_ESSENTIAL);
}

#[test]
fn a_signed_file_is_that_of_the_logs_key_and_no_byte_of_it_changes() {
    let (pair, log_key) = key(1);
    let file = serde_json::from_value(own(json!({"per": "target"}))).unwrap();
    let numbered = NumberedFile { counter: 7, file };
    let unsigned = UnsignedFile::new(&numbered, &log_key).unwrap();
    let signature = pair.sign(&unsigned.to_be_signed()).as_ref().try_into().unwrap();
    let bytes = unsigned.finish(signature);
    assert_eq!(signed::open(&bytes, &log_key).unwrap(), numbered);
    assert!(matches!(signed::open(&bytes, &key(2).1), Err(SignedError::Envelope(_))));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let error = signed::open(&changed, &log_key).unwrap_err();
        assert_eq!(error.code(), code::audit::ALERT_RULES_DAMAGED, "byte {at}");
    }
}
