//! A key file that is to be elsewhere.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use kos_base::Timestamp;

use super::{Keyring, Place, With, gone, read};
use crate::{KeyringError, Opener, file};

impl Keyring {
    /// As [`Keyring::open`], where a key file of ours may be at `former` still. A vault that opens by that one is sealed
    /// anew to what `place` says, and the file is destroyed after; so is one that opens nothing.
    ///
    /// # Errors
    /// As [`Keyring::open`]; the vault opens as it did before, or as it is to.
    pub fn open_moved(place: Place, former: &Path, now: Timestamp) -> Result<Self, KeyringError> {
        if !former.exists() || is_one(former, &place.key_file) {
            return Self::open(place, now);
        }
        let before = Place {
            key_file: former.to_owned(),
            credentials: None,
            opener: Opener::KeyFile,
            ..place.clone()
        };
        let keyring = match read(&before) {
            Ok(Some(found)) if found.opener == Opener::KeyFile => {
                let (opened, opener) = found.anchored(&before)?;
                let mut keyring = Self { place, opened: Some(opened), opener };
                keyring.seal_anew(now, With::NewKey)?;
                // The old key goes only when the new one is seen to open what is on the disk.
                read(&keyring.place)?.ok_or_else(|| gone(&keyring.place))?;
                keyring
            }
            Ok(_) | Err(KeyringError::Unopened { .. }) => Self::open(place, now)?,
            Err(error) => return Err(error),
        };
        file::remove(former).map_err(KeyringError::unwritable(former))?;
        Ok(keyring)
    }
}

/// Whether both are one file, by whatever names: to destroy the one would be to destroy the other.
fn is_one(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    one == other || (identity(one).is_some() && identity(one) == identity(other))
}
