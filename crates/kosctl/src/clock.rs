//! The one place of this program that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use kos_base::Timestamp;

/// Now, by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
