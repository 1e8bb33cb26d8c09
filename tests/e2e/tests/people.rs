//! A person in every store of an authority: taken out for them, then erased.
#![cfg(test)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use kos_e2e::{
    fleet::{self, Authority},
    operator::Operator,
    program::{self, files},
};
use serde_json::Value;
use tempfile::TempDir;

/// A name that nothing else has.
const CANARY: &str = "kanarie-7q2x";
/// Somebody else, whose name is not the canary's to know.
const OTHER: &str = "berta-8w3y";

const PASSPHRASE: &str = "correct horse battery staple";

/// The files below `folder` that hold this name.
fn naming(folder: &Path, name: &str) -> Vec<String> {
    let all = files(folder).unwrap();
    let found = all.iter().filter(|(_, content)| memchr::memmem::find(content, name.as_bytes()).is_some());
    found.map(|(path, _)| path.display().to_string()).collect()
}

/// `kosctl ..` on the authority's machine, with something on stdin.
fn told(authority: &Authority, words: &[&str], input: &str) {
    let server = format!("unix:{}", authority.socket().display());
    let run = program::run("kosctl", &[&["--server", &server, "--no-input"], words].concat(), input).unwrap();
    assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
}

fn share(authority: &Authority, desk: &TempDir, sheets: &str, holders: [&str; 3]) {
    let out = desk.path().join(sheets).to_string_lossy().into_owned();
    let share = ["vault", "share", "--yes", "--threshold", "2", "--no-read-back", "--out", &out, "--holder"];
    told(authority, &[&share[..], &holders].concat(), PASSPHRASE);
}

/// What an answer says of one store.
fn store<'a>(item: &'a Value, name: &str) -> &'a Value {
    let stores = item["stores"].as_array().unwrap();
    stores.iter().find(|store| store["store"] == name).unwrap()
}

#[test]
fn a_person_is_exported_from_every_store_and_then_in_none() {
    let mut authority = Authority::start().unwrap();
    let desk = TempDir::new().unwrap();
    let at = |name: &str| desk.path().join(name).to_string_lossy().into_owned();
    let (mut device, id) = fleet::device_in_service(&authority, "people-1").unwrap();
    let canary = Operator::here(&authority, CANARY, "admin").unwrap();
    let _other = Operator::here(&authority, OTHER, "viewer").unwrap();
    let act = |who: &Operator, words: &[&str]| who.kosctl(&[&["--context", "home"], words].concat()).unwrap();
    for name in ["one", "two"] {
        assert_eq!(act(&canary, &["device", "rename", &id, name]).code(), 0);
    }
    device.stop().unwrap();
    authority.json(&["guardian", "add", "night", "--operator", CANARY]).unwrap();
    told(&authority, &["vault", "unlock", "--create"], PASSPHRASE);
    share(&authority, &desk, "first", ["carol", CANARY, "dora"]);
    fs::write(desk.path().join("passphrase"), PASSPHRASE).unwrap();
    let (backup, passphrase) = (at("backup.age"), at("passphrase"));
    authority.json(&["backup", "create", "--out", &backup, "--passphrase-file", &passphrase]).unwrap();
    // The canary names somebody else, and is named by them.
    assert_eq!(act(&canary, &["operator", "remove", OTHER, "--yes"]).code(), 0);
    assert!(!naming(authority.data(), CANARY).is_empty(), "the name is looked for where it is");

    // Not for just anybody, and of nobody whom the log does not know.
    let viewer = Operator::here(&authority, "vera", "viewer").unwrap();
    let export = ["user", "export", "--person"];
    assert_eq!(act(&viewer, &[&export[..], &[CANARY]].concat()).code(), 5);
    assert_eq!(authority.kosctl(&[&export[..], &["nobody"]].concat()).unwrap().code(), 3);

    let out = at("canary.json");
    authority.json(&[&export[..], &[CANARY, "--out", &out]].concat()).unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&out).unwrap();
    assert!(!text.contains(OTHER), "the export names somebody else");
    let exported: Value = serde_json::from_str(&text).unwrap();
    let item = &exported["item"];
    assert_eq!((&exported["kind"], &item["name"]), (&"PersonExport".into(), &CANARY.into()));
    assert_eq!(item["operators"][0]["name"], CANARY);
    assert_eq!(item["guardians"][0]["name"], "night");
    assert_eq!(item["vaults"], serde_json::json!(["default"]));
    assert_eq!(item["backups"].as_array().unwrap().len(), 1);
    let kinds: Vec<_> = item["subjects"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["operator"], "nobody has brought a share");
    let holder = authority.json(&["user", "export", "--person", "carol"]).unwrap();
    assert_eq!(
        (&holder["item"]["vaults"][0], &holder["item"]["entriesFound"]),
        (&"default".into(), &0.into())
    );
    let erase = ["user", "erase", "--person", "carol", "--confirm", "carol", "--reason", "asked for it"];
    let refused = authority.kosctl(&erase).unwrap();
    assert!(refused.code() == 3 && refused.stderr.contains("share the vault again"), "{}", refused.stderr);
    let listed = authority.json(&["audit", "list", "--person", CANARY]).unwrap();
    let indices = |entries: &Value| -> Vec<u64> {
        entries.as_array().unwrap().iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
    };
    let expected = indices(&listed["items"]);
    assert!(expected.len() >= 5, "{expected:?}");
    assert_eq!(indices(&item["entries"]), expected);
    for (name, found) in [("log", expected.len()), ("operators", 1), ("guardians", 1), ("vaults", 1)] {
        assert_eq!(store(item, name)["found"], found, "{name}");
    }
    let removed = item["entries"].as_array().unwrap().iter();
    let mut removed = removed.filter(|entry| entry["eventType"] == "operator_removed");
    let removed = removed.next().unwrap();
    assert_eq!((&removed["actor"]["id"], &removed["target"]["id"]), (&CANARY.into(), &Value::Null));
    let recorded = authority.json(&["audit", "show", &item["auditIndex"].to_string()]).unwrap();
    assert_eq!(recorded["item"]["eventType"], "person_exported");
    assert!(!recorded["item"]["details"].to_string().contains(CANARY));

    // In service, and with a share: the answer says what keeps the name.
    let erase = ["user", "erase", "--person", CANARY, "--confirm", CANARY, "--reason", "asked for it"];
    let first = authority.json(&erase).unwrap();
    let left = |item: &Value, name: &str| store(item, name)["left"].clone();
    assert!(left(&first["item"], "operators").as_str().unwrap().contains("in service"), "{first}");
    assert!(left(&first["item"], "vaults").as_str().unwrap().contains("shared again"), "{first}");
    assert!(left(&first["item"], "backups").as_str().unwrap().contains("destroyed"), "{first}");
    assert_eq!(store(&first["item"], "guardians")["done"], "removed");
    assert!(!naming(authority.data(), CANARY).is_empty(), "whoever is in service has a name");

    authority.json(&["operator", "remove", CANARY, "--yes"]).unwrap();
    share(&authority, &desk, "second", ["carol", "emil", "dora"]);
    let second = authority.json(&erase).unwrap();
    let item = &second["item"];
    for (name, found, left) in
        [("operators", 1, false), ("revocations", 1, true), ("guardians", 0, false), ("vaults", 0, false)]
    {
        assert_eq!(store(item, name)["found"], found, "{name}: {second}");
        assert_eq!(store(item, name)["left"].is_string(), left, "{name}: {second}");
    }
    assert_eq!(naming(authority.data(), CANARY), Vec::<String>::new());
    authority.kill().unwrap();
    assert_eq!(naming(authority.data(), CANARY), Vec::<String>::new());
    authority.serve().unwrap();
    assert_eq!(naming(authority.data(), CANARY), Vec::<String>::new());
    assert_eq!(authority.kosctl(&[&export[..], &[CANARY]].concat()).unwrap().code(), 3);
    assert_eq!(authority.json(&["audit", "verify"]).unwrap()["item"]["ok"], true);
    assert!(!naming(authority.data(), "carol").is_empty(), "others stay as they are");
}
