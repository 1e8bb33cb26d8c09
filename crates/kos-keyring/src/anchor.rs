//! The newest head of the vault, kept in a file of its own.
//!
//! Shape: one line, `kos.anchor.v1 VAULT GENERATION ROOT DIGEST`: 32 hex, decimal, 64 hex, and 64 hex of SHA-256 over the
//! line up to the last space. The digest finds damage, not forgery.
//!
//! Source: KR-8 to KR-10.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kos_base::digest::sha256;
use kos_vault::Head;

use crate::{KeyringError, file};

const VERSION: &str = "kos.anchor.v1";
/// Longest line, in bytes.
const BYTES_MAX: u64 = 256;

/// Where the head is kept.
#[derive(Clone, Debug)]
pub struct Anchor(PathBuf);

impl Anchor {
    /// An anchor in this file.
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn read(&self) -> Result<Option<Head>, KeyringError> {
        let bytes = file::read(&self.0, BYTES_MAX).map_err(KeyringError::unreadable(&self.0))?;
        let damaged = || KeyringError::AnchorDamaged { path: self.0.clone() };
        bytes.map(|bytes| parse(&bytes).ok_or_else(damaged)).transpose()
    }

    pub(crate) fn write(&self, head: &Head) -> Result<(), KeyringError> {
        file::replace(&self.0, line(head).as_bytes(), file::PRIVATE)
            .map_err(KeyringError::unwritable(&self.0))
    }
}

fn line(head: &Head) -> String {
    let front = format!("{VERSION} {} {} {}", head.vault, head.generation, HEXLOWER.encode(&head.root));
    format!("{front} {}\n", HEXLOWER.encode(&sha256(front.as_bytes())))
}

fn parse(bytes: &[u8]) -> Option<Head> {
    let text = str::from_utf8(bytes).ok()?;
    let mut words = text.split(' ');
    let (Some(_), Some(vault), Some(generation), Some(root)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    let root = HEXLOWER.decode(root.as_bytes()).ok()?.try_into().ok()?;
    let head = Head { vault: vault.parse().ok()?, generation: generation.parse().ok()?, root };
    // Whatever is not exactly what we write is damage.
    (line(&head) == text).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_byte_of_the_anchor_changes_it_is_damaged() {
        let head = Head { vault: "ab".repeat(16).parse().unwrap(), generation: 70, root: [5; 32] };
        let genuine = line(&head);
        assert_eq!(parse(genuine.as_bytes()), Some(head));
        for at in 0..genuine.len() {
            for bit in 0..8 {
                let mut changed = genuine.clone().into_bytes();
                changed[at] ^= 1 << bit;
                assert_eq!(parse(&changed), None, "byte {at}");
            }
            assert_eq!(parse(&genuine.as_bytes()[..at]), None, "cut at {at}");
        }
    }
}
