//! The two ways in which a TPM derives keys. Each length of ours is at most one round of SHA-256.
//!
//! Source: TPM 2.0 Library, part 1, 11.4.10.2 (KDFa), 11.4.10.3 (KDFe).

use aws_lc_rs::{
    digest::{Context, SHA256},
    hmac,
};
use zeroize::Zeroizing;

/// `BITS / 8` bytes of KDFa with HMAC-SHA-256 without a second context.
pub(crate) fn kdfa<const BYTES: usize>(key: &[u8], label: &[u8], context: &[u8]) -> Zeroizing<[u8; BYTES]> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in [&1u32.to_be_bytes()[..], label, &[0], context, &bits(BYTES)] {
        mac.update(part);
    }
    first(mac.sign().as_ref())
}

/// 32 bytes of KDFe with SHA-256.
pub(crate) fn kdfe(shared: &[u8], label: &[u8], ours: &[u8], theirs: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hash = Context::new(&SHA256);
    for part in [&1u32.to_be_bytes()[..], shared, label, &[0], ours, theirs] {
        hash.update(part);
    }
    first(hash.finish().as_ref())
}

fn bits(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes.saturating_mul(8)).unwrap_or(u32::MAX).to_be_bytes()
}

fn first<const BYTES: usize>(block: &[u8]) -> Zeroizing<[u8; BYTES]> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    bytes.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
    bytes
}
