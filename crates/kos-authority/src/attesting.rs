//! What this authority asks of TPMs: the roots of makers that its settings name, and the turn of whoever changes the lists.
//!
//! Source: `docs/spec/attestation.md` ATT-13.

use std::path::Path;

use kos_attest::EkRoots;
use kos_identity::enrolment::authority::AttestationTerms;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::Mutex;

use crate::settings::{Settings, SettingsError};

/// Longest file of roots, in bytes.
const ROOTS_BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Attesting {
    pub(crate) terms: AttestationTerms,
    /// Whoever reads the lists in order to write them.
    pub(crate) turn: Mutex<()>,
}

impl Attesting {
    /// Reads the roots.
    ///
    /// # Errors
    /// When one of the files cannot be read, or holds no certificate: a root that is missing would turn devices away unseen.
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingsError> {
        let mut ders = Vec::new();
        for path in &settings.ek_roots {
            ders.extend(certificates(path)?);
        }
        let roots = EkRoots::new(ders.iter().map(AsRef::as_ref));
        let roots = roots.map_err(|error| unreadable(Path::new("ek_roots"), error.to_string()))?;
        Ok(Self { terms: AttestationTerms { roots, ..AttestationTerms::default() }, turn: Mutex::default() })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let length = std::fs::metadata(path).map_err(|error| unreadable(path, error.kind().to_string()))?.len();
    if length > ROOTS_BYTES_MAX {
        return Err(unreadable(path, format!("more than {ROOTS_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| unreadable(path, error.kind().to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unreadable(path, "there is no certificate in it".to_owned())),
        Err(error) => Err(unreadable(path, error.to_string())),
    }
}

fn unreadable(path: &Path, why: String) -> SettingsError {
    SettingsError::Unreadable { path: path.display().to_string(), why }
}
