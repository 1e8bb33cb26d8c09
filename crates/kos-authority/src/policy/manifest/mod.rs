//! Manifests: what devices may do beyond what their profiles refuse, written in Cedar, and put in force by an operator.
//!
//! [`lint`] makes a manifest of a text or says what is wrong with it, [`point`] decides and cuts slices for devices,
//! [`applied`] signs, keeps and reads back what is in force. A manifest can only narrow what the guardrails of
//! `kos-policy` allow: every door asks those first.
//!
//! Source: `docs/spec/manifest.md`.

pub(crate) mod applied;
mod closed;
pub(crate) mod lint;
pub(crate) mod point;
pub(crate) mod refused;
pub(crate) mod schema;
pub(crate) mod source;
#[cfg(test)]
mod tests;
