//! What no request can bring about: power that goes at a bad moment, and a backup of what is there.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use kos_api::{text::SecretText, vault::VaultState};
use kos_base::{Secret, code};
use kos_vault::{Agreed, EntryName, NewSecret, OfflineKey, Passphrase, Sealed, SecretType, Unlock, Value};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::*;
use crate::{
    authority::Authority,
    backup::Snapshot,
    fixtures::{self, NOW},
    record::{SystemChange, VaultDeed},
    restore,
    store::Anchor,
    writer::{SystemWrite, Transaction},
};

fn passphrase() -> Passphrase {
    Passphrase::new(Zeroizing::new("correct horse battery".to_owned())).unwrap()
}

fn value() -> Value {
    Value::new(Zeroizing::new(b"hunter2".to_vec())).unwrap()
}

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn deed(authority: &Authority) -> Deed {
    Deed::own(authority.shared(), "people".parse().unwrap(), NOW)
}

async fn events(authority: &Authority) -> Vec<String> {
    let entries = authority.shared().store.entries(&crate::store::EntryQuery::default(), 500).await.unwrap();
    entries.into_iter().map(|entry| entry.event).filter(|event| event.starts_with("vault_")).collect()
}

#[tokio::test]
async fn a_change_whose_record_fails_after_the_file_was_written_locks_the_vault_and_is_repaired() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();

    let cut = deed(&authority);
    let mut ring = cut.ring().await;
    let (mut vault, anchor) = cut.take_open(&mut ring).await.unwrap();
    let secret = NewSecret { kind: SecretType::Password, value: &value(), expires: None };
    vault.put(NOW, &name("x"), secret, Deed::fresh().unwrap()).unwrap();
    let mut other = anchor.clone();
    other.head.generation += 7;
    let put =
        |generation| VaultDeed::Put { name: name("x"), version: 1, kind: SecretType::Password, generation };
    let settled = cut.settle(&mut ring, vault, Some(other), None, put).await;
    assert_eq!(settled.unwrap_err().code().number(), 106);
    drop(ring);

    assert_eq!(deed(&authority).show().await.unwrap().state, VaultState::Locked);
    let kept = authority.shared().store.anchor(&anchor.environment).await.unwrap();
    assert_eq!(kept, Some(anchor));
    deed(&authority).unlock(Opener::Passphrase(passphrase(), None)).await.unwrap();
    assert_eq!(deed(&authority).entries().await.unwrap().len(), 1);
    let expected = ["vault_created", "vault_locked", "vault_repaired", "vault_unlocked"];
    assert_eq!(events(&authority).await, expected);
}

#[tokio::test]
async fn a_sharing_whose_words_nobody_would_see_leaves_the_vault_as_it_was() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    let plan = || kos_shares::Plan::new(2, 2).unwrap();
    let holders = || vec!["Anna".to_owned(), "Bert".to_owned()];
    let (here, asker) = oneshot::channel();
    let first = deed(&authority).share((passphrase(), None), plan(), holders(), asker).await.unwrap();
    drop(here);
    let (gone, asker) = oneshot::channel();
    drop(gone);
    let refused = deed(&authority).share((passphrase(), None), plan(), holders(), asker).await.unwrap_err();
    assert!(matches!(refused, VaultFault::Gone), "{refused}");
    let shown = deed(&authority).show().await.unwrap();
    assert_eq!(shown.sharing, Some(first.sharing));
    deed(&authority).unlock(Opener::Passphrase(passphrase(), None)).await.unwrap();
}

#[tokio::test]
async fn no_version_is_given_after_its_time() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    let soon = NOW.plus(Duration::from_secs(1));
    for expires in [None, Some(soon)] {
        deed(&authority).put(name("x"), None, value(), expires).await.unwrap();
    }
    let read = async |at, version| {
        let deed = Deed::own(authority.shared(), "people".parse().unwrap(), at);
        deed.read(name("x"), version, None).await.map(|secret| secret.version).map_err(|fault| fault.code())
    };
    for (at, version, given) in [
        (NOW, None, Ok(2)),
        (NOW, Some(2), Ok(2)),
        (soon, None, Err(code::vault::VAULT_ENTRY_EXPIRED)),
        (soon, Some(2), Err(code::vault::VAULT_ENTRY_EXPIRED)),
        (soon, Some(1), Ok(1)),
        (soon, Some(3), Err(code::vault::VAULT_ENTRY_UNKNOWN)),
    ] {
        assert_eq!(read(at, version).await, given, "{version:?}");
    }
}

#[tokio::test]
async fn changes_that_nobody_waits_for_are_done_one_after_the_other() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    for n in 0..5 {
        let put = deed(&authority).put(name(&format!("x{n}")), Some(SecretType::Opaque), value(), None);
        tokio::spawn(put);
    }
    // The next in line comes after those that were begun, whether somebody waits for them or not.
    tokio::task::yield_now().await;
    assert_eq!(deed(&authority).entries().await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_backup_has_the_vaults_and_a_restore_puts_them_back() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    let shared = authority.shared();
    let file = std::fs::read(shared.vaults.path(&"people".parse().unwrap())).unwrap();
    std::fs::write(shared.home.vaults().join("people.json.aside"), b"left").unwrap();
    let parts = (&shared.store, &shared.vaults, [].as_slice());
    let snapshot = Snapshot::take(&shared.home, parts, &shared.keys, shared.log.key(), NOW).await.unwrap();
    let words = || "correct horse battery".to_owned();
    let sealing = kos_backup::Sealing::Passphrase(kos_backup::Passphrase::new(words()));
    let packed = snapshot.pack(Vec::new(), sealing, &shared.name, shared.log.key()).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    std::fs::write(&backup, packed).unwrap();
    let opening = kos_backup::Opening::Passphrase(kos_backup::Passphrase::new(words()));
    restore::put_back(elsewhere.path(), &backup, opening).await.unwrap();
    let vaults = elsewhere.path().join("authority/vaults");
    assert_eq!(std::fs::read(vaults.join("people.json")).unwrap(), file);
    assert_eq!(std::fs::read_dir(&vaults).unwrap().count(), 1);
}

#[tokio::test]
async fn two_that_are_made_at_a_time_do_not_become_one_too_many() {
    let (_folder, authority) = fixtures::attic().await;
    let shared = authority.shared();
    deed(&authority).create(passphrase()).await.unwrap();
    let held = shared.store.anchor(&"people".parse().unwrap()).await.unwrap().unwrap();
    for n in 2..VAULTS_MAX {
        let anchor = Anchor { environment: format!("v{n}").parse().unwrap(), ..held.clone() };
        let change = SystemChange::Vault(anchor.environment.clone(), VaultDeed::Rehearsed);
        let write = SystemWrite::Vault { anchor: Box::new(anchor), instead_of: None };
        shared.writer.commit(Transaction::own(NOW, vec![change.into()], vec![write])).await.unwrap();
    }
    let make = |environment: &str| {
        tokio::spawn(Deed::own(shared, environment.parse().unwrap(), NOW).create(passphrase()))
    };
    let made = [make("a"), make("b"), make("c")];
    let mut codes = Vec::new();
    for made in made {
        codes.push(made.await.unwrap().map_err(|fault| fault.code()).err());
    }
    codes.sort_by_key(|code| code.map(|code| code.number()));
    assert_eq!(codes, [None, Some(code::vault::VAULTS_FULL), Some(code::vault::VAULTS_FULL)]);
    assert_eq!(shared.store.anchors(VAULTS_MAX + 1).await.unwrap().len(), 64);
}

#[tokio::test]
async fn an_offline_key_opens_no_file_that_goes_on_from_the_anchor() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    let key = OfflineKey::new(&Secret::new([3; 32])).unwrap();
    let (slot, recipient) = ("offline".parse().unwrap(), key.recipient().unwrap());
    deed(&authority).add_offline(slot, recipient, passphrase(), None).await.unwrap();
    let before = authority.shared().store.anchor(&"people".parse().unwrap()).await.unwrap().unwrap();

    let agreed = || async {
        let shown = deed(&authority).show().await.unwrap();
        let ephemeral = shown.slots.iter().find_map(|slot| slot.ephemeral.clone()).unwrap();
        let ephemeral = data_encoding::HEXLOWER.decode(ephemeral.as_bytes()).unwrap();
        let own = PrivateKey::from_private_key(&X25519, &[3; 32]).unwrap();
        let peer = UnparsedPublicKey::new(&X25519, ephemeral);
        let shared = agree(&own, peer, (), |shared| Ok(Secret::new(shared.try_into().unwrap()))).unwrap();
        Agreed::new(shared).unwrap()
    };
    // A file that goes on from the anchor, as a stranger with the public key could write one.
    let path = authority.shared().vaults.path(&before.environment);
    let good = std::fs::read(&path).unwrap();
    let sealed = Sealed::parse(&good).unwrap();
    let mut ahead = sealed.open(Unlock::Passphrase(&passphrase())).unwrap();
    let secret = NewSecret { kind: SecretType::Password, value: &value(), expires: None };
    ahead.put(NOW, &name("y"), secret, Deed::fresh().unwrap()).unwrap();
    std::fs::write(&path, ahead.seal(NOW).unwrap().bytes()).unwrap();
    deed(&authority).lock(LockReason::Asked).await.unwrap();
    // While it is open the authority knows its file, and puts it back before the keys go.
    assert_eq!(std::fs::read(&path).unwrap().len(), good.len());
    let held = authority.shared().store.anchor(&before.environment).await.unwrap().unwrap();
    let mut ahead = Sealed::parse(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(ahead.head(), held.head);
    let mut opened = ahead.open(Unlock::Passphrase(&passphrase())).unwrap();
    let secret = NewSecret { kind: SecretType::Password, value: &value(), expires: None };
    opened.put(NOW, &name("y"), secret, Deed::fresh().unwrap()).unwrap();
    let sealing = opened.seal(NOW).unwrap();
    ahead = Sealed::parse(sealing.bytes()).unwrap();
    assert_eq!(ahead.head().generation, held.head.generation + 1);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, sealing.bytes()).unwrap();

    let new = || Passphrase::new(Zeroizing::new("another passphrase".to_owned())).unwrap();
    let refused = deed(&authority).recover_offline(agreed().await, None, new()).await.unwrap_err();
    assert_eq!(refused.code(), code::vault::VAULT_UNJUDGED);
    let copied = admit_copies(authority.shared(), &[], false, NOW).await.unwrap_err();
    assert_eq!(copied.code(), code::vault::VAULT_UNJUDGED);
    std::fs::write(&path, good).unwrap();
    let recovered = deed(&authority).recover_offline(agreed().await, None, new()).await.unwrap();
    assert_eq!((recovered.state, recovered.slots.len()), (VaultState::Unlocked, 1));
    deed(&authority).unlock(Opener::Passphrase(new(), None)).await.unwrap();
}

#[tokio::test]
async fn codes_that_a_file_asks_for_are_known_again_after_its_record_was_cut_off() {
    let (_folder, authority) = fixtures::attic().await;
    deed(&authority).create(passphrase()).await.unwrap();
    let held = authority.shared().store.anchor(&"people".parse().unwrap()).await.unwrap().unwrap();
    let path = authority.shared().vaults.path(&held.environment);
    deed(&authority).lock(LockReason::Asked).await.unwrap();
    let sealed = Sealed::parse(&std::fs::read(&path).unwrap()).unwrap();
    let mut opened = sealed.open(Unlock::Passphrase(&passphrase())).unwrap();
    let seed = Value::new(Zeroizing::new(b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_vec())).unwrap();
    let secret = NewSecret { kind: SecretType::TotpSeed, value: &seed, expires: None };
    opened.put(NOW, &name("kos/authoriser"), secret, Deed::fresh().unwrap()).unwrap();
    let code = opened.totp(NOW, &name("kos/authoriser")).unwrap().code;
    std::fs::write(&path, opened.seal(NOW).unwrap().bytes()).unwrap();

    assert_eq!(deed(&authority).show().await.unwrap().authoriser, None);
    let refused = deed(&authority).unlock(Opener::Passphrase(passphrase(), None)).await.unwrap_err();
    assert_eq!(refused.code(), code::vault::VAULT_CODE_NEEDED);
    assert!(deed(&authority).show().await.unwrap().authoriser.is_some());
    let code = || Some(SecretText::new(code.to_string()));
    deed(&authority).unlock(Opener::Passphrase(passphrase(), code())).await.unwrap();
    let replayed = deed(&authority).unlock(Opener::Passphrase(passphrase(), code())).await.unwrap_err();
    assert_eq!(replayed.code(), code::vault::VAULT_CODE);
}
