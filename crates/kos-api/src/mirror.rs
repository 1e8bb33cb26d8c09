//! Copies of the log that the authority itself writes elsewhere.

use kos_base::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema, text::SecretText};

/// Names a target of copies of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMirror {
    /// What it is called: 1 to 64 visible ASCII characters.
    #[schema(example = "elsewhere")]
    pub name: String,
    /// Where it is.
    pub target: MirrorTarget,
}

/// Where copies of the log are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum MirrorTarget {
    /// A folder of the authority's machine, on a disk of its own or a network file system; it has to be there.
    Folder {
        /// From the root on.
        path: String,
    },
    /// An address below which files can be put with `PUT`.
    Web {
        /// `https://HOST[:PORT][/PATH]`; `http` for this machine only.
        url: String,
        /// PEM of the CAs by which the server is judged; those of the system when not given.
        ca: Option<String>,
        /// The name with which the authority signs in.
        user: Option<String>,
        /// The password for it. It is sealed, and never shown.
        #[schema(value_type = Option<String>)]
        password: Option<SecretText>,
    },
}

/// A target of copies of the log, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub target: String,
    /// Since when.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
    /// Whether it has what it should.
    pub state: MirrorState,
    /// How many entries it has; null while nobody knows.
    pub size: Option<u64>,
    /// Entries that it does not have yet; null while nobody knows.
    pub lag_entries: Option<u64>,
    /// When it got the newest that it has.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub pushed_at: Option<Timestamp>,
    /// Since when it could not be written.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub trouble: Option<String>,
}

impl Kind for Mirror {
    const KIND: &'static str = "Mirror";
}

/// Whether a copy of the log has what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// Nobody has looked since the authority started.
    Unknown,
    /// It has everything, or gets it now.
    Current,
    /// It could not be written.
    Behind,
    /// It contradicts the log, and is written to no more.
    Refused,
}

/// How copies of the log stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MirrorStatus {
    /// Targets.
    pub targets: u64,
    /// Those that could not be written, or contradict the log.
    pub behind: u64,
    /// Entries that the one furthest behind does not have; null while nobody knows of one.
    pub lag_entries: Option<u64>,
}
