//! The vocabulary: which events there are, who can cause them, and what they can be about.

mod details;
mod party;

use core::{fmt, str::FromStr};

use kos_base::text::printable;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use details::{Details, DetailsError, PERSONAL_DETAILS};
pub use party::{Actor, Label, ParseLabelError, Target};

/// How much hangs on an event (AUD-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The answer waits until the entry is on disk. May be lost, with a record of the loss, when the disk is full.
    Ordinary,
    /// The answer waits until a signed checkpoint covers the entry. May use the space kept back for a full disk.
    Critical,
}

/// The text is not the name of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an event type of this version")]
pub struct ParseEventError(String);

macro_rules! events {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $weight:ident;)+) => {
        /// What happened. Closed: a new event is a new version of whoever writes it (AUD-8).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($(#[$meta])* $variant,)+ }

        impl EventType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word, as written in every entry.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What the answer to whoever caused it waits for.
            pub const fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)+ }
            }
        }

        impl FromStr for EventType {
            type Err = ParseEventError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s { $($word => Ok(Self::$variant),)+ _ => Err(ParseEventError(printable(s, 80))) }
            }
        }
    };
}

events! {
    /// The authority made its keys and began this log; always the first entry.
    AuthorityCreated = "authority_created", Critical;
    /// The authority began to serve; a new boot id from here.
    AuthorityStarted = "authority_started", Ordinary;
    /// The authority ended in order.
    AuthorityStopped = "authority_stopped", Ordinary;
    /// A backup was put in place of the store.
    AuthorityRestored = "authority_restored", Critical;
    /// A restored authority serves again, after newer state was merged or the loss declared.
    RestoreOpened = "restore_opened", Critical;
    /// The authority's keys were sealed anew, or open in another way.
    KeysSealed = "keys_sealed", Critical;
    /// The kill switch of the authority can be fired for ten minutes.
    KillArmed = "kill_armed", Critical;
    /// It cannot any more.
    KillDisarmed = "kill_disarmed", Critical;
    /// The kill switch was fired: the last entry.
    KillFired = "kill_fired", Critical;
    /// A backup was written.
    BackupCreated = "backup_created", Ordinary;
    /// The key was destroyed under which the log speaks of somebody.
    SubjectErased = "subject_erased", Critical;
    /// The oldest entries went into an archive; their hashes stay.
    LogArchived = "log_archived", Critical;
    /// Entries are about to be given away as one file.
    AuditExported = "audit_exported", Ordinary;
    /// Everything that is held of somebody is about to be given away.
    PersonExported = "person_exported", Critical;
    /// The index of the log was missing or damaged and was made anew from the entries.
    IndexRebuilt = "index_rebuilt", Ordinary;
    /// The addresses that the authority listens on, or the name it is known by, changed.
    ListenChanged = "listen_changed", Critical;
    /// A setting changed, of the authority or of the device that is the target.
    ConfigChanged = "config_changed", Critical;
    /// An issuing CA got a certificate.
    IssuerCertified = "issuer_certified", Critical;
    /// The authority got a certificate for its own TLS port.
    AuthorityCertified = "authority_certified", Critical;
    /// A revocation list was signed.
    CrlPublished = "crl_published", Ordinary;
    /// An operator got a certificate.
    OperatorAdded = "operator_added", Critical;
    /// An operator's certificate was revoked.
    OperatorRemoved = "operator_removed", Critical;
    /// A rule that lets devices in was added.
    ApprovalRuleAdded = "approval_rule_added", Critical;
    /// Such a rule was removed.
    ApprovalRuleRemoved = "approval_rule_removed", Critical;

    /// A ticket was made.
    TicketCreated = "ticket_created", Ordinary;
    /// A ticket was withdrawn before its end.
    TicketRevoked = "ticket_revoked", Critical;
    /// Somebody used a ticket without knowing its secret.
    TicketProofFailed = "ticket_proof_failed", Ordinary;
    /// An enrolment was refused for any other reason.
    EnrolmentRefused = "enrolment_refused", Ordinary;
    /// A request was refused for lack of rights.
    AccessRefused = "access_refused", Ordinary;
    /// Requests were turned away because there were too many.
    RateLimited = "rate_limited", Ordinary;

    /// A device waits in the lobby.
    DevicePending = "device_pending", Ordinary;
    /// A person or a rule let it in.
    DeviceApproved = "device_approved", Critical;
    /// A person turned it away.
    DeviceRejected = "device_rejected", Ordinary;
    /// It waited too long and its record is gone.
    DeviceForgotten = "device_forgotten", Ordinary;
    /// A device became part of the fleet.
    DeviceEnrolled = "device_enrolled", Ordinary;
    /// A device's certificate was signed.
    CertificateIssued = "certificate_issued", Ordinary;
    /// A device confirmed its first certificate.
    DeviceActive = "device_active", Ordinary;
    /// The command that locks the bootloader succeeded.
    BootloaderLocked = "bootloader_locked", Ordinary;
    /// It failed: no further certificate above SEC-2.
    BootloaderLockFailed = "bootloader_lock_failed", Ordinary;
    /// A device whose image was verified came with another manifest, or with none.
    ImageAltered = "image_altered", Critical;
    /// What the TPM of a device said of itself, its keys and its start held.
    AttestationVerified = "attestation_verified", Ordinary;
    /// It did not, or a device that had shown a TPM shows none any more.
    AttestationFailed = "attestation_failed", Critical;
    /// A TPM tells of another start than before.
    AttestationChanged = "attestation_changed", Critical;
    /// An operator listed the endorsement key of a TPM.
    EkAllowed = "ek_allowed", Ordinary;
    /// An operator took one off the list.
    EkRemoved = "ek_removed", Ordinary;
    /// An operator said what a good start looks like.
    GoldenAdded = "golden_added", Ordinary;
    /// An operator took that back.
    GoldenRemoved = "golden_removed", Ordinary;
    /// An operator lets a device judge others for SEC-4.
    VerifierAdded = "verifier_added", Critical;
    /// An operator took that back.
    VerifierRemoved = "verifier_removed", Ordinary;
    /// A second verifier judged a device. In the log of the authority if it believes it; in that of the verifier always.
    SecondVerdict = "second_verdict", Ordinary;
    /// An operator trusts a maker of devices, on the terms that it says.
    MakerTrusted = "maker_trusted", Ordinary;
    /// An operator trusts a maker no more.
    MakerRemoved = "maker_removed", Ordinary;
    /// A voucher for a device that has not come is kept.
    VoucherImported = "voucher_imported", Ordinary;
    /// A backup brought a voucher back that may have been spent since.
    VoucherVoided = "voucher_voided", Ordinary;
    /// A device that has not come was passed on to another owner.
    VoucherEndorsed = "voucher_endorsed", Critical;
    /// An operator lets a device vouch for new ones.
    VouchingGranted = "vouching_granted", Ordinary;
    /// An operator took that back.
    VouchingWithdrawn = "vouching_withdrawn", Ordinary;
    /// A voucher of its maker told a device whose it is. In the log of the device.
    AuthorityClaimed = "authority_claimed", Ordinary;
    /// Two devices claim the same hardware or identity.
    CloneAlert = "clone_alert", Critical;
    /// A device gets a new key of its own.
    OwnKeyMade = "own_key_made", Ordinary;
    /// It has shown that key, and the one before counts no more.
    OwnKeyConfirmed = "own_key_confirmed", Ordinary;

    /// A device reports again.
    DeviceOnline = "device_online", Ordinary;
    /// A device has missed its heartbeats.
    DeviceOffline = "device_offline", Ordinary;
    /// The firmware channel changed.
    ChannelChanged = "channel_changed", Ordinary;
    /// The role changed.
    RoleChanged = "role_changed", Ordinary;
    /// A manifest was put in force.
    PolicyApplied = "policy_applied", Critical;
    /// The security profile was raised.
    ProfileChanged = "profile_changed", Critical;
    /// A security profile, a manifest or a grant refused something.
    PolicyRefused = "policy_refused", Ordinary;
    /// An enforcement module is wanted in another way for a security profile.
    ModulesChanged = "modules_changed", Critical;
    /// Somebody proposed to pair a device with a user or an agent.
    PairingProposed = "pairing_proposed", Ordinary;
    /// One of the two confirmed it.
    PairingConfirmed = "pairing_confirmed", Critical;
    /// A pairing is over, with the grants under it.
    PairingEnded = "pairing_ended", Critical;
    /// A device goes by other pairings and grants.
    BondsApplied = "bonds_applied", Ordinary;
    /// An agent may ask something of a device.
    GrantMade = "grant_made", Critical;
    /// It may ask less.
    GrantNarrowed = "grant_narrowed", Critical;
    /// It may not ask any more.
    GrantRevoked = "grant_revoked", Critical;
    /// A person lifted or stopped a grant for a time, or took that back.
    GrantOverridden = "grant_overridden", Critical;
    /// An agent's call was let through to a device.
    AgentCalled = "agent_called", Ordinary;
    /// The name changed.
    DeviceRenamed = "device_renamed", Ordinary;
    /// The labels changed.
    DeviceTagged = "device_tagged", Ordinary;
    /// The certificate passed its renewal point.
    DeviceRenewalDue = "device_renewal_due", Ordinary;
    /// The certificate ran out.
    DeviceExpired = "device_expired", Ordinary;
    /// New keys were asked for.
    RegenerateOrdered = "regenerate_ordered", Ordinary;
    /// A device confirmed a certificate that replaces another.
    CertificateRenewed = "certificate_renewed", Ordinary;
    /// A device whose certificate had run out came back by its identity key.
    IdentityRecovered = "identity_recovered", Ordinary;
    /// More such returns were allowed.
    RecoveriesRaised = "recoveries_raised", Critical;

    /// A device was stopped for now.
    DeviceSuspended = "device_suspended", Critical;
    /// A device was taken for compromised.
    DeviceQuarantined = "device_quarantined", Critical;
    /// A device was ordered into quarantine, or hears the order.
    QuarantineOrdered = "quarantine_ordered", Critical;
    /// A device has obeyed such an order.
    QuarantineConfirmed = "quarantine_confirmed", Critical;
    /// The sealed bundle of a device in quarantine came.
    ForensicsReceived = "forensics_received", Critical;
    /// What a device in quarantine could read was rotated, or is named for a person to rotate.
    SecretsRotated = "secrets_rotated", Critical;
    /// A person approved that a device comes back from quarantine.
    ReinstatementApproved = "reinstatement_approved", Critical;
    /// A stopped device may go on.
    DeviceReinstated = "device_reinstated", Critical;
    /// A device may never come back.
    DeviceBanned = "device_banned", Critical;
    /// A certificate was revoked or put on hold.
    CertificateRevoked = "certificate_revoked", Critical;
    /// The hold on a certificate was lifted.
    CertificateHoldReleased = "certificate_hold_released", Critical;
    /// A device was told to wipe itself.
    DecommissionOrdered = "decommission_ordered", Critical;
    /// A device is wiped, or given up.
    DeviceDecommissioned = "device_decommissioned", Critical;

    /// A vault was made.
    VaultCreated = "vault_created", Critical;
    /// A vault was opened.
    VaultUnlocked = "vault_unlocked", Ordinary;
    /// A passphrase, an offline key, a passkey or a one-time code did not open a vault.
    VaultUnlockFailed = "vault_unlock_failed", Ordinary;
    /// The keys of a vault were wiped from memory.
    VaultLocked = "vault_locked", Ordinary;
    /// A secret is about to be given away.
    VaultAccess = "vault_access", Ordinary;
    /// A secret was used without being given away.
    VaultUsed = "vault_used", Ordinary;
    /// A secret, or a new version of it, was put in.
    VaultEntryPut = "vault_entry_put", Ordinary;
    /// A secret was removed with all its versions.
    VaultEntryRemoved = "vault_entry_removed", Ordinary;
    /// A vault got a new master key.
    VaultRotated = "vault_rotated", Critical;
    /// A recovery key of a vault was split into shares.
    VaultShared = "vault_shared", Critical;
    /// Somebody handed a share in.
    VaultShareSubmitted = "vault_share_submitted", Ordinary;
    /// The shares that were handed in were forgotten.
    VaultRecoveryAbandoned = "vault_recovery_abandoned", Ordinary;
    /// A vault was opened by its shares, an offline key or a passkey, and got new keys.
    VaultRecovered = "vault_recovered", Critical;
    /// Shares proved that they open a vault.
    VaultRehearsed = "vault_rehearsed", Ordinary;
    /// An offline key opens a vault from now on.
    VaultOfflineKeyAdded = "vault_offline_key_added", Critical;
    /// An offline key opens a vault no more.
    VaultOfflineKeyRemoved = "vault_offline_key_removed", Critical;
    /// A passkey opens a vault from now on.
    VaultPasskeyAdded = "vault_passkey_added", Critical;
    /// A passkey opens a vault no more.
    VaultPasskeyRemoved = "vault_passkey_removed", Critical;
    /// A vault asks for one-time codes from now on.
    VaultAuthoriserAdded = "vault_authoriser_added", Critical;
    /// A vault asks for no one-time codes any more.
    VaultAuthoriserRemoved = "vault_authoriser_removed", Critical;
    /// A one-time code of a vault counted, and does not again.
    VaultCodeAccepted = "vault_code_accepted", Ordinary;
    /// The sealed file of a vault left.
    VaultExported = "vault_exported", Ordinary;
    /// A vault was made of a file.
    VaultImported = "vault_imported", Critical;
    /// A vault was one ahead of its anchor, which followed.
    VaultRepaired = "vault_repaired", Critical;
    /// A vault is damaged, older than its anchor, or gone.
    VaultRefused = "vault_refused", Critical;

    /// A witness cosigns this log from now on.
    WitnessAdded = "witness_added", Critical;
    /// It does no more.
    WitnessRemoved = "witness_removed", Critical;
    /// Another number of witnesses makes a checkpoint count as witnessed.
    WitnessPolicyChanged = "witness_policy_changed", Critical;
    /// A witness holds another tree of this log.
    WitnessDisagreed = "witness_disagreed", Critical;
    /// A witness has not answered for a while.
    WitnessLost = "witness_lost", Ordinary;
    /// It answers again.
    WitnessBack = "witness_back", Ordinary;
    /// The logs of others that are witnessed here are others.
    LogWitnessedFor = "log_witnessed_for", Critical;
    /// A log that is witnessed here signed two trees of which neither is the beginning of the other.
    EquivocationFound = "equivocation_found", Critical;
    /// A device's log was verified, and the authority's copy of it is durable up to here.
    DeviceLogAnchored = "device_log_anchored", Ordinary;
    /// A device's log was forked, put back, edited, or began anew; what came is kept as evidence.
    DeviceLogRefused = "device_log_refused", Critical;

    /// The log of a device begins here, or begins anew.
    LogBegun = "log_begun", Critical;
    /// A write that a power cut left unfinished was cut off the log of a device.
    LogRepaired = "log_repaired", Ordinary;
    /// The program of a device started; a new boot id from here.
    DeviceBooted = "device_booted", Ordinary;
    /// It ended in order.
    DeviceStopped = "device_stopped", Ordinary;
    /// A device made a key.
    KeyMade = "key_made", Ordinary;
    /// Keys of a device came out of files of an earlier version, or open in another way.
    SecretsMigrated = "secrets_migrated", Critical;
    /// The authority refused a device, which heard it.
    AuthorityRefused = "authority_refused", Ordinary;
    /// A device heard that it is suspended, quarantined, banned or revoked.
    StandingLost = "standing_lost", Critical;
    /// Whoever answered a device as its authority was not believed.
    AuthorityUntrusted = "authority_untrusted", Critical;
    /// A device runs with another configuration than before.
    ConfigApplied = "config_applied", Ordinary;
    /// A device does not start with its configuration.
    ConfigRefused = "config_refused", Critical;
    /// The configuration of a device speaks of another device.
    ConfigContradicted = "config_contradicted", Critical;
    /// A device goes by newer revocation lists.
    RevocationsApplied = "revocations_applied", Ordinary;
    /// Somebody on the machine had a device change something, over its socket.
    LocalChange = "local_change", Ordinary;
    /// A device began to wipe itself.
    DecommissionBegun = "decommission_begun", Critical;
    /// A rule found something that a guardian has to see.
    AlertRaised = "alert_raised", Critical;
    /// Somebody has seen an alert.
    AlertAcknowledged = "alert_acknowledged", Ordinary;
    /// The rules by which alerts are raised changed, or were refused.
    AlertRulesChanged = "alert_rules_changed", Critical;
    /// A guardian is told of alerts.
    GuardianAdded = "guardian_added", Ordinary;
    /// A guardian is told no more.
    GuardianRemoved = "guardian_removed", Critical;
    /// A guardian could not be told for long.
    AlertUndelivered = "alert_undelivered", Critical;

    /// Copies of the log are written to a target.
    MirrorAdded = "mirror_added", Critical;
    /// Copies are written there no more.
    MirrorRemoved = "mirror_removed", Critical;
    /// A copy could not be written for long.
    MirrorBehind = "mirror_behind", Ordinary;
    /// A copy contradicts the log, and is written to no more.
    MirrorRefused = "mirror_refused", Critical;

    /// The clock jumped.
    TimeStepped = "time_stepped", Ordinary;
    /// Entries could not be written; says how many and which.
    LossesRecorded = "losses_recorded", Critical;
    /// An entry of the store cannot be read any more, so no rule has looked at it.
    LogUnreadable = "log_unreadable", Critical;
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = include_str!("../../../../docs/spec/audit.md");

    #[test]
    fn every_event_is_read_back_and_explained_in_the_specification() {
        for event in EventType::ALL {
            assert_eq!(event.as_str().parse(), Ok(*event));
            let weight = if event.weight() == Weight::Critical { "critical" } else { "ordinary" };
            assert!(SPEC.contains(&format!("| `{event}` | {weight} |")), "{event} {weight}");
        }
        let rows =
            SPEC.lines().filter(|line| line.contains("` | ordinary |") || line.contains("` | critical |"));
        assert_eq!(rows.count(), EventType::ALL.len());
    }

    #[test]
    fn words_of_other_languages_are_refused() {
        for bad in ["", "Device_enrolled", "device-enrolled", "device_enrolled ", "agent_launch"] {
            assert!(bad.parse::<EventType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whatever_takes_rights_away_waits_for_the_checkpoint() {
        for event in ["certificate_revoked", "device_decommissioned", "config_changed", "issuer_certified"] {
            assert_eq!(event.parse::<EventType>().unwrap().weight(), Weight::Critical, "{event}");
        }
    }
}
