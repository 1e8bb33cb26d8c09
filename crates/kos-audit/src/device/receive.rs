//! The authority's side of a delivery: one message, judged.

use kos_base::{Code, code};

use super::{Growth, Ledger, LedgerError};
use crate::{
    checkpoint::{CheckpointError, SignedCheckpoint},
    entry::signed_json,
    event::{EventType, Weight},
    key::LogKey,
    tree::{Bundle, TreeHead},
    verify::LeafReading,
};

/// What to do with a message that lies about nothing.
#[derive(Debug)]
pub enum Taken {
    /// Answer what is held; nothing came that follows it.
    Nothing,
    /// Write this and then the checkpoint of the message, settle it, and answer what is held then.
    Grown {
        /// The files.
        growth: Growth,
        /// Whether one of the entries is critical.
        critical: bool,
    },
}

/// What is wrong with a message. Keep it as evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryFault {
    /// The log's key signed another log than the one that is held.
    #[error("the log of the device is not the one that is held")]
    Forked,
    /// The log's key signed fewer entries than are held.
    #[error("the log of the device ends before the one that is held")]
    Rewound,
    /// An entry was not signed by the log's key for its place.
    #[error("an entry that the log's key did not sign for its place")]
    Edited,
    /// The checkpoint is none of this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// More at once than one message may bring.
    #[error("entries beyond one bundle in one message")]
    TooMuch,
    /// The copy cannot grow.
    #[error(transparent)]
    Copy(LedgerError),
}

impl DeliveryFault {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Forked => code::audit::DEVICE_LOG_FORKED,
            Self::Rewound => code::audit::DEVICE_LOG_REWOUND,
            Self::Edited | Self::Checkpoint(_) => code::audit::DEVICE_LOG_EDITED,
            Self::TooMuch => code::audit::DEVICE_LOG_RATE,
            Self::Copy(_) => code::audit::DEVICE_LOG_COPY,
        }
    }

    /// In one word, for an entry.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Forked => "forked",
            Self::Rewound => "rewound",
            Self::Edited => "edited",
            Self::Checkpoint(_) => "checkpoint",
            Self::TooMuch => "flood",
            Self::Copy(_) => "copy",
        }
    }
}

/// Judges a message: `leaves` from the index `first` on, and a checkpoint over the log up to the last of them. `open` gives the
/// bytes of a bundle of the copy. The ledger grows in memory only; after an error it is as it was.
///
/// # Errors
/// When the device lies, or its disk was changed.
///
/// Cost: a signature check for each leaf, and one.
pub fn receive(
    ledger: &mut Ledger,
    first: u64,
    leaves: &[&[u8]],
    checkpoint: &str,
    open: impl FnOnce(&Bundle) -> Vec<u8>,
) -> Result<Taken, DeliveryFault> {
    let signed = SignedCheckpoint::parse(checkpoint).map_err(CheckpointError::from)?;
    let said: TreeHead = *signed.verify(ledger.key(), &[])?.head();
    let held = ledger.covered();
    if said.size < held.size && leaves.is_empty() {
        return Err(DeliveryFault::Rewound);
    }
    if said.size == held.size && said.root != held.root {
        return Err(DeliveryFault::Forked);
    }
    if leaves.is_empty() || first != held.size {
        return Ok(Taken::Nothing);
    }
    let mut grown = ledger.clone();
    let (mut bundle, mut critical) = (ledger.open_bundle().map(|b| open(&b)).unwrap_or_default(), false);
    for leaf in leaves {
        if grown.is_at_the_end_of_a_bundle() {
            return Err(DeliveryFault::TooMuch);
        }
        if LeafReading::of(leaf, ledger.key()).number() != Some(grown.size() + 1) {
            return Err(DeliveryFault::Edited);
        }
        critical |= weight_of(leaf, ledger.key()) == Weight::Critical;
        grown.append(leaf).map_err(|e| DeliveryFault::Copy(e.into()))?;
        Bundle::push(&mut bundle, leaf).map_err(|_| DeliveryFault::Edited)?;
    }
    if grown.checkpoint(kos_base::Timestamp::default()).head != said {
        return Err(DeliveryFault::Forked);
    }
    let growth = grown.growth(bundle).map_err(DeliveryFault::Copy)?;
    *ledger = grown;
    Ok(Taken::Grown { growth, critical })
}

/// The weight of an entry; a word of a later version is ordinary.
fn weight_of(leaf: &[u8], key: &LogKey) -> Weight {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "eventType")]
        event: String,
    }
    let json = signed_json(leaf, key).unwrap_or_default();
    let event = serde_json::from_slice::<Typed>(&json).ok().and_then(|typed| typed.event.parse().ok());
    event.map_or(Weight::Ordinary, EventType::weight)
}
