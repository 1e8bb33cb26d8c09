//! Counters: what others read in them, what becomes of them, and what passes for one.

use kos_base::code;
use kos_hardware::{
    HardwareError,
    tpm::{Age, CounterIndex},
};

use crate::emulator::Emulator;

const INDEX: &str = "0x01804b4f";
const ATTRIBUTES: &str = "authread|authwrite|ownerread|ownerwrite|no_da|nt=counter";

fn index() -> CounterIndex {
    INDEX.parse().unwrap()
}

fn lost<T: std::fmt::Debug>(result: Result<T, HardwareError>) {
    assert_eq!(result.unwrap_err().code(), code::hardware::HARDWARE_COUNTER_LOST);
}

#[test]
fn a_counter_goes_up_by_one_and_others_read_the_same() {
    let mut emulator = Emulator::new();
    let counter = emulator.open().counter(index());
    lost(counter.read());
    lost(counter.increment());
    lost(counter.undefine());

    let first = counter.define().unwrap();
    assert_eq!(counter.define(), Ok(first), "defined twice");
    assert_eq!(counter.read(), Ok(first));
    for more in 1..=5 {
        assert_eq!(counter.increment(), Ok(first + more));
    }
    emulator.judge(&["tpm2_nvread", INDEX, "-o", "value"]);
    let read = std::fs::read(emulator.path("value")).unwrap();
    assert_eq!(read, (first + 5).to_be_bytes());
    let public = emulator.judge(&["tpm2_nvreadpublic", INDEX]);
    assert!(public.contains("nt=0x1"), "{public}");
    let (is_success, _) = emulator.tool(&["tpm2_nvwrite", INDEX, "-i", "value"]);
    assert!(!is_success, "a counter was written");

    // As when the power goes.
    emulator.kill();
    emulator.start();
    assert_eq!(counter.read(), Ok(first + 5));
    assert_eq!(emulator.left_over(), "");
}

#[test]
fn a_counter_that_was_removed_goes_on_above_all_that_ever_was() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let counter = tpm.counter(index());
    counter.define().unwrap();
    for _ in 0..3 {
        counter.increment().unwrap();
    }
    let last = counter.read().unwrap();
    let anchor = counter.tie(1).unwrap();
    assert_eq!(counter.judge(&anchor, 1), Ok(Age::Newest));
    assert_eq!(counter.judge(&anchor, 2), Ok(Age::OneAhead));

    counter.undefine().unwrap();
    lost(counter.read());
    let again = counter.define().unwrap();
    assert!(again > last, "{again} {last}");
    assert_eq!(counter.judge(&anchor, 1), Ok(Age::Behind));

    // Nor does clearing the TPM help whoever wants to go back.
    emulator.judge(&["tpm2_clear", "-c", "p"]);
    assert_eq!(counter.read().unwrap_err(), HardwareError::Cleared);
    let counter = emulator.open().counter(index());
    lost(counter.read());
    let cleared = counter.define().unwrap();
    assert!(cleared > again, "{cleared} {again}");
    lost(counter.judge(&anchor, 1));
}

#[test]
fn a_making_that_was_cut_off_is_finished() {
    let emulator = Emulator::new();
    let counter = emulator.open().counter(index());
    emulator.judge(&["tpm2_nvdefine", INDEX, "-C", "o", "-a", ATTRIBUTES]);
    lost(counter.read());
    let first = counter.define().unwrap();
    assert_eq!(counter.read(), Ok(first));
}

#[test]
fn what_can_be_written_freely_or_is_another_kind_is_no_counter() {
    for attributes in [
        "authread|authwrite|ownerread|ownerwrite|no_da",
        "authread|authwrite|ownerread|ownerwrite|no_da|nt=bits",
        "authread|authwrite|ownerread|ownerwrite|no_da|nt=counter|orderly",
        "authread|authwrite|no_da|nt=counter",
    ] {
        let emulator = Emulator::new();
        let counter = emulator.open().counter(index());
        emulator.judge(&["tpm2_nvdefine", INDEX, "-C", "o", "-s", "8", "-a", attributes]);
        lost(counter.define());
        lost(counter.read());
        lost(counter.increment());
        lost(counter.undefine());
        emulator.judge(&["tpm2_nvreadpublic", INDEX]);
    }
}

#[test]
fn two_counters_of_one_tpm_do_not_touch_each_other() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let (one, two) = (tpm.counter(index()), tpm.counter("0x01804b50".parse().unwrap()));
    let first = one.define().unwrap();
    two.define().unwrap();
    two.increment().unwrap();
    assert_eq!(one.read(), Ok(first));
    lost(two.judge(&one.tie(1).unwrap(), 1));

    let other = Emulator::new();
    let elsewhere = other.open().counter(index());
    elsewhere.define().unwrap();
    lost(elsewhere.judge(&one.tie(1).unwrap(), 1));
}
