//! What becomes of a record that was put back from a backup: it takes over what a newer log says, or, where no newer log
//! is left, everybody is let in anew.
//!
//! A log names certificates and states but holds no keys, so a device whose certificate is newer than its record cannot
//! simply go on. It is sent through the lobby, where it shows its identity key: with its approval in hand when the log
//! says that it was in service, and before a person otherwise.
//!
//! Invariants: nothing here takes a revocation back, lowers a profile or raises it beyond what the log says, or lets in a device that was stopped, ended or banned
//! after the backup. Whatever a record holds that is not known to be in service is revoked.
//!
//! Source: `docs/spec/backup.md` RST-1 to RST-10.

use kos_base::{Capability, Channel, DeviceId, DeviceState, KeyId, Name, Role, SecurityProfile, Timestamp};
use minicbor::bytes::ByteArray;

use super::{
    Actor, Case, Change, Commit, Device, Lobby, Revocation, RevocationReason, Write, operate::revoke_all,
};

/// What a log says about one device after the moment of its record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Certificates that were issued to it, in order.
    pub certificates: Vec<Certified>,
    /// Serial numbers of its certificates that were revoked for good.
    pub revoked: Vec<Vec<u8>>,
    /// The state that it went to last, and why.
    pub became: Option<(DeviceState, String)>,
    /// Whether it was banned.
    pub banned: bool,
    /// The channel that it was moved to.
    pub channel: Option<Channel>,
    /// The role that it was given.
    pub role: Option<Role>,
    /// The security profile that it was raised to.
    pub profile: Option<SecurityProfile>,
    /// The name that it was given.
    pub name: Option<Name>,
    /// The labels that it was given.
    pub tags: Option<Vec<Capability>>,
    /// How many recoveries were left.
    pub recoveries_left: Option<u32>,
    /// The number of the newest key of its own that was made for it.
    pub own_key: Option<u32>,
}

/// A certificate as the log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Its number among the device's.
    pub issue: u32,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// Key id of the CA that signed it.
    pub issuer: KeyId,
    /// Key id of the certified key.
    pub key: KeyId,
    /// When it runs out.
    pub not_after: Timestamp,
}

impl Certified {
    /// The entry that revokes it.
    pub fn revocation(&self, now: Timestamp, device: &DeviceId, reason: RevocationReason) -> Revocation {
        Revocation {
            issuer: self.issuer,
            serial: self.serial.clone(),
            key: self.key,
            at: now,
            not_after: self.not_after,
            reason,
            subject: device.to_string(),
        }
    }
}

/// How a device comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    /// By its identity key alone.
    Approved,
    /// And after a person has looked at it.
    Waiting,
}

impl Device {
    /// Takes over what a newer log says. `nonce` is fresh randomness for the lobby.
    #[must_use]
    pub fn catch_up(self, now: Timestamp, missed: &Missed, nonce: [u8; 32]) -> Commit {
        use DeviceState::{Active, Decommissioned, Decommissioning, Pending, Quarantined, Suspended};
        let before = self.state();
        let mut next = self.next_version();
        let mut writes = Vec::new();
        next.take_over(missed);
        // A key of its own that was replaced after the backup must not count again: it comes back by its identity key.
        let rekeyed = missed.own_key.is_some_and(|made| next.own_keys.get_or_insert_default().catch_up(made));
        let renewed = !missed.certificates.is_empty() || rekeyed;
        let (state, reason) = match &missed.became {
            Some((state, reason)) => (*state, reason.as_str()),
            None => (before, "put back from a backup"),
        };
        let mut changes = match state {
            // Nothing became of it: state, reason and order of the record stand.
            Decommissioning | Decommissioned | Quarantined | Suspended
                if missed.became.is_none() && !renewed && missed.revoked.is_empty() =>
            {
                Vec::new()
            }
            // The order is not in the log: whoever gave it gives it again.
            Decommissioning => {
                let reason = "its end was ordered after the backup: order it again";
                next.case = Some(Case::without_order(now));
                next.stop(now, Quarantined, reason, RevocationReason::KeyCompromise, &mut writes)
            }
            Decommissioned => {
                next.stop(now, state, reason, RevocationReason::CessationOfOperation, &mut writes)
            }
            // Neither is this order. What was approved for a quarantine before it does not count for this one.
            Quarantined => {
                if missed.became.is_some() || next.case.is_none() {
                    next.case = Some(Case::without_order(now));
                }
                next.stop(now, state, reason, RevocationReason::KeyCompromise, &mut writes)
            }
            Suspended if !renewed => {
                // What a ban revoked is revoked for good.
                let why =
                    if next.banned { RevocationReason::PrivilegeWithdrawn } else { RevocationReason::Hold };
                next.stop(now, state, reason, why, &mut writes)
            }
            Active if before == Suspended && !renewed => {
                next.put_back(now, Active, reason);
                next.credentials()
                    .map(|held| {
                        let (issuer, serial) = (held.issuer, held.serial.clone());
                        writes.push(Write::Release { issuer, serial: serial.clone() });
                        Change::HoldReleased { device: next.id.clone(), serial }
                    })
                    .collect()
            }
            Active if renewed => next.send_to_lobby(now, Return::Approved, nonce, &mut writes),
            Suspended if renewed => next.send_to_lobby(now, Return::Waiting, nonce, &mut writes),
            // No other way leads there than out of a quarantine, from which it was about to come back: whoever approved does so
            // again.
            Pending if missed.became.is_some() || (next.case.is_some() && renewed) => {
                next.case.get_or_insert_with(|| Case::without_order(now)).approvals.clear();
                next.stop(now, Quarantined, reason, RevocationReason::KeyCompromise, &mut writes)
            }
            // It holds what the log calls revoked: its keys may be in other hands.
            Pending if renewed => next.send_to_lobby(now, Return::Waiting, nonce, &mut writes),
            _ if next.credentials().any(|held| missed.revoked.contains(&held.serial)) => {
                next.send_to_lobby(now, Return::Waiting, nonce, &mut writes)
            }
            _ => Vec::new(),
        };
        if next.banned {
            changes.extend(next.revoke_rest(now, RevocationReason::PrivilegeWithdrawn, &mut writes));
        }
        for certified in &missed.certificates {
            let reason = match state {
                Quarantined | Decommissioning => RevocationReason::KeyCompromise,
                _ => RevocationReason::Superseded,
            };
            writes.push(Write::Revoke(certified.revocation(now, &next.id, reason)));
            let (device, serial) = (next.id.clone(), certified.serial.clone());
            changes.push(Change::CertificateRevoked { device, serial, reason });
        }
        writes.insert(0, Write::Device(Box::new(next)));
        Commit { actor: Actor::Authority, changes, writes }
    }

    /// Nobody knows what happened after the backup: whoever was in service or suspended waits before a person.
    /// `None`: the device had no way back in anyhow.
    #[must_use]
    pub fn after_loss(self, now: Timestamp) -> Option<Commit> {
        let in_service = matches!(self.state(), DeviceState::Active | DeviceState::Suspended);
        // One that waits and holds a certificate may have confirmed it since.
        let unconfirmed = self.state() == DeviceState::Pending && self.credentials().next().is_some();
        let let_in = self.lobby.as_ref().is_some_and(|lobby| lobby.approved);
        if self.state() == DeviceState::Pending && self.case.is_some() {
            return Some(self.back_into_quarantine(now));
        }
        if !(in_service || unconfirmed || let_in) {
            return None;
        }
        let mut next = self.next_version();
        let mut writes = Vec::new();
        next.lobby = None;
        next.put_back(now, DeviceState::Pending, "the state after the backup is lost");
        let mut changes = vec![next.waiting()];
        changes.extend(next.revoke_rest(now, RevocationReason::Superseded, &mut writes));
        writes.insert(0, Write::Device(Box::new(next)));
        Some(Commit { actor: Actor::Authority, changes, writes })
    }

    /// It was about to come back from a quarantine: whoever approved does so again.
    fn back_into_quarantine(self, now: Timestamp) -> Commit {
        let mut next = self.next_version();
        let mut writes = Vec::new();
        let reason = "the state after the backup is lost: approve its reinstatement again";
        next.put_back(now, DeviceState::Quarantined, reason);
        if let Some(case) = &mut next.case {
            case.approvals.clear();
        }
        let (device, from, to) = (next.id.clone(), DeviceState::Pending, DeviceState::Quarantined);
        let mut changes = vec![Change::StateChanged { device, from, to, reason: reason.to_owned() }];
        changes.extend(next.revoke_rest(now, RevocationReason::KeyCompromise, &mut writes));
        writes.insert(0, Write::Device(Box::new(next)));
        Commit { actor: Actor::Authority, changes, writes }
    }

    fn take_over(&mut self, missed: &Missed) {
        self.issues = missed.certificates.iter().map(|c| c.issue).fold(self.issues, u32::max);
        self.banned |= missed.banned;
        self.channel = missed.channel.unwrap_or(self.channel);
        self.role = missed.role.unwrap_or(self.role);
        self.recoveries_left = missed.recoveries_left.unwrap_or(self.recoveries_left);
        if let Some(profile) = missed.profile {
            // One that is lower changes nothing (POLS-26).
            let _ = self.raise_profile(profile);
        }
        if let Some(name) = &missed.name {
            self.name = name.clone();
        }
        if let Some(tags) = &missed.tags {
            self.tags.clone_from(tags);
        }
    }

    /// Puts it where the log says that it is, and revokes what it holds.
    fn stop(
        &mut self,
        now: Timestamp,
        state: DeviceState,
        reason: &str,
        why: RevocationReason,
        writes: &mut Vec<Write>,
    ) -> Vec<Change> {
        self.put_back(now, state, reason);
        self.lobby = None;
        self.order = None;
        revoke_all(now, self, why, writes)
    }

    fn send_to_lobby(
        &mut self,
        now: Timestamp,
        how: Return,
        nonce: [u8; 32],
        writes: &mut Vec<Write>,
    ) -> Vec<Change> {
        self.put_back(now, DeviceState::Pending, "its certificate is newer than the backup");
        // Whoever had to approve has, as the log says.
        self.case = None;
        self.lobby = Some(Lobby {
            comparison: None,
            source: "restore".to_owned(),
            since: now,
            lookalikes: Vec::new(),
            approved: how == Return::Approved,
            profile: self.profile(),
            nonce: ByteArray::from(nonce),
            requested: None,
            rule: None,
            withheld: None,
            withheld_at: None,
        });
        let mut changes = vec![self.waiting()];
        changes.extend(self.revoke_rest(now, RevocationReason::Superseded, writes));
        changes
    }

    /// Revokes what it holds for good, and forgets it: from now on only the identity key counts.
    fn revoke_rest(
        &mut self,
        now: Timestamp,
        reason: RevocationReason,
        writes: &mut Vec<Write>,
    ) -> Vec<Change> {
        let changes = revoke_all(now, self, reason, writes);
        self.credential = None;
        self.pending = None;
        if let Some(keys) = &mut self.own_keys {
            keys.begin_anew();
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use kos_base::{AgreementKey, KeyAlgorithm, PublicKey, SecurityProfile};

    use super::{
        super::{Credential, device::tests::device},
        *,
    };

    const NOW: Timestamp = Timestamp::from_unix_s(5_000);

    fn in_service(state: DeviceState) -> Device {
        let mut device = device();
        let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, &[9; 32]).unwrap();
        device.put_back(NOW, state, "test");
        device.enrolled_at = Some(NOW);
        device.issues = 1;
        device.credential = Some(Credential {
            issue: 1,
            serial: vec![1; 16],
            issuer: KeyId::from_bytes([1; 32]),
            key,
            agreement: AgreementKey([0; 32]),
            not_before: Timestamp::from_unix_s(0),
            not_after: Timestamp::from_unix_s(10_000),
            profile: None,
        });
        device
    }

    fn second() -> Certified {
        Certified {
            issue: 2,
            serial: vec![2; 16],
            issuer: KeyId::from_bytes([1; 32]),
            key: KeyId::from_bytes([7; 32]),
            not_after: Timestamp::from_unix_s(20_000),
        }
    }

    fn written(commit: &Commit) -> (&Device, Vec<(u8, RevocationReason)>) {
        let Some(Write::Device(device)) = commit.writes.first() else { unreachable!("no record") };
        let revoked = commit.writes.iter().filter_map(|write| match write {
            Write::Revoke(revocation) => Some((revocation.serial[0], revocation.reason)),
            _ => None,
        });
        (device, revoked.collect())
    }

    fn check(before: DeviceState, missed: &Missed) -> (Device, Vec<(u8, RevocationReason)>) {
        let commit = in_service(before).catch_up(NOW, missed, [5; 32]);
        let (device, revoked) = written(&commit);
        assert_eq!(device.version, 2);
        (device.clone(), revoked)
    }

    fn became(state: DeviceState) -> Missed {
        Missed { became: Some((state, "because".to_owned())), ..Missed::default() }
    }

    #[test]
    fn a_device_that_was_stopped_after_the_backup_is_stopped() {
        use DeviceState::{Active, Decommissioned, Decommissioning, Quarantined, Suspended};
        use RevocationReason::{CessationOfOperation, Hold, KeyCompromise};
        for (log, state, reason) in [
            (Suspended, Suspended, Hold),
            (Quarantined, Quarantined, KeyCompromise),
            (Decommissioning, Quarantined, KeyCompromise),
            (Decommissioned, Decommissioned, CessationOfOperation),
        ] {
            let (device, revoked) = check(Active, &became(log));
            assert_eq!(device.state(), state, "{log}");
            assert_eq!(revoked, [(1, reason)], "{log}");
            assert!(device.lobby.is_none() && !device.is_admitted());
        }
    }

    #[test]
    fn a_device_that_renewed_after_the_backup_comes_back_by_its_identity_key() {
        let missed = Missed { certificates: vec![second()], ..Missed::default() };
        let (device, revoked) = check(DeviceState::Active, &missed);
        assert_eq!(device.state(), DeviceState::Pending);
        assert_eq!(device.issues, 2);
        assert!(device.is_approved() && device.credentials().next().is_none());
        assert_eq!(device.lobby.map(|lobby| lobby.profile), Some(SecurityProfile::Sec2));
        assert_eq!(revoked, [(1, RevocationReason::Superseded), (2, RevocationReason::Superseded)]);
    }

    #[test]
    fn a_key_of_a_devices_own_that_was_replaced_after_the_backup_does_not_count_again() {
        let keyed = |known: Option<u32>| {
            let mut device = in_service(DeviceState::Active);
            if let Some(known) = known {
                let keys = device.own_keys.get_or_insert_default();
                for number in 1..=known {
                    assert_eq!(keys.mint([1; 32], number), Some(number));
                    assert!(keys.confirm(number));
                }
            }
            device
        };
        for (known, made) in [(Some(1), 2), (Some(2), 4), (None, 1)] {
            let missed = Missed { own_key: Some(made), ..Missed::default() };
            let commit = keyed(known).catch_up(NOW, &missed, [5; 32]);
            let (mut device, revoked) = (written(&commit).0.clone(), written(&commit).1);
            assert_eq!(device.state(), DeviceState::Pending, "{known:?}");
            assert!(device.is_approved() && device.credentials().next().is_none());
            assert_eq!(revoked, [(1, RevocationReason::Superseded)]);
            let keys = device.own_keys.as_mut().unwrap();
            assert!(!keys.is_begun() && keys.accepts(None), "it begins anew");
            assert_eq!(keys.mint([2; 32], 9), Some(made + 1));
        }
        let missed = Missed { own_key: Some(1), ..Missed::default() };
        let commit = keyed(Some(1)).catch_up(NOW, &missed, [5; 32]);
        let device = written(&commit).0;
        assert!(
            device.is_admitted() && device.own_keys.as_ref().unwrap().accepts(Some(1)),
            "the backup knows it"
        );
        let lost = keyed(Some(1)).after_loss(NOW).unwrap();
        assert!(written(&lost).0.own_keys.as_ref().is_some_and(|keys| !keys.is_begun()));
    }

    #[test]
    fn a_device_that_renewed_and_was_stopped_waits_before_a_person() {
        let missed = Missed { certificates: vec![second()], ..became(DeviceState::Suspended) };
        let (device, revoked) = check(DeviceState::Active, &missed);
        assert_eq!(device.state(), DeviceState::Pending);
        assert!(!device.is_approved());
        assert_eq!(revoked.len(), 2);
        let missed = Missed { banned: true, certificates: vec![second()], ..Missed::default() };
        let (device, revoked) = check(DeviceState::Active, &missed);
        assert!(device.banned && device.credentials().next().is_none());
        assert_eq!(revoked.len(), 2);
    }

    #[test]
    fn whatever_may_be_in_other_hands_waits_before_a_person() {
        let revoked = vec![vec![1; 16]];
        let taken = Missed { revoked: revoked.clone(), ..Missed::default() };
        // It was let out of a quarantine that the backup does not know.
        let returned = Missed { revoked, ..became(DeviceState::Pending) };
        let out = DeviceState::Quarantined;
        for (missed, state) in
            [(taken, DeviceState::Pending), (returned, out), (became(DeviceState::Pending), out)]
        {
            let (device, revoked) = check(DeviceState::Active, &missed);
            assert_eq!(device.state(), state, "{missed:?}");
            assert!(!device.is_approved() && device.credentials().next().is_none(), "{missed:?}");
            assert_eq!(device.case.is_some(), state == out, "{missed:?}");
            assert_eq!(revoked.len(), 1);
        }
    }

    #[test]
    fn a_hold_that_was_lifted_after_the_backup_is_lifted() {
        let commit = in_service(DeviceState::Suspended).catch_up(NOW, &became(DeviceState::Active), [5; 32]);
        assert_eq!(written(&commit).0.state(), DeviceState::Active);
        assert!(commit.writes.iter().any(|write| matches!(write, Write::Release { .. })));
    }

    #[test]
    fn what_was_changed_after_the_backup_is_changed() {
        let missed = Missed {
            channel: Some(Channel::Beta),
            role: Some(Role::Relay),
            name: Some("cellar".parse().unwrap()),
            recoveries_left: Some(1),
            ..Missed::default()
        };
        let (device, revoked) = check(DeviceState::Active, &missed);
        assert_eq!((device.channel, device.role, device.recoveries_left), (Channel::Beta, Role::Relay, 1));
        assert_eq!((device.name.as_ref(), device.state()), ("cellar", DeviceState::Active));
        assert_eq!(revoked, []);
    }

    #[test]
    fn a_profile_that_was_raised_after_the_backup_stays_raised() {
        let raised = |to, certificates| Missed { profile: Some(to), certificates, ..Missed::default() };
        let mut before = in_service(DeviceState::Active);
        before.assign_profile(SecurityProfile::Sec2).unwrap();
        let back = before.clone().catch_up(NOW, &raised(SecurityProfile::Sec3, Vec::new()), [5; 32]);
        let device = written(&back).0;
        assert_eq!(device.profile(), SecurityProfile::Sec3);
        let held = device.credential.as_ref().unwrap();
        assert_eq!(device.certified_profile(held), SecurityProfile::Sec2, "until the next certificate");
        assert!(device.regenerate);
        // It has that certificate already, which the backup does not know.
        let back = before.clone().catch_up(NOW, &raised(SecurityProfile::Sec3, vec![second()]), [5; 32]);
        let lobby = written(&back).0.lobby.as_ref();
        assert_eq!(lobby.map(|lobby| lobby.profile), Some(SecurityProfile::Sec3));
        // A log that says less, whoever wrote it, changes nothing.
        for lower in [SecurityProfile::Sec0, SecurityProfile::Sec1] {
            let back = before.clone().catch_up(NOW, &raised(lower, Vec::new()), [5; 32]);
            assert_eq!(written(&back).0.profile(), SecurityProfile::Sec2, "{lower}");
            let lost = before.clone().after_loss(NOW).unwrap();
            let lower = written(&lost).0.check_profile(lower);
            assert_eq!(lower.unwrap_err().code(), kos_base::code::enrolment::DOWNGRADE);
        }
    }

    #[test]
    fn a_device_that_only_got_another_name_stays_as_it_is() {
        use DeviceState::{Decommissioned, Decommissioning, Quarantined, Suspended};
        let missed = Missed { name: Some("cellar".parse().unwrap()), ..Missed::default() };
        for state in [Decommissioning, Decommissioned, Quarantined, Suspended] {
            let mut before = in_service(state);
            before.order = Some(super::super::Order { signed: vec![1], receipt_hash: vec![2], at: NOW });
            let commit =
                before.clone().catch_up(NOW.plus(core::time::Duration::from_secs(9)), &missed, [5; 32]);
            let after = written(&commit).0;
            assert_eq!(
                (after.state(), after.state_reason(), after.order.as_ref()),
                (state, "test", before.order.as_ref())
            );
            assert_eq!(
                (after.name.as_ref(), commit.writes.len(), commit.changes.len()),
                ("cellar", 1, 0),
                "{state}"
            );
        }
    }

    #[test]
    fn after_a_loss_everybody_in_service_waits_and_nobody_else_moves() {
        use DeviceState::{Active, Decommissioned, Decommissioning, Quarantined, Suspended};
        for state in [Active, Suspended] {
            let commit = in_service(state).after_loss(NOW).unwrap();
            let (device, revoked) = written(&commit);
            assert_eq!(device.state(), DeviceState::Pending, "{state}");
            assert!(device.lobby.is_none() && device.credentials().next().is_none());
            assert_eq!(revoked, [(1, RevocationReason::Superseded)]);
        }
        for state in [Quarantined, Decommissioning, Decommissioned] {
            assert_eq!(in_service(state).after_loss(NOW), None, "{state}");
        }
        assert_eq!(device().after_loss(NOW), None);
    }
}
