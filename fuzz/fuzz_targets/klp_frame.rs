//! What is done with the bytes stands in `tests/fuzz/src/klp_frame.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kos_fuzz::klp_frame::run(bytes);
});
