//! Manifests in force: [`applied`] signs, keeps and reads them back, [`refused`] counts what they refused. What they are and
//! how they decide is in `kos-manifest`. A manifest can only narrow what the guardrails of `kos-policy` allow: every door asks
//! those first.
//!
//! Source: `docs/spec/manifest.md`.

pub(crate) mod applied;
pub(crate) mod refused;
