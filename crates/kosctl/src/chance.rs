//! The one place of this program that draws random bytes.

use aws_lc_rs::rand;

use crate::Fault;

/// `N` bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Fault::Internal("the system gives no random bytes".to_owned()))?;
    Ok(bytes)
}
