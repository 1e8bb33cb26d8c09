//! How tokens write the curve and the public half of a key.
//!
//! Shape: a curve is the DER of its object identifier, for Ed25519 also the DER of its name as a PrintableString. A public
//! half is an uncompressed point or 32 bytes of Ed25519; by the standard in a DER OCTET STRING, by some tokens bare, for
//! Ed25519 by some in a BIT STRING.
//!
//! Invariants: which form it is follows from the length alone, so no bytes can be read in two ways.
//!
//! Source: PKCS#11 3.0, 6.3 (CKA_EC_PARAMS, CKA_EC_POINT); RFC 8410.

use kos_base::{KeyAlgorithm, PublicKey};

const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// How the curve of `algorithm` may be asked for, the usual way first.
pub(super) const fn curves(algorithm: KeyAlgorithm) -> &'static [&'static [u8]] {
    match algorithm {
        KeyAlgorithm::Ed25519 => &[ED25519, ED25519_NAME],
        KeyAlgorithm::P256 => &[P256],
        KeyAlgorithm::P384 => &[P384],
    }
}

/// The key that a token describes so, if kOS uses such keys.
pub(super) fn public_key(curve: &[u8], point: &[u8]) -> Option<PublicKey> {
    let (algorithm, raw_bytes) = match curve {
        P256 => (KeyAlgorithm::P256, 65),
        P384 => (KeyAlgorithm::P384, 97),
        ED25519 | ED25519_NAME => (KeyAlgorithm::Ed25519, 32u8),
        _ => return None,
    };
    let raw = match point.len().checked_sub(raw_bytes.into())? {
        0 => point,
        2 => point.strip_prefix(&[4, raw_bytes])?,
        3 if algorithm == KeyAlgorithm::Ed25519 => point.strip_prefix(&[3, raw_bytes + 1, 0])?,
        _ => return None,
    };
    PublicKey::from_raw(algorithm, raw).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_bare_and_wrapped_and_in_no_other_way() {
        let mut point = vec![4; 65];
        let wrapped = |tag: &[u8], point: &[u8]| [tag, point].concat();
        let bare = public_key(P256, &point).unwrap();
        assert_eq!(public_key(P256, &wrapped(&[4, 65], &point)), Some(bare));
        for tag in [&[4, 64][..], &[5, 65], &[4], &[4, 65, 0], &[3, 66, 0]] {
            assert_eq!(public_key(P256, &wrapped(tag, &point)), None, "{tag:?}");
        }
        point[0] = 2;
        assert_eq!(public_key(P256, &point), None, "compressed");
        assert_eq!(public_key(P384, &point), None);
        assert_eq!(public_key(&[6, 1, 0], &point), None);
        assert_eq!(public_key(P256, &[]), None);

        let bare = public_key(ED25519, &[9; 32]).unwrap();
        for tag in [&[4, 32][..], &[3, 33, 0]] {
            assert_eq!(public_key(ED25519_NAME, &wrapped(tag, &[9; 32])), Some(bare.clone()));
        }
    }
}
