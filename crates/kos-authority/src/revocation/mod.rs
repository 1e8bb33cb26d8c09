//! What is revoked, at hand for every handshake and request, and published as lists.
//!
//! The board is updated by the writer within the commit that revokes, before anybody hears of the commit. Whoever
//! holds a link watches [`Board::subscribe`] and asks again.

mod publisher;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kos_base::{KeyId, Timestamp, digest::sha256_parts};
use kos_identity::{
    certificate::{Certificate, Serial},
    crl::{self, RevocationView, VerifiedCrl},
    registry::{Revocation, Write},
};
use kos_klp::{
    body::{self, Revocation as Message},
    message::RevocationHead,
};
use tokio::sync::watch;

pub(crate) use self::publisher::Publisher;
use crate::{
    store::{Store, StoreError},
    writer::{Committed, SystemWrite},
};

/// Everything that is revoked now.
#[derive(Debug)]
pub struct Board {
    state: RwLock<State>,
    changed: watch::Sender<u64>,
}

/// The lists as links carry them, made once for all links.
#[derive(Debug)]
pub(crate) struct News {
    /// How far the lists are: the highest number among them, and a hash over all.
    pub(crate) head: RevocationHead,
    /// The bodies of the messages that bring them, in order.
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Default for News {
    fn default() -> Self {
        Self::of(&RevocationView::default())
    }
}

impl News {
    fn of(view: &RevocationView) -> Self {
        let number = view.lists().map(VerifiedCrl::number).max().unwrap_or(0);
        let hash = sha256_parts("kos revocation head v1", view.lists().map(VerifiedCrl::der));
        let head = RevocationHead { number, hash };
        // All of them: a device has seen the CA of our own certificate in the handshake.
        let lists = view.lists().map(|list| list.der().to_vec());
        let bodies = Message::messages(head, lists).iter().map(body::write).collect();
        Self { head, bodies }
    }
}

#[derive(Debug, Default)]
struct State {
    news: Arc<News>,
    view: Arc<RevocationView>,
    records: BTreeMap<(KeyId, Vec<u8>), Revocation>,
    /// CAs whose newest list does not say what the records say.
    stale: BTreeSet<KeyId>,
}

impl Board {
    /// Reads what is revoked and the newest lists of these CAs.
    ///
    /// # Errors
    /// When the store cannot be read, or a list in it is not one that its CA signed.
    pub async fn load(
        store: &Store,
        issuers: &[Certificate],
        now: Timestamp,
    ) -> Result<Arc<Self>, StoreError> {
        let mut state = State::default();
        let mut view = RevocationView::default();
        for record in store.revocations().await? {
            revoke(&mut view, &record);
            state.records.insert((record.issuer, record.serial.clone()), record);
        }
        for issuer in issuers {
            let key = issuer.key_id();
            let Some(stored) = store.crl(key).await? else {
                state.stale.insert(key);
                continue;
            };
            let unsound = |_| StoreError::Damaged { table: "crls", row: key.to_string() };
            let list = VerifiedCrl::parse(&stored.der, issuer).map_err(unsound)?;
            if !says(&list, &entries(&state.records, key, now)) {
                state.stale.insert(key);
            }
            view.install(list).map_err(unsound)?;
        }
        state.news = Arc::new(News::of(&view));
        state.view = Arc::new(view);
        Ok(Arc::new(Self { state: RwLock::new(state), changed: watch::Sender::new(0) }))
    }

    /// What is revoked, as it is now. Cheap.
    pub fn view(&self) -> Arc<RevocationView> {
        Arc::clone(&self.read().view)
    }

    /// The newest lists, as links carry them. Cheap.
    pub(crate) fn news(&self) -> Arc<News> {
        Arc::clone(&self.read().news)
    }

    /// The entry about a certificate, if it is revoked or on hold.
    pub fn record(&self, issuer: KeyId, serial: Serial) -> Option<Revocation> {
        self.read().records.get(&(issuer, serial.to_bytes().to_vec())).cloned()
    }

    /// Tells of every change: a revocation, a release, a newer list.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes over what a group of transactions has made durable.
    pub(crate) fn apply(&self, committed: &Committed<'_>) {
        let mut revoked = Vec::new();
        let mut released = Vec::new();
        for transaction in committed.transactions {
            for write in &transaction.writes {
                match write {
                    Write::Revoke(record) => revoked.push(record.clone()),
                    Write::Release { issuer, serial } => released.push((*issuer, serial.clone())),
                    Write::Device(_)
                    | Write::ForgetDevice { .. }
                    | Write::Ticket(_)
                    | Write::Voucher(_)
                    | Write::Sponsor(_)
                    | Write::Certificate { .. } => {}
                }
            }
            for write in &transaction.system {
                if let SystemWrite::Revoke(record) = write {
                    revoked.push(record.clone());
                }
            }
        }
        if revoked.is_empty() && released.is_empty() {
            return;
        }
        let mut state = self.write();
        let mut view = RevocationView::clone(&state.view);
        for record in revoked {
            revoke(&mut view, &record);
            state.stale.insert(record.issuer);
            state.records.insert((record.issuer, record.serial.clone()), record);
        }
        for (issuer, serial) in released {
            if let Some(record) = state.records.remove(&(issuer, serial)) {
                if let Some(serial) = serial_of(&record) {
                    view.release(issuer, serial, record.key);
                }
                state.stale.insert(issuer);
            }
        }
        state.view = Arc::new(view);
        drop(state);
        self.tell();
    }

    /// Takes a list over that was published.
    fn install(&self, issuer: KeyId, list: VerifiedCrl, now: Timestamp) {
        let mut state = self.write();
        // Something may have been revoked while the list was signed.
        if says(&list, &entries(&state.records, issuer, now)) {
            state.stale.remove(&issuer);
        }
        let mut view = RevocationView::clone(&state.view);
        if view.install(list).is_ok() {
            state.news = Arc::new(News::of(&view));
            state.view = Arc::new(view);
        }
        drop(state);
        self.tell();
    }

    /// The entries of the next list of a CA, and whether it is due because the newest one says something else.
    fn next_list(&self, issuer: KeyId, now: Timestamp) -> (Vec<crl::Entry>, Staleness) {
        let state = self.read();
        let stale = if state.stale.contains(&issuer) { Staleness::Stale } else { Staleness::Fresh };
        (entries(&state.records, issuer, now), stale)
    }

    fn tell(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the newest list of a CA says what the records say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Staleness {
    Fresh,
    Stale,
}

/// What a list names at `now`: entries stay until every list that was valid beside the certificate has run out.
fn entries(
    records: &BTreeMap<(KeyId, Vec<u8>), Revocation>,
    issuer: KeyId,
    now: Timestamp,
) -> Vec<crl::Entry> {
    let of_issuer = records.values().filter(|record| record.issuer == issuer);
    let alive = of_issuer.filter(|record| record.not_after.plus(crl::VALIDITY) > now);
    let entry = |record: &Revocation| {
        Some(crl::Entry { serial: serial_of(record)?, at: record.at, reason: record.reason })
    };
    alive.filter_map(entry).collect()
}

/// Whether a list names exactly these.
fn says(list: &VerifiedCrl, wanted: &[crl::Entry]) -> bool {
    let named = wanted.iter().all(|entry| list.find(entry.serial) == Some(Some(entry.reason)));
    named && wanted.len() == list.len()
}

fn revoke(view: &mut RevocationView, record: &Revocation) {
    if let Some(serial) = serial_of(record) {
        view.revoke(record.issuer, serial, record.key, record.reason);
    }
}

/// Every certificate of ours has a serial number of 16 bytes.
fn serial_of(record: &Revocation) -> Option<Serial> {
    <[u8; 16]>::try_from(record.serial.as_slice()).ok().map(Serial::from_random)
}
