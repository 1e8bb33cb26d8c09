//! Deterministic CBOR: the scan takes an item and nothing beside it, and the two decoders behind it read it alike.

use coset::cbor::{Value, de, ser};
use kos_base::cbor::{CborError, scan};
use minicbor::{Decoder, Encoder, data::Type, decode};

use crate::Verdict;

/// Scans, and holds minicbor (message bodies) and ciborium (COSE) to what the scan took.
pub fn run(bytes: &[u8]) -> Verdict {
    let scanned = scan(bytes);
    if scanned.is_err() {
        return Verdict::Refused;
    }
    let front = bytes.split_last().map_or(bytes, |(_, front)| front);
    assert!(scan(front).is_err(), "the front of an item is no item");
    assert_eq!(scan(&[bytes, &[0xf6]].concat()), Err(CborError::Trailing));

    let mut again = Encoder::new(Vec::new());
    copy(&mut Decoder::new(bytes), &mut again).expect("minicbor reads what the scan took");
    assert_eq!(again.into_writer(), bytes, "minicbor reads something else");

    let value: Value = de::from_reader(bytes).expect("ciborium reads what the scan took");
    let mut again = Vec::new();
    ser::into_writer(&value, &mut again).expect("a Vec takes everything");
    assert_eq!(again, bytes, "ciborium reads something else");
    Verdict::Read
}

/// Reads one item with minicbor and writes it with minicbor.
fn copy(from: &mut Decoder<'_>, to: &mut Encoder<Vec<u8>>) -> Result<(), decode::Error> {
    let (written, items) = match from.datatype()? {
        Type::Bool => (to.bool(from.bool()?), 0),
        Type::Null => (from.null().map(|()| to.null())?, 0),
        Type::Bytes => (to.bytes(from.bytes()?), 0),
        Type::String => (to.str(from.str()?), 0),
        Type::Tag => (to.tag(from.tag()?), 1),
        Type::Array => {
            let items = from.array()?.ok_or(decode::Error::message("an array without a length"))?;
            (to.array(items), items)
        }
        Type::Map => {
            let pairs = from.map()?.ok_or(decode::Error::message("a map without a length"))?;
            (to.map(pairs), pairs * 2)
        }
        _ => (to.int(from.int()?), 0),
    };
    written.map(drop).map_err(|_| decode::Error::message("a Vec takes everything"))?;
    (0..items).try_for_each(|_| copy(from, to))
}
