//! Backups: bytes that come and go, and a passphrase that is never an argument.

use kos_api::{Problem, backup::BackupVerdict};
use kos_base::code;

use crate::{
    program::User,
    stand_in::{Asked, StandIn, Told},
};

const BYTES: usize = 300_000;

fn server() -> StandIn {
    StandIn::start(|asked: &Asked| {
        if asked.path.ends_with("/verify") {
            let whole = asked.body.len() == BYTES && asked.header("kos-passphrase") == Some("aHVudGVyMg");
            return Told::item(BackupVerdict {
                ok: whole,
                authority: Some("attic".parse().unwrap()),
                created_at: None,
                log_size: Some(5),
                root_hash: None,
                devices: Some(1),
                detail: None,
            });
        }
        match asked.json()["passphrase"].as_str() {
            Some("hunter2") => Told::bytes(vec![7; BYTES]),
            _ => Told::no(&Problem::new(code::config::BAD_REQUEST)),
        }
    })
}

#[test]
fn a_backup_is_written_whole_and_judged_by_the_authority() {
    let (server, user) = (server(), User::new());
    let run = |words: &[&str], input: &[u8]| {
        user.run_with(&[&["backup"], words, &["-o", "json", "--server", &server.server()]].concat(), input)
    };
    let made = run(&["create", "a.kos"], b"hunter2\n");
    assert_eq!((made.code, made.json()["item"]["sizeBytes"].as_u64()), (0, Some(300_000)), "{made:?}");
    let sha256 = kos_base::id::hex(&kos_base::digest::sha256(&[7; BYTES]));
    assert_eq!(made.json()["item"]["sha256"], sha256);
    assert_eq!(std::fs::read(user.path("a.kos")).unwrap(), vec![7; BYTES]);

    let file = user.write("passphrase", "hunter2\n");
    assert_eq!(run(&["verify", "a.kos", "--passphrase-file", &file], b"").code, 0);
    std::fs::write(user.path("a.kos"), b"cut").unwrap();
    let cut = run(&["verify", "a.kos", "--passphrase-file", &file], b"");
    assert_eq!((cut.code, cut.json()["item"]["ok"].as_bool()), (10, Some(false)));
}

#[test]
fn a_backup_that_fails_leaves_the_old_one() {
    let (server, user) = (server(), User::new());
    user.write("a.kos", "old");
    let words = ["backup", "create", "a.kos", "--server", &server.server()];
    assert_eq!(user.run_with(&words, b"wrong").code, 2);
    assert_eq!(user.run_with(&words, b"").code, 2, "no passphrase, no backup");
    assert_eq!(std::fs::read_to_string(user.path("a.kos")).unwrap(), "old");
    assert_eq!(std::fs::read_dir(user.home.path()).unwrap().count(), 1);
}
