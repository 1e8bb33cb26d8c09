//! The newest revocation lists that this device holds, and what they say.
//!
//! Shape: in the state folder, a list of each CA as `KEYID16.crl` and the certificates of issuing CAs other than the
//! device's own as `KEYID16.crt`, both DER; KEYID16 is the beginning of the CA's key id.
//!
//! Invariants: a list counts only if a CA signed it that is, or is certified by, the root of the device's own chain. A
//! list never gives way to an older one. A file that is not what it should be is told and not used.
//!
//! Source: `docs/spec/identity.md` (revocation), `docs/spec/klp.md` KLP-50.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kos_base::digest::sha256_parts;
use kos_identity::{
    certificate::Certificate,
    crl::{CrlError, RevocationView, VerifiedCrl},
};
use kos_klp::message::RevocationHead;

use crate::root::{RootError, file};

/// Domain of the hash over all lists, as the authority computes it for the head of its messages.
const HEAD_DOMAIN: &str = "kos revocation head v1";
/// Most issuing CAs that are remembered besides the device's own: the other class, and successors of both.
const MET_MAX: usize = 4;

/// Why a list is not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefusedList {
    /// No CA under our root signed it.
    #[error("the list is signed by no CA that is known here")]
    Stranger,
    /// It is damaged, or older than the one that is held.
    #[error(transparent)]
    List(#[from] CrlError),
    /// It cannot be kept.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// What is held of one fleet's lists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Revocations {
    folder: PathBuf,
    /// The root last.
    chain: Vec<Certificate>,
    met: Vec<Certificate>,
    view: RevocationView,
    unsound: Vec<PathBuf>,
}

impl Revocations {
    /// Reads the lists in `folder` that count under `chain`: the device's certificates from its issuing CA to the root.
    pub(crate) fn load(folder: &Path, chain: Vec<Certificate>) -> Self {
        let mut held = Self { folder: folder.to_owned(), chain, ..Self::default() };
        let with_ending = |ending: &str| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
        };
        for path in with_ending("crt").into_iter().take(MET_MAX) {
            let found = file::read(&path).ok().flatten().and_then(|der| Certificate::parse(&der).ok());
            match found.filter(|ca| held.is_ours(ca)) {
                Some(ca) => held.met.push(ca),
                None => {
                    tracing::warn!(file = %path.display(), "not the certificate of a CA of ours");
                    held.unsound.push(path);
                }
            }
        }
        for path in with_ending("crl") {
            let list = file::read(&path).map_err(RefusedList::from);
            let list = list.and_then(|der| held.verify(&der.unwrap_or_default()));
            if let Err(error) = list.and_then(|list| Ok(held.view.install(list)?)) {
                tracing::warn!(file = %path.display(), %error, "a revocation list that does not count");
                held.unsound.push(path);
            }
        }
        held
    }

    /// Remembers the issuing CA of a server of the authority, so that its lists can be checked.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub(crate) fn meet(&mut self, ca: &Certificate) -> Result<(), RootError> {
        let known = self.issuers().any(|known| known.der() == ca.der());
        if known || !self.is_ours(ca) || self.met.len() >= MET_MAX {
            return Ok(());
        }
        file::replace(&self.path(ca, "crt"), ca.der(), file::PRIVATE)?;
        self.met.push(ca.clone());
        Ok(())
    }

    /// Takes a list over, durably, if it is newer than the one that is held.
    ///
    /// # Errors
    /// When it is older or does not count, or cannot be kept.
    pub(crate) fn take(&mut self, der: &[u8]) -> Result<(), RefusedList> {
        let list = self.verify(der)?;
        if self.view.list(list.issuer()).is_some_and(|held| held.der() == der) {
            return Ok(());
        }
        let mut newer = self.view.clone();
        let name = format!("{}.crl", list.issuer().short());
        newer.install(list)?;
        file::replace(&self.folder.join(name), der, file::PRIVATE)?;
        self.view = newer;
        Ok(())
    }

    /// Files that are not what they should be. The link brings their content again.
    pub(crate) fn unsound(&self) -> &[PathBuf] {
        &self.unsound
    }

    /// What the lists say.
    pub(crate) const fn view(&self) -> &RevocationView {
        &self.view
    }

    fn verify(&self, der: &[u8]) -> Result<VerifiedCrl, RefusedList> {
        let mut refusal = RefusedList::Stranger;
        for issuer in self.issuers() {
            match VerifiedCrl::parse(der, issuer) {
                Ok(list) => return Ok(list),
                Err(CrlError::Issuer) => {}
                Err(error) => refusal = error.into(),
            }
        }
        Err(refusal)
    }

    fn issuers(&self) -> impl Iterator<Item = &Certificate> {
        self.chain.iter().chain(&self.met)
    }

    fn is_ours(&self, ca: &Certificate) -> bool {
        let root = self.chain.last();
        ca.is_ca() && root.is_some_and(|root| ca.verify_signature(root.public_key()).is_ok())
    }

    fn path(&self, ca: &Certificate, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", ca.key_id().short()))
    }
}

/// How far the lists of a view are, as messages tell it; none where no list is held.
pub(crate) fn head(view: &RevocationView) -> Option<RevocationHead> {
    let number = view.lists().map(VerifiedCrl::number).max()?;
    Some(RevocationHead { number, hash: sha256_parts(HEAD_DOMAIN, view.lists().map(VerifiedCrl::der)) })
}
