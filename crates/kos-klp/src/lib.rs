//! The Kind Link Protocol: addresses, messages, proofs, encryption, freshness, and channels through relays.
//!
//! Messages secure themselves: any carrier may carry them, and no relay needs to be trusted. This crate is bytes and
//! `now` in, bytes and verdicts out. Sockets, clocks, randomness and private keys are elsewhere: what needs them is
//! asked for and comes back as an input.
//!
//! ```text
//! bytes -> frame::Frame -> proof::Envelope (claims) -> session::Session -> session::Received (believed)
//!                 \-> encryption::EncryptedEnvelope -/
//!                 \-> channel::Channel (then frames again, inside)
//! ```
//!
//! A message that may be acted on is a [`session::Received`], and only a session makes one: proof, sender, recipient,
//! strength of the proof, time and novelty have been checked by then, in that order.
//!
//! The protocol is written down in `docs/spec/klp.md`, whose sentences the modules cite.

pub mod address;
pub mod body;
pub mod channel;
mod cose;
mod derivation;
pub mod encryption;
mod fields;
pub mod frame;
pub mod freshness;
pub mod message;
pub mod party;
pub mod proof;
pub mod session;

pub use derivation::DerivationError;
