//! The matrix: profile x door x outcome, every cell asserted, with the rule that decides.
//!
//! The table below is written by hand from `docs/spec/policy.md`. The first test fails when a request that can be asked
//! has no row, when a row is of nothing that can be asked, and when a cell differs.
#![cfg(test)]

use std::collections::BTreeMap;

use kos_base::{EvidenceTier, SecurityProfile};
use kos_policy::{
    Bootloader, Credential, Door, Entrance, Image, Proven, Request, Rule, Standing, Verdict, Way, decide,
    guardrails,
};

/// A request, and for SEC-0 to SEC-4 the outcome (`+` allowed, `-` refused) and the rule that decides.
const MATRIX: &str = "
tls/TLS_AES_256_GCM_SHA384        +suite +suite +suite +suite +suite
tls/TLS_CHACHA20_POLY1305_SHA256  +suite +suite +suite +suite -suite
tls/TLS_AES_128_GCM_SHA256        +suite +suite -suite -suite -suite

entry/enrolment/identity-key      +authentication +authentication +authentication +authentication +authentication
entry/enrolment/certificate       +authentication +authentication +authentication +authentication +authentication
entry/link/identity-key           -authentication -authentication -authentication -authentication -authentication
entry/link/certificate            +authentication +authentication +authentication +authentication +authentication
entry/api/identity-key            -authentication -authentication -authentication -authentication -authentication
entry/api/certificate             +authentication +authentication +authentication +authentication +authentication

certificate/enrolment/SEC-0       +evidence -never-down -never-down -never-down -never-down
certificate/enrolment/SEC-1       +evidence +evidence -never-down -never-down -never-down
certificate/enrolment/SEC-2       -evidence -evidence +evidence -never-down -never-down
certificate/enrolment/SEC-3       -evidence -evidence -evidence +evidence -never-down
certificate/enrolment/SEC-4       -evidence -evidence -evidence -evidence +evidence
certificate/renewal/SEC-0         +evidence -never-down -never-down -never-down -never-down
certificate/renewal/SEC-1         +evidence +evidence -never-down -never-down -never-down
certificate/renewal/SEC-2         -evidence -evidence +evidence -never-down -never-down
certificate/renewal/SEC-3         -evidence -evidence -evidence +evidence -never-down
certificate/renewal/SEC-4         -evidence -evidence -evidence -evidence +evidence
certificate/recovery/SEC-0        +evidence -never-down -never-down -never-down -never-down
certificate/recovery/SEC-1        +evidence +evidence -never-down -never-down -never-down
certificate/recovery/SEC-2        -evidence -evidence +evidence -never-down -never-down
certificate/recovery/SEC-3        -evidence -evidence -evidence +evidence -never-down
certificate/recovery/SEC-4        -evidence -evidence -evidence -evidence +evidence
certificate/return/SEC-0          +evidence -never-down -never-down -never-down -never-down
certificate/return/SEC-1          +evidence +evidence -never-down -never-down -never-down
certificate/return/SEC-2          -evidence -evidence +evidence -never-down -never-down
certificate/return/SEC-3          -evidence -evidence -evidence +evidence -never-down
certificate/return/SEC-4          -evidence -evidence -evidence -evidence +evidence
certificate/restore/SEC-0         +evidence -never-down -never-down -never-down -never-down
certificate/restore/SEC-1         +evidence +evidence -never-down -never-down -never-down
certificate/restore/SEC-2         -evidence -evidence +evidence -never-down -never-down
certificate/restore/SEC-3         -evidence -evidence -evidence +evidence -never-down
certificate/restore/SEC-4         -evidence -evidence -evidence -evidence +evidence
certificate/approval/SEC-0        +never-down -never-down -never-down -never-down -never-down
certificate/approval/SEC-1        +never-down +never-down -never-down -never-down -never-down
certificate/approval/SEC-2        +never-down +never-down +never-down -never-down -never-down
certificate/approval/SEC-3        +never-down +never-down +never-down +never-down -never-down
certificate/approval/SEC-4        +never-down +never-down +never-down +never-down +never-down
certificate/change/SEC-0          +evidence -never-down -never-down -never-down -never-down
certificate/change/SEC-1          +evidence +evidence -never-down -never-down -never-down
certificate/change/SEC-2          -evidence -evidence +evidence -never-down -never-down
certificate/change/SEC-3          -evidence -evidence -evidence +evidence -never-down
certificate/change/SEC-4          -evidence -evidence -evidence -evidence +evidence
certificate/adoption/SEC-0        +evidence -never-down -never-down -never-down -never-down
certificate/adoption/SEC-1        +evidence +evidence -never-down -never-down -never-down
certificate/adoption/SEC-2        -evidence -evidence +evidence -never-down -never-down
certificate/adoption/SEC-3        -evidence -evidence -evidence +evidence -never-down
certificate/adoption/SEC-4        -evidence -evidence -evidence -evidence +evidence

kid/SEC-0                         +as-certified -as-certified -as-certified -as-certified -as-certified
kid/SEC-1                         -as-certified +as-certified -as-certified -as-certified -as-certified
kid/SEC-2                         -as-certified -as-certified +as-certified -as-certified -as-certified
kid/SEC-3                         -as-certified -as-certified -as-certified +as-certified -as-certified
kid/SEC-4                         -as-certified -as-certified -as-certified -as-certified +as-certified

message/upkeep                    +scope +scope +scope +scope +scope
message/alert                     +scope +scope +scope +scope +scope
message/report                    +scope +scope +scope +scope +scope
message/command                   -scope +scope +scope +scope +scope
message/witness                   -scope +scope +scope +scope +scope
message/peer                      -scope +scope +scope +scope +scope
message/agent                     -scope -scope +scope +scope +scope

peer/encrypted/SEC-0              -isolation -isolation -isolation -isolation -isolation
peer/encrypted/SEC-1              -isolation +scope +scope +scope -verified-peers
peer/encrypted/SEC-2              -isolation +scope +scope +scope -verified-peers
peer/encrypted/SEC-3              -isolation +scope +scope +scope -forward-secrecy
peer/encrypted/SEC-4              -isolation -verified-peers -verified-peers -forward-secrecy -forward-secrecy
peer/channel/SEC-0                -isolation -isolation -isolation -isolation -isolation
peer/channel/SEC-1                -isolation +scope +scope +scope -verified-peers
peer/channel/SEC-2                -isolation +scope +scope +scope -verified-peers
peer/channel/SEC-3                -isolation +scope +scope +scope +scope
peer/channel/SEC-4                -isolation -verified-peers -verified-peers +scope +scope

api/read                          +own-record +own-record +own-record +own-record +own-record
api/change                        -scope +scope +scope +scope +scope

config/SEC-0                      +as-certified -never-down -never-down -never-down -never-down
config/SEC-1                      -as-certified +as-certified -never-down -never-down -never-down
config/SEC-2                      -as-certified -as-certified +as-certified -never-down -never-down
config/SEC-3                      -as-certified -as-certified -as-certified +as-certified -never-down
config/SEC-4                      -as-certified -as-certified -as-certified -as-certified +as-certified

agent/calls/paired                -scope -scope +paired +paired +paired
agent/calls/unpaired              -scope -scope -paired -paired -paired
agent/called/paired               -scope -scope +paired +paired +paired
agent/called/unpaired             -scope -scope -paired -paired -paired
";

/// A device that has proven exactly what its profile needs.
fn honest(profile: SecurityProfile) -> Standing {
    Standing::certified(profile, guardrails(profile).evidence)
}

fn cell(standing: Standing, request: Request) -> String {
    let decision = decide(standing, request);
    let sign = if decision.verdict() == Verdict::Allow { '+' } else { '-' };
    format!("{sign}{}", decision.rule())
}

#[test]
fn every_cell_of_profile_and_door_is_as_written() {
    let rows: BTreeMap<String, Vec<&str>> = MATRIX
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next().map(|name| (name.to_owned(), words.collect()))
        })
        .collect();
    let written = MATRIX.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(rows.len(), written, "a row stands there twice");
    let mut cells = 0;
    for (column, profile) in SecurityProfile::ALL.iter().enumerate() {
        let standing = honest(*profile);
        let asked = Request::catalogue(standing);
        assert_eq!(asked.len(), rows.len(), "rows that nobody asks, or questions without a row");
        for request in asked {
            let row = rows.get(&request.to_string()).unwrap_or_else(|| panic!("no row for {request}"));
            assert_eq!(row.len(), 5, "{request}");
            assert_eq!(
                cell(standing, request),
                row[column],
                "{profile} {request}: {}",
                decide(standing, request)
            );
            cells += 1;
        }
    }
    assert_eq!(cells, 5 * written);
    for door in Door::ALL {
        assert!(rows.keys().any(|name| name.starts_with(&format!("{door}/"))), "{door} has no row");
    }
}

#[test]
fn a_profile_is_never_above_what_was_proven() {
    use EvidenceTier::{EkActivated, EkChainVerified, KeyInTpm, KeyOnDevice, None, QuoteVerified};
    // For SEC-0 to SEC-4, whether this evidence is enough.
    for (evidence, enough) in [
        (None, [true, true, false, false, false]),
        (KeyOnDevice, [true, true, true, false, false]),
        (KeyInTpm, [true, true, true, false, false]),
        (EkActivated, [true, true, true, true, false]),
        (EkChainVerified, [true, true, true, true, false]),
        (QuoteVerified, [true, true, true, true, true]),
    ] {
        for (to, enough) in SecurityProfile::ALL.iter().zip(enough) {
            let newcomer = Standing::certified(SecurityProfile::Sec0, evidence);
            for way in Way::ALL.into_iter().filter(|way| *way != Way::Approval) {
                let decision = decide(newcomer, Request::Certify(way, *to));
                assert_eq!(
                    (decision.is_allowed(), decision.rule()),
                    (enough, Rule::Evidence),
                    "{evidence} {to}"
                );
            }
            // And on the wire, should somebody have issued it all the same.
            let certified = Standing::certified(*to, evidence);
            for entrance in [Entrance::Enrolment, Entrance::Link, Entrance::Api] {
                let shown = Request::Enter(entrance, Credential::Certificate { record: *to });
                assert_eq!(decide(certified, shown).is_allowed(), enough, "{evidence} {to}");
            }
        }
    }
    assert_eq!(EvidenceTier::ALL.len(), 6, "a tier without a row");
}

#[test]
fn the_strict_profiles_look_at_the_boot() {
    use Bootloader::{Failed, Fine};
    use Image::{Unverified, Verified};
    for (image, bootloader, rule) in [
        (Verified, Fine, Rule::Evidence),
        (Unverified, Fine, Rule::Image),
        (Verified, Failed, Rule::Bootloader),
        (Unverified, Failed, Rule::Image),
    ] {
        for to in SecurityProfile::ALL {
            let proven = Proven { evidence: EvidenceTier::QuoteVerified, image, bootloader };
            let standing = Standing { profile: SecurityProfile::Sec0, proven };
            let decision = decide(standing, Request::Certify(Way::Enrolment, *to));
            let expected = if *to <= SecurityProfile::Sec2 { Rule::Evidence } else { rule };
            assert_eq!(decision.rule(), expected, "{to} {image:?} {bootloader:?}");
            assert_eq!(decision.is_allowed(), expected == Rule::Evidence, "{to} {image:?} {bootloader:?}");
        }
    }
}

#[test]
fn a_certificate_above_its_record_is_not_believed() {
    for said in SecurityProfile::ALL {
        for record in SecurityProfile::ALL {
            for entrance in [Entrance::Enrolment, Entrance::Link, Entrance::Api] {
                let shown = Request::Enter(entrance, Credential::Certificate { record: *record });
                let decision = decide(honest(*said), shown);
                assert_eq!(decision.is_allowed(), said <= record, "{said} {record}");
                assert!(said <= record || decision.rule() == Rule::AsRecorded);
            }
        }
    }
}

#[test]
fn every_refusal_has_a_code_and_says_why() {
    let mut refused_by = Vec::new();
    for profile in SecurityProfile::ALL {
        for request in Request::catalogue(honest(*profile)) {
            let decision = decide(honest(*profile), request);
            let sentence = decision.to_string();
            assert!(!sentence.starts_with("rule `") && !sentence.ends_with('.'), "{request}: {sentence}");
            if let Err(refusal) = decision.check() {
                assert_eq!(refusal.to_string(), sentence);
                assert_eq!(refusal.code(), refusal.rule().code());
                refused_by.push(refusal.rule());
            }
        }
    }
    for rule in Rule::ALL {
        // What these refuse is in tests of their own, or is nothing.
        let elsewhere = [Rule::AsRecorded, Rule::Image, Rule::Bootloader, Rule::OwnRecord];
        assert!(refused_by.contains(&rule) || elsewhere.contains(&rule), "{rule} never refuses");
    }
}

#[test]
fn the_guardrails_get_stricter_from_profile_to_profile() {
    for pair in SecurityProfile::ALL.windows(2) {
        let [weaker, stricter] = [guardrails(pair[0]), guardrails(pair[1])];
        assert!(stricter.suites.iter().all(|suite| weaker.suites.contains(suite)));
        assert!(weaker.evidence <= stricter.evidence);
        assert!(weaker.certificate_days >= stricter.certificate_days);
        assert!(weaker.recoveries >= stricter.recoveries);
    }
    for profile in SecurityProfile::ALL {
        assert_eq!(guardrails(*profile).profile, *profile);
    }
}
