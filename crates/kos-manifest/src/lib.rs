//! Manifests: what devices may do beyond what their profiles refuse, written in Cedar.
//!
//! [`examine`] makes a manifest of a text or says what is wrong with it; a [`Point`] decides, and cuts slices for devices.
//! No IO, no clock: the time comes in. Signing, keeping and bringing them to devices is the authority's part.
//!
//! Source: `docs/spec/manifest.md`.

mod closed;
mod concern;
mod judge;
mod lint;
mod never;
mod point;
mod schema;
mod source;
#[cfg(test)]
mod tests;

pub use closed::{Closed, NotClosed, Whom};
pub use concern::{Concern, named};
pub use judge::{Memory, Outcome, judge};
pub use lint::{Examined, Finding, Kind, Manifest, Severity, examine};
pub use point::{Point, SLICE_LIFE, Subject};
pub use schema::{TEXT as SCHEMA, governed, is_governed};
pub use source::{POLICIES_MAX, Source, SourceError, TEXT_BYTES_MAX};
