//! The vault `machine` on a disk: opened by itself, changed as a whole.

use core::fmt;
use std::path::PathBuf;

use kos_base::{Secret, Timestamp};
use kos_net::entropy;
use kos_vault::{
    EntryName, Environment, FILE_BYTES_MAX, Fresh, NewSecret, NewSlot, Opened, Sealed, SecretType, SlotInfo,
    SlotKind, SlotName, Standing, Unlock, Value, VaultError,
};

use crate::{Anchor, KeyringError, Opener, Protection, file};

/// The environment of service keys.
const ENVIRONMENT: &str = "machine";

/// Where everything is that belongs to one vault, and how it is to open.
#[derive(Clone, Debug)]
pub struct Place {
    /// The vault's file.
    pub vault: PathBuf,
    /// What remembers its newest head.
    pub anchor: Anchor,
    /// The key file, where it opens by one.
    pub key_file: PathBuf,
    /// The folder of systemd's credentials for this program, where there are any.
    pub credentials: Option<PathBuf>,
    /// How it is to open.
    pub opener: Opener,
}

/// One thing that is changed.
#[derive(Debug)]
pub enum Change<'a> {
    /// In the place of what this entry was; no version of that is kept.
    Put(&'a EntryName, SecretType, &'a Value),
    /// Nothing is left of this entry. One that is not there is as good as removed.
    Remove(&'a EntryName),
}

/// The machine's keys.
pub struct Keyring {
    place: Place,
    /// Nothing after a write failed: then memory is ahead of the file, and the file is read again.
    opened: Option<Opened>,
    opener: Opener,
}

impl Keyring {
    /// Opens the vault, or makes it where there has never been one. It opens as [`Place::opener`] says from then on: one
    /// that opened otherwise gets new keys, and the old way in is destroyed.
    ///
    /// # Errors
    /// When its key cannot be had, when it is not the file that it should be, or when the disk fails.
    pub fn open(place: Place, now: Timestamp) -> Result<Self, KeyringError> {
        let (opened, opener) = match read(&place)? {
            Some(read) => read,
            None => (create(&place, now)?, place.opener),
        };
        let mut keyring = Self { place, opened: Some(opened), opener };
        keyring.adopt(now)?;
        Ok(keyring)
    }

    /// Whether there is one, or was one.
    pub fn is_there(place: &Place) -> bool {
        place.vault.exists() || place.anchor.path().exists()
    }

    /// What the entry holds.
    ///
    /// # Errors
    /// When the vault has to be read again, and cannot.
    pub fn get(&mut self, now: Timestamp, name: &EntryName) -> Result<Option<Value>, KeyringError> {
        let path = self.place.vault.clone();
        match self.opened()?.get(now, name) {
            Ok(value) => Ok(Some(value)),
            Err(VaultError::EntryUnknown) => Ok(None),
            Err(error) => Err(KeyringError::vault(&path)(error)),
        }
    }

    /// Makes the changes, all or none of them. They are durable when this returns.
    ///
    /// # Errors
    /// When the disk fails or the vault is full; the file is then the one before, or the next if only its anchor could not
    /// be written.
    pub fn change(&mut self, now: Timestamp, changes: &[Change<'_>]) -> Result<(), KeyringError> {
        let done = self.opened().map(|_| ()).and_then(|()| self.edit(now, changes));
        if done.is_err() {
            self.opened = None;
        }
        done
    }

    /// What protects it.
    pub fn protection(&self) -> Protection {
        Protection::of(self.opener, &self.place)
    }

    /// Destroys the key that opens it, then the vault, then its anchor. Nothing opens what somebody copied before without
    /// a copy of the key.
    ///
    /// # Errors
    /// When the disk fails; what could be destroyed is.
    pub fn destroy(place: &Place) -> Result<(), KeyringError> {
        let erased = [&place.key_file, &place.vault, &place.anchor.path().to_owned()]
            .map(|path| file::remove(path).map_err(KeyringError::unwritable(path)));
        erased.into_iter().collect()
    }

    fn edit(&mut self, now: Timestamp, changes: &[Change<'_>]) -> Result<(), KeyringError> {
        let path = &self.place.vault;
        let Some(opened) = &mut self.opened else { return Err(gone(&self.place)) };
        for change in changes {
            let (Change::Put(name, ..) | Change::Remove(name)) = change;
            match opened.remove(name) {
                Ok(()) | Err(VaultError::EntryUnknown) => {}
                Err(error) => return Err(KeyringError::vault(path)(error)),
            }
            if let Change::Put(name, kind, value) = change {
                let secret = NewSecret { kind: *kind, value, expires: None };
                let put = opened.put(now, name, secret, fresh()?);
                put.map_err(KeyringError::vault(path))?;
            }
        }
        if !opened.is_changed() {
            return Ok(());
        }
        write(&self.place, opened, now)
    }

    fn opened(&mut self) -> Result<&mut Opened, KeyringError> {
        if self.opened.is_none() {
            let (opened, opener) = read(&self.place)?.ok_or_else(|| gone(&self.place))?;
            self.opener = opener;
            return Ok(self.opened.insert(opened));
        }
        self.opened.as_mut().ok_or_else(|| gone(&self.place))
    }

    /// Makes the configured way in the only one.
    fn adopt(&mut self, now: Timestamp) -> Result<(), KeyringError> {
        let (before, wanted) = (self.opener, self.place.opener);
        let path = &self.place.vault;
        let Some(opened) = &mut self.opened else { return Err(gone(&self.place)) };
        if before == wanted && opened.slots().count() == 1 {
            // What an interrupted change of the way in left.
            return Opener::ALL
                .into_iter()
                .filter(|other| *other != wanted)
                .try_for_each(|o| o.forget(&self.place));
        }
        let key = wanted.prepare(&self.place)?;
        let stale = opened.slots().map(|slot| slot.name.clone()).collect::<Vec<_>>();
        let name = slot_name(wanted);
        if !stale.contains(&name) {
            let slot = NewSlot::Key(&key, wanted.source());
            opened.add_slot(now, &name, slot, fresh()?).map_err(KeyringError::vault(path))?;
        }
        // Whoever copied the old way in has the old master key: everything is encrypted anew.
        opened.rotate(&[Unlock::Key(&key)], fresh()?).map_err(KeyringError::vault(path))?;
        write(&self.place, opened, now)?;
        self.opener = wanted;
        if before == wanted { Ok(()) } else { before.forget(&self.place) }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} by {})", self.place.vault.display(), self.opener)
    }
}

fn gone(place: &Place) -> KeyringError {
    KeyringError::Gone { path: place.vault.clone() }
}

fn fresh() -> Result<Fresh, KeyringError> {
    Ok(Fresh::new(entropy::secret()?))
}

#[expect(clippy::expect_used, reason = "a constant of ours, parsed by every test")]
fn slot_name(opener: Opener) -> SlotName {
    opener.as_str().parse().expect("a slot name")
}

#[expect(clippy::expect_used, reason = "a constant of ours, parsed by every test")]
fn environment() -> Environment {
    ENVIRONMENT.parse().expect("an environment")
}

fn create(place: &Place, now: Timestamp) -> Result<Opened, KeyringError> {
    let key = place.opener.prepare(place)?;
    let slot = NewSlot::Key(&key, place.opener.source());
    let made = Opened::create(now, environment(), &slot_name(place.opener), slot, fresh()?);
    let mut made = made.map_err(KeyringError::vault(&place.vault))?;
    write(place, &mut made, now)?;
    Ok(made)
}

/// KR-9: the file, then the anchor, then memory.
fn write(place: &Place, opened: &mut Opened, now: Timestamp) -> Result<(), KeyringError> {
    let next = opened.seal(now).map_err(KeyringError::vault(&place.vault))?;
    file::replace(&place.vault, next.bytes(), file::PRIVATE)
        .map_err(KeyringError::unwritable(&place.vault))?;
    place.anchor.write(&next.head())?;
    opened.written(&next);
    Ok(())
}

/// The vault in its place, believed; nothing where there has never been one.
fn read(place: &Place) -> Result<Option<(Opened, Opener)>, KeyringError> {
    let kept = place.anchor.read()?;
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = file::read(&place.vault, limit).map_err(KeyringError::unreadable(&place.vault))?;
    let bytes = match (bytes, &kept) {
        (Some(bytes), _) => bytes,
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(gone(place)),
    };
    let sealed = Sealed::parse(&bytes).map_err(KeyringError::vault(&place.vault))?;
    let (opened, opener) = unlock(place, &sealed)?;
    let standing = match &kept {
        Some(kept) => opened.standing(kept),
        // Cut off between the very first file and its anchor.
        None if opened.head().generation == 1 => Standing::OneAhead,
        None => Standing::Forked,
    };
    match standing {
        Standing::Same => {}
        Standing::OneAhead => place.anchor.write(&opened.head())?,
        standing => return Err(KeyringError::Standing { path: place.vault.clone(), standing }),
    }
    Ok(Some((opened, opener)))
}

fn unlock(place: &Place, sealed: &Sealed) -> Result<(Opened, Opener), KeyringError> {
    let unopened = |why| KeyringError::Unopened { path: place.vault.clone(), why };
    if sealed.environment().as_str() != ENVIRONMENT {
        return Err(unopened(format!("it is the vault of another environment, {}", sealed.environment())));
    }
    let mut why = Vec::new();
    for opener in sealed.slots().filter_map(opener_of) {
        let key: Secret<32> = match opener.fetch(place) {
            Ok(key) => key,
            Err(reason) => {
                why.push(reason);
                continue;
            }
        };
        match sealed.open(Unlock::Key(&key)) {
            Ok(opened) => return Ok((opened, opener)),
            Err(VaultError::WrongSecret) => why.push(format!("the {opener} is there and does not fit")),
            Err(error) => return Err(KeyringError::vault(&place.vault)(error)),
        }
    }
    if why.is_empty() {
        why.push("no slot of it opens without a person".to_owned());
    }
    Err(unopened(why.join("; ")))
}

fn opener_of(slot: &SlotInfo) -> Option<Opener> {
    match slot.kind {
        SlotKind::Key(source) => Opener::of(source),
        SlotKind::Passphrase(_) | SlotKind::Offline(_) => None,
    }
}

#[cfg(test)]
mod tests;
