//! Words that people write into requests: reasons, tags, and texts that must not be shown.

use core::{fmt, str::FromStr};
use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize as _, Zeroizing};

/// The text is too long, empty, or has characters that it may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadText(&'static str);

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}", self.0)
    }
}

impl core::error::Error for BadText {}

/// Why somebody did something: 1 to 200 visible characters, which go into the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// A mark on a device to find it again: 1 to 48 of `a-z 0-9 . _ -`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// Most tags of one device.
    pub const COUNT_MAX: usize = 32;
}

/// Name of an operator, which its certificate carries too: 1 to 48 of `a-z 0-9 . _ -`, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorName(String);

impl FromStr for OperatorName {
    type Err = BadText;

    fn from_str(s: &str) -> Result<Self, BadText> {
        if is_label(s) {
            return Ok(Self(s.to_owned()));
        }
        Err(BadText("an operator's name (1 to 48 of a-z, 0-9, `.`, `_`, `-`)"))
    }
}

impl FromStr for Reason {
    type Err = BadText;

    fn from_str(s: &str) -> Result<Self, BadText> {
        let visible = s.chars().all(kos_base::text::is_safe) && s.trim() == s;
        let fits = (1..=200).contains(&s.chars().count());
        if visible && fits {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadText("a reason (1 to 200 visible characters)"))
        }
    }
}

impl FromStr for Tag {
    type Err = BadText;

    fn from_str(s: &str) -> Result<Self, BadText> {
        if is_label(s) {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadText("a tag (1 to 48 of a-z, 0-9, `.`, `_`, `-`)"))
        }
    }
}

/// 1 to 48 of `a-z 0-9 . _ -`, starting with a letter or digit.
fn is_label(s: &str) -> bool {
    let alphabet = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let starts = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    starts && s.len() <= 48 && s.bytes().all(alphabet)
}

macro_rules! checked {
    ($type:ident) => {
        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

checked!(Reason);
checked!(Tag);
checked!(OperatorName);

/// A text that lets somebody in, such as a ticket. It travels in a body and is never shown by `Debug`, and therefore
/// never in a log; it is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Takes the text over.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// JSON that may hold a secret. It is wiped when it is dropped, and so is what it outgrows while it is written.
///
/// # Errors
/// As [`serde_json::to_writer`].
pub fn secret_json<T: Serialize>(value: &T) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut written = Growing(Zeroizing::new(Vec::with_capacity(SECRET_JSON_BYTES)));
    serde_json::to_writer(&mut written, value)?;
    Ok(written.0)
}

/// Room that most documents do not outgrow, in bytes.
const SECRET_JSON_BYTES: usize = 1024;

/// A buffer that leaves nothing behind where it was before it grew.
struct Growing(Zeroizing<Vec<u8>>);

impl io::Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.0.capacity() * 2)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_tags_are_bounded() {
        assert!("site closed, see 4711".parse::<Reason>().is_ok());
        for bad in ["", " x", "a\nb", &"x".repeat(201)] {
            assert!(bad.parse::<Reason>().is_err(), "{bad:?}");
        }
        assert!("rack.b4".parse::<Tag>().is_ok());
        for bad in ["", ".x", "Rack", "a b", "a=b", &"x".repeat(49)] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn json_of_secrets_is_the_json_that_it_would_be_otherwise() {
        let long = SecretText::new("x\"y".repeat(10_000));
        assert_eq!(*secret_json(&long).unwrap(), serde_json::to_vec(&long).unwrap());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", SecretText::new("kos1.abc".into())), "SecretText(..)");
    }
}
