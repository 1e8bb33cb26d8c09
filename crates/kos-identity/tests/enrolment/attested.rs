//! Devices that show a TPM: what it is worth, what it costs to lie, and what becomes of it at renewal.

use kos_attest::{EndorsementKey, GoldenSet, Pcrs, Values};
use kos_base::{Code, EvidenceTier, KeyAlgorithm, SecurityProfile, code, code::attest as codes};
use kos_identity::{
    certificate::Certificate,
    enrolment::{
        authority::{ApprovalRule, Asks},
        message::{FromAuthority, Image, Prove, Statement},
        proof::RenewalKind::{Recovery, Renewal},
    },
    registry::{Change, Operation},
};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
    test_keys::TestKey,
};

fn list(office: &mut Office, of: &Applicant) {
    let ek = EndorsementKey::parse(&of.tpm.as_ref().unwrap().ek_public()).unwrap();
    office.listed = Some(ek.id());
}

fn call_golden(office: &mut Office, of: &Applicant) {
    let values = of.tpm.as_ref().unwrap().values(Pcrs::DEFAULT.bits());
    let values = Values::new(Pcrs::DEFAULT, values).unwrap();
    office.golden.push(GoldenSet { name: "r1".into(), values });
}

fn recorded(office: &Office) -> Vec<&str> {
    let kinds = office.log.iter().filter_map(|change| match change {
        Change::AttestationVerified { .. } => Some("verified"),
        Change::AttestationFailed { .. } => Some("failed"),
        Change::AttestationChanged { .. } => Some("changed"),
        _ => None,
    });
    kinds.collect()
}

/// The tier in the certificate that was issued last.
fn certified(office: &Office) -> EvidenceTier {
    Certificate::parse(office.certificates.last().unwrap()).unwrap().facts().unwrap().evidence
}

fn next(held: &Applicant, seed: u8) -> Applicant {
    let next = held.with_next_key(seed);
    Applicant {
        identity: TestKey::new(KeyAlgorithm::P256, held.seed),
        operational: TestKey::new(KeyAlgorithm::P256, seed),
        ..next
    }
}

#[test]
fn the_certificate_says_what_the_tpm_proved() {
    for (is_listed, is_golden, tier) in [
        (false, false, EvidenceTier::KeyInTpm),
        (false, true, EvidenceTier::KeyInTpm),
        (true, false, EvidenceTier::EkActivated),
        (true, true, EvidenceTier::QuoteVerified),
    ] {
        let mut office = Office::new();
        let applicant = Applicant::with_tpm(20);
        if is_listed {
            list(&mut office, &applicant);
        }
        if is_golden {
            call_golden(&mut office, &applicant);
        }
        let ticket = office.ticket(40);
        issued(&applicant.enrol(&mut office, ticket, 40));
        assert_eq!((certified(&office), office.only().evidence), (tier, tier));
        assert_eq!(recorded(&office), ["verified"]);
        assert_eq!(office.only().attested.as_ref().unwrap().tier, tier);
    }
}

#[test]
fn a_high_profile_needs_the_evidence_and_keeps_needing_it() {
    let profile = SecurityProfile::Sec3;
    let mut office = Office::new();
    let applicant = Applicant { image: Image::Verified([1; 32].into()), ..Applicant::with_tpm(20) };
    applicant.wait_in_lobby_with_tpm(&mut office);
    office.operate(Operation::Approve { profile });
    let refused = refusal(&applicant.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(refused, code::policy::POLICY_EVIDENCE, "nobody vouches for the TPM");
    list(&mut office, &applicant);
    issued(&applicant.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);

    let silent = Applicant { tpm: None, image: applicant.image.clone(), ..next(&applicant, 70) };
    let answers = silent.go_on(&mut office, (Renewal, 1, &applicant.operational));
    assert_eq!(refusal(&answers), code::policy::POLICY_EVIDENCE, "a renewal without a statement");
    let shown = Applicant { image: applicant.image.clone(), ..next(&applicant, 71) };
    let shown = Applicant { tpm: applicant.tpm, ..shown };
    issued(&shown.go_on(&mut office, (Renewal, 1, &applicant.operational)));
    assert_eq!(certified(&office), EvidenceTier::EkActivated);
}

#[test]
fn a_device_that_shows_nothing_any_more_loses_its_evidence() {
    let mut office = Office::new();
    let held = Applicant::with_tpm(20);
    list(&mut office, &held);
    let ticket = office.ticket(40);
    issued(&held.enrol(&mut office, ticket, 40));
    held.confirm(&mut office, 1);
    let silent = Applicant { tpm: None, ..next(&held, 70) };
    issued(&silent.go_on(&mut office, (Renewal, 1, &held.operational)));
    assert_eq!(certified(&office), EvidenceTier::KeyOnDevice);
    assert_eq!(recorded(&office), ["verified", "failed"]);
}

#[test]
fn another_start_is_recorded_and_an_older_state_is_refused() {
    let mut office = Office::new();
    let mut held = Applicant::with_tpm(20);
    list(&mut office, &held);
    call_golden(&mut office, &held);
    let ticket = office.ticket(40);
    issued(&held.enrol(&mut office, ticket, 40));
    held.confirm(&mut office, 1);
    let mut tpm = held.tpm.take().unwrap();
    tpm.pcrs[7] = [9; 32];
    tpm.clock = (1, 4, 0);
    let renewed = Applicant { tpm: Some(tpm), ..next(&held, 70) };
    issued(&renewed.go_on(&mut office, (Renewal, 1, &held.operational)));
    assert_eq!(certified(&office), EvidenceTier::EkActivated, "no golden set fits");
    assert_eq!(recorded(&office), ["verified", "verified", "changed"]);
    let changed = office.log.iter().find_map(|change| match change {
        Change::AttestationChanged { pcrs, .. } => Some(pcrs.clone()),
        _ => None,
    });
    assert_eq!(changed, Some(vec![7]));
    renewed.confirm(&mut office, 2);

    let by = TestKey::new(KeyAlgorithm::P256, 70);
    let mut copy = Applicant { tpm: renewed.tpm, ..next(&held, 72) };
    copy.tpm.as_mut().unwrap().clock = (60_000, 3, 0);
    let before = office.only().attested.clone();
    let answers = copy.go_on(&mut office, (Renewal, 2, &by));
    assert_eq!(refusal(&answers), codes::ATTEST_WOUND_BACK);
    assert_eq!(recorded(&office).last(), Some(&"failed"));
    assert_eq!(office.only().attested, before, "nothing of it is kept");
}

#[test]
fn a_statement_that_does_not_hold_is_no_missing_statement() {
    let refused = |bend: &dyn Fn(&mut Option<Statement>)| -> Code {
        let mut office = Office::new();
        let applicant = Applicant::with_tpm(20);
        let ticket = office.ticket(40);
        let (mut line, welcome) = applicant.greet(&mut office);
        let mut attestation = applicant.statement(&line, &welcome);
        bend(&mut attestation);
        let means = applicant.by_ticket(&line, ticket, 40);
        let prove = Prove { means, attestation, ..applicant.request(&welcome) };
        let code = refusal(&applicant.prove(&mut office, &mut line, prove));
        assert!(office.devices.is_empty() && office.log.is_empty());
        assert_eq!(office.misuse, [code]);
        code
    };
    let with = |bend: fn(&mut Statement)| refused(&|statement| bend(statement.as_mut().unwrap()));
    assert_eq!(refused(&|statement| *statement = None), code::enrolment::PROTOCOL);
    assert_eq!(with(|s| s.answer = [0; 32].into()), codes::ATTEST_ACTIVATION);
    assert_eq!(with(|s| s.identity = s.operational.clone()), codes::ATTEST_OTHER_KEY);
    assert_eq!(with(|s| s.operational = s.identity.clone()), codes::ATTEST_OTHER_KEY);
    assert_eq!(with(|s| s.quote.attest = s.identity.attest.clone()), codes::ATTEST_MALFORMED);
    assert_eq!(with(|s| s.quote.values = vec![0; 128].into()), codes::ATTEST_VALUES);
    assert_eq!(with(|s| s.quote.signature = s.identity.signature.clone()), codes::ATTEST_SIGNATURE);
}

#[test]
fn a_statement_of_another_conversation_is_refused() {
    let mut office = Office::new();
    let applicant = Applicant::with_tpm(20);
    let ticket = office.ticket(40);
    let (line, welcome) = applicant.greet(&mut office);
    let replayed = applicant.statement(&line, &welcome);
    let (mut line, welcome) = applicant.greet(&mut office);
    let means = applicant.by_ticket(&line, ticket, 40);
    let prove = Prove { means, attestation: replayed, ..applicant.request(&welcome) };
    assert_eq!(refusal(&applicant.prove(&mut office, &mut line, prove)), codes::ATTEST_ACTIVATION);
}

#[test]
fn one_tpm_is_one_device() {
    let mut office = Office::new();
    let first = Applicant::with_tpm(20);
    let ticket = office.ticket(40);
    issued(&first.enrol(&mut office, ticket, 40));
    first.confirm(&mut office, 1);
    let second = Applicant { tpm: first.tpm, ..Applicant::with_tpm(30) };
    let ticket = office.ticket(41);
    let answers = second.enrol(&mut office, ticket, 41);
    assert!(matches!(answers[..], [FromAuthority::Pending(_)]), "{answers:?}");
    assert!(office.log.iter().any(|change| matches!(change, Change::CloneSuspected { .. })));
}

/// Power on, self-register, prove, full credentials, and no hand on it.
#[test]
fn a_rule_lets_in_the_tpm_that_it_names_once_it_has_proven_itself() {
    let mut office = Office::new();
    let applicant = Applicant { profile: SecurityProfile::Sec3, ..Applicant::with_tpm(20) };
    let applicant = Applicant { image: Image::Verified([1; 32].into()), ..applicant };
    let ek = EndorsementKey::parse(&applicant.tpm.as_ref().unwrap().ek_public()).unwrap().id();
    let asks = Asks { eks: [ek].into(), ..Asks::default() };
    office.rules(vec![ApprovalRule::new("line-2".parse().unwrap(), asks, SecurityProfile::Sec3).unwrap()]);

    // Who shows the same hardware and no TPM, or another one, waits.
    let silent = Applicant { tpm: None, ..Applicant::with_tpm(40) };
    silent.wait_in_lobby(&mut office);
    Applicant::with_tpm(50).wait_in_lobby_with_tpm(&mut office);
    assert!(!office.log.iter().any(|change| matches!(change, Change::DeviceApproved { .. })));

    let answers = applicant.wait_in_lobby_with_tpm(&mut office);
    assert!(matches!(answers[..], [FromAuthority::Pending(_)]), "{answers:?}");
    assert!(office.log.iter().any(|change| matches!(change, Change::DeviceApproved { .. })));
    issued(&applicant.wait_in_lobby_with_tpm(&mut office));
    assert_eq!(certified(&office), EvidenceTier::EkActivated);
}

#[test]
fn a_device_comes_back_from_quarantine_by_its_tpm_again_and_with_no_less_than_before() {
    let mut office = Office::new();
    let held = Applicant::with_tpm(20);
    list(&mut office, &held);
    let ticket = office.ticket(40);
    issued(&held.enrol(&mut office, ticket, 40));
    held.confirm(&mut office, 1);
    office.quarantine();
    office.operate(Operation::Reinstate { reason: "looked at".to_owned(), approvers: Box::default() });
    let silent = Applicant { tpm: None, ..next(&held, 70) };
    let by = TestKey::new(KeyAlgorithm::P256, held.seed);
    let less = code::quarantine::PROOF_LESS;
    assert_eq!(refusal(&silent.go_on(&mut office, (Recovery, 1, &by))), less, "it shows no TPM");
    assert_eq!(recorded(&office).last(), Some(&"failed"));
    let shown = Applicant { tpm: held.tpm, ..next(&silent, 71) };
    let listed = office.listed.take();
    assert_eq!(
        refusal(&shown.go_on(&mut office, (Recovery, 1, &by))),
        less,
        "nobody vouches for its TPM any more"
    );
    office.listed = listed;
    issued(&shown.go_on(&mut office, (Recovery, 1, &by)));
    assert_eq!(certified(&office), EvidenceTier::EkActivated);
}

#[test]
fn a_superseded_key_is_of_nobody_whatever_the_tpm_says() {
    let mut office = Office::new();
    let held = Applicant::with_tpm(20);
    let ticket = office.ticket(40);
    issued(&held.enrol(&mut office, ticket, 40));
    held.confirm(&mut office, 1);
    // Its copy is faster.
    let renewed = Applicant { tpm: held.tpm, ..next(&Applicant::with_tpm(20), 70) };
    issued(&renewed.go_on(&mut office, (Renewal, 1, &held.operational)));
    renewed.confirm(&mut office, 2);
    let late = Applicant { tpm: renewed.tpm, ..next(&Applicant::with_tpm(20), 71) };
    let refused = refusal(&late.go_on(&mut office, (Renewal, 1, &held.operational)));
    assert_eq!(refused, code::enrolment::DEVICE_UNKNOWN, "so that it comes with its identity key");
    let by = TestKey::new(KeyAlgorithm::P256, held.seed);
    assert_eq!(refusal(&late.go_on(&mut office, (Recovery, 1, &by))), code::enrolment::CLONE);
}

#[test]
fn one_tpm_is_one_device_also_by_renewal_and_after_approval() {
    let mut office = Office::new();
    let first = Applicant::with_tpm(20);
    let ticket = office.ticket(40);
    issued(&first.enrol(&mut office, ticket, 40));
    first.confirm(&mut office, 1);
    // In service without a TPM, and then with that of the first.
    let second = Applicant { tpm: None, ..Applicant::with_tpm(30) };
    let ticket = office.ticket(41);
    issued(&second.enrol(&mut office, ticket, 41));
    second.confirm(&mut office, 1);
    let renewing = Applicant { tpm: first.tpm, ..next(&second, 71) };
    let answers = renewing.go_on(&mut office, (Renewal, 1, &second.operational));
    assert_eq!(refusal(&answers), codes::ATTEST_SHARED);
    assert_eq!(recorded(&office).last(), Some(&"failed"));
}

#[test]
fn another_tpm_under_the_same_identity_key_is_refused_and_changes_nothing() {
    let mut office = Office::new();
    let held = Applicant::with_tpm(20);
    list(&mut office, &held);
    let ticket = office.ticket(40);
    issued(&held.enrol(&mut office, ticket, 40));
    held.confirm(&mut office, 1);
    let before = office.only().clone();
    // Its program is somebody else's for a while, and certifies the identity key by a TPM made of software.
    let mut lying =
        Applicant { operational: TestKey::new(KeyAlgorithm::P256, 70), ..Applicant::with_tpm(20) };
    lying.tpm.as_mut().unwrap().clock = (u64::MAX, u32::MAX, u32::MAX);
    assert_eq!(refusal(&lying.go_on(&mut office, (Renewal, 1, &held.operational))), codes::ATTEST_OTHER_TPM);
    assert_eq!(
        office.only(),
        &before,
        "nothing of it is kept, and nobody who changes the record is in its way"
    );
    // A key of another hierarchy counts from where it likes.
    let mut elsewhere = Applicant { tpm: held.tpm, ..next(&lying, 71) };
    elsewhere.tpm.as_mut().unwrap().hierarchy = 0x4000_0001;
    assert_eq!(refusal(&elsewhere.go_on(&mut office, (Renewal, 1, &held.operational))), codes::ATTEST_KEY);
    elsewhere.tpm.as_mut().unwrap().hierarchy = 0x4000_000b;
    issued(&elsewhere.go_on(&mut office, (Renewal, 1, &held.operational)));
}
