//! Letting a device in without a person and without a ticket: by a voucher of its maker, its factory certificate, or the word
//! of a node.
//!
//! What these are worth is judged in [`kos_voucher`]; here it meets the record of the device, its evidence and the guardrails.
//!
//! Invariants: whatever is used up is written in the transaction that creates the device. Nothing here settles what only a
//! person can: a clone alert, a way back from quarantine, a device that was issued a certificate before.
//!
//! Source: `docs/spec/voucher.md` VOU-10 to VOU-19, VOU-34; `docs/spec/enrolment.md` ENR-35, ENR-36.

use kos_attest::EndorsementKey;
use kos_base::{EvidenceTier, KeyId, SecurityProfile, Timestamp, code};
use kos_voucher::{
    Fate, Kept, Known, Shown, SignedBy, Spends, Subject, Vouched, Withheld, entitle, idevid, naming,
};

use super::{
    Decision, Found, Query, Request,
    admit::{self, Circumstances},
    issue::covers,
};
use crate::{
    enrolment::message::{Bytes, Hello, Means},
    registry::{Device, Lobby, Write},
};

/// What is asked of the store so that the voucher for a device that greets can be sent to it.
pub(super) fn greeting(hello: &Hello, key: Option<KeyId>, query: &mut Query) {
    if hello.maker.is_some() {
        let ek = hello.attestation.as_ref().and_then(|offer| EndorsementKey::parse(&offer.ek).ok());
        query.vouchers = places(hello, key, ek.map(|ek| ek.id()));
    }
}

/// What is asked of the store so that a request can be decided.
pub(super) fn question(request: &Request, ek: Option<KeyId>, query: &mut Query) {
    query.vouchers = match request.prove.means {
        Means::Lobby | Means::Ticket { .. } => places(&request.hello, Some(request.peer.id()), ek),
        // The endorsement key counts as long as a voucher names it.
        Means::Renewal { .. } | Means::Recovery { .. } => {
            ek.map(|ek| Subject::Endorsement(ek).place()).into_iter().collect()
        }
    };
    query.makers = request.hello.factory.is_some();
    query.sponsor = request.prove.vouch.as_ref().and_then(|signed| {
        let said = Vouched::parse(signed).ok()?;
        Some((said.unverified().grant, said.unverified().node.clone()))
    });
}

fn places(hello: &Hello, key: Option<KeyId>, ek: Option<KeyId>) -> Vec<String> {
    let serial = hello.factory.as_ref().and_then(|chain| idevid::unverified_serial(chain.first()?));
    let serial = serial.map(|serial| Subject::Serial { serial, issuer: KeyId::from_bytes([0; 32]) });
    let keys = key.map(Subject::Identity).into_iter().chain(ek.map(Subject::Endorsement));
    keys.chain(serial).map(|subject| subject.place()).collect()
}

/// The voucher to send: of the maker that the device believes, not passed on, and not spent by another device.
pub(super) fn voucher_for(hello: &Hello, found: &Found) -> Option<Bytes> {
    let maker = hello.maker?;
    let device = found.device.as_ref().map(|device| &device.id);
    let may = |kept: &&Kept| match &kept.fate {
        Fate::Waiting => true,
        Fate::Spent { device: by, .. } => device == Some(by),
        Fate::Endorsed { .. } | Fate::Void { .. } => false,
    };
    found.vouchers.iter().filter(|kept| kept.maker == maker).find(may).map(|kept| kept.bundle.clone())
}

/// Whether a voucher of a trusted maker names this endorsement key, for this device. A device that comes by a ticket or by a
/// person gets no evidence by it for more than the maker's terms give.
pub(super) fn names(found: &Found, request: &Request, ek: KeyId, now: Timestamp) -> bool {
    let sought = match (&found.device, &request.prove.means) {
        (Some(device), _) if device.issues > 0 => SecurityProfile::Sec0,
        (_, Means::Ticket { .. }) => request.hello.profile,
        (Some(device), _) => {
            let approved = device.lobby.as_ref().filter(|lobby| lobby.approved);
            approved.map_or(SecurityProfile::Sec0, |lobby| lobby.profile)
        }
        (None, _) => SecurityProfile::Sec0,
    };
    found.vouchers.iter().any(|kept| {
        let counts = match &kept.fate {
            Fate::Waiting => kept.expires.is_none_or(|expires| now < expires),
            Fate::Spent { device, .. } => found.device.as_ref().is_some_and(|own| own.id == *device),
            Fate::Endorsed { .. } | Fate::Void { .. } => false,
        };
        let mut makers = found.makers.iter().filter(|maker| maker.signs_by(kept.maker));
        let is_trusted = makers.any(|maker| sought <= maker.terms.profile);
        counts && is_trusted && kept.subject == Subject::Endorsement(ek)
    })
}

/// Whether a device showed or asked for something of this, so that it understands why it does not do.
pub(super) const fn is_told(request: &Request) -> bool {
    let Request { hello, prove, .. } = request;
    hello.maker.is_some() || hello.factory.is_some() || prove.vouch.is_some()
}

/// Lets a device in that something speaks for.
///
/// # Errors
/// Why what was shown, or is known, does not do.
pub(super) fn enter(
    with: &Circumstances<'_>,
    request: &Request,
    found: &Found,
) -> Result<Option<Decision>, Withheld> {
    let is_settled = found.device.as_ref().is_some_and(|device| {
        let waits = device.lobby.as_ref().is_some_and(|lobby| lobby.is_alert() || lobby.approved);
        waits || device.issues > 0 || device.case.is_some()
    });
    // Whoever was let in or turned away with this TPM before does not come again by what its maker once wrote.
    let returns = with.attested.is_some() && found.lookalikes.iter().any(|other| other.has_tpm);
    if is_settled || returns || admit::has_clone(found) || !matches!(request.prove.means, Means::Lobby) {
        return Ok(None);
    }
    let chain = chain(request);
    let (shown, known) = (shown(with, request, &chain), known_of(with, found));
    let Some(entry) = entitle(&shown, &known, with.now)? else {
        // It counts on a voucher, and there is none for it.
        let expected = request.hello.maker.map(|_| Withheld::new(code::voucher::VOUCHER_UNKNOWN));
        return expected.map_or(Ok(None), Err);
    };
    let mut device =
        found.device.clone().map_or_else(|| admit::first_contact(with, request), Device::next_version);
    device.role = entry.role.unwrap_or(request.hello.role);
    device.group = entry.group;
    device.assign_profile(entry.profile).map_err(|error| Withheld::new(error.code()))?;
    let mut proven = device.clone();
    proven.evidence = shown.evidence;
    admit::see_image(&mut proven, &request.hello.image);
    covers(&proven).map_err(Withheld::new)?;
    device.successor_of = admit::predecessor(found);
    // A voucher is among those that name the device.
    let mut spends = spent_with(with, request, found, &device);
    if let Some(Spends::Grant(sponsor)) = entry.spends {
        spends.push(Write::Sponsor(sponsor));
    }
    // The entry stays until the device has confirmed: a code may have to be compared, by a device that knows no maker.
    let waits = device.lobby.take().unwrap_or_else(|| admit::in_lobby(with, request, Vec::new()));
    let profile = entry.profile;
    device.lobby =
        Some(Lobby { approved: true, profile, rule: None, withheld: None, withheld_at: None, ..waits });
    device.admitted_by = Some(entry.by);
    Ok(Some(admit::admit(request, device, spends)))
}

/// The vouchers that name what a device has proven which is let in, by them or otherwise: they let in nobody any more, and what
/// rests on them stays.
pub(super) fn spent_with(
    with: &Circumstances<'_>,
    request: &Request,
    found: &Found,
    device: &Device,
) -> Vec<Write> {
    let chain = chain(request);
    let named = naming(&shown(with, request, &chain), &known_of(with, found), with.now).into_iter();
    let fate = Fate::Spent { device: device.id.clone(), at: with.now };
    named.map(|kept| Write::Voucher(Box::new(kept.clone().becoming(fate.clone())))).collect()
}

fn chain(request: &Request) -> Vec<&[u8]> {
    request.hello.factory.iter().flatten().map(|der| der.as_slice()).collect()
}

fn shown<'a>(with: &Circumstances<'_>, request: &'a Request, certificates: &'a [&'a [u8]]) -> Shown<'a> {
    Shown {
        identity: &request.peer,
        ek: with.attested.map(|attested| attested.ek),
        evidence: with.attested.map_or(EvidenceTier::KeyOnDevice, |attested| attested.tier),
        certificates,
        vouch: request.prove.vouch.as_ref().map(|vouch| vouch.as_slice()),
        profile: request.hello.profile,
    }
}

fn known_of<'a>(with: &Circumstances<'_>, found: &'a Found) -> Known<'a> {
    Known {
        makers: &found.makers,
        vouchers: &found.vouchers,
        sponsor: found.sponsor.as_deref(),
        node: signer(found.node.as_deref(), with.now),
        pin: with.context.root.key_id(),
    }
}

/// The node whose word is shown, if it is in service now.
fn signer(node: Option<&Device>, now: Timestamp) -> SignedBy<'_> {
    let held = node.filter(|node| node.is_admitted()).and_then(|node| {
        let held = node.credential.as_ref().filter(|held| now < held.not_after)?;
        Some((node, held))
    });
    SignedBy {
        key: held.map(|(_, held)| &held.key),
        profile: held.map_or(SecurityProfile::Sec0, |(node, held)| node.certified_profile(held)),
    }
}
