//! The Kind Link Protocol: addresses, messages, proofs, encryption, replay window.
