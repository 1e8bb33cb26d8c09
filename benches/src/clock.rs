//! The one file of this program that reads the clock of the day. Durations are measured with `Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

use kos_base::Timestamp;

/// The present moment by the system's clock; 1970 when the clock stands before it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
