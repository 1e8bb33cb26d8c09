//! What keeps the keys of a program on its machine.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the vault of a machine's keys opens without a person, and what that is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyProtection {
    /// Where the key that opens it comes from: `key-file`, `credential` or `tpm`.
    pub opener: String,
    /// Against whom it helps.
    pub protects_against: String,
    /// Against whom it does not.
    pub not_against: String,
    /// Where the signing keys are: `vault`, `tpm` or `token`, each with the keys that are there.
    pub signing_keys: String,
    /// Whether an old vault that somebody puts back is found.
    pub rollback: String,
}
