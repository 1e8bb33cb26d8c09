//! Entries and their versions in JSON.

use kos_base::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    text::{Base64, Base64Bytes, present},
    time,
};
use crate::{
    VERSIONS_MAX, VaultError,
    version::{Facts, Record, Version},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EntryShape {
    ciphertext: Base64Bytes,
    iv: Base64<12>,
    tag: Base64<16>,
    metadata: MetadataShape,
    version_number: u64,
    salt: Base64<32>,
    history: Vec<PastShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PastShape {
    ciphertext: Base64Bytes,
    iv: Base64<12>,
    tag: Base64<16>,
    metadata: PastMetadataShape,
    version_number: u64,
    salt: Base64<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MetadataShape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) created: u64,
    pub(crate) last_accessed: u64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PastMetadataShape {
    #[serde(rename = "type")]
    kind: String,
    created: u64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

impl EntryShape {
    pub(super) fn read(self) -> Result<Record, VaultError> {
        if self.history.len() >= VERSIONS_MAX {
            return Err(VaultError::malformed("an entry with more than 10 versions"));
        }
        let MetadataShape { kind, created, last_accessed, expires_at } = self.metadata;
        let newest = PastShape {
            ciphertext: self.ciphertext,
            iv: self.iv,
            tag: self.tag,
            metadata: PastMetadataShape { kind, created, expires_at },
            version_number: self.version_number,
            salt: self.salt,
        };
        let all = self.history.into_iter().chain([newest]);
        let versions: Vec<Version> = all.map(PastShape::read).collect::<Result<_, _>>()?;
        if !versions.is_sorted_by(|older, newer| older.facts.number < newer.facts.number) {
            return Err(VaultError::malformed("versions of an entry that do not rise"));
        }
        Ok(Record { last_accessed: time(last_accessed)?, versions })
    }

    pub(super) fn of(record: &Record) -> Option<Self> {
        let (newest, past) = record.versions.split_last()?;
        Some(Self {
            ciphertext: Base64Bytes(newest.ciphertext.clone()),
            iv: Base64(newest.iv),
            tag: Base64(newest.tag),
            metadata: MetadataShape {
                kind: newest.facts.kind.to_string(),
                created: newest.facts.created.unix_ms(),
                last_accessed: record.last_accessed.unix_ms(),
                expires_at: newest.facts.expires.map(Timestamp::unix_ms),
            },
            version_number: newest.facts.number,
            salt: Base64(newest.salt),
            history: past.iter().map(PastShape::of).collect(),
        })
    }
}

impl PastShape {
    fn read(self) -> Result<Version, VaultError> {
        Ok(Version {
            facts: facts(
                self.version_number,
                &self.metadata.kind,
                self.metadata.created,
                self.metadata.expires_at,
            )?,
            salt: self.salt.0,
            iv: self.iv.0,
            ciphertext: self.ciphertext.0,
            tag: self.tag.0,
        })
    }

    fn of(version: &Version) -> Self {
        Self {
            ciphertext: Base64Bytes(version.ciphertext.clone()),
            iv: Base64(version.iv),
            tag: Base64(version.tag),
            metadata: PastMetadataShape {
                kind: version.facts.kind.to_string(),
                created: version.facts.created.unix_ms(),
                expires_at: version.facts.expires.map(Timestamp::unix_ms),
            },
            version_number: version.facts.number,
            salt: Base64(version.salt),
        }
    }
}

fn facts(number: u64, kind: &str, created: u64, expires: Option<u64>) -> Result<Facts, VaultError> {
    if number == 0 {
        return Err(VaultError::malformed("`versionNumber` is 0"));
    }
    Ok(Facts {
        number,
        kind: kind.parse()?,
        created: time(created)?,
        expires: expires.map(time).transpose()?,
    })
}
