//! Who is given a certificate: the decision on a `Prove`, as a pure function of request and records.
//!
//! This is the one place where a device is let in. It returns what is to be issued and what is to be recorded; it
//! issues nothing itself.
//!
//! Source: `docs/spec/enrolment.md` ENR-13 to ENR-25, ENR-32, RUL-3; `docs/spec/quarantine.md` QRN-23.

use core::time::Duration;

use kos_base::{
    Code, DeviceId, DeviceState, EvidenceTier, SecurityProfile, Timestamp, code, id::DeviceIdInputs,
    key::SignatureForm,
};
use kos_voucher::Withheld;
use minicbor::bytes::ByteArray;

use super::{
    ApprovalRule, Context, Decision, Found, Lookalike, Request, Waiting, attested, entry,
    issue::{Plan, covers},
    rule::Shown,
};
use crate::{
    enrolment::{
        message::{Image, Means},
        proof::{Exporter, RenewalKind, RenewalProof, TicketProof, comparison_code},
    },
    registry::{
        Actor, Attested, Change, Commit, Device, FirstContact, Lobby, Operation, RevocationReason,
        TicketError, TicketUse, Write,
    },
};

/// Certificates that a device may be given within its first hour.
const ISSUES_AT_ONCE: u32 = 16;
/// Shortest time between two entries of the log on why a device that waits is not let in.
const WITHHELD_PAUSE: Duration = Duration::from_secs(60);

/// What surrounds a request.
pub(super) struct Circumstances<'a> {
    pub(super) now: Timestamp,
    pub(super) context: &'a Context,
    /// Of enrolment, of renewal.
    pub(super) exporters: &'a [Exporter; 2],
    pub(super) nonce: &'a [u8; 32],
    pub(super) source: &'a str,
    /// Number of the certificate that was in service when the conversation began.
    pub(super) served: Option<u32>,
    /// What its TPM proved in this conversation.
    pub(super) attested: Option<&'a Attested>,
}

pub(super) fn decide(with: &Circumstances<'_>, request: &Request, found: &Found) -> Decision {
    if let Some(device) = &found.device {
        if device.banned {
            return Decision::Refuse(code::enrolment::BANNED);
        }
        if !matches!(device.state(), DeviceState::Pending | DeviceState::Active) {
            return Decision::Refuse(code::enrolment::STATE_FORBIDS);
        }
    }
    let returns = found.device.as_ref().is_some_and(|device| device.case.is_some());
    let decision = match &request.prove.means {
        // Neither a ticket nor the lobby is a proof that counts after a quarantine.
        Means::Ticket { .. } | Means::Lobby if returns => Err(code::quarantine::IN_QUARANTINE),
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
    match decision {
        Ok(Decision::Issue(_) | Decision::Again(_)) if with.attested.is_some() && is_elsewhere(found) => {
            let code = code::attest::ATTEST_SHARED;
            match &found.device {
                Some(device) => Decision::RefuseAfter(attested::failed(device, code), code),
                None => Decision::Refuse(code),
            }
        }
        Ok(decision) => decision,
        Err(code) => Decision::Refuse(code),
    }
}

/// Whether the TPM that was proven is that of another device, which has not ended (ATT-24).
fn is_elsewhere(found: &Found) -> bool {
    let own = found.device.as_ref().map(|device| &device.id);
    let mut others = found.lookalikes.iter().filter(|other| Some(&other.id) != own);
    others.any(|other| other.has_tpm && other.state != DeviceState::Decommissioned)
}

fn by_ticket(
    with: &Circumstances<'_>,
    request: &Request,
    found: &Found,
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
        Some(device) if device.credentials().next().is_some() => unconfirmed(with, request, device),
        // A person has to look at it: it comes back from quarantine, or there is a clone alert. No ticket settles that.
        Some(device) if device.issues > 0 || device.lobby.as_ref().is_some_and(Lobby::is_alert) => {
            by_lobby(with, request, found)
        }
        known => {
            let id = known.as_ref().map_or_else(|| device_id(request), |d| d.id.clone());
            let by = TicketUse {
                identity_key: request.peer.id(),
                serials: &hello.facts.serials,
                role: hello.role,
                profile: hello.profile,
            };
            let spent = match ticket.spend(with.now, &by, id) {
                Ok(spent) => spent,
                // A person has let it in, and then the ticket does not matter.
                Err(_) if known.as_ref().is_some_and(Device::is_approved) => {
                    return by_lobby(with, request, found);
                }
                Err(error) => return Err(error.code()),
            };
            if has_clone(found) {
                return lobby(with, request, known, found, None);
            }
            let mut device = known.map_or_else(|| first_contact(with, request), Device::next_version);
            device.lobby = None;
            device.role = spent.role;
            device.group.clone_from(&spent.group);
            if let Some(name) = &spent.device_name {
                device.name = name.clone();
            }
            device.assign_profile(hello.profile).map_err(|e| e.code())?;
            device.successor_of = predecessor(found);
            let mut spends = entry::spent_with(with, request, found, &device);
            spends.push(Write::Ticket(Box::new(spent)));
            Ok(admit(request, device, spends))
        }
    }
}

fn by_lobby(with: &Circumstances<'_>, request: &Request, found: &Found) -> Result<Decision, Code> {
    let withheld = match entry::enter(with, request, found) {
        Ok(Some(decision)) => return Ok(decision),
        Ok(None) => None,
        Err(withheld) => Some(withheld),
    };
    match found.device.clone() {
        Some(device) if device.credentials().next().is_some() => unconfirmed(with, request, device),
        Some(device) => match device.lobby.clone() {
            // The rule was taken back or gives less, or by now somebody else shows the hardware that it speaks of.
            Some(Lobby { rule: Some(rule), profile, .. })
                if rule_for(with, request, &device, found)
                    .is_none_or(|now| *now.name() != rule || now.profile() < profile) =>
            {
                lobby(with, request, Some(device), found, withheld)
            }
            Some(entry) if entry.approved => {
                // The entry stays until the device has confirmed: the code in it may still have to be compared.
                let mut device = device.next_version();
                device.assign_profile(entry.profile).map_err(|e| e.code())?;
                device.successor_of = predecessor(found);
                let spends = entry::spent_with(with, request, found, &device);
                Ok(admit(request, device, spends))
            }
            Some(entry) => Ok(Decision::Wait(match rule_for(with, request, &device, found) {
                Some(rule) => approved_later(rule, request, device),
                None => waits_on(with, request, device, entry, withheld),
            })),
            None => lobby(with, request, Some(device), found, withheld),
        },
        None => lobby(with, request, None, found, withheld),
    }
}

/// Puts a device into the lobby, or says that there is no room. One that comes with a ticket and meets a clone alert
/// moves from the ordinary lobby to the alert.
fn lobby(
    with: &Circumstances<'_>,
    request: &Request,
    known: Option<Device>,
    found: &Found,
    withheld: Option<Withheld>,
) -> Result<Decision, Code> {
    let full = found.waiting >= Lobby::COUNT_MAX || found.waiting_from_source >= Lobby::PER_SOURCE_MAX;
    if full {
        return Err(code::enrolment::LOBBY_FULL);
    }
    let others = clones(found).take(Lobby::LOOKALIKES_MAX);
    let lookalikes: Vec<_> = others.map(|other| other.id.clone()).collect();
    let mut device = known.map_or_else(|| first_contact(with, request), Device::next_version);
    let rule = rule_for(with, request, &device, found);
    let told = told(request, withheld.as_ref());
    let withheld_at = withheld.as_ref().map(|_| with.now);
    let profile = device.profile();
    device.lobby =
        Some(Lobby { profile, withheld, withheld_at, ..in_lobby(with, request, lookalikes.clone()) });
    let id = device.id.clone();
    let mut changes = vec![device.waiting()];
    if !lookalikes.is_empty() {
        let mut detail = "same hardware address or serial under another identity key".to_owned();
        if clones(found).any(|other| other.banned) {
            detail.push_str(", and a device that was banned had it");
        }
        changes.push(Change::CloneSuspected { device: id.clone(), others: lookalikes, detail });
    }
    let mut actor = Actor::Device(id);
    if let Some(rule) = rule {
        changes.extend(approve(&mut device, rule, request));
        actor = Actor::Authority;
    }
    let writes = vec![Write::Device(Box::new(device))];
    Ok(Decision::Wait(Waiting::New(Commit { actor, changes, writes }, told)))
}

/// An entry of somebody who has just come.
pub(super) fn in_lobby(with: &Circumstances<'_>, request: &Request, lookalikes: Vec<DeviceId>) -> Lobby {
    let root = with.context.root.key_id();
    let comparison = matches!(request.prove.means, Means::Lobby)
        .then(|| comparison_code(&request.peer, root, &request.prove.nonce, with.nonce));
    Lobby {
        comparison,
        source: with.source.to_owned(),
        since: with.now,
        lookalikes,
        approved: false,
        profile: SecurityProfile::Sec0,
        nonce: ByteArray::from(*with.nonce),
        requested: Some(request.hello.profile),
        rule: None,
        withheld: None,
        withheld_at: None,
    }
}

/// Somebody who waits already. Why what it shows does not do is written down when it is news, and not more often than every
/// [`WITHHELD_PAUSE`], so that nobody fills the log with it.
fn waits_on(
    with: &Circumstances<'_>,
    request: &Request,
    device: Device,
    mut entry: Lobby,
    withheld: Option<Withheld>,
) -> Waiting {
    let told = told(request, withheld.as_ref());
    let is_early = entry.withheld_at.is_some_and(|at| with.now.since(at) < WITHHELD_PAUSE);
    if entry.withheld == withheld || is_early {
        return Waiting::Known(entry.since, told);
    }
    (entry.withheld, entry.withheld_at) = (withheld, Some(with.now));
    let mut device = device.next_version();
    device.lobby = Some(entry);
    let (actor, changes) = (Actor::Device(device.id.clone()), vec![device.waiting()]);
    Waiting::New(Commit { actor, changes, writes: vec![Write::Device(Box::new(device))] }, told)
}

/// What the device hears of it, if it understands that.
fn told(request: &Request, withheld: Option<&Withheld>) -> Option<u16> {
    withheld.filter(|_| entry::is_told(request)).map(Withheld::number)
}

/// The rule that lets a device in, if one may: none settles an alert, or lets back in who was stopped. What the record
/// holds and what the device says now must both fit, since either is what the device said of itself.
fn rule_for<'a>(
    with: &Circumstances<'a>,
    request: &Request,
    device: &Device,
    found: &Found,
) -> Option<&'a ApprovalRule> {
    let alert = has_clone(found) || device.lobby.as_ref().is_some_and(Lobby::is_alert);
    if alert || device.banned || device.issues > 0 {
        return None;
    }
    let facts = &request.hello.facts;
    let (key, role) = (request.peer.id(), request.hello.role);
    let ek = with.attested.map(|attested| attested.ek);
    let said = Shown { macs: &facts.macs, serials: &facts.serials, key, ek, role };
    let recorded = Shown {
        macs: &device.macs,
        serials: &device.serials,
        key: device.identity_key.id(),
        ek,
        role: device.role,
    };
    with.context.rules.iter().find(|rule| rule.fits(&said) && rule.fits(&recorded))
}

/// Approves a device that waits, with what it asks for and at most what the rule gives.
fn approve(device: &mut Device, rule: &ApprovalRule, request: &Request) -> Option<Change> {
    let profile = rule.profile().min(request.hello.profile);
    let entry = device.lobby.as_mut()?;
    entry.approved = true;
    entry.profile = profile;
    entry.rule = Some(rule.name().clone());
    Some(Change::DeviceApproved { device: device.id.clone(), profile, rule: entry.rule.clone() })
}

/// The rule is newer than the entry in the lobby.
fn approved_later(rule: &ApprovalRule, request: &Request, device: Device) -> Waiting {
    let mut device = device.next_version();
    let changes = approve(&mut device, rule, request).into_iter().collect();
    let writes = vec![Write::Device(Box::new(device))];
    Waiting::New(Commit { actor: Actor::Authority, changes, writes }, None)
}

/// Until `Stored`: the same CSR key gets the same bytes again, another one revokes what was issued first.
fn unconfirmed(with: &Circumstances<'_>, request: &Request, device: Device) -> Result<Decision, Code> {
    if device.state() != DeviceState::Pending {
        // Confirmed: from now on only renewal and recovery issue.
        return Err(code::enrolment::ENROLLED_ALREADY);
    }
    if request.peer != device.identity_key {
        return Err(code::enrolment::STATE_FORBIDS);
    }
    // A person has given it another profile meanwhile; it asks because it did not take what it was given.
    let mut device = device;
    let given = device.pending.as_ref().and_then(|issued| issued.credential.profile);
    if let Some(approved) = device.lobby.as_ref().filter(|lobby| lobby.approved) {
        device.assign_profile(approved.profile).map_err(|e| e.code())?;
    }
    let is_same = given.is_none_or(|given| given == device.profile());
    if is_same && is_held_for(with, request, &device) {
        return Ok(Decision::Again(Box::new(device)));
    }
    if let Some((commit, code)) = forfeit(request, &device) {
        return Ok(Decision::RefuseAfter(commit, code));
    }
    check_budget(with.now, &device)?;
    Ok(Decision::Issue(Box::new(replacing(with, request, device, false))))
}

/// A device that asks again and again with other keys would fill log and revocation lists: [`ISSUES_AT_ONCE`]
/// certificates, and from then on one an hour of its life, unless an operator ordered a new one.
fn check_budget(now: Timestamp, device: &Device) -> Result<(), Code> {
    let since = device.enrolled_at.unwrap_or_else(|| device.state_since());
    let earned = now.since(since).as_secs() / 3600;
    let allowed = ISSUES_AT_ONCE.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX));
    if device.issues >= allowed && !device.regenerate {
        return Err(code::enrolment::RATE_LIMITED);
    }
    Ok(())
}

/// Whether this very request was granted before, its certificate can still be confirmed (after its end it would be
/// refused by the device for ever), and the device still has the image and the profile that it was granted with.
fn is_held_for(with: &Circumstances<'_>, request: &Request, device: &Device) -> bool {
    let same = device.pending.as_ref().is_some_and(|issued| {
        &issued.credential.key == request.csr.public_key() && with.now < issued.credential.not_after
    });
    same && device.image.as_deref() == request.hello.image.digest() && covers(device).is_ok()
}

/// A plan for the next certificate, which revokes the one that was never confirmed.
fn replacing(with: &Circumstances<'_>, request: &Request, device: Device, renews: bool) -> Plan {
    let mut next = device.next_version();
    let mut writes = Vec::new();
    let mut changes: Vec<_> = see_image(&mut next, &request.hello.image).into_iter().collect();
    if let Some(issued) = next.pending.take() {
        let (serial, reason) = (issued.credential.serial.clone(), RevocationReason::Superseded);
        writes.push(Write::Revoke(next.revocation(with.now, &issued.credential, reason)));
        changes.push(Change::CertificateRevoked { device: next.id.clone(), serial, reason });
    }
    Plan { device: next, changes, writes, renews }
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
    found: &Found,
    proof: &Continuity<'_>,
) -> Result<Decision, Code> {
    let device = found.device.clone().ok_or(code::enrolment::DEVICE_UNKNOWN)?;
    let in_service = device.credential.as_ref();
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
        RenewalKind::Renewal => in_service.map(|credential| &credential.key),
        RenewalKind::Recovery => Some(&device.identity_key),
    };
    let held = held.filter(|key| *key == &request.peer).ok_or(code::enrolment::RENEWAL_PROOF)?;
    let new = request.csr.public_key();
    let both = held.verify(SignatureForm::Fixed, &signed, proof.by).is_ok()
        && new.verify(SignatureForm::Fixed, &signed, proof.new).is_ok();
    if !both {
        return Err(code::enrolment::RENEWAL_PROOF);
    }
    if new == &device.identity_key {
        return Err(code::enrolment::CSR_INVALID);
    }
    let Some(in_service) = in_service else {
        if device.case.is_some() {
            return back_from_quarantine(with, request, device);
        }
        // It comes back from quarantine: it has shown who it is, and a person decides.
        return by_lobby(with, request, found);
    };
    if proof.issue < in_service.issue {
        // What an honest device sent before its newer certificate was confirmed may arrive after it.
        return if with.served.is_some_and(|served| proof.issue < served) {
            clone_alert(with.now, device, proof.issue)
        } else {
            Err(code::enrolment::STATE_FORBIDS)
        };
    }
    if is_held_for(with, request, &device) {
        return Ok(Decision::Again(Box::new(device)));
    }
    let expired = with.now >= in_service.not_after;
    let in_time = expired == (proof.kind == RenewalKind::Recovery);
    if let (true, Some((commit, code))) = (in_time, forfeit(request, &device)) {
        return Ok(Decision::RefuseAfter(commit, code));
    }
    match proof.kind {
        RenewalKind::Renewal if expired => Err(code::certificate::CERT_EXPIRED),
        // The identity key alone is not enough while somebody holds a certificate that is valid.
        RenewalKind::Recovery if !expired => Err(code::enrolment::STATE_FORBIDS),
        RenewalKind::Renewal => {
            check_budget(with.now, &device)?;
            Ok(Decision::Issue(Box::new(replacing(with, request, device, true))))
        }
        RenewalKind::Recovery => {
            let mut plan = replacing(with, request, device, true);
            let next = &mut plan.device;
            begin_anew(next);
            next.recoveries_left =
                next.recoveries_left.checked_sub(1).ok_or(code::enrolment::RECOVERY_EXHAUSTED)?;
            let (device, recoveries_left) = (next.id.clone(), next.recoveries_left);
            plan.changes.insert(0, Change::IdentityRecovered { device, recoveries_left });
            Ok(Decision::Issue(Box::new(plan)))
        }
    }
}

/// It has shown that it holds the identity key, after the people who had to had approved; and its TPM again, if it had
/// shown one.
fn back_from_quarantine(
    with: &Circumstances<'_>,
    request: &Request,
    device: Device,
) -> Result<Decision, Code> {
    let approved = device.case.as_ref().is_some_and(|case| case.is_approved(device.profile()));
    if device.state() != DeviceState::Pending || !approved {
        return Err(code::quarantine::IN_QUARANTINE);
    }
    let is_shown = |known: &Attested| {
        with.attested.is_some_and(|shown| shown.ek == known.ek && shown.tier >= known.tier)
    };
    if !device.attested.as_ref().is_none_or(is_shown) {
        let code = code::quarantine::PROOF_LESS;
        return Ok(Decision::RefuseAfter(attested::failed(&device, code), code));
    }
    if device.pending.is_some() {
        return unconfirmed(with, request, device);
    }
    let mut next = device.next_version();
    begin_anew(&mut next);
    Ok(admit(request, next, Vec::new()))
}

/// Who comes back by its identity key has shown no key of its own, and gets a new one (OWN-8).
fn begin_anew(device: &mut Device) {
    if let Some(keys) = &mut device.own_keys {
        keys.begin_anew();
    }
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

/// Lets a device in: its record, and the ticket, vouchers or grant that it spends.
pub(super) fn admit(request: &Request, mut device: Device, writes: Vec<Write>) -> Decision {
    let mut changes: Vec<_> = see_image(&mut device, &request.hello.image).into_iter().collect();
    let ticket = writes.iter().find_map(|write| match write {
        Write::Ticket(ticket) => Some(ticket.id),
        _ => None,
    });
    let spent = writes.iter().filter_map(|write| match write {
        Write::Voucher(kept) => Some(kept.id),
        _ => None,
    });
    let spent = spent.collect();
    changes.push(Change::DeviceEnrolled {
        device: device.id.clone(),
        identity_key: request.peer.id(),
        role: device.role,
        profile: device.profile(),
        ticket,
        by: device.admitted_by.clone(),
        spent,
    });
    Decision::Issue(Box::new(Plan { device, changes, writes, renews: false }))
}

/// Who stands in the way of a newcomer with the same hardware: a device that has not ended, or one that was banned.
fn clones(found: &Found) -> impl Iterator<Item = &Lookalike> {
    found.lookalikes.iter().filter(|other| other.banned || other.state != DeviceState::Decommissioned)
}

pub(super) fn has_clone(found: &Found) -> bool {
    clones(found).next().is_some()
}

pub(super) fn predecessor(found: &Found) -> Option<DeviceId> {
    let ended = found.lookalikes.iter().find(|other| other.state == DeviceState::Decommissioned);
    ended.map(|other| other.id.clone())
}

fn device_id(request: &Request) -> DeviceId {
    DeviceId::derive(&DeviceIdInputs {
        uuid: request.uuid.uuid(),
        macs: &request.hello.facts.macs,
        serials: &request.hello.facts.serials,
        identity_key: request.peer.id(),
    })
}

pub(super) fn first_contact(with: &Circumstances<'_>, request: &Request) -> Device {
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
    see_image(&mut device, &hello.image);
    device
}

/// Takes over what the boot found out about the image, and tells when the manifest that was there is another or gone.
pub(super) fn see_image(device: &mut Device, said: &Image) -> Option<Change> {
    let now = said.digest().map(<[u8]>::to_vec);
    let from =
        core::mem::replace(&mut device.image, now).filter(|from| device.image.as_ref() != Some(from))?;
    Some(Change::ImageAltered { device: device.id.clone(), from, to: device.image.clone() })
}

/// What is recorded, and answered, when the image that a device in service comes with costs it its profile.
fn forfeit(request: &Request, device: &Device) -> Option<(Commit, Code)> {
    let mut next = device.clone().next_version();
    let change = see_image(&mut next, &request.hello.image)?;
    let code = covers(&next).err()?;
    let actor = Actor::Device(next.id.clone());
    Some((Commit { actor, changes: vec![change], writes: vec![Write::Device(Box::new(next))] }, code))
}
