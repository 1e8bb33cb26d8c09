//! Manifests with the real programs: judged, compared, put in force, brought to the device, obeyed by it over a kill, and
//! taken back by a newer version.
//!
//! Source: `docs/spec/manifest.md`.
#![cfg(test)]

use std::fs;

use anyhow::Result;
use kos_e2e::{
    fleet::{self, Authority, Device},
    operator::Operator,
    program::Finished,
    wait,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const SETTINGS: &str = "heartbeat_seconds: 5\n";

struct Desk {
    folder: TempDir,
    authority: Authority,
}

impl Desk {
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.authority.kosctl(arguments).unwrap()
    }

    /// How a command ends: its exit code, and the code of the error if it has one.
    fn ends(&self, arguments: &[&str]) -> (i32, String) {
        let done = self.run(&[arguments, &["-o", "json"]].concat());
        let error: Value = serde_json::from_str(&done.stderr).unwrap_or_default();
        (done.code(), error["item"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// What the authority holds of the log of a device.
    fn of_log(&self, device: &str, event: &str) -> Result<Vec<Value>> {
        // There may be none yet.
        let list = self.authority.json(&["audit", "list", "--log-of", device]).unwrap_or_default();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.into_iter().filter(|entry| entry["eventType"] == event).collect())
    }
}

fn quiet(version: u32, device: Option<&str>) -> String {
    let permit = format!(
        "@id(\"all\")\npermit(principal, action == Action::\"send\", resource) // {}\n;\n",
        "x".repeat(900)
    );
    let forbid = device.map(|device| {
        format!(
            "@id(\"no-log\")\nforbid(principal == Device::\"{device}\", action == Action::\"send\", resource == Message::\"LOG\");\n"
        )
    });
    format!("// manifest quiet {version}\n{permit}{}", forbid.unwrap_or_default())
}

/// What is in force differs in nothing from itself, also for a viewer; a change far behind in a policy is one.
fn compared(desk: &Desk, first: &str, id: &str) {
    let (other, none) =
        (json!({"device": id, "send": "LOG", "expect": "deny", "policy": "quiet/all"}), json!([]));
    let other = desk.write("other.json", &json!({ "cases": [other] }).to_string());
    let told = desk.run(&["policy", "test", &other, "-o", "json"]);
    let said: Value = serde_json::from_str(&told.stdout).unwrap();
    let case = &said["item"]["cases"][0];
    assert_eq!((told.code(), &case["expectedPolicy"]), (10, &"quiet/all".into()), "{said}");
    let none = desk.write("none.json", &json!({ "cases": none }).to_string());
    assert_eq!(desk.run(&["policy", "test", &none]).code(), 2);
    assert_eq!(desk.ends(&["policy", "list", "--versions", "nope"]), (3, "KOS-E0795".to_owned()));
    assert!(desk.run(&["policy", "show", "sec-2"]).stdout.contains("SEC-2"));
    assert_eq!(desk.run(&["policy", "show", "sec-2", "--version", "1"]).code(), 2);
    let absent = desk.run(&["policy", "show", "quiet", "--version", "77"]);
    assert!(absent.code() == 3 && absent.stderr.contains("no version 77"), "{}", absent.stderr);
    assert_eq!(desk.run(&["policy", "lint", first]).code(), 0, "it is in force");
    let older = desk.write("older", &quiet(1, None));
    let linted = desk.run(&["policy", "lint", &older, "-o", "json"]);
    assert!(linted.code() == 10 && linted.stdout.contains("\"kind\": \"version\""), "{}", linted.stdout);
    let typo = desk.write("typo", &quiet(9, None).replace("resource)", "resource))"));
    let linted = desk.run(&["policy", "lint", &typo]);
    assert!(linted.stdout.contains("line 3, column "), "{}", linted.stdout);
    let same = desk.run(&["policy", "diff", first]);
    assert_eq!(same.code(), 0, "{}{}", same.stdout, same.stderr);
    let vera = Operator::here(&desk.authority, "vera", "viewer").unwrap();
    let asked = |file: &str| vera.kosctl(&["--context", "home", "policy", "diff", file]).unwrap();
    assert_eq!(asked(first).code(), 0);
    let denied = vera.kosctl(&["--context", "home", "policy", "apply", first, "--yes"]).unwrap();
    assert_eq!(denied.code(), 5, "{}", denied.stderr);
    assert!(denied.stderr.contains("the role admin; you are operator vera"), "{}", denied.stderr);
    let other = quiet(1, Some(id)).replace("x\n", "x\nwhen { principal.profile > 1 }\n");
    let other = desk.write("other", &other);
    let told = asked(&other);
    assert_eq!(told.code(), 10, "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains("\n+ when { principal.profile > 1 }\n"), "{}", told.stdout);
}

fn follows(device: &Device, channel: &str) {
    wait::until("the channel", || Ok((device.status()?["channel"] == channel).then_some(()))).unwrap();
}

#[test]
fn a_manifest_is_obeyed_by_the_device_until_a_newer_one_says_otherwise() {
    let authority = Authority::start_with(SETTINGS).unwrap();
    let mut desk = Desk { folder: TempDir::new().unwrap(), authority };
    let (mut device, id) = fleet::device_in_service(&desk.authority, "quiet").unwrap();
    wait::until("the log", || Ok((!desk.of_log(&id, "device_booted")?.is_empty()).then_some(()))).unwrap();

    let none = desk.run(&["policy", "list", "--manifests"]);
    assert!(
        none.code() == 0 && none.stdout.is_empty() && none.stderr.contains("no manifests"),
        "{}",
        none.stderr
    );
    // Judged.
    let (first, bad) = (desk.write("quiet-1", &quiet(1, Some(&id))), quiet(1, Some("kdev-0000000000000000")));
    let bad = desk.write("bad", &bad);
    assert_eq!(desk.run(&["policy", "lint", &first]).code(), 0);
    let said = desk.run(&["policy", "lint", &bad, "-o", "json"]);
    assert_eq!(said.code(), 10, "{}", said.stderr);
    assert!(said.stdout.contains("unknown-entity"), "{}", said.stdout);
    assert_eq!(desk.ends(&["policy", "apply", &bad, "--yes"]), (2, "KOS-E0791".to_owned()));

    // Compared, tried, and put in force.
    let cases = |expect: &str| {
        json!({"cases": [
            {"device": id, "send": "LOG", "expect": expect, "policy": "quiet/no-log"},
            {"device": id, "send": "REPORT", "expect": "allow", "policy": "quiet/all"},
        ]})
    };
    let (right, wrong) = (
        desk.write("right.json", &cases("deny").to_string()),
        desk.write("wrong.json", &cases("allow").to_string()),
    );
    assert_eq!(desk.run(&["policy", "test", &right]).code(), 10, "nothing is in force");
    assert_eq!(desk.run(&["policy", "test", &right, "--manifest", &first]).code(), 0);
    assert_eq!(desk.run(&["policy", "diff", &first]).code(), 10);
    let applied = desk.authority.json(&["policy", "apply", &first, "--yes"]).unwrap();
    assert_eq!((&applied["item"]["name"], &applied["item"]["policies"]), (&"quiet".into(), &2.into()));
    compared(&desk, &first, &id);
    assert_eq!(desk.run(&["policy", "test", &right]).code(), 0);
    assert_eq!(desk.run(&["policy", "test", &wrong]).code(), 10);
    assert_eq!(desk.run(&["policy", "show", "quiet"]).stdout, quiet(1, Some(&id)));

    // Explained.
    let explained = desk.authority.json(&["policy", "explain", &id, "--door", "send/LOG"]).unwrap();
    let decision = &explained["items"][0];
    assert_eq!(
        (&decision["allowed"], &decision["policy"], &decision["code"]),
        (&false.into(), &"quiet/no-log".into(), &"KOS-E0790".into()),
        "{explained}"
    );

    // The device obeys: what happens on it stays on it, over a kill.
    let order = |channel: &str| {
        let ordered = desk.run(&["set-channel", "--device", &id, "--channel", channel]);
        assert_eq!(ordered.code(), 0, "{}", ordered.stderr);
    };
    wait::until("the device to refuse", || {
        let errors = device.program()?.errors();
        Ok(errors.contains("quiet/no-log").then_some(()))
    })
    .unwrap();
    let before = desk.authority.device(&id).unwrap()["lastHeartbeatAt"].clone();
    desk.authority.device_becomes(&id, "lastHeartbeatAt", |at| *at != before).unwrap();
    order("beta");
    follows(&device, "beta");
    device.kill().unwrap();
    device.run().unwrap();
    desk.authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    order("stable");
    follows(&device, "stable");
    assert!(desk.of_log(&id, "channel_changed").unwrap().is_empty());

    // An older one is refused, also after a kill of the authority.
    desk.authority.kill().unwrap();
    desk.authority.serve().unwrap();
    assert_eq!(desk.ends(&["policy", "apply", &first, "--yes"]), (6, "KOS-E0793".to_owned()));
    let listed = desk.authority.json(&["policy", "list", "--manifests"]).unwrap();
    assert_eq!(listed["items"][0]["version"], 1, "{listed}");

    // A newer one lets it report: everything that it kept, and by which policy it was kept.
    let second = desk.write("quiet-2", &quiet(2, None));
    desk.authority.json(&["policy", "apply", &second, "--yes"]).unwrap();
    wait::until("what was kept", || Ok((desk.of_log(&id, "channel_changed")?.len() >= 2).then_some(())))
        .unwrap();
    let refused = desk.of_log(&id, "policy_refused").unwrap();
    assert_eq!(refused[0]["details"]["policy"], "quiet/no-log", "{refused:?}");
    assert!(desk.of_log(&id, "policy_applied").unwrap().len() >= 2);
    let versions = desk.authority.json(&["policy", "list", "--versions", "quiet"]).unwrap();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    assert_eq!(desk.run(&["policy", "show", "quiet", "--version", "1"]).stdout, quiet(1, Some(&id)));
    assert!(desk.authority.events().unwrap().contains(&"policy_applied".to_owned()));
    device.stop().unwrap();
    desk.authority.stop().unwrap();
}
