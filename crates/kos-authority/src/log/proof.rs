//! Proofs about the log, made from the tiles in the store and checked before anybody gets one.

use kos_audit::{
    LogKey, Proof, SealedEntry, SignedCheckpoint, TreeHash,
    tree::{Piece, ProofPlan},
};

use super::{piece::piece, tail::differs};
use crate::store::{Store, StoreError, StoredEntry};

/// A C2SP tlog-proof that the newest checkpoint covers the entry at `position`; nothing when there is no such entry.
///
/// # Errors
/// [`StoreError::LogDiffers`] when the proof would not hold: a tile or an entry is not what was signed.
pub async fn prove(store: &Store, key: &LogKey, entry: &StoredEntry) -> Result<Option<String>, StoreError> {
    let Some(state) = store.log_state().await?.filter(|state| entry.position < state.size) else {
        return Ok(None);
    };
    let plan = ProofPlan::inclusion(entry.position, state.size).map_err(|e| differs(e.to_string()))?;
    let hashes = hashes_of(store, &plan).await?;
    let signed = SignedCheckpoint::parse(&state.checkpoint).map_err(|e| differs(e.to_string()))?;
    let leaf = SealedEntry::from_bytes(entry.leaf.clone());
    let proof = Proof::new(entry.position, hashes, signed).with_leaf(&leaf);
    let text = proof.to_string();
    proof.verify(None, key, &[]).map_err(|e| differs(e.to_string()))?;
    Ok(Some(text))
}

/// That the tree of `old` entries is the beginning of the one of `size`. Whoever has the two roots checks it.
///
/// # Errors
/// When `old` is the larger one, or a tile is damaged.
pub(crate) async fn consistency(store: &Store, old: u64, size: u64) -> Result<Vec<TreeHash>, StoreError> {
    let plan = ProofPlan::consistency(old, size).map_err(|e| differs(e.to_string()))?;
    hashes_of(store, &plan).await
}

async fn hashes_of(store: &Store, plan: &ProofPlan) -> Result<Vec<TreeHash>, StoreError> {
    let mut rows = Vec::with_capacity(plan.tiles().len());
    for tile in plan.tiles() {
        // One that is not whole is refused below.
        rows.push(piece(store, Piece::Tile(*tile)).await?.unwrap_or_default());
    }
    plan.finish(&rows).map_err(|e| differs(e.to_string()))
}
