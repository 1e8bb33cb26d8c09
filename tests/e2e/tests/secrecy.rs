//! What must not be seen: secrets in logs, outputs, listings and process titles; ports beyond loopback.
#![cfg(test)]

use std::fs;

use anyhow::Result;
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge,
    program::{self, Program, files},
    secret::Secret,
    wait,
};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";

/// What the system shows everybody of a process.
fn title(pid: u32) -> String {
    let read = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
}

/// Runs a program to its end and adds its title to `heard`, as it was all the time, and what it wrote to standard error.
fn watched(name: &str, arguments: &[&str], input: &str, heard: &mut String) -> String {
    let mut program = Program::start(name, arguments, input).unwrap();
    let mut seen = 0;
    let status = wait::until(&format!("the end of {name}"), || {
        let title = title(program.pid());
        seen += usize::from(title.contains(arguments[0]));
        if !heard.contains(&title) {
            *heard += &title;
        }
        program.status()
    })
    .unwrap();
    assert!(status.success(), "{name} {arguments:?}: {}", program.errors());
    assert!(seen > 0, "the title of {name} was not seen");
    *heard += &program.errors();
    program.stdout()
}

fn nowhere(secrets: &[Secret], place: &str, bytes: &[u8]) {
    for secret in secrets {
        secret.is_not_in(place, bytes).unwrap();
    }
}

#[test]
fn no_secret_is_in_a_log_a_listing_a_process_title_or_a_backup() {
    let authority = Authority::start().unwrap();
    let server = format!("unix:{}", authority.socket().display());
    let folder = TempDir::with_prefix("kos-e2e-secrecy-").unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mut heard = String::new();

    // The ticket with which a device enrols, and which is shown but once.
    let create = ["--server", &server, "ticket", "create", "--role", "sensor", "-v", "-o", "json"];
    let made = watched("kosctl", &create, "", &mut heard);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let ticket = made["item"]["text"].as_str().unwrap();
    let tickets = [Secret::of_ticket(ticket).unwrap(), Secret::text("a ticket", &ticket[60..]).unwrap()];
    let mut device = Device::new("canary", "").unwrap();
    let root = device.root().to_string_lossy().into_owned();
    let id = watched("kosd", &["enroll", "--root", &root], ticket, &mut heard).trim().to_owned();
    device.run().unwrap();
    authority.device_becomes(&id, "lastHeartbeatAt", |beat| !beat.is_null()).unwrap();
    let mut keys = Secret::keys_of_authority(authority.data()).unwrap();
    keys.extend(Secret::keys_of_device(device.root()).unwrap());

    // A backup has every key of the authority, and not in the clear.
    fs::write(at("passphrase"), PASSPHRASE).unwrap();
    let (out, passphrase) = (at("backup.age"), at("passphrase"));
    let create =
        ["--server", &server, "backup", "create", "--out", &out, "--passphrase-file", &passphrase, "-v"];
    let verify = ["backup", "verify", &out, "--passphrase-file", &passphrase];
    for arguments in [&create[..], &verify] {
        let said = watched("kosctl", arguments, "", &mut heard);
        heard += &said;
    }

    for arguments in [
        vec!["ticket", "list", "-o", "json"],
        vec!["audit", "list", "-o", "json"],
        vec!["device", "list", "-o", "wide"],
        vec!["device", "show", &id, "-o", "json"],
        vec!["identity", "chain", "--device", &id, "-o", "json"],
        vec!["authority", "show", "-o", "json"],
        vec!["operator", "list", "-o", "json"],
        vec!["status", "-o", "json"],
        vec!["doctor", "-v"],
    ] {
        let done = authority.kosctl(&arguments).unwrap();
        assert_eq!(done.code(), 0, "{arguments:?}: {}", done.stderr);
        heard += &(done.stdout + &done.stderr);
    }
    let metrics = format!("http://127.0.0.1:{}/metrics", authority.ports().web);
    heard += &judge::agrees("curl", &["-sSf", &metrics], "").unwrap();
    heard += &program::run("kosd", &["status", "--root", &root], "").unwrap().stdout;
    let daemon = device.program().unwrap();
    heard += &(title(daemon.pid()) + &daemon.stdout() + &daemon.errors());
    heard += &(title(authority.pid().unwrap()) + &authority.errors());
    assert!(heard.contains("run\0--root") && heard.contains("serve\0--data"), "titles of the daemons");

    let words = [Secret::text("a passphrase", PASSPHRASE).unwrap()];
    let key_file = authority.data().join("authority/keys/machine.key");
    let opener = data_encoding::HEXLOWER.decode(fs::read_to_string(&key_file).unwrap().trim_end().as_bytes());
    let opener = [Secret::new("what opens the keys", &opener.unwrap()).unwrap()];
    for secrets in [&keys[..], &tickets, &words, &opener] {
        nowhere(secrets, "what was heard", heard.as_bytes());
    }
    for (path, bytes) in files(authority.data()).unwrap() {
        let place = path.display().to_string();
        nowhere(&tickets, &place, &bytes);
        nowhere(&words, &place, &bytes);
        nowhere(&keys, &place, &bytes);
        if path != key_file {
            nowhere(&opener, &place, &bytes);
        }
    }
    for (path, bytes) in files(device.root()).unwrap() {
        let place = path.display().to_string();
        nowhere(&tickets, &place, &bytes);
        if !path.starts_with(device.root().join("etc/kos/secrets")) {
            nowhere(&keys, &place, &bytes);
        }
    }
    let backup = fs::read(&out).unwrap();
    assert!(backup.starts_with(b"age-encryption.org/v1"), "a backup is an age file");
    for secrets in [&keys[..], &tickets, &words, &opener] {
        nowhere(secrets, &out, &backup);
    }
    device.stop().unwrap();
}

#[test]
fn secret_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let authority = Authority::start().unwrap();
    let (mut device, _) = fleet::device_in_service(&authority, "modes").unwrap();
    for folder in [authority.data().join("authority/keys"), device.root().join("etc/kos/secrets")] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
        for (path, _) in files(&folder).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    device.stop().unwrap();
}

/// Every socket of a process on which others could knock, as `ss` tells it: protocol and local address.
fn listening(pid: u32) -> Vec<(String, String)> {
    let all = judge::agrees("ss", &["-Hlntup"], "").unwrap();
    let own = all.lines().filter(|line| line.contains(&format!(",pid={pid},")));
    let column = |line: &str, at: usize| line.split_whitespace().nth(at).unwrap().to_owned();
    own.map(|line| (column(line, 0), column(line, 4))).collect()
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("127.0.0.1:") || address.starts_with("[::1]:")
}

#[test]
fn nothing_listens_beyond_loopback_before_anybody_says_so() {
    let authority = Authority::start().unwrap();
    let (mut device, _) = fleet::device_in_service(&authority, "silent").unwrap();
    let own = listening(authority.pid().unwrap());
    assert_eq!(own.len(), 4, "three TCP ports and one UDP port: {own:?}");
    assert!(own.iter().all(|(_, address)| is_loopback(address)), "{own:?}");
    let daemons = listening(device.program().unwrap().pid());
    assert!(daemons.iter().all(|(_, address)| is_loopback(address)), "{daemons:?}");
    device.stop().unwrap();

    let folder = TempDir::with_prefix("kos-e2e-quick-").unwrap();
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let mut quickstart = Program::start("quickstart", &["--data", &data, "--port-base", "0"], "").unwrap();
    quickstart.line(|line| line == "ready").unwrap();
    let own = listening(quickstart.pid());
    assert!(own.len() >= 4 && own.iter().all(|(_, address)| is_loopback(address)), "{own:?}");
    quickstart.stop().unwrap();
}

#[test]
fn a_listener_on_another_port_would_be_seen() -> Result<()> {
    let other = std::net::TcpListener::bind("0.0.0.0:0")?;
    let own = listening(std::process::id());
    let expected = ("tcp".to_owned(), other.local_addr()?.to_string());
    assert!(own.contains(&expected), "{own:?}");
    assert!(!is_loopback(&expected.1));
    Ok(())
}
