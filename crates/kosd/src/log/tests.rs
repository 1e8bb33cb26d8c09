use std::collections::BTreeSet;

use kos_audit::{LeafReading, LogCheck, tree::Tile};
use kos_keyring::{Anchor, Home, Opener, Place, Signers, TpmPlace};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// A device with a vault and a state folder.
struct Bench {
    folder: TempDir,
    keys: Keystore,
    log: DeviceLog,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        let log = DeviceLog::new(folder.path(), NOW).unwrap();
        Self { folder, keys, log }
    }

    /// The same after a restart of the program.
    fn again(self) -> Self {
        let Self { folder, keys: old, log } = self;
        drop((old, log));
        let keys = keys(folder.path());
        let log = DeviceLog::new(folder.path(), NOW).unwrap();
        let bench = Self { folder, keys, log };
        bench.open();
        bench
    }

    fn open(&self) {
        let owner =
            Owner { authority: "attic".parse().unwrap(), device: "kdev-7f4ac30123456789".parse().unwrap() };
        self.log.open(&owner, &self.keys, NOW).unwrap();
    }

    fn note(&self, event: EventType) {
        self.log.write(NOW, event, About::new());
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("log").join(path)
    }

    fn words(&self) -> Vec<String> {
        let (mut words, mut filter) = (Vec::new(), Filter { limit: usize::MAX, ..Filter::default() });
        loop {
            let (entries, next) = self.log.page(&filter);
            words.extend(entries.iter().map(|entry| entry["eventType"].as_str().unwrap().to_owned()));
            let Some(next) = next else { return words };
            filter.from = next;
        }
    }

    fn first(&self) -> Value {
        self.log.page(&Filter { limit: 1, ..Filter::default() }).0.remove(0)
    }

    /// What a stranger finds who has the folder and the key.
    fn verdict(&self) -> kos_audit::Verdict {
        let head = self.log.head().unwrap();
        let key: LogKey = head.verifier_key.parse().unwrap();
        let read = |path: &str| fs::read(self.at(path)).ok();
        let mut check = LogCheck::new(&key, &[], &head.text, None);
        for bundle in Bundle::all(check.size()) {
            let stored = check.tile(bundle.tile(), read(&bundle.tile().path()).as_deref());
            let bytes = read(&bundle.path()).unwrap_or_default();
            for (at, leaf) in Bundle::leaves(&bytes).enumerate() {
                check.leaf(LeafReading::of(leaf.unwrap(), &key), stored.get(at).copied());
            }
        }
        for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
            check.tile(tile, read(&tile.path()).as_deref());
        }
        check.finish()
    }
}

fn keys(folder: &Path) -> Keystore {
    let secrets = folder.join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    let place = Place {
        vault: secrets.join("machine.json"),
        anchor: Anchor::at(secrets.join("machine.anchor")),
        key_file: secrets.join("machine.key"),
        credentials: None,
        tpm: TpmPlace::unused(secrets.join("machine.tpm")),
        opener: Opener::KeyFile,
    };
    let signers = Signers::new(Home::Vault, kos_hardware::tpm::TpmAddress::default(), None);
    Keystore::open(place, signers, NOW).unwrap()
}

#[test]
fn what_happened_before_there_was_a_log_enters_it_first_and_the_old_file_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log"), "{\"at\":\"then\",\"event\":\"renewed\"}\n").unwrap();
    let log = DeviceLog::new(folder.path(), NOW).unwrap();
    let keys = keys(folder.path());
    let bench = Bench { folder, keys, log };
    bench.note(EventType::DeviceBooted);
    bench.log.write(NOW, EventType::KeyMade, about(json!({"key": "identity"})));
    assert!(bench.words().is_empty());
    bench.open();
    assert_eq!(bench.words(), ["log_begun", "device_booted", "key_made"]);
    assert_eq!(bench.first()["details"]["diaryBytes"], 32);
    assert!(fs::read_to_string(bench.folder.path().join("diary.jsonl")).unwrap().contains("renewed"));
    assert!(!bench.folder.path().join("log.pending").exists());
    let bench = bench.again();
    assert_eq!(bench.words().len(), 3);
    bench.log.cover(NOW);
    assert!(bench.verdict().is_ok(), "{:?}", bench.verdict().failures);
}

#[test]
fn ordinary_entries_wait_for_a_checkpoint_and_critical_ones_do_not() {
    let bench = Bench::new();
    bench.open();
    assert_eq!(bench.log.sizes(), Some((1, 1)));
    bench.note(EventType::DeviceBooted);
    assert_eq!(bench.log.sizes(), Some((2, 1)));
    bench.note(EventType::KillArmed);
    assert_eq!(bench.log.sizes(), Some((3, 3)));
    for _ in 0..UNCOVERED_MAX {
        bench.note(EventType::DeviceBooted);
    }
    assert_eq!(bench.log.sizes(), Some((3 + UNCOVERED_MAX, 3 + UNCOVERED_MAX)));
    let verdict = bench.verdict();
    assert!(verdict.is_ok() && verdict.entries_checked == 3 + UNCOVERED_MAX, "{:?}", verdict.failures);
}

#[test]
fn a_device_that_has_ended_writes_none() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join(RECORD), "signed").unwrap();
    bench.note(EventType::DeviceBooted);
    bench.open();
    bench.note(EventType::DeviceBooted);
    assert!(!bench.log.is_open() && !bench.at("tail").exists());
    assert!(!bench.folder.path().join("log.pending").exists());
}

#[test]
fn a_torn_write_is_cut_and_told_and_any_other_change_begins_another_log() {
    let bench = Bench::new();
    bench.open();
    bench.note(EventType::DeviceBooted);
    let mut tail = fs::read(bench.at("tail")).unwrap();
    tail.truncate(tail.len() - 20);
    fs::write(bench.at("tail"), &tail).unwrap();
    let mut bench = bench.again();
    assert_eq!(bench.words(), ["log_begun", "log_repaired"]);
    bench.log.cover(NOW);
    let mut keys = BTreeSet::from([bench.log.head().unwrap().verifier_key]);
    for (path, reason) in [("checkpoint", "checkpoint"), ("tile/0/000.p/2", "root"), ("", "gone")] {
        let size = bench.log.sizes().unwrap().1;
        match path {
            "" => fs::remove_dir_all(bench.at("")).unwrap(),
            path => {
                let mut bytes = fs::read(bench.at(path)).unwrap();
                bytes[30] ^= 1;
                fs::write(bench.at(path), bytes).unwrap();
            }
        }
        bench = bench.again();
        let first = bench.first();
        assert_eq!((&first["eventType"], &first["details"]["reason"]), (&"log_begun".into(), &reason.into()));
        if path == "tile/0/000.p/2" {
            assert_eq!(first["details"]["formerSize"], size);
        }
        bench.note(EventType::KillArmed);
        assert!(bench.verdict().is_ok());
        assert!(keys.insert(bench.log.head().unwrap().verifier_key), "a key that was used before");
    }
    assert!(bench.folder.path().join("log.former-2/checkpoint").is_file());
}

#[test]
fn bundles_that_the_authority_has_are_removed_and_without_it_ordinary_entries_are_lost_and_counted() {
    let bench = Bench::new();
    bench.open();
    let width = u64::from(TILE_WIDTH);
    let full = |bundles: u64| {
        while bench.log.sizes().unwrap().0 < bundles * width {
            bench.note(EventType::DeviceBooted);
        }
    };
    full(WAITING_BUNDLES);
    bench.note(EventType::DeviceBooted);
    bench.note(EventType::DeviceBooted);
    assert_eq!(bench.log.sizes().unwrap().0, WAITING_BUNDLES * width);
    bench.note(EventType::KillArmed);
    let words = bench.words();
    assert_eq!(words[words.len() - 2..], ["losses_recorded", "kill_armed"]);
    // A filter that fits nothing looks at a part of it, and says where the next one begins.
    let filter = Filter { event: Some("kill_fired".to_owned()), limit: 1, ..Filter::default() };
    assert_eq!(bench.log.page(&filter), (Vec::new(), Some(512)));
    assert_eq!(bench.log.page(&Filter { from: 512, ..filter }), (Vec::new(), None));
    bench.log.is_held(WAITING_BUNDLES * width);
    assert!(!bench.at("tile/entries/000").exists() && bench.at("tile/entries/001").exists());
    assert!(bench.at("tile/0/000").exists());
    bench.note(EventType::DeviceBooted);
    bench.log.cover(NOW);
    // What is left can be proven, and a start finds it sound.
    let bench = bench.again();
    assert_eq!(
        bench.words().len(),
        usize::try_from(width).unwrap() * usize::try_from(KEPT_BUNDLES).unwrap() + 3
    );
    assert!(bench.log.root_at(100).unwrap().is_some());
    // An authority that has lost its copy asks for what is gone: that is no other log, and this one goes on.
    let error = bench.log.message(Errand::Bring { from: 0, until: width }, NOW).unwrap_err();
    assert!(matches!(error, LogError::Removed { kept } if kept == width), "{error}");
    assert_eq!(error.damage(), None);
    // A bundle that retention does not remove is another matter, while it runs and at a start.
    fs::remove_file(bench.at("tile/entries/001")).unwrap();
    let error = bench.log.message(Errand::Bring { from: width, until: 2 * width }, NOW).unwrap_err();
    assert_eq!(error.damage(), Some("bundle"));
    let bench = bench.again();
    assert_eq!(bench.first()["details"]["reason"], "bundle");
}

#[test]
fn a_file_that_cannot_be_read_just_now_is_no_reason_to_give_the_log_up() {
    let bench = Bench::new();
    bench.open();
    bench.note(EventType::KillArmed);
    let errand = Errand::Bring { from: 1, until: 2 };
    for path in ["tile/0/000.p/2", "tile/entries/000.p/2", "checkpoint"] {
        let genuine = fs::read(bench.at(path)).unwrap();
        fs::remove_file(bench.at(path)).unwrap();
        // A read of it is an input/output error.
        std::os::unix::fs::symlink("/proc/self/mem", bench.at(path)).unwrap();
        let error = bench.log.message(errand, NOW).unwrap_err();
        assert!(matches!(error, LogError::Disk(_)) && error.damage().is_none(), "{path}: {error}");
        if path.starts_with("tile/0") {
            assert!(matches!(bench.log.root_at(2), Err(LogError::Disk(_))));
            assert!(bench.log.root_at(3).unwrap().is_none());
        }
        fs::remove_file(bench.at(path)).unwrap();
        fs::write(bench.at(path), genuine).unwrap();
        assert!(bench.log.message(errand, NOW).is_ok());
    }
    // Bytes that were read and are others are a reason.
    let mut bent = fs::read(bench.at("tile/0/000.p/2")).unwrap();
    bent.truncate(40);
    fs::write(bench.at("tile/0/000.p/2"), bent).unwrap();
    assert_eq!(bench.log.root_at(2).unwrap_err().damage(), Some("tile"));
    assert!(matches!(DeviceLog::new(bench.folder.path(), NOW).unwrap().root_at(0), Err(LogError::Closed)));
}

#[test]
fn what_is_no_file_in_the_place_of_one_begins_another_log() {
    let mut bench = Bench::new();
    bench.open();
    let victim = bench.folder.path().join("precious");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "kept").unwrap();
    std::os::unix::fs::symlink(&victim, bench.folder.path().join("log.former-3")).unwrap();
    let cases = [
        ("tail", "folder", "tail"),
        ("checkpoint", "folder", "checkpoint"),
        ("tile", "loop", "tile"),
        ("tail", "long", "tail"),
        ("", "loop", "tail"),
    ];
    for (path, what, reason) in cases {
        bench.note(EventType::KillArmed);
        let at = bench.at("").join(path);
        let at = if path.is_empty() { bench.folder.path().join("log") } else { at };
        if at.is_dir() {
            fs::remove_dir_all(&at).unwrap();
        } else {
            fs::remove_file(&at).unwrap();
        }
        match what {
            "folder" => fs::create_dir(&at).unwrap(),
            "loop" => std::os::unix::fs::symlink(&at, &at).unwrap(),
            _ => fs::File::create(&at).unwrap().set_len(1 << 30).unwrap(),
        }
        bench = bench.again();
        assert_eq!(bench.first()["details"]["reason"], reason, "{path} {what}");
    }
    assert!(victim.join("file").exists(), "a link was followed");
}

#[test]
fn what_was_kept_aside_is_marked_bounded_and_what_found_no_room_is_counted() {
    let bench = Bench::new();
    let long = "x".repeat(1_000);
    for _ in 0..70 {
        bench.log.write(NOW, EventType::ConfigRefused, about(json!({"detail": long, "pending": false})));
    }
    let path = bench.folder.path().join("log.pending");
    assert!(fs::metadata(&path).unwrap().len() <= 65_536);
    let mut lines = fs::read(&path).unwrap();
    let kept = lines.iter().filter(|byte| **byte == b'\n').count();
    // Whoever writes the disk adds what this program would not have written.
    lines.extend(br#"{"at":"2026-01-01T00:00:00.000Z","event":"kill_fired","details":{}}"#);
    lines.extend([b'\n', b'{', b'\n']);
    lines.resize(1 << 20, b' ');
    fs::write(&path, lines).unwrap();
    bench.open();
    let (entries, _) = bench.log.page(&Filter { limit: usize::MAX, ..Filter::default() });
    assert!(entries[1..].iter().all(|entry| entry["details"]["pending"] == true));
    let last = entries.last().unwrap();
    assert_eq!(last["eventType"], "losses_recorded");
    assert!(last["details"]["count"].as_u64().unwrap() >= 70 - u64::try_from(kept).unwrap());
    assert!(entries.len() <= kept + 4 && !path.exists());
}
