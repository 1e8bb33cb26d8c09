//! The own keys of devices of SEC-1: what a link has to show before it is one, and how a device gets a new key.
//!
//! A link of such a device is none until its first frame has come, proven with a key that counts: nothing was sent before,
//! and the link that the device has was not cut. Each key is made from the record and the entry `store` of the machine's vault when it
//! is needed.
//!
//! Source: `docs/spec/own-key.md`.

use std::time::Duration;

use kos_base::{
    DeviceId, Secret, SecurityProfile,
    approved::{Algorithm, Mode},
    code,
    own_key::{Minted, OwnKeys, Purpose, SEAL_INFO, mix, seal_aad},
};
use kos_identity::registry::{Actor, Credential, Device, Write};
use kos_klp::{
    body::Instruction,
    frame::{Content, Frame},
    party::Party,
    proof::{ProofClass, link::LinkRole},
    session::{Session, Signer},
};
use kos_net::{
    accept::source_of,
    carrier::{About, LinkReceiver},
    entropy,
    keys::{self, HpkeSealed},
};
use kos_policy::Errand;
use tokio::time::timeout;

use super::talk::{Ended, Switchboard, Talk, first_of};
use crate::{authority::Shared, clock, record::SystemChange, store::StoreError, writer::Transaction};

/// How long a link may take to show its key. A device sends a heartbeat as soon as it is linked. Stops links that are kept
/// open to no end.
const FIRST_FRAME_MAX: Duration = Duration::from_secs(20);

/// How often a change of the record is tried again after somebody else was faster.
const ATTEMPTS_MAX: u32 = 4;

/// The certificate in service of a device that is to have a key of its own.
pub(crate) fn certificate_of(device: &Device) -> Option<&Credential> {
    let held = device.credential.as_ref().filter(|_| device.is_admitted())?;
    (device.certified_profile(held) == SecurityProfile::Sec1).then_some(held)
}

/// What a device may show, newest first; nothing stands for no key.
pub(crate) fn accepted(shared: &Shared, device: &Device) -> Vec<Option<Secret<32>>> {
    let keys = device.own_keys.clone().unwrap_or_default();
    keys.accepted().map(|minted| minted.map(|minted| key_of(shared, device, minted))).collect()
}

/// What a renewal is bound to instead of `exporter`: the key that the device has shown, if it is to have one.
pub(crate) fn renewal(shared: &Shared, device: &Device, exporter: &Secret<32>) -> Option<Secret<32>> {
    certificate_of(device)?;
    let shown = device.own_keys.as_ref()?.current()?;
    Some(mix(Purpose::Renewal, exporter, &key_of(shared, device, shown)))
}

fn key_of(shared: &Shared, device: &Device, minted: &Minted) -> Secret<32> {
    minted.key(&shared.keys.store, &device.id)
}

/// How a link has begun.
pub(super) struct Begun {
    /// Its secret.
    pub(super) secret: Secret<32>,
    /// The number of the key that was shown.
    pub(super) shown: Option<u32>,
    /// What was heard for that, and was not taken yet.
    pub(super) first: Option<Vec<u8>>,
}

/// The ends of a link.
pub(super) struct Ends {
    pub(super) authority: Party,
    pub(super) own_key: kos_base::KeyId,
    pub(super) device: Party,
}

impl Ends {
    /// A session between them.
    pub(super) fn session(&self, about: &About, secret: &Secret<32>) -> Result<Session, Ended> {
        let peer = Signer { party: self.device.clone(), key: about.peer.public_key().clone() };
        let epoch = clock::now().unix_ms();
        Ok(Session::new(LinkRole::Listener, secret, self.authority.clone(), self.own_key, peer, epoch)?)
    }
}

impl Switchboard {
    /// Hears how a device shows itself. Only one of SEC-1 that was given a key has to.
    pub(super) async fn hear_key(
        &self,
        about: &About,
        device: &Device,
        ends: &Ends,
        receiver: &mut LinkReceiver,
    ) -> Result<Begun, Ended> {
        let plain = || Secret::new(*about.exporter().expose());
        let keys = device.own_keys.clone().unwrap_or_default();
        if !is_asked(about, &keys) {
            return Ok(Begun { secret: plain(), shown: None, first: None });
        }
        let heard = timeout(FIRST_FRAME_MAX, receiver.recv()).await.map_err(|_| Ended::OwnKey)??;
        let first = heard.ok_or(Ended::OwnKey)?;
        // It may have taken long: another link may have shown a newer key since, and entering would cut that.
        let device = &self.in_service(&device.id, about.peer.key_id()).await?;
        let keys = device.own_keys.clone().unwrap_or_default();
        for minted in keys.accepted() {
            let secret = match minted {
                Some(minted) => mix(Purpose::Link, about.exporter(), &key_of(&self.shared, device, minted)),
                None => plain(),
            };
            if is_proven(&mut ends.session(about, &secret)?, &first) {
                return Ok(Begun { secret, shown: minted.map(|minted| minted.number), first: Some(first) });
            }
        }
        let source = source_of(about.remote.ip()).to_string();
        self.shared.refusals.count(clock::now(), &source, code::token::OWN_KEY);
        self.shared.manifests.refused.count_own_key(&device.id);
        Err(Ended::OwnKey)
    }
}

/// Whether a link has to show a key before it is one (OWN-7).
fn is_asked(about: &About, keys: &OwnKeys) -> bool {
    about.peer.facts().is_some_and(|said| said.profile == SecurityProfile::Sec1) && keys.is_begun()
}

impl Begun {
    /// Whether what was shown still counts by this record: another link may have shown a newer key meanwhile.
    pub(super) fn stands(&self, about: &About, device: &Device) -> bool {
        let keys = device.own_keys.clone().unwrap_or_default();
        !is_asked(about, &keys) || (self.first.is_some() && keys.accepts(self.shown))
    }
}

/// Whether a frame has a proof of this session's link. Another proof says nothing about the key; what else is wrong with
/// the frame, such as the clock of its sender, it hears from the link.
fn is_proven(session: &mut Session, frame: &[u8]) -> bool {
    let Ok(Content::Plain(envelope)) = Frame::parse(frame).map(Frame::into_content) else { return false };
    envelope.class() == ProofClass::Link
        && session.receive_link(clock::now(), envelope).map_or_else(|e| !e.breaks_link(), |_| true)
}

/// Records what `change` makes of the keys of a device; nothing when it makes nothing of them.
async fn record(
    shared: &Shared,
    device: &Device,
    mut change: impl FnMut(&DeviceId, &mut OwnKeys) -> Option<SystemChange>,
) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(found) = shared.store.device(&device.id).await? else { return Ok(()) };
        let id = found.id.clone();
        let mut next = found.next_version();
        let Some(happened) = change(&id, next.own_keys.get_or_insert_default()) else { return Ok(()) };
        let transaction = Transaction {
            at: clock::now(),
            actor: Actor::Authority,
            changes: vec![happened.into()],
            writes: vec![Write::Device(Box::new(next))],
            system: Vec::new(),
            answer: None,
        };
        match shared.writer.commit(transaction).await {
            Err(StoreError::Conflict { .. }) => {}
            other => return other.map(drop),
        }
    }
    // The next link or record does it.
    Ok(())
}

impl Talk<'_> {
    /// The key that was shown counts, and the one before no more.
    pub(super) async fn confirm_key(&mut self, shown: Option<u32>) -> Result<(), Ended> {
        let Some(number) = shown else { return Ok(()) };
        let confirmed = record(&self.board.shared, &self.device, |device, keys| {
            let confirms = keys.confirm(number);
            confirms.then(|| SystemChange::OwnKeyConfirmed { device: device.clone(), number })
        });
        Ok(confirmed.await?)
    }

    /// Takes the frame that has shown the key.
    pub(super) async fn take_first(&mut self, first: Option<Vec<u8>>) -> Result<(), Ended> {
        let Some(first) = first else { return Ok(()) };
        let taken = self.take(&first).await;
        first_of(taken, self.sender.flush().await)
    }

    /// Makes a key for a certificate that has none, and brings one that was not shown yet.
    pub(super) async fn bring_own_key(&mut self) -> Result<(), Ended> {
        if self.standing.profile != SecurityProfile::Sec1 || !self.takes_part(Errand::Command) {
            return Ok(());
        }
        let keys = self.device.own_keys.clone().unwrap_or_default();
        let Some(held) = certificate_of(&self.device) else { return Ok(()) };
        // With the FIPS module at either end there is nothing to seal it with, and the device goes without (OWN-11).
        if held.agreement.is_none() || !Mode::BUILT.admits(Algorithm::HpkeX25519) {
            tracing::debug!(device = %self.id, "there is nothing to seal an own key with");
            return Ok(());
        }
        if keys.is_due(held.issue) {
            let (issue, salt) = (held.issue, entropy::array()?);
            let reason = format!("certificate {issue}");
            let made = record(&self.board.shared, &self.device, |device, keys| {
                let number = keys.is_due(issue).then(|| keys.mint(salt, issue)).flatten()?;
                Some(SystemChange::OwnKeyMade { device: device.clone(), number, reason: reason.clone() })
            });
            // What was recorded comes back as a push.
            return Ok(made.await?);
        }
        let Some(next) = keys.next() else { return Ok(()) };
        let number = next.number;
        if self.shown == Some(number) || self.told.own_key == Some(number) {
            return Ok(());
        }
        let key = key_of(&self.board.shared, &self.device, next);
        let aad = seal_aad(&self.id, number);
        let HpkeSealed { enc, ciphertext } = keys::seal(held.agreement, SEAL_INFO, &aad, key.expose())?;
        self.told.own_key = Some(number);
        let sealed = [enc.as_slice(), &ciphertext].concat();
        self.command(Instruction::OwnKey(number, sealed)).await
    }
}

#[cfg(test)]
mod tests {
    use kos_base::EvidenceTier;
    use kos_policy::Standing;

    use super::*;
    use crate::fixtures::{self, Enrolled};

    #[tokio::test]
    async fn a_renewal_is_bound_to_the_key_that_was_shown_and_only_with_sec_1() {
        let (_folder, authority) = fixtures::attic().await;
        let shared = authority.shared();
        let exporter = Secret::new([7; 32]);
        for (n, profile) in [(1, SecurityProfile::Sec1), (2, SecurityProfile::Sec2)] {
            let standing = Standing::certified(profile, EvidenceTier::KeyOnDevice);
            let (_, mut device) = Enrolled::device_with(shared, n, standing, profile).await;
            let is_asked = profile == SecurityProfile::Sec1;
            assert!(renewal(shared, &device, &exporter).is_none());
            let keys = device.own_keys.get_or_insert_default();
            assert_eq!(keys.mint([n; 32], 1), Some(1));
            // What is on its way does not count before it was shown.
            assert!(renewal(shared, &device, &exporter).is_none());
            assert_eq!(accepted(shared, &device).len(), 2);
            assert!(device.own_keys.get_or_insert_default().confirm(1));
            let bound = renewal(shared, &device, &exporter);
            assert_eq!(bound.is_some(), is_asked, "{profile}");
            assert!(bound.is_none_or(|bound| bound != exporter));
            assert_eq!(accepted(shared, &device).len(), 1);
        }
    }
}
