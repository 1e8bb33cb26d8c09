//! The code that arming shows once: 40 random bits as eight characters of Crockford's base 32 (KILL-3).

use core::fmt;

use kos_base::digest::{Sha256, sha256_parts};
use zeroize::Zeroizing;

/// Neither I, L, O nor U: read aloud and typed without doubt.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code.
const CHARS: usize = 8;

/// A code, as it is compared: eight characters of the alphabet. Not in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmCode(Zeroizing<String>);

impl ConfirmCode {
    /// The code of five random bytes.
    pub(super) fn of(random: [u8; 5]) -> Self {
        let bits = random.into_iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(byte));
        let one = |at: usize| {
            let index = usize::try_from((bits >> (5 * (CHARS - 1 - at))) & 31).unwrap_or(0);
            char::from(ALPHABET.get(index).copied().unwrap_or(b'0'))
        };
        Self(Zeroizing::new((0..CHARS).map(one).collect()))
    }

    /// What somebody typed; case, hyphens and spaces do not count, and letters that look like digits are those.
    /// Whatever it is, it is a code: a wrong one.
    pub fn typed(text: &str) -> Self {
        let one = |c: char| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let kept = text.chars().filter(|c| !matches!(c, '-' | ' ')).take(4 * CHARS);
        Self(Zeroizing::new(kept.map(one).collect()))
    }

    /// As it is shown: two groups of four.
    pub fn shown(&self) -> Zeroizing<String> {
        let (first, second) = self.0.split_at_checked(CHARS / 2).unwrap_or((&self.0, ""));
        Zeroizing::new(format!("{first}-{second}"))
    }

    pub(super) fn hash(&self, salt: &[u8; 16]) -> Sha256 {
        sha256_parts("kos kill code v1", [salt.as_slice(), self.0.as_bytes()])
    }
}

impl fmt::Debug for ConfirmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmCode(..)")
    }
}
