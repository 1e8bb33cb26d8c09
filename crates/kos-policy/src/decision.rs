//! The one function that decides, and how a decision is told.
//!
//! Shape: a [`Decision`] is small, copied, and writes its sentence only when somebody reads it.
//!
//! Invariants: deny by default: what no rule allows is refused. The profile never goes down, whatever the way; it is
//! never above what was proven.
//!
//! Errors: [`Refusal`], with the stable code of the rule.
//!
//! Source: `docs/spec/policy.md` POLS-10 to POLS-30.

use core::fmt;

use kos_base::{Code, SecurityProfile, code};

use crate::{
    door::{Credential, Entrance, Errand, Forwarding, Request, Tie, Way},
    profile::{Boot, Bootloader, Image, Peers, Standing, guardrails},
};

/// What decided. The names are stable: scripts and `kosctl policy explain` use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The suites of the profile.
    Suite,
    /// Enrolment takes any identity key; everything else a certificate.
    Authentication,
    /// A certificate says no more than its device's record.
    AsRecorded,
    /// A profile never goes down.
    NeverDown,
    /// A profile needs its evidence.
    Evidence,
    /// The strict profiles need a verified image.
    Image,
    /// They need a bootloader whose locking has not failed.
    Bootloader,
    /// kID and configuration say what the certificate says.
    AsCertified,
    /// What a device of the profile may take part in.
    Scope,
    /// The lobby speaks with nobody but the authority.
    Isolation,
    /// What goes through a relay from or to the strictest profile is forward secret.
    ForwardSecrecy,
    /// The strictest profile speaks with verified devices alone.
    VerifiedPeers,
    /// A device may read what is kept about itself.
    OwnRecord,
    /// A device and an agent are paired, confirmed by both.
    Paired,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Suite,
        Self::Authentication,
        Self::AsRecorded,
        Self::NeverDown,
        Self::Evidence,
        Self::Image,
        Self::Bootloader,
        Self::AsCertified,
        Self::Scope,
        Self::Isolation,
        Self::ForwardSecrecy,
        Self::VerifiedPeers,
        Self::OwnRecord,
        Self::Paired,
    ];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suite => "suite",
            Self::Authentication => "authentication",
            Self::AsRecorded => "as-recorded",
            Self::NeverDown => "never-down",
            Self::Evidence => "evidence",
            Self::Image => "image",
            Self::Bootloader => "bootloader",
            Self::AsCertified => "as-certified",
            Self::Scope => "scope",
            Self::Isolation => "isolation",
            Self::ForwardSecrecy => "forward-secrecy",
            Self::VerifiedPeers => "verified-peers",
            Self::OwnRecord => "own-record",
            Self::Paired => "paired",
        }
    }

    /// The code of what it refuses.
    pub const fn code(self) -> Code {
        match self {
            Self::Suite => code::klp::KLP_SUITE,
            Self::NeverDown => code::enrolment::DOWNGRADE,
            Self::Image => code::enrolment::IMAGE_UNVERIFIED,
            Self::Bootloader => code::enrolment::BOOTLOADER_UNLOCKED,
            Self::Evidence => code::policy::POLICY_EVIDENCE,
            Self::Authentication => code::policy::POLICY_AUTHENTICATION,
            Self::AsRecorded | Self::AsCertified => code::policy::POLICY_CONTRADICTION,
            Self::Scope | Self::OwnRecord => code::policy::POLICY_SCOPE,
            Self::Paired => code::pairing::PAIR_NONE,
            Self::Isolation | Self::ForwardSecrecy | Self::VerifiedPeers => code::policy::POLICY_PEER,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Allowed.
    Allow,
    /// Refused.
    Refuse,
}

/// What was decided, about what, and by which rule. Displays as one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    standing: Standing,
    request: Request,
    verdict: Verdict,
    rule: Rule,
}

/// Something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(Decision);

impl Refusal {
    /// The rule that decided.
    pub const fn rule(&self) -> Rule {
        self.0.rule
    }

    /// What was asked.
    pub const fn request(&self) -> &Request {
        &self.0.request
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.0.rule.code()
    }
}

impl Decision {
    /// Yes or no.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether it is allowed.
    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allow
    }

    /// The rule that decided.
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What was asked.
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Goes on, or not.
    ///
    /// # Errors
    /// When it was refused; the caller tells the code and the sentence, and does nothing.
    pub const fn check(self) -> Result<(), Refusal> {
        match self.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Refuse => Err(Refusal(self)),
        }
    }
}

/// Decides on what is asked of or by a device that is `standing`.
pub fn decide(standing: Standing, request: Request) -> Decision {
    let (verdict, rule) = match rule(standing, request) {
        Ok(rule) => (Verdict::Allow, rule),
        Err(rule) => (Verdict::Refuse, rule),
    };
    Decision { standing, request, verdict, rule }
}

/// The rule that allows, or the one that refuses.
fn rule(standing: Standing, request: Request) -> Result<Rule, Rule> {
    let own = guardrails(standing.profile);
    match request {
        Request::Connect(suite) => demand(own.suites.contains(&suite), Rule::Suite),
        Request::Enter(Entrance::Enrolment, Credential::IdentityKey) => Ok(Rule::Authentication),
        Request::Enter(Entrance::Link | Entrance::Api, Credential::IdentityKey) => Err(Rule::Authentication),
        Request::Enter(_, Credential::Certificate { record }) => {
            demand(standing.proven.evidence >= own.evidence, Rule::Evidence)?;
            demand(standing.profile <= record, Rule::AsRecorded)?;
            Ok(Rule::Authentication)
        }
        Request::Certify(way, to) => certify(standing, way, to),
        Request::Name(profile) => demand(profile == standing.profile, Rule::AsCertified),
        Request::Message(errand) => demand(own.errands.contains(&errand), Rule::Scope),
        Request::Peer(forwarding, other) => peer(standing, forwarding, other),
        Request::Call(crate::door::Effect::Reads) => Ok(Rule::OwnRecord),
        // Nothing that a device may call changes anything yet; who builds such a route asks here.
        Request::Call(crate::door::Effect::Changes) => {
            demand(standing.profile > SecurityProfile::Sec0, Rule::Scope)
        }
        Request::Agent(_, tie) => {
            demand(own.errands.contains(&Errand::Agent), Rule::Scope)?;
            demand(tie == Tie::Paired, Rule::Paired)
        }
        Request::Configure(profile) => {
            demand(profile >= standing.profile, Rule::NeverDown)?;
            demand(profile == standing.profile, Rule::AsCertified)
        }
    }
}

fn certify(standing: Standing, way: Way, to: SecurityProfile) -> Result<Rule, Rule> {
    demand(to >= standing.profile, Rule::NeverDown)?;
    if way == Way::Approval {
        return Ok(Rule::NeverDown);
    }
    let (proven, needed) = (standing.proven, guardrails(to));
    demand(proven.evidence >= needed.evidence, Rule::Evidence)?;
    if needed.boot == Boot::Verified {
        demand(proven.image == Image::Verified, Rule::Image)?;
        demand(proven.bootloader == Bootloader::Fine, Rule::Bootloader)?;
    }
    Ok(Rule::Evidence)
}

fn peer(standing: Standing, forwarding: Forwarding, other: Standing) -> Result<Rule, Rule> {
    let both = [(standing, other), (other, standing)];
    let any = |peers| both.iter().any(|(one, _)| guardrails(one.profile).peers == peers);
    demand(!any(Peers::None), Rule::Isolation)?;
    let strict = || both.iter().filter(|(one, _)| guardrails(one.profile).peers == Peers::Verified);
    demand(strict().all(|(_, another)| another.is_verified()), Rule::VerifiedPeers)?;
    demand(!any(Peers::Verified) || forwarding == Forwarding::Channel, Rule::ForwardSecrecy)?;
    Ok(Rule::Scope)
}

const fn demand(holds: bool, rule: Rule) -> Result<Rule, Rule> {
    if holds { Ok(rule) } else { Err(rule) }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { profile, proven } = self.standing;
        let own = guardrails(profile);
        let allowed = self.is_allowed();
        match (self.rule, self.request) {
            (Rule::Suite, Request::Connect(suite)) => {
                let verb = if allowed { "allows" } else { "does not allow" };
                write!(f, "{profile} {verb} {suite}")
            }
            (Rule::Evidence, request) => {
                let of = match request {
                    Request::Certify(_, to) => to,
                    _ => profile,
                };
                let needed = guardrails(of).evidence;
                write!(f, "{of} needs evidence `{needed}`, and the device has shown `{}`", proven.evidence)
            }
            (Rule::Image, Request::Certify(_, to)) => {
                write!(f, "{to} needs a verified image, and the device has none")
            }
            (Rule::Bootloader, Request::Certify(_, to)) => {
                write!(f, "{to} needs a locked bootloader, and locking it failed")
            }
            (Rule::NeverDown, Request::Certify(_, to) | Request::Configure(to)) => {
                if allowed {
                    write!(f, "{to} is not below {profile}, which the device has")
                } else {
                    write!(
                        f,
                        "a security profile never goes down: the device has {profile}, and {to} is below"
                    )
                }
            }
            (Rule::AsRecorded, Request::Enter(_, Credential::Certificate { record })) => {
                write!(f, "the certificate says {profile}, and the record says {record}")
            }
            (Rule::AsCertified, Request::Name(said) | Request::Configure(said)) => {
                if allowed {
                    write!(f, "the certificate says {profile} as well")
                } else {
                    write!(f, "the certificate says {profile}, and this says {said}")
                }
            }
            (Rule::Authentication, Request::Enter(_, Credential::IdentityKey)) if allowed => {
                f.write_str("whoever holds an identity key may ask to be let in")
            }
            (Rule::Authentication, Request::Enter(_, Credential::IdentityKey)) => {
                f.write_str("an identity key opens the enrolment door alone; here a certificate is shown")
            }
            (Rule::Authentication, _) => write!(f, "{profile} shows a certificate here"),
            (Rule::Scope, Request::Message(errand)) => {
                let verb = if allowed { "may" } else { "may not" };
                let errand = errand.as_str();
                write!(f, "{profile} {verb} take part in `{errand}`: {}", own.scope)
            }
            (Rule::Scope, Request::Agent(..)) => {
                write!(f, "{profile} has nothing to do with agents: {}", own.scope)
            }
            (Rule::Paired, _) => {
                let verb = if allowed { "are paired" } else { "are not paired, confirmed by both" };
                write!(f, "the device and the agent {verb}")
            }
            (Rule::Scope, Request::Call(_)) => {
                let verb = if allowed { "may change" } else { "changes nothing" };
                write!(f, "{profile} {verb}: {}", own.scope)
            }
            (Rule::Scope, Request::Peer(_, other)) => {
                write!(f, "{profile} and {} may speak through a relay", other.profile)
            }
            (Rule::Isolation, Request::Peer(_, other)) => {
                let lobby = if own.peers == Peers::None { profile } else { other.profile };
                write!(f, "{lobby} speaks with nobody but the authority")
            }
            (Rule::VerifiedPeers, Request::Peer(_, other)) => {
                let (strict, weak) =
                    if other.is_verified() { (other, self.standing) } else { (self.standing, other) };
                let evidence = weak.proven.evidence;
                write!(
                    f,
                    "{} speaks with devices that have shown `{}` at least, and the other one has shown `{evidence}`",
                    strict.profile,
                    Peers::VERIFIED
                )
            }
            (Rule::ForwardSecrecy, _) => {
                f.write_str("SEC-4 speaks through relays over secure channels alone")
            }
            (Rule::OwnRecord, _) => f.write_str("a device may read what is kept about itself"),
            (rule, request) => {
                let verb = if allowed { "allows" } else { "refuses" };
                write!(f, "rule `{rule}` {verb} `{request}` for {profile}")
            }
        }
    }
}
