//! What an operator may do to whom.

use kos_base::{DeviceState, SecurityProfile};
use kos_identity::{
    enrolment::message::FromAuthority,
    registry::{Actor, OperateError, Operation, RevocationReason},
};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
};

fn refused(office: &Office, operation: Operation) -> OperateError {
    operation.apply(office.now, Actor::Authority, office.only().clone()).unwrap_err()
}

fn because() -> String {
    "because".to_owned()
}

#[test]
fn a_device_that_never_confirmed_can_be_turned_away() {
    let mut office = Office::new();
    let ticket = office.ticket(40);
    let applicant = Applicant::new(20);
    issued(&applicant.enrol(&mut office, ticket, 40));
    office.operate(Operation::Reject { reason: because() });
    assert_eq!(office.only().state(), DeviceState::Decommissioned);
    assert_eq!(office.revocations[0].reason, RevocationReason::CessationOfOperation);
    assert_eq!(refusal(&applicant.confirm(&mut office, 1)), kos_base::code::enrolment::STATE_FORBIDS);
}

#[test]
fn a_ban_is_neither_softened_nor_lifted_by_other_operations() {
    let mut office = Office::new();
    Applicant::in_service(&mut office, 20);
    office.operate(Operation::Suspend { reason: because() });
    office.operate(Operation::Ban { reason: because() });
    let reasons: Vec<_> = office.revocations.iter().map(|revocation| revocation.reason).collect();
    assert_eq!(reasons, [RevocationReason::PrivilegeWithdrawn]);
    for operation in [
        Operation::Reinstate { reason: because(), approvers: Box::default() },
        Operation::Suspend { reason: because() },
        Operation::Ban { reason: because() },
    ] {
        refused(&office, operation);
    }
}

#[test]
fn a_ban_of_a_device_at_its_end_revokes_nothing_twice() {
    let mut office = Office::new();
    Applicant::in_service(&mut office, 20);
    office.quarantine();
    let before = office.revocations.clone();
    office.operate(Operation::Ban { reason: because() });
    assert_eq!(office.revocations, before);
}

#[test]
fn operations_that_make_no_sense_are_refused() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    assert!(matches!(applicant.wait_in_lobby(&mut office).as_slice(), [FromAuthority::Pending(_)]));
    for operation in [
        Operation::Regenerate,
        Operation::Suspend { reason: because() },
        office.quarantining(),
        Operation::Reinstate { reason: because(), approvers: Box::default() },
    ] {
        refused(&office, operation);
    }
    let approve = || Operation::Approve { profile: SecurityProfile::Sec2 };
    office.operate(approve());
    assert_eq!(refused(&office, approve()), OperateError::AlreadySo);
    issued(&applicant.wait_in_lobby(&mut office));
    assert_eq!(applicant.confirm(&mut office, 1), [FromAuthority::Recorded]);
    for operation in [approve(), Operation::Reject { reason: because() }] {
        refused(&office, operation);
    }
}
