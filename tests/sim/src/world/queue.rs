//! What is going to happen, in order of time; what happens at the same time happens in the order in which it was planned.

use std::collections::BTreeMap;

use kos_base::Timestamp;

/// The plan.
#[derive(Debug)]
pub(super) struct Queue<E> {
    planned: BTreeMap<(Timestamp, u64), E>,
    count: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { planned: BTreeMap::new(), count: 0 }
    }
}

impl<E> Queue<E> {
    /// Plans something.
    pub(super) fn plan(&mut self, at: Timestamp, event: E) {
        self.count += 1;
        self.planned.insert((at, self.count), event);
    }

    /// What is next, and when.
    pub(super) fn next(&mut self) -> Option<(Timestamp, E)> {
        self.planned.pop_first().map(|((at, _), event)| (at, event))
    }
}
