//! The one function from changes to entries.

use std::net::IpAddr;

use kos_audit::{
    EventType,
    alert::{Alert, AlertId},
};
use kos_base::{DeviceId, DeviceState, EntryId, KeyId, Name, code};
use kos_identity::{
    enrolment::authority::RuleName,
    registry::{self, Actor},
};
use kos_net::accept::source_of;
use kos_vault::{EntryName, Environment};
use serde_json::{Map, Value, json};

use super::{Change, Ending, SystemChange, vault, voucher};
use crate::{
    alert::{Guardian, GuardianName, Way},
    quarantine::Exposed,
};

/// An entry before it has an id, a place and a signature. What speaks of a person is not sealed yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) event: EventType,
    pub(crate) about: About,
    pub(crate) details: Map<String, Value>,
    /// Values to be sealed into the details, under these keys.
    pub(crate) people: Vec<(&'static str, Person)>,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Authority,
    Nothing,
    Device(DeviceId),
    Ticket(EntryId),
    Issuer(KeyId),
    Operator(Name),
    Rule(RuleName),
    Vault(Environment),
    Alert(AlertId),
    Guardian(GuardianName),
}

/// Somebody whom the log names only under seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    Operator(Name),
    LocalUser(String),
    Address(String),
    /// No person, but named only under seal as well: the file hides what secrets are called.
    Secret(EntryName),
    /// Who holds a share.
    Holder(String),
}

impl Person {
    /// The person behind an actor, if it is one.
    pub(crate) fn behind(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Operator(name) => Some(Self::Operator(name.clone())),
            Actor::LocalUser(user) => Some(Self::LocalUser(user.clone())),
            Actor::Unknown(address) => Some(Self::Address(address.clone())),
            Actor::Authority | Actor::Device(_) => None,
        }
    }

    /// The word for what they are.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Operator(_) => "operator",
            Self::LocalUser(_) => "local-user",
            Self::Address(_) => "address",
            Self::Secret(_) => "vault-entry",
            Self::Holder(_) => "share-holder",
        }
    }

    /// Everybody of this name: a person of each kind.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        let operator = name.parse().map(Self::Operator).ok();
        let others = [Self::LocalUser(name.to_owned()), Self::Holder(name.to_owned())];
        operator.into_iter().chain(others).collect()
    }

    /// Everybody whom the log may know under this name: a person of each kind, or a network address.
    pub(crate) fn called(name: &str) -> Vec<Self> {
        let address = match name.parse::<IpAddr>() {
            Ok(address) => source_of(address).to_string(),
            Err(_) => name.to_owned(),
        };
        let mut called = Self::named(name);
        called.push(Self::Address(address));
        called
    }

    /// What the log says about them, once opened.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Operator(name) => name.as_ref(),
            Self::LocalUser(text) | Self::Address(text) | Self::Holder(text) => text,
            Self::Secret(name) => name.as_str(),
        }
    }

    /// Under which their key is kept.
    pub(crate) fn subject(&self) -> String {
        format!("{} {}", self.kind(), self.text())
    }
}

/// The entry that records this change.
pub(crate) fn event_of(change: &Change) -> Draft {
    match change {
        Change::Registry(change) => registry_event(change),
        Change::System(change) => system_event(change),
    }
}

fn registry_event(change: &registry::Change) -> Draft {
    use registry::Change as C;
    match change {
        C::TicketCreated { ticket, role, profile_cap, uses_max, expires_at } => draft(
            EventType::TicketCreated,
            About::Ticket(*ticket),
            json!({"role": role, "profileCap": profile_cap, "usesMax": uses_max, "expiresAt": expires_at}),
        ),
        C::TicketRevoked { ticket } => draft(EventType::TicketRevoked, About::Ticket(*ticket), json!({})),
        C::Refused { code, source, count } => {
            let event = if *code == code::enrolment::TICKET_PROOF {
                EventType::TicketProofFailed
            } else if [code::enrolment::RATE_LIMITED, code::config::OVERLOADED].contains(code) {
                EventType::RateLimited
            } else if code.number() / 100 == 7 {
                EventType::PolicyRefused
            } else if *code == code::config::NOT_SIGNED_IN || code.number() / 100 > 2 {
                // Certificates and links; enrolment has numbers of its own.
                EventType::AccessRefused
            } else {
                EventType::EnrolmentRefused
            };
            let mut draft = draft(event, About::Nothing, json!({"code": code.to_string(), "count": count}));
            draft.people.push(("networkAddress", Person::Address(source.clone())));
            draft
        }
        C::DeviceWaiting { device, identity_key, withheld } => {
            voucher::waiting(device, *identity_key, withheld.as_ref())
        }
        C::CloneSuspected { device, others, detail } => {
            about(EventType::CloneAlert, device, json!({"others": others, "detail": detail}))
        }
        C::DeviceApproved { device, profile, rule } => {
            about(EventType::DeviceApproved, device, json!({"profile": profile, "rule": rule}))
        }
        C::DeviceRejected { device, reason } => {
            about(EventType::DeviceRejected, device, json!({"reason": reason}))
        }
        C::DeviceEnrolled { device, identity_key, role, profile, ticket, by } => {
            let details =
                json!({"identityKeyId": identity_key, "role": role, "profile": profile, "ticketId": ticket});
            voucher::enrolled(device, details, by.as_ref())
        }
        C::CertificateIssued { device, issue, serial, key, not_after } => about(
            EventType::CertificateIssued,
            device,
            json!({"issue": issue, "serial": hex(serial), "operationalKeyId": key, "notAfter": not_after}),
        ),
        C::DeviceActive { device, issue } => about(EventType::DeviceActive, device, json!({"issue": issue})),
        C::CertificateRenewed { device, issue } => {
            about(EventType::CertificateRenewed, device, json!({"issue": issue}))
        }
        C::IdentityRecovered { device, recoveries_left } => {
            about(EventType::IdentityRecovered, device, json!({"recoveriesLeft": recoveries_left}))
        }
        C::CertificateRevoked { device, serial, reason } => about(
            EventType::CertificateRevoked,
            device,
            json!({"serial": hex(serial), "reason": reason.as_str()}),
        ),
        C::HoldReleased { device, serial } => {
            about(EventType::CertificateHoldReleased, device, json!({"serial": hex(serial)}))
        }
        C::RegenerateOrdered { device } => about(EventType::RegenerateOrdered, device, json!({})),
        C::ChannelChanged { device, from, to } => {
            about(EventType::ChannelChanged, device, json!({"from": from, "to": to}))
        }
        C::RoleChanged { device, from, to } => {
            about(EventType::RoleChanged, device, json!({"from": from, "to": to}))
        }
        C::ProfileChanged { device, from, to } => {
            about(EventType::ProfileChanged, device, json!({"from": from, "to": to}))
        }
        C::DeviceRenamed { device, to } => about(EventType::DeviceRenamed, device, json!({"to": to})),
        C::DeviceTagged { device, tags } => about(EventType::DeviceTagged, device, json!({"tags": tags})),
        C::StateChanged { device, from, to, reason } => {
            about(state_event(*from, *to), device, json!({"from": from, "to": to, "reason": reason}))
        }
        C::QuarantineOrdered { device, order, issue } => {
            about(EventType::QuarantineOrdered, device, json!({"order": order, "issue": issue}))
        }
        C::QuarantineConfirmed { device, order } => {
            about(EventType::QuarantineConfirmed, device, json!({"order": order}))
        }
        C::ForensicsReceived { device, order, sha256, bytes } => about(
            EventType::ForensicsReceived,
            device,
            json!({"order": order, "sha256": hex(sha256), "bytes": bytes}),
        ),
        C::ReinstatementApproved { device, count, needed } => {
            about(EventType::ReinstatementApproved, device, json!({"count": count, "needed": needed}))
        }
        C::RecoveriesRaised { device, to } => about(EventType::RecoveriesRaised, device, json!({"to": to})),
        C::DecommissionOrdered { device, reason } => {
            about(EventType::DecommissionOrdered, device, json!({"reason": reason}))
        }
        C::DeviceDecommissioned { device, wipe } => {
            about(EventType::DeviceDecommissioned, device, json!({"wipe": wipe}))
        }
        C::BootloaderReported { device, locked, detail } => {
            let event = if *locked { EventType::BootloaderLocked } else { EventType::BootloaderLockFailed };
            about(event, device, json!({"detail": detail}))
        }
        C::ImageAltered { device, from, to } => {
            about(EventType::ImageAltered, device, json!({"from": hex(from), "to": to.as_deref().map(hex)}))
        }
        C::AttestationVerified { device, ek, tier, vouched_by, golden, pcr_digest } => about(
            EventType::AttestationVerified,
            device,
            json!({
                "ek": ek.to_string(),
                "evidenceTier": tier.as_str(),
                "vouchedBy": vouched_by,
                "golden": golden,
                "pcrDigest": hex(pcr_digest),
            }),
        ),
        C::AttestationFailed { device, code } => about(
            EventType::AttestationFailed,
            device,
            json!({"code": code.to_string(), "reason": code.title()}),
        ),
        C::AttestationChanged { device, pcrs, pcr_digest } => {
            about(EventType::AttestationChanged, device, json!({"pcrs": pcrs, "pcrDigest": hex(pcr_digest)}))
        }
    }
}

/// A change of state is named after where it leads; one that leads nowhere is a ban, which is a mark beside the state.
fn state_event(from: DeviceState, to: DeviceState) -> EventType {
    match to {
        _ if from == to => EventType::DeviceBanned,
        DeviceState::Suspended => EventType::DeviceSuspended,
        DeviceState::Quarantined => EventType::DeviceQuarantined,
        DeviceState::Active | DeviceState::Pending => EventType::DeviceReinstated,
        DeviceState::Decommissioning | DeviceState::Decommissioned => EventType::DeviceDecommissioned,
        DeviceState::RenewalDue => EventType::DeviceRenewalDue,
        DeviceState::Expired => EventType::DeviceExpired,
        DeviceState::Unknown => EventType::DeviceForgotten,
    }
}

fn system_event(change: &SystemChange) -> Draft {
    use SystemChange as C;
    match change {
        C::Vault(environment, deed) => vault::event_of(environment, deed),
        C::SecretsRotated { device, exposed, more } => {
            let exposed: Vec<Value> = exposed.iter().map(Exposed::to_json).collect();
            about(EventType::SecretsRotated, device, json!({"exposed": exposed, "more": more}))
        }
        C::AlertRaised(alert) => alert_event(alert),
        C::AlertSeen { alert, rule } => {
            draft(EventType::AlertAcknowledged, About::Alert(alert.clone()), json!({"rule": rule}))
        }
        C::AlertRulesChanged { counter, digest, removed, refused } => draft(
            EventType::AlertRulesChanged,
            About::Authority,
            json!({
                "counter": counter, "digest": hex(digest), "removed": removed,
                "refused": refused.map(|code| code.to_string())
            }),
        ),
        C::EkAllowed { ek, note } => {
            draft(EventType::EkAllowed, About::Authority, json!({"ek": ek.to_string(), "note": note}))
        }
        C::EkRemoved { ek } => draft(EventType::EkRemoved, About::Authority, json!({"ek": ek.to_string()})),
        C::GoldenAdded { name, device, pcr_digest } => draft(
            EventType::GoldenAdded,
            About::Authority,
            json!({"golden": name, "device": device, "pcrDigest": hex(pcr_digest)}),
        ),
        C::GoldenRemoved { name } => {
            draft(EventType::GoldenRemoved, About::Authority, json!({"golden": name}))
        }
        C::Papers(change) => voucher::event_of(change),
        C::PolicyApplied { name, version, counter, digest, text, policies } => draft(
            EventType::PolicyApplied,
            About::Authority,
            json!({
                "manifest": name, "version": version, "counter": counter, "digest": digest, "text": hex(text),
                "policies": policies,
            }),
        ),
        C::ManifestRefused { device, request, policy, why, count } => about(
            EventType::PolicyRefused,
            device,
            json!({
                "rule": "manifest", "policy": policy, "request": request,
                "code": code::manifest::MANIFEST_REFUSES.to_string(), "why": why, "count": count,
            }),
        ),
        C::MirrorAdded { name, target } => {
            draft(EventType::MirrorAdded, About::Authority, json!({"mirror": name, "address": target}))
        }
        C::MirrorRemoved { name, target } => {
            draft(EventType::MirrorRemoved, About::Authority, json!({"mirror": name, "address": target}))
        }
        C::MirrorBehind { name, size, since } => draft(
            EventType::MirrorBehind,
            About::Authority,
            json!({"mirror": name, "size": size, "since": since}),
        ),
        C::MirrorRefused { name, code, checkpoint } => draft(
            EventType::MirrorRefused,
            About::Authority,
            json!({"mirror": name, "code": code.to_string(), "checkpoint": checkpoint}),
        ),
        C::GuardianAdded(guardian) => {
            guardian_event(EventType::GuardianAdded, guardian, json!({"kind": guardian.way.kind().as_str()}))
        }
        C::GuardianRemoved(guardian) => guardian_event(
            EventType::GuardianRemoved,
            guardian,
            json!({"kind": guardian.way.kind().as_str()}),
        ),
        C::AlertUndelivered { guardian, waiting, since } => guardian_event(
            EventType::AlertUndelivered,
            guardian,
            json!({"kind": guardian.way.kind().as_str(), "waiting": waiting, "since": since}),
        ),
        C::Created { root, kid, orders } => draft(
            EventType::AuthorityCreated,
            About::Authority,
            json!({"rootKeyId": root, "kidKeyId": kid, "orderKeyId": orders}),
        ),
        C::IssuerCertified { issuer, serial, not_after } => draft(
            EventType::IssuerCertified,
            About::Issuer(*issuer),
            json!({"serial": hex(serial), "notAfter": not_after}),
        ),
        C::OwnCertified { serial, key, not_after } => draft(
            EventType::AuthorityCertified,
            About::Authority,
            json!({"serial": hex(serial), "keyId": key, "notAfter": not_after}),
        ),
        C::Started { version, after } => {
            let after = after.map(|ending| if ending == Ending::InOrder { "in-order" } else { "cut" });
            draft(EventType::AuthorityStarted, About::Authority, json!({"version": version, "after": after}))
        }
        C::SettingsChanged { keys } => {
            draft(EventType::ConfigChanged, About::Authority, json!({"settings": keys}))
        }
        C::ClockStepped { from, to } => {
            let ms = |unix_ms| i64::try_from(unix_ms).unwrap_or(i64::MAX);
            let step = ms(to.unix_ms()).saturating_sub(ms(from.unix_ms()));
            let details = json!({"from": from, "to": to, "stepMs": step});
            draft(EventType::TimeStepped, About::Authority, details)
        }
        C::LogUnreadable { index } => {
            draft(EventType::LogUnreadable, About::Authority, json!({"index": index}))
        }
        C::LossesRecorded { since, until, events, unreadable } => {
            let one = |(event, count)| json!({"event": event, "count": count});
            let lost: Vec<_> = events.iter().map(one).collect();
            let details =
                json!({"since": since, "until": until, "lost": lost, "countsUnreadable": unreadable});
            draft(EventType::LossesRecorded, About::Authority, details)
        }
        C::Stopped => draft(EventType::AuthorityStopped, About::Authority, json!({})),
        C::RuleAdded { rule, serials, macs, keys, eks, roles, profile } => draft(
            EventType::ApprovalRuleAdded,
            About::Rule(rule.clone()),
            json!({
                "serials": serials, "macs": macs, "keyIds": keys, "eks": eks, "roles": roles, "profile": profile
            }),
        ),
        C::RuleRemoved { rule } => {
            draft(EventType::ApprovalRuleRemoved, About::Rule(rule.clone()), json!({}))
        }
        C::ListenChanged { address, advertise } => draft(
            EventType::ListenChanged,
            About::Authority,
            json!({"address": address, "advertise": advertise}),
        ),
        C::KeysSealed { opener, vault, generation } => draft(
            EventType::KeysSealed,
            About::Authority,
            json!({"opener": opener, "vaultId": vault.to_string(), "generation": generation}),
        ),
        C::BackupCreated { sealed_to, without } => {
            let without: Vec<&str> = without.iter().map(Environment::as_str).collect();
            let details = json!({"sealedTo": sealed_to, "withoutVaults": without});
            draft(EventType::BackupCreated, About::Authority, details)
        }
        C::SubjectErased { subject, kind, reason, own } => draft(
            EventType::SubjectErased,
            About::Authority,
            json!({"subject": subject, "kind": kind, "reason": reason, "own": own}),
        ),
        C::LogArchived { first, size, folder, root, digest } => draft(
            EventType::LogArchived,
            About::Authority,
            json!({"first": first, "size": size, "folder": folder, "rootHash": root, "sha256": digest}),
        ),
        C::AuditExported { format, entries, names, filter } => draft(
            EventType::AuditExported,
            About::Authority,
            json!({"format": format, "entries": entries, "names": names, "filter": filter}),
        ),
        C::IndexRebuilt { reason, entries } => {
            draft(EventType::IndexRebuilt, About::Authority, json!({"reason": reason, "entries": entries}))
        }
        C::Restored { backup_at, backup_size } => draft(
            EventType::AuthorityRestored,
            About::Authority,
            json!({"backupAt": backup_at, "backupSize": backup_size}),
        ),
        C::DeviceRestored { device } => about(EventType::ConfigChanged, device, json!({"restored": true})),
        C::RestoreOpened { merged, loss } => {
            draft(EventType::RestoreOpened, About::Authority, json!({"mergedEntries": merged, "loss": loss}))
        }
        C::DeviceLogAnchored { device, number, size, root, key } => about(
            EventType::DeviceLogAnchored,
            device,
            json!({"log": number, "size": size, "rootHash": root.to_string(), "logKeyId": key}),
        ),
        C::DeviceLogRefused { device, reason, count, held, key, evidence } => about(
            EventType::DeviceLogRefused,
            device,
            json!({
                "reason": reason, "count": count, "logKeyId": key,
                "heldLog": held.map(|(number, _)| number), "heldSize": held.map(|(_, size)| size),
                "evidence": evidence.as_ref().map(|(file, _)| file),
                "evidenceSha256": evidence.as_ref().map(|(_, digest)| hex(digest)),
            }),
        ),
        C::PolicyRefused { device, refusal, count } => about(
            EventType::PolicyRefused,
            device,
            json!({
                "rule": refusal.rule().as_str(), "request": refusal.request().to_string(),
                "code": refusal.code().to_string(), "why": refusal.to_string(), "count": count,
            }),
        ),
        C::KillArmed { delete_program } => {
            draft(EventType::KillArmed, About::Authority, json!({"deleteProgram": delete_program}))
        }
        C::KillDisarmed { codes } => {
            let reason = if *codes { "codes" } else { "asked" };
            draft(EventType::KillDisarmed, About::Authority, json!({"reason": reason}))
        }
        C::KillFired { delete_program } => {
            draft(EventType::KillFired, About::Authority, json!({"deleteProgram": delete_program}))
        }
        C::CrlPublished { issuer, number, entries } => draft(
            EventType::CrlPublished,
            About::Issuer(*issuer),
            json!({"crlNumber": number, "entries": entries}),
        ),
        C::OperatorAdded { operator, name, role, key } => draft(
            EventType::OperatorAdded,
            About::Operator(name.clone()),
            json!({"operatorId": operator, "role": role, "keyId": key}),
        ),
        C::OperatorRemoved { operator, name, key } => draft(
            EventType::OperatorRemoved,
            About::Operator(name.clone()),
            json!({"operatorId": operator, "keyId": key}),
        ),
        C::WitnessAdded { witness, verifier_key, url, device } => draft(
            EventType::WitnessAdded,
            About::Authority,
            json!({"witness": witness, "verifierKey": verifier_key, "url": url, "device": device}),
        ),
        C::WitnessRemoved { witness, verifier_key } => draft(
            EventType::WitnessRemoved,
            About::Authority,
            json!({"witness": witness, "verifierKey": verifier_key}),
        ),
        C::WitnessPolicyChanged { threshold, before } => draft(
            EventType::WitnessPolicyChanged,
            About::Authority,
            json!({"threshold": threshold, "before": before}),
        ),
        C::WitnessDisagreed { witness, size, own_size, proven, evidence } => draft(
            EventType::WitnessDisagreed,
            About::Authority,
            json!({
                "witness": witness, "witnessSize": size, "ownSize": own_size, "proven": proven, "evidence": evidence
            }),
        ),
        C::WitnessLost { witness, since } => {
            draft(EventType::WitnessLost, About::Authority, json!({"witness": witness, "since": since}))
        }
        C::WitnessBack { witness, size } => {
            draft(EventType::WitnessBack, About::Authority, json!({"witness": witness, "size": size}))
        }
        C::LogWitnessedFor { origin, verifier_key, added } => draft(
            EventType::LogWitnessedFor,
            About::Authority,
            json!({"origin": origin, "verifierKey": verifier_key, "added": added}),
        ),
        C::EquivocationFound { origin, size, evidence } => draft(
            EventType::EquivocationFound,
            About::Authority,
            json!({"origin": origin, "size": size, "evidence": evidence}),
        ),
        C::DeviceForgotten { device } => about(EventType::DeviceForgotten, device, json!({})),
        C::DeviceGrouped { device, group } => {
            about(EventType::ConfigChanged, device, json!({"group": group}))
        }
        C::DeviceOnline { device } => about(EventType::DeviceOnline, device, json!({})),
        C::DeviceOffline { device, last_heartbeat_at } => {
            about(EventType::DeviceOffline, device, json!({"lastHeartbeatAt": last_heartbeat_at}))
        }
        C::DeviceRenewalDue { device, issue, not_after } => {
            about(EventType::DeviceRenewalDue, device, json!({"issue": issue, "notAfter": not_after}))
        }
        C::DeviceExpired { device, issue, not_after } => {
            about(EventType::DeviceExpired, device, json!({"issue": issue, "notAfter": not_after}))
        }
    }
}

fn alert_event(alert: &Alert) -> Draft {
    let Alert { id, rule, severity, summary, group, count, unseen, first, last, entries, at: _ } = alert;
    draft(
        EventType::AlertRaised,
        About::Alert(id.clone()),
        json!({
            "rule": rule, "severity": severity, "summary": summary, "group": group, "count": count,
            "unseen": unseen, "first": first, "last": last, "entries": entries
        }),
    )
}

/// A person is named under seal; any other guardian by its name.
fn guardian_event(event: EventType, guardian: &Guardian, details: Value) -> Draft {
    let about = match &guardian.way {
        Way::Person { operator } => About::Operator(operator.clone()),
        _ => About::Guardian(guardian.name.clone()),
    };
    draft(event, about, details)
}

pub(super) fn about(event: EventType, device: &DeviceId, details: Value) -> Draft {
    draft(event, About::Device(device.clone()), details)
}

pub(super) fn draft(event: EventType, about: About, details: Value) -> Draft {
    let details = match details {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Draft { event, about, details, people: Vec::new() }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device_id;

    #[test]
    fn a_ban_and_each_state_have_a_word_of_their_own() {
        use DeviceState::{Active, Pending, Quarantined, Suspended};
        for (from, to, event) in [
            (Active, Suspended, EventType::DeviceSuspended),
            (Suspended, Active, EventType::DeviceReinstated),
            (Active, Quarantined, EventType::DeviceQuarantined),
            (Quarantined, Pending, EventType::DeviceReinstated),
            (Active, Active, EventType::DeviceBanned),
        ] {
            let device = device_id(1);
            let change = registry::Change::StateChanged { device, from, to, reason: "r".to_owned() };
            assert_eq!(event_of(&change.into()).event, event, "{from} to {to}");
        }
    }

    #[test]
    fn an_address_never_stands_in_the_clear() {
        let change = registry::Change::Refused {
            code: code::enrolment::TICKET_PROOF,
            source: "192.0.2.7".to_owned(),
            count: 3,
        };
        let draft = event_of(&change.into());
        assert!(!Value::Object(draft.details).to_string().contains("192.0.2.7"));
        assert_eq!(draft.people, [("networkAddress", Person::Address("192.0.2.7".to_owned()))]);
    }
}
