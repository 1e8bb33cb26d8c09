//! CONFIG: what a device is to run with.
//!
//! Source: `docs/spec/klp.md` KLP-49.

use kos_base::digest::sha256;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::Body;
use crate::fields::{Field, read_bytes, read_map, required};

/// Longest configuration, in bytes.
pub const CONFIG_BYTES_MAX: usize = 32_768;

/// A configuration for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    generation: u64,
    text: String,
}

impl Config {
    /// A configuration; `generation` only grows, and a device refuses one that it has passed.
    pub const fn new(generation: u64, text: String) -> Self {
        Self { generation, text }
    }

    /// Its place among those of the device.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The text, in the form of the device's file. Its digest has been checked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }
}

impl Body for Config {
    const BYTES_MAX: usize = CONFIG_BYTES_MAX + 64;
}

impl<C> Encode<C> for Config {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(3)?.u8(1)?.u64(self.generation)?.u8(2)?.bytes(&self.digest())?.u8(3)?.str(&self.text)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Config {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut generation, mut digest, mut text) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => generation = Some(d.u64()?),
                2 => digest = Some(read_bytes(d)?),
                3 => text = Some(d.str()?).filter(|text| text.len() <= CONFIG_BYTES_MAX),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        let config = Self { generation: required(generation)?, text: required(text)?.to_owned() };
        let digest: [u8; 32] = required(digest)?;
        if digest == config.digest() {
            Ok(config)
        } else {
            Err(decode::Error::message("a digest of another text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn a_configuration_is_read_back_and_a_changed_one_is_refused() {
        let config = Config::new(3, "network:\n  protocol: klp\n".to_owned());
        let mut bytes = write(&config);
        assert_eq!(read::<Config>(&bytes), Ok(config));
        *bytes.last_mut().unwrap() = b' ';
        assert!(read::<Config>(&bytes).is_err());
        assert!(read::<Config>(&write(&Config::new(1, "x".repeat(CONFIG_BYTES_MAX + 1)))).is_err());
    }
}
