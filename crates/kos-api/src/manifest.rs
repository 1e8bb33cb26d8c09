//! Manifests: what devices may do beyond what their profiles refuse, and how a text or a decision is judged.

use kos_base::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema};

/// A version of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version. The highest one of each name is in force.
    pub version: u64,
    /// Its number among everything that was applied.
    pub counter: u64,
    /// When it was.
    #[schema(value_type = schema::Timestamp)]
    pub applied_at: Timestamp,
    /// How many policies it has. One without any decides nothing.
    pub policies: u64,
    /// SHA-256 over its signed text, as `policy_applied` has it.
    pub digest: String,
}

impl Kind for Manifest {
    const KIND: &'static str = "Manifest";
}

/// A version of a manifest with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestText {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// When it was applied.
    #[schema(value_type = schema::Timestamp)]
    pub applied_at: Timestamp,
    /// The text.
    pub text: String,
}

impl Kind for ManifestText {
    const KIND: &'static str = "ManifestText";
}

/// Which manifests to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestFilter {
    /// Every version of this one, the highest first; those in force when nothing is given.
    pub name: Option<String>,
}

/// Which version to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestQuery {
    /// The one in force when nothing is given.
    pub version: Option<u64>,
}

/// A text to judge, or to put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestBody {
    /// Cedar text whose first line is `// manifest NAME VERSION`.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LintSeverity {
    /// It is odd.
    Warning,
    /// The manifest is not put in force.
    Error,
}

/// Something that is wrong with a text, or odd about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LintFinding {
    /// How bad it is.
    pub severity: LintSeverity,
    /// What it is: `header`, `limit`, `syntax`, `schema`, `no-door`, `form`, `unknown-entity`, `duplicate`,
    /// `contradiction`, `unreachable` or `version`.
    pub kind: String,
    /// The policy that it is about, if it is about one.
    pub policy: Option<String>,
    /// What is wrong, in one sentence.
    pub detail: String,
}

/// What a text is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestLint {
    /// Whether it could be put in force.
    pub ok: bool,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<u64>,
    /// What was found, the worst first; the first hundred.
    pub findings: Vec<LintFinding>,
}

impl Kind for ManifestLint {
    const KIND: &'static str = "ManifestLint";
}

/// What is decided, or expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is allowed.
    Allow,
    /// It is refused.
    Deny,
}

/// A decision that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyCase {
    /// Which device sends.
    #[schema(value_type = schema::DeviceId)]
    pub device: DeviceId,
    /// What: the name of a type of message, such as `LOG`, or the id of the device that it is for.
    pub send: String,
    /// What is expected.
    pub expect: Verdict,
    /// The policy that is expected to decide, if that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// When it is sent; now when nothing is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Timestamp>)]
    pub at: Option<Timestamp>,
}

/// Decisions to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTest {
    /// A manifest that is to be tried as if it were in force, if any.
    pub text: Option<String>,
    /// 1 to 1 000.
    pub cases: Vec<PolicyCase>,
}

/// What became of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCaseResult {
    /// Whether it is as expected.
    pub ok: bool,
    /// Which device.
    #[schema(value_type = schema::DeviceId)]
    pub device: DeviceId,
    /// What it sends, such as `send/LOG`.
    pub request: String,
    /// What was expected.
    pub expected: Verdict,
    /// What was decided.
    pub decided: Verdict,
    /// The rule of the guardrails, or `manifest`.
    pub rule: String,
    /// The policy that was expected to decide, if one was.
    #[serde(default)]
    pub expected_policy: Option<String>,
    /// The policy that decided, if one did.
    pub policy: Option<String>,
    /// Why, in one sentence.
    pub why: String,
}

/// What became of all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTestReport {
    /// Whether all are as expected.
    pub ok: bool,
    /// Each.
    pub cases: Vec<PolicyCaseResult>,
}

impl Kind for PolicyTestReport {
    const KIND: &'static str = "PolicyTestReport";
}
