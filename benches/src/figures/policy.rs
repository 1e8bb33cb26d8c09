//! Decisions by manifests, in process: a thousand devices that ask in turn, by 100 policies and by 10 000.
//!
//! Counted: everything from who asks and what to the outcome with its reason. The value is that of devices whose policies
//! were cut out before, and whose decisions may be remembered, which is how an authority runs; what the first decision of
//! a device costs is told beside it. The peer is Cedar alone: one set of all policies, one set of entities made beforehand.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use kos_base::{Channel, DeviceId, EvidenceTier, GroupPath, Role, SecurityProfile, Timestamp};
use kos_manifest::{Point, Subject, examine, governed};
use kos_policy::slice::{Facts, Sent};
use serde_json::json;

use super::Ground;
use crate::{
    figure::{Figure, Measured, POLICY_DECISION_10K_US, POLICY_DECISION_US, Rival},
    statistics::median,
    talk,
};

const DEVICES: usize = 1_000;
const GROUPS: usize = 100;
const MESSAGES: [&str; 3] = ["LOG", "REPORT", "WITNESS"];
const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);
const FACTS: Facts = Facts {
    profile: SecurityProfile::Sec2,
    evidence: EvidenceTier::KeyOnDevice,
    role: Role::Sensor,
    channel: Channel::Stable,
};

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let runs = ground.scale.pick(3, 5);
    let mut all = Vec::new();
    for (figure, count) in [(&POLICY_DECISION_US, 100), (&POLICY_DECISION_10K_US, 10_000)] {
        all.push(tokio::task::spawn_blocking(move || contest(figure, count, runs)).await??);
    }
    Ok(all)
}

/// Ours and Cedar alone in turn.
fn contest(figure: &'static Figure, policies: usize, runs: usize) -> Result<Measured> {
    let fleet = Fleet::make()?;
    let text = manifest(policies, &fleet)?;
    let manifest = examine(&text).manifest.context("the manifest is sound")?;
    let plain = Plain::make(&manifest.policies, &fleet)?;
    let (mut first, mut warm, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=runs {
        let point = Point::new(1, manifest.rules.clone(), manifest.policies.clone());
        let (took, allowed) = ours(&point, &fleet);
        first.push(each(took));
        // The second round is remembered from the first.
        let (took, again) = ours(&point, &fleet);
        warm.push(each(took));
        let (took, expected) = plain.decide()?;
        alone.push(each(took));
        ensure!(allowed == expected && again == expected, "Cedar allows {expected}, ours {allowed}, {again}");
        ensure!(allowed > 0 && allowed < DEVICES * MESSAGES.len(), "some are allowed and some are not");
        talk::say(&format!("decisions by {policies} policies, run {run}: {:.2} us", each(took)));
    }
    let cedar = Rival {
        name: "cedar-policy alone (all policies, entities made beforehand)".to_owned(),
        value: median(&alone),
    };
    Ok(Measured::new(figure, median(&warm), runs, "CPU: one core, no load generator")
        .beside(Ok(cedar))
        .note(format!("a device's first: {:.1} us", median(&first))))
}

fn each(took: Duration) -> f64 {
    let count = DEVICES * MESSAGES.len();
    took.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

struct Fleet {
    devices: Vec<(DeviceId, GroupPath)>,
}

impl Fleet {
    fn make() -> Result<Self> {
        let device = |at: usize| {
            let group = format!("site-{}/line-{}", at % 10, at % GROUPS);
            Ok((format!("kdev-{at:0>16}").parse()?, group.parse()?))
        };
        Ok(Self { devices: (0..DEVICES).map(device).collect::<Result<_>>()? })
    }
}

/// A tenth is about everybody up to ten, a tenth about groups, the rest about devices.
fn manifest(count: usize, fleet: &Fleet) -> Result<String> {
    let mut text = "// manifest bench 1\n".to_owned();
    for (at, (device, group)) in fleet.devices.iter().cycle().take(count).enumerate() {
        let principal = match at {
            0..10 => "principal".to_owned(),
            _ if at % 10 == 0 => format!("principal in Group::\"{group}\""),
            _ => format!("principal == Device::\"{device}\""),
        };
        let (effect, message) = match at % 7 {
            0 => ("forbid", "WITNESS"),
            step if step % 2 == 0 => ("permit", "LOG"),
            _ => ("permit", "REPORT"),
        };
        let when = format!("principal.profile >= {} && principal.channel != \"dev\"", at % 3);
        writeln!(
            text,
            "{effect}({principal}, action == Action::\"send\", resource == Message::\"{message}\") when {{ {when} }};"
        )?;
    }
    Ok(text)
}

fn ours(point: &Point, fleet: &Fleet) -> (Duration, usize) {
    let errands: Vec<_> = MESSAGES
        .iter()
        .filter_map(|kind| governed().find(|(governed, _)| governed == kind))
        .map(|(kind, errand)| Sent::Message(kind, errand.as_str()))
        .collect();
    let (begun, mut allowed) = (Instant::now(), 0);
    for sent in &errands {
        for (device, group) in &fleet.devices {
            let subject = Subject { device, group: Some(group), facts: FACTS };
            allowed += usize::from(black_box(point.decide(NOW, subject, *sent)).allowed);
        }
    }
    (begun.elapsed(), allowed)
}

struct Plain {
    policies: PolicySet,
    entities: Entities,
    principals: Vec<EntityUid>,
}

impl Plain {
    fn make(policies: &BTreeMap<String, cedar_policy::Policy>, fleet: &Fleet) -> Result<Self> {
        let uid = |kind: &str, id: &str| json!({"type": kind, "id": id});
        let mut all = BTreeMap::new();
        let mut put = |kind: &str, id: &str, attributes, parents: Vec<serde_json::Value>| {
            let entity = json!({"uid": uid(kind, id), "attrs": attributes, "parents": parents});
            all.insert((kind.to_owned(), id.to_owned()), entity);
        };
        for (device, group) in &fleet.devices {
            let above = group.as_ref().split_once('/').map_or("", |(above, _): (&str, &str)| above);
            put("Group", above, json!({}), vec![]);
            put("Group", group.as_ref(), json!({}), vec![uid("Group", above)]);
            let attributes = json!({
                "profile": FACTS.profile_number(), "evidence": FACTS.evidence_number(),
                "role": FACTS.role.to_string(), "channel": FACTS.channel.to_string(),
            });
            put("Device", device.as_ref(), attributes, vec![uid("Group", group.as_ref())]);
        }
        for (kind, errand) in governed() {
            put("Errand", errand.as_str(), json!({}), vec![]);
            put("Message", kind, json!({}), vec![uid("Errand", errand.as_str())]);
        }
        let entities = Entities::from_json_value(all.into_values().collect::<Vec<_>>().into(), None)?;
        let principal = |(device, _): &(DeviceId, GroupPath)| Ok(format!("Device::\"{device}\"").parse()?);
        Ok(Self {
            policies: PolicySet::from_policies(policies.values().cloned())?,
            entities,
            principals: fleet.devices.iter().map(principal).collect::<Result<_>>()?,
        })
    }

    fn decide(&self) -> Result<(Duration, usize)> {
        let action: EntityUid = "Action::\"send\"".parse()?;
        let authorizer = Authorizer::new();
        let (mut took, mut allowed) = (Duration::ZERO, 0);
        for message in MESSAGES {
            let resource: EntityUid = format!("Message::\"{message}\"").parse()?;
            for principal in &self.principals {
                let begun = Instant::now();
                let time = json!({"time": NOW.unix_s()});
                let context = Context::from_json_value(time, None)?;
                let request =
                    Request::new(principal.clone(), action.clone(), resource.clone(), context, None)?;
                let response = black_box(authorizer.is_authorized(&request, &self.policies, &self.entities));
                allowed += usize::from(response.decision() == Decision::Allow);
                took += begun.elapsed();
            }
        }
        Ok((took, allowed))
    }
}
