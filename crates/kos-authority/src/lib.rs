//! The authority: certificates, enrolment, registry, audit log and API of a fleet, in one process and one folder.
//!
//! [`Authority`] is opened from its folder and served until told to stop. Inside, every change takes one way:
//!
//! ```text
//! API, enrolment, timers -> kos_identity decides (pure) -> writer: one transaction { records, signed log entries,
//! checkpoint } -> answer
//! ```
//!
//! [`store`] keeps rows that cannot be changed unnoticed, [`writer`] is the only one who writes them, [`record`] says
//! what the log gets for each change, [`log`] grows and publishes the tree, [`revocation`] knows what is revoked and
//! publishes it, `search` finds entries, `alert` finds what is suspicious in the log and tells guardians, `vault` keeps
//! secrets in sealed files, `server` is everything that listens.
//!
//! Invariants: no change without an entry; no answer before both are on the disk; every certificate is issued by the
//! machines of `kos_identity` and recorded in the same transaction.

pub mod alert;
mod approval;
mod attesting;
mod authority;
mod backup;
mod bonds;
pub mod clock;
mod device_log;
mod erasure;
mod files;
mod fleet;
pub mod keys;
mod kill;
pub mod log;
pub mod metrics;
pub mod mirror;
mod modules;
mod outside;
mod pause;
mod policy;
pub mod presence;
pub mod quarantine;
mod reception;
pub mod record;
pub mod restore;
pub mod revocation;
mod search;
mod second;
mod server;
pub mod settings;
pub mod store;
mod vault;
mod witness;
pub mod writer;

#[cfg(test)]
mod fixtures;

pub use authority::{Age, Authority, ClockRule, Options, PortChoice, StartError};
