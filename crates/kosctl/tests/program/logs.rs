//! The audit log: a real one, made here, judged by the program from a folder and from a server.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_api::{
    audit::{AuditEntry, Checkpoint as Head},
    problem::Party,
};
use kos_audit::{
    Actor, BootId, Checkpoint, Details, Entry, EventType, LogKey, Proof, SealedEntry, Sequence, TreeHead,
    UnsignedEntry,
    tree::{Bundle, Frontier, ProofPlan, Tile, TileGrowth},
};
use kos_base::{AuthorityName, EntryId, KeyAlgorithm, PublicKey, Timestamp};

use crate::{
    program::User,
    sample::at,
    stand_in::{Asked, StandIn, Told},
};

/// A log of some entries, as files.
struct Log {
    key: LogKey,
    leaves: Vec<SealedEntry>,
    checkpoint: String,
    files: Vec<(String, Vec<u8>)>,
}

/// A log with `count` entries; logs with the same count are the same.
fn log(count: u64) -> Log {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let authority: AuthorityName = "attic".parse().unwrap();
    let key = LogKey::new(&authority, public).unwrap();
    let sign = |bytes: &[u8]| -> [u8; 64] { pair.sign(bytes).as_ref().try_into().unwrap() };
    let now = at("2026-11-20T10:00:00.000Z");
    let id = |n: u64| EntryId::from_parts(now, [u8::try_from(n % 251).unwrap(); 10]);
    let leaf = |index| {
        let entry = Entry {
            actor: Actor::Authority("attic".parse().unwrap()),
            boot_id: BootId::new(id(250)),
            details: Details::none(),
            event_type: EventType::AuthorityCreated,
            id: id(index),
            key_id: key.id(),
            sequence: Sequence::at_index(index).unwrap(),
            target: None,
            timestamp: now,
        };
        let unsigned = UnsignedEntry::new(&entry, &key).unwrap();
        let signature = sign(&unsigned.to_be_signed());
        unsigned.finish(signature)
    };
    let leaves: Vec<_> = (0..count).map(leaf).collect();
    let mut frontier = Frontier::empty();
    let hashes: Vec<_> = leaves.iter().map(SealedEntry::leaf_hash).collect();
    hashes.iter().for_each(|hash| frontier.append(*hash).unwrap());
    let head: TreeHead = frontier.head();
    let checkpoint = Checkpoint { origin: key.origin().clone(), head, time: now };
    let signed = checkpoint.finish(&key, sign(checkpoint.to_be_signed().as_bytes()));
    let growth = TileGrowth::new(0, count).unwrap();
    let tiles = growth.finish::<&[u8]>(&[], &hashes).unwrap();
    let mut files: Vec<_> = tiles.into_iter().map(|(tile, bytes)| (tile.path(), bytes)).collect();
    for bundle in Bundle::all(count) {
        let mut bytes = Vec::new();
        let first = usize::try_from(bundle.first_leaf()).unwrap();
        for leaf in leaves.iter().skip(first).take(256) {
            Bundle::push(&mut bytes, leaf.as_bytes()).unwrap();
        }
        files.push((bundle.path(), bytes));
    }
    files.push(("checkpoint".into(), signed.to_string().into_bytes()));
    Log { key, leaves, checkpoint: signed.to_string(), files }
}

impl Log {
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.files.iter().find(|(p, _)| p == path).map(|(_, bytes)| bytes.clone())
    }

    fn write(&self, user: &User) -> String {
        let folder = user.home.path().join("log");
        for (path, bytes) in &self.files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        folder.display().to_string()
    }

    fn proof(&self, index: u64) -> Proof {
        let size = u64::try_from(self.leaves.len()).unwrap();
        let plan = ProofPlan::inclusion(index, size).unwrap();
        let tiles: Vec<_> = plan.tiles().iter().map(|tile: &Tile| self.file(&tile.path()).unwrap()).collect();
        let signed = kos_audit::SignedCheckpoint::parse(&self.checkpoint).unwrap();
        let leaf = &self.leaves[usize::try_from(index).unwrap()];
        Proof::new(index, plan.finish(&tiles).unwrap(), signed).with_leaf(leaf)
    }

    /// The server that keeps it.
    fn serve(self) -> StandIn {
        StandIn::start(move |asked: &Asked| {
            if let Some(path) = asked.path.strip_prefix("/api/v1/audit/log/") {
                return self.file(path).map_or_else(Told::nothing_there, Told::bytes);
            }
            if let Some(index) = asked.path.strip_prefix("/api/v1/audit/entries/") {
                return Told::item(self.entry(index.parse().unwrap()));
            }
            self.serve_head()
        })
    }

    fn serve_head(&self) -> Told {
        Told::item(Head {
            origin: "attic/klog".into(),
            size: 0,
            root_hash: "00".repeat(32).parse().unwrap(),
            timestamp: Timestamp::default(),
            text: self.checkpoint.clone(),
            verifier_key: self.key.to_string(),
            assurance: None,
            witnessed: None,
            witnessed_text: None,
        })
    }

    fn entry(&self, index: u64) -> AuditEntry {
        let leaf = &self.leaves[usize::try_from(index).unwrap()];
        let verified = leaf.clone().verify(&self.key).unwrap();
        AuditEntry {
            index,
            id: verified.entry().id,
            timestamp: verified.entry().timestamp,
            event_type: verified.entry().event_type.to_string(),
            actor: Party::new("authority", "attic"),
            target: None,
            details: serde_json::Map::new(),
            key_id: self.key.id(),
            signature: kos_api::hex::Signature::from_bytes(verified.signature().to_vec()),
            leaf_hash: kos_api::hex::Digest::from_bytes(*leaf.leaf_hash().as_bytes()),
            merkle_proof: Some(self.proof(index).to_string()),
        }
    }
}

#[test]
fn a_copy_of_a_log_is_judged_without_a_server() {
    let (user, log) = (User::new(), log(300));
    let (folder, key) = (log.write(&user), user.write("key", log.key.to_string()));
    let held = user.write("held", &self::log(257).checkpoint);
    let verify = |more: &[&str]| {
        let run = user
            .run(&[&["audit", "verify", "--log", &folder, "--key", &key, "-o", "json"][..], more].concat());
        (run.code, run.json()["item"].clone())
    };
    let (code, verdict) = verify(&[]);
    assert_eq!((code, &verdict["ok"], &verdict["size"]), (0, &true.into(), &300.into()), "{verdict}");
    assert_eq!((&verdict["entriesChecked"], &verdict["signaturesChecked"]), (&300.into(), &300.into()));
    assert_eq!(
        (&verdict["assurance"], &verdict["origin"]),
        (&"local-integrity".into(), &"attic/klog".into())
    );
    assert_eq!(verify(&["--against", &held]).1["assurance"], "held-checkpoint");

    // That there are witnesses is said to whoever named none.
    let told = |words: &[&str]| {
        let run = user.run(&[&["audit", "verify", "--log", &folder, "--key", &key], words].concat());
        run.err.contains("witnesses cosigned this log")
    };
    assert!(!told(&[]));
    std::fs::write(format!("{folder}/checkpoint.witnessed"), &log.checkpoint).unwrap();
    assert!(told(&[]));
    std::fs::remove_file(format!("{folder}/checkpoint.witnessed")).unwrap();

    let rewound = user.write("later", &self::log(301).checkpoint);
    let (code, verdict) = verify(&["--against", &rewound]);
    assert_eq!((code, &verdict["failures"][0]["kind"]), (10, &"rewound".into()), "{verdict}");

    let bundle = format!("{folder}/tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let (code, verdict) = verify(&[]);
    assert_eq!((code, &verdict["failures"][0]["kind"]), (10, &"edited".into()), "{verdict}");
    std::fs::remove_file(bundle).unwrap();
    assert_eq!(verify(&[]).0, 10);

    let nothing = user.run(&["audit", "verify", "--log", "nowhere", "--key", &key, "-o", "json"]);
    assert_eq!((nothing.code, nothing.failure()["code"].as_str()), (3, Some("KOS-E0598")));
    std::fs::create_dir(user.path("empty")).unwrap();
    let empty = user.run(&["audit", "verify", "--log", &user.path("empty"), "--key", &key]);
    assert!(empty.err.contains("the folder has no file `checkpoint`"), "{}", empty.err);
    let foreign = user.run(&["audit", "verify", "--log", "ftp://a/b", "--key", &key]);
    assert!(foreign.code == 2 && foreign.err.contains("nothing is read by ftp://"), "{}", foreign.err);
    let words = ["audit", "verify", "--log", &folder, "--key", &key, "--archive"];
    for (archive, reason) in [(&user.path("empty"), "no file `checkpoint`"), (&folder, "")] {
        let run = user.run(&[&words[..], &[archive]].concat());
        assert_eq!(run.code == 2, !reason.is_empty(), "{}", run.err);
        assert!(run.err.contains(reason), "{}", run.err);
    }
    let keyless = user.run(&["audit", "verify", "--log", &folder]);
    assert_eq!(keyless.code, 2);
}

#[test]
fn the_servers_log_is_judged_here_by_a_key_that_was_kept() {
    let (user, log) = (User::new(), log(5));
    let key = user.write("key", log.key.to_string());
    let other = user.write("other", other_key());
    let server = log.serve();
    let verify = |more: &[&str]| {
        let words = ["audit", "verify", "-o", "json", "--server", &server.server()];
        let run = user.run(&[&words[..], more].concat());
        (run.code, run.json()["item"]["ok"].as_bool())
    };
    assert_eq!(verify(&[]), (0, Some(true)));
    assert_eq!(verify(&["--key", &key]), (0, Some(true)));
    assert_eq!(verify(&["--key", &other]), (10, Some(false)));
    // What was mixed up is said before all that follows from it.
    let words = ["audit", "verify", "-o", "json", "--server", &server.server(), "--key", &other];
    let failures = user.run(&words).json()["item"]["failures"].clone();
    let first = failures[0]["detail"].as_str().unwrap();
    assert!(first.starts_with("another key signed this: attic/klog+"), "{failures}");
    let proof = user.path("proof");
    user.run(&["audit", "prove", "3", "--out", &proof, "--server", &server.server()]);
    let run = user.run(&["audit", "prove", "--proof", &proof, "--key", &other, "-o", "json"]);
    assert!(run.json()["item"]["detail"].as_str().unwrap().starts_with("another key signed this"), "{run:?}");
}

#[test]
fn entries_that_are_archived_are_named_and_nobody_takes_what_is_left_for_the_whole_log() {
    let user = User::new();
    let server = StandIn::start(|asked: &Asked| {
        if asked.path.starts_with("/api/v1/audit/export") {
            return Told::bytes("index\n");
        }
        let log = log(5);
        let entry = log.entry(4);
        if asked.path.starts_with("/api/v1/audit/entries") {
            let archived = kos_api::audit::LeftOut { size: 4, folder: "/srv/archive".into() };
            return Told::list(&kos_api::List {
                archived: Some(archived),
                ..kos_api::List::complete(vec![entry])
            });
        }
        log.serve_head()
    });
    let note = "entries 0 to 3 are in the archive /srv/archive and were not looked at";
    for words in [&["list"][..], &["tail"], &["export"], &["export", "--out", "out.csv"]] {
        let run = user.run(&[&["audit"], words, &["--server", &server.server()]].concat());
        assert!(run.code == 0 && run.err.contains(note), "{words:?}: {run:?}");
        assert!(!run.out.contains("archive"), "{words:?}: {run:?}");
    }
    let run = user.run(&["audit", "tail", "-n", "1", "--server", &server.server()]);
    assert!(!run.err.contains(note), "as many as were asked for: {run:?}");
    let run = user.run(&["audit", "list", "-o", "json", "--server", &server.server()]);
    assert_eq!(run.json()["archived"]["size"], 4);
    assert_eq!(run.err, "");
}

#[test]
fn what_convicted_a_source_is_kept_though_it_says_something_else_when_asked_again() {
    let (user, log) = (User::new(), log(5));
    let key = user.write("key", log.key.to_string());
    let held = user.write("held", &self::log(7).checkpoint);
    let innocent = self::log(7).checkpoint;
    for range in [&[][..], &["--from", "1", "--to", "3"]] {
        let (log, innocent) = (self::log(5), innocent.clone());
        let times = AtomicUsize::new(0);
        let server = StandIn::start(move |asked: &Asked| {
            let path = asked.path.strip_prefix("/api/v1/audit/log/").unwrap_or_default();
            if path == "checkpoint" && times.fetch_add(1, Ordering::Relaxed) > 0 {
                return Told::bytes(innocent.clone());
            }
            log.file(path).map_or_else(Told::nothing_there, Told::bytes)
        });
        let address = server.server();
        let words = ["audit", "verify", "--server", &address, "--key", &key, "--against", &held];
        let run = user.run(&[&words[..], &["--evidence", "evidence", "-o", "json"], range].concat());
        assert_eq!(run.code, 10, "{}", run.err);
        let evidence = std::fs::read_to_string(user.path("evidence")).unwrap();
        assert!(evidence.contains(&self::log(5).checkpoint), "{evidence}");
        std::fs::remove_file(user.path("evidence")).unwrap();
    }
    let garbage = user.write("held", "garbage");
    let folder = log.write(&user);
    let words = ["audit", "verify", "--log", &folder, "--key", &key, "--against", &garbage];
    let run = user.run(&[&words[..], &["--evidence", "evidence", "-o", "json"]].concat());
    assert_eq!((run.code, run.failure()["code"].as_str()), (2, Some("KOS-E0596")), "{}", run.err);
    assert!(!std::path::Path::new(&user.path("evidence")).exists(), "nothing contradicts it");
}

/// The key of another log of the same name.
fn other_key() -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    LogKey::new(&"attic".parse().unwrap(), public).unwrap().to_string()
}

#[test]
fn one_entry_is_proven_and_its_proof_is_worth_something_later() {
    let (user, log) = (User::new(), log(5));
    let key = user.write("key", log.key.to_string());
    let server = log.serve();
    let out = user.path("proof");
    let run = user.run(&["audit", "prove", "3", "--out", &out, "-o", "json", "--server", &server.server()]);
    let item = run.json()["item"].clone();
    assert_eq!(
        (run.code, &item["ok"], &item["index"], &item["size"]),
        (0, &true.into(), &3.into(), &5.into()),
        "{item}"
    );
    assert_eq!(item["eventType"], "authority_created");

    let offline = |path: &str| user.run(&["audit", "prove", "--proof", path, "--key", &key, "-o", "json"]);
    assert_eq!(offline(&out).code, 0);
    let text = std::fs::read_to_string(&out).unwrap();
    let moved = user.write("moved", text.replace("index 3", "index 2"));
    assert_eq!((offline(&moved).code, offline(&moved).json()["item"]["ok"].as_bool()), (10, Some(false)));
    let garbage = offline(&user.write("garbage", "hello"));
    assert_eq!((garbage.code, garbage.failure()["code"].as_str()), (8, Some("KOS-E0506")));
}

#[test]
fn an_entry_of_a_copy_is_shown_and_proven_without_a_server() {
    let (user, log) = (User::new(), log(300));
    let (folder, key) = (log.write(&user), user.write("key", log.key.to_string()));
    let of = |words: &[&str], key: &str| {
        let run = user.run(&[&["audit"], words, &["--log", &folder, "--key", key, "-o", "json"]].concat());
        (run.code, run)
    };
    for index in ["0", "255", "256", "299"] {
        let (code, shown) = of(&["show", index], &key);
        assert_eq!(code, 0, "{}", shown.err);
        assert_eq!(shown.json()["item"]["index"].to_string(), index);
        assert_eq!(shown.json()["item"]["eventType"], "authority_created");
        let out = user.path("proof");
        let (code, proven) = of(&["prove", index, "--out", &out], &key);
        assert_eq!((code, &proven.json()["item"]["ok"]), (0, &true.into()), "{}", proven.err);
        assert_eq!(user.run(&["audit", "verify", "--proof", &out, "--key", &key]).code, 0);
    }
    let (code, beyond) = of(&["show", "300"], &key);
    assert_eq!((code, beyond.failure()["code"].as_str()), (3, Some("KOS-E0508")), "{}", beyond.err);
    let other = user.write("other", other_key());
    let (code, foreign) = of(&["show", "7"], &other);
    assert!(code == 8 && foreign.err.contains("another key signed this"), "{}", foreign.err);
    // A copy that somebody changed proves nothing.
    let bundle = format!("{folder}/tile/entries/000");
    let mut bytes = std::fs::read(&bundle).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    assert_eq!(of(&["prove", "0"], &key).0, 10);
    assert_eq!(of(&["show", "0"], &key).0, 8);
    std::fs::remove_file(bundle).unwrap();
    let (code, gone) = of(&["show", "0"], &key);
    assert!(code == 8 && gone.err.contains("is missing, or is in an archive"), "{}", gone.err);
}

#[test]
fn head_and_key_are_saved_for_the_day_when_they_are_needed() {
    let (user, log) = (User::new(), log(5));
    let (checkpoint, key) = (log.checkpoint.clone(), log.key.to_string());
    let server = log.serve();
    let run = user.run(&[
        "audit",
        "checkpoint",
        "--out",
        "head",
        "--key-out",
        "key",
        "-o",
        "json",
        "--server",
        &server.server(),
    ]);
    assert_eq!((run.code, run.json()["kind"].as_str()), (0, Some("Checkpoint")));
    assert_eq!(std::fs::read_to_string(user.path("head")).unwrap(), checkpoint);
    assert_eq!(std::fs::read_to_string(user.path("key")).unwrap().trim(), key);
}
