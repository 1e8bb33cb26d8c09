//! Serial numbers: 128 random bits, never zero, written as 32 lower-case hex digits.

use core::{fmt, str::FromStr};

use x509_cert::serial_number::SerialNumber;

/// Number of a certificate, unique under its issuer because it is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u128);

/// The text is not a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a serial number (32 lower-case hex characters)")]
pub struct ParseSerialError;

impl Serial {
    /// From 16 random bytes that the shell drew. All zero, which RFC 5280 forbids, becomes one.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self(if number == 0 { 1 } else { number })
    }

    /// The 16 bytes, big-endian.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the big-endian two's complement content of a DER INTEGER; positive and at most 128 bits.
    pub(crate) fn from_der_content(content: &[u8]) -> Option<Self> {
        let magnitude = match content {
            [0, rest @ ..] => rest,
            [first, ..] if *first >= 0x80 => return None,
            all => all,
        };
        if magnitude.len() > 16 {
            return None;
        }
        let number = magnitude.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
        (number != 0).then_some(Self(number))
    }

    pub(crate) fn to_x509(self) -> der::Result<SerialNumber> {
        SerialNumber::new(&self.0.to_be_bytes())
    }
}

/// From the 16 bytes of [`Serial::to_bytes`], as a record keeps them.
impl TryFrom<&[u8]> for Serial {
    type Error = ParseSerialError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        match <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes) {
            Ok(number) if number != 0 => Ok(Self(number)),
            _ => Err(ParseSerialError),
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Serial {
    type Err = ParseSerialError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let lower = s.len() == 32 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(s, 16) {
            Ok(number) if lower && number != 0 => Ok(Self(number)),
            _ => Err(ParseSerialError),
        }
    }
}

impl serde::Serialize for Serial {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Serial {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// CBOR: a byte string of 16.
impl<C> minicbor::Encode<C> for Serial {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Serial {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::try_from(d.bytes()?)
            .map_err(|_| minicbor::decode::Error::message("a serial number has 16 bytes and is not zero"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_positive_and_at_most_128_bits() {
        assert_eq!(Serial::from_random([0; 16]).to_string(), "00000000000000000000000000000001");
        for (content, want) in [
            (&[1][..], Some(1)),
            (&[0, 0x80], Some(0x80)),
            (&[0x80], None),
            (&[0], None),
            (&[], None),
            (&[1; 17], None),
        ] {
            assert_eq!(Serial::from_der_content(content), want.map(Serial), "{content:?}");
        }
    }

    #[test]
    fn the_text_form_is_read_back_and_nothing_else_is() {
        let serial = Serial::from_random(*b"\x00123456789abcde\xff");
        assert_eq!(serial.to_string().parse(), Ok(serial));
        assert_eq!(Serial::try_from(&serial.to_bytes()[..]), Ok(serial));
        for bad in [&[][..], &[0; 16], &[1; 15], &[1; 17]] {
            assert_eq!(Serial::try_from(bad), Err(ParseSerialError));
        }
        for bad in
            ["", "1", "+0000000000000000000000000000001", "0000000000000000000000000000000A", &"0".repeat(32)]
        {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }
}
