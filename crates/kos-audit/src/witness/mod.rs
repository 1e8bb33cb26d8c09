//! Witnesses: whoever cosigns a log's checkpoints, and never two of which neither is the beginning of the other.
//!
//! - [`Witness`] is the machine of the one who cosigns: a request in, and what to make durable, to sign and to answer out;
//! - [`AddCheckpoint`] is the request, as a log writes it and a witness reads it;
//! - [`Policy`] says how many of which witnesses a checkpoint needs;
//! - [`Conflict`] keeps two checkpoints that contradict each other, and judges them.
//!
//! What is not here: files, clocks, keys and the network.
//!
//! Source: C2SP tlog-witness, tlog-cosignature v1.0.0; `docs/spec/audit.md` AUD-90 to AUD-105; fuzz target `witness`.

mod conflict;
mod machine;
mod policy;
mod request;
#[cfg(test)]
mod tests;

pub use conflict::{Conflict, ConflictError, Judgement};
pub use machine::{Answer, Output, Record, RecordError, Statement, Witness};
pub use policy::{Policy, PolicyError, WITNESS_NAME_BYTES_MAX, WITNESSES_MAX};
pub use request::{AddCheckpoint, REQUEST_BYTES_MAX, RequestError};
