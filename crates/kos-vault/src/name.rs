//! What things in a vault are called. Parsing is the only way in.

use core::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use kos_base::text::{is_safe, printable};

/// The text is no name of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct ParseNameError {
    text: String,
    wanted: &'static str,
}

impl ParseNameError {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: printable(text, 64), wanted }
    }
}

/// 16 random bytes that stay with a vault for its life; 32 hex characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultId([u8; 16]);

impl VaultId {
    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for VaultId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| ParseNameError::new(text, "the id of a vault (32 lower-case hex)"))
    }
}

/// Declares a name that is a checked text.
macro_rules! names {
    ($($(#[$meta:meta])* $name:ident, $wanted:literal, $is_one:expr;)+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(String);

            impl $name {
                /// As it is written.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl FromStr for $name {
                type Err = ParseNameError;

                fn from_str(text: &str) -> Result<Self, ParseNameError> {
                    let is_one: fn(&str) -> bool = $is_one;
                    if is_one(text) { Ok(Self(text.to_owned())) } else { Err(ParseNameError::new(text, $wanted)) }
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

names! {
    /// The keyring that a vault is (KV-5), such as `machine` or `production`.
    Environment, "an environment (1 to 32 of a-z, 0-9 and `-`, a letter first)", |text| {
        text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    /// The name of an entry: 1 to 128 bytes, visible characters and spaces (KV-9).
    EntryName, "the name of an entry (1 to 128 bytes of visible characters)", |text| {
        (1..=128).contains(&text.len()) && text.chars().all(is_safe)
    };
    /// The name of a slot: 1 to 64 bytes, visible characters and spaces (KV-9). Readable without any key.
    SlotName, "the name of a slot (1 to 64 bytes of visible characters)", |text| {
        (1..=64).contains(&text.len()) && text.chars().all(is_safe)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_show_nothing_hidden() {
        for good in ["machine", "a", "prod-2", &"a".repeat(32)] {
            assert_eq!(good.parse::<Environment>().unwrap().as_str(), good);
        }
        for bad in ["", "2", "-a", "Machine", "a b", "a_b", &"a".repeat(33), "ä"] {
            assert!(bad.parse::<Environment>().is_err(), "{bad}");
        }
        for good in ["tls/server.key", "Ü 1", &"a".repeat(128)] {
            assert_eq!(good.parse::<EntryName>().unwrap().to_string(), good);
        }
        for bad in ["", "a\n", "a\u{202e}b", "\u{200b}", &"a".repeat(129)] {
            assert!(bad.parse::<EntryName>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(64).parse::<SlotName>().is_ok() && "a".repeat(65).parse::<SlotName>().is_err());
        assert!("0".repeat(32).parse::<VaultId>().is_ok());
        assert!("A".repeat(32).parse::<VaultId>().is_err() && "0".repeat(30).parse::<VaultId>().is_err());
    }
}
