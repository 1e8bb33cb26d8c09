//! The authority's private keys and the certificates of its CAs: made once, kept in `DATA/authority/keys`.
//!
//! Shape: one PKCS#8 PEM file a key (`root.key`, `issuing-1.key`, `issuing-2.key`, `kid.key`, `log.key`, `orders.key`),
//! one PEM file a CA certificate (`root.crt`, ..), `store.key` with 32 random bytes in hex, and `SHA256SUMS`. The folder
//! has mode 0700 and every file 0600. It is written beside its place and renamed, so it is there as a whole or not at all.
//!
//! Invariants: every key has one use, so that no signature can be taken for another's. Nothing here is printed,
//! cloned or serialised. On load each certificate must be that of its key.
//!
//! What it does not do: encrypt. Whoever is root on this machine has the keys; the file mode keeps everybody else away.

mod folder;

use std::{path::Path, sync::Arc};

use kos_base::{
    AuthorityName, Code, KeyAlgorithm, Secret, Timestamp, code, key::SignatureForm, text::reason,
};
use kos_identity::{
    certificate::{self, Certificate, IssueError, IssuerClass, IssuerContext, Serial, SigningError},
    enrolment::message::AuthorityKeys,
};
use kos_net::{
    entropy,
    keys::{KeyError, SigningKey},
};

/// Everything that the authority signs with.
#[derive(Debug)]
pub struct Keys {
    /// Signs the issuing CAs and the list of those that were revoked.
    pub root: Arc<SigningKey>,
    /// Sign certificates: the first up to SEC-2, the second SEC-3, SEC-4, operators and the authority itself.
    pub issuing: [Arc<SigningKey>; 2],
    /// Signs kIDs.
    pub kid: Arc<SigningKey>,
    /// Signs the log.
    pub log: Arc<SigningKey>,
    /// Signs orders to devices.
    pub orders: Arc<SigningKey>,
    /// Seals the rows of the store.
    pub store: Secret<32>,
    /// The root's certificate.
    pub root_certificate: Certificate,
    /// Those of the issuing CAs.
    pub issuing_certificates: [Certificate; 2],
}

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Nothing has been made yet.
    #[error("there are no keys in `{0}`")]
    Missing(String),
    /// A file cannot be read or written.
    #[error("the key file `{path}`: {}", reason(source))]
    File {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what was written, or does not fit the others.
    #[error("the key file `{path}` is damaged: {why}")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Keys could not be made.
    #[error("the keys cannot be made: {0}")]
    Make(String),
}

impl KeysError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Missing(_) => code::config::NOT_INITIALISED,
            Self::File { .. } => code::config::FILE_UNREADABLE,
            Self::Damaged { .. } => code::config::FILE_DAMAGED,
            Self::Make(_) => code::config::INTERNAL,
        }
    }
}

impl From<KeyError> for KeysError {
    fn from(error: KeyError) -> Self {
        Self::Make(error.to_string())
    }
}

impl From<IssueError> for KeysError {
    fn from(error: IssueError) -> Self {
        Self::Make(error.to_string())
    }
}

impl From<SigningError> for KeysError {
    fn from(error: SigningError) -> Self {
        Self::Make(error.to_string())
    }
}

impl From<entropy::NoEntropy> for KeysError {
    fn from(error: entropy::NoEntropy) -> Self {
        Self::Make(error.to_string())
    }
}

impl Keys {
    /// Makes the keys of a new authority. They exist only in memory until [`Keys::store_in`].
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn make(name: &AuthorityName, now: Timestamp) -> Result<Self, KeysError> {
        let ed25519 = || SigningKey::generate(KeyAlgorithm::Ed25519).map(Arc::new);
        let root = Arc::new(SigningKey::generate(KeyAlgorithm::P384)?);
        let unsigned = certificate::root(name, root.public(), draw_serial()?, now)?;
        let signature = root.sign(SignatureForm::Der, unsigned.to_be_signed())?;
        let root_certificate = unsigned.finish(&signature)?;
        let (issuing_1, certificate_1) = issuing(IssuerClass::One, &root, &root_certificate, now)?;
        let (issuing_2, certificate_2) = issuing(IssuerClass::Two, &root, &root_certificate, now)?;
        Ok(Self {
            root,
            issuing: [issuing_1, issuing_2],
            kid: ed25519()?,
            log: ed25519()?,
            orders: ed25519()?,
            store: entropy::secret()?,
            root_certificate,
            issuing_certificates: [certificate_1, certificate_2],
        })
    }

    /// Writes all of them to `folder`, which must not exist yet.
    ///
    /// # Errors
    /// When the disk fails, or somebody was faster. Nothing is at `folder` then but what was there.
    pub fn store_in(&self, folder: &Path) -> Result<(), KeysError> {
        folder::write(self, folder)
    }

    /// Reads the keys of an authority.
    ///
    /// # Errors
    /// [`KeysError::Missing`] when nothing has been made; otherwise the file that is missing or damaged is named.
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        folder::read(folder)
    }

    /// The key of an issuing CA.
    pub fn issuing(&self, class: IssuerClass) -> &Arc<SigningKey> {
        let [one, two] = &self.issuing;
        match class {
            IssuerClass::One => one,
            IssuerClass::Two => two,
        }
    }

    /// The key of one of our CAs.
    pub fn signer_of(&self, ca: &Certificate) -> Option<&Arc<SigningKey>> {
        [&self.root].into_iter().chain(&self.issuing).find(|key| key.public() == ca.public_key())
    }

    /// The certificate of an issuing CA.
    pub const fn issuing_certificate(&self, class: IssuerClass) -> &Certificate {
        let [one, two] = &self.issuing_certificates;
        match class {
            IssuerClass::One => one,
            IssuerClass::Two => two,
        }
    }

    /// The keys by which a device knows what this authority signed.
    pub fn public(&self) -> AuthorityKeys {
        AuthorityKeys {
            kid: self.kid.public().clone(),
            orders: self.orders.public().clone(),
            log: self.log.public().clone(),
        }
    }
}

fn issuing(
    class: IssuerClass,
    root: &SigningKey,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<(Arc<SigningKey>, Certificate), KeysError> {
    let key = SigningKey::generate(KeyAlgorithm::P256)?;
    let context = IssuerContext { issuer, publication: None, now };
    let unsigned = certificate::issuing_ca(class, key.public(), draw_serial()?, &context)?;
    let signature = root.sign(SignatureForm::Der, unsigned.to_be_signed())?;
    Ok((Arc::new(key), unsigned.finish(&signature)?))
}

fn draw_serial() -> Result<Serial, entropy::NoEntropy> {
    entropy::array().map(Serial::from_random)
}

#[cfg(test)]
mod tests;
