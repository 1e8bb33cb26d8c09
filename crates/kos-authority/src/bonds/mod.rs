//! Pairings and grants of a running authority: what a device gets of them, what its words about them do, how they end.
//!
//! Invariants: every change of a pairing or a grant gives the pairing of the two a higher number ([`next_number`]), which is
//! at least the time in milliseconds: so what a device gets rises also on an authority that was put back from a backup. A
//! pairing that ends takes its grants with it in the same transaction.
//!
//! Source: `docs/spec/pairing.md`, `docs/spec/grant.md`.

mod call;

use kos_base::{DeviceId, DeviceState, Timestamp, key::SignatureForm};
use kos_identity::registry::{Actor, Device};
use kos_net::keys::KeyError;
use kos_policy::pairing::{
    BONDS_LIFE, Bond, Bonds, Effect, EndedBy, Held, PairState, Pairing, PairingError, Partner, Side,
    Statement, Word,
};

pub(crate) use self::call::{call, facts_of, tie_of};
use crate::{
    authority::Shared,
    record::{Change, SystemChange},
    store::{Store, StoreError, StoredGrant},
    writer::{SystemWrite, Transaction},
};

/// How often a change is decided again after somebody else changed the same pairing.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// Why a word about a pairing does nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BondsFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pairing(#[from] PairingError),
    #[error("there is no such pairing")]
    Unknown,
}

/// The number of the next change of a device's pairings and grants.
pub(crate) fn next_number(all: &[Pairing], now: Timestamp) -> u64 {
    let last = all.iter().map(|pairing| pairing.number).max().unwrap_or_default();
    last.saturating_add(1).max(now.unix_ms())
}

/// What a device gets; nothing where it was never to be paired.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn bonds_for(
    shared: &Shared,
    device: &DeviceId,
    now: Timestamp,
) -> Result<Option<Bonds>, StoreError> {
    let pairings = shared.store.pairings(device).await?;
    let Some(counter) = pairings.iter().map(|pairing| pairing.number).max() else { return Ok(None) };
    let (mut pairs, mut live) = (Vec::new(), Vec::new());
    for pairing in pairings.into_iter().filter(|pairing| pairing.state(now) != PairState::Ended) {
        let label = match &pairing.partner {
            Partner::User(id) => shared.store.operator(*id).await?.map(|operator| operator.name.to_string()),
            Partner::Agent(_) => None,
        };
        live.push(pairing.id);
        pairs.push(Bond {
            id: pairing.id,
            partner: pairing.partner,
            label,
            level: pairing.level,
            key: pairing.key,
            device_said: pairing.device_said.is_some(),
            partner_said: pairing.partner_said.is_some(),
            proposed: pairing.proposed,
        });
    }
    let grants = shared.store.grants(device).await?.into_iter();
    let grants = grants
        .filter(|stored| live.contains(&stored.grant.pairing))
        .map(|stored| Held { signed: stored.signed, lifted: stored.word.map(|word| word.lifted) });
    Ok(Some(Bonds {
        authority: shared.name.clone(),
        device: device.clone(),
        counter,
        issued: now,
        expires: now.plus(BONDS_LIFE),
        pairs,
        grants: grants.collect(),
    }))
}

/// Bonds with their signature.
///
/// # Errors
/// When the key fails.
pub(crate) fn signed(shared: &Shared, bonds: &Bonds) -> Result<Vec<u8>, KeyError> {
    let key = &shared.keys.orders;
    let unsigned = bonds.unsigned(key.public());
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
    Ok(unsigned.finish(signature))
}

/// What ends a pairing, which was `before`, with its grants; nothing when it is over.
pub(crate) fn ending(
    mut pairing: Pairing,
    grants: &[StoredGrant],
    by: EndedBy,
    number: u64,
    now: Timestamp,
) -> Option<(Pairing, Vec<Change>, Vec<SystemWrite>)> {
    let before = pairing.number;
    if pairing.end(by, now) == Effect::Nothing {
        return None;
    }
    pairing.number = number;
    let under = grants.iter().filter(|stored| stored.grant.pairing == pairing.id);
    let mut writes: Vec<_> = under.map(|stored| SystemWrite::NoGrant(stored.grant.id)).collect();
    let grants = u64::try_from(writes.len()).unwrap_or(u64::MAX);
    writes.push(SystemWrite::Pairing(Box::new(pairing.clone()), Some(before)));
    let change = SystemChange::PairingEnded { pairing: Box::new(pairing.clone()), by, grants };
    Some((pairing, vec![change.into()], writes))
}

/// What ends everything that a device is paired with.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn end_of_device(
    store: &Store,
    device: &DeviceId,
    by: EndedBy,
    now: Timestamp,
) -> Result<(Vec<Change>, Vec<SystemWrite>), StoreError> {
    let (all, grants) = (store.pairings(device).await?, store.grants(device).await?);
    let number = next_number(&all, now);
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    for pairing in all {
        if let Some((_, told, written)) = ending(pairing, &grants, by, number, now) {
            changes.extend(told);
            writes.extend(written);
        }
    }
    Ok((changes, writes))
}

/// What ends everything that a user is paired with.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn end_of_partner(
    store: &Store,
    partner: &Partner,
    now: Timestamp,
) -> Result<(Vec<Change>, Vec<SystemWrite>), StoreError> {
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    for pairing in store.pairings_with(partner).await? {
        let all = store.pairings(&pairing.device).await?;
        let grants = store.grants(&pairing.device).await?;
        let number = next_number(&all, now);
        if let Some((_, told, written)) = ending(pairing, &grants, EndedBy::PartnerGone, number, now) {
            changes.extend(told);
            writes.extend(written);
        }
    }
    Ok((changes, writes))
}

/// Takes what one side signed about a pairing. The pairing as it is then, and whether anything changed.
///
/// # Errors
/// When it does not count, or nothing can be read or written.
pub(crate) async fn take(
    shared: &Shared,
    side: Side,
    actor: &Actor,
    statement: &Statement,
    now: Timestamp,
) -> Result<Pairing, BondsFault> {
    for _ in 0..ATTEMPTS_MAX {
        let all = shared.store.pairings(&statement.device).await?;
        let held = all.iter().find(|pairing| pairing.partner == statement.partner).cloned();
        let mut pairing = held.ok_or(BondsFault::Unknown)?;
        let before = pairing.clone();
        if pairing.take(side, statement, &shared.name, now)? == Effect::Nothing {
            return Ok(pairing);
        }
        let number = next_number(&all, now);
        let (after, changes, system) = match statement.word {
            Word::Confirm => {
                pairing.number = number;
                let change = SystemChange::PairingConfirmed { pairing: Box::new(pairing.clone()), side };
                let write = SystemWrite::Pairing(Box::new(pairing.clone()), Some(before.number));
                (pairing, vec![change.into()], vec![write])
            }
            Word::End => {
                let by = match side {
                    Side::Device => EndedBy::Device,
                    Side::Partner => EndedBy::Partner,
                };
                let grants = shared.store.grants(&statement.device).await?;
                ending(before, &grants, by, number, now).ok_or(BondsFault::Unknown)?
            }
        };
        let (actor, writes) = (actor.clone(), Vec::new());
        let transaction = Transaction { at: now, actor, changes, writes, system, answer: None };
        match shared.writer.commit(transaction).await {
            Ok(_) => {
                shared.links.bonds_changed(&statement.device);
                return Ok(after);
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict { table: "pairings", row: statement.device.to_string() }.into())
}

/// Takes what a device says of pairings in a heartbeat. What does not count is told to whoever looks at the server's log:
/// a device drops it with the next bonds.
///
/// # Errors
/// When nothing can be read or written; the device says it again.
pub(crate) async fn take_of_device(
    shared: &Shared,
    device: &Device,
    signed: &[Vec<u8>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(credential) = &device.credential else { return Ok(()) };
    for said in signed {
        let statement = Statement::open(said, Side::Device, &credential.key);
        let statement = statement.and_then(|statement| match statement.device == device.id {
            true => Ok(statement),
            false => Err(PairingError::Another),
        });
        let taken = match &statement {
            Ok(statement) => {
                take(shared, Side::Device, &Actor::Device(device.id.clone()), statement, now).await
            }
            Err(error) => Err(error.clone().into()),
        };
        match taken {
            Ok(_) => {}
            Err(BondsFault::Store(error)) => return Err(error),
            Err(error) => {
                tracing::info!(device = %device.id, %error, "what a device says of a pairing does not count");
                shared.links.bonds_changed(&device.id);
            }
        }
    }
    Ok(())
}

/// Whether a device that is in this state is paired with nobody.
const fn ends_pairings(state: DeviceState) -> bool {
    matches!(state, DeviceState::Quarantined | DeviceState::Decommissioning | DeviceState::Decommissioned)
}

/// Ends the pairings of devices that came to their end by themselves. What an operator does ends them at once.
///
/// # Errors
/// When nothing can be read or written. It is tried again with the next round.
pub(crate) async fn end_stopped(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    for device in shared.store.devices_with_pairings().await? {
        let record = shared.store.device(&device).await?;
        if record.is_some_and(|record| !ends_pairings(record.state())) {
            continue;
        }
        let (changes, system) = end_of_device(&shared.store, &device, EndedBy::DeviceStopped, now).await?;
        if changes.is_empty() {
            continue;
        }
        match shared.writer.commit(Transaction::own(now, changes, system)).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
