//! Whether the clock can be believed when an authority starts.
//!
//! A machine without a battery begins in 1970, or at the day on which its system was built, until something sets its
//! clock. An authority that started then would sign certificates and lists that are over before they are seen. It ends with a
//! code instead, and starts once the clock is right.
//!
//! What it does not tell: a clock that runs ahead. Whoever corrects one finds the log ahead of the clock and says so with
//! [`ClockRule::AsItIs`], once, since the newest entry is of the present from then on.

use std::time::Duration;

use kos_base::Timestamp;
use kos_identity::certificate::Certificate;

use super::StartError;
use crate::store::{Store, StoreError};

/// 2020-01-01T00:00:00Z, before which there was no kOS.
const EARLIEST: Timestamp = Timestamp::from_unix_s(1_577_836_800);
/// How far the clock may be behind the newest entry: clocks are corrected, by hand and by whole hours too.
const BEHIND_MAX: Duration = Duration::from_secs(24 * 3600);

/// What to do with a clock that contradicts what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockRule {
    /// Do not start.
    Plausible,
    /// Start: a person says that the clock is right.
    AsItIs,
}

/// That `now` can be.
///
/// # Errors
/// [`StartError::Clock`] before 2020.
pub(super) fn check_year(now: Timestamp) -> Result<(), StartError> {
    if now < EARLIEST { Err(StartError::Clock { now, known: EARLIEST }) } else { Ok(()) }
}

/// That the CAs of the authority can sign at `now`. Whoever says that the clock is right changes nothing about that.
///
/// # Errors
/// [`StartError::Clock`] before they were made, [`StartError::CaEnded`] when their time is over.
pub(crate) fn check_issuers(issuers: &[Certificate], now: Timestamp) -> Result<(), StartError> {
    for issuer in issuers {
        if now < issuer.not_before() {
            return Err(StartError::Clock { now, known: issuer.not_before() });
        }
        if now >= issuer.not_after() {
            return Err(StartError::CaEnded { now, ended: issuer.not_after() });
        }
    }
    Ok(())
}

/// That `now` can follow what the log holds.
///
/// # Errors
/// [`StartError::Clock`] when it cannot.
pub(super) async fn check(store: &Store, now: Timestamp) -> Result<(), StartError> {
    check_year(now)?;
    let size = store.log_state().await?.map_or(0, |state| state.size);
    let Some(last) = size.checked_sub(1) else { return Ok(()) };
    let newest = store.entry(last).await?;
    let known = newest.ok_or_else(|| StoreError::LogDiffers("the last entry is missing".to_owned()))?.at;
    if now.plus(BEHIND_MAX) < known { Err(StartError::Clock { now, known }) } else { Ok(()) }
}
