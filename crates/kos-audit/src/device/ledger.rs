//! A log that grows in files: which files to write for it, and what a start finds in them.

use kos_base::{Code, Timestamp, code};

use crate::{
    checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
    entry::LEAF_BYTES_MAX,
    key::LogKey,
    tree::{
        Bundle, EdgePlan, Frontier, HASH_BYTES, TILE_WIDTH, Tile, TileGrowth, TreeError, TreeHash, TreeHead,
        leaf_hash,
    },
    verify::LeafReading,
};

/// Bytes in front of a tail: the index of its first entry, big-endian.
pub const TAIL_HEAD_BYTES: usize = 8;

/// The beginning of a tail whose first entry has the index `first`.
pub const fn tail_head(first: u64) -> [u8; TAIL_HEAD_BYTES] {
    first.to_be_bytes()
}

/// Why files are not a log that may go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The checkpoint is none of this log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tile is missing or damaged.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The tiles do not lead to the root that was signed.
    #[error("the tiles do not lead to the root that was signed")]
    Root,
    /// The entries of the last bundle are not those of the tree.
    #[error("the entries of the last bundle are not those that were signed")]
    Bundle,
    /// More is wrong at the end than one write can have left unfinished.
    #[error("the newest entries are damaged")]
    Tail,
    /// The log does not begin where it did.
    #[error("the files of the log are gone")]
    Gone,
}

impl LedgerError {
    /// Its code.
    pub const fn code(&self) -> Code {
        code::audit::DEVICE_LOG_DAMAGED
    }

    /// In one word, for an entry.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Checkpoint(_) => "checkpoint",
            Self::Tree(_) => "tile",
            Self::Root => "root",
            Self::Bundle => "bundle",
            Self::Tail => "tail",
            Self::Gone => "gone",
        }
    }
}

impl TailRead {
    /// The tail to go on with, in place of `tail`, if that one cannot be: it has no beginning, or entries in front that are in
    /// a bundle already.
    pub fn anew(&self, tail: &[u8], covered: u64) -> Option<Vec<u8>> {
        if self.kept >= TAIL_HEAD_BYTES && self.from == TAIL_HEAD_BYTES {
            return None;
        }
        let uncovered = tail.get(self.from.max(TAIL_HEAD_BYTES)..self.kept).unwrap_or_default();
        Some([&tail_head(covered), uncovered].concat())
    }
}

/// What a tail held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailRead {
    /// Where the entries begin that no checkpoint covers: those in front of them are in a bundle already.
    pub from: usize,
    /// Bytes of it that stand.
    pub kept: usize,
    /// Bytes behind them: a write that was not finished, and that nobody was told of.
    pub cut: usize,
}

/// What to write when a log has grown: every file durable before the next, the checkpoint behind all of them.
#[derive(Clone, Debug)]
pub struct Growth {
    /// Paths below the folder of the log, and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// Narrower forms of these, which may go once the checkpoint is durable.
    pub stale: Vec<String>,
    head: TreeHead,
    partial: Vec<(Tile, Vec<u8>)>,
}

/// The right edge of a log in files.
#[derive(Clone, Debug)]
pub struct Ledger {
    key: LogKey,
    frontier: Frontier,
    covered: TreeHead,
    /// Hashes of entries that no checkpoint covers yet.
    uncovered: Vec<TreeHash>,
    /// The tiles that are not full, as the checkpoint needs them.
    partial: Vec<(Tile, Vec<u8>)>,
}

impl Ledger {
    /// A log without entries.
    pub fn empty(key: LogKey) -> Self {
        let frontier = Frontier::empty();
        Self { key, covered: frontier.head(), frontier, uncovered: Vec::new(), partial: Vec::new() }
    }

    /// The log whose newest checkpoint is `checkpoint`. `read` gives a file of it.
    ///
    /// # Errors
    /// When the files are not what that checkpoint signs. Older bundles are not looked at: that is a verification.
    pub fn load(
        key: LogKey,
        checkpoint: &str,
        mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, LedgerError> {
        let signed = SignedCheckpoint::parse(checkpoint).map_err(CheckpointError::from)?;
        let covered = *signed.verify(&key, &[])?.head();
        let plan = EdgePlan::new(covered.size, covered.size)?;
        let bytes: Vec<_> = plan.tiles().iter().map(|tile| tile_of(tile, &mut read)).collect();
        let frontier = plan.finish(&bytes)?;
        if frontier.head() != covered {
            return Err(LedgerError::Root);
        }
        let partial: Vec<_> = plan.tiles().iter().copied().zip(bytes).collect();
        if let Some((tile, hashes)) = partial.iter().find(|(tile, _)| tile.level() == 0) {
            let bundle = Bundle::all(covered.size).last().ok_or(LedgerError::Bundle)?;
            let leaves = bundle_of(&bundle, &mut read);
            let read = Bundle::leaves(&leaves).take(usize::from(tile.width()));
            let own = read.map(|leaf| leaf.map(leaf_hash)).collect::<Result<Vec<_>, _>>();
            let wanted = tile.hashes(hashes)?.collect::<Vec<_>>();
            if own != Ok(wanted) {
                return Err(LedgerError::Bundle);
            }
        }
        Ok(Self { key, frontier, covered, uncovered: Vec::new(), partial })
    }

    /// Takes the entries that the tail holds beyond the checkpoint.
    ///
    /// # Errors
    /// [`LedgerError::Tail`] when more is wrong than one unfinished write explains.
    pub fn take_tail(&mut self, tail: &[u8]) -> Result<TailRead, LedgerError> {
        let Some((first, mut rest)) = tail.split_first_chunk::<TAIL_HEAD_BYTES>() else {
            return Ok(TailRead { from: 0, kept: 0, cut: tail.len() });
        };
        let mut index = u64::from_be_bytes(*first);
        if index > self.covered.size {
            return Err(LedgerError::Tail);
        }
        let mut from = None;
        while let Some((leaf, after)) = record(rest) {
            if index >= self.covered.size {
                from.get_or_insert(tail.len() - rest.len());
                if LeafReading::of(leaf, &self.key).number() != Some(index + 1) {
                    break;
                }
                self.append(leaf)?;
            }
            index += 1;
            rest = after;
        }
        if rest.len() > LEAF_BYTES_MAX + 2 {
            return Err(LedgerError::Tail);
        }
        let kept = tail.len() - rest.len();
        Ok(TailRead { from: from.unwrap_or(kept), kept, cut: rest.len() })
    }

    /// The key of the log.
    pub const fn key(&self) -> &LogKey {
        &self.key
    }

    /// How many entries there are.
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many of them a checkpoint covers, and their root.
    pub const fn covered(&self) -> TreeHead {
        self.covered
    }

    /// Whether a checkpoint has to be made before another entry: a growth stays within one bundle.
    pub fn is_at_the_end_of_a_bundle(&self) -> bool {
        self.size() > self.covered.size && self.size().is_multiple_of(u64::from(TILE_WIDTH))
    }

    /// Appends a leaf. Whether it is one of this log is the caller's business.
    ///
    /// # Errors
    /// When the tree is full.
    pub fn append(&mut self, leaf: &[u8]) -> Result<(), TreeError> {
        let hash = leaf_hash(leaf);
        self.frontier.append(hash)?;
        self.uncovered.push(hash);
        Ok(())
    }

    /// A checkpoint over all entries, to be signed.
    pub fn checkpoint(&self, time: Timestamp) -> Checkpoint {
        Checkpoint { origin: self.key.origin().clone(), head: self.frontier.head(), time }
    }

    /// The path of the bundle that the next growth begins with, when the checkpoint has a part of it.
    pub fn open_bundle(&self) -> Option<Bundle> {
        let is_open = !self.covered.size.is_multiple_of(u64::from(TILE_WIDTH));
        is_open.then(|| Bundle::all(self.covered.size).last()).flatten()
    }

    /// The files that a checkpoint over all entries needs. `bundle` has the leaves of [`Ledger::open_bundle`] in front and
    /// behind them those that were appended since.
    ///
    /// # Errors
    /// When `bundle` does not hold as many leaves, or the growth goes beyond one bundle.
    pub fn growth(&self, bundle: Vec<u8>) -> Result<Growth, LedgerError> {
        let (from, to) = (self.covered.size, self.size());
        let mut bundles = Bundle::grown(from, to);
        let (Some(last), None) = (bundles.next(), bundles.next()) else { return Err(LedgerError::Bundle) };
        if Bundle::leaves(&bundle).filter(Result::is_ok).count() != usize::from(last.tile().width()) {
            return Err(LedgerError::Bundle);
        }
        let plan = TileGrowth::new(from, to)?;
        let held =
            |tile: &Tile| self.partial.iter().find(|(held, _)| held == tile).map(|(_, bytes)| &bytes[..]);
        let held: Vec<_> = plan.reads().iter().map(|tile| held(tile).unwrap_or_default()).collect();
        let grown = plan.finish(&held, &self.uncovered)?;
        let mut stale: Vec<_> = plan.reads().iter().map(Tile::path).collect();
        stale.extend(self.open_bundle().map(|bundle| bundle.path()));
        let mut files = vec![(last.path(), bundle)];
        files.extend(grown.iter().map(|(tile, bytes)| (tile.path(), bytes.clone())));
        let untouched = |tile: &Tile| !grown.iter().any(|(new, _)| new.level() == tile.level());
        let mut partial: Vec<_> = self.partial.iter().filter(|(tile, _)| untouched(tile)).cloned().collect();
        partial.extend(grown.into_iter().filter(|(tile, _)| tile.width() < TILE_WIDTH));
        Ok(Growth { files, stale, head: self.frontier.head(), partial })
    }

    /// The files of `growth` and the checkpoint behind them are durable.
    pub fn settle(&mut self, growth: Growth) {
        self.covered = growth.head;
        self.partial = growth.partial;
        self.uncovered.clear();
    }

    /// The edge of the first `size` entries, from tiles that the checkpoint covers. `read` gives a file of the log.
    ///
    /// # Errors
    /// When there are not as many, or a tile is damaged.
    pub fn edge(
        &self,
        size: u64,
        mut read: impl FnMut(&str) -> Option<Vec<u8>>,
    ) -> Result<Frontier, TreeError> {
        let plan = EdgePlan::new(size, self.covered.size)?;
        let tiles: Vec<_> = plan.tiles().iter().map(|tile| tile_of(tile, &mut read)).collect();
        plan.finish(&tiles)
    }
}

/// The next leaf of a tail, and what is behind it; nothing when it ends inside one.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = bytes.split_first_chunk::<2>()?;
    after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The bytes of a tile; of the full one that has replaced it, its part.
fn tile_of(tile: &Tile, read: &mut impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = read(&tile.path()).or_else(|| read(&tile.full().path())).unwrap_or_default();
    bytes.truncate(usize::from(tile.width()) * HASH_BYTES);
    bytes
}

/// The bytes of a bundle, or of a wider one that has replaced it.
fn bundle_of(bundle: &Bundle, read: &mut impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    read(&bundle.path()).or_else(|| read(&bundle.full().path())).unwrap_or_default()
}
