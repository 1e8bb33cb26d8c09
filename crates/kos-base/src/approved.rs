//! Which algorithms the build with the FIPS module may use, and whether that module is in use.
//!
//! Shape: [`Algorithm`] is every algorithm by which our programs protect something. [`Mode::BUILT`] is what this build
//! is, and the one place that asks for the feature `fips`. A door where an algorithm is chosen or accepted asks
//! [`Mode::admit`] and hands the answer on; so both ways are compiled into every build, and tests take either.
//!
//! Invariants: in [`Mode::Approved`] nothing is done by an algorithm that is not approved; it is refused by name, never
//! exchanged for another behind the caller's back. [`Mode::Any`] admits everything.
//!
//! Errors: [`NotApproved`], told to whoever asked for it; [`ModuleMissing`], by which a program refuses to start.
//!
//! What it does not do: make a system FIPS 140-3. It says what the module's own service indicator says of an algorithm,
//! and nothing of certificates, of the machine below, or of what other libraries hash and draw; see `docs/guide/fips.md`.
//!
//! Source: the service indicator of AWS-LC FIPS 4 (`crypto/fipsmodule/service_indicator`), FIPS 140-3 IG 2.4.C, FIPS
//! 186-5, FIPS 203, SP 800-38D, SP 800-56A/C, SP 800-132; decision 0040.

use core::fmt;

use crate::{Code, KeyAlgorithm, code};

/// Whether this program was built with the feature `fips`.
pub const FIPS: bool = cfg!(feature = "fips");

/// Fewest bytes of a passphrase from which the module's PBKDF2 is an approved service: 112 bits (SP 800-132).
pub const PASSPHRASE_BYTES_MIN: usize = 14;

/// An algorithm by which something is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256, SHA-384, SHA-512; SHA-1 where a format of others demands it and nothing is signed.
    Sha2,
    /// HMAC with those.
    Hmac,
    /// HKDF with HMAC-SHA-256.
    Hkdf,
    /// PBKDF2 with HMAC-SHA-512, of a passphrase of [`PASSPHRASE_BYTES_MIN`] and more.
    Pbkdf2,
    /// AES-128-GCM and AES-256-GCM.
    AesGcm,
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256 and P-384.
    Ecdsa,
    /// RSA of 2048 bits and more, to verify what others signed.
    RsaVerify,
    /// ECDH on P-256 and P-384.
    Ecdh,
    /// The hybrid key exchange of TLS: ML-KEM-768, with X25519 beside it.
    X25519MlKem768,

    /// PBKDF2 of a passphrase that is too short for the module to call it approved.
    ShortPassphrase,
    /// X25519 alone.
    X25519,
    /// HPKE with X25519 and ChaCha20-Poly1305.
    HpkeX25519,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// AES-128-CFB, in which TPMs hide what they are told.
    AesCfb,
    /// Argon2id.
    Argon2id,
    /// Files of `age`: X25519 or scrypt, with ChaCha20-Poly1305.
    Age,
    /// The cipher of SLIP-39 shares: a Feistel network of PBKDF2.
    Slip39,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Sha2,
        Self::Hmac,
        Self::Hkdf,
        Self::Pbkdf2,
        Self::AesGcm,
        Self::Ed25519,
        Self::Ecdsa,
        Self::RsaVerify,
        Self::Ecdh,
        Self::X25519MlKem768,
        Self::ShortPassphrase,
        Self::X25519,
        Self::HpkeX25519,
        Self::ChaCha20Poly1305,
        Self::AesCfb,
        Self::Argon2id,
        Self::Age,
        Self::Slip39,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Whether the module of the build calls it an approved service.
    pub const fn is_approved(self) -> bool {
        self.row().1.is_none()
    }

    /// What to use where it is refused; `None` when it is approved.
    pub const fn instead(self) -> Option<&'static str> {
        self.row().1
    }

    /// The table: a name, and what to use instead of what is not approved.
    const fn row(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Sha2 => ("SHA-2", None),
            Self::Hmac => ("HMAC", None),
            Self::Hkdf => ("HKDF", None),
            Self::Pbkdf2 => ("PBKDF2-HMAC-SHA-512", None),
            Self::AesGcm => ("AES-GCM", None),
            Self::Ed25519 => ("Ed25519", None),
            Self::Ecdsa => ("ECDSA P-256 and P-384", None),
            Self::RsaVerify => ("RSA verification", None),
            Self::Ecdh => ("ECDH P-256 and P-384", None),
            Self::X25519MlKem768 => ("X25519MLKEM768", None),
            Self::ShortPassphrase => {
                ("PBKDF2 of fewer than 14 bytes", Some("use a passphrase of at least 14 bytes"))
            }
            Self::X25519 => ("X25519", Some("use P-256, P-384 or X25519MLKEM768 where there is a choice")),
            Self::HpkeX25519 => (
                "HPKE with X25519 and ChaCha20-Poly1305",
                Some("send it over a link, which TLS encrypts with AES-GCM"),
            ),
            Self::ChaCha20Poly1305 => ("ChaCha20-Poly1305", Some("use AES-256-GCM")),
            Self::AesCfb => (
                "AES-128-CFB, in which secrets go to a TPM",
                Some("keep keys in the vault of the machine or in a PKCS#11 token"),
            ),
            Self::Argon2id => (
                "Argon2id",
                Some(
                    "read the secrets with the usual build, and put them into a vault that this one has made",
                ),
            ),
            Self::Age => (
                "age (X25519 or scrypt, with ChaCha20-Poly1305)",
                Some(
                    "copy the data folder of the stopped authority to a disk that is encrypted by other means",
                ),
            ),
            Self::Slip39 => ("the cipher of SLIP-39 shares", Some("add a second passkey to the vault")),
        }
    }
}

impl From<KeyAlgorithm> for Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Ed25519 => Self::Ed25519,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => Self::Ecdsa,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which algorithms are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that we have.
    Any,
    /// Those that the FIPS module calls approved.
    Approved,
}

impl Mode {
    /// That of this build.
    pub const BUILT: Self = if FIPS { Self::Approved } else { Self::Any };

    /// Whether `algorithm` may be used.
    pub const fn admits(self, algorithm: Algorithm) -> bool {
        matches!(self, Self::Any) || algorithm.is_approved()
    }

    /// Refuses what may not be used.
    ///
    /// # Errors
    /// [`NotApproved`], which names what to use instead.
    pub const fn admit(self, algorithm: Algorithm) -> Result<(), NotApproved> {
        if self.admits(algorithm) { Ok(()) } else { Err(NotApproved(algorithm)) }
    }

    /// The module that this mode needs; `None` when it needs none.
    ///
    /// # Errors
    /// [`ModuleMissing`] when it needs one that is not in use.
    pub fn module(self) -> Result<Option<Module>, ModuleMissing> {
        if self == Self::Any {
            return Ok(None);
        }
        aws_lc_rs::try_fips_mode().map_err(|_| ModuleMissing)?;
        let generation = aws_lc_rs::fips_version().ok_or(ModuleMissing)?;
        Ok(Some(Module { generation, library: aws_lc_rs::awslc_version() }))
    }
}

/// The FIPS module that is in use, as it tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// Which line of AWS-LC FIPS modules.
    pub generation: u32,
    /// The release of AWS-LC that it is part of.
    pub library: &'static str,
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FIPS module: AWS-LC FIPS {}, release {}", self.generation, self.library)
    }
}

/// Refuses to go on in a build that should have the module and does not use it. Programs call it first.
///
/// # Errors
/// [`ModuleMissing`].
pub fn module() -> Result<Option<Module>, ModuleMissing> {
    Mode::BUILT.module()
}

/// What `--version` says after the name of a program.
pub fn version(release: &str) -> String {
    match module() {
        Ok(None) => release.to_owned(),
        Ok(Some(module)) => format!("{release}\n{module}"),
        Err(error) => format!("{release}\n{error}"),
    }
}

/// An algorithm that this build does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this build has the FIPS module and refuses {}: {}",
    .0.as_str(),
    .0.instead().unwrap_or("it is approved")
)]
pub struct NotApproved(pub Algorithm);

impl NotApproved {
    /// The stable code.
    pub const fn code(self) -> Code {
        code::approved::NOT_APPROVED
    }
}

/// This build was made for the FIPS module, and the library that it runs with is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this build was made for the FIPS module, and the cryptographic library does not run as one")]
pub struct ModuleMissing;

impl ModuleMissing {
    /// The stable code.
    pub const fn code(self) -> Code {
        code::approved::MODULE_MISSING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table, so that nobody changes a row unseen.
    #[test]
    fn what_the_module_does_not_approve_is_refused_by_name_and_the_rest_is_not() {
        let refused: Vec<_> = Algorithm::ALL.into_iter().filter(|one| !Mode::Approved.admits(*one)).collect();
        let expected = [
            Algorithm::ShortPassphrase,
            Algorithm::X25519,
            Algorithm::HpkeX25519,
            Algorithm::ChaCha20Poly1305,
            Algorithm::AesCfb,
            Algorithm::Argon2id,
            Algorithm::Age,
            Algorithm::Slip39,
        ];
        assert_eq!(refused, expected);
        for algorithm in Algorithm::ALL {
            assert_eq!(Mode::Any.admit(algorithm), Ok(()), "{algorithm}");
            assert_eq!(algorithm.is_approved(), algorithm.instead().is_none(), "{algorithm}");
        }
        for algorithm in refused {
            let refusal = Mode::Approved.admit(algorithm).unwrap_err();
            let told = refusal.to_string();
            assert!(told.contains(algorithm.as_str()), "{told}");
            assert!(algorithm.instead().is_some_and(|instead| told.ends_with(instead)), "{told}");
            assert_eq!(refusal.code().number(), 900);
        }
    }

    #[test]
    fn every_algorithm_of_a_key_is_approved_so_their_doors_need_not_ask() {
        for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::P384] {
            assert_eq!(Mode::Approved.admit(algorithm.into()), Ok(()), "{algorithm}");
        }
    }

    #[test]
    fn a_build_for_the_module_does_not_run_without_it_and_no_other_needs_it() {
        assert_eq!(Mode::Any.module(), Ok(None));
        let module = Mode::Approved.module();
        assert_eq!(module.is_ok(), FIPS, "{module:?}");
        let told = version("1.2.3");
        assert_eq!(told == "1.2.3", !FIPS, "{told}");
        assert!(!told.to_lowercase().contains("complian"), "{told}");
    }
}
