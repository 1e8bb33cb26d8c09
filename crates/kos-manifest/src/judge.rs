//! One decision by Cedar, stricter where Cedar is kind, and the memory of decisions.
//!
//! Invariants: an error while a policy is evaluated refuses, where Cedar would pass over a `forbid` that fails. What is
//! remembered counts until time passes a constant of the policies.
//!
//! Limits: [`REMEMBERED_MAX`].
//!
//! Source: `docs/spec/manifest.md` MAN-18.

use std::collections::HashMap;

use cedar_policy::{Authorizer, Decision, Entities, PolicySet, Request};

/// Decisions that are remembered of one principal. Stops one that asks about ever new recipients.
const REMEMBERED_MAX: usize = 256;

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
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self { allowed: false, policy: None, why: why.into() }
    }
}

/// Asks Cedar.
pub fn judge(request: &Request, policies: &PolicySet, entities: &Entities) -> Outcome {
    let response = Authorizer::new().is_authorized(request, policies, entities);
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

/// What was decided about one principal.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    held: HashMap<String, (usize, Outcome)>,
}

impl Memory {
    /// What was decided about `what` in this span of time, or what `ask` decides now.
    pub fn recall(&mut self, what: &str, turn: usize, ask: impl FnOnce() -> Outcome) -> Outcome {
        if let Some((at, outcome)) = self.held.get(what)
            && *at == turn
        {
            return outcome.clone();
        }
        let outcome = ask();
        if self.held.len() >= REMEMBERED_MAX {
            self.held.clear();
        }
        self.held.insert(what.to_owned(), (turn, outcome.clone()));
        outcome
    }
}
