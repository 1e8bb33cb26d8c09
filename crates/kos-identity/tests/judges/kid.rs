//! The CWT library of another hand verifies our kID and refuses what was changed in it.

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::desk::Desk;

fn golden() -> (String, Vec<u8>) {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../../../tests/vectors/identity/kid.json")).unwrap();
    let text = |key: &str| cases[0][key].as_str().unwrap().to_owned();
    (text("signerSpki"), HEXLOWER.decode(text("cwt").as_bytes()).unwrap())
}

fn judge(desk: &Desk, spki: &str, cwt: &[u8], domain: &str) -> (bool, String) {
    desk.ask_python("kid.py", &[spki, &HEXLOWER.encode(cwt), domain])
}

#[test]
fn a_foreign_library_verifies_a_kid_and_reads_its_claims() {
    let (desk, (spki, cwt)) = (Desk::new(), golden());
    let (yes, said) = judge(&desk, &spki, &cwt, "kos kid v1");
    assert!(yes, "{said}");
    let claims: Value = serde_json::from_str(&said).unwrap();
    for (claim, value) in [
        ("iss", "k:attic"),
        ("sub", "k:attic/kdev-7f4ac30123456789/001"),
        ("aud", "k:attic"),
        ("typ", "application/kos-kid+cwt"),
        ("cti", &"44".repeat(16)),
        ("cnf", &"ab".repeat(32)),
        ("role", "sensor"),
        ("profile", "SEC-2"),
        ("group", "berlin/line-2"),
        ("evidence", "key-on-device"),
        ("channel", "stable"),
        ("agreement", &"33".repeat(32)),
    ] {
        assert_eq!(claims[claim], value, "{claim}");
    }
    assert_eq!(claims["capabilities"], serde_json::json!(["camera", "telemetry"]));
    let times = ["nbf", "iat", "exp"].map(|claim| claims[claim].as_u64());
    assert_eq!(times, [1_795_169_700, 1_795_170_000, 1_795_256_400].map(Some));
}

#[test]
fn a_foreign_library_refuses_a_changed_kid_and_another_purpose() {
    let (desk, (spki, cwt)) = (Desk::new(), golden());
    for (domain, changed) in
        [("kos log leaf v1", cwt.len()), ("kos kid v1", cwt.len() - 1), ("kos kid v1", 120)]
    {
        let mut cwt = cwt.clone();
        if let Some(byte) = cwt.get_mut(changed) {
            *byte ^= 1;
        }
        let (yes, said) = judge(&desk, &spki, &cwt, domain);
        assert!(!yes && said.contains("Failed to verify"), "{said}");
    }
}
