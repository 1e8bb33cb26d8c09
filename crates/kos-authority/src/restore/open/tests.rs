use kos_api::operator::OperatorRole;

use super::*;
use crate::{
    alert::{Guardian, Way},
    authority::Shared,
    clock, fixtures,
    store::{AttestationLists, ListedEk, StoredGolden, StoredVerifier},
};

fn restoration() -> Restoration {
    Restoration {
        authority: "attic".parse().unwrap(),
        backup_at: clock::now(),
        backup_size: 0,
        checkpoint: String::new(),
        restored_at: clock::now(),
    }
}

fn opening<'a>(shared: &'a Shared, restoration: &'a Restoration) -> Opening<'a> {
    Opening {
        name: &shared.name,
        store: &shared.store,
        writer: &shared.writer,
        keys: &shared.keys,
        log: &shared.log,
        restoration,
        now: clock::now(),
        actor: Actor::Authority,
    }
}

#[tokio::test]
async fn what_was_taken_back_after_the_backup_is_taken_back_again() {
    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    fixtures::operator(shared, "anna", OperatorRole::Viewer).await;
    let guardian = |name: &str, way| Guardian {
        name: name.parse().unwrap(),
        added_at: clock::now(),
        leaving: None,
        bundle_key: None,
        way,
    };
    let person = || Way::Person { operator: "anna".parse().unwrap() };
    let device = || Way::Device { device: fixtures::device_id(1) };
    let [night, siren, stays] =
        [guardian("night", person()), guardian("siren", device()), guardian("stays", device())];
    let key = |n| fixtures::key(n).id();
    let set = |name: &str| StoredGolden {
        name: name.parse().unwrap(),
        pcrs: 1,
        values: String::new(),
        device: fixtures::device_id(1),
        added_at: clock::now(),
    };
    let listed = |n| ListedEk { ek: key(n), note: String::new(), added_at: clock::now() };
    let named = |n| StoredVerifier { device: fixtures::device_id(n), added_at: clock::now() };
    let lists = AttestationLists {
        eks: vec![listed(1), listed(2)],
        golden: vec![set("old"), set("good")],
        verifiers: vec![named(1), named(2)],
    };
    let text = serde_json::to_string(&lists).unwrap();
    let mut changes: Vec<crate::record::Change> = vec![SystemChange::EkRemoved { ek: key(9) }.into()];
    let mut writes = vec![SystemWrite::Setting(Setting::Attestation, Some(text))];
    for one in [&night, &siren, &stays] {
        changes.push(SystemChange::GuardianAdded(Box::new(one.clone())).into());
        writes.push(SystemWrite::Guardian(Box::new(one.clone())));
    }
    shared.writer.commit(Transaction::own(clock::now(), changes, writes)).await.unwrap();

    // What a newer log says, of which the records know nothing.
    let ahead = clock::now().plus(std::time::Duration::from_secs(3_600)).unix_ms();
    let applied = |version, counter| SystemChange::PolicyApplied {
        name: "quiet".to_owned(),
        version,
        counter,
        digest: String::new(),
        text: [0; 32],
        policies: 1,
    };
    let wants = |stance| SystemChange::ModulesChanged {
        module: "disk-encryption",
        profile: SecurityProfile::Sec3,
        stance,
    };
    let later = [
        SystemChange::EkRemoved { ek: key(1) },
        SystemChange::GoldenRemoved { name: "old".parse().unwrap() },
        SystemChange::VerifierRemoved { device: fixtures::device_id(1) },
        SystemChange::GuardianRemoved(Box::new(night)),
        SystemChange::GuardianRemoved(Box::new(siren)),
        applied(1, 5),
        applied(2, ahead),
        wants(Stance::Advisory),
        wants(Stance::Mandatory),
        SystemChange::AlertRulesChanged { counter: 3, digest: [4; 32], removed: Vec::new(), refused: None },
    ];
    let changes = later.into_iter().map(Into::into).collect();
    let receipt = shared.writer.commit(Transaction::own(clock::now(), changes, Vec::new())).await.unwrap();
    let mut effects = Effects::default();
    for index in receipt.first..receipt.first + receipt.entries {
        let leaf = shared.store.entry(index).await.unwrap().unwrap().leaf;
        let verified = kos_audit::SealedEntry::from_bytes(leaf).verify(shared.log.key()).unwrap();
        effects.see(verified.entry(), |_| None, |_| key(1));
    }

    let restoration = restoration();
    let opening = opening(shared, &restoration);
    // Cut off and done again, it changes nothing more.
    for _ in 0..2 {
        opening.apply(&effects, &mut opening.nothing_yet(false)).await.unwrap();
    }
    let held = shared.store.attestation_lists().await.unwrap();
    assert!(!held.lists(key(1)) && held.lists(key(2)));
    assert_eq!(held.golden.iter().map(|set| set.name.to_string()).collect::<Vec<_>>(), ["good"]);
    assert!(!held.names_verifier(&fixtures::device_id(1)) && held.names_verifier(&fixtures::device_id(2)));
    // Nobody who was removed is told anything more, also not what waited.
    let told = shared.store.guardians().await.unwrap().into_iter();
    assert_eq!(told.map(|one| one.name.to_string()).collect::<Vec<_>>(), ["stays"]);
    let again = opening.to_apply_again(&effects).await.unwrap();
    assert_eq!(again, ["quiet, version 2", "the alert rules, number 3"]);
    let modules = Modules::load(&shared.store).await.unwrap();
    assert_eq!(
        modules.stance("disk-encryption", SecurityProfile::Sec3),
        Stance::Mandatory,
        "what was wanted last"
    );
    assert_eq!(opening.next_counter(Some(effects.manifest_counter)).await.unwrap(), Some(ahead + 1));
}

#[tokio::test]
async fn what_is_in_force_counts_under_a_number_that_no_device_holds() {
    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    let restoration = restoration();
    let opening = opening(shared, &restoration);
    assert_eq!(opening.next_counter(Some(0)).await.unwrap(), None, "nothing was ever applied");
    opening.open(Knowledge::Lost).await.unwrap();
    let loaded =
        crate::policy::manifest::applied::Manifests::load(&shared.store, &shared.keys).await.unwrap();
    assert_eq!(loaded.point().counter(), opening.now.unix_ms());
    let again = opening.next_counter(Some(0)).await.unwrap().unwrap();
    assert!(again > loaded.point().counter());
}

#[tokio::test]
async fn nothing_of_the_backup_names_who_was_erased_after_it() {
    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    fixtures::operator(shared, "anna", OperatorRole::Viewer).await;
    let anna = shared.store.active_operator("anna").await.unwrap().unwrap();
    let guardian = Guardian {
        name: "night".parse().unwrap(),
        added_at: clock::now(),
        leaving: None,
        bundle_key: None,
        way: Way::Person { operator: "anna".parse().unwrap() },
    };
    let added = SystemChange::GuardianAdded(Box::new(guardian.clone()));
    let write = SystemWrite::Guardian(Box::new(guardian));
    shared.writer.commit(Transaction::own(clock::now(), vec![added.into()], vec![write])).await.unwrap();
    let subject = shared.store.subject_of("operator anna").await.unwrap().unwrap();

    let restoration = restoration();
    let opening = opening(shared, &restoration);
    // The key that was erased is that of the backup, or one that the log gave her afterwards.
    for (erased, removed_as) in [(subject.id.as_str(), None), ("later", Some("later".to_owned()))] {
        let mut effects = Effects::default();
        effects.erased.insert(erased.to_owned());
        effects.operators_removed.push((anna.id, removed_as));
        if erased == "later" {
            fixtures::operator(shared, "anna", OperatorRole::Viewer).await;
            let again = shared.store.active_operator("anna").await.unwrap().unwrap();
            effects.operators_removed[0].0 = again.id;
        }
        // Cut off and done again, it changes nothing more.
        for _ in 0..2 {
            opening.forget(&effects, &mut opening.nothing_yet(false)).await.unwrap();
        }
        let operators = shared.store.operators(None, 10).await.unwrap();
        assert!(operators.iter().all(|operator| operator.removed && operator.name.as_ref() == "erased"));
        let revocations = shared.store.revocations().await.unwrap();
        assert!(!revocations.is_empty());
        assert!(revocations.iter().all(|revocation| !revocation.subject.contains("anna")));
        assert!(shared.store.subject_of("operator anna").await.unwrap().is_none(), "{erased}");
        assert!(shared.store.guardians().await.unwrap().is_empty());
    }
}
