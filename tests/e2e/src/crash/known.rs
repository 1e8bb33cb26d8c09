//! What was acknowledged, and how much of it an authority still knows.
//!
//! A change is remembered when its answer has come, and not before: one that was cut off may or may not have happened.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::load::Load;
use crate::fleet::Authority;

/// Everything that was acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    counts: BTreeMap<Load, usize>,
    tickets: BTreeSet<String>,
    devices: BTreeSet<String>,
    /// The index of a log entry, and the device that it is about.
    entries: BTreeMap<u64, String>,
    /// By device and field: what it was set to last.
    fields: BTreeMap<(String, &'static str), Field>,
    /// Enrolments that were killed and then repeated to their end.
    pub(super) repeated: usize,
}

#[derive(Debug, Default)]
struct Field {
    acknowledged: Option<String>,
    /// What was asked for since, of which nobody knows whether it was done.
    under_way: BTreeSet<String>,
}

impl Known {
    /// A field is about to be set.
    pub(super) fn asks(&mut self, device: &str, field: &'static str, value: &str) {
        let held = self.fields.entry((device.to_owned(), field)).or_default();
        held.under_way.insert(value.to_owned());
    }

    /// It was set, the answer says.
    pub(super) fn set(&mut self, load: Load, device: &str, field: &'static str, value: &str) {
        let set = Field { acknowledged: Some(value.to_owned()), under_way: BTreeSet::new() };
        self.fields.insert((device.to_owned(), field), set);
        self.count(load);
    }

    /// The answer names a log entry about a device.
    pub(super) fn recorded(&mut self, device: &str, index: Option<u64>) {
        if let Some(index) = index {
            self.entries.insert(index, device.to_owned());
        }
    }

    pub(super) fn ticket(&mut self, id: String) {
        self.tickets.insert(id);
        self.count(Load::Tickets);
    }

    pub(super) fn device(&mut self, id: String) {
        self.devices.insert(id);
        self.count(Load::Enrolments);
    }

    pub(super) fn count(&mut self, load: Load) {
        *self.counts.entry(load).or_default() += 1;
    }

    /// How many answers said that something was done.
    pub(super) fn acknowledged(&self) -> usize {
        self.counts.values().sum()
    }

    pub(super) fn acknowledged_of(&self, load: Load) -> usize {
        self.counts.get(&load).copied().unwrap_or_default()
    }

    /// How much of it is gone.
    pub(super) fn missing(&self, authority: &Authority) -> Result<usize> {
        let tickets = authority.json(&["ticket", "list"])?;
        let tickets: BTreeSet<String> = items(&tickets).filter_map(|t| text(t, "ticketId")).collect();
        let devices = authority.json(&["list"])?;
        let devices: BTreeMap<String, &Value> =
            items(&devices).filter_map(|d| Some((text(d, "deviceId")?, d))).collect();
        let log = authority.json(&["audit", "list"])?;
        let about: BTreeMap<u64, String> = items(&log)
            .filter_map(|e| Some((e.get("index")?.as_u64()?, e.pointer("/target/id")?.as_str()?.to_owned())))
            .collect();
        let mut lost = self.tickets.difference(&tickets).count();
        lost += self.devices.iter().filter(|id| !devices.contains_key(*id)).count();
        lost += self.entries.iter().filter(|(index, device)| about.get(index) != Some(device)).count();
        for ((device, field), set) in &self.fields {
            let Some(acknowledged) = &set.acknowledged else { continue };
            let shown = devices.get(device).context("a device that was changed is gone")?;
            let is = text(shown, field).unwrap_or_default();
            // A device that was told to end may have ended.
            let further = acknowledged == "decommissioning" && is == "decommissioned";
            if &is != acknowledged && !set.under_way.contains(&is) && !further {
                lost += 1;
            }
        }
        Ok(lost)
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field)?.as_str().map(str::to_owned)
}
