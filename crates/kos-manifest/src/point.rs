//! The decision point: what is in force, cut to one device, decided by Cedar, and remembered.
//!
//! Shape: a [`Point`] never changes; what is applied makes another one. For each device that asks, the policies that can
//! concern it are cut out once, and each decision is remembered until time passes a constant of the policies.
//!
//! While Cedar is asked about one device, no other waits for it.
//!
//! Invariants, stricter than Cedar alone: what cannot be evaluated refuses ([`judge`]), and so does an entity that is not
//! known. Nothing is decided about a device whose facts are others than those that its decisions were remembered for.
//!
//! Limits: [`DEVICES_MAX`] devices.
//!
//! Source: `docs/spec/manifest.md` MAN-14 to MAN-19.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cedar_policy::{Context, Entities, Entity, EntityUid, Policy, PolicySet, Request, RestrictedExpression};
use kos_base::{AuthorityName, DeviceId, GroupPath, Timestamp};
use kos_policy::slice::{Attribute, Facts, RULES_MAX, Sent, Slice};

use crate::{
    closed::{Closed, Whom, groups},
    concern::Concern,
    judge::{Memory, Outcome, judge},
    schema::{SEND, governed, uid},
};

/// Devices whose decisions are remembered. Stops a fleet of any size from filling the memory; the others are decided anew.
const DEVICES_MAX: usize = 4_096;
/// How long a slice counts. A device that hears nothing for so long sends nothing more than it must.
pub const SLICE_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Which device.
    pub device: &'a DeviceId,
    /// Its group.
    pub group: Option<&'a GroupPath>,
    /// What rules may ask about it.
    pub facts: Facts,
}

/// What is in force.
#[derive(Debug, Default)]
pub struct Point {
    counter: u64,
    rules: Vec<Closed>,
    policies: BTreeMap<String, Policy>,
    concern: Concern<Whom>,
    /// Seconds at which a comparison with the time can turn, in order.
    turns: Vec<i64>,
    /// Of each device that asked.
    cut: Mutex<HashMap<DeviceId, Arc<Cut>>>,
}

/// What is in force, for one device.
#[derive(Debug)]
struct Cut {
    facts: Facts,
    group: Option<GroupPath>,
    question: Question,
    memory: Mutex<Memory>,
}

/// What is asked about one device.
#[derive(Debug)]
struct Question {
    policies: PolicySet,
    entities: Entities,
    principal: EntityUid,
}

impl Question {
    fn ask(&self, seconds: i64, sent: Sent<'_>) -> Outcome {
        let (kind, id) = match sent {
            Sent::Message(kind, _) => ("Message", kind),
            Sent::Device(device) => ("Device", device.as_ref()),
        };
        let (Some(resource), Some(action)) = (uid(kind, id), uid("Action", SEND)) else {
            return Outcome::refused("what is sent cannot be said in the schema");
        };
        let is_known = self.entities.get(&resource).is_some();
        let entities = match sent {
            Sent::Message(..) if !is_known => {
                return Outcome::refused(format!("`{id}` is not known to the schema"));
            }
            Sent::Device(_) if !is_known => {
                let recipient = Entity::new_no_attrs(resource.clone(), HashSet::new());
                match self.entities.clone().add_entities([recipient], None) {
                    Ok(entities) => Cow::Owned(entities),
                    Err(_) => return Outcome::refused("what is asked cannot be said in the schema"),
                }
            }
            _ => Cow::Borrowed(&self.entities),
        };
        let time = ("time".to_owned(), RestrictedExpression::new_long(seconds));
        let request = Context::from_pairs([time])
            .ok()
            .and_then(|context| Request::new(self.principal.clone(), action, resource, context, None).ok());
        match request {
            Some(request) => judge(&request, &self.policies, &entities),
            None => Outcome::refused("what is asked cannot be said in the schema"),
        }
    }
}

impl Point {
    /// Puts rules and the policies that they were made of in force.
    pub fn new(counter: u64, rules: Vec<Closed>, policies: BTreeMap<String, Policy>) -> Self {
        let concern = Concern::new(rules.iter().map(|closed| match &closed.whom {
            Whom::Everybody => None,
            whom => Some(whom.clone()),
        }));
        let atoms = rules.iter().flat_map(|closed| &closed.rule.clauses).flat_map(|clause| &clause.all);
        let times = atoms.filter(|atom| atom.attribute() == Attribute::Time).filter_map(|atom| atom.number());
        // A comparison with N turns at N or behind it.
        let mut turns: Vec<i64> = times.flat_map(|number| [number, number.saturating_add(1)]).collect();
        turns.sort_unstable();
        turns.dedup();
        Self { counter, rules, policies, concern, turns, cut: Mutex::default() }
    }

    /// Rises with everything that is applied; 0 when nothing ever was.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Whether any policy is in force.
    pub fn governs(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The rules that can concern a device.
    fn concerning<'a>(&'a self, device: &DeviceId, group: Option<&'a GroupPath>) -> Vec<&'a Closed> {
        let own = Whom::Device(device.to_string());
        let groups = groups(group).map(|group| Whom::Group(group.to_owned()));
        let places = self.concern.places([own].into_iter().chain(groups));
        places.filter_map(|place| self.rules.get(place)).collect()
    }

    /// Most rules that a device can have, and an upper bound of their bytes in a slice.
    pub fn largest_slice(&self) -> (usize, usize) {
        let size = |places: &[usize]| {
            let rules = places.iter().filter_map(|place| self.rules.get(*place));
            rules.fold((0, 0), |(rules, bytes), closed| {
                (rules + 1, bytes + kos_base::cbor::encode(&closed.rule).len() + 4)
            })
        };
        let of: HashMap<_, _> = self.concern.named().map(|(whom, places)| (whom, size(places))).collect();
        let add = |one: (usize, usize), other: (usize, usize)| (one.0 + other.0, one.1 + other.1);
        let (mut device, mut group) = ((0, 0), (0, 0));
        for (whom, own) in &of {
            match whom {
                Whom::Everybody => {}
                Whom::Device(_) => device = device.max(*own),
                Whom::Group(path) => {
                    let path = path.parse::<GroupPath>().ok();
                    let all =
                        groups(path.as_ref()).filter_map(|group| of.get(&Whom::Group(group.to_owned())));
                    group = group.max(all.copied().fold((0, 0), add));
                }
            }
        }
        add(size(self.concern.everybody()), add(device, group))
    }

    /// What a device gets of it.
    pub fn slice(
        &self,
        authority: &AuthorityName,
        device: &DeviceId,
        group: Option<&GroupPath>,
        record: u64,
        now: Timestamp,
    ) -> Slice {
        let mut rules: Vec<_> =
            self.concerning(device, group).into_iter().map(|closed| closed.rule.clone()).collect();
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        rules.truncate(RULES_MAX);
        Slice {
            authority: authority.clone(),
            device: device.clone(),
            counter: self.counter,
            record,
            issued: now,
            expires: now.plus(SLICE_LIFE),
            governs: self.governs(),
            rules,
        }
    }

    /// Decides whether a device may send this now.
    ///
    /// *Cost*: remembered, one look into a table; else Cedar looks at the policies that can concern the device.
    pub fn decide(&self, now: Timestamp, subject: Subject<'_>, sent: Sent<'_>) -> Outcome {
        if !self.governs() {
            return Outcome { allowed: true, policy: None, why: "no manifest is in force".to_owned() };
        }
        let seconds = i64::try_from(now.unix_s()).unwrap_or(i64::MAX);
        let turn = self.turns.partition_point(|at| *at <= seconds);
        let name = match sent {
            Sent::Message(kind, _) => kind,
            Sent::Device(device) => device.as_ref(),
        };
        let Some(cut) = self.remembered(subject) else {
            return Outcome::refused("who the device is cannot be said in the schema");
        };
        let mut memory = cut.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.recall(name, turn, || cut.question.ask(seconds, sent))
    }

    fn remembered(&self, subject: Subject<'_>) -> Option<Arc<Cut>> {
        let fits = |cut: &&Arc<Cut>| cut.facts == subject.facts && cut.group.as_ref() == subject.group;
        let held = self.cuts().get(subject.device).filter(fits).map(Arc::clone);
        if held.is_some() {
            return held;
        }
        let cut = Arc::new(self.cut_for(subject)?);
        let mut cuts = self.cuts();
        if cuts.len() >= DEVICES_MAX && !cuts.contains_key(subject.device) {
            cuts.clear();
        }
        cuts.insert(subject.device.clone(), Arc::clone(&cut));
        Some(cut)
    }

    fn cut_for(&self, subject: Subject<'_>) -> Option<Cut> {
        let concerning = self.concerning(subject.device, subject.group);
        let policies = concerning.iter().filter_map(|closed| self.policies.get(&closed.rule.id).cloned());
        let question = Question {
            policies: PolicySet::from_policies(policies).ok()?,
            entities: entities(subject)?,
            principal: uid("Device", subject.device.as_ref())?,
        };
        let memory = Mutex::default();
        Some(Cut { facts: subject.facts, group: subject.group.cloned(), question, memory })
    }

    fn cuts(&self) -> MutexGuard<'_, HashMap<DeviceId, Arc<Cut>>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Cedar has to know of a device and of what it can send.
pub(crate) fn entities(subject: Subject<'_>) -> Option<Entities> {
    let none = HashSet::new;
    let mut all = Vec::new();
    let names: Vec<_> = groups(subject.group).collect();
    for (at, name) in names.iter().enumerate() {
        let above = names.get(at + 1).and_then(|above| uid("Group", above));
        all.push(Entity::new_no_attrs(uid("Group", name)?, above.into_iter().collect()));
    }
    let facts = subject.facts;
    let attributes = HashMap::from([
        ("profile".to_owned(), RestrictedExpression::new_long(facts.profile_number())),
        ("evidence".to_owned(), RestrictedExpression::new_long(facts.evidence_number())),
        ("role".to_owned(), RestrictedExpression::new_string(facts.role.to_string())),
        ("channel".to_owned(), RestrictedExpression::new_string(facts.channel.to_string())),
    ]);
    let parents = names.first().and_then(|group| uid("Group", group)).into_iter().collect();
    all.push(Entity::new(uid("Device", subject.device.as_ref())?, attributes, parents).ok()?);
    let mut errands = HashSet::new();
    for (message, errand) in governed() {
        let errand = uid("Errand", errand.as_str())?;
        if errands.insert(errand.clone()) {
            all.push(Entity::new_no_attrs(errand.clone(), none()));
        }
        all.push(Entity::new_no_attrs(uid("Message", message)?, HashSet::from([errand])));
    }
    Entities::from_entities(all, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_cedar_is_asked_about_one_device_others_are_decided_on() {
        let text =
            "// manifest one 1\n@id(\"all\") permit(principal, action == Action::\"send\", resource);\n";
        let manifest = crate::examine(text).manifest.unwrap();
        let point = Point::new(1, manifest.rules, manifest.policies);
        let facts = Facts {
            profile: kos_base::SecurityProfile::Sec2,
            evidence: kos_base::EvidenceTier::KeyOnDevice,
            role: kos_base::Role::Sensor,
            channel: kos_base::Channel::Stable,
        };
        let [slow, other]: [DeviceId; 2] = [1, 2].map(|n| format!("kdev-{n:0>16}").parse().unwrap());
        let [slow, other] = [&slow, &other].map(|device| Subject { device, group: None, facts });
        let now = Timestamp::from_unix_s(1_000);
        let log = Sent::Message("LOG", "report");
        let cut = point.remembered(slow).unwrap();
        let asking = cut.memory.lock().unwrap();
        std::thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            let point = &point;
            scope.spawn(move || tell.send(point.decide(now, other, log)));
            let decided = told.recv_timeout(Duration::from_secs(20));
            drop(asking);
            assert!(decided.unwrap().allowed);
        });
    }
}
