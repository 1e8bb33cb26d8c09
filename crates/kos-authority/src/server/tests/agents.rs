//! What a device asks of agents, and that a use of a grant is made once.
//!
//! Source: `docs/spec/pairing.md` PAIR-40 to PAIR-42; `docs/spec/grant.md` GRANT-22.

use kos_base::{
    EntryId,
    code::{klp, pairing as codes},
};
use kos_identity::registry::Actor;
use kos_klp::{body::Task, proof::ProofClass};
use kos_policy::{
    grant::{Ability, Basis, Call, Grant, Usage},
    pairing::{AgentId, Ended, EndedBy, GRANTS_MAX, PAIRS_MAX, Pairing, Partner},
    trust::{Network, Storage, TrustLevel},
};

use super::{messages::Device, *};
use crate::{
    bonds,
    record::SystemChange,
    store::{StoreError, StoredGrant},
    writer::{SystemWrite, Transaction},
};

const AGENT: &str = "kai:home/kitchen";

pub(super) fn pairing() -> Pairing {
    let now = clock::now();
    Pairing {
        id: EntryId::from_parts(now, [3; 10]),
        device: device_id(1),
        partner: AGENT.parse().unwrap(),
        level: TrustLevel::Partner,
        key: Some(fixtures::key(5)),
        proposed: now,
        device_said: Some(now),
        partner_said: None,
        ended: None,
        number: 1,
    }
}

pub(super) async fn put(shared: &Shared, pairing: &Pairing, before: Option<u64>) {
    let change = SystemChange::PairingProposed(Box::new(pairing.clone()));
    let write = SystemWrite::Pairing(Box::new(pairing.clone()), before);
    shared.writer.commit(Transaction::own(clock::now(), vec![change.into()], vec![write])).await.unwrap();
}

/// A grant of one use.
fn grant_of(id: EntryId, agent: AgentId, attic: &Running) -> Grant {
    let now = clock::now();
    Grant {
        authority: attic.shared.name.clone(),
        id,
        version: 1,
        pairing: id,
        agent,
        device: device_id(1),
        ability: Ability::DeviceStatus,
        scope: vec!["*".parse().unwrap()],
        issued: now,
        expires: now.plus(SOON),
        uses: Some(1),
        conditions: Vec::new(),
        memory: Ability::DeviceStatus.memory(),
        network: Network::None,
        storage: Storage::None,
        level: TrustLevel::Partner,
    }
}

#[tokio::test]
async fn a_device_asks_an_agent_only_when_both_have_confirmed_and_only_as_long() {
    let attic = Running::new().await;
    let (enrolled, _) = Enrolled::device(&attic.shared, 1).await;
    let link = attic.dial(HERE, Carrier::Tls, &enrolled.client(&attic.shared)).await;
    let mut device = Device::new(&attic, &enrolled, 1, link);
    let mut number = 0;
    let mut asks = async |task: &Task| {
        number += 1;
        let said = body::write(task);
        let id = MessageId::from_bytes([number; 16]);
        let outgoing = [Outgoing::new(MessageType::TASK_REQUEST, id, &said)];
        let frames = device.frames(ProofClass::Solo, clock::now(), &outgoing);
        device.send(&frames).await;
        loop {
            // News of pairings come in between, signed; they are no answers.
            let (of, status) = device.answer().await;
            if of == Some(id) {
                return status;
            }
        }
    };
    let task = Task::ForAgent { agent: AGENT.parse().unwrap(), content: b"?".to_vec() };
    assert_eq!(asks(&task).await, codes::PAIR_NONE.number());
    let mut pairing = pairing();
    put(&attic.shared, &pairing, None).await;
    assert_eq!(asks(&task).await, codes::PAIR_NONE.number(), "confirmed by one side only");
    (pairing.partner_said, pairing.number) = (Some(clock::now()), 2);
    put(&attic.shared, &pairing, Some(1)).await;
    assert_eq!(asks(&task).await, klp::KLP_RECIPIENT.number(), "paired, and no agent has a link");
    let other = Task::ForAgent { agent: "kai:home".parse().unwrap(), content: Vec::new() };
    assert_eq!(asks(&other).await, codes::PAIR_NONE.number());
    // A device is asked by calls, and asks nobody by one.
    assert_eq!(asks(&Task::Call(vec![1])).await, klp::KLP_TYPE.number());
    let by = EndedBy::DeviceStopped;
    let (changes, writes) =
        bonds::end_of_device(&attic.shared.store, &device_id(1), by, clock::now()).await.unwrap();
    attic.shared.writer.commit(Transaction::own(clock::now(), changes, writes)).await.unwrap();
    assert_eq!(asks(&task).await, codes::PAIR_NONE.number());
    attic.end().await;
}

#[tokio::test]
async fn of_two_pairings_and_of_two_grants_that_come_at_once_the_last_place_takes_one() {
    let attic = Running::new().await;
    // Pairings of a device that is not there are ended by the way.
    Enrolled::device(&attic.shared, 1).await;
    let now = clock::now();
    let full = |done: &[Result<crate::writer::Receipt, StoreError>; 2]| {
        let full = done.iter().filter(|one| matches!(one, Err(StoreError::BondsFull))).count();
        assert_eq!((full, done.iter().filter(|one| one.is_ok()).count()), (1, 1), "{done:?}");
    };
    let with = |n: usize| {
        let n_byte = u8::try_from(n).unwrap();
        let id = EntryId::from_parts(now, [n_byte; 10]);
        Pairing { id, partner: format!("kai:home/{n}").parse().unwrap(), ..pairing() }
    };
    let propose = |n: usize| {
        let pairing = with(n);
        let change = SystemChange::PairingProposed(Box::new(pairing.clone()));
        let write = SystemWrite::Pairing(Box::new(pairing), None);
        attic.shared.writer.commit(Transaction::own(now, vec![change.into()], vec![write]))
    };
    // One that is over takes no place.
    let over = Pairing { ended: Some(Ended { at: now, by: EndedBy::Operator }), ..with(100) };
    put(&attic.shared, &over, None).await;
    for n in 1..PAIRS_MAX {
        propose(n).await.unwrap();
    }
    let (one, other) = tokio::join!(propose(101), propose(102));
    full(&[one, other]);

    let Partner::Agent(agent) = with(1).partner else { unreachable!() };
    let grant = |n: usize| {
        let grant = grant_of(EntryId::from_parts(now, [u8::try_from(n).unwrap(); 10]), agent.clone(), &attic);
        let change = SystemChange::GrantMade(Box::new(grant.clone()));
        let stored = StoredGrant { grant, signed: vec![1].into(), usage: Usage::default(), word: None };
        let write = SystemWrite::Grant(Box::new(stored), None);
        attic.shared.writer.commit(Transaction::own(now, vec![change.into()], vec![write]))
    };
    for n in 1..GRANTS_MAX {
        grant(n).await.unwrap();
    }
    let (one, other) = tokio::join!(grant(101), grant(102));
    full(&[one, other]);
    attic.end().await;
}

#[tokio::test]
async fn of_two_uses_of_the_same_grant_one_is_made() {
    let attic = Running::new().await;
    let now = clock::now();
    let pairing = pairing();
    put(&attic.shared, &pairing, None).await;
    let Partner::Agent(agent) = pairing.partner.clone() else { unreachable!() };
    let grant =
        Grant { pairing: pairing.id, ..grant_of(EntryId::from_parts(now, [4; 10]), agent.clone(), &attic) };
    let fresh =
        StoredGrant { grant: grant.clone(), signed: vec![1].into(), usage: Usage::default(), word: None };
    let change = SystemChange::GrantMade(Box::new(grant.clone()));
    let write = SystemWrite::Grant(Box::new(fresh.clone()), None);
    attic.shared.writer.commit(Transaction::own(now, vec![change.into()], vec![write])).await.unwrap();
    let usage = |number: u64| {
        let call = Call {
            authority: grant.authority.clone(),
            agent: agent.clone(),
            device: device_id(1),
            grant: grant.id,
            ability: grant.ability,
            resource: "status/health".parse().unwrap(),
            at: now,
            number,
        };
        let usage = fresh.usage.after(&call);
        let change =
            SystemChange::AgentCalled { call: Box::new(call), used: usage.used, basis: Basis::Grant };
        let after = Box::new(StoredGrant { usage, ..fresh.clone() });
        let system = vec![SystemWrite::Grant(after, Some(Box::new(fresh.clone())))];
        let own = Transaction::own(now, vec![change.into()], system);
        Transaction { actor: Actor::Agent(agent.clone()), ..own }
    };
    let (one, other) =
        tokio::join!(attic.shared.writer.commit(usage(1)), attic.shared.writer.commit(usage(2)));
    let lost = [&one, &other].into_iter().filter(|done| matches!(done, Err(StoreError::Conflict { .. })));
    assert_eq!((lost.count(), one.is_ok() || other.is_ok()), (1, true), "{one:?} {other:?}");
    let held = attic.shared.store.grant(grant.id).await.unwrap().unwrap();
    assert_eq!(held.usage.used, 1);
    attic.end().await;
}
