//! Bytes that are written as lower-case hex: digests, certificate serials, signatures.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The text is not lower-case hex of the right length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHex;

impl fmt::Display for NotHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not lower-case hex of the right length")
    }
}

impl core::error::Error for NotHex {}

/// 32 bytes of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Takes 32 bytes over.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Serial number of a certificate: 128 bits, always written with 32 digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Takes a magnitude over, big-endian, with or without leading zeros. Nothing when it is zero or has more than 128
    /// bits, which no certificate of kOS has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let start = bytes.iter().position(|b| *b != 0)?;
        let magnitude = bytes.get(start..)?;
        let mut padded = [0; 16];
        padded.get_mut(16_usize.checked_sub(magnitude.len())?..)?.copy_from_slice(magnitude);
        Some(Self(padded))
    }

    /// The 16 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Bytes of a signature.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Longest signature that is read, in bytes: more than any algorithm in use needs, little enough to hold.
    pub const BYTES_MAX: usize = 8192;

    /// Takes the bytes over.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = NotHex;

    fn from_str(s: &str) -> Result<Self, NotHex> {
        decode(s)?.try_into().map(Self).map_err(|_| NotHex)
    }
}

impl FromStr for Serial {
    type Err = NotHex;

    fn from_str(s: &str) -> Result<Self, NotHex> {
        let bytes: [u8; 16] = decode(s)?.try_into().map_err(|_| NotHex)?;
        Self::from_bytes(&bytes).ok_or(NotHex)
    }
}

impl FromStr for Signature {
    type Err = NotHex;

    fn from_str(s: &str) -> Result<Self, NotHex> {
        if s.len() > Self::BYTES_MAX * 2 {
            return Err(NotHex);
        }
        decode(s).map(Self)
    }
}

fn decode(s: &str) -> Result<Vec<u8>, NotHex> {
    fn digit(b: u8) -> Result<u8, NotHex> {
        match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(NotHex),
        }
    }
    let (pairs, rest) = s.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NotHex);
    }
    pairs.iter().map(|[high, low]| Ok(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Text and JSON forms of a type that has `as_bytes` and `FromStr`.
macro_rules! hex_forms {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($type))
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_forms!(Digest);
hex_forms!(Serial);
hex_forms!(Signature);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_read() {
        assert_eq!("0a".repeat(32).parse(), Ok(Digest::from_bytes([10; 32])));
        for bad in ["", "0A", &"0A".repeat(32), &"0a".repeat(31), &"0a".repeat(33), "0", &"zz".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert_eq!("0f".repeat(16).parse(), Ok(Serial([15; 16])));
        for bad in ["", "0f", &"00".repeat(16), &"0F".repeat(16), &"0f".repeat(17)] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
        let short = Serial::from_bytes(&[0, 0x80]).unwrap();
        assert_eq!(short.to_string(), format!("{}80", "00".repeat(15)));
        assert_eq!((Serial::from_bytes(&[]), Serial::from_bytes(&[1; 17])), (None, None));
    }
}
