//! The kill switch through the programs: what is left behind, what is said of it, and who can keep it from happening.
#![cfg(test)]

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kos_base::digest::sha256;
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge::Desk,
    program::{self, Finished, Program},
    secret::Secret,
    wait,
};
use kos_emulator::SoftTpm;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
/// The five seconds, and what a slow machine needs besides.
const FIRED_WITHIN: Duration = Duration::from_secs(15);

/// `kosctl kill ..` against a socket, with something on stdin.
fn kill(socket: &Path, words: &[&str], input: &str) -> Finished {
    let server = format!("unix:{}", socket.display());
    program::run("kosctl", &[&["--server", &server, "--no-input", "kill"], words].concat(), input).unwrap()
}

fn item(socket: &Path, words: &[&str], input: &str) -> Value {
    let done = kill(socket, &[words, &["-o", "json"]].concat(), input);
    assert_eq!(done.code(), 0, "{words:?}: {}", done.stderr);
    serde_json::from_str::<Value>(&done.stdout).unwrap()["item"].clone()
}

fn name(socket: &Path) -> String {
    item(socket, &["status"], "")["name"].as_str().unwrap().to_owned()
}

/// Arms, and returns the code.
fn arm(socket: &Path, name: &str, program: &str) -> String {
    let armed = item(socket, &["arm", program, "--confirm", name], "");
    assert!(armed["targets"].as_array().is_some_and(|targets| targets.len() > 3), "{armed}");
    armed["code"].as_str().unwrap().to_owned()
}

fn socket_of(device: &Device) -> PathBuf {
    device.root().join("run/kos/kosd.sock")
}

/// Pieces of every file below `folder` that nobody else has: none of them may be found again.
fn pieces(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (path, bytes) in program::files(folder).unwrap() {
        // Certificates are public, and checkpoints of the log are meant to stay.
        if path.extension().is_some_and(|ending| ending == "crt") {
            continue;
        }
        let name = path.display().to_string();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"-----"));
        for piece in lines.flat_map(|line| line.chunks(48)).filter(|piece| piece.len() >= 24) {
            found.push((name.clone(), piece.to_vec()));
        }
    }
    assert!(!found.is_empty(), "nothing secret below {}", folder.display());
    found
}

fn assert_nowhere(folder: &Path, pieces: &[(String, Vec<u8>)], keys: &[Secret]) {
    for (path, bytes) in program::files(folder).unwrap() {
        for key in keys {
            key.is_not_in(&path.display().to_string(), &bytes).unwrap();
        }
        for (name, piece) in pieces {
            let found = bytes.windows(piece.len()).any(|part| part == piece);
            assert!(!found, "a piece of {name} is in {}", path.display());
        }
    }
}

/// How many of them are there: what is not found now would not be missed later.
fn count(folder: &Path, pieces: &[(String, Vec<u8>)]) -> usize {
    let files = program::files(folder).unwrap();
    let is_there =
        |piece: &[u8]| files.iter().any(|(_, bytes)| bytes.windows(piece.len()).any(|part| part == piece));
    pieces.iter().filter(|(_, piece)| is_there(piece)).count()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A journal whose digest is right.
fn put_journal(path: &Path, json: &Value) {
    let json = serde_json::to_string(json).unwrap();
    let digest = data_encoding::HEXLOWER.encode(&sha256(json.as_bytes()));
    fs::write(path, format!("{digest}\n{json}")).unwrap();
}

/// A copy of a program that may be deleted.
fn copied(name: &str, folder: &Path, words: &[&str]) -> (PathBuf, Command) {
    let template = program::command(name, words).unwrap();
    let path = folder.join(name);
    fs::copy(template.get_program(), &path).unwrap();
    let mut command = Command::new(&path);
    command.args(template.get_args());
    for (variable, value) in template.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    (path, command)
}

#[test]
fn an_authority_that_was_fired_leaves_its_log_a_notice_and_nothing_that_opens_anything() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    let name = name(&socket);
    let server = format!("unix:{}", socket.display());
    for words in [&["unlock", "--create"][..], &["put", "db/pass"]] {
        let done =
            program::run("kosctl", &[&["--server", &server, "vault"], words].concat(), PASSPHRASE).unwrap();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    let (mut device, _) = fleet::device_in_service(&authority, "kill-1").unwrap();
    let desk = Desk::new().unwrap();
    let (log_key, order_key) = (desk.at("log.vkey"), {
        let first = authority.json(&["audit", "list"]).unwrap();
        first["items"][0]["details"]["orderKeyId"].as_str().unwrap().to_owned()
    });
    authority.json(&["audit", "checkpoint", "--key-out", &log_key]).unwrap();
    let folder = authority.data().join("authority");
    let secrets = [pieces(&folder.join("keys")), pieces(&folder.join("vaults"))].concat();
    let keys = Secret::keys_of_authority(authority.data()).unwrap();
    assert_eq!(count(&folder, &secrets), secrets.len());

    let code = arm(&socket, &name, "--keep-program");
    let fired = item(&socket, &["fire", "--confirm", &name], &code);
    assert_eq!((&fired["complete"], &fired["recorded"]), (&true.into(), &true.into()), "{fired}");
    assert_eq!(fired["notified"], "nobody");
    for target in fired["targets"].as_array().unwrap() {
        let path = target["path"].as_str().unwrap();
        // The last one is the folder, for what was written meanwhile.
        assert!(path.ends_with('/') || !Path::new(path).exists(), "{path} is there");
        // Files on a file system: more may be said of the one whose key went before, and purged of none.
        let said = target["assurance"].as_str().unwrap();
        let is_sealed = path.ends_with("keys/machine.json");
        assert!(["cleared", "deleted", "absent"].contains(&said) != is_sealed, "{target}");
        assert_eq!(said == "crypto-erased", is_sealed, "{target}");
    }
    wait::until("the end of the authority", || Ok(authority.stop().is_ok().then_some(()))).unwrap();
    let left = ["death-notice.cose", "kill-report.json", "kill.journal", "log", "store.lock"];
    assert_eq!(names(&folder), left);
    assert_nowhere(authority.data(), &secrets, &keys);
    let report: Value = serde_json::from_slice(&fs::read(folder.join("kill-report.json")).unwrap()).unwrap();
    assert_eq!((&report["kind"], &report["item"]), (&"KillReport".into(), &fired));

    // The log is whole, and ends with the end.
    let log = folder.join("log").to_string_lossy().into_owned();
    let verdict =
        program::run("kosctl", &["audit", "verify", "--log", &log, "--key", &log_key, "-o", "json"], "");
    let verdict: Value = serde_json::from_str(&verdict.unwrap().stdout).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    let index = fired["auditIndex"].as_u64().unwrap();
    assert_eq!(verdict["item"]["size"], index + 1);

    // The notice is judged by ours and by a stranger.
    let notice = fired["notice"].as_str().unwrap();
    let judged = ["kill", "verify", notice, "--key-id", &order_key, "--log-key", &log_key, "-o", "json"];
    let judged = program::run("kosctl", &judged, "").unwrap();
    assert_eq!(judged.code(), 0, "{}{}", judged.stdout, judged.stderr);
    let judged: Value = serde_json::from_str(&judged.stdout).unwrap();
    assert_eq!(
        (&judged["item"]["name"], &judged["item"]["auditIndex"]),
        (&name.clone().into(), &index.into())
    );
    // For people, the checkpoint is lines as it was signed.
    let shown =
        program::run("kosctl", &["kill", "verify", notice, "--key-id", &order_key], "").unwrap().stdout;
    assert!(!shown.contains('\u{fffd}') && shown.lines().any(|line| line.contains("  \u{2014} ")), "{shown}");
    let nonsense = program::run("kosctl", &["kill", "verify", notice, "--key-id", "attic"], "").unwrap();
    assert!(nonsense.code() == 2 && nonsense.stderr.contains("key id"), "{}", nonsense.stderr);
    let other = program::run("kosctl", &["kill", "verify", notice, "--key-id", &"0".repeat(64)], "").unwrap();
    assert_eq!(other.code(), 10, "{}", other.stderr);
    let bytes = fs::read(notice).unwrap();
    let stranger = |bytes: &[u8]| {
        let hex = data_encoding::HEXLOWER.encode(bytes);
        desk.python("crates/kos-vault/tests/judge/notice.py", &[&hex, "kos death notice v1"]).unwrap()
    };
    let (yes, said) = stranger(&bytes);
    assert!(yes, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["name"], &said["subject"], &said["entry"]), (&name.into(), &1.into(), &index.into()));
    assert_eq!(said["keyId"], order_key);
    let mut bent = bytes;
    *bent.last_mut().unwrap() ^= 1;
    assert!(!stranger(&bent).0);
    desk.put("bent", &bent).unwrap();
    let bent = program::run("kosctl", &["kill", "verify", &desk.at("bent")], "").unwrap();
    assert_eq!(bent.code(), 8, "{}", bent.stderr);

    // It is none any more, whatever is asked.
    let data = authority.data().to_string_lossy().into_owned();
    for words in [&["serve"][..], &["init"]] {
        let done = program::run("kos-authority", &[words, &["--data", &data]].concat(), "").unwrap();
        assert_eq!(done.code(), 6, "{words:?}: {}", done.stderr);
        assert!(
            done.stderr.contains("KOS-E0695") && done.stderr.contains("death-notice.cose"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(names(&folder), left);
    device.kill().unwrap();
}

#[test]
fn a_firing_of_an_authority_that_is_cut_ends_with_the_next_start() {
    let mut cut = 0;
    for pause in [0, 4, 12, 25, 60] {
        let mut authority = Authority::start().unwrap();
        let socket = authority.socket();
        let name = name(&socket);
        let code = arm(&socket, &name, "--keep-program");
        let folder = authority.data().join("authority");
        let secrets = pieces(&folder.join("keys"));
        let keys = Secret::keys_of_authority(authority.data()).unwrap();
        let journal = folder.join("kill.journal");
        let armed = fs::read(&journal).unwrap();
        thread::scope(|scope| {
            // Whoever fires may hear nothing.
            scope.spawn(|| kill(&socket, &["fire", "--confirm", &name], &code));
            wait::until("the firing", || Ok((fs::read(&journal)? != armed).then_some(()))).unwrap();
            wait::pass(Duration::from_millis(pause));
            // It may have been faster.
            drop(authority.kill());
        });
        cut += usize::from(!folder.join("kill-report.json").exists());
        let data = authority.data().to_string_lossy().into_owned();
        let base = authority.ports().web.to_string();
        let serve = ["serve", "--data", &data, "--port-base", &base];
        let ends = || program::run("kos-authority", &serve, "").unwrap();
        let first = ends();
        assert!([0, 6].contains(&first.code()), "{pause} ms: {}", first.stderr);
        assert_eq!(ends().code(), 6, "{pause} ms");
        assert_nowhere(authority.data(), &secrets, &keys);
        let report: Value =
            serde_json::from_slice(&fs::read(folder.join("kill-report.json")).unwrap()).unwrap();
        assert_eq!(report["item"]["complete"], true, "{pause} ms: {report}");
        // Before the first destruction there were entry and notice, whenever it was cut.
        assert_eq!(report["item"]["recorded"], true, "{pause} ms: {report}");
        assert!(report["item"]["notice"].is_string(), "{pause} ms: {report}");
        assert_eq!(names(&folder.join("log")), ["checkpoint", "tile"]);
    }
    assert!(cut > 0, "no firing was cut");
}

#[test]
fn nothing_is_fired_by_mistake() {
    let mut authority = Authority::start().unwrap();
    let socket = authority.socket();
    let name = name(&socket);
    let fire = |code: &str| kill(&socket, &["fire", "--confirm", &name], code);
    let unarmed = fire("0000-0000");
    assert!(unarmed.code() == 6 && unarmed.stderr.contains("KOS-E0691"), "{}", unarmed.stderr);
    assert_eq!(kill(&socket, &["arm", "--confirm", &name], "").code(), 2, "no choice about the program");
    assert_eq!(kill(&socket, &["arm", "--keep-program"], "").code(), 2, "no name");
    assert_eq!(kill(&socket, &["arm", "--keep-program", "--confirm", "another"], "").code(), 2);
    let plan = kill(&socket, &["arm", "--keep-program", "--dry-run", "-o", "json"], "");
    assert!(
        plan.code() == 10 && plan.stdout.contains("cleared: ") && plan.stdout.contains("store.db"),
        "{}",
        plan.stdout
    );
    assert_eq!(item(&socket, &["status"], "")["state"], "safe");

    let code = arm(&socket, &name, "--keep-program");
    let again = kill(&socket, &["arm", "--delete-program", "--confirm", &name], "");
    assert!(again.code() == 6 && again.stderr.contains("KOS-E0690"), "{}", again.stderr);
    let plan = kill(&socket, &["fire", "--dry-run"], "");
    assert_eq!(plan.code(), 10, "{}", plan.stderr);
    for wrong in ["KOS-E0692", "KOS-E0692", "KOS-E0694"] {
        let refused = fire("0000-0000");
        assert!(refused.code() == 5 && refused.stderr.contains(wrong), "{}", refused.stderr);
    }
    assert!(fire(&code).stderr.contains("KOS-E0691"));

    // Taken back, and expired.
    arm(&socket, &name, "--keep-program");
    assert_eq!(item(&socket, &["disarm"], "")["state"], "safe");
    let code = arm(&socket, &name, "--keep-program");
    authority.stop().unwrap();
    let journal = authority.data().join("authority/kill.journal");
    let text = fs::read_to_string(&journal).unwrap();
    let mut json: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
    let at = json.pointer_mut("/state/armed/at").unwrap();
    *at = Value::from("2026-01-01T00:00:00.000Z");
    put_journal(&journal, &json);
    authority.serve().unwrap();
    let late = fire(&code);
    assert!(late.code() == 5 && late.stderr.contains("KOS-E0693"), "{}", late.stderr);
    let events = authority.events().unwrap();
    let of_kill: Vec<_> = events.iter().filter(|event| event.starts_with("kill_")).collect();
    let (armed, disarmed) = ("kill_armed", "kill_disarmed");
    assert_eq!(of_kill, [armed, disarmed, armed, disarmed, armed]);
    assert_eq!(authority.json(&["audit", "verify"]).unwrap()["item"]["ok"], true);
    authority.stop().unwrap();
    // A journal that nobody can read may say that it was fired.
    fs::write(&journal, "x").unwrap();
    let data = authority.data().to_string_lossy().into_owned();
    let refused = program::run("kos-authority", &["serve", "--data", &data], "").unwrap();
    assert!(
        refused.code() == 8 && refused.stderr.contains("journal"),
        "{}: {}",
        refused.code(),
        refused.stderr
    );
}

#[test]
fn a_jammed_device_is_destroyed_all_the_same_with_its_program() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "kill-2").unwrap();
    device.stop().unwrap();
    let programs = TempDir::new().unwrap();
    let root = device.root().to_string_lossy().into_owned();
    let (program, command) = copied("kosd", programs.path(), &["run", "--root", &root]);
    let mut running = Program::of("kosd", command, "").unwrap();
    let socket = socket_of(&device);
    wait::until("the device", || Ok((kill(&socket, &["status"], "").code() == 0).then_some(()))).unwrap();
    assert_eq!(name(&socket), id);
    let secrets = pieces(&device.root().join("etc/kos/secrets"));
    let keys = Secret::keys_of_device(device.root()).unwrap();
    let code = arm(&socket, &id, "--delete-program");

    // Its packets are taken and nobody answers: as good as a jammer.
    let pid = Pid::from_raw(i32::try_from(authority.pid().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let begun = Instant::now();
    let fired = kill(&socket, &["fire", "--confirm", &id, "-o", "json"], &code);
    let took = begun.elapsed();
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(fired.code(), 0, "{}", fired.stderr);
    let fired = serde_json::from_str::<Value>(&fired.stdout).unwrap()["item"].clone();
    assert!(took >= Duration::from_secs(4) && took < FIRED_WITHIN, "{took:?}: {fired}");
    assert_eq!((&fired["notified"], &fired["complete"]), (&"unreached".into(), &true.into()), "{fired}");
    let said = |at: usize| fired.pointer(&format!("/targets/{at}/assurance")).cloned().unwrap();
    assert_eq!((said(0), said(1)), ("cleared".into(), "crypto-erased".into()), "{fired}");
    assert!(running.ended().unwrap().success());
    assert!(!program.exists(), "the program is still there");
    assert_nowhere(device.root(), &secrets, &keys);
    let state = device.root().join("var/lib/kos/device");
    let kept = ["death-notice.cose", "decommissioned.cose", "kill-report.json", "kill.journal"];
    assert_eq!(names(&state), kept);

    // A stranger's judge, and the id that the authority's log has.
    let notice = fs::read(fired["notice"].as_str().unwrap()).unwrap();
    let desk = Desk::new().unwrap();
    let hex = data_encoding::HEXLOWER.encode(&notice);
    let (yes, said) =
        desk.python("crates/kos-vault/tests/judge/notice.py", &[&hex, "kos death notice v1"]).unwrap();
    assert!(yes, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["keyId"], &said["programDeleted"]),
        (&authority.device(&id).unwrap()["identityKeyId"], &true.into())
    );

    // Another program on the same disk delivers what could not be told.
    device.run().unwrap();
    authority.device_becomes(&id, "state", |state| state == "decommissioned").unwrap();
    assert_nowhere(device.root(), &secrets, &keys);
    drop(device.stop());
}

#[test]
fn a_firing_of_a_device_that_is_cut_ends_with_the_next_start() {
    let authority = Authority::start().unwrap();
    let mut cut = 0;
    for pause in [0, 3, 10] {
        let (mut device, id) = fleet::device_in_service(&authority, &format!("kill-cut-{pause}")).unwrap();
        let socket = socket_of(&device);
        let code = arm(&socket, &id, "--keep-program");
        let secrets = pieces(&device.root().join("etc/kos/secrets"));
        let keys = Secret::keys_of_device(device.root()).unwrap();
        let journal = device.root().join("var/lib/kos/device/kill.journal");
        let armed = fs::read(&journal).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| kill(&socket, &["fire", "--confirm", &id], &code));
            wait::until("the firing", || Ok((fs::read(&journal)? != armed).then_some(()))).unwrap();
            wait::pass(Duration::from_millis(pause));
            drop(device.kill());
        });
        cut += usize::from(!device.root().join("var/lib/kos/device/kill-report.json").exists());
        let root = device.root().to_string_lossy().into_owned();
        let done = program::run("kosd", &["run", "--root", &root], "").unwrap();
        assert_eq!(done.code(), 0, "{pause} ms: {}", done.stderr);
        assert_nowhere(device.root(), &secrets, &keys);
        let report = device.root().join("var/lib/kos/device/kill-report.json");
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report["item"]["complete"], true, "{pause} ms: {report}");
        assert!(report["item"]["notice"].is_string(), "{pause} ms: {report}");
    }
    assert!(cut > 0, "no firing was cut");
}

/// In the place of the TPM somebody who takes connections and never says a word.
fn hang(tpm: &mut SoftTpm) -> UnixListener {
    tpm.kill();
    drop(fs::remove_file(tpm.socket()));
    UnixListener::bind(tpm.socket()).unwrap()
}

fn report(file: &Path) -> Value {
    let report: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(report["item"]["complete"], true, "{report}");
    report["item"].clone()
}

#[test]
fn a_tpm_that_hangs_does_not_keep_a_device_from_being_destroyed() {
    let authority = Authority::start().unwrap();
    for is_cut in [false, true] {
        let mut tpm = SoftTpm::new();
        let secrets = format!("secrets:\n  opener: tpm\n  keys: tpm\n  tpm: \"{}\"\n", tpm.address());
        let mut device = Device::new(&format!("kill-hang-{is_cut}"), &secrets).unwrap();
        let id = fleet::bring_into_service(&authority, &mut device).unwrap();
        let socket = socket_of(&device);
        let code = arm(&socket, &id, "--keep-program");
        let state = device.root().join("var/lib/kos/device");
        let armed = fs::read(state.join("kill.journal")).unwrap();
        let _deaf = hang(&mut tpm);
        let mut begun = Instant::now();
        if is_cut {
            thread::scope(|scope| {
                scope.spawn(|| kill(&socket, &["fire", "--confirm", &id], &code));
                let fired = || Ok((fs::read(state.join("kill.journal"))? != armed).then_some(()));
                wait::until("the firing", fired).unwrap();
                device.kill().unwrap();
            });
            assert!(!state.join("kill-report.json").exists());
            begun = Instant::now();
            let root = device.root().to_string_lossy().into_owned();
            let done = program::run("kosd", &["run", "--root", &root], "").unwrap();
            assert_eq!(done.code(), 0, "{}", done.stderr);
        } else {
            let fired = kill(&socket, &["fire", "--confirm", &id], &code);
            assert_eq!(fired.code(), 0, "{}", fired.stderr);
            assert!(device.program().unwrap().ended().unwrap().success());
        }
        assert!(begun.elapsed() < FIRED_WITHIN, "cut: {is_cut}: {:?}", begun.elapsed());
        assert_eq!(report(&state.join("kill-report.json"))["notice"], Value::Null);
        assert!(names(&device.root().join("etc/kos/secrets")).is_empty());
    }
}

#[test]
fn a_tpm_that_hangs_does_not_keep_a_firing_of_an_authority_from_going_on() {
    let mut tpm = SoftTpm::new();
    let settings = format!("keys_opener: tpm\nkeys_tpm: \"{}\"\n", tpm.address());
    let mut authority = Authority::start_with(&settings).unwrap();
    let socket = authority.socket();
    arm(&socket, &name(&socket), "--keep-program");
    authority.stop().unwrap();
    // As a cut leaves it that comes right after the firing.
    let folder = authority.data().join("authority");
    let journal = fs::read_to_string(folder.join("kill.journal")).unwrap();
    let armed: Value = serde_json::from_str(journal.split_once('\n').unwrap().1).unwrap();
    let armed = &armed["state"]["armed"];
    let targets = ["keys/", "store.db"].map(|name| folder.join(name).display().to_string());
    let targets = targets.map(|path| json!({"path": path, "key": null, "outcome": null}));
    let fired = json!({"format": "kos.kill.v1", "state": {"fired": {
        "subject": armed["subject"], "at": armed["at"], "program": armed["program"], "stage": "recording",
        "entry": null, "recorded": false, "noticed": false, "notified": "untried", "targets": targets,
        "remaining": [],
    }}});
    put_journal(&folder.join("kill.journal"), &fired);
    let _deaf = hang(&mut tpm);
    let data = authority.data().to_string_lossy().into_owned();
    let base = authority.ports().web.to_string();
    let begun = Instant::now();
    let done = program::run("kos-authority", &["serve", "--data", &data, "--port-base", &base], "").unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(begun.elapsed() < FIRED_WITHIN, "{:?}", begun.elapsed());
    let report = report(&folder.join("kill-report.json"));
    assert_eq!((&report["recorded"], &report["notice"]), (&false.into(), &Value::Null), "{report}");
    assert!(names(&folder.join("keys")).is_empty() && !folder.join("store.db").exists());
}
