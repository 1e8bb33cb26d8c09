//! Secrets: put, get, list, remove, and use without showing.

use kos_base::{PublicKey, Timestamp, key::SignatureForm};

use super::Opened;
use crate::{
    CONTENT_BYTES_MAX, ENTRIES_MAX, EntryName, Fresh, SecretType, TotpCode, VERSIONS_MAX, Value, VaultError,
    fresh::Draws,
    keys::hmac_sha256,
    otp::Totp,
    signing::PrivateKey,
    version::{Facts, Id, Record, Version},
};

/// A secret that is put in.
#[derive(Clone, Copy, Debug)]
pub struct NewSecret<'a> {
    /// What it is.
    pub kind: SecretType,
    /// Its bytes.
    pub value: &'a Value,
    /// When it stops being given out.
    pub expires: Option<Timestamp>,
}

/// One version of an entry, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// From 1 up.
    pub number: u64,
    /// What it is.
    pub kind: SecretType,
    /// When it was put in.
    pub created: Timestamp,
    /// When it stops being given out.
    pub expires: Option<Timestamp>,
}

/// An entry without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: EntryName,
    /// Its newest version.
    pub newest: Past,
    /// When it was last given out or used; what was known when the file was written, and since.
    pub last_accessed: Timestamp,
}

impl Opened {
    /// Puts a secret in: a new entry, or a new version of the one of this name. Returns the version's number.
    ///
    /// # Errors
    /// [`VaultError::Value`] for a private key that is none, [`VaultError::Full`] at a limit.
    pub fn put(
        &mut self,
        now: Timestamp,
        name: &EntryName,
        secret: NewSecret<'_>,
        fresh: Fresh,
    ) -> Result<u64, VaultError> {
        secret.kind.admit(secret.value.expose())?;
        let id = self.keys.id(name.as_str());
        let number = self.state.entries.get(&id).and_then(|record| record.versions.last());
        let number = number.map_or(1, |newest| newest.facts.number.saturating_add(1));
        let facts = Facts { number, kind: secret.kind, created: now, expires: secret.expires };
        self.add(id, name, facts, now, secret.value, &fresh.draws())?;
        Ok(number)
    }

    /// Puts an entry in as another file tells of it.
    pub(crate) fn import(
        &mut self,
        name: &EntryName,
        facts: Facts,
        last_accessed: Timestamp,
        value: &Value,
        draws: &Draws,
    ) -> Result<(), VaultError> {
        let id = self.keys.id(name.as_str());
        self.add(id, name, facts, last_accessed, value, draws)
    }

    /// Encrypts a version and appends it to its entry.
    fn add(
        &mut self,
        id: Id,
        name: &EntryName,
        facts: Facts,
        last_accessed: Timestamp,
        value: &Value,
        draws: &Draws,
    ) -> Result<(), VaultError> {
        let version =
            Version::seal(self.state.owner(), &self.keys, facts, name.as_str(), value.expose(), draws)?;
        if !self.state.entries.contains_key(&id) && self.state.entries.len() >= ENTRIES_MAX {
            return Err(VaultError::Full("10 000 entries"));
        }
        if self.state.bytes() + version.ciphertext.len() > CONTENT_BYTES_MAX {
            return Err(VaultError::Full("32 MiB of secrets"));
        }
        let empty = Record { last_accessed, versions: Vec::new() };
        let record = self.state.entries.entry(id).or_insert(empty);
        record.last_accessed = last_accessed;
        record.versions.push(version);
        let surplus = record.versions.len().saturating_sub(VERSIONS_MAX);
        record.versions.drain(..surplus);
        self.changes += 1;
        Ok(())
    }

    /// The newest version of a secret. Prefer [`Opened::hmac`] and [`Opened::sign`], which do not show it.
    ///
    /// # Errors
    /// [`VaultError::EntryUnknown`], [`VaultError::Expired`].
    pub fn get(&mut self, now: Timestamp, name: &EntryName) -> Result<Value, VaultError> {
        self.take(now, name).map(|(_, value)| value)
    }

    /// The version of this number, expired or not.
    ///
    /// # Errors
    /// [`VaultError::EntryUnknown`], also when that version is not kept any more.
    pub fn get_version(
        &mut self,
        now: Timestamp,
        name: &EntryName,
        number: u64,
    ) -> Result<Value, VaultError> {
        let (id, record) = self.find(name)?;
        let version = record.versions.iter().find(|version| version.facts.number == number);
        let version = version.ok_or(VaultError::EntryUnknown)?;
        let (_, value) = version.open(self.state.owner(), &self.keys, &id)?;
        self.touch(now, &id);
        Ok(value)
    }

    /// The versions of a secret that are kept, oldest first.
    ///
    /// # Errors
    /// [`VaultError::EntryUnknown`].
    pub fn history(&self, name: &EntryName) -> Result<Vec<Past>, VaultError> {
        let (_, record) = self.find(name)?;
        Ok(record.versions.iter().map(|version| Past::of(&version.facts)).collect())
    }

    /// Removes an entry with all its versions.
    ///
    /// # Errors
    /// [`VaultError::EntryUnknown`].
    pub fn remove(&mut self, name: &EntryName) -> Result<(), VaultError> {
        self.state.entries.remove(&self.keys.id(name.as_str())).ok_or(VaultError::EntryUnknown)?;
        self.changes += 1;
        Ok(())
    }

    /// Every entry, by name.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], for a vault that was damaged before its MAC was made.
    ///
    /// *Cost*: one decryption an entry, since names are inside.
    pub fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let mut listed = Vec::with_capacity(self.state.entries.len());
        for (id, record) in &self.state.entries {
            let newest = newest(record)?;
            let (name, _) = newest.open(self.state.owner(), &self.keys, id)?;
            listed.push(Listed {
                name: parse(&name)?,
                newest: Past::of(&newest.facts),
                last_accessed: record.last_accessed,
            });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// HMAC-SHA-256 of a message, with a secret as its key.
    ///
    /// # Errors
    /// [`VaultError::WrongType`] for certificates, tokens and private keys; as [`Opened::get`].
    pub fn hmac(&mut self, now: Timestamp, name: &EntryName, message: &[u8]) -> Result<[u8; 32], VaultError> {
        match self.take(now, name)? {
            (kind, value) if kind.is_mac_key() => Ok(hmac_sha256(value.expose(), message)),
            (kind, _) => Err(VaultError::WrongType(kind)),
        }
    }

    /// The one-time code of this moment.
    ///
    /// # Errors
    /// [`VaultError::WrongType`] for anything but a `totp_seed`, [`VaultError::Value`] for a seed that is none; as
    /// [`Opened::get`].
    pub fn totp(&mut self, now: Timestamp, name: &EntryName) -> Result<TotpCode, VaultError> {
        Ok(self.seed(now, name)?.now(now))
    }

    /// Which step of time a one-time code belongs to that somebody typed; `None` when it is none of about now. Whoever takes
    /// a code for a proof remembers the step, and takes none twice.
    ///
    /// # Errors
    /// As [`Opened::totp`].
    pub fn totp_step(
        &mut self,
        now: Timestamp,
        name: &EntryName,
        typed: &str,
    ) -> Result<Option<u64>, VaultError> {
        Ok(self.seed(now, name)?.find(now, typed))
    }

    fn seed(&mut self, now: Timestamp, name: &EntryName) -> Result<Totp, VaultError> {
        match self.take(now, name)? {
            (kind @ SecretType::TotpSeed, value) => Totp::read(value.expose()).ok_or(VaultError::Value(kind)),
            (kind, _) => Err(VaultError::WrongType(kind)),
        }
    }

    /// Signs a message with a private key. `form` is how ECDSA writes its two numbers; Ed25519 has one form.
    ///
    /// # Errors
    /// [`VaultError::WrongType`] for anything but a `private_key`; as [`Opened::get`].
    pub fn sign(
        &mut self,
        now: Timestamp,
        name: &EntryName,
        form: SignatureForm,
        message: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        self.private_key(now, name)?.sign(form, message)
    }

    /// The public half of a private key.
    ///
    /// # Errors
    /// As [`Opened::sign`].
    pub fn public_key(&mut self, now: Timestamp, name: &EntryName) -> Result<PublicKey, VaultError> {
        self.private_key(now, name)?.public()
    }

    fn private_key(&mut self, now: Timestamp, name: &EntryName) -> Result<PrivateKey, VaultError> {
        match self.take(now, name)? {
            (kind @ SecretType::PrivateKey, value) => {
                PrivateKey::read(value.expose()).ok_or(VaultError::Value(kind))
            }
            (kind, _) => Err(VaultError::WrongType(kind)),
        }
    }

    /// The newest version, if it may be used.
    fn take(&mut self, now: Timestamp, name: &EntryName) -> Result<(SecretType, Value), VaultError> {
        let (id, record) = self.find(name)?;
        let version = newest(record)?;
        let Facts { kind, expires, .. } = version.facts;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(VaultError::Expired);
        }
        let (_, value) = version.open(self.state.owner(), &self.keys, &id)?;
        self.touch(now, &id);
        Ok((kind, value))
    }

    fn find(&self, name: &EntryName) -> Result<(Id, &Record), VaultError> {
        let id = self.keys.id(name.as_str());
        self.state.entries.get(&id).map(|record| (id, record)).ok_or(VaultError::EntryUnknown)
    }

    /// Not a change: it goes into the file with the next one (KV-27).
    fn touch(&mut self, now: Timestamp, id: &Id) {
        if let Some(record) = self.state.entries.get_mut(id) {
            record.last_accessed = record.last_accessed.max(now);
        }
    }
}

impl Past {
    const fn of(facts: &Facts) -> Self {
        Self { number: facts.number, kind: facts.kind, created: facts.created, expires: facts.expires }
    }
}

fn newest(record: &Record) -> Result<&Version, VaultError> {
    record.versions.last().ok_or(VaultError::EntryUnknown)
}

pub(super) fn parse(name: &str) -> Result<EntryName, VaultError> {
    name.parse().map_err(|_| VaultError::Damaged("an entry has a name that is none"))
}
