//! The open links, by device: how what was committed reaches them, and how they are cut.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use kos_base::{DeviceId, KeyId};
use kos_identity::registry::{Device, Write};
use kos_klp::body::WitnessAnswer;
use kos_policy::{Forwarding, Standing};
use tokio::sync::{mpsc, oneshot, watch};

use crate::writer::Committed;

/// News that wait for one link, besides the newest record, which always arrives.
const PUSHES_MAX: usize = 4;

/// Frames of other devices that wait for one link, at most 64 KiB each; what comes beyond them is refused.
const RELAYED_MAX: usize = 16;

/// News for a link.
#[derive(Debug)]
pub(crate) enum Push {
    /// The device's record is another.
    Record(Arc<Device>),
    /// There are newer revocation lists.
    Revocations,
    /// Other manifests are in force.
    Policies,
    /// Enforcement modules are wanted in another way.
    Modules,
    /// The device's pairings or grants are others.
    Bonds,
    /// An agent calls the device.
    Call(Arc<Ask>),
    /// The device is a guardian, and is told this; the status of its answer goes there.
    Alert(Vec<u8>, oneshot::Sender<u16>),
    /// The device is asked to cosign.
    Witness(Arc<WitnessAsk>),
    /// The device is asked to judge another one.
    Judge(Arc<Ask>),
}

/// A question to a device, and the way back.
#[derive(Debug)]
pub(crate) struct Ask {
    /// What an agent signed, or the transcript of another device.
    pub(crate) said: Vec<u8>,
    /// Takes what the device answers: a result, or the number of a code. Closed when the link ends first.
    pub(crate) answer: mpsc::Sender<Answer>,
}

/// What a device answers.
pub(crate) type Answer = Result<Vec<u8>, u16>;

/// A question to a device as a witness, and the way back.
#[derive(Debug)]
pub(crate) struct WitnessAsk {
    pub(crate) request: Vec<u8>,
    /// Takes what the device answers. Closed when the link ends first.
    pub(crate) answer: mpsc::Sender<WitnessAnswer>,
}

/// Whether the link is to be closed at once. It may be asked as often as one likes.
#[derive(Debug)]
pub(crate) struct Cut(watch::Receiver<()>);

impl Cut {
    /// Ends when it is.
    pub(crate) async fn wait(&mut self) {
        // Nothing is ever sent: that the other end is gone says it.
        while self.0.changed().await.is_ok() {}
    }

    /// Whether it is, without waiting.
    pub(crate) fn is_now(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

#[derive(Debug)]
struct Handle {
    number: u64,
    key: KeyId,
    standing: Standing,
    push: mpsc::Sender<Push>,
    /// The newest record, once it changed. A link that falls behind sees the last one alone.
    record: watch::Sender<Option<Arc<Device>>>,
    relay: mpsc::Sender<Relayed>,
    /// Dropping it cuts the link.
    _cut: watch::Sender<()>,
}

/// A frame of another device.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) frame: Vec<u8>,
    pub(crate) forwarding: Forwarding,
    /// How its sender stood when it was taken.
    pub(crate) from: Standing,
}

/// Why a frame was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The device has no link here.
    NoLink,
    /// Its link does not keep up.
    Full,
}

/// News for one link.
#[derive(Debug)]
pub(crate) struct Pushes {
    record: watch::Receiver<Option<Arc<Device>>>,
    others: mpsc::Receiver<Push>,
}

impl Pushes {
    /// The next of them, the newest record first; nothing when the link is cut. It may be given up and asked again.
    pub(crate) async fn recv(&mut self) -> Option<Push> {
        tokio::select! {
            biased;
            changed = self.record.changed() => {
                changed.ok()?;
                self.record.borrow_and_update().clone().map(Push::Record)
            }
            push = self.others.recv() => push,
        }
    }
}

/// Every open link.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Held from the judgement of a call until it waits for its link: calls arrive in the order of their numbers.
    pub(crate) calling: tokio::sync::Mutex<()>,
    next: AtomicU64,
    open: Mutex<HashMap<DeviceId, Handle>>,
}

/// A link's place in the table. It ends with the link.
#[derive(Debug)]
pub(crate) struct Registration {
    links: Arc<Links>,
    device: DeviceId,
    number: u64,
    /// News.
    pub(crate) pushes: Pushes,
    /// Frames of other devices.
    pub(super) relayed: mpsc::Receiver<Relayed>,
    /// Resolves when the link is to be closed.
    pub(crate) cut: Cut,
}

impl Links {
    /// Enters a link. An older one of the same device is cut: a device has one link.
    pub(crate) fn enter(self: &Arc<Self>, device: DeviceId, key: KeyId, standing: Standing) -> Registration {
        let (push, pushes) = mpsc::channel(PUSHES_MAX);
        let (record, newest) = watch::channel(None);
        let (relay, relayed) = mpsc::channel(RELAYED_MAX);
        let (cutter, cut) = watch::channel(());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = Handle { number, key, standing, push, record, relay, _cut: cutter };
        self.open().insert(device.clone(), handle);
        let (links, pushes) = (Arc::clone(self), Pushes { record: newest, others: pushes });
        Registration { links, device, number, pushes, relayed, cut: Cut(cut) }
    }

    /// How a device stands that has a link.
    pub(crate) fn standing(&self, device: &DeviceId) -> Option<Standing> {
        self.open().get(device).map(|handle| handle.standing)
    }

    /// Gives a frame to the link of a device.
    ///
    /// # Errors
    /// When the device has none, or it does not keep up. The frame is gone; tell its sender.
    pub(crate) fn pass_on(&self, to: &DeviceId, frame: Relayed) -> Result<(), Undelivered> {
        let open = self.open();
        let handle = open.get(to).ok_or(Undelivered::NoLink)?;
        handle.relay.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undelivered::Full,
            mpsc::error::TrySendError::Closed(_) => Undelivered::NoLink,
        })
    }

    /// Asks a device to cosign, and waits for its answer as long as its link lives.
    ///
    /// # Errors
    /// When the device has no link, does not keep up, or its link ends first.
    pub(crate) async fn ask_witness(
        &self,
        device: &DeviceId,
        request: Vec<u8>,
    ) -> Result<WitnessAnswer, Undelivered> {
        let (answer, mut answered) = mpsc::channel(1);
        self.push(device, Push::Witness(Arc::new(WitnessAsk { request, answer })))?;
        answered.recv().await.ok_or(Undelivered::NoLink)
    }

    /// Asks a device to judge another one. Its answer comes; nothing when its link ends first.
    ///
    /// # Errors
    /// When the device has no link, or does not keep up.
    pub(crate) fn judge(
        &self,
        device: &DeviceId,
        transcript: Vec<u8>,
    ) -> Result<mpsc::Receiver<Answer>, Undelivered> {
        self.ask(device, transcript, Push::Judge)
    }

    /// Brings the call of an agent to a device. Its answer comes; nothing when its link ends first.
    ///
    /// # Errors
    /// When the device has no link, or does not keep up.
    pub(crate) fn call(
        &self,
        device: &DeviceId,
        signed: Vec<u8>,
    ) -> Result<mpsc::Receiver<Answer>, Undelivered> {
        self.ask(device, signed, Push::Call)
    }

    fn ask(
        &self,
        device: &DeviceId,
        said: Vec<u8>,
        kind: fn(Arc<Ask>) -> Push,
    ) -> Result<mpsc::Receiver<Answer>, Undelivered> {
        let (answer, answered) = mpsc::channel(1);
        self.push(device, kind(Arc::new(Ask { said, answer })))?;
        Ok(answered)
    }

    fn push(&self, device: &DeviceId, push: Push) -> Result<(), Undelivered> {
        let open = self.open();
        let handle = open.get(device).ok_or(Undelivered::NoLink)?;
        handle.push.try_send(push).map_err(|_| Undelivered::Full)
    }

    /// Tells a device something as a guardian. The status of its answer comes; nothing when its link ends first.
    ///
    /// # Errors
    /// When it has no link, or does not keep up.
    pub(crate) fn alert(
        &self,
        device: &DeviceId,
        said: Vec<u8>,
    ) -> Result<oneshot::Receiver<u16>, Undelivered> {
        let (done, status) = oneshot::channel();
        self.push(device, Push::Alert(said, done))?;
        Ok(status)
    }

    /// How many links are open.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether there are none.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hears what was committed: cuts whoever is no longer admitted or has a newer key, tells the others.
    pub(crate) fn notice(&self, committed: &Committed<'_>) {
        let writes = committed.transactions.iter().flat_map(|t| &t.writes);
        for write in writes {
            if let Write::Device(device) = write {
                self.device_changed(device);
            }
        }
    }

    /// Tells every link that there are newer revocation lists.
    pub(crate) fn revocations_changed(&self) {
        for handle in self.open().values() {
            // A full queue means that it will look anyway.
            let _ = handle.push.try_send(Push::Revocations);
        }
    }

    /// Tells every link that other manifests are in force.
    pub(crate) fn policies_changed(&self) {
        for handle in self.open().values() {
            // Whoever falls behind looks with its next heartbeat.
            let _ = handle.push.try_send(Push::Policies);
        }
    }

    /// Tells every link that enforcement modules are wanted in another way.
    pub(crate) fn modules_changed(&self) {
        for handle in self.open().values() {
            // Whoever falls behind judges with its next heartbeat.
            let _ = handle.push.try_send(Push::Modules);
        }
    }

    /// What a device may do here is another thing from now on, if the link with this number is still its own.
    pub(super) fn stands(&self, device: &DeviceId, number: u64, standing: Standing) {
        if let Some(handle) = self.open().get_mut(device).filter(|handle| handle.number == number) {
            handle.standing = standing;
        }
    }

    /// Tells the link of a device that its pairings or grants are others.
    pub(crate) fn bonds_changed(&self, device: &DeviceId) {
        if let Some(handle) = self.open().get(device) {
            // As above.
            let _ = handle.push.try_send(Push::Bonds);
        }
    }

    fn device_changed(&self, device: &Device) {
        let mut open = self.open();
        let Some(handle) = open.get(&device.id) else { return };
        let serves = device.credential.as_ref().is_some_and(|c| c.key.id() == handle.key);
        if device.is_admitted() && serves {
            handle.record.send_replace(Some(Arc::new(device.clone())));
        } else {
            open.remove(&device.id);
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<DeviceId, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The number of the link.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether no newer link of the device has taken its place.
    pub(crate) fn is_current(&self) -> bool {
        self.links.open().get(&self.device).is_none_or(|handle| handle.number == self.number)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut open = self.links.open();
        if open.get(&self.device).is_some_and(|handle| handle.number == self.number) {
            open.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kos_base::{DeviceState, Timestamp};

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_newer_link_of_a_device_cuts_the_older_one_and_outlives_it() {
        let links = Arc::new(Links::default());
        let first = links.enter(fixtures::device_id(1), fixtures::key(1).id(), fixtures::SEC2);
        let second = links.enter(fixtures::device_id(1), fixtures::key(1).id(), fixtures::SEC2);
        assert!(first.cut.is_now());
        assert!(!first.is_current() && second.is_current());
        drop(first);
        assert_eq!(links.len(), 1);
        assert!(!second.cut.is_now());
        drop(second);
        assert!(links.is_empty());
    }

    #[test]
    fn an_older_link_says_nothing_of_how_the_newer_one_stands() {
        let links = Arc::new(Links::default());
        let (id, key) = (fixtures::device_id(1), fixtures::key(1).id());
        let lobby = Standing { profile: kos_base::SecurityProfile::Sec0, ..fixtures::SEC2 };
        let older = links.enter(id.clone(), key, fixtures::SEC2);
        let newer = links.enter(id.clone(), key, lobby);
        links.stands(&id, older.number(), fixtures::SEC2);
        assert_eq!(links.standing(&id), Some(lobby));
        links.stands(&id, newer.number(), fixtures::SEC2);
        assert_eq!(links.standing(&id), Some(fixtures::SEC2));
    }

    #[test]
    fn frames_for_a_link_that_does_not_keep_up_are_refused_and_news_come_through() {
        let links = Arc::new(Links::default());
        let device = fixtures::member(1);
        let mut link =
            links.enter(device.id.clone(), device.credential.as_ref().unwrap().key.id(), fixtures::SEC2);
        let nobody = fixtures::device_id(2);
        let frame = || Relayed { frame: vec![1], forwarding: Forwarding::Encrypted, from: fixtures::SEC2 };
        assert_eq!(links.pass_on(&nobody, frame()), Err(Undelivered::NoLink));
        for _ in 0..RELAYED_MAX {
            assert_eq!(links.pass_on(&device.id, frame()), Ok(()));
        }
        assert_eq!(links.pass_on(&device.id, frame()), Err(Undelivered::Full));
        links.device_changed(&device);
        assert!(matches!(link.pushes.recv().now_or_never(), Some(Some(Push::Record(_)))));
        drop(link);
        assert_eq!(links.pass_on(&device.id, frame()), Err(Undelivered::NoLink));
    }

    #[test]
    fn a_suspended_device_is_cut_and_another_change_only_tells_it() {
        let links = Arc::new(Links::default());
        let mut device = fixtures::member(1);
        let key = device.credential.as_ref().map(|c| c.key.id()).unwrap();
        let mut link = links.enter(device.id.clone(), key, fixtures::SEC2);
        links.device_changed(&device);
        assert!(matches!(link.pushes.recv().now_or_never(), Some(Some(Push::Record(_)))));
        device.enter(Timestamp::from_unix_s(6), DeviceState::Suspended, "test").unwrap();
        links.device_changed(&device);
        assert!(link.cut.is_now());
        assert!(link.is_current(), "no other link speaks for the device");
    }

    #[test]
    fn the_newest_record_reaches_a_link_that_does_not_keep_up() {
        let links = Arc::new(Links::default());
        let mut device = fixtures::member(1);
        let key = device.credential.as_ref().map(|c| c.key.id()).unwrap();
        let mut link = links.enter(device.id.clone(), key, fixtures::SEC2);
        for _ in 0..2 * PUSHES_MAX {
            links.policies_changed();
        }
        for version in 100..120 {
            device.version = version;
            links.device_changed(&device);
        }
        let mut news = std::iter::from_fn(|| link.pushes.recv().now_or_never().flatten());
        assert!(matches!(news.next(), Some(Push::Record(newest)) if newest.version == 119));
        assert_eq!(news.count(), PUSHES_MAX);
    }
}
