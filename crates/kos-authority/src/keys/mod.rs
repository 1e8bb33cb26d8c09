//! The authority's private keys and the certificates of its CAs: made once, kept in `DATA/authority/keys`.
//!
//! Shape: the vault of the machine, `machine.json`, with the entries `root`, `issuing-1`, `issuing-2`, `kid`, `log`, `orders`
//! (PKCS#8) and `store` (32 bytes); its key file `machine.key`, unless the settings say otherwise; one PEM file a CA
//! certificate (`root.crt`, ..) and their digests in `SHA256SUMS`. The folder has mode 0700 and every file 0600. It is written
//! beside its place and renamed, so it is there as a whole or not at all. The vault's anchor is outside of it.
//!
//! Invariants: every key has one use, so that no signature can be taken for another's. Nothing here is printed,
//! cloned or serialised, and no key is in the clear on the disk. On load each certificate must be that of its key. What an
//! earlier version left in the clear is sealed at the first start, and destroyed only when the vault has all of it.
//!
//! What it does not do: keep root out, who reads the memory of the program (`docs/spec/keyring.md`).
//!
//! Errors: [`KeysError`], each with the file that it is about. Source: KR-1 to KR-23.

mod folder;
mod former;
mod keep;
mod sealed;

use std::{path::Path, sync::Arc};

use kos_base::{
    AuthorityName, Code, KeyAlgorithm, Secret, Timestamp, code, key::SignatureForm, text::reason,
};
use kos_identity::{
    certificate::{self, Certificate, IssueError, IssuerClass, IssuerContext, Serial, SigningError},
    enrolment::message::AuthorityKeys,
};
use kos_keyring::{KeyringError, Made, Packed, SignerError, Signers};
use kos_net::{
    entropy,
    keys::{KeyError, SigningKey},
};

pub(crate) use self::keep::{Keep, Kept};

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
    /// What the vault keeps for root and issuing CAs that are in a token.
    pub(crate) references: [Option<Vec<u8>>; 3],
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
    /// The vault that they are in does not open, or is not the one that it should be.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// A key that is in a token cannot be had.
    #[error("the key `{name}`: {error}")]
    Signer {
        /// Which.
        name: String,
        /// Why.
        error: SignerError,
    },
    /// Keys could not be made.
    #[error("the keys cannot be made: {0}")]
    Make(String),
}

impl KeysError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Missing(_) => code::config::NOT_INITIALISED,
            Self::File { .. } => code::config::FILE_UNREADABLE,
            Self::Damaged { .. } => code::config::FILE_DAMAGED,
            Self::Keyring(error) => error.code(),
            Self::Signer { error, .. } => error.code(),
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
    /// Makes the keys of a new authority, those of its CAs where `signers` makes them. The others exist only in memory.
    ///
    /// # Errors
    /// When there is no randomness, or the token refuses.
    pub fn make(name: &AuthorityName, signers: &Signers, now: Timestamp) -> Result<Self, KeysError> {
        let ed25519 = || SigningKey::generate(KeyAlgorithm::Ed25519).map(Arc::new);
        let (root, root_reference) = ca_key(signers, "root", KeyAlgorithm::P384)?;
        let unsigned = certificate::root(name, root.public(), draw_serial()?, now)?;
        let signature = root.sign(SignatureForm::Der, unsigned.to_be_signed())?;
        let root_certificate = unsigned.finish(&signature)?;
        let (one, one_reference) = ca_key(signers, "issuing-1", KeyAlgorithm::P256)?;
        let (two, two_reference) = ca_key(signers, "issuing-2", KeyAlgorithm::P256)?;
        let certificate_1 = issuing(IssuerClass::One, &one, &root, &root_certificate, now)?;
        let certificate_2 = issuing(IssuerClass::Two, &two, &root, &root_certificate, now)?;
        Ok(Self {
            root,
            issuing: [one, two],
            kid: ed25519()?,
            log: ed25519()?,
            orders: ed25519()?,
            store: entropy::secret()?,
            root_certificate,
            issuing_certificates: [certificate_1, certificate_2],
            references: [root_reference, one_reference, two_reference],
        })
    }

    /// All of them in a vault of its own with its key file, in memory: for a backup.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn pack(&self, now: Timestamp) -> Result<Packed, KeysError> {
        sealed::pack(self, now)
    }

    /// Where they are, for people.
    pub fn homes(&self) -> String {
        match self.are_cas_in_token() {
            true => "token: root, issuing-1, issuing-2; vault: kid, log, orders".to_owned(),
            false => "vault: root, issuing-1, issuing-2, kid, log, orders".to_owned(),
        }
    }

    /// Whether the keys of the CAs are in a token.
    pub(crate) fn are_cas_in_token(&self) -> bool {
        self.references.iter().all(Option::is_some)
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

    /// Whether any key of a CA is in a token.
    pub(crate) fn has_references(&self) -> bool {
        self.references.iter().any(Option::is_some)
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

fn damaged(path: &Path, why: impl Into<String>) -> KeysError {
    KeysError::Damaged { path: path.display().to_string(), why: why.into() }
}

/// A key of a CA, and what the vault keeps for it if it is in a token.
fn ca_key(
    signers: &Signers,
    name: &str,
    algorithm: KeyAlgorithm,
) -> Result<(Arc<SigningKey>, Option<Vec<u8>>), KeysError> {
    let refused = |error| KeysError::Signer { name: name.to_owned(), error };
    let Made { value, .. } = signers.make(&format!("kos-ca-{name}"), algorithm).map_err(refused)?;
    let key = signers.load(&value).map_err(refused)?;
    Ok((key, Signers::reference(&value).map(<[u8]>::to_vec)))
}

fn issuing(
    class: IssuerClass,
    key: &SigningKey,
    root: &SigningKey,
    issuer: &Certificate,
    now: Timestamp,
) -> Result<Certificate, KeysError> {
    let context = IssuerContext { issuer, publication: None, now };
    let unsigned = certificate::issuing_ca(class, key.public(), draw_serial()?, &context)?;
    let signature = root.sign(SignatureForm::Der, unsigned.to_be_signed())?;
    Ok(unsigned.finish(&signature)?)
}

fn draw_serial() -> Result<Serial, entropy::NoEntropy> {
    entropy::array().map(Serial::from_random)
}

#[cfg(test)]
mod tests;
