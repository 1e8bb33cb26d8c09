//! The program from outside: words, exit codes, files, signals.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod wait;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use kos_base::{KeyAlgorithm, cbor, cose::Unsigned, key::SignatureForm};
use kos_net::keys::SigningKey;
use kosd::{
    image::{Listed, MANIFEST, Manifest},
    root::{Kind, file, seal},
};

/// A configuration that gives a device something to do: nobody listens on the discard port.
const FIXED: &str = "network: {discovery_method: fixed, authority: ['127.0.0.1:9']}\n";

struct Root(tempfile::TempDir);

impl Root {
    fn new(config: &str) -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        root.put("etc/kos/config.yaml", config.as_bytes());
        root
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn kosd(&self, words: &[&str]) -> Command {
        kosd(self.0.path(), words)
    }

    fn call(&self, words: &[&str]) -> Said {
        Said::of(&self.kosd(words).stdin(Stdio::null()).output().unwrap())
    }
}

fn kosd(root: &Path, words: &[&str]) -> Command {
    let mut kosd = Command::new(env!("CARGO_BIN_EXE_kosd"));
    kosd.args(words).env_clear().env("KOS_ROOT", root);
    kosd
}

/// What a call left behind.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn expect(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.err.contains(part), "`{part}` is not in: {}", self.err);
    }
}

/// A daemon that is stopped when the test is over.
struct Daemon(Child);

impl Daemon {
    fn start(root: &Path) -> Self {
        let child = kosd(root, &["run"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let daemon = Self(child);
        wait::until("a daemon that answers", || {
            let asked = kosd(root, &["status"]).stdin(Stdio::null()).output().unwrap();
            asked.status.success().then_some(())
        });
        daemon
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(&mut self) -> Option<i32> {
        wait::until("the daemon's end", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_configuration_that_makes_no_sense_stops_every_command_with_its_line() {
    let root = Root::new("network:\n  fallbak: []\n");
    for word in ["run", "status", "id", "enroll"] {
        root.call(&[word]).expect(2, "config.yaml:2: unknown key `fallbak`, did you mean `fallback`?");
    }
    Root::new("identity: {role: king}\n").call(&["run"]).expect(2, "KOS-E0003");
}

#[test]
fn a_device_that_nobody_enrolled_says_so() {
    let root = Root::new("");
    root.call(&["run"]).expect(3, "KOS-E0224");
    root.call(&["id"]).expect(3, "KOS-E0224");
    root.call(&["decommission", "--confirm", "x"]).expect(3, "KOS-E0224");
    root.call(&["status"]).expect(7, "no kosd runs here");
    root.call(&["enroll"]).expect(3, "KOS-E0224");
}

#[test]
fn a_ticket_is_no_argument_and_a_damaged_one_is_refused() {
    let root = Root::new("");
    assert_eq!(root.call(&["enroll", "kos1.abc"]).code, Some(2));
    assert_eq!(root.call(&["enroll", "--ticket", "kos1.abc"]).code, Some(2));
    for text in ["kos1.abc", "hello", &"kos1.".repeat(500)] {
        root.put("ticket", text.as_bytes());
        let path = root.path("ticket").display().to_string();
        root.call(&["enroll", "--ticket-file", &path]).expect(2, "KOS-E0201");

        let mut child = root.kosd(&["enroll"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Said::of(&child.wait_with_output().unwrap()).expect(2, "KOS-E0201");
    }
    // The credential counts when nothing else is given.
    let credentials = root.path("credentials");
    let enroll = |input: &str| {
        let mut enroll = root.kosd(&["enroll"]);
        enroll.env("CREDENTIALS_DIRECTORY", &credentials).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = enroll.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Said::of(&child.wait_with_output().unwrap())
    };
    enroll("").expect(3, "KOS-E0224");
    root.put("credentials/kos.ticket", b"kos1.abc");
    enroll("").expect(2, "KOS-E0201");
    root.call(&["enroll", "--ticket-file", "/nowhere"]).expect(1, "/nowhere: there is nothing of this name");
}

#[test]
fn one_daemon_runs_on_a_root_and_ends_well_after_a_signal() {
    let root = Root::new(FIXED);
    for signal in ["TERM", "INT"] {
        let mut daemon = Daemon::start(root.0.path());
        root.call(&["run"]).expect(6, "KOS-E0008");
        root.call(&["enroll"]).expect(6, "KOS-E0008");
        daemon.signal(signal);
        assert_eq!(daemon.end(), Some(0), "{signal}");
    }
}

#[test]
fn a_signal_during_the_boot_ends_it_well() {
    let root = Root::new(FIXED);
    let config = root.path("etc/kos/config.yaml");
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let child = root.kosd(&["run"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut daemon = Daemon(child);
    // Opens only once the daemon reads its configuration, which waits for the end of it.
    let mut pipe = fs::OpenOptions::new().write(true).open(&config).unwrap();
    daemon.signal("TERM");
    pipe.write_all(FIXED.as_bytes()).unwrap();
    drop(pipe);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn a_daemon_that_was_killed_leaves_nothing_in_the_way() {
    let root = Root::new(FIXED);
    let daemon = Daemon::start(root.0.path());
    daemon.signal("KILL");
    drop(daemon);
    drop(Daemon::start(root.0.path()));
}

#[test]
fn a_root_of_any_length_has_a_socket() {
    let root = Root::new("");
    let deep = root.path(&"a-folder-with-a-rather-long-name/".repeat(6));
    fs::create_dir_all(deep.join("etc/kos")).unwrap();
    fs::write(deep.join("etc/kos/config.yaml"), FIXED).unwrap();
    let _daemon = Daemon::start(&deep);
    let said = Said::of(&kosd(&deep, &["status"]).output().unwrap());
    assert!(said.out.contains("state       pending\n"), "{}", said.out);
}

#[test]
fn an_address_that_is_not_allowed_is_not_dialled_and_the_status_says_why() {
    let root = Root::new(&format!("{FIXED}services: {{allowed_endpoints: ['control.kos']}}\n"));
    let _daemon = Daemon::start(root.0.path());
    wait::until("a refusal by the allowed endpoints", || {
        root.call(&["status"]).out.contains("KOS-E0023").then_some(())
    });
}

#[test]
fn an_altered_image_ends_the_boot_and_is_recorded() {
    let key = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let signer = data_encoding::BASE64.encode(key.public().spki_der());
    let root = Root::new(&format!("{FIXED}image: {{signer: '{signer}'}}\n"));
    root.put("usr/bin/kosd", b"altered");
    let files = vec![Listed { path: "/usr/bin/kosd".to_owned(), sha256: [7; 32].into() }];
    let manifest = Manifest { product: "kitchen".to_owned(), version: "1".to_owned(), files };
    let unsigned = Unsigned::new(MANIFEST, key.public(), cbor::encode(&manifest));
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
    root.put("etc/kos/image.manifest", &unsigned.finish(signature));
    root.call(&["run"]).expect(8, "KOS-E0225");
    let log = fs::read_to_string(root.path("var/lib/kos/device/log.pending")).unwrap();
    assert!(log.contains("\"event\":\"image_altered\"") && log.contains("/usr/bin/kosd"), "{log}");
    // Nothing but the record is left of a device that has ended, and nothing comes back.
    fs::remove_file(root.path("var/lib/kos/device/log.pending")).unwrap();
    root.put("var/lib/kos/device/decommissioned.cose", b"signed");
    root.call(&["run"]).expect(8, "KOS-E0225");
    assert_eq!(fs::read_dir(root.path("var/lib/kos/device")).unwrap().count(), 1);
}

#[test]
fn a_damaged_journal_or_record_is_named_and_never_replaced() {
    for (path, content) in [
        ("etc/kos/secrets/journal", seal(Kind::Journal, b"nonsense").to_vec()),
        ("etc/kos/secrets/journal", b"".to_vec()),
        ("var/lib/kos/device/decommissioned.cose", b"nonsense".to_vec()),
    ] {
        let root = Root::new(FIXED);
        root.put(path, &content);
        root.call(&["run"]).expect(8, "KOS-E0007");
        assert!(root.call(&["run"]).err.contains(path));
        assert_eq!(file::read(&root.path(path)).unwrap().unwrap().as_slice(), content);
    }
}

#[test]
fn the_reference_page_is_the_one_in_the_repository() {
    let printed = Root::new("").call(&["reference", "config"]);
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/config.md")).unwrap();
    assert!(page.ends_with(&printed.out), "cargo xtask reference");
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_finds_hardened() {
    let unit =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/kosd.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/sbin/kosd run\n"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kosd.service");
    fs::write(&path, unit.replace("/usr/sbin/kosd", env!("CARGO_BIN_EXE_kosd"))).unwrap();
    let judge = |words: &[&str]| {
        let output =
            Command::new("systemd-analyze").args(words).arg(&path).output().expect("systemd is installed");
        let said = Said::of(&output);
        assert_eq!(said.code, Some(0), "{words:?}: {}{}", said.out, said.err);
        assert!(!said.err.contains("kosd.service"), "{}", said.err);
    };
    judge(&["verify", "--man=no"]);
    // In tenths: 2.5 of 10, where 10 is an unprotected service.
    judge(&["security", "--offline=true", "--no-pager", "--threshold=25"]);
}
