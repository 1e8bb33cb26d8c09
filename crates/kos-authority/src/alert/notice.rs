//! What a guardian is told: an alert in words and numbers, and nothing about a person.
//!
//! Source: ALR-30.

use kos_audit::alert::AlertId;
use kos_base::{AuthorityName, Timestamp};
use serde::Serialize;

use crate::store::StoredAlert;

/// One alert on its way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notice {
    pub(crate) authority: AuthorityName,
    pub(crate) id: AlertId,
    /// Whether somebody only looks whether it arrives.
    pub(crate) test: bool,
    pub(crate) rule: String,
    pub(crate) severity: kos_audit::alert::Severity,
    pub(crate) summary: String,
    pub(crate) group: Option<String>,
    pub(crate) count: u64,
    pub(crate) unseen: u64,
    pub(crate) entries: Vec<u64>,
    /// Where its entry stands in the log: `kosctl audit prove` shows that it was raised. Nothing for a test.
    pub(crate) index: Option<u64>,
    pub(crate) at: Timestamp,
}

impl Notice {
    pub(super) fn of(authority: &AuthorityName, stored: &StoredAlert) -> Self {
        let alert = &stored.alert;
        Self {
            authority: authority.clone(),
            id: alert.id.clone(),
            test: false,
            rule: alert.rule.to_string(),
            severity: alert.severity,
            summary: alert.summary.clone(),
            group: alert.group.clone(),
            count: alert.count,
            unseen: alert.unseen,
            entries: alert.entries.clone(),
            index: Some(stored.raised),
            at: alert.at,
        }
    }

    /// One that only shows whether it arrives.
    pub(crate) fn test(authority: &AuthorityName, id: AlertId, now: Timestamp) -> Self {
        Self {
            authority: authority.clone(),
            id,
            test: true,
            rule: "test".to_owned(),
            severity: kos_audit::alert::Severity::Low,
            summary: "This is a test: somebody looks whether alerts arrive".to_owned(),
            group: None,
            count: 0,
            unseen: 0,
            entries: Vec::new(),
            index: None,
            at: now,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One whose texts would break out of every format, if somebody could write such rules.
    pub(in crate::alert) fn hostile() -> Notice {
        Notice {
            rule: "a\"b\\c]d".to_owned(),
            summary: "e=f|g\\h\r\nBcc: c@example.org\n<13>1 - - - - - -".to_owned(),
            severity: kos_audit::alert::Severity::Critical,
            test: false,
            index: Some(7),
            ..Notice::test(
                &"attic".parse().unwrap(),
                AlertId::of(&"clone".parse().unwrap(), 1, 2),
                Timestamp::from_unix_ms(1_795_170_000_000),
            )
        }
    }
}
