//! To whom a backup is sealed, and what opens it: a passphrase, or a key of the `age` tools.

use core::{fmt, str::FromStr};
use std::io::{Read, Write};

use age::{
    DecryptError, Decryptor, Encryptor, Identity, scrypt,
    secrecy::SecretString,
    stream::{StreamReader, StreamWriter},
    x25519,
};

use kos_base::approved::{Algorithm, Mode};

use crate::{BackupError, WORK_FACTOR_MAX};

/// A passphrase; shown to nobody.
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Fewest characters that seal a backup.
    pub const CHARS_MIN: usize = 12;

    /// Takes it as it is.
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// The public half of a key of `age-keygen`: `age1..`.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

/// It is not a key of that kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct ParseKeyError(&'static str);

impl FromStr for Recipient {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        text.parse().map(Self).map_err(|_| ParseKeyError("an age recipient such as `age1..`"))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.0)
    }
}

/// To whom a backup is sealed.
#[derive(Debug)]
pub enum Sealing {
    /// Whoever knows this.
    Passphrase(Passphrase),
    /// Whoever has the key of one of these; never empty.
    Recipients(Vec<Recipient>),
}

/// What opens a backup.
pub enum Opening {
    /// The passphrase that it was sealed with.
    Passphrase(Passphrase),
    /// The keys in a file of `age-keygen`.
    Identities(Vec<x25519::Identity>),
}

impl Opening {
    /// The keys in the text of a file that `age-keygen` wrote: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// When a line is no key, or there is none.
    pub fn identities(text: &str) -> Result<Self, ParseKeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = lines.map(str::parse::<x25519::Identity>).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(Self::Identities(keys)),
            _ => Err(ParseKeyError("a file of `age-keygen`")),
        }
    }

    pub(crate) fn open<R: Read>(&self, file: R) -> Result<StreamReader<R>, BackupError> {
        Mode::BUILT.admit(Algorithm::Age)?;
        let decryptor = Decryptor::new(file).map_err(refused)?;
        match self {
            Self::Passphrase(passphrase) => {
                let mut identity = scrypt::Identity::new(passphrase.0.clone());
                identity.set_max_work_factor(WORK_FACTOR_MAX);
                decryptor.decrypt(core::iter::once::<&dyn Identity>(&identity)).map_err(refused)
            }
            Self::Identities(keys) => decryptor.decrypt(keys.iter().map(identity)).map_err(refused),
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(..)")
    }
}

impl Sealing {
    pub(crate) fn seal<W: Write>(self, file: W) -> Result<StreamWriter<W>, BackupError> {
        Mode::BUILT.admit(Algorithm::Age)?;
        let encryptor = match self {
            Self::Passphrase(passphrase) => Ok(Encryptor::with_user_passphrase(passphrase.0)),
            Self::Recipients(recipients) => Encryptor::with_recipients(recipients.iter().map(recipient)),
        };
        let encryptor = encryptor.map_err(|e| BackupError::Io(std::io::Error::other(e.to_string())))?;
        encryptor.wrap_output(file).map_err(BackupError::Io)
    }
}

fn identity(key: &x25519::Identity) -> &dyn Identity {
    key
}

fn recipient(one: &Recipient) -> &dyn age::Recipient {
    &one.0
}

fn refused(error: DecryptError) -> BackupError {
    match error {
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            BackupError::WrongKey
        }
        DecryptError::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            BackupError::Io(error)
        }
        DecryptError::ExcessiveWork { .. } => BackupError::damaged("its passphrase asks for too much work"),
        other => BackupError::damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_and_shown_to_nobody() {
        let key = x25519::Identity::generate();
        use age::secrecy::ExposeSecret as _;
        let secret = key.to_string().expose_secret().to_owned();
        let opening = Opening::identities(&format!("# created: today\n{secret}\n")).unwrap();
        assert!(!format!("{opening:?}").contains(&secret));
        assert!(!format!("{:?}", Passphrase::new("correct horse".to_owned())).contains("horse"));
        assert!(Opening::identities("# nothing\n").is_err());
        assert!(Opening::identities("age1qqqq\n").is_err());
        assert!(key.to_public().to_string().parse::<Recipient>().is_ok());
        assert!("age1xyz".parse::<Recipient>().is_err());
        assert!(secret.parse::<Recipient>().is_err());
    }
}
