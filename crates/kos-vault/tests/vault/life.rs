//! A vault from its first secret to its new master key, as a program would use it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use kos_base::{Secret, key::SignatureForm};
use kos_vault::{
    Head, NewSecret, NewSlot, Opened, Sealed, SecretType, Standing, Unlock, VERSIONS_MAX, VaultError, Work,
};

use crate::cast::{
    self, ARGON2ID, NOW, anna, berta, empty, fresh, golden, key, later, name, offline, passphrase, put, slot,
    value,
};

/// Writes the vault, reads the file again and opens it with the key.
fn reopened(vault: &mut Opened) -> Opened {
    let file = vault.seal(later(1_000)).unwrap();
    vault.written(&file);
    Sealed::parse(file.bytes()).unwrap().open(Unlock::Key(&key())).unwrap()
}

fn get(vault: &mut Opened, text: &str) -> Result<Vec<u8>, VaultError> {
    vault.get(NOW, &name(text)).map(|value| value.expose().to_vec())
}

#[test]
fn every_slot_opens_and_no_other_secret_does() {
    let (_, file, _) = golden();
    let sealed = Sealed::parse(file.bytes()).unwrap();
    let (anna, berta, key, offline) = (anna(), berta(), key(), offline());
    for right in
        [Unlock::Passphrase(&anna), Unlock::Passphrase(&berta), Unlock::Key(&key), Unlock::Offline(&offline)]
    {
        let mut vault = sealed.open(right).unwrap();
        assert_eq!(get(&mut vault, "api/payments").as_deref(), Ok(b"second".as_slice()), "{right:?}");
    }
    let other = Secret::new([8; 32]);
    let other_offline = kos_vault::OfflineKey::new(&other).unwrap();
    for wrong in [
        Unlock::Passphrase(&passphrase("correct horse batterz")),
        Unlock::Key(&other),
        Unlock::Offline(&other_offline),
    ] {
        assert_eq!(sealed.open(wrong).err(), Some(VaultError::WrongSecret), "{wrong:?}");
    }
    let alone = empty().seal(NOW).unwrap();
    let refused = Sealed::parse(alone.bytes()).unwrap().open(Unlock::Passphrase(&anna));
    assert_eq!(refused.err(), Some(VaultError::NoSlot));
}

#[test]
fn secrets_come_back_with_type_times_and_history() {
    let mut vault = empty();
    for (at, kind) in (0..).zip(SecretType::ALL) {
        if kind != SecretType::PrivateKey {
            put(&mut vault, later(at), kind.as_str(), kind, kind.as_str().as_bytes(), 20);
        }
    }
    let mut vault = reopened(&mut vault);
    let listed = vault.list().unwrap();
    assert_eq!(listed.len(), 7);
    assert!(listed.is_sorted_by_key(|entry| entry.name.clone()));
    for entry in listed {
        assert_eq!(entry.newest.kind.as_str(), entry.name.as_str());
        assert_eq!((entry.newest.number, entry.newest.expires), (1, None));
        assert_eq!(entry.newest.created, entry.last_accessed);
        let bytes = get(&mut vault, entry.name.as_str()).unwrap();
        assert_eq!(bytes, entry.name.as_str().as_bytes());
    }
    vault.remove(&name("jwt")).unwrap();
    assert_eq!(vault.remove(&name("jwt")), Err(VaultError::EntryUnknown));
    assert_eq!(get(&mut reopened(&mut vault), "jwt"), Err(VaultError::EntryUnknown));
}

#[test]
fn the_newest_versions_are_kept_and_numbers_go_on() {
    let mut vault = empty();
    for n in 1..=13_u8 {
        assert_eq!(put(&mut vault, later(u64::from(n)), "a", SecretType::Opaque, &[n], n), u64::from(n));
    }
    let mut vault = reopened(&mut vault);
    let history = vault.history(&name("a")).unwrap();
    assert_eq!(history.len(), VERSIONS_MAX);
    assert_eq!(history.iter().map(|past| past.number).collect::<Vec<_>>(), (4..=13).collect::<Vec<_>>());
    assert_eq!(vault.get_version(NOW, &name("a"), 4).unwrap().expose(), [4]);
    assert_eq!(vault.get_version(NOW, &name("a"), 3).err(), Some(VaultError::EntryUnknown));
    assert_eq!(get(&mut vault, "a").unwrap(), [13]);
}

#[test]
fn an_expired_secret_is_given_out_only_by_number() {
    let mut vault = empty();
    let secret = |value| NewSecret { kind: SecretType::Jwt, value, expires: Some(later(10)) };
    vault.put(NOW, &name("a"), secret(&value(b"token")), fresh(2)).unwrap();
    assert!(vault.get(later(9), &name("a")).is_ok());
    assert_eq!(vault.get(later(10), &name("a")).err(), Some(VaultError::Expired));
    assert_eq!(vault.get_version(later(10), &name("a"), 1).unwrap().expose(), b"token");
}

#[test]
fn reading_changes_no_generation_and_is_remembered_with_the_next_change() {
    let mut vault = empty();
    put(&mut vault, NOW, "a", SecretType::Opaque, b"1", 2);
    let mut vault = reopened(&mut vault);
    vault.get(later(500), &name("a")).unwrap();
    vault.get(later(400), &name("a")).unwrap();
    assert!(!vault.is_changed());
    put(&mut vault, later(600), "b", SecretType::Opaque, b"2", 3);
    assert!(vault.is_changed());
    let vault = reopened(&mut vault);
    assert_eq!(vault.list().unwrap()[0].last_accessed, later(500));
}

#[test]
fn a_mac_key_and_a_private_key_are_used_without_being_shown() {
    let mut vault = empty();
    put(&mut vault, NOW, "mac", SecretType::ApiKey, b"Jefe", 2);
    put(&mut vault, NOW, "cert", SecretType::Certificate, b"x", 3);
    let tag = vault.hmac(NOW, &name("mac"), b"what do ya want for nothing?").unwrap();
    assert_eq!(tag[..4], [0x5b, 0xdc, 0xc1, 0x46], "RFC 4231, case 2");
    let refused = vault.hmac(NOW, &name("cert"), b"");
    assert_eq!(refused, Err(VaultError::WrongType(SecretType::Certificate)));
    let refused = vault.sign(NOW, &name("mac"), SignatureForm::Der, b"");
    assert_eq!(refused, Err(VaultError::WrongType(SecretType::ApiKey)));

    let ed25519 = data_encoding::BASE64.decode(cast::ED25519_PKCS8.as_bytes()).unwrap();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    for (at, pkcs8) in [(4, ed25519.as_slice()), (5, p256.as_ref())] {
        put(&mut vault, NOW, "signing", SecretType::PrivateKey, pkcs8, at);
        let public = vault.public_key(NOW, &name("signing")).unwrap();
        for form in [SignatureForm::Der, SignatureForm::Fixed] {
            let signature = vault.sign(NOW, &name("signing"), form, b"message").unwrap();
            public.verify(form, b"message", &signature).unwrap();
            assert!(public.verify(form, b"other", &signature).is_err());
        }
    }
    for no_key in [b"-----BEGIN".as_slice(), &[], &ed25519[..47]] {
        let secret = NewSecret { kind: SecretType::PrivateKey, value: &value(no_key), expires: None };
        let refused = vault.put(NOW, &name("other"), secret, fresh(6));
        assert_eq!(refused, Err(VaultError::Value(SecretType::PrivateKey)));
    }
}

#[test]
fn names_and_lengths_do_not_show_in_the_file() {
    let (_, file, _) = golden();
    let text = String::from_utf8(file.bytes().to_vec()).unwrap();
    assert!(!text.contains("payments") && !text.contains("B\u{fc}ro") && !text.contains("nothing"));
    let length = |bytes: &[u8]| {
        let mut vault = empty();
        put(&mut vault, NOW, "a", SecretType::Opaque, bytes, 2);
        vault.seal(NOW).unwrap().bytes().len()
    };
    assert_eq!(length(b""), length(&[1; 57]));
    assert_ne!(length(b""), length(&[1; 58]));
}

#[test]
fn a_write_that_failed_is_done_again_from_the_same_generation() {
    let mut vault = empty();
    let (first, again) = (vault.seal(later(1)).unwrap(), vault.seal(later(2)).unwrap());
    assert_eq!((first.head().generation, again.head().generation), (1, 1));
    vault.written(&again);
    assert!(!vault.is_changed());
    put(&mut vault, NOW, "a", SecretType::Opaque, b"1", 2);
    let second = vault.seal(later(3)).unwrap();
    put(&mut vault, NOW, "a", SecretType::Opaque, b"2", 3);
    vault.written(&second);
    assert!(vault.is_changed(), "the second version came after the file was made");
    assert_eq!(vault.head(), second.head());
}

#[test]
fn a_vault_is_compared_with_a_head_kept_elsewhere() {
    let (before, file, mut vault) = golden();
    let old = Sealed::parse(before.bytes()).unwrap().open(Unlock::Key(&key())).unwrap();
    let new = Sealed::parse(file.bytes()).unwrap().open(Unlock::Key(&key())).unwrap();
    assert_eq!(new.last_modified(), later(70));
    assert_eq!(new.standing(&file.head()), Standing::Same);
    assert_eq!(new.standing(&before.head()), Standing::OneAhead);
    assert_eq!(old.standing(&file.head()), Standing::Behind);
    for generation in [1, 2] {
        let fork = Head { generation, root: [0; 32], ..file.head() };
        assert_eq!(new.standing(&fork), Standing::Forked, "{generation}");
    }
    put(&mut vault, NOW, "z", SecretType::Opaque, b"", 30);
    assert_eq!(reopened(&mut vault).standing(&before.head()), Standing::FarAhead);
    let mut other = empty();
    other.written(&other.seal(NOW).unwrap());
    let file = Head { vault: "00000000000000000000000000000000".parse().unwrap(), ..file.head() };
    assert_eq!(other.standing(&file), Standing::OtherVault);
}

#[test]
fn slots_come_and_go_and_the_last_one_stays() {
    let mut vault = empty();
    assert_eq!(vault.remove_slot(&slot("key file")), Err(VaultError::LastSlot));
    assert_eq!(vault.remove_slot(&slot("nobody")), Err(VaultError::SlotUnknown));
    let offline = NewSlot::Offline(offline().recipient().unwrap());
    assert_eq!(vault.add_slot(NOW, &slot("key file"), offline, fresh(2)), Err(VaultError::SlotExists));
    vault.add_slot(NOW, &slot("safe"), offline, fresh(2)).unwrap();
    vault.remove_slot(&slot("key file")).unwrap();
    let file = vault.seal(NOW).unwrap();
    let sealed = Sealed::parse(file.bytes()).unwrap();
    assert_eq!(sealed.open(Unlock::Key(&key())).err(), Some(VaultError::NoSlot));
    assert!(sealed.open(Unlock::Offline(&cast::offline())).is_ok());

    for n in 3..18 {
        let added = vault.add_slot(NOW, &slot(&format!("{n}")), offline, fresh(n));
        assert_eq!(added, Ok(()));
    }
    assert!(matches!(vault.add_slot(NOW, &slot("x"), offline, fresh(18)), Err(VaultError::Full(_))));
}

#[test]
fn passphrases_are_few_long_and_expensive() {
    let mut vault = empty();
    let (good, short) = (anna(), passphrase("elevenchars"));
    let cheap = Work::Pbkdf2 { iterations: 219_999 };
    for (new, why) in [
        (NewSlot::Passphrase(&short, ARGON2ID), VaultError::Passphrase),
        (NewSlot::Passphrase(&good, cheap), VaultError::TooWeak("less than 220 000 iterations")),
    ] {
        assert_eq!(vault.add_slot(NOW, &slot("p"), new, fresh(2)), Err(why));
    }
    for n in 0..4 {
        let new = NewSlot::Passphrase(&good, ARGON2ID);
        vault.add_slot(NOW, &slot(&format!("{n}")), new, fresh(n)).unwrap();
    }
    let fifth = vault.add_slot(NOW, &slot("5"), NewSlot::Passphrase(&good, ARGON2ID), fresh(5));
    assert!(matches!(fifth, Err(VaultError::Full(_))));
}

#[test]
fn a_new_master_key_keeps_secrets_and_those_slots_whose_secret_is_held() {
    let (_, file, mut vault) = golden();
    let (anna, key) = (anna(), key());
    let listed = vault.list().unwrap();
    let dropped = vault.rotate(&[Unlock::Passphrase(&anna), Unlock::Key(&key)], fresh(40)).unwrap();
    assert_eq!(dropped, [slot("berta")]);
    let next = vault.seal(later(100)).unwrap();
    assert_eq!(next.head().generation, file.head().generation + 1);
    assert_eq!(next.head().vault, file.head().vault);

    let sealed = Sealed::parse(next.bytes()).unwrap();
    for unlock in [Unlock::Passphrase(&anna), Unlock::Key(&key), Unlock::Offline(&offline())] {
        let mut opened = sealed.open(unlock).unwrap();
        assert_eq!(opened.list().unwrap(), listed);
        assert_eq!(opened.get_version(NOW, &name("api/payments"), 1).unwrap().expose(), b"first");
        assert_eq!(get(&mut opened, "B\u{fc}ro/T\u{fc}r").unwrap(), "Schl\u{fc}ssel \u{1f511}".as_bytes());
    }
    assert_eq!(sealed.open(Unlock::Passphrase(&berta())).err(), Some(VaultError::WrongSecret));

    // No id, salt or ciphertext of the old file is in the new one.
    let strings = |bytes: &[u8]| -> std::collections::BTreeSet<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split('"').filter(|part| part.len() >= 16 && !part.contains(' ')).map(str::to_owned).collect()
    };
    let (old, new) = (strings(file.bytes()), strings(next.bytes()));
    let same: Vec<_> = old.intersection(&new).filter(|part| !part.contains(':')).collect();
    let recipient = data_encoding::BASE64.encode(&offline().recipient().unwrap().0);
    // What stays: the vault's id, the recipient's key, a name of the format, and the root that the new file follows.
    let root = data_encoding::HEXLOWER.encode(&file.head().root);
    let allowed = [file.head().vault.to_string(), recipient, "masterKeyDerivation".to_owned(), root];
    assert!(same.iter().all(|part| allowed.contains(part)), "{same:?}");
}

#[test]
fn a_rotation_that_would_lock_everybody_out_changes_nothing() {
    let mut vault = empty();
    put(&mut vault, NOW, "a", SecretType::Opaque, b"1", 2);
    let before = vault.seal(NOW).unwrap();
    assert_eq!(vault.rotate(&[], fresh(3)), Err(VaultError::LastSlot));
    assert_eq!(vault.rotate(&[Unlock::Key(&Secret::new([8; 32]))], fresh(3)), Err(VaultError::LastSlot));
    assert_eq!(vault.seal(NOW).unwrap().bytes(), before.bytes());
}

#[test]
fn a_vault_that_is_full_says_so_and_stays_as_it_is() {
    let mut vault = empty();
    let big = value(&[1; 65_536]);
    let secret = NewSecret { kind: SecretType::Opaque, value: &big, expires: None };
    // 32 MiB in buckets of 128 KiB.
    for n in 0..256_u32 {
        vault.put(NOW, &name(&format!("{}", n / 10)), secret, fresh(1)).unwrap();
    }
    let refused = vault.put(NOW, &name("x"), secret, fresh(1));
    assert!(matches!(refused, Err(VaultError::Full(_))), "{refused:?}");
    let file = vault.seal(NOW).unwrap();
    let opened = Sealed::parse(file.bytes()).unwrap().open(Unlock::Key(&key())).unwrap();
    assert_eq!(opened.list().unwrap().len(), 26);
}

#[test]
fn nothing_secret_is_printed() {
    let (_, file, vault) = golden();
    let sealed = Sealed::parse(file.bytes()).unwrap();
    let shown = format!("{vault:?} {sealed:?} {:?} {:?}", Unlock::Key(&key()), offline());
    let id = vault.vault();
    let expected =
        format!("Opened({id} generation 2) Sealed({id} generation 2) Key(Secret(..)) OfflineKey(..)");
    assert_eq!(shown, expected);
    assert_eq!(vault.slots().count(), sealed.slots().count());
    assert_eq!((vault.environment().as_str(), sealed.environment().as_str()), ("machine", "machine"));
}
