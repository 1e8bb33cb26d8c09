//! What decides, against plain Cedar: over random manifests and requests, and over what hostile authors write.

use std::{collections::BTreeMap, fmt::Write as _};

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicySet, Request};
use kos_base::{Channel, DeviceId, EvidenceTier, GroupPath, Role, SecurityProfile, Timestamp};
use kos_policy::slice::{Facts, Pattern, PatternKind, RuleEffect, Sent, SliceRule};
use serde_json::json;

use crate::{
    closed::{Closed, Whom},
    judge::Outcome,
    lint::{Examined, Kind, Severity, examine},
    point::{Point, Subject},
    schema::governed,
};

fn device_id(n: u8) -> DeviceId {
    format!("kdev-{n:0>16}").parse().unwrap()
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len().try_into().unwrap())).unwrap()]
    }
}

const TIME: u64 = 1_800_000_000;
const GROUPS: [&str; 3] = ["berlin", "berlin/line-2", "paris"];
const DEVICES: [u8; 3] = [1, 2, 3];
const MESSAGES: [&str; 4] = ["LOG", "REPORT", "WITNESS", "TASK_REQUEST"];

fn atom(dice: &mut Dice) -> String {
    let operator = dice.pick(&["==", "!=", "<", "<=", ">", ">="]);
    let (attribute, constant) = match dice.roll(5) {
        // Not what holds for no device.
        0 => ("principal.profile", (1 + dice.roll(3)).to_string()),
        1 if ["==", "!="].contains(&operator) => ("principal.evidence", "-0".to_owned()),
        1 => ("principal.evidence", (1 + dice.roll(4)).to_string()),
        2 if dice.roll(4) == 0 => ("context.time", format!("-{}", dice.roll(3))),
        2 => ("context.time", (TIME + dice.roll(5)).to_string()),
        3 => {
            let word = dice.pick(Role::ALL).as_str();
            return format!("principal.role {} \"{word}\"", dice.pick(&["==", "!="]));
        }
        _ => {
            let word = dice.pick(&["stable", "beta"]);
            return format!("\"{word}\" {} principal.channel", dice.pick(&["==", "!="]));
        }
    };
    match dice.roll(2) {
        0 => format!("{attribute} {operator} {constant}"),
        _ => format!("{constant} {operator} {attribute}"),
    }
}

fn policy(dice: &mut Dice, at: u64) -> String {
    let effect = dice.pick(&["permit", "permit", "forbid"]);
    let device = device_id(dice.pick(&DEVICES));
    let group = dice.pick(&GROUPS);
    let principal = match dice.roll(6) {
        0 => "principal".to_owned(),
        1 => "principal is Device".to_owned(),
        2 => format!("principal == Device::\"{device}\""),
        3 => format!("principal in Device::\"{device}\""),
        4 => format!("principal is Device in Group::\"{group}\""),
        _ => format!("principal in Group::\"{group}\""),
    };
    let message = dice.pick(&MESSAGES);
    let resource = match dice.roll(8) {
        0 => "resource".to_owned(),
        1 => "resource is Message".to_owned(),
        2 => "resource is Device".to_owned(),
        3 => format!("resource == Device::\"{device}\""),
        4 => format!("resource in Errand::\"{}\"", dice.pick(&["report", "agent"])),
        5 => "resource is Message in Errand::\"report\"".to_owned(),
        6 => format!("resource in Message::\"{message}\""),
        _ => format!("resource == Message::\"{message}\""),
    };
    let action = dice.pick(&["action == Action::\"send\"", "action in [Action::\"send\"]"]);
    let mut text = format!("@id(\"p{at}\")\n{effect}({principal}, {action}, {resource})");
    for _ in 0..dice.roll(3) {
        let atoms: Vec<_> = (0..=dice.roll(3)).map(|_| atom(dice)).collect();
        write!(text, "\n{} {{ {} }}", dice.pick(&["when", "unless"]), atoms.join(" && ")).unwrap();
    }
    text + ";\n"
}

fn manifest(policies: &[String]) -> String {
    format!("// manifest random 1\n{}", policies.concat())
}

fn point(examined: &Examined) -> Point {
    let manifest = examined.manifest.clone().unwrap();
    Point::new(7, manifest.rules, manifest.policies)
}

fn uid(kind: &str, id: &str) -> EntityUid {
    format!("{kind}::\"{id}\"").parse().unwrap()
}

/// What Cedar says with nothing of ours: its own reader of entities, all policies, no cut and no memory.
fn plain(text: &str, subject: &Subject<'_>, time: u64, resource: &EntityUid) -> (bool, Option<String>) {
    let policies: PolicySet = text.parse().unwrap();
    let mut names = BTreeMap::new();
    for policy in policies.policies() {
        names.insert(policy.id().to_string(), format!("random/{}", policy.annotation("id").unwrap()));
    }
    let entity = |kind: &str, id: &str, attributes, parents: &[(&str, &str)]| {
        let parents: Vec<_> = parents.iter().map(|(kind, id)| json!({"type": kind, "id": id})).collect();
        json!({"uid": {"type": kind, "id": id}, "attrs": attributes, "parents": parents})
    };
    let mut entities = vec![
        entity("Group", "berlin", json!({}), &[]),
        entity("Group", "paris", json!({}), &[]),
        entity("Group", "berlin/line-2", json!({}), &[("Group", "berlin")]),
    ];
    let facts = subject.facts;
    let attributes = json!({
        "profile": facts.profile_number(), "evidence": facts.evidence_number(), "role": facts.role.as_str(),
        "channel": facts.channel.as_str(),
    });
    let group = subject.group.map(GroupPath::as_ref);
    let groups: Vec<_> = group.into_iter().map(|group: &str| ("Group", group)).collect();
    entities.push(entity("Device", subject.device.as_ref(), attributes, &groups));
    for other in DEVICES.map(device_id) {
        if other != *subject.device {
            entities.push(entity("Device", other.as_ref(), json!({}), &[]));
        }
    }
    for (message, errand) in governed() {
        entities.push(entity("Message", message, json!({}), &[("Errand", errand.as_str())]));
    }
    let entities = Entities::from_json_value(entities.into(), None).unwrap();
    let context = Context::from_json_value(json!({"time": time}), None).unwrap();
    let principal = uid("Device", subject.device.as_ref());
    let request = Request::new(principal, uid("Action", "send"), resource.clone(), context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    assert_eq!(response.diagnostics().errors().count(), 0);
    let reason = response.diagnostics().reason().map(|id| names[&id.to_string()].clone()).min();
    (response.decision() == Decision::Allow, reason)
}

#[test]
fn point_and_slice_decide_as_plain_cedar_does() {
    let mut dice = Dice(5);
    let authority = "attic".parse().unwrap();
    let (mut sound, mut allowed, mut forbidden, mut unpermitted) = (0, 0, 0, 0);
    for round in 0..1_500 {
        let policies: Vec<_> = (0..=dice.roll(7)).map(|at| policy(&mut dice, at)).collect();
        let text = manifest(&policies);
        let examined = examine(&text);
        if examined.manifest.is_none() {
            // Only what the generator cannot rule out.
            let expected = [Kind::Contradiction, Kind::Unreachable];
            assert!(examined.findings.iter().all(|f| expected.contains(&f.kind)), "{text}\n{examined:?}");
            continue;
        }
        sound += 1;
        let point = point(&examined);
        for _ in 0..6 {
            let device = device_id(dice.pick(&DEVICES));
            let group = Some(dice.pick(&GROUPS)).filter(|_| dice.roll(4) > 0).map(|g| g.parse().unwrap());
            let facts = Facts {
                profile: dice.pick(SecurityProfile::ALL),
                evidence: dice.pick(EvidenceTier::ALL),
                role: dice.pick(Role::ALL),
                channel: dice.pick(Channel::ALL),
            };
            let subject = Subject { device: &device, group: group.as_ref(), facts };
            let time = TIME + dice.roll(7);
            let to: DeviceId = device_id(dice.pick(&DEVICES));
            let message = dice.pick(&MESSAGES);
            let (sent, resource) = if dice.roll(3) == 0 && to != device {
                (Sent::Device(&to), uid("Device", to.as_ref()))
            } else {
                let errand = governed().find(|(kind, _)| *kind == message).unwrap().1;
                (Sent::Message(message, errand.as_str()), uid("Message", message))
            };
            let (expected, reason) = plain(&text, &subject, time, &resource);
            let now = Timestamp::from_unix_s(time);
            // Twice, since the second time it is remembered.
            for _ in 0..2 {
                let Outcome { allowed, policy, why } = point.decide(now, subject, sent);
                assert_eq!((allowed, &policy), (expected, &reason), "{round}: {why}\n{text}\n{subject:?}");
            }
            let slice = point.slice(&authority, &device, group.as_ref(), 1, now);
            let ruling = slice.decide(now, &facts, sent);
            assert_eq!(
                (ruling.is_allowed(), ruling.rule()),
                (expected, reason.as_deref()),
                "{round}: {ruling:?}\n{text}\n{subject:?}"
            );
            match (expected, &reason) {
                (true, _) => allowed += 1,
                (false, Some(_)) => forbidden += 1,
                (false, None) => unpermitted += 1,
            }
        }
    }
    assert!(
        sound > 500 && allowed > 300 && forbidden > 300 && unpermitted > 300,
        "{sound} {allowed} {forbidden} {unpermitted}"
    );
}

fn facts() -> Facts {
    Facts {
        profile: SecurityProfile::Sec2,
        evidence: EvidenceTier::KeyOnDevice,
        role: Role::Sensor,
        channel: Channel::Stable,
    }
}

const LOG: Sent<'static> = Sent::Message("LOG", "report");

#[test]
fn a_prohibition_that_fails_refuses_where_cedar_would_pass_over_it() {
    let permit = "permit(principal, action == Action::\"send\", resource);";
    let failing = "forbid(principal, action == Action::\"send\", resource) when { principal.missing == 1 };";
    let parse = |id: &str, text: &str| Policy::parse(Some(cedar_policy::PolicyId::new(id)), text).unwrap();
    let policies: BTreeMap<_, _> =
        [("a", permit), ("b", failing)].map(|(id, text)| (id.to_owned(), parse(id, text))).into();
    let closed = |id: &str, effect| Closed {
        whom: Whom::Everybody,
        rule: SliceRule {
            id: id.to_owned(),
            effect,
            resource: Pattern::any(PatternKind::Anything),
            clauses: Vec::new(),
        },
    };
    let rules = vec![closed("a", RuleEffect::Permit), closed("b", RuleEffect::Forbid)];
    let device = device_id(1);
    let subject = Subject { device: &device, group: None, facts: facts() };
    let point = Point::new(1, rules, policies);
    let outcome = point.decide(Timestamp::from_unix_s(TIME), subject, LOG);
    assert!(!outcome.allowed && outcome.why.contains("could not be evaluated"), "{outcome:?}");
    // Nor is anything allowed that the schema does not know.
    let unknown = point.decide(Timestamp::from_unix_s(TIME), subject, Sent::Message("NEWS", "report"));
    assert!(!unknown.allowed && unknown.why.contains("not known"), "{unknown:?}");
}

#[test]
fn what_is_wrong_with_a_text_is_told_by_its_kind() {
    let send = |rest: &str| format!("permit(principal, action == Action::\"send\", {rest};");
    let deep = format!("{}true{}", "(".repeat(14), ")".repeat(14));
    let chain = vec!["principal.profile == 1"; 100].join(" && ");
    let many = ["when { principal.profile == 1 }"; 9].join(" ");
    for (kind, text) in [
        (Kind::Syntax, "permit(principal, action".to_owned()),
        (Kind::Syntax, "permit(principal, action, resource) when { 1 + };".to_owned()),
        (Kind::Schema, send("resource == Nothing::\"x\")")),
        (Kind::Schema, send("resource) when { principal.colour == \"red\" }")),
        (Kind::Schema, send("resource) when { principal.profile == \"2\" }")),
        (Kind::Schema, "permit(principal, action == Action::\"fly\", resource);".to_owned()),
        (Kind::NoDoor, "permit(principal, action, resource);".to_owned()),
        (
            Kind::NoDoor,
            "forbid(principal, action == Action::\"read\", resource == File::\"/etc\");".to_owned(),
        ),
        (Kind::NoDoor, "permit(principal == Agent::\"a\", action == Action::\"call\", resource);".to_owned()),
        (
            Kind::NoDoor,
            "permit(principal, action in [Action::\"send\", Action::\"call\"], resource);".to_owned(),
        ),
        (Kind::Form, send("resource) when { principal.role like \"s*\" }")),
        (Kind::Form, send("resource) when { principal.profile == 1 || context.time > 5 }")),
        (Kind::Form, send("resource) when { principal.profile == principal.evidence }")),
        (Kind::Form, send("resource) when { principal.profile + 1 > 2 }")),
        (Kind::Form, send(&format!("resource) when {{ {deep} }}"))),
        (Kind::Form, send(&format!("resource) when {{ {chain} }}"))),
        (Kind::Form, send(&format!("resource) {many}"))),
        (Kind::Form, send("resource in Group::\"berlin\")")),
        (Kind::UnknownEntity, send("resource == Message::\"NEWS\")")),
        (Kind::UnknownEntity, send("resource == Message::\"HEARTBEAT\")")),
        (Kind::UnknownEntity, send("resource in Errand::\"alert\")")),
        (Kind::UnknownEntity, send("resource == Device::\"toaster\")")),
        (Kind::UnknownEntity, send("resource) when { principal.channel == \"btea\" }")),
        (Kind::UnknownEntity, send("resource) unless { \"toaster\" != principal.role }")),
        (Kind::UnknownEntity, send("resource) when { principal.profile > 9 }")),
        (Kind::UnknownEntity, send("resource) when { principal.profile < 0 }")),
        (Kind::UnknownEntity, send("resource) when { principal.profile > 4 }")),
        (Kind::UnknownEntity, send("resource) when { context.time > 5 && principal.evidence == 6 }")),
        (Kind::Duplicate, format!("@id(\"a\")\n{0}\n@id(\"a\")\n{0}", send("resource)"))),
        (
            Kind::Contradiction,
            format!("{}\n{}", send("resource)"), send("resource)").replace("permit", "forbid")),
        ),
    ] {
        let examined = examine(&format!("// manifest a 1\n{text}"));
        assert!(examined.manifest.is_none(), "{text}");
        let error = |f: &crate::lint::Finding| f.severity == Severity::Error && f.kind == kind;
        assert!(examined.findings.iter().any(error), "{kind:?}: {text}\n{:#?}", examined.findings);
    }
    let covered = format!(
        "{}\n{}",
        send("resource == Message::\"LOG\")"),
        send("resource in Errand::\"report\")").replace("permit", "forbid")
    );
    let examined = examine(&format!("// manifest a 1\n{covered}"));
    assert!(examined.manifest.is_some());
    let found = &examined.findings[0];
    assert_eq!((found.severity, found.kind), (Severity::Warning, Kind::Unreachable), "{found:?}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_place_and_what_devices_can_be_is_no_mistake() {
    let found = examine("// manifest a 1\npermit(principal, action, resource)\n  whn { true };").findings;
    assert!(found[0].detail.starts_with("line 3, column 3: "), "{found:?}");
    let found = examine("// manifest a 1\npermit(principal, action").findings;
    assert!(found[0].detail.starts_with("line 2, column "), "{found:?}");
    for right in
        ["profile >= 0", "profile == 4", "evidence <= 5", "channel != \"beta\"", "role == \"sensor\""]
    {
        let text = format!(
            "// manifest a 1\npermit(principal, action == Action::\"send\", resource) when {{ principal.{right} }};"
        );
        assert!(examine(&text).manifest.is_some(), "{right}");
    }
}

#[test]
fn ten_thousand_policies_are_judged_and_decided_on() {
    let mut text =
        "// manifest many 1\npermit(principal, action == Action::\"send\", resource);\n".to_owned();
    for n in 0..9_999 {
        let device = format!("kdev-{n:0>16}");
        writeln!(text, "forbid(principal == Device::\"{device}\", action == Action::\"send\", resource == Message::\"LOG\");").unwrap();
    }
    let examined = examine(&text);
    assert!(examined.manifest.is_some(), "{:?}", examined.findings);
    let point = point(&examined);
    let device: DeviceId = "kdev-0000000000000007".parse().unwrap();
    let subject = Subject { device: &device, group: None, facts: facts() };
    let now = Timestamp::from_unix_s(TIME);
    let first = point.decide(now, subject, LOG);
    assert_eq!(point.decide(now, subject, LOG), first, "remembered");
    assert_eq!(first.policy.as_deref(), Some("many/policy8"));
    assert_eq!(point.largest_slice().0, 2);
    assert!(
        examine(&format!("{text}permit(principal, action == Action::\"send\", resource is Device);"))
            .manifest
            .is_none()
    );
}
