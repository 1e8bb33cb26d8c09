//! WITNESS: a log asks a node to cosign its checkpoint, or an authority asks it to judge the attestation of another device;
//! and the answer, which is the result of the ACK.
//!
//! The request to cosign is that of tlog-witness, as text; a node that only wants to know the key sends none. A transcript and
//! the verdict on it are bytes here: who judges reads them.
//!
//! Source: `docs/spec/klp.md` KLP-80 to KLP-82, KLP-115; `docs/spec/second-verifier.md` SECV-5.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_map, required};

/// Longest request, in bytes: a checkpoint with the signature of its log, and 63 hashes.
pub const WITNESS_REQUEST_BYTES_MAX: usize = 16_384;
/// Longest transcript of an attestation, in bytes.
pub const WITNESS_TRANSCRIPT_BYTES_MAX: usize = 49_152;
/// Longest verifier key, answer and checkpoint that come back, in bytes. Together they fit into the result of an ACK.
const KEY_BYTES_MAX: usize = 512;
const ANSWER_BYTES_MAX: usize = 1_024;
const CHECKPOINT_BYTES_MAX: usize = 2_048;

/// What a node is asked as a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessRequest {
    /// To cosign: the request of tlog-witness; empty to ask for the key alone.
    Cosign(Vec<u8>),
    /// To judge the attestation of another device: the transcript.
    Judge(Vec<u8>),
}

/// What the node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// Its verifier key.
    pub key: String,
    /// The status of tlog-witness; 0 where nothing was to be cosigned.
    pub status: u16,
    /// The body that goes with it: a signature line, or a size.
    pub body: String,
    /// Its newest checkpoint of the log, when it does not cosign this one.
    pub held: Option<String>,
}

impl Body for WitnessRequest {
    const BYTES_MAX: usize = WITNESS_TRANSCRIPT_BYTES_MAX + 16;
}

impl Body for WitnessAnswer {
    const BYTES_MAX: usize = 4_096;
}

impl<C> Encode<C> for WitnessRequest {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (key, request) = match self {
            Self::Cosign(request) => (1, request),
            Self::Judge(transcript) => (2, transcript),
        };
        e.map(1)?.u8(key)?.bytes(request)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for WitnessRequest {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut request, mut transcript) = (None, None);
        read_map(d, |key, d| {
            match key {
                1 => request = Some(read_blob(d, WITNESS_REQUEST_BYTES_MAX)?),
                2 => transcript = Some(read_blob(d, WITNESS_TRANSCRIPT_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        match (request, transcript) {
            (Some(request), None) => Ok(Self::Cosign(request)),
            (None, Some(transcript)) => Ok(Self::Judge(transcript)),
            _ => Err(decode::Error::message("neither a request nor a transcript, or both")),
        }
    }
}

impl<C> Encode<C> for WitnessAnswer {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(3 + u64::from(self.held.is_some()))?;
        e.u8(1)?.bytes(self.key.as_bytes())?.u8(2)?.u16(self.status)?.u8(3)?.bytes(self.body.as_bytes())?;
        if let Some(held) = &self.held {
            e.u8(4)?.bytes(held.as_bytes())?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for WitnessAnswer {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut key, mut status, mut body, mut held) = (None, None, None, None);
        read_map(d, |field, d| {
            match field {
                1 => key = Some(text(d, KEY_BYTES_MAX)?),
                2 => status = Some(d.u16()?),
                3 => body = Some(text(d, ANSWER_BYTES_MAX)?),
                4 => held = Some(text(d, CHECKPOINT_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { key: required(key)?, status: required(status)?, body: required(body)?, held })
    }
}

/// Notes hold newlines, which texts of the protocol do not: they are byte strings that are UTF-8.
fn text(d: &mut Decoder<'_>, bytes_max: usize) -> Result<String, decode::Error> {
    String::from_utf8(read_blob(d, bytes_max)?).map_err(|_| decode::Error::message("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn a_request_and_its_answer_are_read_back_and_bounded() {
        let request = |bytes| WitnessRequest::Cosign(vec![7; bytes]);
        let transcript = |bytes| WitnessRequest::Judge(vec![7; bytes]);
        for whole in [
            request(0),
            request(WITNESS_REQUEST_BYTES_MAX),
            transcript(0),
            transcript(WITNESS_TRANSCRIPT_BYTES_MAX),
        ] {
            assert_eq!(read(&write(&whole)), Ok(whole));
        }
        assert!(read::<WitnessRequest>(&write(&request(WITNESS_REQUEST_BYTES_MAX + 1))).is_err());
        assert!(read::<WitnessRequest>(&write(&transcript(WITNESS_TRANSCRIPT_BYTES_MAX + 1))).is_err());
        // Nothing, and both.
        assert!(read::<WitnessRequest>(&[0xa0]).is_err());
        assert!(read::<WitnessRequest>(&[0xa2, 1, 0x40, 2, 0x40]).is_err());
        let answer = |held: Option<usize>| WitnessAnswer {
            key: "k".repeat(KEY_BYTES_MAX),
            status: 422,
            body: "b".repeat(ANSWER_BYTES_MAX),
            held: held.map(|bytes| "h\n".repeat(bytes / 2)),
        };
        for whole in [answer(None), answer(Some(CHECKPOINT_BYTES_MAX))] {
            assert_eq!(read(&write(&whole)), Ok(whole));
        }
        assert!(read::<WitnessAnswer>(&write(&answer(Some(CHECKPOINT_BYTES_MAX + 2)))).is_err());
        let not_utf8 = [0xa3, 1, 0x41, 0xff, 2, 0, 3, 0x40];
        assert!(read::<WitnessAnswer>(&not_utf8).is_err());
    }
}
