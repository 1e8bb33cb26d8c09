//! Passkeys: what a slot says of one, and what one gives.
//!
//! The secret of such a slot is the 32 bytes that the PRF extension of WebAuthn gives for one salt. Where an authenticator
//! has two functions, one for requests without its PIN or biometric, WebAuthn takes the other alone; so these bytes come
//! from the device together with its person.
//!
//! What it does not do: talk to browsers or check what they sign. Whoever adds a slot does that before.
//!
//! Source: KV-34 to KV-37; Web Authentication Level 3, section 10.1.4.

use core::{fmt, str::FromStr};

use kos_base::Secret;

use crate::{ParseNameError, SlotName, keys::same};

/// Lengths of the id of a credential, in bytes: at least the entropy that WebAuthn demands, and the most that it allows.
pub const CREDENTIAL_ID_BYTES: core::ops::RangeInclusive<usize> = 16..=1023;
/// Longest name of a relying party, in bytes: that of a domain.
const RELYING_PARTY_BYTES_MAX: usize = 253;

/// The domain that a passkey was made for (the RP id of WebAuthn). Browsers show it to no page of another domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelyingParty(String);

impl RelyingParty {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelyingParty {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let fits = |label: &str| {
            let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            label.len() <= 63
                && ends(label.bytes().next())
                && ends(label.bytes().last())
                && label.bytes().all(inner)
        };
        if text.len() <= RELYING_PARTY_BYTES_MAX && text.split('.').all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseNameError::new(text, "a domain in lower-case letters, digits and `-`"))
        }
    }
}

impl fmt::Display for RelyingParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which passkey, and what it is asked. None of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    credential: Vec<u8>,
    relying_party: RelyingParty,
    prf_salt: [u8; 32],
}

impl Passkey {
    /// One whose id has a length that WebAuthn allows.
    pub fn new(credential: Vec<u8>, relying_party: RelyingParty, prf_salt: [u8; 32]) -> Option<Self> {
        let fits = CREDENTIAL_ID_BYTES.contains(&credential.len());
        fits.then_some(Self { credential, relying_party, prf_salt })
    }

    /// The id of the credential.
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    /// The domain that it was made for.
    pub const fn relying_party(&self) -> &RelyingParty {
        &self.relying_party
    }

    /// What its function is evaluated for (`eval.first`).
    pub const fn prf_salt(&self) -> &[u8; 32] {
        &self.prf_salt
    }
}

/// What whoever asks a passkey has to know of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeySlot {
    /// The slot's name.
    pub name: SlotName,
    /// Which passkey opens it.
    pub passkey: Passkey,
}

/// What the function of a passkey gave for the salt of one slot: it opens that slot.
pub struct PrfOutput(pub(crate) Secret<32>);

impl PrfOutput {
    /// Takes it over; `None` when it is zero, as from a device that has no such function and does not say so.
    pub fn new(bytes: Secret<32>) -> Option<Self> {
        (!same(bytes.expose(), &[0; 32])).then_some(Self(bytes))
    }
}

impl fmt::Debug for PrfOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrfOutput(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relying_party_is_a_plain_domain() {
        for good in ["localhost", "kos.example", "a-b.1c.example", &["a"; 127].join(".")] {
            assert_eq!(good.parse::<RelyingParty>().unwrap().as_str(), good);
        }
        let long = ["a"; 128].join(".");
        for bad in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "b\u{fc}ro", "a:1", "https://a", &long]
        {
            assert!(bad.parse::<RelyingParty>().is_err(), "{bad}");
        }
        assert!(
            "a".repeat(63).parse::<RelyingParty>().is_ok() && "a".repeat(64).parse::<RelyingParty>().is_err()
        );
    }

    #[test]
    fn the_id_of_a_credential_has_the_lengths_of_webauthn_and_zero_is_no_output() {
        let of = |length| Passkey::new(vec![1; length], "localhost".parse().unwrap(), [2; 32]);
        assert!(of(15).is_none() && of(1024).is_none());
        for length in [16, 1023] {
            assert_eq!(of(length).unwrap().credential().len(), length);
        }
        assert!(PrfOutput::new(Secret::new([0; 32])).is_none());
        assert_eq!(format!("{:?}", PrfOutput::new(Secret::new([1; 32])).unwrap()), "PrfOutput(..)");
    }
}
