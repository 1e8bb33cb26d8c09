//! Devices of SEC-4 and the second verifier that each certificate of theirs needs.

use core::time::Duration;

use kos_attest::{EndorsementKey, GoldenSet, Pcrs, Values};
use kos_base::{
    Code, DeviceState, EvidenceTier, KeyAlgorithm, KeyId, SecurityProfile, Timestamp, cbor,
    code::{self, second as codes},
};
use kos_identity::{
    certificate::Certificate,
    enrolment::{
        authority::Question,
        message::{FromAuthority, Image},
        proof::RenewalKind::{Recovery, Renewal},
    },
    registry::{Change, Device, Operation},
    second::{Asked, Judge, Lists, Opinion, Testimony, Transcript, Verdict, check, digest, judge},
};

use crate::{
    applicant::Applicant,
    office::{NOW, Office, issued, refusal},
    quarantine::reinstate,
    test_keys::TestKey,
};

const SEC4: SecurityProfile = SecurityProfile::Sec4;

fn ek_of(applicant: &Applicant) -> KeyId {
    EndorsementKey::parse(&applicant.tpm.as_ref().unwrap().ek_public()).unwrap().id()
}

fn values_of(applicant: &Applicant) -> Vec<u8> {
    applicant.tpm.as_ref().unwrap().values(Pcrs::DEFAULT.bits())
}

/// A device whose TPM an operator listed and whose start is a good one, in the lobby, approved with this profile.
fn approved(profile: SecurityProfile) -> (Office, Applicant) {
    let mut office = Office::new();
    let applicant = Applicant { image: Image::Verified([1; 32].into()), profile, ..Applicant::with_tpm(20) };
    office.listed = Some(ek_of(&applicant));
    let values = Values::new(Pcrs::DEFAULT, values_of(&applicant)).unwrap();
    office.golden.push(GoldenSet { name: "r1".into(), values });
    applicant.wait_in_lobby_with_tpm(&mut office);
    office.operate(Operation::Approve { profile });
    (office, applicant)
}

/// The key of the node below.
fn node_key() -> TestKey {
    TestKey::new(KeyAlgorithm::Ed25519, 90)
}

/// A node of SEC-3 in service.
fn node() -> Device {
    let (mut office, applicant) = approved(SecurityProfile::Sec3);
    let other = Applicant {
        image: Image::Verified([1; 32].into()),
        profile: SecurityProfile::Sec3,
        ..Applicant::with_tpm(50)
    };
    office.devices.clear();
    office.listed = Some(ek_of(&other));
    other.wait_in_lobby_with_tpm(&mut office);
    office.operate(Operation::Approve { profile: SecurityProfile::Sec3 });
    issued(&other.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(other.confirm(&mut office, 1), [FromAuthority::Recorded]);
    assert!(office.questions.is_empty(), "SEC-3 needs nobody else");
    drop(applicant);
    let mut node = office.only().clone();
    node.credential.as_mut().unwrap().key = node_key().public().clone();
    node
}

/// Lists by which `applicant` is believed.
fn lists(applicant: &Applicant) -> Lists {
    let numbers = (0..24).filter(|number| Pcrs::DEFAULT.bits() >> number & 1 == 1);
    let values = values_of(applicant);
    let values = values.chunks_exact(32).map(|value| <[u8; 32]>::try_from(value).unwrap());
    let golden = ("mine".to_owned(), numbers.zip(values).collect());
    Lists::new(vec![ek_of(applicant)], [], vec![golden]).unwrap()
}

/// What the node says of it, at this moment.
fn said(question: &Question, lists: Option<&Lists>, now: Timestamp) -> Verdict {
    let (authority, node) = ("attic".parse().unwrap(), node().id);
    judge(&question.transcript, &Judge { authority: &authority, device: &node, lists }, now).unwrap()
}

fn signed(verdict: &Verdict, key: &TestKey) -> Vec<u8> {
    let unsigned = verdict.unsigned(key.public());
    let signature = key.sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

fn honest(question: &Question, lists: &Lists) -> Testimony {
    let verdict = said(question, Some(lists), NOW);
    Testimony { node: node(), is_named: true, signed: signed(&verdict, &node_key()) }
}

fn certified(office: &Office) -> Option<SecurityProfile> {
    let last = office.certificates.last()?;
    Some(Certificate::parse(last).unwrap().facts().unwrap().profile)
}

fn verdicts(office: &Office) -> usize {
    office.log.iter().filter(|change| matches!(change, Change::SecondVerdict { .. })).count()
}

#[test]
fn a_second_verdict_opens_sec_4_at_enrolment_renewal_and_return() {
    let (mut office, first) = approved(SEC4);
    let known = lists(&first);
    office.second = Some(Box::new(move |question| honest(question, &known)));
    issued(&first.wait_in_lobby_with_tpm(&mut office));
    assert_eq!((certified(&office), verdicts(&office)), (Some(SEC4), 1));
    assert_eq!(office.only().evidence, EvidenceTier::QuoteVerified);
    let seconded = office.log.iter().find_map(|change| match change {
        Change::SecondVerdict { device, verifier, transcript, at } => {
            Some((device.clone(), verifier.clone(), transcript.clone(), *at))
        }
        _ => None,
    });
    let of = digest(&office.questions[0].transcript).to_vec();
    assert_eq!(seconded, Some((office.only().id.clone(), node().id, of, NOW)));
    // The same request again: what was issued is sent again, and nobody is asked.
    issued(&first.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(verdicts(&office), 1);
    assert_eq!(first.confirm(&mut office, 1), [FromAuthority::Recorded]);

    let shown = |tpm, seed| Applicant {
        image: Image::Verified([1; 32].into()),
        identity: TestKey::new(KeyAlgorithm::P256, 20),
        operational: TestKey::new(KeyAlgorithm::P256, seed),
        tpm,
        ..Applicant::new(20)
    };
    let renewed = shown(first.tpm, 70);
    issued(&renewed.go_on(&mut office, (Renewal, 1, &first.operational)));
    assert_eq!((certified(&office), verdicts(&office)), (Some(SEC4), 2));
    assert_eq!(renewed.confirm(&mut office, 2), [FromAuthority::Recorded]);

    office.quarantine();
    for name in ["anna", "otto"] {
        office.operate_as(name, reinstate()).unwrap();
    }
    let back = shown(renewed.tpm, 72);
    let second = office.second.take();
    let alone = back.go_on(&mut office, (Recovery, 2, &TestKey::new(KeyAlgorithm::P256, 20)));
    assert_eq!(refusal(&alone), codes::SECOND_ABSENT);
    assert_eq!(office.only().state(), DeviceState::Pending);
    office.second = second;
    issued(&back.go_on(&mut office, (Recovery, 2, &TestKey::new(KeyAlgorithm::P256, 20))));
    assert_eq!((certified(&office), verdicts(&office)), (Some(SEC4), 3));
}

#[test]
fn without_a_second_verifier_nothing_is_issued_and_time_may_mend_it() {
    let (mut office, applicant) = approved(SEC4);
    let before = office.contents();
    let answers = applicant.wait_in_lobby_with_tpm(&mut office);
    let [FromAuthority::Refused(refused)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((refused.code, refused.retry_after_s), (codes::SECOND_ABSENT.number(), Some(60)));
    assert_eq!(office.contents(), before);
    assert!(office.misuse.is_empty(), "it is no fault of the device");
    let failed = |change: &Change| matches!(change, Change::AttestationFailed { code, .. } if *code == codes::SECOND_ABSENT);
    assert!(office.log.iter().any(failed));
    // A newcomer with a ticket keeps it.
    let (listed, golden) = (office.listed, office.golden);
    let mut office = Office::new();
    (office.listed, office.golden) = (listed, golden);
    let ticket = office.ticket(40);
    office.tickets[0].profile_cap = SEC4;
    let before = office.contents();
    assert_eq!(refusal(&applicant.enrol(&mut office, ticket, 40)), codes::SECOND_ABSENT);
    assert_eq!(office.contents(), before);
}

#[test]
fn who_has_less_evidence_is_refused_before_anybody_is_asked() {
    let (mut office, applicant) = approved(SEC4);
    office.golden.clear();
    let known = lists(&applicant);
    office.second = Some(Box::new(move |question| honest(question, &known)));
    let refused = refusal(&applicant.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(refused, code::policy::POLICY_EVIDENCE);
    assert!(office.questions.is_empty());
}

#[test]
fn the_node_judges_by_its_own_lists() {
    let (mut office, applicant) = approved(SEC4);
    let other = Applicant::with_tpm(70);
    let elsewhere = {
        let golden = vec![("mine".to_owned(), vec![(0, [9; 32])])];
        Lists::new(vec![ek_of(&applicant)], [], golden).unwrap()
    };
    let unlisted = Lists::new(vec![ek_of(&other)], [], vec![("any".to_owned(), vec![(0, [8; 32])])]).unwrap();
    let nothing_golden = Lists::new(vec![ek_of(&applicant)], [], Vec::new()).unwrap();
    for known in [elsewhere, unlisted, nothing_golden] {
        office.second = Some(Box::new(move |question| honest(question, &known)));
        assert_eq!(refusal(&applicant.wait_in_lobby_with_tpm(&mut office)), codes::SECOND_REFUSED);
    }
    office.second = Some(Box::new(|question| {
        let verdict = said(question, None, NOW);
        assert_eq!(verdict.opinion, Opinion::Unable);
        Testimony { node: node(), is_named: true, signed: signed(&verdict, &node_key()) }
    }));
    assert_eq!(refusal(&applicant.wait_in_lobby_with_tpm(&mut office)), codes::SECOND_UNABLE);
    assert_eq!((certified(&office), verdicts(&office)), (None, 0));
}

#[test]
fn a_transcript_that_was_altered_is_not_believed() {
    let (mut office, applicant) = approved(SEC4);
    applicant.wait_in_lobby_with_tpm(&mut office);
    let question = office.questions.pop().unwrap();
    let known = lists(&applicant);
    assert_eq!(said(&question, Some(&known), NOW).opinion, Opinion::Yes);
    let told: Transcript = cbor::decode(&question.transcript, usize::MAX).unwrap();
    let altered: [fn(&mut Transcript); 8] = [
        |told| told.identity = TestKey::new(KeyAlgorithm::P256, 99).public().clone(),
        |told| told.operational = TestKey::new(KeyAlgorithm::P256, 99).public().clone(),
        |told| told.secret = [9; 32].into(),
        |told| told.binding = [9; 32].into(),
        |told| told.pcrs = 1,
        |told| told.statement.quote.values = vec![0; 128].into(),
        |told| told.statement.answer = [9; 32].into(),
        |told| told.offer.ak = told.offer.ek.clone(),
    ];
    for (at, alter) in altered.iter().enumerate() {
        let mut told = told.clone();
        alter(&mut told);
        let question = Question { transcript: told.to_bytes(), ..question.clone() };
        assert_eq!(said(&question, Some(&known), NOW).opinion, Opinion::No, "{at}");
    }
    // No transcript at all, of the node itself, of another authority.
    let (authority, other, node) = ("attic".parse().unwrap(), "cellar".parse().unwrap(), node().id);
    let by = Judge { authority: &authority, device: &node, lists: Some(&known) };
    let own = Judge { device: &question.device, ..by };
    let foreign = Judge { authority: &other, ..by };
    for (bytes, by) in [
        (&b"\xa0"[..], by),
        (&question.transcript[..question.transcript.len() - 1], by),
        (&question.transcript[..], own),
        (&question.transcript[..], foreign),
    ] {
        assert_eq!(judge(bytes, &by, NOW).unwrap_err().code(), codes::SECOND_TRANSCRIPT);
    }
}

/// A way to answer, and the code that the device hears.
type Bad = (&'static str, fn(&Question, &Lists) -> Testimony, Code);

#[test]
fn whatever_is_no_plain_yes_of_a_node_that_counts_is_a_no() {
    fn told(question: &Question, lists: &Lists, change: fn(&mut Verdict)) -> Testimony {
        let mut verdict = said(question, Some(lists), NOW);
        change(&mut verdict);
        Testimony { node: node(), is_named: true, signed: signed(&verdict, &node_key()) }
    }
    fn by(question: &Question, lists: &Lists, change: fn(&mut Device)) -> Testimony {
        let mut testimony = honest(question, lists);
        change(&mut testimony.node);
        testimony
    }
    let bad: [Bad; 17] = [
        ("no", |q, l| told(q, l, |v| v.opinion = Opinion::No), codes::SECOND_REFUSED),
        ("unable", |q, l| told(q, l, |v| v.opinion = Opinion::Unable), codes::SECOND_UNABLE),
        ("other digest", |q, l| told(q, l, |v| v.transcript = [1; 32].into()), codes::SECOND_INVALID),
        ("other device", |q, l| told(q, l, |v| v.device = v.verifier.clone()), codes::SECOND_INVALID),
        ("other verifier", |q, l| told(q, l, |v| v.verifier = v.device.clone()), codes::SECOND_INVALID),
        (
            "other authority",
            |q, l| told(q, l, |v| v.authority = "cellar".parse().unwrap()),
            codes::SECOND_INVALID,
        ),
        ("old", |q, l| told(q, l, |v| v.at = NOW.minus(Duration::from_secs(61))), codes::SECOND_INVALID),
        ("early", |q, l| told(q, l, |v| v.at = NOW.plus(Duration::from_secs(61))), codes::SECOND_INVALID),
        (
            "signed by somebody else",
            |q, l| Testimony {
                signed: signed(&said(q, Some(l), NOW), &TestKey::new(KeyAlgorithm::Ed25519, 91)),
                ..honest(q, l)
            },
            codes::SECOND_INVALID,
        ),
        ("nonsense", |q, l| Testimony { signed: vec![0xa0], ..honest(q, l) }, codes::SECOND_INVALID),
        (
            "the device itself",
            |q, l| {
                let mut testimony = told(q, l, |v| v.verifier = v.device.clone());
                testimony.node.id = q.device.clone();
                testimony
            },
            codes::SECOND_UNFIT,
        ),
        ("named by nobody", |q, l| Testimony { is_named: false, ..honest(q, l) }, codes::SECOND_UNFIT),
        (
            "stopped",
            |q, l| by(q, l, |node| node.enter(NOW, DeviceState::Suspended, "lost").unwrap()),
            codes::SECOND_UNFIT,
        ),
        (
            "quarantined",
            |q, l| by(q, l, |node| node.enter(NOW, DeviceState::Quarantined, "odd").unwrap()),
            codes::SECOND_UNFIT,
        ),
        ("banned", |q, l| by(q, l, |node| node.banned = true), codes::SECOND_UNFIT),
        (
            "run out",
            |q, l| by(q, l, |node| node.credential.as_mut().unwrap().not_after = NOW),
            codes::SECOND_UNFIT,
        ),
        (
            "less than SEC-3",
            |q, l| {
                by(q, l, |node| {
                    node.credential.as_mut().unwrap().profile = Some(SecurityProfile::Sec2);
                })
            },
            codes::SECOND_UNFIT,
        ),
    ];
    for (what, answer, code) in bad {
        let (mut office, applicant) = approved(SEC4);
        let known = lists(&applicant);
        let before = office.contents();
        office.second = Some(Box::new(move |question| answer(question, &known)));
        assert_eq!(refusal(&applicant.wait_in_lobby_with_tpm(&mut office)), code, "{what}");
        assert_eq!(office.contents(), before, "{what}");
        assert_eq!(verdicts(&office), 0, "{what}");
    }
}

#[test]
fn a_node_that_lost_its_evidence_counts_no_more() {
    let (mut office, applicant) = approved(SEC4);
    let known = lists(&applicant);
    office.second = Some(Box::new(move |question| {
        let mut testimony = honest(question, &known);
        testimony.node.evidence = EvidenceTier::KeyInTpm;
        testimony
    }));
    assert_eq!(refusal(&applicant.wait_in_lobby_with_tpm(&mut office)), codes::SECOND_UNFIT);
}

#[test]
fn a_verdict_of_an_earlier_conversation_serves_no_other() {
    let (mut office, applicant) = approved(SEC4);
    applicant.wait_in_lobby_with_tpm(&mut office);
    let earlier = office.questions.pop().unwrap();
    let known = lists(&applicant);
    office.second = Some(Box::new(move |_| honest(&earlier, &known)));
    assert_eq!(refusal(&applicant.wait_in_lobby_with_tpm(&mut office)), codes::SECOND_INVALID);
    assert_eq!(certified(&office), None);
}

#[test]
fn a_verdict_is_for_one_device_and_one_key() {
    let (mut office, applicant) = approved(SEC4);
    refusal(&applicant.wait_in_lobby_with_tpm(&mut office));
    let question = office.questions[0].clone();
    let (authority, of) = ("attic".parse().unwrap(), digest(&question.transcript));
    let asked = Asked {
        authority: &authority,
        device: &question.device,
        operational: question.operational,
        transcript: &of,
        now: NOW,
    };
    let verdict = check(&asked, &honest(&question, &lists(&applicant))).unwrap();
    assert_eq!(question.operational, applicant.operational.public().id());
    assert!(verdict.is_for(&question.device, question.operational));
    assert!(!verdict.is_for(&node().id, question.operational));
    assert!(!verdict.is_for(&question.device, node_key().public().id()));
}
