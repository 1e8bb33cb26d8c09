//! Cases of Cedar's own project through our decision point: cut to the principal, judged, and remembered.
//!
//! Takes the folder `KOS_CEDAR_CORPUS`, laid out as `corpus-tests` of cedar-integration-tests, or else the few cases of
//! `tests/vectors/cedar`, which are ours. What a case expects is a decision, the policies that led to it and those that
//! failed. Where one fails we refuse, whatever the rest says (MAN-18); everything else is expected as it stands.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a test reads its vectors, and where others are")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use cedar_policy::{
    Context, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicySet, Request, Schema,
};
use kos_manifest::{Concern, Memory, Outcome, judge, named};
use serde_json::Value;

struct Case {
    policies: Vec<Policy>,
    entities: Entities,
    schema: Schema,
    requests: Vec<Value>,
}

fn uid(of: &Value) -> EntityUid {
    let kind: EntityTypeName = of["type"].as_str().unwrap().parse().unwrap();
    EntityUid::from_type_name_and_id(kind, EntityId::new(of["id"].as_str().unwrap()))
}

impl Case {
    fn read(folder: &Path, file: &Path) -> Self {
        let text = |name: &str| {
            // Names in a case begin at the folder above.
            let name = Path::new(name).file_name().unwrap();
            fs::read_to_string(folder.join(name)).unwrap()
        };
        let case: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let [policies, entities, schema] =
            ["policies", "entities", "schema"].map(|of| text(case[of].as_str().unwrap()));
        let (schema, _) = Schema::from_cedarschema_str(&schema).unwrap();
        let entities = Entities::from_json_str(&entities, Some(&schema)).unwrap();
        let policies: PolicySet = policies.parse().unwrap();
        let requests = case["requests"].as_array().unwrap().clone();
        Self { policies: policies.policies().cloned().collect(), entities, schema, requests }
    }

    /// What our decision point says, which looks at the policies that can concern the principal alone.
    fn decide(&self, concern: &Concern<EntityUid>, asked: &Value, memory: &mut Memory) -> Outcome {
        let [principal, action, resource] = ["principal", "action", "resource"].map(|of| uid(&asked[of]));
        let context =
            Context::from_json_value(asked["context"].clone(), Some((&self.schema, &action))).unwrap();
        let schema = asked["validateRequest"].as_bool().unwrap().then_some(&self.schema);
        let what = serde_json::to_string(asked).unwrap();
        let above = self.entities.ancestors(&principal).into_iter().flatten().cloned();
        let lineage = [principal.clone()].into_iter().chain(above);
        let policies = concern.places(lineage).map(|place| self.policies[place].clone());
        let policies = PolicySet::from_policies(policies).unwrap();
        let request = Request::new(principal, action, resource, context, schema).unwrap();
        memory.recall(&what, 0, || judge(&request, &policies, &self.entities))
    }
}

/// What is wrong with a decision.
fn fault(asked: &Value, outcome: &Outcome) -> Option<String> {
    let words =
        |of: &str| asked[of].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let (allows, fails) = (asked["decision"] == "allow", words("errors").next().is_some());
    let expected = match fails {
        true => (false, None),
        false => (allows, words("reason").min()),
    };
    let got = (outcome.allowed, outcome.policy.clone());
    (got != expected).then(|| format!("{expected:?} is expected, {got:?} was decided: {}", outcome.why))
}

#[test]
fn the_corpus_is_decided_as_cedar_decides_it() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/cedar");
    let folder = std::env::var_os("KOS_CEDAR_CORPUS").map_or(ours, PathBuf::from);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let is_case = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".json") && !name.ends_with(".entities.json")
    };
    let mut files: Vec<_> = files.filter(is_case).collect();
    files.sort();
    let (mut passed, mut refused, mut left_out, mut faults) = (0, 0, 0, Vec::new());
    for file in &files {
        let case = Case::read(&folder, file);
        let concern = Concern::new(case.policies.iter().map(named));
        let mut memory = Memory::default();
        // Twice, so that what is remembered is judged as well.
        for asked in case.requests.iter().chain(&case.requests) {
            let outcome = case.decide(&concern, asked, &mut memory);
            refused += usize::from(asked["errors"].as_array().is_some_and(|errors| !errors.is_empty()));
            match fault(asked, &outcome) {
                Some(why) => faults.push(format!("{}: {why}", file.display())),
                None => passed += 1,
            }
        }
        let whole = case.policies.len();
        let lineage = |asked: &Value| {
            let principal = uid(&asked["principal"]);
            let above: Vec<_> = case.entities.ancestors(&principal).into_iter().flatten().cloned().collect();
            [principal].into_iter().chain(above).collect::<Vec<_>>()
        };
        left_out +=
            case.requests.iter().filter(|asked| concern.places(lineage(asked)).count() < whole).count();
    }
    let failed = faults.len();
    println!(
        "{} cases: {passed} decisions passed, {failed} failed; {refused} refused since a policy fails, {left_out} \
         requests with policies left out",
        files.len()
    );
    assert!(passed > 0 && left_out > 0, "nothing was judged");
    assert!(faults.is_empty(), "{:#?}", &faults[..failed.min(20)]);
}
