//! Old entries in an archive, and entries as one file: by real programs, judged by others, killed in between.
#![cfg(test)]

use std::{collections::BTreeMap, fs, path::Path};

use kos_api::{
    routes,
    ticket::{CreateTicket, Ticket},
};
use kos_e2e::{
    fleet::{self, Authority},
    judge,
    operator::Operator,
    program::{self, files},
    wait,
};
use kosctl::{Change, Client, Outcome, Server};
use serde_json::Value;
use tempfile::TempDir;

const SETTINGS: &str = "heartbeat_seconds: 5\n";

/// Makes the log at least `size` entries long.
fn grow(authority: &Authority, size: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(Server::Unix(authority.socket()), None);
        let request = CreateTicket::for_role(kos_base::Role::Sensor);
        let mut left = size;
        while left > 0 {
            let made: Outcome<Ticket> =
                client.change(&routes::TICKET_CREATE, &[], &request, &Change::default()).await.unwrap();
            assert!(matches!(made, Outcome::Done(_)));
            left -= 1;
        }
    });
}

fn size(authority: &Authority) -> u64 {
    authority.json(&["audit", "checkpoint"]).unwrap()["item"]["size"].as_u64().unwrap()
}

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(TempDir::with_prefix("kos-e2e-desk-").unwrap());
        fs::write(desk.0.path().join("passphrase"), "correct horse battery staple").unwrap();
        desk
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }
}

fn verify(authority: &Authority, more: &[&str]) -> Value {
    let done = authority.kosctl(&[&["audit", "verify", "-o", "json"], more].concat()).unwrap();
    let verdict: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
    assert_eq!(verdict["item"]["ok"] == true, done.code() == 0, "{verdict}");
    verdict["item"].clone()
}

/// The bundles of a folder, by path.
fn bundles(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = files(folder).unwrap().into_iter();
    all.filter(|(path, _)| path.to_string_lossy().contains("entries"))
        .map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), bytes))
        .collect()
}

#[test]
fn archived_entries_leave_their_hashes_and_the_log_lives_on_without_them() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let desk = Desk::new();
    grow(&authority, 800);
    let (archive, key, held, proof) =
        (desk.at("archive"), desk.at("log.key"), desk.at("held"), desk.at("proof"));
    authority.json(&["audit", "checkpoint", "--key-out", &key, "--out", &held]).unwrap();
    authority.json(&["audit", "prove", "100", "--out", &proof]).unwrap();
    let log = authority.data().join("authority/log");
    wait::until("the log's files", || Ok(log.join("tile/entries/002").exists().then_some(()))).unwrap();
    let before = bundles(&log);

    let to = ["audit", "archive", "--to", &archive, "--before"];
    assert_eq!(authority.kosctl(&[&to[..], &["255", "--yes"]].concat()).unwrap().code(), 6, "no whole row");
    let inside = authority.data().join("authority/x").to_string_lossy().into_owned();
    let into_itself = ["audit", "archive", "--to", &inside, "--before", "600", "--yes"];
    assert_eq!(authority.kosctl(&into_itself).unwrap().code(), 2);
    let (link, mirror) = (desk.at("link"), desk.at("mirror"));
    std::os::unix::fs::symlink(&log, &link).unwrap();
    fs::create_dir(&mirror).unwrap();
    assert_eq!(authority.kosctl(&["audit", "mirror", "add", "disk", &mirror]).unwrap().code(), 0);
    for elsewhere in [link.clone(), format!("{link}/deeper"), mirror.clone(), format!("{mirror}/deeper")] {
        let refused = ["audit", "archive", "--to", &elsewhere, "--before", "600", "--yes"];
        assert_eq!(authority.kosctl(&refused).unwrap().code(), 2, "{elsewhere}");
    }
    assert_eq!(bundles(&log)["tile/entries/000"], before["tile/entries/000"], "nothing was taken out");
    let planned = authority.kosctl(&[&to[..], &["600", "--dry-run"]].concat()).unwrap();
    assert_eq!(planned.code(), 10, "{}", planned.stderr);
    assert!(!Path::new(&archive).exists(), "a plan changes nothing");
    let done = authority.json(&[&to[..], &["600", "--yes"]].concat()).unwrap();
    assert_eq!((&done["item"]["first"], &done["item"]["size"]), (&0.into(), &512.into()));

    // Every leaf is in the archive, as it was; the log has the others.
    let archived = bundles(Path::new(&archive));
    assert_eq!(archived.keys().collect::<Vec<_>>(), ["tile/entries/000", "tile/entries/001"]);
    assert!(archived.iter().all(|(path, bytes)| before[path] == *bytes));
    assert!(!log.join("tile/entries/000").exists() && log.join("tile/entries/002").exists());
    let digest = judge::python(
        "tests/e2e/tests/judges/digest_of.py",
        &format!("{archive}/tile/entries/000 {archive}/tile/entries/001"),
    )
    .unwrap();
    assert_eq!(done["item"]["sha256"], digest.trim());

    let check = |authority: &Authority| {
        let alone = verify(authority, &["--key", &key, "--against", &held]);
        assert_eq!(alone["ok"], true, "{alone}");
        assert!(alone["notChecked"][0].as_str().unwrap().contains("0 to 511 are archived"), "{alone}");
        let whole = verify(authority, &["--key", &key, "--against", &held, "--archive", &archive]);
        assert_eq!((&whole["ok"], &whole["notChecked"]), (&true.into(), &Value::Array(Vec::new())));
        assert_eq!(whole["entriesChecked"], whole["size"]);
        assert_eq!(verify(authority, &["--on-server"])["ok"], true);
        assert_eq!(
            authority.kosctl(&["audit", "prove", "--proof", &proof, "--key", &key]).unwrap().code(),
            0
        );
        assert_eq!(authority.kosctl(&["audit", "prove", "700"]).unwrap().code(), 0);
        let gone = authority.kosctl(&["audit", "show", "100"]).unwrap();
        assert_eq!(gone.code(), 3, "{}", gone.stderr);
        assert!(gone.stderr.contains("KOS-E0565") && gone.stderr.contains(&archive), "{}", gone.stderr);
        let gone = authority.kosctl(&["audit", "prove", "100"]).unwrap();
        assert!(gone.code() == 3 && gone.stderr.contains("KOS-E0565"), "{}", gone.stderr);
        assert!(gone.stderr.contains(&archive) && gone.stderr.contains("pull --archive"), "{}", gone.stderr);
        let listed = authority.json(&["audit", "list", "--limit", "1"]).unwrap();
        assert_eq!(listed["items"][0]["index"], 512);
        // What a list leaves out, it names: by any filter that could have met it, and by no other.
        let left_out = serde_json::json!({"size": 512, "folder": archive});
        assert_eq!(listed["archived"], left_out);
        let found = authority.json(&["audit", "list", "--event", "authority_created"]).unwrap();
        assert_eq!((&found["items"], &found["archived"]), (&Value::Array(Vec::new()), &left_out));
        let newest = authority.json(&["audit", "list", "--newest", "--limit", "1"]).unwrap();
        let later = authority.json(&["audit", "list", "--since", "2099-01-01T00:00:00Z"]).unwrap();
        assert!(newest["archived"].is_null() && later["archived"].is_null(), "{newest} {later}");
        let note = format!("entries 0 to 511 are in the archive {archive} and were not looked at");
        let shown = authority.kosctl(&["audit", "list", "--event", "authority_created"]).unwrap();
        assert!(shown.stderr.contains(&note), "{}", shown.stderr);
        let csv = authority.kosctl(&["audit", "export"]).unwrap();
        assert!(csv.stderr.contains(&note) && !csv.stdout.contains("archive {archive}"), "{}", csv.stderr);
        let json = authority.kosctl(&["audit", "export", "--format", "json"]).unwrap();
        let exported: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(exported["archived"], left_out);
    };
    check(&authority);
    // Somebody who begins a copy now is told where the rest is, and then has it.
    let copy = desk.at("pulled");
    let pull = ["audit", "mirror", "pull", "--key", &key, "--to", &copy];
    let alone = authority.kosctl(&pull).unwrap();
    assert_eq!(alone.code(), 8, "{}", alone.stderr);
    assert!(alone.stderr.contains("--archive DIR"), "{}", alone.stderr);
    let whole = authority.kosctl(&[&pull[..], &["--archive", &archive]].concat()).unwrap();
    assert_eq!(whole.code(), 0, "{}", whole.stderr);
    let verdict = verify(&authority, &["--log", &copy, "--key", &key]);
    assert_eq!((&verdict["ok"], &verdict["notChecked"]), (&true.into(), &Value::Array(Vec::new())));
    // It stops, starts, is killed, grows.
    authority.stop().unwrap();
    authority.serve().unwrap();
    check(&authority);
    authority.kill().unwrap();
    authority.serve().unwrap();
    grow(&authority, 300);
    check(&authority);
    let index = authority.data().join("authority/search.db");
    authority.stop().unwrap();
    fs::remove_file(index).unwrap();
    authority.serve().unwrap();
    let found = authority.json(&["audit", "list", "--event", "ticket_created", "--limit", "1"]).unwrap();
    assert_eq!(found["items"][0]["index"], 512);

    // What somebody takes away who is not the log is missing, not archived.
    let stolen = desk.at("stolen");
    program::copy(&log, Path::new(&stolen)).unwrap();
    fs::remove_file(Path::new(&stolen).join("tile/entries/002")).unwrap();
    let verdict = verify(&authority, &["--log", &stolen, "--key", &key]);
    assert_eq!(
        (&verdict["ok"], &verdict["failures"][0]["kind"]),
        (&false.into(), &"deleted".into()),
        "{verdict}"
    );
    fs::write(Path::new(&archive).join("tile/entries/001"), b"x").unwrap();
    let verdict = verify(&authority, &["--key", &key, "--archive", &archive]);
    assert_eq!(verdict["ok"], false, "{verdict}");
    fs::write(Path::new(&archive).join("tile/entries/001"), &archived["tile/entries/001"]).unwrap();

    // More of it, into the same archive; another log is refused there.
    let more = authority.json(&[&to[..], &["5000", "--yes"]].concat()).unwrap();
    assert_eq!(more["item"]["first"], 512);
    let whole = verify(&authority, &["--key", &key, "--archive", &archive]);
    assert_eq!((&whole["ok"], &whole["entriesChecked"]), (&true.into(), &whole["size"]));
    let other = Authority::start_with("name: other\n").unwrap();
    grow(&other, 600);
    let refused = other.kosctl(&[&to[..], &["300", "--yes"]].concat()).unwrap();
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("KOS-E0566"), "{}", refused.stderr);
    assert_eq!(verify(&other, &[])["ok"], true);

    // A backup of it comes back, and takes over the newer log.
    let (backup, passphrase) = (desk.at("backup.age"), desk.at("passphrase"));
    authority.json(&["backup", "create", "--out", &backup, "--passphrase-file", &passphrase]).unwrap();
    assert_eq!(
        authority.kosctl(&["backup", "verify", &backup, "--passphrase-file", &passphrase]).unwrap().code(),
        0
    );
    grow(&authority, 5);
    let head = desk.at("head");
    authority.published().unwrap();
    let copy = desk.at("copy");
    program::copy(&log, Path::new(&copy)).unwrap();
    fs::copy(Path::new(&copy).join("checkpoint"), &head).unwrap();
    authority.kill().unwrap();
    let mut restored =
        Authority::put_back(&authority, Path::new(&backup), "correct horse battery staple").unwrap();
    restored.serve_closed().unwrap();
    let mark: Value =
        serde_json::from_slice(&fs::read(restored.data().join("authority/restored.json")).unwrap()).unwrap();
    let name = mark["authority"].as_str().unwrap();
    restored.json(&["backup", "restore", "--log", &copy, "--against", &head, "--confirm", name]).unwrap();
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    // What was published with the backup is older until the log's files follow.
    let whole = wait::until("the log to be whole", || {
        let whole = verify(&restored, &["--key", &key, "--against", &head, "--archive", &archive]);
        Ok((whole["ok"] == true).then_some(whole))
    });
    let whole = whole.unwrap();
    assert_eq!(whole["entriesChecked"], whole["size"], "{whole}");
}

#[test]
fn an_authority_that_is_killed_while_it_archives_loses_no_leaf() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let desk = Desk::new();
    grow(&authority, 1_100);
    let key = desk.at("log.key");
    authority.json(&["audit", "checkpoint", "--key-out", &key]).unwrap();
    let (archive, head) = (desk.at("archive"), desk.at("head"));
    fs::create_dir_all(&archive).unwrap();
    let mut kills = Vec::new();
    // Ends the authority at a call that makes something durable, or takes something away.
    let calls = ["fsync", "rename,renameat,renameat2", "unlink,unlinkat", "fdatasync"];
    // Calls are counted by the thread, and which thread does what is chance: it is tried again until enough have met one.
    for (round, number) in [1, 3, 9, 2, 1, 1, 1].into_iter().enumerate() {
        for call in calls {
            if round > 2 && kills.len() >= 4 {
                break;
            }
            grow(&authority, 256);
            let published = authority.published().unwrap();
            fs::copy(published.join("checkpoint"), &head).unwrap();
            let (trace, inject) =
                (format!("trace={call}"), format!("inject={call}:signal=KILL:when={number}"));
            let watching = program::watch(authority.pid().unwrap(), &["-e", &trace, "-e", &inject]).unwrap();
            // Whether it lived to answer says nothing.
            drop(
                authority
                    .kosctl(&["audit", "archive", "--to", &archive, "--before", "50000", "--yes"])
                    .unwrap(),
            );
            let died = !authority.is_running().unwrap();
            drop(watching);
            if !died {
                authority.kill().unwrap();
            }
            authority.serve().unwrap();
            // One that was not finished has nothing that the log has not.
            let is_archive = Path::new(&archive).join("checkpoint").exists();
            let more: &[&str] = if is_archive { &["--archive", &archive] } else { &[] };
            let whole = verify(&authority, &[&["--key", &key], more].concat());
            let at = format!("{call} {number}");
            assert_eq!((&whole["ok"], &whole["entriesChecked"]), (&true.into(), &whole["size"]), "{at}");
            assert_eq!(verify(&authority, &["--on-server"])["ok"], true, "{at}");
            if died {
                kills.push(at);
            }
        }
    }
    assert!(kills.len() >= 4, "{kills:?}");
    assert!(size(&authority) > 1_100);
}

/// Rows as Python reads them.
fn rows(file: &str) -> Vec<BTreeMap<String, String>> {
    serde_json::from_str(&judge::python("tests/e2e/tests/judges/read_csv.py", file).unwrap()).unwrap()
}

#[test]
fn an_export_is_read_by_others_as_it_was_meant_and_is_in_the_log_before_it_leaves() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let desk = Desk::new();
    let (mut device, id) = fleet::device_in_service(&authority, "export-1").unwrap();
    let viewer = Operator::here(&authority, "vera", "viewer").unwrap();
    // Texts that people type: formulas, markup.
    for (at, hostile) in [
        "=HYPERLINK(\"http://x.example\")",
        "+1+1",
        "-2",
        "@SUM(A1)",
        "<script>alert(1)</script>",
        "a,\"b\";c",
    ]
    .iter()
    .enumerate()
    {
        let how = if at % 2 == 0 { "suspend" } else { "reinstate" };
        let reason = format!("--reason={hostile}");
        let done = authority.kosctl(&["device", how, &id, &reason, "--yes"]).unwrap();
        assert_eq!(done.code(), 0, "{hostile}: {}", done.stderr);
    }
    device.stop().unwrap();
    grow(&authority, 300);
    let all = authority.json(&["audit", "list"]).unwrap();
    let all = all["items"].as_array().unwrap();

    let csv = desk.at("log.csv");
    let done = authority.json(&["audit", "export", "--out", &csv]).unwrap();
    let bytes = fs::read(&csv).unwrap();
    assert_eq!(done["item"]["bytes"].as_u64(), Some(u64::try_from(bytes.len()).unwrap()));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.chars().all(|c| kos_base::text::is_safe(c) || c == '\r' || c == '\n'));
    let read = rows(&csv);
    assert!(read.len() >= all.len());
    for (row, entry) in read.iter().zip(all) {
        for (cell, field) in
            [("leafHash", "leafHash"), ("timestamp", "timestamp"), ("eventType", "eventType"), ("id", "id")]
        {
            assert_eq!(row[cell], entry[field].as_str().unwrap());
        }
        assert_eq!(row["index"], entry["index"].to_string());
        assert_eq!(row["actorId"], entry["actor"]["id"].as_str().unwrap_or_default());
        assert_eq!(serde_json::from_str::<Value>(&row["details"]).unwrap(), entry["details"]);
        assert!(row.values().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{row:?}");
    }
    // A row can be checked against the log: its leaf hash is that of the proof.
    let shown = authority.json(&["audit", "show", &read[7]["index"]]).unwrap();
    assert_eq!(shown["item"]["leafHash"], read[7]["leafHash"]);

    // As JSON, with a filter; recorded before it leaves.
    let json = desk.at("log.json");
    let words = [
        "audit",
        "export",
        "--format",
        "json",
        "--event",
        "device_suspended",
        "--device",
        &id,
        "--out",
        &json,
    ];
    authority.json(&words).unwrap();
    let list: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&"kos.v1".into(), &"AuditEntryList".into()));
    let suspended = list["items"].as_array().unwrap();
    assert_eq!(suspended.len(), 3);
    assert_eq!(suspended[0]["details"]["reason"], "=HYPERLINK(\"http://x.example\")");
    let recorded = authority.json(&["audit", "list", "--event", "audit_exported"]).unwrap();
    let last = recorded["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["details"]["entries"], &last["details"]["format"], &last["details"]["filter"]["device"]),
        (&3.into(), &"json".into(), &id.clone().into())
    );

    // Lines to stdout; names for administrators only; a filter by name leaves no name in the log.
    let lines = authority.kosctl(&["audit", "export", "--format", "jsonl", "--person", "vera"]).unwrap();
    let lines: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["item"]["target"]["id"]),
        (&"AuditEntry".into(), &"vera".into())
    );
    let told =
        authority.json(&["audit", "list", "--event", "audit_exported", "--newest", "--limit", "1"]).unwrap();
    assert!(!told["items"][0]["details"].to_string().contains("vera"), "{told}");
    let export = ["--context", "home", "audit", "export"];
    let seen = viewer.kosctl(&[&export[..], &["--event", "operator_added"]].concat()).unwrap();
    assert_eq!((seen.code(), seen.stdout.lines().count()), (0, 2), "{}", seen.stderr);
    assert!(seen.stdout.contains("operator") && !seen.stdout.contains("vera"), "{}", seen.stdout);
    // Nor do they look for people: that something is found would say whose it is.
    let asked = viewer.kosctl(&[&export[..], &["--person", "vera"]].concat()).unwrap();
    assert!(asked.code() == 5 && asked.stderr.contains("KOS-E0595"), "{}", asked.stderr);

    // One that breaks off leaves no file.
    let cut = desk.at("cut.csv");
    let server = format!("unix:{}", authority.socket().display());
    let slow = program::command("kosctl", &["--server", &server, "audit", "export", "--out", &cut]).unwrap();
    let calls = "rename,renameat,renameat2";
    let options = ["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:signal=KILL:when=1")];
    let killed = program::finish(program::under_strace(&slow, options.map(str::to_owned)), "").unwrap();
    assert!(!killed.status.success(), "it was not killed: {}", killed.stderr);
    assert!(!Path::new(&cut).exists());
}
