//! What is kept outside of a TPM: reading ends, and nothing is taken whose digest does not fit, which has another form or
//! names PCRs that no TPM has.

use aws_lc_rs::digest::{SHA256, digest};
use kos_hardware::tpm::{CounterAnchor, Pcrs};

use crate::Verdict;

/// How a sealed secret begins, and which of its bytes says what PCRs it is bound to (HW-7).
const BEGINNING: &[u8] = b"kos-tpm\x01s\x00";

/// Reads the bytes as a sealed secret, as the inside of one with the digest that fits, and as the anchor of a counter.
pub fn run(bytes: &[u8]) -> Verdict {
    let anchor = CounterAnchor::from_bytes(bytes);
    if let Some(anchor) = anchor {
        assert_eq!(anchor.to_bytes(), bytes);
    }
    let summed = [bytes, digest(&SHA256, bytes).as_ref()].concat();
    check(bytes).or(check(&summed)).or(Verdict::of(&anchor.ok_or(())))
}

fn check(sealed: &[u8]) -> Verdict {
    let read = Pcrs::of_sealed(sealed);
    if read.is_ok() {
        assert!(sealed.starts_with(BEGINNING));
        for at in (0..sealed.len()).step_by(13) {
            let mut changed = sealed.to_vec();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            assert!(Pcrs::of_sealed(&changed).is_err());
        }
    }
    Verdict::of(&read)
}
