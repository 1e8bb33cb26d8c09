//! Who is told of alerts, and how.
//!
//! Source: ALR-28, ALR-29.

use std::{fmt, str::FromStr, time::Duration};

use kos_api::alert::GuardianKind;
use kos_base::{DeviceId, Name, Timestamp, text::printable};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name of a guardian: 1 to 48 of a-z, 0-9, `.`, `_` and `-`, not beginning with one of the marks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardianName(String);

/// The text is not the name of a guardian.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a guardian: 1 to 48 of a-z, 0-9, `.`, `_` and `-`")]
pub struct ParseGuardianNameError(String);

impl FromStr for GuardianName {
    type Err = ParseGuardianNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let begins = s.bytes().next().is_some_and(is_plain);
        let fits = begins && s.len() <= 48 && s.bytes().all(|b| is_plain(b) || b"._-".contains(&b));
        if fits { Ok(Self(s.to_owned())) } else { Err(ParseGuardianNameError(printable(s, 60))) }
    }
}

impl fmt::Display for GuardianName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for GuardianName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for GuardianName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for GuardianName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// How long a guardian that was removed is still told what happened until then. Whoever silences the guardians has to
/// keep them away for as long.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(12 * 3600);

/// Who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guardian {
    /// Their name.
    pub name: GuardianName,
    /// Since when.
    pub added_at: Timestamp,
    /// How they are told.
    pub way: Way,
    /// Whether they were removed, and are still told what happened until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// When a guardian was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    /// The moment.
    pub at: Timestamp,
    /// The index of the entry that says so.
    pub entry: u64,
}

/// How a guardian is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are named after what they are, and each variant says what it is")]
pub enum Way {
    /// A person looks, and acknowledges.
    Person { operator: Name },
    /// A POST over HTTPS, signed with a secret that is derived with this salt.
    Webhook { url: String, ca: Option<String>, salt: [u8; 16] },
    /// A message to a device of the fleet.
    Device { device: DeviceId },
    /// A message of syslog, in its own form or as CEF.
    Syslog { address: String, ca: Option<String>, form: SyslogForm },
    /// A mail, given to a relay.
    Mail { relay: String, ca: Option<String>, from: String, to: Vec<String> },
}

/// Scheme, host and port of an address.
pub(crate) fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What stands in a message of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyslogForm {
    /// Structured data of RFC 5424.
    Structured,
    /// The Common Event Format.
    Cef,
}

impl Way {
    /// What kind it is.
    pub const fn kind(&self) -> GuardianKind {
        match self {
            Self::Person { .. } => GuardianKind::Person,
            Self::Webhook { .. } => GuardianKind::Webhook,
            Self::Device { .. } => GuardianKind::Device,
            Self::Syslog { form: SyslogForm::Structured, .. } => GuardianKind::Syslog,
            Self::Syslog { form: SyslogForm::Cef, .. } => GuardianKind::Cef,
            Self::Mail { .. } => GuardianKind::Mail,
        }
    }

    /// Where it leads, for those who are not to write there and see no names: the path of a chat's webhook is what lets one
    /// in, and a mailbox is somebody's.
    pub fn place(&self) -> String {
        match self {
            Self::Person { .. } => "an operator".to_owned(),
            Self::Webhook { url, .. } => origin(url).to_owned(),
            Self::Mail { relay, .. } => relay.clone(),
            other => other.address(),
        }
    }

    /// Where it leads, without the secret that signs.
    pub fn address(&self) -> String {
        match self {
            Self::Person { operator } => operator.to_string(),
            Self::Webhook { url, .. } => url.clone(),
            Self::Device { device } => device.to_string(),
            Self::Syslog { address, .. } => address.clone(),
            Self::Mail { relay, to, .. } => format!("{} by {relay}", to.join(", ")),
        }
    }
}

impl Guardian {
    /// Whether alerts are brought there. A person comes and looks.
    pub const fn is_told(&self) -> bool {
        !matches!(self.way, Way::Person { .. })
    }

    /// Whether an alert that this entry raised is for them: one that is leaving hears of its own removal, and of nothing
    /// afterwards.
    pub fn hears_of(&self, entry: u64) -> bool {
        self.is_told() && self.leaving.is_none_or(|leaving| entry <= leaving.entry)
    }

    /// Whether the time is over within which one that is leaving is told.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.leaving.is_some_and(|leaving| now.since(leaving.at) >= LEAVING_TIME_MAX)
    }
}
