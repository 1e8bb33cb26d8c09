//! A real TPM in software, judged by the tools of others, cleared, locked, killed, and lied about.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod emulator;
mod wait;

use kos_base::{Secret, key::SignatureForm};
use kos_hardware::tpm::Pcrs;

use emulator::{Emulator, openssl_verifies};

const SECRET: [u8; 32] = *b"what the TPM gives back to us on";

fn secret() -> Secret<32> {
    Secret::new(SECRET)
}

#[test]
fn a_sealed_secret_comes_back_after_a_restart_and_nothing_stays_loaded() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");

    emulator.kill();
    emulator.start();
    // The same handle, and one of another process.
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.open().unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");
}

#[test]
fn a_key_signs_what_openssl_verifies_also_after_a_restart() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let (blob, public) = tpm.make_key().unwrap();
    let key = tpm.load(&blob).unwrap();
    assert_eq!(key.public(), &public);
    for _ in 0..2 {
        let signature = key.sign(SignatureForm::Der, b"message").unwrap();
        assert!(openssl_verifies(&emulator.path("."), public.spki_der(), b"message", &signature));
        assert!(!openssl_verifies(&emulator.path("."), public.spki_der(), b"messagf", &signature));
        assert_eq!(emulator.left_over(), "");
        emulator.kill();
        emulator.start();
    }
}
