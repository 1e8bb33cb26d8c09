//! The first run, as README promises it.
#![cfg(test)]

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use kos_e2e::{
    fleet::{self, Ports},
    program::{self, Program},
    wait,
};
use serde_json::Value;
use tempfile::TempDir;

fn start(data: &Path) -> Result<(Program, Value)> {
    start_with(data, &["--port-base", "0"])
}

fn start_with(data: &Path, arguments: &[&str]) -> Result<(Program, Value)> {
    let mut quickstart = begin(data, arguments)?;
    quickstart.line(|line| line == "ready")?;
    let ready = fs::read(data.join("ready.json")).context("no ready.json")?;
    Ok((quickstart, serde_json::from_slice(&ready)?))
}

fn begin(data: &Path, arguments: &[&str]) -> Result<Program> {
    let data = data.to_string_lossy().into_owned();
    Program::start("quickstart", &[&["--data", &data], arguments].concat(), "")
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

#[test]
fn a_start_after_the_end_of_the_device_says_so_and_serves() {
    let folder = TempDir::with_prefix("kos-first-run-").unwrap();
    let data = folder.path().join("data");
    let (quickstart, ready) = start(&data).unwrap();
    let id = ready["item"]["deviceId"].as_str().unwrap().to_owned();
    let socket = Path::new(ready["item"]["socket"].as_str().unwrap()).to_owned();
    fleet::json(&socket, &["decommission", "--device", &id, "--confirm", &id]).unwrap();
    wait::until("the end of the device", || {
        let device = fleet::json(&socket, &["device", "show", &id])?;
        Ok((device["item"]["state"] == "decommissioned").then_some(()))
    })
    .unwrap();
    quickstart.stop().unwrap();

    for _ in 0..2 {
        let (mut again, ready) = start(&data).unwrap();
        assert_eq!(ready["item"]["deviceId"], *id);
        assert_eq!(ready["item"]["heartbeatMs"], Value::Null);
        let said = again.stdout();
        assert!(said.contains(&format!("{}.. has ended for good: nothing is enrolled", &id[..11])), "{said}");
        assert!(said.contains("a new device:  cargo kosctl ticket create"), "{said}");
        let list = fleet::json(&socket, &["list"]).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
        assert!(again.is_running().unwrap());
        again.stop().unwrap();
    }
}

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    let folder = TempDir::with_prefix("kos-first-run-").unwrap();
    let data = folder.path().join("data");
    // One that heard the signal once it was ready would leave no trace of the difference, so only those count that did
    // not get there.
    let mut early = 0;
    for line in ["kOS ", "  ok  ", "kOS ", "  ok  "] {
        let mut quickstart = begin(&data, &["--port-base", "0"]).unwrap();
        quickstart.line(|said| said.starts_with(line)).unwrap();
        quickstart.terminate().unwrap();
        let status = quickstart.ended().unwrap();
        assert_eq!(status.code(), Some(0), "{}", quickstart.errors());
        early += u32::from(!quickstart.stdout().contains("ready"));
        assert!(!data.join("ready.json").exists());
    }
    assert!(early > 0);
    start(&data).unwrap().0.stop().unwrap();
}

#[test]
fn the_port_of_the_settings_counts_and_a_taken_block_is_passed_over() {
    let folder = TempDir::with_prefix("kos-first-run-").unwrap();
    let data = folder.path().join("data");
    let base = Ports::free().unwrap().web;
    fs::create_dir_all(data.join("authority")).unwrap();
    fs::write(data.join("authority/authority.yaml"), format!("port_base: {base}\n")).unwrap();
    let (mut quickstart, ready) = start_with(&data, &[]).unwrap();
    assert_eq!(ready["item"]["ports"]["web"], base, "{}", quickstart.stdout());
    assert!(!quickstart.stdout().contains("in use"), "{}", quickstart.stdout());
    quickstart.stop().unwrap();

    let _taken = std::net::UdpSocket::bind(("127.0.0.1", base + 1)).unwrap();
    let (mut quickstart, ready) = start_with(&data, &[]).unwrap();
    assert_ne!(ready["item"]["ports"]["web"], base);
    let note = format!("note  a port of {base} to {} is in use", base + 3);
    assert!(quickstart.stdout().contains(&note), "{}", quickstart.stdout());
    quickstart.stop().unwrap();
}

#[test]
fn the_init_system_hears_that_an_authority_is_ready_only_if_it_is() {
    let folder = TempDir::with_prefix("kos-first-run-").unwrap();
    let (data, notices) = (folder.path().join("data"), folder.path().join("notices"));
    let told = std::os::unix::net::UnixDatagram::bind(&notices).unwrap();
    told.set_nonblocking(true).unwrap();
    let data_text = data.to_string_lossy().into_owned();
    assert_eq!(program::run("kos-authority", &["init", "--data", &data_text], "").unwrap().code(), 0);
    // Nothing can be bound in the place of a folder.
    let socket = data.join("authority/run/authority.sock");
    fs::create_dir_all(&socket).unwrap();
    let serve = || {
        let words = ["serve", "--data", &data_text, "--port-base", "0"];
        let mut command = program::command("kos-authority", &words).unwrap();
        command.env("NOTIFY_SOCKET", &notices);
        command
    };
    assert_ne!(program::finish(serve(), "").unwrap().code(), 0);
    assert!(told.recv(&mut [0; 64]).is_err(), "an authority that does not listen said that it is ready");

    fs::remove_dir(&socket).unwrap();
    let mut child = serve().stderr(std::process::Stdio::null()).spawn().unwrap();
    wait::until("a word to the init system", || Ok(told.recv(&mut [0; 64]).ok())).unwrap();
    let status = fleet::json(&socket, &["status"]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status.unwrap()["kind"], "Status");
}
