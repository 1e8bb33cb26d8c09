//! One-time codes, as OpenSSL computes them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use data_encoding::HEXUPPER;

use crate::judge::Desk;

/// A seed of one-time codes, as RFC 6238 has it.
pub const SEED: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const SEED_HEX: &str = "3132333435363738393031323334353637383930";

/// The step of time that it is.
///
/// # Errors
/// When the clock stands before 1970.
pub fn step() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 30)
}

/// The code of [`SEED`] in a step.
///
/// # Errors
/// When there is no OpenSSL.
pub fn code(step: u64) -> Result<String> {
    let desk = Desk::new()?;
    desk.put("step", step.to_be_bytes())?;
    let line = format!("openssl mac -digest SHA1 -macopt hexkey:{SEED_HEX} -in step HMAC");
    let (fine, said) = desk.ask(&line)?;
    ensure!(fine, "{said}");
    let mac = HEXUPPER.decode(said.trim().as_bytes())?;
    let at = usize::from(mac.get(19).context("a short MAC")? & 15);
    let four: [u8; 4] = mac.get(at..at + 4).context("a short MAC")?.try_into()?;
    Ok(format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000))
}
