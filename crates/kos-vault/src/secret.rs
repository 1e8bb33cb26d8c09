//! What a vault keeps: a value of a type.

use core::{fmt, str::FromStr};

use zeroize::Zeroizing;

use crate::{VALUE_BYTES_MAX, VaultError, signing::PrivateKey};

/// The bytes of a secret: wiped when dropped, never printed, serialised or cloned.
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// When there are more than [`VALUE_BYTES_MAX`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, VaultError> {
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(VaultError::Full("a value has at most 65 536 bytes"));
        }
        Ok(Self(bytes))
    }

    /// The bytes, for the one call that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

/// What a secret is (KV-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretType {
    /// A key of somebody's API.
    ApiKey,
    /// A certificate or chain.
    Certificate,
    /// A password.
    Password,
    /// A JSON Web Token.
    Jwt,
    /// A private key of OpenSSH.
    SshKey,
    /// The seed of one-time codes.
    TotpSeed,
    /// PKCS#8 of Ed25519 or P-256, which the vault can sign with.
    PrivateKey,
    /// Anything else.
    Opaque,
}

impl SecretType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::ApiKey,
        Self::Certificate,
        Self::Password,
        Self::Jwt,
        Self::SshKey,
        Self::TotpSeed,
        Self::PrivateKey,
        Self::Opaque,
    ];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Certificate => "certificate",
            Self::Password => "password",
            Self::Jwt => "jwt",
            Self::SshKey => "ssh_key",
            Self::TotpSeed => "totp_seed",
            Self::PrivateKey => "private_key",
            Self::Opaque => "opaque",
        }
    }

    /// Whether a secret of this type is a key of HMAC. A certificate or a token is none, a private key has a use of its own.
    pub(crate) const fn is_mac_key(self) -> bool {
        matches!(self, Self::ApiKey | Self::Password | Self::TotpSeed | Self::Opaque)
    }

    /// Refuses a value that the type does not have.
    pub(crate) fn admit(self, value: &[u8]) -> Result<(), VaultError> {
        match self {
            Self::PrivateKey if PrivateKey::read(value).is_none() => Err(VaultError::Value(self)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecretType {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| VaultError::malformed(format!("an entry of type `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_to_nobody() {
        let value = Value::new(Zeroizing::new(b"hunter2".to_vec())).unwrap();
        assert_eq!(format!("{value:?}"), "Value(..)");
        assert!(Value::new(Zeroizing::new(vec![0; VALUE_BYTES_MAX + 1])).is_err());
    }

    #[test]
    fn every_type_is_read_as_it_is_written() {
        for kind in SecretType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("token".parse::<SecretType>().is_err());
    }
}
