//! One rule, and what holds for every rule.
//!
//! Source: ALR-2, ALR-3, ALR-6 to ALR-8.

use core::{fmt, str::FromStr};

use kos_base::text::printable;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::{Pattern, PatternError};

/// Longest time within which entries are counted or follow, in seconds. An engine remembers that much of the past.
pub(super) const WINDOW_S_MAX: u32 = 86_400;
/// Shortest and longest quiet after an alert, in seconds. The shortest keeps a flood from being a flood of alerts.
pub(super) const QUIET_S: core::ops::RangeInclusive<u32> = 60..=86_400;
/// How many entries a rule may count.
pub(super) const TIMES: core::ops::RangeInclusive<u32> = 2..=100;
/// Most patterns of a rule, and of what follows in it.
const PATTERNS_MAX: usize = 8;
/// The built-in rule that has no quiet.
const NEVER_QUIET: &str = "alerting-changed";
/// Longest summary, in characters.
const SUMMARY_CHARS_MAX: usize = 200;

/// The name of a rule: 1 to 48 of a-z, 0-9 and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName(String);

/// The text is not the name of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a rule: 1 to 48 of a-z, 0-9 and `-`")]
pub struct ParseRuleNameError(String);

/// How much hangs on an alert. Later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a look.
    Low,
    /// Worth a look today.
    Medium,
    /// Somebody may be at work.
    High,
    /// Somebody is at work, or something was lost.
    Critical,
}

/// Whose entries are taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Everybody's.
    #[default]
    None,
    /// Those of one actor, or of one network address.
    Actor,
    /// Those about one target.
    Target,
}

/// When entries that fit are worth an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Condition {
    /// Each of them.
    Each,
    /// So many within a time.
    Count {
        /// How many, 2 to 100.
        times: u32,
        /// Within how many seconds, the last of them included.
        window_seconds: u32,
    },
    /// One of them, and afterwards one that fits another pattern.
    Sequence {
        /// What follows.
        then: Vec<Pattern>,
        /// Within how many seconds, the last of them included.
        window_seconds: u32,
    },
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which entries it is about: those that fit any of these.
    pub matches: Vec<Pattern>,
    /// What it is called.
    pub name: RuleName,
    /// Whose entries are taken together.
    #[serde(default)]
    pub per: Per,
    /// How long the same raises no other alert, in seconds.
    #[serde(default = "quiet_usual")]
    pub quiet_seconds: u32,
    /// How much hangs on it.
    pub severity: Severity,
    /// What it means, in a sentence for people.
    pub summary: String,
    /// When they are worth an alert.
    pub when: Condition,
}

const fn quiet_usual() -> u32 {
    900
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A pattern cannot be used.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// It has none, or too many.
    #[error("a rule has 1 to {PATTERNS_MAX} patterns, and as many for what follows")]
    Patterns,
    /// The window is not one.
    #[error("windowSeconds is {0}, 1 to {WINDOW_S_MAX} are allowed")]
    Window(u32),
    /// The quiet is too short or too long.
    #[error("quietSeconds is {0}, {min} to {max} are allowed", min = QUIET_S.start(), max = QUIET_S.end())]
    Quiet(u32),
    /// It counts too few or too many.
    #[error("times is {0}, {min} to {max} are allowed", min = TIMES.start(), max = TIMES.end())]
    Times(u32),
    /// The summary is empty, too long, or would deceive a terminal.
    #[error("a summary has 1 to {SUMMARY_CHARS_MAX} visible characters")]
    Summary,
}

impl Rule {
    pub(super) fn check(&self) -> Result<(), RuleError> {
        check_patterns(&self.matches)?;
        if !QUIET_S.contains(&self.quiet_seconds) {
            return Err(RuleError::Quiet(self.quiet_seconds));
        }
        let chars = self.summary.chars().count();
        if !(1..=SUMMARY_CHARS_MAX).contains(&chars) || !self.summary.chars().all(kos_base::text::is_safe) {
            return Err(RuleError::Summary);
        }
        match &self.when {
            Condition::Each => Ok(()),
            Condition::Count { times, window_seconds } => {
                check_window(*window_seconds)?;
                if TIMES.contains(times) { Ok(()) } else { Err(RuleError::Times(*times)) }
            }
            Condition::Sequence { then, window_seconds } => {
                check_window(*window_seconds)?;
                check_patterns(then)
            }
        }
    }

    /// How long an entry counts, in milliseconds.
    pub(super) fn window_ms(&self) -> u64 {
        match &self.when {
            Condition::Each => 0,
            Condition::Count { window_seconds, .. } | Condition::Sequence { window_seconds, .. } => {
                u64::from(*window_seconds) * 1000
            }
        }
    }

    /// How long it is quiet after an alert, in seconds. Of changes of the alerting each one tells: in a quiet, whoever
    /// made one could take away every rule untold (ALR-8). No file has a rule of this name.
    pub fn quiet_in_force(&self) -> u32 {
        if self.name.as_str() == NEVER_QUIET { 0 } else { self.quiet_seconds }
    }

    pub(super) fn quiet_ms(&self) -> u64 {
        u64::from(self.quiet_in_force()) * 1000
    }

    /// Whether what `other` counted counts for this one as well.
    pub(super) fn counts_as(&self, other: &Self) -> bool {
        let count = |rule: &Self| matches!(rule.when, Condition::Count { .. });
        self.matches == other.matches && (self.when == other.when || (count(self) && count(other)))
    }

    /// Most entries that it remembers of one group.
    pub(super) const fn hits_max(&self) -> u32 {
        match &self.when {
            Condition::Each => 0,
            Condition::Count { times, .. } => *times,
            Condition::Sequence { .. } => 1,
        }
    }
}

fn check_patterns(patterns: &[Pattern]) -> Result<(), RuleError> {
    if !(1..=PATTERNS_MAX).contains(&patterns.len()) {
        return Err(RuleError::Patterns);
    }
    Ok(patterns.iter().try_for_each(Pattern::check)?)
}

const fn check_window(seconds: u32) -> Result<(), RuleError> {
    if seconds >= 1 && seconds <= WINDOW_S_MAX { Ok(()) } else { Err(RuleError::Window(seconds)) }
}

impl Severity {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl RuleName {
    /// Most characters.
    pub const CHARS_MAX: usize = 48;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleName {
    type Err = ParseRuleNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::CHARS_MAX).contains(&s.len()) && !s.starts_with('-');
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if fits && s.bytes().all(allowed) {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseRuleNameError(printable(s, 60)))
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RuleName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
