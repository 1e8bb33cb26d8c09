//! What else of a person goes when they are erased or lose their rights: their name in records that have no more use for it, and
//! their place among the guardians.
//!
//! Source: `docs/spec/audit.md`, AUD-83 and AUD-84; `docs/spec/alerts.md`, ALR-28.

use kos_base::{Name, text::printable};

use crate::{
    alert::{Guardian, Way},
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
