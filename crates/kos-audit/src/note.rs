//! Signed notes of C2SP: a text, an empty line, and signature lines.
//!
//! A note is UTF-8 without control characters other than newline. The text ends before the last empty line and keeps its
//! final newline. A signature line is an em dash, a space, the name of a key, a space, and base64 of four bytes of key id
//! and the signature. Lines of unknown keys are kept and mean nothing; a line of a known key must verify.
//!
//! What it does not do: say what the text means; that is the checkpoint's part.
//!
//! Limits: [`NOTE_BYTES_MAX`], [`SIGNATURES_MAX`]. Cost: linear in the note.
//!
//! Source: C2SP signed-note v1.0.0; `docs/spec/audit.md` AUD-43 to AUD-45.

use core::fmt;

use data_encoding::BASE64;
use kos_base::{key::SignatureForm, text::base64};

use crate::key::{NoteKey, is_key_name};

/// Longest note, in bytes: room for sixteen post-quantum signatures, and no more for a stranger to make us hold.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;

/// Most signature lines; the format demands that sixteen are accepted.
pub const SIGNATURES_MAX: usize = 64;

const DASH: &str = "\u{2014} ";

/// Why a text is not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("note of {bytes} bytes, at most {NOTE_BYTES_MAX} are allowed")]
    TooLong {
        /// What came.
        bytes: usize,
    },
    /// It ends inside a line, or before the first signature: cut off, or never finished.
    #[error("note that ends before its signatures do")]
    Cut,
    /// A control character, or a signature line that is none.
    #[error("note of another form")]
    Malformed,
    /// More than [`SIGNATURES_MAX`] signature lines.
    #[error("note with more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
}

/// A note whose form is right and whose signatures nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

impl Note {
    /// A note with one signature over `text`, which ends in a newline.
    pub(crate) fn signed(text: String, key: &NoteKey, signature: [u8; 64]) -> Self {
        Self { text, signatures: vec![NoteSignature::of(key, signature.to_vec())] }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// When the text is not one. [`NoteError::Cut`] is what an interrupted write leaves; read it again or restore it.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { bytes: note.len() });
        }
        if note.contains(|c: char| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Malformed);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Cut)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Cut)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::Malformed)?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text, whoever signed it.
    pub(crate) fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The same text with the lines of `key` alone.
    pub(crate) fn of_key(&self, key: &NoteKey) -> Self {
        let signatures = self.signatures_of(key).cloned().collect();
        Self { text: self.text.clone(), signatures }
    }

    /// The same note with more lines, as a witness answers them.
    pub(crate) fn with_lines(&self, lines: &str) -> Result<Self, NoteError> {
        Self::parse(&format!("{self}{lines}"))
    }

    /// The lines that carry the name and id of `key`.
    pub(crate) fn signatures_of<'a>(&'a self, key: &'a NoteKey) -> impl Iterator<Item = &'a NoteSignature> {
        self.signatures.iter().filter(|line| line.name == key.name() && line.key_id == key.id())
    }

    /// The text, when `key` signed it and every line of that key verifies.
    pub(crate) fn verified_text(&self, key: &NoteKey) -> Option<&str> {
        let verifies = |line: &NoteSignature| {
            key.public().verify(SignatureForm::Fixed, self.text.as_bytes(), &line.signature).is_ok()
        };
        let mut lines = self.signatures_of(key).peekable();
        let signed = lines.peek().is_some() && lines.all(verifies);
        signed.then_some(self.text.as_str())
    }
}

impl NoteSignature {
    /// What `key` signed.
    pub(crate) fn of(key: &NoteKey, signature: Vec<u8>) -> Self {
        Self { name: key.name().to_owned(), key_id: key.id(), signature }
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = base64(encoded)?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        if !is_key_name(name) || signature.is_empty() {
            return None;
        }
        Some(Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

/// The whole line, with its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key_id, signature } = self;
        writeln!(f, "{DASH}{name} {}", BASE64.encode(&[key_id.as_slice(), signature].concat()))
    }
}

#[cfg(test)]
mod tests {
    use kos_base::{KeyAlgorithm, PublicKey};

    use super::*;
    use crate::key::WitnessKey;

    /// The example of C2SP signed-note.
    const PUBLISHED: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const LINE: &str = "\u{2014} a AAAAAAA=";

    fn check(note: &str, want: Result<usize, NoteError>) {
        let got = Note::parse(note);
        assert_eq!(got.as_ref().map(|note| note.signatures.len()).map_err(|why| *why), want, "{note}");
        if let Ok(read) = got {
            assert_eq!(read.to_string(), note);
        }
    }

    #[test]
    fn the_published_note_is_read_back() {
        check(PUBLISHED, Ok(1));
        assert_eq!(Note::parse(PUBLISHED).unwrap().text, "This is an example message.\n");
    }

    /// The other examples of C2SP signed-note, tlog-checkpoint and tlog-cosignature.
    const MORE_PUBLISHED: [(&str, usize); 2] = [
        (
            "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u{e8} subito sera.\n\n\
             \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0x\
             McXxj99ihAQwaqP3ZekRwNtIc=\n",
            1,
        ),
        (
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
             \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGz\
             Gku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHe\
             olMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n",
            2,
        ),
    ];

    #[test]
    fn the_other_published_notes_are_read_back() {
        MORE_PUBLISHED.iter().for_each(|(note, signatures)| check(note, Ok(*signatures)));
    }

    #[test]
    fn empty_lines_may_stand_in_the_text_and_unknown_signatures_below_it() {
        check(&format!("a\n\nb\n\n{LINE}\n{LINE}\n"), Ok(2));
        let many = |count: usize| format!("a\n\n{}", format!("{LINE}\n").repeat(count));
        check(&many(64), Ok(64));
        check(&many(65), Err(NoteError::TooManySignatures));
    }

    #[test]
    fn a_note_that_was_cut_or_bent_is_refused() {
        for cut in ["", "a", "a\n", "a\n\n", "a\n\n\n", &format!("a\n\n{LINE}")] {
            check(cut, Err(NoteError::Cut));
        }
        for bent in [
            "a\n\nb\n",
            "a\n\n- a AAAAAAA=\n",
            "a\n\n\u{2014} a AAAA\n",
            "a\n\n\u{2014} a AAAAAA==\n",
            "a\n\n\u{2014} a AAAAAAA\n",
            "a\n\n\u{2014}  AAAAAAA=\n",
            "a\n\n\u{2014} a AAAAAA==AAA=\n",
            "a\n\n\u{2014} a AAAAAAA=AAAA\n",
            "a\n\n\u{2014} a+b AAAAAAA=\n",
            "a\n\n\u{2014} a\u{202e} AAAAAAA=\n",
            "a\t\n\n\u{2014} a AAAAAAA=\n",
            "a\r\n\r\n\u{2014} a AAAAAAA=\n",
        ] {
            check(bent, Err(NoteError::Malformed));
        }
        check(&"a".repeat(NOTE_BYTES_MAX + 1), Err(NoteError::TooLong { bytes: NOTE_BYTES_MAX + 1 }));
    }

    #[test]
    fn a_line_of_another_key_proves_nothing() {
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, &[0xe9; 32]).unwrap();
        let key = WitnessKey::new("example.com/foo", public).unwrap();
        assert_eq!(Note::parse(PUBLISHED).unwrap().verified_text(key.note()), None);
    }
}
