//! Who did what he may not, by address: counted, slowed down, and recorded once a minute.
//!
//! A stranger can guess tickets, break the protocol and replay what he heard. None of this changes a record, but it is
//! worth knowing, and guessing must not be free. So each refusal counts against its address; beyond
//! [`REFUSALS_PER_MINUTE_MAX`] the address is not served for the rest of the minute; and each minute becomes at most one
//! log entry an address and code, whatever a flood brings.
//!
//! Limits: [`SOURCES_MAX`] addresses at a time. When they are used up, further strangers are counted together.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{Code, Timestamp};
use kos_identity::registry;

use crate::record::Change;

/// Refusals within a minute after which an address is not served until the minute is over. A ticket has 256 bits; what
/// this bounds is the noise.
const REFUSALS_PER_MINUTE_MAX: u32 = 10;
/// Addresses that are counted apart; bounds memory and the entries that a flood from many addresses can cause.
const SOURCES_MAX: usize = 256;
const MINUTE: Duration = Duration::from_secs(60);
const OTHERS: &str = "others";

/// The counts of the current minute.
#[derive(Debug, Default)]
pub(crate) struct MisuseBook {
    page: Mutex<Page>,
}

#[derive(Debug, Default)]
struct Page {
    since: Timestamp,
    by_source: HashMap<String, Vec<(Code, u32)>>,
}

impl MisuseBook {
    /// Whether this address is still served.
    pub(crate) fn is_served(&self, now: Timestamp, source: &str) -> bool {
        let page = self.page();
        let over = now.since(page.since) >= MINUTE;
        let refused = page.by_source.get(source).map_or(0, |codes| codes.iter().map(|(_, n)| *n).sum());
        over || refused < REFUSALS_PER_MINUTE_MAX
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, now: Timestamp, source: &str, code: Code) {
        let mut page = self.page();
        if page.by_source.is_empty() {
            page.since = now;
        }
        let known = page.by_source.contains_key(source) || page.by_source.len() < SOURCES_MAX;
        let codes = page.by_source.entry(if known { source } else { OTHERS }.to_owned()).or_default();
        match codes.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, n)) => *n = n.saturating_add(1),
            None => codes.push((code, 1)),
        }
    }

    /// What is to be recorded of a minute that is over; the book is empty afterwards.
    pub(crate) fn turn_page(&self, now: Timestamp) -> Vec<Change> {
        let mut page = self.page();
        if now.since(page.since) < MINUTE {
            return Vec::new();
        }
        let counted = core::mem::take(&mut page.by_source);
        let entry = |source: &str, (code, count): (Code, u32)| {
            Change::from(registry::Change::Refused { code, source: source.to_owned(), count })
        };
        let mut changes: Vec<_> = counted
            .iter()
            .flat_map(|(source, codes)| codes.iter().map(|counted| entry(source, *counted)))
            .collect();
        changes.truncate(SOURCES_MAX);
        changes
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kos_base::code::enrolment::{TICKET_EXPIRED, TICKET_PROOF};

    use super::*;

    #[test]
    fn an_address_that_guesses_is_not_served_until_the_minute_is_over() {
        let book = MisuseBook::default();
        let start = Timestamp::from_unix_s(1_000);
        for _ in 0..REFUSALS_PER_MINUTE_MAX {
            assert!(book.is_served(start, "10.0.0.1"));
            book.count(start, "10.0.0.1", TICKET_PROOF);
        }
        assert!(!book.is_served(start, "10.0.0.1"));
        assert!(book.is_served(start, "10.0.0.2"));
        assert!(book.is_served(start.plus(MINUTE), "10.0.0.1"));
    }

    #[test]
    fn a_minute_of_refusals_becomes_one_entry_an_address_and_code() {
        let book = MisuseBook::default();
        let start = Timestamp::from_unix_s(1_000);
        for code in [TICKET_PROOF, TICKET_PROOF, TICKET_EXPIRED] {
            book.count(start, "10.0.0.1", code);
        }
        assert!(book.turn_page(start).is_empty());
        let changes = book.turn_page(start.plus(MINUTE));
        assert_eq!(changes.len(), 2);
        let counted = |code, count| {
            Change::from(registry::Change::Refused { code, source: "10.0.0.1".to_owned(), count })
        };
        assert!(changes.contains(&counted(TICKET_PROOF, 2)) && changes.contains(&counted(TICKET_EXPIRED, 1)));
        assert!(book.turn_page(start.plus(MINUTE)).is_empty());
    }

    #[test]
    fn a_flood_from_many_addresses_is_counted_together() {
        let book = MisuseBook::default();
        let start = Timestamp::from_unix_s(1_000);
        for n in 0..10 * SOURCES_MAX {
            book.count(start, &format!("10.0.{}.{}", n / 256, n % 256), TICKET_PROOF);
        }
        assert!(book.turn_page(start.plus(MINUTE)).len() <= SOURCES_MAX);
    }
}
