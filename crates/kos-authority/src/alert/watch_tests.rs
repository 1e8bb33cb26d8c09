use kos_identity::registry::Actor;

use super::*;
use crate::{
    alert::{Guardian, Way},
    fixtures,
    store::AlertChoice,
};

async fn raised(shared: &Shared) -> Vec<(String, u64)> {
    let alerts = shared.store.alerts(AlertChoice::All, None, 100).await.unwrap();
    alerts.into_iter().rev().map(|stored| (stored.alert.rule.to_string(), stored.alert.last)).collect()
}

/// Somebody changes the row of an entry, with nothing of ours.
async fn spoil(data: &std::path::Path, index: u64) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("authority/store.db"));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let sql = "UPDATE entries SET actor = 'nobody' WHERE position = $1";
    let done = sqlx::query(sql).bind(i64::try_from(index).unwrap()).execute(&mut other).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_told_once_and_those_after_it_are_looked_at() {
    let (folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    let mut watch = Watch::begin(shared).await.unwrap();
    watch.catch_up().await.unwrap();
    let started = || Transaction::own(clock::now(), vec![SystemChange::Stopped.into()], Vec::new());
    let first = shared.writer.commit(started()).await.unwrap().first;
    shared.writer.commit(started()).await.unwrap();
    spoil(folder.path(), first).await;
    watch.catch_up().await.unwrap();
    let told = raised(shared).await;
    assert_eq!(told, [("loss".to_owned(), first + 2)]);
    // The state knows of it: a restart does not tell it again.
    drop(watch);
    let mut watch = Watch::begin(shared).await.unwrap();
    watch.catch_up().await.unwrap();
    assert_eq!(raised(shared).await, told);
}

#[tokio::test]
async fn what_happened_before_the_newest_rules_is_judged_by_those_before_also_after_a_restart() {
    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    let mut watch = Watch::begin(shared).await.unwrap();
    watch.catch_up().await.unwrap();
    watch.keep().await;
    assert_eq!(raised(shared).await, []);
    drop(watch);
    // While nothing looks: something, then rules that are blind for it, then others.
    let guardian = Guardian {
        name: "pager".parse().unwrap(),
        added_at: fixtures::NOW,
        way: Way::Device { device: fixtures::device_id(1) },
        leaving: None,
        bundle_key: None,
    };
    let removed = SystemChange::GuardianRemoved(Box::new(guardian));
    let removed = Transaction::own(clock::now(), vec![removed.into()], Vec::new());
    let removed = shared.writer.commit(removed).await.unwrap().first;
    let blind =
        RuleFile { remove_essential: vec!["alerting-changed".parse().unwrap()], ..RuleFile::default() };
    let mut changes = Vec::new();
    for file in [RuleFile::default(), blind] {
        let set = RuleSet::of(&file).unwrap();
        let actor = Actor::LocalUser("root".to_owned());
        let (transaction, _) = rules::prepare(shared, actor, clock::now(), (file, set)).await.unwrap();
        changes.push(shared.writer.commit(transaction).await.unwrap().first);
    }
    let mut watch = Watch::begin(shared).await.unwrap();
    watch.catch_up().await.unwrap();
    let wanted = [removed, changes[0], changes[1]].map(|last| ("alerting-changed".to_owned(), last));
    assert_eq!(raised(shared).await, wanted);
    assert_eq!(watch.engine.rules().removed().len(), 1);
}
