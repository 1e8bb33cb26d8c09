//! The form of every small file that kosd writes for itself: whatever byte changes, the file is refused.
//!
//! Shape: `kosf` (4 bytes), version 1 (1), kind (1), length of the content in bytes (4, big-endian), content, SHA-256 of
//! everything before (32). The kind keeps one file from being taken for another.
//!
//! What it does not do: keep anybody who can write the file from writing another. It finds damage, not forgery.

use std::path::Path;

use kos_base::digest::sha256;

use super::RootError;

const MAGIC: &[u8; 4] = b"kosf";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 10;
const DIGEST_BYTES: usize = 32;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PKCS#8 of a signing key.
    SigningKey,
    /// 32 bytes of an X25519 key.
    AgreementKey,
    /// State of the enrolment machine.
    Journal,
    /// What the authority has said since.
    Standing,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::SigningKey => 1,
            Self::AgreementKey => 2,
            Self::Journal => 3,
            Self::Standing => 4,
        }
    }
}

/// The file that holds `content`. Its buffer holds a secret if `content` is one.
pub fn seal(kind: Kind, content: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    // The buffer never grows, so that no copy of a secret stays behind in freed memory.
    let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len() + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, kind.number()]);
    bytes.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(content);
    let digest = sha256(&bytes);
    bytes.extend_from_slice(&digest);
    bytes.into()
}

/// The content of the file `bytes`, which was read from `path`.
///
/// # Errors
/// [`RootError::Damaged`] when it is not exactly what [`seal`] wrote for this kind.
pub fn open<'a>(kind: Kind, path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], RootError> {
    let damaged = || RootError::Damaged { path: path.into() };
    let content = bytes.len().checked_sub(DIGEST_BYTES).and_then(|end| bytes.get(HEAD_BYTES..end));
    let content = content.ok_or_else(damaged)?;
    if seal(kind, content).as_slice() == bytes { Ok(content) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_byte_changes_the_file_is_refused() {
        let path = Path::new("journal");
        let sealed = seal(Kind::Journal, b"state");
        assert_eq!(open(Kind::Journal, path, &sealed).unwrap(), b"state");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.to_vec();
                changed[at] ^= 1 << bit;
                let refused = open(Kind::Journal, path, &changed).unwrap_err();
                assert_eq!(refused.code(), kos_base::code::config::FILE_DAMAGED, "byte {at}");
            }
            assert!(open(Kind::Journal, path, &sealed[..at]).is_err(), "cut at {at}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert!(open(Kind::Journal, path, &longer).is_err());
        assert!(open(Kind::SigningKey, path, &sealed).is_err());
    }
}
