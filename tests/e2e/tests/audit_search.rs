//! The log as people use it: finding entries, following them, and erasing somebody.
#![cfg(test)]

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, ensure};
use kos_e2e::{
    fleet::{self, Authority},
    judge,
    operator::Operator,
    program::{self, Finished, Program, files},
    wait,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const SETTINGS: &str = "heartbeat_seconds: 5\n";

fn items(document: &Value) -> Vec<Value> {
    document["items"].as_array().unwrap().clone()
}

fn indices(document: &Value) -> Vec<u64> {
    items(document).iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
}

/// What an operator does over the network.
fn act(operator: &Operator, words: &[&str]) -> Result<Finished> {
    operator.kosctl(&[&["--context", "home"], words].concat())
}

/// What a reader keeps who looks at every entry.
fn kept(all: &[Value], fits: impl Fn(&Value) -> bool) -> Vec<u64> {
    all.iter().filter(|entry| fits(entry)).map(|entry| entry["index"].as_u64().unwrap()).collect()
}

#[test]
fn entries_are_found_by_device_actor_event_and_time_from_either_end_also_after_the_index_was_lost() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "search-1").unwrap();
    let (mut other, _) = fleet::device_in_service(&authority, "search-2").unwrap();
    let anna = Operator::here(&authority, "anna", "operator").unwrap();
    assert_eq!(act(&anna, &["ticket", "create", "--role", "sensor"]).unwrap().code(), 0);
    for name in ["one", "two", "three"] {
        let done = act(&anna, &["device", "rename", &id, name]).unwrap();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    device.stop().unwrap();
    other.stop().unwrap();

    let all = items(&authority.json(&["audit", "list"]).unwrap());
    let middle = all[all.len() / 2]["timestamp"].as_str().unwrap().to_owned();
    let questions: [(&[&str], Vec<u64>); 6] = [
        (&["--device", &id], kept(&all, |entry| entry.to_string().contains(&id))),
        (
            &["--device", &id[..9], "--event", "device_renamed"],
            kept(&all, |e| e["eventType"] == "device_renamed"),
        ),
        (&["--actor", "anna"], kept(&all, |e| e["actor"]["id"] == "anna")),
        (&["--actor", "anna", "--event", "ticket_created"], {
            kept(&all, |e| e["actor"]["id"] == "anna" && e["eventType"] == "ticket_created")
        }),
        (&["--person", "anna"], kept(&all, |e| e["actor"]["id"] == "anna" || e["target"]["id"] == "anna")),
        (&["--until", &middle], kept(&all, |e| e["timestamp"].as_str().unwrap() < middle.as_str())),
    ];
    let ask = |authority: &Authority| {
        for (words, expected) in &questions {
            assert!(!expected.is_empty(), "{words:?} asks for nothing");
            // The last entries came after the whole list was read.
            let told = |document: Value| -> Vec<u64> {
                indices(&document).into_iter().filter(|at| *at < u64::try_from(all.len()).unwrap()).collect()
            };
            let found = authority.json(&[&["audit", "list"], *words].concat()).unwrap();
            assert_eq!(&told(found), expected, "{words:?}");
            let mut newest =
                told(authority.json(&[&["audit", "list", "--newest"], *words].concat()).unwrap());
            newest.reverse();
            assert_eq!(&newest, expected, "{words:?} from the newest");
        }
    };
    ask(&authority);
    let two = authority.json(&["audit", "list", "--newest", "--limit", "2", "--actor", "anna"]).unwrap();
    assert_eq!(indices(&two).len(), 2);
    assert_eq!(two["next"], indices(&two)[1].to_string());

    // Nobody of that name, and things that are no names.
    for hostile in ["nobody", "\u{202e}anna", "<b>anna</b>", "anna' OR 1=1 --", "=1+1", "a\u{1b}[31m"] {
        let found = authority.json(&["audit", "list", "--actor", hostile]).unwrap();
        assert!(indices(&found).is_empty(), "{hostile:?}");
    }
    let long = "x".repeat(100_000);
    assert_ne!(authority.kosctl(&["audit", "list", "--actor", &long]).unwrap().code(), 0);

    let index = authority.data().join("authority/search.db");
    authority.kill().unwrap();
    for ending in ["", "-wal", "-shm"] {
        drop(fs::remove_file(index.with_file_name(format!("search.db{ending}"))));
    }
    authority.serve().unwrap();
    ask(&authority);
    authority.stop().unwrap();
    fs::write(&index, b"garbage").unwrap();
    authority.serve().unwrap();
    ask(&authority);
    let rebuilt = items(&authority.json(&["audit", "list", "--event", "index_rebuilt"]).unwrap());
    let reasons: Vec<_> = rebuilt.iter().map(|entry| entry["details"]["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["missing", "damaged"]);
}

/// `audit tail` at work.
fn follow(authority: &Authority, more: &[&str]) -> Program {
    let server = format!("unix:{}", authority.socket().display());
    let words = ["--server", &server, "audit", "tail", "--follow", "-o", "json", "-n", "1"];
    let command = program::command("kosctl", &[&words[..], more].concat()).unwrap();
    Program::of("kosctl", command, "").unwrap()
}

fn seen(tail: &mut Program) -> Vec<u64> {
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap()["item"]["index"].as_u64().unwrap();
    tail.stdout().lines().map(read).collect()
}

#[test]
fn whoever_follows_the_log_gets_every_entry_once_over_restarts_and_kills() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let mut tail = follow(&authority, &[]);
    let mut tickets = follow(&authority, &["--event", "ticket_created"]);
    let ticket = |authority: &Authority| authority.ticket(&["--role", "sensor"]).map(drop);
    for round in 0..4 {
        for _ in 0..5 {
            ticket(&authority).unwrap();
        }
        if round % 2 == 0 {
            authority.kill().unwrap();
        } else {
            // Streams do not keep it from stopping.
            authority.stop().unwrap();
        }
        authority.serve().unwrap();
    }
    ticket(&authority).unwrap();
    let all = items(&authority.json(&["audit", "list"]).unwrap());
    let last = all.last().unwrap()["index"].as_u64().unwrap();
    wait::until("the last entry to be followed", || Ok(seen(&mut tail).contains(&last).then_some(())))
        .unwrap();
    let found = seen(&mut tail);
    let expected: Vec<u64> = (found[0]..).take(found.len()).collect();
    assert_eq!(found, expected, "a gap or a repetition");
    let made = kept(&all, |entry| entry["eventType"] == "ticket_created");
    wait::until("all tickets to be followed", || Ok((seen(&mut tickets).len() >= made.len()).then_some(())))
        .unwrap();
    assert_eq!(seen(&mut tickets), made);

    for mut tail in [tail, tickets] {
        let pid = Pid::from_raw(i32::try_from(tail.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert!(tail.ended().unwrap().success(), "{}", tail.errors());
    }
    // For people: a table whose header comes once.
    let done = authority.kosctl(&["audit", "tail", "-n", "3"]).unwrap();
    assert_eq!((done.code(), done.stdout.lines().count()), (0, 4), "{}", done.stdout);
    let none = authority.kosctl(&["audit", "tail", "-n", "0"]).unwrap();
    assert_eq!((none.code(), none.stdout.as_str()), (0, ""));
}

/// The key of a subject, as the store holds it.
fn key_of(authority: &Authority, person: &str) -> Option<Vec<u8>> {
    let store = authority.data().join("authority/store.db");
    let told =
        judge::python("tests/e2e/tests/judges/subject_key.py", &format!("{}\n{person}\n", store.display()))
            .unwrap();
    let hex = told.trim();
    (!hex.is_empty()).then(|| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap())
}

/// The files below `folder` that hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let all = files(folder).unwrap();
    let found = all.iter().filter(|(_, content)| memchr::memmem::find(content, bytes).is_some());
    found.map(|(path, _)| path.display().to_string()).collect()
}

fn verified(authority: &Authority) -> Result<()> {
    let done = authority.kosctl(&["audit", "verify", "-o", "json"])?;
    ensure!(done.code() == 0, "{}{}", done.stdout, done.stderr);
    Ok(())
}

#[test]
fn an_erased_person_is_gone_from_every_file_and_reader_and_every_proof_still_holds() {
    let mut authority = Authority::start_with(SETTINGS).unwrap();
    let desk = TempDir::new().unwrap();
    let at = |name: &str| desk.path().join(name).to_string_lossy().into_owned();
    let (mut device, id) = fleet::device_in_service(&authority, "erase-1").unwrap();
    let anna = Operator::here(&authority, "anna", "admin").unwrap();
    for name in ["one", "two"] {
        assert_eq!(act(&anna, &["device", "rename", &id, name]).unwrap().code(), 0);
    }
    device.stop().unwrap();
    let by_anna = indices(&authority.json(&["audit", "list", "--actor", "anna"]).unwrap());
    assert_eq!(by_anna.len(), 2);
    let (proof, key_file) = (at("proof"), at("log.key"));
    authority.json(&["audit", "checkpoint", "--key-out", &key_file]).unwrap();
    let index = by_anna[0].to_string();
    authority.json(&["audit", "prove", &index, "--out", &proof]).unwrap();
    fs::write(desk.path().join("passphrase"), "correct horse battery staple").unwrap();
    let (out, passphrase) = (at("backup.age"), at("passphrase"));
    authority.json(&["backup", "create", "--out", &out, "--passphrase-file", &passphrase]).unwrap();
    let key = key_of(&authority, "operator anna").unwrap();
    assert!(!holding(authority.data(), &key).is_empty(), "the key is looked for where it is");

    // Not by just anybody, not themselves in silence, not with the name in the reason.
    let viewer = Operator::here(&authority, "vera", "viewer").unwrap();
    let erase = ["audit", "erase", "--person", "anna", "--confirm", "anna", "--reason"];
    assert_eq!(act(&viewer, &[&erase[..], &["asked for it"]].concat()).unwrap().code(), 5);
    assert_eq!(act(&anna, &[&erase[..], &["asked for it"]].concat()).unwrap().code(), 5);
    assert_eq!(authority.kosctl(&[&erase[..], &["Anna asked for it"]].concat()).unwrap().code(), 2);
    let unasked = ["audit", "erase", "--person", "anna", "--reason", "asked for it"];
    assert_eq!(authority.kosctl(&unasked).unwrap().code(), 2, "nobody confirmed");
    let nobody = ["audit", "erase", "--person", "nobody", "--confirm", "nobody", "--reason", "asked for it"];
    assert_eq!(authority.kosctl(&nobody).unwrap().code(), 3);
    let plan = authority.kosctl(&[&unasked[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(plan.code(), 10, "{}", plan.stderr);
    assert!(plan.stdout.contains("1 backups hold the key still"), "{}", plan.stdout);
    assert!(key_of(&authority, "operator anna").is_some(), "a plan changes nothing");

    let done = authority.json(&[&erase[..], &["asked for it"]].concat()).unwrap();
    let erasure = &done["item"];
    assert_eq!((&erasure["backupsFound"], &erasure["erased"][0]["kind"]), (&1.into(), &"operator".into()));
    assert_eq!(holding(authority.data(), &key), Vec::<String>::new());
    authority.kill().unwrap();
    assert_eq!(holding(authority.data(), &key), Vec::<String>::new());
    authority.serve().unwrap();
    assert_eq!(holding(authority.data(), &key), Vec::<String>::new());

    // Every reader, every proof.
    assert!(indices(&authority.json(&["audit", "list", "--actor", "anna"]).unwrap()).is_empty());
    assert!(indices(&authority.json(&["audit", "list", "--person", "anna"]).unwrap()).is_empty());
    let entry = authority.json(&["audit", "show", &index]).unwrap();
    assert_eq!(entry["item"]["actor"]["id"], Value::Null);
    let table = authority.kosctl(&["audit", "list"]).unwrap().stdout;
    assert!(table.contains("erased") && !table.contains("anna"), "{table}");
    let recorded = authority.json(&["audit", "show", &erasure["auditIndex"].to_string()]).unwrap();
    assert_eq!(recorded["item"]["eventType"], "subject_erased");
    assert!(!recorded["item"]["details"].to_string().contains("anna"));
    verified(&authority).unwrap();
    assert_eq!(
        authority.kosctl(&["audit", "prove", "--proof", &proof, "--key", &key_file]).unwrap().code(),
        0
    );
    assert_eq!(authority.kosctl(&["audit", "prove", &index]).unwrap().code(), 0);

    // Whoever acts again is somebody new.
    assert_eq!(act(&anna, &["device", "rename", &id, "three"]).unwrap().code(), 0);
    let again = indices(&authority.json(&["audit", "list", "--actor", "anna"]).unwrap());
    assert_eq!(again.len(), 1);
    assert!(again[0] > erasure["auditIndex"].as_u64().unwrap());

    // Oneself, when one says so.
    let myself = act(&anna, &[&erase[..], &["asked for it", "--myself"]].concat()).unwrap();
    assert_eq!(myself.code(), 0, "{}", myself.stderr);
    let entries = items(&authority.json(&["audit", "list", "--event", "subject_erased"]).unwrap());
    let own: Vec<_> = entries.iter().map(|entry| entry["details"]["own"].as_bool().unwrap()).collect();
    assert_eq!(own, [false, true]);

    // The backup from before brings the key back, and the newer log takes it away again.
    let head = at("head");
    let (log, published) = (at("log"), authority.published().unwrap());
    program::copy(&published, Path::new(&log)).unwrap();
    fs::copy(published.join("checkpoint"), &head).unwrap();
    authority.kill().unwrap();
    let mut restored =
        Authority::put_back(&authority, Path::new(&out), "correct horse battery staple").unwrap();
    assert!(!holding(restored.data(), &key).is_empty(), "the backup holds the key");
    restored.serve_closed().unwrap();
    let name = authority_name(&restored);
    restored.json(&["backup", "restore", "--log", &log, "--against", &head, "--confirm", &name]).unwrap();
    wait::until("the authority to serve", || Ok(restored.kosctl(&["list"])?.status.success().then_some(())))
        .unwrap();
    assert_eq!(holding(restored.data(), &key), Vec::<String>::new());
    let entry = restored.json(&["audit", "show", &index]).unwrap();
    assert_eq!(entry["item"]["actor"]["id"], Value::Null);
    verified(&restored).unwrap();
    let all: BTreeSet<_> = indices(&restored.json(&["audit", "list"]).unwrap()).into_iter().collect();
    assert_eq!(all.len(), usize::try_from(all.last().unwrap() + 1).unwrap());
}

fn authority_name(authority: &Authority) -> String {
    let mark = fs::read(authority.data().join("authority/restored.json")).unwrap();
    let mark: Value = serde_json::from_slice(&mark).unwrap();
    mark["authority"].as_str().unwrap().to_owned()
}
