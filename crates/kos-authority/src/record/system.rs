//! What the log says of a change of the authority itself.

use kos_audit::{EventType, alert::Alert};
use kos_vault::Environment;
use serde_json::{Value, json};

use super::{
    Ending, SystemChange, bonds,
    event::{About, Draft, about, draft, hex},
    vault, voucher,
};
use crate::{
    alert::{Guardian, Way},
    quarantine::Exposed,
};

/// The entry about a change that is not one of the registry.
pub(super) fn event_of(change: &SystemChange) -> Draft {
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
        C::Papers(change) => voucher::event_of(change),
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
        C::VerifierAdded { device } => about(EventType::VerifierAdded, device, json!({})),
        C::VerifierRemoved { device } => about(EventType::VerifierRemoved, device, json!({})),
        C::PolicyApplied { name, version, counter, digest, text, policies } => draft(
            EventType::PolicyApplied,
            About::Authority,
            json!({
                "manifest": name, "version": version, "counter": counter, "digest": digest, "text": hex(text),
                "policies": policies,
            }),
        ),
        C::ManifestRefused { device, rule, request, policy, code, why, count } => about(
            EventType::PolicyRefused,
            device,
            json!({
                "rule": rule, "policy": policy, "request": request, "code": code.to_string(), "why": why,
                "count": count,
            }),
        ),
        C::ModulesChanged { module, profile, stance } => draft(
            EventType::ModulesChanged,
            About::Authority,
            json!({"module": module, "profile": profile, "stance": stance.as_str()}),
        ),
        C::PairingProposed(..)
        | C::PairingConfirmed { .. }
        | C::PairingEnded { .. }
        | C::GrantMade(..)
        | C::GrantNarrowed(..)
        | C::GrantRevoked(..)
        | C::GrantOverridden { .. }
        | C::AgentCalled { .. } => bonds::event_of(change),
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
        C::PersonExported { subjects, entries } => draft(
            EventType::PersonExported,
            About::Authority,
            json!({"subjects": subjects, "entries": entries}),
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
        C::OwnKeyMade { device, number, reason } => {
            about(EventType::OwnKeyMade, device, json!({"number": number, "reason": reason}))
        }
        C::OwnKeyConfirmed { device, number } => {
            about(EventType::OwnKeyConfirmed, device, json!({"number": number}))
        }
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
