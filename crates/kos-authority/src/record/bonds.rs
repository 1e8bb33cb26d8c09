//! What the log says about pairings and grants. A user is named by the id of their record, which says nothing about the
//! person.

use kos_audit::EventType;
use kos_policy::{grant::Grant, pairing::Pairing};
use serde_json::{Value, json};

use super::{
    SystemChange,
    event::{About, Draft, about, draft},
};

/// The entry of a change of pairings or grants.
pub(super) fn event_of(change: &SystemChange) -> Draft {
    use SystemChange as C;
    match change {
        C::PairingProposed(pairing) => of_pairing(
            EventType::PairingProposed,
            pairing,
            json!({"agentKeyId": pairing.key.as_ref().map(kos_base::PublicKey::id)}),
        ),
        C::PairingConfirmed { pairing, side } => {
            let paired = pairing.device_said.is_some() && pairing.partner_said.is_some();
            let details = json!({"side": side.as_str(), "paired": paired});
            of_pairing(EventType::PairingConfirmed, pairing, details)
        }
        C::PairingEnded { pairing, by, grants } => {
            of_pairing(EventType::PairingEnded, pairing, json!({"by": by.as_str(), "grants": grants}))
        }
        C::GrantMade(grant) => of_grant(EventType::GrantMade, grant, json!({})),
        C::GrantNarrowed(grant) => of_grant(EventType::GrantNarrowed, grant, json!({})),
        C::GrantRevoked(grant) => of_grant(EventType::GrantRevoked, grant, json!({})),
        C::GrantOverridden { grant, word } => {
            let details = json!({
                "verdict": word.as_ref().map(|word| word.lifted.lifting.as_str()),
                "until": word.as_ref().map(|word| word.lifted.until),
                "reason": word.as_ref().map(|word| word.reason.as_str()),
            });
            of_grant(EventType::GrantOverridden, grant, details)
        }
        C::AgentCalled { call, used, basis } => about(
            EventType::AgentCalled,
            &call.device,
            json!({
                "grant": call.grant, "agent": call.agent.to_string(), "capability": call.ability.as_str(),
                "resource": call.resource.to_string(), "number": call.number, "used": used,
                "basis": basis.as_str(),
            }),
        ),
        // Nothing else comes here.
        _ => draft(EventType::PolicyRefused, About::Nothing, json!({})),
    }
}

fn of_pairing(event: EventType, pairing: &Pairing, details: Value) -> Draft {
    let mut draft = about(event, &pairing.device, details);
    let more = json!({
        "pairing": pairing.id, "with": pairing.partner.to_string(), "trustLevel": pairing.level.as_str(),
        "counter": pairing.number,
    });
    if let Value::Object(more) = more {
        draft.details.extend(more);
    }
    draft
}

fn of_grant(event: EventType, grant: &Grant, details: Value) -> Draft {
    let mut draft = about(event, &grant.device, details);
    let scope: Vec<_> = grant.scope.iter().map(ToString::to_string).collect();
    let more = json!({
        "grant": grant.id, "version": grant.version, "agent": grant.agent.to_string(),
        "capability": grant.ability.as_str(), "scope": scope, "expiry": grant.expires, "uses": grant.uses,
        "trustLevel": grant.level.as_str(),
    });
    if let Value::Object(more) = more {
        draft.details.extend(more);
    }
    draft
}
