//! Whom vouchers and the word of nodes let in, and whom they do not; and which authority a device takes for its own by one.

use core::time::Duration;

use kos_attest::EndorsementKey;
use kos_base::{
    Code, EntryId, EvidenceTier, KeyAlgorithm, KeyId, SecurityProfile, Timestamp,
    code::{policy, voucher as codes},
};
use kos_identity::{
    enrolment::{
        device::Event,
        message::{FromAuthority, Pending},
    },
    registry::{Change, Operation},
};
use kos_voucher::{
    Bundle, By, Certificates, Fate, Grant, Kept, Maker, Owner, Sponsor, Statement, Subject, Terms, Voucher,
};
use minicbor::bytes::ByteArray;

use crate::{
    applicant::Applicant,
    device::hand::Hand,
    office::{Office, issued},
    test_keys::TestKey,
};

const DAY: Duration = Duration::from_secs(86_400);

fn maker() -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, 200)
}

fn trust(office: &mut Office, profile: SecurityProfile, evidence: EvidenceTier) {
    office.makers = vec![Maker {
        name: "acme".parse().unwrap(),
        key: Some(maker().public().clone()),
        roots: Vec::new(),
        certificates: Certificates::Name,
        terms: Terms { role: None, group: Some("berlin".parse().unwrap()), profile, evidence },
    }];
}

fn signed(office: &Office, subject: Subject, ends: Option<Timestamp>, pin: Option<KeyId>) -> Voucher {
    let owner = Owner {
        pin: pin.unwrap_or_else(|| office.context.root.key_id()),
        key: office.context.keys.orders.clone(),
    };
    let created = office.now.minus(DAY);
    let statement = Statement { nonce: ByteArray::from([7; 16]), subject, owner, created, expires: ends };
    let unsigned = statement.unsigned(maker().public());
    let signature = maker().sign(&unsigned.to_be_signed());
    Bundle::signed(unsigned.finish(signature)).verify(maker().public()).unwrap()
}

fn import(office: &mut Office, subject: Subject) {
    let kept = Kept::new(&signed(office, subject, None, None), office.now);
    office.vouchers.push(kept);
}

/// What a device hears that is not let in.
fn told(answers: &[FromAuthority]) -> Option<u16> {
    match answers {
        [FromAuthority::Pending(Pending { why, .. })] => *why,
        other => panic!("no pause: {other:?}"),
    }
}

/// Why the only device is not let in.
fn withheld(office: &Office) -> Option<Code> {
    office.only().lobby.as_ref()?.withheld.as_ref()?.code()
}

fn key_of(device: &Applicant) -> Subject {
    Subject::Identity(device.identity.public().id())
}

fn believing(seed: u8) -> Applicant {
    Applicant { maker: Some(maker().public().id()), ..Applicant::new(seed) }
}

#[test]
fn a_voucher_lets_in_at_once_and_is_spent_with_the_device_that_it_creates() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec1, EvidenceTier::KeyOnDevice);
    let device = believing(20);
    import(&mut office, key_of(&device));
    let (_, welcome) = device.greet(&mut office);
    assert_eq!(welcome.voucher.as_ref(), Some(&office.vouchers[0].bundle));
    let certificate = issued(&device.wait_in_lobby(&mut office));
    assert_eq!(certificate.facts().unwrap().profile, SecurityProfile::Sec1, "the terms say so");
    let record = office.only();
    assert_eq!(record.group, Some("berlin".parse().unwrap()));
    let by = record.admitted_by.clone();
    assert!(matches!(&by, Some(By::Voucher { voucher, .. }) if *voucher == office.vouchers[0].id), "{by:?}");
    assert!(matches!(&office.vouchers[0].fate, Fate::Spent { device, .. } if *device == record.id));
    assert!(office.log.iter().any(|change| matches!(change, Change::DeviceEnrolled { by: Some(_), .. })));
    // The answer was lost: the same again, and nothing is spent twice.
    let again = issued(&device.wait_in_lobby(&mut office));
    assert_eq!((again.der(), office.vouchers[0].version), (certificate.der(), 2));
}

/// The voucher of the only device was spent by it.
fn is_spent_by_the_only_device(office: &Office) {
    let [kept] = office.vouchers.as_slice() else { panic!() };
    assert!(matches!(&kept.fate, Fate::Spent { device, .. } if *device == office.only().id), "{kept:?}");
}

#[test]
fn a_voucher_is_spent_with_its_device_also_when_a_ticket_or_a_person_lets_it_in() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
    let device = Applicant::new(20);
    import(&mut office, key_of(&device));
    let ticket = office.ticket(41);
    issued(&device.enrol(&mut office, ticket, 41));
    is_spent_by_the_only_device(&office);

    let mut office = Office::new();
    let device = Applicant::with_tpm(40);
    let ek = EndorsementKey::parse(&device.tpm.as_ref().unwrap().ek_public()).unwrap().id();
    // It waits for a person, since the terms ask for more than it shows.
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::QuoteVerified);
    import(&mut office, Subject::Endorsement(ek));
    office.vouchers[0].expires = Some(office.now.plus(DAY));
    device.wait_in_lobby_with_tpm(&mut office);
    assert_eq!(office.vouchers[0].fate, Fate::Waiting);
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    let certificate = issued(&device.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(certificate.facts().unwrap().evidence, EvidenceTier::EkActivated);
    is_spent_by_the_only_device(&office);
}

#[test]
fn a_voucher_that_has_run_out_is_not_spent_and_gives_no_evidence() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
    let device = Applicant::new(20);
    import(&mut office, key_of(&device));
    office.vouchers[0].expires = Some(office.now);
    let ticket = office.ticket(41);
    issued(&device.enrol(&mut office, ticket, 41));
    assert_eq!(office.vouchers[0].fate, Fate::Waiting);
}

#[test]
fn what_does_not_let_in_is_told_and_written_down() {
    let one = || believing(20);
    type Spoil = fn(&mut Office);
    let cases: [(Code, Spoil); 6] = [
        (codes::VOUCHER_UNKNOWN, |office| office.vouchers.clear()),
        (codes::VOUCHER_MAKER, |office| office.makers.clear()),
        (codes::VOUCHER_EXPIRED, |office| office.vouchers[0].expires = Some(office.now)),
        (codes::VOUCHER_SPENT, |office| {
            let device = "kdev-7f4ac30123456789".parse().unwrap();
            office.vouchers[0].fate = Fate::Spent { device, at: office.now };
        }),
        (codes::VOUCHER_ENDORSED, |office| {
            office.vouchers[0].fate = Fate::Endorsed { to: KeyId::from_bytes([1; 32]), at: office.now };
        }),
        (codes::VOUCHER_EVIDENCE, |office| office.makers[0].terms.evidence = EvidenceTier::EkActivated),
    ];
    for (code, spoil) in cases {
        let mut office = Office::new();
        trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
        import(&mut office, key_of(&one()));
        spoil(&mut office);
        let answers = one().wait_in_lobby(&mut office);
        assert_eq!((told(&answers), withheld(&office)), (Some(code.number()), Some(code)), "{code}");
        assert!(office.vouchers.iter().all(|kept| kept.version == 1), "{code}: nothing is spent");
        // It asks again, and again: one entry.
        let before = office.log.len();
        for _ in 0..4 {
            office.pass(Duration::from_secs(20));
            assert_eq!(told(&one().wait_in_lobby(&mut office)), Some(code.number()));
        }
        assert_eq!(office.log.len(), before, "{code}");
        // Whoever does not know these words hears none of them.
        let plain = Applicant { maker: None, ..one() };
        assert_eq!(told(&plain.wait_in_lobby(&mut office)), None, "{code}");
    }
}

#[test]
fn a_voucher_for_another_device_lets_nobody_in() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
    import(&mut office, key_of(&Applicant::new(30)));
    // The TPM that the voucher names is claimed in the greeting, and not proven.
    let tpm = Applicant::with_tpm(40);
    let ek = EndorsementKey::parse(&tpm.tpm.as_ref().unwrap().ek_public()).unwrap().id();
    office.vouchers[0].subject = Subject::Endorsement(ek);
    let thief = believing(20);
    assert_eq!(told(&thief.wait_in_lobby(&mut office)), Some(codes::VOUCHER_UNKNOWN.number()));
    assert_eq!(office.only().profile(), SecurityProfile::Sec0);
}

#[test]
fn a_tpm_that_a_voucher_names_counts_as_listed_from_then_on() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::EkActivated);
    let device = Applicant::with_tpm(40);
    let ek = EndorsementKey::parse(&device.tpm.as_ref().unwrap().ek_public()).unwrap().id();
    import(&mut office, Subject::Endorsement(ek));
    let certificate = issued(&device.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(certificate.facts().unwrap().evidence, EvidenceTier::EkActivated);
}

#[test]
fn nobody_is_given_more_than_the_evidence_and_nothing_is_spent_then() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec4, EvidenceTier::KeyOnDevice);
    let device = Applicant { profile: SecurityProfile::Sec3, ..believing(20) };
    import(&mut office, key_of(&device));
    assert_eq!(told(&device.wait_in_lobby(&mut office)), Some(policy::POLICY_EVIDENCE.number()));
    assert_eq!(office.vouchers[0].fate, Fate::Waiting);
    assert!(office.certificates.is_empty());
}

#[test]
fn no_voucher_settles_a_clone_alert() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
    let first = Applicant::in_service(&mut office, 20);
    let newcomer = Applicant { facts: first.facts, ..believing(50) };
    import(&mut office, key_of(&newcomer));
    assert_eq!(told(&newcomer.wait_in_lobby(&mut office)), None);
    assert_eq!(office.vouchers[0].fate, Fate::Waiting);
}

fn grant(office: &mut Office, node: &Applicant, uses_max: u32) -> Grant {
    let device = office.devices.iter().find(|device| device.identity_key == *node.identity.public()).unwrap();
    let sponsor = Sponsor {
        id: EntryId::from_parts(office.now, [9; 10]),
        version: 1,
        device: device.id.clone(),
        profile: SecurityProfile::Sec1,
        role: None,
        group: None,
        uses_max,
        uses: 0,
        created_at: office.now,
        expires_at: office.now.plus(DAY),
        revoked: false,
    };
    let grant = Grant {
        id: sponsor.id,
        device: sponsor.device.clone(),
        authority: "attic".parse().unwrap(),
        pin: office.context.root.key_id(),
        profile: sponsor.profile,
        uses: uses_max,
        expires: sponsor.expires_at,
    };
    office.sponsors.push(sponsor);
    grant
}

fn vouched(office: &Office, node: &Applicant, grant: &Grant, of: &Applicant) -> Vec<u8> {
    let terms = (SecurityProfile::Sec1, DAY);
    let said = (&grant.device, &grant.authority);
    let said = grant.vouch(said, of.identity.public().id(), terms, office.now).unwrap();
    let unsigned = said.unsigned(node.operational.public());
    let signature = node.operational.sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

#[test]
fn a_node_lets_in_as_many_as_it_was_granted_and_no_more() {
    let mut office = Office::new();
    let node = Applicant::in_service(&mut office, 20);
    let grant = grant(&mut office, &node, 2);
    for (seed, uses) in [(50, 1), (60, 2)] {
        let newcomer = Applicant::new(seed);
        let vouch = vouched(&office, &node, &grant, &newcomer);
        let newcomer = Applicant { vouch: Some(vouch), ..newcomer };
        let certificate = issued(&newcomer.wait_in_lobby(&mut office));
        assert_eq!(certificate.facts().unwrap().profile, SecurityProfile::Sec1);
        assert_eq!(office.sponsors[0].uses, uses);
        // Asked again it gets the same, and no use more is counted.
        assert_eq!(issued(&newcomer.wait_in_lobby(&mut office)).der(), certificate.der());
        assert_eq!(office.sponsors[0].uses, uses);
    }
    let third = Applicant::new(70);
    let vouch = vouched(&office, &node, &grant, &third);
    let third = Applicant { vouch: Some(vouch), ..third };
    assert_eq!(told(&third.wait_in_lobby(&mut office)), Some(codes::SPONSOR_SPENT.number()));
}

#[test]
fn a_word_that_does_not_hold_lets_nobody_in() {
    type Spoil = fn(&mut Office, &mut Vec<u8>);
    let cases: [(Code, Spoil); 7] = [
        (codes::SPONSOR_UNKNOWN, |office, _| office.sponsors.clear()),
        (codes::SPONSOR_UNKNOWN, |office, _| office.sponsors[0].revoked = true),
        (codes::SPONSOR_EXPIRED, |office, _| office.sponsors[0].expires_at = office.now),
        (codes::SPONSOR_EXPIRED, |office, _| office.pass(DAY)),
        (codes::SPONSOR_STOPPED, |office, _| {
            office.operate(Operation::Suspend { reason: "lost".to_owned() });
        }),
        (codes::VOUCH_INVALID, |office, _| office.sponsors[0].profile = SecurityProfile::Sec0),
        (codes::VOUCH_INVALID, |_, vouch| *vouch.last_mut().unwrap() ^= 1),
    ];
    for (at, (code, spoil)) in cases.into_iter().enumerate() {
        let mut office = Office::new();
        let node = Applicant::in_service(&mut office, 20);
        let grant = grant(&mut office, &node, 5);
        let newcomer = Applicant::new(50);
        let mut vouch = vouched(&office, &node, &grant, &newcomer);
        spoil(&mut office, &mut vouch);
        let newcomer = Applicant { vouch: Some(vouch), ..newcomer };
        assert_eq!(told(&newcomer.wait_in_lobby(&mut office)), Some(code.number()), "case {at}");
        assert!(office.sponsors.iter().all(|held| held.uses == 0), "case {at}");
    }
    // The word was for somebody else.
    let mut office = Office::new();
    let node = Applicant::in_service(&mut office, 20);
    let grant = grant(&mut office, &node, 5);
    let vouch = vouched(&office, &node, &grant, &Applicant::new(60));
    let thief = Applicant { vouch: Some(vouch), ..Applicant::new(50) };
    assert_eq!(told(&thief.wait_in_lobby(&mut office)), Some(codes::VOUCH_INVALID.number()));
}

/// The device knows nobody, and believes its maker.
fn unclaimed(office: &Office) -> Hand {
    let mut hand = Hand::without_pin(office);
    hand.believes(maker().public().clone());
    hand
}

#[test]
fn a_device_takes_the_authority_that_its_voucher_names_and_no_code_is_compared() {
    let mut office = Office::new();
    trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
    let mut hand = unclaimed(&office);
    // The key that it makes first.
    import(&mut office, Subject::Identity(hand.first_key().public().id()));
    hand.start(&mut office);
    assert_eq!(hand.active(), Some(1), "{:?}", hand.told);
    assert!(hand.codes.is_empty());
    let root = office.context.root.key_id();
    assert_eq!(hand.machine.journal().authority.as_ref().unwrap().pins, [root]);
    assert!(hand.told.contains(&Event::Claimed(root)));
}

#[test]
fn a_voucher_that_does_not_hold_pins_nothing() {
    type Make = fn(&Office, Subject) -> Voucher;
    let cases: [(Code, Make); 3] = [
        (codes::VOUCHER_OWNER, |office, subject| {
            signed(office, subject, None, Some(KeyId::from_bytes([1; 32])))
        }),
        (codes::VOUCHER_EXPIRED, |office, subject| signed(office, subject, Some(office.now), None)),
        (codes::VOUCHER_DEVICE, |office, _| {
            signed(office, Subject::Identity(KeyId::from_bytes([1; 32])), None, None)
        }),
    ];
    for (code, make) in cases {
        let mut office = Office::new();
        trust(&mut office, SecurityProfile::Sec2, EvidenceTier::KeyOnDevice);
        let mut hand = unclaimed(&office);
        let own = Subject::Identity(hand.first_key().public().id());
        let mut kept = Kept::new(&make(&office, own.clone()), office.now);
        // An authority that sends what it should not.
        kept.subject = own;
        office.vouchers.push(kept);
        hand.start(&mut office);
        assert_eq!(hand.active(), None, "{code}");
        assert!(hand.machine.journal().authority.as_ref().unwrap().pins.is_empty(), "{code}");
        let told =
            hand.told.iter().any(|event| matches!(event, Event::Withheld(w) if w.code() == Some(code)));
        assert!(told, "{code}: {:?}", hand.told);
        assert!(!hand.codes.is_empty(), "{code}: it goes on as one that knows nobody");
    }
}
