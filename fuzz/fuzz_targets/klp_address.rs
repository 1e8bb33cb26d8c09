//! What is done with the bytes stands in `tests/fuzz/src/klp_address.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::klp_address::run(bytes);
});
