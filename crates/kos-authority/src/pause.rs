//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// After so many failures in a row: `first`, and twice as long after each, up to `longest`.
pub(crate) fn after(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest_and_does_not_overflow() {
        let after = |failures| after(failures, Duration::from_secs(2), Duration::from_secs(120)).as_secs();
        assert_eq!([0, 1, 2, 3, 6, 7, 8, u32::MAX].map(after), [2, 2, 4, 8, 64, 120, 120, 120]);
    }
}
