//! One version of one entry: how it is encrypted, and to what it is bound.
//!
//! Each version has a key of its own, which serves one message: it comes from a salt that was drawn for it. The associated
//! data bind vault, environment, entry, number, type and times, so a version opens in its place only.
//!
//! ```text
//! plaintext   2 B length, name, 4 B length, value, zeros to 64, 128, .. 131 072 B
//! ```
//!
//! Source: KV-21 to KV-24.

use kos_base::{
    Timestamp,
    digest::{Sha256, sha256_parts},
};
use zeroize::Zeroizing;

use crate::{
    Environment, SecretType, Value, VaultError, VaultId,
    fresh::Draws,
    keys::{Keys, SingleUse, derive, same},
};

/// Of an entry, in its vault: HMAC of its name.
pub(crate) type Id = [u8; 32];

const KEY: &str = "kos vault v1 entry";
const ASSOCIATED: &str = "kos vault v1 version";
const RECORD: &str = "kos vault v1 record";

/// Smallest and largest plaintext, in bytes.
const BUCKETS: (usize, usize) = (64, 131_072);

/// In whose vault a version or a slot stands.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) vault: &'a VaultId,
    pub(crate) environment: &'a Environment,
}

/// What a version says of itself in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) number: u64,
    pub(crate) kind: SecretType,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
}

/// A version as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) facts: Facts,
    pub(crate) salt: [u8; 32],
    pub(crate) iv: [u8; 12],
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: [u8; 16],
}

/// An entry as it stands in the file. Never without a version; the oldest stands first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) last_accessed: Timestamp,
    pub(crate) versions: Vec<Version>,
}

impl Facts {
    fn expires_bytes(&self) -> Vec<u8> {
        self.expires.map_or(Vec::new(), |at| at.unix_ms().to_be_bytes().to_vec())
    }

    fn associated(&self, owner: Owner<'_>, id: &Id) -> Sha256 {
        let parts: [&[u8]; 7] = [
            owner.vault.as_bytes(),
            owner.environment.as_str().as_bytes(),
            id,
            &self.number.to_be_bytes(),
            self.kind.as_str().as_bytes(),
            &self.created.unix_ms().to_be_bytes(),
            &self.expires_bytes(),
        ];
        sha256_parts(ASSOCIATED, parts)
    }
}

impl Version {
    /// Encrypts a value in its place.
    pub(crate) fn seal(
        owner: Owner<'_>,
        keys: &Keys,
        facts: Facts,
        name: &str,
        value: &[u8],
        draws: &Draws,
    ) -> Result<Self, VaultError> {
        let id = keys.id(name);
        let place: [&[u8]; 2] = [&facts.number.to_be_bytes(), &id];
        let salt = *draws.draw("version salt", &place)?.expose();
        let iv = *draws.draw("version iv", &place)?.expose();
        let mut text = pad(name, value)?;
        let tag = key(keys, &salt, &id, facts.number)?.seal(&iv, facts.associated(owner, &id), &mut text)?;
        // The plaintext is gone from these bytes: they were encrypted where they stood.
        Ok(Self { facts, salt, iv, ciphertext: core::mem::take(&mut *text), tag })
    }

    /// Name and value.
    pub(crate) fn open(&self, owner: Owner<'_>, keys: &Keys, id: &Id) -> Result<(String, Value), VaultError> {
        let associated = self.facts.associated(owner, id);
        let opened = key(keys, &self.salt, id, self.facts.number)?;
        let opened = opened.open(&self.iv, &associated, &self.ciphertext, &self.tag)?;
        let text = opened.ok_or(VaultError::Damaged("an entry does not decrypt"))?;
        let (name, value) =
            unpad(&text).ok_or(VaultError::Damaged("an entry is not padded as it should be"))?;
        if !same(&keys.id(name), id) {
            return Err(VaultError::Damaged("an entry has the name of another"));
        }
        Ok((name.to_owned(), Value::new(Zeroizing::new(value.to_vec()))?))
    }
}

impl Record {
    /// What the tree is built over (KV-24).
    pub(crate) fn digest(&self, id: &Id) -> Sha256 {
        let count = u64::try_from(self.versions.len()).unwrap_or(u64::MAX);
        let mut parts: Vec<Vec<u8>> = vec![
            id.to_vec(),
            self.last_accessed.unix_ms().to_be_bytes().to_vec(),
            count.to_be_bytes().to_vec(),
        ];
        for version in &self.versions {
            parts.extend([
                version.facts.number.to_be_bytes().to_vec(),
                version.facts.kind.as_str().as_bytes().to_vec(),
                version.facts.created.unix_ms().to_be_bytes().to_vec(),
                version.facts.expires_bytes(),
                version.salt.to_vec(),
                version.iv.to_vec(),
                version.ciphertext.clone(),
                version.tag.to_vec(),
            ]);
        }
        sha256_parts(RECORD, parts.iter().map(Vec::as_slice))
    }

    /// Bytes of ciphertext.
    pub(crate) fn bytes(&self) -> usize {
        self.versions.iter().map(|version| version.ciphertext.len()).sum()
    }
}

fn key(keys: &Keys, salt: &[u8; 32], id: &Id, number: u64) -> Result<SingleUse, VaultError> {
    derive(salt, keys.environment(), KEY, &[id, &number.to_be_bytes()]).map(SingleUse::new)
}

/// The bucket that `bytes` of plaintext go into.
fn bucket(bytes: usize) -> usize {
    bytes.next_power_of_two().max(BUCKETS.0)
}

fn pad(name: &str, value: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let full = || VaultError::Full("a name or value is too long");
    let size = bucket(2 + name.len() + 4 + value.len());
    if size > BUCKETS.1 {
        return Err(full());
    }
    // In one allocation, so that nothing of it is left behind where it grew.
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    text.extend_from_slice(&u16::try_from(name.len()).map_err(|_| full())?.to_be_bytes());
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(&u32::try_from(value.len()).map_err(|_| full())?.to_be_bytes());
    text.extend_from_slice(value);
    text.resize(size, 0);
    Ok(text)
}

fn unpad(text: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = text.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, padding) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let is_exact = text.len() == bucket(text.len() - padding.len());
    let is_zero = padding.iter().all(|byte| *byte == 0);
    let name = core::str::from_utf8(name).ok()?;
    (is_exact && is_zero).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plaintext_is_padded_to_the_smallest_bucket() {
        for (name, value, size) in [
            ("n", 0, 64),
            ("n", 57, 64),
            ("n", 58, 128),
            ("name", 118, 128),
            ("name", 119, 256),
            (&*"n".repeat(128), 65_536, 131_072),
        ] {
            let text = pad(name, &vec![7; value]).unwrap();
            assert_eq!(text.len(), size, "{value}");
            assert_eq!(unpad(&text).unwrap(), (name, vec![7; value].as_slice()));
        }
        assert!(pad("n", &vec![0; 131_072]).is_err());
    }

    #[test]
    fn other_padding_is_refused() {
        let text = pad("n", b"value").unwrap();
        let mut dirty = text.clone();
        *dirty.last_mut().unwrap() = 1;
        let mut longer = text.clone();
        longer.resize(128, 0);
        for bad in [dirty.as_slice(), &longer, &text[..63], &text[..5], &[], &[0xff; 64]] {
            assert!(unpad(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_version_with_the_name_of_another_entry_is_refused() {
        let vault: VaultId = "00000000000000000000000000000000".parse().unwrap();
        let environment: Environment = "machine".parse().unwrap();
        let owner = Owner { vault: &vault, environment: &environment };
        let keys = Keys::of(&[1; 32], &vault, &environment).unwrap();
        let at = Timestamp::from_unix_ms(1);
        let facts = Facts { number: 1, kind: SecretType::Opaque, created: at, expires: None };
        let (id, salt, iv) = (keys.id("a"), [2; 32], [3; 12]);
        let open = |name: &str| {
            let mut text = pad(name, b"value").unwrap();
            let key = key(&keys, &salt, &id, 1).unwrap();
            let tag = key.seal(&iv, facts.associated(owner, &id), &mut text).unwrap();
            let version = Version { facts, salt, iv, ciphertext: text.to_vec(), tag };
            version.open(owner, &keys, &id).map(|(name, _)| name).map_err(|why| why.code().number())
        };
        assert_eq!(open("a"), Ok("a".to_owned()));
        assert_eq!(open("b"), Err(603));
    }
}
