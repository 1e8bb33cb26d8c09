//! The log tells which settings of the file say something else than at the last start.
//!
//! Only their names: a value may be a secret some day, and who reads the log is not who reads the file. The rules of `approve`
//! have events of their own.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use kos_base::{Timestamp, digest::sha256};
use serde_json::Value;

use crate::{
    record::SystemChange,
    store::{Setting, Store, StoreError},
    writer::{SystemWrite, Transaction, Writer},
};

/// What the file says under each name, as a digest.
pub(super) type Written = BTreeMap<String, String>;

/// What stands in the file, as it is kept.
pub(super) fn written(named: BTreeMap<String, Value>) -> Written {
    let digest = |value: Value| HEXLOWER.encode(&sha256(value.to_string().as_bytes()));
    let told = named.into_iter().filter(|(name, _)| name != "approve");
    told.map(|(name, value)| (name, digest(value))).collect()
}

/// Records the names whose values changed.
pub(super) async fn record(
    store: &Store,
    writer: &Writer,
    written: &Written,
    now: Timestamp,
) -> Result<(), StoreError> {
    let held = store.setting(Setting::SettingsFile).await?;
    let damaged = || StoreError::Damaged { table: "settings", row: "settings_file".to_owned() };
    let before: Written = serde_json::from_str(held.as_deref().unwrap_or("{}")).map_err(|_| damaged())?;
    let names = before.keys().chain(written.keys());
    let keys: BTreeSet<String> =
        names.filter(|name| before.get(*name) != written.get(*name)).cloned().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string(written).map_err(|e| StoreError::Entry(e.to_string()))?;
    let system = vec![SystemWrite::Setting(Setting::SettingsFile, Some(text))];
    let change = SystemChange::SettingsChanged { keys };
    writer.commit(Transaction::own(now, vec![change.into()], system)).await.map(drop)
}
