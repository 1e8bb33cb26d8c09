//! Opening: what was missed is applied, record by record, and the log says so.
//!
//! Every step may be cut off and done again: what is applied already changes nothing the second time, and the authority
//! is closed until the last one.

use std::{collections::BTreeSet, path::Path};

use data_encoding::{BASE64, HEXLOWER};
use kos_api::backup::Restored;
use kos_audit::{VerifiedEntry, alert::signed};
use kos_base::{AuthorityName, DeviceId, DeviceState, SecurityProfile, Timestamp};
use kos_identity::{
    certificate::IssuerClass,
    registry::{Actor, Change, Commit, Device, Missed, Revocation, RevocationReason, Write},
};
use kos_net::entropy;
use kos_policy::{
    module::{Stance, module},
    pairing::EndedBy,
};

use super::{Restoration, RestoreError, effects::Effects, merge, papers};
use crate::{
    alert::Way,
    bonds,
    erasure::{NAMELESS, dismissal, guardians_of, nameless, removal},
    keys::Keys,
    log::LogSigner,
    modules::Modules,
    quarantine::forget_approvers,
    record::{Person, SystemChange},
    store::{DeviceQuery, ManifestChoice, Operator, Setting, Store, StoreError},
    writer::{SystemWrite, Transaction, Writer},
};

/// Records that are read at a time.
const PAGE: u32 = 200;

/// What opening needs of an authority.
pub(super) struct Opening<'a> {
    pub(super) name: &'a AuthorityName,
    pub(super) store: &'a Store,
    pub(super) writer: &'a Writer,
    pub(super) keys: &'a Keys,
    pub(super) log: &'a LogSigner,
    pub(super) restoration: &'a Restoration,
    pub(super) now: Timestamp,
    /// Who opens it.
    pub(super) actor: Actor,
}

/// What is known of the time after the backup.
pub(super) enum Knowledge {
    /// A newer copy of the log.
    Copy(merge::Copy),
    /// Nothing, and nobody will ever know.
    Lost,
}

impl Opening<'_> {
    /// Checks a copy of the log before anything is changed.
    pub(super) async fn check(&self, folder: &Path, held: Option<String>) -> Result<Knowledge, RestoreError> {
        let (is_held, shown) = (held.is_some(), folder.display().to_string());
        let (folder, key) = (folder.to_owned(), self.log.key().clone());
        let (own, size) = (self.restoration.checkpoint.clone(), self.restoration.backup_size);
        let checking = tokio::task::spawn_blocking(move || {
            merge::Copy::check(&folder, &key, (&own, size), held.as_deref())
        });
        let copy = checking.await.map_err(|e| StoreError::Failed(e.to_string()))??;
        // The log that came with the backup is such a copy, and knows as little.
        if copy.size() == self.restoration.backup_size && !is_held {
            let why = "it holds nothing newer than the backup; if that is all there was, show with --against that \
                       somebody holds its head";
            return Err(RestoreError::Log { folder: shown, why: why.to_owned() });
        }
        Ok(Knowledge::Copy(copy))
    }

    /// What opening would do, in sentences.
    pub(super) async fn effects(&self, knowledge: &Knowledge) -> Result<Vec<String>, RestoreError> {
        let mut again = Vec::new();
        let first = match knowledge {
            Knowledge::Copy(copy) => {
                let (mut newer, none) = (Effects::default(), self.keys.root_certificate.key_id());
                for row in copy.rows(self.restoration.backup_size, self.log.key()) {
                    row?.iter().for_each(|verified| newer.see(verified.entry(), |_| None, |_| none));
                }
                let missing = self.to_apply_again(&newer).await?;
                again.extend(missing.into_iter().map(|one| {
                    format!(
                        "{one}: not in the backup, apply it again; an older one or none counts until then"
                    )
                }));
                let newer = copy.size() - self.restoration.backup_size;
                let until = copy.until().map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
                format!(
                    "{newer} newer entries, until {until}, are taken over, and what they revoked is revoked"
                )
            }
            Knowledge::Lost => {
                again.push(
                    "manifests that were applied after the backup count no more: apply them again".to_owned(),
                );
                "every device waits before a person, every operator, ticket and voucher is void".to_owned()
            }
        };
        again.insert(0, first);
        again.extend(["log: restore_opened".to_owned(), "the authority serves".to_owned()]);
        Ok(again)
    }

    /// Applies what is known, and opens.
    pub(super) async fn open(&self, knowledge: Knowledge) -> Result<Restored, RestoreError> {
        let mut outcome = self.nothing_yet(matches!(knowledge, Knowledge::Lost));
        let counter = match &knowledge {
            Knowledge::Copy(copy) => {
                let effects = self.adopt(copy, &mut outcome).await?;
                self.apply(&effects, &mut outcome).await?;
                outcome.apply_again = self.to_apply_again(&effects).await?;
                self.next_counter(Some(effects.manifest_counter)).await?
            }
            Knowledge::Lost => {
                self.start_anew(&mut outcome).await?;
                self.next_counter(None).await?
            }
        };
        self.withdraw_tickets().await?;
        papers::withdraw(self.store, self.writer, self.now).await?;
        self.end_pairings().await?;
        let Restoration { backup_at, backup_size, .. } = *self.restoration;
        let opened = SystemChange::RestoreOpened { merged: outcome.merged_entries, loss: outcome.loss };
        let restored = SystemChange::Restored { backup_at, backup_size };
        let changes = vec![restored.into(), opened.into()];
        let floor = |counter: u64| SystemWrite::Setting(Setting::ManifestFloor, Some(counter.to_string()));
        let transaction = Transaction::own(self.now, changes, counter.map(floor).into_iter().collect());
        self.writer.commit(Transaction { actor: self.actor.clone(), ..transaction }).await?;
        Ok(outcome)
    }

    /// Manifests and alert rules of the newer log that the store does not have, each with its version or number.
    async fn to_apply_again(&self, effects: &Effects) -> Result<Vec<String>, StoreError> {
        let mut missing = Vec::new();
        for (name, version) in &effects.applied {
            let held = self.store.manifests(ManifestChoice::Named(name), 1).await?;
            if held.first().is_none_or(|held| held.version < *version) {
                missing.push(format!("{name}, version {version}"));
            }
        }
        if let Some((counter, digest)) = &effects.alert_rules {
            let held = self.store.setting(Setting::AlertRules).await?;
            let held = held.and_then(|text| BASE64.decode(text.as_bytes()).ok());
            if held.is_none_or(|bytes| HEXLOWER.encode(&signed::digest(&bytes)) != *digest) {
                missing.push(format!("the alert rules, number {counter}"));
            }
        }
        Ok(missing)
    }

    /// The number of what is in force from now on: above every one that a device may hold, so that it takes what comes. `newer`
    /// is the highest of the newer log, where there is one. None when nothing was ever applied.
    async fn next_counter(&self, newer: Option<u64>) -> Result<Option<u64>, StoreError> {
        let held = self.store.manifest_counter().await?;
        let highest = held.max(newer.unwrap_or_default());
        let is_needed = highest > 0 || newer.is_none();
        Ok(is_needed.then(|| highest.saturating_add(1).max(self.now.unix_ms())))
    }

    /// Takes back what was taken back after the backup: listed endorsement keys, golden sets, second verifiers, guardians.
    async fn take_back(&self, effects: &Effects) -> Result<(), RestoreError> {
        let mut lists = self.store.attestation_lists().await?;
        let mut changes = Vec::new();
        lists.eks.retain(|listed| {
            let goes = effects.eks_removed.contains(&listed.ek);
            if goes {
                changes.push(SystemChange::EkRemoved { ek: listed.ek }.into());
            }
            !goes
        });
        lists.golden.retain(|set| {
            let goes = effects.golden_removed.contains(&set.name.to_string());
            if goes {
                changes.push(SystemChange::GoldenRemoved { name: set.name.clone() }.into());
            }
            !goes
        });
        lists.verifiers.retain(|named| {
            let goes = effects.verifiers_removed.contains(&named.device);
            if goes {
                changes.push(SystemChange::VerifierRemoved { device: named.device.clone() }.into());
            }
            !goes
        });
        if !changes.is_empty() {
            let text = serde_json::to_string(&lists).map_err(|e| StoreError::Entry(e.to_string()))?;
            let write = SystemWrite::Setting(Setting::Attestation, Some(text));
            self.writer.commit(Transaction::own(self.now, changes, vec![write])).await?;
        }
        let mut people = BTreeSet::new();
        for subject in &effects.people_dismissed {
            people.extend(self.store.subject(subject).await?.map(|subject| subject.person));
        }
        let mut guardians = self.store.guardians().await?;
        guardians.retain(|guardian| {
            let is_named = match &guardian.way {
                Way::Person { operator } => people.contains(&Person::Operator(operator.clone()).subject()),
                _ => effects.guardians_removed.contains(&guardian.name.to_string()),
            };
            is_named && guardian.leaving.is_none()
        });
        if !guardians.is_empty() {
            // They were told then; nothing that waited for them in the backup is theirs to hear.
            let writes = guardians.iter().map(|guardian| SystemWrite::GuardianGone(guardian.name.clone()));
            let writes = writes.collect();
            let (changes, _) = dismissal(guardians);
            self.writer.commit(Transaction::own(self.now, changes, writes)).await?;
        }
        Ok(())
    }

    /// Wants enforcement modules as they were wanted last.
    async fn want_modules(&self, effects: &Effects) -> Result<(), RestoreError> {
        let mut wanted = Modules::load(self.store).await?.wanted();
        let mut changes = Vec::new();
        for ((name, profile), word) in &effects.modules {
            // What this version does not know it could not say to the log.
            let stance = Stance::ALL.into_iter().find(|stance| stance.as_str() == word);
            let (Some(of), Some(stance)) = (module(name), stance) else { continue };
            let held = wanted.entry(name.clone()).or_default().insert(*profile, word.clone());
            if held.as_ref() != Some(word) {
                changes.push(
                    SystemChange::ModulesChanged { module: of.name(), profile: *profile, stance }.into(),
                );
            }
        }
        if !changes.is_empty() {
            let text = serde_json::to_string(&wanted).map_err(|e| StoreError::Entry(e.to_string()))?;
            let write = SystemWrite::Setting(Setting::Modules, Some(text));
            self.writer.commit(Transaction::own(self.now, changes, vec![write])).await?;
        }
        Ok(())
    }

    /// What the backup says of pairings may have been ended since (PAIR-16).
    async fn end_pairings(&self) -> Result<(), RestoreError> {
        for device in self.store.devices_with_pairings().await? {
            let by = EndedBy::Restored;
            let (changes, system) = bonds::end_of_device(self.store, &device, by, self.now).await?;
            if !changes.is_empty() {
                self.writer.commit(Transaction::own(self.now, changes, system)).await?;
            }
        }
        Ok(())
    }

    fn nothing_yet(&self, loss: bool) -> Restored {
        Restored {
            authority: self.name.clone(),
            backup_at: self.restoration.backup_at,
            backup_size: self.restoration.backup_size,
            merged_entries: 0,
            loss,
            returning: 0,
            waiting: 0,
            stopped: 0,
            unknown: 0,
            revoked: 0,
            apply_again: Vec::new(),
        }
    }

    /// Takes over the entries that the log does not have yet, and reads all that are newer than the backup.
    async fn adopt(&self, copy: &merge::Copy, outcome: &mut Restored) -> Result<Effects, RestoreError> {
        let [one, two] = &self.keys.issuing_certificates;
        let issuer = |class| if class == IssuerClass::One { one.key_id() } else { two.key_id() };
        let mut effects = Effects::default();
        let mut index = self.restoration.backup_size;
        for row in copy.rows(index, self.log.key()) {
            let row = row?;
            for verified in &row {
                let known = self.profile_of(verified).await?;
                effects.see(verified.entry(), |_| known, issuer);
            }
            let mut new = Vec::new();
            for verified in row {
                match self.store.entry(index).await? {
                    None => new.push(verified),
                    Some(held) if held.leaf == verified.leaf().as_bytes() => {}
                    Some(_) => return Err(parted(index)),
                }
                index += 1;
            }
            self.writer.adopt(new).await?;
        }
        if index != copy.size() {
            return Err(parted(index));
        }
        outcome.merged_entries = copy.size() - self.restoration.backup_size;
        Ok(effects)
    }

    async fn profile_of(&self, verified: &VerifiedEntry) -> Result<Option<SecurityProfile>, StoreError> {
        match &verified.entry().target {
            Some(kos_audit::Target::Device(device)) => {
                Ok(self.store.device(device).await?.map(|device| device.profile()))
            }
            _ => Ok(None),
        }
    }

    async fn apply(&self, effects: &Effects, outcome: &mut Restored) -> Result<(), RestoreError> {
        for (id, story) in &effects.devices {
            match self.store.device(id).await? {
                Some(_) if story.missed == Missed::default() && !effects.revokes(id) => {}
                Some(device) => {
                    let nonce = entropy::array().map_err(|e| StoreError::Failed(e.to_string()))?;
                    let final_ones = effects.revoked.iter().filter(|(_, revoked)| {
                        revoked.device == *id && revoked.reason != RevocationReason::Hold
                    });
                    let revoked = final_ones.map(|(serial, _)| serial.clone()).collect();
                    let missed = Missed { revoked, ..story.missed.clone() };
                    let commit = device.catch_up(self.now, &missed, nonce);
                    count(&commit, outcome);
                    self.catch_up(id, commit).await?;
                }
                None => {
                    outcome.unknown += 1;
                    for certified in &story.missed.certificates {
                        outcome.revoked += 1;
                        let reason = RevocationReason::Superseded;
                        self.revoke(certified.revocation(self.now, id, reason), id).await?;
                    }
                }
            }
        }
        // After the records, which know neither when nor why: the last word is that of the log.
        for (serial, revoked) in &effects.revoked {
            if let Some(revocation) = self.revocation(serial, revoked, effects).await? {
                outcome.revoked += 1;
                self.revoke(revocation, &revoked.device).await?;
            }
        }
        self.take_back(effects).await?;
        self.want_modules(effects).await?;
        self.forget(effects, outcome).await
    }

    /// Removes operators, which names them once more, and then erases whom the log says is erased.
    async fn forget(&self, effects: &Effects, outcome: &mut Restored) -> Result<(), RestoreError> {
        let mut people = BTreeSet::new();
        for subject in &effects.erased {
            people.extend(self.store.subject(subject).await?.map(|subject| subject.person));
        }
        for (id, subject) in &effects.operators_removed {
            let Some(operator) = self.store.operator(*id).await? else { continue };
            // The key of the backup may be another than the one that was erased.
            let is_erased = subject.as_ref().is_some_and(|subject| effects.erased.contains(subject));
            if is_erased && operator.name.as_ref() != NAMELESS {
                people.insert(Person::Operator(operator.name.clone()).subject());
            }
            if !operator.removed {
                outcome.revoked += 1;
                self.remove(operator).await?;
            }
        }
        for person in &people {
            self.erase(person).await?;
        }
        if people.is_empty() { Ok(()) } else { Ok(self.writer.scrub().await?) }
    }

    /// The list entry of a certificate that the log says was revoked, if somebody knows the certificate and has not
    /// revoked it for good.
    async fn revocation(
        &self,
        serial: &[u8],
        revoked: &super::effects::Revoked,
        effects: &Effects,
    ) -> Result<Option<Revocation>, RestoreError> {
        let (at, reason) = (revoked.at, revoked.reason);
        let newer = effects
            .devices
            .get(&revoked.device)
            .and_then(|story| story.missed.certificates.iter().find(|certified| certified.serial == serial));
        if let Some(certified) = newer {
            return Ok(Some(certified.revocation(at, &revoked.device, reason)));
        }
        for issuer in &self.keys.issuing_certificates {
            let Some(stored) = self.store.certificate(issuer.key_id(), serial).await? else { continue };
            let damaged = |_| StoreError::Damaged { table: "certificates", row: revoked.device.to_string() };
            let certificate = kos_identity::certificate::Certificate::parse(&stored.der).map_err(damaged)?;
            return Ok(Some(Revocation {
                issuer: issuer.key_id(),
                serial: serial.to_vec(),
                key: certificate.key_id(),
                at,
                not_after: certificate.not_after(),
                reason,
                subject: revoked.device.to_string(),
            }));
        }
        Ok(None)
    }

    /// Everybody who was in service waits before a person, and operators are made anew.
    async fn start_anew(&self, outcome: &mut Restored) -> Result<(), RestoreError> {
        let mut after: Option<DeviceId> = None;
        loop {
            let query = DeviceQuery { after: after.clone(), ..DeviceQuery::default() };
            let page = self.store.devices(&query, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for commit in page.into_iter().filter_map(|device: Device| device.after_loss(self.now)) {
                outcome.waiting += 1;
                outcome.revoked += revocations(&commit);
                self.writer.commit(Transaction::of(self.now, commit)).await?;
            }
        }
        let mut after = None;
        loop {
            let page = self.store.operators(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for operator in page.into_iter().filter(|operator| !operator.removed) {
                outcome.revoked += 1;
                self.remove(operator).await?;
            }
        }
    }

    /// A ticket of the backup may have been spent since.
    async fn withdraw_tickets(&self) -> Result<(), RestoreError> {
        let mut before = None;
        loop {
            let page = self.store.tickets(before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.id);
            for mut ticket in page {
                if ticket.revoked || ticket.uses >= ticket.uses_max || ticket.expires_at <= self.now {
                    continue;
                }
                ticket.revoked = true;
                ticket.version += 1;
                let changes = vec![Change::TicketRevoked { ticket: ticket.id }];
                let writes = vec![Write::Ticket(Box::new(ticket))];
                self.commit(changes, writes).await?;
            }
        }
    }

    /// The backup brought a key back that was destroyed after it, and the name with it.
    async fn erase(&self, person: &str) -> Result<(), RestoreError> {
        let (kind, name) = person.split_once(' ').unwrap_or((person, ""));
        // Whoever erases a name erases everybody of that name; an address or an entry of a vault is nobody.
        let named = ["operator", "local-user", "share-holder"].contains(&kind).then(|| name.parse().ok());
        let (mut system, mut cases) = (Vec::new(), Vec::new());
        if let Some(name) = named.flatten() {
            let (changes, writes) = dismissal(guardians_of(self.store, &name).await?);
            if !changes.is_empty() {
                self.writer.commit(Transaction::own(self.now, changes, writes)).await?;
            }
            system.extend(nameless(self.store, &name).await?);
            let approvers = [Actor::Operator(name.clone()), Actor::LocalUser(name.to_string())];
            cases = forget_approvers(self.store, &approvers).await?;
        }
        let Some(subject) = self.store.subject_of(person).await? else { return Ok(()) };
        let change = SystemChange::SubjectErased {
            subject: subject.id.clone(),
            kind: kind.to_owned(),
            reason: "a backup brought the key back".to_owned(),
            own: false,
        };
        system.push(SystemWrite::EraseSubject(subject.id));
        let erasing = Transaction::own(self.now, vec![change.into()], system);
        self.writer.commit(Transaction { writes: cases, ..erasing }).await?;
        Ok(())
    }

    async fn remove(&self, operator: Operator) -> Result<(), RestoreError> {
        let guardians = guardians_of(self.store, &operator.name).await?;
        let (_, changes, system) = removal(operator, guardians, self.now);
        self.writer.commit(Transaction::own(self.now, changes, system)).await?;
        Ok(())
    }

    /// The log tells of it already; here the record follows, and the log says so again.
    async fn revoke(&self, revocation: Revocation, device: &DeviceId) -> Result<(), RestoreError> {
        let (device, serial, reason) = (device.clone(), revocation.serial.clone(), revocation.reason);
        let changes = vec![Change::CertificateRevoked { device, serial, reason }];
        match self.commit(changes, vec![Write::Revoke(revocation)]).await {
            // What is revoked for good stays so.
            Ok(()) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn commit(&self, changes: Vec<Change>, writes: Vec<Write>) -> Result<(), StoreError> {
        let commit = Commit { actor: Actor::Authority, changes, writes };
        self.writer.commit(Transaction::of(self.now, commit)).await.map(drop)
    }

    /// Brings a record up to date. What the machine has no word for has one of ours.
    async fn catch_up(&self, id: &DeviceId, commit: Commit) -> Result<(), StoreError> {
        let mut transaction = Transaction::of(self.now, commit);
        if transaction.changes.is_empty() {
            transaction.changes.push(SystemChange::DeviceRestored { device: id.clone() }.into());
        }
        self.writer.commit(transaction).await.map(drop)
    }
}

/// An earlier attempt took over another copy, or this one has changed since it was checked.
fn parted(index: u64) -> RestoreError {
    let why = "the copy is not the one that was checked, or taken over before".to_owned();
    RestoreError::Log { folder: format!("entry {index}"), why }
}

fn revocations(commit: &Commit) -> u64 {
    let revoked = commit.writes.iter().filter(|write| matches!(write, Write::Revoke(_)));
    u64::try_from(revoked.count()).unwrap_or(u64::MAX)
}

/// Where a device that caught up has ended.
fn count(commit: &Commit, outcome: &mut Restored) {
    let Some(Write::Device(device)) = commit.writes.first() else { return };
    let approved = device.lobby.as_ref().is_some_and(|lobby| lobby.approved);
    match device.state() {
        DeviceState::Pending if approved => outcome.returning += 1,
        DeviceState::Pending => outcome.waiting += 1,
        DeviceState::Suspended
        | DeviceState::Quarantined
        | DeviceState::Decommissioning
        | DeviceState::Decommissioned => outcome.stopped += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
