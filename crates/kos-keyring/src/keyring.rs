//! The vault `machine` on a disk: opened by itself, changed as a whole.

mod first;
mod moved;

use core::fmt;
use std::path::{Path, PathBuf};

use kos_base::{Secret, Timestamp};
use kos_net::entropy;
use kos_secret_memory::{SecretMemory, wipe_stack};
use kos_vault::{
    EntryName, Environment, FILE_BYTES_MAX, Fresh, Head, NewSecret, NewSlot, Opened, Sealed, SecretType,
    SlotInfo, SlotKind, SlotName, Standing, Unlock, Value, VaultError,
};

pub use self::first::Packed;
use kos_hardware::tpm::{Age, CounterAnchor};

use crate::{Anchor, KeyringError, Opener, Protection, TpmPlace, file, opener::Candidate, tpm::TIE};

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
    /// The TPM, where it opens by one.
    pub tpm: TpmPlace,
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
            Some(found) => found.anchored(&place)?,
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

    /// Opens the vault as it is, to look at it while its program runs: nothing is made, adopted or written.
    ///
    /// # Errors
    /// As [`Keyring::open`]; where there is none, [`KeyringError::Gone`].
    pub fn look(place: Place) -> Result<Self, KeyringError> {
        let Found { opened, opener, .. } = read(&place)?.ok_or_else(|| gone(&place))?;
        Ok(Self { place, opened: Some(opened), opener })
    }

    /// The head of its newest file.
    ///
    /// # Errors
    /// When the vault has to be read again, and cannot.
    pub fn head(&mut self) -> Result<Head, KeyringError> {
        self.opened().map(|opened| opened.head())
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
    /// a copy of the key, or of what the TPM sealed and that TPM.
    ///
    /// # Errors
    /// When the disk fails; what could be destroyed is.
    pub fn destroy(place: &Place) -> Result<(), KeyringError> {
        let erased = [
            &place.key_file,
            &place.tpm.next(),
            &place.tpm.sealed,
            &place.vault,
            &place.anchor.path().to_owned(),
        ]
        .map(|path| file::remove(path).map_err(KeyringError::unwritable(path)));
        erased.into_iter().collect()
    }

    fn edit(&mut self, now: Timestamp, changes: &[Change<'_>]) -> Result<(), KeyringError> {
        let path = &self.place.vault;
        let Some(opened) = &mut self.opened else { return Err(gone(&self.place)) };
        apply(opened, path, now, changes)?;
        if !opened.is_changed() {
            return Ok(());
        }
        write(&self.place, opened, now)
    }

    fn opened(&mut self) -> Result<&mut Opened, KeyringError> {
        if self.opened.is_none() {
            let found = read(&self.place)?.ok_or_else(|| gone(&self.place))?;
            let (opened, opener) = found.anchored(&self.place)?;
            self.opener = opener;
            return Ok(self.opened.insert(opened));
        }
        self.opened.as_mut().ok_or_else(|| gone(&self.place))
    }

    /// Makes the configured way in the only one.
    fn adopt(&mut self, now: Timestamp) -> Result<(), KeyringError> {
        let (before, wanted, tpm) = (self.opener, self.place.opener, &self.place.tpm);
        let Some(opened) = &mut self.opened else { return Err(gone(&self.place)) };
        let tied = tie_in(&self.place, opened)?.map(|tie| tie.index());
        let counter = tpm.counter.filter(|_| wanted == Opener::Tpm);
        let is_alone = before == wanted && opened.slots().count() == 1;
        let is_bound = wanted != Opener::Tpm || tpm.bound() == Some(tpm.pcrs);
        if is_alone && is_bound && tied == counter {
            // What an interrupted change of the way in left.
            let others = Opener::ALL.into_iter().filter(|other| *other != wanted);
            return others.into_iter().try_for_each(|other| other.forget(&self.place));
        }
        self.seal_anew(now, if is_alone && is_bound { With::PresentKey } else { With::NewKey })?;
        if before == wanted {
            return Ok(());
        }
        // The old key goes only when the new one is seen to open what is on the disk.
        let found = read(&self.place)?.ok_or_else(|| gone(&self.place))?;
        if found.opener != wanted {
            let why = format!("the {wanted} does not open it after it was sealed");
            return Err(KeyringError::Unopened { path: self.place.vault.clone(), why });
        }
        before.forget(&self.place)
    }

    /// One file further: the wanted way in alone, and everything under a new master key.
    fn seal_anew(&mut self, now: Timestamp, with: With) -> Result<(), KeyringError> {
        let (path, wanted) = (&self.place.vault, self.place.opener);
        let Some(opened) = &mut self.opened else { return Err(gone(&self.place)) };
        put_tie(&self.place, opened, now)?;
        let keys = match with {
            With::PresentKey => {
                let unopened = |why| KeyringError::Unopened { path: path.clone(), why };
                wanted.fetch(&self.place).map_err(unopened)?.into_iter().map(|found| found.key).collect()
            }
            With::NewKey => vec![wanted.prepare(&self.place)?],
        };
        if let (With::NewKey, [key]) = (with, keys.as_slice()) {
            let stale = opened.slots().map(|slot| slot.name.clone()).collect::<Vec<_>>();
            // A key that takes the place of another of its kind needs a name beside it.
            let Some(name) = slot_names(wanted).into_iter().find(|name| !stale.contains(name)) else {
                return Err(KeyringError::vault(path)(VaultError::SlotExists));
            };
            let slot = NewSlot::Key(key, wanted.source());
            opened.add_slot(now, &name, slot, fresh()?).map_err(KeyringError::vault(path))?;
            for name in stale {
                opened.remove_slot(&name).map_err(KeyringError::vault(path))?;
            }
        }
        // Whoever copied the old way in has the old master key: everything is encrypted anew.
        let held = keys.iter().map(Unlock::Key).collect::<Vec<_>>();
        opened.rotate(&held, fresh()?).map_err(KeyringError::vault(path))?;
        write(&self.place, opened, now)?;
        self.opener = wanted;
        if with == With::NewKey && wanted == Opener::Tpm {
            self.place.tpm.promote()?;
        }
        Ok(())
    }
}

/// By which key a vault is sealed anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// The one that opens it already.
    PresentKey,
    /// Another one.
    NewKey,
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
fn slot_names(opener: Opener) -> [SlotName; 2] {
    let second = format!("{opener}-2");
    [slot_name(opener), second.parse().expect("a slot name")]
}

/// Makes the changes in memory.
fn apply(
    opened: &mut Opened,
    path: &Path,
    now: Timestamp,
    changes: &[Change<'_>],
) -> Result<(), KeyringError> {
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
    Ok(())
}

#[expect(clippy::expect_used, reason = "a constant of ours, parsed by every test")]
fn environment() -> Environment {
    ENVIRONMENT.parse().expect("an environment")
}

fn create(place: &Place, now: Timestamp) -> Result<Opened, KeyringError> {
    let key = place.opener.prepare(place)?;
    let mut made = sheltered(empty(&place.vault, place.opener, &key, now)?);
    put_tie(place, &mut made, now)?;
    write(place, &mut made, now)?;
    if place.opener == Opener::Tpm {
        place.tpm.promote()?;
    }
    Ok(made)
}

/// A vault without entries that no file holds yet.
fn empty(path: &Path, opener: Opener, key: &Secret<32>, now: Timestamp) -> Result<Opened, KeyringError> {
    let slot = NewSlot::Key(key, opener.source());
    Opened::create(now, environment(), &slot_name(opener), slot, fresh()?).map_err(KeyringError::vault(path))
}

/// KR-9: the file, then the anchor and the counter, then memory.
fn write(place: &Place, opened: &mut Opened, now: Timestamp) -> Result<(), KeyringError> {
    let next = opened.seal(now).map_err(KeyringError::vault(&place.vault))?;
    file::replace(&place.vault, next.bytes(), file::PRIVATE)
        .map_err(KeyringError::unwritable(&place.vault))?;
    place.anchor.write(&next.head())?;
    if let Some(tie) = tie(place, opened)? {
        raise(place, &tie)?;
    }
    opened.written(&next);
    Ok(())
}

/// What the vault is tied to, unless the settings say that no counter is asked any more.
fn tie(place: &Place, opened: &mut Opened) -> Result<Option<CounterAnchor>, KeyringError> {
    if place.tpm.counter.is_none() { Ok(None) } else { tie_in(place, opened) }
}

/// What the vault says that it is tied to.
fn tie_in(place: &Place, opened: &mut Opened) -> Result<Option<CounterAnchor>, KeyringError> {
    match opened.get(Timestamp::from_unix_ms(0), &tie_name()) {
        Ok(value) => match CounterAnchor::from_bytes(value.expose()) {
            Some(tie) => Ok(Some(tie)),
            None => Err(KeyringError::vault(&place.vault)(VaultError::Damaged("its tie to a counter"))),
        },
        Err(VaultError::EntryUnknown) => Ok(None),
        Err(error) => Err(KeyringError::vault(&place.vault)(error)),
    }
}

/// Ties the next file to the counter, if the settings want one; otherwise the file is tied to none. The tie is taken so
/// that the counter has to be raised for that file, too: what was tied before is behind from then on.
fn put_tie(place: &Place, opened: &mut Opened, now: Timestamp) -> Result<(), KeyringError> {
    let (path, name) = (&place.vault, tie_name());
    let Some(index) = place.tpm.counter.filter(|_| place.opener == Opener::Tpm) else {
        return apply(opened, path, now, &[Change::Remove(&name)]);
    };
    let present = opened.head().generation;
    let tie = place.tpm.counter(index, path)?.tie(present).map_err(KeyringError::hardware(path))?;
    let value = Value::new(tie.to_bytes().to_vec().into()).map_err(KeyringError::vault(path))?;
    apply(opened, path, now, &[Change::Put(&name, SecretType::Opaque, &value)])
}

fn raise(place: &Place, tie: &CounterAnchor) -> Result<(), KeyringError> {
    let counter = place.tpm.counter(tie.index(), &place.vault)?;
    counter.increment().map(drop).map_err(KeyringError::hardware(&place.vault))
}

/// Asks the counter; whether it has to be raised first of all.
fn counted(place: &Place, opened: &mut Opened) -> Result<Option<CounterAnchor>, KeyringError> {
    let Some(tie) = tie(place, opened)? else { return Ok(None) };
    let refused = |standing| KeyringError::Standing { path: place.vault.clone(), standing };
    let age = place.tpm.counter(tie.index(), &place.vault)?.judge(&tie, opened.head().generation);
    match age.map_err(KeyringError::hardware(&place.vault))? {
        Age::Newest => Ok(None),
        Age::OneAhead => Ok(Some(tie)),
        Age::Behind => Err(refused(Standing::Behind)),
        Age::Beyond => Err(refused(Standing::FarAhead)),
    }
}

#[expect(clippy::expect_used, reason = "a constant of ours, parsed by every test")]
fn tie_name() -> EntryName {
    TIE.parse().expect("the name of an entry")
}

/// A vault that is believed.
struct Found {
    opened: Opened,
    opener: Opener,
    /// Whether it opened by what a TPM sealed last and nobody put in its place yet.
    is_next: bool,
    /// Whether its anchor is one behind.
    ahead: bool,
    /// Whether its counter is one behind.
    uncounted: Option<CounterAnchor>,
}

impl Found {
    /// The vault, once its anchor has followed.
    fn anchored(self, place: &Place) -> Result<(Opened, Opener), KeyringError> {
        match (self.opener, self.is_next) {
            (Opener::Tpm, true) => place.tpm.promote()?,
            (Opener::Tpm, false) => place.tpm.forget_next()?,
            (Opener::KeyFile | Opener::Credential, _) => {}
        }
        if self.ahead {
            place.anchor.write(&self.opened.head())?;
        }
        if let Some(tie) = &self.uncounted {
            raise(place, tie)?;
        }
        Ok((self.opened, self.opener))
    }
}

/// The vault in its place, believed; nothing where there has never been one. Writes nothing.
fn read(place: &Place) -> Result<Option<Found>, KeyringError> {
    let kept = place.anchor.read()?;
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = file::read(&place.vault, limit).map_err(KeyringError::unreadable(&place.vault))?;
    let bytes = match (bytes, &kept) {
        (Some(bytes), _) => bytes,
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(gone(place)),
    };
    let sealed = Sealed::parse(&bytes).map_err(KeyringError::vault(&place.vault))?;
    let (mut opened, opener, is_next) = unlock(place, &sealed)?;
    let standing = match &kept {
        Some(kept) => opened.standing(kept),
        // Cut off between the very first file and its anchor.
        None if opened.head().generation == 1 => Standing::OneAhead,
        None => Standing::Forked,
    };
    let ahead = match standing {
        Standing::Same => false,
        Standing::OneAhead => true,
        standing => return Err(KeyringError::Standing { path: place.vault.clone(), standing }),
    };
    let uncounted = counted(place, &mut opened)?;
    Ok(Some(Found { opened, opener, is_next, ahead, uncounted }))
}

/// The vault, by what it opened, and whether that was sealed for it last.
fn unlock(place: &Place, sealed: &Sealed) -> Result<(Opened, Opener, bool), KeyringError> {
    let unopened = |why| KeyringError::Unopened { path: place.vault.clone(), why };
    if sealed.environment().as_str() != ENVIRONMENT {
        return Err(unopened(format!("it is the vault of another environment, {}", sealed.environment())));
    }
    let mut why = Vec::new();
    for opener in sealed.slots().filter_map(opener_of) {
        let candidates = match opener.fetch(place) {
            Ok(candidates) => candidates,
            Err(reason) => {
                why.push(reason);
                continue;
            }
        };
        for Candidate { key, is_next } in candidates {
            match sealed.open(Unlock::Key(&key)) {
                Ok(opened) => return Ok((sheltered(opened), opener, is_next)),
                Err(VaultError::WrongSecret) => why.push(format!("the {opener} is there and does not fit")),
                Err(error) => return Err(KeyringError::vault(&place.vault)(error)),
            }
        }
    }
    if why.is_empty() {
        why.push("no slot of it opens without a person".to_owned());
    }
    Err(unopened(why.join("; ")))
}

/// Its keys go where they are not swapped, and what was left of them on the way is wiped.
fn sheltered(mut opened: Opened) -> Opened {
    opened.keep_keys_in(Box::new(SecretMemory::new()));
    wipe_stack();
    opened
}

fn opener_of(slot: &SlotInfo) -> Option<Opener> {
    match slot.kind {
        SlotKind::Key(source) => Opener::of(source),
        SlotKind::Passphrase(_) | SlotKind::Offline(_) | SlotKind::Passkey => None,
    }
}

#[cfg(test)]
mod tests;
