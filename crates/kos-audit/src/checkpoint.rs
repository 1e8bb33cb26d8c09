//! Checkpoints: the log's key signs how many entries there are and what the root of their tree is.
//!
//! The text has four lines: origin, size, root in base64, and `time` with the moment of signing. The first three are
//! C2SP's tlog-checkpoint; the fourth is an extension line. Later extension lines are kept, signed, and not read.
//!
//! The time is the log's own word and decides nothing: two checkpoints are compared by size and root alone. A witness's
//! cosignature has a time of its own, which the witness answers for.
//!
//! Source: C2SP tlog-checkpoint v1.0.0 and tlog-cosignature v1.0.0; `docs/spec/audit.md` AUD-51 to AUD-57; vectors in
//! `tests/vectors/audit`.

use core::fmt;

use kos_base::{Code, PublicKey, Timestamp, code, key::SignatureForm};

use crate::{
    key::{LogKey, Origin, WitnessKey},
    note::{Note, NoteError},
    tree::{TREE_SIZE_MAX, TreeHash, TreeHead},
};

const TIME: &str = "time ";

/// Bytes of a cosignature: a time in seconds and an Ed25519 signature.
const COSIGNATURE_BYTES: usize = 8 + 64;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many entries, and the root of their tree.
    pub head: TreeHead,
    /// When it was signed, by the log's own word.
    pub time: Timestamp,
}

/// Why a text is not a checkpoint of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Signed by the log, and not the text of a checkpoint of this log.
    #[error("signed text that is not a checkpoint of this log")]
    Malformed,
    /// The log's key did not sign it.
    #[error("checkpoint that the log's key did not sign")]
    Signature,
    /// A known witness's cosignature does not verify.
    #[error("checkpoint with a witness's cosignature that does not verify")]
    Cosignature,
}

impl CheckpointError {
    /// Its code.
    pub const fn code(self) -> Code {
        match self {
            Self::Note(NoteError::Cut) => code::audit::LOG_TORN,
            _ => code::audit::LOG_CHECKPOINT,
        }
    }
}

impl Checkpoint {
    /// What the log's key signs.
    pub fn to_be_signed(&self) -> String {
        let Self { origin, head, time } = self;
        format!("{origin}\n{}\n{}\n{TIME}{time}\n", head.size, head.root.to_base64())
    }

    /// The signed note. Whether the signature is right shows when somebody verifies it.
    pub fn finish(&self, key: &LogKey, signature: [u8; 64]) -> SignedCheckpoint {
        SignedCheckpoint(Note::signed(self.to_be_signed(), key.note(), signature))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next()?.parse().ok()?;
        let size = decimal(lines.next()?)?;
        let root = TreeHash::from_base64(lines.next()?)?;
        let time: &str = lines.next()?.strip_prefix(TIME)?;
        let read: Timestamp = time.parse().ok()?;
        let extensions_hold = lines.all(|line| !line.is_empty());
        let canonical = read.to_string() == time && (size > 0 || root == TreeHash::EMPTY);
        let well_formed = extensions_hold && canonical && size <= TREE_SIZE_MAX;
        well_formed.then_some(Self { origin, head: TreeHead { size, root }, time: read })
    }
}

/// A number as notes and proofs write it: digits without a zero in front.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if digits { text.parse().ok() } else { None }
}

/// A checkpoint whose form is right and whose signatures nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint(Note);

impl SignedCheckpoint {
    /// Reads a signed note.
    ///
    /// # Errors
    /// When the text is not one; get it again.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        Note::parse(text).map(Self)
    }

    /// Checks the log's signature and the cosignatures of those of `witnesses` that gave one.
    ///
    /// # Errors
    /// When the log's key did not sign it, a known witness's line does not verify, or what was signed is not a
    /// checkpoint of this log. Keep it as evidence and get another.
    ///
    /// Cost: one signature check, and one a known witness's line.
    pub fn verify(
        self,
        key: &LogKey,
        witnesses: &[WitnessKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let text = self.0.verified_text(key.note()).ok_or(CheckpointError::Signature)?;
        let checkpoint = Checkpoint::parse(text).ok_or(CheckpointError::Malformed)?;
        if &checkpoint.origin != key.origin() {
            return Err(CheckpointError::Malformed);
        }
        let mut witnessed_by = Vec::new();
        let mut counted: Vec<&PublicKey> = Vec::new();
        for witness in witnesses {
            for line in self.0.signatures_of(witness.note()) {
                if cosigned_at(text, witness, &line.signature).is_none() {
                    return Err(CheckpointError::Cosignature);
                }
                // One key counts once, under however many names and in however many lines.
                if !counted.contains(&witness.public()) {
                    counted.push(witness.public());
                    witnessed_by.push(witness.name().to_owned());
                }
            }
        }
        Ok(VerifiedCheckpoint { checkpoint, witnessed_by, signed: self })
    }

    /// The same checkpoint with the lines that a witness answered below its own.
    ///
    /// # Errors
    /// When they are no signature lines.
    pub fn with_lines(&self, lines: &str) -> Result<Self, NoteError> {
        self.0.with_lines(lines).map(Self)
    }

    pub(crate) const fn note(&self) -> &Note {
        &self.0
    }

    /// The newest line of `witness` that verifies, and the time that it names.
    pub fn cosignature_of(&self, witness: &WitnessKey) -> Option<(String, Timestamp)> {
        let lines = self.0.signatures_of(witness.note());
        let verified = lines.filter_map(|line| {
            let at = cosigned_at(self.0.unverified_text(), witness, &line.signature)?;
            Some((line.to_string(), Timestamp::from_unix_s(at)))
        });
        verified.max_by_key(|(_, at)| *at)
    }
}

/// Latest time of a cosignature, in seconds: what fits into our milliseconds, far below the 2^63 - 1 of the format.
const COSIGNED_AT_MAX: u64 = u64::MAX / 1_000;

/// What a witness signs at `seconds` over the text of a checkpoint.
pub(crate) fn cosigned_message(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

/// The bytes of a cosignature.
pub(crate) fn cosignature_bytes(seconds: u64, signature: [u8; 64]) -> Vec<u8> {
    [seconds.to_be_bytes().as_slice(), &signature].concat()
}

/// The time that `cosignature` names, if it is the witness's over `text` at that time.
fn cosigned_at(text: &str, witness: &WitnessKey, cosignature: &[u8]) -> Option<u64> {
    let parts = cosignature.split_first_chunk::<8>().filter(|_| cosignature.len() == COSIGNATURE_BYTES);
    let (time, signature) = parts?;
    let seconds = u64::from_be_bytes(*time);
    let message = cosigned_message(text, seconds);
    let verified = witness.public().verify(SignatureForm::Fixed, message.as_bytes(), signature);
    verified.ok().map(|()| seconds).filter(|seconds| (1..=COSIGNED_AT_MAX).contains(seconds))
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A checkpoint that the log's key signed. Only [`SignedCheckpoint::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    witnessed_by: Vec<String>,
    signed: SignedCheckpoint,
}

impl VerifiedCheckpoint {
    /// What it says.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub const fn head(&self) -> &TreeHead {
        &self.checkpoint.head
    }

    /// Names of the known witnesses that cosigned it.
    pub fn witnessed_by(&self) -> &[String] {
        &self.witnessed_by
    }

    /// The note itself.
    pub const fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use data_encoding::BASE64;
    use kos_base::{KeyAlgorithm, PublicKey};

    use super::*;

    const AT: &str = "2026-11-20T10:20:00.007Z";

    fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
        (pair, public)
    }

    fn log_key(seed: u8) -> LogKey {
        LogKey::new(&"attic".parse().unwrap(), pair(seed).1).unwrap()
    }

    fn signed(text: &str) -> Note {
        let signature = pair(1).0.sign(text.as_bytes()).as_ref().try_into().unwrap();
        Note::signed(text.to_owned(), log_key(1).note(), signature)
    }

    fn check(text: &str, want: Result<(), CheckpointError>) {
        let note = signed(text).to_string();
        let verified = SignedCheckpoint::parse(&note).unwrap().verify(&log_key(1), &[]);
        assert_eq!(verified.map(drop), want, "{text}");
    }

    #[test]
    fn a_checkpoint_is_read_back() {
        let checkpoint = Checkpoint {
            origin: log_key(1).origin().clone(),
            head: TreeHead { size: 7, root: TreeHash::from_bytes([7; 32]) },
            time: AT.parse().unwrap(),
        };
        let signature = pair(1).0.sign(checkpoint.to_be_signed().as_bytes());
        let text = checkpoint.finish(&log_key(1), signature.as_ref().try_into().unwrap()).to_string();
        let verified = SignedCheckpoint::parse(&text).unwrap().verify(&log_key(1), &[]).unwrap();
        assert_eq!(verified.checkpoint(), &checkpoint);
        assert_eq!(verified.signed().to_string(), text);
        let other = SignedCheckpoint::parse(&text).unwrap().verify(&log_key(2), &[]);
        assert_eq!(other, Err(CheckpointError::Signature));
    }

    #[test]
    fn no_changed_byte_gets_through() {
        let note = signed(&format!("attic/klog\n7\n{}\ntime {AT}\n", BASE64.encode(&[7; 32]))).to_string();
        for at in 0..note.len() {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let verified = SignedCheckpoint::parse(&changed).map(|read| read.verify(&log_key(1), &[]));
            assert!(!matches!(verified, Ok(Ok(_))), "byte {at}");
        }
    }

    #[test]
    fn a_signed_text_that_is_not_a_checkpoint_of_this_log_is_refused() {
        let root = BASE64.encode(&[7; 32]);
        let empty = TreeHash::EMPTY.to_base64();
        check(&format!("attic/klog\n7\n{root}\ntime {AT}\n"), Ok(()));
        check(&format!("attic/klog\n7\n{root}\ntime {AT}\nmore\n"), Ok(()));
        check(&format!("attic/klog\n0\n{empty}\ntime {AT}\n"), Ok(()));
        for bad in [
            format!("attic/klog\n7\n{root}\n"),
            format!("attic/klog\n7\n{root}\ntime {AT}\n\nmore\n"),
            format!("attic/klog\n7\n{root}\nat {AT}\n"),
            format!("attic/klog\n7\n{root}\ntime 2026-11-20T10:20:00Z\n"),
            format!("attic/klog\n07\n{root}\ntime {AT}\n"),
            format!("attic/klog\n+7\n{root}\ntime {AT}\n"),
            format!("attic/klog\n\n{root}\ntime {AT}\n"),
            format!("attic/klog\n9007199254740992\n{root}\ntime {AT}\n"),
            format!("attic/klog\n0\n{root}\ntime {AT}\n"),
            format!("attic/klog\n7\n{}\ntime {AT}\n", root.trim_end_matches('=')),
            format!("attic/klog\n7\nAAAA\ntime {AT}\n"),
            format!("cellar/klog\n7\n{root}\ntime {AT}\n"),
            format!("attic\n7\n{root}\ntime {AT}\n"),
        ] {
            check(&bad, Err(CheckpointError::Malformed));
        }
    }

    #[test]
    fn a_cosignature_counts_only_from_a_known_witness_and_must_verify() {
        let (witness_pair, public) = pair(9);
        let witness = WitnessKey::new("witness.example/w1", public).unwrap();
        let text = format!("attic/klog\n7\n{}\ntime {AT}\n", BASE64.encode(&[7; 32]));
        let time = 1_795_170_000_u64;
        let cosign = |message: String| {
            let signature = witness_pair.sign(message.as_bytes());
            let line = [&witness.note().id()[..], &time.to_be_bytes(), signature.as_ref()].concat();
            let note = format!("{}\u{2014} {} {}\n", signed(&text), witness.name(), BASE64.encode(&line));
            SignedCheckpoint::parse(&note).unwrap()
        };
        let good = cosign(format!("cosignature/v1\ntime {time}\n{text}"));
        let known = good.clone().verify(&log_key(1), core::slice::from_ref(&witness)).unwrap();
        assert_eq!(known.witnessed_by(), ["witness.example/w1"]);
        assert!(good.verify(&log_key(1), &[]).unwrap().witnessed_by().is_empty());
        for bad in [text.clone(), format!("cosignature/v1\ntime {}\n{text}", time + 1)] {
            let judged = cosign(bad).verify(&log_key(1), core::slice::from_ref(&witness));
            assert_eq!(judged, Err(CheckpointError::Cosignature));
        }
    }
}
