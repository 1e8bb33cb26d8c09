//! What is done with the bytes stands in `tests/fuzz/src/tpm_blob.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::tpm_blob::run(bytes);
});
