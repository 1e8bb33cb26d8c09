//! What a program finds when it examines itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::Kind;

/// The result of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Doctor {
    /// Whether every check holds.
    pub ok: bool,
    /// What was examined, in order.
    pub checks: Vec<Check>,
}

impl Doctor {
    /// The result of `checks`.
    pub fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|c| c.ok), checks }
    }
}

impl Kind for Doctor {
    const KIND: &'static str = "Doctor";
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What, in lower case with hyphens.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: Option<String>,
    /// What to do, when it is not as it should be.
    pub fix: Option<String>,
}

impl Check {
    /// Something that is as it should be.
    pub fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: true, detail: Some(detail.into()), fix: None }
    }

    /// Something that is not, and what to do.
    pub fn bad(name: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: false, detail: Some(detail.into()), fix: Some(fix.into()) }
    }
}
