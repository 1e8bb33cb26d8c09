//! Passwords of targets, sealed in the store under a key that never leaves the vault of the machine.
//!
//! Shape: base64url of a nonce of 12 bytes and AES-256-GCM of the password; the key is HKDF-SHA-256 with salt `kos mirror v1` over the
//! entry `store` of that vault, the associated data is the name of the target.
//!
//! Source: AUD-79.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use data_encoding::BASE64URL_NOPAD;
use kos_base::Secret;
use zeroize::Zeroizing;

/// Seals a password; nothing when the provider fails.
pub(crate) fn seal(key: &Secret<32>, name: &str, password: &str, nonce: [u8; 12]) -> Option<String> {
    let mut bytes = Zeroizing::new(password.as_bytes().to_vec());
    // Room for the tag, so that no copy is left behind.
    bytes.reserve_exact(AES_256_GCM.tag_len());
    let unique = Nonce::assume_unique_for_key(nonce);
    derived(key)?.seal_in_place_append_tag(unique, Aad::from(name.as_bytes()), &mut *bytes).ok()?;
    Some(BASE64URL_NOPAD.encode(&[nonce.as_slice(), &bytes].concat()))
}

/// The password, if it was sealed here for this target.
pub(super) fn open(key: &Secret<32>, name: &str, sealed: &str) -> Option<Zeroizing<String>> {
    let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).ok()?;
    let (nonce, body) = bytes.split_first_chunk::<12>()?;
    let mut body = Zeroizing::new(body.to_vec());
    let unique = Nonce::assume_unique_for_key(*nonce);
    let opened = derived(key)?.open_in_place(unique, Aad::from(name.as_bytes()), &mut body).ok()?;
    Some(Zeroizing::new(str::from_utf8(opened).ok()?.to_owned()))
}

fn derived(key: &Secret<32>) -> Option<LessSafeKey> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kos mirror v1").extract(key.expose());
    let key: UnboundKey = extracted.expand(&[b"password"], &AES_256_GCM).ok()?.into();
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_for_its_target_on_its_machine_only() {
        let (key, other) = (Secret::new([7; 32]), Secret::new([8; 32]));
        let sealed = seal(&key, "elsewhere", "correct horse", [1; 12]).unwrap();
        assert!(!sealed.contains("horse"));
        assert_eq!(open(&key, "elsewhere", &sealed).as_deref().map(String::as_str), Some("correct horse"));
        assert_eq!(open(&key, "nowhere", &sealed), None);
        assert_eq!(open(&other, "elsewhere", &sealed), None);
        assert_eq!(open(&key, "elsewhere", "AAAA"), None);
    }
}
