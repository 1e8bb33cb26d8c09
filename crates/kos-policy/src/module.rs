//! Enforcement modules: what is asked of a device beyond its certificate, each by name and version, and what comes of it.
//!
//! Shape: a [`Module`] is data about itself and one function, from what is known of a device ([`Seen`]) to a [`Finding`].
//! What a device says of itself is a [`Report`]. An operator says for each profile whether a module is mandatory, advisory
//! or off ([`Stance`]); [`first_unmet`] tells the mandatory one that is not met.
//!
//! Invariants: fail closed: what is not known is not met. A report that is old is none ([`REPORT_AGE_MAX`]). What was only
//! said and what was proven are told apart ([`Basis`]).
//!
//! What it does not do: look at a device, keep anything, know the time.
//!
//! Source: `docs/spec/modules.md`.

use core::{fmt, time::Duration};

use kos_base::{EvidenceTier, SecurityProfile, Timestamp};
use minicbor::{Decode, Encode};

/// How old a report may be. Stops a device that fell silent from counting as what it was.
pub const REPORT_AGE_MAX: Duration = Duration::from_secs(900);
/// How far the clock of a device may be from that of its authority.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(60);
/// Before this moment (2024-01-01) no clock is right that was ever set.
pub const CLOCK_MIN: Timestamp = Timestamp::from_unix_s(1_704_067_200);
/// The moment at which a clock of 32 bits ends (2038-01-19T03:14:07Z); one that stands there was never right.
pub const CLOCK_32_BIT: Timestamp = Timestamp::from_unix_s(2_147_483_647);

/// Where the state of a device lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Disk {
    /// It cannot be told.
    #[n(0)]
    Unknown,
    /// On no device that encrypts.
    #[n(1)]
    Plain,
    /// On dm-crypt: LUKS, or plain.
    #[n(2)]
    DmCrypt,
    /// In memory alone, which is gone with the power.
    #[n(3)]
    Memory,
}

impl Disk {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Plain => "plain",
            Self::DmCrypt => "dm-crypt",
            Self::Memory => "memory",
        }
    }
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// The clock of its system.
    #[n(1)]
    pub clock: Timestamp,
    /// How often that clock went back, in this run of its program.
    #[n(2)]
    pub steps_back: u32,
    /// Where its state lies.
    #[n(3)]
    pub disk: Disk,
}

/// What is known of a device at the moment of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it has proven, which its certificate says.
    pub evidence: EvidenceTier,
    /// When its TPM answered last.
    pub attested: Option<Timestamp>,
    /// What it said last of itself, and when that came.
    pub report: Option<(Report, Timestamp)>,
    /// The time of whoever judges.
    pub now: Timestamp,
}

impl Seen {
    /// The report, as long as it is fresh.
    fn report(&self) -> Result<(Report, Timestamp), Finding> {
        match self.report {
            Some((report, at)) if self.now.since(at) <= REPORT_AGE_MAX => Ok((report, at)),
            Some(_) => Err(Finding::unknown("the device has not reported for 15 min".to_owned())),
            None => Err(Finding::unknown("the device has reported nothing of it".to_owned())),
        }
    }
}

/// Whether what is asked is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Unmet,
    /// Nobody knows. Where a module is mandatory this is no better than unmet.
    Unknown,
}

impl Verdict {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unmet => "unmet",
            Self::Unknown => "unknown",
        }
    }
}

/// On what a verdict rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Something that was proven.
    Proof,
    /// What the device says, compared with what is known.
    Compared,
    /// What the device says, and nothing else.
    Claim,
}

impl Basis {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Compared => "compared",
            Self::Claim => "claim",
        }
    }
}

/// What a module makes of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether what it asks is met.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub why: String,
}

impl Finding {
    fn unknown(why: String) -> Self {
        Self { verdict: Verdict::Unknown, why }
    }

    fn judged(met: bool, why: String) -> Self {
        Self { verdict: if met { Verdict::Met } else { Verdict::Unmet }, why }
    }
}

/// Something that is asked of devices.
pub trait Module: Sync {
    /// Its name. Stable.
    fn name(&self) -> &'static str;

    /// Its version; another one may judge otherwise.
    fn version(&self) -> u16;

    /// What it asks of a device of this profile, in words.
    fn demand(&self, profile: SecurityProfile) -> &'static str;

    /// On what its verdict rests.
    fn basis(&self) -> Basis;

    /// Judges a device of this profile.
    fn judge(&self, profile: SecurityProfile, seen: &Seen) -> Finding;
}

/// All of them, in the order in which they are asked.
pub static MODULES: [&dyn Module; 3] = [&Attestation, &ClockSanity, &DiskEncryption];

/// The module of this name.
pub fn module(name: &str) -> Option<&'static dyn Module> {
    MODULES.into_iter().find(|module| module.name() == name)
}

/// How an operator wants a module for a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stance {
    /// It is not asked.
    #[default]
    Off,
    /// What it finds is told.
    Advisory,
    /// Who does not meet it is kept to what the lobby may.
    Mandatory,
}

impl Stance {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Advisory, Self::Mandatory];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Advisory => "advisory",
            Self::Mandatory => "mandatory",
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The first mandatory module that a device does not meet, by what an operator wants.
pub fn first_unmet(
    profile: SecurityProfile,
    seen: &Seen,
    stance: impl Fn(&str, SecurityProfile) -> Stance,
) -> Option<(&'static dyn Module, Finding)> {
    let mandatory = |module: &&dyn Module| stance(module.name(), profile) == Stance::Mandatory;
    let judged = MODULES.into_iter().filter(mandatory).map(|module| (module, module.judge(profile, seen)));
    judged.into_iter().find(|(_, finding)| finding.verdict != Verdict::Met)
}

/// What the TPM of a device has shown.
struct Attestation;

impl Module for Attestation {
    fn name(&self) -> &'static str {
        "attestation"
    }

    fn version(&self) -> u16 {
        1
    }

    fn demand(&self, profile: SecurityProfile) -> &'static str {
        match profile {
            SecurityProfile::Sec4 => "a quote of its boot was verified",
            _ => "its endorsement key opened a challenge",
        }
    }

    fn basis(&self) -> Basis {
        Basis::Proof
    }

    fn judge(&self, profile: SecurityProfile, seen: &Seen) -> Finding {
        let needed = match profile {
            SecurityProfile::Sec4 => EvidenceTier::QuoteVerified,
            _ => EvidenceTier::EkActivated,
        };
        let met = seen.evidence >= needed && seen.attested.is_some();
        Finding::judged(met, format!("the device has shown `{}`, and `{needed}` is needed", seen.evidence))
    }
}

/// The clock of a device against that of its authority.
struct ClockSanity;

impl Module for ClockSanity {
    fn name(&self) -> &'static str {
        "clock-sanity"
    }

    fn version(&self) -> u16 {
        1
    }

    fn demand(&self, _: SecurityProfile) -> &'static str {
        "the clock of its system is within 60 s of the authority's and did not go back"
    }

    fn basis(&self) -> Basis {
        Basis::Compared
    }

    fn judge(&self, _: SecurityProfile, seen: &Seen) -> Finding {
        let (report, at) = match seen.report() {
            Ok(report) => report,
            Err(unknown) => return unknown,
        };
        if report.clock < CLOCK_MIN {
            return Finding::judged(false, format!("the clock says {}, so nobody ever set it", report.clock));
        }
        if report.clock >= CLOCK_32_BIT && at < CLOCK_32_BIT {
            return Finding::judged(false, format!("the clock says {}, the end of 32 bits", report.clock));
        }
        let off = report.clock.since(at).max(at.since(report.clock));
        if off > CLOCK_OFF_MAX {
            return Finding::judged(false, format!("the clock is {} s off", off.as_secs()));
        }
        match report.steps_back {
            0 => Finding::judged(true, format!("the clock is {} s off", off.as_secs())),
            steps => Finding::judged(false, format!("the clock went back {steps} times")),
        }
    }
}

/// Where the state of a device lies.
struct DiskEncryption;

impl Module for DiskEncryption {
    fn name(&self) -> &'static str {
        "disk-encryption"
    }

    fn version(&self) -> u16 {
        1
    }

    fn demand(&self, _: SecurityProfile) -> &'static str {
        "its state lies on dm-crypt, or in memory alone"
    }

    fn basis(&self) -> Basis {
        Basis::Claim
    }

    fn judge(&self, _: SecurityProfile, seen: &Seen) -> Finding {
        match seen.report() {
            Err(unknown) => unknown,
            Ok((Report { disk: Disk::Unknown, .. }, _)) => {
                Finding::unknown("the device cannot tell where its state lies".to_owned())
            }
            Ok((Report { disk, .. }, _)) => {
                let met = matches!(disk, Disk::DmCrypt | Disk::Memory);
                Finding::judged(met, format!("the device says that its state lies on `{}`", disk.as_str()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);

    fn seen(report: Option<Report>) -> Seen {
        let report = report.map(|report| (report, NOW));
        Seen { evidence: EvidenceTier::KeyOnDevice, attested: None, report, now: NOW }
    }

    fn verdict(name: &str, seen: &Seen) -> Verdict {
        module(name).unwrap().judge(SecurityProfile::Sec2, seen).verdict
    }

    #[test]
    fn clocks_that_were_never_right_or_went_back_are_not_met() {
        let report = |clock: Timestamp, steps_back| Report { clock, steps_back, disk: Disk::Plain };
        let of = |clock, steps| verdict("clock-sanity", &seen(Some(report(clock, steps))));
        assert_eq!(of(NOW, 0), Verdict::Met);
        assert_eq!(of(NOW.plus(CLOCK_OFF_MAX), 0), Verdict::Met);
        for clock in [
            NOW.plus(CLOCK_OFF_MAX * 2),
            NOW.minus(CLOCK_OFF_MAX * 2),
            Timestamp::from_unix_s(0),
            Timestamp::from_unix_s(2_147_483_647),
            Timestamp::from_unix_s(2_147_483_648),
        ] {
            assert_eq!(of(clock, 0), Verdict::Unmet, "{clock}");
        }
        assert_eq!(of(NOW, 1), Verdict::Unmet);
        // In the year 2038 it is right to say so.
        let then = Timestamp::from_unix_s(2_147_483_700);
        let late = Seen { report: Some((report(then, 0), then)), now: then, ..seen(None) };
        assert_eq!(verdict("clock-sanity", &late), Verdict::Met);
    }

    #[test]
    fn what_is_not_known_or_old_is_not_met_where_it_is_mandatory() {
        let good = Report { clock: NOW, steps_back: 0, disk: Disk::DmCrypt };
        let mandatory = |wanted: &'static str| {
            move |name: &str, _| if name == wanted { Stance::Mandatory } else { Stance::Advisory }
        };
        for name in ["clock-sanity", "disk-encryption"] {
            let unmet = |seen: &Seen| first_unmet(SecurityProfile::Sec2, seen, mandatory(name)).is_some();
            assert!(!unmet(&seen(Some(good))), "{name}");
            assert!(unmet(&seen(None)), "{name}");
            let later = NOW.plus(REPORT_AGE_MAX + Duration::from_secs(1));
            assert!(unmet(&Seen { now: later, ..seen(Some(good)) }), "{name}");
        }
        for (disk, met) in [
            (Disk::DmCrypt, Verdict::Met),
            (Disk::Memory, Verdict::Met),
            (Disk::Plain, Verdict::Unmet),
            (Disk::Unknown, Verdict::Unknown),
        ] {
            assert_eq!(verdict("disk-encryption", &seen(Some(Report { disk, ..good }))), met);
        }
        let nothing = first_unmet(SecurityProfile::Sec2, &seen(None), |_, _| Stance::Advisory);
        assert!(nothing.is_none(), "what is advised keeps nobody out");
    }

    #[test]
    fn attestation_is_a_proof_and_the_strictest_profile_asks_for_more() {
        let attestation = module("attestation").unwrap();
        assert_eq!(attestation.basis(), Basis::Proof);
        for (evidence, met) in [
            (EvidenceTier::KeyInTpm, [false, false]),
            (EvidenceTier::EkActivated, [true, false]),
            (EvidenceTier::QuoteVerified, [true, true]),
        ] {
            let of = Seen { evidence, attested: Some(NOW), ..seen(None) };
            let judged = [SecurityProfile::Sec3, SecurityProfile::Sec4]
                .map(|profile| attestation.judge(profile, &of).verdict == Verdict::Met);
            assert_eq!(judged, met, "{evidence}");
        }
        assert_eq!(verdict("attestation", &seen(None)), Verdict::Unmet);
    }
}
