//! A small file in the age format, to X25519 recipients: so much of the format as a device needs to write, and nothing
//! that reads.
//!
//! Shape: the header (a line with the version, a stanza for each recipient that wraps the file key, the MAC over both), 16
//! random bytes, and one chunk of the payload: what is sealed has at most [`CHUNK_BYTES_MAX`] bytes.
//!
//! Invariants: file key, ephemeral keys and nonce are fresh for each file, so that the constant nonces of the format are
//! used once under each key. Keys are wiped.
//!
//! What it does not do: passphrases, other recipients, several chunks, armour.
//!
//! Source: <https://age-encryption.org/v1> (C2SP age); BIP 173 for the text of a recipient; the `age` of Debian opens what is
//! written (`tests/e2e/tests/quarantine.rs`).

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use bech32::{Bech32, primitives::decode::CheckedHrpstring};
use data_encoding::BASE64_NOPAD;
use kos_base::{
    AgreementKey, Secret,
    approved::{Algorithm, Mode, NotApproved},
    text::printable,
};
use kos_net::{
    entropy::{self, NoEntropy},
    keys::{AgreementSecret, KeyError},
};

/// Longest content in bytes: one chunk.
const CHUNK_BYTES_MAX: usize = 65_536;

const VERSION: &str = "age-encryption.org/v1";
const X25519_LABEL: &[u8] = b"age-encryption.org/v1/X25519";

/// Why nothing is sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A recipient is none.
    #[error("`{0}` is no X25519 recipient of age")]
    Recipient(String),
    /// There is nobody to seal it to.
    #[error("there is no recipient")]
    Nobody,
    /// It is longer than a chunk.
    #[error("{0} bytes are more than one chunk")]
    TooLong(usize),
    /// This build has the FIPS module, which does not approve of age.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// A recipient's point is of small order, or the provider fails.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The provider fails.
    #[error("the provider of cryptography failed")]
    Provider,
}

/// Seals `content` to all of `recipients`.
///
/// # Errors
/// When a recipient is none, the content is too long, or the build has the FIPS module.
pub fn seal(content: &[u8], recipients: &[String]) -> Result<Vec<u8>, SealError> {
    Mode::BUILT.admit(Algorithm::Age)?;
    if content.len() > CHUNK_BYTES_MAX {
        return Err(SealError::TooLong(content.len()));
    }
    if recipients.is_empty() {
        return Err(SealError::Nobody);
    }
    let file_key: Secret<16> = entropy::secret()?;
    let mut header = format!("{VERSION}\n");
    for text in recipients {
        header += &stanza(recipient(text)?, &file_key)?;
    }
    header += "---";
    let mac_key = derive(&[], file_key.expose(), b"header")?;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, mac_key.expose()), header.as_bytes());
    header += &format!(" {}\n", BASE64_NOPAD.encode(mac.as_ref()));
    let nonce: [u8; 16] = entropy::array()?;
    let payload_key = derive(&nonce, file_key.expose(), b"payload")?;
    // Chunk 0, and the last.
    let chunk = encrypt(&payload_key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], content)?;
    Ok([header.as_bytes(), &nonce, &chunk].concat())
}

/// The file key, for one recipient.
fn stanza(to: AgreementKey, file_key: &Secret<16>) -> Result<String, SealError> {
    let ephemeral = AgreementSecret::generate()?;
    let share = ephemeral.public().0;
    let shared = ephemeral.agree(to)?;
    let wrap_key = derive(&[share, to.0].concat(), shared.expose(), X25519_LABEL)?;
    let wrapped = encrypt(&wrap_key, [0; 12], file_key.expose())?;
    Ok(format!("-> X25519 {}\n{}\n", BASE64_NOPAD.encode(&share), BASE64_NOPAD.encode(&wrapped)))
}

/// The key that a text such as `age1..` stands for.
fn recipient(text: &str) -> Result<AgreementKey, SealError> {
    let refused = || SealError::Recipient(printable(text, 100));
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| refused())?;
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if checked.hrp().as_str() != "age" || !is_lower {
        return Err(refused());
    }
    <[u8; 32]>::try_from(bytes).map(AgreementKey).map_err(|_| refused())
}

fn encrypt(key: &Secret<32>, nonce: [u8; 12], content: &[u8]) -> Result<Vec<u8>, SealError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose()).map_err(|_| SealError::Provider)?;
    let mut sealed = content.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .map_err(|_| SealError::Provider)?;
    Ok(sealed)
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF with SHA-256 (RFC 5869).
fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Secret<32>, SealError> {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Length)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| SealError::Provider)?;
    Ok(Secret::new(*key))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use age::{Decryptor, Identity, x25519};

    use super::*;

    fn open(sealed: &[u8], key: &x25519::Identity) -> Option<Vec<u8>> {
        let decryptor = Decryptor::new(sealed).unwrap();
        let mut plain = Vec::new();
        let keys: [&dyn Identity; 1] = [key];
        decryptor.decrypt(keys.into_iter()).ok()?.read_to_end(&mut plain).ok()?;
        Some(plain)
    }

    #[test]
    fn every_recipient_opens_it_and_nobody_else() {
        let keys = [(); 3].map(|()| x25519::Identity::generate());
        let [one, two, stranger] = &keys;
        let to = [one, two].map(|key| key.to_public().to_string());
        for length in [0, 1, 4_095, CHUNK_BYTES_MAX] {
            let content = vec![7; length];
            let sealed = seal(&content, &to).unwrap();
            assert_eq!(open(&sealed, one).as_ref(), Some(&content));
            assert_eq!(open(&sealed, two).as_ref(), Some(&content));
            assert_eq!(open(&sealed, stranger), None);
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        let good = x25519::Identity::generate().to_public().to_string();
        let swapped = good.replacen('q', "p", 1).replacen("age1", "age2", 1);
        for bad in ["", "age1", "age1qqqq", &good.to_uppercase(), &good[..60], &format!("{good}q"), &swapped]
        {
            let refused = seal(b"x", &[good.clone(), (*bad).to_owned()]);
            assert!(matches!(refused, Err(SealError::Recipient(_))), "{bad}");
        }
        assert!(matches!(seal(b"x", &[]), Err(SealError::Nobody)));
        assert!(matches!(seal(&vec![0; CHUNK_BYTES_MAX + 1], &[good]), Err(SealError::TooLong(_))));
    }
}
