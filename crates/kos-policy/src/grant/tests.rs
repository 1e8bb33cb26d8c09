use kos_base::{Channel, EvidenceTier, Role, SecurityProfile};

use super::*;
use crate::{
    pairing::{
        Lifted, Lifting,
        tests::{NOW, authority, device, id, pair, signed},
    },
    slice::Facts,
};

const HOUR: Duration = Duration::from_secs(3_600);
const FACTS: Facts = Facts {
    profile: SecurityProfile::Sec2,
    evidence: EvidenceTier::KeyOnDevice,
    role: Role::Sensor,
    channel: Channel::Stable,
};

fn grant() -> Grant {
    Grant {
        authority: authority(),
        id: id(3),
        version: 1,
        pairing: id(1),
        agent: "kai:home".parse().unwrap(),
        device: device(1),
        ability: Ability::DeviceStatus,
        scope: vec!["status/*".parse().unwrap()],
        issued: NOW,
        expires: NOW.plus(HOUR),
        uses: Some(2),
        conditions: vec!["profile >= 2".parse().unwrap()],
        memory: Memory::Read,
        network: Network::None,
        storage: Storage::None,
        level: TrustLevel::Partner,
    }
}

fn call(number: u64) -> Call {
    Call {
        authority: authority(),
        agent: "kai:home".parse().unwrap(),
        device: device(1),
        grant: id(3),
        ability: Ability::DeviceStatus,
        resource: "status/health".parse().unwrap(),
        at: NOW,
        number,
    }
}

fn at(
    grant: &Grant,
    call: &Call,
    usage: Usage,
    lifted: Option<Lifted>,
    now: Timestamp,
) -> Result<Basis, Refused> {
    judge(grant, &Call { at: now, ..call.clone() }, usage, lifted, now, &FACTS)
}

#[test]
fn a_grant_covers_what_it_names_and_nothing_else() {
    let fresh = Usage::default();
    let refused = |call: Call| judge(&grant(), &call, fresh, None, NOW, &FACTS).unwrap_err().code().number();
    assert_eq!(judge(&grant(), &call(1), fresh, None, NOW, &FACTS), Ok(Basis::Grant));
    for (other, code) in [
        (Call { resource: "log/any".parse().unwrap(), ..call(1) }, 856),
        (Call { ability: Ability::DeviceLog, ..call(1) }, 856),
        (Call { agent: "kai:other".parse().unwrap(), ..call(1) }, 860),
        (Call { device: device(2), ..call(1) }, 860),
        (Call { grant: id(4), ..call(1) }, 860),
        (Call { authority: "elsewhere".parse().unwrap(), ..call(1) }, 860),
        (Call { at: NOW.plus(CALL_AGE_MAX * 2), ..call(1) }, 861),
        (Call { at: NOW.minus(CALL_AGE_MAX * 2), ..call(1) }, 861),
        (call(0), 861),
    ] {
        assert_eq!(refused(other.clone()), code, "{other:?}");
    }
    let other = Grant { conditions: vec!["profile >= 3".parse().unwrap()], ..grant() };
    assert_eq!(judge(&other, &call(1), fresh, None, NOW, &FACTS).unwrap_err().code().number(), 858);
}

#[test]
fn uses_are_counted_numbers_rise_and_the_end_comes() {
    let mut usage = Usage::default();
    for number in [5, 9] {
        assert_eq!(at(&grant(), &call(number), usage, None, NOW), Ok(Basis::Grant));
        usage = usage.after(&call(number));
        assert_eq!(at(&grant(), &call(number), usage, None, NOW), Err(Refused::Replayed(number)));
    }
    assert_eq!(at(&grant(), &call(10), usage, None, NOW), Err(Refused::UsedUp(2)));
    let endless = Grant { uses: None, ..grant() };
    assert_eq!(at(&endless, &call(10), usage, None, NOW), Ok(Basis::Grant));
    let end = NOW.plus(HOUR);
    assert_eq!(at(&endless, &call(10), usage, None, end), Err(Refused::Expired(end)));
    assert_eq!(at(&endless, &call(10), usage, None, end.minus(Duration::from_millis(1))), Ok(Basis::Grant));
}

#[test]
fn a_person_lifts_the_end_the_uses_and_the_conditions_for_a_time_and_nothing_else() {
    let (late, over) = (NOW.plus(HOUR * 2), NOW.plus(HOUR * 3));
    let lifted = |lifting| Some(Lifted { lifting, until: over });
    let spent = Usage { used: 2, number: 4 };
    assert_eq!(at(&grant(), &call(5), spent, lifted(Lifting::Allow), late), Ok(Basis::Override));
    let fine = at(&grant(), &call(5), Usage::default(), lifted(Lifting::Allow), NOW);
    assert_eq!(fine, Ok(Basis::Grant), "nothing had to be lifted");
    assert!(at(&grant(), &call(5), spent, lifted(Lifting::Allow), over).is_err(), "the word has run out");
    let elsewhere = Call { resource: "log/any".parse().unwrap(), ..call(5) };
    assert!(at(&grant(), &elsewhere, spent, lifted(Lifting::Allow), late).is_err());
    assert!(at(&grant(), &call(4), spent, lifted(Lifting::Allow), late).is_err(), "a replay");
    let external = Grant { level: TrustLevel::External, ..grant() };
    assert!(at(&external, &call(5), spent, lifted(Lifting::Allow), late).is_err());
    let stopped = at(&grant(), &call(5), Usage::default(), lifted(Lifting::Deny), NOW);
    assert_eq!(stopped, Err(Refused::Stopped(over)));
}

#[test]
fn a_newer_version_is_never_wider_in_any_field() {
    let next = || Grant { version: 2, ..grant() };
    assert_eq!(next().narrows(&grant()), Ok(()));
    let narrower = Grant {
        scope: vec!["status/health".parse().unwrap()],
        expires: NOW.plus(HOUR / 2),
        uses: Some(1),
        conditions: vec!["role == sensor".parse().unwrap(), "profile >= 2".parse().unwrap()],
        memory: Memory::None,
        level: TrustLevel::External,
        ..next()
    };
    assert_eq!(narrower.narrows(&grant()), Ok(()));
    for (wider, field) in [
        (grant(), "id"),
        (Grant { device: device(2), ..next() }, "id"),
        (Grant { pairing: id(8), ..next() }, "id"),
        (Grant { agent: "kai:other".parse().unwrap(), ..next() }, "agentId"),
        (Grant { ability: Ability::DeviceLog, ..next() }, "capability"),
        (Grant { scope: vec!["*".parse().unwrap()], ..next() }, "scope"),
        (Grant { scope: vec!["status/a".parse().unwrap(), "log/b".parse().unwrap()], ..next() }, "scope"),
        (Grant { expires: NOW.plus(HOUR * 2), ..next() }, "expiry"),
        (Grant { uses: Some(3), ..next() }, "uses"),
        (Grant { uses: None, ..next() }, "uses"),
        (Grant { conditions: Vec::new(), ..next() }, "conditions"),
        (Grant { memory: Memory::Write, ..next() }, "memory"),
        (Grant { network: Network::Restricted, ..next() }, "network"),
        (Grant { storage: Storage::Temporary, ..next() }, "storage"),
        (Grant { level: TrustLevel::Trusted, ..next() }, "trustLevel"),
    ] {
        assert_eq!(wider.narrows(&grant()), Err(GrantError::Widened(field)), "{wider:?}");
    }
}

/// Each field of each level decides what a grant can give.
#[test]
fn the_level_limits_what_a_grant_can_give() {
    use TrustLevel::{External, Partner, Trusted};
    let asked = |ability: Ability, level, network, storage| Grant {
        ability,
        memory: ability.memory(),
        level,
        network,
        storage,
        ..grant()
    };
    let field = |of: &Grant| match of.check(Trusted) {
        Ok(()) => "",
        Err(GrantError::Untrusted(untrusted)) => untrusted.field.as_str(),
        Err(GrantError::NoDoor(_)) => "no door",
        Err(other) => panic!("{other}"),
    };
    for (ability, refused) in [
        (Ability::DeviceStatus, ["crossAgentCommunication", "", ""]),
        (Ability::DeviceLog, ["crossAgentCommunication", "accessUserData", ""]),
        (Ability::RegenCert, ["crossAgentCommunication", "systemModification", ""]),
    ] {
        for (level, refused) in [External, Partner, Trusted].into_iter().zip(refused) {
            let of = asked(ability, level, Network::None, Storage::None);
            assert_eq!(field(&of), refused, "{ability} {level}");
            // The same at each call, should such a grant be there.
            let resource = "status/health".parse().unwrap();
            let now = judge(&of, &Call { ability, resource, ..call(1) }, Usage::default(), None, NOW, &FACTS);
            assert_eq!(now.is_ok(), refused.is_empty(), "{ability} {level}");
        }
    }
    for (network, refused) in
        [(Network::Restricted, ["no door", "no door"]), (Network::Full, ["networkAccess", "no door"])]
    {
        for (level, refused) in [Partner, Trusted].into_iter().zip(refused) {
            assert_eq!(field(&asked(Ability::DeviceStatus, level, network, Storage::None)), refused);
        }
    }
    for (storage, refused) in
        [(Storage::Temporary, ["no door", "no door"]), (Storage::Persistent, ["storageAccess", "no door"])]
    {
        for (level, refused) in [Partner, Trusted].into_iter().zip(refused) {
            assert_eq!(field(&asked(Ability::DeviceStatus, level, Network::None, storage)), refused);
        }
    }
    assert_eq!(grant().check(External), Err(GrantError::Widened("trustLevel")));
}

#[test]
fn what_makes_no_sense_is_no_grant() {
    let (key, public) = pair(9);
    let bad = [
        Grant { scope: Vec::new(), ..grant() },
        Grant { scope: vec!["a".parse().unwrap(); SCOPE_MAX + 1], ..grant() },
        Grant { uses: Some(0), ..grant() },
        Grant { expires: NOW, ..grant() },
        Grant { expires: NOW.plus(GRANT_LIFE_MAX + HOUR), ..grant() },
        Grant { conditions: vec!["time < 1".parse().unwrap(); CONDITIONS_MAX + 1], ..grant() },
        Grant { version: 0, ..grant() },
    ];
    for bad in bad {
        assert!(matches!(bad.check(TrustLevel::Trusted), Err(GrantError::Invalid(_))), "{bad:?}");
        assert!(Grant::open(&signed(bad.unsigned(&public), &key), &public).is_err());
    }
    assert!(Grant { memory: Memory::None, ..grant() }.check(TrustLevel::Trusted).is_err());
    assert!(Grant { memory: Memory::Write, ..grant() }.check(TrustLevel::Trusted).is_err());
    for bad in
        ["", "profile", "profile >= x", "role >= sensor", "time  < 1", "colour == red", "profile >= 2 "]
    {
        assert!(bad.parse::<Atom>().is_err(), "{bad:?}");
    }
    for good in ["profile >= 2", "role == sensor", "time < 1800000000", "channel != dev", "evidence > -1"] {
        assert_eq!(good.parse::<Atom>().unwrap().to_string(), good);
    }
    for bad in ["", "/", "a/", "*a", "a*b", "a b", "A", &"x".repeat(97)] {
        assert!(bad.parse::<Resource>().is_err(), "{bad:?}");
    }
    assert!("a*".parse::<Resource>().is_err() && "a*".parse::<Pattern>().is_ok());
}

#[test]
fn signatures_are_for_one_purpose_and_no_changed_byte_gets_through() {
    let (key, public) = pair(9);
    let (of, by) = (signed(grant().unsigned(&public), &key), signed(call(1).unsigned(&public), &key));
    assert_eq!(Grant::open(&of, &public), Ok(grant()));
    assert_eq!(Call::open(&by, &public), Ok(call(1)));
    assert_eq!(Call::claimed(&by), Ok(call(1)));
    assert!(Call::open(&of, &public).is_err() && Grant::open(&by, &public).is_err());
    assert!(of.len() < GRANT_BYTES_MAX && by.len() < CALL_BYTES_MAX);
    for at in 0..of.len() {
        let mut changed = of.clone();
        changed[at] ^= 1;
        assert!(Grant::open(&changed, &public).is_err(), "byte {at}");
    }
    for at in 0..by.len() {
        let mut changed = by.clone();
        changed[at] ^= 1;
        assert!(Call::open(&changed, &public).is_err(), "byte {at}");
    }
}
