//! One rule of a slice: the closed form, and when it holds.
//!
//! A rule about whom is not written: every rule of a slice is about its device. What it is about is one of six
//! patterns, and its clauses are comparisons of five attributes with constants. Nothing else can be said, so nothing
//! else can go wrong: a rule always either holds or does not.
//!
//! Source: `docs/spec/manifest.md` MAN-21 to MAN-23.

use core::{fmt, str::FromStr};

use kos_base::Timestamp;
use minicbor::{Decode, Encode};

use super::{ATOMS_MAX, CLAUSES_MAX, Facts, NAME_BYTES_MAX, Sent};

/// Whether a rule permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RuleEffect {
    /// It permits, unless another one forbids.
    #[n(0)]
    Permit,
    /// It forbids.
    #[n(1)]
    Forbid,
}

/// How a pattern fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum PatternKind {
    /// Everything that is sent.
    #[n(0)]
    Anything,
    /// Every message to the authority.
    #[n(1)]
    AnyMessage,
    /// Messages of the type of this name.
    #[n(2)]
    Message,
    /// Messages for the errand of this name.
    #[n(3)]
    Errand,
    /// Everything for other devices.
    #[n(4)]
    AnyDevice,
    /// Everything for the device with this id.
    #[n(5)]
    Device,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Pattern {
    /// How it fits.
    #[n(1)]
    pub kind: PatternKind,
    /// The name, where the kind has one.
    #[n(2)]
    pub name: Option<String>,
}

impl Pattern {
    /// Without a name.
    pub const fn any(kind: PatternKind) -> Self {
        Self { kind, name: None }
    }

    /// With a name.
    pub fn named(kind: PatternKind, name: impl Into<String>) -> Self {
        Self { kind, name: Some(name.into()) }
    }

    fn fits(&self, sent: Sent<'_>) -> bool {
        let is = |name: &str| self.name.as_deref() == Some(name);
        match (self.kind, sent) {
            (PatternKind::Anything, _)
            | (PatternKind::AnyMessage, Sent::Message(..))
            | (PatternKind::AnyDevice, Sent::Device(_)) => true,
            (PatternKind::Message, Sent::Message(kind, _)) => is(kind),
            (PatternKind::Errand, Sent::Message(_, errand)) => is(errand),
            (PatternKind::Device, Sent::Device(device)) => is(device.as_ref()),
            _ => false,
        }
    }

    fn is_in_limits(&self) -> bool {
        let named = matches!(self.kind, PatternKind::Message | PatternKind::Errand | PatternKind::Device);
        named == self.name.is_some() && self.name.as_ref().is_none_or(|name| name.len() <= NAME_BYTES_MAX)
    }
}

/// Whether a clause must hold or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Polarity {
    /// The rule holds only when all comparisons are true.
    #[n(0)]
    When,
    /// The rule holds only when one of them is not.
    #[n(1)]
    Unless,
}

/// Comparisons that count together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Clause {
    /// How they count.
    #[n(1)]
    pub polarity: Polarity,
    /// The comparisons.
    #[n(2)]
    pub all: Vec<Atom>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Attribute {
    /// The number of the device's security profile.
    #[n(0)]
    Profile,
    /// The number of its evidence tier.
    #[n(1)]
    Evidence,
    /// Its role.
    #[n(2)]
    Role,
    /// The channel that it follows.
    #[n(3)]
    Channel,
    /// The time, in Unix seconds.
    #[n(4)]
    Time,
}

impl Attribute {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Profile, Self::Evidence, Self::Role, Self::Channel, Self::Time];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Evidence => "evidence",
            Self::Role => "role",
            Self::Channel => "channel",
            Self::Time => "time",
        }
    }

    /// Whether it is compared with a word, for equality alone.
    pub const fn is_word(self) -> bool {
        matches!(self, Self::Role | Self::Channel)
    }
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Comparison {
    /// `==`
    #[n(0)]
    Equal,
    /// `!=`
    #[n(1)]
    Unequal,
    /// `<`
    #[n(2)]
    Less,
    /// `<=`
    #[n(3)]
    AtMost,
    /// `>`
    #[n(4)]
    More,
    /// `>=`
    #[n(5)]
    AtLeast,
}

impl Comparison {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Equal, Self::Unequal, Self::Less, Self::AtMost, Self::More, Self::AtLeast];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }

    /// The one that is true when this one is false.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::Unequal,
            Self::Unequal => Self::Equal,
            Self::Less => Self::AtLeast,
            Self::AtMost => Self::More,
            Self::More => Self::AtMost,
            Self::AtLeast => Self::Less,
        }
    }

    /// The same with the two sides exchanged.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::More,
            Self::AtMost => Self::AtLeast,
            Self::More => Self::Less,
            Self::AtLeast => Self::AtMost,
            Self::Equal | Self::Unequal => self,
        }
    }

    fn of<T: Ord + ?Sized>(self, one: &T, other: &T) -> bool {
        match self {
            Self::Equal => one == other,
            Self::Unequal => one != other,
            Self::Less => one < other,
            Self::AtMost => one <= other,
            Self::More => one > other,
            Self::AtLeast => one >= other,
        }
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A word.
    Word(String),
}

/// One comparison of an attribute with a constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Atom {
    #[n(1)]
    attribute: Attribute,
    #[n(2)]
    comparison: Comparison,
    #[n(3)]
    number: Option<i64>,
    #[n(4)]
    word: Option<String>,
}

/// An attribute, an operator and a constant: `profile >= 2`, `role == sensor`, `time < 1800000000`.
impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (attribute, comparison) = (self.attribute.as_str(), self.comparison.as_str());
        match (self.number, &self.word) {
            (Some(number), _) => write!(f, "{attribute} {comparison} {number}"),
            (None, word) => write!(f, "{attribute} {comparison} {}", word.as_deref().unwrap_or_default()),
        }
    }
}

/// The text is no comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a condition is an attribute (profile, evidence, role, channel, time), an operator and a value")]
pub struct ParseAtomError;

impl FromStr for Atom {
    type Err = ParseAtomError;

    fn from_str(s: &str) -> Result<Self, ParseAtomError> {
        let mut words = s.split(' ');
        let (Some(attribute), Some(comparison), Some(value), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(ParseAtomError);
        };
        let attribute = Attribute::ALL.into_iter().find(|known| known.as_str() == attribute);
        let comparison = Comparison::ALL.into_iter().find(|known| known.as_str() == comparison);
        let (Some(attribute), Some(comparison)) = (attribute, comparison) else { return Err(ParseAtomError) };
        let value = match attribute.is_word() {
            true if !value.is_empty() => Value::Word(value.to_owned()),
            true => return Err(ParseAtomError),
            false => Value::Number(value.parse().map_err(|_| ParseAtomError)?),
        };
        Self::new(attribute, comparison, value).ok_or(ParseAtomError)
    }
}

impl Atom {
    /// A comparison, if this attribute can be compared like this with this.
    pub fn new(attribute: Attribute, comparison: Comparison, value: Value) -> Option<Self> {
        let (number, word) = match value {
            Value::Number(number) => (Some(number), None),
            Value::Word(word) => (None, Some(word)),
        };
        Some(Self { attribute, comparison, number, word }).filter(Self::is_in_limits)
    }

    /// What is compared.
    pub const fn attribute(&self) -> Attribute {
        self.attribute
    }

    /// The number that it is compared with, if it is one.
    pub const fn number(&self) -> Option<i64> {
        self.number
    }

    /// Whether it is true of a device that is this.
    pub fn holds(&self, now: Timestamp, facts: &Facts) -> bool {
        let number = |own: i64| self.number.is_some_and(|number| self.comparison.of(&own, &number));
        let word = |own: &str| self.word.as_deref().is_some_and(|word| self.comparison.of(own, word));
        match self.attribute {
            Attribute::Profile => number(facts.profile_number()),
            Attribute::Evidence => number(facts.evidence_number()),
            Attribute::Role => word(facts.role.as_str()),
            Attribute::Channel => word(facts.channel.as_str()),
            Attribute::Time => number(seconds(now)),
        }
    }

    pub(crate) fn is_in_limits(&self) -> bool {
        match (self.attribute.is_word(), &self.number, &self.word) {
            (true, None, Some(word)) => {
                word.len() <= NAME_BYTES_MAX
                    && matches!(self.comparison, Comparison::Equal | Comparison::Unequal)
            }
            (false, Some(_), None) => true,
            _ => false,
        }
    }
}

/// A moment as rules compare it.
pub(super) fn seconds(now: Timestamp) -> i64 {
    i64::try_from(now.unix_s()).unwrap_or(i64::MAX)
}

impl Facts {
    /// The profile as rules compare it: 0 to 4.
    pub fn profile_number(&self) -> i64 {
        place(kos_base::SecurityProfile::ALL, &self.profile)
    }

    /// The tier as rules compare it: 0 for none, 5 for the strongest.
    pub fn evidence_number(&self) -> i64 {
        place(kos_base::EvidenceTier::ALL, &self.evidence)
    }
}

fn place<T: PartialEq>(all: &[T], one: &T) -> i64 {
    all.iter().position(|other| other == one).and_then(|at| i64::try_from(at).ok()).unwrap_or_default()
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SliceRule {
    /// Its name: that of the manifest, a slash, and that of the policy.
    #[n(1)]
    pub id: String,
    /// Whether it permits or forbids.
    #[n(2)]
    pub effect: RuleEffect,
    /// What it is about.
    #[n(3)]
    pub resource: Pattern,
    /// Under what conditions; all of them.
    #[n(4)]
    pub clauses: Vec<Clause>,
}

impl SliceRule {
    /// Whether it holds for what is sent now.
    pub fn holds(&self, now: Timestamp, facts: &Facts, sent: Sent<'_>) -> bool {
        let holds = |clause: &Clause| {
            let all = clause.all.iter().all(|atom| atom.holds(now, facts));
            match clause.polarity {
                Polarity::When => all,
                Polarity::Unless => !all,
            }
        };
        self.resource.fits(sent) && self.clauses.iter().all(holds)
    }

    pub(super) fn is_in_limits(&self) -> bool {
        self.id.len() <= NAME_BYTES_MAX
            && self.resource.is_in_limits()
            && self.clauses.len() <= CLAUSES_MAX
            && self
                .clauses
                .iter()
                .all(|clause| clause.all.len() <= ATOMS_MAX && clause.all.iter().all(Atom::is_in_limits))
    }
}
