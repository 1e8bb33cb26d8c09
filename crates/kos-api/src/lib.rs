//! Requests and responses of the HTTP API, version 1, and nothing else.
//!
//! What a server answers and a client asks, as plain data: no socket, no clock, no decision. [`routes`] says which
//! request and which response belong to which path and who may call it; [`openapi`] writes the same as OpenAPI 3.1.
//!
//! Rules of every type here:
//!
//! - Keys are camelCase and carry their unit (`uptimeSeconds`). Unknown is `null` and never left out.
//! - Times are RFC 3339 UTC with milliseconds; digests, key ids, serials and signatures are lower-case hex.
//! - Enumerations are lower case with hyphens, event types with underscores, security profiles `SEC-0` to `SEC-4`.
//! - A client ignores response fields that it does not know, since fields are added. A server refuses request fields
//!   that it does not know, since a misspelt one would be silently without effect.

pub mod alert;
pub mod attestation;
pub mod audit;
pub mod authority;
pub mod backup;
pub mod chain;
pub mod csv;
pub mod device;
pub mod doctor;
pub mod envelope;
pub mod hex;
pub mod keys;
pub mod kill;
pub mod lifecycle;
pub mod local;
pub mod manifest;
pub mod mirror;
pub mod openapi;
pub mod operator;
pub mod pairing;
pub mod person;
pub mod plan;
pub mod policy;
pub mod problem;
pub mod routes;
mod schema;
pub mod text;
pub mod ticket;
pub mod vault;
pub mod voucher;
pub mod witness;

pub use envelope::{API_VERSION, Document, Kind, List};
pub use problem::{Failure, Problem};
