//! A real token in software, judged by the tools of others, taken out, exchanged, locked and lied about.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod slot;

use std::{fs, path::Path, process::Command, thread};

use kos_base::{KeyAlgorithm, code, digest::sha256, key::SignatureForm};
use kos_hardware::HardwareError;

use slot::{LABEL, with_token};

const ALGORITHMS: [KeyAlgorithm; 3] = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519];

#[test]
fn a_key_is_made_in_the_token_and_signs_what_openssl_verifies() {
    with_token("a_key_is_made_in_the_token_and_signs_what_openssl_verifies", |slot| {
        let token = slot.open();
        for algorithm in ALGORITHMS {
            let label = format!("kos {algorithm}");
            let public = token.make_key(&label, algorithm).unwrap();
            let key = token.find(&label).unwrap();
            assert_eq!(key.public(), &public);
            for form in [SignatureForm::Der, SignatureForm::Fixed] {
                let signature = key.sign(form, b"message").unwrap();
                assert_eq!(public.verify(form, b"message", &signature), Ok(()));
            }
            let signature = key.sign(SignatureForm::Der, b"message").unwrap();
            assert!(openssl_verifies(slot, &public, b"message", &signature), "{algorithm}");
            assert!(!openssl_verifies(slot, &public, b"messagf", &signature), "{algorithm}");
            assert_eq!(key.to_pkcs8().unwrap_err().code(), code::hardware::HARDWARE_ELSEWHERE);

            let listed = slot.judge(&["--list-objects", "--type", "privkey"]);
            let ours = listed.split("Private Key Object").find(|key| key.contains(&label)).unwrap();
            assert!(ours.contains("sensitive, always sensitive, never extractable, local"), "{ours}");
        }
    });
}

fn openssl_verifies(
    slot: &slot::Slot,
    public: &kos_base::PublicKey,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let [key, text, sign] = ["judge.der", "judge.txt", "judge.sig"].map(|name| slot.path(name));
    fs::write(&key, public.spki_der()).unwrap();
    fs::write(&text, message).unwrap();
    fs::write(&sign, signature).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey"]).arg(key);
    openssl.arg("-rawin").arg("-in").arg(text).arg("-sigfile").arg(sign);
    match public.algorithm() {
        KeyAlgorithm::Ed25519 => {}
        KeyAlgorithm::P256 => drop(openssl.args(["-digest", "sha256"])),
        KeyAlgorithm::P384 => drop(openssl.args(["-digest", "sha384"])),
    }
    openssl.output().expect("openssl is installed").status.success()
}

#[test]
fn the_tool_of_others_verifies_with_the_public_half_in_the_token() {
    with_token("the_tool_of_others_verifies_with_the_public_half_in_the_token", |slot| {
        let token = slot.open();
        token.make_key("kos ca", KeyAlgorithm::P256).unwrap();
        let key = token.find("kos ca").unwrap();
        let verify = |message: &[u8]| {
            fs::write(slot.path("message"), sha256(message)).unwrap();
            let [text, signature] =
                ["message", "signature"].map(|name| slot.path(name).display().to_string());
            slot.judge(&[
                "--verify",
                "--label",
                "kos ca",
                "--mechanism",
                "ECDSA",
                "--input-file",
                &text,
                "--signature-file",
                &signature,
            ])
        };
        fs::write(slot.path("signature"), key.sign(SignatureForm::Fixed, b"message").unwrap()).unwrap();
        assert!(verify(b"message").contains("Signature is valid"));
        assert!(verify(b"messagf").contains("Invalid signature"));
    });
}

#[test]
fn keys_are_found_by_label_once_and_gone_when_destroyed() {
    with_token("keys_are_found_by_label_once_and_gone_when_destroyed", |slot| {
        let token = slot.open();
        let made = token.make_key("one", KeyAlgorithm::P256).unwrap();
        let exists = HardwareError::KeyExists("one".to_owned());
        assert_eq!(token.make_key("one", KeyAlgorithm::Ed25519), Err(exists));
        assert_eq!(token.find("two").unwrap_err(), HardwareError::KeyMissing("two".to_owned()));
        let long = "x".repeat(65);
        for label in ["", "a\nb", &long] {
            assert!(matches!(token.make_key(label, KeyAlgorithm::P256), Err(HardwareError::Refused(_))));
        }

        let key = token.find("one").unwrap();
        token.destroy("one").unwrap();
        assert_eq!(token.destroy("one"), Err(HardwareError::KeyMissing("one".to_owned())));
        assert_eq!(token.find("one").unwrap_err(), HardwareError::KeyMissing("one".to_owned()));
        let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
        assert_eq!(refusal.code(), code::hardware::HARDWARE_KEY_MISSING);

        // Another key of the same label is not the key that was found.
        assert_ne!(token.make_key("one", KeyAlgorithm::P256).unwrap(), made);
        let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
        assert_eq!(refusal.code(), code::hardware::HARDWARE_KEY_MISSING);
    });
}

#[test]
fn a_key_that_can_be_taken_out_is_not_used() {
    with_token("a_key_that_can_be_taken_out_is_not_used", |slot| {
        slot.judge(&[
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--label",
            "loose",
            "--id",
            "07",
            "--extractable",
        ]);
        assert!(matches!(slot.open().find("loose"), Err(HardwareError::Refused(_))));
    });
}

#[test]
fn an_rsa_key_is_none_of_ours() {
    with_token("an_rsa_key_is_none_of_ours", |slot| {
        slot.judge(&["--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "08"]);
        let refusal = slot.open().find("rsa").unwrap_err();
        assert!(matches!(refusal, HardwareError::Answer(_) | HardwareError::Refused(_)), "{refusal}");
    });
}

#[test]
fn a_wrong_pin_costs_one_try_and_no_more() {
    with_token("a_wrong_pin_costs_one_try_and_no_more", |slot| {
        let refusal = slot.open_through(&slot.faulty(), LABEL, "000000").unwrap_err();
        assert_eq!(refusal, HardwareError::WrongPin);
        assert_eq!(slot.logins(), 1);
        assert_eq!(format!("{refusal}"), "the PIN of the token is wrong");

        // A PIN that is changed while a token is in use is found when it logs in anew, and tried once.
        let token = slot.open_faulty();
        token.make_key("one", KeyAlgorithm::P256).unwrap();
        let key = token.find("one").unwrap();
        slot.switch_on("removed");
        assert!(key.sign(SignatureForm::Der, b"message").is_err());
        slot.switch_off("removed");
        slot.switch_on("changed");
        let tries = slot.logins();
        for _ in 0..5 {
            let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
            assert_eq!(refusal.code(), code::hardware::HARDWARE_PIN);
        }
        assert_eq!(slot.logins(), tries + 1);
    });
}

#[test]
fn a_locked_token_says_so() {
    with_token("a_locked_token_says_so", |slot| {
        slot.switch_on("locked");
        let refusal = slot.open_through(&slot.faulty(), LABEL, "000000").unwrap_err();
        assert!(matches!(refusal, HardwareError::LockedOut(_)), "{refusal}");
    });
}

#[test]
fn a_token_that_is_taken_out_while_signing_signs_again_when_it_is_back() {
    with_token("a_token_that_is_taken_out_while_signing_signs_again_when_it_is_back", |slot| {
        let token = slot.open_faulty();
        token.make_key("one", KeyAlgorithm::P256).unwrap();
        let key = token.find("one").unwrap();
        slot.switch_on("removed");
        let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
        assert_eq!(refusal.code(), code::hardware::TOKEN_REMOVED);
        slot.switch_off("removed");
        assert!(key.sign(SignatureForm::Der, b"message").is_ok());
    });
}

#[test]
fn a_token_whose_memory_is_gone_is_named() {
    with_token("a_token_whose_memory_is_gone_is_named", |slot| {
        let token = slot.open();
        token.make_key("one", KeyAlgorithm::P256).unwrap();
        let key = token.find("one").unwrap();
        fs::remove_dir_all(slot.path("tokens")).unwrap();
        let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
        let expected = [code::hardware::TOKEN_REMOVED, code::hardware::HARDWARE_KEY_MISSING];
        assert!(expected.contains(&refusal.code()), "{} {refusal}", refusal.code());
    });
}

#[test]
fn a_token_that_lies_gives_nobody_a_signature() {
    with_token("a_token_that_lies_gives_nobody_a_signature", |slot| {
        let token = slot.open_faulty();
        for algorithm in ALGORITHMS {
            token.make_key(algorithm.as_str(), algorithm).unwrap();
            let key = token.find(algorithm.as_str()).unwrap();
            slot.switch_on("lies");
            let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
            assert_eq!(refusal.code(), code::hardware::HARDWARE_ANSWER);
            slot.switch_off("lies");
            assert!(key.sign(SignatureForm::Der, b"message").is_ok());
        }
    });
}

#[test]
fn threads_sign_at_once_through_one_token_and_through_two() {
    with_token("threads_sign_at_once_through_one_token_and_through_two", |slot| {
        let token = slot.open();
        token.make_key("one", KeyAlgorithm::Ed25519).unwrap();
        let keys = [token.find("one").unwrap(), token.find("one").unwrap(), slot.open().find("one").unwrap()];
        thread::scope(|scope| {
            for key in &keys {
                scope.spawn(move || {
                    for round in 0..50u8 {
                        assert!(key.sign(SignatureForm::Fixed, &[round]).is_ok());
                    }
                });
            }
        });
    });
}

#[test]
fn a_module_or_token_that_is_not_there_is_absent() {
    with_token("a_module_or_token_that_is_not_there_is_absent", |slot| {
        fs::write(slot.path("text.so"), "no library").unwrap();
        for module in
            ["/nowhere/module.so", "relative.so", slot.path("text.so").to_str().unwrap(), "/usr/bin/openssl"]
        {
            let refusal = slot.open_through(Path::new(module), LABEL, "648219").unwrap_err();
            assert_eq!(refusal.code(), code::hardware::HARDWARE_ABSENT, "{module}: {refusal}");
        }
        let refusal = slot.open_through(&slot.faulty(), "another", "648219").unwrap_err();
        assert_eq!(refusal.code(), code::hardware::HARDWARE_ABSENT, "{refusal}");
        assert_eq!(slot.logins(), 0);
    });
}

#[test]
fn two_tokens_of_one_label_are_told_apart_by_their_serial_numbers() {
    with_token("two_tokens_of_one_label_are_told_apart_by_their_serial_numbers", |slot| {
        slot.add(LABEL);
        let refusal = slot.open_through(&slot.faulty(), LABEL, "648219").unwrap_err();
        assert!(matches!(refusal, HardwareError::Refused(_)), "{refusal}");
        let listed = slot.list();
        let serials: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.split_once("serial num"))
            .map(|(_, rest)| rest.trim_matches([' ', ':']))
            .collect();
        assert!(serials.len() >= 2, "{listed}");
        for serial in &serials[..2] {
            slot.open_through(&slot.faulty(), serial, "648219").unwrap();
        }
    });
}
