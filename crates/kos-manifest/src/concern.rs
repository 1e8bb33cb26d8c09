//! Which policies can concern somebody: looked up by the principal that their scope names, not tried one after the other.
//!
//! Invariants: a policy that is left out has a scope that this principal is not in, so Cedar would pass over it without
//! looking at its conditions. A decision and its errors are those of all policies.
//!
//! Source: `docs/spec/manifest.md` MAN-18.

use std::{collections::HashMap, hash::Hash};

use cedar_policy::{EntityUid, Policy, PrincipalConstraint};

/// Places of policies, by whom their scope names.
#[derive(Clone, Debug)]
pub struct Concern<Who> {
    everybody: Vec<usize>,
    named: HashMap<Who, Vec<usize>>,
}

/// Whom the scope of a policy names: somebody, with all below; or nothing, when it can be anybody.
pub fn named(policy: &Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Some(uid)
        }
    }
}

impl<Who> Default for Concern<Who> {
    fn default() -> Self {
        Self { everybody: Vec::new(), named: HashMap::new() }
    }
}

impl<Who: Eq + Hash> Concern<Who> {
    /// Of policies in their order, by whom each names.
    pub fn new(policies: impl IntoIterator<Item = Option<Who>>) -> Self {
        let (mut everybody, mut named) = (Vec::new(), HashMap::<Who, Vec<usize>>::new());
        for (place, who) in policies.into_iter().enumerate() {
            match who {
                Some(who) => named.entry(who).or_default().push(place),
                None => everybody.push(place),
            }
        }
        Self { everybody, named }
    }

    /// The places of those that can concern a principal with these ancestors, itself among them.
    pub fn places<'a>(
        &'a self,
        lineage: impl IntoIterator<Item = Who> + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        let named = lineage.into_iter().filter_map(|who| self.named.get(&who)).flatten();
        self.everybody.iter().chain(named).copied()
    }

    /// Those about anybody.
    pub(crate) fn everybody(&self) -> &[usize] {
        &self.everybody
    }

    /// Those that name somebody.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Who, &[usize])> {
        self.named.iter().map(|(who, places)| (who, places.as_slice()))
    }
}
