//! The model of an authority: keys, store, sessions.

mod store;

use std::collections::BTreeMap;

use kos_base::KeyId;
use kos_identity::enrolment::authority::Session;

pub use store::{Certified, Published, Store};

use crate::{keys::AuthorityKit, world::LinkId};

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// Its keys.
    pub kit: &'static AuthorityKit,
    /// Whether it has power.
    pub up: bool,
    /// How often it had power; what belongs to an earlier life is void.
    pub life: u64,
    /// What is committed.
    pub store: Store,
    /// Open connections.
    pub sessions: BTreeMap<LinkId, Session>,
    /// Numbers of revocation lists, as memory has them; only the planted bug relies on it.
    pub numbers_in_memory: BTreeMap<KeyId, u64>,
}

impl Authority {
    /// An authority with power and without devices.
    pub fn new(kit: &'static AuthorityKit) -> Self {
        Self {
            kit,
            up: true,
            life: 1,
            store: Store::default(),
            sessions: BTreeMap::new(),
            numbers_in_memory: BTreeMap::new(),
        }
    }
}
