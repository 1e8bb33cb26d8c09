//! Enforcement modules on the authority: what an operator wants of them, and what becomes of a device that does not meet a
//! mandatory one.
//!
//! Source: `docs/spec/modules.md` MOD-10 to MOD-16.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use kos_base::{SecurityProfile, Timestamp};
use kos_identity::registry::Device;
use kos_klp::body::{self, Heartbeat};
use kos_policy::{
    Standing,
    module::{Finding, MODULES, Module, Report, Seen, Stance, first_unmet},
};

use crate::{
    authority::Shared,
    store::{Setting, Store, StoreError},
};

/// What an operator wants, by module and profile.
pub(crate) type Wanted = BTreeMap<String, BTreeMap<SecurityProfile, String>>;

/// The modules of a running authority.
#[derive(Debug, Default)]
pub(crate) struct Modules(RwLock<Wanted>);

impl Modules {
    /// Reads what an operator wants.
    ///
    /// # Errors
    /// When the store cannot be read, or holds something else.
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        let held = store.setting(Setting::Modules).await?;
        let read = held.map(|text| serde_json::from_str(&text)).transpose();
        let damaged = |_| StoreError::Damaged { table: "settings", row: "modules".to_owned() };
        Ok(Self(RwLock::new(read.map_err(damaged)?.unwrap_or_default())))
    }

    /// What is wanted now.
    pub(crate) fn wanted(&self) -> Wanted {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is on the disk counts from now on.
    pub(crate) fn put(&self, wanted: Wanted) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = wanted;
    }

    /// How a module is wanted for a profile.
    pub(crate) fn stance(&self, module: &str, profile: SecurityProfile) -> Stance {
        stance_of(&self.0.read().unwrap_or_else(PoisonError::into_inner), module, profile)
    }
}

/// How a module is wanted for a profile. A word that this version does not know is the strictest.
pub(crate) fn stance_of(wanted: &Wanted, module: &str, profile: SecurityProfile) -> Stance {
    let Some(word) = wanted.get(module).and_then(|by| by.get(&profile)) else { return Stance::Off };
    Stance::ALL.into_iter().find(|stance| stance.as_str() == word).unwrap_or(Stance::Mandatory)
}

/// What is known of a device for the modules.
pub(crate) fn seen(
    record: &Device,
    standing: Standing,
    report: Option<(Report, Timestamp)>,
    now: Timestamp,
) -> Seen {
    let attested = record.attested.as_ref().map(|attested| attested.at);
    Seen { evidence: standing.proven.evidence, attested, report, now }
}

/// The mandatory module that a device does not meet, if there is one.
pub(crate) fn unmet(
    shared: &Shared,
    standing: Standing,
    seen: &Seen,
) -> Option<(&'static dyn Module, Finding)> {
    first_unmet(standing.profile, seen, |module, profile| shared.modules.stance(module, profile))
}

/// What every module makes of a device, by its last heartbeat.
pub(crate) fn findings(
    shared: &Shared,
    record: &Device,
    standing: Standing,
    now: Timestamp,
) -> Vec<(&'static dyn Module, Stance, Finding)> {
    let beat = shared.presence.last(&record.id);
    let report = beat.and_then(|beat| {
        let said: Heartbeat = body::read(&beat.body).ok()?;
        Some((said.modules?, beat.at))
    });
    let seen = seen(record, standing, report, now);
    let judged = |module: &'static dyn Module| {
        let stance = shared.modules.stance(module.name(), standing.profile);
        (module, stance, module.judge(standing.profile, &seen))
    };
    MODULES.into_iter().map(judged).collect()
}
