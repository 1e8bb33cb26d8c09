//! The device's private keys: entries of the machine's vault, among the secrets.
//!
//! Shape: one entry a slot (`identity`, `operational-a`, ..). Signing keys are what [`Signers`] keeps of them: PKCS#8, or
//! where in a TPM or token they are. Agreement keys are their 32 bytes, since no TPM has X25519. The vault is made with the first key, and is not there on a device that has none. Up to version 0.1.0 each key was a
//! file of its own, in the form of [`crate::root::seal`]; such files are taken into the vault when it is opened (KR-12).
//!
//! Invariants: a key is durable before its public half is told. Making or erasing a key leaves nothing of the one that was
//! in the slot. A vault or file that is damaged is never replaced silently: the device stops instead of becoming another.
//!
//! Source: `docs/spec/keyring.md` KR-1, KR-11, KR-12, KR-20 to KR-23.

mod attest;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use kos_base::{
    AgreementKey, Code, KeyAlgorithm, Secret, Timestamp,
    approved::{Algorithm, Mode},
    own_key::HeldKeys,
};
use kos_identity::enrolment::device::{KeySlot, MadeKey, Slot};
use kos_keyring::{Change, Home, Keyring, KeyringError, Made, Place, Protection, SignerError, Signers};
use kos_net::keys::{AgreementSecret, KeyError, SigningKey};
use kos_vault::{EntryName, SecretType, Value, VaultError};
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
    /// The vault cannot be opened or written, or is damaged.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A key file of an earlier version cannot be read or removed, or is damaged.
    #[error(transparent)]
    File(#[from] RootError),
    /// The provider failed, or does not take what the slot holds.
    #[error("the {} key: {source}", word(*slot))]
    Key {
        /// Which.
        slot: KeySlot,
        /// Why.
        source: KeyError,
    },
    /// The key cannot be made or had where it is to be.
    #[error("the {} key: {source}", word(*slot))]
    Signer {
        /// Which.
        slot: KeySlot,
        /// Why.
        source: SignerError,
    },
    /// What the slot holds is no entry of a vault.
    #[error("the {} key: {source}", word(*slot))]
    Value {
        /// Which.
        slot: KeySlot,
        /// Why.
        source: VaultError,
    },
    /// The key that cosigns cannot be made or read.
    #[error("the witness key: {0}")]
    Witness(String),
    /// The key of the device's log is none, or cannot be made.
    #[error("the key of the log: {source}")]
    LogKey {
        /// Why.
        source: KeyError,
    },
    /// What stands in place of the device's own keys is none.
    #[error("the device's own keys cannot be read")]
    OwnKey,
    /// There is no key in this slot.
    #[error("the {} key is missing", word(*slot))]
    Missing {
        /// Which.
        slot: KeySlot,
    },
}

impl KeystoreError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Keyring(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Key { source, .. } | Self::LogKey { source } => source.code(),
            Self::Signer { source, .. } => source.code(),
            Self::Value { source, .. } => source.code(),
            Self::Missing { .. } | Self::Witness(_) | Self::OwnKey => kos_base::code::config::FILE_UNREADABLE,
        }
    }
}

/// The keys of one device.
pub struct Keystore {
    place: Place,
    signers: Signers,
    /// Nothing as long as the device has no key.
    ring: Mutex<Option<Keyring>>,
    /// How many keys an earlier version left in files.
    taken_in: usize,
}

impl Keystore {
    /// The keys in the vault at `place`, with those that an earlier version left in files beside it; `signers` makes new ones.
    ///
    /// # Errors
    /// When they cannot be opened. A device that has keys must not start without them.
    pub fn open(place: Place, signers: Signers, now: Timestamp) -> Result<Self, KeystoreError> {
        let former = FormerFiles::beside(&place);
        let mut ring = match Keyring::is_there(&place) {
            true => Some(Keyring::open(place.clone(), now)?),
            false => None,
        };
        // A file whose key the vault has may be cut off half-way through its end: it is not read any more.
        let mut missing = Vec::new();
        for slot in SLOTS {
            let held = ring.as_mut().map(|ring| ring.get(now, &name(slot))).transpose()?.flatten();
            if held.is_none() {
                missing.push(slot);
            }
        }
        let found = former.read(&missing)?;
        if ring.is_none() && !found.is_empty() {
            ring = Some(Keyring::open(place.clone(), now)?);
        }
        let keys = Self { place, signers, ring: Mutex::new(ring), taken_in: found.len() };
        if !found.is_empty() {
            keys.take_in(&found, now)?;
        }
        former.remove()?;
        Ok(keys)
    }

    /// How many keys this start has taken out of files of an earlier version, if any.
    pub(crate) fn taken_in(&self) -> Option<usize> {
        Some(self.taken_in).filter(|count| *count > 0)
    }

    /// What protects them; nothing as long as there are none.
    pub fn protection(&self) -> Option<Protection> {
        self.ring().as_ref().map(Keyring::protection)
    }

    /// In words, which keys stay in a token whatever becomes of the vault.
    pub(crate) fn left_in_token(&self, now: Timestamp) -> Option<String> {
        let is_there =
            |slot: &KeySlot| self.get(*slot, now).is_ok_and(|kept| Signers::home_of(&kept) == Home::Token);
        let words: Vec<_> = SLOTS.into_iter().filter(is_there).map(word).collect();
        let words = words.join(", ");
        (!words.is_empty()).then(|| format!("the keys {words} in the token: destroy them there"))
    }

    /// Where the signing keys are, for people.
    pub fn homes(&self, now: Timestamp) -> String {
        let mut told = Vec::new();
        for home in [Home::Vault, Home::Tpm, Home::Token] {
            let here = SLOTS.into_iter().filter(|slot| !matches!(slot, KeySlot::Agreement(_)));
            let here =
                here.filter(|slot| self.get(*slot, now).is_ok_and(|kept| Signers::home_of(&kept) == home));
            let words: Vec<_> = here.map(word).collect();
            if !words.is_empty() {
                told.push(format!("{home}: {}", words.join(", ")));
            }
        }
        told.join("; ")
    }

    /// The key by which the device cosigns, if it has one. It serves nothing else.
    pub(crate) fn witness(&self, now: Timestamp) -> Result<Option<SigningKey>, KeystoreError> {
        let held = match self.ring().as_mut() {
            Some(ring) => ring.get(now, &witness_name())?,
            None => None,
        };
        let read = held.map(|value| SigningKey::from_pkcs8(value.expose()));
        read.transpose().map_err(|e| KeystoreError::Witness(e.to_string()))
    }

    /// Makes one, durably, in place of the one that is there.
    pub(crate) fn make_witness(&self, now: Timestamp) -> Result<SigningKey, KeystoreError> {
        let refused = |e: &dyn fmt::Display| KeystoreError::Witness(e.to_string());
        let key = SigningKey::generate(KeyAlgorithm::Ed25519).map_err(|e| refused(&e))?;
        let value = Value::new(key.to_pkcs8().map_err(|e| refused(&e))?).map_err(|e| refused(&e))?;
        let mut ring = self.ring();
        let ring = match ring.as_mut() {
            Some(ring) => ring,
            None => ring.insert(Keyring::open(self.place.clone(), now)?),
        };
        ring.change(now, &[Change::Put(&witness_name(), SecretType::PrivateKey, &value)])?;
        Ok(key)
    }

    /// Makes a key and puts it into `slot`, durably. Nothing is left of one that was there.
    ///
    /// # Errors
    /// When there is no randomness, or the vault cannot be written; the old key is then still there.
    pub fn make(&self, slot: KeySlot, now: Timestamp) -> Result<MadeKey, KeystoreError> {
        let refused = |source| KeystoreError::Key { slot, source };
        if let KeySlot::Agreement(_) = slot {
            // The build with the FIPS module has none, and says so where others have theirs: nobody can seal to it.
            if !Mode::BUILT.admits(Algorithm::HpkeX25519) {
                return Ok(MadeKey::Agreement(AgreementKey::NONE));
            }
            let key = AgreementSecret::generate().map_err(refused)?;
            let value = Value::new(Zeroizing::new(key.secret().expose().to_vec()));
            let value = value.map_err(|source| KeystoreError::Value { slot, source })?;
            self.put(slot, SecretType::Opaque, &value, now)?;
            return Ok(MadeKey::Agreement(key.public()));
        }
        let algorithm = match self.signers.home() {
            Home::Vault => KeyAlgorithm::Ed25519,
            Home::Tpm | Home::Token => KeyAlgorithm::P256,
        };
        let label = format!("kos-{}", word(slot));
        let made = self.signers.make(&label, algorithm);
        let Made { value, kind, public } = made.map_err(|source| KeystoreError::Signer { slot, source })?;
        let before = match self.get(slot, now) {
            Ok(kept) => Some(kept),
            Err(KeystoreError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        self.put(slot, kind, &value, now)?;
        if let Some(Err(error)) = before.map(|kept| self.signers.destroy(&kept)) {
            tracing::warn!(%error, key = word(slot), "the token keeps a key that nothing refers to any more");
        }
        Ok(MadeKey::Signing(public))
    }

    /// The signing key in `slot`.
    ///
    /// # Errors
    /// When there is none, or the vault has to be read again and cannot.
    pub fn signing(&self, slot: KeySlot, now: Timestamp) -> Result<Arc<SigningKey>, KeystoreError> {
        let key = self.signers.load(&self.get(slot, now)?);
        key.map_err(|source| KeystoreError::Signer { slot, source })
    }

    /// The agreement key in `slot`.
    ///
    /// # Errors
    /// As [`Keystore::signing`].
    pub fn agreement(&self, slot: Slot, now: Timestamp) -> Result<AgreementSecret, KeystoreError> {
        let slot = KeySlot::Agreement(slot);
        let rejected = |source| KeystoreError::Key { slot, source };
        let secret = <[u8; 32]>::try_from(self.get(slot, now)?.expose()).map(Zeroizing::new);
        let secret = secret.map_err(|_| rejected(KeyError::Rejected))?;
        AgreementSecret::from_secret(Secret::new(*secret)).map_err(rejected)
    }

    /// The key of the device's log, if it was made.
    ///
    /// # Errors
    /// As [`Keystore::signing`].
    pub(crate) fn log_key(&self, now: Timestamp) -> Result<Option<Arc<SigningKey>>, KeystoreError> {
        let held = match self.ring().as_mut() {
            Some(ring) => ring.get(now, &log_name())?,
            None => None,
        };
        let rejected = |source| KeystoreError::LogKey { source };
        held.map(|kept| SigningKey::from_pkcs8(kept.expose()).map(Arc::new).map_err(rejected)).transpose()
    }

    /// Makes the key of a log that begins now, durably. It is in the vault whatever the settings say: the log's signatures
    /// are Ed25519 (AUD-48), which no TPM makes.
    ///
    /// # Errors
    /// As [`Keystore::make`].
    pub(crate) fn make_log_key(&self, now: Timestamp) -> Result<Arc<SigningKey>, KeystoreError> {
        let rejected = |source| KeystoreError::LogKey { source };
        let key = SigningKey::generate(KeyAlgorithm::Ed25519).map_err(rejected)?;
        let value = Value::new(key.to_pkcs8().map_err(rejected)?);
        let value = value.map_err(|_| rejected(KeyError::Rejected))?;
        let mut ring = self.ring();
        let ring = match ring.as_mut() {
            Some(ring) => ring,
            None => ring.insert(Keyring::open(self.place.clone(), now)?),
        };
        ring.change(now, &[Change::Put(&log_name(), SecretType::PrivateKey, &value)])?;
        Ok(Arc::new(key))
    }

    /// The keys of its own that the device was given (OWN-4).
    ///
    /// # Errors
    /// When the vault has to be read again and cannot, or holds something else there.
    pub fn own_keys(&self, now: Timestamp) -> Result<HeldKeys, KeystoreError> {
        let held = match self.ring().as_mut() {
            Some(ring) => ring.get(now, &own_key_name())?,
            None => None,
        };
        let read = held.map(|kept| HeldKeys::from_bytes(kept.expose()).ok_or(KeystoreError::OwnKey));
        Ok(read.transpose()?.unwrap_or_default())
    }

    /// Keeps them, durably, all of them or none; without any the entry is gone.
    ///
    /// # Errors
    /// When the vault cannot be written; those that were there still are.
    pub fn keep_own_keys(&self, keys: &HeldKeys, now: Timestamp) -> Result<(), KeystoreError> {
        let (name, bytes) = (own_key_name(), keys.to_bytes());
        let mut ring = self.ring();
        let Some(ring) = ring.as_mut() else { return Ok(()) };
        if bytes.is_empty() {
            return Ok(ring.change(now, &[Change::Remove(&name)])?);
        }
        let value = Value::new(bytes).map_err(|_| KeystoreError::OwnKey)?;
        Ok(ring.change(now, &[Change::Put(&name, SecretType::Opaque, &value)])?)
    }

    /// Removes the keys in `slots`, durably, all of them or none. An empty slot is as good as an erased one.
    ///
    /// # Errors
    /// When the vault cannot be written, or a token does not destroy what is in it.
    pub fn erase(&self, slots: &[KeySlot], now: Timestamp) -> Result<(), KeystoreError> {
        for slot in slots {
            match self.get(*slot, now) {
                Ok(kept) => self
                    .signers
                    .destroy(&kept)
                    .map_err(|source| KeystoreError::Signer { slot: *slot, source })?,
                Err(KeystoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let names = slots.iter().map(|slot| name(*slot)).collect::<Vec<_>>();
        let changes = names.iter().map(Change::Remove).collect::<Vec<_>>();
        match self.ring().as_mut() {
            Some(ring) => Ok(ring.change(now, &changes)?),
            None => Ok(()),
        }
    }

    /// Where they are.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Wipes what is in memory; the vault stays as it is.
    pub(crate) fn close(&self) {
        match self.ring.try_lock() {
            Ok(mut ring) => *ring = None,
            Err(TryLockError::Poisoned(ring)) => *ring.into_inner() = None,
            // Whoever has it may wait for hardware that never answers: it is wiped with the program then.
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Destroys the key of the vault and then all that was in it. A token that is not there keeps its keys, which never
    /// leave it; that is told, and stops nothing.
    ///
    /// # Errors
    /// When the disk fails; what could be destroyed is.
    pub fn destroy(&self, now: Timestamp) -> Result<(), KeystoreError> {
        if let Err(error) = self.erase(&SLOTS, now) {
            tracing::warn!(%error, "keys are destroyed without being taken out of their places first");
        }
        *self.ring() = None;
        FormerFiles::beside(&self.place).remove()?;
        Ok(Keyring::destroy(&self.place)?)
    }

    fn ring(&self) -> MutexGuard<'_, Option<Keyring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, slot: KeySlot, now: Timestamp) -> Result<Value, KeystoreError> {
        let held = match self.ring().as_mut() {
            Some(ring) => ring.get(now, &name(slot))?,
            None => None,
        };
        held.ok_or(KeystoreError::Missing { slot })
    }

    fn put(
        &self,
        slot: KeySlot,
        kind: SecretType,
        value: &Value,
        now: Timestamp,
    ) -> Result<(), KeystoreError> {
        let mut ring = self.ring();
        let ring = match ring.as_mut() {
            Some(ring) => ring,
            None => ring.insert(Keyring::open(self.place.clone(), now)?),
        };
        Ok(ring.change(now, &[Change::Put(&name(slot), kind, value)])?)
    }

    /// Puts keys from files into slots of the vault, which are empty. What the vault has is newer: files are not written
    /// any more.
    fn take_in(&self, found: &[(KeySlot, Value)], now: Timestamp) -> Result<(), KeystoreError> {
        let mut ring = self.ring();
        let Some(ring) = ring.as_mut() else { return Ok(()) };
        let named: Vec<_> = found.iter().map(|(slot, value)| (name(*slot), kind(*slot), value)).collect();
        let changes: Vec<_> =
            named.iter().map(|(name, kind, value)| Change::Put(name, *kind, value)).collect();
        Ok(ring.change(now, &changes)?)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({})", self.place.vault.display())
    }
}

/// Key files as they were up to version 0.1.0.
struct FormerFiles([(KeySlot, PathBuf); 5]);

impl FormerFiles {
    fn beside(place: &Place) -> Self {
        Self(SLOTS.map(|slot| (slot, place.vault.with_file_name(format!("{}.key", word(slot))))))
    }

    fn read(&self, slots: &[KeySlot]) -> Result<Vec<(KeySlot, Value)>, KeystoreError> {
        let mut found = Vec::new();
        for (slot, path) in self.0.iter().filter(|(slot, _)| slots.contains(slot)) {
            let Some(bytes) = file::read(path)? else { continue };
            let content = root::open(former_kind(*slot), path, &bytes)?;
            let value = Value::new(Zeroizing::new(content.to_vec()));
            found.push((*slot, value.map_err(|source| KeystoreError::Value { slot: *slot, source })?));
        }
        Ok(found)
    }

    fn remove(&self) -> Result<(), KeystoreError> {
        self.0.iter().try_for_each(|(_, path)| Ok(file::remove(path)?))
    }
}

const fn former_kind(slot: KeySlot) -> Kind {
    match slot {
        KeySlot::Agreement(_) => Kind::AgreementKey,
        KeySlot::Identity | KeySlot::Operational(_) => Kind::SigningKey,
    }
}

const fn kind(slot: KeySlot) -> SecretType {
    match slot {
        KeySlot::Agreement(_) => SecretType::Opaque,
        KeySlot::Identity | KeySlot::Operational(_) => SecretType::PrivateKey,
    }
}

#[expect(clippy::expect_used, reason = "a constant of ours, which tests parse")]
fn own_key_name() -> EntryName {
    "own".parse().expect("the name of an entry")
}

/// The entry of the log's key.
#[expect(clippy::expect_used, reason = "a constant of ours, which tests parse")]
fn log_name() -> EntryName {
    "log".parse().expect("the name of an entry")
}

pub(crate) const fn word(slot: KeySlot) -> &'static str {
    match slot {
        KeySlot::Identity => "identity",
        KeySlot::Operational(Slot::A) => "operational-a",
        KeySlot::Operational(Slot::B) => "operational-b",
        KeySlot::Agreement(Slot::A) => "agreement-a",
        KeySlot::Agreement(Slot::B) => "agreement-b",
    }
}

#[expect(clippy::expect_used, reason = "a constant of ours, which tests parse")]
fn witness_name() -> EntryName {
    "witness".parse().expect("the name of an entry")
}

#[expect(clippy::expect_used, reason = "five constants of ours, which tests parse")]
fn name(slot: KeySlot) -> EntryName {
    word(slot).parse().expect("the name of an entry")
}

#[cfg(test)]
mod tests;
