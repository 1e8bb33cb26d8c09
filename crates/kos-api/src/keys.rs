//! What keeps the private keys of a program.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the vault of a machine's keys opens when nobody is there, and what that is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysStatus {
    /// Where the key that opens them comes from: `key-file`, `credential`.
    pub opener: String,
    /// Against what it helps.
    pub protects_against: String,
    /// Against what it does not.
    pub not_against: String,
    /// Whether an old file that somebody puts back is found.
    pub rollback: String,
}
