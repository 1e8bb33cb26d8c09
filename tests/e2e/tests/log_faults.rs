//! What happens to the log when the machine under it fails: a disk that is full, that does not keep what is written, that
//! was put back; a torn end; a clock that jumps. And whether the log says everything that the store holds.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use kos_e2e::{
    disk::SmallDisk,
    fleet::{self, Authority, Ports},
    held::Held,
    judge::{self, rows_are_explained},
    program::{self, Finished, Program},
    wait,
};
use serde_json::Value;

fn check(done: &Finished, exit: i32, code: &str) {
    assert_eq!(done.code(), exit, "{code}: {}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains(code), "{code} is missing: {}{}", done.stdout, done.stderr);
}

fn ticket(socket: &Path) -> Result<String> {
    let made = fleet::json(socket, &["ticket", "create", "--role", "sensor"])?;
    Ok(made["item"]["ticketId"].as_str().unwrap_or_default().to_owned())
}

fn tickets(socket: &Path) -> Vec<String> {
    let list = fleet::json(socket, &["ticket", "list"]).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let mut ids: Vec<_> = items.map(|t| t["ticketId"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// The entries of a type.
fn entries(socket: &Path, event: &str) -> Vec<Value> {
    let list = fleet::json(socket, &["audit", "list", "--event", event]).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn serve(command: Command, socket: &Path) -> Result<Program> {
    let mut program = Program::of("kos-authority", command, "")?;
    wait::until("the authority to answer", || {
        ensure!(program.is_running()?, "the authority ended:\n{}", program.errors());
        Ok(fleet::kosctl(socket, &["status"])?.status.success().then_some(()))
    })?;
    Ok(program)
}

#[test]
fn on_a_full_disk_what_is_critical_goes_on_and_what_is_lost_is_counted() {
    let disk = SmallDisk::new(16 * 1_024).unwrap();
    let data = disk.path().to_string_lossy().into_owned();
    let (socket, base) =
        (disk.outside().join("authority/run/authority.sock"), Ports::free().unwrap().web.to_string());
    let serving = ["serve", "--data", &data, "--port-base", &base];
    let init = disk.command("kos-authority", &["init", "--data", &data]).unwrap();
    assert_eq!(program::finish(init, "").unwrap().code(), 0);
    let authority = serve(disk.command("kos-authority", &serving).unwrap(), &socket).unwrap();
    let reserve = disk.outside().join("authority/store.reserve");
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 2 << 20);
    let mut made: Vec<_> = (0..12).map(|_| ticket(&socket).unwrap()).collect();
    disk.fill().unwrap();
    let create = || fleet::kosctl(&socket, &["ticket", "create", "--role", "sensor", "-o", "json"]).unwrap();
    let refused = wait::until("a change to be refused", || {
        let done = create();
        let Ok(document) = serde_json::from_str::<Value>(&done.stdout) else { return Ok(Some(done)) };
        made.push(document["item"]["ticketId"].as_str().unwrap().to_owned());
        Ok(None)
    });
    check(&refused.unwrap(), 1, "KOS-E0104");
    // What is critical has the reserve, and what is not has no part of it.
    for id in &made[..10] {
        let revoked = fleet::kosctl(&socket, &["ticket", "revoke", id, "--yes"]).unwrap();
        assert_eq!(revoked.code(), 0, "{}", revoked.stderr);
        check(&create(), 1, "KOS-E0104");
    }
    assert!(fs::metadata(&reserve).unwrap().len() < 2 << 20, "it was given back");
    assert_eq!(entries(&socket, "ticket_revoked").len(), 10);
    // Its end is an event that nobody asks for a second time.
    drop(authority.stop());
    // What it gave back when it ended is not enough to start on, and taken by somebody else.
    disk.fill().unwrap();
    let done = program::finish(disk.command("kos-authority", &serving).unwrap(), "").unwrap();
    check(&done, 1, "KOS-E0104");

    disk.free().unwrap();
    let authority = serve(disk.command("kos-authority", &serving).unwrap(), &socket).unwrap();
    let told =
        wait::until("the losses to be told", || Ok(entries(&socket, "losses_recorded").pop())).unwrap();
    assert_eq!(
        told["details"]["lost"],
        serde_json::json!([{"event": "authority_stopped", "count": 1}]),
        "{told}"
    );
    made.push(ticket(&socket).unwrap());
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 2 << 20);
    made.sort_unstable();
    assert_eq!(tickets(&socket), made);
    assert_eq!(fleet::json(&socket, &["audit", "verify"]).unwrap()["item"]["ok"], true);
    authority.stop().unwrap();
    let copy = tempfile::NamedTempFile::new().unwrap();
    fs::copy(disk.outside().join("authority/store.db"), copy.path()).unwrap();
    rows_are_explained(copy.path()).unwrap();
}

/// From now on, files of this name in the store's folder cannot be synchronised by the authority.
fn breaks(authority: &Authority, name: &str) -> Program {
    let path = authority.data().join("authority").join(name);
    let path = path.to_string_lossy();
    let options = ["-P", &path, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
    program::watch(authority.pid().unwrap(), &options).unwrap()
}

#[test]
fn a_disk_that_does_not_keep_what_is_written_ends_the_authority() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    let mut acknowledged = vec![ticket(&socket).unwrap(), ticket(&socket).unwrap()];
    let held = Held::of(&authority).unwrap();
    let strace = breaks(&authority, "store.db-wal");
    let refused = fleet::kosctl(&socket, &["ticket", "create", "--role", "sensor"]).unwrap();
    assert_ne!(refused.code(), 0, "{}", refused.stdout);
    let ended = authority.ends().unwrap();
    check(&ended, 1, "KOS-E0571");
    drop(strace);
    assert_eq!(held.judge(authority.data()).unwrap()["item"]["ok"], true);

    authority.serve().unwrap();
    let found = tickets(&socket);
    assert!(acknowledged.iter().all(|id| found.contains(id)), "{found:?}");
    // What was refused may be there: nobody was told that it is.
    assert!(found.len() <= acknowledged.len() + 1);
    let started = entries(&socket, "authority_started");
    assert_eq!(started.last().unwrap()["details"]["after"], "cut");
    acknowledged.push(ticket(&socket).unwrap());
    authority.stop().unwrap();
    assert_eq!(held.judge(authority.data()).unwrap()["item"]["ok"], true);

    // The file into which everything is moved at the end counts as well.
    authority.serve().unwrap();
    ticket(&socket).unwrap();
    let strace = breaks(&authority, "store.db");
    let ended = authority.stops().unwrap();
    check(&ended, 1, "KOS-E0571");
    drop(strace);
    authority.serve().unwrap();
    assert!(acknowledged.iter().all(|id| tickets(&socket).contains(id)));
    authority.stop().unwrap();
}

#[test]
fn a_torn_end_is_cut_off_and_a_lost_one_is_found() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    let acknowledged: Vec<_> = (0..3).map(|_| ticket(&socket).unwrap()).collect();
    let held = Held::of(&authority).unwrap();
    authority.kill().unwrap();
    let wal = authority.data().join("authority/store.db-wal");
    // Of the next transaction, what a power cut leaves.
    let mut bytes = fs::read(&wal).unwrap();
    let whole = bytes.len();
    bytes.extend_from_within(32..3_000);
    fs::write(&wal, &bytes).unwrap();
    assert_eq!(held.judge(authority.data()).unwrap()["item"]["ok"], true);
    authority.serve().unwrap();
    assert!(acknowledged.iter().all(|id| tickets(&socket).contains(id)));
    ticket(&socket).unwrap();
    // Everything is published that the store has, so that a store which lost something is behind.
    held.renew(&authority).unwrap();
    authority.kill().unwrap();
    let bytes = fs::read(&wal).unwrap();
    assert!(!bytes.is_empty() && whole > 0);
    // A disk that lied: what it said that it had kept is gone.
    let kept = bytes.len() - bytes.len() / 3;
    fs::write(&wal, &bytes[..kept]).unwrap();
    let refused = authority.refuses().unwrap();
    check(&refused, 8, "KOS-E0509");
    fs::write(&wal, &bytes).unwrap();
    authority.serve().unwrap();
    authority.stop().unwrap();
}

#[test]
fn a_store_that_was_put_back_is_not_extended_and_with_its_log_is_found_by_who_holds_a_checkpoint() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    ticket(&socket).unwrap();
    authority.stop().unwrap();
    let folder = authority.data().join("authority");
    let old = tempfile::tempdir().unwrap();
    program::copy(&folder.join("store.db"), &old.path().join("store.db")).unwrap();
    program::copy(&folder.join("log"), &old.path().join("log")).unwrap();
    authority.serve().unwrap();
    ticket(&socket).unwrap();
    let held = Held::of(&authority).unwrap();
    // Somebody else has the log meanwhile.
    let data = authority.data().to_string_lossy().into_owned();
    check(&program::run("kos-authority", &["serve", "--data", &data], "").unwrap(), 6, "KOS-E0102");
    authority.stop().unwrap();
    assert_eq!(held.judge(authority.data()).unwrap()["item"]["ok"], true);

    program::copy(&old.path().join("store.db"), &folder.join("store.db")).unwrap();
    check(&authority.refuses().unwrap(), 8, "KOS-E0509");
    fs::remove_dir_all(folder.join("log")).unwrap();
    program::copy(&old.path().join("log"), &folder.join("log")).unwrap();
    authority.serve().unwrap();
    ticket(&socket).unwrap();
    authority.stop().unwrap();
    // It goes on, sound by itself, and is another log than the one that was held.
    let verdict = held.judge(authority.data()).unwrap();
    let kinds: Vec<_> =
        verdict["item"]["failures"].as_array().unwrap().iter().map(|found| &found["kind"]).collect();
    assert!(kinds.iter().any(|kind| *kind == "forked" || *kind == "rewound"), "{verdict}");
}

/// A clock in a file, as faketime reads it.
struct FakeClock {
    file: PathBuf,
    library: String,
}

impl FakeClock {
    fn set(&self, offset: &str) {
        fs::write(&self.file, offset).unwrap();
    }
}

#[test]
fn a_clock_that_jumps_while_the_authority_serves_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let library = judge::agrees("faketime", &["-f", "+0", "printenv", "LD_PRELOAD"], "").unwrap();
    let clock = FakeClock { file: folder.path().join("clock"), library: library.trim().to_owned() };
    clock.set("+0");
    let authority = [
        ("LD_PRELOAD", clock.library.clone().into()),
        ("FAKETIME_TIMESTAMP_FILE", clock.file.clone().into()),
        ("FAKETIME_CACHE_DURATION", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    let mut authority = Authority::start_in("", &authority).unwrap();
    let socket = authority.socket();
    clock.set("+2h");
    let steps = |count| {
        wait::until("a step to be recorded", || {
            let found = entries(&socket, "time_stepped");
            Ok((found.len() == count).then_some(found))
        })
        .unwrap()
    };
    let step = |entry: &Value| entry["details"]["stepMs"].as_i64().unwrap();
    let forward = steps(1).pop().unwrap();
    assert!((7_199_000..7_205_000).contains(&step(&forward)), "{forward}");
    clock.set("+1h");
    let back = steps(2).pop().unwrap();
    assert!((-3_605_000..-3_595_000).contains(&step(&back)), "{back}");
    authority.stop().unwrap();
    // And while it was off.
    clock.set("+0");
    authority.serve().unwrap();
    let off = steps(3).pop().unwrap();
    assert!(step(&off) < -3_000_000, "{off}");
    authority.stop().unwrap();
}

#[test]
fn what_the_settings_file_says_anew_is_recorded_by_name() {
    let mut authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let socket = authority.socket();
    let named = || {
        let found = entries(&socket, "config_changed");
        found.iter().map(|entry| entry["details"]["settings"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(), [serde_json::json!(["heartbeat_seconds"])]);
    authority.stop().unwrap();
    authority.serve().unwrap();
    assert_eq!(named().len(), 1, "nothing is new");
    authority.stop().unwrap();
    let settings = authority.data().join("authority/authority.yaml");
    fs::write(&settings, "heartbeat_seconds: 6\nvault_lock_seconds: 90\n").unwrap();
    authority.serve().unwrap();
    assert_eq!(named()[1], serde_json::json!(["heartbeat_seconds", "vault_lock_seconds"]));
    let started = entries(&socket, "authority_started");
    let after: Vec<_> = started.iter().map(|entry| entry["details"]["after"].clone()).collect();
    assert_eq!(after, [Value::Null, "in-order".into(), "in-order".into()]);
    authority.stop().unwrap();
}

/// Changes a store with the tools of SQLite.
fn plant(store: &Path, sql: &str) {
    let program =
        "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.execute(sys.argv[2])\ndb.commit()\n";
    judge::agrees("python3", &["-c", program, &store.to_string_lossy(), sql], "").unwrap();
}

#[test]
fn a_row_that_no_entry_explains_is_found() {
    let mut authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "covered").unwrap();
    ticket(&authority.socket()).unwrap();
    authority.json(&["device", "rename", &id, "cellar"]).unwrap();
    device.stop().unwrap();
    authority.stop().unwrap();
    let (store, copy) = (authority.data().join("authority/store.db"), authority.data().join("copy.db"));
    for sql in [
        "UPDATE devices SET version = version + 100",
        "UPDATE tickets SET version = version + 100",
        "INSERT INTO tickets (id, version, body, mac) VALUES ('01a21e20-0000-7000-8000-000000000000', 1, x'00', x'00')",
        "INSERT INTO settings (name, value, mac) VALUES ('advertise', 'elsewhere', x'00')",
        "INSERT INTO revocations (issuer, serial, body, mac) VALUES ('a', 'b', x'00', x'00')",
        "UPDATE crls SET number = number + 1",
        "DELETE FROM entries WHERE position = 3",
        "CREATE TABLE more (a TEXT); ",
    ] {
        fs::copy(&store, &copy).unwrap();
        rows_are_explained(&copy).unwrap();
        plant(&copy, sql);
        // SQLite leaves its side files empty when the last connection is closed.
        assert!(rows_are_explained(&copy).is_err(), "{sql}");
    }
}
