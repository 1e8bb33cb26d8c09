//! The seal on an answer of the page: only the program that began opens it, whoever has its port by then.
//!
//! Shape: a [`Lock`] is a key of P-256 that lives in this process. The page makes another for the one answer; both agree, HKDF-SHA-256
//! makes a key of that, and AES-256-GCM seals with it.
//!
//! Invariants: code, challenges and both public keys are in the derivation and in the associated data, so an answer opens for one page
//! of one run and for one start of it, and only if the page had the code. The public half goes to whoever showed the code, and to nobody
//! else. The nonce is zero, since each answer has a key of its own.
//!
//! Errors: none; what does not open is nothing.
//!
//! What it does not do: judge what was sealed. Keep the page from a foreign key when somebody else served the page itself, or had
//! the port before the code was typed.
//!
//! Source: `docs/spec/vault.md` KVS-24; RFC 5869; NIST SP 800-38D; Web Cryptography API, for the curve that every browser has.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    error::Unspecified,
    hkdf::{HKDF_SHA256, Salt},
};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::chance;

/// What the keys are for.
const DOMAIN: &[u8] = b"kos passkey page v1";
/// Bytes of a point that is written out, as `raw` of browsers has it.
const POINT_BYTES: usize = 65;

/// What opens one answer.
pub(super) struct Lock {
    key: PrivateKey,
    public: Vec<u8>,
}

impl Lock {
    /// A new one.
    pub(super) fn draw() -> Result<Self, Unspecified> {
        let key = chance::agreement_key()?;
        let public = key.compute_public_key()?.as_ref().to_vec();
        Ok(Self { key, public })
    }

    /// What the page gets, in base64url.
    pub(super) fn public(&self) -> String {
        BASE64URL_NOPAD.encode(&self.public)
    }

    /// What the page sealed with its own key, both in base64url.
    pub(super) fn open(
        &self,
        code: &[u8],
        challenges: &[u8],
        page: &str,
        sealed: &str,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let page = BASE64URL_NOPAD.decode(page.as_bytes()).ok().filter(|point| point.len() == POINT_BYTES)?;
        let mut sealed = Zeroizing::new(BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?);
        let info = [DOMAIN, code, challenges, &self.public, &page].concat();
        let key = derive(&self.key, &page, &info).ok()?;
        let plain = key.open_in_place(nonce(), Aad::from(&info), &mut sealed).ok()?.len();
        sealed.truncate(plain);
        Some(sealed)
    }
}

/// What RFC 5869 puts where there is no salt. Written out, since the FIPS module calls HKDF with an empty one unapproved.
const NO_SALT: [u8; 32] = [0; 32];

fn derive(own: &PrivateKey, other: &[u8], info: &[u8]) -> Result<LessSafeKey, Unspecified> {
    agree(own, UnparsedPublicKey::new(&ECDH_P256, other), Unspecified, |shared| {
        let root = Salt::new(HKDF_SHA256, &NO_SALT).extract(shared);
        Ok(LessSafeKey::new(UnboundKey::from(root.expand(&[info], &AES_256_GCM)?)))
    })
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CODE: &[u8] = b"ABCDEFGH";

    /// Seals as the page does.
    pub(in crate::page) fn seal(to: &str, code: &[u8], challenges: &[u8], answer: &[u8]) -> (String, String) {
        let (own, to) = (Lock::draw().unwrap(), BASE64URL_NOPAD.decode(to.as_bytes()).unwrap());
        let info = [DOMAIN, code, challenges, &to, &own.public].concat();
        let mut sealed = answer.to_vec();
        let key = derive(&own.key, &to, &info).unwrap();
        key.seal_in_place_append_tag(nonce(), Aad::from(&info), &mut sealed).unwrap();
        (own.public(), BASE64URL_NOPAD.encode(&sealed))
    }

    #[test]
    fn an_answer_opens_for_its_lock_code_and_challenges_and_for_no_other() {
        let lock = Lock::draw().unwrap();
        let (page, sealed) = seal(&lock.public(), CODE, &[1; 96], b"an answer");
        assert_eq!(lock.open(CODE, &[1; 96], &page, &sealed).unwrap().as_slice(), b"an answer");
        assert!(lock.open(b"ABCDEFGJ", &[1; 96], &page, &sealed).is_none());
        assert!(lock.open(CODE, &[2; 96], &page, &sealed).is_none());
        assert!(Lock::draw().unwrap().open(CODE, &[1; 96], &page, &sealed).is_none());
    }

    #[test]
    fn no_byte_of_a_sealed_answer_or_of_its_key_can_be_changed() {
        let lock = Lock::draw().unwrap();
        let (page, sealed) = seal(&lock.public(), CODE, &[1; 96], b"an answer");
        for (which, whole) in [&page, &sealed].into_iter().enumerate() {
            let plain = BASE64URL_NOPAD.decode(whole.as_bytes()).unwrap();
            let mut others: Vec<Vec<u8>> = (0..plain.len()).map(|end| plain[..end].to_vec()).collect();
            others.extend((0..plain.len()).map(|at| {
                let mut other = plain.clone();
                other[at] ^= 1;
                other
            }));
            others.push([plain.as_slice(), &[0]].concat());
            for other in others {
                let other = BASE64URL_NOPAD.encode(&other);
                let (page, sealed) = if which == 0 { (&other, &sealed) } else { (&page, &other) };
                assert!(lock.open(CODE, &[1; 96], page, sealed).is_none(), "{other}");
            }
        }
        let infinity = BASE64URL_NOPAD.encode(&[0; POINT_BYTES]);
        for page in ["", "=", infinity.as_str()] {
            assert!(lock.open(CODE, &[1; 96], page, &sealed).is_none());
        }
        assert_ne!(seal(&lock.public(), CODE, &[1; 96], b"an answer").1, sealed);
    }
}
