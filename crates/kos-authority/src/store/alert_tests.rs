//! What becomes of alerts and of those who are told.

use kos_audit::alert::{Alert, AlertId, RuleName, Severity};
use kos_base::{Secret, Timestamp};

use super::*;
use crate::{
    alert::{Guardian, Way},
    fixtures::{NOW, device_id, id},
};

struct Bench {
    store: Store,
    half: WriteHalf,
    _folder: tempfile::TempDir,
    entries: u64,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, half) = open(&folder.path().join("store.db"), &Secret::new([7; 32])).await.unwrap();
        Self { store, half, _folder: folder, entries: 0 }
    }

    /// Begins a commit with an entry, whose index this is.
    async fn begin(&mut self) -> u64 {
        self.half.begin().await.unwrap();
        let position = self.entries;
        self.entries += 1;
        let entry = StoredEntry {
            position,
            id: id(9),
            at: NOW,
            event: "alert_raised".to_owned(),
            actor: "attic".to_owned(),
            target: None,
            leaf: vec![1; 200],
        };
        self.half.add_entries(&[entry]).await.unwrap();
        position
    }

    async fn add(&mut self, name: &str) -> Result<(), StoreError> {
        self.begin().await;
        let guardian = Guardian {
            name: name.parse().unwrap(),
            added_at: NOW,
            way: Way::Device { device: device_id(1) },
            leaving: None,
            bundle_key: None,
        };
        let added = self.half.add_guardian(&guardian).await;
        self.half.commit().await.unwrap();
        added
    }

    async fn remove(&mut self, name: &str) -> Result<u64, StoreError> {
        let entry = self.begin().await;
        let removed = self.half.remove_guardian(&name.parse().unwrap(), NOW, entry).await;
        self.half.commit().await.unwrap();
        removed.map(|()| entry)
    }

    /// Raises an alert over one entry.
    async fn raise(&mut self, rule: &str, severity: Severity, last: u64) -> AlertId {
        let raised = self.begin().await;
        let alert = alert(rule, severity, last);
        self.half.add_alert(&alert, raised).await.unwrap();
        self.half.put_engine_state(&EngineState { next: last + 1, bytes: vec![1] }).await.unwrap();
        self.half.commit().await.unwrap();
        alert.id
    }

    async fn waiting(&self, name: &str) -> Vec<AlertId> {
        let waiting = self.store.waiting(&name.parse().unwrap(), 100_000).await.unwrap();
        waiting.into_iter().map(|delivery| delivery.alert).collect()
    }

    /// The guardian takes everything.
    async fn deliver(&mut self, name: &str) {
        self.half.begin().await.unwrap();
        for mut delivery in self.store.waiting(&name.parse().unwrap(), 100_000).await.unwrap() {
            delivery.course.delivered_at = Some(NOW);
            self.half.note_alerts(&AlertNote::Delivery(delivery)).await.unwrap();
        }
        self.half.commit().await.unwrap();
    }

    async fn close(self) {
        self.store.close().await;
        self.half.close().await.unwrap();
    }
}

fn alert(rule: &str, severity: Severity, last: u64) -> Alert {
    let rule: RuleName = rule.parse().unwrap();
    Alert {
        id: AlertId::of(&rule, last, last),
        rule,
        severity,
        summary: "test".to_owned(),
        group: None,
        count: 1,
        unseen: 0,
        first: last,
        last,
        entries: vec![last],
        at: Timestamp::default(),
    }
}

#[tokio::test]
async fn a_guardian_that_is_removed_is_told_so_before_it_goes() {
    let mut bench = Bench::new().await;
    bench.add("pager").await.unwrap();
    let before = bench.raise("one", Severity::High, 0).await;
    let entry = bench.remove("pager").await.unwrap();
    assert_eq!(bench.waiting("pager").await, core::slice::from_ref(&before));
    // It is no guardian any more, and its name is taken until it was told.
    assert!(matches!(bench.remove("pager").await, Err(StoreError::Conflict { .. })));
    assert!(matches!(bench.add("pager").await, Err(StoreError::Conflict { .. })));
    bench.deliver("pager").await;
    assert!(matches!(bench.add("pager").await, Err(StoreError::Conflict { .. })));
    let own = bench.raise("alerting-changed", Severity::High, entry).await;
    bench.raise("later", Severity::High, entry + 1).await;
    assert_eq!(bench.waiting("pager").await, [own]);
    bench.deliver("pager").await;
    bench.add("pager").await.unwrap();
    assert!(bench.store.guardian(&"pager".parse().unwrap()).await.unwrap().unwrap().leaving.is_none());
    // One that cannot be told goes when its time is over.
    bench.remove("pager").await.unwrap();
    bench.raise("four", Severity::High, entry).await;
    let guardian = bench.store.guardians().await.unwrap().pop().unwrap();
    let hours = |hours: u64| NOW.plus(std::time::Duration::from_secs(hours * 3600));
    assert!(!bench.store.is_gone(&guardian, hours(11)).await.unwrap());
    assert!(bench.store.is_gone(&guardian, hours(12)).await.unwrap());
    bench.close().await;
}

#[tokio::test]
async fn a_flood_that_nobody_acknowledges_silences_nothing_that_comes_after_it() {
    let mut bench = Bench::new().await;
    bench.add("pager").await.unwrap();
    let count = |bench: &Bench| {
        let store = bench.store.clone();
        async move { store.alerts(AlertChoice::All, None, 1_000).await.unwrap().len() }
    };
    let worst = bench.raise("first", Severity::Critical, 0).await;
    let least = bench.raise("second", Severity::Low, 1).await;
    // One rule takes a tenth of the room at most.
    for n in 2..40 {
        let id = bench.raise("flood", Severity::High, n).await;
        assert_eq!(bench.waiting("pager").await.last(), Some(&id));
        bench.deliver("pager").await;
    }
    assert_eq!(count(&bench).await, 2 + 6);
    // Many rules take all of it: the least severe goes first, and each is told.
    for n in 40..140 {
        let id = bench.raise(&format!("rule-{n}"), Severity::High, n).await;
        assert_eq!(bench.waiting("pager").await, [id]);
        bench.deliver("pager").await;
    }
    assert_eq!(count(&bench).await, 60);
    assert!(bench.store.alert(&worst).await.unwrap().is_some());
    assert!(bench.store.alert(&least).await.unwrap().is_none());
    // A guardian that is away is told of the newest as well, and the list has an end all the same.
    let mut last = worst.clone();
    for n in 140..300 {
        last = bench.raise(&format!("rule-{n}"), Severity::High, n).await;
    }
    assert_eq!(count(&bench).await, 120);
    assert_eq!(bench.waiting("pager").await.last(), Some(&last));
    bench.close().await;
}
