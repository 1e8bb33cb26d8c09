//! Alerts, the rules that raise them, and the guardians who are told.

use kos_base::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{envelope::Kind, hex::Digest, problem::Party, schema, text::OperatorName};

/// Something suspicious that a rule found in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Its id, made of the rule and the entries.
    #[schema(example = "7f4ac301234567897f4ac30123456789")]
    pub alert_id: String,
    /// The rule.
    pub rule: String,
    /// How much hangs on it.
    pub severity: Severity,
    /// What it means.
    pub summary: String,
    /// Whose entries these are, when they are not everybody's. The id is null when the person was erased.
    pub about: Option<Party>,
    /// How much happened.
    pub count: u64,
    /// How much of the same happened before, in the quiet after another alert.
    pub unseen: u64,
    /// How much of the same happened since, in the quiet after this one.
    pub since: u64,
    /// The entries, the newest 32 of them.
    pub entries: Vec<u64>,
    /// Where its own entry stands in the log.
    pub index: u64,
    /// When the last of the entries happened.
    #[schema(value_type = schema::Timestamp)]
    pub at: Timestamp,
    /// Whether somebody has seen it.
    pub state: AlertState,
    /// When somebody said so.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub acknowledged_at: Option<Timestamp>,
    /// Who said so; the id is null when the person was erased.
    pub acknowledged_by: Option<Party>,
    /// How far the guardians have been told; not in lists.
    pub deliveries: Vec<AlertDelivery>,
}

impl Kind for Alert {
    const KIND: &'static str = "Alert";
}

/// How much hangs on an alert. Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a look.
    Low,
    /// Worth a look today.
    Medium,
    /// Somebody may be at work.
    High,
    /// Somebody is at work, or something was lost.
    Critical,
}

/// Whether somebody has seen an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlertState {
    /// Nobody.
    Raised,
    /// Somebody.
    Acknowledged,
}

/// How far a guardian has been told of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertDelivery {
    /// Which guardian.
    pub guardian: String,
    /// When the guardian had it; null while it waits.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub delivered_at: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub trouble: Option<String>,
}

/// Which alerts a list holds, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertFilter {
    /// Only those that nobody has seen.
    pub open: Option<bool>,
    /// Most items of the page, 1 to 500; 100 when not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// The rules that are in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRules {
    /// The number of the signed file; 0 when nobody changed anything yet.
    pub counter: u64,
    /// SHA-256 of the signed file, as the log names it.
    #[schema(value_type = Option<schema::Digest>)]
    pub digest: Option<Digest>,
    /// Why the file that was kept is not in force, and the built-in rules are.
    #[schema(example = "KOS-E0532")]
    pub refused: Option<String>,
    /// The rules.
    pub rules: Vec<AlertRule>,
    /// Built-in rules that are not in force.
    pub removed: Vec<String>,
    /// The file, as it can be applied again.
    #[schema(value_type = Object)]
    pub file: Value,
}

impl Kind for AlertRules {
    const KIND: &'static str = "AlertRules";
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// How much hangs on it.
    pub severity: Severity,
    /// What it means.
    pub summary: String,
    /// When it raises an alert, in words.
    #[schema(example = "5 within 600 s, for each target")]
    pub when: String,
    /// How long the same raises no other alert, in seconds.
    pub quiet_seconds: u32,
    /// Where it comes from.
    pub origin: RuleOrigin,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleOrigin {
    /// Built in, and goes only by an explicit word.
    Essential,
    /// Built in.
    BuiltIn,
    /// Written by somebody.
    Own,
}

/// Puts other rules in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRules {
    /// The file: `docs/spec/alerts.md` ALR-10. An empty object puts the built-in rules in force as they are.
    #[schema(value_type = Object)]
    pub file: Value,
}

/// What kind of guardian it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardianKind {
    /// An operator, who looks and acknowledges.
    Person,
    /// A service that takes signed POSTs.
    Webhook,
    /// A device of the fleet.
    Device,
    /// A collector of syslog messages.
    Syslog,
    /// The same, which reads the Common Event Format.
    Cef,
    /// Somebody who reads mail.
    Mail,
}

impl GuardianKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Webhook => "webhook",
            Self::Device => "device",
            Self::Syslog => "syslog",
            Self::Cef => "cef",
            Self::Mail => "mail",
        }
    }
}

/// Names a guardian.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddGuardian {
    /// What it is called: 1 to 48 of a-z, 0-9, `.`, `_`, `-`.
    #[schema(example = "pager")]
    pub name: String,
    /// How it is told.
    pub way: GuardianWay,
    /// A recipient of age, `age1..`, to which devices in quarantine seal what they gather.
    #[serde(default)]
    pub bundle_key: Option<String>,
}

/// How a guardian is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum GuardianWay {
    /// An operator looks, and acknowledges.
    Person {
        /// Who.
        #[schema(value_type = schema::OperatorName)]
        operator: OperatorName,
    },
    /// A POST that is signed as Standard Webhooks says.
    Webhook {
        /// `https://HOST[:PORT]/PATH`; `http` to this machine only.
        url: String,
        /// PEM of the CAs that are believed; those of the system when not given.
        ca: Option<String>,
    },
    /// A message to a device of the fleet.
    Device {
        /// Which.
        #[schema(value_type = schema::DeviceId)]
        device: DeviceId,
    },
    /// A message to a collector of syslog.
    Syslog {
        /// `unix:///PATH`, `udp://HOST[:PORT]`, `tcp://..` or `tls://..`.
        address: String,
        /// PEM of the CAs that are believed; those of the system when not given.
        ca: Option<String>,
    },
    /// The same in the Common Event Format.
    Cef {
        /// As for syslog.
        address: String,
        /// PEM of the CAs that are believed; those of the system when not given.
        ca: Option<String>,
    },
    /// A mail.
    Mail {
        /// `smtps://HOST[:PORT]`; `smtp` to this machine only.
        relay: String,
        /// PEM of the CAs that are believed; those of the system when not given.
        ca: Option<String>,
        /// The mailbox that it comes from.
        from: String,
        /// The mailboxes that it goes to, 1 to 8.
        to: Vec<String>,
    },
}

/// Who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guardian {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: GuardianKind,
    /// Where it is told.
    pub address: String,
    /// Since when.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
    /// Alerts that wait for it.
    pub waiting: u64,
    /// When it had the newest that it has.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub last_delivered_at: Option<Timestamp>,
    /// Since when it cannot be told.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub failing_since: Option<Timestamp>,
    /// Why.
    pub trouble: Option<String>,
    /// The secret by which it knows our webhooks; only in the answer that adds it.
    pub secret: Option<String>,
    /// The recipient of age to which devices in quarantine seal what they gather.
    pub bundle_key: Option<String>,
}

impl Kind for Guardian {
    const KIND: &'static str = "Guardian";
}

/// Whether a guardian could be told just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardianTest {
    /// Which.
    pub guardian: String,
    /// Whether it took the notice.
    pub ok: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// The id of the notice.
    pub alert_id: String,
}

impl Kind for GuardianTest {
    const KIND: &'static str = "GuardianTest";
}

/// How alerts stand, for the status of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// Guardians that are named.
    pub guardians: u64,
    /// Alerts that nobody has seen.
    pub open: u64,
    /// Deliveries that wait.
    pub undelivered: u64,
}
