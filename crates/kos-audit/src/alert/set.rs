//! The rules that are in force: the built-in ones as a file changed them, and those of the file.
//!
//! Source: ALR-10 to ALR-12.

use std::collections::BTreeSet;

use kos_base::{Code, code};
use serde::{Deserialize, Serialize};

use super::{
    builtin::{BuiltIn, Standing},
    rule::{Condition, Per, QUIET_S, Rule, RuleError, RuleName, Severity, TIMES},
};

/// Most rules of a file; bounds the work for each entry.
const RULES_MAX: usize = 32;
/// Most that the thresholds of all rules with groups may add up to: with the number of groups it bounds what an engine
/// keeps.
const TIMES_SUM_MAX: u32 = 1_000;
/// How much laxer than built in an essential rule may be made.
const LAXER_MAX: u32 = 4;

/// What somebody wrote about alerts. Empty, the built-in rules are in force as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RuleFile {
    /// Built-in rules that are not essential, and go.
    pub remove: Vec<RuleName>,
    /// Essential rules that go all the same. This name is the explicit word.
    pub remove_essential: Vec<RuleName>,
    /// Further rules.
    pub rules: Vec<Rule>,
    /// Built-in rules with other numbers.
    pub tune: Vec<Tuning>,
}

/// Other numbers for a built-in rule; what is not given stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tuning {
    /// How long the same raises no other alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_seconds: Option<u32>,
    /// Which rule.
    pub rule: RuleName,
    /// How much hangs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// How many it counts, if it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Within how many seconds, if it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    removed: Vec<RuleName>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A rule cannot be used.
    #[error("rule `{name}`: {error}")]
    Rule {
        /// Which.
        name: RuleName,
        /// Why.
        error: RuleError,
    },
    /// Too many rules.
    #[error("a file has at most {RULES_MAX} rules")]
    TooMany,
    /// Together they would have to remember too much.
    #[error("the thresholds of rules with groups add up to {0}, at most {TIMES_SUM_MAX} are allowed")]
    TimesSum(u32),
    /// Two rules with one name, or one with the name of a built-in rule.
    #[error("there is another rule `{0}`; built-in rules are changed under `tune`")]
    Twice(RuleName),
    /// There is no built-in rule of this name.
    #[error("there is no built-in rule `{0}`")]
    Unknown(RuleName),
    /// An essential rule was to go without the explicit word.
    #[error("the rule `{0}` is essential: it goes only under `removeEssential`")]
    Essential(RuleName),
    /// The explicit word for a rule that is not essential.
    #[error("the rule `{0}` is not essential: it goes under `remove`")]
    NotEssential(RuleName),
    /// A rule that does not count was given numbers of counting.
    #[error("the rule `{0}` does not count")]
    CountsNot(RuleName),
    /// An essential rule would see too little.
    #[error(
        "the rule `{0}` is essential: its severity does not go down, and it gets at most {LAXER_MAX} times laxer"
    )]
    TooLax(RuleName),
}

impl SetError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Essential(_) | Self::TooLax(_) => code::audit::ALERT_RULE_ESSENTIAL,
            _ => code::audit::ALERT_RULES_INVALID,
        }
    }
}

impl RuleSet {
    /// The built-in rules as they are.
    pub fn built_in() -> Self {
        Self {
            rules: BuiltIn::all().into_iter().map(|built_in| built_in.rule).collect(),
            removed: Vec::new(),
        }
    }

    /// The rules that `file` makes of them.
    ///
    /// # Errors
    /// When the file cannot be used; what was in force stays.
    pub fn of(file: &RuleFile) -> Result<Self, SetError> {
        let built_in = BuiltIn::all();
        let standing = |name: &RuleName| {
            let found = built_in.iter().find(|built_in| built_in.rule.name == *name);
            found.map(|found| found.standing).ok_or_else(|| SetError::Unknown(name.clone()))
        };
        for name in &file.remove {
            if standing(name)? == Standing::Essential {
                return Err(SetError::Essential(name.clone()));
            }
        }
        for name in &file.remove_essential {
            if standing(name)? != Standing::Essential {
                return Err(SetError::NotEssential(name.clone()));
            }
        }
        let mut named = BTreeSet::new();
        for tuning in &file.tune {
            standing(&tuning.rule)?;
            if !named.insert(tuning.rule.clone()) {
                return Err(SetError::Twice(tuning.rule.clone()));
            }
        }
        let removed: Vec<RuleName> = file.remove.iter().chain(&file.remove_essential).cloned().collect();
        let mut names: BTreeSet<RuleName> = built_in.iter().map(|b| b.rule.name.clone()).collect();
        let kept = built_in.into_iter().filter(|built_in| !removed.contains(&built_in.rule.name));
        let mut rules = Vec::new();
        for BuiltIn { mut rule, standing } in kept {
            if let Some(tuning) = file.tune.iter().find(|tuning| tuning.rule == rule.name) {
                tune(&mut rule, standing, tuning)?;
            }
            rules.push(rule);
        }
        if file.rules.len() > RULES_MAX {
            return Err(SetError::TooMany);
        }
        for rule in &file.rules {
            if !names.insert(rule.name.clone()) {
                return Err(SetError::Twice(rule.name.clone()));
            }
            rules.push(rule.clone());
        }
        for rule in &rules {
            rule.check().map_err(|error| SetError::Rule { name: rule.name.clone(), error })?;
        }
        let grouped = rules.iter().filter(|rule| rule.per != Per::None);
        let sum = grouped.map(Rule::hits_max).sum();
        if sum > TIMES_SUM_MAX {
            return Err(SetError::TimesSum(sum));
        }
        Ok(Self { rules, removed })
    }

    /// The rules, built-in ones first.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The built-in rules that are not in force.
    pub fn removed(&self) -> &[RuleName] {
        &self.removed
    }
}

fn tune(rule: &mut Rule, standing: Standing, tuning: &Tuning) -> Result<(), SetError> {
    let before = rule.clone();
    if let Condition::Count { times, window_seconds } = &mut rule.when {
        *times = tuning.times.unwrap_or(*times);
        *window_seconds = tuning.window_seconds.unwrap_or(*window_seconds);
    } else if tuning.times.is_some() || tuning.window_seconds.is_some() {
        return Err(SetError::CountsNot(rule.name.clone()));
    }
    rule.severity = tuning.severity.unwrap_or(rule.severity);
    rule.quiet_seconds = tuning.quiet_seconds.unwrap_or(rule.quiet_seconds);
    if standing == Standing::Essential && is_too_lax(&before, rule) {
        return Err(SetError::TooLax(rule.name.clone()));
    }
    Ok(())
}

/// Whether a rule that was tuned hardly sees anything any more.
fn is_too_lax(before: &Rule, after: &Rule) -> bool {
    let counts = match (&before.when, &after.when) {
        (
            Condition::Count { times, window_seconds },
            Condition::Count { times: more, window_seconds: shorter },
        ) => {
            *more > (*times).saturating_mul(LAXER_MAX).min(*TIMES.end())
                || shorter.saturating_mul(LAXER_MAX) < *window_seconds
        }
        _ => false,
    };
    let quiet = after.quiet_seconds > before.quiet_seconds.saturating_mul(LAXER_MAX).min(*QUIET_S.end());
    counts || quiet || after.severity < before.severity
}
