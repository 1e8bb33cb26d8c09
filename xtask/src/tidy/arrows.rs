//! Rule `arrow`: who may depend on whom. The table is the one of `ARCHITECTURE.md`, in words of cargo.
//!
//! Looks at every kind of dependency, so that tests cannot grow an arrow that the product may not have. What only one
//! program may pull in (axum, sqlx) is said in `deny.toml`, which sees the whole graph.

use super::{CORE, Finding, Repository};
use crate::workspace::{Crate, Dependency};

/// A crate of ours and those of ours that it may depend on.
const ARROWS: [(&str, &[&str]); 26] = [
    ("kos-base", &[]),
    ("kos-policy", &["kos-base"]),
    ("kos-attest", &["kos-base", "kos-emulator"]),
    ("kos-voucher", &["kos-base"]),
    ("kos-identity", &["kos-base", "kos-attest", "kos-emulator", "kos-policy", "kos-voucher"]),
    ("kos-klp", &["kos-base", "kos-policy"]),
    ("kos-manifest", &["kos-base", "kos-klp", "kos-policy"]),
    ("kos-audit", &["kos-base"]),
    ("kos-shares", &["kos-base"]),
    ("kos-vault", &["kos-base"]),
    ("kos-api", &["kos-base"]),
    ("kos-backup", &["kos-base"]),
    ("kos-net", &["kos-base", "kos-identity", "kos-klp", "kos-policy"]),
    ("kos-secret-memory", &["kos-vault"]),
    ("kos-hardware", &["kos-base", "kos-attest", "kos-net", "kos-emulator"]),
    (
        "kos-keyring",
        &["kos-base", "kos-hardware", "kos-net", "kos-secret-memory", "kos-vault", "kos-emulator"],
    ),
    (
        "kosd",
        &[
            "kos-base",
            "kos-identity",
            "kos-klp",
            "kos-audit",
            "kos-policy",
            "kos-vault",
            "kos-voucher",
            "kos-net",
            "kos-api",
            "kos-hardware",
            "kos-keyring",
        ],
    ),
    (
        "kos-authority",
        &[
            "kos-base",
            "kos-attest",
            "kos-identity",
            "kos-klp",
            "kos-audit",
            "kos-policy",
            "kos-manifest",
            "kos-net",
            "kos-api",
            "kos-backup",
            "kos-vault",
            "kos-voucher",
            "kos-shares",
            "kos-hardware",
            "kos-keyring",
            "kos-secret-memory",
        ],
    ),
    (
        "kosctl",
        &["kos-api", "kos-base", "kos-identity", "kos-audit", "kos-backup", "kos-shares", "kos-vault"],
    ),
    ("quickstart", &["kosd", "kos-authority", "kosctl"]),
    ("kos-sim", &["kos-base", "kos-attest", "kos-identity", "kos-audit", "kos-vault", "kos-emulator"]),
    ("kos-emulator", &[]),
    ("kos-e2e", &["kosctl", "kos-api", "kos-base", "kos-keyring", "kos-emulator"]),
    (
        "kos-fuzz",
        &[
            "kos-base",
            "kos-attest",
            "kos-emulator",
            "kos-identity",
            "kos-klp",
            "kos-policy",
            "kos-manifest",
            "kos-audit",
            "kos-vault",
            "kos-voucher",
            "kos-shares",
            "kos-backup",
            "kos-hardware",
            "kosd",
        ],
    ),
    (
        "kos-bench",
        &[
            "kos-base",
            "kos-attest",
            "kos-emulator",
            "kos-identity",
            "kos-klp",
            "kos-audit",
            "kos-vault",
            "kos-voucher",
            "kos-api",
            "kos-net",
            "kos-policy",
            "kos-manifest",
            "kos-authority",
            "kosctl",
        ],
    ),
    ("xtask", &[]),
];

/// What a core crate may not even have at hand.
const SHELL: [&str; 15] = [
    "async-std",
    "axum",
    "getrandom",
    "hyper",
    "mdns-sd",
    "mio",
    "quinn",
    "rand",
    "rustix",
    "rustls",
    "sqlx",
    "tokio",
    "tokio-rustls",
    "tracing",
    "tracing-subscriber",
];

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    repository.crates.iter().flat_map(|package| find_in(package, repository)).collect()
}

fn find_in(package: &Crate, repository: &Repository) -> Vec<Finding> {
    let manifest = repository.relative(&package.manifest_path);
    let Some((name, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        let message = format!(
            "`{}` is not in the table of crates: add it to ARCHITECTURE.md and to xtask/src/tidy/arrows.rs",
            package.name
        );
        return vec![Finding::new(manifest, 1, message)];
    };

    let text = repository.text(&manifest).unwrap_or_default();
    let report = |dependency: &Dependency, why: &str| {
        let line = text.lines().position(|line| names(line, &dependency.name)).map_or(1, |index| index + 1);
        Finding::new(&manifest, line, format!("`{name}` may not depend on `{}`: {why}", dependency.name))
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let is_for_tests = dependency.kind.as_deref() == Some("dev");
        if dependency.path.is_some() && !allowed.contains(&dependency.name.as_str()) {
            findings.push(report(dependency, "the table of crates has no such arrow"));
        }
        if CORE.contains(name) && SHELL.contains(&dependency.name.as_str()) && !is_for_tests {
            findings.push(report(dependency, "the core does no IO"));
        }
    }
    findings
}

/// `kos-base.workspace = true` and `kos-base = ..` name `kos-base`; `kos-base-x = ..` does not.
fn names(line: &str, dependency: &str) -> bool {
    line.trim_start().strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
}
