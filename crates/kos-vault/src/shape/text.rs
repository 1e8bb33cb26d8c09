//! What JSON leaves open: one way to write bytes, members that are not `null`, maps without a key that stands twice.
//!
//! Source: KV-2, KV-3.

use core::{fmt, marker::PhantomData, str::FromStr};
use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER};
use kos_base::text::base64;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap as _,
};

use crate::ENTRIES_MAX;

/// A member that may be absent and is not `null`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// A map whose keys are different; at most [`ENTRIES_MAX`] of them, in the order of the file.
pub(crate) struct Members<T>(pub(crate) Vec<(String, T)>);

impl<T: Serialize> Serialize for Members<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
        let mut seen = BTreeSet::new();
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, T>()? {
            if members.len() == ENTRIES_MAX {
                return Err(de::Error::custom("more than 10 000 entries"));
            }
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom("an entry that stands twice"));
            }
            members.push((key, value));
        }
        Ok(Members(members))
    }
}

/// `N` bytes in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("an id or digest that is not lower-case hex of its length")
    }
}

/// `N` bytes in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base64<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Base64<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl<const N: usize> FromStr for Base64<N> {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = base64(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("bytes that are not base64 of their length")
    }
}

/// Any number of bytes in base64.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Base64Bytes(pub(crate) Vec<u8>);

impl fmt::Display for Base64Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl FromStr for Base64Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base64(text).map(Self).ok_or("bytes that are not base64")
    }
}

/// JSON strings by way of `Display` and `FromStr`.
macro_rules! as_text {
    ($([$($parameters:tt)*] $name:ty;)+) => {
        $(
            impl<$($parameters)*> Serialize for $name {
                fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                    s.collect_str(self)
                }
            }

            impl<'de, $($parameters)*> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                    String::deserialize(d)?.parse().map_err(de::Error::custom)
                }
            }
        )+
    };
}

as_text! {
    [const N: usize] Hex<N>;
    [const N: usize] Base64<N>;
    [] Base64Bytes;
}
