use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use kos_audit::{BootId, LogKey, Proof, SealedEntry};
use kos_base::{KeyAlgorithm, Secret};
use kos_identity::registry::Change as RegistryChange;
use kos_net::keys::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::{
    fixtures::{NOW, device, device_id, id, key},
    log::{LogFiles, prove},
    record::SystemChange,
    store::{self, Archive, EntryQuery},
};

/// A store, its writer and its log, in a folder that goes away.
struct Bench {
    folder: TempDir,
    signer: LogSigner,
}

struct Open {
    store: Store,
    writer: Writer,
    writing: Writing,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Bench {
    fn new() -> Self {
        let signer = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
        let key = LogKey::new(&"attic".parse().unwrap(), signer.public().clone()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), signer: LogSigner::new(signer, key, BootId::new(id(1))) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn files(&self) -> LogFiles {
        LogFiles::new(self.folder.path().join("log")).unwrap()
    }

    async fn open(&self) -> Result<Open, StoreError> {
        let (store, half) = store::open(&self.path(), &Secret::new([7; 32])).await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let on_commit = move |done: &Committed<'_>| sees.lock().unwrap().push(done.transactions.len());
        let published = self.files().published().unwrap();
        let name = "attic".parse().unwrap();
        let started = Writer::start(half, &store, name, self.signer.clone(), published.as_deref(), on_commit);
        let (writer, writing) = started.await?;
        Ok(Open { store, writer, writing, seen })
    }
}

impl Open {
    async fn close(self) {
        drop(self.writer);
        self.store.close().await;
        self.writing.finished().await.unwrap();
    }

    async fn entries(&self) -> Vec<String> {
        let entries = self.store.entries(&EntryQuery::default(), 1000).await.unwrap();
        entries.into_iter().map(|entry| entry.event).collect()
    }
}

fn transaction(changes: Vec<Change>, writes: Vec<Write>) -> Transaction {
    Transaction {
        at: NOW,
        actor: Actor::LocalUser("root".to_owned()),
        changes,
        writes,
        system: Vec::new(),
        answer: None,
    }
}

fn waiting(n: u8) -> Transaction {
    let change =
        RegistryChange::DeviceWaiting { device: device_id(n), identity_key: key(n).id(), withheld: None };
    transaction(vec![change.into()], vec![Write::Device(Box::new(device(n)))])
}

fn started() -> Transaction {
    Transaction::own(NOW, vec![SystemChange::Started { version: "1", after: None }.into()], Vec::new())
}

#[tokio::test]
async fn every_change_has_exactly_one_entry_in_its_order_and_every_entry_a_proof() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let (mut changes, mut expected) = (0, Vec::new());
    for n in 1..=40 {
        let mut transaction = waiting(n);
        if n % 3 == 0 {
            transaction.changes.push(SystemChange::DeviceOnline { device: device_id(n) }.into());
        }
        for change in &transaction.changes {
            expected.push(crate::record::event_of(change).event.to_string());
        }
        let receipt = open.writer.commit(transaction).await.unwrap();
        assert_eq!(receipt.first, changes);
        changes += receipt.entries;
    }
    assert_eq!(open.entries().await, expected);
    assert_eq!(open.store.count_entries().await.unwrap(), (changes, changes));
    for position in [0, 1, 17, changes - 1] {
        let entry = open.store.entry(position).await.unwrap().unwrap();
        let text = prove(&open.store, bench.signer.key(), &entry).await.unwrap().unwrap();
        let leaf = SealedEntry::from_bytes(entry.leaf);
        let proven = Proof::parse(&text).unwrap().verify(Some(leaf), bench.signer.key(), &[]).unwrap();
        assert_eq!(proven.entry().entry().sequence.index(), position);
    }
    open.close().await;
}

#[tokio::test]
async fn requests_that_wait_together_share_a_commit_and_a_conflict_among_them_undoes_only_itself() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..3u8 {
        for n in 1..=50 {
            let writer = open.writer.clone();
            tasks.spawn(async move { (round, writer.commit(waiting(n)).await) });
        }
    }
    let (mut done, mut refused) = (0, 0);
    while let Some(outcome) = tasks.join_next().await {
        match outcome.unwrap().1 {
            Ok(_) => done += 1,
            Err(StoreError::Conflict { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((done, refused), (50, 100));
    assert_eq!(open.entries().await.len(), 50);
    let groups = open.seen.lock().unwrap().clone();
    assert_eq!(groups.iter().sum::<usize>(), 50);
    assert!(groups.len() < 50, "{groups:?}");
    open.close().await;
    let again = bench.open().await.unwrap();
    assert_eq!(again.writer.progress().borrow().log_size, 50);
    again.close().await;
}

#[tokio::test]
async fn a_transaction_that_records_nothing_changes_nothing() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let silent = transaction(Vec::new(), vec![Write::Device(Box::new(device(1)))]);
    assert!(matches!(open.writer.commit(silent).await, Err(StoreError::Entry(_))));
    assert!(open.store.device(&device_id(1)).await.unwrap().is_none());
    assert_eq!(open.store.count_entries().await.unwrap(), (0, 0));
    open.close().await;
}

#[tokio::test]
async fn an_entry_that_is_too_large_takes_its_change_with_it() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let change = RegistryChange::DeviceRejected { device: device_id(1), reason: "x".repeat(20_000) };
    let refused =
        open.writer.commit(transaction(vec![change.into()], vec![Write::Device(Box::new(device(1)))])).await;
    assert_eq!(refused.unwrap_err().code(), kos_base::code::audit::LOG_ENTRY_TOO_LARGE);
    assert!(open.store.device(&device_id(1)).await.unwrap().is_none());
    open.writer.commit(waiting(1)).await.unwrap();
    open.close().await;
}

#[tokio::test]
async fn what_the_log_says_about_people_is_sealed_and_opens_with_their_key() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let change = RegistryChange::Refused {
        code: kos_base::code::enrolment::TICKET_PROOF,
        source: "192.0.2.7".to_owned(),
        count: 2,
    };
    let mut refusal = transaction(vec![change.into()], Vec::new());
    refusal.actor = Actor::Unknown("192.0.2.7".to_owned());
    open.writer.commit(refusal).await.unwrap();
    open.writer.commit(waiting(1)).await.unwrap();
    for entry in open.store.entries(&EntryQuery::default(), 10).await.unwrap() {
        let leaf = String::from_utf8_lossy(&entry.leaf).into_owned();
        assert!(!leaf.contains("192.0.2.7") && !leaf.contains("root"), "{leaf}");
        let verified = SealedEntry::from_bytes(entry.leaf).verify(bench.signer.key()).unwrap();
        let actor = verified.entry().actor.personal_id().unwrap();
        let subject = open.store.subject(&actor.subject().to_string()).await.unwrap().unwrap();
        let key = kos_audit::SubjectKey::new(subject.secret);
        let opened = actor.open(&key, verified.entry().id, kos_audit::Place::Actor).unwrap();
        assert!(subject.person.ends_with(&opened), "{} {opened}", subject.person);
    }
    open.close().await;
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_the_writer_goes_on_afterwards() {
    let bench = Bench::new();
    let (store, mut half) = store::open(&bench.path(), &Secret::new([7; 32])).await.unwrap();
    half.limit_size_to_present().await;
    let name = "attic".parse().unwrap();
    let (writer, writing) =
        Writer::start(half, &store, name, bench.signer.clone(), None, |_| {}).await.unwrap();
    let mut acknowledged = 0;
    let mut full = 0;
    for n in 1..=60 {
        match writer.commit(waiting(n)).await {
            Ok(_) => acknowledged += 1,
            Err(StoreError::Full) => full += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full > 0);
    drop(writer);
    store.close().await;
    writing.finished().await.unwrap();
    let open = bench.open().await.unwrap();
    assert_eq!(open.entries().await.len(), acknowledged);
    open.writer.commit(waiting(200)).await.unwrap();
    open.close().await;
}

#[tokio::test]
async fn the_published_log_is_the_one_in_the_store_and_nothing_else_is_served() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let files = bench.files();
    let mut published = 0;
    for n in 0..300u16 {
        open.writer.commit(started()).await.unwrap();
        if n % 97 == 0 {
            published = files.publish(&open.store, published).await.unwrap();
        }
    }
    assert_eq!(files.publish(&open.store, published).await.unwrap(), 300);
    let checkpoint = files.checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint, open.store.log_state().await.unwrap().unwrap().checkpoint);
    for path in [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/1/000.p/1",
    ] {
        assert!(files.read(path).unwrap().is_some(), "{path}");
    }
    for path in [
        "tile/0/000.p/98",
        "",
        "tile",
        "tile/..",
        "../store.db",
        "tile/../../store.db",
        "/etc/passwd",
        "tile/0//000",
    ] {
        assert!(files.read(path).unwrap().is_none(), "{path}");
    }
    let bundle = files.read("tile/entries/000").unwrap().unwrap();
    let leaves: Vec<_> = kos_audit::tree::Bundle::leaves(&bundle).map(Result::unwrap).collect();
    assert_eq!(leaves.len(), 256);
    assert_eq!(leaves[7], open.store.entry(7).await.unwrap().unwrap().leaf);
    open.close().await;
}

#[tokio::test]
async fn files_of_archived_entries_go_once_the_published_checkpoint_covers_what_says_so() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let files = bench.files();
    for _ in 0..300 {
        open.writer.commit(started()).await.unwrap();
    }
    assert_eq!(files.publish(&open.store, 0).await.unwrap(), 300);
    files.drop_archived(&open.store).await.unwrap();
    assert!(files.read("tile/entries/000").unwrap().is_some(), "nothing is archived");
    let (folder, root) = ("/archive".to_owned(), "00".repeat(32));
    let archive =
        Archive { first: 0, size: 256, folder: folder.clone(), root: [0; 32], digest: [0; 32], at: NOW };
    let said = SystemChange::LogArchived { first: 0, size: 256, folder, root: root.clone(), digest: root };
    let system = vec![SystemWrite::Archive(Box::new(archive))];
    open.writer.commit(Transaction::own(NOW, vec![said.into()], system)).await.unwrap();
    while open.writer.sweep().await.unwrap() {}
    files.drop_archived(&open.store).await.unwrap();
    assert!(files.read("tile/entries/000").unwrap().is_none());
    assert!(files.read("tile/entries/001.p/45").unwrap().is_some(), "the entry that says so");
    assert_eq!(files.checkpoint().unwrap().unwrap().lines().nth(1), Some("301"));
    open.close().await;
}

#[tokio::test]
async fn a_log_that_differs_from_what_was_signed_or_published_is_not_extended() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    for _ in 0..3 {
        open.writer.commit(started()).await.unwrap();
    }
    open.close().await;
    let copy = std::fs::read(bench.path()).unwrap();
    let open = bench.open().await.unwrap();
    open.writer.commit(started()).await.unwrap();
    bench.files().publish(&open.store, 0).await.unwrap();
    open.close().await;
    bench.open().await.unwrap().close().await;

    std::fs::write(bench.path(), &copy).unwrap();
    let rewound = bench.open().await.err().unwrap();
    assert_eq!(rewound.code(), kos_base::code::audit::LOG_DIFFERS);

    let (store, mut half) = store::open(&bench.path(), &Secret::new([7; 32])).await.unwrap();
    let mut entry = store.entry(1).await.unwrap().unwrap();
    entry.position = 3;
    half.add_entries(&[entry]).await.unwrap();
    drop(half);
    store.close().await;
    std::fs::remove_dir_all(bench.folder.path().join("log")).unwrap();
    let extended = bench.open().await.err().unwrap();
    assert!(matches!(extended, StoreError::LogDiffers(_)), "{extended}");
}

#[tokio::test]
async fn a_published_checkpoint_that_cannot_be_read_says_nothing_and_is_written_anew() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    open.writer.commit(started()).await.unwrap();
    bench.files().publish(&open.store, 0).await.unwrap();
    open.close().await;
    let path = bench.folder.path().join("log/checkpoint");
    let sound = std::fs::read_to_string(&path).unwrap();
    let line = sound.lines().last().unwrap();
    for broken in [
        &sound[..40],
        "",
        "\u{0}",
        &sound.replace(line, &format!("{line}\n").repeat(70)),
        &"a".repeat(40_000),
    ] {
        std::fs::write(&path, broken).unwrap();
        let open = bench.open().await.unwrap();
        bench.files().publish(&open.store, 0).await.unwrap();
        open.close().await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), sound);
    }
    std::fs::write(&path, "").unwrap();
    std::fs::remove_file(bench.path()).unwrap();
    let emptied = bench.open().await.err().unwrap();
    assert!(matches!(emptied, StoreError::LogDiffers(_)), "something was published: {emptied}");
}

#[tokio::test]
async fn measured_values_are_kept_without_an_entry() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    let beats =
        |byte| (1..=3).map(|n| Heartbeat { device: device_id(n), at: NOW, body: vec![byte] }).collect();
    open.writer.keep_heartbeats(beats(1)).await.unwrap();
    open.writer.keep_heartbeats(beats(2)).await.unwrap();
    let kept = open.store.heartbeats().await.unwrap();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|beat| beat.body == [2]));
    assert_eq!(open.store.count_entries().await.unwrap(), (0, 0));
    open.close().await;
}

#[tokio::test]
async fn a_change_that_nobody_records_is_taken_back() {
    let bench = Bench::new();
    let open = bench.open().await.unwrap();
    open.writer.commit(started()).await.unwrap();
    open.close().await;
    let (store, mut half) = store::open(&bench.path(), &Secret::new([7; 32])).await.unwrap();
    half.demand_entries().await.unwrap();
    let unrecorded = |table: &str| Err(StoreError::Unrecorded { table: table.to_owned() });

    half.begin().await.unwrap();
    half.put_setting(Setting::Advertise, "planted").await.unwrap();
    assert_eq!(half.commit().await, unrecorded("settings"));
    // What is measured may stand beside it, and changes nothing.
    half.begin().await.unwrap();
    half.put_heartbeat(&Heartbeat { device: device_id(1), at: NOW, body: vec![1] }).await.unwrap();
    half.write(&Write::Device(Box::new(device(1)))).await.unwrap();
    assert!(matches!(half.commit().await, Err(StoreError::Unrecorded { .. })));
    // Outside of a transaction as well.
    let alone = half.put_setting(Setting::Advertise, "planted").await.unwrap_err();
    assert_eq!(alone.code(), kos_base::code::audit::LOG_UNRECORDED);
    assert_eq!(store.setting(Setting::Advertise).await, Ok(None));
    assert_eq!(store.heartbeats().await, Ok(Vec::new()));

    half.begin().await.unwrap();
    half.put_heartbeat(&Heartbeat { device: device_id(1), at: NOW, body: vec![1] }).await.unwrap();
    // A request that was taken back is no change.
    half.begin_request().await.unwrap();
    half.put_setting(Setting::Advertise, "taken back").await.unwrap();
    half.undo_request().await.unwrap();
    half.commit().await.unwrap();
    assert_eq!(store.heartbeats().await.unwrap().len(), 1);
    store.close().await;
    half.close().await.unwrap();
    bench.open().await.unwrap().close().await;
}

#[tokio::test]
async fn what_nobody_asked_for_is_counted_on_a_full_disk_and_told_afterwards() {
    let bench = Bench::new();
    let (store, mut half) = store::open(&bench.path(), &Secret::new([7; 32])).await.unwrap();
    half.limit_size_to_present().await;
    let name = "attic".parse().unwrap();
    let (writer, writing) =
        Writer::start(half, &store, name, bench.signer.clone(), None, |_| {}).await.unwrap();
    let offline = || {
        let change = SystemChange::DeviceOffline { device: device_id(1), last_heartbeat_at: NOW };
        Transaction::own(NOW, vec![change.into()], Vec::new())
    };
    let mut told = 0;
    for _ in 0..100 {
        writer.commit_or_count(offline()).await.unwrap();
        told += 1;
    }
    drop(writer);
    store.close().await;
    writing.finished().await.unwrap();

    let open = bench.open().await.unwrap();
    open.writer.commit(started()).await.unwrap();
    let entries = open.entries().await;
    let kept = entries.iter().filter(|event| *event == "device_offline").count();
    assert!(kept < told);
    let losses = entries.iter().position(|event| event == "losses_recorded").unwrap();
    let row = open.store.entry(u64::try_from(losses).unwrap()).await.unwrap().unwrap();
    let verified = SealedEntry::from_bytes(row.leaf).verify(bench.signer.key()).unwrap();
    let json = String::from_utf8(verified.entry().to_json().unwrap()).unwrap();
    assert!(json.contains(&format!(r#"{{"count":{},"event":"device_offline"}}"#, told - kept)), "{json}");
    open.close().await;
    // Once.
    let open = bench.open().await.unwrap();
    open.writer.commit(started()).await.unwrap();
    assert_eq!(open.entries().await.iter().filter(|event| *event == "losses_recorded").count(), 1);
    open.close().await;
}
