//! Trust levels: what agents of a level may do, and within which limits.
//!
//! The fields are those of the source (`TrustPolicy`); the values are ours, and the strictest that leave each level its
//! use. A grant gives an agent no more than its level does ([`crate::grant`]), and a call is judged by [`judge`] before
//! it is routed.
//!
//! Source: `docs/spec/policy.md` POLS-31 to POLS-35.

use core::{fmt, time::Duration};

use kos_base::{Code, code};
use minicbor::{Decode, Encode};

/// How far somebody is trusted. Later is further; the number is the one of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum TrustLevel {
    /// 0: anybody else.
    #[n(0)]
    External,
    /// 1: somebody whom the owner works with.
    #[n(1)]
    Partner,
    /// 2: the owner's own.
    #[n(2)]
    Trusted,
}

impl TrustLevel {
    /// All of them, from 0 up.
    pub const ALL: [Self; 3] = [Self::External, Self::Partner, Self::Trusted];

    /// Its number.
    pub const fn number(self) -> u8 {
        match self {
            Self::External => 0,
            Self::Partner => 1,
            Self::Trusted => 2,
        }
    }

    /// The level with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Partner => "partner",
            Self::Trusted => "trusted",
        }
    }

    /// What holds for it.
    pub const fn policy(self) -> &'static TrustPolicy {
        let [external, partner, trusted] = &TABLE;
        match self {
            Self::External => external,
            Self::Partner => partner,
            Self::Trusted => trusted,
        }
    }
}

impl fmt::Display for TrustLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether something is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// It is.
    Granted,
    /// It is not.
    Denied,
}

/// How far the network reaches. Later is further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Network {
    /// Nowhere.
    #[n(0)]
    None,
    /// To the fleet's own services.
    #[n(1)]
    Restricted,
    /// Everywhere that the device reaches.
    #[n(2)]
    Full,
}

impl Network {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Restricted, Self::Full];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Full => "full",
        }
    }
}

/// What may be stored. Later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Storage {
    /// Nothing.
    #[n(0)]
    None,
    /// Until the task ends.
    #[n(1)]
    Temporary,
    /// Beyond it.
    #[n(2)]
    Persistent,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Temporary, Self::Persistent];

    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Temporary => "temporary",
            Self::Persistent => "persistent",
        }
    }
}

/// What a task may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes_max: u64,
    /// Share of one processor, in percent.
    pub cpu_percent_max: u32,
    /// How long it may run.
    pub duration_max: Duration,
}

/// Everything that holds for one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrustPolicy {
    /// Of which.
    pub level: TrustLevel,
    /// `initiateWorkflows`.
    pub initiate_workflows: Permission,
    /// `accessUserData`.
    pub access_user_data: Permission,
    /// `crossAgentCommunication`.
    pub cross_agent_communication: Permission,
    /// `systemModification`.
    pub system_modification: Permission,
    /// `networkAccess`.
    pub network: Network,
    /// `storageAccess`.
    pub storage: Storage,
    /// `resourceLimits`.
    pub limits: Limits,
}

const MIB: u64 = 1 << 20;

/// POLS-32.
static TABLE: [TrustPolicy; 3] = [
    TrustPolicy {
        level: TrustLevel::External,
        initiate_workflows: Permission::Denied,
        access_user_data: Permission::Denied,
        cross_agent_communication: Permission::Denied,
        system_modification: Permission::Denied,
        network: Network::None,
        storage: Storage::None,
        limits: Limits {
            memory_bytes_max: 64 * MIB,
            cpu_percent_max: 10,
            duration_max: Duration::from_secs(60),
        },
    },
    TrustPolicy {
        level: TrustLevel::Partner,
        initiate_workflows: Permission::Granted,
        access_user_data: Permission::Denied,
        cross_agent_communication: Permission::Granted,
        system_modification: Permission::Denied,
        network: Network::Restricted,
        storage: Storage::Temporary,
        limits: Limits {
            memory_bytes_max: 512 * MIB,
            cpu_percent_max: 50,
            duration_max: Duration::from_secs(3_600),
        },
    },
    TrustPolicy {
        level: TrustLevel::Trusted,
        initiate_workflows: Permission::Granted,
        access_user_data: Permission::Granted,
        cross_agent_communication: Permission::Granted,
        system_modification: Permission::Granted,
        network: Network::Full,
        storage: Storage::Persistent,
        limits: Limits {
            memory_bytes_max: 4_096 * MIB,
            cpu_percent_max: 100,
            duration_max: Duration::from_secs(86_400),
        },
    },
];

/// What an agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// To begin a workflow.
    InitiateWorkflow,
    /// To see what belongs to a person.
    AccessUserData,
    /// To speak to another agent.
    SpeakToAgent,
    /// To change the system.
    ModifySystem,
    /// To reach this far.
    Reach(Network),
    /// To store.
    Store(Storage),
    /// Memory, in bytes.
    Memory(u64),
    /// A share of one processor, in percent.
    Cpu(u32),
    /// To run for so long.
    Run(Duration),
}

/// The field of the policy that decided. The names are those of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field(&'static str);

impl Field {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Somebody is not trusted far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trust level {level} does not reach so far: `{}` decides", field.0)]
pub struct Untrusted {
    /// The level.
    pub level: TrustLevel,
    /// The field that decided.
    pub field: Field,
}

impl Untrusted {
    /// The stable code.
    pub const fn code(&self) -> Code {
        code::policy::POLICY_SCOPE
    }
}

/// Decides on what an agent of this level asks for; tells the field that decided, either way.
///
/// # Errors
/// When the level does not allow it; nothing is routed.
pub fn judge(level: TrustLevel, act: Act) -> Result<Field, Untrusted> {
    let policy = level.policy();
    let granted = |permission| permission == Permission::Granted;
    let (field, allowed) = match act {
        Act::InitiateWorkflow => ("initiateWorkflows", granted(policy.initiate_workflows)),
        Act::AccessUserData => ("accessUserData", granted(policy.access_user_data)),
        Act::SpeakToAgent => ("crossAgentCommunication", granted(policy.cross_agent_communication)),
        Act::ModifySystem => ("systemModification", granted(policy.system_modification)),
        Act::Reach(network) => ("networkAccess", network <= policy.network),
        Act::Store(storage) => ("storageAccess", storage <= policy.storage),
        Act::Memory(bytes) => ("memory", bytes <= policy.limits.memory_bytes_max),
        Act::Cpu(percent) => ("cpu", percent <= policy.limits.cpu_percent_max),
        Act::Run(duration) => ("duration", duration <= policy.limits.duration_max),
    };
    if allowed { Ok(Field(field)) } else { Err(Untrusted { level, field: Field(field) }) }
}
