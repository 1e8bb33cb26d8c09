//! Passphrases, and the work that makes guessing them expensive.
//!
//! The parameters stand in the file, so whoever wrote it chose them: [`Work::admit`] holds them between a floor, below which
//! a copy of the file would be guessed cheaply, and a ceiling, above which opening it would be an attack on the opener. It
//! is asked before any work is done.
//!
//! In the build with the FIPS module, Argon2id and short passphrases are refused before any work as well, and PBKDF2 is what
//! is written; see [`kos_base::approved`].
//!
//! Source: KV-13, KV-16, KV-17; RFC 9106, RFC 8018.

use core::{fmt, num::NonZeroU32};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::pbkdf2;
use kos_base::{
    Secret,
    approved::{Algorithm as Approved, Mode, PASSPHRASE_BYTES_MIN},
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::VaultError;

/// A passphrase, byte for byte; wiped when dropped and shown to nobody.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Fewest characters of a passphrase that a slot is written for.
    pub const CHARS_MIN: usize = 12;
    /// Longest passphrase, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Takes it as it is.
    ///
    /// # Errors
    /// When it is longer than [`Passphrase::BYTES_MAX`].
    pub fn new(text: Zeroizing<String>) -> Result<Self, VaultError> {
        if text.len() > Self::BYTES_MAX { Err(VaultError::Passphrase) } else { Ok(Self(text)) }
    }

    /// Refuses one that is too short to protect anything new.
    pub(crate) fn admit(&self) -> Result<(), VaultError> {
        if self.0.chars().count() < Self::CHARS_MIN { Err(VaultError::Passphrase) } else { Ok(()) }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What one guess of a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Argon2id, version 1.3.
    Argon2id {
        /// Passes over the memory.
        iterations: u32,
        /// Memory, in KiB.
        memory_kib: u32,
        /// Lanes.
        parallelism: u32,
    },
    /// PBKDF2 with HMAC-SHA-512.
    Pbkdf2 {
        /// Rounds.
        iterations: u32,
    },
}

impl Work {
    /// What this build writes unless told otherwise.
    pub const DEFAULT: Self = Self::default_of(Mode::BUILT);
    /// Rounds of PBKDF2 that are written where Argon2id is not: about half a second on one core.
    pub const ROUNDS_DEFAULT: u32 = 600_000;

    /// The word in the file.
    pub(crate) const ARGON2ID: &str = "Argon2id";
    /// The word in the file.
    pub(crate) const PBKDF2: &str = "PBKDF2";

    /// Least memory of Argon2id, in KiB, and fewest passes: the smallest pair that current guidance allows.
    pub const MEMORY_KIB_MIN: u32 = 19_456;
    /// See [`Work::MEMORY_KIB_MIN`].
    pub const PASSES_MIN: u32 = 2;
    /// Most memory of Argon2id, in KiB: 1 GiB; stops a file from exhausting the machine.
    pub const MEMORY_KIB_MAX: u32 = 1 << 20;
    /// Most passes of Argon2id.
    pub const PASSES_MAX: u32 = 16;
    /// Most lanes of Argon2id.
    pub const LANES_MAX: u32 = 16;
    /// Most memory times passes of Argon2id, in KiB: 4 GiB, a few seconds of one core.
    pub const WORK_KIB_MAX: u64 = 4 << 20;
    /// Fewest rounds of PBKDF2 that are read: those of the source document.
    pub const ROUNDS_READ_MIN: u32 = 200_000;
    /// Fewest rounds of PBKDF2 that are written: current guidance for HMAC-SHA-512.
    pub const ROUNDS_WRITTEN_MIN: u32 = 220_000;
    /// Most rounds of PBKDF2, a few seconds of one core.
    pub const ROUNDS_MAX: u32 = 5_000_000;

    /// What is written unless told otherwise: the second choice of RFC 9106 section 4, 64 MiB, 3 passes, 4 lanes, about a
    /// third of a second on one core; PBKDF2 where only approved algorithms are.
    pub const fn default_of(mode: Mode) -> Self {
        if mode.admits(Approved::Argon2id) {
            Self::Argon2id { iterations: 3, memory_kib: 65_536, parallelism: 4 }
        } else {
            Self::Pbkdf2 { iterations: Self::ROUNDS_DEFAULT }
        }
    }

    /// Refuses what `mode` has no approved algorithm for.
    fn admit_in(self, mode: Mode, passphrase: &Passphrase) -> Result<(), VaultError> {
        let algorithm = match self {
            Self::Argon2id { .. } => Approved::Argon2id,
            Self::Pbkdf2 { .. } if passphrase.0.len() < PASSPHRASE_BYTES_MIN => Approved::ShortPassphrase,
            Self::Pbkdf2 { .. } => Approved::Pbkdf2,
        };
        Ok(mode.admit(algorithm)?)
    }

    /// Refuses what is read when it costs too little or too much.
    pub(crate) fn admit(self) -> Result<(), VaultError> {
        match self {
            Self::Argon2id { iterations, memory_kib, parallelism } => {
                if memory_kib < Self::MEMORY_KIB_MIN {
                    Err(VaultError::TooWeak("less than 19 MiB of memory"))
                } else if iterations < Self::PASSES_MIN || parallelism == 0 {
                    Err(VaultError::TooWeak("less than 2 iterations or no lane"))
                } else if memory_kib > Self::MEMORY_KIB_MAX
                    || iterations > Self::PASSES_MAX
                    || parallelism > Self::LANES_MAX
                    || u64::from(memory_kib) * u64::from(iterations) > Self::WORK_KIB_MAX
                {
                    Err(VaultError::TooHeavy(
                        "Argon2id beyond 1 GiB, 16 iterations, 16 lanes or 4 GiB in all",
                    ))
                } else {
                    Ok(())
                }
            }
            Self::Pbkdf2 { iterations } if iterations < Self::ROUNDS_READ_MIN => {
                Err(VaultError::TooWeak("less than 200 000 iterations"))
            }
            Self::Pbkdf2 { iterations } if iterations > Self::ROUNDS_MAX => {
                Err(VaultError::TooHeavy("more than 5 000 000 iterations"))
            }
            Self::Pbkdf2 { .. } => Ok(()),
        }
    }

    /// Refuses what is to be written when it costs too little or too much.
    pub(crate) fn admit_written(self) -> Result<(), VaultError> {
        match self {
            Self::Pbkdf2 { iterations } if iterations < Self::ROUNDS_WRITTEN_MIN => {
                Err(VaultError::TooWeak("less than 220 000 iterations"))
            }
            admitted => admitted.admit(),
        }
    }

    /// What to write where this was read.
    pub(crate) fn raised(self) -> Self {
        match self {
            Self::Pbkdf2 { iterations } => {
                Self::Pbkdf2 { iterations: iterations.max(Self::ROUNDS_WRITTEN_MIN) }
            }
            argon2id => argon2id,
        }
    }

    /// Does the work. Parameters were admitted.
    pub(crate) fn derive(self, passphrase: &Passphrase, salt: &[u8]) -> Result<Secret<32>, VaultError> {
        self.admit_in(Mode::BUILT, passphrase)?;
        self.stretch(passphrase.0.as_bytes(), salt)
    }

    fn stretch(self, passphrase: &[u8], salt: &[u8]) -> Result<Secret<32>, VaultError> {
        let mut out = [0; 32];
        let done = match self {
            Self::Argon2id { iterations, memory_kib, parallelism } => {
                Params::new(memory_kib, iterations, parallelism, Some(out.len()))
                    .map_err(|_| VaultError::Fault)
                    .and_then(|params| argon2id(params, passphrase, salt, &mut out))
            }
            Self::Pbkdf2 { iterations } => {
                NonZeroU32::new(iterations).ok_or(VaultError::Fault).map(|rounds| {
                    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, rounds, salt, passphrase, &mut out);
                })
            }
        };
        let secret = Secret::new(out);
        out.zeroize();
        done.map(|()| secret)
    }
}

/// With the memory in our hands: it is wiped afterwards, and where there is not enough that is an error.
fn argon2id(params: Params, passphrase: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), VaultError> {
    let mut memory: Vec<Block> = Vec::new();
    let blocks = params.block_count();
    memory
        .try_reserve_exact(blocks)
        .map_err(|_| VaultError::TooHeavy("Argon2id with more memory than there is"))?;
    memory.resize(blocks, Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let done = argon2.hash_password_into_with_memory(passphrase, salt, out, &mut memory);
    memory.zeroize();
    done.map_err(|_| VaultError::Fault)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use kos_base::approved::NotApproved;

    use super::*;

    fn check(work: Work, passphrase: &[u8], salt: &[u8], expected: &str) {
        let derived = work.stretch(passphrase, salt).unwrap();
        assert_eq!(HEXLOWER.encode(derived.expose()), expected, "{work:?}");
    }

    #[test]
    fn pbkdf2_matches_published_vectors() {
        // The widely published pair for HMAC-SHA-512; the first 32 of 64 bytes.
        let one = "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252";
        check(Work::Pbkdf2 { iterations: 1 }, b"password", b"salt", one);
        let many = "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5";
        check(Work::Pbkdf2 { iterations: 4096 }, b"password", b"salt", many);
    }

    #[test]
    fn argon2id_matches_the_reference_implementation() {
        let work = Work::Argon2id { iterations: 2, memory_kib: 65_536, parallelism: 1 };
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        check(work, b"password", b"somesalt", expected);
    }

    #[test]
    fn argon2id_matches_rfc_9106() {
        // Its one vector has a secret and associated data, which the format does not use.
        let mut params = argon2::ParamsBuilder::new();
        params.m_cost(32).t_cost(3).p_cost(4).data(argon2::AssociatedData::new(&[4; 12]).unwrap());
        let argon2 =
            Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params.build().unwrap());
        let mut out = [0; 32];
        argon2.unwrap().hash_password_into(&[1; 32], &[2; 16], &mut out).unwrap();
        let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
        assert_eq!(HEXLOWER.encode(&out), expected);
    }

    #[test]
    fn work_has_a_floor_and_a_ceiling() {
        let argon2id =
            |memory_kib, iterations, parallelism| Work::Argon2id { iterations, memory_kib, parallelism };
        let pbkdf2 = |iterations| Work::Pbkdf2 { iterations };
        for good in [
            Work::DEFAULT,
            argon2id(19_456, 2, 1),
            argon2id(1 << 20, 4, 16),
            argon2id(1 << 18, 16, 1),
            pbkdf2(220_000),
            pbkdf2(5_000_000),
        ] {
            assert_eq!((good.admit(), good.admit_written()), (Ok(()), Ok(())), "{good:?}");
        }
        for weak in [argon2id(19_455, 2, 1), argon2id(65_536, 1, 1), argon2id(65_536, 2, 0), pbkdf2(199_999)]
        {
            assert!(matches!(weak.admit(), Err(VaultError::TooWeak(_))), "{weak:?}");
        }
        for heavy in [
            argon2id((1 << 20) + 1, 2, 1),
            argon2id(19_456, 17, 1),
            argon2id(19_456, 2, 17),
            argon2id(1 << 20, 5, 1),
            argon2id(u32::MAX, u32::MAX, u32::MAX),
            pbkdf2(5_000_001),
        ] {
            assert!(matches!(heavy.admit(), Err(VaultError::TooHeavy(_))), "{heavy:?}");
        }
        let read_only = pbkdf2(200_000);
        assert_eq!(read_only.admit(), Ok(()));
        assert!(matches!(read_only.admit_written(), Err(VaultError::TooWeak(_))));
        assert_eq!(read_only.raised(), pbkdf2(220_000));
    }

    #[test]
    fn with_the_fips_module_pbkdf2_is_written_and_argon2id_and_short_passphrases_are_refused() {
        assert!(matches!(Work::default_of(Mode::Any), Work::Argon2id { .. }));
        let written = Work::default_of(Mode::Approved);
        assert!(matches!(written, Work::Pbkdf2 { .. }));
        assert_eq!(written.admit_written(), Ok(()));

        let [long, short] = ["fourteen bytes", "thirteen byte"]
            .map(|text| Passphrase::new(Zeroizing::new(text.to_owned())).unwrap());
        let argon2id = Work::default_of(Mode::Any);
        for (work, passphrase, refused) in [
            (written, &long, None),
            (written, &short, Some(Approved::ShortPassphrase)),
            (argon2id, &long, Some(Approved::Argon2id)),
        ] {
            assert_eq!(work.admit_in(Mode::Any, passphrase), Ok(()));
            let expected =
                refused.map_or(Ok(()), |algorithm| Err(VaultError::NotApproved(NotApproved(algorithm))));
            assert_eq!(work.admit_in(Mode::Approved, passphrase), expected);
        }
    }

    #[test]
    fn passphrases_are_bounded_and_shown_to_nobody() {
        let passphrase = |text: &str| Passphrase::new(Zeroizing::new(text.to_owned()));
        assert!(passphrase(&"x".repeat(1025)).is_err());
        assert!(!format!("{:?}", passphrase("correct horse")).contains("horse"));
        assert!(passphrase("elevenchars").unwrap().admit().is_err());
        assert!(passphrase("twelve chars").unwrap().admit().is_ok());
    }
}
