//! From a Cedar policy to the closed form that devices decide by.
//!
//! What Cedar can say and the closed form cannot is refused here, with what it is: a manifest is in force only if every
//! device can decide by it as the authority does.
//!
//! Source: `docs/spec/manifest.md` MAN-9, MAN-21 to MAN-23.

use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use kos_base::GroupPath;
use kos_policy::slice::{
    ATOMS_MAX, Atom, Attribute, CLAUSES_MAX, Clause, Comparison, NAME_BYTES_MAX, Pattern, PatternKind,
    Polarity, RuleEffect, SliceRule, Value,
};
use serde_json::Value as Json;

use crate::schema::SEND;

/// About whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Every device.
    Everybody,
    /// One device, by its id.
    Device(String),
    /// Every device in this group or in one below it.
    Group(String),
}

/// A policy in closed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// About whom.
    pub whom: Whom,
    /// What devices decide by.
    pub rule: SliceRule,
}

/// Why a policy has no closed form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// It is about something that nobody asks.
    #[error("{0}")]
    NoDoor(String),
    /// It says more than devices can decide by.
    #[error("{0}")]
    Form(String),
}

fn form<T>(what: impl Into<String>) -> Result<T, NotClosed> {
    Err(NotClosed::Form(what.into()))
}

impl Closed {
    /// The closed form of a policy with this name.
    pub fn of(id: &str, policy: &Policy) -> Result<Self, NotClosed> {
        if id.len() > NAME_BYTES_MAX {
            return form(format!("its name has more than {NAME_BYTES_MAX} bytes"));
        }
        action(policy.action_constraint())?;
        let effect = match policy.effect() {
            Effect::Permit => RuleEffect::Permit,
            Effect::Forbid => RuleEffect::Forbid,
        };
        let (whom, resource) = (whom(policy.principal_constraint())?, pattern(policy.resource_constraint())?);
        let rule = SliceRule { id: id.to_owned(), effect, resource, clauses: clauses(policy)? };
        Ok(Self { whom, rule })
    }
}

/// A group and those above it: `a/b/c`, `a/b`, `a`.
pub(crate) fn groups(group: Option<&GroupPath>) -> impl Iterator<Item = &str> {
    let mut rest = group.map(AsRef::<str>::as_ref);
    std::iter::from_fn(move || {
        let own = rest?;
        rest = own.rsplit_once('/').map(|(above, _)| above);
        Some(own)
    })
}

fn action(constraint: ActionConstraint) -> Result<(), NotClosed> {
    let named = match constraint {
        ActionConstraint::Any => {
            let why =
                "it is about every action, and only `send` has a door: write `action == Action::\"send\"`";
            return Err(NotClosed::NoDoor(why.to_owned()));
        }
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    match named.iter().map(|action| action.id().unescaped()).find(|action| *action != SEND) {
        Some(other) => Err(NotClosed::NoDoor(format!("nothing decides on `{other}` yet: it has no door"))),
        None if named.is_empty() => form("it is about no action"),
        None => Ok(()),
    }
}

fn parts(uid: &EntityUid) -> (String, String) {
    (uid.type_name().to_string(), uid.id().unescaped().to_owned())
}

fn whom(constraint: PrincipalConstraint) -> Result<Whom, NotClosed> {
    let of = |uid: &EntityUid, may_be_group: bool| match parts(uid) {
        (kind, id) if kind == "Device" => Ok(Whom::Device(id)),
        (kind, id) if kind == "Group" && may_be_group => Ok(Whom::Group(id)),
        (kind, _) => Err(NotClosed::NoDoor(format!("nothing that a {kind} does has a door"))),
    };
    match constraint {
        PrincipalConstraint::Any => Ok(Whom::Everybody),
        PrincipalConstraint::Is(kind) if kind.to_string() == "Device" => Ok(Whom::Everybody),
        PrincipalConstraint::Eq(uid) => of(&uid, false),
        PrincipalConstraint::In(uid) => of(&uid, true),
        PrincipalConstraint::IsIn(kind, uid) if kind.to_string() == "Device" => of(&uid, true),
        PrincipalConstraint::Is(kind) | PrincipalConstraint::IsIn(kind, _) => {
            Err(NotClosed::NoDoor(format!("nothing that a {kind} does has a door")))
        }
    }
}

fn pattern(constraint: ResourceConstraint) -> Result<Pattern, NotClosed> {
    let within = |uid: &EntityUid| match parts(uid) {
        (kind, id) if kind == "Message" => Ok(Pattern::named(PatternKind::Message, id)),
        (kind, id) if kind == "Device" => Ok(Pattern::named(PatternKind::Device, id)),
        (kind, id) if kind == "Errand" => Ok(Pattern::named(PatternKind::Errand, id)),
        (kind, _) if kind == "Group" => form("a device does not know who is in a group: name the recipients"),
        (kind, _) => form(format!("a {kind} is nothing that is sent")),
    };
    match constraint {
        ResourceConstraint::Any => Ok(Pattern::any(PatternKind::Anything)),
        ResourceConstraint::Is(kind) => match kind.to_string().as_str() {
            "Message" => Ok(Pattern::any(PatternKind::AnyMessage)),
            "Device" => Ok(Pattern::any(PatternKind::AnyDevice)),
            kind => form(format!("a {kind} is nothing that is sent")),
        },
        ResourceConstraint::Eq(uid) if parts(&uid).0 == "Errand" => {
            form("an errand is nothing that is sent: write `resource in Errand::..`")
        }
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => within(&uid),
        ResourceConstraint::IsIn(kind, uid) => {
            let pattern = within(&uid)?;
            let device = pattern.kind == PatternKind::Device;
            match (kind.to_string().as_str(), device) {
                ("Message", false) | ("Device", true) => Ok(pattern),
                _ => form("nothing is of that type and in that entity"),
            }
        }
    }
}

fn clauses(policy: &Policy) -> Result<Vec<Clause>, NotClosed> {
    if !policy.has_non_scope_constraint() {
        return Ok(Vec::new());
    }
    let json = policy.to_json().map_err(|error| NotClosed::Form(error.to_string()))?;
    let conditions = json.get("conditions").and_then(Json::as_array).cloned().unwrap_or_default();
    if conditions.len() > CLAUSES_MAX {
        return form(format!("it has more than {CLAUSES_MAX} conditions"));
    }
    conditions.iter().map(clause).collect()
}

fn clause(condition: &Json) -> Result<Clause, NotClosed> {
    let polarity = match condition.get("kind").and_then(Json::as_str) {
        Some("when") => Polarity::When,
        Some("unless") => Polarity::Unless,
        _ => return form("a condition that is neither `when` nor `unless`"),
    };
    let mut all = Vec::new();
    let mut waiting = vec![condition.get("body").unwrap_or(&Json::Null)];
    while let Some(body) = waiting.pop() {
        if let Some(both) = body.get("&&") {
            waiting.push(both.get("right").unwrap_or(&Json::Null));
            waiting.push(both.get("left").unwrap_or(&Json::Null));
            continue;
        }
        all.push(atom(body)?);
        if all.len() > ATOMS_MAX {
            return form(format!("a condition has more than {ATOMS_MAX} comparisons"));
        }
    }
    Ok(Clause { polarity, all })
}

const NO_ATOM: &str = "a condition compares principal.profile, principal.evidence, principal.role, principal.channel or \
                       context.time with a constant; several are joined by `&&`";

fn atom(body: &Json) -> Result<Atom, NotClosed> {
    let closed = |body: &Json| {
        let (operator, sides) = body.as_object()?.iter().next()?;
        let comparison = match operator.as_str() {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::More,
            ">=" => Comparison::AtLeast,
            _ => return None,
        };
        let (left, right) = (sides.get("left")?, sides.get("right")?);
        match (attribute(left), attribute(right)) {
            (Some(attribute), None) => Atom::new(attribute, comparison, constant(right)?),
            (None, Some(attribute)) => Atom::new(attribute, comparison.mirrored(), constant(left)?),
            _ => None,
        }
    };
    closed(body).map_or_else(|| form(NO_ATOM), Ok)
}

fn attribute(side: &Json) -> Option<Attribute> {
    let access = side.get(".")?;
    let of = access.get("left")?.get("Var")?.as_str()?;
    match (of, access.get("attr")?.as_str()?) {
        ("principal", "profile") => Some(Attribute::Profile),
        ("principal", "evidence") => Some(Attribute::Evidence),
        ("principal", "role") => Some(Attribute::Role),
        ("principal", "channel") => Some(Attribute::Channel),
        ("context", "time") => Some(Attribute::Time),
        _ => None,
    }
}

fn constant(side: &Json) -> Option<Value> {
    if let Some(negated) = side.get("neg") {
        let Value::Number(number) = constant(negated.get("arg")?)? else { return None };
        return number.checked_neg().map(Value::Number);
    }
    match side.get("Value")? {
        Json::Number(number) => number.as_i64().map(Value::Number),
        Json::String(word) => Some(Value::Word(word.clone())),
        _ => None,
    }
}
