use std::collections::HashSet;

use super::*;

#[test]
fn names_and_paths_are_unique_and_every_route_is_classified() {
    for table in [ALL, LOCAL] {
        let names: HashSet<_> = table.iter().map(|r| r.name).collect();
        let paths: HashSet<_> = table.iter().map(|r| (r.method, r.path)).collect();
        assert_eq!((names.len(), paths.len()), (table.len(), table.len()));
        for route in table {
            assert!(!route.access.is_empty(), "{}", route.name);
            assert!(route.path.starts_with("/api/v1/"), "{}", route.path);
            assert!(route.effect == Reads || route.method != Get, "{}", route.name);
            assert!(route.summary.ends_with('.'), "{}", route.name);
        }
    }
}

#[test]
fn no_route_that_changes_anything_is_open_to_strangers_devices_or_viewers() {
    for route in ALL.iter().filter(|r| r.effect == Changes) {
        for caller in
            [Caller::Anonymous, Caller::Device(Object::Own), Caller::Operator(operator::OperatorRole::Viewer)]
        {
            // What an agent may, it may by its signature, which the handler judges (PAIR-22, GRANT-20).
            let is_signed = route.access == [Agent] && route.path.starts_with("/api/v1/agent/");
            let brings = is_signed && caller != Caller::Anonymous;
            assert_eq!(route.admits(caller), brings, "{} and {caller:?}", route.name);
        }
    }
}

/// VOU-11: who is believed is an administrator's to say; a voucher is believed for its maker's sake, as a ticket is made.
#[test]
fn trust_in_keys_is_an_administrators_and_a_voucher_brings_none() {
    for route in [&MAKER_ADD, &MAKER_REMOVE, &EK_ADD, &EK_REMOVE, &GOLDEN_ADD, &GOLDEN_REMOVE] {
        assert_eq!(route.access, [Admin], "{}", route.name);
    }
    assert_eq!((VOUCHER_IMPORT.access, VOUCHER_ENDORSE.access), (TICKET_CREATE.access, &[Admin][..]));
}

#[test]
fn what_changes_or_is_read_by_devices_needs_a_token_or_the_socket() {
    for route in ALL {
        let Token::Exempt(reason) = route.token else { continue };
        assert!(reason.len() > 20, "{}", route.name);
        assert_eq!(route.token == SOCKET, route.access == [Local], "{}", route.name);
        assert_eq!(route.token == AGENT, route.access == [Agent], "{}", route.name);
        assert!(route.effect == Reads || [SOCKET, AGENT].contains(&route.token), "{}", route.name);
        // A device reaches what everybody may read, and brings what an agent has signed.
        let reached = route.admits(Caller::Device(Object::Own));
        assert_eq!(
            reached,
            [PUBLIC, AGENT].contains(&route.token) || route.access == [Anyone],
            "{}",
            route.name
        );
    }
}

#[test]
fn no_answer_is_kept_of_what_holds_a_secret_of_a_vault() {
    let kept = |route: &Route| route.is_repeatable();
    assert_eq!(
        [DEVICE_RENAME, TICKET_CREATE, VAULT_PUT, VAULT_UNLOCK, GUARDIAN_ADD, STATUS].each_ref().map(kept),
        [true, true, false, false, false, false]
    );
}

#[test]
fn a_path_is_filled_in_and_cannot_be_left() {
    assert_eq!(DEVICE_SHOW.fill(&["../status?x"]), "/api/v1/devices/..%2Fstatus%3Fx");
    assert_eq!(AUDIT_LOG.fill(&["tile/0/x001/067"]), "/api/v1/audit/log/tile/0/x001/067");
    assert_eq!(STATUS.fill(&[]), "/api/v1/status");
}
