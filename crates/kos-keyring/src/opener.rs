//! How the vault opens when nobody is there: a key of 256 bits from somewhere.
//!
//! Shape of the key, in a file and as a credential: 64 lower-case hexadecimal characters, and perhaps a line end. What a TPM
//! sealed is a file in the form of HW-7.
//!
//! Source: KR-3 to KR-7.

use core::{fmt, str::FromStr};
use std::{io, path::Path};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use kos_base::{Secret, text::reason};
use kos_net::entropy;
use kos_vault::KeySource;
use zeroize::Zeroizing;

use crate::{KeyringError, Place, file};

/// The name of the systemd credential that holds the key.
pub const CREDENTIAL: &str = "kos-machine-key";
/// Longest text of a key, in bytes.
const KEY_BYTES_MAX: u64 = 128;

/// Where the key comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Opener {
    /// A file that only its owner reads.
    #[default]
    KeyFile,
    /// The systemd credential [`CREDENTIAL`].
    Credential,
    /// What the machine's TPM sealed.
    Tpm,
}

/// A key that may be the one.
pub(crate) struct Candidate {
    pub(crate) key: Secret<32>,
    /// A TPM sealed it for a vault that may not have been written.
    pub(crate) is_next: bool,
}

/// The text is no [`Opener`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a way to open the keys (key-file, credential, tpm)")]
pub struct ParseOpenerError;

impl Opener {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::KeyFile, Self::Credential, Self::Tpm];

    /// As it is written in settings and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::Credential => "credential",
            Self::Tpm => "tpm",
        }
    }

    /// The source in the vault's slot.
    pub(crate) const fn source(self) -> KeySource {
        match self {
            Self::KeyFile => KeySource::File,
            Self::Credential => KeySource::Credential,
            Self::Tpm => KeySource::Tpm,
        }
    }

    pub(crate) fn of(source: KeySource) -> Option<Self> {
        Self::ALL.into_iter().find(|opener| opener.source() == source)
    }

    /// The keys that may be meant, as they are there now: one, but for a TPM that was cut off while it sealed another. Or, in
    /// words, why there is none.
    pub(crate) fn fetch(self, place: &Place) -> Result<Vec<Candidate>, String> {
        let only = |key| vec![Candidate { key, is_next: false }];
        match self {
            Self::KeyFile => {
                let key = read(&place.key_file, file::read_secret)?;
                key.map(only).ok_or_else(|| missing(place))
            }
            Self::Credential => {
                let folder = place.credentials.as_ref();
                let folder = folder.ok_or("systemd gave no credentials to this program")?;
                // Systemd's rights, which may be an access list.
                let key = read(&folder.join(CREDENTIAL), file::read)?;
                let missing = || format!("systemd gave no credential `{CREDENTIAL}` to this program");
                key.map(only).ok_or_else(missing)
            }
            Self::Tpm => place.tpm.unseal(),
        }
    }

    /// The key for a new slot: what is there, or a fresh one where we may make it.
    pub(crate) fn prepare(self, place: &Place) -> Result<Secret<32>, KeyringError> {
        match self {
            Self::KeyFile if !place.key_file.exists() => {
                let (path, key) = (&place.key_file, entropy::secret::<32>()?);
                let text = Zeroizing::new(HEXLOWER.encode(key.expose()) + "\n");
                file::replace(path, text.as_bytes(), file::PRIVATE)
                    .map_err(KeyringError::unwritable(path))?;
                Ok(key)
            }
            Self::Tpm => place.tpm.seal(&place.vault),
            Self::KeyFile | Self::Credential => {
                let unopened = |why| KeyringError::Unopened { path: place.vault.clone(), why };
                let mut found = self.fetch(place).map_err(unopened)?;
                found.pop().map(|found| found.key).ok_or_else(|| unopened("there is no key".to_owned()))
            }
        }
    }

    /// Destroys what we may destroy of the key, once nothing is opened by it. A key file that somebody put elsewhere is
    /// theirs: it may be the key of something else as well.
    pub(crate) fn forget(self, place: &Place) -> Result<(), KeyringError> {
        match self {
            Self::KeyFile if place.key_file.parent() != place.vault.parent() => Ok(()),
            Self::KeyFile => file::remove(&place.key_file).map_err(KeyringError::unwritable(&place.key_file)),
            Self::Tpm => place.tpm.forget(),
            // Systemd's.
            Self::Credential => Ok(()),
        }
    }
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Opener {
    type Err = ParseOpenerError;

    fn from_str(text: &str) -> Result<Self, ParseOpenerError> {
        Self::ALL.into_iter().find(|opener| opener.as_str() == text).ok_or(ParseOpenerError)
    }
}

/// In words, what may have become of a key file that is not there.
fn missing(place: &Place) -> String {
    let shown = place.key_file.display();
    if place.key_file.parent() == place.vault.parent() {
        return format!("its key file {shown} is missing");
    }
    format!(
        "its key file {shown} is missing; it has a place of its own: is what it lies on there, and mounted?"
    )
}

/// A way to read a file of at most so many bytes.
type Reader = fn(&Path, u64) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

fn read(path: &Path, reader: Reader) -> Result<Option<Secret<32>>, String> {
    let text = reader(path, KEY_BYTES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{} has to be ours or root's, and for nobody else to read (chmod 600)", path.display())
        }
        _ => format!("{} cannot be read: {}", path.display(), reason(&error)),
    })?;
    let Some(text) = text else { return Ok(None) };
    let none = || format!("{} is not 64 hexadecimal characters", path.display());
    let hex = text.strip_suffix(b"\n").unwrap_or(&text);
    let bytes = HEXLOWER_PERMISSIVE.decode(hex).map(Zeroizing::new).map_err(|_| none())?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| none())?;
    Ok(Some(Secret::new(*key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_characters_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(read(&path, file::read).unwrap().is_none());
        let hex = "0f".repeat(32);
        for good in [hex.clone(), format!("{hex}\n"), hex.to_uppercase()] {
            std::fs::write(&path, good).unwrap();
            assert_eq!(read(&path, file::read).unwrap().unwrap().expose(), &[15; 32]);
        }
        for bad in ["", "\n", &hex[2..], &format!("{hex}00"), &format!("{hex}\n\n"), &format!(" {hex}")] {
            std::fs::write(&path, bad).unwrap();
            let why = read(&path, file::read).unwrap_err();
            assert!(why.contains("64 hexadecimal") && !why.contains("0f0f"), "{why}");
        }
    }

    #[test]
    fn every_opener_is_read_as_it_is_written() {
        for opener in Opener::ALL {
            assert_eq!(opener.to_string().parse(), Ok(opener));
            assert_eq!(Opener::of(opener.source()), Some(opener));
        }
        assert_eq!("none".parse::<Opener>(), Err(ParseOpenerError));
    }
}
