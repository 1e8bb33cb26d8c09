//! What a device may do by its security profile and by what it has proven.
//!
//! The guardrails of the five profiles are data ([`Guardrails`]), compiled in, and there is one function that decides:
//! [`decide`], from what a device is ([`Standing`]) and what is asked at a door ([`Request`]) to a [`Decision`] that
//! names the rule which decided. Whoever stands at a door asks it: issuance, kIDs, TLS, links, relays, the API, the
//! device itself. [`mod@slice`] is what manifests say about one device, which can only narrow that. [`pairing`] says with
//! whom a device is paired, [`grant`] what an agent may ask of it, [`trust`] how far agents of a level reach; [`module`] what is asked of devices beyond their certificates.
//!
//! What is not here: who somebody is, where a record comes from, how a refusal is told, any IO, clock or randomness.
//! This crate stands between `kos-base` and the rest of the core, so that no door has a table of its own.
//!
//! Source: `docs/spec/policy.md`.

mod decision;
mod door;
pub mod grant;
pub mod module;
pub mod pairing;
mod profile;
pub mod slice;
pub mod trust;

pub use decision::{Decision, Refusal, Rule, Verdict, decide};
pub use door::{Credential, Direction, Door, Effect, Entrance, Errand, Forwarding, Request, Tie, Way};
pub use profile::{
    Authentication, Boot, Bootloader, Guardrails, Image, IssuingCa, Peers, Proven, Standing, Suite, Updates,
    guardrails,
};
