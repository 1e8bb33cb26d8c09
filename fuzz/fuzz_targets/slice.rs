//! What is done with the bytes stands in `tests/fuzz/src/slice.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::slice::run(bytes);
});
