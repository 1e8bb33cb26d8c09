//! HKDF, HMAC and AES-256-GCM as the format uses them, and what follows from the master key.
//!
//! Source: KV-1, KV-19; RFC 5869, FIPS 198-1, NIST SP 800-38D.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time, hkdf, hmac,
};
use kos_base::{
    Secret,
    digest::{Sha256, sha256_parts},
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{Environment, VaultError, VaultId};

const MAC: &str = "kos vault v1 mac";
const ID: &str = "kos vault v1 id";
const ENVIRONMENT: &str = "kos vault v1 environment";

/// The keys of an open vault.
pub type KeyBytes = [[u8; 32]; 4];

/// Where the keys of an open vault lie. The shell may give memory that is not swapped; it is wiped when it is dropped.
pub trait Chest: Send + Sync {
    /// What it holds.
    fn bytes(&self) -> &KeyBytes;
    /// The same, for writing.
    fn bytes_mut(&mut self) -> &mut KeyBytes;
    /// What protects it: its name, and what that means.
    fn shelter(&self) -> (&'static str, String);
}

/// The chest that is used as long as the shell gave none.
struct Plain(Zeroizing<KeyBytes>);

impl Chest for Plain {
    fn bytes(&self) -> &KeyBytes {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut KeyBytes {
        &mut self.0
    }

    fn shelter(&self) -> (&'static str, String) {
        ("none", "the program asked for nothing".to_owned())
    }
}

/// The master key and what follows from it. Moving them moves no key.
pub(crate) struct Keys(Box<dyn Chest>);

impl Keys {
    pub(crate) fn of(
        master: &[u8; 32],
        vault: &VaultId,
        environment: &Environment,
    ) -> Result<Self, VaultError> {
        let one = |label| derive(vault.as_bytes(), master, label, &[environment.as_str().as_bytes()]);
        let mut chest = Box::new(Plain(Zeroizing::new([[0; 32]; 4])));
        let [mac, id, environment] = [one(MAC)?, one(ID)?, one(ENVIRONMENT)?];
        let keys = [master, mac.expose(), id.expose(), environment.expose()];
        for (place, key) in chest.bytes_mut().iter_mut().zip(keys) {
            place.copy_from_slice(key);
        }
        Ok(Self(chest))
    }

    /// They go on in another place; the one of before is wiped.
    pub(crate) fn move_to(&mut self, mut chest: Box<dyn Chest>) {
        chest.bytes_mut().copy_from_slice(self.0.bytes());
        self.0 = chest;
    }

    /// What protects them.
    pub(crate) fn shelter(&self) -> (&'static str, String) {
        self.0.shelter()
    }

    /// Others come into their place.
    pub(crate) fn replace(&mut self, other: &Self) {
        self.0.bytes_mut().copy_from_slice(other.0.bytes());
    }

    /// From which the others follow (KV-19).
    pub(crate) fn master(&self) -> &[u8; 32] {
        &self.0.bytes()[0]
    }

    /// The MAC of a root (KV-26).
    pub(crate) fn mac(&self, root: &Sha256) -> [u8; 32] {
        hmac_sha256(&self.0.bytes()[1], root)
    }

    /// The id of an entry (KV-20).
    pub(crate) fn id(&self, name: &str) -> [u8; 32] {
        hmac_sha256(&self.0.bytes()[2], name.as_bytes())
    }

    /// From which the key of each version comes (KV-21).
    pub(crate) fn environment(&self) -> &[u8; 32] {
        &self.0.bytes()[3]
    }
}

/// HKDF-SHA-256 to 32 bytes, with `info` = `H(label, parts..)`.
pub(crate) fn derive(
    salt: &[u8],
    secret: &[u8],
    label: &str,
    parts: &[&[u8]],
) -> Result<Secret<32>, VaultError> {
    let info = sha256_parts(label, parts.iter().copied());
    hkdf_sha256(salt, secret, &info)
}

fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Secret<32>, VaultError> {
    let root = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let mut out = [0; 32];
    let filled = root.expand(&[info], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut out));
    let key = Secret::new(out);
    out.zeroize();
    filled.map(|()| key).map_err(|_| VaultError::Fault)
}

/// HMAC-SHA-256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    out
}

/// Equality that takes as long whatever differs.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// A key for AES-256-GCM that serves one message.
pub(crate) struct SingleUse(Secret<32>);

impl SingleUse {
    pub(crate) const fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// Encrypts where it stands; the tag comes back.
    pub(crate) fn seal(
        self,
        iv: &[u8; 12],
        associated: Sha256,
        text: &mut [u8],
    ) -> Result<[u8; 16], VaultError> {
        let nonce = Nonce::assume_unique_for_key(*iv);
        let sealed = self.cipher()?.seal_in_place_separate_tag(nonce, Aad::from(associated), text);
        let tag = sealed.map_err(|_| VaultError::Fault)?;
        tag.as_ref().try_into().map_err(|_| VaultError::Fault)
    }

    /// The plaintext, or `None` when key, nonce, associated data, ciphertext and tag do not belong together.
    pub(crate) fn open(
        self,
        iv: &[u8; 12],
        associated: &[u8],
        ciphertext: &[u8],
        tag: &[u8; 16],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let mut text = Zeroizing::new(vec![0; ciphertext.len()]);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let opened =
            self.cipher()?.open_separate_gather(nonce, Aad::from(associated), ciphertext, tag, &mut text);
        Ok(opened.ok().map(|()| text))
    }

    fn cipher(&self) -> Result<LessSafeKey, VaultError> {
        UnboundKey::new(&AES_256_GCM, self.0.expose()).map(LessSafeKey::new).map_err(|_| VaultError::Fault)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn hkdf_matches_the_first_case_of_rfc_5869() {
        // The first 32 of its 42 bytes: HKDF-Expand gives the same front whatever the length.
        let info: [u8; 10] = hex("f0f1f2f3f4f5f6f7f8f9");
        let key = hkdf_sha256(&hex::<13>("000102030405060708090a0b0c"), &[0x0b; 22], &info).unwrap();
        let expected: [u8; 32] = hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        assert_eq!(key.expose(), &expected);
    }

    #[test]
    fn hmac_matches_the_second_case_of_rfc_4231() {
        let expected: [u8; 32] = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(hmac_sha256(b"Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn hmac_matches_the_cases_of_rfc_4231_whose_key_is_short_long_and_as_long_as_a_block() {
        for (key, message, expected) in [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hmac_sha256(&key, &message), hex::<32>(expected));
        }
    }

    #[test]
    fn aes_gcm_matches_cases_14_and_16_of_mcgrew_and_viega() {
        let key = || SingleUse::new(Secret::new([0; 32]));
        let opened = key().open(
            &[0; 12],
            &[],
            &hex::<16>("cea7403d4d606b6e074ec5d3baf39d18"),
            &hex("d0d1c8a799996bf0265b98b5d48ab919"),
        );
        assert_eq!(opened.unwrap().unwrap().as_slice(), &[0; 16]);

        let text: [u8; 60] = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ));
        let sealed: [u8; 60] = hex(concat!(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        ));
        let key = SingleUse::new(Secret::new(hex(
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        )));
        let associated: [u8; 20] = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let opened = key.open(
            &hex("cafebabefacedbaddecaf888"),
            &associated,
            &sealed,
            &hex("76fc6ece0f4e1768cddf8853bb2d551b"),
        );
        assert_eq!(opened.unwrap().unwrap().as_slice(), &text);
    }

    #[test]
    fn what_was_sealed_opens_with_everything_it_was_sealed_with_and_nothing_less() {
        let key = |byte| SingleUse::new(Secret::new([byte; 32]));
        let mut text = *b"text";
        let tag = key(1).seal(&[2; 12], [3; 32], &mut text).unwrap();
        let open = |byte, iv, aad: [u8; 32]| key(byte).open(&[iv; 12], &aad, &text, &tag).unwrap();
        assert_eq!(open(1, 2, [3; 32]).unwrap().as_slice(), b"text");
        assert!(
            open(9, 2, [3; 32]).is_none() && open(1, 9, [3; 32]).is_none() && open(1, 2, [9; 32]).is_none()
        );
    }
}
