//! A file as the source document shapes it: read once, and made into a vault.
//!
//! That file has one key for all entries, no MAC and names in the clear. Nothing here writes one, and nothing works with
//! one: [`SourceFile::import`] decrypts every entry and puts it under new keys at once. What it says is believed as far as
//! whoever could write it is believed.
//!
//! Errors: as those of a vault; [`VaultError::Name`] for an entry whose name is none of ours.
//!
//! Source: KV-30 to KV-32; `tests/vectors/vault/source`.

use core::fmt;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use kos_base::{Secret, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    EntryName, Environment, FILE_BYTES_MAX, Fresh, NewSlot, Opened, Passphrase, SlotName, Value, VaultError,
    Work,
    keys::SingleUse,
    shape::{Base64, Base64Bytes, Members, MetadataShape, parse, time},
    version::Facts,
};

/// Argon2id's memory and lanes, which the source document does not name: what its common libraries take.
const ARGON2ID_MEMORY_KIB: u32 = 65_536;
const ARGON2ID_PARALLELISM: u32 = 4;

/// Shortest and longest salt, in bytes.
const SALT_BYTES: core::ops::RangeInclusive<usize> = 16..=64;

/// A well-formed file of that shape. Nothing vouches for it.
pub struct SourceFile {
    work: Work,
    salt: Vec<u8>,
    entries: Vec<(EntryName, EntryShape)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileShape<'a> {
    version: String,
    master_key_derivation: DerivationShape,
    #[serde(borrow)]
    encrypted_data: &'a RawValue,
    integrity: IntegrityShape,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DerivationShape {
    algorithm: String,
    iterations: u32,
    salt: Base64Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryShape {
    ciphertext: Base64Bytes,
    iv: Base64<12>,
    tag: Base64<16>,
    metadata: MetadataShape,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntegrityShape {
    checksum: String,
    last_modified: u64,
}

impl SourceFile {
    /// Reads a file, and checks the cost of its passphrase and its checksum.
    ///
    /// # Errors
    /// Whatever is wrong with it that can be seen without its passphrase.
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(VaultError::malformed("longer than 96 MiB"));
        }
        let file: FileShape<'_> = parse(bytes)?;
        if file.version != "1" && !file.version.starts_with("1.") {
            return Err(VaultError::malformed(format!("`version` is `{}`", file.version)));
        }
        let iterations = file.master_key_derivation.iterations;
        let work = match file.master_key_derivation.algorithm.as_str() {
            Work::PBKDF2 => Work::Pbkdf2 { iterations },
            Work::ARGON2ID => Work::Argon2id {
                iterations,
                memory_kib: ARGON2ID_MEMORY_KIB,
                parallelism: ARGON2ID_PARALLELISM,
            },
            _ => return Err(VaultError::malformed("a derivation that is neither Argon2id nor PBKDF2")),
        };
        work.admit()?;
        let salt = file.master_key_derivation.salt.0;
        if !SALT_BYTES.contains(&salt.len()) {
            return Err(VaultError::malformed("a salt that has not 16 to 64 bytes"));
        }
        time(file.integrity.last_modified)?;
        if !has_checksum(file.encrypted_data.get(), &file.integrity.checksum) {
            return Err(VaultError::Damaged("its checksum does not fit"));
        }
        let members: Members<EntryShape> = parse(file.encrypted_data.get().as_bytes())?;
        let entries = members.0.into_iter().map(|(name, entry)| {
            let name = name.parse().map_err(|_| VaultError::Name(kos_base::text::printable(&name, 64)))?;
            time(entry.metadata.created)?;
            time(entry.metadata.last_accessed)?;
            entry.metadata.expires_at.map(time).transpose()?;
            Ok::<_, VaultError>((name, entry))
        });
        Ok(Self { work, salt, entries: entries.collect::<Result<_, _>>()? })
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Decrypts every entry and makes a vault of them, with keys of its own and one slot. Without an entry, any passphrase is
    /// as good as the right one.
    ///
    /// # Errors
    /// [`VaultError::WrongSecret`] when the first entry does not decrypt, [`VaultError::Damaged`] when a later one does not;
    /// as [`Opened::create`] and [`Opened::put`].
    ///
    /// *Cost*: that of the file's passphrase and of the new slot's.
    pub fn import(
        &self,
        now: Timestamp,
        passphrase: &Passphrase,
        environment: Environment,
        slot: (&SlotName, NewSlot<'_>),
        fresh: Fresh,
    ) -> Result<Opened, VaultError> {
        let draws = fresh.draws();
        let key = self.work.derive(passphrase, &self.salt)?;
        let mut vault = Opened::make(now, environment, slot.0, slot.1, &draws)?;
        for (at, (name, entry)) in self.entries.iter().enumerate() {
            let cipher = SingleUse::new(Secret::new(*key.expose()));
            let value = cipher.open(&entry.iv.0, &[], &entry.ciphertext.0, &entry.tag.0)?;
            let value = value.ok_or(match at {
                0 => VaultError::WrongSecret,
                _ => VaultError::Damaged("an entry does not decrypt"),
            })?;
            let metadata = &entry.metadata;
            let facts = Facts {
                number: 1,
                kind: metadata.kind.parse()?,
                created: time(metadata.created)?,
                expires: metadata.expires_at.map(time).transpose()?,
            };
            facts.kind.admit(&value)?;
            vault.import(name, facts, time(metadata.last_accessed)?, &Value::new(value)?, &draws)?;
        }
        Ok(vault)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({} entries)", self.entries.len())
    }
}

/// Whether `checksum` is SHA-256 or SHA-512, in hex, of the text without the white space between its tokens.
fn has_checksum(json: &str, checksum: &str) -> bool {
    let algorithm = match checksum.len() {
        64 => &digest::SHA256,
        128 => &digest::SHA512,
        _ => return false,
    };
    let mut compact = Vec::with_capacity(json.len());
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        if is_string || !byte.is_ascii_whitespace() {
            compact.push(byte);
        }
        (is_string, is_escaped) = match (byte, is_escaped) {
            (b'"', false) => (!is_string, false),
            (b'\\', false) => (is_string, is_string),
            _ => (is_string, false),
        };
    }
    HEXLOWER.encode(digest::digest(algorithm, &compact).as_ref()) == checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_give_the_examples_of_fips_180() {
        for published in [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            concat!(
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
                "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            ),
        ] {
            assert!(has_checksum("abc", published) && !has_checksum("abd", published));
        }
    }

    #[test]
    fn the_checksum_is_over_the_text_without_its_white_space() {
        let compact = r#"{"a \" b":1,"c":"\\ "}"#;
        let of = |algorithm| HEXLOWER.encode(digest::digest(algorithm, compact.as_bytes()).as_ref());
        for algorithm in [&digest::SHA256, &digest::SHA512] {
            assert!(has_checksum(compact, &of(algorithm)));
            assert!(has_checksum("{ \"a \\\" b\" :\t1,\n\"c\":\"\\\\ \" }", &of(algorithm)));
            assert!(!has_checksum(r#"{"a \"b":1,"c":"\\ "}"#, &of(algorithm)));
        }
        assert!(!has_checksum(compact, &of(&digest::SHA384)) && !has_checksum(compact, ""));
    }
}
