//! Signing keys, each where it was made: in the vault, in a TPM, or in a PKCS#11 token.
//!
//! Shape of what the vault keeps for one: PKCS#8 of a key in software; what a TPM made (HW-7, `kos-tpm` first); `kos-token v1 `
//! and the label of a key in a token. The last two are no secrets, and of no use without the hardware.
//!
//! Invariants: a key that lives in hardware is never written out. A PIN that the token did not take is not tried again
//! before the program starts anew, since every try counts.
//!
//! Errors: [`SignerError`].
//!
//! Source: KR-20 to KR-23; HW-1.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use data_encoding::HEXLOWER;
use kos_base::{Code, KeyAlgorithm, PublicKey, code, text::reason};
use kos_hardware::{
    HardwareError,
    token::Token,
    tpm::{Tpm, TpmAddress},
};
use kos_net::{
    entropy::{self, NoEntropy},
    keys::{KeyError, SigningKey},
};
use kos_vault::{SecretType, Value, VaultError};
use zeroize::Zeroizing;

use crate::file;

/// What a reference to a key in a TPM begins with.
const TPM: &[u8] = b"kos-tpm";
/// What a reference to a key in a token begins with.
const TOKEN: &[u8] = b"kos-token v1 ";
/// Most keys of hardware that are held ready; more are loaded again.
const READY_MAX: usize = 32;
/// Longest file of a PIN, in bytes.
const PIN_BYTES_MAX: u64 = 256;

/// Where new signing keys are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Home {
    /// In the vault.
    #[default]
    Vault,
    /// In the TPM.
    Tpm,
    /// In the token.
    Token,
}

/// The text is no [`Home`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place for keys (vault, tpm, token)")]
pub struct ParseHomeError;

impl Home {
    /// As it is written in settings and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Tpm => "tpm",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Home {
    type Err = ParseHomeError;

    fn from_str(text: &str) -> Result<Self, ParseHomeError> {
        let all = [Self::Vault, Self::Tpm, Self::Token];
        all.into_iter().find(|home| home.as_str() == text).ok_or(ParseHomeError)
    }
}

/// A PKCS#11 token and how it is opened.
#[derive(Clone, Debug)]
pub struct TokenPlace {
    /// The library of its maker.
    pub module: PathBuf,
    /// Its label or serial number.
    pub name: String,
    /// The file with its PIN, one line.
    pub pin_file: PathBuf,
}

/// Why a signing key cannot be made, had or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The TPM or token does not do what it was asked.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// The system gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// A key in software is none, or cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It does not fit into the vault.
    #[error(transparent)]
    Value(#[from] VaultError),
    /// A key is in a token, and the settings name none.
    #[error("the key is in a token, and the settings name none")]
    NoToken,
    /// The PIN cannot be read.
    #[error("{}: {why}", path.display())]
    Pin {
        /// From where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The hardware has no keys of this algorithm.
    #[error("a {home} makes no {algorithm} keys")]
    Algorithm {
        /// Where it was to be made.
        home: Home,
        /// What was wanted.
        algorithm: KeyAlgorithm,
    },
}

impl SignerError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Hardware(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Value(error) => error.code(),
            Self::NoToken | Self::Algorithm { .. } => code::config::CONFIG_INVALID,
            Self::Pin { .. } => code::config::FILE_UNREADABLE,
        }
    }
}

/// A key that was made: what the vault keeps, and the public half.
#[derive(Debug)]
pub struct Made {
    /// The value of its entry.
    pub value: Value,
    /// Its type there.
    pub kind: SecretType,
    /// Who can check what it signs.
    pub public: PublicKey,
}

/// Makes and loads signing keys.
pub struct Signers {
    home: Home,
    tpm: TpmAddress,
    token: Option<TokenPlace>,
    /// The token once it is open, or what was wrong when its PIN was tried.
    opened: Mutex<Option<Result<Token, HardwareError>>>,
    /// Keys of hardware, by what the vault keeps for them.
    ready: Mutex<HashMap<Vec<u8>, Arc<SigningKey>>>,
}

impl Signers {
    /// New keys are made at `home`; those that are somewhere else stay there.
    pub fn new(home: Home, tpm: TpmAddress, token: Option<TokenPlace>) -> Self {
        Self { home, tpm, token, opened: Mutex::default(), ready: Mutex::default() }
    }

    /// What the vault keeps for a key, if that is somewhere else: no secret, and of no use without the hardware.
    pub fn reference(kept: &Value) -> Option<&[u8]> {
        let bytes = kept.expose();
        (bytes.starts_with(TPM) || bytes.starts_with(TOKEN)).then_some(bytes)
    }

    /// Where the key is that the vault keeps this for.
    pub fn home_of(kept: &Value) -> Home {
        match Self::reference(kept) {
            None => Home::Vault,
            Some(reference) if reference.starts_with(TPM) => Home::Tpm,
            Some(_) => Home::Token,
        }
    }

    /// Where new keys are made.
    pub const fn home(&self) -> Home {
        self.home
    }

    /// The TPM, if it answers.
    ///
    /// # Errors
    /// When it does not, or lets nobody make the storage key.
    pub fn tpm(&self) -> Result<Tpm, SignerError> {
        Ok(Tpm::open(&self.tpm)?)
    }

    /// Makes a key. In a token it gets a label of its own that begins with `label`: others may keep theirs there, too. What it
    /// takes the place of is destroyed by [`Signers::destroy`], once the vault has the new one.
    ///
    /// # Errors
    /// When the hardware is gone or refuses, or has no keys of this algorithm: a TPM has P-256.
    pub fn make(&self, label: &str, algorithm: KeyAlgorithm) -> Result<Made, SignerError> {
        let hardware = |reference: Vec<u8>, public| {
            Ok(Made { value: Value::new(Zeroizing::new(reference))?, kind: SecretType::Opaque, public })
        };
        match self.home {
            Home::Vault => {
                let key = SigningKey::generate(algorithm)?;
                // The vault itself signs with Ed25519 and P-256 alone.
                let kind = match algorithm {
                    KeyAlgorithm::Ed25519 | KeyAlgorithm::P256 => SecretType::PrivateKey,
                    KeyAlgorithm::P384 => SecretType::Opaque,
                };
                Ok(Made { value: Value::new(key.to_pkcs8()?)?, kind, public: key.public().clone() })
            }
            Home::Tpm if algorithm == KeyAlgorithm::P256 => {
                let (blob, public) = Tpm::open(&self.tpm)?.make_key()?;
                hardware(blob, public)
            }
            home @ Home::Tpm => Err(SignerError::Algorithm { home, algorithm }),
            Home::Token => {
                let label = format!("{label}-{}", HEXLOWER.encode(&entropy::array::<4>()?));
                let public = self.open_token()?.make_key(&label, algorithm)?;
                hardware([TOKEN, label.as_bytes()].concat(), public)
            }
        }
    }

    /// The key that the vault keeps this for.
    ///
    /// # Errors
    /// When it is no key of ours, or its hardware is gone.
    pub fn load(&self, kept: &Value) -> Result<Arc<SigningKey>, SignerError> {
        let bytes = kept.expose();
        if Self::reference(kept).is_none() {
            return Ok(Arc::new(SigningKey::from_pkcs8(bytes)?));
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = ready.get(bytes) {
            return Ok(Arc::clone(key));
        }
        let key = match bytes.strip_prefix(TOKEN) {
            Some(label) => self.open_token()?.find(label_of(label)?)?,
            None => Tpm::open(&self.tpm)?.load(bytes)?,
        };
        let key = Arc::new(key);
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(bytes.to_vec(), Arc::clone(&key));
        Ok(key)
    }

    /// Destroys a key that is in a token. What is in the vault goes with its entry, and a key of a TPM with the bytes that
    /// only that TPM can use.
    ///
    /// # Errors
    /// When the token is gone or refuses. A key that is not there any more is as good as destroyed.
    pub fn destroy(&self, kept: &Value) -> Result<(), SignerError> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(kept.expose());
        let Some(label) = kept.expose().strip_prefix(TOKEN) else { return Ok(()) };
        match self.open_token()?.destroy(label_of(label)?) {
            Ok(()) | Err(HardwareError::KeyMissing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn open_token(&self) -> Result<Token, SignerError> {
        let place = self.token.as_ref().ok_or(SignerError::NoToken)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*opened {
            return Ok(known.clone()?);
        }
        let token = Token::open(&place.module, &place.name, &pin(&place.pin_file)?);
        match &token {
            Ok(_) | Err(HardwareError::WrongPin | HardwareError::LockedOut(_)) => {
                *opened = Some(token.clone());
            }
            // It may be put in later.
            Err(_) => {}
        }
        Ok(token?)
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signers({})", self.home)
    }
}

fn label_of(bytes: &[u8]) -> Result<&str, SignerError> {
    Ok(str::from_utf8(bytes).map_err(|_| HardwareError::Damaged("the label of a key"))?)
}

/// The first line of the file, which has no other.
fn pin(path: &Path) -> Result<Zeroizing<String>, SignerError> {
    let refused = |why: &str| SignerError::Pin { path: path.to_owned(), why: why.to_owned() };
    let read = file::read_secret(path, PIN_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            refused("it has to be ours or root's, and for nobody else to read (chmod 600)")
        }
        _ => refused(reason(&error)),
    })?;
    let bytes = read.ok_or_else(|| refused(reason(&io::ErrorKind::NotFound.into())))?;
    let text = str::from_utf8(&bytes).map_err(|_| refused("not text"))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() || line.contains(['\n', '\r']) {
        Err(refused("not one line"))
    } else {
        Ok(Zeroizing::new(line.to_owned()))
    }
}
