//! The device daemon: drives the machines on a device.

pub mod clock;
pub mod config;
pub mod facts;
pub mod forensics;
pub mod health;
pub mod image;
pub mod keystore;
pub mod kill;
pub mod life;
mod link;
mod log;
mod modules;
mod revocation;
pub mod root;
pub mod socket;
mod standing;
mod verifier;
mod witness;

pub use kos_identity::enrolment::ticket::TicketText;

/// The error and its causes in one line.
pub fn chain(error: &dyn core::error::Error) -> String {
    let causes = core::iter::successors(error.source(), |cause| cause.source());
    let texts = core::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    let mut texts: Vec<_> = texts.collect();
    texts.dedup();
    texts.join(": ")
}
