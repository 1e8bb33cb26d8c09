//! Who is let in: by ticket, by a person, and who is not.

use core::time::Duration;

use kos_base::{Code, DeviceState, SecurityProfile, code::enrolment as codes};
use kos_identity::{
    enrolment::{
        authority::{RETRY_AFTER_MAX_S, RETRY_AFTER_S},
        message::{FRAME_BYTES_MAX, FromAuthority, Means, Prove},
        proof::comparison_code,
    },
    registry::{Change, Lobby, Operation, RevocationReason, Ticket},
};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
    test_keys::TestKey,
};

/// The seconds after which a device that waits is to come again.
fn waits(answers: &[FromAuthority]) -> u32 {
    match answers {
        [FromAuthority::Pending(pending)] => pending.retry_after_s,
        other => panic!("does not wait: {other:?}"),
    }
}

#[test]
fn a_ticket_lets_one_device_in_as_what_it_says() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    let certificate = issued(&applicant.enrol(&mut office, ticket, 40));
    assert_eq!(certificate.public_key(), applicant.operational.public());
    let device = office.only();
    assert_eq!(device.group.as_ref().map(ToString::to_string).as_deref(), Some("berlin/line-2"));
    assert_eq!((device.profile(), device.state()), (SecurityProfile::Sec2, DeviceState::Pending));
    assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);
    assert_eq!(office.only().state(), DeviceState::Active);
    assert!(office.misuse.is_empty());
    let another = Applicant::new(30);
    assert_eq!(refusal(&another.enrol(&mut office, ticket, 40)), codes::TICKET_SPENT);
}

#[test]
fn an_operational_key_may_be_of_any_algorithm() {
    for operational in TestKey::one_of_each() {
        let mut office = Office::new();
        let ticket = office.ticket(40);
        let applicant = Applicant { operational, ..Applicant::new(20) };
        issued(&applicant.enrol(&mut office, ticket, 40));
        assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);
    }
}

#[test]
fn a_ticket_that_does_not_fit_is_refused_and_nothing_changes() {
    type Change = fn(&mut Ticket, &mut Applicant);
    let cases: [(&str, Code, u8, Change); 10] = [
        ("expired", codes::TICKET_EXPIRED, 40, |ticket, _| ticket.expires_at = ticket.created_at),
        ("spent", codes::TICKET_SPENT, 40, |ticket, _| ticket.uses = 1),
        ("revoked", codes::TICKET_REVOKED, 40, |ticket, _| ticket.revoked = true),
        ("foreign", codes::TICKET_UNKNOWN, 40, |ticket, _| {
            ticket.id = kos_base::EntryId::from_parts(ticket.created_at, [9; 10]);
        }),
        ("guessed", codes::TICKET_PROOF, 41, |_, _| {}),
        ("for another role", codes::TICKET_ROLE, 40, |_, applicant| applicant.role = kos_base::Role::Gateway),
        ("for a lower profile", codes::TICKET_PROFILE, 40, |_, applicant| {
            applicant.profile = SecurityProfile::Sec3;
        }),
        ("for another serial", codes::TICKET_BOUND, 40, |ticket, _| ticket.serial = Some("S99".to_owned())),
        ("for another key", codes::TICKET_BOUND, 40, |ticket, _| {
            ticket.identity_key = Some(kos_base::KeyId::from_bytes([1; 32]));
        }),
        ("spent and expired", codes::TICKET_SPENT, 40, |ticket, _| {
            ticket.uses = 1;
            ticket.expires_at = ticket.created_at;
        }),
    ];
    for (what, code, seed, change) in cases {
        let mut office = Office::new();
        let id = office.ticket(40);
        let mut applicant = Applicant::new(20);
        change(&mut office.tickets[0], &mut applicant);
        let before = office.contents();
        assert_eq!(refusal(&applicant.enrol(&mut office, id, seed)), code, "{what}");
        assert_eq!(office.misuse, [code], "{what}");
        assert_eq!(office.contents(), before, "{what}");
    }
}

#[test]
fn a_proof_speaks_of_one_identity_request_role_and_profile() {
    type Change = fn(&mut Applicant);
    let changes: [(&str, Change); 4] = [
        ("identity", |other| other.identity = Applicant::new(60).identity),
        ("request", |other| other.operational = Applicant::new(60).operational),
        ("role", |other| other.role = kos_base::Role::Gateway),
        ("profile", |other| other.profile = SecurityProfile::Sec1),
    ];
    for (what, change) in changes {
        let mut office = Office::new();
        let ticket = office.ticket(40);
        let applicant = Applicant::new(20);
        let (mut line, welcome) = applicant.greet(&mut office);
        let mut other = Applicant::new(20);
        change(&mut other);
        let means = other.by_ticket(&line, ticket, 40);
        let prove = Prove { means, ..applicant.request(&welcome) };
        assert_eq!(refusal(&applicant.prove(&mut office, &mut line, prove)), codes::TICKET_PROOF, "{what}");
        assert!(office.devices.is_empty(), "{what}");
    }
}

#[test]
fn until_it_is_confirmed_the_same_request_gets_the_same_certificate() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    let first = issued(&applicant.enrol(&mut office, ticket, 40));
    // The ticket is spent and over, and that does not matter any more; nor does it matter whether it is shown.
    office.pass(Duration::from_secs(24 * 3600));
    assert_eq!(issued(&applicant.enrol(&mut office, ticket, 40)), first);
    assert_eq!(issued(&applicant.wait_in_lobby(&mut office)), first);
    assert_eq!((office.certificates.len(), office.tickets[0].uses), (1, 1));

    // Another request replaces it, and what was issued is revoked.
    let other = applicant.with_next_key(70);
    let second = issued(&other.enrol(&mut office, ticket, 40));
    assert_ne!(second, first);
    let [revocation] = office.revocations.as_slice() else { panic!("{:?}", office.revocations) };
    assert_eq!(revocation.reason, RevocationReason::Superseded);
    assert_eq!(refusal(&applicant.confirm(&mut office, 1)), codes::DEVICE_UNKNOWN);
    assert_eq!(other.confirm(&mut office, 2), [FromAuthority::Recorded]);
}

#[test]
fn a_certificate_that_ran_out_before_it_was_fetched_is_issued_anew() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    let first = issued(&applicant.enrol(&mut office, ticket, 40));
    office.pass(Duration::from_secs(15 * 24 * 3600));
    let second = issued(&applicant.enrol(&mut office, ticket, 40));
    assert!(second.not_before() > first.not_after());
    assert_eq!(second.public_key(), first.public_key());
    assert_eq!(applicant.confirm(&mut office, 2), [FromAuthority::Recorded]);
}

#[test]
fn the_same_hardware_under_another_key_waits_and_raises_an_alert() {
    let mut office = Office::new();
    Applicant::in_service(&mut office, 20);
    let ticket = office.ticket(41);
    let mut newcomer = Applicant::new(30);
    newcomer.facts = Applicant::new(20).facts;
    waits(&newcomer.enrol(&mut office, ticket, 41));
    assert_eq!(office.tickets.iter().find(|t| t.id == ticket).unwrap().uses, 0, "the ticket is not spent");
    let alert = office.log.iter().find_map(|change| match change {
        Change::CloneSuspected { device, others, .. } => Some((device.clone(), others.clone())),
        _ => None,
    });
    let newcomers_id = office.devices.last().unwrap().id.clone();
    assert_eq!(alert, Some((newcomers_id.clone(), vec![office.devices[0].id.clone()])));

    // No ticket settles that, a person does, and asking again does not undo it.
    waits(&newcomer.enrol(&mut office, ticket, 41));
    let record = office.devices.iter().find(|d| d.id == newcomers_id).unwrap().clone();
    let approve = Operation::Approve { profile: SecurityProfile::Sec1 };
    let approval = approve.apply(office.now, kos_identity::registry::Actor::Authority, record).unwrap();
    office.commit(approval).unwrap();
    issued(&newcomer.enrol(&mut office, ticket, 41));
}

#[test]
fn hardware_of_a_device_that_has_ended_comes_back_as_its_successor() {
    let mut office = Office::new();
    let mut old = Applicant::new(20);
    old.facts.macs.clear();
    waits(&old.wait_in_lobby(&mut office));
    office.operate(Operation::Reject { reason: "gone".to_owned() });
    let ended = office.only().id.clone();
    let mut newcomer = Applicant::new(30);
    newcomer.facts = old.facts;
    let ticket = office.ticket(40);
    issued(&newcomer.enrol(&mut office, ticket, 40));
    assert_eq!(office.devices.last().unwrap().successor_of, Some(ended));
}

#[test]
fn hardware_of_a_device_that_was_banned_comes_back_only_through_a_person() {
    let mut office = Office::new();
    let old = Applicant::in_service(&mut office, 20);
    office.operate(Operation::Ban { reason: "stolen".to_owned() });
    let mut ended = office.devices.pop().unwrap();
    ended.enter(office.now, DeviceState::Decommissioned, "given up").unwrap();
    let banned = ended.id.clone();
    office.devices.push(ended);

    let mut newcomer = Applicant::new(30);
    newcomer.facts = old.facts;
    let ticket = office.ticket(41);
    for _ in 0..2 {
        waits(&newcomer.enrol(&mut office, ticket, 41));
        waits(&newcomer.wait_in_lobby(&mut office));
    }
    assert_eq!(office.tickets.iter().find(|t| t.id == ticket).unwrap().uses, 0, "the ticket is not spent");
    let alert = office.log.iter().find_map(|change| match change {
        Change::CloneSuspected { others, detail, .. } => Some((others.clone(), detail.contains("banned"))),
        _ => None,
    });
    assert_eq!(alert, Some((vec![banned], true)));
    assert_eq!(office.certificates.len(), 1);
}

#[test]
fn an_identity_key_that_is_in_service_does_not_enrol_again() {
    let mut office = Office::new();
    let applicant = Applicant::in_service(&mut office, 20);
    let ticket = office.ticket(41);
    let before = office.contents();
    let again = applicant.with_next_key(70);
    assert_eq!(refusal(&again.enrol(&mut office, ticket, 41)), codes::ENROLLED_ALREADY);
    assert_eq!(refusal(&again.wait_in_lobby(&mut office)), codes::ENROLLED_ALREADY);
    assert_eq!(office.misuse, [codes::ENROLLED_ALREADY; 2]);
    assert_eq!(office.contents(), before);
}

#[test]
fn whoever_is_stopped_hears_so_at_once() {
    let because = || "because".to_owned();
    let cases = [
        (Operation::Suspend { reason: because() }, codes::STATE_FORBIDS),
        (Operation::Quarantine { reason: because() }, codes::STATE_FORBIDS),
        (Operation::Ban { reason: because() }, codes::BANNED),
    ];
    for (operation, code) in cases {
        let mut office = Office::new();
        let applicant = Applicant::in_service(&mut office, 20);
        office.operate(operation);
        let mut line = office.call(Some(applicant.identity.public()));
        assert_eq!(refusal(&office.tell(&mut line, &applicant.hello())), code);
    }
}

#[test]
fn who_is_stopped_between_hello_and_proof_gets_nothing() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    issued(&applicant.enrol(&mut office, ticket, 40));
    let (mut line, welcome) = applicant.greet(&mut office);
    office.operate(Operation::Ban { reason: "because".to_owned() });
    let request = applicant.request(&welcome);
    assert_eq!(refusal(&applicant.prove(&mut office, &mut line, request)), codes::BANNED);
    assert_eq!(refusal(&applicant.confirm(&mut office, 1)), codes::BANNED);
}

#[test]
fn a_full_lobby_takes_nobody_and_keeps_who_waits() {
    for full in [(Lobby::COUNT_MAX, 0), (0, Lobby::PER_SOURCE_MAX)] {
        let mut office = Office::new();
        let early = Applicant::new(20);
        waits(&early.wait_in_lobby(&mut office));
        office.waiting = full;
        assert_eq!(refusal(&Applicant::new(30).wait_in_lobby(&mut office)), codes::LOBBY_FULL);
        assert_eq!(office.devices.len(), 1);
        waits(&early.wait_in_lobby(&mut office));
        let ticket = office.ticket(40);
        issued(&Applicant::new(30).enrol(&mut office, ticket, 40));
    }
}

#[test]
fn the_comparison_code_stays_that_of_the_first_conversation() {
    let mut office = Office::new();
    let mut applicant = Applicant::new(20);
    let (mut line, first) = applicant.greet(&mut office);
    let request = applicant.request(&first);
    waits(&applicant.prove(&mut office, &mut line, request));
    let root = office.context.root.key_id();
    let code = comparison_code(applicant.identity.public(), root, &applicant.nonce, &first.nonce);
    let kept = |office: &Office| office.only().lobby.as_ref().and_then(|lobby| lobby.comparison.clone());
    assert_eq!(kept(&office), Some(code.clone()));

    applicant.nonce = [99; 32];
    let (mut line, second) = applicant.greet(&mut office);
    assert_eq!((second.nonce, second.uuid), (first.nonce, first.uuid));
    assert_ne!(second.token, first.token);
    let request = applicant.request(&second);
    waits(&applicant.prove(&mut office, &mut line, request));
    assert_eq!(kept(&office), Some(code.clone()));

    // It can still be compared after somebody approved it, until the certificate is confirmed.
    office.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    issued(&applicant.wait_in_lobby(&mut office));
    assert_eq!(kept(&office), Some(code));
    assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);
    assert_eq!(kept(&office), None);
}

#[test]
fn a_nonce_that_was_repeated_starts_no_new_entry() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    waits(&applicant.wait_in_lobby(&mut office));
    let (mut line, welcome) = applicant.greet(&mut office);
    office.devices.clear();
    let request = applicant.request(&welcome);
    let answers = applicant.prove(&mut office, &mut line, request);
    assert_eq!(refusal(&answers), kos_base::code::store::STORE_CONFLICT);
    assert!(office.devices.is_empty());
}

#[test]
fn whoever_waits_for_long_is_asked_to_come_less_often() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    let pauses = [0, 8, 800, 8_000, 80_000].map(|seconds| {
        office.now = crate::office::NOW.plus(Duration::from_secs(seconds));
        waits(&applicant.wait_in_lobby(&mut office))
    });
    assert_eq!(pauses, [RETRY_AFTER_S, RETRY_AFTER_S, 100, RETRY_AFTER_MAX_S, RETRY_AFTER_MAX_S]);
}

#[test]
fn an_approval_counts_also_when_the_ticket_is_over() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    waits(&applicant.wait_in_lobby(&mut office));
    office.pass(Ticket::LIFE_MAX);
    assert_eq!(refusal(&applicant.enrol(&mut office, ticket, 40)), codes::TICKET_EXPIRED);
    office.operate(Operation::Approve { profile: SecurityProfile::Sec1 });
    issued(&applicant.enrol(&mut office, ticket, 40));
    assert_eq!(office.tickets[0].uses, 0);
}

#[test]
fn evidence_bounds_what_an_approval_can_give() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    waits(&applicant.wait_in_lobby(&mut office));
    office.operate(Operation::Approve { profile: SecurityProfile::Sec3 });
    let answers = applicant.wait_in_lobby(&mut office);
    assert_eq!(refusal(&answers), kos_base::code::policy::POLICY_EVIDENCE);
    assert!(office.certificates.is_empty());
    office.operate(Operation::Approve { profile: SecurityProfile::Sec2 });
    issued(&applicant.wait_in_lobby(&mut office));
}

#[test]
fn lists_that_do_not_fit_into_a_frame_are_left_out() {
    let mut office = Office::new();
    office.crls = vec![vec![1; FRAME_BYTES_MAX], vec![2; 20_000], vec![3; 20_000], vec![4; 100]];
    let ticket = office.ticket(40);
    match Applicant::new(20).enrol(&mut office, ticket, 40).as_slice() {
        [FromAuthority::Issued(grant)] => {
            let lengths: Vec<_> = grant.crls.iter().map(|list| list.len()).collect();
            assert_eq!(lengths, [20_000, 100]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_entitles_a_device_that_only_waits() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    let (mut line, welcome) = applicant.greet(&mut office);
    let prove = Prove { means: Means::Lobby, ..applicant.request(&welcome) };
    waits(&applicant.prove(&mut office, &mut line, prove));
    assert_eq!(office.only().profile(), SecurityProfile::Sec0);
    let entry = office.only().lobby.as_ref().unwrap();
    assert_eq!((entry.requested, entry.profile), (Some(SecurityProfile::Sec2), SecurityProfile::Sec0));
    assert!(office.certificates.is_empty());
    assert_eq!(refusal(&applicant.confirm(&mut office, 1)), codes::DEVICE_UNKNOWN);
}
