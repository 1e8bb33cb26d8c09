//! What is suspicious, found while it happens: rules over the entries of the log, in their order.
//!
//! A [`Rule`] says which entries it is about and when they are worth an [`Alert`]: each of them, so many within a time, or
//! one after another. A [`RuleSet`] is the built-in rules as somebody changed them; its file is signed with a counter
//! ([`signed`]). An [`Engine`] takes entry by entry and gives the alerts.
//!
//! Invariants: the same entries after the same state give the same alerts with the same ids. What an engine keeps is
//! bounded, and no bound hides an alert: entries for which there is no group are counted in one that they share. Entries
//! that alerts cause raise none.
//!
//! What it does not do: write the entry of an alert, deliver it, read a clock.
//!
//! Source: `docs/spec/alerts.md` ALR-1 to ALR-19.

mod builtin;
mod engine;
mod group;
mod pattern;
mod rule;
mod set;
pub mod signed;

pub use builtin::{BuiltIn, Standing};
pub use engine::{Alert, AlertId, Engine, EngineError, ParseAlertIdError};
pub use pattern::{Pattern, PatternError};
pub use rule::{Condition, ParseRuleNameError, Per, Rule, RuleError, RuleName, Severity};
pub use set::{RuleFile, RuleSet, SetError, Tuning};
