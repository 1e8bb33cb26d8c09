//! Tiles and bundles of the log, as the store has them.

use kos_audit::tree::{Bundle, Piece};

use crate::store::{EntryQuery, Store, StoreError};

/// The bytes of a piece at its width, whatever the log has grown to since; nothing when it is not that wide yet.
pub(crate) async fn piece(store: &Store, piece: Piece) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = match piece {
        Piece::Tile(tile) => store.tile(tile.level(), tile.index()).await?.map(|tile| tile.hashes),
        // Of archived entries some rows may be left, which are no bundle.
        Piece::Bundle(bundle) if bundle.first_leaf() < store.archived().await? => None,
        Piece::Bundle(bundle) => {
            let query = EntryQuery { from: bundle.first_leaf(), ..EntryQuery::default() };
            let mut bytes = Vec::new();
            for entry in store.entries(&query, u32::from(piece.width())).await? {
                Bundle::push(&mut bytes, &entry.leaf).map_err(|e| StoreError::Entry(e.to_string()))?;
            }
            Some(bytes)
        }
    };
    // What it held before is its beginning.
    Ok(bytes.and_then(|bytes| piece.beginning(&bytes).map(<[u8]>::to_vec)))
}
