use kos_api::operator::OperatorRole;

use super::*;
use crate::{
    alert::{Guardian, Way},
    clock, fixtures,
};

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

    let name = "attic".parse().unwrap();
    let restoration = Restoration {
        authority: "attic".parse().unwrap(),
        backup_at: clock::now(),
        backup_size: 0,
        checkpoint: String::new(),
        restored_at: clock::now(),
    };
    let opening = Opening {
        name: &name,
        store: &shared.store,
        writer: &shared.writer,
        keys: &shared.keys,
        log: &shared.log,
        restoration: &restoration,
        now: clock::now(),
        actor: Actor::Authority,
    };
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
