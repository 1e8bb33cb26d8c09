//! The guardrails of the security profiles, and which rule decides for a device. The answers come from the function that
//! the doors ask.
//!
//! Source: `docs/spec/policy.md` POLS-30.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::policy::{PolicyDecision, PolicyProfile, PolicyQuestion};
use kos_base::{SecurityProfile, code};
use kos_identity::registry::Device;
use kos_policy::{Credential, Door, Guardrails, Request, Standing, decide, guardrails};

use super::{
    answer::{Refusal, document, page},
    call::{Asked, Context},
    devices::find,
    manifests,
};
use crate::authority::Shared;

pub(super) async fn list(_: Context) -> Result<Response, Refusal> {
    Ok(page(SecurityProfile::ALL.iter().map(|profile| shown(guardrails(*profile))).collect(), None))
}

pub(super) async fn show(context: Context, Path(profile): Path<String>) -> Result<Response, Refusal> {
    let profile: SecurityProfile =
        profile.parse().map_err(|_| context.bad("a security profile is one of SEC-0 to SEC-4"))?;
    Ok(document(shown(guardrails(profile))))
}

pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
    Asked(question): Asked<PolicyQuestion>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let mut all = decisions(&record);
    all.extend(manifests::explained(&shared, &record));
    let Some(asked) = question.door else { return Ok(page(all, None)) };
    let fits = |decision: &PolicyDecision| {
        let rest = decision.request.strip_prefix(asked.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let fitting: Vec<_> = all.into_iter().filter(fits).collect();
    if fitting.is_empty() {
        let doors: Vec<_> = Door::ALL.iter().map(|door| door.as_str()).collect();
        return Err(Refusal::new(code::config::BAD_REQUEST)
            .saying(&format!("there is no such door or request; the doors are {}, send", doors.join(", ")))
            .under(context.id));
    }
    Ok(page(fitting, None))
}

/// Everything that can be asked about a device.
fn decisions(record: &Device) -> Vec<PolicyDecision> {
    // On the wire its certificate counts; without one it is the lobby.
    let certified = record.credential.as_ref().map(|held| record.certified_profile(held));
    let wire = Standing::certified(certified.unwrap_or(SecurityProfile::Sec0), record.evidence);
    let requests = Request::catalogue(wire).into_iter().filter_map(|request| match request {
        Request::Enter(_, Credential::Certificate { .. }) if certified.is_none() => None,
        Request::Enter(entrance, Credential::Certificate { .. }) => {
            Some(Request::Enter(entrance, Credential::Certificate { record: record.profile() }))
        }
        other => Some(other),
    });
    let explained = requests.map(|request| {
        let standing = if request.door() == Door::Certificate { record.standing() } else { wire };
        let decision = decide(standing, request);
        PolicyDecision {
            device_id: record.id.clone(),
            profile: standing.profile,
            evidence_tier: standing.proven.evidence,
            door: request.door().to_string(),
            request: request.to_string(),
            allowed: decision.is_allowed(),
            rule: decision.rule().to_string(),
            policy: None,
            code: decision.check().err().map(|refusal| refusal.code().to_string()),
            why: decision.to_string(),
        }
    });
    explained.collect()
}

fn shown(of: &Guardrails) -> PolicyProfile {
    PolicyProfile {
        profile: of.profile,
        purpose: of.purpose.to_owned(),
        cipher_suites: of.suites.iter().map(ToString::to_string).collect(),
        authentication: of.authentication.as_str().to_owned(),
        updates: of.updates.as_str().to_owned(),
        scope: of.scope.to_owned(),
        messages: of.errands.iter().map(|errand| errand.as_str().to_owned()).collect(),
        peers: of.peers.as_str().to_owned(),
        evidence_needed: of.evidence,
        boot: of.boot.as_str().to_owned(),
        certificate_days: of.certificate_days,
        recoveries: of.recoveries,
    }
}
