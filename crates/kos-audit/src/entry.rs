//! Entries: what is recorded, how it is written, and how the log's key signs it.
//!
//! An entry is one JSON object in the canonical form of RFC 8785, of at most [`ENTRY_BYTES_MAX`] bytes. Its leaf is a
//! COSE_Sign1 over those bytes. `sequence` counts the entries of the log from 1 without a gap, in the order of the
//! leaves: the entry at index `i` says `i + 1`. It stands inside the signature, so that a missing or moved entry can be
//! told from an altered one without help from the tree.
//!
//! What it does not do: hold its own proof (a leaf cannot prove itself), check that the clock was right, or know what
//! the details of an event mean.
//!
//! Errors: a malformed entry of ours is our bug and nothing is written; a leaf that does not verify counts as absent.
//!
//! Source: `docs/spec/audit.md` AUD-1 to AUD-7, AUD-24 to AUD-28; vectors in `tests/vectors/audit`.

use core::{fmt, str::FromStr};

use kos_base::{
    Code, EntryId, KeyId, Timestamp, code,
    cose::{self, CoseError, Purpose},
    id::ParseIdError,
};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    event::{Actor, Details, EventType, Target},
    key::LogKey,
    tree::{TREE_SIZE_MAX, TreeHash, leaf_hash},
};

/// What the signature of a leaf is for.
pub const ENTRY: Purpose = Purpose { domain: "kos audit entry v1", typ: "application/kos-audit-entry+json" };

/// Longest entry, in bytes of JSON; keeps one stranger's message from filling the log.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// Longest leaf, in bytes: an entry and what COSE_Sign1 puts around it.
pub const LEAF_BYTES_MAX: usize = ENTRY_BYTES_MAX + 256;

/// One entry. The fields stand in the order of their JSON keys, which RFC 8785 demands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Who did it.
    pub actor: Actor,
    /// Which run of the authority wrote it.
    pub boot_id: BootId,
    /// What is particular to this event.
    pub details: Details,
    /// What happened.
    pub event_type: EventType,
    /// Its UUIDv7.
    pub id: EntryId,
    /// The key that signs it.
    pub key_id: KeyId,
    /// Its number in the log, from 1.
    pub sequence: Sequence,
    /// To what.
    pub target: Option<Target>,
    /// When, by the authority's clock.
    pub timestamp: Timestamp,
}

/// Why something is not an entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The leaf is not a COSE_Sign1 of the log's key for an entry.
    #[error(transparent)]
    Envelope(#[from] CoseError),
    /// Signed or to be signed by another key than the entry names.
    #[error("entry that names another key than the one that signs it")]
    OtherKey,
    /// Not the JSON of an entry.
    #[error("not an entry: {0}")]
    Malformed(String),
    /// Reads as an entry and would be written differently.
    #[error("entry that is not in canonical form")]
    NotCanonical,
    /// Longer than [`ENTRY_BYTES_MAX`].
    #[error("entry of {bytes} bytes, at most {ENTRY_BYTES_MAX} are allowed")]
    TooLarge {
        /// How long it would be.
        bytes: usize,
    },
}

impl EntryError {
    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) | Self::OtherKey => code::audit::LOG_SIGNATURE,
            Self::Malformed(_) | Self::NotCanonical => code::audit::LOG_ENTRY_MALFORMED,
            Self::TooLarge { .. } => code::audit::LOG_ENTRY_TOO_LARGE,
        }
    }
}

impl Entry {
    /// The canonical JSON.
    ///
    /// # Errors
    /// When it is too large or its id is not a UUIDv7. Shorten the details.
    pub fn to_json(&self) -> Result<Vec<u8>, EntryError> {
        if self.id.uuid().get_version_num() != 7 {
            return Err(EntryError::Malformed("its id is not a UUIDv7".to_owned()));
        }
        let json = serde_json::to_vec(self).map_err(|e| EntryError::Malformed(e.to_string()))?;
        if json.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge { bytes: json.len() });
        }
        Ok(json)
    }

    /// Reads canonical JSON.
    ///
    /// # Errors
    /// When the bytes are anything but what [`Entry::to_json`] writes for the entry that they hold.
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        if json.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge { bytes: json.len() });
        }
        let entry: Self = serde_json::from_slice(json).map_err(|e| EntryError::Malformed(e.to_string()))?;
        if entry.to_json()? == json { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }
}

/// An entry on its way to the log's key.
#[derive(Debug)]
pub struct UnsignedEntry(cose::Unsigned);

impl UnsignedEntry {
    /// Prepares `entry` to be signed by `key`.
    ///
    /// # Errors
    /// When the entry is too large, or names another key.
    pub fn new(entry: &Entry, key: &LogKey) -> Result<Self, EntryError> {
        if entry.key_id != key.id() {
            return Err(EntryError::OtherKey);
        }
        Ok(Self(cose::Unsigned::new(ENTRY, key.public(), entry.to_json()?)))
    }

    /// The bytes that the log's key signs.
    pub fn to_be_signed(&self) -> Vec<u8> {
        self.0.to_be_signed()
    }

    /// The leaf. Whether the signature is right shows when somebody verifies it.
    pub fn finish(self, signature: [u8; 64]) -> SealedEntry {
        SealedEntry(self.0.finish(signature.to_vec()))
    }
}

/// A leaf: an entry with the signature of the log's key, which nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealedEntry(Vec<u8>);

impl SealedEntry {
    /// Takes a leaf over, as read from a store, a bundle or a proof.
    pub const fn from_bytes(leaf: Vec<u8>) -> Self {
        Self(leaf)
    }

    /// The leaf.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its hash in the tree.
    pub fn leaf_hash(&self) -> TreeHash {
        leaf_hash(&self.0)
    }

    /// Reads the entry and checks no signature, for who has another reason to believe the bytes and shows them to nobody.
    ///
    /// # Errors
    /// When it is not a leaf.
    pub fn unverified(&self) -> Result<Entry, EntryError> {
        Entry::from_json(cose::Sealed::parse(&self.0, LEAF_BYTES_MAX)?.unverified_payload())
    }

    /// The JSON of the entry, if the log's key signed it; nobody has read it yet.
    pub fn signed_json(&self, key: &LogKey) -> Option<Vec<u8>> {
        signed_json(&self.0, key).ok()
    }

    /// Checks the signature of the log's key and reads the entry.
    ///
    /// # Errors
    /// When the log's key did not sign it, or what it signed is not an entry. The leaf counts as absent.
    pub fn verify(self, key: &LogKey) -> Result<VerifiedEntry, EntryError> {
        let json = signed_json(&self.0, key)?;
        let entry = Entry::from_json(&json)?;
        if entry.key_id != key.id() {
            return Err(EntryError::OtherKey);
        }
        let signature = self.0.last_chunk().copied().ok_or(CoseError::Shape)?;
        Ok(VerifiedEntry { entry, signature, leaf: self })
    }
}

/// The payload of a leaf that the log's key signed.
pub(crate) fn signed_json(leaf: &[u8], key: &LogKey) -> Result<Vec<u8>, CoseError> {
    cose::Sealed::parse(leaf, LEAF_BYTES_MAX)?.verify(ENTRY, key.public())
}

/// An entry that the log's key signed. Only [`SealedEntry::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEntry {
    entry: Entry,
    signature: [u8; 64],
    leaf: SealedEntry,
}

impl VerifiedEntry {
    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The Ed25519 signature.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The leaf.
    pub const fn leaf(&self) -> &SealedEntry {
        &self.leaf
    }
}

/// An entry's number in its log, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Sequence(u64);

/// The number is not that of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the number of an entry (1 to 2^53 - 1)")]
pub struct SequenceError(u64);

impl Sequence {
    /// The number of the entry at `index`.
    ///
    /// # Errors
    /// When the log has no room for it.
    pub const fn at_index(index: u64) -> Result<Self, SequenceError> {
        if index < TREE_SIZE_MAX { Ok(Self(index + 1)) } else { Err(SequenceError(index)) }
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Where the entry stands in the tree, from 0.
    pub const fn index(self) -> u64 {
        self.0 - 1
    }
}

impl TryFrom<u64> for Sequence {
    type Error = SequenceError;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        if (1..=TREE_SIZE_MAX).contains(&number) { Ok(Self(number)) } else { Err(SequenceError(number)) }
    }
}

impl<'de> Deserialize<'de> for Sequence {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        u64::deserialize(d)?.try_into().map_err(de::Error::custom)
    }
}

/// One run of the authority, from start to end: a UUID drawn at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(EntryId);

impl BootId {
    /// Takes an id over that the shell drew at its start.
    pub const fn new(id: EntryId) -> Self {
        Self(id)
    }
}

impl FromStr for BootId {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use kos_base::{KeyAlgorithm, PublicKey};
    use serde_json::json;

    use super::*;

    fn key(seed: u8) -> (Ed25519KeyPair, LogKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
        (pair, LogKey::new(&"attic".parse().unwrap(), public).unwrap())
    }

    fn entry(text: &str) -> Entry {
        let now = Timestamp::from_unix_ms(1_795_170_000_007);
        let details = json!({"channel": "beta", "text": text});
        Entry {
            actor: Actor::Authority("attic".parse().unwrap()),
            boot_id: BootId::new(EntryId::from_parts(now, [2; 10])),
            details: Details::new(details.as_object().unwrap().clone()).unwrap(),
            event_type: EventType::ChannelChanged,
            id: EntryId::from_parts(now, [1; 10]),
            key_id: key(1).1.id(),
            sequence: Sequence::try_from(7).unwrap(),
            target: Some(Target::Device("kdev-7f4ac30123456789".parse().unwrap())),
            timestamp: now,
        }
    }

    fn sealed(entry: &Entry) -> SealedEntry {
        let (pair, log_key) = key(1);
        let unsigned = UnsignedEntry::new(entry, &log_key).unwrap();
        let signature = pair.sign(&unsigned.to_be_signed());
        unsigned.finish(signature.as_ref().try_into().unwrap())
    }

    #[test]
    fn a_signed_entry_is_read_back() {
        let entry = entry("x");
        let verified = sealed(&entry).verify(&key(1).1).unwrap();
        assert_eq!(verified.entry(), &entry);
        assert_eq!((entry.sequence.index(), Sequence::at_index(6)), (6, Ok(entry.sequence)));
        let refused = sealed(&entry).verify(&key(2).1);
        assert_eq!(refused, Err(EntryError::Envelope(CoseError::OtherKey)));
        assert_eq!(UnsignedEntry::new(&entry, &key(2).1).unwrap_err(), EntryError::OtherKey);
    }

    #[test]
    fn no_changed_byte_gets_through() {
        let leaf = sealed(&entry("x"));
        for at in 0..leaf.0.len() {
            let mut changed = leaf.clone();
            changed.0[at] ^= 1;
            assert!(changed.verify(&key(1).1).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_entry_of_the_largest_size_fits_and_no_larger_one() {
        let overhead = entry("").to_json().unwrap().len();
        let largest = entry(&"x".repeat(ENTRY_BYTES_MAX - overhead));
        assert!(sealed(&largest).verify(&key(1).1).is_ok());
        let larger = entry(&"x".repeat(ENTRY_BYTES_MAX - overhead + 1));
        assert_eq!(larger.to_json(), Err(EntryError::TooLarge { bytes: ENTRY_BYTES_MAX + 1 }));
    }

    #[test]
    fn json_in_any_other_form_is_refused() {
        let json = String::from_utf8(entry("x").to_json().unwrap()).unwrap();
        assert!(Entry::from_json(json.as_bytes()).is_ok());
        for (from, to) in [
            ("{\"actor\"", "{ \"actor\""),
            ("\"text\":\"x\"", "\"text\":\"\\u0078\""),
            ("\"text\":\"x\"", "\"text\":\"x\",\"text\":\"x\""),
            ("\"channel\":\"beta\",\"text\":\"x\"", "\"text\":\"x\",\"channel\":\"beta\""),
            ("\"sequence\":7", "\"sequence\":7.0"),
            ("\"sequence\":7", "\"sequence\":0"),
            ("\"sequence\":7", "\"sequence\":9007199254740992"),
            ("\"sequence\":7,", ""),
            ("\"sequence\":7", "\"sequence\":7,\"size\":1"),
            (".007Z", "Z"),
            (".007Z", ".007+00:00"),
            ("channel_changed", "channel_moved"),
            ("-7101-8101-010101010101", "-4101-8101-010101010101"),
        ] {
            assert!(json.contains(from), "{from}");
            let bent = json.replacen(from, to, 1);
            let refused = Entry::from_json(bent.as_bytes());
            assert!(matches!(refused, Err(EntryError::Malformed(_) | EntryError::NotCanonical)), "{bent}");
        }
        let without_target =
            json.replace(",\"target\":{\"id\":\"kdev-7f4ac30123456789\",\"type\":\"device\"}", "");
        assert_eq!(Entry::from_json(without_target.as_bytes()), Err(EntryError::NotCanonical));
    }
}
