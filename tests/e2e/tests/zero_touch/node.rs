//! Devices that vouch for others.

use std::fs;

use kos_e2e::{
    fleet::{self, Authority, Device},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

use super::cast::{newcomer, only, text, withheld};

const PAPERS: &str = "enrolment:\n  vouch: /etc/kos/vouch\n";

/// A grant for a device in service, as a file.
fn granted(authority: &Authority, desk: &TempDir, node: &str, uses: &str) -> (Value, String) {
    let file = desk.path().join(format!("grant-{uses}")).to_string_lossy().into_owned();
    let add = ["voucher", "node", "add", node, "--uses", uses, "--profile", "SEC-1", "--for", "1h"];
    let item = authority.json(&[&add[..], &["--out", &file, "--yes"]].concat()).unwrap();
    (item["item"].clone(), file)
}

fn key_of(device: &Device) -> String {
    device.says(&["factory"]).unwrap().lines().next().unwrap().to_owned()
}

/// The node speaks for the identity key of `of`, and the word goes to `device`.
fn vouched(node: &Device, grant: &str, of: &Device, device: &Device) {
    let file = device.root().join("etc/kos/vouch").to_string_lossy().into_owned();
    let words = ["vouch", "--grant", grant, "--key", &key_of(of), "--profile", "SEC-1", "--out", &file];
    node.says(&words).unwrap();
}

#[test]
fn a_device_in_service_lets_in_as_many_as_it_was_granted() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let (mut node, id) = fleet::device_in_service(&authority, "zt-n0").unwrap();
    let desk = TempDir::new().unwrap();
    let (grant, file) = granted(&authority, &desk, &id, "1");
    let grant = text(&grant["grantId"]);

    let mut first = newcomer(&authority, "zt-n1", PAPERS);
    vouched(&node, &file, &first, &first);
    first.run().unwrap();
    let vouched_for = wait::until("the second device", || {
        let list = authority.json(&["device", "list", "--state", "active"])?;
        let found = list["items"].as_array().into_iter().flatten();
        Ok(found.into_iter().find(|device| device["deviceId"] != id.as_str()).cloned())
    });
    let shown = authority.device(&text(&vouched_for.unwrap()["deviceId"])).unwrap();
    assert_eq!(shown["admittedBy"], format!("vouched for by {id} under grant {grant}"));
    assert_eq!(shown["profile"], "SEC-1", "it asked for SEC-2, and the word was for SEC-1");
    let list = authority.json(&["voucher", "node", "list"]).unwrap();
    assert_eq!((&list["items"][0]["uses"], &list["items"][0]["state"]), (&1.into(), &"spent".into()));

    // Used up, by a word that the node gave before it knew.
    let mut second = newcomer(&authority, "zt-n2", PAPERS);
    vouched(&node, &file, &second, &second);
    second.run().unwrap();
    let waiting = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &waiting, "KOS-E0816");
    assert!(text(&second.status().unwrap()["stateReason"]).contains("KOS-E0816"));
    authority.json(&["device", "reject", &waiting, "--reason", "used up", "--yes"]).unwrap();
    second.stop().unwrap();

    // Another device carries the word.
    let (_, file) = granted(&authority, &desk, &id, "5");
    let mut thief = newcomer(&authority, "zt-n3", PAPERS);
    let honest = newcomer(&authority, "zt-n4", PAPERS);
    vouched(&node, &file, &honest, &thief);
    thief.run().unwrap();
    let waiting = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &waiting, "KOS-E0819");
    authority.json(&["device", "reject", &waiting, "--reason", "thief", "--yes"]).unwrap();
    thief.stop().unwrap();

    // More than it was granted it does not even say.
    let words = ["vouch", "--grant", &file, "--key", &key_of(&honest), "--profile", "SEC-2"];
    let no = node.says(&[&words[..], &["--out", "/dev/null"]].concat()).unwrap_err();
    assert!(no.to_string().contains("KOS-E0819"), "{no}");

    // The node is stopped: its word is worth nothing any more, also where it was given before.
    let mut late = newcomer(&authority, "zt-n5", PAPERS);
    vouched(&node, &file, &late, &late);
    authority.json(&["device", "suspend", &id, "--reason", "lost", "--yes"]).unwrap();
    late.run().unwrap();
    let waiting = text(&only(&authority, "pending")["deviceId"]);
    withheld(&authority, &waiting, "KOS-E0818");
    drop(node.stop());
    assert!(fs::metadata(late.root().join("etc/kos/vouch")).is_ok());
}
