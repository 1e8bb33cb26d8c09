//! What a change would do, when it was asked for with `dryRun=true`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, problem::Party};

/// The query of every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeQuery {
    /// Decides everything and changes nothing; the answer is a [`Plan`].
    pub dry_run: Option<bool>,
}

/// What a change would do; without changes and effects, nothing. Everything that would refuse it has been asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The name of the route, such as `device-decommission`.
    pub action: String,
    /// To what.
    pub object: Option<Party>,
    /// What would be different about the object.
    pub changes: Vec<Change>,
    /// What else would follow, in sentences.
    pub effects: Vec<String>,
}

impl Kind for Plan {
    const KIND: &'static str = "Plan";
}

/// One thing that would be different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The field of the object, as its kind calls it.
    #[schema(example = "channel")]
    pub field: String,
    /// What it is.
    pub from: Option<String>,
    /// What it would be.
    pub to: Option<String>,
}
