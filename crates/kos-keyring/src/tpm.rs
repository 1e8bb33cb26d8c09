//! The TPM of a machine: it seals the key of the vault, and counts its files.
//!
//! The counter is tied to the generations of the vault by an entry in it, [`TIE`], so that the tie is under the MAC of the
//! file that it judges.
//!
//! Source: KR-17 to KR-19; HW-7 to HW-16.

use std::path::{Path, PathBuf};

use kos_base::{Secret, text::reason};
use kos_hardware::tpm::{Counter, CounterIndex, Pcrs, Tpm, TpmAddress};
use kos_net::entropy;

use crate::{KeyringError, file};

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

    /// The key, or, in words, why it cannot be had.
    pub(crate) fn unseal(&self) -> Result<Secret<32>, String> {
        let path = self.sealed.display();
        let sealed = file::read(&self.sealed, SEALED_BYTES_MAX);
        let sealed = sealed.map_err(|error| format!("{path} cannot be read: {}", reason(&error)))?;
        let sealed = sealed.ok_or_else(|| format!("what the TPM sealed, {path}, is missing"))?;
        let key = Tpm::open(&self.address).and_then(|tpm| tpm.unseal(&sealed));
        key.map_err(|error| format!("the TPM at {} does not open {path}: {error}", self.address))
    }

    /// Draws a key, seals it and keeps what was sealed. `vault` is whose key it is.
    pub(crate) fn seal(&self, vault: &Path) -> Result<Secret<32>, KeyringError> {
        let key = entropy::secret::<32>()?;
        let sealed = self.open(vault)?.seal(&key, self.pcrs).map_err(KeyringError::hardware(vault))?;
        file::replace(&self.sealed, &sealed, file::PRIVATE)
            .map_err(KeyringError::unwritable(&self.sealed))?;
        Ok(key)
    }

    /// Destroys what was sealed. The counter stays: it holds no secret, and shows that an old file is one.
    pub(crate) fn forget(&self) -> Result<(), KeyringError> {
        file::remove(&self.sealed).map_err(KeyringError::unwritable(&self.sealed))
    }

    /// The counter of the vault.
    pub(crate) fn counter(&self, index: CounterIndex, vault: &Path) -> Result<Counter, KeyringError> {
        Ok(self.open(vault)?.counter(index))
    }

    fn open(&self, vault: &Path) -> Result<Tpm, KeyringError> {
        Tpm::open(&self.address).map_err(KeyringError::hardware(vault))
    }
}
