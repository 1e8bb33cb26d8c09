//! Seeds of pairings, grants and calls.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{EntryId, KeyAlgorithm, PublicKey, cbor, cose::Unsigned};
use kos_policy::{
    grant::{Ability, Call, Grant, Memory},
    pairing::{BONDS_LIFE, Bond, Bonds, Held, Lifted, Lifting, Side, Statement, Word},
    trust::{Network, Storage, TrustLevel},
};

use super::{Seed, conversation::NOW};

pub(super) fn seeds() -> Vec<Seed> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[21; 32]).unwrap();
    let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let signed = |unsigned: Unsigned| {
        let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
        unsigned.finish(signature)
    };
    let id = |number: u8| EntryId::from_parts(NOW, [number; 10]);
    let (authority, device) = ("attic".parse().unwrap(), "kdev-0000000000000001".parse().unwrap());
    let agent = "kai:home/kitchen";
    let statement = Statement {
        authority: kos_base::AuthorityName::clone(&authority),
        device: kos_base::DeviceId::clone(&device),
        partner: agent.parse().unwrap(),
        pairing: id(1),
        word: Word::Confirm,
        at: NOW,
    };
    let grant = Grant {
        authority: authority.clone(),
        id: id(2),
        version: 1,
        pairing: id(1),
        agent: agent.parse().unwrap(),
        device: device.clone(),
        ability: Ability::DeviceStatus,
        scope: vec!["status/*".parse().unwrap()],
        issued: NOW,
        expires: NOW.plus(BONDS_LIFE),
        uses: Some(3),
        conditions: vec!["profile >= 2".parse().unwrap(), "role == sensor".parse().unwrap()],
        memory: Memory::Read,
        network: Network::None,
        storage: Storage::None,
        level: TrustLevel::Partner,
    };
    let call = Call {
        authority: authority.clone(),
        agent: agent.parse().unwrap(),
        device: device.clone(),
        grant: id(2),
        ability: Ability::DeviceStatus,
        resource: "status/health".parse().unwrap(),
        at: NOW,
        number: 7,
    };
    let of = signed(grant.unsigned(&key));
    let bond = |partner: &str, key| Bond {
        id: id(1),
        partner: String::from(partner).parse().unwrap(),
        label: Some("anna".to_owned()),
        level: TrustLevel::Partner,
        key,
        device_said: true,
        partner_said: true,
        proposed: NOW,
    };
    let bonds = Bonds {
        authority,
        device,
        counter: 5,
        issued: NOW,
        expires: NOW.plus(BONDS_LIFE),
        pairs: vec![bond(agent, Some(key.clone())), bond(&format!("user:{}", id(9)), None)],
        grants: vec![Held {
            signed: of.clone().into(),
            lifted: Some(Lifted { lifting: Lifting::Deny, until: NOW }),
        }],
    };
    let at = |name: &str, bytes: Vec<u8>| (format!("grant/{name}"), bytes);
    vec![
        at("statement.cose", signed(statement.unsigned(Side::Partner, &key))),
        at("statement.cbor", cbor::encode(&statement)),
        at("grant.cose", of),
        at("grant.cbor", cbor::encode(&grant)),
        at("call.cose", signed(call.unsigned(&key))),
        at("call.cbor", cbor::encode(&call)),
        at("bonds.cose", signed(bonds.unsigned(&key))),
        at("bonds.cbor", cbor::encode(&bonds)),
        at("agent", agent.into()),
        at("condition", "profile >= 2".into()),
        at("pattern", "status/*".into()),
    ]
}
