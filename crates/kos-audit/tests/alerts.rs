//! The engine of alerts beside a naive one that looks at the whole log for every entry.
#![cfg(test)]

use std::collections::BTreeMap;

use kos_audit::{
    Actor, BootId, Details, Entry, EventType, Sequence, Target,
    alert::{
        Alert, AlertId, BuiltIn, Condition, Engine, Pattern, Per, Rule, RuleFile, RuleSet, Severity, Standing,
    },
};
use kos_base::{EntryId, KeyId, Timestamp};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

/// One entry, as far as rules look at it.
#[derive(Clone, Debug)]
struct Seen {
    event: EventType,
    target: u8,
    at_ms: u64,
    details: Value,
}

fn entry(index: u64, seen: &Seen) -> Entry {
    let at = Timestamp::from_unix_ms(1_795_170_000_000 + seen.at_ms);
    Entry {
        actor: Actor::Authority("attic".parse().unwrap()),
        boot_id: BootId::new(EntryId::from_parts(at, [7; 10])),
        details: Details::new(seen.details.as_object().unwrap().clone()).unwrap(),
        event_type: seen.event,
        id: EntryId::from_parts(at, [1; 10]),
        key_id: KeyId::from_bytes([3; 32]),
        sequence: Sequence::at_index(index).unwrap(),
        target: Some(Target::Vault(format!("v{}", seen.target).parse().unwrap())),
        timestamp: at,
    }
}

fn at(seconds: u64, event: EventType) -> Seen {
    Seen { event, target: 0, at_ms: seconds * 1000, details: json!({}) }
}

fn rule(name: &str, per: Per, when: Condition) -> Rule {
    Rule {
        matches: vec![Pattern::of(&[EventType::VaultUnlockFailed])],
        name: name.parse().unwrap(),
        per,
        quiet_seconds: 60,
        severity: Severity::High,
        summary: "test".to_owned(),
        when,
    }
}

fn only(rules: Vec<Rule>) -> RuleFile {
    let built_in = BuiltIn::all();
    let named = |standing| {
        let of = built_in.iter().filter(move |built_in| built_in.standing == standing);
        of.map(|built_in| built_in.rule.name.clone()).collect()
    };
    RuleFile {
        remove: named(Standing::Usual),
        remove_essential: named(Standing::Essential),
        rules,
        tune: Vec::new(),
    }
}

fn engine(file: &RuleFile) -> Engine {
    let mut engine = Engine::new(0);
    engine.replace(file.clone(), RuleSet::of(file).unwrap());
    engine
}

fn run(engine: &mut Engine, log: &[Seen]) -> Vec<Alert> {
    log.iter().zip(engine.next()..).flat_map(|(seen, index)| engine.observe(&entry(index, seen))).collect()
}

/// What the rule is to raise, by looking at everything again for each entry: (first, last, count).
fn naive(rule: &Rule, log: &[Seen]) -> Vec<(u64, u64, u64)> {
    let mut elapsed = Vec::new();
    for (at, seen) in log.iter().enumerate() {
        let before = at.checked_sub(1).map_or(seen.at_ms, |before| log[before].at_ms);
        elapsed.push(elapsed.last().copied().unwrap_or(0) + seen.at_ms.saturating_sub(before));
    }
    let group = |seen: &Seen| if rule.per == Per::Target { seen.target } else { 0 };
    let weight = |seen: &Seen| seen.details["count"].as_u64().unwrap_or(1);
    // By group: the place and time of the last alert.
    let mut last: BTreeMap<u8, usize> = BTreeMap::new();
    let mut raised = Vec::new();
    for (now, seen) in log.iter().enumerate() {
        let key = group(seen);
        let begin = |i: usize| log[i].event == EventType::VaultUnlockFailed && group(&log[i]) == key;
        let quiet = |i: usize| {
            let at = last.get(&key)?;
            Some(elapsed[i] - elapsed[*at] < u64::from(rule.quiet_seconds) * 1000)
        };
        if quiet(now) == Some(true) {
            continue;
        }
        // What came in the quiet does not count, and neither does what raised the last one.
        let after = last.get(&key).map_or(0, |at| at + 1);
        let counts = |i: &usize| *i >= after && begin(*i) && quiet(*i) != Some(true);
        let within = |i: &usize, seconds: u32| elapsed[now] - elapsed[*i] <= u64::from(seconds) * 1000;
        let found = match &rule.when {
            Condition::Each => begin(now).then_some((now, weight(seen))),
            Condition::Count { times, window_seconds } => {
                let hits: Vec<_> = (0..=now).filter(|i| counts(i) && within(i, *window_seconds)).collect();
                let sum: u64 = hits.iter().map(|i| weight(&log[*i])).sum();
                (begin(now) && sum >= u64::from(*times)).then(|| (hits[0], sum))
            }
            Condition::Sequence { window_seconds, .. } => {
                let ends = seen.event == EventType::VaultUnlocked;
                let first = (0..now).rev().find(counts).filter(|i| within(i, *window_seconds));
                first.filter(|_| ends).map(|first| (first, weight(&log[first]) + weight(seen)))
            }
        };
        if let Some((first, count)) = found {
            last.insert(key, now);
            raised.push((u64::try_from(first).unwrap(), u64::try_from(now).unwrap(), count));
        }
    }
    raised
}

fn events() -> impl Strategy<Value = EventType> {
    prop_oneof![
        3 => Just(EventType::VaultUnlockFailed),
        1 => Just(EventType::VaultUnlocked),
        1 => Just(EventType::DeviceOnline),
    ]
}

/// Entries with clocks that go on, stand, jump and go back.
fn logs() -> impl Strategy<Value = Vec<Seen>> {
    let step = prop_oneof![8 => 0..20_000_i64, 1 => -300_000..0_i64, 1 => 0..300_000_i64];
    let one = (events(), 0..4_u8, step, prop_oneof![6 => Just(None), 1 => (1..5_u64).prop_map(Some)]);
    vec(one, 0..120).prop_map(|steps| {
        let mut now = 1_000_000_i64;
        let mut log = Vec::new();
        for (event, target, step, count) in steps {
            now = (now + step).max(0);
            let details = count.map_or_else(|| json!({}), |count| json!({"count": count}));
            log.push(Seen { event, target, at_ms: u64::try_from(now).unwrap(), details });
        }
        log
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let then = vec![Pattern::of(&[EventType::VaultUnlocked])];
    let when = prop_oneof![
        Just(Condition::Each),
        (2..6_u32, 1..120_u32).prop_map(|(times, window_seconds)| Condition::Count { times, window_seconds }),
        (1..120_u32)
            .prop_map(move |window_seconds| Condition::Sequence { then: then.clone(), window_seconds }),
    ];
    (prop_oneof![Just(Per::None), Just(Per::Target)], when, 60..200_u32)
        .prop_map(|(per, when, quiet_seconds)| Rule { quiet_seconds, ..rule("test", per, when) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_engine_raises_what_a_naive_one_does(log in logs(), rule in rules()) {
        let raised = run(&mut engine(&only(vec![rule.clone()])), &log);
        let shown: Vec<_> = raised.iter().map(|alert| (alert.first, alert.last, alert.count)).collect();
        prop_assert_eq!(shown, naive(&rule, &log));
        for alert in raised {
            prop_assert_eq!(alert.id, AlertId::of(&rule.name, alert.first, alert.last));
        }
    }

    #[test]
    fn an_engine_that_was_cut_off_anywhere_goes_on_as_if_it_was_not(
        log in logs(), one in rules(), cut in 0..120_usize, again in 0..20_usize,
    ) {
        let file = only(vec![one]);
        let mut whole = engine(&file);
        let wanted = run(&mut whole, &log);
        let cut = cut.min(log.len());
        let mut first = engine(&file);
        let mut raised = run(&mut first, &log[..cut]);
        let mut second = Engine::resume(&first.state()).unwrap();
        // Entries that it has seen are passed over.
        let from = cut.saturating_sub(again);
        for (seen, index) in log[from..].iter().zip(u64::try_from(from).unwrap()..) {
            raised.extend(second.observe(&entry(index, seen)));
        }
        prop_assert_eq!(raised, wanted);
        prop_assert_eq!(second.state(), whole.state());
    }
}

#[test]
fn a_window_holds_what_is_as_old_as_it_is_long_and_nothing_older() {
    let count = Condition::Count { times: 2, window_seconds: 10 };
    for (apart_ms, raises) in [(10_000, 1), (10_001, 0)] {
        let mut log = [at(5, EventType::VaultUnlockFailed), at(5, EventType::VaultUnlockFailed)];
        log[1].at_ms += apart_ms;
        let file = only(vec![rule("test", Per::None, count.clone())]);
        assert_eq!(run(&mut engine(&file), &log).len(), raises, "{apart_ms}");
    }
}

#[test]
fn a_flood_is_one_alert_that_counts_and_the_next_tells_what_came_meanwhile() {
    let file = only(vec![rule("test", Per::None, Condition::Count { times: 5, window_seconds: 600 })]);
    let mut engine = engine(&file);
    let mut log: Vec<_> = (0..10_000).map(|_| at(7, EventType::VaultUnlockFailed)).collect();
    let raised = run(&mut engine, &log);
    assert_eq!(raised.len(), 1);
    assert_eq!(engine.take_repeats(), [(raised[0].id.clone(), 9_995)]);
    log = (0..5).map(|_| at(7 + 60, EventType::VaultUnlockFailed)).collect();
    let next = run(&mut engine, &log);
    assert_eq!((next.len(), next[0].unseen, next[0].count), (1, 9_995, 5));
    assert!(engine.take_repeats().is_empty());
}

#[test]
fn more_groups_than_there_is_room_for_are_counted_together_and_none_is_lost() {
    let file = only(vec![rule("test", Per::Target, Condition::Count { times: 2, window_seconds: 86_400 })]);
    let mut engine = engine(&file);
    let one = |n: u64| {
        let target = Target::Vault(format!("v{n}").parse().unwrap());
        Entry { target: Some(target), ..entry(n, &at(1, EventType::VaultUnlockFailed)) }
    };
    let raised: Vec<_> = (0..200).flat_map(|n| engine.observe(&one(n))).collect();
    let groups: Vec<_> = raised.iter().filter_map(|alert| alert.group.as_deref()).collect();
    // 128 have one each; the others raise one together, and are counted in its quiet.
    assert_eq!(groups, ["*"]);
    let repeats: u64 = engine.take_repeats().into_iter().map(|(_, since)| since).sum();
    assert_eq!(raised[0].count + repeats, 200 - 128);
    assert!(engine.state().len() < 32 * 1024, "{}", engine.state().len());
}

#[test]
fn a_clock_that_is_set_back_or_far_ahead_makes_no_rule_blind() {
    let file = only(vec![rule("test", Per::None, Condition::Count { times: 3, window_seconds: 60 })]);
    let failed = EventType::VaultUnlockFailed;
    let year = 365 * 86_400;
    for log in [
        [at(year, failed), at(0, failed), at(1, failed)],
        [at(0, failed), at(0, failed), at(0, failed)],
        [at(100, failed), at(50, failed), at(10, failed)],
    ] {
        assert_eq!(run(&mut engine(&file), &log).len(), 1, "{log:?}");
    }
    // Ahead for one entry: what came before is over, and afterwards it goes on as usual.
    let ahead = [at(0, failed), at(year, failed), at(1, failed), at(2, failed)];
    assert_eq!(run(&mut engine(&file), &ahead).len(), 1);
}

#[test]
fn what_alerts_cause_raises_none() {
    let mut engine = Engine::new(0);
    for event in [EventType::AlertRaised, EventType::AlertAcknowledged, EventType::AlertUndelivered] {
        assert!(run(&mut engine, &[at(1, event)]).is_empty());
        let looping =
            Rule { matches: vec![Pattern::of(&[event])], ..rule("test", Per::None, Condition::Each) };
        let file = RuleFile { rules: vec![looping], ..RuleFile::default() };
        assert!(RuleSet::of(&file).is_err(), "{event}");
    }
    let changed = run(&mut engine, &[at(1, EventType::AlertRulesChanged)]);
    assert_eq!(changed[0].rule.as_str(), "alerting-changed");
}

#[test]
fn every_built_in_rule_raises_on_what_it_is_for() {
    use EventType as E;
    let codes = |event, code: &str| Seen { details: json!({"code": code, "count": 1}), ..at(1, event) };
    let many = |seen: Seen, times: usize| vec![seen; times];
    let cases = [
        ("access-probing", many(codes(E::AccessRefused, "KOS-E0004"), 20)),
        ("alerting-changed", many(at(1, E::GuardianRemoved), 1)),
        ("attestation-changed", many(at(1, E::AttestationChanged), 1)),
        ("clock-step", many(at(1, E::TimeStepped), 1)),
        ("clone", many(at(1, E::CloneAlert), 1)),
        ("downgrade-attempt", many(codes(E::EnrolmentRefused, "KOS-E0218"), 1)),
        ("failed-unlocks", many(at(1, E::VaultUnlockFailed), 5)),
        ("kill-armed", many(at(1, E::KillArmed), 1)),
        ("loss", many(at(1, E::LossesRecorded), 1)),
        ("quarantine", many(at(1, E::DeviceQuarantined), 1)),
        ("rollback", many(at(1, E::VaultRefused), 1)),
        ("ticket-guessing", many(at(1, E::TicketProofFailed), 5)),
        ("witness-disagreement", many(at(1, E::WitnessDisagreed), 1)),
    ];
    let names: Vec<_> = BuiltIn::all().iter().map(|built_in| built_in.rule.name.to_string()).collect();
    assert_eq!(names, cases.each_ref().map(|(name, _)| *name));
    let spec = include_str!("../../../docs/spec/alerts.md");
    for (name, log) in cases {
        let raised = run(&mut Engine::new(0), &log);
        assert_eq!(raised.len(), 1, "{name}");
        assert_eq!(raised[0].rule.as_str(), name);
        // One fewer is no alert, where it counts.
        assert!(run(&mut Engine::new(0), &log[1..]).is_empty(), "{name}");
        let built_in = BuiltIn::all().into_iter().find(|b| b.rule.name.as_str() == name).unwrap();
        let essential = if built_in.standing == Standing::Essential { "yes" } else { "no" };
        assert!(spec.contains(&format!("| `{name}` | {} | {essential} |", built_in.rule.severity)), "{name}");
    }
}

#[test]
fn each_change_of_the_alerting_is_told_also_right_after_another() {
    let mut engine = Engine::new(0);
    let changes = [EventType::GuardianRemoved, EventType::AlertRulesChanged, EventType::AlertRulesChanged];
    let raised = run(&mut engine, &changes.map(|event| at(1, event)));
    let shown: Vec<_> = raised.iter().map(|alert| (alert.rule.as_str(), alert.last, alert.unseen)).collect();
    assert_eq!(shown, [0, 1, 2].map(|last| ("alerting-changed", last, 0)));
    assert!(engine.replace(only(Vec::new()), RuleSet::of(&only(Vec::new())).unwrap()).is_empty());
}

#[test]
fn what_came_in_the_quiet_of_a_rule_that_goes_is_one_last_alert() {
    let file = only(vec![rule("test", Per::Target, Condition::Each)]);
    let mut engine = engine(&file);
    let failed = |target| Seen { target, ..at(1, EventType::VaultUnlockFailed) };
    assert_eq!(run(&mut engine, &[failed(1), failed(1), failed(2), failed(2), failed(2)]).len(), 2);
    // The same after a restart.
    let mut engine = Engine::resume(&engine.state()).unwrap();
    let last = engine.replace(only(Vec::new()), RuleSet::of(&only(Vec::new())).unwrap());
    let shown: Vec<_> = last.iter().map(|alert| (alert.count, alert.entries.clone(), &alert.group)).collect();
    assert_eq!(shown, [(3, vec![1, 4], &Some("*".to_owned()))]);
    assert_eq!(last[0].id, AlertId::of(&last[0].rule, 1, 4));
    assert!(engine.replace(file.clone(), RuleSet::of(&file).unwrap()).is_empty());
}

#[test]
fn a_rule_with_other_numbers_still_knows_what_it_counted_and_what_was_quiet() {
    let with = |times| {
        let file = only(vec![rule("test", Per::None, Condition::Count { times, window_seconds: 60 })]);
        (file.clone(), RuleSet::of(&file).unwrap())
    };
    let failed = || at(1, EventType::VaultUnlockFailed);
    let mut engine = engine(&with(3).0);
    assert!(run(&mut engine, &[failed(), failed()]).is_empty());
    let (file, set) = with(4);
    assert!(engine.replace(file, set).is_empty());
    assert_eq!(run(&mut engine, &[failed(), failed(), failed()])[0].count, 4);
    let (file, set) = with(2);
    assert!(engine.replace(file, set).is_empty());
    let later = [at(61, EventType::VaultUnlockFailed), at(61, EventType::VaultUnlockFailed)];
    assert_eq!(run(&mut engine, &later)[0].unseen, 1);
}
