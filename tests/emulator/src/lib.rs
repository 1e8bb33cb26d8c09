//! A TPM 2.0 and a PKCS#11 token in software, for tests: `swtpm` and SoftHSM, each with a state of its own, and the tools of
//! others that judge what is in them. A test that needs one fails where it is not installed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

pub mod paper;
mod token;
mod tpm;
pub mod wait;

use std::process::Output;

pub use token::SoftToken;
pub use tpm::SoftTpm;

/// All that a program said.
fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}
