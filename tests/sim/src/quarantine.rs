//! One device between its operators and a network that keeps every order it ever saw: it is taken out, brought back, taken
//! out again, and whoever is asked says yes. The decisions of `kos_identity` run as they are; around them are people, a
//! record, and what the device remembers.
//!
//! Laws: nobody leaves quarantine without as many different people as its profile needs, for SEC-4 operators with
//! certificates, who were not removed since they said yes (`approvals`); only a reinstatement leads out (`state`); an order is obeyed once, and none from before the
//! return is (`obeyed`); the one that was given last is obeyed when it arrives (`heard`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use kos_base::{
    Capability, Channel, DeviceId, DeviceState, EntryId, EvidenceTier, KeyAlgorithm, Mac, Name, PublicKey,
    Role, SecurityProfile, Timestamp, cbor,
};
use kos_identity::{
    quarantine::{Known, Order, judge, receipt_hash},
    registry::{Actor, Approver, Approvers, Case, Device, Missed, Operation, Write},
};
use minicbor::{Encode, bytes::ByteArray};

use crate::{
    chance::Chance,
    keys::{AuthorityKit, BEGIN},
    laws::Breach,
    plant::Plant,
};

/// Things that happen in one life.
const STEPS: u64 = 120;

/// Somebody who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Person {
    /// With a certificate of their own.
    Operator(u8),
    /// On the machine of the authority.
    Local(u8),
}

/// What a device goes by.
struct Memory {
    issue: u32,
    obeyed: Option<Timestamp>,
    /// The order that it is under.
    under: Option<(EntryId, Timestamp)>,
}

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    kit: &'static AuthorityKit,
    now: Timestamp,
    record: Device,
    /// Who has truly said yes since the last order.
    said_yes: BTreeSet<Person>,
    /// Every order, as the network keeps it.
    orders: BTreeMap<EntryId, Vec<u8>>,
    newest: Option<EntryId>,
    obeyed: BTreeSet<EntryId>,
    /// Orders from before the last return.
    past: BTreeSet<EntryId>,
    device: Memory,
    names: u32,
    /// When who was removed since the beginning was added again.
    again: BTreeMap<u8, Timestamp>,
}

enum Trouble {
    Law(Breach),
    Model(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Model(error)
    }
}

fn broken<T>(law: &'static str, detail: String) -> Result<T, Trouble> {
    Err(Trouble::Law(Breach { law, detail }))
}

/// Lives one device.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let mut chance = Chance::new(seed ^ 0x7175_6172);
    let profiles =
        [SecurityProfile::Sec2, SecurityProfile::Sec3, SecurityProfile::Sec4, SecurityProfile::Sec4];
    let profile = *chance.pick(&profiles).unwrap_or(&SecurityProfile::Sec4);
    let mut life = Life {
        record: in_service(profile, 1, 1)?,
        chance,
        plant,
        kit: AuthorityKit::real()?,
        now: BEGIN,
        said_yes: BTreeSet::new(),
        orders: BTreeMap::new(),
        newest: None,
        obeyed: BTreeSet::new(),
        past: BTreeSet::new(),
        device: Memory { issue: 1, obeyed: None, under: None },
        names: 0,
        again: BTreeMap::new(),
    };
    for _ in 0..STEPS {
        match life.step() {
            Ok(()) => {}
            Err(Trouble::Law(breach)) => return Ok(Some(breach)),
            Err(Trouble::Model(error)) => return Err(error),
        }
    }
    Ok(None)
}

impl Life {
    fn step(&mut self) -> Result<(), Trouble> {
        self.now = self.now.plus(core::time::Duration::from_secs(self.chance.between(1, 5_000)));
        match self.chance.below(12) {
            0 => self.quarantine(),
            1..=4 => self.ask_somebody(),
            5 => self.other_ways_out(),
            6..=8 => self.deliver(),
            9 => self.restore(),
            _ => self.come_back(),
        }
    }

    /// An operator takes the device out.
    fn quarantine(&mut self) -> Result<(), Trouble> {
        let receipt: [u8; 32] = self.chance.bytes();
        let order = Order {
            id: EntryId::from_parts(self.now, self.chance.bytes()),
            device: self.record.id.clone(),
            authority: self.kit.context.name.clone(),
            at: self.now,
            issue: self.record.issues,
            receipt: ByteArray::from(receipt),
            recipients: Vec::new(),
        };
        let unsigned = order.unsigned(self.kit.orders.public());
        let signature = self.kit.orders.sign(&unsigned.to_be_signed())?;
        let signed = unsigned.finish(signature);
        let case = Box::new(Case {
            signed: signed.clone(),
            order: order.id,
            receipt_hash: ByteArray::from(receipt_hash(&receipt)),
            at: self.now,
            confirmed_at: None,
            bundle: None,
            approvals: Vec::new(),
            salt: None,
        });
        let actor = Actor::Operator(name("anna")?);
        if self.apply(actor, Operation::Quarantine { reason: "because".to_owned(), case }) {
            self.said_yes.clear();
            self.orders.insert(order.id, signed);
            self.newest = Some(order.id);
        }
        Ok(())
    }

    /// Somebody is asked to let it back, and does not know better.
    fn ask_somebody(&mut self) -> Result<(), Trouble> {
        let n = u8::try_from(self.chance.below(3)).unwrap_or_default();
        let person = if self.chance.one_in(3) { Person::Local(n) } else { Person::Operator(n) };
        let actor = match person {
            Person::Operator(n) => {
                self.names += 1;
                let renamed = self.plant == Some(Plant::OnePersonTwice);
                let text =
                    if renamed { format!("operator-{n}-{}", self.names) } else { format!("operator-{n}") };
                Actor::Operator(name(&text)?)
            }
            Person::Local(n) => Actor::LocalUser(format!("user-{n}")),
        };
        let before = self.record.state();
        let profile = self.record.profile();
        let approvers = Box::new(self.approvers()?);
        let agreed = self.apply(actor, Operation::Reinstate { reason: "because".to_owned(), approvers });
        if agreed && before == DeviceState::Quarantined {
            self.said_yes.insert(person);
        }
        if before == DeviceState::Quarantined && self.record.state() != before {
            let counted = self
                .said_yes
                .iter()
                .filter(|person| matches!(person, Person::Operator(_)) || profile < SecurityProfile::Sec4);
            let (counted, needed) = (counted.count(), if profile == SecurityProfile::Sec4 { 2 } else { 1 });
            if counted < needed {
                return broken("approvals", format!("{profile} is back by {:?}", self.said_yes));
            }
        }
        Ok(())
    }

    /// Who stands. Sometimes an operator was removed and added again since the last approval.
    fn approvers(&mut self) -> Result<Approvers, Trouble> {
        if self.chance.one_in(6) {
            let n = u8::try_from(self.chance.below(3)).unwrap_or_default();
            self.said_yes.remove(&Person::Operator(n));
            self.again.insert(n, self.now);
        }
        let mut standing = Vec::new();
        for n in 0..3 {
            let forgets = self.plant == Some(Plant::RemovalForgotten);
            let since = self.again.get(&n).copied().filter(|_| !forgets).unwrap_or(BEGIN);
            standing.push(Approver { name: name(&format!("operator-{n}"))?, since });
            for renamed in 1..=self.names {
                standing.push(Approver { name: name(&format!("operator-{n}-{renamed}"))?, since });
            }
        }
        Ok(Approvers { standing, salt: self.chance.bytes() })
    }

    /// Whatever else an operator could try.
    fn other_ways_out(&mut self) -> Result<(), Trouble> {
        let before = self.record.state();
        let operation = match self.chance.below(3) {
            0 => Operation::Approve { profile: self.record.profile() },
            1 => Operation::Regenerate,
            _ => Operation::Rename { name: name("somebody")? },
        };
        self.apply(Actor::Operator(name("operator-1")?), operation);
        if before == DeviceState::Quarantined && self.record.state() != before {
            return broken("state", format!("it went from {before} to {}", self.record.state()));
        }
        Ok(())
    }

    /// A restored authority takes over what a newer log says.
    fn restore(&mut self) -> Result<(), Trouble> {
        if self.record.state() != DeviceState::Quarantined || !self.chance.one_in(4) {
            return Ok(());
        }
        let became = Some((DeviceState::Quarantined, "because".to_owned()));
        let missed = Missed { became, ..Missed::default() };
        let commit = self.record.clone().catch_up(self.now, &missed, self.chance.bytes());
        self.take(&commit.writes);
        self.said_yes.clear();
        if self.record.state() != DeviceState::Quarantined {
            return broken("state", "a restore led out of quarantine".to_owned());
        }
        Ok(())
    }

    /// Some order reaches the device: the newest, or one that somebody has kept.
    fn deliver(&mut self) -> Result<(), Trouble> {
        let ids: Vec<EntryId> = self.orders.keys().copied().collect();
        let picked = if self.chance.one_in(2) { self.newest } else { self.chance.pick(&ids).copied() };
        let Some((id, signed)) = picked.and_then(|id| Some((id, self.orders.get(&id)?.clone()))) else {
            return Ok(());
        };
        let forgets = self.plant == Some(Plant::OrderForgotten);
        let known = Known {
            device: &self.record.id,
            authority: &self.kit.context.name,
            orders: self.kit.orders.public(),
            issue: if forgets { 0 } else { self.device.issue },
            obeyed: self.device.obeyed.filter(|_| !forgets),
        };
        let in_force = self.record.case.as_ref().is_some_and(|case| case.order == id);
        match (judge(&signed, &known), self.device.under) {
            // The same order, or one that was overtaken.
            (Ok(_), Some((under, at))) if under == id || order_time(&signed, self)? <= at => {}
            (Ok(order), _) => {
                if !self.obeyed.insert(id) || self.past.contains(&id) {
                    return broken("obeyed", format!("order {id} was obeyed before"));
                }
                self.device.under = Some((id, order.order().at));
                self.device.issue = self.device.issue.max(order.order().issue);
            }
            (Err(fault), under) if in_force && under.is_none_or(|(under, _)| under != id) => {
                return broken("heard", format!("order {id} is in force and is refused: {fault}"));
            }
            (Err(_), _) => {}
        }
        Ok(())
    }

    /// The device shows its identity key, gets the next certificate and confirms it.
    fn come_back(&mut self) -> Result<(), Trouble> {
        let open = self.record.case.as_ref().is_some_and(|case| case.is_approved(self.record.profile()));
        if self.record.state() != DeviceState::Pending || !open {
            return Ok(());
        }
        let (issue, version) = (self.record.issues + 1, self.record.version + 1);
        self.record = in_service(self.record.profile(), issue, version)?;
        if let Some((_, at)) = self.device.under.take() {
            self.device.obeyed = self.device.obeyed.max(Some(at));
        }
        self.device.issue = issue;
        self.past.extend(self.orders.keys());
        Ok(())
    }

    /// Whether it was done.
    fn apply(&mut self, actor: Actor, operation: Operation) -> bool {
        match operation.apply(self.now, actor, self.record.clone()) {
            Ok(commit) => {
                self.take(&commit.writes);
                true
            }
            Err(_) => false,
        }
    }

    fn take(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Device(device) = write {
                self.record = (**device).clone();
            }
        }
    }
}

/// When an order was given, as its signature shows it.
fn order_time(signed: &[u8], life: &Life) -> Result<Timestamp> {
    let known = Known {
        device: &life.record.id,
        authority: &life.kit.context.name,
        orders: life.kit.orders.public(),
        issue: 0,
        obeyed: None,
    };
    Ok(judge(signed, &known).context("an order of ours")?.order().at)
}

fn name(text: &str) -> Result<Name> {
    text.parse().with_context(|| format!("the name {text}"))
}

/// The parts of a record that are always there, by their keys.
#[derive(Encode)]
#[cbor(map)]
struct Shape {
    #[n(0)]
    id: DeviceId,
    #[n(1)]
    version: u64,
    #[n(2)]
    uuid: EntryId,
    #[n(3)]
    identity_key: PublicKey,
    #[n(4)]
    macs: Vec<Mac>,
    #[n(5)]
    serials: Vec<String>,
    #[n(6)]
    name: Name,
    #[n(7)]
    role: Role,
    #[n(8)]
    profile: SecurityProfile,
    #[n(9)]
    evidence: EvidenceTier,
    #[n(12)]
    capabilities: Vec<Capability>,
    #[n(13)]
    channel: Channel,
    #[n(14)]
    dev_allowed: bool,
    #[n(15)]
    state: DeviceState,
    #[n(16)]
    state_reason: String,
    #[n(17)]
    state_since: Timestamp,
    #[n(18)]
    banned: bool,
    #[n(19)]
    tags: Vec<Capability>,
    #[n(20)]
    issues: u32,
    #[n(23)]
    recoveries_left: u32,
    #[n(24)]
    enrolled_at: Timestamp,
    #[n(28)]
    regenerate: bool,
}

/// A device in service that was issued so many certificates; which ones does not matter here.
pub(crate) fn in_service(profile: SecurityProfile, issues: u32, version: u64) -> Result<Device> {
    let shape = Shape {
        id: "kdev-7f4ac30123456789".parse().context("a device id")?,
        version,
        uuid: EntryId::from_parts(BEGIN, [1; 10]),
        identity_key: PublicKey::from_raw(KeyAlgorithm::Ed25519, &[3; 32]).context("a key")?,
        macs: Vec::new(),
        serials: Vec::new(),
        name: name("kitchen")?,
        role: Role::Sensor,
        profile,
        evidence: EvidenceTier::KeyOnDevice,
        capabilities: Vec::new(),
        channel: Channel::Stable,
        dev_allowed: false,
        state: DeviceState::Active,
        state_reason: "enrolled".to_owned(),
        state_since: BEGIN,
        banned: false,
        tags: Vec::new(),
        issues,
        recoveries_left: 0,
        enrolled_at: BEGIN,
        regenerate: false,
    };
    cbor::decode(&cbor::encode(&shape), 4_096).context("a record")
}
