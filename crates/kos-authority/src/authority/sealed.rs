//! The log tells how the keys are sealed whenever that has changed since it was last told.

use kos_base::Timestamp;

use crate::{
    keys::Kept,
    record::SystemChange,
    store::{Setting, Store, StoreError},
    writer::{SystemWrite, Transaction, Writer},
};

/// Records a vault that is not the one of the last start: the keys were taken over from files, came out of a backup, or
/// open in another way. Whatever else changes that vault says so in its own transaction.
pub(super) async fn record(
    store: &Store,
    writer: &Writer,
    kept: &Kept,
    now: Timestamp,
) -> Result<(), StoreError> {
    if store.setting(Setting::KeysSealed).await? == Some(told(kept)) {
        return Ok(());
    }
    let change = SystemChange::KeysSealed {
        opener: kept.protection.opener.as_str(),
        vault: kept.head.vault,
        generation: kept.head.generation,
    };
    writer.commit(Transaction::own(now, vec![change.into()], vec![setting(kept)])).await.map(drop)
}

/// What is remembered of it.
pub(crate) fn setting(kept: &Kept) -> SystemWrite {
    SystemWrite::Setting(Setting::KeysSealed, Some(told(kept)))
}

fn told(kept: &Kept) -> String {
    format!("{} {} {}", kept.protection.opener, kept.head.vault, kept.head.generation)
}
