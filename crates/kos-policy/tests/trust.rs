//! Each field of each trust level decides as the table says, and names itself.
#![cfg(test)]

use std::time::Duration;

use kos_policy::trust::{Act, Network, Storage, TrustLevel, judge};

#[test]
fn every_field_of_every_level_decides() {
    use Act::{AccessUserData, Cpu, InitiateWorkflow, Memory, ModifySystem, Reach, Run, SpeakToAgent, Store};
    const MIB: u64 = 1 << 20;
    let minute = Duration::from_secs(60);
    let (hour, day) = (minute * 60, minute * 60 * 24);
    let tick = Duration::from_nanos(1);
    // The act, the field that decides, and whether external (0), partner (1) and trusted (2) may.
    for (act, field, allowed) in [
        (InitiateWorkflow, "initiateWorkflows", [false, true, true]),
        (AccessUserData, "accessUserData", [false, false, true]),
        (SpeakToAgent, "crossAgentCommunication", [false, true, true]),
        (ModifySystem, "systemModification", [false, false, true]),
        (Reach(Network::None), "networkAccess", [true, true, true]),
        (Reach(Network::Restricted), "networkAccess", [false, true, true]),
        (Reach(Network::Full), "networkAccess", [false, false, true]),
        (Store(Storage::None), "storageAccess", [true, true, true]),
        (Store(Storage::Temporary), "storageAccess", [false, true, true]),
        (Store(Storage::Persistent), "storageAccess", [false, false, true]),
        (Memory(64 * MIB), "memory", [true, true, true]),
        (Memory(64 * MIB + 1), "memory", [false, true, true]),
        (Memory(512 * MIB + 1), "memory", [false, false, true]),
        (Memory(4_096 * MIB + 1), "memory", [false, false, false]),
        (Cpu(10), "cpu", [true, true, true]),
        (Cpu(11), "cpu", [false, true, true]),
        (Cpu(51), "cpu", [false, false, true]),
        (Cpu(101), "cpu", [false, false, false]),
        (Run(minute), "duration", [true, true, true]),
        (Run(minute + tick), "duration", [false, true, true]),
        (Run(hour + tick), "duration", [false, false, true]),
        (Run(day + tick), "duration", [false, false, false]),
    ] {
        for (level, allowed) in TrustLevel::ALL.into_iter().zip(allowed) {
            let judged = judge(level, act);
            assert_eq!(judged.is_ok(), allowed, "{level} {act:?}");
            let decided = judged.unwrap_or_else(|refused| {
                assert_eq!(refused.level, level);
                assert!(refused.to_string().contains(field), "{refused}");
                assert_eq!(refused.code().number(), 700);
                refused.field
            });
            assert_eq!(decided.as_str(), field, "{level} {act:?}");
        }
    }
}

#[test]
fn levels_have_the_numbers_of_the_source_and_nothing_lies_between() {
    for (number, name) in [(0, "external"), (1, "partner"), (2, "trusted")] {
        let level = TrustLevel::from_number(number).unwrap();
        assert_eq!((level.number(), level.as_str(), level.policy().level), (number, name, level));
    }
    assert_eq!(TrustLevel::from_number(3), None);
    assert!(TrustLevel::External < TrustLevel::Partner && TrustLevel::Partner < TrustLevel::Trusted);
}

#[test]
fn a_higher_level_never_has_less() {
    for (lower, higher) in
        [(TrustLevel::External, TrustLevel::Partner), (TrustLevel::Partner, TrustLevel::Trusted)]
    {
        let (lower, higher) = (lower.policy(), higher.policy());
        assert!(lower.network <= higher.network && lower.storage <= higher.storage);
        assert!(lower.limits.memory_bytes_max <= higher.limits.memory_bytes_max);
        assert!(lower.limits.cpu_percent_max <= higher.limits.cpu_percent_max);
        assert!(lower.limits.duration_max <= higher.limits.duration_max);
    }
}
