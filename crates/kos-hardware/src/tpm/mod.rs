//! A TPM 2.0: seals, keys, counters, and what it says of itself.
//!
//! Every errand opens its own connection, makes the storage key, does its work and flushes what it loaded; so a TPM that
//! was restarted or put back is simply used again, and other programs get their turn. Errands of one [`Tpm`] come one
//! after the other. A TPM that was cleared or exchanged since it was opened is refused until it is opened anew.
//!
//! What it does not do: set up a TPM. Its owner hierarchy has to be without a password, as it is unless somebody set one.
//!
//! Source: TPM 2.0 Library (TCG), PC Client Platform TPM Profile; `docs/spec/hardware.md` HW-3 to HW-16; `docs/spec/attestation.md`.

mod address;
mod attest;
mod blob;
mod counter;
mod exchange;
mod key;
mod link;
mod pcr;
mod primary;
mod seal;
mod session;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::{
    address::{ParseTpmAddressError, TpmAddress},
    attest::{Endorsement, KeyCertificate, PcrQuote},
    counter::{Age, Counter, CounterAnchor, CounterIndex, ParseCounterIndexError},
    pcr::{ParsePcrsError, Pcrs},
};
use self::{
    exchange::Exchange,
    link::Link,
    primary::{Name, Primary},
};
use crate::HardwareError;
use kos_base::approved::{Algorithm, Mode};

/// A TPM that answers. Clones are the same TPM.
#[derive(Clone, Debug)]
pub struct Tpm {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: TpmAddress,
    storage_key: TpmName,
    turn: Mutex<()>,
}

/// By what a TPM is known again: the name of its storage key. Another TPM has another, and so has this one after it was
/// cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmName(Name);

impl Tpm {
    /// Looks whether a TPM answers there and lets us make the storage key.
    ///
    /// # Errors
    /// [`HardwareError::Absent`] when nothing answers, [`HardwareError::Refused`] when the owner hierarchy has a password,
    /// [`HardwareError::NotApproved`] in the build with the FIPS module.
    ///
    /// # Cost
    /// One primary key: up to a second.
    pub fn open(address: &TpmAddress) -> Result<Self, HardwareError> {
        Mode::BUILT.admit(Algorithm::AesCfb)?;
        let mut exchange = Exchange::new(Link::open(address)?);
        let storage_key = TpmName(Primary::make(&mut exchange)?.name);
        Ok(Self { inner: Arc::new(Inner { address: address.clone(), storage_key, turn: Mutex::new(()) }) })
    }

    /// By what it is known again. Whoever keeps it finds out that it is another one, and that somebody stands between.
    pub fn name(&self) -> TpmName {
        self.inner.storage_key
    }

    /// The storage key, if it is still that of the TPM that was opened.
    fn storage_key(&self, exchange: &mut Exchange) -> Result<Primary, HardwareError> {
        let primary = Primary::make(exchange)?;
        if primary.name == self.inner.storage_key.0 { Ok(primary) } else { Err(HardwareError::Cleared) }
    }

    /// Runs one errand, alone. What it loaded is flushed when it ends.
    fn errand<T>(
        &self,
        errand: impl FnOnce(&mut Exchange) -> Result<T, HardwareError>,
    ) -> Result<T, HardwareError> {
        // The lock guards no data, so a panic elsewhere spoils nothing.
        let _turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut exchange = Exchange::new(Link::open(&self.inner.address)?);
        errand(&mut exchange)
    }
}
