//! Python's cwt verifies the kID of a device in service and reads everything that it says.

use kos_e2e::{
    fleet::{Authority, Device},
    judge::Desk,
    wait,
};
use serde_json::{Value, json};

#[test]
fn python_verifies_the_kid_of_a_device_and_reads_what_the_authority_decided() {
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    let ticket = ["--role", "gateway", "--group", "berlin/line-2", "--profile", "SEC-1"];
    let ticket = authority.ticket(&ticket).unwrap();
    let mut device =
        Device::new("kid-1", "services:\n  capabilities: [voice-assistant, telemetry]\n").unwrap();
    let done = device.enrol(&ticket).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let id = device.id().unwrap();
    device.run().unwrap();
    authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    authority.json(&["set-channel", "--device", &id, "--channel", "beta"]).unwrap();

    let desk = Desk::new().unwrap();
    let show = authority.json(&["authority", "show"]).unwrap();
    desk.put("kid.pem", show["item"]["kidKey"].as_str().unwrap()).unwrap();
    desk.agrees("openssl pkey -pubin -in kid.pem -outform DER -out kid.der", "").unwrap();
    let spki = data_encoding::HEXLOWER.encode(&desk.take("kid.der").unwrap());
    let judge = |cwt: &[u8], domain: &str| {
        let cwt = data_encoding::HEXLOWER.encode(cwt);
        desk.python("crates/kos-identity/tests/judges/kid.py", &[&spki, &cwt, domain]).unwrap()
    };
    let read = |chain: &Value| {
        let text = chain["item"]["kid"]["cwt"].as_str().unwrap();
        data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    };
    let (chain, claims) = wait::until("a kID of the new channel", || {
        let chain = authority.json(&["identity", "chain", "--device", &id])?;
        let (yes, said) = judge(&read(&chain), "kos kid v1");
        assert!(yes, "{said}");
        let claims: Value = serde_json::from_str(&said)?;
        Ok((claims["channel"] == "beta").then_some((chain, claims)))
    })
    .unwrap();

    let shown = authority.device(&id).unwrap();
    let name = show["item"]["authority"].as_str().unwrap();
    for (claim, value) in [
        ("typ", json!("application/kos-kid+cwt")),
        ("iss", json!(format!("k:{name}"))),
        ("aud", json!(format!("k:{name}"))),
        ("sub", shown["kidSubject"].clone()),
        ("cnf", shown["operationalKeyId"].clone()),
        ("role", json!("gateway")),
        ("profile", json!("SEC-1")),
        ("group", json!("berlin/line-2")),
        ("user", Value::Null),
        ("capabilities", json!(["telemetry", "voice-assistant"])),
        ("evidence", json!("key-on-device")),
    ] {
        assert_eq!(claims[claim], value, "{claim}: {claims}");
    }
    let [nbf, iat, exp] = ["nbf", "iat", "exp"].map(|claim| claims[claim].as_u64().unwrap());
    assert_eq!((iat - nbf, exp - iat), (300, 24 * 3600), "{claims}");

    let mut bent = read(&chain);
    *bent.last_mut().unwrap() ^= 1;
    for (cwt, domain) in [(bent, "kos kid v1"), (read(&chain), "kos audit entry v1")] {
        let (yes, said) = judge(&cwt, domain);
        assert!(!yes && said.contains("Failed to verify"), "{said}");
    }
    device.stop().unwrap();
}
