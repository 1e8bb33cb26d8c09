//! What a running device tells whoever started it.

use kos_base::{Code, DeviceId};
use kos_identity::enrolment::device::Delivery;
use tokio::sync::mpsc;

/// Most news that wait. Whoever does not listen misses the later ones.
const NEWS_MAX: usize = 64;

/// Something that a person or the starting program wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Six digits to compare with those that the authority shows.
    Code(String),
    /// Nobody has let the device in yet.
    Waiting,
    /// The first certificate is in service.
    Enrolled(DeviceId),
    /// A newer certificate is in service: its number.
    Renewed(u32),
    /// The authority has acknowledged a heartbeat.
    Heartbeat,
    /// The authority said no.
    Refused(Code),
    /// Its answer cannot be trusted.
    Untrusted(Code),
    /// It cannot be reached; it is tried again.
    Unreachable,
    /// Something on this machine failed; the device tries again by itself.
    Setback(Code),
    /// The device is wiped.
    Ended(Delivery),
}

/// Where news arrive.
pub type NewsReceiver = mpsc::Receiver<News>;

#[derive(Clone, Debug)]
pub(super) struct NewsSender(mpsc::Sender<News>);

pub(super) fn channel() -> (NewsSender, NewsReceiver) {
    let (sender, receiver) = mpsc::channel(NEWS_MAX);
    (NewsSender(sender), receiver)
}

impl NewsSender {
    pub(super) fn tell(&self, news: News) {
        // Nobody has to listen.
        drop(self.0.try_send(news));
    }
}
