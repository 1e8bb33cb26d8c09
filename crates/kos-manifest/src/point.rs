//! The decision point: what is in force, cut to one device, decided by Cedar, and remembered.
//!
//! Shape: a [`Point`] never changes; what is applied makes another one. For each device that asks, the policies that can
//! concern it are cut out once, and each decision is remembered until time passes a constant of the policies.
//!
//! Invariants, stricter than Cedar alone: an error while a policy is evaluated refuses, where Cedar would pass over a
//! `forbid` that fails; an entity that is not known refuses. Nothing is decided about a device whose facts are others
//! than those that its decisions were remembered for.
//!
//! Limits: [`DEVICES_MAX`] devices, [`REMEMBERED_MAX`] decisions each.
//!
//! Source: `docs/spec/manifest.md` MAN-14 to MAN-19.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicySet, Request,
    RestrictedExpression,
};
use kos_base::{AuthorityName, DeviceId, GroupPath, Timestamp};
use kos_policy::slice::{Attribute, Facts, RULES_MAX, Sent, Slice};

use crate::{
    closed::{Closed, Whom, groups},
    schema::{SEND, governed, uid},
};

/// Devices whose decisions are remembered. Stops a fleet of any size from filling the memory; the others are decided anew.
const DEVICES_MAX: usize = 4_096;
/// Decisions that are remembered of one device. Stops one that asks about ever new recipients.
const REMEMBERED_MAX: usize = 256;
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

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it may.
    pub allowed: bool,
    /// The policy that decided, if one did.
    pub policy: Option<String>,
    /// Why, in one sentence.
    pub why: String,
}

impl Outcome {
    fn refused(why: impl Into<String>) -> Self {
        Self { allowed: false, policy: None, why: why.into() }
    }
}

/// What is in force.
#[derive(Debug, Default)]
pub struct Point {
    counter: u64,
    rules: Vec<Closed>,
    policies: BTreeMap<String, Policy>,
    by_whom: HashMap<Whom, Vec<usize>>,
    /// Seconds at which a comparison with the time can turn, in order.
    turns: Vec<i64>,
    /// Of each device that asked.
    cut: Mutex<HashMap<DeviceId, Cut>>,
}

/// What is in force, for one device.
#[derive(Debug)]
struct Cut {
    facts: Facts,
    group: Option<GroupPath>,
    policies: PolicySet,
    entities: Entities,
    principal: EntityUid,
    remembered: HashMap<String, (usize, Outcome)>,
}

impl Point {
    /// Puts rules and the policies that they were made of in force.
    pub fn new(counter: u64, rules: Vec<Closed>, policies: BTreeMap<String, Policy>) -> Self {
        let mut by_whom: HashMap<Whom, Vec<usize>> = HashMap::new();
        for (at, closed) in rules.iter().enumerate() {
            by_whom.entry(closed.whom.clone()).or_default().push(at);
        }
        let atoms = rules.iter().flat_map(|closed| &closed.rule.clauses).flat_map(|clause| &clause.all);
        let times = atoms.filter(|atom| atom.attribute() == Attribute::Time).filter_map(|atom| atom.number());
        // A comparison with N turns at N or behind it.
        let mut turns: Vec<i64> = times.flat_map(|number| [number, number.saturating_add(1)]).collect();
        turns.sort_unstable();
        turns.dedup();
        Self { counter, rules, policies, by_whom, turns, cut: Mutex::default() }
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
        let keys = [Whom::Everybody, own].into_iter();
        let keys = keys.chain(groups(group).map(|group| Whom::Group(group.to_owned())));
        let places = keys.filter_map(|key| self.by_whom.get(&key)).flatten();
        places.filter_map(|at| self.rules.get(*at)).collect()
    }

    /// Most rules that a device can have, and an upper bound of their bytes in a slice.
    pub fn largest_slice(&self) -> (usize, usize) {
        let size = |whom: &Whom| {
            let rules = self.by_whom.get(whom).into_iter().flatten().filter_map(|at| self.rules.get(*at));
            rules.fold((0, 0), |(rules, bytes), closed| {
                (rules + 1, bytes + kos_base::cbor::encode(&closed.rule).len() + 4)
            })
        };
        let add = |one: (usize, usize), other: (usize, usize)| (one.0 + other.0, one.1 + other.1);
        let (mut device, mut group) = ((0, 0), (0, 0));
        for whom in self.by_whom.keys() {
            match whom {
                Whom::Everybody => {}
                Whom::Device(_) => device = device.max(size(whom)),
                Whom::Group(path) => {
                    let path = path.parse::<GroupPath>().ok();
                    let all = groups(path.as_ref()).map(|group| size(&Whom::Group(group.to_owned())));
                    group = group.max(all.fold((0, 0), add));
                }
            }
        }
        add(size(&Whom::Everybody), add(device, group))
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
        let mut cuts = self.cuts();
        let fits = |cut: &Cut| cut.facts == subject.facts && cut.group.as_ref() == subject.group;
        if !cuts.get(subject.device).is_some_and(fits) {
            let Some(cut) = self.cut_for(subject) else {
                return Outcome::refused("who the device is cannot be said in the schema");
            };
            if cuts.len() >= DEVICES_MAX {
                cuts.clear();
            }
            cuts.insert(subject.device.clone(), cut);
        }
        let Some(cut) = cuts.get_mut(subject.device) else {
            return Outcome::refused("nothing is known of it");
        };
        if let Some((at, outcome)) = cut.remembered.get(name)
            && *at == turn
        {
            return outcome.clone();
        }
        let outcome = self.ask(cut, seconds, sent);
        if cut.remembered.len() >= REMEMBERED_MAX {
            cut.remembered.clear();
        }
        cut.remembered.insert(name.to_owned(), (turn, outcome.clone()));
        outcome
    }

    fn ask(&self, cut: &Cut, seconds: i64, sent: Sent<'_>) -> Outcome {
        let (kind, id) = match sent {
            Sent::Message(kind, _) => ("Message", kind),
            Sent::Device(device) => ("Device", device.as_ref()),
        };
        let (Some(resource), Some(action)) = (uid(kind, id), uid("Action", SEND)) else {
            return Outcome::refused("what is sent cannot be said in the schema");
        };
        let entities = match sent {
            Sent::Message(..) if cut.entities.get(&resource).is_none() => {
                return Outcome::refused(format!("`{id}` is not known to the schema"));
            }
            Sent::Device(_) if cut.entities.get(&resource).is_none() => {
                let recipient = Entity::new_no_attrs(resource.clone(), HashSet::new());
                cut.entities.clone().add_entities([recipient], None)
            }
            _ => Ok(cut.entities.clone()),
        };
        let time = ("time".to_owned(), RestrictedExpression::new_long(seconds));
        let request = Context::from_pairs([time])
            .ok()
            .and_then(|context| Request::new(cut.principal.clone(), action, resource, context, None).ok());
        let (Some(request), Ok(entities)) = (request, entities) else {
            return Outcome::refused("what is asked cannot be said in the schema");
        };
        let response = Authorizer::new().is_authorized(&request, &cut.policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            let why = kos_base::text::printable(&error.to_string(), 200);
            return Outcome::refused(format!("a policy could not be evaluated: {why}"));
        }
        let policy = response.diagnostics().reason().map(ToString::to_string).min();
        let allowed = response.decision() == Decision::Allow;
        let why = match (&policy, allowed) {
            (Some(policy), true) => format!("rule `{policy}` permits it"),
            (Some(policy), false) => format!("rule `{policy}` forbids it"),
            (None, _) => "no rule of the manifests permits it".to_owned(),
        };
        Outcome { allowed, policy, why }
    }

    fn cut_for(&self, subject: Subject<'_>) -> Option<Cut> {
        let concerning = self.concerning(subject.device, subject.group);
        let policies = concerning.iter().filter_map(|closed| self.policies.get(&closed.rule.id).cloned());
        Some(Cut {
            facts: subject.facts,
            group: subject.group.cloned(),
            policies: PolicySet::from_policies(policies).ok()?,
            entities: entities(subject)?,
            principal: uid("Device", subject.device.as_ref())?,
            remembered: HashMap::new(),
        })
    }

    fn cuts(&self) -> MutexGuard<'_, HashMap<DeviceId, Cut>> {
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
