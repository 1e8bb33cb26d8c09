//! Comparisons with what no device can be: a mistyped role, a profile that does not exist. A rule that is about nobody looks
//! like protection and is none.
//!
//! Source: `docs/spec/manifest.md` MAN-6, MAN-11.

use kos_base::{Channel, EvidenceTier, Role, SecurityProfile, Timestamp};
use kos_policy::slice::{Atom, Attribute, Facts};

/// Any device: each attribute is tried on it in turn.
const ANY: Facts = Facts {
    profile: SecurityProfile::Sec0,
    evidence: EvidenceTier::KeyOnDevice,
    role: Role::Sensor,
    channel: Channel::Stable,
};

/// What is wrong with a comparison, if it is with something that is not in the closed list of its attribute, or holds for
/// nothing that is.
pub(crate) fn of(atom: &Atom) -> Option<String> {
    let all: Vec<Facts> = match atom.attribute() {
        Attribute::Profile => {
            SecurityProfile::ALL.iter().map(|profile| Facts { profile: *profile, ..ANY }).collect()
        }
        Attribute::Evidence => {
            EvidenceTier::ALL.iter().map(|evidence| Facts { evidence: *evidence, ..ANY }).collect()
        }
        Attribute::Role => Role::ALL.iter().map(|role| Facts { role: *role, ..ANY }).collect(),
        Attribute::Channel => Channel::ALL.iter().map(|channel| Facts { channel: *channel, ..ANY }).collect(),
        Attribute::Time => return None,
    };
    let holding = all.iter().filter(|facts| atom.holds(Timestamp::from_unix_s(0), facts)).count();
    let said =
        |words: Vec<&str>| format!("there is no such {}: {}", atom.attribute().as_str(), words.join(", "));
    match atom.attribute() {
        // A word that is one of the list is that of some devices and not of the others.
        Attribute::Role if holding == 0 || holding == all.len() => {
            Some(format!("`{atom}`: {}", said(Role::ALL.iter().map(|role| role.as_str()).collect())))
        }
        Attribute::Channel if holding == 0 || holding == all.len() => {
            Some(format!("`{atom}`: {}", said(Channel::ALL.iter().map(|channel| channel.as_str()).collect())))
        }
        Attribute::Profile | Attribute::Evidence => {
            let most = i64::try_from(all.len()).unwrap_or(i64::MAX).saturating_sub(1);
            let is_listed = atom.number().is_some_and(|number| (0..=most).contains(&number));
            let what = atom.attribute().as_str();
            (!is_listed || holding == 0).then(|| format!("`{atom}`: {what} is a number from 0 to {most}"))
        }
        Attribute::Role | Attribute::Channel | Attribute::Time => None,
    }
}
