use std::{path::PathBuf, sync::Arc};

use kos_api::operator::OperatorRole;
use kos_base::{DeviceState, Role};
use kos_identity::{
    enrolment::authority::Lookalike,
    registry::{Device, Lobby, RevocationReason},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::*;
use crate::fixtures::{NOW, device, device_id, id, key, lobby, member, revocation, ticket};

struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    async fn open(&self) -> Result<(Store, WriteHalf), StoreError> {
        open(&self.path(), &Secret::new([7; 32])).await
    }
}

async fn close(store: Store, writer: WriteHalf) {
    store.close().await;
    writer.close().await.unwrap();
}

/// Puts at least one row into every table.
async fn fill(writer: &mut WriteHalf) {
    writer.begin().await.unwrap();
    for n in 1..=9 {
        writer.write(&Write::Device(Box::new(device(n)))).await.unwrap();
        writer.write(&Write::Ticket(Box::new(ticket(n)))).await.unwrap();
        let der = vec![n; 300];
        let certificate = Write::Certificate {
            serial: vec![n],
            issuer: key(200).id(),
            device: device_id(n),
            issue: 1,
            der,
        };
        writer.write(&certificate).await.unwrap();
        writer.write(&Write::Revoke(revocation(n, RevocationReason::Hold))).await.unwrap();
        let heartbeat = Heartbeat { device: device_id(n), at: NOW, body: vec![n; 40] };
        writer.put_heartbeat(&heartbeat).await.unwrap();
        writer.add_entries(&[entry(u64::from(n) - 1)]).await.unwrap();
    }
    let crl = StoredCrl { issuer: key(200).id(), number: 5, next_update: NOW, der: vec![9; 200] };
    writer.put_crl(&crl).await.unwrap();
    writer.put_operator(&operator()).await.unwrap();
    writer.put_setting(Setting::Authority, "attic").await.unwrap();
    writer.add_subject(&subject()).await.unwrap();
    writer.put_answer(&answer()).await.unwrap();
    writer.put_tile(&Tile { level: 0, number: 0, hashes: vec![3; 288] }).await.unwrap();
    writer.put_log_state(&LogState { size: 9, checkpoint: "attic/klog\n9\n".to_owned() }).await.unwrap();
    writer.commit().await.unwrap();
}

fn entry(position: u64) -> StoredEntry {
    StoredEntry {
        position,
        id: id(9),
        at: NOW,
        event: "device_enrolled".to_owned(),
        actor: "attic".to_owned(),
        target: Some(device_id(1).to_string()),
        leaf: vec![1; 200],
    }
}

fn operator() -> Operator {
    Operator {
        id: id(1),
        version: 1,
        name: "anna".parse().unwrap(),
        role: OperatorRole::Operator,
        key: key(50).id(),
        issuer: key(200).id(),
        serial: vec![1, 2],
        not_after: NOW,
        created_at: NOW,
        removed: false,
    }
}

fn subject() -> Subject {
    Subject { id: "s1".to_owned(), person: "operator anna".to_owned(), secret: Secret::new([5; 32]) }
}

fn answer() -> Answer {
    Answer { request: [1; 32], at: NOW, digest: [2; 32], status: 200, body: b"{}".to_vec() }
}

/// Everything that the store answers, in words.
async fn answers(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut said = vec![
        format!("{:?}", store.devices(&DeviceQuery::default(), 100).await?),
        format!("{:?}", store.tickets(None, 100).await?),
        format!("{:?}", store.revocations().await?),
        format!("{:?}", store.heartbeats().await?),
        format!("{:?}", store.crl(key(200).id()).await?),
        format!("{:?}", store.operators(None, 100).await?),
        format!("{:?}", store.operator_by_key(key(50).id()).await?),
        format!("{:?}", store.setting(Setting::Authority).await?),
        format!("{:?}", store.answer(&[1; 32]).await?),
        format!("{:?}", store.entries(&EntryQuery::default(), 100).await?),
        format!("{:?}", store.last_entry_about(device_id(1).as_ref()).await?),
        format!("{:?}", store.count_entries().await?),
        format!("{:?}", store.tiles(0, 0, 256).await?),
        format!("{:?}", store.log_state().await?),
        format!("{:?}", store.subject_of("operator anna").await?.map(|s| (s.id, *s.secret.expose()))),
        format!("{:?}", store.lobby_count("10.0.0.7").await?),
        format!("{:?}", store.count_devices().await?),
    ];
    for n in 1..=9 {
        said.push(format!("{:?}", store.device(&device_id(n)).await?));
        said.push(format!("{:?}", store.device_by_key(key(n).id()).await?));
        said.push(format!("{:?}", store.lookalikes(&[], &[format!("S{n}")], None, None).await?));
        said.push(format!("{:?}", store.ticket(id(n)).await?));
        said.push(format!("{:?}", store.certificate(key(200).id(), &[n]).await?));
        said.push(format!("{:?}", store.certificate_of(&device_id(n), 1).await?));
        said.push(format!("{:?}", store.entry(u64::from(n) - 1).await?));
    }
    Ok(said)
}

#[tokio::test]
async fn what_was_written_is_read_after_a_restart() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    let before = answers(&store).await.unwrap();
    close(store, writer).await;
    let (store, writer) = folder.open().await.unwrap();
    assert_eq!(answers(&store).await.unwrap(), before);
    assert!(before.iter().all(|said| said != "None" && said != "[]"), "{before:#?}");
    close(store, writer).await;
}

const ROUNDS: u32 = 2_000;
/// Stores that are damaged side by side: each waits for its disk most of the time.
const LANES: u32 = 8;

/// One flipped bit, 1 000 times anywhere in the file and 1 000 times in a byte that holds something: a named error, or
/// every answer as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_named_or_changes_no_answer() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    let before = Arc::new(answers(&store).await.unwrap());
    close(store, writer).await;
    let sound = Arc::new(fs::read(folder.path()).unwrap());
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(flips(lane, Arc::clone(&sound), Arc::clone(&before)));
    }
    let named: u32 = lanes.join_all().await.into_iter().sum();
    assert!(named > ROUNDS / 4, "only {named} of {ROUNDS} were noticed");
}

/// Flips one bit after the other, and says how many were noticed.
async fn flips(lane: u32, sound: Arc<Vec<u8>>, before: Arc<Vec<String>>) -> u32 {
    let folder = Folder::new();
    let mut seed = 0x243f_6a88_85a3_08d3_u64 ^ u64::from(lane);
    let used: Vec<usize> = (0..sound.len()).filter(|at| sound[*at] != 0).collect();
    let mut named = 0;
    for round in 0..ROUNDS / LANES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = usize::try_from(seed >> 20).unwrap();
        let byte = if round % 2 == 0 { drawn % sound.len() } else { used[drawn % used.len()] };
        let mut damaged = sound.to_vec();
        damaged[byte] ^= 1 << (seed >> 61);
        fs::write(folder.path(), &damaged).unwrap();
        for side in ["store.db-wal", "store.db-shm"] {
            drop(fs::remove_file(folder.folder.path().join(side)));
        }
        let outcome = match folder.open().await {
            Ok((store, writer)) => {
                let said = answers(&store).await;
                store.close().await;
                drop(writer.close().await);
                said
            }
            Err(e) => Err(e),
        };
        match outcome {
            Ok(said) => assert_eq!(said, *before, "lane {lane}, round {round}, byte {byte}"),
            Err(StoreError::Conflict { .. } | StoreError::Locked { .. } | StoreError::Full) => {
                panic!("lane {lane}, round {round}, byte {byte}: an error that names something else")
            }
            Err(_) => named += 1,
        }
    }
    named
}

#[tokio::test]
async fn a_row_that_was_changed_by_another_program_is_an_error_with_its_name() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    for (sql, table) in [
        ("UPDATE devices SET state = 'active'", "devices"),
        ("UPDATE tickets SET version = 7", "tickets"),
        ("UPDATE settings SET value = 'cellar'", "settings"),
        (
            "UPDATE facts SET fact = 'serial S2', device = 'kdev-0000000000000001' WHERE fact = 'serial S2'",
            "facts",
        ),
    ] {
        sqlx::query(sql).execute(&mut writer.connection).await.unwrap();
        let found = match table {
            "devices" => store.device(&device_id(1)).await.unwrap_err(),
            "tickets" => store.ticket(id(1)).await.unwrap_err(),
            "settings" => store.setting(Setting::Authority).await.unwrap_err(),
            _ => store.lookalikes(&[], &["S2".to_owned()], None, None).await.unwrap_err(),
        };
        assert!(matches!(&found, StoreError::Damaged { table: named, .. } if *named == table), "{found}");
        assert_eq!(found.code(), kos_base::code::store::STORE_DAMAGED);
    }
    close(store, writer).await;
}

#[tokio::test]
async fn a_store_of_a_later_version_is_left_alone() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    sqlx::query("UPDATE schema_version SET version = 99").execute(&mut writer.connection).await.unwrap();
    close(store, writer).await;
    let found = folder.open().await.unwrap_err();
    assert_eq!(found, StoreError::Newer { found: 99, known: schema::VERSION });
}

#[tokio::test]
async fn a_store_of_the_first_version_is_brought_up_with_what_it_holds() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    for sql in [
        "DROP TABLE vaults",
        "DROP TABLE vault_codes",
        "DROP TABLE alerts",
        "DROP TABLE guardians",
        "DROP TABLE deliveries",
        "DROP TABLE alert_state",
        "DROP TABLE device_logs",
        "DROP TABLE archives",
        "DROP TABLE mirrors",
        "DROP TABLE manifests",
        "DROP TABLE manifest_texts",
        "DROP TABLE vouchers",
        "DROP TABLE vouching_grants",
        "DROP TABLE pairings",
        "DROP TABLE grants",
        "DROP TABLE witnesses",
        "DROP TABLE witnessed_logs",
        "DROP INDEX entries_of_alert_rules",
        "UPDATE schema_version SET version = 1",
    ] {
        sqlx::query(sql).execute(&mut writer.connection).await.unwrap();
    }
    close(store, writer).await;
    let (store, writer) = folder.open().await.unwrap();
    assert!(store.device(&device_id(1)).await.unwrap().is_some());
    assert_eq!(store.anchors(10).await, Ok(Vec::new()));
    close(store, writer).await;
}

#[tokio::test]
async fn another_store_key_opens_nothing() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    close(store, writer).await;
    let (store, writer) = open(&folder.path(), &Secret::new([8; 32])).await.unwrap();
    assert!(matches!(store.device(&device_id(1)).await, Err(StoreError::Damaged { .. })));
    close(store, writer).await;
}

#[tokio::test]
async fn a_record_that_does_not_succeed_the_one_held_is_a_conflict() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    fill(&mut writer).await;
    let mut skipped = device(1);
    skipped.version = 3;
    let mut unknown = device(77);
    unknown.version = 2;
    let mut same_key = device(78);
    same_key.identity_key = key(1);
    let mut spent = ticket(1);
    spent.version = 3;
    let certificate = Write::Certificate {
        serial: vec![1],
        issuer: key(200).id(),
        device: device_id(2),
        issue: 2,
        der: vec![1],
    };
    for write in [
        Write::Device(Box::new(device(1))),
        Write::Device(Box::new(skipped)),
        Write::Device(Box::new(unknown)),
        Write::Device(Box::new(same_key)),
        Write::ForgetDevice { id: device_id(1), version: 2 },
        Write::ForgetDevice { id: device_id(99), version: 1 },
        Write::Ticket(Box::new(ticket(1))),
        Write::Ticket(Box::new(spent)),
        certificate,
        Write::Release { issuer: key(200).id(), serial: vec![99] },
    ] {
        writer.begin().await.unwrap();
        let refused = writer.write(&write).await.unwrap_err();
        assert!(matches!(refused, StoreError::Conflict { .. }), "{write:?}: {refused}");
        writer.roll_back().await;
    }
    close(store, writer).await;
}

#[tokio::test]
async fn a_hold_can_become_final_and_nothing_final_is_released() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    let hold = Write::Revoke(revocation(1, RevocationReason::Hold));
    let last = Write::Revoke(revocation(1, RevocationReason::KeyCompromise));
    let release = Write::Release { issuer: key(200).id(), serial: vec![1] };
    writer.write(&hold).await.unwrap();
    writer.write(&release).await.unwrap();
    writer.write(&hold).await.unwrap();
    writer.write(&last).await.unwrap();
    assert!(writer.write(&hold).await.is_err());
    assert!(writer.write(&release).await.is_err());
    assert_eq!(store.revocations().await.unwrap(), [revocation(1, RevocationReason::KeyCompromise)]);
    close(store, writer).await;
}

#[tokio::test]
async fn a_crl_number_never_comes_back() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    let list = |number| StoredCrl { issuer: key(200).id(), number, next_update: NOW, der: vec![1] };
    writer.put_crl(&list(5)).await.unwrap();
    for number in [5, 4] {
        assert!(matches!(writer.put_crl(&list(number)).await, Err(StoreError::Conflict { .. })));
    }
    writer.put_crl(&list(6)).await.unwrap();
    close(store, writer).await;
}

#[tokio::test]
async fn devices_are_listed_by_what_was_asked_and_found_by_what_they_show() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    for (n, group) in [(1, "berlin"), (2, "berlin/line-2"), (3, "berlin2"), (4, "rome")] {
        let mut device = device(n);
        device.group = Some(group.parse().unwrap());
        if n == 4 {
            device.role = Role::Gateway;
            device.lobby = Some(lobby("10.0.0.7"));
        }
        writer.write(&Write::Device(Box::new(device))).await.unwrap();
    }
    let check = async |query: DeviceQuery, wanted: &[u8]| {
        let found = store.devices(&query, 10).await.unwrap();
        let ids: Vec<_> = found.into_iter().map(|d| d.id).collect();
        assert_eq!(ids, wanted.iter().map(|n| device_id(*n)).collect::<Vec<_>>(), "{query:?}");
    };
    check(DeviceQuery { group: Some("berlin".parse().unwrap()), ..DeviceQuery::default() }, &[1, 2]).await;
    check(DeviceQuery { role: Some(Role::Gateway), ..DeviceQuery::default() }, &[4]).await;
    check(DeviceQuery { after: Some(device_id(2)), ..DeviceQuery::default() }, &[3, 4]).await;
    check(DeviceQuery { states: vec![DeviceState::Active], ..DeviceQuery::default() }, &[]).await;

    let count = LobbyCount { total: 1, from_source: 1 };
    assert_eq!(store.lobby_count("10.0.0.7").await.unwrap(), count);
    assert_eq!(store.lobby_count("10.0.0.8").await.unwrap(), LobbyCount { from_source: 0, ..count });
    assert_eq!(store.devices_with_prefix("0000", 2).await.unwrap().len(), 2);
    assert_eq!(store.devices_with_prefix("KDEV-0000000000000001", 2).await.unwrap(), [device_id(1)]);
    assert!(store.devices_with_prefix("000", 2).await.unwrap().is_empty());
    assert!(store.devices_with_prefix("%", 2).await.unwrap().is_empty());
    let mac = "00:11:22:33:44:02".parse().unwrap();
    let second = Lookalike { id: device_id(2), state: DeviceState::Pending, banned: false, has_tpm: false };
    assert_eq!(store.lookalikes(&[mac], &[], None, None).await.unwrap(), [second]);
    assert!(store.lookalikes(&[mac], &[], None, Some(key(2).id())).await.unwrap().is_empty());
    let waits = "00:11:22:33:44:04".parse().unwrap();
    assert!(store.lookalikes(&[waits], &[], None, None).await.unwrap().is_empty(), "it was never let in");
    close(store, writer).await;
}

#[tokio::test]
async fn a_serial_that_everybody_shows_does_not_bring_the_whole_registry() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    for n in 1..=40 {
        let mut device = member(n);
        device.serials = vec!["To be filled".to_owned()];
        writer.write(&Write::Device(Box::new(device))).await.unwrap();
    }
    let found = store.lookalikes(&[], &["To be filled".to_owned()], None, None).await.unwrap();
    assert_eq!(found.len(), Lobby::LOOKALIKES_MAX + 1);
    assert!(found.iter().all(|other| other.state == DeviceState::Active && !other.banned));

    // Whoever was banned is not hidden by the others.
    let mut last = found_by(&store, 40).await;
    last.enter(NOW, DeviceState::Decommissioned, "sold").unwrap();
    last.banned = true;
    last.version += 1;
    writer.write(&Write::Device(Box::new(last))).await.unwrap();
    let found = store.lookalikes(&[], &["To be filled".to_owned()], None, None).await.unwrap();
    assert_eq!(found.len(), Lobby::LOOKALIKES_MAX + 1);
    let banned =
        Lookalike { id: device_id(40), state: DeviceState::Decommissioned, banned: true, has_tpm: false };
    assert_eq!((&found[0], found.iter().filter(|other| other.banned).count()), (&banned, 1));
    close(store, writer).await;
}

async fn found_by(store: &Store, n: u8) -> Device {
    store.device(&device_id(n)).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_lobby_has_room_for_so_many_of_a_source_whatever_was_looked_up_before() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    let waits = |n, version, source| {
        let mut device = device(n);
        device.version = version;
        device.lobby = Some(lobby(source));
        Write::Device(Box::new(device))
    };
    for n in 1..=16 {
        writer.write(&waits(n, 1, "10.0.0.7")).await.unwrap();
    }
    let refused = writer.write(&waits(17, 1, "10.0.0.7")).await.unwrap_err();
    assert_eq!((&refused, refused.code()), (&StoreError::LobbyFull, kos_base::code::enrolment::LOBBY_FULL));
    writer.write(&waits(17, 1, "10.0.0.8")).await.unwrap();
    writer.write(&waits(1, 2, "10.0.0.7")).await.unwrap();
    writer.write(&Write::Device(Box::new(device(18)))).await.unwrap();
    assert_eq!(writer.write(&waits(18, 2, "10.0.0.7")).await, Err(StoreError::LobbyFull));
    close(store, writer).await;
}

#[tokio::test]
async fn commits_go_on_while_a_reader_keeps_the_side_file_from_being_emptied() {
    use std::time::Duration;

    use crate::{fixtures, record::SystemChange, writer::Transaction};

    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    let commit = || {
        let change = SystemChange::ListenChanged { address: "127.0.0.1".to_owned(), advertise: None };
        shared.writer.commit(Transaction::own(NOW, vec![change.into()], Vec::new()))
    };
    commit().await.unwrap();
    let mut reader = shared.store.reads.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM entries").fetch_one(&mut *reader).await.unwrap();
    commit().await.unwrap();
    let writer = shared.writer.clone();
    let mut scrub = tokio::spawn(async move { writer.scrub().await });
    for _ in 0..4 {
        // A try that waits for the reader takes 5 s, and there were four.
        tokio::time::timeout(Duration::from_secs(4), commit()).await.unwrap().unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!scrub.is_finished(), "nothing was emptied below the reader");
    reader.rollback().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), &mut scrub).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn one_tpm_gives_certificates_to_one_device_however_many_come_at_once() {
    let folder = Folder::new();
    let (store, mut writer) = folder.open().await.unwrap();
    let ek = key(99).id();
    let with_tpm = |n: u8, credential: bool| {
        let mut device = member(n);
        device.attested = Some(crate::fixtures::attested(ek));
        if !credential {
            device.credential = None;
        }
        device
    };
    writer.write(&Write::Device(Box::new(with_tpm(1, true)))).await.unwrap();
    // Both were told before that nobody has it.
    let second = with_tpm(2, false);
    writer.write(&Write::Device(Box::new(second.clone()))).await.unwrap();
    let mut issued = second;
    issued.version = 2;
    issued.credential = with_tpm(2, true).credential;
    let refused = writer.write(&Write::Device(Box::new(issued.clone()))).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    let found = store.lookalikes(&[], &[], Some(ek), Some(key(2).id())).await.unwrap();
    assert!(found.iter().any(|other| other.id == device_id(1) && other.has_tpm), "{found:?}");
    // A device that has ended does not keep its TPM from the next one.
    let mut first = found_by(&store, 1).await;
    first.enter(NOW, DeviceState::Decommissioned, "sold").unwrap();
    first.version += 1;
    writer.write(&Write::Device(Box::new(first))).await.unwrap();
    writer.write(&Write::Device(Box::new(issued))).await.unwrap();
    close(store, writer).await;
}
