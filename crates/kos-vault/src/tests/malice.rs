//! Files that must be refused, each with its code: `tests/vectors/vault/malice`.

use kos_base::Timestamp;

use super::{BEFORE, GOLDEN, forged, owned, read_all};
use crate::{Sealed, SecretType, SlotKind, Work, state::State, version::Id};

/// The golden file with one text in place of another, which stands in it once.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let text = core::str::from_utf8(GOLDEN).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to).into_bytes()
}

/// The golden file with this in place of the parameters of its Argon2id slot, wherever they stand.
fn derived(to: &str) -> Vec<u8> {
    let from = r#""iterations":2,"memoryKib":19456,"parallelism":1"#;
    let text = core::str::from_utf8(GOLDEN).unwrap();
    assert_eq!(text.matches(from).count(), 2, "slot and `masterKeyDerivation`");
    text.replace(from, to).into_bytes()
}

fn id_of(state: &State, versions: usize) -> Id {
    *state.entries.iter().find(|(_, record)| record.versions.len() == versions).unwrap().0
}

/// The text of an entry: its id in quotes, a colon, and its object.
fn entry(text: &str) -> &str {
    let start = text.find(r#""encryptedData":{"#).unwrap() + r#""encryptedData":{"#.len();
    let end = start + text[start..].find(r#""history":[]}"#).unwrap() + r#""history":[]}"#.len();
    &text[start..end]
}

/// Each fault, its file and its code.
fn cases() -> Vec<(&'static str, Vec<u8>, u16)> {
    let text = core::str::from_utf8(GOLDEN).unwrap();
    let twice = format!("{},{}", entry(text), entry(text));
    let upper = text.replace("abcdef", "ABCDEF");
    let stranger = shape_before();
    vec![
        // Form.
        ("cut", GOLDEN[..GOLDEN.len() / 2].to_vec(), 601),
        ("not-json", b"kos.vault.v1".to_vec(), 601),
        ("member-twice", edited(r#""generation":2,"#, r#""generation":2,"generation":2,"#), 601),
        ("member-unknown", edited(r#""generation":2,"#, r#""generation":2,"note":"","#), 601),
        ("member-missing", edited(r#""generation":2,"#, ""), 601),
        ("member-deep-unknown", edited(r#""integrity":{"#, r#""integrity":{"by":"me","#), 601),
        ("entry-twice", edited(entry(text), &twice), 601),
        ("expiry-null", edited(r#""expiresAt":1826706000000"#, r#""expiresAt":null"#), 601),
        ("generation-zero", edited(r#""generation":2,"#, r#""generation":0,"#), 601),
        ("generation-fraction", edited(r#""generation":2,"#, r#""generation":2.0,"#), 601),
        ("type-unknown", edited(r#""certificate""#, r#""token""#), 601),
        ("kind-unknown", edited(r#""kind":"offline""#, r#""kind":"online""#), 601),
        ("kind-with-members-of-another", edited(r#""kind":"offline""#, r#""kind":"key""#), 601),
        ("environment-unreadable", edited(r#""machine""#, r#""Machine""#), 601),
        ("version-older", edited("kos.vault.v1", "kos.vault.v0"), 601),
        ("version-of-another", edited("kos.vault.v1", "1"), 601),
        ("version-with-zero-in-front", edited("kos.vault.v1", "kos.vault.v01"), 601),
        ("version-newer", edited("kos.vault.v1", "kos.vault.v2"), 602),
        (
            "time-after-9999",
            edited(r#""lastModified":1795170000077"#, r#""lastModified":253402300800000"#),
            601,
        ),
        ("slots-none", owned(|state| state.slots.clear()), 601),
        ("slot-names-alike", owned(|state| state.slots[1].info.name = "key file".parse().unwrap()), 601),
        (
            "versions-fall",
            owned(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().versions.reverse();
            }),
            601,
        ),
        (
            "versions-too-many",
            owned(|state| {
                let id = id_of(state, 2);
                let record = state.entries.get_mut(&id).unwrap();
                for number in 3..=11 {
                    let mut version = record.versions[1].clone();
                    version.facts.number = number;
                    record.versions.push(version);
                }
            }),
            601,
        ),
        (
            "derivation-of-another-slot",
            {
                let first = text.find(r#""iterations":2"#).unwrap();
                [&text[..first], r#""iterations":3"#, &text[first + 14..]].concat().into_bytes()
            },
            601,
        ),
        // Cost.
        ("argon2id-with-little-memory", derived(r#""iterations":2,"memoryKib":19455,"parallelism":1"#), 605),
        ("argon2id-with-one-pass", derived(r#""iterations":1,"memoryKib":19456,"parallelism":1"#), 605),
        ("argon2id-with-much-memory", derived(r#""iterations":2,"memoryKib":1048577,"parallelism":1"#), 606),
        (
            "argon2id-with-many-passes",
            derived(r#""iterations":4294967295,"memoryKib":19456,"parallelism":1"#),
            606,
        ),
        ("pbkdf2-with-few-rounds", edited(r#""iterations":220000"#, r#""iterations":199999"#), 605),
        ("pbkdf2-with-many-rounds", edited(r#""iterations":220000"#, r#""iterations":4000000000"#), 606),
        (
            "passphrases-too-many",
            owned(|state| {
                for n in 0..3 {
                    let mut slot = state.slots[1].clone();
                    slot.info.name = format!("more {n}").parse().unwrap();
                    state.slots.push(slot);
                }
            }),
            606,
        ),
        // Damage.
        ("checksum-missing-a-change", edited(r#""generation":2,"#, r#""generation":3,"#), 603),
        ("time-changed", edited(r#""lastModified":1795170000077"#, r#""lastModified":1795170000078"#), 603),
        ("hex-in-capitals", if upper == text { edited_hex(text) } else { upper.into_bytes() }, 601),
        // Forgery: the checksum fits.
        ("entry-removed", forged(|state| drop(state.entries.pop_first())), 604),
        (
            "entries-exchanged",
            forged(|state| {
                let ids: Vec<Id> = state.entries.keys().copied().collect();
                let [a, b] = [ids[0], ids[1]].map(|id| state.entries.remove(&id).unwrap());
                state.entries.extend([(ids[0], b), (ids[1], a)]);
            }),
            604,
        ),
        ("entry-of-an-older-file", forged(|state| state.entries.extend(stranger.entries.clone())), 604),
        (
            "history-dropped",
            forged(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().versions.remove(0);
            }),
            604,
        ),
        (
            "newest-version-dropped",
            forged(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().versions.pop();
            }),
            604,
        ),
        (
            "type-changed",
            forged(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().versions[1].facts.kind = SecretType::Password;
            }),
            604,
        ),
        (
            "expiry-taken-off",
            forged(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().versions[1].facts.expires = None;
            }),
            604,
        ),
        (
            "last-access-changed",
            forged(|state| {
                let id = id_of(state, 2);
                state.entries.get_mut(&id).unwrap().last_accessed = Timestamp::MAX;
            }),
            604,
        ),
        ("slot-removed", forged(|state| drop(state.slots.pop())), 604),
        ("slots-in-another-order", forged(|state| state.slots.reverse()), 604),
        (
            "slot-with-less-work",
            forged(|state| {
                state.slots[2].info.kind = SlotKind::Passphrase(Work::Pbkdf2 { iterations: 200_000 });
            }),
            604,
        ),
        (
            "slot-of-an-older-file",
            forged(|state| {
                let mut slot = stranger.slots[0].clone();
                slot.info.name = "again".parse().unwrap();
                state.slots.push(slot);
            }),
            604,
        ),
        ("wrapped-key-changed", forged(|state| state.slots[0].wrapped[0] ^= 1), 604),
        ("commitment-changed", forged(|state| state.slots[0].commitment[0] ^= 1), 608),
        ("salt-changed", forged(|state| state.slots[0].salt[0] ^= 1), 608),
        ("generation-raised", forged(|state| state.generation += 1), 604),
        ("history-of-the-file-changed", forged(|state| state.previous_root[0] ^= 1), 604),
        ("time-moved", forged(|state| state.last_modified = Timestamp::MAX), 604),
        (
            "mac-of-an-older-file",
            {
                let old: serde_json::Value = serde_json::from_slice(BEFORE).unwrap();
                let new: serde_json::Value = serde_json::from_slice(GOLDEN).unwrap();
                let mac = |file: &serde_json::Value| file["integrity"]["mac"].as_str().unwrap().to_owned();
                edited(&mac(&new), &mac(&old))
            },
            604,
        ),
        ("environment-changed", forged(|state| state.environment = "production".parse().unwrap()), 608),
        (
            "vault-changed",
            forged(|state| state.vault = "00000000000000000000000000000000".parse().unwrap()),
            608,
        ),
        // Whoever has the key can write what does not open.
        (
            "exchanged-under-a-good-mac",
            owned(|state| {
                let ids: Vec<Id> = state.entries.keys().copied().collect();
                let [a, b] = [ids[0], ids[1]].map(|id| state.entries.remove(&id).unwrap());
                state.entries.extend([(ids[0], b), (ids[1], a)]);
            }),
            603,
        ),
    ]
}

/// The golden file with the first letter of its vault's id in capitals.
fn edited_hex(text: &str) -> Vec<u8> {
    let start = text.find(r#""vaultId":""#).unwrap() + r#""vaultId":""#.len();
    let id = &text[start..start + 32];
    edited(id, &id.to_uppercase())
}

/// The vault of generation 1.
fn shape_before() -> State {
    read_all(BEFORE).unwrap().parts().0.clone()
}

macro_rules! files {
    ($($name:literal)+) => {
        [$(($name, include_bytes!(concat!("../../../../tests/vectors/vault/malice/", $name, "/vault.json")).as_slice())),+]
    };
}

const CODES: &str = include_str!("../../../../tests/vectors/vault/malice/codes.txt");

const FILES: [(&str, &[u8]); 56] = files![
    "cut" "not-json" "member-twice" "member-unknown" "member-missing" "member-deep-unknown" "entry-twice"
    "expiry-null" "generation-zero" "generation-fraction" "type-unknown" "kind-unknown"
    "kind-with-members-of-another" "environment-unreadable" "version-older" "version-of-another"
    "version-with-zero-in-front" "version-newer" "time-after-9999" "slots-none" "slot-names-alike"
    "versions-fall" "versions-too-many" "derivation-of-another-slot" "argon2id-with-little-memory"
    "argon2id-with-one-pass" "argon2id-with-much-memory" "argon2id-with-many-passes"
    "pbkdf2-with-few-rounds" "pbkdf2-with-many-rounds" "passphrases-too-many" "checksum-missing-a-change"
    "time-changed" "hex-in-capitals" "entry-removed" "entries-exchanged" "entry-of-an-older-file"
    "history-dropped" "newest-version-dropped" "type-changed" "expiry-taken-off" "last-access-changed"
    "slot-removed" "slots-in-another-order" "slot-with-less-work" "slot-of-an-older-file"
    "wrapped-key-changed" "commitment-changed" "salt-changed" "generation-raised"
    "history-of-the-file-changed" "time-moved" "mac-of-an-older-file" "environment-changed" "vault-changed"
    "exchanged-under-a-good-mac"
];

#[test]
fn the_files_are_what_we_make() {
    let cases = cases();
    let codes: String = cases.iter().map(|(name, _, code)| format!("{name} KOS-E{code:04}\n")).collect();
    assert_eq!(codes, CODES);
    for ((name, bytes, _), (file, vector)) in cases.iter().zip(FILES) {
        assert_eq!((*name, bytes.as_slice()), (file, vector), "{name}");
    }
}

#[test]
fn malice_is_refused_with_its_code() {
    for ((name, bytes), line) in FILES.iter().zip(CODES.lines()) {
        let refused = read_all(bytes).err().map(|why| format!("{name} {}", why.code()));
        assert_eq!(refused.as_deref(), Some(line));
    }
}

#[test]
fn malice_is_refused_for_any_secret_before_work_is_done() {
    for (name, bytes, code) in cases() {
        let parsed = Sealed::parse(&bytes).map_err(|why| why.code().number());
        if matches!(code, 601 | 602 | 605 | 606) {
            assert_eq!(parsed.err(), Some(code), "{name}");
        } else if code != 603 {
            assert!(parsed.is_ok(), "{name}: only the key tells");
        }
    }
}
