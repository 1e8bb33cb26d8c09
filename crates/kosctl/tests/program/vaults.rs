//! Vaults: where secrets come from and go to, what is asked of a person, and what becomes of shares.

use std::{
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicU8, Ordering},
};

use data_encoding::BASE64;
use kos_api::{
    Problem,
    plan::Plan,
    text::SecretText,
    vault::{
        SharePurpose, Vault, VaultAnchor, VaultEntry, VaultMemory, VaultRecovery, VaultSecret, VaultShares,
        VaultSharing, VaultSlot, VaultState,
    },
};
use kos_base::{Secret, code};
use kos_shares::{Commitment, FRESH_BYTES, Fresh, Identifier, Plan as Split, Share, split};

use crate::{
    program::{Run, User},
    pty::Seat,
    sample::at,
    stand_in::{Asked, StandIn, Told},
};

const PASSPHRASE: &str = "correct horse battery staple";
const HOLDERS: [&str; 3] = ["alice", "bob", "carol\u{1b}[2J"];

pub(crate) const STATUS: &str = r#"{"apiVersion":"kos.v1","kind":"Status","item":{"authority":"attic","version":"0.1.0",
    "now":"2026-11-20T10:00:00.000Z","startedAt":"2026-11-20T10:00:00.000Z","devices":{},"online":0,"openTickets":0,
    "log":{"size":1,"rootHash":"0000000000000000000000000000000000000000000000000000000000000000",
    "checkpointTime":"2026-11-20T10:00:00.000Z","assurance":"local-integrity"},
    "ports":{"web":8640,"tls":8641,"pki":8642},"reachable":"loopback"}}"#;

fn shares() -> Vec<Share> {
    let fresh = Fresh { identifier: Identifier::from_random([1, 2]), bytes: Secret::new([3; FRESH_BYTES]) };
    split(&Secret::new([4; 32]), Split::new(2, 3).unwrap(), fresh).unwrap()
}

pub(crate) fn words(number: usize) -> String {
    shares()[number - 1].to_words().expose().to_owned()
}

pub(crate) fn sharing() -> VaultSharing {
    VaultSharing {
        threshold: 2,
        total: 3,
        holders: HOLDERS.map(str::to_owned).to_vec(),
        commitments: shares().iter().map(|share| Commitment::of(share).to_string()).collect(),
        shared_at: at("2026-11-20T10:00:00.000Z"),
        rehearsed_at: None,
    }
}

pub(crate) fn vault(sharing: Option<VaultSharing>) -> Vault {
    let moment = at("2026-11-20T10:00:00.000Z");
    Vault {
        environment: "default".into(),
        vault_id: "0".repeat(32),
        state: VaultState::Unlocked,
        refusal: None,
        generation: 4,
        last_modified: moment,
        entries: Some(1),
        slots: vec![VaultSlot {
            name: "pass\u{1b}[2J".into(),
            kind: "passphrase".into(),
            source: None,
            created_at: moment,
            recipient: None,
            ephemeral: None,
            passkey: None,
        }],
        anchor: VaultAnchor { place: "log".into(), generation: 4, detail: "local integrity only".into() },
        locks_at: Some(at("2026-11-20T10:15:00.000Z")),
        memory: Some(VaultMemory { protection: "mlock".into(), detail: "never swapped".into() }),
        sharing,
        authoriser: None,
    }
}

/// How far it is when this many of them handed in.
pub(crate) fn recovery(handed_in: u8, purpose: SharePurpose) -> VaultRecovery {
    VaultRecovery {
        environment: "default".into(),
        purpose: (handed_in > 0).then_some(purpose),
        holders: HOLDERS[..usize::from(handed_in)].iter().map(|&name| name.to_owned()).collect(),
        missing: 2_u8.saturating_sub(handed_in),
        may_end: handed_in > 0,
        forgotten_at: (handed_in > 0).then(|| at("2026-11-20T10:15:00.000Z")),
    }
}

fn entry() -> VaultEntry {
    let moment = at("2026-11-20T10:00:00.000Z");
    VaultEntry {
        name: "db/pass".into(),
        kind: "password".into(),
        version: 2,
        created_at: moment,
        last_accessed_at: moment,
        expires_at: None,
        versions: 2,
    }
}

/// A server with one vault, shared or not, whose one secret is `value`.
pub(crate) fn server(sharing_of: Option<VaultSharing>, value: &'static [u8]) -> StandIn {
    let handed_in = AtomicU8::new(0);
    StandIn::start(move |asked: &Asked| {
        let path = asked.path.as_str();
        if path.contains("dryRun=true") {
            return Told::item(Plan {
                action: "vault".into(),
                object: None,
                changes: vec![],
                effects: vec!["x".into()],
            });
        }
        if path.contains("/read/") {
            return Told::item(VaultSecret {
                name: "db/pass".into(),
                kind: "password".into(),
                version: 2,
                value: SecretText::new(BASE64.encode(value)),
            });
        }
        if path.contains("/entries/") {
            return Told::item(entry());
        }
        match path.rsplit('/').next().unwrap() {
            "share" => Told::item(VaultShares {
                sharing: sharing(),
                words: (1..=3).map(|n| SecretText::new(words(n))).collect(),
            }),
            "status" => Told::bytes(STATUS),
            "file" => Told::bytes("sealed"),
            "recovery" if asked.method == "POST" => {
                let before = handed_in.fetch_add(1, Ordering::SeqCst);
                Told::item(recovery(before + 1, SharePurpose::Recovery))
            }
            "recovery" if asked.method == "GET" => Told::item(recovery(0, SharePurpose::Recovery)),
            "unlock" if asked.json()["passphrase"] != PASSPHRASE => {
                Told::no(&Problem::new(code::vault::VAULT_SECRET))
            }
            _ => Told::item(vault(sharing_of.clone())),
        }
    })
}

pub(crate) fn run(server: &StandIn, words: &[&str], input: &[u8]) -> Run {
    User::new().run_with(&[&["vault"], words, &["--server", &server.server()]].concat(), input)
}

pub(crate) fn sit(user: &User, server: &StandIn, words: &[&str]) -> Seat {
    Seat::take(user, &[&["vault"], words, &["--server", &server.server()]].concat())
}

#[test]
fn each_command_asks_for_what_it_says() {
    for (words, line, body) in [
        (
            &["unlock"][..],
            "POST /api/v1/vaults/default/unlock",
            r#"{"code":null,"passkey":null,"passphrase":"x"}"#,
        ),
        (&["unlock", "--create", "--env", "prod"], "PUT /api/v1/vaults/prod", r#"{"passphrase":"x"}"#),
        (&["lock"], "POST /api/v1/vaults/default/lock", "{}"),
        (
            &["put", "db/pass", "--type", "password"],
            "PUT /api/v1/vaults/default/entries/db/pass",
            r#"{"expiresAt":null,"type":"password","value":"eAo="}"#,
        ),
        (&["rm", "db/pass", "--yes"], "DELETE /api/v1/vaults/default/entries/db/pass", "{}"),
        (
            &["rotate", "--yes"],
            "POST /api/v1/vaults/default/rotate",
            r#"{"code":null,"newPassphrase":null,"passphrase":"x"}"#,
        ),
    ] {
        let server = server(None, b"");
        let run = run(&server, &[words, &["--dry-run", "-o", "json"]].concat(), b"x\n");
        assert_eq!((run.code, run.json()["kind"].as_str()), (10, Some("Plan")), "{words:?}: {run:?}");
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.line(), format!("{line}?dryRun=true"));
        assert_eq!(asked.json(), serde_json::from_str::<serde_json::Value>(body).unwrap());
    }
}

#[test]
fn a_wrong_passphrase_is_refused_and_no_flag_takes_one() {
    let server = server(None, b"");
    let wrong = run(&server, &["unlock", "-o", "json"], b"wrong\n");
    assert_eq!((wrong.code, wrong.failure()["code"].as_str()), (5, Some("KOS-E0608")));
    let right = run(&server, &["unlock"], format!("{PASSPHRASE}\n").as_bytes());
    assert_eq!(right.code, 0, "{right:?}");
    for flag in ["--passphrase", "--value", "--share", "--new-passphrase"] {
        assert_eq!(run(&server, &["unlock", flag, "x"], b"").code, 2);
    }
}

#[test]
fn what_needs_a_yes_is_not_done_without_one() {
    let server = server(Some(sharing()), b"");
    let user = User::new();
    let out = user.path("sheets");
    let share = ["share", "--threshold", "1", "--holder", "zoe", "--no-read-back", "--out", &out];
    for words in [&["rm", "db/pass"][..], &["rotate"], &share] {
        let run = run(&server, words, b"x");
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.err.contains("repeat with --yes"), "{run:?}");
    }
    let changes = |asked: &Asked| asked.method != "GET" && !asked.path.ends_with("dryRun=true");
    assert!(!server.asked().iter().any(changes), "{:?}", server.lines());
}

#[test]
fn a_secret_goes_into_a_pipe_as_it_is_and_into_a_file_for_its_owner() {
    let value = b"\x00s\xffe\n\n";
    let server = server(None, value);
    let user = User::new();
    let (path, address) = (user.path("out"), server.server());
    let pipe = std::process::Command::new(env!("CARGO_BIN_EXE_kosctl"))
        .args(["vault", "get", "db/pass", "--version", "2", "--server", &address])
        .output()
        .unwrap();
    assert_eq!((pipe.stdout.as_slice(), pipe.stderr.as_slice()), (&value[..], &b""[..]));
    // Whether it asks for a code is seen first.
    let asked = ["GET /api/v1/vaults/default", "POST /api/v1/vaults/default/read/db/pass?version=2"];
    assert_eq!(server.lines(), asked);
    let file = run(&server, &["get", "db/pass", "--out", &path], b"");
    assert_eq!((file.code, file.out.as_str()), (0, ""), "{file:?}");
    assert_eq!(std::fs::read(&path).unwrap(), value);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let json = run(&server, &["get", "db/pass", "-o", "json"], b"").json();
    assert_eq!(
        (&json["kind"], &json["item"]["value"]),
        (&"VaultSecret".into(), &BASE64.encode(value).into())
    );
}

#[test]
fn a_terminal_gets_a_secret_only_after_a_yes() {
    let (server, user) = (server(None, b"hunter2"), User::new());
    let mut seat = sit(&user, &server, &["get", "db/pass"]);
    seat.sees("show db/pass on this terminal? [y/N]").types("n\n");
    let (code, screen) = seat.leave();
    assert!(code == 1 && !screen.contains("hunter2"), "{screen}");
    assert_eq!(server.lines(), <[&str; 0]>::default(), "what is not shown is not read");
    let mut seat = sit(&user, &server, &["get", "db/pass"]);
    seat.sees("[y/N]").types("y\n").sees("hunter2\r\n");
    assert_eq!(seat.leave().0, 0);
    let (code, screen) = sit(&user, &server, &["get", "db/pass", "--yes"]).leave();
    assert!(code == 0 && screen.contains("hunter2"), "{screen}");
}

#[test]
fn a_secret_that_commands_the_terminal_is_not_shown() {
    let (server, user) = (server(None, b"a\x1b[2Jb"), User::new());
    let (code, screen) = sit(&user, &server, &["get", "db/pass", "--yes"]).leave();
    assert!(code == 2 && screen.contains("--out FILE") && !screen.contains("\u{1b}[2J"), "{screen}");
}

#[test]
fn what_is_typed_ends_at_the_line_and_is_not_seen() {
    let (server, user) = (server(None, b""), User::new());
    let mut seat = sit(&user, &server, &["put", "db/pass"]);
    seat.sees("secret: ").types("hunter2\n");
    let (code, screen) = seat.leave();
    assert!(code == 0 && !screen.contains("hunter2"), "{screen}");
    assert_eq!(server.asked()[0].json()["value"], BASE64.encode(b"hunter2"));
    let mut seat = sit(&user, &server, &["unlock", "--create"]);
    seat.sees("passphrase: ").types("one passphrase\n").sees("again: ").types("another passphrase\n");
    let (code, screen) = seat.leave();
    assert!(code == 2 && screen.contains("these are two passphrases"), "{screen}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_status_cannot_command_a_terminal_and_an_export_is_for_its_owner() {
    let server = server(Some(sharing()), b"");
    let status = run(&server, &["status", "--env", "default"], b"");
    assert_eq!(status.code, 0, "{status:?}");
    for wanted in ["local integrity only", "alice, bob, carol\u{fffd}[2J", "pass\u{fffd}[2J", "unlocked"] {
        assert!(status.out.contains(wanted), "{wanted}: {}", status.out);
    }
    let user = User::new();
    let path = user.path("vault");
    let file = run(&server, &["export", "--out", &path, "-o", "json"], b"").json();
    assert_eq!((&file["kind"], &file["item"]["bytes"]), (&"SealedFile".into(), &6.into()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn sheets_are_for_their_owner_and_words_are_not_printed() {
    let (server, user) = (server(None, b""), User::new());
    for (folder, more, shown) in
        [("a", &[][..], false), ("b", &["-o", "json"], false), ("c", &["--show"], true)]
    {
        let out = user.path(folder);
        let words_of = ["share", "--threshold", "2", "--no-read-back", "--out", &out, "--holder"];
        let run = run(&server, &[&words_of[..], &["alice", "bob", "carol"], more].concat(), b"x\n");
        assert_eq!(run.code, 0, "{run:?}");
        let first = words(1);
        assert_eq!(run.out.contains(&first), shown, "{}", run.out);
        assert!(!run.err.contains(first.split(' ').nth(2).unwrap()), "{}", run.err);
        for (name, mark) in [("01-alice.txt", "   1. "), ("03-carol.html", "<svg")] {
            let path = format!("{out}/{name}");
            assert!(std::fs::read_to_string(&path).unwrap().contains(mark), "{name}");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 6);
    }
    let asked = server.asked().len();
    let share = ["share", "--threshold", "2", "--holder", "alice", "--holder", "bob", "--out"];
    let again = run(&server, &[&share[..], &[&user.path("a"), "--no-read-back"]].concat(), b"x\n");
    assert!(again.code == 2 && again.err.contains("is not empty"), "{again:?}");
    let unread = run(&server, &[&share[..], &[&user.path("d")]].concat(), b"x\n");
    assert!(unread.code == 2 && unread.err.contains("repeat with --no-read-back"), "{unread:?}");
    assert!(server.asked()[asked..].iter().all(|asked| asked.method == "GET"));
}

#[test]
fn sheets_are_read_back_until_they_are_those_that_were_made() {
    let (server, user) = (server(None, b""), User::new());
    let out = user.path("sheets");
    let share = ["share", "--threshold", "2", "--out", &out, "--holder", "alice", "bob", "carol"];
    let mut seat = sit(&user, &server, &share);
    seat.sees("passphrase: ").types("x\n").sees("sheet 1, of alice: ").types(&(words(2) + "\n"));
    seat.sees("this is another sheet").sees("sheet 1, of alice: ").types(&(words(1) + "\n"));
    seat.sees("sheet 2, of bob: ").types("\n").sees("sheet 3, of carol: ").types(&(words(3) + "\n"));
    let (code, screen) = seat.leave();
    assert!(code == 9 && screen.contains("not read back: bob"), "{screen}");
    assert!(!screen.contains(&words(1)), "{screen}");
}

#[test]
fn a_slip_of_the_pen_is_told_by_its_place_and_nothing_is_sent() {
    let (server, user) = (server(Some(sharing()), b""), User::new());
    let wrong = words(1).replacen(words(1).split(' ').nth(6).unwrap(), "acadmic", 1);
    let file = user.write("share", &wrong);
    let refused = run(&server, &["rehearse", "--share-file", &file, "-o", "json"], b"");
    let failure = refused.failure();
    assert_eq!((refused.code, failure["code"].as_str()), (2, Some("KOS-E0650")));
    assert!(failure["detail"].as_str().unwrap().ends_with("word 7 is not in the list of words"), "{failure}");
    assert!(!refused.err.contains("academic") && !refused.err.contains("acadmic"), "{}", refused.err);
    let second = run(&server, &["rehearse"], format!("{}\n\n{wrong}\n", words(2)).as_bytes());
    assert!(second.err.contains("line 3: word 7"), "{}", second.err);

    let mut seat = sit(&user, &server, &["rehearse"]);
    seat.sees("2 of 3 shares are needed: alice, bob, carol\u{fffd}[2J").sees("share: ");
    seat.types(&(wrong + "\n"))
        .sees("word 7 was likely meant to be `academic`")
        .sees("[KOS-E0650]")
        .sees("list of words\r\n");
    seat.sees("share: ").types("\n");
    assert_eq!(seat.leave().0, 2);
    assert!(server.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn holders_hand_in_one_after_another_and_a_sheet_will_do() {
    let (server, user) = (server(Some(sharing()), b""), User::new());
    let out = user.path("sheets");
    let made =
        ["share", "--threshold", "2", "--no-read-back", "--yes", "--out", &out, "--holder", "a", "b", "c"];
    assert_eq!(run(&server, &made, b"x").code, 0);
    let sheet = format!("{out}/01-a.txt");
    let first = run(&server, &["rehearse", "--share-file", &sheet], b"");
    assert!(
        first.code == 9 && first.err.contains("alice handed in, 1 more needed of: bob, carol"),
        "{first:?}"
    );
    assert_eq!(server.asked().pop().unwrap().json()["words"], words(1));
    let second = run(&server, &["rehearse"], words(2).as_bytes());
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(server.lines().pop().unwrap(), "POST /api/v1/vaults/default/recovery/rehearse");
}

#[test]
fn a_recovery_ends_with_a_new_passphrase_or_is_forgotten() {
    let user = User::new();
    let server_of = || server(Some(sharing()), b"");
    let server = server_of();
    let nowhere = run(&server, &["recover"], words(1).as_bytes());
    assert!(nowhere.code == 2 && nowhere.err.contains("--new-passphrase-file"), "{nowhere:?}");
    assert!(server.asked().is_empty());

    let mut seat = sit(&user, &server, &["recover"]);
    seat.sees("share: ").types(&(words(1) + "\n")).sees("alice handed in, 1 more needed");
    seat.sees("share: ").types(&(words(2) + "\n")).sees("new passphrase: ").types("one\n").sees("again: ");
    seat.types("two\n").sees("these are two passphrases").sees("new passphrase: ");
    seat.types("a new passphrase\n").sees("again: ").types("a new passphrase\n");
    let (code, screen) = seat.leave();
    assert_eq!(code, 0, "{screen}");
    let last = server.asked().pop().unwrap();
    assert_eq!(last.line(), "POST /api/v1/vaults/default/recovery/finish");
    assert_eq!(last.json()["newPassphrase"], "a new passphrase");

    let server = server_of();
    let mut seat = sit(&user, &server, &["recover"]);
    seat.sees("share: ").types(&(words(1) + "\n")).sees("1 more needed").sees("share: ").types("\u{3}");
    let (code, screen) = seat.leave();
    assert!(code == 130 && screen.contains("abandoned"), "{screen}");
    assert_eq!(server.lines().pop().unwrap(), "DELETE /api/v1/vaults/default/recovery");
}

#[test]
fn shares_of_an_attempt_that_failed_later_do_not_stop_the_next() {
    let server = StandIn::start(|asked: &Asked| {
        if asked.line() == "POST /api/v1/vaults/default/recovery" {
            return Told::no(&Problem::new(code::share::SHARE_DOUBLED));
        }
        if asked.line() == "GET /api/v1/vaults/default/recovery" {
            return Told::item(recovery(0, SharePurpose::Recovery));
        }
        Told::item(vault(Some(sharing())))
    });
    let user = User::new();
    let passphrase = user.write("new", "a new passphrase\n");
    let recover = ["recover", "--new-passphrase-file", &passphrase];
    let run = run(&server, &recover, format!("{}\n{}\n", words(1), words(2)).as_bytes());
    assert_eq!(run.code, 0, "{run:?}");
    let last = server.asked().pop().unwrap();
    assert_eq!(last.line(), "POST /api/v1/vaults/default/recovery/finish");
    assert_eq!(last.json()["newPassphrase"], "a new passphrase");
}

#[test]
fn a_vault_that_was_not_shared_is_not_recovered() {
    let run = run(&server(None, b""), &["rehearse", "-o", "json"], b"");
    assert_eq!((run.code, run.failure()["code"].as_str()), (3, Some("KOS-E0013")), "{run:?}");
}
