//! Medians, percentiles and numbers that people can read.

use std::time::Duration;

/// A count as a number that can be divided. Exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts and bytes stay far below 2^53"
)]
pub(crate) const fn number(count: u64) -> f64 {
    count as f64
}

/// The number of items as a number that can be divided.
pub(crate) fn count<T>(items: &[T]) -> f64 {
    number(u64::try_from(items.len()).unwrap_or(u64::MAX))
}

/// A duration in milliseconds.
pub(crate) const fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The middle value; of an even number the mean of the two in the middle. 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    } else {
        at(middle)
    }
}

/// The value that `per_mille` of all values do not exceed (nearest rank). 0 of nothing.
pub(crate) fn percentile(values: &[f64], per_mille: usize) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The largest value. 0 of nothing.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Rounded to as many digits as the measurement is worth: none from 1 000 up, one from 10 up, two below.
pub(crate) fn rounded(value: f64) -> f64 {
    let step = match value.abs() {
        v if v >= 1_000.0 => 1.0,
        v if v >= 10.0 => 10.0,
        _ => 100.0,
    };
    (value * step).round() / step
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles_are_those_of_the_sorted_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&hundred, 990), 99.0);
        assert_eq!(percentile(&hundred, 1_000), 100.0);
        assert_eq!(percentile(&[7.0], 990), 7.0);
        assert_eq!(percentile(&[], 990), 0.0);
    }

    #[test]
    fn numbers_keep_the_digits_that_they_are_worth() {
        assert_eq!(rounded(1_234.56), 1_235.0);
        assert_eq!(rounded(123.456), 123.5);
        assert_eq!(rounded(1.234_56), 1.23);
    }
}
