//! Deterministic CBOR (RFC 8949, section 4.2), and the scan that hostile bytes pass before anything is decoded.
//!
//! [`scan`] walks bytes once, without allocating, and refuses whatever a deterministic encoder would not write:
//! indefinite lengths, integers not in their shortest form, map keys out of order or twice, floats, bignums, reserved
//! simple values, trailing bytes, and nesting deeper than [`DEPTH_MAX`]. [`decode`] scans, decodes with minicbor and then
//! checks that encoding the value again gives the same bytes, so that two parsers cannot read one message differently.
//!
//! Limits: depth [`DEPTH_MAX`], length by the caller. Cost: linear in the input.
//!
//! Source: `docs/spec/enrolment.md` ENR-3; vectors in this module's tests; fuzz target `cbor`.

use minicbor::{Decode, Encode};

/// Deepest nesting of arrays, maps and tags; stops stack exhaustion.
pub const DEPTH_MAX: usize = 8;

/// Tags of numbers that are written as byte strings (RFC 8949, 3.4.3).
const BIGNUM_TAGS: [u64; 2] = [2, 3];

/// Why bytes are not the deterministic CBOR of the value that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Longer than the caller allows.
    #[error("message of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What came.
        bytes: usize,
        /// What may come.
        bytes_max: usize,
    },
    /// The input ends inside an item.
    #[error("CBOR ends inside an item")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes after the end of the CBOR item")]
    Trailing,
    /// A length or number not in its shortest form, an indefinite length, a float, a bignum or a reserved value.
    #[error("CBOR that is not deterministic at byte {at}")]
    NotDeterministic {
        /// Offset of the item's first byte.
        at: usize,
    },
    /// Map keys out of order, or one of them twice.
    #[error("CBOR map key out of order or repeated at byte {at}")]
    KeyOrder {
        /// Offset of the key's first byte.
        at: usize,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("CBOR nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Well-formed, but not the value that was asked for.
    #[error("CBOR of another shape: {0}")]
    Shape(String),
    /// Decodes to a value that would be written differently.
    #[error("CBOR with parts that its reader does not know")]
    NotCanonical,
}

/// Writes `value`. Every type of kOS encodes deterministically.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail, and our Encode implementations add no errors of their own.
    drop(minicbor::encode(value, &mut out));
    out
}

/// Reads a `T` from exactly `bytes`.
///
/// # Errors
/// When the bytes are longer than `bytes_max`, not deterministic CBOR, or not exactly what [`encode`] writes for the
/// value. The peer broke the protocol: close, do not ask again.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8], bytes_max: usize) -> Result<T, CborError> {
    if bytes.len() > bytes_max {
        return Err(CborError::TooLong { bytes: bytes.len(), bytes_max });
    }
    scan(bytes)?;
    let value: T = minicbor::decode(bytes).map_err(|e| CborError::Shape(e.to_string()))?;
    if encode(&value) == bytes { Ok(value) } else { Err(CborError::NotCanonical) }
}

/// Checks that `bytes` are exactly one item of deterministic CBOR.
///
/// # Errors
/// At the first byte that a deterministic encoder would not have written.
pub fn scan(bytes: &[u8]) -> Result<(), CborError> {
    let end = item(bytes, 0, 0)?;
    if end == bytes.len() { Ok(()) } else { Err(CborError::Trailing) }
}

/// Checks the item at `at` and returns where it ends.
fn item(bytes: &[u8], at: usize, depth: usize) -> Result<usize, CborError> {
    if depth > DEPTH_MAX {
        return Err(CborError::TooDeep);
    }
    let (major, argument, mut next) = head(bytes, at)?;
    match major {
        0 | 1 => Ok(next),
        2 | 3 => {
            let end = usize::try_from(argument).ok().and_then(|n| next.checked_add(n));
            let content = end.and_then(|end| bytes.get(next..end)).ok_or(CborError::Truncated)?;
            if major == 3 && core::str::from_utf8(content).is_err() {
                return Err(CborError::NotDeterministic { at });
            }
            Ok(next + content.len())
        }
        4 => {
            for _ in 0..argument {
                next = item(bytes, next, depth + 1)?;
            }
            Ok(next)
        }
        5 => {
            let mut last: Option<&[u8]> = None;
            for _ in 0..argument {
                let value_at = item(bytes, next, depth + 1)?;
                let key = bytes.get(next..value_at).ok_or(CborError::Truncated)?;
                if last.is_some_and(|last| last >= key) {
                    return Err(CborError::KeyOrder { at: next });
                }
                last = Some(key);
                next = item(bytes, value_at, depth + 1)?;
            }
            Ok(next)
        }
        // A bignum is a second way to write a number, and the decoders behind this scan disagree about it.
        6 if BIGNUM_TAGS.contains(&argument) => Err(CborError::NotDeterministic { at }),
        6 => item(bytes, next, depth + 1),
        // false, true, null; no undefined, no floats, no other simple values.
        _ if (20..=22).contains(&argument) && next == at + 1 => Ok(next),
        _ => Err(CborError::NotDeterministic { at }),
    }
}

/// Major type, argument, and where the head ends. Every element costs its sender at least one byte, so loops over
/// an announced count are bounded by the input's length.
fn head(bytes: &[u8], at: usize) -> Result<(u8, u64, usize), CborError> {
    let first = *bytes.get(at).ok_or(CborError::Truncated)?;
    let (major, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..=23 => return Ok((major, u64::from(short), at + 1)),
        24..=27 => 1usize << (short - 24),
        _ => return Err(CborError::NotDeterministic { at }),
    };
    let argument = bytes.get(at + 1..at + 1 + width).ok_or(CborError::Truncated)?;
    let argument = argument.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let least = [24, 1 << 8, 1 << 16, 1 << 32].get(usize::from(short - 24)).copied().unwrap_or(u64::MAX);
    if argument < least {
        return Err(CborError::NotDeterministic { at });
    }
    Ok((major, argument, at + 1 + width))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn check(hex: &str, want: &Result<(), CborError>) {
        assert_eq!(&scan(&HEXLOWER.decode(hex.as_bytes()).unwrap()), want, "{hex}");
    }

    #[test]
    fn deterministic_items_pass() {
        for hex in ["00", "1818", "20", "43010203", "626869", "83010203", "a2010203f6", "f5", "d203", "a0"] {
            check(hex, &Ok(()));
        }
    }

    #[test]
    fn whatever_a_deterministic_encoder_would_not_write_is_refused() {
        use CborError::*;
        for (hex, why) in [
            ("", Truncated),
            ("1817", NotDeterministic { at: 0 }),
            ("190018", NotDeterministic { at: 0 }),
            ("5f4101ff", NotDeterministic { at: 0 }),
            ("9fff", NotDeterministic { at: 0 }),
            ("f7", NotDeterministic { at: 0 }),
            ("f818", NotDeterministic { at: 0 }),
            ("fb3ff0000000000000", NotDeterministic { at: 0 }),
            ("61ff", NotDeterministic { at: 0 }),
            ("c24101", NotDeterministic { at: 0 }),
            ("81c340", NotDeterministic { at: 1 }),
            ("a201010100", KeyOrder { at: 3 }),
            ("a202010100", KeyOrder { at: 3 }),
            ("0000", Trailing),
            ("4201", Truncated),
            ("9bffffffffffffffff", Truncated),
            ("5bffffffffffffffff", Truncated),
            ("81818181818181818100", TooDeep),
        ] {
            check(hex, &Err(why));
        }
    }

    #[test]
    fn a_value_with_parts_that_its_reader_skips_is_refused() {
        #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
        #[cbor(map)]
        struct One {
            #[n(1)]
            a: u8,
        }
        assert_eq!(decode::<One>(&[0xa1, 1, 2], 9), Ok(One { a: 2 }));
        assert_eq!(decode::<One>(&[0xa2, 1, 2, 3, 4], 9), Err(CborError::NotCanonical));
        assert_eq!(decode::<One>(&[0xa1, 1, 2], 2), Err(CborError::TooLong { bytes: 3, bytes_max: 2 }));
    }
}
