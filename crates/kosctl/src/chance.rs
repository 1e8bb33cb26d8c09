//! The one place of this program that draws random bytes.

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey},
    error::Unspecified,
    rand,
};

use crate::Fault;

/// `N` bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Fault::Internal("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// A key of P-256 to agree with.
pub(crate) fn agreement_key() -> Result<PrivateKey, Unspecified> {
    PrivateKey::generate(&ECDH_P256)
}
