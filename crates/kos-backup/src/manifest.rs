//! What stands in a backup: the names that files can have, and the list of those that are there.

use core::{fmt, str::FromStr};

use kos_base::{AuthorityName, Timestamp};
use serde::{Deserialize, Serialize, de};

/// What a file in a backup is called: a path with `/` below the folder of the authority.
///
/// Settings, store, a file of the folder of keys, the sealed file of a vault, or a file of the log in C2SP's layout. Nothing else has a name, so nothing else
/// can be put anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(String);

/// Longest name, in bytes: tar's own limit without extensions.
const NAME_BYTES_MAX: usize = 100;

impl Member {
    /// The name of the manifest, which is no member.
    pub(crate) const MANIFEST: &str = "backup.json";

    /// The path, relative and without any `.` or `..`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody but the owner may read it.
    pub fn is_private(&self) -> bool {
        !self.0.starts_with("log/")
    }
}

/// A name that no file of a backup has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no file of a backup")]
pub struct ParseMemberError(String);

impl FromStr for Member {
    type Err = ParseMemberError;

    fn from_str(text: &str) -> Result<Self, ParseMemberError> {
        let plain = |part: &str| {
            let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !part.is_empty() && part.bytes().all(ordinary) && !part.starts_with('.')
        };
        let known = match text.split_once('/') {
            None => matches!(text, "authority.yaml" | "store.db"),
            Some(("keys", name)) => !name.contains('/'),
            Some(("vaults", name)) => name.ends_with(".json") && !name.contains('/'),
            Some(("log", rest)) => rest == "checkpoint" || rest.starts_with("tile/"),
            Some(_) => false,
        };
        if known && text.len() <= NAME_BYTES_MAX && text.split('/').all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseMemberError(kos_base::text::printable(text, NAME_BYTES_MAX)))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Member {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// What a backup holds and of what. Written last, since only then the digests are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`Manifest::VERSION`].
    pub version: u32,
    /// Whose it is.
    pub authority: AuthorityName,
    /// When the state was taken.
    pub created_at: Timestamp,
    /// Version of the program that wrote it.
    pub program: String,
    /// How many entries the log had.
    pub log_size: u64,
    /// The key that signs the log, as verifiers read it.
    pub log_key: String,
    /// Every other file, in the order in which it stands there.
    pub files: Vec<Content>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// What it is called.
    pub name: Member,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// The version of the format that this program writes. In the first, every key was a file of its own (BAK-16).
    pub const VERSION: u32 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_an_authority_have_names() {
        for good in ["authority.yaml", "store.db", "keys/machine.json", "keys/SHA256SUMS", "log/checkpoint"] {
            assert_eq!(good.parse::<Member>().map(|m| m.to_string()), Ok(good.to_owned()));
        }
        assert!("vaults/people-2.json".parse::<Member>().is_ok_and(|member| member.is_private()));
        assert!("log/tile/0/x001/067.p/12".parse::<Member>().is_ok());
        assert!("log/tile/entries/000".parse::<Member>().is_ok());
        for bad in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "store.db/",
            "./store.db",
            "keys",
            "keys/",
            "keys/../store.db",
            "keys/a/b",
            "vaults",
            "vaults/",
            "vaults/.json",
            "vaults/a/b.json",
            "vaults/people.json.aside",
            "keys/.hidden",
            "log",
            "log/",
            "log/other",
            "log/tile/../../x",
            "run/authority.sock",
            "backup.json",
            "keys/a b",
            "log/tile//0",
            "keys/\u{202e}",
        ] {
            assert!(bad.parse::<Member>().is_err(), "{bad:?}");
        }
        assert!(format!("keys/{}", "x".repeat(100)).parse::<Member>().is_err());
    }
}
