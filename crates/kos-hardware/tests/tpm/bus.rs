//! Somebody on the bus: what he hears, and what he gets for changing it.

use kos_base::key::SignatureForm;
use kos_hardware::{
    HardwareError,
    tpm::{Pcrs, Tpm},
};

use crate::{
    SECRET,
    between::{Between, Deed},
    emulator::Emulator,
    secret,
};

#[test]
fn whoever_listens_does_not_hear_the_secret() {
    let emulator = Emulator::new();
    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    for pcrs in [Pcrs::NONE, "7".parse().unwrap()] {
        let sealed = tpm.seal(&secret(), pcrs).unwrap();
        assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    }
    let heard = bus.heard();
    assert!(heard.len() > 20);
    let all = heard.into_iter().flat_map(|(command, answer)| [command, answer].concat()).collect::<Vec<u8>>();
    // Eight bytes of it in a row would be enough to see that it is not hidden.
    for eight in SECRET.windows(8) {
        assert!(!all.windows(8).any(|heard| heard == eight));
    }
}

/// One errand and all that may come of it under tampering: the right result, or a refusal.
fn check(emulator: &mut Emulator, bus: &Between, errand: &dyn Fn() -> Result<bool, HardwareError>) {
    bus.order(Deed::Nothing);
    assert_eq!(errand(), Ok(true));
    let heard = bus.heard();
    let mut deeds = Vec::new();
    for (frame, (command, answer)) in heard.iter().enumerate() {
        let bit = |byte: usize| byte * 8 + (byte + frame) % 8;
        // A command whose length lies is waited for by the TPM, and is no command.
        let command = (0..command.len()).filter(|byte| !(2..6).contains(byte));
        deeds.extend(command.map(|byte| Deed::FlipCommand { frame, bit: bit(byte) }));
        deeds.extend((0..answer.len()).map(|byte| Deed::FlipAnswer { frame, bit: bit(byte) }));
        deeds.push(Deed::Cut { frame });
    }
    for deed in deeds {
        bus.order(deed);
        assert_ne!(errand(), Ok(false), "{deed:?}");
        // What was loaded under a handle that we never heard stays: this TPM has no resource manager before it.
        bus.order(Deed::Nothing);
        if errand().is_err() {
            emulator.kill();
            emulator.start();
            assert_eq!(errand(), Ok(true), "after {deed:?}");
        }
    }
}

#[test]
fn whoever_changes_a_bit_of_an_unsealing_gets_nobody_to_take_another_secret() {
    let mut emulator = Emulator::new();
    let sealed = emulator.open().seal(&secret(), Pcrs::NONE).unwrap();
    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    check(&mut emulator, &bus, &|| tpm.unseal(&sealed).map(|unsealed| unsealed == secret()));
}

#[test]
fn whoever_changes_a_bit_of_a_sealing_gets_nothing_else_sealed() {
    let mut emulator = Emulator::new();
    let direct = emulator.address();
    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    check(&mut emulator, &bus, &|| {
        let sealed = tpm.seal(&secret(), Pcrs::NONE)?;
        // A direct way, so that what was sealed is judged without him. A TPM that is full says so, and he can have it
        // sealed under another key of the same TPM: then it is not opened later, and still by nobody else.
        match Tpm::open(&direct).and_then(|tpm| tpm.unseal(&sealed)) {
            Ok(unsealed) => Ok(unsealed == secret()),
            Err(refusal @ (HardwareError::Refused(_) | HardwareError::Cleared)) => Err(refusal),
            Err(_) => Ok(false),
        }
    });
}

#[test]
fn whoever_changes_a_bit_of_a_counter_or_signature_is_found_out() {
    let mut emulator = Emulator::new();
    let direct = emulator.open();
    let index = "0x01804b4f".parse().unwrap();
    let value = direct.counter(index).define().unwrap();
    let (blob, public) = direct.make_key().unwrap();
    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    check(&mut emulator, &bus, &|| tpm.counter(index).read().map(|read| read == value));
    emulator.kill();
    emulator.start();
    let key = tpm.load(&blob).unwrap();
    check(&mut emulator, &bus, &|| match key.sign(SignatureForm::Der, b"message") {
        Ok(signature) => Ok(public.verify(SignatureForm::Der, b"message", &signature).is_ok()),
        Err(_) => Err(HardwareError::Fault),
    });
}

#[test]
fn a_tpm_that_is_always_busy_or_says_what_no_standard_knows_is_given_up() {
    let emulator = Emulator::new();
    let bus = Between::new(emulator.socket());
    let tpm = Tpm::open(&bus.address()).unwrap();
    for code in [0x922, 0x100, 0x101, 0x0007_0001, 0x000b_0143, u32::MAX] {
        bus.order(Deed::Say { frame: 0, code });
        let refusal = tpm.seal(&secret(), Pcrs::NONE).unwrap_err();
        assert!(matches!(refusal, HardwareError::Refused(_)), "{code:#x}: {refusal}");
    }
}
