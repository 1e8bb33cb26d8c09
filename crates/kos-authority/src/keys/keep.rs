//! Where the keys are, and how they open: made, opened, taken over from files of the earlier form, looked at.
//!
//! Source: KR-1, KR-6 to KR-12, KR-15.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_base::Timestamp;
use kos_keyring::{
    Anchor, Keyring, KeyringError, Opener, Place, Protection, Signers, TokenPlace, TpmPlace, file,
};
use kos_net::keys::SigningKey;
use kos_vault::Head;

use super::{Keys, KeysError, folder, former, sealed};
use crate::settings::Settings;

const VAULT: &str = "machine.json";
const KEY_FILE: &str = "machine.key";
const SEALED: &str = "machine.tpm";
/// Not in the folder of the vault, so that a copy of that folder alone cannot be put back.
const ANCHOR: &str = "machine.anchor";

/// The place of the keys of one authority.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    folder: PathBuf,
    anchor: PathBuf,
    /// Where the settings put the key file; otherwise it is in the folder.
    key_file: Option<PathBuf>,
    credentials: Option<PathBuf>,
    opener: Opener,
    /// The TPM and the token that the settings name.
    settings: Box<Settings>,
    /// One for all, since it remembers that a PIN was refused.
    signers: Arc<Signers>,
}

fn signers_of(settings: &Settings) -> Signers {
    let token = settings.token.as_ref().map(TokenPlace::from);
    Signers::new(settings.ca_keys, settings.keys_tpm.clone(), token)
}

/// What was found when the keys were opened.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) protection: Protection,
    /// The vault and its newest file.
    pub(crate) head: Head,
}

impl Keep {
    /// What a vault and its key file are called.
    pub(crate) const PRIVATE: [&str; 2] = [VAULT, KEY_FILE];
    /// What else belongs to them.
    pub(crate) const PUBLIC: [&str; 4] = folder::FILES;

    /// That of the authority in `home`, or of what was taken out of a backup into a folder. Opens by a key file in `keys`.
    pub(crate) fn in_folder(home: &Path) -> Self {
        Self {
            folder: home.join("keys"),
            anchor: home.join(ANCHOR),
            key_file: None,
            credentials: None,
            opener: Opener::KeyFile,
            settings: Box::default(),
            signers: Arc::new(signers_of(&Settings::default())),
        }
    }

    /// The same, opened as the settings say.
    pub(crate) fn by(self, settings: &Settings, credentials: Option<&Path>) -> Self {
        Self {
            opener: settings.keys_opener,
            key_file: settings.keys_file.clone(),
            credentials: credentials.map(Path::to_owned),
            ..self.with_hardware(settings)
        }
    }

    /// The same, with the TPM and the token that the settings name.
    pub(crate) fn with_hardware(self, settings: &Settings) -> Self {
        let signers = Arc::new(signers_of(settings));
        Self { settings: Box::new(settings.clone()), signers, ..self }
    }

    /// Where signing keys are made and found.
    pub(crate) fn signers(&self) -> &Signers {
        &self.signers
    }

    /// Whether there are keys, or were.
    pub(crate) fn is_there(&self) -> bool {
        self.folder.exists() || self.anchor.exists()
    }

    /// The folder of vault and certificates.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a key file is that the settings put nowhere.
    pub(crate) fn own_key_file(&self) -> PathBuf {
        self.folder.join(KEY_FILE)
    }

    /// The file that remembers the newest head.
    pub(crate) fn anchor(&self) -> &Path {
        &self.anchor
    }

    /// Everything that belongs to the vault of the keys.
    pub(crate) fn vault(&self) -> Place {
        self.place(&self.folder)
    }

    /// Puts new keys there, which must have none. All of them are there, or none.
    pub(crate) fn make(&self, keys: &Keys, now: Timestamp) -> Result<(), KeysError> {
        if self.is_there() {
            return Err(KeyringError::Gone { path: self.place(&self.folder).vault }.into());
        }
        let [one, two] = &keys.issuing_certificates;
        let beside = folder::begin(&self.folder, [&keys.root_certificate, one, two])?;
        sealed::make(&self.place(&beside), keys, now)?;
        folder::finish(&beside, &self.folder)?;
        // The anchor follows.
        self.unlock(now).map(drop)
    }

    /// Opens the keys. Those in files of the earlier form are sealed first, and the files are destroyed after.
    pub(crate) fn open(&self, now: Timestamp) -> Result<(Keys, Kept), KeysError> {
        let place = self.place(&self.folder);
        if !Keyring::is_there(&place) {
            if !former::is_in(&self.folder) {
                return Err(KeyringError::Gone { path: place.vault }.into());
            }
            sealed::make(&place, &former::read(&self.folder)?, now)?;
        }
        let mut keyring = self.unlock(now)?;
        let keys = sealed::read(&mut keyring, self.signers(), &place.vault, &self.folder, now)?;
        former::remove(&self.folder)?;
        folder::settle(&self.folder)?;
        let kept = Kept { protection: keyring.protection(), head: keyring.head()? };
        Ok((keys, kept))
    }

    /// The keys as they are, by whichever key file opens them. Writes nothing: what is destroyed next is not made anew.
    pub(crate) fn read(&self, now: Timestamp) -> Result<Keys, KeysError> {
        let place = self.place(&self.folder);
        if !Keyring::is_there(&place) && former::is_in(&self.folder) {
            return former::read(&self.folder);
        }
        let own = Place { key_file: self.own_key_file(), ..place.clone() };
        let looked = Keyring::look(place.clone()).or_else(|error| Keyring::look(own).map_err(|_| error));
        sealed::read(&mut looked?, self.signers(), &place.vault, &self.folder, now)
    }

    /// The key of the witness, if there is one. It is no part of [`Keys`], so it is in no backup.
    pub(crate) fn witness_key(&self, now: Timestamp) -> Result<Option<Arc<SigningKey>>, KeysError> {
        let place = self.place(&self.folder);
        let mut keyring = self.unlock(now)?;
        sealed::witness_key(&mut keyring, &place.vault, now)
    }

    /// Makes a key for the witness, in place of the one that is there; and the head of the vault from then on.
    pub(crate) fn make_witness_key(&self, now: Timestamp) -> Result<(Arc<SigningKey>, Head), KeysError> {
        let mut keyring = self.unlock(now)?;
        let key = sealed::make_witness_key(&mut keyring, now)?;
        Ok((key, keyring.head()?))
    }

    /// Whether the next start would find its keys. Writes nothing.
    pub(crate) fn look(&self, now: Timestamp) -> Result<Protection, KeysError> {
        let place = self.place(&self.folder);
        let mut keyring = Keyring::look(place.clone())?;
        sealed::read(&mut keyring, self.signers(), &place.vault, &self.folder, now)?;
        Ok(keyring.protection())
    }

    /// Overwrites whatever is a key in a folder that is given up.
    pub(crate) fn wipe(&self) -> Result<(), KeysError> {
        let path = self.own_key_file();
        file::remove(&path).map_err(|source| KeyringError::Unwritable { path, source })?;
        former::remove(&self.folder)
    }

    fn unlock(&self, now: Timestamp) -> Result<Keyring, KeysError> {
        let own = self.own_key_file();
        Ok(Keyring::open_moved(self.place(&self.folder), &own, now)?)
    }

    fn place(&self, folder: &Path) -> Place {
        Place {
            vault: folder.join(VAULT),
            anchor: Anchor::at(self.anchor.clone()),
            key_file: self.key_file.clone().unwrap_or_else(|| folder.join(KEY_FILE)),
            credentials: self.credentials.clone(),
            tpm: TpmPlace {
                address: self.settings.keys_tpm.clone(),
                sealed: folder.join(SEALED),
                pcrs: self.settings.keys_tpm_pcrs,
                counter: self.settings.keys_tpm_counter,
            },
            opener: self.opener,
        }
    }
}
