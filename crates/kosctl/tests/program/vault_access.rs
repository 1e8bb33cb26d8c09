//! Vaults: what opens them beside passphrases, what is used and stays, and what a slip at the keyboard does.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use data_encoding::{BASE64, HEXLOWER};
use kos_api::{
    List, Problem,
    text::SecretText,
    vault::{
        SharePurpose, Vault, VaultAuthoriser, VaultCode, VaultMac, VaultPasskey, VaultRefusal,
        VaultSignature, VaultSlot, VaultState,
    },
};
use kos_base::code;

use crate::{
    program::User,
    sample::at,
    stand_in::{Asked, StandIn, Told},
    vaults::{recovery, run, server, sharing, sit, vault, words},
};

const EPHEMERAL: [u8; 32] = [5; 32];

fn public(private: [u8; 32]) -> [u8; 32] {
    let key = PrivateKey::from_private_key(&X25519, &private).unwrap();
    key.compute_public_key().unwrap().as_ref().try_into().unwrap()
}

fn asking(vault: Vault) -> Vault {
    let added_at = at("2026-11-20T10:00:00.000Z");
    let authoriser = VaultAuthoriser { kind: "totp".into(), added_at, detail: "worth this".into() };
    Vault { authoriser: Some(authoriser), ..vault }
}

#[test]
fn an_offline_key_stays_in_its_file_and_what_it_agrees_on_is_sent() {
    let user = User::new();
    let file = user.path("offline");
    let made = user.run(&["vault", "offline-key", "make", "--out", &file, "-o", "json"]);
    assert_eq!(made.code, 0, "{made:?}");
    let recipient = made.json()["item"]["recipient"].as_str().unwrap().to_owned();
    assert!(recipient.starts_with("kos-offline:"), "{recipient}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let secret = text.lines().find(|line| line.starts_with("kos-offline-secret:")).unwrap().to_owned();
    assert!(text.contains(&recipient) && !made.out.contains(&secret) && !made.err.contains(&secret));
    let again = user.run(&["vault", "offline-key", "make", "--out", &file]);
    assert!(again.code == 2 && again.err.contains("is there already"), "{again:?}");

    let first = server(None, b"");
    let passphrase = user.write("pass", "x\n");
    let add = ["offline-key", "add", "--passphrase-file", &passphrase];
    for key in [&["--recipient", &recipient][..], &["--key-file", &file]] {
        assert_eq!(run(&first, &[&add[..], key].concat(), b"").code, 0);
    }
    let asked = first.asked();
    let bodies: Vec<_> = asked.iter().filter(|asked| asked.method == "PUT").map(Asked::json).collect();
    assert_eq!(bodies[0], bodies[1]);
    let hex = bodies[0]["recipient"].as_str().unwrap().to_owned();
    let line = format!("PUT /api/v1/vaults/default/offline-keys/offline-{}", &hex[..8]);
    assert!(asked.iter().any(|asked| asked.line() == line), "{line}");
    let nonsense = run(&first, &[&add[..], &["--recipient", &secret]].concat(), b"");
    assert!(nonsense.code == 2 && !nonsense.err.contains(&secret), "{nonsense:?}");

    let (told, moment) = (hex.clone(), at("2026-11-20T10:00:00.000Z"));
    let second = StandIn::start(move |_: &Asked| {
        let slot = VaultSlot {
            name: "offline".into(),
            kind: "offline".into(),
            source: None,
            created_at: moment,
            recipient: Some(told.clone()),
            ephemeral: Some(HEXLOWER.encode(&public(EPHEMERAL))),
            passkey: None,
        };
        Told::item(Vault { slots: vec![slot], ..vault(None) })
    });
    let new = user.write("new", "a new passphrase\n");
    let recover = ["recover", "--offline-key", &file, "--new-passphrase-file", &new];
    assert_eq!(run(&second, &recover, b"").code, 0);
    let body = second.asked().pop().unwrap().json();
    let own = PrivateKey::from_private_key(&X25519, &EPHEMERAL).unwrap();
    let peer = UnparsedPublicKey::new(&X25519, HEXLOWER.decode(hex.as_bytes()).unwrap());
    let agreed = agree(&own, peer, (), |shared| Ok(BASE64.encode(shared))).unwrap();
    assert_eq!((&body["agreed"], &body["newPassphrase"]), (&agreed.into(), &"a new passphrase".into()));
    assert!(!body.to_string().contains(secret.split(':').nth(1).unwrap()));

    let missing = run(&first, &recover, b"");
    assert!(missing.code == 3 && missing.err.contains("slot of this key"), "{missing:?}");
    // Two groups that changed places.
    let (label, key) = secret.split_once(':').unwrap();
    let swapped = format!("{label}:{}-{}-{}\n", &key[5..9], &key[..4], &key[10..]);
    let slip = user.write("slip", swapped);
    let damaged = run(&first, &["recover", "--offline-key", &slip, "--new-passphrase-file", &new], b"");
    assert_eq!(damaged.code, 8, "{damaged:?}");
}

#[test]
fn passkeys_of_other_domains_are_listed_and_no_page_is_served_for_them() {
    let elsewhere = StandIn::start(move |_: &Asked| {
        let slot = VaultSlot {
            name: "desk\u{1b}[2J".into(),
            kind: "passkey".into(),
            source: None,
            created_at: at("2026-11-20T10:00:00.000Z"),
            recipient: None,
            ephemeral: None,
            passkey: Some(VaultPasskey {
                credential_id: "B".repeat(22),
                relying_party: "kos.example".into(),
                prf_salt: "A".repeat(43),
            }),
        };
        Told::item(Vault { slots: vec![slot], ..vault(None) })
    });
    let listed = run(&elsewhere, &["passkey", "list"], b"");
    assert!(listed.code == 0 && listed.out.contains("kos.example"), "{listed:?}");
    assert!(!listed.out.contains('\u{1b}') && !listed.out.contains("PASSPHRASE"), "{listed:?}");
    assert_eq!(run(&elsewhere, &["passkey", "list", "-o", "json"], b"").json()["kind"], "VaultSlotList");
    for words in [&["unlock", "--passkey"][..], &["recover", "--passkey"]] {
        let refused = run(&elsewhere, words, b"");
        assert!(refused.code == 3 && refused.err.contains("KOS-E0620"), "{refused:?}");
        assert!(!refused.err.contains("localhost:"), "{refused:?}");
    }
    // A plan makes no passkey, uses none and serves no page.
    let passphrase = User::new();
    let file = passphrase.write("pass", "x\n");
    for words in [
        &["unlock", "--passkey", "--dry-run"][..],
        &["passkey", "add", "--passphrase-file", &file, "--dry-run"],
    ] {
        assert!(!run(&elsewhere, words, b"").err.contains("localhost:"));
        let asked = elsewhere.asked().pop().unwrap();
        assert!(asked.path.ends_with("?dryRun=true"), "{}", asked.line());
    }
    let both = run(&elsewhere, &["unlock", "--passkey", "--passphrase-file", &file], b"");
    assert_eq!(both.code, 2);
    assert_eq!(run(&elsewhere, &["unlock", "--passkey", "--port", "80"], b"").code, 2);
}

#[test]
fn what_a_secret_makes_goes_into_a_pipe_and_all_of_it_into_a_document() {
    let server = StandIn::start(|asked: &Asked| match asked.path.split('/').nth(5).unwrap() {
        "sign" => Told::item(VaultSignature {
            name: "key".into(),
            version: 1,
            algorithm: "ed25519".into(),
            public_key: "cHVibGlj".into(),
            signature: "c2lnbmVk".into(),
        }),
        "hmac" => Told::item(VaultMac { name: "key".into(), version: 1, mac: "00ff".into() }),
        _ => Told::item(VaultCode {
            name: "key".into(),
            version: 1,
            code: SecretText::new("123456".into()),
            valid_until: at("2026-11-20T10:00:30.000Z"),
        }),
    });
    for (operation, value, field) in
        [("sign", "c2lnbmVk\n", "signature"), ("hmac", "00ff\n", "mac"), ("totp", "123456\n", "code")]
    {
        let plain = run(&server, &["use", operation, "key"], b"a message\n");
        assert_eq!((plain.code, plain.out.as_str()), (0, value), "{plain:?}");
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.line(), format!("POST /api/v1/vaults/default/{operation}/key"));
        if operation != "totp" {
            assert_eq!(asked.json()["message"], BASE64.encode(b"a message\n"), "byte for byte");
        }
        let json = run(&server, &["use", operation, "key", "-o", "json"], b"x").json();
        assert_eq!(json["item"][field], value.trim_end());
    }
}

#[test]
fn a_vault_that_asks_for_a_code_gets_one_from_a_file_or_a_person() {
    let server = StandIn::start(|asked: &Asked| {
        if asked.line() == "GET /api/v1/status" {
            return Told::bytes(crate::vaults::STATUS);
        }
        if asked.method == "PUT" && asked.json()["code"] != "654321" {
            return Told::no(&Problem::new(code::vault::VAULT_CODE));
        }
        let is_asking = asked.path != "/api/v1/vaults/fresh" && asked.method == "GET";
        Told::item(if is_asking { asking(vault(None)) } else { vault(None) })
    });
    let user = User::new();
    let nobody = run(&server, &["unlock"], b"a passphrase");
    assert!(nobody.code == 2 && nobody.err.contains("--code-file"), "{nobody:?}");
    let code = user.write("code", "123 456\n");
    assert_eq!(run(&server, &["unlock", "--code-file", &code], b"a passphrase").code, 0);
    assert_eq!(server.asked().pop().unwrap().json()["code"], "123456");
    let mut seat = sit(&user, &server, &["unlock"]);
    seat.sees("passphrase: ").types("a passphrase\n").sees("one-time code: ").types("654321\n");
    let (ended, screen) = seat.leave();
    assert!(ended == 0 && !screen.contains("654321"), "{screen}");

    // A seed is shown once, and a wrong code does not make another.
    let mut seat = sit(&user, &server, &["authoriser", "totp", "add", "--env", "fresh"]);
    seat.sees("passphrase: ").types("a passphrase\n");
    seat.sees("\u{2588}").sees("otpauth://totp/kOS:fresh%20of%20attic?secret=").sees("one-time code: ");
    seat.types("111111\n").sees("this is no code of this seed").sees("one-time code: ").types("654321\n");
    let (ended, screen) = seat.leave();
    assert_eq!(ended, 0, "{screen}");
    let puts: Vec<_> = server.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    assert_eq!(puts[0].json()["seed"], puts[1].json()["seed"]);
    assert_eq!(puts[0].json()["seed"].as_str().unwrap().len(), 32);
    let unseen = run(&server, &["authoriser", "totp", "add", "--env", "fresh"], b"x");
    assert!(unseen.code == 2 && unseen.err.contains("--seed-file"), "{unseen:?}");
}

#[test]
fn a_passphrase_is_one_line_and_nothing_else_is_taken_off_it() {
    let server = server(None, b"");
    let user = User::new();
    for (text, sent) in [(" a b \n", " a b "), ("a b\r\n", "a b"), ("a b", "a b")] {
        let file = user.write("pass", text);
        run(&server, &["unlock", "--create", "--passphrase-file", &file], b"");
        assert_eq!(server.asked().pop().unwrap().json()["passphrase"], sent, "{text:?}");
        run(&server, &["unlock", "--create"], text.as_bytes());
        assert_eq!(server.asked().pop().unwrap().json()["passphrase"], sent, "{text:?}");
    }
    let asked = server.asked().len();
    for text in ["one\ntwo\n", "one\n\n", "\none"] {
        let file = user.write("pass", text);
        let refused = run(&server, &["unlock", "--create", "--passphrase-file", &file], b"");
        assert!(refused.code == 2 && refused.err.contains("one line"), "{refused:?}");
        assert!(!refused.err.contains("two"), "{refused:?}");
    }
    assert_eq!(server.asked().len(), asked);
}

#[test]
fn ctrl_c_at_a_hidden_question_ends_with_130_and_is_no_answer() {
    let (server, user) = (server(None, b""), User::new());
    for words in [&["unlock"][..], &["unlock", "--create"], &["put", "x"]] {
        let mut seat = sit(&user, &server, words);
        seat.sees(": ").types("half\u{3}");
        let (ended, screen) = seat.leave();
        assert!(ended == 130 && !screen.contains("error"), "{words:?}: {screen}");
    }
    assert!(server.asked().iter().all(|asked| asked.method == "GET"), "{:?}", server.lines());
    let out = user.path("sheets");
    let mut seat = sit(&user, &server, &["share", "--threshold", "1", "--out", &out, "--holder", "alice"]);
    seat.sees("passphrase: ").types("x\u{3}");
    assert_eq!(seat.leave().0, 130);
    let share = ["share", "--threshold", "2", "--out", &out, "--holder", "alice", "bob", "carol"];
    let mut seat = sit(&user, &server, &share);
    seat.sees("passphrase: ").types("x\n").sees("sheet 1, of alice: ").types("\u{3}");
    let (ended, screen) = seat.leave();
    assert!(ended == 130 && !screen.contains("sheet 2") && screen.contains("the sharing holds"), "{screen}");
}

#[test]
fn names_types_and_holders_that_cannot_be_are_told_before_anything_is_sent() {
    let server = server(None, b"");
    let unnamed = run(&server, &["put", "", "-o", "json"], b"x");
    assert_eq!((unnamed.code, unnamed.failure()["code"].as_str()), (2, Some("KOS-E0618")), "{unnamed:?}");
    let typed = run(&server, &["put", "x", "--type", "nonsense"], b"x");
    assert!(typed.code == 2 && typed.err.contains("api_key") && typed.err.contains("opaque"), "{typed:?}");
    let twice = ["share", "--threshold", "2", "--no-read-back", "--out", "x", "--holder", "a", "b", "a"];
    let twice = run(&server, &twice, b"x");
    assert!(twice.code == 2 && twice.err.contains("twice"), "{twice:?}");
    assert!(server.asked().is_empty());
}

#[test]
fn whoever_goes_on_sees_who_handed_in_and_ends_what_is_complete() {
    let server_of = |handed_in, purpose, may_end| {
        StandIn::start(move |asked: &Asked| {
            if asked.line() == "GET /api/v1/vaults/default/recovery" {
                let mut state = recovery(handed_in, purpose);
                state.may_end = may_end;
                return Told::item(state);
            }
            Told::item(vault(Some(sharing())))
        })
    };
    let user = User::new();
    let new = user.write("new", "a new passphrase");
    let complete = server_of(2, SharePurpose::Recovery, true);
    let ended = run(&complete, &["recover", "--new-passphrase-file", &new], b"");
    assert!(ended.code == 0 && ended.err.contains("alice, bob handed in, which is enough"), "{ended:?}");
    assert_eq!(complete.lines().pop().unwrap(), "POST /api/v1/vaults/default/recovery/finish");
    let others = server_of(2, SharePurpose::Recovery, false);
    let ended = run(&others, &["recover", "--new-passphrase-file", &new], b"");
    assert!(ended.code == 2 && ended.err.contains("none of them is from you"), "{ended:?}");
    let begun = server_of(1, SharePurpose::Recovery, false);
    let mut seat = sit(&user, &begun, &["recover"]);
    seat.sees("alice handed in, 1 more needed of: bob").sees("share: ").types("\n");
    assert_eq!(seat.leave().0, 9);
    let rehearsed = server_of(2, SharePurpose::Rehearsal, true);
    let ended = run(&rehearsed, &["recover", "--new-passphrase-file", &new], words(1).as_bytes());
    assert!(ended.err.contains("something else is forgotten"), "{ended:?}");
}

#[test]
fn a_refused_vault_says_why_in_the_list_and_alone() {
    let code = code::vault::VAULT_BEHIND;
    let server = StandIn::start(move |asked: &Asked| {
        let refusal =
            VaultRefusal { code: code.to_string(), title: code.title().into(), fix: code.fix().into() };
        let refused = Vault { state: VaultState::Refused, refusal: Some(refusal), ..asking(vault(None)) };
        if asked.path == "/api/v1/vaults" {
            Told::list(&List::complete(vec![refused]))
        } else {
            Told::item(refused)
        }
    });
    let listed = run(&server, &["status"], b"");
    assert!(listed.err.contains(code.title()) && listed.err.contains("KOS-E0631"), "{listed:?}");
    let alone = run(&server, &["status", "--env", "default"], b"");
    for wanted in [code.title(), code.fix(), "totp", "worth this"] {
        assert!(alone.out.contains(wanted), "{wanted}: {}", alone.out);
    }
}
