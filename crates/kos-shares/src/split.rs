//! Making shares of a key.
//!
//! Shape: one group, extendable, without passphrase, iteration exponent 1 as the reference implementation has it. The key is
//! random, so more work would buy nothing.
//!
//! Invariant: one [`Fresh`] makes one set; it is taken and wiped. Shares of two keys made with the same bytes would tell the
//! difference of the keys.
//!
//! Source: SLIP-39, "Generating the shares"; `docs/spec/recovery.md` RCV-1, RCV-2, RCV-4, RCV-5.

use core::fmt;

use kos_base::Secret;

use crate::{Identifier, KEY_BYTES, Passphrase, SHARES_MAX, Share, ShareError, cipher, field, share::Set};

/// How much work it is to come from the shared value to the key: 20 000 rounds, some milliseconds.
const ITERATION_EXPONENT: u8 = 1;

/// Random bytes of a sharing: one value for each share that may be missing, less the digest of the key.
pub const FRESH_BYTES: usize = 15 * KEY_BYTES - field::DIGEST_BYTES;

/// Into how many shares a key is split, and how many of them give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    threshold: u8,
    total: u8,
}

impl Plan {
    /// `threshold` of `total`: 1 of 1, or from 2 of 2 to 16 of 16.
    ///
    /// # Errors
    /// [`ShareError::Plan`] for anything else. That is also 1 of several, where every sheet would be the key: SLIP-39 wants
    /// a copy of the one sheet instead, which looks like what it is.
    pub const fn new(threshold: u8, total: u8) -> Result<Self, ShareError> {
        let is_split = 2 <= threshold && threshold <= total && total <= SHARES_MAX;
        if is_split || (threshold == 1 && total == 1) {
            Ok(Self { threshold, total })
        } else {
            Err(ShareError::Plan { threshold, total })
        }
    }

    /// How many shares are needed.
    pub const fn threshold(self) -> u8 {
        self.threshold
    }

    /// How many shares there are.
    pub const fn total(self) -> u8 {
        self.total
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.threshold, self.total)
    }
}

/// What the shell draws for one sharing.
#[derive(Debug)]
pub struct Fresh {
    /// Another one than that of the sharing before.
    pub identifier: Identifier,
    /// From a generator that is fit for keys.
    pub bytes: Secret<FRESH_BYTES>,
}

/// Splits `key` into the shares of `plan`, by number.
///
/// Nobody is to rely on a share before it was written down and read back: see `docs/spec/recovery.md` RCV-16.
///
/// # Errors
/// [`ShareError::NotApproved`] in the build with the FIPS module.
///
/// *Cost*: some milliseconds.
pub fn split(key: &Secret<KEY_BYTES>, plan: Plan, fresh: Fresh) -> Result<Vec<Share>, ShareError> {
    let Fresh { identifier, bytes } = fresh;
    let set = Set {
        identifier,
        is_extendable: true,
        iteration_exponent: ITERATION_EXPONENT,
        group_threshold: 1,
        group_count: 1,
    };
    let shared = cipher::encrypt(key.expose(), &set, &Passphrase::none())?;
    let values = field::split(&shared, plan.threshold, plan.total, bytes.expose());
    let share = |(member, value)| Share { set, group: 0, member, member_threshold: plan.threshold, value };
    Ok((0..).zip(values).map(share).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_make_sense_are_those_of_slip_39() {
        let made = |threshold, total| Plan::new(threshold, total).is_ok();
        for (threshold, total) in [(1, 1), (2, 2), (2, 3), (3, 5), (16, 16)] {
            assert!(made(threshold, total), "{threshold} of {total}");
        }
        for (threshold, total) in
            [(0, 0), (0, 1), (1, 0), (1, 2), (1, 16), (3, 2), (2, 17), (17, 17), (255, 255)]
        {
            assert!(!made(threshold, total), "{threshold} of {total}");
        }
    }

    #[test]
    fn fresh_bytes_are_enough_for_the_largest_threshold_and_each_one_counts() {
        // 16 of 16: 28 bytes beside the digest, and 14 drawn values.
        assert_eq!(FRESH_BYTES, 28 + 14 * 32);
        let plan = Plan::new(16, 16).unwrap();
        let made = |bytes| {
            let fresh = Fresh { identifier: Identifier::from_random([0, 1]), bytes: Secret::new(bytes) };
            let shares = split(&Secret::new([1; 32]), plan, fresh).unwrap();
            shares.iter().map(|share| share.value.to_vec()).collect::<Vec<_>>()
        };
        let one = made([3; FRESH_BYTES]);
        for place in [0, 27, 28, FRESH_BYTES - 1] {
            let mut bytes = [3; FRESH_BYTES];
            bytes[place] = 4;
            assert_ne!(made(bytes), one, "byte {place}");
        }
    }
}
