//! What is recorded when something changes: the registry's changes, and those of the authority itself.
//!
//! `event_of` turns each change into exactly one entry of the audit log. It has no wildcard arm, so a new change
//! does not compile until somebody has decided what the log says about it.

mod bonds;
mod event;
mod system;
mod vault;
mod voucher;

use std::collections::{BTreeMap, BTreeSet};

use kos_api::operator::OperatorRole;
use kos_audit::{
    TreeHash,
    alert::{Alert, AlertId, RuleName as AlertRule},
};
use kos_base::{
    AgreementKey, Code, DeviceId, EntryId, GroupPath, KeyId, Mac, Name, Role, SecurityProfile, Timestamp,
    digest::Sha256,
};
use kos_identity::{enrolment::authority::RuleName, registry};
use kos_policy::{
    Refusal,
    grant::{Basis, Call, Grant},
    module::Stance,
    pairing::{EndedBy, Pairing, Side},
};
use kos_vault::{EntryName, Environment, RelyingParty, SecretType, SlotName, VaultId};

use crate::{alert::Guardian, quarantine::Exposed, store::PersonsWord};

pub(crate) use self::event::{About, Draft, Person, event_of};
pub use self::voucher::PapersChange;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// To a device, ticket or certificate.
    Registry(registry::Change),
    /// To the authority itself.
    System(SystemChange),
}

impl From<registry::Change> for Change {
    fn from(change: registry::Change) -> Self {
        Self::Registry(change)
    }
}

impl From<PapersChange> for Change {
    fn from(change: PapersChange) -> Self {
        Self::System(SystemChange::Papers(change))
    }
}

impl From<SystemChange> for Change {
    fn from(change: SystemChange) -> Self {
        Self::System(change)
    }
}

/// One thing that happened to the authority itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after what they are, and each variant says what happened"
)]
pub enum SystemChange {
    /// It made its keys and began its log.
    Created { root: KeyId, kid: KeyId, orders: KeyId },
    /// An issuing CA got its certificate.
    IssuerCertified { issuer: KeyId, serial: Vec<u8>, not_after: Timestamp },
    /// It got a certificate for its TLS port.
    OwnCertified { serial: Vec<u8>, key: KeyId, not_after: Timestamp },
    /// It began to serve. The run before ended in order, or did not, if there was one.
    Started { version: &'static str, after: Option<Ending> },
    /// It ended in order.
    Stopped,
    /// Its settings file says something else than when it ran before.
    SettingsChanged { keys: BTreeSet<String> },
    /// The clock jumped.
    ClockStepped { from: Timestamp, to: Timestamp },
    /// Events were not recorded: how many of which.
    LossesRecorded { since: Timestamp, until: Timestamp, events: BTreeMap<String, u64>, unreadable: bool },
    /// An entry of the store cannot be read any more, so no rule has looked at it.
    LogUnreadable { index: u64 },
    /// It lets in by a rule that it did not have when it ran before.
    RuleAdded {
        rule: RuleName,
        serials: BTreeSet<String>,
        macs: BTreeSet<Mac>,
        keys: BTreeSet<KeyId>,
        eks: BTreeSet<KeyId>,
        roles: BTreeSet<Role>,
        profile: SecurityProfile,
    },
    /// It lets in by this rule no more.
    RuleRemoved { rule: RuleName },
    /// An operator listed the endorsement key of a TPM.
    EkAllowed { ek: KeyId, note: String },
    /// An operator took one off the list.
    EkRemoved { ek: KeyId },
    /// An operator said that starts like the one of a device are good.
    GoldenAdded { name: Name, device: DeviceId, pcr_digest: Vec<u8> },
    /// An operator took that back.
    GoldenRemoved { name: Name },
    /// An operator lets a device judge others for SEC-4.
    VerifierAdded { device: DeviceId },
    /// An operator took that back.
    VerifierRemoved { device: DeviceId },
    /// Something about makers, vouchers and nodes that vouch.
    Papers(PapersChange),
    /// It listens elsewhere.
    ListenChanged { address: String, advertise: Option<String> },
    /// Its keys are in another file of their vault than it said before: sealed anew, or opened in another way.
    KeysSealed { opener: &'static str, vault: VaultId, generation: u64 },
    /// A backup left.
    BackupCreated { sealed_to: &'static str, without: Vec<Environment> },
    /// The key is gone under which the log speaks of somebody.
    SubjectErased { subject: String, kind: String, reason: String, own: bool },
    /// Entries went into an archive.
    LogArchived { first: u64, size: u64, folder: String, root: String, digest: String },
    /// Entries are about to leave as one file.
    AuditExported {
        format: &'static str,
        entries: u64,
        names: bool,
        filter: serde_json::Map<String, serde_json::Value>,
    },
    /// Everything that is held of somebody is about to leave.
    PersonExported { subjects: Vec<String>, entries: u64 },
    /// The index of the log was made anew from the entries.
    IndexRebuilt { reason: &'static str, entries: u64 },
    /// A backup was put in its place; the log went on from there.
    Restored { backup_at: Timestamp, backup_size: u64 },
    /// The record of a device took over what a newer log says.
    DeviceRestored { device: DeviceId },
    /// It serves again.
    RestoreOpened { merged: u64, loss: bool },
    /// Its security profile refused something to a device; `count` times since the last entry.
    PolicyRefused { device: DeviceId, refusal: Refusal, count: u64 },
    /// Its kill switch can be fired.
    KillArmed { delete_program: bool },
    /// It cannot any more: for wrong codes, or because somebody asked.
    KillDisarmed { codes: bool },
    /// It was fired. Nothing follows.
    KillFired { delete_program: bool },
    /// A revocation list was signed.
    CrlPublished { issuer: KeyId, number: u64, entries: u64 },
    /// An operator got a certificate.
    OperatorAdded { operator: EntryId, name: Name, role: OperatorRole, key: KeyId },
    /// An operator's certificate was revoked.
    OperatorRemoved { operator: EntryId, name: Name, key: KeyId },
    /// A waiting device was forgotten.
    DeviceForgotten { device: DeviceId },
    /// A device was put into a group.
    DeviceGrouped { device: DeviceId, group: GroupPath },
    /// What a device in quarantine could read; what of it the program rotated, and what a person has to.
    SecretsRotated { device: DeviceId, exposed: Vec<Exposed>, more: usize },
    /// A device reports again.
    DeviceOnline { device: DeviceId },
    /// A device gets a new key of its own.
    OwnKeyMade { device: DeviceId, number: u32, reason: String },
    /// It has shown that key.
    OwnKeyConfirmed { device: DeviceId, number: u32 },
    /// A device has missed its heartbeats.
    DeviceOffline { device: DeviceId, last_heartbeat_at: Timestamp },
    /// A device's certificate passed its renewal point.
    DeviceRenewalDue { device: DeviceId, issue: u32, not_after: Timestamp },
    /// A device's certificate ran out.
    DeviceExpired { device: DeviceId, issue: u32, not_after: Timestamp },
    /// Somebody cosigns this log from now on.
    WitnessAdded { witness: String, verifier_key: String, url: Option<String>, device: Option<DeviceId> },
    /// Somebody does no more.
    WitnessRemoved { witness: String, verifier_key: String },
    /// Another number of witnesses is asked for.
    WitnessPolicyChanged { threshold: u64, before: Option<u64> },
    /// Somebody holds another tree of this log. `proven` when both heads are signed by the log's key.
    WitnessDisagreed {
        witness: String,
        size: Option<u64>,
        own_size: u64,
        proven: bool,
        evidence: Option<String>,
    },
    /// Somebody has not answered since then.
    WitnessLost { witness: String, since: Timestamp },
    /// Somebody answers again.
    WitnessBack { witness: String, size: u64 },
    /// A log of somebody else is cosigned here, or no more.
    LogWitnessedFor { origin: String, verifier_key: String, added: bool },
    /// A log that is cosigned here signed two trees that contradict each other.
    EquivocationFound { origin: String, size: u64, evidence: String },
    /// The log of a device was verified and copied as far as this.
    DeviceLogAnchored { device: DeviceId, number: u64, size: u64, root: TreeHash, key: Option<KeyId> },
    /// What a device brought of its log was refused: why, how often, what is held of it, and the evidence.
    DeviceLogRefused {
        device: DeviceId,
        reason: &'static str,
        count: u64,
        held: Option<(u64, u64)>,
        key: Option<KeyId>,
        evidence: Option<(String, [u8; 32])>,
    },
    /// A rule found something.
    AlertRaised(Box<Alert>),
    /// Somebody has seen an alert.
    AlertSeen { alert: AlertId, rule: AlertRule },
    /// The rules of alerts are others, or, with a code, those that were kept are refused and the built-in ones in force.
    AlertRulesChanged { counter: u64, digest: Sha256, removed: Vec<AlertRule>, refused: Option<Code> },
    /// Somebody is told of alerts.
    GuardianAdded(Box<Guardian>),
    /// A guardian is told no more.
    GuardianRemoved(Box<Guardian>),
    /// A guardian could not be told for long.
    AlertUndelivered { guardian: Box<Guardian>, waiting: u64, since: Timestamp },
    /// A manifest was put in force.
    PolicyApplied { name: String, version: u64, counter: u64, digest: String, text: Sha256, policies: u64 },
    /// A manifest or a grant (`rule`) refused something to a device; `count` times since the last entry.
    ManifestRefused {
        device: DeviceId,
        rule: &'static str,
        request: String,
        policy: Option<String>,
        code: Code,
        why: String,
        count: u64,
    },
    /// An enforcement module is wanted in another way.
    ModulesChanged { module: &'static str, profile: SecurityProfile, stance: Stance },
    /// Somebody proposed to pair a device.
    PairingProposed(Box<Pairing>),
    /// One of the two confirmed it.
    PairingConfirmed { pairing: Box<Pairing>, side: Side },
    /// It is over, with so many grants.
    PairingEnded { pairing: Box<Pairing>, by: EndedBy, grants: u64 },
    /// An agent may ask something of a device.
    GrantMade(Box<Grant>),
    /// It may ask less.
    GrantNarrowed(Box<Grant>),
    /// It may not ask any more.
    GrantRevoked(Box<Grant>),
    /// A person lifted or stopped a grant for a time, and why; or took that back.
    GrantOverridden { grant: Box<Grant>, word: Option<PersonsWord> },
    /// An agent's call was let through; the use that it makes, and by what.
    AgentCalled { call: Box<Call>, used: u64, basis: Basis },
    /// Copies of the log are written there.
    MirrorAdded { name: String, target: String },
    /// Copies are written there no more.
    MirrorRemoved { name: String, target: String },
    /// A copy could not be written for long: how many entries it has, if that is known.
    MirrorBehind { name: String, size: Option<u64>, since: Timestamp },
    /// A copy contradicts the log, by this checkpoint.
    MirrorRefused { name: String, code: Code, checkpoint: String },
    /// Something happened to the vault of this environment.
    Vault(Environment, VaultDeed),
}

/// One thing that happened to a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after what they are, and each variant says what happened"
)]
pub enum VaultDeed {
    /// It was made.
    Created { vault: VaultId },
    /// It was opened.
    Unlocked,
    /// A passphrase, an offline key, a passkey or a one-time code did not open it.
    UnlockFailed { by: &'static str },
    /// A one-time code counted, and does not again.
    CodeAccepted,
    /// Its keys were wiped from memory.
    Locked { reason: LockReason },
    /// A secret is about to be given away.
    Read { name: EntryName, version: u64, kind: SecretType },
    /// A secret was used, and stays where it is.
    Used { name: EntryName, version: u64, kind: SecretType, operation: &'static str },
    /// A secret was put in.
    Put { name: EntryName, version: u64, kind: SecretType, generation: u64 },
    /// A secret was removed; the version and type are those of its newest.
    Removed { name: EntryName, version: u64, kind: SecretType, generation: u64 },
    /// It got a new master key and one passphrase.
    Rotated { generation: u64 },
    /// A key that recovers it was split.
    Shared { threshold: u8, total: u8, generation: u64 },
    /// A share was handed in: its number, if it reads as one, and why it was not taken.
    ShareSubmitted { number: Option<u8>, holder: Option<String>, refused: Option<Code> },
    /// The shares that were handed in were forgotten.
    RecoveryAbandoned,
    /// Shares, an offline key or a passkey opened it; it got new keys.
    Recovered { generation: u64, by: &'static str },
    /// An offline key opens it from now on.
    OfflineKeyAdded { slot: SlotName, recipient: AgreementKey, generation: u64 },
    /// An offline key opens it no more.
    OfflineKeyRemoved { slot: SlotName, generation: u64 },
    /// A passkey opens it from now on.
    PasskeyAdded { slot: SlotName, credential: Vec<u8>, relying_party: RelyingParty, generation: u64 },
    /// A passkey opens it no more.
    PasskeyRemoved { slot: SlotName, generation: u64 },
    /// It asks for one-time codes from now on.
    AuthoriserAdded { generation: u64 },
    /// It asks for none any more.
    AuthoriserRemoved { generation: u64 },
    /// Shares proved that they open it.
    Rehearsed,
    /// Its sealed file left.
    Exported { generation: u64 },
    /// It was made of a file.
    Imported { vault: VaultId, generation: u64, source: &'static str },
    /// Its file was one ahead of the anchor.
    Repaired { generation: u64 },
    /// It is not used any more as it stands.
    Refused { code: Code },
}

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It recorded that it ended.
    InOrder,
    /// It was killed, or the power went.
    Cut,
}

/// Why a vault was locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockReason {
    /// Somebody asked for it.
    Asked,
    /// Nobody used it.
    Inactivity,
    /// The machine slept.
    Suspend,
    /// The program ended.
    Stop,
    /// A change could not be made durable or recorded.
    Failure,
}

impl LockReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Inactivity => "inactivity",
            Self::Suspend => "suspend",
            Self::Stop => "stop",
            Self::Failure => "failure",
        }
    }
}
