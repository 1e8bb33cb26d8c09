//! What messages say: the bodies whose form the protocol fixes.
//!
//! A body is deterministic CBOR in the bytes that were proven. It is read strictly: [`read`] scans it, refuses fields
//! from 0 up that this version does not know and skips negative ones (KLP-16), and every text and list has a limit and
//! no characters that could deceive a terminal.
//!
//! Read only the body of a [`crate::session::Received`] message. Errors: the sender is authentic and broken, or newer
//! than this version: answer with the code.
//!
//! Source: `docs/spec/klp.md` KLP-45 to KLP-51, KLP-72 to KLP-76, KLP-80 to KLP-82, KLP-85; fuzz target `klp_frame`.

mod ack;
mod alert;
mod command;
mod config;
mod heartbeat;
mod log;
mod policy;
mod revocation;
mod task;
mod witness;

use core::{fmt, str::FromStr};

use kos_base::{
    Code,
    cbor::{self, CborError},
    code::klp,
    text::is_safe,
};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

pub use self::{
    ack::Ack,
    alert::Alert,
    command::{Command, Instruction, WIPE_ORDER_BYTES_MAX},
    config::{CONFIG_BYTES_MAX, Config},
    heartbeat::{
        CHECKS_MAX, HealthCheck, Heartbeat, HeartbeatAnswer, KID_BYTES_MAX, STATEMENTS_MAX, VERSIONS_MAX,
        Version,
    },
    log::{CHECKPOINT_BYTES_MAX, LEAVES_BYTES_MAX, LEAVES_MAX, Log, LogHeld},
    policy::{POLICY_SLICE_BYTES_MAX, Policy},
    revocation::{Assembly, CRLS_MAX, LIST_BYTES_MAX, Misfit, Piece, Revocation},
    task::Task,
    witness::{WITNESS_REQUEST_BYTES_MAX, WITNESS_TRANSCRIPT_BYTES_MAX, WitnessAnswer, WitnessRequest},
};

/// Name of a check or component.
pub type NameText = Text<48>;
/// Version of a component.
pub type VersionText = Text<64>;
/// A sentence for people.
pub type DetailText = Text<200>;

/// A body of the protocol.
pub trait Body: Encode<()> + for<'b> Decode<'b, ()> {
    /// Longest body of this kind, in bytes.
    const BYTES_MAX: usize;
}

/// Why bytes are not the body that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too long, or not deterministic CBOR.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Not the body that its type demands.
    #[error("a body of another form: {0}")]
    Shape(String),
}

impl BodyError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        klp::KLP_MALFORMED
    }
}

/// Writes a body.
pub fn write<T: Body>(body: &T) -> Vec<u8> {
    cbor::encode(body)
}

/// Reads a body.
///
/// # Errors
/// When it has not the form that its type demands.
pub fn read<T: Body>(bytes: &[u8]) -> Result<T, BodyError> {
    if bytes.len() > T::BYTES_MAX {
        return Err(CborError::TooLong { bytes: bytes.len(), bytes_max: T::BYTES_MAX }.into());
    }
    cbor::scan(bytes)?;
    let d = &mut Decoder::new(bytes);
    d.decode().map_err(|error| BodyError::Shape(crate::fields::reason(&error)))
}

/// A text of at most `MAX` bytes without control or invisible characters (KLP-51). It comes from a peer: show it, never
/// act on it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

/// The text is too long or holds characters that people do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a text of more than {0} bytes, or with control or invisible characters")]
pub struct TextError(usize);

impl<const MAX: usize> Text<MAX> {
    /// `text` with what may not stand in it replaced and the rest cut off: for our own words, which may quote others.
    pub fn cut(text: &str) -> Self {
        let mut out = kos_base::text::printable(text, MAX);
        let end = (0..=MAX.min(out.len())).rev().find(|at| out.is_char_boundary(*at)).unwrap_or(0);
        out.truncate(end);
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = TextError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.len() <= MAX && s.chars().all(is_safe) { Ok(Self(s.to_owned())) } else { Err(TextError(MAX)) }
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// CBOR: text.
impl<C, const MAX: usize> Encode<C> for Text<MAX> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C, const MAX: usize> Decode<'b, C> for Text<MAX> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str()?.parse().map_err(decode::Error::custom)
    }
}

/// Reads an array of at most `max` items.
fn read_list<'b, T: Decode<'b, ()>>(d: &mut Decoder<'b>, max: u64) -> Result<Vec<T>, decode::Error> {
    let count = d.array()?.filter(|count| *count <= max);
    let count = count.ok_or_else(|| decode::Error::message("a list over its limit"))?;
    (0..count).map(|_| d.decode()).collect()
}

fn write_list<W: encode::Write, T: Encode<()>>(
    e: &mut Encoder<W>,
    list: &[T],
) -> Result<(), encode::Error<W::Error>> {
    e.array(u64::try_from(list.len()).unwrap_or(u64::MAX))?;
    list.iter().try_for_each(|item| e.encode(item).map(drop))
}

/// Reads a byte string of at most `max` bytes.
fn read_blob(d: &mut Decoder<'_>, max: usize) -> Result<Vec<u8>, decode::Error> {
    let bytes = d.bytes()?;
    if bytes.len() > max {
        Err(decode::Error::message("a byte string over its limit"))
    } else {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_could_deceive_are_refused_and_our_own_are_cut() {
        assert!("a\x1b[2J".parse::<DetailText>().is_err());
        assert!("x".repeat(49).parse::<NameText>().is_err());
        assert_eq!(Text::<3>::cut("abcdef").as_str(), "abc");
        assert_eq!(Text::<3>::cut("aéé").as_str(), "aé");
        assert_eq!(Text::<8>::cut("a\tb").as_str(), "a\u{fffd}b");
    }
}
