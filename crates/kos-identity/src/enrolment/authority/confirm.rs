//! What becomes of `Stored`, `Notice`, `Receipt` and `Isolated`: pure decisions on one record.
//!
//! Source: `docs/spec/enrolment.md` ENR-29, ENR-30, ENR-33, END-8, END-9;
//! `docs/spec/quarantine.md` QRN-16, QRN-17.

use kos_base::{Code, DeviceId, DeviceState, PublicKey, Timestamp, code, digest::sha256};
use minicbor::bytes::ByteArray;
use subtle::ConstantTimeEq as _;

use super::Sealed;
use crate::{
    decommission::{Record, receipt_hash, verify_record},
    enrolment::message::{Bootloader, FromDevice, Isolated, Receipt, Stored},
    quarantine::verify_record as verify_isolation,
    registry::{Actor, Bundle, Change, Commit, Device, Order, RevocationReason, Write, revoke_all},
};

pub(super) enum Confirmation {
    Commit(Commit),
    /// Keep the bundle first.
    Keep(Sealed, Commit),
    Already,
    Refuse(Code),
}

/// The device that a message speaks of, for messages that come without a key.
pub(super) fn subject(message: &FromDevice) -> Option<DeviceId> {
    match message {
        FromDevice::Notice(notice) => Record::peek(&notice.record).ok().map(|record| record.device),
        FromDevice::Receipt(receipt) => Some(receipt.device.clone()),
        FromDevice::Hello(_) | FromDevice::Prove(_) | FromDevice::Stored(_) | FromDevice::Isolated(_) => None,
    }
}

pub(super) fn decide(
    now: Timestamp,
    message: &FromDevice,
    peer: Option<&PublicKey>,
    device: Option<Device>,
) -> Confirmation {
    let Some(device) = device else {
        return Confirmation::Refuse(code::enrolment::DEVICE_UNKNOWN);
    };
    let decided = match (message, peer) {
        (FromDevice::Stored(message), Some(peer)) => stored(now, message, peer, device),
        (FromDevice::Notice(notice), _) => noticed(now, &notice.record, device),
        (FromDevice::Receipt(message), _) => received(now, message, device),
        (FromDevice::Isolated(message), Some(peer)) => isolated(now, message, peer, device),
        _ => Err(code::enrolment::PROTOCOL),
    };
    decided.unwrap_or_else(Confirmation::Refuse)
}

/// The new certificate is durable on the device: it goes into service, and what it replaces is revoked.
fn stored(now: Timestamp, message: &Stored, peer: &PublicKey, device: Device) -> Result<Confirmation, Code> {
    let is = |c: &crate::registry::Credential| &c.key == peer && c.issue == message.issue;
    // Recorded is recorded, whatever happened to the device since: it must not fall back to what is revoked.
    if device.credential.as_ref().is_some_and(is) {
        return Ok(Confirmation::Already);
    }
    if device.banned {
        return Err(code::enrolment::BANNED);
    }
    let mut next = device.next_version();
    let issued = next.pending.take().filter(|issued| is(&issued.credential));
    let issued = issued.ok_or(code::enrolment::STATE_FORBIDS)?;
    let id = next.id.clone();
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    if next.state() == DeviceState::Pending {
        next.enter(now, DeviceState::Active, "certificate confirmed").map_err(|e| e.code())?;
        next.enrolled_at.get_or_insert(now);
        next.lobby = None;
        next.case = None;
        changes.push(Change::DeviceActive { device: id.clone(), issue: message.issue });
    } else if next.is_admitted() {
        changes.push(Change::CertificateRenewed { device: id.clone(), issue: message.issue });
    } else {
        return Err(code::enrolment::STATE_FORBIDS);
    }
    if let Some(old) = next.credential.replace(issued.credential) {
        let reason = RevocationReason::Superseded;
        writes.push(Write::Revoke(next.revocation(now, &old, reason)));
        changes.push(Change::CertificateRevoked { device: id.clone(), serial: old.serial, reason });
    }
    if let Some(report) = message.bootloader {
        next.bootloader = Some(report);
        let locked = report == Bootloader::Locked;
        let detail = if locked { "locked" } else { "the lock command failed" }.to_owned();
        changes.push(Change::BootloaderReported { device: id.clone(), locked, detail });
    }
    writes.insert(0, Write::Device(Box::new(next)));
    Ok(Confirmation::Commit(Commit { actor: Actor::Device(id), changes, writes }))
}

/// The device ends itself: revoke at once, and wait for the receipt.
fn noticed(now: Timestamp, signed: &[u8], device: Device) -> Result<Confirmation, Code> {
    let record = own_record(signed, &device)?.ok_or(code::enrolment::STATE_FORBIDS)?;
    if matches!(device.state(), DeviceState::Decommissioning | DeviceState::Decommissioned) {
        return Ok(Confirmation::Already);
    }
    let reason = "ordered on the device itself".to_owned();
    let mut next = device.next_version();
    next.lobby = None;
    next.enter(now, DeviceState::Decommissioning, &reason).map_err(|e| e.code())?;
    let receipt_hash = receipt_hash(&record.receipt).to_vec();
    next.order = Some(Order { signed: Vec::new(), receipt_hash, at: now });
    let id = next.id.clone();
    let mut writes = Vec::new();
    let mut changes = vec![Change::DecommissionOrdered { device: id.clone(), reason }];
    changes.extend(revoke_all(now, &mut next, RevocationReason::CessationOfOperation, &mut writes));
    writes.insert(0, Write::Device(Box::new(next)));
    Ok(Confirmation::Commit(Commit { actor: Actor::Device(id), changes, writes }))
}

/// The device's own record of its end, signed by the key of its newest certificate: the one in service, or one that it
/// has not confirmed. None after a quarantine, when no key of the device counts any more.
fn own_record(signed: &[u8], device: &Device) -> Result<Option<Record>, Code> {
    if device.credentials().next().is_none() {
        return Ok(None);
    }
    let verified = device.credentials().find_map(|c| verify_record(signed, &c.key).ok());
    let verified = verified.ok_or(code::enrolment::PROTOCOL)?;
    let own = verified.record().device == device.id;
    own.then(|| Some(verified.record().clone())).ok_or(code::enrolment::PROTOCOL)
}

/// The wipe is done. A device that ended itself out of reach comes with this only, and its record orders and confirms,
/// also when an order was on its way to it.
fn received(now: Timestamp, message: &Receipt, device: Device) -> Result<Confirmation, Code> {
    if device.state() == DeviceState::Decommissioned {
        return Ok(Confirmation::Already);
    }
    let record = own_record(&message.record, &device)?;
    let ordered = device.order.is_some();
    let receipt = receipt_hash(&message.receipt);
    let obeyed = device.order.as_ref().is_some_and(|o| receipt.as_slice().ct_eq(&o.receipt_hash).into());
    let by_itself = record.as_ref().is_some_and(|r| r.order.is_none() && r.receipt == message.receipt);
    if !obeyed && !by_itself {
        return Err(code::enrolment::STATE_FORBIDS);
    }
    let wipe = record.map_or("cleared", |record| record.assurance.as_str());
    let mut next = device.next_version();
    next.lobby = None;
    let id = next.id.clone();
    let mut changes = Vec::new();
    let mut writes = Vec::new();
    if !ordered {
        let reason = "ordered on the device itself".to_owned();
        changes.push(Change::DecommissionOrdered { device: id.clone(), reason });
        changes.extend(revoke_all(now, &mut next, RevocationReason::CessationOfOperation, &mut writes));
    }
    next.enter(now, DeviceState::Decommissioned, &format!("wiped: {wipe}")).map_err(|e| e.code())?;
    next.order = None;
    changes.push(Change::DeviceDecommissioned { device: id.clone(), wipe: wipe.to_owned() });
    writes.insert(0, Write::Device(Box::new(next)));
    Ok(Confirmation::Commit(Commit { actor: Actor::Device(id), changes, writes }))
}

/// A quarantine is obeyed. Its record and the bundle count once, whatever comes after them.
fn isolated(
    now: Timestamp,
    message: &Isolated,
    peer: &PublicKey,
    device: Device,
) -> Result<Confirmation, Code> {
    if *peer != device.identity_key {
        return Err(code::enrolment::PROTOCOL);
    }
    let verified = verify_isolation(&message.record, &device.identity_key);
    let verified = verified.map_err(|_| code::enrolment::PROTOCOL)?;
    let record = verified.record();
    let Some(case) = &device.case else { return Err(code::enrolment::STATE_FORBIDS) };
    if record.device != device.id || record.order != case.order || !case.is_receipt(&record.receipt) {
        return Err(code::enrolment::STATE_FORBIDS);
    }
    let digest = message.bundle.as_ref().map(|bundle| ByteArray::from(sha256(bundle)));
    if digest != record.bundle {
        return Err(code::enrolment::PROTOCOL);
    }
    if case.confirmed_at.is_some() {
        return Ok(Confirmation::Already);
    }
    let order = case.order;
    let mut next = device.next_version();
    let id = next.id.clone();
    let bytes = message.bundle.as_ref().map_or(0, |bundle| u32::try_from(bundle.len()).unwrap_or(u32::MAX));
    let mut changes = vec![Change::QuarantineConfirmed { device: id.clone(), order }];
    if let Some(sha256) = digest {
        changes.push(Change::ForensicsReceived { device: id.clone(), order, sha256: sha256.to_vec(), bytes });
    }
    if let Some(case) = &mut next.case {
        case.confirmed_at = Some(now);
        case.bundle = digest.map(|sha256| Bundle { sha256, bytes });
    }
    let kept = message.bundle.as_ref().map(|bundle| (id.clone(), order, bundle.to_vec()));
    let commit = Commit { actor: Actor::Device(id), changes, writes: vec![Write::Device(Box::new(next))] };
    Ok(match kept {
        Some((device, order, sealed)) => Confirmation::Keep(Sealed { device, order, bytes: sealed }, commit),
        None => Confirmation::Commit(commit),
    })
}
