//! Counting tests and other checks.

use std::ops::AddAssign;

use anyhow::{Result, bail};

/// How many checks passed, failed and were skipped.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
}

impl Tally {
    /// Counts one check.
    pub(super) fn count(&mut self, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Counts the tests of a `test result: ok. 3 passed; 0 failed; 1 ignored; ..` line of cargo; other lines are not.
    ///
    /// Filtered tests are skipped too: no stage filters, so a filter came from outside.
    pub(super) fn read_result(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "filtered out" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// A stage that broke without a failed check has failed nevertheless.
    pub(super) fn blame(&mut self) {
        self.failed = self.failed.max(1);
    }

    /// A stage that checked nothing shows nothing.
    pub(super) fn demand_something(&self) -> Result<()> {
        if self.passed + self.failed == 0 {
            bail!("there is nothing to run in this stage");
        }
        Ok(())
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: u64, failed: u64, skipped: u64) {
        let mut tally = Tally::default();
        tally.read_result(line);
        assert_eq!(tally, Tally { passed, failed, skipped }, "{line}");
    }

    #[test]
    fn result_lines_of_cargo_are_counted() {
        let tail = "0 measured; 0 filtered out; finished in 0.10s";
        check(&format!("test result: ok. 12 passed; 0 failed; 0 ignored; {tail}"), 12, 0, 0);
        check(&format!("test result: FAILED. 3 passed; 2 failed; 1 ignored; {tail}"), 3, 2, 1);
        check(
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0s",
            0,
            0,
            7,
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        check("test ids::refuses_4_passed ... ok", 0, 0, 0);
        check("running 3 tests", 0, 0, 0);
        check("test result: unheard of", 0, 0, 0);
    }

    #[test]
    fn a_stage_without_checks_is_refused() {
        assert!(Tally::default().demand_something().is_err());
        assert!(Tally { failed: 1, ..Tally::default() }.demand_something().is_ok());
    }
}
