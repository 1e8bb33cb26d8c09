//! What a machine does to its programs: full disks, a store that another program holds, and clocks that are wrong. Each has
//! a code and an exit code, and nothing that was acknowledged is lost.
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
    judge,
    program::{self, Finished, Program},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

/// A program that was refused what it wanted.
fn check(done: &Finished, exit: i32, code: &str) {
    assert_eq!(done.code(), exit, "{code}: {}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains(code), "{code} is missing: {}{}", done.stdout, done.stderr);
}

/// Starts an authority by `command`, and waits until it answers at `socket`.
fn serve(command: Command, socket: &Path) -> Result<Program> {
    let mut program = Program::of("kos-authority", command, "")?;
    wait::until("the authority to answer", || {
        ensure!(program.is_running()?, "the authority ended:\n{}", program.errors());
        Ok(fleet::kosctl(socket, &["status"])?.status.success().then_some(()))
    })?;
    Ok(program)
}

/// The ids of all tickets, sorted.
fn tickets(socket: &Path) -> Vec<String> {
    let list = fleet::json(socket, &["ticket", "list"]).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let mut ids: Vec<_> = items.map(|t| t["ticketId"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

/// Makes a ticket; its id.
fn ticket(socket: &Path) -> String {
    let made = fleet::json(socket, &["ticket", "create", "--role", "sensor"]).unwrap();
    made["item"]["ticketId"].as_str().unwrap().to_owned()
}

/// That the log verifies; how many entries it has.
fn verified(socket: &Path) -> u64 {
    let verdict = fleet::json(socket, &["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    verdict["item"]["size"].as_u64().unwrap()
}

#[test]
fn a_full_disk_refuses_changes_and_loses_none_that_was_acknowledged() {
    let disk = SmallDisk::new(6 * 1_024).unwrap();
    let data = disk.path().to_string_lossy().into_owned();
    let (socket, base) =
        (disk.outside().join("authority/run/authority.sock"), Ports::free().unwrap().web.to_string());
    let serving = ["serve", "--data", &data, "--port-base", &base];
    let init = disk.command("kos-authority", &["init", "--data", &data]).unwrap();
    assert_eq!(program::finish(init, "").unwrap().code(), 0);
    let authority = serve(disk.command("kos-authority", &serving).unwrap(), &socket).unwrap();
    let create = || fleet::kosctl(&socket, &["ticket", "create", "--role", "sensor"]).unwrap();

    let mut acknowledged = vec![ticket(&socket)];
    disk.fill().unwrap();
    let refused = wait::until("a change to be refused", || {
        let done = fleet::kosctl(&socket, &["ticket", "create", "--role", "sensor", "-o", "json"])?;
        if let Ok(made) = serde_json::from_str::<Value>(&done.stdout) {
            acknowledged.push(made["item"]["ticketId"].as_str().unwrap().to_owned());
            return Ok(None);
        }
        Ok(Some(done))
    });
    check(&refused.unwrap(), 1, "KOS-E0104");
    check(&create(), 1, "KOS-E0104");
    let doctor = fleet::kosctl(&socket, &["doctor"]).unwrap();
    assert_eq!(doctor.code(), 10, "{}", doctor.stdout);
    // So small a disk is bad news to the doctor even when it is empty.
    assert!(doctor.stdout.contains("0 MiB free"), "{}", doctor.stdout);
    acknowledged.sort_unstable();
    assert_eq!(tickets(&socket), acknowledged);

    disk.free().unwrap();
    acknowledged.push(ticket(&socket));
    acknowledged.sort_unstable();
    assert_eq!(tickets(&socket), acknowledged);
    let size = verified(&socket);
    assert!(authority.errors().contains("the disk is full"), "{}", authority.errors());
    authority.stop().unwrap();

    // Neither does it start on a full disk, and it does afterwards.
    disk.fill().unwrap();
    let done = program::finish(disk.command("kos-authority", &serving).unwrap(), "").unwrap();
    check(&done, 1, "KOS-E0104");
    disk.free().unwrap();
    let authority = serve(disk.command("kos-authority", &serving).unwrap(), &socket).unwrap();
    assert_eq!(tickets(&socket), acknowledged);
    assert!(verified(&socket) > size);
    authority.stop().unwrap();
}

#[test]
fn a_device_whose_disk_is_full_says_so_and_goes_on_when_there_is_room() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let disk = SmallDisk::new(1_024).unwrap();
    let etc = disk.outside().join("etc/kos");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("config.yaml"), "hardware:\n  macs: []\n  serials: [\"full\"]\n").unwrap();
    let root = disk.path().to_string_lossy().into_owned();
    let text = authority.ticket(&["--role", "sensor"]).unwrap();
    let enrol =
        || program::finish(disk.command("kosd", &["enroll", "--root", &root]).unwrap(), &text).unwrap();
    let run = || Program::of("kosd", disk.command("kosd", &["run", "--root", &root]).unwrap(), "").unwrap();

    disk.fill().unwrap();
    check(&enrol(), 1, "KOS-E0104");
    assert_eq!(authority.json(&["list"]).unwrap()["items"], Value::Array(Vec::new()));
    disk.free().unwrap();
    let done = enrol();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let id = program::finish(disk.command("kosd", &["id", "--root", &root]).unwrap(), "").unwrap();
    let id = id.stdout.trim();

    // In service it can lose only what it has not yet got, and reports all the same.
    let device = run();
    let first = authority.device_becomes(id, "lastHeartbeatAt", |at| !at.is_null()).unwrap();
    disk.fill().unwrap();
    let known = first["lastHeartbeatAt"].clone();
    authority.device_becomes(id, "lastHeartbeatAt", |at| *at != known).unwrap();
    device.kill().unwrap();
    // It starts on a full disk as well.
    let known = authority.device(id).unwrap()["lastHeartbeatAt"].clone();
    let starved = run();
    authority.device_becomes(id, "lastHeartbeatAt", |at| *at != known).unwrap();
    starved.kill().unwrap();
    let known = authority.device(id).unwrap()["lastHeartbeatAt"].clone();
    disk.free().unwrap();
    let device = run();
    authority.device_becomes(id, "lastHeartbeatAt", |at| *at != known).unwrap();
    device.stop().unwrap();
    assert_eq!(authority.device(id).unwrap()["state"], "active");
}

/// Holds the store as somebody does who opens it with the tools of SQLite. Lets go when dropped.
fn holding(data: &Path) -> Program {
    let hold = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        db.execute('BEGIN EXCLUSIVE')\n\
        print('held', flush=True)\n\
        sys.stdin.read()\n";
    let mut python = Command::new("python3");
    python.args(["-c", hold]).arg(data.join("authority/store.db"));
    let mut holder = Program::holding("python3", python).unwrap();
    holder.line(|line| line == "held").unwrap();
    holder
}

#[test]
fn a_store_that_another_program_holds_is_named_and_nothing_is_lost() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    let mut acknowledged = vec![ticket(&socket)];
    let holder = holding(authority.data());
    check(&authority.kosctl(&["ticket", "create", "--role", "sensor"]).unwrap(), 6, "KOS-E0102");
    assert_eq!(tickets(&socket), acknowledged, "reading goes on");
    drop(holder);
    acknowledged.push(ticket(&socket));
    acknowledged.sort_unstable();
    assert_eq!(tickets(&socket), acknowledged);
    verified(&socket);
    authority.stop().unwrap();

    let data = authority.data().to_string_lossy().into_owned();
    let holder = holding(authority.data());
    check(&program::run("kos-authority", &["serve", "--data", &data], "").unwrap(), 6, "KOS-E0102");
    drop(holder);
    authority.serve().unwrap();
    assert_eq!(tickets(&socket), acknowledged);
    verified(&socket);
    check(&program::run("kos-authority", &["serve", "--data", &data], "").unwrap(), 6, "KOS-E0102");
    authority.stop().unwrap();
}

/// An authority whose programs see another time.
struct OtherTime {
    folder: TempDir,
    library: PathBuf,
    base: String,
}

impl OtherTime {
    fn new() -> Self {
        let library = judge::agrees("faketime", &["-f", "+0", "printenv", "LD_PRELOAD"], "").unwrap();
        let library = PathBuf::from(library.trim());
        let base = Ports::free().unwrap().web.to_string();
        Self { folder: TempDir::with_prefix("kos-clock-").unwrap(), library, base }
    }

    /// `at` is `@DATE TIME` or a distance from now, as in `-1d`.
    fn command(&self, at: &str, words: &[&str]) -> Command {
        let data = self.folder.path().to_string_lossy().into_owned();
        let more = ["--data", &data, "--port-base", &self.base];
        let mut command = program::command("kos-authority", &[words, &more].concat()).unwrap();
        command.env("LD_PRELOAD", &self.library).env("FAKETIME", at);
        // Timers are not what is wrong.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }

    fn run(&self, at: &str, words: &[&str]) -> Finished {
        program::finish(self.command(at, words), "").unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("authority/run/authority.sock")
    }

    /// Serves at a time, and makes a ticket; how many entries the log has, and the numbers of the revocation lists.
    fn serves(&self, at: &str, words: &[&str]) -> (u64, Vec<u64>) {
        let program = serve(self.command(at, words), &self.socket()).unwrap();
        ticket(&self.socket());
        let size = verified(&self.socket());
        let lists = fleet::json(&self.socket(), &["authority", "crl"]).unwrap();
        let lists = lists["items"].as_array().unwrap().iter();
        let numbers = lists.map(|list| list["number"].as_u64().unwrap()).collect();
        program.stop().unwrap();
        (size, numbers)
    }
}

#[test]
fn an_authority_does_not_start_before_there_was_one() {
    let attic = OtherTime::new();
    check(&attic.run("@1970-01-02 00:00:00", &["init"]), 1, "KOS-E0020");
    assert_eq!(attic.run("+0", &["init"]).code(), 0);
    check(&attic.run("@1970-01-02 00:00:00", &["serve"]), 1, "KOS-E0020");
    attic.serves("+0", &["serve"]);
    check(&attic.run("@1970-01-02 00:00:00", &["serve"]), 1, "KOS-E0020");
    attic.serves("+0", &["serve"]);
}

#[test]
fn a_clock_that_steps_back_a_day_starts_and_one_that_steps_back_further_is_named() {
    let attic = OtherTime::new();
    assert_eq!(attic.run("-5d", &["init"]).code(), 0);
    let (first, numbers) = attic.serves("+0", &["serve"]);
    let (second, later) = attic.serves("-23h", &["serve"]);
    assert!(second > first);
    assert!(numbers.iter().zip(&later).all(|(before, after)| after >= before), "{numbers:?} {later:?}");

    attic.serves("+10d", &["serve"]);
    let before = fs::read(attic.folder.path().join("authority/log/checkpoint")).unwrap();
    check(&attic.run("+0", &["serve"]), 1, "KOS-E0020");
    assert_eq!(fs::read(attic.folder.path().join("authority/log/checkpoint")).unwrap(), before);
    // A person knows that it ran ahead, and says so once.
    let (third, last) = attic.serves("+0", &["serve", "--clock-is-right"]);
    assert!(third > second);
    assert!(later.iter().zip(&last).all(|(before, after)| after >= before), "{later:?} {last:?}");
    attic.serves("+0", &["serve"]);
    // Nothing helps against a clock from before its keys, or from after their end.
    check(&attic.run("-30d", &["serve", "--clock-is-right"]), 1, "KOS-E0020");
    check(&attic.run("@2100-06-01 12:00:00", &["serve", "--clock-is-right"]), 8, "KOS-E0303");
    attic.serves("+0", &["serve"]);
}

#[test]
fn an_authority_that_was_made_in_2100_works_there() {
    let attic = OtherTime::new();
    let at = "@2100-06-01 12:00:00";
    assert_eq!(attic.run(at, &["init"]).code(), 0);
    let (first, _) = attic.serves(at, &["serve"]);
    let (second, _) = attic.serves(at, &["serve"]);
    assert!(second > first);
    check(&attic.run("+0", &["serve"]), 1, "KOS-E0020");
}
