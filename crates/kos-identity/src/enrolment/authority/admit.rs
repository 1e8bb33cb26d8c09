//! Who is given a certificate: the decision on a `Prove`, as a pure function of request and records.
//!
//! This is the one place where a device is let in. It returns what is to be issued and what is to be recorded; it
//! issues nothing itself.
//!
//! Source: `docs/spec/enrolment.md` ENR-21 to ENR-44.

use kos_base::{
    Code, DeviceId, DeviceState, EvidenceTier, SecurityProfile, Timestamp, code, id::DeviceIdInputs,
    key::SignatureForm,
};

use super::{Context, Decision, Found, Request, issue::Plan};
use crate::{
    enrolment::{
        message::{Image, Means},
        proof::{Exporter, RenewalKind, RenewalProof, TicketProof, comparison_code},
    },
    registry::{
        Actor, Change, Commit, Device, FirstContact, Lobby, Operation, RevocationReason, Ticket, TicketError,
        TicketUse, Write,
    },
};

/// What surrounds a request.
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    pub(super) context: &'a Context,
    /// Of enrolment, of renewal.
    pub(super) exporters: &'a [Exporter; 2],
    pub(super) nonce: &'a [u8; 32],
    pub(super) source: &'a str,
}

pub(super) fn decide(with: &Circumstances<'_>, request: &Request, found: Found) -> Decision {
    if let Some(device) = &found.device {
        if device.banned {
            return Decision::Refuse(code::enrolment::BANNED);
        }
        if !matches!(device.state(), DeviceState::Pending | DeviceState::Active) {
            return Decision::Refuse(code::enrolment::STATE_FORBIDS);
        }
    }
    let decision = match &request.prove.means {
        Means::Ticket { signature, .. } => by_ticket(with, request, found, signature),
        Means::Lobby => by_lobby(with, request, found),
        Means::Renewal { issue, old, new } => {
            let proof = Continuity { kind: RenewalKind::Renewal, issue: *issue, by: old, new };
            by_continuity(with, request, found, &proof)
        }
        Means::Recovery { issue, identity, new } => {
            let proof = Continuity { kind: RenewalKind::Recovery, issue: *issue, by: identity, new };
            by_continuity(with, request, found, &proof)
        }
    };
    decision.unwrap_or_else(Decision::Refuse)
}

fn by_ticket(
    with: &Circumstances<'_>,
    request: &Request,
    found: Found,
    signature: &[u8],
) -> Result<Decision, Code> {
    let ticket = found.ticket.clone().ok_or(TicketError::Unknown.code())?;
    let hello = &request.hello;
    let [enrolment, _] = with.exporters;
    let proof = TicketProof {
        exporter: enrolment,
        identity: request.peer.id(),
        csr: &request.csr.digest(),
        ticket: ticket.id,
        role: hello.role,
        profile: hello.profile,
    };
    let checked = ticket.proof_key.verify(SignatureForm::Fixed, &proof.to_be_signed(), signature);
    checked.map_err(|_| TicketError::Proof.code())?;
    match found.device.clone() {
        // It was let in before and has not confirmed: the ticket is spent, and whether it has expired since does not matter.
        Some(device) if device.pending.is_some() || device.issues > 0 => unconfirmed(with, request, device),
        known => {
            let id = known.as_ref().map_or_else(|| device_id(request), |d| d.id.clone());
            let by = TicketUse {
                identity_key: request.peer.id(),
                serials: &hello.facts.serials,
                role: hello.role,
                profile: hello.profile,
            };
            let spent = ticket.spend(with.now, &by, id).map_err(TicketError::code)?;
            if has_clone(&found) {
                return lobby(with, request, known, &found);
            }
            let approved =
                known.as_ref().and_then(|d| d.lobby.as_ref()).is_some_and(|l| !l.lookalikes.is_empty());
            if approved {
                // It waits because of a clone alert, and a ticket does not settle that; a person does.
                return by_lobby(with, request, found);
            }
            let mut device = known.map_or_else(|| first_contact(with, request), Device::next_version);
            device.lobby = None;
            device.role = spent.role;
            device.group.clone_from(&spent.group);
            if let Some(name) = &spent.device_name {
                device.name = name.clone();
            }
            device.assign_profile(hello.profile).map_err(|e| e.code())?;
            device.successor_of = predecessor(&found);
            Ok(admit(request, device, Some(spent)))
        }
    }
}

fn by_lobby(with: &Circumstances<'_>, request: &Request, found: Found) -> Result<Decision, Code> {
    match found.device.clone() {
        Some(device) if device.pending.is_some() || device.issues > 0 => unconfirmed(with, request, device),
        Some(device) => match device.lobby.clone() {
            Some(entry) if entry.approved => {
                let mut device = device.next_version();
                device.lobby = None;
                device.assign_profile(entry.profile).map_err(|e| e.code())?;
                device.successor_of = predecessor(&found);
                Ok(admit(request, device, None))
            }
            Some(_) => Ok(Decision::Wait(None)),
            None => lobby(with, request, Some(device), &found),
        },
        None => lobby(with, request, None, &found),
    }
}

/// Puts a device into the lobby, or says that there is no room.
fn lobby(
    with: &Circumstances<'_>,
    request: &Request,
    known: Option<Device>,
    found: &Found,
) -> Result<Decision, Code> {
    if let Some(entry) = known.as_ref().and_then(|d| d.lobby.as_ref())
        && !entry.approved
    {
        return Ok(Decision::Wait(None));
    }
    let full = found.waiting >= Lobby::COUNT_MAX || found.waiting_from_source >= Lobby::PER_SOURCE_MAX;
    if full {
        return Err(code::enrolment::LOBBY_FULL);
    }
    let lookalikes: Vec<_> = clones(found).cloned().collect();
    let mut device = known.map_or_else(|| first_contact(with, request), Device::next_version);
    let root = with.context.root.key_id();
    let comparison = matches!(request.prove.means, Means::Lobby)
        .then(|| comparison_code(&request.peer, root, &request.prove.nonce, with.nonce));
    device.assign_profile(SecurityProfile::Sec0).map_err(|e| e.code())?;
    device.lobby = Some(Lobby {
        comparison,
        source: with.source.to_owned(),
        since: with.now,
        lookalikes: lookalikes.clone(),
        approved: false,
        profile: SecurityProfile::Sec0,
    });
    let id = device.id.clone();
    let mut changes =
        vec![Change::DeviceWaiting { device: id.clone(), identity_key: device.identity_key.id() }];
    if !lookalikes.is_empty() {
        let detail = "same hardware address or serial under another identity key".to_owned();
        changes.push(Change::CloneSuspected { device: id.clone(), others: lookalikes, detail });
    }
    let writes = vec![Write::Device(Box::new(device))];
    Ok(Decision::Wait(Some(Commit { actor: Actor::Device(id), changes, writes })))
}

/// Until `Stored`: the same CSR key gets the same bytes again, another one revokes what was issued first.
fn unconfirmed(with: &Circumstances<'_>, request: &Request, device: Device) -> Result<Decision, Code> {
    let Some(issued) = device.pending.clone().filter(|_| device.state() == DeviceState::Pending) else {
        // Confirmed: from now on only renewal and recovery issue.
        return Err(code::enrolment::ENROLLED_ALREADY);
    };
    if request.peer != device.identity_key {
        return Err(code::enrolment::STATE_FORBIDS);
    }
    if &issued.credential.key == request.csr.public_key() {
        return Ok(Decision::Again(Box::new(device)));
    }
    let mut next = device.next_version();
    next.pending = None;
    let (change, write) = revoke(with.now, &next, &issued.credential, RevocationReason::Superseded);
    Ok(Decision::Issue(Box::new(Plan {
        device: next,
        changes: vec![change],
        writes: vec![write],
        renews: false,
    })))
}

struct Continuity<'a> {
    kind: RenewalKind,
    issue: u32,
    by: &'a [u8],
    new: &'a [u8],
}

/// Renewal by the operational key in service, or recovery by the identity key.
fn by_continuity(
    with: &Circumstances<'_>,
    request: &Request,
    found: Found,
    proof: &Continuity<'_>,
) -> Result<Decision, Code> {
    let device = found.device.ok_or(code::enrolment::DEVICE_UNKNOWN)?;
    let in_service = device.credential.clone().filter(|_| device.is_admitted());
    let in_service = in_service.ok_or(code::enrolment::STATE_FORBIDS)?;
    let [_, renewal] = with.exporters;
    let signed = RenewalProof {
        exporter: renewal,
        challenge: with.nonce,
        device: &device.id,
        csr: &request.csr.digest(),
        issue: proof.issue,
        kind: proof.kind,
    }
    .to_be_signed();
    let held = match proof.kind {
        RenewalKind::Renewal => &in_service.key,
        RenewalKind::Recovery => &device.identity_key,
    };
    let both = held == &request.peer
        && held.verify(SignatureForm::Fixed, &signed, proof.by).is_ok()
        && request.csr.public_key().verify(SignatureForm::Fixed, &signed, proof.new).is_ok();
    if !both {
        return Err(code::enrolment::TICKET_PROOF);
    }
    if proof.issue < in_service.issue {
        return clone_alert(with.now, device, proof.issue);
    }
    if let Some(issued) = &device.pending
        && &issued.credential.key == request.csr.public_key()
    {
        return Ok(Decision::Again(Box::new(device)));
    }
    let expired = with.now >= in_service.not_after;
    if expired && proof.kind == RenewalKind::Renewal {
        return Err(code::certificate::CERT_EXPIRED);
    }
    let mut next = device.next_version();
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    if let Some(issued) = next.pending.take() {
        let (change, write) = revoke(with.now, &next, &issued.credential, RevocationReason::Superseded);
        changes.push(change);
        writes.push(write);
    }
    if proof.kind == RenewalKind::Recovery {
        next.recoveries_left =
            next.recoveries_left.checked_sub(1).ok_or(code::enrolment::RECOVERY_EXHAUSTED)?;
        let (device, recoveries_left) = (next.id.clone(), next.recoveries_left);
        changes.insert(0, Change::IdentityRecovered { device, recoveries_left });
    }
    Ok(Decision::Issue(Box::new(Plan { device: next, changes, writes, renews: true })))
}

/// An issue number older than the last confirmed one: two devices hold this identity, and nobody can tell which is real.
fn clone_alert(now: Timestamp, device: Device, issue: u32) -> Result<Decision, Code> {
    let id = device.id.clone();
    let detail = format!("a holder of the identity knows certificate {issue}, which is not the newest");
    let reason = format!("clone alert: {detail}");
    let suspend = Operation::Suspend { reason };
    let mut commit =
        suspend.apply(now, Actor::Device(id.clone()), device).map_err(|_| code::enrolment::STATE_FORBIDS)?;
    commit.changes.insert(0, Change::CloneSuspected { device: id, others: Vec::new(), detail });
    Ok(Decision::RefuseAfter(commit, code::enrolment::CLONE))
}

/// Lets a device in: its record, and the ticket that it spends.
fn admit(request: &Request, device: Device, ticket: Option<Ticket>) -> Decision {
    let change = Change::DeviceEnrolled {
        device: device.id.clone(),
        identity_key: request.peer.id(),
        role: device.role,
        profile: device.profile(),
        ticket: ticket.as_ref().map(|t| t.id),
    };
    let writes = ticket.into_iter().map(|t| Write::Ticket(Box::new(t))).collect();
    Decision::Issue(Box::new(Plan { device, changes: vec![change], writes, renews: false }))
}

fn revoke(
    now: Timestamp,
    device: &Device,
    credential: &crate::registry::Credential,
    reason: RevocationReason,
) -> (Change, Write) {
    let serial = credential.serial.clone();
    (
        Change::CertificateRevoked { device: device.id.clone(), serial, reason },
        Write::Revoke(device.revocation(now, credential, reason)),
    )
}

fn clones(found: &Found) -> impl Iterator<Item = &DeviceId> {
    let live = |s: &DeviceState| *s != DeviceState::Decommissioned;
    found.lookalikes.iter().filter(move |(_, state)| live(state)).map(|(id, _)| id)
}

fn has_clone(found: &Found) -> bool {
    clones(found).next().is_some()
}

fn predecessor(found: &Found) -> Option<DeviceId> {
    found.lookalikes.iter().find(|(_, s)| *s == DeviceState::Decommissioned).map(|(id, _)| id.clone())
}

fn device_id(request: &Request) -> DeviceId {
    DeviceId::derive(&DeviceIdInputs {
        uuid: request.uuid.uuid(),
        macs: &request.hello.facts.macs,
        serials: &request.hello.facts.serials,
        identity_key: request.peer.id(),
    })
}

fn first_contact(with: &Circumstances<'_>, request: &Request) -> Device {
    let hello = &request.hello;
    let id = device_id(request);
    let mut device = Device::first_contact(
        with.now,
        FirstContact {
            uuid: request.uuid,
            identity_key: request.peer.clone(),
            macs: hello.facts.macs.clone(),
            serials: hello.facts.serials.clone(),
            name: hello.name.clone(),
            role: hello.role,
            profile: SecurityProfile::Sec0,
            evidence: EvidenceTier::KeyOnDevice,
            capabilities: hello.capabilities.clone(),
            id,
        },
    );
    if let Image::Verified(digest) = &hello.image {
        device.image = Some(digest.to_vec());
    }
    device
}
