//! What is done with the bytes stands in `tests/fuzz/src/enrolment_message.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::enrolment_message::run(bytes);
});
