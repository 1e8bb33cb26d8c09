//! Which entries are missing, moved or foreign, told from the numbers that the leaves carry inside their signatures.
//!
//! The leaves are taken in the order in which they stand. One that the log's key signed says its number; the others say
//! nothing. A log as it was written is one run of rising numbers. In any other, the heaviest rising chain of runs is
//! taken for what nobody touched, and everything else is explained by the least: a run outside the chain was moved or
//! repeated, a leaf without a number took the place of the first number that is vacant around it, and a number that is
//! vacant in the end is missing.
//!
//! Cost: one run for a log in order; `n log n` for `n` runs.

use super::leaf::LeafFault;

/// Numbers of entries, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Numbers {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Leaves next to each other that are of one kind.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Position of the first leaf.
    at: u64,
    leaves: u64,
    content: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    /// Signed, with rising numbers from this one.
    Signed(u64),
    /// Not readable as an entry of the log.
    Foreign(LeafFault),
}

impl Run {
    const fn numbers(&self) -> Option<Numbers> {
        match self.content {
            Content::Signed(first) => Some(Numbers { first, last: first + self.leaves - 1 }),
            Content::Foreign(_) => None,
        }
    }
}

/// What explains a part of the disorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disorder {
    /// Entries stand at a position that is not theirs.
    Moved { numbers: Numbers, at: u64 },
    /// Entries stand at a position again that stand at their own already.
    Repeated { numbers: Numbers, at: u64 },
    /// Leaves that are no entries of the log stand where entries with numbers from this one should.
    Replaced { first: u64, leaves: u64, fault: LeafFault },
    /// Leaves that are no entries of the log stand where nothing should.
    Inserted { at: u64, leaves: u64, fault: LeafFault },
    /// Entries are nowhere.
    Missing(Numbers),
}

/// The leaves of a log in the order in which they stand.
#[derive(Debug, Default)]
pub(super) struct Order {
    leaves: u64,
    runs: Vec<Run>,
    /// Highest number so far, and the highest before the last run began: no run goes past it, so that an entry that
    /// stands twice does not hide in a run of entries that stand once.
    highest: u64,
    barrier: u64,
}

impl Order {
    /// How many leaves there are.
    pub(super) const fn leaves(&self) -> u64 {
        self.leaves
    }

    pub(super) fn push(&mut self, leaf: Result<u64, LeafFault>) {
        let at = self.leaves;
        self.leaves += 1;
        let last = self.runs.last_mut();
        let (continued, content) = match leaf {
            Ok(number) => {
                let next = |run: &&mut Run| {
                    let before = run.numbers().map(|numbers| numbers.last);
                    before == Some(number - 1) && before != Some(self.barrier)
                };
                (last.filter(next), Content::Signed(number))
            }
            Err(fault) => {
                let same =
                    |run: &&mut Run| matches!(run.content, Content::Foreign(before) if before == fault);
                (last.filter(same), Content::Foreign(fault))
            }
        };
        match continued {
            Some(run) => run.leaves += 1,
            None => {
                self.barrier = self.highest;
                self.runs.push(Run { at, leaves: 1, content });
            }
        }
        self.highest = self.highest.max(leaf.unwrap_or_default());
    }

    /// Everything that is not as it was written, when the log has `size` entries.
    pub(super) fn disorder(&self, size: u64) -> Vec<Disorder> {
        let chain = self.heaviest_chain();
        let kept: Vec<Numbers> = chain.iter().filter_map(|run| self.runs.get(*run)?.numbers()).collect();
        let mut vacant = Vacant::new(self.runs.iter().filter_map(Run::numbers).collect(), size);
        let mut chain = chain.into_iter().zip(&kept).peekable();
        let mut disorder = Vec::new();
        let mut before = 0;
        for (index, run) in self.runs.iter().enumerate() {
            if let Some((_, numbers)) = chain.next_if(|(kept, _)| *kept == index) {
                before = numbers.last;
                continue;
            }
            match (run.content, run.numbers()) {
                (Content::Foreign(fault), _) => {
                    vacant.skip_to(before, &mut disorder);
                    let end = chain.peek().map_or(size, |(_, next)| next.first - 1);
                    vacant.fill(run, fault, end, &mut disorder);
                }
                (_, Some(numbers)) => {
                    let place = kept.partition_point(|kept| kept.last < numbers.first);
                    let again = kept.get(place).is_some_and(|kept| kept.first <= numbers.first);
                    disorder.push(if again {
                        Disorder::Repeated { numbers, at: run.at }
                    } else {
                        Disorder::Moved { numbers, at: run.at }
                    });
                }
                (Content::Signed(_), None) => {}
            }
        }
        vacant.skip_to(u64::MAX, &mut disorder);
        disorder
    }

    /// The runs, by index, whose numbers rise from one to the next and that hold the most entries together.
    fn heaviest_chain(&self) -> Vec<usize> {
        let runs: Vec<_> =
            self.runs.iter().enumerate().filter_map(|(at, run)| Some((at, run.numbers()?))).collect();
        let mut ends: Vec<u64> = runs.iter().map(|(_, numbers)| numbers.last).collect();
        ends.sort_unstable();
        ends.dedup();
        // A Fenwick tree: the best chain that ends at or below the n-th of `ends`, as its weight and last run.
        let mut best: Vec<(u64, Option<usize>)> = vec![(0, None); ends.len() + 1];
        let mut previous = vec![None; self.runs.len()];
        for (run, numbers) in &runs {
            let mut below = ends.partition_point(|end| *end < numbers.first);
            let mut longest = (0, None);
            while below > 0 {
                let candidate = best.get(below).copied().unwrap_or_default();
                if candidate.0 > longest.0 {
                    longest = candidate;
                }
                below &= below - 1;
            }
            if let Some(slot) = previous.get_mut(*run) {
                *slot = longest.1;
            }
            let chain = (longest.0 + (numbers.last - numbers.first + 1), Some(*run));
            let mut above = ends.partition_point(|end| *end < numbers.last) + 1;
            while let Some(slot) = best.get_mut(above) {
                if chain.0 > slot.0 {
                    *slot = chain;
                }
                above += above & above.wrapping_neg();
            }
        }
        let heaviest = best.iter().copied().fold((0, None), |a, b| if b.0 > a.0 { b } else { a });
        let mut chain: Vec<_> =
            core::iter::successors(heaviest.1, |run| previous.get(*run).copied()?).collect();
        chain.reverse();
        chain
    }
}

/// The numbers from 1 to the size of the log that no signed leaf carries, lowest last so that they are taken from the end.
struct Vacant(Vec<Numbers>);

impl Vacant {
    fn new(mut carried: Vec<Numbers>, size: u64) -> Self {
        carried.sort_unstable();
        let mut vacant = Vec::new();
        let mut next = 1;
        for numbers in carried {
            let end = (numbers.first - 1).min(size);
            if next <= end {
                vacant.push(Numbers { first: next, last: end });
            }
            next = next.max(numbers.last + 1);
        }
        if next <= size {
            vacant.push(Numbers { first: next, last: size });
        }
        vacant.reverse();
        Self(vacant)
    }

    /// Numbers up to `before` cannot be filled any more: they are missing.
    fn skip_to(&mut self, before: u64, disorder: &mut Vec<Disorder>) {
        while let Some(missing) = self.0.pop_if(|numbers| numbers.first <= before) {
            disorder.push(Disorder::Missing(missing));
        }
    }

    /// The leaves of `run` took the lowest vacant numbers up to `end`; those that found none were inserted.
    fn fill(&mut self, run: &Run, fault: LeafFault, end: u64, disorder: &mut Vec<Disorder>) {
        let mut leaves = run.leaves;
        while leaves > 0 {
            let Some(numbers) = self.0.last_mut().filter(|numbers| numbers.first <= end) else { break };
            let taken = leaves.min(numbers.last - numbers.first + 1);
            disorder.push(Disorder::Replaced { first: numbers.first, leaves: taken, fault });
            numbers.first += taken;
            leaves -= taken;
            self.0.pop_if(|numbers| numbers.first > numbers.last);
        }
        if leaves > 0 {
            disorder.push(Disorder::Inserted { at: run.at + run.leaves - leaves, leaves, fault });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAULT: LeafFault = LeafFault::Signature;

    /// `leaves` are numbers, 0 for a leaf without one.
    fn check(leaves: &[u64], size: u64, want: &[Disorder]) {
        let mut order = Order::default();
        leaves.iter().for_each(|number| order.push(if *number == 0 { Err(FAULT) } else { Ok(*number) }));
        assert_eq!(order.disorder(size), want, "{leaves:?} of {size}");
    }

    fn moved(first: u64, last: u64, at: u64) -> Disorder {
        Disorder::Moved { numbers: Numbers { first, last }, at }
    }

    fn missing(first: u64, last: u64) -> Disorder {
        Disorder::Missing(Numbers { first, last })
    }

    #[test]
    fn a_log_in_order_gives_nothing() {
        check(&[], 0, &[]);
        check(&[1, 2, 3], 3, &[]);
        check(&[1, 2, 3, 4], 3, &[]);
    }

    #[test]
    fn missing_entries_are_found_wherever_they_were() {
        check(&[2, 3], 3, &[missing(1, 1)]);
        check(&[1, 4, 5], 5, &[missing(2, 3)]);
        check(&[1, 2], 4, &[missing(3, 4)]);
        check(&[], 4, &[missing(1, 4)]);
        check(&[1, 3, 5], 6, &[missing(2, 2), missing(4, 4), missing(6, 6)]);
    }

    #[test]
    fn as_few_entries_as_possible_are_taken_for_moved() {
        check(&[1, 5, 3, 4, 2, 6], 6, &[moved(5, 5, 1), moved(2, 2, 4)]);
        check(&[1, 2, 6, 7, 3, 4, 5, 8], 8, &[moved(6, 7, 2)]);
        check(&[3, 1, 2], 3, &[moved(3, 3, 0)]);
        check(&[3, 2, 1], 3, &[moved(3, 3, 0), moved(2, 2, 1)]);
    }

    #[test]
    fn a_repeated_entry_is_not_taken_for_a_moved_one() {
        let again = |first, last, at| Disorder::Repeated { numbers: Numbers { first, last }, at };
        check(&[1, 2, 2, 3], 3, &[again(2, 2, 2)]);
        check(&[1, 2, 3, 2, 3, 4, 5], 5, &[again(2, 3, 3)]);
        check(&[1, 4, 2, 3, 4, 5], 5, &[again(4, 4, 1)]);
        check(&[1, 2, 3, 4, 1, 2], 4, &[again(1, 2, 4)]);
        check(&[1, 2, 1, 4], 4, &[again(1, 1, 2), missing(3, 3)]);
    }

    #[test]
    fn leaves_without_a_number_take_vacant_places_first() {
        let replaced = |first, leaves| Disorder::Replaced { first, leaves, fault: FAULT };
        let inserted = |at, leaves| Disorder::Inserted { at, leaves, fault: FAULT };
        check(&[0], 1, &[replaced(1, 1)]);
        check(&[1, 0, 3], 3, &[replaced(2, 1)]);
        check(&[1, 0, 0, 3], 3, &[replaced(2, 1), inserted(2, 1)]);
        check(&[1, 0, 2], 2, &[inserted(1, 1)]);
        check(&[1, 0, 5], 5, &[replaced(2, 1), missing(3, 4)]);
        check(&[1, 4, 0, 0], 6, &[missing(2, 3), replaced(5, 2)]);
        check(&[1, 2, 0], 2, &[inserted(2, 1)]);
        check(&[0, 1, 3, 0, 5, 2], 6, &[inserted(0, 1), replaced(4, 1), moved(2, 2, 5), missing(6, 6)]);
    }

    proptest! {
        #[test]
        fn only_a_log_in_order_gives_nothing(leaves in prop::collection::vec(0u64..12, 0..12), more in 0u64..2) {
            let mut order = Order::default();
            leaves.iter().for_each(|number| order.push(if *number == 0 { Err(FAULT) } else { Ok(*number) }));
            let rising = leaves.iter().zip(1..).all(|(number, wanted)| *number == wanted);
            let disorder = order.disorder(order.leaves() + more);
            prop_assert_eq!(disorder.is_empty(), rising && more == 0, "{:?} and {} more", leaves, more);
        }
    }
}
