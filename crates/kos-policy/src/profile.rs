//! The five profiles as data, and what a device has proven.
//!
//! Source: `docs/spec/policy.md` POLS-1 to POLS-9.

use core::fmt;

use kos_base::{EvidenceTier, SecurityProfile};

use crate::door::Errand;

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// TLS_AES_256_GCM_SHA384.
    Aes256Gcm,
    /// TLS_CHACHA20_POLY1305_SHA256.
    ChaCha20Poly1305,
    /// TLS_AES_128_GCM_SHA256.
    Aes128Gcm,
}

impl Suite {
    /// All of them, in our order of preference.
    pub const ALL: [Self; 3] = [Self::Aes256Gcm, Self::ChaCha20Poly1305, Self::Aes128Gcm];

    /// The name that RFC 8446 gives.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "TLS_AES_256_GCM_SHA384",
            Self::ChaCha20Poly1305 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::Aes128Gcm => "TLS_AES_128_GCM_SHA256",
        }
    }

    /// Whether a device of this security profile may use it.
    pub fn suffices_for(self, profile: SecurityProfile) -> bool {
        guardrails(profile).suites.contains(&self)
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a device of a profile has to show where it is not only let in to enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Its identity key, which opens the enrolment door alone; whoever let it in may have given it a certificate.
    IdentityKey,
    /// The certificate of its operational key.
    Certificate,
    /// The same, of a key in hardware, which the evidence shows.
    HardwareKey,
}

impl Authentication {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdentityKey => "identity-key",
            Self::Certificate => "certificate",
            Self::HardwareKey => "hardware-key",
        }
    }
}

/// How a device of a profile comes to another version. Named here; there is no door for updates yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Updates {
    /// Not at all.
    None,
    /// When a person says so.
    Manual,
    /// At times that are agreed.
    Scheduled,
    /// By itself, and back when it fails.
    AutomaticWithRollback,
    /// When a person says so, and never otherwise.
    ManualOnly,
}

impl Updates {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::AutomaticWithRollback => "automatic-with-rollback",
            Self::ManualOnly => "manual-only",
        }
    }
}

/// With whom a device speaks through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// With nobody.
    None,
    /// With every device in service whose own profile allows it.
    Fleet,
    /// With those that have shown a genuine TPM ([`Peers::VERIFIED`]), over secure channels alone.
    Verified,
}

impl Peers {
    /// The least that a verified peer has proven.
    pub const VERIFIED: EvidenceTier = EvidenceTier::EkActivated;

    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fleet => "fleet",
            Self::Verified => "verified",
        }
    }
}

/// What is asked of a device's boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boot {
    /// Nothing.
    Any,
    /// Its image is verified, and the command that locks its bootloader has not failed.
    Verified,
}

impl Boot {
    /// The word that documents use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Verified => "verified",
        }
    }
}

/// Which of the two issuing CAs signs for a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuingCa {
    /// The everyday one.
    One,
    /// That of the strict profiles.
    Two,
}

/// What holds for every device of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guardrails {
    /// Of which.
    pub profile: SecurityProfile,
    /// For what it is.
    pub purpose: &'static str,
    /// What may be negotiated in TLS 1.3.
    pub suites: &'static [Suite],
    /// What it has to show.
    pub authentication: Authentication,
    /// How it comes to another version.
    pub updates: Updates,
    /// What it may do, in a few words.
    pub scope: &'static str,
    /// For what messages may come from it or go to it.
    pub errands: &'static [Errand],
    /// With whom it speaks through a relay.
    pub peers: Peers,
    /// The least that it has proven.
    pub evidence: EvidenceTier,
    /// What is asked of its boot.
    pub boot: Boot,
    /// How long a certificate lives, in days. The more it is worth, the shorter.
    pub certificate_days: u32,
    /// How often it may come back after its certificate ran out, before an operator must raise the counter.
    pub recoveries: u32,
    /// Who signs its certificates.
    pub issuing_ca: IssuingCa,
}

const LOBBY_ERRANDS: &[Errand] = &[Errand::Upkeep, Errand::Alert, Errand::Report];
const MINIMAL_ERRANDS: &[Errand] =
    &[Errand::Upkeep, Errand::Alert, Errand::Report, Errand::Command, Errand::Witness, Errand::Peer];
const ALL_ERRANDS: &[Errand] = Errand::ALL;

/// The table (POLS-1).
static TABLE: [Guardrails; 5] = [
    Guardrails {
        profile: SecurityProfile::Sec0,
        purpose: "the lobby, and devices that nobody manages",
        suites: &[Suite::Aes256Gcm, Suite::ChaCha20Poly1305, Suite::Aes128Gcm],
        authentication: Authentication::IdentityKey,
        updates: Updates::None,
        scope: "alerts and enrolment only",
        errands: LOBBY_ERRANDS,
        peers: Peers::None,
        evidence: EvidenceTier::None,
        boot: Boot::Any,
        certificate_days: 30,
        recoveries: 3,
        issuing_ca: IssuingCa::One,
    },
    Guardrails {
        profile: SecurityProfile::Sec1,
        purpose: "basic sensors",
        suites: &[Suite::Aes256Gcm, Suite::ChaCha20Poly1305, Suite::Aes128Gcm],
        authentication: Authentication::Certificate,
        updates: Updates::Manual,
        scope: "minimal local execution",
        errands: MINIMAL_ERRANDS,
        peers: Peers::Fleet,
        evidence: EvidenceTier::None,
        boot: Boot::Any,
        certificate_days: 30,
        recoveries: 3,
        issuing_ca: IssuingCa::One,
    },
    Guardrails {
        profile: SecurityProfile::Sec2,
        purpose: "trusted edge devices",
        suites: &[Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
        authentication: Authentication::Certificate,
        updates: Updates::Scheduled,
        scope: "limited kAI and services",
        errands: ALL_ERRANDS,
        peers: Peers::Fleet,
        evidence: EvidenceTier::KeyOnDevice,
        boot: Boot::Any,
        certificate_days: 14,
        recoveries: 3,
        issuing_ca: IssuingCa::One,
    },
    Guardrails {
        profile: SecurityProfile::Sec3,
        purpose: "autonomous nodes with hardware keys",
        suites: &[Suite::Aes256Gcm, Suite::ChaCha20Poly1305],
        authentication: Authentication::HardwareKey,
        updates: Updates::AutomaticWithRollback,
        scope: "full local execution, isolated outside",
        errands: ALL_ERRANDS,
        peers: Peers::Fleet,
        evidence: EvidenceTier::EkActivated,
        boot: Boot::Verified,
        certificate_days: 7,
        recoveries: 1,
        issuing_ca: IssuingCa::Two,
    },
    Guardrails {
        profile: SecurityProfile::Sec4,
        purpose: "critical infrastructure",
        suites: &[Suite::Aes256Gcm],
        authentication: Authentication::HardwareKey,
        updates: Updates::ManualOnly,
        scope: "verified clusters, signed operations",
        errands: ALL_ERRANDS,
        peers: Peers::Verified,
        evidence: EvidenceTier::QuoteVerified,
        boot: Boot::Verified,
        certificate_days: 1,
        recoveries: 0,
        issuing_ca: IssuingCa::Two,
    },
];

/// What holds for every device of this profile.
pub const fn guardrails(profile: SecurityProfile) -> &'static Guardrails {
    let [zero, one, two, three, four] = &TABLE;
    match profile {
        SecurityProfile::Sec0 => zero,
        SecurityProfile::Sec1 => one,
        SecurityProfile::Sec2 => two,
        SecurityProfile::Sec3 => three,
        SecurityProfile::Sec4 => four,
    }
}

/// Whether a device's image was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Image {
    /// Against its signed manifest.
    Verified,
    /// It has none.
    Unverified,
}

/// What came of locking a device's bootloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bootloader {
    /// It is locked, or has no command for it.
    Fine,
    /// The command failed.
    Failed,
}

/// What a device has proven. It decides what the profile may be, never the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proven {
    /// About its keys and its boot.
    pub evidence: EvidenceTier,
    /// About its image.
    pub image: Image,
    /// About its bootloader.
    pub bootloader: Bootloader,
}

impl Proven {
    /// What a certificate says. That image and bootloader were fine stands in the profile itself: whoever issued it has
    /// looked.
    pub const fn certified(evidence: EvidenceTier) -> Self {
        Self { evidence, image: Image::Verified, bootloader: Bootloader::Fine }
    }
}

/// What a device is at the moment of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The profile that it holds: of its certificate at a door on the wire, of its record where records are decided on.
    /// Who was never in service holds SEC-0.
    pub profile: SecurityProfile,
    /// What it has proven.
    pub proven: Proven,
}

impl Standing {
    /// A device whose certificate says this.
    pub const fn certified(profile: SecurityProfile, evidence: EvidenceTier) -> Self {
        Self { profile, proven: Proven::certified(evidence) }
    }
}
