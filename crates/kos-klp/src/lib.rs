//! The Kind Link Protocol: addresses, messages, proofs, encryption, replay window.

pub mod address;
pub mod party;
