//! The public keys that a reader of a log trusts, as C2SP verifier keys (AUD-46 to AUD-50).
//!
//! A verifier key is `NAME+ID+KEY`: the name that stands in signature lines, the key id in eight hex characters, and
//! base64 of a type byte and the raw key. The id is a lookup aid of 32 bits; trust rests on the whole key.

use core::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use kos_base::{
    AuthorityName, Code, DeviceId, KeyAlgorithm, KeyId, PublicKey, code,
    digest::sha256,
    text::{base64, printable},
};

use crate::witness::WITNESS_NAME_BYTES_MAX;

/// Signature types of C2SP notes that kOS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKeyType {
    /// Ed25519 over the note's text.
    Ed25519,
    /// Ed25519 over the note's text with a time in front: a witness's cosignature of a checkpoint.
    Cosignature,
}

impl NoteKeyType {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }
}

/// The text is not a verifier key that can be used for what it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not three parts of name, id and key.
    #[error("not a verifier key (`NAME+ID+KEY`)")]
    Malformed,
    /// The id is not that of the name and key.
    #[error("verifier key whose id does not fit its name and key")]
    Id,
    /// Not the type of key that was asked for.
    #[error("verifier key of another type")]
    Type,
    /// The name is not that of a log of kOS.
    #[error("verifier key whose name is neither `AUTHORITY/klog` nor `AUTHORITY/DEVICE/klog`")]
    Name,
}

impl VerifierKeyError {
    /// Its code.
    pub const fn code(self) -> Code {
        code::audit::LOG_VERIFIER_KEY
    }
}

/// Name of a log: the authority's name and `/klog`, or with a device id between them, for the log of a device (DLG-2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    const SUFFIX: &'static str = "/klog";

    /// The log of `authority`.
    pub fn of(authority: &AuthorityName) -> Self {
        Self(format!("{authority}{}", Self::SUFFIX))
    }

    /// The log of a device of `authority`.
    pub fn of_device(authority: &AuthorityName, device: &DeviceId) -> Self {
        Self(format!("{authority}/{device}{}", Self::SUFFIX))
    }

    /// As it stands in the first line of a checkpoint.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = VerifierKeyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let owner = s.strip_suffix(Self::SUFFIX).ok_or(VerifierKeyError::Name)?;
        let (authority, device) = owner.split_once('/').map_or((owner, None), |(a, d)| (a, Some(d)));
        let is_device = |id: &str| id.parse::<DeviceId>().is_ok_and(|read| read.as_ref() == id);
        let holds = authority.parse::<AuthorityName>().is_ok() && device.is_none_or(is_device);
        if holds { Ok(Self(s.to_owned())) } else { Err(VerifierKeyError::Name) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of one log: signs its entries and its checkpoints, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    origin: Origin,
    note: NoteKey,
}

impl LogKey {
    /// The key `public` of the log of `authority`.
    ///
    /// # Errors
    /// When the key is not Ed25519.
    pub fn new(authority: &AuthorityName, public: PublicKey) -> Result<Self, VerifierKeyError> {
        Self::named(Origin::of(authority), public)
    }

    /// The key `public` of the log of a device of `authority`.
    ///
    /// # Errors
    /// When the key is not Ed25519.
    pub fn of_device(
        authority: &AuthorityName,
        device: &DeviceId,
        public: PublicKey,
    ) -> Result<Self, VerifierKeyError> {
        Self::named(Origin::of_device(authority, device), public)
    }

    fn named(origin: Origin, public: PublicKey) -> Result<Self, VerifierKeyError> {
        let note = NoteKey::new(origin.as_str(), NoteKeyType::Ed25519, public)?;
        Ok(Self { origin, note })
    }

    /// The log.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that verifies entries and checkpoints.
    pub const fn public(&self) -> &PublicKey {
        &self.note.public
    }

    /// SHA-256 of the SubjectPublicKeyInfo, as entries name it.
    pub fn id(&self) -> KeyId {
        self.note.public.id()
    }

    pub(crate) const fn note(&self) -> &NoteKey {
        &self.note
    }
}

impl FromStr for LogKey {
    type Err = VerifierKeyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let note = NoteKey::parse(s, NoteKeyType::Ed25519)?;
        Ok(Self { origin: note.name.parse()?, note })
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

/// The key of any C2SP log, whatever its origin is called: what a witness of foreign logs trusts. The name of the key is
/// the origin (AUD-90).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyLogKey(NoteKey);

impl AnyLogKey {
    /// The log.
    pub fn origin(&self) -> &str {
        &self.0.name
    }

    /// The key that verifies its checkpoints.
    pub const fn public(&self) -> &PublicKey {
        &self.0.public
    }

    pub(crate) const fn note(&self) -> &NoteKey {
        &self.0
    }
}

impl From<&LogKey> for AnyLogKey {
    fn from(key: &LogKey) -> Self {
        Self(key.note.clone())
    }
}

impl FromStr for AnyLogKey {
    type Err = VerifierKeyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        NoteKey::parse(s, NoteKeyType::Ed25519).map(Self)
    }
}

impl fmt::Display for AnyLogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key of a witness: somebody who cosigns a log's checkpoints and never two that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey(NoteKey);

impl WitnessKey {
    /// The key `public` of the witness `name`.
    ///
    /// # Errors
    /// When the name cannot stand in a signature line, or the key is not Ed25519.
    pub fn new(name: &str, public: PublicKey) -> Result<Self, VerifierKeyError> {
        NoteKey::new(name, NoteKeyType::Cosignature, public).map(Self)
    }

    /// The witness.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The key that verifies its cosignatures.
    pub const fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// Whether a log may have it as a witness: the name is short and ASCII.
    pub fn may_cosign(&self) -> bool {
        self.name().is_ascii() && self.name().len() <= WITNESS_NAME_BYTES_MAX
    }

    pub(crate) const fn note(&self) -> &NoteKey {
        &self.0
    }
}

impl FromStr for WitnessKey {
    type Err = VerifierKeyError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        NoteKey::parse(s, NoteKeyType::Cosignature).map(Self)
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key under the name and id by which signature lines call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoteKey {
    name: String,
    id: [u8; 4],
    key_type: NoteKeyType,
    public: PublicKey,
}

impl NoteKey {
    fn new(name: &str, key_type: NoteKeyType, public: PublicKey) -> Result<Self, VerifierKeyError> {
        if !is_key_name(name) {
            return Err(VerifierKeyError::Malformed);
        }
        if public.algorithm() != KeyAlgorithm::Ed25519 {
            return Err(VerifierKeyError::Type);
        }
        let hashed = [name.as_bytes(), b"\n", &[key_type.byte()], public.raw()].concat();
        let [a, b, c, d, ..] = sha256(&hashed);
        Ok(Self { name: name.to_owned(), id: [a, b, c, d], key_type, public })
    }

    fn parse(text: &str, key_type: NoteKeyType) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Malformed);
        };
        let key = base64(key).ok_or(VerifierKeyError::Malformed)?;
        let (type_byte, raw) = key.split_first().ok_or(VerifierKeyError::Malformed)?;
        if *type_byte != key_type.byte() {
            return Err(VerifierKeyError::Type);
        }
        let public =
            PublicKey::from_raw(KeyAlgorithm::Ed25519, raw).map_err(|_| VerifierKeyError::Malformed)?;
        let key = Self::new(name, key_type, public)?;
        if HEXLOWER.encode(&key.id) == id { Ok(key) } else { Err(VerifierKeyError::Id) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn id(&self) -> [u8; 4] {
        self.id
    }

    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.key_type.byte()], self.public.raw()].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id), BASE64.encode(&key))
    }
}

/// Whether `name` can stand in a signature line: not empty, no spaces, no `+`, nothing that deceives on a terminal.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| c.is_whitespace() || c == '+')
        && printable(name, 255) == name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of C2SP signed-note.
    const PUBLISHED: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn check(text: &str, want: Result<(), VerifierKeyError>) {
        assert_eq!(text.parse::<LogKey>().map(drop), want, "{text}");
    }

    #[test]
    fn the_published_verifier_key_is_read_back() {
        let key = NoteKey::parse(PUBLISHED, NoteKeyType::Ed25519).unwrap();
        assert_eq!((key.name(), key.to_string().as_str()), ("example.com/foo", PUBLISHED));
        check(PUBLISHED, Err(VerifierKeyError::Name));
    }

    #[test]
    fn the_published_note_verifies_by_the_published_key() {
        let line = "\u{2014} example.com/foo \
            Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
        let key = NoteKey::parse(PUBLISHED, NoteKeyType::Ed25519).unwrap();
        let judged = |text: &str| {
            let note = crate::note::Note::parse(&format!("{text}\n{line}")).unwrap();
            note.verified_text(&key).map(str::to_owned)
        };
        let text = "This is an example message.\n";
        assert_eq!(judged(text).as_deref(), Some(text));
        assert_eq!(judged("This is an exemple message.\n"), None);
    }

    #[test]
    fn the_key_of_a_log_is_read_back() {
        let public = NoteKey::parse(PUBLISHED, NoteKeyType::Ed25519).unwrap().public;
        let key = LogKey::new(&"attic".parse().unwrap(), public.clone()).unwrap();
        assert_eq!(key.origin().as_str(), "attic/klog");
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let witness = WitnessKey::new("attic/klog", public).unwrap();
        assert_eq!(witness.to_string().parse(), Ok(witness.clone()));
        assert_ne!(witness.note().id(), key.note().id());
        check(&witness.to_string(), Err(VerifierKeyError::Type));
    }

    #[test]
    fn verifier_keys_of_any_other_form_are_refused() {
        use VerifierKeyError::{Id, Malformed, Type};
        for (text, why) in [
            ("", Malformed),
            ("attic/klog+530d903a", Malformed),
            ("attic/klog+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", Malformed),
            ("attic/klog+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv", Malformed),
            ("attic/klog+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", Type),
            ("attic/klog+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", Id),
            ("a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", Malformed),
            ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", Malformed),
        ] {
            check(text, Err(why));
        }
    }
}
