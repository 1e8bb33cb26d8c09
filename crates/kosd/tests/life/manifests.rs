//! What a device makes of slices of the manifests: only what its own authority signed for it counts, nothing older does,
//! and what counts does so over a restart.
//!
//! Source: `docs/spec/manifest.md` MAN-25 to MAN-28.

use kos_base::code::manifest as codes;
use kos_klp::{
    body::{self, Policy},
    message::MessageType,
};
use kos_policy::slice::{Pattern, PatternKind, RuleEffect, Slice, SliceRule};

use super::{authority::Push, *};

/// A slice that permits everything but the log.
fn slice(authority: &Authority, counter: u64) -> Slice {
    let rule =
        |id: &str, effect, resource| SliceRule { id: id.to_owned(), effect, resource, clauses: Vec::new() };
    let now = authority.now();
    Slice {
        authority: "attic".parse().unwrap(),
        device: authority.devices().remove(0).id,
        counter,
        record: 1,
        issued: now,
        expires: now.plus(Duration::from_secs(3_600)),
        governs: true,
        rules: vec![
            rule("quiet/all", RuleEffect::Permit, Pattern::any(PatternKind::Anything)),
            rule("quiet/no-log", RuleEffect::Forbid, Pattern::named(PatternKind::Message, "LOG")),
        ],
    }
}

/// What the device answers to a slice.
async fn answer(authority: &Authority, slice: Vec<u8>) -> u16 {
    let before = authority.look(|seen| seen.answers.len());
    authority.push(&Push::Signed(MessageType::POLICY, body::write(&Policy::Slice(slice))));
    authority.until("the answer", |seen| seen.answers.get(before).copied()).await
}

#[tokio::test]
async fn only_a_newer_slice_of_its_own_authority_counts_and_it_lasts() {
    let authority = Authority::start().await;
    let (device, root) = reports::reporting(&authority, "").await;
    let (unsound, older) = (codes::SLICE_UNSOUND.number(), codes::SLICE_OLDER.number());
    let signed = |slice: &Slice| authority.orders(slice);
    assert_eq!(answer(&authority, signed(&slice(&authority, 5))).await, 0);
    assert_eq!(answer(&authority, signed(&slice(&authority, 5))).await, 0, "the same again");
    assert_eq!(answer(&authority, signed(&slice(&authority, 4))).await, older);
    let sound = signed(&slice(&authority, 6));
    for at in [0, sound.len() / 2, sound.len() - 1] {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        assert_eq!(answer(&authority, flipped).await, unsound, "byte {at}");
    }
    let foreign = Slice { authority: "cellar".parse().unwrap(), ..slice(&authority, 7) };
    assert_eq!(answer(&authority, signed(&foreign)).await, unsound);
    let other = Slice { device: "kdev-0000000000000001".parse().unwrap(), ..slice(&authority, 7) };
    assert_eq!(answer(&authority, signed(&other)).await, unsound);
    let said = words(&device, root.path()).await;
    assert!(said.contains("policy_applied"), "{said}");
    device.stop().await;

    let mut device = Running::start(root.path(), None);
    device.heartbeat().await;
    assert_eq!(answer(&authority, signed(&slice(&authority, 4))).await, older, "over a restart");
    assert_eq!(answer(&authority, signed(&slice(&authority, 8))).await, 0);
    // And its log stayed with it on this link.
    let said = words(&device, root.path()).await;
    assert!(said.contains("policy_refused") && said.contains("quiet/no-log"), "{said}");
    assert!(said.contains("send/LOG"), "{said}");
    device.stop().await;
}
