//! The description of the API, judged by a program that knows OpenAPI and not kOS.

#![cfg(test)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Reads a description on stdin and says what is wrong with it.
const JUDGE: &str = "
import json, sys
from openapi_spec_validator import OpenAPIV31SpecValidator
for error in OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors():
    print('/'.join(map(str, error.absolute_path)), error.message)
";

fn judge(description: &serde_json::Value) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges/bin/python");
    let mut child = Command::new(python)
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the judge needs target/judges: cargo xtask test deps");
    child.stdin.take().unwrap().write_all(description.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_description_is_openapi_3_1_and_the_judge_sees_when_one_is_not() {
    let mut description = kos_api::openapi::document();
    assert_eq!(judge(&description), "");
    description["paths"]["/api/v1/devices"]["get"]["parameters"][0]["in"] = "pocket".into();
    assert_ne!(judge(&description), "");
}
