//! What must be true in every world, whatever happens.
//!
//! | law | says |
//! |---|---|
//! | `entry` | every committed change has exactly one entry in the log |
//! | `ticket` | a ticket lets in at most as many devices as it says, and none after its end |
//! | `stranger` | only devices get certificates, and only in their own name |
//! | `stopped` | who is suspended, quarantined, banned or ended gets no certificate, and what it had is revoked |
//! | `state` | a state changes only by a change that says so, and only where a way leads |
//! | `frozen` | what a device is does not change; its profile never goes down; its numbers only rise |
//! | `profile` | no certificate says a lower security profile than the device has had in service, or more than was proven; no device goes back to one |
//! | `seconded` | no certificate says SEC-4 without a second verdict in the same commit |
//! | `same-bytes` | until it is confirmed, the same request gets the same certificate |
//! | `superseded` | every certificate that is not in service and not waiting is revoked |
//! | `acknowledged` | an answer leaves only after what it says is committed |
//! | `list` | revocation lists have rising numbers and hold everything that is revoked |
//! | `durable` | a request, a confirmation and a receipt leave only after what they rely on is on the disk |
//! | `keys` | the journal never names a key that is gone |
//! | `erase` | a key is erased only after the authority has recorded its successor |
//! | `isolated` | a device that has cleared itself has no key but that of its identity |
//! | `obeyed` | an order of quarantine is obeyed once |
//! | `record` | nothing is wiped before the record of it is durable |
//! | `floor` | the time that a device knows to be past never goes back |
//! | `operator` | what an operator may do can be committed |
//! | `stranded` | at the end every device is in service, or where policy put it |
//! | `ended` | an ended device has no key left, and its authority knows |
//! | `copy` | two devices with one identity are noticed |
//! | `rogue` | nobody belongs to an authority that a person did not confirm |
//! | `quiescence` | a world comes to rest |

mod commit;
mod device;
mod end;

use std::collections::{BTreeMap, BTreeSet};

use kos_base::{DeviceId, EntryId, KeyId, SecurityProfile, Timestamp};

pub use commit::Before;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub law: &'static str,
    /// By what.
    pub detail: String,
}

/// The laws, and what they have to remember of a world.
#[derive(Debug, Default)]
pub struct Laws {
    breach: Option<Breach>,
    entries: u64,
    certificates: u64,
    /// Identity keys that devices have made.
    identities: BTreeSet<KeyId>,
    /// What each ticket allows, as its maker said: how many devices, and until when.
    tickets: BTreeMap<EntryId, (u32, Timestamp)>,
    admitted: BTreeMap<EntryId, BTreeSet<DeviceId>>,
    /// Whose certificate, and its bytes, by certified key.
    granted: BTreeMap<(DeviceId, KeyId), Vec<u8>>,
    /// Device and number of each certified key.
    certified: BTreeMap<KeyId, (DeviceId, u32)>,
    confirmed: BTreeSet<(DeviceId, u32)>,
    /// The highest security profile that each device had in service.
    served: BTreeMap<DeviceId, SecurityProfile>,
    alerts: BTreeSet<DeviceId>,
    lists: BTreeMap<KeyId, u64>,
    listed: BTreeSet<Vec<u8>>,
    /// How often sessions reported somebody.
    pub misuses: u64,
}

impl Laws {
    /// Notes that a law was broken. The first one counts.
    pub fn broken(&mut self, law: &'static str, detail: String) {
        self.breach.get_or_insert(Breach { law, detail });
    }

    /// The law that was broken first.
    pub const fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// The law that was broken first.
    pub const fn take_breach(&mut self) -> Option<Breach> {
        self.breach.take()
    }

    /// How many certificates were issued.
    pub const fn certificates(&self) -> u64 {
        self.certificates
    }

    /// A device has made an identity key.
    pub fn identity_made(&mut self, key: KeyId) {
        self.identities.insert(key);
    }

    fn demand(&mut self, law: &'static str, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken(law, otherwise());
        }
    }
}
