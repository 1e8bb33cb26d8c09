//! The device's side of a delivery: what is sent next. One message is under way at a time.

use crate::tree::{TILE_WIDTH, TreeHash, TreeHead};

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The newest checkpoint without entries: a question for what the authority holds.
    Offer,
    /// Entries from `from` up to before `until` or fewer, with a checkpoint behind the last of them.
    Bring {
        /// Index of the first.
        from: u64,
        /// Index behind the last that may be in it.
        until: u64,
    },
}

/// The authority holds something else than what this device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// It holds more: this log was put back to an earlier state.
    #[error("the authority holds more entries than there are")]
    Rewound,
    /// It holds others.
    #[error("the authority holds other entries")]
    Forked,
}

impl Contradiction {
    /// In one word, for an entry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rewound => "rewound",
            Self::Forked => "forked",
        }
    }
}

/// A delivery. It remembers nothing over a link's end: what the authority holds is asked anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Courier {
    linked: bool,
    under_way: bool,
    held: Option<u64>,
}

impl Courier {
    /// There is a link.
    pub const fn linked(&mut self) {
        *self = Self { linked: true, under_way: false, held: None };
    }

    /// There is none any more, or nothing is sent on it.
    pub const fn lost(&mut self) {
        *self = Self { linked: false, under_way: false, held: None };
    }

    /// How many entries the authority has said to hold on this link.
    pub const fn held(&self) -> Option<u64> {
        self.held
    }

    /// What to send now that `covered` entries have a checkpoint; nothing while an answer is awaited.
    pub fn next(&self, covered: u64) -> Option<Errand> {
        if !self.linked || self.under_way || covered == 0 {
            return None;
        }
        match self.held {
            None => Some(Errand::Offer),
            Some(from) if from < covered => {
                let width = u64::from(TILE_WIDTH);
                Some(Errand::Bring { from, until: covered.min((from / width + 1) * width) })
            }
            Some(_) => None,
        }
    }

    /// It was sent.
    pub const fn sent(&mut self) {
        self.under_way = true;
    }

    /// The authority answers that it holds the log up to `held`. `own` is the root of this log at that size, if it has it.
    ///
    /// # Errors
    /// When the two logs are not one. The device must not go on with its own.
    pub fn answered(&mut self, held: TreeHead, own: Option<TreeHash>) -> Result<(), Contradiction> {
        if !self.under_way {
            return Ok(());
        }
        self.under_way = false;
        match own {
            None => Err(Contradiction::Rewound),
            Some(root) if root != held.root => Err(Contradiction::Forked),
            Some(_) => {
                self.held = Some(held.size);
                Ok(())
            }
        }
    }
}
