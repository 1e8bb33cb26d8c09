//! Who did what he may not, by source: counted, slowed down, and recorded once a minute.
//!
//! A stranger can guess tickets, break the protocol and replay what he heard. None of this changes a record, but it is
//! worth knowing, and guessing must not be free. So each refusal counts against its source; beyond
//! [`REFUSALS_PER_MINUTE_MAX`] the source is not served for the rest of the minute; and each minute becomes at most one
//! log entry a source and code, whatever a flood brings.
//!
//! A session that was greeted and goes nowhere counts too, even when the peer only leaves: whoever sees our nonce and
//! may begin again for nothing tries nonces until the comparison code is the one that somebody else shows.
//!
//! Limits: [`SOURCES_MAX`] sources at a time. When they are used up, further ones are counted together.
//!
//! Invariant: what was counted stays until it is in the log; see [`MisuseBook::put_back`].

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{Code, Timestamp, code::enrolment::PROTOCOL};
use kos_identity::registry;

use crate::{clock, record::Change};

/// Refusals within a minute after which a source is not served until the minute is over. A ticket has 256 bits; what
/// this bounds is the noise, and how often one source may try for a comparison code, which has 20.
const REFUSALS_PER_MINUTE_MAX: u32 = 10;
/// Greetings a minute that may go nowhere, over all sources. Stops whoever has many of them from trying for a
/// comparison code.
const ABORTED_PER_MINUTE_MAX: u32 = 200;
/// Sources that are counted apart; bounds memory and the entries that a flood from many of them can cause.
const SOURCES_MAX: usize = 256;
/// Sources that a book of refusals counts apart, which slow nobody down.
const FEW_SOURCES_MAX: usize = 16;
const MINUTE: Duration = Duration::from_secs(60);
const OTHERS: &str = "others";

/// The counts of the current minute, and those that are not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct MisuseBook {
    page: Mutex<Page>,
    /// Sources that are counted apart, where that is fewer than [`SOURCES_MAX`].
    few: Option<usize>,
}

/// Who of a source is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Everybody.
    Served,
    /// Those whose key the registry knows: strangers do too much harm at present.
    KnownOnly,
    /// Nobody.
    Refused,
}

/// What one source did of one kind, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    source: String,
    code: Code,
    count: u32,
}

impl From<&Tally> for Change {
    fn from(tally: &Tally) -> Self {
        let Tally { source, code, count } = tally.clone();
        Self::from(registry::Change::Refused { code, source, count })
    }
}

#[derive(Debug, Default)]
struct Page {
    since: Timestamp,
    counts: Counts,
    aborted: u32,
    /// Of minutes that are over.
    due: Counts,
}

#[derive(Debug, Default)]
struct Counts(HashMap<String, Vec<(Code, u32)>>);

impl Counts {
    fn add(&mut self, source: &str, code: Code, count: u32, most: usize) {
        let apart = self.0.len() - usize::from(self.0.contains_key(OTHERS));
        let known = self.0.contains_key(source) || apart < most;
        let codes = self.0.entry(if known { source } else { OTHERS }.to_owned()).or_default();
        match codes.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, n)) => *n = n.saturating_add(count),
            None => codes.push((code, count)),
        }
    }

    /// Refusals of a source that is counted apart.
    fn of(&self, source: &str) -> Option<u32> {
        let codes = self.0.get(source)?;
        Some(codes.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n)))
    }

    fn take(&mut self) -> Vec<Tally> {
        let counted = core::mem::take(&mut self.0).into_iter();
        let tallies = |(source, codes): (String, Vec<(Code, u32)>)| {
            codes.into_iter().map(move |(code, count)| Tally { source: source.clone(), code, count })
        };
        counted.flat_map(tallies).collect()
    }
}

impl Page {
    /// Starts a new minute when the last one is over.
    fn turn(&mut self, now: Timestamp) {
        if now.since(self.since) >= MINUTE {
            self.since = now;
            self.aborted = 0;
            self.fall_due();
        }
    }

    fn fall_due(&mut self) {
        for Tally { source, code, count } in self.counts.take() {
            self.due.add(&source, code, count, SOURCES_MAX);
        }
    }
}

impl MisuseBook {
    /// A book that counts few sources apart: what it is for keeps nobody from being served, and each source costs an
    /// entry a minute and a key that stays.
    pub(crate) fn of_few_sources() -> Self {
        Self { few: Some(FEW_SOURCES_MAX), ..Self::default() }
    }

    /// Who of this source is served.
    pub(crate) fn standing(&self, now: Timestamp, source: &str) -> Standing {
        let mut page = self.page();
        page.turn(now);
        let is_over = |refused: u32| refused >= REFUSALS_PER_MINUTE_MAX;
        match page.counts.of(source) {
            Some(refused) if is_over(refused) => Standing::Refused,
            None if page.counts.of(OTHERS).is_some_and(is_over) => Standing::KnownOnly,
            _ if page.aborted >= ABORTED_PER_MINUTE_MAX => Standing::KnownOnly,
            _ => Standing::Served,
        }
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, now: Timestamp, source: &str, code: Code) {
        let mut page = self.page();
        page.turn(now);
        page.counts.add(source, code, 1, self.few.unwrap_or(SOURCES_MAX));
    }

    /// Follows a session that is greeted.
    pub(crate) const fn greet<'a>(&'a self, source: &'a str) -> Greeting<'a> {
        Greeting { book: self, source, stage: Stage::Waiting }
    }

    /// What is to be recorded of minutes that are over. Whoever cannot record it puts it back.
    pub(crate) fn turn_page(&self, now: Timestamp) -> Vec<Tally> {
        let mut page = self.page();
        page.turn(now);
        page.due.take()
    }

    /// Ends the minute early, because the program ends; what is to be recorded.
    pub(crate) fn close(&self) -> Vec<Tally> {
        let mut page = self.page();
        page.fall_due();
        page.due.take()
    }

    /// Keeps what could not be recorded for the next time.
    pub(crate) fn put_back(&self, tallies: Vec<Tally>) {
        let mut page = self.page();
        for Tally { source, code, count } in tallies {
            page.due.add(&source, code, count, SOURCES_MAX);
        }
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that saw our nonce. It counts as aborted when it ends before the peer's proof came, however it ends, and
/// when the proof is misuse.
#[derive(Debug)]
pub(crate) struct Greeting<'a> {
    book: &'a MisuseBook,
    source: &'a str,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Answered,
}

impl Greeting<'_> {
    /// The peer has sent what comes next.
    pub(crate) const fn answered(&mut self) {
        self.stage = Stage::Answered;
    }

    /// What the peer sent was misuse.
    pub(crate) fn abort(mut self, now: Timestamp, code: Code) {
        self.stage = Stage::Answered;
        self.count(now, code);
    }

    fn count(&self, now: Timestamp, code: Code) {
        self.book.count(now, self.source, code);
        let mut page = self.book.page();
        page.aborted = page.aborted.saturating_add(1);
    }
}

impl Drop for Greeting<'_> {
    fn drop(&mut self) {
        if self.stage == Stage::Waiting {
            self.count(clock::now(), PROTOCOL);
        }
    }
}

#[cfg(test)]
mod tests {
    use kos_base::code::enrolment::{TICKET_EXPIRED, TICKET_PROOF};

    use super::*;

    const START: Timestamp = Timestamp::from_unix_s(1_000);

    fn address(n: usize) -> String {
        format!("10.0.{}.{}", n / 256, n % 256)
    }

    #[test]
    fn an_address_that_guesses_is_not_served_until_the_minute_is_over() {
        let book = MisuseBook::default();
        for _ in 0..REFUSALS_PER_MINUTE_MAX {
            assert_eq!(book.standing(START, "10.0.0.1"), Standing::Served);
            book.count(START, "10.0.0.1", TICKET_PROOF);
        }
        assert_eq!(book.standing(START, "10.0.0.1"), Standing::Refused);
        assert_eq!(book.standing(START, "10.0.0.2"), Standing::Served);
        assert_eq!(book.standing(START.plus(MINUTE), "10.0.0.1"), Standing::Served);
    }

    #[test]
    fn a_minute_of_refusals_becomes_one_entry_an_address_and_code() {
        let book = MisuseBook::default();
        for code in [TICKET_PROOF, TICKET_PROOF, TICKET_EXPIRED] {
            book.count(START, "10.0.0.1", code);
        }
        assert!(book.turn_page(START).is_empty());
        let tallies = book.turn_page(START.plus(MINUTE));
        assert_eq!(tallies.len(), 2);
        let counted = |code, count| Tally { source: "10.0.0.1".to_owned(), code, count };
        assert!(tallies.contains(&counted(TICKET_PROOF, 2)) && tallies.contains(&counted(TICKET_EXPIRED, 1)));
        assert!(book.turn_page(START.plus(MINUTE)).is_empty());
    }

    #[test]
    fn an_orderly_end_does_not_wait_for_the_minute() {
        let book = MisuseBook::default();
        book.count(START, "10.0.0.1", TICKET_PROOF);
        assert_eq!(book.close().len(), 1);
        assert!(book.turn_page(START.plus(MINUTE)).is_empty());
    }

    #[test]
    fn what_could_not_be_recorded_is_recorded_later_with_what_came_meanwhile() {
        let book = MisuseBook::default();
        book.count(START, "10.0.0.1", TICKET_PROOF);
        let taken = book.turn_page(START.plus(MINUTE));
        book.count(START.plus(MINUTE), "10.0.0.1", TICKET_PROOF);
        book.put_back(taken);
        let tally = |count| Tally { source: "10.0.0.1".to_owned(), code: TICKET_PROOF, count };
        assert_eq!(book.turn_page(START.plus(2 * MINUTE)), [tally(2)]);
    }

    #[test]
    fn a_flood_from_many_addresses_is_counted_together_and_slowed_down() {
        let book = MisuseBook::default();
        for n in 0..10 * SOURCES_MAX {
            book.count(START, &address(n), TICKET_PROOF);
        }
        assert_eq!(book.standing(START, &address(0)), Standing::Served);
        assert_eq!(book.standing(START, &address(10 * SOURCES_MAX)), Standing::KnownOnly);
        let tallies = book.turn_page(START.plus(MINUTE));
        assert_eq!(tallies.len(), SOURCES_MAX + 1);
        let counted: u32 = tallies.iter().map(|tally| tally.count).sum();
        assert_eq!(usize::try_from(counted), Ok(10 * SOURCES_MAX), "nothing is forgotten");
        assert_eq!(book.standing(START.plus(MINUTE), &address(10 * SOURCES_MAX)), Standing::Served);
    }

    #[test]
    fn whoever_leaves_after_the_greeting_is_counted_and_whoever_goes_on_is_not() {
        let book = MisuseBook::default();
        for _ in 0..REFUSALS_PER_MINUTE_MAX {
            book.greet("10.0.0.1").answered();
            drop(book.greet("10.0.0.2"));
        }
        let now = clock::now();
        assert_eq!(book.standing(now, "10.0.0.1"), Standing::Served);
        assert_eq!(book.standing(now, "10.0.0.2"), Standing::Refused);
        let tally = Tally { source: "10.0.0.2".to_owned(), code: PROTOCOL, count: REFUSALS_PER_MINUTE_MAX };
        assert_eq!(book.turn_page(now.plus(MINUTE)), [tally]);
    }

    #[test]
    fn strangers_of_many_sources_are_greeted_in_vain_so_often_a_minute() {
        let book = MisuseBook::default();
        let per_source = ABORTED_PER_MINUTE_MAX.div_ceil(50);
        for n in 0..50 {
            for _ in 0..per_source {
                assert_eq!(book.standing(START, "192.0.2.1"), Standing::Served);
                book.greet(&address(n)).abort(START, TICKET_PROOF);
            }
        }
        assert_eq!(book.standing(START, "192.0.2.1"), Standing::KnownOnly);
        assert_eq!(book.standing(START.plus(MINUTE), "192.0.2.1"), Standing::Served);
    }
}
