//! The own key of a device, changed again and again while the power is cut at either end between any two steps and messages are lost. The
//! rules of `kos_base::own_key` run as they are; the disks around them lose what was not synced.
//!
//! Laws: a device and its authority always have a key in common (`own-key-lost`); once a device has shown a key, nobody is let in
//! without one that still counts (`own-key-ignored`); and when nothing fails any more, the newest key is the one that counts (`own-key-stuck`).

use anyhow::Result;
use kos_base::{
    DeviceId, Secret,
    own_key::{HeldKeys, OwnKeys, TRIES},
};

use crate::{chance::Chance, laws::Breach, plant::Plant};

/// Steps of one life.
const STEPS_MAX: u64 = 120;
/// The secret of the authority's vault.
const STORE: Secret<32> = Secret::new([7; 32]);

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    device: DeviceId,
    /// What the authority means to record.
    record: OwnKeys,
    /// What is on its disk. A commit is all or nothing.
    committed: OwnKeys,
    issue: u32,
    /// What the device's vault has.
    disk: Vec<u8>,
    /// What the running daemon knows.
    held: HeldKeys,
    refusals: usize,
    /// A key on its way.
    sent: Option<(u32, [u8; 32])>,
    /// Every key that ever counted, as a thief may have copied it.
    copied: Vec<[u8; 32]>,
}

/// Lives one device.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let mut life = Life {
        chance: Chance::new(seed ^ 0x6f77_6e6b),
        plant,
        device: "kdev-0000000000000001".parse()?,
        record: OwnKeys::default(),
        committed: OwnKeys::default(),
        issue: 1,
        disk: Vec::new(),
        held: HeldKeys::default(),
        refusals: 0,
        sent: None,
        copied: Vec::new(),
    };
    for _ in 0..STEPS_MAX {
        if let Some(breach) = life.step() {
            return Ok(Some(breach));
        }
    }
    Ok(life.end())
}

impl Life {
    fn step(&mut self) -> Option<Breach> {
        match self.chance.between(0, 10) {
            0 => self.issue += 1,
            1 => self.mint(),
            2 | 3 => self.send(),
            4 | 5 => self.receive(),
            6 => self.cut_device(),
            7 => self.cut_authority(),
            8 => self.committed = self.record.clone(),
            _ => return self.link(),
        }
        None
    }

    fn mint(&mut self) {
        let salt = self.chance.bytes();
        // Because a certificate has none, or because somebody orders it.
        if self.record.is_due(self.issue) || self.chance.between(0, 1) == 0 {
            self.record.mint(salt, self.issue);
        }
    }

    fn send(&mut self) {
        // What is sent was recorded before.
        let known = if self.plant == Some(Plant::OwnKeySentEarly) { &self.record } else { &self.committed };
        let Some(next) = known.next() else { return };
        let (number, key) = (next.number, *next.key(&STORE, &self.device).expose());
        self.sent = Some((number, key));
        if self.plant == Some(Plant::OwnKeyConfirmedUnseen) {
            self.committed.confirm(number);
            self.record = self.committed.clone();
        }
    }

    /// Keeps a key durably before anything is done with it, unless the power is cut first.
    fn receive(&mut self) {
        let Some((number, key)) = self.sent.take() else { return };
        let cut = self.chance.between(0, 3) == 0;
        if cut && self.chance.between(0, 1) == 0 {
            return self.cut_device();
        }
        self.held.take(number, Secret::new(key));
        // It links anew, also with a key that it has already.
        self.refusals = if self.plant == Some(Plant::OwnKeyNotShownAgain) { self.refusals } else { 0 };
        if self.plant != Some(Plant::OwnKeyNotSynced) {
            self.disk = self.held.to_bytes().to_vec();
        }
        if cut {
            self.cut_device();
        }
    }

    /// What was not recorded, and what was on its way, is gone.
    fn cut_authority(&mut self) {
        self.record = self.committed.clone();
        self.sent = None;
    }

    fn cut_device(&mut self) {
        self.held = HeldKeys::from_bytes(&self.disk).unwrap_or_default();
        self.refusals = 0;
    }

    fn accepts(&self, shown: Option<&[u8; 32]>) -> Option<Option<u32>> {
        let fits = |minted: &Option<&kos_base::own_key::Minted>| {
            minted.map(|minted| *minted.key(&STORE, &self.device).expose()).as_ref() == shown
        };
        self.committed.accepted().find(fits).map(|minted| minted.map(|minted| minted.number))
    }

    /// The device links, and so does a thief beside it.
    fn link(&mut self) -> Option<Breach> {
        // A link that breaks off at once looks like a refusal.
        if self.chance.one_in(8) {
            self.refusals += 1;
            return None;
        }
        let shown = self.held.chosen(self.refusals).map(|key| *key.expose());
        match self.accepts(shown.as_ref()) {
            Some(number) => {
                self.refusals -= self.refusals % TRIES;
                if number.is_some_and(|number| self.committed.confirm(number)) {
                    self.record = self.committed.clone();
                    self.copied.extend(shown);
                }
            }
            None => self.refusals += 1,
        }
        self.thief()
    }

    /// A thief has the key of the certificate, and every own key but the one that was shown last.
    fn thief(&self) -> Option<Breach> {
        let old = self.copied.len().saturating_sub(1);
        let shows = self.copied.iter().take(old).map(Some).chain([None]);
        let let_in =
            self.committed.current().is_some() && shows.into_iter().any(|key| self.accepts(key).is_some());
        let_in.then(|| Breach {
            law: "own-key-ignored",
            detail: "a link without a key that counts was one".to_owned(),
        })
    }

    /// The key that was not shown yet, without anything that fails.
    fn bring(&mut self) {
        self.send();
        if let Some((number, key)) = self.sent.take() {
            self.held.take(number, Secret::new(key));
            self.disk = self.held.to_bytes().to_vec();
            self.refusals = if self.plant == Some(Plant::OwnKeyNotShownAgain) { self.refusals } else { 0 };
        }
    }

    /// Everything is healed: the device tries until it is let in, and is given what it has not shown.
    fn end(&mut self) -> Option<Breach> {
        self.cut_authority();
        for _ in 0..8 * TRIES {
            let shown = self.held.chosen(self.refusals).map(|key| *key.expose());
            match self.accepts(shown.as_ref()) {
                Some(Some(number)) if self.committed.confirm(number) => self.record = self.committed.clone(),
                Some(_) if self.committed.next().is_none() => return None,
                Some(_) => self.bring(),
                None => self.refusals += 1,
            }
        }
        if self.accepts(self.held.chosen(self.refusals).map(|key| *key.expose()).as_ref()).is_some() {
            let detail = "the device shows an older key than it was given".to_owned();
            return Some(Breach { law: "own-key-stuck", detail });
        }
        Some(Breach { law: "own-key-lost", detail: "device and authority have no key in common".to_owned() })
    }
}
