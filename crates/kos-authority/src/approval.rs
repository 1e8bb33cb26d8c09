//! Approval rules as the settings write them, and what the log says when they change.
//!
//! What a rule means is [`kos_identity`]'s business. The file is read at start, so a rule that is new or gone since the
//! start before is recorded then; one that says something else under the same name is gone and new.
//!
//! Source: `docs/spec/enrolment.md` RUL-1, RUL-5.

use std::collections::{BTreeMap, BTreeSet};

use kos_base::{KeyId, Mac, Role, SecurityProfile, Timestamp};
use kos_identity::enrolment::{
    authority::{ApprovalRule, Asks, RuleName},
    message::SERIAL_BYTES_MAX,
};
use serde::{Deserialize, Serialize, de::Error as _};

use crate::{
    record::{Change, SystemChange},
    store::{Setting, Store, StoreError},
    writer::{SystemWrite, Transaction, Writer},
};

/// Most rules: what a stranger's question is compared with.
const RULES_MAX: usize = 64;
/// Most serials, addresses and keys of one rule, so that an entry of the log holds them all.
const NAMED_MAX: usize = 64;

/// A rule as it is written, in the settings and in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: RuleName,
    #[serde(default)]
    serials: BTreeSet<String>,
    #[serde(default)]
    macs: BTreeSet<Mac>,
    #[serde(default)]
    key_ids: BTreeSet<KeyId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    eks: BTreeSet<KeyId>,
    #[serde(default)]
    roles: BTreeSet<Role>,
    #[serde(default = "least")]
    profile: SecurityProfile,
}

const fn least() -> SecurityProfile {
    SecurityProfile::Sec0
}

/// A rule that was checked while the place in the file was known.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
struct Checked(ApprovalRule);

impl TryFrom<Written> for Checked {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { name, serials, macs, key_ids, eks, roles, profile } = written;
        if serials.len() + macs.len() + key_ids.len() + eks.len() > NAMED_MAX {
            return Err(format!("rule `{name}` names more than {NAMED_MAX} serials, addresses and keys"));
        }
        let odd = |serial: &&String| {
            !(1..=SERIAL_BYTES_MAX).contains(&serial.len()) || !serial.chars().all(kos_base::text::is_safe)
        };
        if let Some(odd) = serials.iter().find(odd) {
            return Err(format!("rule `{name}`: `{odd}` is not a serial of 1 to {SERIAL_BYTES_MAX} bytes"));
        }
        let asks = Asks { serials, macs, keys: key_ids, eks, roles };
        let rule = ApprovalRule::new(name.clone(), asks, profile);
        rule.map(Self).map_err(|error| format!("rule `{name}`: {error}"))
    }
}

impl From<&ApprovalRule> for Written {
    fn from(rule: &ApprovalRule) -> Self {
        let Asks { serials, macs, keys, eks, roles } = rule.asks().clone();
        Self { name: rule.name().clone(), serials, macs, key_ids: keys, eks, roles, profile: rule.profile() }
    }
}

/// Reads the list `approve`.
pub(crate) fn read<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<ApprovalRule>, D::Error> {
    let checked: Option<Vec<Checked>> = Deserialize::deserialize(d)?;
    let rules: Vec<_> = checked.unwrap_or_default().into_iter().map(|Checked(rule)| rule).collect();
    if rules.len() > RULES_MAX {
        return Err(D::Error::custom(format_args!("more than {RULES_MAX} rules")));
    }
    let mut names = BTreeSet::new();
    match rules.iter().find(|rule| !names.insert(rule.name())) {
        Some(twice) => Err(D::Error::custom(format_args!("two rules are called `{}`", twice.name()))),
        None => Ok(rules),
    }
}

/// Records which rules are new and which are gone since the last start.
pub(crate) async fn record(
    store: &Store,
    writer: &Writer,
    rules: &[ApprovalRule],
    now: Timestamp,
) -> Result<(), StoreError> {
    let damaged = || StoreError::Damaged { table: "settings", row: "approval_rules".to_owned() };
    let held = store.setting(Setting::ApprovalRules).await?;
    let before = serde_json::from_str::<Vec<Written>>(held.as_deref().unwrap_or("[]"));
    let before = before.map_err(|_| damaged())?;
    let after: Vec<Written> = rules.iter().map(Written::from).collect();
    let changes = differences(&before, &after);
    if changes.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string(&after).map_err(|e| StoreError::Entry(e.to_string()))?;
    let system = vec![SystemWrite::Setting(Setting::ApprovalRules, Some(text))];
    writer.commit(Transaction::own(now, changes, system)).await.map(drop)
}

fn differences(before: &[Written], after: &[Written]) -> Vec<Change> {
    let by_name = |rules: &[Written]| -> BTreeMap<_, _> {
        rules.iter().map(|rule| (rule.name.clone(), rule.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let gone = old.iter().filter(|(name, rule)| new.get(name) != Some(*rule));
    let gone = gone.map(|(name, _)| SystemChange::RuleRemoved { rule: name.clone() });
    let added = new.iter().filter(|(name, rule)| old.get(name) != Some(*rule));
    let added = added.map(|(name, rule)| SystemChange::RuleAdded {
        rule: name.clone(),
        serials: rule.serials.clone(),
        macs: rule.macs.clone(),
        keys: rule.key_ids.clone(),
        eks: rule.eks.clone(),
        roles: rule.roles.clone(),
        profile: rule.profile,
    });
    gone.chain(added).map(Change::from).collect()
}
