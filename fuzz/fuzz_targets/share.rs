//! What is done with the bytes stands in `tests/fuzz/src/share.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::share::run(bytes);
});
