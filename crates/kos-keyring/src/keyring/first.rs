//! The first file of a vault, with everything in it at once.

use std::{io, path::Path};

use data_encoding::HEXLOWER;
use kos_base::{Secret, Timestamp};
use kos_net::entropy;
use zeroize::Zeroizing;

use super::{Change, Keyring, Place, apply, empty};
use crate::{KeyringError, Opener, file};

/// A vault that is nowhere yet, with the key that opens it. Whoever has both has the keys.
pub struct Packed {
    /// The vault's file.
    pub vault: Vec<u8>,
    /// The text of its key file.
    pub key: Zeroizing<String>,
}

impl Keyring {
    /// Makes the first file of a vault with these entries in it. Its anchor follows when it is opened (KR-10), so a power
    /// cut leaves either nothing of them, or all.
    ///
    /// # Errors
    /// When there is a vault, the key of its way in cannot be had, or the disk fails.
    pub fn make(place: &Place, now: Timestamp, entries: &[Change<'_>]) -> Result<(), KeyringError> {
        let path = &place.vault;
        if Self::is_there(place) {
            return Err(KeyringError::unwritable(path)(io::ErrorKind::AlreadyExists.into()));
        }
        let key = place.opener.prepare(place)?;
        let bytes = first(path, place.opener, &key, now, entries)?;
        file::replace(path, &bytes, file::PRIVATE).map_err(KeyringError::unwritable(path))
    }

    /// The same in memory, under a fresh key file: for a backup, which is to open on another machine.
    ///
    /// # Errors
    /// When there is no randomness, or an entry does not fit.
    pub fn pack(now: Timestamp, entries: &[Change<'_>]) -> Result<Packed, KeyringError> {
        let key: Secret<32> = entropy::secret()?;
        let vault = first(Path::new("a packed vault"), Opener::KeyFile, &key, now, entries)?;
        Ok(Packed { vault, key: Zeroizing::new(HEXLOWER.encode(key.expose()) + "\n") })
    }
}

fn first(
    path: &Path,
    opener: Opener,
    key: &Secret<32>,
    now: Timestamp,
    entries: &[Change<'_>],
) -> Result<Vec<u8>, KeyringError> {
    let mut made = empty(path, opener, key, now)?;
    apply(&mut made, path, now, entries)?;
    let sealed = made.seal(now).map_err(KeyringError::vault(path))?;
    Ok(sealed.bytes().to_vec())
}
