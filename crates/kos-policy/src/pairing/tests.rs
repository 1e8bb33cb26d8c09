use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{KeyAlgorithm, cose::Unsigned};

use super::*;

pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);

pub(crate) fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    (pair, public)
}

pub(crate) fn signed(unsigned: Unsigned, key: &Ed25519KeyPair) -> Vec<u8> {
    let signature = key.sign(&unsigned.to_be_signed()).as_ref().to_vec();
    unsigned.finish(signature)
}

pub(crate) fn id(number: u8) -> EntryId {
    EntryId::from_parts(NOW, [number; 10])
}

pub(crate) fn authority() -> AuthorityName {
    "auth:home".parse().or_else(|_| "home".parse()).unwrap()
}

pub(crate) fn device(number: u8) -> DeviceId {
    format!("kdev-{}", char::from(b'0' + number).to_string().repeat(16)).parse().unwrap()
}

fn proposed() -> Pairing {
    Pairing {
        id: id(1),
        device: device(1),
        partner: "kai:home/kitchen".parse().unwrap(),
        level: TrustLevel::Partner,
        key: Some(pair(2).1),
        proposed: NOW,
        device_said: None,
        partner_said: None,
        ended: None,
        number: 1,
    }
}

fn says(word: Word) -> Statement {
    let Pairing { id, device, partner, .. } = proposed();
    Statement { authority: authority(), device, partner, pairing: id, word, at: NOW }
}

#[test]
fn one_side_alone_decides_nothing_and_either_ends_it() {
    for (first, second) in [(Side::Device, Side::Partner), (Side::Partner, Side::Device)] {
        let mut pairing = proposed();
        assert_eq!(pairing.confirm(first, NOW), Ok(Effect::Changed));
        assert_eq!(pairing.confirm(first, NOW), Ok(Effect::Nothing));
        assert_eq!(pairing.state(NOW), PairState::Proposed);
        assert_eq!(pairing.confirm(second, NOW), Ok(Effect::Changed));
        assert_eq!(pairing.state(NOW), PairState::Paired);
        // What both confirmed does not lapse.
        assert_eq!(pairing.state(NOW.plus(PROPOSAL_LIFE)), PairState::Paired);
        let taken = pairing.take(second, &says(Word::End), &authority(), NOW);
        assert_eq!((taken, pairing.state(NOW)), (Ok(Effect::Changed), PairState::Ended));
        assert_eq!(pairing.take(first, &says(Word::Confirm), &authority(), NOW), Err(PairingError::Over));
        assert_eq!(pairing.state(NOW), PairState::Ended, "it never comes back");
    }
}

#[test]
fn a_proposal_that_nobody_confirms_lapses() {
    let mut pairing = proposed();
    pairing.confirm(Side::Device, NOW).unwrap();
    let late = NOW.plus(PROPOSAL_LIFE);
    assert_eq!(pairing.state(late), PairState::Ended);
    assert_eq!(pairing.confirm(Side::Partner, late), Err(PairingError::Over));
}

#[test]
fn a_statement_counts_for_its_side_key_and_pairing_alone() {
    let (key, public) = pair(2);
    let statement = says(Word::Confirm);
    let bytes = signed(statement.unsigned(Side::Partner, &public), &key);
    assert_eq!(Statement::open(&bytes, Side::Partner, &public), Ok(statement.clone()));
    assert_eq!(Statement::claimed(&bytes), Ok(statement.clone()));
    assert!(Statement::open(&bytes, Side::Device, &public).is_err(), "the other side");
    assert!(Statement::open(&bytes, Side::Partner, &pair(3).1).is_err(), "another key");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Statement::open(&changed, Side::Partner, &public).is_err(), "byte {at}");
    }
    let others = [
        Statement { pairing: id(2), ..statement.clone() },
        Statement { device: device(2), ..statement.clone() },
        Statement { partner: "kai:home".parse().unwrap(), ..statement.clone() },
        Statement { authority: "elsewhere".parse().unwrap(), ..statement },
    ];
    for other in others {
        let taken = proposed().take(Side::Partner, &other, &authority(), NOW);
        assert_eq!(taken, Err(PairingError::Another), "{other:?}");
    }
}

#[test]
fn names_of_partners_are_read_strictly() {
    for good in ["kai:a", "kai:home/kitchen", "kai:node.domain.kai", "kai:0-9_x"] {
        assert_eq!(good.parse::<Partner>().unwrap().to_string(), good);
    }
    let user = Partner::User(id(7));
    assert_eq!(user.to_string().parse::<Partner>().unwrap(), user);
    let long = format!("kai:{}", "x".repeat(97));
    for bad in [
        "",
        "kai:",
        "kai:/",
        "kai:a/",
        "kai:a//b",
        "kai:A",
        "kai:..",
        "kai:a b",
        "kai:\u{e9}",
        "user:",
        "user:anna",
        "a",
        &long,
    ] {
        assert!(bad.parse::<Partner>().is_err(), "{bad}");
    }
}

fn bonds() -> Bonds {
    Bonds {
        authority: authority(),
        device: device(1),
        counter: 5,
        issued: NOW,
        expires: NOW.plus(BONDS_LIFE),
        pairs: vec![Bond {
            id: id(1),
            partner: "kai:home".parse().unwrap(),
            label: None,
            level: TrustLevel::Partner,
            key: Some(pair(2).1),
            device_said: true,
            partner_said: true,
            proposed: NOW,
        }],
        grants: Vec::new(),
    }
}

#[test]
fn bonds_count_when_the_order_key_signed_them_for_this_device_and_until_they_run_out() {
    let (key, public) = pair(9);
    let bytes = signed(bonds().unsigned(&public), &key);
    let read = open(&bytes, &public, &authority(), &device(1)).unwrap();
    assert_eq!(read, bonds());
    assert!(open(&bytes, &pair(2).1, &authority(), &device(1)).is_err());
    let foreign = open(&bytes, &public, &authority(), &device(2));
    assert!(matches!(foreign, Err(BondsError::Foreign { .. })));
    let agent = "kai:home".parse().unwrap();
    assert!(read.paired(&agent, NOW).is_some());
    assert!(read.paired(&agent, NOW.plus(BONDS_LIFE)).is_none(), "run out");
    assert!(read.paired(&"kai:other".parse().unwrap(), NOW).is_none());
    let mut one_sided = bonds();
    one_sided.pairs[0].partner_said = false;
    assert!(one_sided.paired(&agent, NOW).is_none());
    // Without a key nobody could tell who calls; a crowd fills no device.
    let mut keyless = bonds();
    keyless.pairs[0].key = None;
    let crowd = Bonds { pairs: vec![bonds().pairs[0].clone(); PAIRS_MAX + 1], ..bonds() };
    for bad in [keyless, crowd, Bonds { expires: NOW, ..bonds() }] {
        let bytes = signed(bad.unsigned(&public), &key);
        assert_eq!(open(&bytes, &public, &authority(), &device(1)), Err(BondsError::Limit));
    }
}

#[test]
fn older_bonds_give_way() {
    let held = bonds();
    assert!(bonds().follow(&held).is_ok(), "the same again");
    let older = Bonds { counter: 4, issued: NOW.plus(BONDS_LIFE), ..bonds() };
    assert_eq!(older.follow(&held), Err(BondsError::Older { held: 5, found: 4 }));
    let earlier = Bonds { issued: NOW.minus(Duration::from_secs(1)), ..bonds() };
    assert!(earlier.follow(&held).is_err());
}
