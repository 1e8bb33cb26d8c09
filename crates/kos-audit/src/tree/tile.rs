//! Tiles and entry bundles: which there are, where they are kept, how they are read.
//!
//! A tile at level `l` is up to 256 hashes in a row, each over `256^l` leaves. A bundle is the up to 256 leaves of a tile
//! at level 0, each behind its length as a big-endian u16. One with fewer than 256 is *partial*, has its width in its
//! path, and never changes: a longer one is another file.
//!
//! Source: C2SP tlog-tiles; `docs/spec/audit.md` AUD-36 to AUD-40.

use super::{HASH_BYTES, TREE_SIZE_MAX, TreeError, TreeHash};

/// Levels of the tree that one tile spans.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// Levels of tiles that the largest tree has.
pub(crate) const LEVELS: core::ops::Range<u8> = 0..7;

/// Hashes of a full tile, leaves of a full bundle.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// A row of hashes of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile at `level` that holds the node `node` of that level, as wide as it is in a tree of `size` leaves.
    pub(crate) fn holding(level: u8, node: u64, size: u64) -> Option<Self> {
        Self::wide(level, node >> TILE_HEIGHT, size)
    }

    fn wide(level: u8, index: u64, size: u64) -> Option<Self> {
        let nodes = size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0);
        let width = nodes.saturating_sub(index << TILE_HEIGHT).min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// Every tile of a tree of `size` leaves, level by level from the leaves up.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        Self::grown(0, size)
    }

    /// The tiles that change when a tree grows from `from` leaves to `to`, level by level from the leaves up.
    pub fn grown(from: u64, to: u64) -> impl Iterator<Item = Self> {
        LEVELS.flat_map(move |level| {
            let nodes = |size: u64| size >> (u32::from(level) * TILE_HEIGHT);
            let changed = if nodes(from) < nodes(to) { nodes(from) >> TILE_HEIGHT..u64::MAX } else { 0..0 };
            changed.map_while(move |index| Self::wide(level, index, to))
        })
    }

    /// Its level: 0 holds the hashes of leaves.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Its place in the level.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it holds.
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The leaves that its hashes are over.
    pub(crate) fn span(&self) -> core::ops::Range<u64> {
        let each = u64::from(TILE_WIDTH).saturating_pow(u32::from(self.level));
        let first = self.index << TILE_HEIGHT;
        first.saturating_mul(each)..(first + u64::from(self.width)).saturating_mul(each)
    }

    /// The full tile below the hash at `at`.
    pub(crate) fn below(&self, at: u64) -> Option<Self> {
        let level = self.level.checked_sub(1)?;
        Some(Self { level, index: (self.index << TILE_HEIGHT) + at, width: TILE_WIDTH })
    }

    /// Its part of the bytes of a wider one with the same level and index.
    pub fn beginning<'a>(&self, wider: &'a [u8]) -> Option<&'a [u8]> {
        wider.get(..usize::from(self.width) * HASH_BYTES)
    }

    /// `tile/LEVEL/INDEX` or `tile/LEVEL/INDEX.p/WIDTH`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, numbered(self.index, self.width))
    }

    /// The tile that replaces this one once it is full. Its first hashes are the same.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Its hashes.
    ///
    /// # Errors
    /// When `bytes` do not have the length of its width.
    pub fn hashes<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<impl ExactSizeIterator<Item = TreeHash> + 'a, TreeError> {
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if hashes.len() != usize::from(self.width) || !rest.is_empty() {
            let bytes_wanted = usize::from(self.width) * HASH_BYTES;
            return Err(TreeError::Tile { path: self.path(), bytes: bytes.len(), bytes_wanted });
        }
        Ok(hashes.iter().map(|hash| TreeHash::from_bytes(*hash)))
    }
}

/// A row of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle(Tile);

/// The bytes end inside a leaf or its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry bundle ends inside an entry")]
pub struct Torn;

/// A leaf that no bundle can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a leaf of {bytes} bytes, at most 65535 fit a bundle")]
pub struct LeafTooLong {
    /// How long it is.
    pub bytes: usize,
}

impl Bundle {
    /// Every bundle of a tree of `size` leaves.
    pub fn all(size: u64) -> impl Iterator<Item = Self> {
        Self::grown(0, size)
    }

    /// The bundles to write when a tree grows from `from` leaves to `to`.
    pub fn grown(from: u64, to: u64) -> impl Iterator<Item = Self> {
        let changed = if from < to { from >> TILE_HEIGHT..u64::MAX } else { 0..0 };
        changed.map_while(move |index| Tile::wide(0, index, to).map(Self))
    }

    /// The bundle of the leaves whose hashes are in `tile`, which is one of level 0.
    pub(crate) const fn of(tile: Tile) -> Self {
        Self(tile)
    }

    /// The tile of its leaves' hashes.
    pub const fn tile(&self) -> Tile {
        self.0
    }

    /// Index of its first leaf in the tree.
    pub const fn first_leaf(&self) -> u64 {
        self.0.index << TILE_HEIGHT
    }

    /// `tile/entries/INDEX` or `tile/entries/INDEX.p/WIDTH`.
    pub fn path(&self) -> String {
        format!("tile/entries/{}", numbered(self.0.index, self.0.width))
    }

    /// The bundle that replaces this one once it is full. Its first leaves are the same.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self(self.0.full())
    }

    /// Its part of the bytes of a wider one with the same index; nothing when they do not hold as many leaves.
    pub fn beginning<'a>(&self, wider: &'a [u8]) -> Option<&'a [u8]> {
        let mut bytes = 0;
        for leaf in Self::leaves(wider).take(usize::from(self.0.width)) {
            bytes += 2 + leaf.ok()?.len();
        }
        let whole = Self::leaves(wider).count() >= usize::from(self.0.width);
        wider.get(..bytes).filter(|_| whole)
    }

    /// Appends `leaf` to the bytes of a bundle.
    ///
    /// # Errors
    /// When it is too long; no entry of ours is.
    pub fn push(bytes: &mut Vec<u8>, leaf: &[u8]) -> Result<(), LeafTooLong> {
        let length = u16::try_from(leaf.len()).map_err(|_| LeafTooLong { bytes: leaf.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(leaf);
        Ok(())
    }

    /// The leaves in the bytes of a bundle; the last item is [`Torn`] when the bytes end inside one.
    pub fn leaves(bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Torn>> {
        let mut rest = bytes;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let split = rest
                .split_first_chunk::<2>()
                .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
            let (leaf, after) = split.map_or((Err(Torn), &[][..]), |(leaf, after)| (Ok(leaf), after));
            rest = after;
            Some(leaf)
        })
    }
}

/// A file of a log besides its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Hashes.
    Tile(Tile),
    /// Leaves.
    Bundle(Bundle),
}

impl Piece {
    /// What is at this path; nothing where the format has no file. There is one way to write each path.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| *width < TILE_WIDTH)?),
            None => (place, TILE_WIDTH),
        };
        let mut number = 0_u64;
        for group in index.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let is_bundle = level == "entries";
        let level = if is_bundle { 0 } else { level.parse().ok()? };
        let tile = Tile { level, index: number, width };
        let piece = if is_bundle { Self::Bundle(Bundle(tile)) } else { Self::Tile(tile) };
        let in_some_tree = width > 0 && LEVELS.contains(&level) && number <= TREE_SIZE_MAX >> TILE_HEIGHT;
        (in_some_tree && piece.path() == path).then_some(piece)
    }

    /// Everything that changes when a tree grows from `from` leaves to `to`: what must be durable before its checkpoint.
    pub fn grown(from: u64, to: u64) -> impl Iterator<Item = Self> {
        Bundle::grown(from, to).map(Self::Bundle).chain(Tile::grown(from, to).map(Self::Tile))
    }

    /// Where it is.
    pub fn path(&self) -> String {
        match self {
            Self::Tile(tile) => tile.path(),
            Self::Bundle(bundle) => bundle.path(),
        }
    }

    /// How many hashes or leaves it holds.
    pub const fn width(&self) -> u16 {
        match self {
            Self::Tile(tile) => tile.width,
            Self::Bundle(bundle) => bundle.0.width,
        }
    }

    /// What replaces it once that is full.
    #[must_use]
    pub const fn full(&self) -> Self {
        match self {
            Self::Tile(tile) => Self::Tile(tile.full()),
            Self::Bundle(bundle) => Self::Bundle(bundle.full()),
        }
    }

    /// Its part of the bytes of a wider one; nothing when they do not hold as much.
    pub fn beginning<'a>(&self, wider: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Tile(tile) => tile.beginning(wider),
            Self::Bundle(bundle) => bundle.beginning(wider),
        }
    }
}

/// `1234067` as `x001/x234/067`, and the width behind it when the row is partial.
fn numbered(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH {
        path = format!("{path}.p/{width}");
    }
    path
}
