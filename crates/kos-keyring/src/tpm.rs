//! The TPM of a machine: it seals the key of the vault, and counts its files.
//!
//! The counter is tied to the generations of the vault by an entry in it, [`TIE`], so that the tie is under the MAC of the
//! file that it judges.
//!
//! Source: KR-17 to KR-19; HW-7 to HW-16.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kos_base::{Secret, text::reason};
use kos_hardware::tpm::{Counter, CounterIndex, Pcrs, Tpm, TpmAddress};
use kos_net::entropy;

use crate::{KeyringError, file, opener::Candidate};

/// The entry with the tie to the counter.
pub(crate) const TIE: &str = "tpm-counter";
/// Longest file of a sealed key, in bytes.
const SEALED_BYTES_MAX: u64 = 4_096;

/// Where the TPM is and what of it belongs to the vault. Nothing is asked of it unless it is to open the vault, or does.
#[derive(Clone, Debug)]
pub struct TpmPlace {
    /// How it is reached.
    pub address: TpmAddress,
    /// The file with the key that it sealed.
    pub sealed: PathBuf,
    /// The state of the machine that the key is bound to.
    pub pcrs: Pcrs,
    /// The counter that shows an older file, unless there is to be none.
    pub counter: Option<CounterIndex>,
}

impl TpmPlace {
    /// For a vault that opens in another way: the machine's own TPM, and no counter.
    pub fn unused(sealed: PathBuf) -> Self {
        Self { address: TpmAddress::default(), sealed, pcrs: Pcrs::NONE, counter: None }
    }

    /// The keys that may be meant, or, in words, why there is none.
    pub(crate) fn unseal(&self) -> Result<Vec<Candidate>, String> {
        let mut found = Vec::new();
        let mut why = Vec::new();
        for (path, is_next) in [(self.sealed.clone(), false), (self.next(), true)] {
            match self.unseal_at(&path) {
                Ok(Some(key)) => found.push(Candidate { key, is_next }),
                Ok(None) if is_next => {}
                Ok(None) => why.push(format!("what the TPM sealed, {}, is missing", path.display())),
                Err(reason) => why.push(reason),
            }
        }
        if found.is_empty() { Err(why.join("; ")) } else { Ok(found) }
    }

    fn unseal_at(&self, path: &Path) -> Result<Option<Secret<32>>, String> {
        let sealed = file::read(path, SEALED_BYTES_MAX);
        let path = path.display();
        let sealed = sealed.map_err(|error| format!("{path} cannot be read: {}", reason(&error)))?;
        let Some(sealed) = sealed else { return Ok(None) };
        let key = Tpm::open(&self.address).and_then(|tpm| tpm.unseal(&sealed));
        key.map(Some).map_err(|error| format!("the TPM at {} does not open {path}: {error}", self.address))
    }

    /// Draws a key, seals it, and keeps what was sealed beside what is in use: that opens the vault until the next file of
    /// it is written. `vault` is whose key it is.
    pub(crate) fn seal(&self, vault: &Path) -> Result<Secret<32>, KeyringError> {
        let (key, next) = (entropy::secret::<32>()?, self.next());
        let sealed = self.open(vault)?.seal(&key, self.pcrs).map_err(KeyringError::hardware(vault))?;
        file::replace(&next, &sealed, file::PRIVATE).map_err(KeyringError::unwritable(&next))?;
        Ok(key)
    }

    /// The vault opens by what was sealed last.
    pub(crate) fn promote(&self) -> Result<(), KeyringError> {
        let unwritable = || KeyringError::unwritable(&self.sealed);
        fs::rename(self.next(), &self.sealed).map_err(unwritable())?;
        self.sealed.parent().map_or(Ok(()), file::sync_folder).map_err(unwritable())
    }

    /// The vault does not open by what was sealed last: nobody wrote it.
    pub(crate) fn forget_next(&self) -> Result<(), KeyringError> {
        let next = self.next();
        file::remove(&next).map_err(KeyringError::unwritable(&next))
    }

    /// The PCRs that the key in use is bound to, by what was sealed.
    pub(crate) fn bound(&self) -> Option<Pcrs> {
        let sealed = file::read(&self.sealed, SEALED_BYTES_MAX).ok().flatten()?;
        Pcrs::of_sealed(&sealed).ok()
    }

    /// Destroys what was sealed. The counter stays: it holds no secret, and shows that an old file is one.
    pub(crate) fn forget(&self) -> Result<(), KeyringError> {
        self.forget_next()?;
        file::remove(&self.sealed).map_err(KeyringError::unwritable(&self.sealed))
    }

    /// Where what was sealed lies until the vault opens by it.
    pub(crate) fn next(&self) -> PathBuf {
        let mut name = self.sealed.clone().into_os_string();
        name.push(".next");
        name.into()
    }

    /// The counter of the vault.
    pub(crate) fn counter(&self, index: CounterIndex, vault: &Path) -> Result<Counter, KeyringError> {
        Ok(self.open(vault)?.counter(index))
    }

    fn open(&self, vault: &Path) -> Result<Tpm, KeyringError> {
        Tpm::open(&self.address).map_err(KeyringError::hardware(vault))
    }
}
