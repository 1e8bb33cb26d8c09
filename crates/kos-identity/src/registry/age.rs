//! What time alone makes of a device in service: due for renewal, then expired.
//!
//! Nothing of it is recorded in the device's record, since nobody decides it.
//!
//! Source: `docs/spec/enrolment.md` REG-2.

use kos_base::{DeviceState, Timestamp};

use super::{Credential, Device};

/// Share of a certificate's life after which the device is due for renewal.
const DUE_AFTER: f64 = 0.7;

/// Where a device is in its life at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage<'a> {
    /// The state.
    pub state: DeviceState,
    /// Why it is in that state.
    pub reason: &'a str,
    /// Since when.
    pub since: Timestamp,
}

impl Credential {
    /// From when on the device should have renewed it.
    pub fn due_at(&self) -> Timestamp {
        self.not_before.plus(self.not_after.since(self.not_before).mul_f64(DUE_AFTER))
    }
}

impl Device {
    /// The state at `now`, with the reason and the moment that belong to it.
    pub fn stage_at(&self, now: Timestamp) -> Stage<'_> {
        let state = self.state_at(now);
        let aged = self.credential.as_ref().and_then(|credential| match state {
            DeviceState::RenewalDue => Some(("its certificate is due for renewal", credential.due_at())),
            DeviceState::Expired => Some(("its certificate ran out", credential.not_after)),
            _ => None,
        });
        match aged {
            // Who was suspended meanwhile became active again only later.
            Some((reason, since)) => Stage { state, reason, since: since.max(self.state_since()) },
            None => Stage { state, reason: self.state_reason(), since: self.state_since() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::device::tests::{credential, device};

    #[test]
    fn what_time_does_has_its_own_reason_and_moment() {
        let at = Timestamp::from_unix_s;
        let mut device = device();
        device.enter(at(100), DeviceState::Active, "confirmed").unwrap();
        device.credential = Some(credential(&device));
        for (now, state, reason, since) in [
            (699, DeviceState::Active, "confirmed", 100),
            (700, DeviceState::RenewalDue, "its certificate is due for renewal", 700),
            (5_000, DeviceState::Expired, "its certificate ran out", 1_000),
        ] {
            assert_eq!(device.stage_at(at(now)), Stage { state, reason, since: at(since) }, "{now}");
        }
        device.enter(at(800), DeviceState::Suspended, "lost").unwrap();
        assert_eq!(device.stage_at(at(5_000)).reason, "lost");
        device.enter(at(900), DeviceState::Active, "found").unwrap();
        let stage = device.stage_at(at(950));
        assert_eq!((stage.state, stage.since), (DeviceState::RenewalDue, at(900)));
    }
}
