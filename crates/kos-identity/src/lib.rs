//! How a device gets, proves, renews and loses an identity.
//!
//! Two halves. The *artefacts* (certificates, requests, revocation lists, kIDs) are built and judged in
//! [`certificate`], [`csr`], [`crl`], [`ocsp`], [`kid`] and [`chain`]. The *machines* decide when they come into being
//! and when they end. Both are pure: no sockets, files, clock, randomness or private keys. What needs one of these is
//! asked of the shell and comes back as an input.

pub mod certificate;
pub mod chain;
pub mod crl;
pub mod csr;
pub mod decommission;
pub mod enrolment;
pub mod kid;
pub mod ocsp;
pub mod quarantine;
pub mod registry;
pub mod second;

#[cfg(test)]
mod test_authority;
#[cfg(test)]
mod test_keys;
