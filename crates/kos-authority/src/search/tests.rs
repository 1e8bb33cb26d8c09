use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use kos_audit::{BootId, EventType, LogKey};
use kos_base::{DeviceId, KeyAlgorithm, Secret, Timestamp};
use kos_identity::registry::{Actor, Change as RegistryChange};
use kos_net::keys::SigningKey;
use tempfile::TempDir;

use super::*;
use crate::{
    fixtures::{NOW, device_id, id},
    log::LogSigner,
    record::Change,
    store,
    writer::Writing,
};

/// A log with entries of every sort, and its index.
struct Bench {
    folder: TempDir,
    signer: LogSigner,
}

struct Open {
    store: Store,
    writer: Writer,
    writing: Writing,
    search: Search,
}

/// Numbers that look like chance and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

impl Bench {
    fn new() -> Self {
        let signer = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
        let key = LogKey::new(&"attic".parse().unwrap(), signer.public().clone()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), signer: LogSigner::new(signer, key, BootId::new(id(1))) }
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("search.db")
    }

    async fn open(&self, is_new: bool) -> Open {
        let path = self.folder.path().join("store.db");
        let (store, half) = store::open(&path, &Secret::new([7; 32])).await.unwrap();
        let name = "attic".parse().unwrap();
        let (writer, writing) =
            Writer::start(half, &store, name, self.signer.clone(), None, |_| {}).await.unwrap();
        let search = Search::start(self.index(), store.clone(), writer.clone(), is_new);
        Open { store, writer, writing, search }
    }
}

impl Open {
    async fn close(self) {
        self.search.close().await;
        drop((self.writer, self.search));
        self.store.close().await;
        self.writing.finished().await.unwrap();
    }

    async fn find(&self, query: &Query, order: Order, after: Option<u64>, limit: u32) -> Vec<u64> {
        let found = self.search.find(&self.store, query, order, after, limit).await.unwrap();
        found.into_iter().map(|row| row.position).collect()
    }

    /// What a reader finds who looks at every entry.
    async fn scan(&self, query: &Query, order: Order, after: Option<u64>, limit: u32) -> Vec<u64> {
        let rows = self.store.entries(&EntryQuery::default(), 100_000).await.unwrap();
        let mut fits: Vec<u64> = rows
            .iter()
            .filter(|row| query.admits(&words_of(row).unwrap()))
            .map(|row| row.position)
            .filter(|place| {
                after.is_none_or(|after| match order {
                    Order::Oldest => *place > after,
                    Order::Newest => *place < after,
                })
            })
            .collect();
        if order == Order::Newest {
            fits.reverse();
        }
        fits.truncate(usize::try_from(limit).unwrap());
        fits
    }

    async fn rebuilt(&self) -> Vec<String> {
        let query = Query { event: Some(EventType::IndexRebuilt), ..Query::default() };
        let rows = self.search.find(&self.store, &query, Order::Oldest, None, 100).await.unwrap();
        let reason = |row: StoredEntry| {
            let entry = SealedEntry::from_bytes(row.leaf).unverified().unwrap();
            entry.details.members()["reason"].as_str().unwrap().to_owned()
        };
        rows.into_iter().map(reason).collect()
    }

    /// Entries by everybody about everything, with a clock that is set back now and then.
    async fn fill(&self, dice: &mut Dice, entries: u64) {
        let mut at = NOW;
        let mut commits = tokio::task::JoinSet::new();
        for _ in 0..entries {
            at = match dice.below(40) {
                0 => Timestamp::from_unix_ms(at.unix_ms() - 50_000),
                step => Timestamp::from_unix_ms(at.unix_ms() + step * 10),
            };
            let device = device_id(u8::try_from(dice.below(9) + 1).unwrap());
            let other = device_id(u8::try_from(dice.below(9) + 1).unwrap());
            let change: Change = match dice.below(6) {
                0 => SystemChange::DeviceOnline { device }.into(),
                1 => RegistryChange::RegenerateOrdered { device }.into(),
                2 => RegistryChange::CloneSuspected {
                    device,
                    others: BTreeSet::from([other]).into_iter().collect(),
                    detail: "a twin".to_owned(),
                }
                .into(),
                3 => SystemChange::Started { version: "1", after: None }.into(),
                4 => RegistryChange::Refused {
                    code: code::enrolment::TICKET_PROOF,
                    source: format!("192.0.2.{}", dice.below(4)),
                    count: 1,
                }
                .into(),
                _ => SystemChange::OperatorRemoved {
                    operator: id(3),
                    name: "anna".parse().unwrap(),
                    key: crate::fixtures::key(1).id(),
                }
                .into(),
            };
            let actor = match dice.below(6) {
                0 => Actor::Operator("anna".parse().unwrap()),
                1 => Actor::LocalUser("anna".to_owned()),
                2 => Actor::LocalUser("root".to_owned()),
                3 => Actor::Device(device_id(u8::try_from(dice.below(9) + 1).unwrap())),
                4 => Actor::Unknown("192.0.2.1".to_owned()),
                _ => Actor::Authority,
            };
            let transaction = Transaction { actor, ..Transaction::own(at, vec![change], Vec::new()) };
            let writer = self.writer.clone();
            commits.spawn(async move { writer.commit(transaction).await.unwrap() });
        }
        while let Some(committed) = commits.join_next().await {
            committed.unwrap();
        }
    }

    async fn subject(&self, person: &str) -> String {
        self.store.subject_of(person).await.unwrap().unwrap().id
    }

    async fn random_query(&self, dice: &mut Dice) -> Query {
        let mut ids = vec!["attic".to_owned(), "nobody".to_owned(), device_id(3).to_string()];
        for person in ["operator anna", "local-user anna", "local-user root", "address 192.0.2.1"] {
            ids.push(self.subject(person).await);
        }
        let pick = |dice: &mut Dice| {
            let one = |dice: &mut Dice| ids[usize::try_from(dice.below(7)).unwrap()].clone();
            match dice.below(4) {
                0 => Some(vec![one(dice)]),
                1 => Some(vec![one(dice), one(dice)]),
                _ => None,
            }
        };
        let (actor, target, person) = (pick(dice), pick(dice), pick(dice));
        let events = [EventType::CloneAlert, EventType::DeviceOnline, EventType::OperatorRemoved];
        let moment = |dice: &mut Dice| Timestamp::from_unix_ms(NOW.unix_ms() + dice.below(150_000));
        Query {
            event: (dice.below(3) == 0).then(|| events[usize::try_from(dice.below(3)).unwrap()]),
            actor,
            target: target.filter(|_| dice.below(2) == 0),
            device: (dice.below(4) == 0)
                .then(|| device_id(u8::try_from(dice.below(10) + 1).unwrap()).to_string()),
            person: person.filter(|_| dice.below(3) == 0),
            since: (dice.below(3) == 0).then(|| moment(dice)),
            until: (dice.below(3) == 0).then(|| moment(dice)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_the_index_finds_what_a_scan_of_all_entries_finds() {
    let bench = Bench::new();
    let open = bench.open(true).await;
    let mut dice = Dice(7);
    let mut hits = 0;
    for _ in 0..3 {
        open.fill(&mut dice, 300).await;
        for _ in 0..150 {
            let query = open.random_query(&mut dice).await;
            let order = if dice.below(2) == 0 { Order::Oldest } else { Order::Newest };
            let after = (dice.below(2) == 0).then(|| dice.below(900));
            let limit = u32::try_from(dice.below(60) + 1).unwrap();
            let found = open.find(&query, order, after, limit).await;
            assert_eq!(found, open.scan(&query, order, after, limit).await, "{query:?} {order:?} {after:?}");
            hits += found.len();
        }
    }
    assert!(hits > 1_000, "{hits} entries were found: the questions ask for nothing");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_entry_once_while_the_log_grows() {
    let bench = Bench::new();
    let open = bench.open(true).await;
    let mut dice = Dice(3);
    open.fill(&mut dice, 200).await;
    let query = Query { device: Some(device_id(3).to_string()), ..Query::default() };
    for order in [Order::Oldest, Order::Newest] {
        let before = open.scan(&query, order, None, 10_000).await;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = open.find(&query, order, after, 7).await;
            open.fill(&mut dice, 3).await;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            seen.extend(page);
            if seen.len() > 400 {
                break;
            }
        }
        let unique: BTreeSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len());
        assert!(before.iter().all(|place| seen.contains(place)));
    }
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_missing_damaged_or_of_another_log_is_made_anew_and_recorded() {
    let bench = Bench::new();
    let open = bench.open(true).await;
    let mut dice = Dice(5);
    open.fill(&mut dice, 300).await;
    let query = Query { event: Some(EventType::CloneAlert), ..Query::default() };
    let expected = open.find(&query, Order::Oldest, None, 1_000).await;
    assert!(open.rebuilt().await.is_empty(), "the first index of a log is no news");
    open.close().await;
    let whole = std::fs::read(bench.index()).unwrap();

    let open = bench.open(false).await;
    assert_eq!(open.find(&query, Order::Oldest, None, 1_000).await, expected);
    assert!(open.rebuilt().await.is_empty(), "nothing was wrong");
    open.close().await;

    std::fs::remove_file(bench.index()).unwrap();
    let open = bench.open(false).await;
    assert_eq!(open.find(&query, Order::Oldest, None, 1_000).await, expected);
    assert_eq!(open.rebuilt().await, ["missing"]);
    open.close().await;

    std::fs::write(bench.index(), b"not a database").unwrap();
    let open = bench.open(false).await;
    assert_eq!(open.find(&query, Order::Oldest, None, 1_000).await, expected);
    assert_eq!(open.rebuilt().await, ["missing", "damaged"]);
    open.close().await;

    // An older copy of the same log goes on; one whose last entry is another is of another log.
    std::fs::write(bench.index(), &whole).unwrap();
    let open = bench.open(false).await;
    assert_eq!(open.find(&query, Order::Oldest, None, 1_000).await, expected);
    assert_eq!(open.rebuilt().await.len(), 2);
    open.close().await;
    let other = Bench::new();
    std::fs::write(other.index(), &whole).unwrap();
    let open = other.open(true).await;
    open.fill(&mut Dice(9), 400).await;
    let found = open.find(&query, Order::Oldest, None, 1_000).await;
    assert_eq!(found, open.scan(&query, Order::Oldest, None, 1_000).await);
    assert_eq!(open.rebuilt().await, ["of another log"]);
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_bit_of_the_index_changes_an_answer() {
    let bench = Bench::new();
    let open = bench.open(true).await;
    open.fill(&mut Dice(11), 120).await;
    let queries = [
        Query { event: Some(EventType::CloneAlert), ..Query::default() },
        Query { device: Some(device_id(3).to_string()), ..Query::default() },
        Query { actor: Some(vec!["attic".to_owned()]), ..Query::default() },
        Query { since: Some(Timestamp::from_unix_ms(NOW.unix_ms() + 5_000)), ..Query::default() },
    ];
    let mut expected = Vec::new();
    for query in &queries {
        expected.push(open.find(query, Order::Oldest, None, 1_000).await);
    }
    open.close().await;
    let whole = std::fs::read(bench.index()).unwrap();
    let mut dice = Dice(13);
    for _ in 0..25 {
        let mut flipped = whole.clone();
        let at = usize::try_from(dice.below(u64::try_from(whole.len()).unwrap())).unwrap();
        flipped[at] ^= 1 << dice.below(8);
        std::fs::write(bench.index(), &flipped).unwrap();
        let open = bench.open(false).await;
        for (query, expected) in queries.iter().zip(&expected) {
            // Entries that tell of an index made anew come behind.
            let mut found = open.find(query, Order::Oldest, None, 1_000).await;
            found.retain(|place| *place < 120);
            assert_eq!(&found, expected, "byte {at} of {} flipped", whole.len());
        }
        open.close().await;
        for ending in ["-wal", "-shm"] {
            drop(std::fs::remove_file(bench.folder.path().join(format!("search.db{ending}"))));
        }
    }
}

#[test]
fn an_entry_speaks_of_every_device_in_it_and_of_nothing_that_only_looks_like_one() {
    let value = serde_json::json!({
        "a": "kdev-7f4ac30123456789", "b": ["kdev-0000000000000000", {"c": "kdev-1111111111111111"}],
        "d": "about kdev-2222222222222222", "e": "kdev-short", "f": 7, "g": null
    });
    let mut found = BTreeSet::new();
    words::add_devices(&value, &mut found);
    let wanted = ["kdev-0000000000000000", "kdev-1111111111111111", "kdev-7f4ac30123456789"];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
    assert!(wanted.iter().all(|id| id.parse::<DeviceId>().is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_busy_or_closed_is_not_thrown_away() {
    let bench = Bench::new();
    let open = bench.open(true).await;
    open.fill(&mut Dice(5), 50).await;
    let reads = open.search.reads(&open.store).await.unwrap();
    let busy = [sqlx::Error::PoolTimedOut, sqlx::Error::WorkerCrashed];
    for error in busy {
        let told = open.search.failed(&reads, &IndexError::Sqlite(error));
        assert_eq!(told.code(), code::config::OVERLOADED);
    }
    open.fill(&mut Dice(6), 5).await;
    assert!(open.rebuilt().await.is_empty());
    reads.close().await;
    let query = Query { event: Some(EventType::CloneAlert), ..Query::default() };
    let refused = open.search.find(&open.store, &query, Order::Oldest, None, 10).await;
    assert!(matches!(refused, Err(SearchError::Making)));
    open.close().await;
    let open = bench.open(false).await;
    assert!(open.rebuilt().await.is_empty());
    let damaged = IndexError::Damaged("it is".to_owned());
    let reads = open.search.reads(&open.store).await.unwrap();
    assert!(matches!(open.search.failed(&reads, &damaged), SearchError::Making));
    open.close().await;
}
