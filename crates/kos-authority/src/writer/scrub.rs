//! Emptying the write-ahead log: short tries of the writer, and pauses of whoever waits for it.

use std::time::Duration;

use super::{Request, Writer};
use crate::store::StoreError;

/// How often the write-ahead log is tried to be emptied, and the pause between: a backup reads for seconds.
const SCRUBS_MAX: u32 = 80;
const SCRUB_PAUSE: Duration = Duration::from_millis(250);

impl Writer {
    /// Empties the write-ahead log, which still holds pages as they were before something was erased.
    ///
    /// # Errors
    /// When readers do not let go of it, or the disk fails. The next start does it.
    pub(crate) async fn scrub(&self) -> Result<(), StoreError> {
        // Between two tries commits go on.
        for _ in 1..SCRUBS_MAX {
            match self.ask(Request::Scrub).await {
                Err(StoreError::Busy) => tokio::time::sleep(SCRUB_PAUSE).await,
                done => return done,
            }
        }
        self.ask(Request::Scrub).await
    }
}
