//! Maps with small integers as keys, read by the rule of KLP-16: unknown keys from 0 up are refused, unknown negative
//! keys are skipped.
//!
//! The bytes have passed `kos_base::cbor::scan` before, so keys are in order, none stands twice and no length lies.

use minicbor::{Decoder, data::Type, decode::Error};

/// What the reader of one field says.
pub(crate) enum Field {
    /// It was one of ours and has been read.
    Read,
    /// No such field is known.
    Unknown,
}

/// Reads a map, handing each key from 0 up to `field`.
pub(crate) fn read_map<'b>(
    d: &mut Decoder<'b>,
    mut field: impl FnMut(u64, &mut Decoder<'b>) -> Result<Field, Error>,
) -> Result<(), Error> {
    let count = d.map()?.ok_or_else(|| Error::message("a map without length"))?;
    for _ in 0..count {
        if matches!(d.datatype()?, Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int) {
            d.skip()?;
            d.skip()?;
            continue;
        }
        let key = d.u64()?;
        if matches!(field(key, d)?, Field::Unknown) {
            return Err(Error::message("a field that this version does not know"));
        }
    }
    Ok(())
}

/// What minicbor says, or what one of our own readers said to it.
pub(crate) fn reason(error: &Error) -> String {
    use core::error::Error as _;
    let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    said.trim_start_matches("decode error: ").to_owned()
}

/// Reads exactly `N` bytes.
pub(crate) fn read_bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], Error> {
    d.bytes()?.try_into().map_err(|_| Error::message("a byte string of the wrong length"))
}

/// The value of a field that must be there.
pub(crate) fn required<T>(value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::message("a field is missing"))
}

/// Reads the head of an array of exactly `len` items.
pub(crate) fn read_array_head(d: &mut Decoder<'_>, len: u64) -> Result<(), Error> {
    if d.array()? == Some(len) { Ok(()) } else { Err(Error::message("an array of the wrong length")) }
}
