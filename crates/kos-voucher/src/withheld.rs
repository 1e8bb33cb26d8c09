//! Why something does not let a device in.

use core::fmt;

use kos_base::{Code, text::printable};
use minicbor::{Decode, Encode};

/// Longest detail in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// Why a voucher, a factory certificate or the word of a node does not let a device in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Withheld {
    /// The number of a code.
    #[n(0)]
    number: u16,
    /// What exactly; empty where the code says it all.
    #[n(1)]
    detail: String,
}

impl Withheld {
    /// With nothing to add to the code.
    pub const fn new(code: Code) -> Self {
        Self { number: code.number(), detail: String::new() }
    }

    /// With what exactly did not hold.
    pub fn saying(code: Code, detail: &impl fmt::Display) -> Self {
        Self { number: code.number(), detail: printable(&detail.to_string(), DETAIL_CHARS_MAX) }
    }

    /// The number of the code.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The code; nothing when a later version wrote it.
    pub fn code(&self) -> Option<Code> {
        Code::all().find(|code| code.number() == self.number)
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code() {
            Some(code) if self.detail.is_empty() => write!(f, "{} ({code})", code.title()),
            Some(code) => write!(f, "{}: {} ({code})", code.title(), self.detail),
            None => write!(f, "{} (KOS-E{:04})", self.detail, self.number),
        }
    }
}

impl core::error::Error for Withheld {}
