//! What an operator may do to a device, as a pure function from a record to a commit.
//!
//! `dry-run` is the same call whose commit is thrown away, so a plan can never differ from the deed.
//!
//! Source: `docs/spec/enrolment.md` REG-4, REG-5, REG-7 to REG-9; `docs/spec/quarantine.md` QRN-6, QRN-19, QRN-22.

use kos_base::{Capability, Channel, Code, DeviceState, Name, Role, SecurityProfile, Timestamp, code};

use kos_policy::{Errand, Refusal, Request, Way, decide};

use super::{Actor, Approvers, Case, Change, Commit, Device, Order, RevocationReason, StateError, Write};

/// One thing that an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after the nouns of kos-base, and each variant says what happened"
)]
pub enum Operation {
    /// Let a waiting device in, with at most this profile.
    Approve { profile: SecurityProfile },
    /// Turn away a device that waits, or one that was let in and never confirmed its certificate.
    Reject { reason: String },
    /// Move to another firmware channel; `allow_dev` marks the device for `dev`.
    SetChannel { channel: Channel, allow_dev: AllowDev },
    /// Give another role.
    SetRole { role: Role },
    /// Give a higher security profile.
    SetProfile { profile: SecurityProfile },
    /// Give another name.
    Rename { name: Name },
    /// Replace the labels.
    Tag { tags: Vec<Capability> },
    /// Ask for a new key and certificate.
    Regenerate,
    /// Stop it for now: its certificate is put on hold.
    Suspend { reason: String },
    /// Take it for compromised: its certificate and keys are revoked for good. The order in the case was signed before.
    Quarantine { reason: String, case: Box<Case> },
    /// Let it go on: lifts a suspension. From quarantine it is the approval of one person, beside those of `approvers`.
    Reinstate { reason: String, approvers: Box<Approvers> },
    /// Never let it in again.
    Ban { reason: String },
    /// Allow `count` more recoveries.
    RaiseRecoveries { count: u32 },
    /// Revoke everything and order it to wipe itself. The order was signed before.
    Decommission { reason: String, order: Order },
}

/// Whether a channel change marks the device for channel `dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowDev {
    /// Leave the mark as it is.
    Keep,
    /// Set the mark.
    Mark,
}

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// The state or profile forbids it.
    #[error(transparent)]
    State(#[from] StateError),
    /// It makes no sense in this state.
    #[error("a device that is {state} cannot be {verb}")]
    Forbidden {
        /// Where the device is.
        state: DeviceState,
        /// What was asked.
        verb: &'static str,
    },
    /// The security profile does not allow it.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// Channel `dev` without the mark.
    #[error("the device is not marked for channel dev")]
    DevNotAllowed,
    /// It is so already.
    #[error("it is so already")]
    AlreadySo,
    /// Whoever asks is nobody whose approval counts for this device.
    #[error("this needs the approval of an operator with a certificate")]
    Approver,
    /// The same person has approved already.
    #[error("the same person has approved already, and another one has to")]
    ApprovedAlready,
}

impl OperateError {
    /// What the security profile refused, if it was that.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Policy(refusal) | Self::State(StateError::Policy(refusal)) => Some(*refusal),
            _ => None,
        }
    }

    /// The stable code; `None` when there is simply nothing to do.
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::State(e) => Some(e.code()),
            Self::Forbidden { .. } => Some(code::enrolment::STATE_FORBIDS),
            Self::Policy(refusal) => Some(refusal.code()),
            Self::DevNotAllowed => Some(code::enrolment::CHANNEL_FORBIDDEN),
            Self::AlreadySo => None,
            Self::Approver => Some(code::quarantine::APPROVER),
            Self::ApprovedAlready => Some(code::quarantine::APPROVED_ALREADY),
        }
    }
}

impl Operation {
    /// Applies it to the device as the store holds it.
    ///
    /// # Errors
    /// When state, profile or marks forbid it, or nothing would change.
    pub fn apply(self, now: Timestamp, actor: Actor, device: Device) -> Result<Commit, OperateError> {
        let id = device.id.clone();
        let before = device.state();
        let mut next = device.next_version();
        let mut writes = Vec::new();
        let changes = match self {
            Self::Approve { .. } if next.case.is_some() => {
                // It would be a way around the approvals that a quarantine asks for.
                return Err(OperateError::Forbidden { state: before, verb: "approved in quarantine" });
            }
            Self::Approve { profile } => {
                let lobby =
                    next.lobby.as_mut().ok_or(OperateError::Forbidden { state: before, verb: "approved" })?;
                if lobby.approved && lobby.profile == profile && lobby.rule.is_none() {
                    return Err(OperateError::AlreadySo);
                }
                lobby.approved = true;
                lobby.profile = profile;
                lobby.rule = None;
                next.check_profile(profile)?;
                vec![Change::DeviceApproved { device: id, profile, rule: None }]
            }
            Self::Reject { reason } => {
                if before != DeviceState::Pending {
                    return Err(OperateError::Forbidden { state: before, verb: "rejected" });
                }
                next.lobby = None;
                next.enter(now, DeviceState::Decommissioned, &reason)?;
                let mut changes = vec![Change::DeviceRejected { device: id, reason }];
                let reason = RevocationReason::CessationOfOperation;
                changes.extend(revoke_all(now, &mut next, reason, &mut writes));
                changes
            }
            Self::SetChannel { channel, allow_dev } => {
                in_service(before, "moved to another channel")?;
                // It would be told by a command (POLS-24).
                decide(next.standing(), Request::Message(Errand::Command)).check()?;
                if allow_dev == AllowDev::Mark {
                    next.dev_allowed = true;
                }
                if channel == Channel::Dev && !next.dev_allowed {
                    return Err(OperateError::DevNotAllowed);
                }
                let from = core::mem::replace(&mut next.channel, channel);
                if from == channel {
                    return Err(OperateError::AlreadySo);
                }
                vec![Change::ChannelChanged { device: id, from, to: channel }]
            }
            Self::SetRole { role } => {
                in_service(before, "given another role")?;
                let from = core::mem::replace(&mut next.role, role);
                if from == role {
                    return Err(OperateError::AlreadySo);
                }
                // The role stands in certificate and kID, so new ones are due.
                next.regenerate = true;
                vec![Change::RoleChanged { device: id, from, to: role }]
            }
            Self::SetProfile { profile } => {
                in_service(before, "given another security profile")?;
                let from = next.profile();
                if from == profile {
                    return Err(OperateError::AlreadySo);
                }
                decide(next.standing(), Request::Certify(Way::Change, profile)).check()?;
                next.raise_profile(profile)?;
                vec![Change::ProfileChanged { device: id, from, to: profile }]
            }
            Self::Rename { name } => {
                if next.name == name {
                    return Err(OperateError::AlreadySo);
                }
                next.name = name.clone();
                vec![Change::DeviceRenamed { device: id, to: name }]
            }
            Self::Tag { tags } => {
                if next.tags == tags {
                    return Err(OperateError::AlreadySo);
                }
                let words = tags.iter().map(ToString::to_string).collect();
                next.tags = tags;
                vec![Change::DeviceTagged { device: id, tags: words }]
            }
            Self::Regenerate => {
                in_service(before, "given new keys")?;
                if next.regenerate {
                    return Err(OperateError::AlreadySo);
                }
                next.regenerate = true;
                vec![Change::RegenerateOrdered { device: id }]
            }
            Self::Suspend { .. } if next.banned => {
                // What a ban revoked is revoked for good, and a hold could not follow.
                return Err(OperateError::Forbidden { state: before, verb: "suspended while it is banned" });
            }
            Self::Suspend { reason } => {
                next.enter(now, DeviceState::Suspended, &reason)?;
                let mut changes = vec![changed(&next, before, &reason)];
                changes.extend(revoke_all(now, &mut next, RevocationReason::Hold, &mut writes));
                changes
            }
            // Its reinstatement is taken back: the order that it has obeyed goes on to count.
            Self::Quarantine { reason, .. } if before == DeviceState::Pending && next.case.is_some() => {
                next.put_back(now, DeviceState::Quarantined, &reason);
                if let Some(case) = &mut next.case {
                    case.approvals.clear();
                }
                let mut changes = vec![changed(&next, before, &reason)];
                changes.extend(revoke_all(now, &mut next, RevocationReason::KeyCompromise, &mut writes));
                changes
            }
            Self::Quarantine { reason, case } => {
                // After a restore the order is gone, and may be given again.
                let again = before == DeviceState::Quarantined
                    && next.case.as_ref().is_none_or(|case| case.signed.is_empty());
                let mut changes = Vec::new();
                if !again {
                    next.enter(now, DeviceState::Quarantined, &reason)?;
                    changes.push(changed(&next, before, &reason));
                }
                let (order, issue) = (case.order, next.issues);
                changes.push(Change::QuarantineOrdered { device: id, order, issue });
                next.case = Some(*case);
                changes.extend(revoke_all(now, &mut next, RevocationReason::KeyCompromise, &mut writes));
                changes
            }
            Self::Reinstate { reason, approvers } => match before {
                DeviceState::Quarantined if !next.banned => {
                    approve_return(now, &actor, &mut next, &reason, &approvers)?
                }
                _ => reinstate(now, &mut next, before, &reason, &mut writes)?,
            },
            Self::Ban { reason } => {
                if core::mem::replace(&mut next.banned, true) {
                    return Err(OperateError::AlreadySo);
                }
                let mut changes = vec![changed(&next, before, &format!("banned: {reason}"))];
                // A device at its end has nothing left that is not revoked for good.
                if matches!(before, DeviceState::Pending | DeviceState::Active | DeviceState::Suspended) {
                    let reason = RevocationReason::PrivilegeWithdrawn;
                    changes.extend(revoke_all(now, &mut next, reason, &mut writes));
                }
                changes
            }
            Self::RaiseRecoveries { count } => {
                next.recoveries_left = next.recoveries_left.saturating_add(count);
                vec![Change::RecoveriesRaised { device: id, to: next.recoveries_left }]
            }
            Self::Decommission { reason, order } => {
                next.enter(now, DeviceState::Decommissioning, &reason)?;
                next.order = Some(order);
                let mut changes = vec![Change::DecommissionOrdered { device: id, reason }];
                let reason = RevocationReason::CessationOfOperation;
                changes.extend(revoke_all(now, &mut next, reason, &mut writes));
                changes
            }
        };
        writes.insert(0, Write::Device(Box::new(next)));
        Ok(Commit { actor, changes, writes })
    }
}

fn in_service(state: DeviceState, verb: &'static str) -> Result<(), OperateError> {
    match state {
        DeviceState::Active | DeviceState::Suspended => Ok(()),
        _ => Err(OperateError::Forbidden { state, verb }),
    }
}

fn changed(next: &Device, from: DeviceState, reason: &str) -> Change {
    Change::StateChanged { device: next.id.clone(), from, to: next.state(), reason: reason.to_owned() }
}

/// Revokes what the device holds and what it has not confirmed yet. Both stay in the record: a hold may be lifted, and
/// the keys still verify the device's own record of its end. After a compromise nothing that they signed counts any more.
pub(crate) fn revoke_all(
    now: Timestamp,
    device: &mut Device,
    reason: RevocationReason,
    writes: &mut Vec<Write>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for credential in device.credentials() {
        let serial = credential.serial.clone();
        writes.push(Write::Revoke(device.revocation(now, credential, reason)));
        changes.push(Change::CertificateRevoked { device: device.id.clone(), serial, reason });
    }
    if reason == RevocationReason::KeyCompromise {
        device.credential = None;
        device.pending = None;
    }
    changes
}

fn approve_return(
    now: Timestamp,
    actor: &Actor,
    next: &mut Device,
    reason: &str,
    approvers: &Approvers,
) -> Result<Vec<Change>, OperateError> {
    let (profile, before) = (next.profile(), next.state());
    let needed = Case::approvals_needed(profile);
    let case = next.case.get_or_insert_with(|| Case::without_order(now));
    case.approve(now, actor, profile, approvers)?;
    let (count, approved) = (case.approvals.len(), case.is_approved(profile));
    let mut changes = vec![Change::ReinstatementApproved { device: next.id.clone(), count, needed }];
    if approved {
        next.enter(now, DeviceState::Pending, reason)?;
        changes.push(changed(next, before, reason));
    }
    Ok(changes)
}

fn reinstate(
    now: Timestamp,
    next: &mut Device,
    before: DeviceState,
    reason: &str,
    writes: &mut Vec<Write>,
) -> Result<Vec<Change>, OperateError> {
    match before {
        state if next.banned => Err(OperateError::Forbidden { state, verb: "reinstated while it is banned" }),
        DeviceState::Suspended => {
            next.enter(now, DeviceState::Active, reason)?;
            let mut changes = vec![changed(next, before, reason)];
            for held in next.credentials() {
                writes.push(Write::Release { issuer: held.issuer, serial: held.serial.clone() });
                let serial = held.serial.clone();
                changes.push(Change::HoldReleased { device: next.id.clone(), serial });
            }
            Ok(changes)
        }
        state => Err(OperateError::Forbidden { state, verb: "reinstated" }),
    }
}
