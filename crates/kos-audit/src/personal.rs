//! Values about people, sealed so that they can be erased while the entry stays provable.
//!
//! A value is sealed under the key of its subject: a person, a user account, a network peer. The key lies outside the
//! log. Who destroys it makes the value unreadable for ever; the leaf, its signature and every proof stay as they are,
//! because they are over the sealed form.
//!
//! AES-256-GCM; the associated data bind subject, entry and place, so that a sealed value read anywhere else does not
//! open. The subject's id is a hash of the key: GCM alone would let the writer prepare one box with two contents under
//! two keys, and name another person to each reader. Plaintext is padded to multiples of 32 bytes, so that a
//! length does not tell a name.
//!
//! What it does not do: keep keys, draw nonces, hide which entries are of the same subject.
//!
//! Source: `docs/spec/audit.md` AUD-17 to AUD-23, with the argument; vectors in `tests/vectors/audit/personal`.

use core::{fmt, str::FromStr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use data_encoding::BASE64URL_NOPAD;
use kos_base::{
    Code, EntryId, Secret, code,
    digest::{Sha256, sha256_parts},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Plaintext is padded to multiples of this many bytes.
const BLOCK_BYTES: usize = 32;

/// Longest text that can be sealed, in bytes; keeps one value from filling an entry.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Ends the text, before the zeros that pad it.
const END: u8 = 0x80;

const SUBJECT_DOMAIN: &str = "kos audit subject v1";
const VALUE_DOMAIN: &str = "kos audit personal v1";

/// A sealed text and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    #[serde(with = "base64url")]
    sealed: Vec<u8>,
    subject: SubjectId,
}

/// Where in an entry a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The id of the actor.
    Actor,
    /// The id of the target.
    Target,
    /// The detail of this name.
    Detail(&'a str),
}

/// Why a value could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonalError {
    /// The key is not that of the value's subject: another one, or a new one after the old was erased.
    #[error("the key is not the one that the value was sealed under")]
    OtherKey,
    /// Not sealed for this place of this entry, or changed since.
    #[error("the sealed value was not made for this place of this entry")]
    Mismatch,
    /// Longer than can be sealed.
    #[error("a text of {bytes} bytes, at most {TEXT_BYTES_MAX} can be sealed")]
    TooLong {
        /// What was given.
        bytes: usize,
    },
}

impl PersonalError {
    /// Its code.
    pub const fn code(self) -> Code {
        match self {
            Self::OtherKey => code::audit::LOG_VALUE_ERASED,
            Self::Mismatch => code::audit::LOG_EDITED,
            Self::TooLong { .. } => code::audit::LOG_ENTRY_TOO_LARGE,
        }
    }
}

impl Personal {
    /// Seals `text` for one place of one entry. The shell draws `nonce` at random, anew for every value.
    ///
    /// # Errors
    /// When the text is too long; cut it.
    pub fn seal(
        text: &str,
        key: &SubjectKey,
        nonce: [u8; NONCE_LEN],
        entry: EntryId,
        place: Place<'_>,
    ) -> Result<Self, PersonalError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(PersonalError::TooLong { bytes: text.len() });
        }
        let subject = key.subject();
        let mut body = Vec::with_capacity(text.len() + BLOCK_BYTES + AES_256_GCM.tag_len());
        body.extend_from_slice(text.as_bytes());
        body.push(END);
        body.resize(body.len().next_multiple_of(BLOCK_BYTES), 0);
        key.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(&subject, entry, place),
                &mut body,
            )
            .map_err(|_| PersonalError::Mismatch)?;
        let sealed = [nonce.as_slice(), body.as_slice()].concat();
        Ok(Self { sealed, subject })
    }

    /// The text, for whoever still has the key.
    ///
    /// # Errors
    /// When the key is another one (the value counts as erased), or the value was made for another place.
    pub fn open(&self, key: &SubjectKey, entry: EntryId, place: Place<'_>) -> Result<String, PersonalError> {
        if key.subject() != self.subject {
            return Err(PersonalError::OtherKey);
        }
        let (nonce, body) = self.sealed.split_at_checked(NONCE_LEN).ok_or(PersonalError::Mismatch)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| PersonalError::Mismatch)?;
        let mut body = body.to_vec();
        let padded = key
            .cipher()?
            .open_in_place(nonce, associated(&self.subject, entry, place), &mut body)
            .map_err(|_| PersonalError::Mismatch)?;
        let unpadded = padded.iter().rposition(|b| *b != 0).and_then(|last| padded.get(..=last));
        let text = unpadded.and_then(|unpadded| unpadded.strip_suffix(&[END]));
        let text = text.and_then(|text| core::str::from_utf8(text).ok());
        text.map(str::to_owned).ok_or(PersonalError::Mismatch)
    }

    /// Whose it is, to look up the key.
    pub const fn subject(&self) -> SubjectId {
        self.subject
    }

    pub(crate) fn to_json(&self) -> Value {
        let members = [
            ("sealed".to_owned(), Value::String(BASE64URL_NOPAD.encode(&self.sealed))),
            ("subject".to_owned(), Value::String(self.subject.to_string())),
        ];
        Value::Object(members.into_iter().collect())
    }
}

fn associated(subject: &SubjectId, entry: EntryId, place: Place<'_>) -> Aad<Sha256> {
    let (kind, name) = match place {
        Place::Actor => ("actor", ""),
        Place::Target => ("target", ""),
        Place::Detail(name) => ("detail", name),
    };
    let parts = [subject.0.as_slice(), entry.as_bytes(), kind.as_bytes(), name.as_bytes()];
    Aad::from(sha256_parts(VALUE_DOMAIN, parts))
}

/// The key of one subject: 256 random bits, kept outside the log and destroyed to erase.
#[derive(Debug)]
pub struct SubjectKey(Secret<32>);

impl SubjectKey {
    /// Takes 32 bytes over that the shell drew at random or unwrapped.
    pub const fn new(bytes: Secret<32>) -> Self {
        Self(bytes)
    }

    /// Whose key it is. Commits to the key, and tells nothing about it or the person.
    pub fn subject(&self) -> SubjectId {
        SubjectId(sha256_parts(SUBJECT_DOMAIN, [self.0.expose().as_slice()]))
    }

    fn cipher(&self) -> Result<LessSafeKey, PersonalError> {
        let key = UnboundKey::new(&AES_256_GCM, self.0.expose());
        key.map(LessSafeKey::new).map_err(|_| PersonalError::OtherKey)
    }
}

/// Whose a value is: a hash of the subject's key, written as 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId(Sha256);

impl SubjectId {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text is not a subject's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a subject (43 characters of base64url)")]
pub struct ParseSubjectError;

impl FromStr for SubjectId {
    type Err = ParseSubjectError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bytes = BASE64URL_NOPAD.decode(s.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseSubjectError)
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl Serialize for SubjectId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

mod base64url {
    use data_encoding::BASE64URL_NOPAD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&BASE64URL_NOPAD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        BASE64URL_NOPAD.decode(String::deserialize(d)?.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use kos_base::Timestamp;

    use super::*;

    fn key(byte: u8) -> SubjectKey {
        SubjectKey::new(Secret::new([byte; 32]))
    }

    fn entry(n: u8) -> EntryId {
        EntryId::from_parts(Timestamp::from_unix_ms(1_795_170_000_007), [n; 10])
    }

    fn sealed(text: &str) -> Personal {
        Personal::seal(text, &key(1), [9; 12], entry(1), Place::Actor).unwrap()
    }

    #[test]
    fn a_sealed_text_opens_in_its_place_and_nowhere_else() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        for text in ["", "anna", "Zoë\u{80}", longest.as_str()] {
            assert_eq!(sealed(text).open(&key(1), entry(1), Place::Actor).as_deref(), Ok(text));
        }
        let value = sealed("anna");
        assert_eq!(value.open(&key(1), entry(2), Place::Actor), Err(PersonalError::Mismatch));
        assert_eq!(value.open(&key(1), entry(1), Place::Target), Err(PersonalError::Mismatch));
        assert_eq!(value.open(&key(1), entry(1), Place::Detail("actor")), Err(PersonalError::Mismatch));
        assert_eq!(value.open(&key(2), entry(1), Place::Actor), Err(PersonalError::OtherKey));
    }

    #[test]
    fn no_changed_byte_opens() {
        let value = sealed("anna");
        for at in 0..value.sealed.len() {
            let mut changed = value.clone();
            changed.sealed[at] ^= 1;
            assert_eq!(
                changed.open(&key(1), entry(1), Place::Actor),
                Err(PersonalError::Mismatch),
                "byte {at}"
            );
        }
        let short = Personal { sealed: vec![0; 11], ..value };
        assert_eq!(short.open(&key(1), entry(1), Place::Actor), Err(PersonalError::Mismatch));
    }

    #[test]
    fn the_length_of_a_name_does_not_show() {
        let bytes = |text: &str| sealed(text).sealed.len();
        assert_eq!(bytes("a"), bytes(&"a".repeat(31)));
        assert_ne!(bytes("a"), bytes(&"a".repeat(32)));
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let refused = Personal::seal(&long, &key(1), [9; 12], entry(1), Place::Actor);
        assert_eq!(refused, Err(PersonalError::TooLong { bytes: 1025 }));
    }
}
