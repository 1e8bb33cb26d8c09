//! What the log says of a vault.

use kos_audit::EventType;
use kos_vault::Environment;
use serde_json::json;

use super::{
    VaultDeed,
    event::{About, Draft, Person, draft, hex},
};

/// The entry about something that happened to a vault.
pub(super) fn event_of(environment: &Environment, deed: &VaultDeed) -> Draft {
    use VaultDeed as D;
    let (event, details) = match deed {
        D::Created { vault } => (EventType::VaultCreated, json!({"vaultId": vault.to_string()})),
        D::Unlocked => (EventType::VaultUnlocked, json!({})),
        D::UnlockFailed { by } => (EventType::VaultUnlockFailed, json!({"by": by})),
        D::CodeAccepted => (EventType::VaultCodeAccepted, json!({})),
        D::Locked { reason } => (EventType::VaultLocked, json!({"reason": reason.as_str()})),
        D::Read { version, kind, .. } => {
            (EventType::VaultAccess, json!({"version": version, "type": kind.as_str()}))
        }
        D::Used { version, kind, operation, .. } => {
            (EventType::VaultUsed, json!({"version": version, "type": kind.as_str(), "operation": operation}))
        }
        D::Put { version, kind, generation, .. } => (
            EventType::VaultEntryPut,
            json!({"version": version, "type": kind.as_str(), "generation": generation}),
        ),
        D::Removed { version, kind, generation, .. } => (
            EventType::VaultEntryRemoved,
            json!({"version": version, "type": kind.as_str(), "generation": generation}),
        ),
        D::Rotated { generation } => (EventType::VaultRotated, json!({"generation": generation})),
        D::Shared { threshold, total, generation } => (
            EventType::VaultShared,
            json!({"threshold": threshold, "total": total, "generation": generation}),
        ),
        D::ShareSubmitted { number, refused, .. } => (
            EventType::VaultShareSubmitted,
            json!({
                "number": number, "accepted": refused.is_none(), "code": refused.map(|code| code.to_string())
            }),
        ),
        D::RecoveryAbandoned => (EventType::VaultRecoveryAbandoned, json!({})),
        D::Recovered { generation, by } => {
            (EventType::VaultRecovered, json!({"generation": generation, "by": by}))
        }
        D::OfflineKeyAdded { slot, recipient, generation } => (
            EventType::VaultOfflineKeyAdded,
            json!({"slot": slot.as_str(), "recipient": hex(&recipient.0), "generation": generation}),
        ),
        D::OfflineKeyRemoved { slot, generation } => {
            (EventType::VaultOfflineKeyRemoved, json!({"slot": slot.as_str(), "generation": generation}))
        }
        D::PasskeyAdded { slot, credential, relying_party, generation } => (
            EventType::VaultPasskeyAdded,
            json!({
                "slot": slot.as_str(), "credentialId": hex(credential), "relyingParty": relying_party.as_str(),
                "generation": generation
            }),
        ),
        D::PasskeyRemoved { slot, generation } => {
            (EventType::VaultPasskeyRemoved, json!({"slot": slot.as_str(), "generation": generation}))
        }
        D::AuthoriserAdded { generation } => {
            (EventType::VaultAuthoriserAdded, json!({"kind": "totp", "generation": generation}))
        }
        D::AuthoriserRemoved { generation } => {
            (EventType::VaultAuthoriserRemoved, json!({"kind": "totp", "generation": generation}))
        }
        D::Rehearsed => (EventType::VaultRehearsed, json!({})),
        D::Exported { generation } => (EventType::VaultExported, json!({"generation": generation})),
        D::Imported { vault, generation, source } => (
            EventType::VaultImported,
            json!({"vaultId": vault.to_string(), "generation": generation, "source": source}),
        ),
        D::Repaired { generation } => (EventType::VaultRepaired, json!({"generation": generation})),
        D::Refused { code } => (EventType::VaultRefused, json!({"code": code.to_string()})),
    };
    let mut draft = draft(event, About::Vault(environment.clone()), details);
    match deed {
        D::Read { name, .. } | D::Used { name, .. } | D::Put { name, .. } | D::Removed { name, .. } => {
            draft.people.push(("entry", Person::Secret(name.clone())));
        }
        D::ShareSubmitted { holder: Some(holder), .. } => {
            draft.people.push(("holder", Person::Holder(holder.clone())));
        }
        _ => {}
    }
    draft
}
