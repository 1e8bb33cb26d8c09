//! What else of a person goes when they are erased or lose their rights: their name in records that have no more use for it, and
//! their place among the guardians.
//!
//! Source: `docs/spec/audit.md`, AUD-83 and AUD-84; `docs/spec/alerts.md`, ALR-28.

use kos_base::{Name, Timestamp, text::printable};
use kos_identity::registry::{Revocation, RevocationReason};

use crate::{
    alert::{Guardian, Way},
    record::{Change, SystemChange},
    store::{Operator, Store, StoreError},
    writer::SystemWrite,
};

/// What an operator is called whose name was erased.
pub(crate) const NAMELESS: &str = "erased";
/// Records that are read at a time.
const PAGE: u32 = 200;

/// Takes the name out of the records of operators who were removed.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn nameless(store: &Store, name: &Name) -> Result<Vec<SystemWrite>, StoreError> {
    let (mut writes, mut after) = (Vec::new(), None);
    let mut removed: Vec<Operator> = Vec::new();
    loop {
        let page = store.operators(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        removed.extend(page.into_iter().filter(|operator| operator.removed && operator.name == *name));
    }
    if removed.is_empty() {
        return Ok(writes);
    }
    for mut revocation in store.revocations().await? {
        let is_theirs = |one: &Operator| one.issuer == revocation.issuer && one.serial == revocation.serial;
        if removed.iter().any(is_theirs) {
            revocation.subject = format!("operator {NAMELESS}");
            writes.push(SystemWrite::Revoke(revocation));
        }
    }
    for operator in removed {
        let odd = |_| StoreError::Failed(printable(NAMELESS, 20));
        let (name, version) = (NAMELESS.parse().map_err(odd)?, operator.version + 1);
        writes.push(SystemWrite::Operator(Box::new(Operator { name, version, ..operator })));
    }
    Ok(writes)
}

/// The guardians that this operator is.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn guardians_of(store: &Store, name: &Name) -> Result<Vec<Guardian>, StoreError> {
    let mut guardians = store.guardians().await?;
    guardians.retain(|guardian| matches!(&guardian.way, Way::Person { operator } if operator == name));
    Ok(guardians)
}

/// What is recorded and written when guardians are told no more.
pub(crate) fn dismissal(guardians: Vec<Guardian>) -> (Vec<Change>, Vec<SystemWrite>) {
    let names = guardians.iter().map(|guardian| SystemWrite::NoGuardian(guardian.name.clone())).collect();
    let changes = guardians.into_iter().map(|one| SystemChange::GuardianRemoved(Box::new(one)).into());
    (changes.collect(), names)
}

/// What is recorded and written when an operator is removed, and is a guardian no more; with their record afterwards.
pub(crate) fn removal(
    operator: Operator,
    guardians: Vec<Guardian>,
    at: Timestamp,
) -> (Operator, Vec<Change>, Vec<SystemWrite>) {
    let revocation = Revocation {
        issuer: operator.issuer,
        serial: operator.serial.clone(),
        key: operator.key,
        at,
        not_after: operator.not_after,
        reason: RevocationReason::PrivilegeWithdrawn,
        subject: format!("operator {}", operator.name),
    };
    let (id, name, key) = (operator.id, operator.name.clone(), operator.key);
    let record = Operator { removed: true, version: operator.version + 1, ..operator };
    let mut changes = vec![SystemChange::OperatorRemoved { operator: id, name, key }.into()];
    let mut writes = vec![SystemWrite::Operator(Box::new(record.clone())), SystemWrite::Revoke(revocation)];
    let (dismissed, gone) = dismissal(guardians);
    changes.extend(dismissed);
    writes.extend(gone);
    (record, changes, writes)
}
