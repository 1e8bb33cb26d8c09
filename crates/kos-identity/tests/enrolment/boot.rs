//! What the boot of a device tells: its image and its bootloader, and what they cost it.

use core::time::Duration;

use kos_base::{EvidenceTier, SecurityProfile, code::enrolment as codes};
use kos_identity::{
    enrolment::{
        message::{Bootloader, FromAuthority, Image},
        proof::RenewalKind::{self, Recovery, Renewal},
    },
    registry::{Change, Operation},
};

use crate::{
    applicant::Applicant,
    office::{Office, issued, refusal},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn verified(n: u8) -> Image {
    Image::Verified([n; 32].into())
}

fn digest(n: u8) -> Option<Vec<u8>> {
    Some(vec![n; 32])
}

/// What was recorded about images: the digest before, and after.
fn alterations(office: &Office) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let altered = office.log.iter().filter_map(|change| match change {
        Change::ImageAltered { from, to, .. } => Some((from.clone(), to.clone())),
        _ => None,
    });
    altered.collect()
}

/// A device in service with evidence enough for `profile`, whose image is number 1.
fn in_service(office: &mut Office, profile: SecurityProfile, lock: Option<Bootloader>) -> Applicant {
    let applicant = Applicant { image: verified(1), ..Applicant::new(20) };
    applicant.wait_in_lobby(office);
    office.devices[0].evidence = EvidenceTier::QuoteVerified;
    // SEC-4 is raised from SEC-3 here, since nobody judges it a second time.
    office.operate(Operation::Approve { profile: profile.min(SecurityProfile::Sec3) });
    issued(&applicant.wait_in_lobby(office));
    assert_eq!(applicant.confirm_and_tell(office, 1, lock), [FromAuthority::Recorded]);
    office.devices[0].assign_profile(profile).unwrap();
    applicant
}

/// Asks for certificate 2 with this image.
fn go_on(office: &mut Office, held: &Applicant, kind: RenewalKind, image: Image) -> Vec<FromAuthority> {
    let next = Applicant { image, ..held.with_next_key(70) };
    let by = match kind {
        Renewal => &held.operational,
        Recovery => &held.identity,
    };
    next.go_on(office, (kind, 1, by))
}

#[test]
fn every_renewal_and_recovery_says_anew_what_became_of_the_image() {
    type Case = (Image, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);
    let cases: [Case; 3] = [
        (verified(1), digest(1), Vec::new()),
        (verified(2), digest(2), vec![(vec![1; 32], digest(2))]),
        (Image::Unverified, None, vec![(vec![1; 32], None)]),
    ];
    for kind in [Renewal, Recovery] {
        for (image, kept, recorded) in cases.clone() {
            let mut office = Office::new();
            let held = in_service(&mut office, SecurityProfile::Sec2, None);
            if kind == Recovery {
                office.pass(15 * DAY);
            }
            issued(&go_on(&mut office, &held, kind, image));
            assert_eq!(office.only().image, kept, "{kind:?}");
            assert_eq!(alterations(&office), recorded, "{kind:?}");
        }
    }
}

#[test]
fn a_device_that_was_never_verified_may_become_it_without_a_word() {
    let mut office = Office::new();
    let held = Applicant::in_service(&mut office, 20);
    issued(&go_on(&mut office, &held, Renewal, verified(1)));
    assert_eq!((office.only().image.clone(), alterations(&office)), (digest(1), Vec::new()));
}

#[test]
fn what_is_not_proven_says_nothing_of_the_image() {
    let mut office = Office::new();
    let held = in_service(&mut office, SecurityProfile::Sec2, None);
    let before = office.contents();
    assert_eq!(refusal(&go_on(&mut office, &held, Recovery, Image::Unverified)), codes::STATE_FORBIDS);
    let stranger = Applicant { operational: Applicant::new(60).operational, ..held };
    let refused = go_on(&mut office, &stranger, Renewal, Image::Unverified);
    assert_eq!(refusal(&refused), codes::DEVICE_UNKNOWN);
    assert_eq!(office.contents(), before);
}

#[test]
fn without_a_verified_image_there_is_no_certificate_above_sec_2() {
    let mut office = Office::new();
    let applicant = Applicant::new(20);
    applicant.wait_in_lobby(&mut office);
    office.devices[0].evidence = EvidenceTier::QuoteVerified;
    office.operate(Operation::Approve { profile: SecurityProfile::Sec3 });
    assert_eq!(refusal(&applicant.wait_in_lobby(&mut office)), codes::IMAGE_UNVERIFIED);
    assert!(office.certificates.is_empty());
    let mended = Applicant { image: verified(1), ..applicant };
    issued(&mended.wait_in_lobby(&mut office));
}

#[test]
fn a_device_of_sec_3_that_loses_its_manifest_is_recorded_once_and_not_renewed() {
    let mut office = Office::new();
    let held = in_service(&mut office, SecurityProfile::Sec3, None);
    for _ in 0..2 {
        let refused = go_on(&mut office, &held, Renewal, Image::Unverified);
        assert_eq!(refusal(&refused), codes::IMAGE_UNVERIFIED);
    }
    assert_eq!(alterations(&office), [(vec![1; 32], None)]);
    assert_eq!((office.only().image.clone(), office.certificates.len()), (None, 1));
    assert!(office.misuse.is_empty(), "it is honest");
    issued(&go_on(&mut office, &held, Renewal, verified(1)));
    assert_eq!(office.only().image, digest(1));
}

#[test]
fn what_was_granted_and_not_confirmed_is_not_given_again_to_another_image() {
    for first in [true, false] {
        let mut office = Office::new();
        let applicant = Applicant { image: verified(1), ..Applicant::new(20) };
        applicant.wait_in_lobby(&mut office);
        office.devices[0].evidence = EvidenceTier::QuoteVerified;
        office.operate(Operation::Approve { profile: SecurityProfile::Sec3 });
        let key = if first { 21 } else { 70 };
        let ask = |office: &mut Office, image: Image| {
            let asking = Applicant { image, ..applicant.with_next_key(key) };
            if first {
                asking.wait_in_lobby(office)
            } else {
                asking.go_on(office, (Renewal, 1, &applicant.operational))
            }
        };
        if !first {
            issued(&applicant.wait_in_lobby(&mut office));
            applicant.confirm(&mut office, 1);
        }
        issued(&ask(&mut office, verified(1)));
        let before = office.certificates.len();
        issued(&ask(&mut office, verified(1)));
        assert_eq!(office.certificates.len(), before, "the same again");
        for _ in 0..2 {
            assert_eq!(refusal(&ask(&mut office, Image::Unverified)), codes::IMAGE_UNVERIFIED);
        }
        assert_eq!(alterations(&office), [(vec![1; 32], None)]);
        issued(&ask(&mut office, verified(2)));
        assert_eq!(office.certificates.len(), before + 1, "another image, another certificate");
    }
}

#[test]
fn a_bootloader_that_could_not_be_locked_ends_sec_3_and_sec_4_and_nothing_else() {
    let (locked, failed) = (Some(Bootloader::Locked), Some(Bootloader::Failed));
    for (profile, lock, goes_on) in [
        (SecurityProfile::Sec2, failed, true),
        (SecurityProfile::Sec3, None, true),
        (SecurityProfile::Sec3, locked, true),
        (SecurityProfile::Sec3, failed, false),
        (SecurityProfile::Sec4, failed, false),
    ] {
        let mut office = Office::new();
        let held = in_service(&mut office, profile, lock);
        assert_eq!(office.only().bootloader, lock);
        let answers = go_on(&mut office, &held, Renewal, verified(1));
        if goes_on {
            issued(&answers);
        } else {
            assert_eq!(refusal(&answers), codes::BOOTLOADER_UNLOCKED, "{profile}");
            assert_eq!(office.certificates.len(), 1);
        }
    }
}
