//! Manifests over the API: judged, put in force, listed, shown, and tried on expected decisions.
//!
//! Source: `docs/spec/manifest.md` MAN-10 to MAN-19.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    manifest::{
        LintFinding, LintSeverity, Manifest, ManifestBody, ManifestFilter, ManifestLint, ManifestQuery,
        ManifestText, PolicyCase, PolicyCaseResult, PolicyTest, PolicyTestReport, Verdict,
    },
    plan::Plan,
    policy::PolicyDecision,
    problem::Party,
};
use kos_base::{DeviceId, SecurityProfile, Timestamp, code, text::printable};
use kos_identity::registry::Device;
use kos_manifest::{Examined, Outcome, Point, Severity, governed};
use kos_policy::{Forwarding, Request, Standing, decide, slice::Sent};

use super::{
    answer::{Refusal, document, page},
    call::{Asked, Call, Context, Mode},
    change::{Attempt, commit, given_before, to_the_end},
    differ,
    lifecycle::Demanded,
};
use crate::{
    authority::Shared,
    clock,
    policy::manifest::applied::{self, Fault, examine_with_store, is_sound, prepare, subject, written},
    store::{ManifestChoice, StoredManifest},
};

type Shares = State<Arc<Shared>>;

/// Most versions that are listed.
const LISTED_MAX: u32 = 500;
/// Most decisions that are compared at a time. Stops a test from keeping the authority busy.
const CASES_MAX: usize = 1_000;

fn refusal(fault: &Fault) -> Refusal {
    match fault {
        Fault::Refused { code, why } => Refusal::new(*code).saying(why),
        other => {
            tracing::error!(error = %other, "manifests cannot be read or signed");
            Refusal::new(other.code())
        }
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::new(code::manifest::MANIFEST_UNKNOWN).about("manifest", &printable(name, 40))
}

fn view(stored: StoredManifest) -> Manifest {
    let StoredManifest { name, version, counter, applied_at, policies, digest } = stored;
    Manifest { name, version, counter, applied_at, policies, digest }
}

pub(super) async fn list(
    State(shared): Shares,
    Asked(filter): Asked<ManifestFilter>,
) -> Result<Response, Refusal> {
    let choice = filter.name.as_deref().map_or(ManifestChoice::InForce, ManifestChoice::Named);
    let found = shared.store.manifests(choice, LISTED_MAX).await?;
    match &filter.name {
        Some(name) if found.is_empty() => Err(unknown(name)),
        _ => Ok(page(found.into_iter().map(view).collect(), None)),
    }
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(name): Path<String>,
    Asked(query): Asked<ManifestQuery>,
) -> Result<Response, Refusal> {
    let versions = shared.store.manifests(ManifestChoice::Named(&name), LISTED_MAX).await?;
    let wanted = |stored: &StoredManifest| query.version.is_none_or(|version| version == stored.version);
    let newest = versions.first().map(|stored| stored.version);
    let absent = || match (newest, query.version) {
        (Some(newest), Some(version)) => {
            let why = format!(
                "there is no version {version} of it, the newest is {newest}: kosctl policy list --versions {name}"
            );
            unknown(&name).saying(&printable(&why, 300)).under(context.id)
        }
        _ => unknown(&name).under(context.id),
    };
    let stored = versions.into_iter().find(wanted).ok_or_else(absent)?;
    let text = applied::read(&shared.store, shared.keys.orders.public(), &stored).await;
    let text = text.map_err(|fault| refusal(&fault).under(context.id))?;
    let StoredManifest { name, version, applied_at, .. } = stored;
    Ok(document(ManifestText { name, version, applied_at, text }))
}

fn lint_of(examined: &Examined) -> ManifestLint {
    ManifestLint {
        ok: is_sound(examined),
        name: examined.source.as_ref().map(|source| source.name.clone()),
        version: examined.source.as_ref().map(|source| source.version),
        findings: examined
            .findings
            .iter()
            .map(|finding| LintFinding {
                severity: match finding.severity {
                    Severity::Warning => LintSeverity::Warning,
                    Severity::Error => LintSeverity::Error,
                },
                kind: finding.kind.as_str().to_owned(),
                policy: finding.policy.clone(),
                detail: finding.detail.clone(),
            })
            .collect(),
    }
}

pub(super) async fn lint(
    State(shared): Shares,
    call: Call<Demanded<ManifestBody>>,
) -> Result<Response, Refusal> {
    let text = call.body.get()?.text.clone();
    let mut examined = examine_with_store(&shared.store, text.clone()).await?;
    if let Some(source) = &examined.source {
        let held = shared.store.manifests(ManifestChoice::Named(&source.name), 1).await?;
        if let Some(held) = held.first() {
            // What is in force may be looked at again.
            let in_force = applied::read(&shared.store, shared.keys.orders.public(), held).await;
            if in_force.ok().as_ref() != Some(&text) {
                examined.refuse_version(held.version);
            }
        }
    }
    Ok(document(lint_of(&examined)))
}

/// What a text would change of the manifest in force, whatever its version.
pub(super) async fn diff(
    State(shared): Shares,
    call: Call<Demanded<ManifestBody>>,
) -> Result<Response, Refusal> {
    let text = call.body.get()?.text.clone();
    let manifest = sound(examine_with_store(&shared.store, text).await?).map_err(|r| r.under(call.id))?;
    let name = &manifest.source.name;
    Ok(document(Plan {
        action: kos_api::routes::MANIFEST_APPLY.name.to_owned(),
        object: Some(Party::new("manifest", name)),
        changes: differ::changes(&shared.manifests.policies_of(name), &written(&manifest)),
        effects: Vec::new(),
    }))
}

/// The manifest that a text is, or the worst that is wrong with it.
fn sound(examined: Examined) -> Result<kos_manifest::Manifest, Refusal> {
    let Examined { manifest, findings, .. } = examined;
    manifest.ok_or_else(|| match findings.first() {
        Some(worst) => Refusal::new(worst.kind.code()).saying(&worst.detail),
        None => Refusal::new(code::manifest::MANIFEST_INVALID),
    })
}

pub(super) async fn apply(
    State(shared): Shares,
    call: Call<Demanded<ManifestBody>>,
) -> Result<Response, Refusal> {
    // What is committed is put in force, whoever waits for the answer.
    to_the_end(put_in_force(shared, call)).await
}

async fn put_in_force(shared: Arc<Shared>, call: Call<Demanded<ManifestBody>>) -> Result<Response, Refusal> {
    let text = call.body.get()?.text.clone();
    let examined = examine_with_store(&shared.store, text).await?;
    let after = examined.manifest.as_ref().map(written).unwrap_or_default();
    let _turn = shared.manifests.turn().await;
    let caught_up = shared.manifests.catch_up(&shared.store, &shared.keys).await;
    if caught_up.map_err(|fault| refusal(&fault).under(call.id))? {
        shared.links.policies_changed();
    }
    // Whoever asks again while it is applied waits until it is in force.
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let prepared = prepare(&shared, call.who.actor(), clock::now(), examined).await;
    let mut prepared = prepared.map_err(|fault| refusal(&fault).under(call.id))?;
    if call.mode == Mode::Plan {
        let before = shared.manifests.policies_of(&prepared.stored.name);
        return Ok(document(Plan {
            action: call.route.name.to_owned(),
            object: Some(Party::new("manifest", &prepared.stored.name)),
            changes: differ::changes(&before, &after),
            effects: vec!["log: policy_applied".to_owned()],
        }));
    }
    let transaction = prepared.take_transaction();
    let stored = prepared.stored.clone();
    match commit(&shared, &call, transaction, move |_| view(stored.clone())).await? {
        Attempt::Done(_, response) => {
            shared.manifests.put(prepared);
            shared.links.policies_changed();
            Ok(response)
        }
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

pub(super) async fn test(
    State(shared): Shares,
    call: Call<Demanded<PolicyTest>>,
) -> Result<Response, Refusal> {
    let asked = call.body.get()?.clone();
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id);
    if asked.cases.len() > CASES_MAX {
        return Err(bad(&format!("there are more than {CASES_MAX} cases")));
    }
    if asked.cases.is_empty() {
        return Err(bad("there are no cases: that would be right whatever is in force"));
    }
    let point = match asked.text {
        None => shared.manifests.point(),
        Some(text) => {
            let examined = examine_with_store(&shared.store, text).await?;
            let manifest = sound(examined).map_err(|refusal| refusal.under(call.id))?;
            Arc::new(shared.manifests.with(manifest))
        }
    };
    let (now, mut cases) = (clock::now(), Vec::new());
    for case in asked.cases {
        let unknown =
            || Refusal::new(code::enrolment::DEVICE_UNKNOWN).about("device", &case.device).under(call.id);
        let device = shared.store.device(&case.device).await?.ok_or_else(unknown)?;
        let decided = ask(&shared, &point, &device, &case, now).await?.ok_or_else(|| {
            let send = printable(&case.send, 40);
            bad(&format!(
                "`{send}` is neither a type of message on which manifests decide nor the id of a device"
            ))
        })?;
        cases.push(judged(case, decided));
    }
    Ok(document(PolicyTestReport { ok: cases.iter().all(|case| case.ok), cases }))
}

fn judged(case: PolicyCase, decided: Decided) -> PolicyCaseResult {
    let verdict = if decided.outcome.allowed { Verdict::Allow } else { Verdict::Deny };
    let as_expected = case.policy.is_none() || case.policy == decided.outcome.policy;
    PolicyCaseResult {
        ok: verdict == case.expect && as_expected,
        device: case.device,
        request: format!("send/{}", case.send),
        expected: case.expect,
        decided: verdict,
        rule: decided.rule,
        expected_policy: case.policy,
        policy: decided.outcome.policy,
        why: decided.outcome.why,
    }
}

/// What guardrails and manifests say together.
struct Decided {
    rule: String,
    code: Option<String>,
    outcome: Outcome,
}

/// The guardrails decide first; the manifests only on what they allow.
fn both(standing: Standing, request: Request, manifests: impl FnOnce() -> Outcome) -> Decided {
    let decision = decide(standing, request);
    if let Err(refused) = decision.check() {
        let outcome = Outcome { allowed: false, policy: None, why: decision.to_string() };
        return Decided {
            rule: decision.rule().to_string(),
            code: Some(refused.code().to_string()),
            outcome,
        };
    }
    let outcome = manifests();
    let code = (!outcome.allowed).then(|| code::manifest::MANIFEST_REFUSES.to_string());
    Decided { rule: "manifest".to_owned(), code, outcome }
}

/// On the wire its certificate counts; without one it is the lobby.
fn wire(record: &Device) -> Standing {
    let certified = record.credential.as_ref().map(|held| record.certified_profile(held));
    Standing::certified(certified.unwrap_or(SecurityProfile::Sec0), record.evidence)
}

async fn ask(
    shared: &Shared,
    point: &Point,
    device: &Device,
    case: &PolicyCase,
    now: Timestamp,
) -> Result<Option<Decided>, Refusal> {
    let (standing, at) = (wire(device), case.at.unwrap_or(now));
    let subject = subject(device, standing);
    if let Some((kind, errand)) = governed().find(|(kind, _)| *kind == case.send) {
        let sent = Sent::Message(kind, errand.as_str());
        return Ok(Some(both(standing, Request::Message(errand), || point.decide(at, subject, sent))));
    }
    let Ok(to) = case.send.parse::<DeviceId>() else { return Ok(None) };
    let Some(other) = shared.store.device(&to).await? else { return Ok(None) };
    let request = Request::Peer(Forwarding::Channel, wire(&other));
    Ok(Some(both(standing, request, || point.decide(at, subject, Sent::Device(&to)))))
}

/// What a device may send, one decision for each type of message on which manifests decide.
pub(super) fn explained(shared: &Shared, record: &Device) -> Vec<PolicyDecision> {
    let (standing, point, now) = (wire(record), shared.manifests.point(), clock::now());
    let one = |(kind, errand): (&'static str, kos_policy::Errand)| {
        let sent = Sent::Message(kind, errand.as_str());
        let decided =
            both(standing, Request::Message(errand), || point.decide(now, subject(record, standing), sent));
        PolicyDecision {
            device_id: record.id.clone(),
            profile: standing.profile,
            evidence_tier: standing.proven.evidence,
            door: "send".to_owned(),
            request: format!("send/{kind}"),
            allowed: decided.outcome.allowed,
            rule: decided.rule,
            policy: decided.outcome.policy,
            code: decided.code,
            why: decided.outcome.why,
        }
    };
    governed().map(one).collect()
}
