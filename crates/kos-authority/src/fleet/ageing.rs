//! Certificates that nobody renewed: that one is due, or has run out, is recorded once.
//!
//! Nothing is remembered for it: an entry that is younger than the moment which it tells of belongs to the certificate
//! in service, since no other was in service then. So a restart repeats nothing.

use kos_audit::EventType;
use kos_base::{DeviceId, DeviceState, Timestamp};
use kos_identity::registry::Device;

use crate::{
    authority::Shared,
    record::{Change, SystemChange},
    store::{DeviceQuery, EntryQuery, StoreError},
    writer::Transaction,
};

/// Devices that are looked at in one round, so that a large fleet does not hold up what else a round does.
const DEVICES_MAX: u32 = 256;
/// Rounds from the end of a pass through the fleet to the next pass.
const REST_ROUNDS: u32 = 30;

/// How far a pass through the fleet has come.
#[derive(Debug, Default)]
pub(super) struct Ageing {
    after: Option<DeviceId>,
    rest: u32,
}

impl Ageing {
    /// Looks at the next devices and records what time has made of them.
    ///
    /// # Errors
    /// When the store fails. The same devices are looked at again in the next round.
    pub(super) async fn round(&mut self, shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
        if self.rest > 0 {
            self.rest -= 1;
            return Ok(());
        }
        let active = vec![DeviceState::Active];
        let query = DeviceQuery { states: active, after: self.after.clone(), ..DeviceQuery::default() };
        let devices = shared.store.devices(&query, DEVICES_MAX).await?;
        let mut changes = Vec::new();
        for device in &devices {
            changes.extend(news(shared, device, now).await?);
        }
        if !changes.is_empty() {
            shared.writer.commit(Transaction::own(now, changes, Vec::new())).await?;
        }
        let is_whole = u32::try_from(devices.len()).is_ok_and(|count| count == DEVICES_MAX);
        self.after = devices.last().map(|device| device.id.clone()).filter(|_| is_whole);
        self.rest = if is_whole { 0 } else { REST_ROUNDS };
        Ok(())
    }
}

/// What is to be recorded about this device and is not yet.
async fn news(shared: &Shared, device: &Device, now: Timestamp) -> Result<Option<Change>, StoreError> {
    let Some(credential) = &device.credential else { return Ok(None) };
    let (id, issue, not_after) = (device.id.clone(), credential.issue, credential.not_after);
    let (event, since, change) = match device.state_at(now) {
        DeviceState::RenewalDue => (
            EventType::DeviceRenewalDue,
            credential.due_at(),
            SystemChange::DeviceRenewalDue { device: id, issue, not_after },
        ),
        DeviceState::Expired => (
            EventType::DeviceExpired,
            not_after,
            SystemChange::DeviceExpired { device: id, issue, not_after },
        ),
        _ => return Ok(None),
    };
    let told = EntryQuery {
        event: Some(event),
        target: Some(device.id.to_string()),
        since: Some(since),
        ..EntryQuery::default()
    };
    Ok(shared.store.entries(&told, 1).await?.is_empty().then(|| change.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authority::Authority,
        fixtures::{Enrolled, open},
    };

    async fn told(shared: &Shared) -> Vec<String> {
        let entries = shared.store.entries(&EntryQuery::default(), 1000).await.unwrap();
        let events = entries.into_iter().map(|entry| entry.event);
        events.filter(|e| e == "device_renewal_due" || e == "device_expired").collect()
    }

    #[tokio::test]
    async fn each_certificate_is_told_to_be_due_and_to_have_run_out_once() {
        let folder = tempfile::tempdir().unwrap();
        Authority::init(folder.path(), Some("attic".parse().unwrap()), None).unwrap();
        let authority = open(folder.path()).await;
        let shared = authority.shared();
        let (_, device) = Enrolled::device(shared, 1).await;
        let credential = device.credential.as_ref().unwrap();
        let (due, end) = (credential.due_at(), credential.not_after);
        let early = Timestamp::from_unix_ms(due.unix_ms() - 1);
        for (now, want) in [
            (early, [].as_slice()),
            (due, &["device_renewal_due"]),
            (due, &["device_renewal_due"]),
            (end, &["device_renewal_due", "device_expired"]),
            (end, &["device_renewal_due", "device_expired"]),
        ] {
            // Each a pass of its own, as after a restart.
            Ageing::default().round(shared, now).await.unwrap();
            assert_eq!(told(shared).await, want, "{now}");
        }
        let about = EntryQuery { event: Some(EventType::DeviceExpired), ..EntryQuery::default() };
        let entry = shared.store.entries(&about, 1).await.unwrap().remove(0);
        assert_eq!(entry.target, Some(device.id.to_string()));
        assert_eq!(entry.at, end);

        let mut passes = Ageing::default();
        passes.round(shared, early).await.unwrap();
        assert_eq!((passes.after, passes.rest), (None, REST_ROUNDS));
    }
}
