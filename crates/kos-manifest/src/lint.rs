//! A text becomes a manifest that can be put in force, or a list of what is wrong with it.
//!
//! Shape: limits first, then Cedar's parser, its validator in strict mode, the closed form of each policy, and what the
//! policies are to each other. Everything that is wrong is told, not the first thing alone.
//!
//! Invariants: a manifest without a finding of [`Severity::Error`] has a closed form for each of its policies, and none
//! of it is about something that no door asks.
//!
//! What it does not do: ask whether a device exists, which is the store's business.
//!
//! Source: `docs/spec/manifest.md` MAN-9 to MAN-13.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    ParseErrors, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator,
    ffi::DetailedError,
};
use kos_base::{Code, DeviceId, GroupPath, code::manifest as codes, text::printable};
use kos_policy::slice::{NAME_BYTES_MAX, Pattern, PatternKind, RuleEffect};

use crate::{
    closed::{Closed, NotClosed, Whom, groups},
    never,
    schema::{governed, schema},
    source::{Source, SourceError, is_name},
};

/// Findings that are told; a text of ten thousand mistakes is not answered with as many sentences.
const FINDINGS_MAX: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is told, and keeps nothing back.
    Warning,
    /// It is not put in force.
    Error,
}

/// What it is. The words are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first line.
    Header,
    /// Larger or deeper than allowed.
    Limit,
    /// Not Cedar.
    Syntax,
    /// Not by the schema.
    Schema,
    /// About something that nobody asks.
    NoDoor,
    /// Cannot be said in the closed form.
    Form,
    /// About something that does not exist.
    UnknownEntity,
    /// Two policies of the same name.
    Duplicate,
    /// Permitted and forbidden.
    Contradiction,
    /// Never decides.
    Unreachable,
    /// Not higher than the version in force.
    Version,
}

impl Kind {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Limit => "limit",
            Self::Syntax => "syntax",
            Self::Schema => "schema",
            Self::NoDoor => "no-door",
            Self::Form => "form",
            Self::UnknownEntity => "unknown-entity",
            Self::Duplicate => "duplicate",
            Self::Contradiction => "contradiction",
            Self::Unreachable => "unreachable",
            Self::Version => "version",
        }
    }

    /// With which a manifest is refused for it.
    pub const fn code(self) -> Code {
        match self {
            Self::Limit => codes::MANIFEST_LIMIT,
            Self::NoDoor => codes::MANIFEST_NO_DOOR,
            Self::Version => codes::MANIFEST_OLDER,
            _ => codes::MANIFEST_INVALID,
        }
    }
}

/// Something that is wrong, or odd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The policy, if it is about one.
    pub policy: Option<String>,
    /// In one sentence, fit for a terminal.
    pub detail: String,
}

impl Finding {
    /// Something that keeps the manifest from being put in force.
    pub fn error(kind: Kind, policy: Option<&str>, detail: &str) -> Self {
        let (policy, detail) = (policy.map(str::to_owned), printable(detail, 300));
        Self { severity: Severity::Error, kind, policy, detail }
    }

    fn warning(kind: Kind, policy: &str, detail: &str) -> Self {
        Self { severity: Severity::Warning, ..Self::error(kind, Some(policy), detail) }
    }
}

/// A manifest whose every policy has a closed form.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The text.
    pub source: Source,
    /// By name.
    pub policies: BTreeMap<String, Policy>,
    /// The closed form of each.
    pub rules: Vec<Closed>,
}

/// What was found in a text, and the manifest, if nothing was that keeps it from being one.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The text, if it has a header and is in its limits.
    pub source: Option<Source>,
    /// What can be put in force.
    pub manifest: Option<Manifest>,
    /// What is wrong, and what is odd.
    pub findings: Vec<Finding>,
}

impl Manifest {
    /// The devices that it names, each with a rule that does.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, String)> {
        self.rules.iter().flat_map(|closed| {
            let whom = match &closed.whom {
                Whom::Device(id) => id.parse().ok(),
                Whom::Everybody | Whom::Group(_) => None,
            };
            let resource = &closed.rule.resource;
            let named = resource.name.as_deref().filter(|_| resource.kind == PatternKind::Device);
            let named = named.and_then(|id| id.parse().ok());
            [whom, named].into_iter().flatten().map(|device| (device, closed.rule.id.clone()))
        })
    }
}

impl Examined {
    /// A device that it names does not exist.
    pub fn refuse_unknown(&mut self, rule: &str, device: &DeviceId) {
        let why = format!("there is no device {device}");
        self.findings.insert(0, Finding::error(Kind::UnknownEntity, Some(rule), &why));
        self.findings.truncate(FINDINGS_MAX);
        self.manifest = None;
    }

    /// A version of the same name is in force.
    pub fn refuse_version(&mut self, in_force: u64) {
        let Some(own) = self.source.as_ref().map(|source| source.version).filter(|own| *own <= in_force)
        else {
            return;
        };
        let why = format!("version {in_force} is in force, and this is version {own}");
        self.findings.insert(0, Finding::error(Kind::Version, None, &why));
        self.findings.truncate(FINDINGS_MAX);
        self.manifest = None;
    }
}

/// Examines a text.
///
/// *Cost*: for ten thousand policies some seconds; ask it apart from the runtime.
pub fn examine(text: &str) -> Examined {
    let source = match Source::of(text) {
        Ok(source) => source,
        Err(error) => {
            let kind = if matches!(error, SourceError::Limit(_)) { Kind::Limit } else { Kind::Header };
            let findings = vec![Finding::error(kind, None, &error.to_string())];
            return Examined { source: None, manifest: None, findings };
        }
    };
    let mut findings = Vec::new();
    let read = read(&source, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let sound = findings.iter().all(|finding| finding.severity == Severity::Warning);
    findings.truncate(FINDINGS_MAX);
    let manifest = read.filter(|_| sound);
    Examined { source: Some(source), manifest, findings }
}

fn read(source: &Source, findings: &mut Vec<Finding>) -> Option<Manifest> {
    let parsed: PolicySet = match source.text.parse() {
        Ok(parsed) => parsed,
        Err(errors) => {
            findings.extend(unread(&source.text, &errors));
            return None;
        }
    };
    if parsed.templates().next().is_some() {
        findings.push(Finding::error(Kind::Form, None, "a manifest has no templates"));
    }
    let names = names(source, &parsed, findings);
    validate(&parsed, &names, findings);
    let (mut policies, mut rules) = (BTreeMap::new(), Vec::new());
    for policy in parsed.policies() {
        let Some(name) = names.get(policy.id()) else { continue };
        match Closed::of(name, policy) {
            Ok(closed) => {
                check_entities(&closed, findings);
                rules.push(closed);
            }
            Err(error) => {
                let kind = if matches!(error, NotClosed::NoDoor(_)) { Kind::NoDoor } else { Kind::Form };
                findings.push(Finding::error(kind, Some(name), &error.to_string()));
            }
        }
        policies.insert(name.clone(), policy.new_id(PolicyId::new(name)));
    }
    rules.sort_by(|one, other| one.rule.id.cmp(&other.rule.id));
    compare(&rules, findings);
    Some(Manifest { source: source.clone(), policies, rules })
}

/// What Cedar cannot read, and where.
fn unread(text: &str, errors: &ParseErrors) -> Vec<Finding> {
    let all = errors.iter().map(|error| {
        let told = DetailedError::from(error);
        let place = told.source_locations.first().map(|label| place(text, label.loc.start));
        Finding::error(Kind::Syntax, None, &format!("{}{}", place.unwrap_or_default(), told.message))
    });
    all.collect()
}

/// Where a byte of a text is, as people count.
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!("line {}, column {}: ", before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// The name of each policy: that of the manifest, and the annotation `@id` or its place.
fn names(source: &Source, parsed: &PolicySet, findings: &mut Vec<Finding>) -> HashMap<PolicyId, String> {
    let (mut names, mut taken) = (HashMap::new(), HashSet::new());
    for policy in parsed.policies() {
        let own = policy.annotation("id").map_or_else(|| policy.id().to_string(), str::to_owned);
        let name = format!("{}/{own}", source.name);
        if !is_name(&own) || name.len() > NAME_BYTES_MAX {
            let why = "an @id has characters of a-z, 0-9 and `-`, and not too many";
            findings.push(Finding::error(Kind::Form, Some(&printable(&name, 80)), why));
        }
        if !taken.insert(name.clone()) {
            findings.push(Finding::error(Kind::Duplicate, Some(&name), "two policies have this @id"));
        }
        names.insert(policy.id().clone(), name);
    }
    names
}

fn validate(parsed: &PolicySet, names: &HashMap<PolicyId, String>, findings: &mut Vec<Finding>) {
    let Some(schema) = schema() else {
        return findings.push(Finding::error(Kind::Schema, None, "there is no schema"));
    };
    let result = Validator::new(schema.clone()).validate(parsed, ValidationMode::Strict);
    let name = |id: &PolicyId| names.get(id).map(String::as_str);
    for error in result.validation_errors() {
        findings.push(Finding::error(Kind::Schema, name(error.policy_id()), &error.to_string()));
    }
    for warning in result.validation_warnings() {
        let kind = match warning {
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
                Kind::Unreachable
            }
            // What looks like something else is not for people who decide about security.
            _ => Kind::Schema,
        };
        let finding = Finding::error(kind, name(warning.policy_id()), &warning.to_string());
        findings.push(finding);
    }
}

/// Messages and errands are a closed list, and so is what a device can be.
fn check_entities(closed: &Closed, findings: &mut Vec<Finding>) {
    let unknown = |detail: String| Finding::error(Kind::UnknownEntity, Some(&closed.rule.id), &detail);
    let Pattern { kind, name } = &closed.rule.resource;
    let name = name.as_deref().unwrap_or_default();
    match kind {
        PatternKind::Message if !governed().any(|(message, _)| message == name) => {
            findings.push(unknown(format!("manifests decide on no message `{name}`")));
        }
        PatternKind::Errand if !governed().any(|(_, errand)| errand.as_str() == name) => {
            findings.push(unknown(format!("manifests decide on no errand `{name}`")));
        }
        PatternKind::Device if name.parse::<DeviceId>().is_err() => {
            findings.push(unknown(format!("`{name}` is no id of a device")));
        }
        _ => {}
    }
    match &closed.whom {
        Whom::Device(id) if id.parse::<DeviceId>().is_err() => {
            findings.push(unknown(format!("`{id}` is no id of a device")));
        }
        Whom::Group(group) if group.parse::<GroupPath>().is_err() => {
            findings.push(unknown(format!("`{group}` is no group")));
        }
        _ => {}
    }
    let atoms = closed.rule.clauses.iter().flat_map(|clause| &clause.all);
    findings.extend(atoms.filter_map(never::of).map(unknown));
}

/// What the rules are to each other: a permission that an unconditional prohibition covers never counts.
fn compare(rules: &[Closed], findings: &mut Vec<Finding>) {
    let forbidding: HashMap<(&Whom, &Pattern), &str> = rules
        .iter()
        .filter(|closed| closed.rule.effect == RuleEffect::Forbid && closed.rule.clauses.is_empty())
        .map(|closed| ((&closed.whom, &closed.rule.resource), closed.rule.id.as_str()))
        .collect();
    for closed in rules.iter().filter(|closed| closed.rule.effect == RuleEffect::Permit) {
        let id = closed.rule.id.as_str();
        if let Some(other) = forbidding.get(&(&closed.whom, &closed.rule.resource)) {
            let why = format!("`{other}` forbids the same, always");
            findings.push(Finding::error(Kind::Contradiction, Some(id), &why));
            continue;
        }
        let (whoms, patterns) = (above(&closed.whom), covering(&closed.rule.resource));
        let covers = whoms.iter().flat_map(|whom| patterns.iter().map(move |pattern| (whom, pattern)));
        if let Some(other) = covers.into_iter().find_map(|key| forbidding.get(&key)) {
            let why = format!("it never counts: `{other}` forbids all of it, always");
            findings.push(Finding::warning(Kind::Unreachable, id, &why));
        }
    }
}

/// Everybody about whom a rule is that is about these as well.
fn above(whom: &Whom) -> Vec<Whom> {
    let mut all = vec![whom.clone(), Whom::Everybody];
    if let Whom::Group(group) = whom
        && let Ok(path) = group.parse::<GroupPath>()
    {
        all.extend(groups(Some(&path)).map(|group| Whom::Group(group.to_owned())));
    }
    all
}

/// Every pattern that fits at least where this one does.
fn covering(pattern: &Pattern) -> Vec<Pattern> {
    let mut all = vec![pattern.clone(), Pattern::any(PatternKind::Anything)];
    match pattern.kind {
        PatternKind::Message => {
            let errand = governed().find(|(message, _)| Some(*message) == pattern.name.as_deref());
            all.extend(errand.map(|(_, errand)| Pattern::named(PatternKind::Errand, errand.as_str())));
            all.push(Pattern::any(PatternKind::AnyMessage));
        }
        PatternKind::Errand => all.push(Pattern::any(PatternKind::AnyMessage)),
        PatternKind::Device => all.push(Pattern::any(PatternKind::AnyDevice)),
        PatternKind::Anything | PatternKind::AnyMessage | PatternKind::AnyDevice => {}
    }
    all
}
