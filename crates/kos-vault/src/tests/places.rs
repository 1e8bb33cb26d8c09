//! Parts of a vault in places that are not theirs, under a MAC that holds: what the encryption itself refuses.

use kos_base::{Secret, Timestamp};

use super::{BEFORE, GOLDEN, NOW, key, owned, read_all};
use crate::{
    Fresh, KeySource, NewSecret, NewSlot, OfflineKey, Opened, Passkey, Passphrase, PrfOutput, Sealed,
    SecretType, SlotInfo, SlotKind, Standing, Unlock, Value, VaultError, Work,
    slot::{Slot, Writing},
    state::State,
    version::{Id, Version},
};

fn fresh(n: u8) -> Fresh {
    Fresh::new(Secret::new([n; 32]))
}

/// A version of the golden vault: of its entry with this many versions, from the oldest.
fn versions(state: &State, count: usize) -> (Id, Vec<Version>) {
    let found = state.entries.iter().find(|(_, record)| record.versions.len() == count);
    found.map(|(id, record)| (*id, record.versions.clone())).unwrap()
}

fn check(why: &str, change: impl FnOnce(&mut State)) {
    let read = read_all(&owned(change));
    assert!(matches!(read, Err(VaultError::Damaged(_))), "{why}: {read:?}");
}

#[test]
fn a_version_opens_in_its_place_only() {
    check("as another entry", |state| {
        let (_, one) = versions(state, 1);
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions = one;
    });
    check("two entries exchanged", |state| {
        let ids: Vec<Id> = state.entries.keys().copied().collect();
        let [a, b] = [ids[0], ids[1]].map(|id| state.entries.remove(&id).unwrap());
        state.entries.extend([(ids[0], b), (ids[1], a)]);
    });
    check("an old version as the newest", |state| {
        let (id, mut two) = versions(state, 2);
        two[0].facts.number = 2;
        two.truncate(1);
        state.entries.get_mut(&id).unwrap().versions = two;
    });
    check("another type", |state| {
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions[1].facts.kind = SecretType::Password;
    });
    check("another time", |state| {
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions[1].facts.created = NOW;
    });
    check("without its end", |state| {
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions[1].facts.expires = None;
    });
    check("with another end", |state| {
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions[1].facts.expires = Some(Timestamp::MAX);
    });
    check("another salt", |state| {
        let (id, _) = versions(state, 2);
        state.entries.get_mut(&id).unwrap().versions[0].salt[0] ^= 1;
    });
}

#[test]
fn a_vault_under_another_name_does_not_open() {
    // The slots are bound to vault and environment, so the master key is not even reached.
    for bytes in [
        owned(|state| state.environment = "production".parse().unwrap()),
        owned(|state| state.vault = "00000000000000000000000000000000".parse().unwrap()),
    ] {
        assert_eq!(read_all(&bytes).err(), Some(VaultError::WrongSecret));
    }
}

/// A vault of one entry `a`.
fn small(environment: &str, n: u8) -> Opened {
    let secret = key();
    let slot = NewSlot::Key(&secret, KeySource::File);
    let name = "key file".parse().unwrap();
    let mut vault = Opened::create(NOW, environment.parse().unwrap(), &name, slot, fresh(n)).unwrap();
    let value = Value::new(b"secret".to_vec().into()).unwrap();
    let new = NewSecret { kind: SecretType::Opaque, value: &value, expires: None };
    vault.put(NOW, &"a".parse().unwrap(), new, fresh(n)).unwrap();
    vault
}

#[test]
fn a_passkey_slot_opens_in_its_vault_only_and_whoever_holds_one_does_not_lose_it() {
    let output = PrfOutput::new(Secret::new([11; 32])).unwrap();
    let passkey = Passkey::new(vec![8; 16], "localhost".parse().unwrap(), [9; 32]).unwrap();
    let with = |n: u8| {
        let mut vault = small("machine", n);
        let slot = NewSlot::Passkey(&passkey, &output);
        vault.add_slot(NOW, &"blue".parse().unwrap(), slot, fresh(n + 10)).unwrap();
        vault
    };
    let (here, elsewhere) = (with(1), with(2));
    // One passkey, one salt, one output: what differs is the vault.
    let mut swapped = elsewhere.parts().0.clone();
    swapped.slots[1] = here.parts().0.slots[1].clone();
    assert_eq!(swapped.slots[1].open(swapped.owner(), Unlock::Passkey(&output)), Ok(None));
    assert!(elsewhere.parts().0.slots[1].open(swapped.owner(), Unlock::Passkey(&output)).unwrap().is_some());

    for (held, dropped) in [(&[Unlock::Passkey(&output)][..], 1), (&[Unlock::Key(&key())], 1)] {
        let mut vault = with(3);
        let before = vault.parts().0.slots[1].salt;
        assert_eq!(vault.rotate(held, fresh(20)).unwrap().len(), dropped);
        let slot = &vault.parts().0.slots[0];
        let is_kept = slot.passkey.as_ref() == Some(&passkey) && slot.salt != before;
        assert_eq!(
            is_kept,
            slot.info.kind == SlotKind::Passkey,
            "its salt is drawn anew, that of its function stays"
        );
    }
}

#[test]
fn an_entry_of_another_vault_or_environment_does_not_open_here() {
    let here = small("machine", 1);
    // The same draws: even the master keys are alike, and only the environments differ.
    let elsewhere = small("production", 1);
    assert_eq!(here.parts().1.master(), elsewhere.parts().1.master());
    let id = *here.parts().0.entries.keys().next().unwrap();
    for other in [elsewhere, small("machine", 2)] {
        let (own, record) = other.parts().0.entries.first_key_value().unwrap();
        assert_ne!(*own, id, "one name has another id in each vault");
        let moved = record.versions[0].open(here.parts().0.owner(), here.parts().1, &id);
        assert!(matches!(moved, Err(VaultError::Damaged(_))));
    }
}

#[test]
fn every_version_has_a_salt_and_a_key_of_its_own() {
    let mut salts = std::collections::BTreeSet::new();
    let opened = read_all(GOLDEN).unwrap();
    let versions = opened.parts().0.entries.values().flat_map(|record| &record.versions);
    salts.extend(versions.map(|version| version.salt));
    assert_eq!(salts.len(), 6);
}

#[test]
fn a_generation_leads_back_to_the_one_before() {
    let before = Sealed::parse(BEFORE).unwrap().head();
    assert_eq!(read_all(GOLDEN).unwrap().parts().0.previous_root, before.root);
}

#[test]
fn rounds_of_the_source_document_are_read_and_raised_with_the_next_master_key() {
    let mut opened = read_all(GOLDEN).unwrap();
    let passphrase = Passphrase::new("correct horse battery".to_owned().into()).unwrap();
    let work = Work::Pbkdf2 { iterations: Work::ROUNDS_READ_MIN };
    let info = SlotInfo { name: "old".parse().unwrap(), kind: SlotKind::Passphrase(work), created: NOW };
    let (writing, draws) = (Writing::Passphrase(&passphrase, work), fresh(50).draws());
    let owner = opened.parts().0.owner();
    let slot = Slot::write(owner, info, writing, opened.parts().1.master(), &draws).unwrap();
    opened.state_mut().slots = vec![slot];
    let file = opened.seal(NOW).unwrap();
    let mut read = Sealed::parse(file.bytes()).unwrap().open(Unlock::Passphrase(&passphrase)).unwrap();
    assert_eq!(read.rotate(&[Unlock::Passphrase(&passphrase)], fresh(51)), Ok(vec![]));
    let raised = SlotKind::Passphrase(Work::Pbkdf2 { iterations: Work::ROUNDS_WRITTEN_MIN });
    assert_eq!(read.slots().next().unwrap().kind, raised);
}

#[test]
fn a_vault_that_a_stranger_made_for_an_offline_key_is_told_by_its_head() {
    // KV-18: the recipient and everything else that this takes stands in the file.
    let golden = Sealed::parse(GOLDEN).unwrap();
    let info = golden.slots().find(|slot| matches!(slot.kind, SlotKind::Offline(_))).unwrap().clone();
    let SlotKind::Offline(recipient) = info.kind else { unreachable!("it was found by its kind") };
    let mut stranger =
        Opened::create(NOW, golden.environment().clone(), &info.name, NewSlot::Offline(recipient), fresh(60))
            .unwrap();
    stranger.state_mut().vault = *golden.vault();
    stranger.state_mut().generation = golden.head().generation - 1;
    assert_eq!(stranger.rotate(&[], fresh(61)), Ok(vec![]), "now its keys are for that vault");
    let file = stranger.seal(NOW).unwrap();

    let offline = OfflineKey::new(&Secret::new([9; 32])).unwrap();
    let opened = Sealed::parse(file.bytes()).unwrap().open(Unlock::Offline(&offline)).unwrap();
    assert_eq!((opened.vault(), opened.head().generation), (golden.vault(), 2));
    assert_eq!(opened.standing(&golden.head()), Standing::Forked);
    // A key or passphrase opens nothing of a stranger's.
    assert_eq!(read_all(file.bytes()).err(), Some(VaultError::NoSlot));
}
