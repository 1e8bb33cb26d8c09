//! The device's private keys, as files in the folder of secrets.
//!
//! Shape: one file a slot (`identity.key`, `operational-a.key`, ..), in the form of [`crate::root::seal`], 0600. Signing keys
//! are PKCS#8 inside, so that they can be taken out with common tools; agreement keys are their 32 bytes.
//!
//! Invariants: a key is durable before its public half is told. Making or erasing a key overwrites the one that was in
//! the slot. A damaged file is never replaced silently: the device stops instead of becoming another device.
//!
//! What it does not do: keep keys in a TPM or token, or encrypt the files.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_base::{Code, KeyAlgorithm, Secret};
use kos_identity::enrolment::device::{KeySlot, MadeKey, Slot};
use kos_net::keys::{AgreementSecret, KeyError, SigningKey};
use zeroize::Zeroizing;

use crate::root::{self, Kind, RootError, file};

/// Every slot.
const SLOTS: [KeySlot; 5] = [
    KeySlot::Identity,
    KeySlot::Operational(Slot::A),
    KeySlot::Operational(Slot::B),
    KeySlot::Agreement(Slot::A),
    KeySlot::Agreement(Slot::B),
];

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Its file cannot be read or written, or is damaged.
    #[error(transparent)]
    File(#[from] RootError),
    /// The provider failed, or does not take what the file holds.
    #[error("{}: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// There is no key in this slot.
    #[error("{} is missing", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
}

impl KeystoreError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::Key { source, .. } => source.code(),
            Self::Missing { .. } => kos_base::code::config::FILE_UNREADABLE,
        }
    }
}

/// The keys in one folder.
pub struct Keystore {
    folder: PathBuf,
}

impl Keystore {
    /// The keys in `folder`, which only its owner may enter.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes a key and puts it into `slot`, durably. A key that was there is overwritten.
    ///
    /// # Errors
    /// When there is no randomness, or the file cannot be written; the old key is then still there.
    pub fn make(&self, slot: KeySlot) -> Result<MadeKey, KeystoreError> {
        let path = self.path(slot);
        let refused = |source| KeystoreError::Key { path: path.clone(), source };
        if let KeySlot::Agreement(_) = slot {
            let key = AgreementSecret::generate().map_err(refused)?;
            file::replace(&path, &root::seal(Kind::AgreementKey, key.secret().expose()), file::PRIVATE)?;
            return Ok(MadeKey::Agreement(key.public()));
        }
        let key = SigningKey::generate(KeyAlgorithm::Ed25519).map_err(refused)?;
        let pkcs8 = key.to_pkcs8().map_err(refused)?;
        file::replace(&path, &root::seal(Kind::SigningKey, &pkcs8), file::PRIVATE)?;
        Ok(MadeKey::Signing(key.public().clone()))
    }

    /// The signing key in `slot`.
    ///
    /// # Errors
    /// When there is none, or its file is damaged.
    pub fn signing(&self, slot: KeySlot) -> Result<Arc<SigningKey>, KeystoreError> {
        let path = self.path(slot);
        let bytes = file::read(&path)?.ok_or_else(|| KeystoreError::Missing { path: path.clone() })?;
        let key = SigningKey::from_pkcs8(root::open(Kind::SigningKey, &path, &bytes)?);
        key.map(Arc::new).map_err(|source| KeystoreError::Key { path, source })
    }

    /// The agreement key in `slot`.
    ///
    /// # Errors
    /// When there is none, or its file is damaged.
    pub fn agreement(&self, slot: Slot) -> Result<AgreementSecret, KeystoreError> {
        let path = self.path(KeySlot::Agreement(slot));
        let bytes = file::read(&path)?.ok_or_else(|| KeystoreError::Missing { path: path.clone() })?;
        let content = root::open(Kind::AgreementKey, &path, &bytes)?;
        let secret = <[u8; 32]>::try_from(content).map(Zeroizing::new);
        let secret = secret.map_err(|_| RootError::Damaged { path: path.clone() })?;
        AgreementSecret::from_secret(Secret::new(*secret))
            .map_err(|source| KeystoreError::Key { path, source })
    }

    /// Overwrites and removes the key in `slot`, durably. An empty slot is as good as an erased one.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn erase(&self, slot: KeySlot) -> Result<(), KeystoreError> {
        Ok(file::remove(&self.path(slot))?)
    }

    /// Erases every key, the identity key first: without it the others are worth nothing.
    ///
    /// # Errors
    /// At the first that cannot be erased.
    pub fn erase_all(&self) -> Result<(), KeystoreError> {
        SLOTS.into_iter().try_for_each(|slot| self.erase(slot))
    }

    /// Where the keys are, the identity key first.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        SLOTS.into_iter().map(|slot| self.path(slot)).collect()
    }

    fn path(&self, slot: KeySlot) -> PathBuf {
        self.folder.join(match slot {
            KeySlot::Identity => "identity.key",
            KeySlot::Operational(Slot::A) => "operational-a.key",
            KeySlot::Operational(Slot::B) => "operational-b.key",
            KeySlot::Agreement(Slot::A) => "agreement-a.key",
            KeySlot::Agreement(Slot::B) => "agreement-b.key",
        })
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({})", self.folder.display())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use kos_base::code;

    use super::*;

    fn public(keys: &Keystore, slot: KeySlot) -> Result<Vec<u8>, KeystoreError> {
        match slot {
            KeySlot::Agreement(slot) => Ok(keys.agreement(slot)?.public().0.to_vec()),
            slot => Ok(keys.signing(slot)?.public().spki_der().to_vec()),
        }
    }

    fn told(made: MadeKey) -> Vec<u8> {
        match made {
            MadeKey::Signing(key) => key.spki_der().to_vec(),
            MadeKey::Agreement(key) => key.0.to_vec(),
        }
    }

    #[test]
    fn each_slot_keeps_its_own_key_until_it_is_erased() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keystore::new(folder.path());
        let made = SLOTS.map(|slot| told(keys.make(slot).unwrap()));
        for (slot, made) in SLOTS.into_iter().zip(&made) {
            assert_eq!(&public(&keys, slot).unwrap(), made, "{slot:?}");
            assert_eq!(fs::metadata(keys.path(slot)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        for slot in SLOTS {
            keys.erase(slot).unwrap();
            keys.erase(slot).unwrap();
            assert!(matches!(public(&keys, slot), Err(KeystoreError::Missing { .. })), "{slot:?}");
        }
        keys.make(KeySlot::Agreement(Slot::B)).unwrap();
        keys.erase_all().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn whatever_byte_of_a_key_file_changes_it_is_named_as_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keystore::new(folder.path());
        for slot in SLOTS {
            keys.make(slot).unwrap();
            let path = keys.path(slot);
            let genuine = fs::read(&path).unwrap();
            for at in 0..genuine.len() {
                let mut changed = genuine.clone();
                changed[at] ^= 0x10;
                fs::write(&path, &changed).unwrap();
                let refused = public(&keys, slot).unwrap_err();
                assert_eq!(refused.code(), code::config::FILE_DAMAGED, "{slot:?} byte {at}");
                assert!(refused.to_string().contains(path.file_name().unwrap().to_str().unwrap()));
            }
        }
    }

    #[test]
    fn a_key_moved_to_a_slot_of_another_kind_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keystore::new(folder.path());
        keys.make(KeySlot::Identity).unwrap();
        fs::copy(keys.path(KeySlot::Identity), keys.path(KeySlot::Agreement(Slot::A))).unwrap();
        assert_eq!(keys.agreement(Slot::A).unwrap_err().code(), code::config::FILE_DAMAGED);
    }

    #[test]
    fn a_new_key_leaves_nothing_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keystore::new(folder.path());
        keys.make(KeySlot::Identity).unwrap();
        let twin = folder.path().join("twin");
        fs::hard_link(keys.path(KeySlot::Identity), &twin).unwrap();
        keys.make(KeySlot::Identity).unwrap();
        assert!(fs::read(&twin).unwrap().iter().all(|byte| *byte == 0));
    }
}
