//! What is done with the bytes stands in `tests/fuzz/src/voucher.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::voucher::run(bytes);
});
