//! The cipher between the secret and what is shared: four Feistel rounds of PBKDF2-HMAC-SHA-256.
//!
//! It lets a passphrase guard a set, and makes parts of enough shares worth nothing: every bit of the secret depends on all
//! bits of the shared value. A wrong passphrase gives another secret and no error; SLIP-39 wants it so.
//!
//! Invariants: the length of a block is even. The work is `4 · 2500 · 2^exponent` rounds, with an exponent that
//! [`Share::parse`](crate::Share::parse) has kept below [`ITERATION_EXPONENT_MAX`](crate::ITERATION_EXPONENT_MAX).
//!
//! Source: SLIP-39, "Encryption of the master secret"; `docs/spec/recovery.md` RCV-4.

use core::{fmt, num::NonZeroU32};

use aws_lc_rs::pbkdf2;
use kos_base::approved::{Algorithm, Mode};
use zeroize::Zeroizing;

use crate::{ShareError, share::Set};

/// Iterations of one round, times two for each step of the exponent.
const ITERATIONS_MIN: u32 = 2500;
const ROUNDS: [u8; 4] = [0, 1, 2, 3];

/// What a set of somebody else may be guarded with; ours have none.
#[derive(Default)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// That of a set which has none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes it as it is.
    ///
    /// # Errors
    /// [`ShareError::Passphrase`] for characters other than printable ASCII.
    pub fn new(text: String) -> Result<Self, ShareError> {
        let text = Zeroizing::new(text);
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_plain { Ok(Self(text)) } else { Err(ShareError::Passphrase) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What is shared in the place of `secret`; an error in the build with the FIPS module.
pub(crate) fn encrypt(
    secret: &[u8],
    set: &Set,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, ShareError> {
    Mode::BUILT.admit(Algorithm::Slip39)?;
    Ok(run(secret, ROUNDS.into_iter(), set, passphrase))
}

/// The secret in whose place `shared` was shared; an error in the build with the FIPS module.
pub(crate) fn decrypt(
    shared: &[u8],
    set: &Set,
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, ShareError> {
    Mode::BUILT.admit(Algorithm::Slip39)?;
    Ok(run(shared, ROUNDS.into_iter().rev(), set, passphrase))
}

fn run(
    block: &[u8],
    rounds: impl Iterator<Item = u8>,
    set: &Set,
    passphrase: &Passphrase,
) -> Zeroizing<Vec<u8>> {
    let (left, right) = block.split_at(block.len() / 2);
    let (mut left, mut right) = (Zeroizing::new(left.to_vec()), Zeroizing::new(right.to_vec()));
    let iterations = NonZeroU32::new(ITERATIONS_MIN << set.iteration_exponent).unwrap_or(NonZeroU32::MIN);
    for round in rounds {
        let key = Zeroizing::new([&[round], passphrase.0.as_bytes()].concat());
        let salt = Zeroizing::new([set.salt().as_slice(), &right].concat());
        let mut mask = Zeroizing::new(vec![0; left.len()]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, &key, &mut mask);
        left.iter_mut().zip(mask.iter()).for_each(|(to, with)| *to ^= with);
        core::mem::swap(&mut left, &mut right);
    }
    Zeroizing::new([right.as_slice(), &left].concat())
}
