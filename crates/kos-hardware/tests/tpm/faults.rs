//! A TPM that was cleared, exchanged, locked, killed or never there, and blobs that somebody changed.

use std::fs;

use kos_base::{Code, code, digest::sha256, key::SignatureForm};
use kos_hardware::{
    HardwareError,
    tpm::{Pcrs, Tpm},
};

use crate::{
    between::{Between, Deed},
    emulator::{Emulator, PUBLIC_AT, part},
    secret,
};

fn refused<T>(result: Result<T, HardwareError>, expected: Code) {
    let refusal = result.err().unwrap();
    assert_eq!(refusal.code(), expected, "{refusal}");
}

#[test]
fn a_tpm_that_was_cleared_or_exchanged_is_told_from_damage() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    let (blob, _) = tpm.make_key().unwrap();
    let key = tpm.load(&blob).unwrap();

    let other = Emulator::new().open();
    refused(other.unseal(&sealed), code::hardware::HARDWARE_ABSENT);
    let other = Emulator::new();
    refused(other.open().unseal(&sealed), code::hardware::HARDWARE_CLEARED);
    refused(other.open().load(&blob), code::hardware::HARDWARE_CLEARED);

    emulator.judge(&["tpm2_clear", "-c", "p"]);
    refused(tpm.unseal(&sealed), code::hardware::HARDWARE_CLEARED);
    refused(tpm.load(&blob), code::hardware::HARDWARE_CLEARED);
    let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
    assert_eq!(refusal.code(), code::hardware::HARDWARE_CLEARED);
    assert_eq!(tpm.seal(&secret(), Pcrs::NONE), Err(HardwareError::Cleared));
    // It is as good as a new one.
    let name = tpm.name();
    let tpm = emulator.open();
    assert_ne!(tpm.name(), name);
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");
}

#[test]
fn a_tpm_that_is_locked_out_by_others_still_works_for_us_and_one_that_says_so_is_believed() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    let (blob, _) = tpm.make_key().unwrap();
    let counter = tpm.counter("0x01804b4f".parse().unwrap());
    counter.define().unwrap();

    emulator.judge(&["tpm2_dictionarylockout", "-s", "-n", "1", "-t", "10000", "-l", "10000"]);
    emulator.judge(&[
        "tpm2_nvdefine",
        "0x01800001",
        "-C",
        "o",
        "-s",
        "8",
        "-a",
        "authread|authwrite",
        "-p",
        "right",
    ]);
    fs::write(emulator.path("eight"), [0; 8]).unwrap();
    let write = ["tpm2_nvwrite", "0x01800001", "-C", "0x01800001", "-i", "eight", "-P"];
    for password in ["wrong", "right"] {
        let (is_success, _) = emulator.tool(&[&write[..], &[password]].concat());
        assert!(!is_success, "the TPM is not locked out");
    }
    let state = emulator.judge(&["tpm2_getcap", "properties-variable"]);
    assert!(state.contains("inLockout:                 1"), "{state}");
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert!(tpm.load(&blob).unwrap().sign(SignatureForm::Der, b"message").is_ok());
    counter.increment().unwrap();

    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    bus.order(Deed::Say { frame: 1, code: 0x921 });
    refused(tpm.unseal(&sealed), code::hardware::HARDWARE_LOCKED_OUT);
}

#[test]
fn an_owner_with_a_password_is_named() {
    let emulator = Emulator::new();
    emulator.open();
    emulator.judge(&["tpm2_changeauth", "-c", "o", "password"]);
    let refusal = Tpm::open(&emulator.address()).unwrap_err();
    assert_eq!(refusal.code(), code::hardware::HARDWARE_REFUSED);
    assert!(refusal.to_string().contains("its owner set a password"), "{refusal}");
}

#[test]
fn no_tpm_is_absent_and_a_tpm_that_is_back_is_used() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    let (blob, _) = tpm.make_key().unwrap();
    let key = tpm.load(&blob).unwrap();
    emulator.kill();
    refused(tpm.unseal(&sealed), code::hardware::HARDWARE_ABSENT);
    refused(Tpm::open(&emulator.address()), code::hardware::HARDWARE_ABSENT);
    for address in ["device:/nowhere", "device:/dev/null", "swtpm:localhost:1", "swtpm:host.invalid:1"] {
        refused(Tpm::open(&address.parse().unwrap()), code::hardware::HARDWARE_ABSENT);
    }
    let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
    assert_eq!(refusal.code(), code::hardware::HARDWARE_ABSENT);
    emulator.start();
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert!(key.sign(SignatureForm::Der, b"message").is_ok());
}

/// The private part is at its end, and the tag over it at the beginning of that.
#[test]
fn a_blob_that_somebody_changed_and_summed_again_is_refused_by_the_tpm() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    let (key, _) = tpm.make_key().unwrap();
    let (other, _) = tpm.make_key().unwrap();
    let summed = |content: &[u8]| [content, &sha256(content)].concat();
    let content = |blob: &[u8]| blob[..blob.len() - 32].to_vec();

    refused(tpm.load(&sealed), code::hardware::HARDWARE_BLOB);
    refused(tpm.unseal(&key), code::hardware::HARDWARE_BLOB);
    refused(tpm.unseal(&[]), code::hardware::HARDWARE_BLOB);
    // The key under the name of a seal, and the reverse.
    for (blob, kind) in [(&sealed, b'k'), (&key, b's')] {
        let mut swapped = content(blob);
        swapped[8] = kind;
        let swapped = summed(&swapped);
        assert!(tpm.load(&swapped).is_err() && tpm.unseal(&swapped).is_err());
    }
    // The public part of one key with the private part of another.
    let (public, private) = (part(&key, PUBLIC_AT), part(&other, PUBLIC_AT + part(&other, PUBLIC_AT).len()));
    let mixed = summed(&[&key[..PUBLIC_AT], public, private].concat());
    refused(tpm.load(&mixed), code::hardware::HARDWARE_BLOB);

    for at in 0..content(&sealed).len() {
        let mut changed = content(&sealed);
        changed[at] ^= 1 << (at % 8);
        let refusal = tpm.unseal(&summed(&changed)).unwrap_err();
        let expected =
            [code::hardware::HARDWARE_BLOB, code::hardware::HARDWARE_CLEARED, code::hardware::HARDWARE_STATE];
        assert!(expected.contains(&refusal.code()), "{at}: {refusal}");
    }
    assert_eq!(emulator.left_over(), "");
}
