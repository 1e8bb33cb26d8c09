//! Sharings that are the same in every run.

use kos_base::{Secret, digest::sha256_parts};
use kos_shares::{FRESH_BYTES, Fresh, Identifier, Plan, Share, split};

/// The key that is split.
pub(crate) const KEY: [u8; 32] = *b"a key of thirty-two bytes, split";

/// Bytes that look random.
fn drawn(seed: u64) -> Fresh {
    let blocks = (0_u64..).flat_map(|block| {
        sha256_parts("kos test drawn", [seed.to_be_bytes().as_slice(), &block.to_be_bytes()])
    });
    let bytes: Vec<u8> = blocks.take(FRESH_BYTES + 2).collect();
    Fresh {
        identifier: Identifier::from_random(bytes[..2].try_into().unwrap()),
        bytes: Secret::new(bytes[2..].try_into().unwrap()),
    }
}

/// `threshold` of `total` shares of `key`, made with the bytes of `seed`.
pub(crate) fn shares_of(key: [u8; 32], threshold: u8, total: u8, seed: u64) -> Vec<Share> {
    split(&Secret::new(key), Plan::new(threshold, total).unwrap(), drawn(seed)).unwrap()
}

/// Those of [`KEY`].
pub(crate) fn shares(threshold: u8, total: u8, seed: u64) -> Vec<Share> {
    shares_of(KEY, threshold, total, seed)
}

/// The words of one share.
pub(crate) fn words(share: &Share) -> String {
    share.to_words().expose().to_owned()
}
