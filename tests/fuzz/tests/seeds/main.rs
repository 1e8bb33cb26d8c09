//! The corpora hold what the vectors say and what our own writers write.
//!
//! Each is made anew and compared, so that a seed cannot fall behind the format that it is a seed of. What differs is
//! left where it can be copied from. Not made here: a revocation list and an OCSP request, whose tests are elsewhere, and
//! the sample configuration.
#![cfg(test)]

mod bonds;
mod conversation;
mod papers;
mod slices;

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use kos_base::{EntryId, KeyId, Role, Secret, SecurityProfile, Timestamp};
use kos_identity::enrolment::ticket::TicketText;
use kos_shares::{FRESH_BYTES, Fresh, Identifier, Plan, split};
use serde_json::Value;

/// The path of a seed below `fuzz/corpus`, and what is in it.
type Seed = (String, Vec<u8>);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn vector(path: &str) -> Vec<u8> {
    fs::read(root().join("tests/vectors").join(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&vector(path)).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

/// A vector that is a seed as it is.
fn copy(target: &str, folder: &str, names: &[&str]) -> Vec<Seed> {
    let flat = |name: &str| name.rsplit('/').next().unwrap().to_owned();
    names
        .iter()
        .map(|name| (format!("{target}/{}", flat(name)), vector(&format!("{folder}/{name}"))))
        .collect()
}

fn audit() -> Vec<Seed> {
    let names = ["checkpoint", "4.tlog-proof", "leaf.cose", "entry.json", "frontier.bin", "old-checkpoint"];
    let mut seeds = copy("audit", "audit/golden", &names);
    seeds.push(("audit/bundle".into(), vector("audit/golden/tile/entries/000.p/5")));
    let key = String::from_utf8(vector("audit/golden/vkey")).unwrap();
    seeds.push(("audit/vkey".into(), key.trim_end().into()));
    seeds
}

fn certificate() -> Vec<Seed> {
    let chain = json("identity/chain.json");
    let chain = chain["certificates"].as_object().unwrap();
    let mut seeds: Vec<_> =
        chain.iter().map(|(name, der)| (format!("certificate/{name}.der"), hex(der))).collect();
    for (at, case) in json("identity/extension.json").as_array().unwrap().iter().enumerate() {
        seeds.push((format!("certificate/extension-{at}.der"), hex(&case["der"])));
    }
    seeds.push(("certificate/request.csr".into(), conversation::csr()));
    seeds
}

fn kid() -> Vec<Seed> {
    let cases = json("identity/kid.json");
    let cases = cases.as_array().unwrap().iter().enumerate();
    let seeds = cases.flat_map(|(at, case)| {
        [("claims", &case["claims"]), ("cwt", &case["cwt"])]
            .map(|(kind, bytes)| (format!("kid/{at}.{kind}"), hex(bytes)))
    });
    seeds.collect()
}

fn klp() -> Vec<Seed> {
    let golden = ["link.cbor", "solo.cbor", "batch.cbor", "encrypted.cbor"];
    let mut seeds = copy("klp_frame", "klp/golden", &golden);
    let channel = json("klp/channel.json");
    for name in ["hello", "reply", "finish"] {
        seeds.push((format!("klp_frame/channel-{name}.cbor"), hex(&channel[name])));
    }
    seeds.push(("klp_frame/channel-record.cbor".into(), hex(&channel["records"][0]["record"])));
    let addresses = String::from_utf8(vector("klp/addresses.txt")).unwrap();
    let accepted = addresses.lines().filter_map(|line| line.strip_prefix("accept\t")?.split('\t').next());
    for (at, address) in accepted.chain(["attic/kdev-7f4ac30123456789"]).enumerate() {
        seeds.push((format!("klp_address/{at:02}"), address.as_bytes().to_vec()));
    }
    seeds
}

fn token() -> Vec<Seed> {
    let cases = json("token/token.json");
    let texts = cases.as_array().unwrap().iter().map(|case| case["token"].as_str().unwrap());
    texts.enumerate().map(|(at, text)| (format!("token/{at:02}"), text.as_bytes().to_vec())).collect()
}

fn cbor() -> Vec<Seed> {
    let claims = json("identity/kid.json");
    let mut seeds = copy("cbor", "klp/golden", &["batch.cbor"]);
    seeds.push(("cbor/claims".into(), hex(&claims[0]["claims"])));
    seeds.push(("cbor/every-kind".into(), HEXLOWER.decode(EVERY_KIND.concat().as_bytes()).unwrap()));
    seeds
}

/// An array of: numbers at both ends of every width, the same below zero, strings, a map with the three simple values,
/// and two tags.
const EVERY_KIND: [&str; 6] = [
    "85",
    "8a0017181818ff19010019ffff1a000100001affffffff1b00000001000000001bffffffffffffffff",
    "8a2037381838ff39010039ffff3a000100003affffffff3b00000001000000003bffffffffffffffff",
    "84404301020360654bc3bc6368",
    "a300f501f46161f6",
    "d2d9d9f780",
];

fn config() -> Vec<Seed> {
    let page = fs::read_to_string(root().join("docs/reference/config.md")).unwrap();
    let mut file = String::new();
    for block in page.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (section, rest) = block.split_once('\n').unwrap();
        if !file.contains(&format!("{section}\n")) {
            file.push_str(section);
            file.push('\n');
        }
        file.push_str(rest);
    }
    vec![("config/every-key".into(), file.into_bytes())]
}

fn share() -> Vec<Seed> {
    let sets = json("slip39/vectors.json");
    let set = |name: &str, number: &str| {
        let of_number = |set: &&Value| set[0].as_str().unwrap().starts_with(&format!("{number}. "));
        let set = sets.as_array().unwrap().iter().find(of_number).unwrap();
        let shares: Vec<_> = set[1].as_array().unwrap().iter().map(|share| share.as_str().unwrap()).collect();
        (format!("share/{name}"), shares.join("\n").into_bytes())
    };
    let fresh = Fresh { identifier: Identifier::from_random([1, 2]), bytes: Secret::new([7; FRESH_BYTES]) };
    let ours = split(&Secret::new([9; 32]), Plan::new(2, 3).unwrap(), fresh).swap_remove(0);
    vec![
        set("alone", "20"),
        set("contradicting", "11"),
        set("digest", "13"),
        set("extendable", "45"),
        set("groups", "17"),
        set("missing", "24"),
        set("other-set", "25"),
        set("two-of-three", "23"),
        ("share/longest".into(), vector("slip39/512-bits.txt")),
        ("share/ours".into(), ours.to_words().expose().as_bytes().to_vec()),
    ]
}

fn ticket() -> Vec<Seed> {
    let ticket = |pins: &[u8], addresses: &[&str]| TicketText {
        authority: "attic".parse().unwrap(),
        id: EntryId::from_parts(conversation::NOW, [5; 10]),
        secret: Secret::new([7; 32]),
        pins: pins.iter().map(|pin| KeyId::from_bytes([*pin; 32])).collect(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        expires_at: Timestamp::from_unix_s(1_795_180_000),
        role: Role::Sensor,
        profile_cap: SecurityProfile::Sec2,
    };
    let one = ticket(&[9], &["attic.example:8641"]).to_text();
    let many = ticket(&[9, 8], &["a:1", "b:2", "192.0.2.7:8641", "[2001:db8::1]:8641"]).to_text();
    vec![("ticket/one".into(), one.as_bytes().to_vec()), ("ticket/many".into(), many.as_bytes().to_vec())]
}

fn voucher() -> Vec<Seed> {
    let vectors = json("voucher/voucher.json");
    let cases = vectors["vouchers"].as_array().unwrap().iter().flat_map(|case| {
        let name = case["subject"].as_str().unwrap().to_owned();
        [("file", &case["file"]), ("endorsed", &case["endorsed"])]
            .map(|(kind, bytes)| (format!("voucher/{name}.{kind}"), hex(bytes)))
    });
    let vouch = ("voucher/vouch".to_owned(), hex(&vectors["vouch"]));
    cases.chain([vouch]).collect()
}

fn attestation() -> Vec<Seed> {
    let mut seeds = copy("attestation", "attestation", &["quote.msg", "quote.sig"]);
    for name in ["ek", "ak", "ak-rsa"] {
        let bytes = fs::read(root().join("tests/vectors/attestation").join(format!("{name}.pub"))).unwrap();
        seeds.push((format!("attestation/{name}"), bytes[2..].to_vec()));
    }
    seeds
}

fn vault() -> Vec<Seed> {
    let mut seeds = copy("vault", "vault/golden", &["before.json", "vault.json", "passkey.json"]);
    seeds.extend(copy("vault", "vault/source", &["pbkdf2.json", "argon2id.json"]));
    seeds
}

#[test]
fn seeds_are_what_the_vectors_hold_and_the_writers_write() {
    let made = [
        attestation(),
        voucher(),
        audit(),
        bonds::seeds(),
        cbor(),
        certificate(),
        config(),
        conversation::seeds(),
        kid(),
        klp(),
        papers::kill(),
        papers::tpm_blob(),
        share(),
        ticket(),
        slices::seeds(),
        token(),
        vault(),
    ]
    .concat();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    let corpus = root().join("fuzz/corpus");
    let differing =
        made.iter().filter(|(name, bytes)| fs::read(corpus.join(name)).ok().as_ref() != Some(bytes));
    let mut names = Vec::new();
    for (name, bytes) in differing {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
        names.push(name);
    }
    assert!(names.is_empty(), "{names:?} differ from what lies in {}", folder.display());
}
