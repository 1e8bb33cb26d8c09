//! The sample of the source, every key of the table, and files that are wrong in one place.

use kos_base::code;

use super::{
    keys::{KEYS, Otherwise},
    *,
};

/// The source's "Sample Config Structure", to the letter.
const SAMPLE: &str = r#"identity:
  device_id: "kdev-7f4ac3"
  kind_id: "k:auth/kdev-7f4ac3/001"
  cert_path: "/etc/kos/identity.cert"

network:
  protocol: "klp"
  discovery_method: "kDNS"
  fallback: ["https", "mqtt"]

services:
  capabilities:
    - telemetry
    - voice-assistant
    - local-orchestration
  allowed_endpoints:
    - "*.kai.local"
    - "control.kos"

secrets:
  vault: "/etc/kos/secrets"
  encryption: "aes-256-gcm"
"#;

fn parse(text: &str) -> Result<Loaded, ConfigError> {
    Config::parse("config.yaml", text.as_bytes())
}

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")).config
}

#[test]
fn the_sample_of_the_source_loads_and_every_field_is_in_force() {
    let Loaded { config, notices, digest } = parse(SAMPLE).unwrap();
    assert_eq!(digest, sha256(SAMPLE.as_bytes()));
    let id = "kdev-7f4ac3ghijklmnop".parse().unwrap();
    assert!(config.device_id.unwrap().fits(&id));
    assert_eq!(config.kind_id.unwrap().authority.as_ref(), "auth");
    assert_eq!(config.cert_path.as_path(), Path::new("/etc/kos/identity.cert"));
    assert_eq!(config.discovery, [Discovery::Fixed, Discovery::Ticket, Discovery::Mdns]);
    assert_eq!(config.carriers, [Carrier::Quic, Carrier::WebSocket]);
    assert_eq!(
        config.capabilities.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["telemetry", "voice-assistant", "local-orchestration"]
    );
    let allowed = config.allowed_endpoints.unwrap();
    let allows = |endpoint: &str| allowed.iter().any(|pattern| pattern.matches(&endpoint.parse().unwrap()));
    assert!(allows("a.kai.local:8641") && allows("control.kos:8641") && !allows("kai.local:8641"));
    assert_eq!(config.vault.as_path(), Path::new("/etc/kos/secrets"));
    let told: Vec<_> = notices.iter().map(|notice| (notice.place.line, notice.matter)).collect();
    assert_eq!(told, [(8, Matter::KdnsAbsent), (9, Matter::MqttAbsent)]);
}

#[test]
fn an_absent_file_an_empty_one_and_empty_sections_are_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let absent = Config::load(&folder.path().join("config.yaml")).unwrap();
    assert_eq!(absent.notices, []);
    for text in ["", "# nothing\n", "---\n", "identity:\nnetwork: {}\n"] {
        assert_eq!(config(text), absent.config, "{text:?}");
    }
    assert_eq!(absent.config.carriers, [Carrier::Quic, Carrier::Tls, Carrier::WebSocket]);
}

#[test]
fn each_example_of_the_table_loads_and_each_default_changes_nothing() {
    let defaults = config("");
    for key in KEYS {
        let line = |value: &str| format!("{}: {{{}: {value}}}\n", key.section, key.name);
        config(&line(key.example));
        if let Otherwise::Value(value) = key.otherwise {
            assert_eq!(config(&line(value)), defaults, "{}.{}", key.section, key.name);
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    for (text, message) in [
        ("netwrok: {}\n", "config.yaml:1: unknown key `netwrok`, did you mean `network`?"),
        (
            "network:\n  protocol: klp\n  fallbak: []\n",
            "config.yaml:3: unknown key `fallbak`, did you mean `fallback`?",
        ),
        ("identity:\n  deviceId: x\n", "config.yaml:2: unknown key `deviceId`, did you mean `device_id`?"),
        ("secrets:\n  password: x\n", "config.yaml:2: unknown key `password`"),
        ("secrets:\n  \"\\e[31mx\": x\n", "config.yaml:2: unknown key `\u{fffd}[31mx`"),
    ] {
        let refused = parse(text).unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert_eq!(refused.code(), code::config::CONFIG_UNKNOWN_KEY);
    }
}

#[test]
fn a_value_that_its_key_does_not_take_is_refused_with_its_line_and_the_reason() {
    for (text, message) in [
        (
            "identity:\n  role: king\n",
            "config.yaml:2: `king` is not a role (gateway, sensor, companion, compute, actuator, relay)",
        ),
        (
            "identity: {device_id: kdev-XYZ}\n",
            "config.yaml:1: `kdev-XYZ` is not a device id (`kdev-` and 4 to 16 characters of 0-9 and a-v)",
        ),
        ("network:\n  protocol: http\n", "config.yaml:2: `http` is not a protocol that kOS speaks (klp)"),
        (
            "network:\n  fallback:\n    - tls\n    - carrier-pigeon\n",
            "config.yaml:4: `carrier-pigeon` is not a carrier (klp, tls, websocket, https, mqtt)",
        ),
        (
            "network:\n  discovery_method: fixed\n",
            "config.yaml:2: `fixed` needs an address in `network.authority`",
        ),
        ("network: {heartbeat_s: 0}\n", "config.yaml:1: `0` is not a number of seconds from 1 to 86400"),
        (
            "secrets:\n  encryption: rot13\n",
            "config.yaml:2: `rot13` is not a way to keep secrets (none, aes-256-gcm)",
        ),
        ("secrets:\n  vault: ../x\n", "config.yaml:2: `../x` is not an absolute path without `..`"),
        (
            "bootloader:\n  lock_command: [fw_setenv]\n",
            "config.yaml:2: the command begins with an absolute path",
        ),
        (
            "network:\n  pin:\n  - \"00\"\n",
            "config.yaml:3: `00` is not a key id (64 lower-case hex characters)",
        ),
    ] {
        let refused = parse(text).unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert_eq!(refused.code(), code::config::CONFIG_INVALID);
    }
}

#[test]
fn what_is_not_plain_yaml_is_refused_and_named_by_line() {
    let deep = "[".repeat(200);
    for (text, line) in [
        ("identity: {role: sensor\n\n", 1..=3),
        ("identity:\n  role: sensor\n  role: relay\n", 3..=3),
        ("- a\n", 1..=1),
        ("identity: sensor\n", 1..=1),
        ("identity:\n  role: [sensor]\n", 2..=2),
        ("a: &x 1\nb: *x\n", 1..=2),
        ("identity: {name: &x kitchen}\n", 1..=1),
        ("identity:\n  <<: {role: sensor}\n", 2..=2),
        ("identity: {}\n---\nnetwork: {}\n", 1..=3),
        (deep.as_str(), 1..=1),
    ] {
        match parse(text).unwrap_err() {
            ConfigError::Invalid { place, reason } => {
                assert!(line.contains(&place.line) && !reason.is_empty(), "{place} {reason}: {text}");
            }
            ConfigError::UnknownKey { place, .. } => assert_eq!((text, place.line), ("a: &x 1\nb: *x\n", 1)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn bytes_that_are_not_text_and_files_without_end_are_refused() {
    let not_text = Config::parse("config.yaml", b"identity:\n  name: \xff\n").unwrap_err();
    assert_eq!(not_text.to_string(), "config.yaml:2: not UTF-8");
    let endless = vec![b'#'; BYTES_MAX + 1];
    assert!(Config::parse("config.yaml", &endless).is_err());
    let many = "x, ".repeat(LIST_MAX + 1);
    let refused = parse(&format!("services: {{capabilities: [{many}]}}")).unwrap_err();
    assert_eq!(refused.to_string(), "config.yaml:1: at most 32 are allowed");
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Config::load(folder.path()).unwrap_err();
    assert_eq!(refused.code(), code::config::FILE_UNREADABLE);
    assert!(refused.to_string().contains(folder.path().to_str().unwrap()));
}

#[test]
fn the_reference_page_names_every_key() {
    let page = reference_page();
    for key in KEYS {
        assert!(page.contains(&format!("\n### {}.{}\n", key.section, key.name)));
    }
}
