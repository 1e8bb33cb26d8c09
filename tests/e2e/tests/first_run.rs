//! The first run, as README promises it.
#![cfg(test)]

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use kos_e2e::{
    fleet,
    program::{self, Program},
};
use serde_json::Value;
use tempfile::TempDir;

fn start(data: &Path) -> Result<(Program, Value)> {
    let data_text = data.to_string_lossy().into_owned();
    let mut quickstart = Program::start("quickstart", &["--data", &data_text, "--port-base", "0"], "")?;
    quickstart.line(|line| line == "ready")?;
    let ready = fs::read(data.join("ready.json")).context("no ready.json")?;
    Ok((quickstart, serde_json::from_slice(&ready)?))
}

#[test]
fn a_first_run_is_ready_and_a_second_one_keeps_the_device() {
    let folder = TempDir::with_prefix("kos-first-run-").unwrap();
    let data = folder.path().join("data");
    let (mut quickstart, ready) = start(&data).unwrap();
    assert_eq!(ready["apiVersion"], "kos.v1");
    assert_eq!(ready["kind"], "Ready");
    let item = &ready["item"];
    assert_eq!(item["firstRun"], true);
    assert_eq!(item["pid"], quickstart.pid());
    assert!(item["heartbeatMs"].as_u64().unwrap() <= 10_000, "{item}");
    for port in ["web", "tls", "pki"] {
        assert!(item["ports"][port].as_u64().unwrap() > 0, "{item}");
    }
    let said = quickstart.stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("kOS 0.1.0  authority \""), "{said}");
    assert!(lines[0].contains("(new)") && lines[0].contains("this machine only"), "{said}");
    assert!(
        lines[1].trim_start().starts_with("ok  keys made, store opened, audit log started (entry 1)"),
        "{said}"
    );
    assert!(lines[2].contains(" enrolled as compute, SEC-2, first heartbeat"), "{said}");
    assert!(lines[3].trim_start().starts_with("next  cargo kosctl list"), "{said}");
    assert_eq!(lines.last(), Some(&"ready"), "{said}");

    let id = item["deviceId"].as_str().unwrap();
    let socket = Path::new(item["socket"].as_str().unwrap());
    let list = fleet::json(socket, &["list"]).unwrap();
    assert_eq!(list["kind"], "DeviceList");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["deviceId"], id);
    assert_eq!(list["items"][0]["online"], true);

    let second =
        program::run("quickstart", &["--data", &data.to_string_lossy(), "--port-base", "0"], "").unwrap();
    assert_eq!(second.code(), 6, "{}", second.stderr);
    quickstart.stop().unwrap();
    assert!(!data.join("ready.json").exists(), "ready.json is removed on stop");

    let (mut again, ready) = start(&data).unwrap();
    assert_eq!(ready["item"]["firstRun"], false);
    assert_eq!(ready["item"]["deviceId"], id);
    assert!(again.stdout().lines().next().unwrap().contains("(existing)"));
    let list = fleet::json(socket, &["list"]).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    again.stop().unwrap();
}
