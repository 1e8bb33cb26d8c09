//! Waiting for a state, with a deadline. The only place that sleeps.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::DEADLINE;

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `attempt` until it answers with a value.
pub(crate) async fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = attempt() {
                return found;
            }
            sleep(PAUSE).await;
        }
    };
    timeout(DEADLINE, found).await.unwrap()
}
