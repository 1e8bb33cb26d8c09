//! A vault that a real TPM in software opens and counts.

use kos_emulator::SoftTpm;
use kos_hardware::tpm::{CounterIndex, Pcrs, Tpm};

use super::*;

const INDEX: &str = "0x01806b01";

struct Machine {
    disk: Disk,
    tpm: SoftTpm,
}

impl Machine {
    fn new() -> Self {
        Self { disk: Disk::new(), tpm: SoftTpm::new() }
    }

    fn place(&self, opener: Opener) -> Place {
        let place = self.disk.place(opener);
        let tpm = TpmPlace {
            address: self.tpm.address().parse().unwrap(),
            counter: Some(INDEX.parse().unwrap()),
            ..place.tpm
        };
        Place { tpm, ..place }
    }

    fn open(&self, opener: Opener) -> Result<Keyring, KeyringError> {
        Keyring::open(self.place(opener), NOW)
    }

    fn counter(&self) -> u64 {
        let tpm = Tpm::open(&self.tpm.address().parse().unwrap()).unwrap();
        tpm.counter(INDEX.parse::<CounterIndex>().unwrap()).read().unwrap()
    }

    fn keep(&self) -> Vec<(String, Vec<u8>)> {
        ["secrets/machine.json", "state/machine.anchor", "secrets/machine.tpm"]
            .map(|name| (name.to_owned(), fs::read(self.disk.0.path().join(name)).unwrap()))
            .to_vec()
    }

    fn put_back(&self, kept: &[(String, Vec<u8>)]) {
        for (name, bytes) in kept {
            fs::write(self.disk.0.path().join(name), bytes).unwrap();
        }
    }
}

#[test]
fn a_tpm_opens_it_and_an_old_disk_put_back_as_a_whole_is_found() {
    let mut machine = Machine::new();
    let mut keyring = machine.open(Opener::Tpm).unwrap();
    put(&mut keyring, "a", "1").unwrap();
    let old = machine.keep();
    put(&mut keyring, "a", "2").unwrap();
    let new = machine.keep();
    assert!(keyring.protection().rollback.contains("counter"));
    drop(keyring);
    machine.tpm.kill();
    let absent = machine.open(Opener::Tpm).unwrap_err();
    assert_eq!(absent.code(), code::vault::KEYRING_UNOPENED);
    machine.tpm.start();
    assert_eq!(get(&mut machine.open(Opener::Tpm).unwrap(), "a").unwrap(), "2");

    // Vault, anchor and all: the counter goes on.
    machine.put_back(&old);
    assert_eq!(machine.open(Opener::Tpm).unwrap_err().code(), code::vault::VAULT_BEHIND);
    machine.put_back(&new);
    assert_eq!(get(&mut machine.open(Opener::Tpm).unwrap(), "a").unwrap(), "2");
    assert!(!machine.disk.0.path().join("secrets/machine.key").exists());
}

#[test]
fn a_file_that_was_written_and_not_counted_is_taken_and_counted() {
    let mut machine = Machine::new();
    let mut keyring = machine.open(Opener::Tpm).unwrap();
    put(&mut keyring, "a", "1").unwrap();
    let before = machine.counter();
    // The TPM goes between the file and the counter, as the power might.
    machine.tpm.kill();
    let refused = put(&mut keyring, "a", "2").unwrap_err();
    assert_eq!(refused.code(), code::hardware::HARDWARE_ABSENT);
    drop(keyring);
    machine.tpm.start();
    assert_eq!(machine.counter(), before);
    let mut keyring = machine.open(Opener::Tpm).unwrap();
    assert_eq!(get(&mut keyring, "a").unwrap(), "2");
    assert_eq!(machine.counter(), before + 1);
    put(&mut keyring, "a", "3").unwrap();
    assert_eq!(machine.counter(), before + 2);
}

#[test]
fn what_another_tpm_sealed_or_this_one_before_it_was_cleared_stays_closed() {
    let mut machine = Machine::new();
    put(&mut machine.open(Opener::Tpm).unwrap(), "a", "1").unwrap();
    let kept = machine.keep();
    let other = std::mem::take(&mut machine.tpm);
    let refused = machine.open(Opener::Tpm).unwrap_err();
    assert_eq!(refused.code(), code::vault::KEYRING_UNOPENED);
    assert!(refused.to_string().contains("another TPM"), "{refused}");
    machine.tpm = other;
    machine.open(Opener::Tpm).unwrap();
    machine.tpm.judge(&["tpm2_clear", "-c", "p"]);
    assert_eq!(machine.open(Opener::Tpm).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    assert_eq!(machine.keep(), kept, "a refusal changes nothing");
}

#[test]
fn a_lost_counter_stops_it_until_somebody_says_that_there_is_none() {
    let machine = Machine::new();
    put(&mut machine.open(Opener::Tpm).unwrap(), "a", "1").unwrap();
    machine.tpm.judge(&["tpm2_nvundefine", "-C", "o", INDEX]);
    let refused = machine.open(Opener::Tpm).unwrap_err();
    assert_eq!(refused.code(), code::hardware::HARDWARE_COUNTER_LOST);
    let place = machine.place(Opener::Tpm);
    let without = Place { tpm: TpmPlace { counter: None, ..place.tpm.clone() }, ..place };
    let mut keyring = Keyring::open(without, NOW).unwrap();
    assert_eq!(get(&mut keyring, "a").unwrap(), "1");
    put(&mut keyring, "a", "2").unwrap();
    assert!(!keyring.protection().rollback.contains("counter"));
    drop(keyring);
    // And with the counter again: it is tied anew.
    let mut keyring = machine.open(Opener::Tpm).unwrap();
    let tied = machine.counter();
    put(&mut keyring, "a", "3").unwrap();
    assert_eq!(machine.counter(), tied + 1);
    assert_eq!(get(&mut machine.open(Opener::Tpm).unwrap(), "a").unwrap(), "3");
}

#[test]
fn a_key_file_gives_way_to_the_tpm_and_comes_back() {
    let machine = Machine::new();
    put(&mut machine.open(Opener::KeyFile).unwrap(), "a", "1").unwrap();
    let mut keyring = machine.open(Opener::Tpm).unwrap();
    assert_eq!(get(&mut keyring, "a").unwrap(), "1");
    assert!(!machine.disk.0.path().join("secrets/machine.key").exists());
    put(&mut keyring, "a", "2").unwrap();
    drop(keyring);
    assert_eq!(get(&mut machine.open(Opener::Tpm).unwrap(), "a").unwrap(), "2");

    let mut keyring = machine.open(Opener::KeyFile).unwrap();
    put(&mut keyring, "a", "3").unwrap();
    assert!(!machine.disk.0.path().join("secrets/machine.tpm").exists());
    drop(keyring);
    machine.tpm.judge(&["tpm2_clear", "-c", "p"]);
    assert_eq!(
        get(&mut machine.open(Opener::KeyFile).unwrap(), "a").unwrap(),
        "3",
        "nothing of it is the TPM's"
    );
}

#[test]
fn a_tpm_bound_to_the_state_of_the_machine_opens_in_that_state_alone() {
    let machine = Machine::new();
    let place = machine.place(Opener::Tpm);
    let bound = Place { tpm: TpmPlace { pcrs: "16".parse().unwrap(), ..place.tpm.clone() }, ..place };
    put(&mut Keyring::open(bound.clone(), NOW).unwrap(), "a", "1").unwrap();
    assert_eq!(get(&mut Keyring::open(bound.clone(), NOW).unwrap(), "a").unwrap(), "1");
    machine.tpm.judge(&["tpm2_pcrextend", &format!("16:sha256={}", "ab".repeat(32))]);
    let refused = Keyring::open(bound, NOW).unwrap_err();
    assert_eq!(refused.code(), code::vault::KEYRING_UNOPENED);
}

#[test]
fn whatever_fails_while_a_tpm_seals_anew_the_way_in_of_before_stays() {
    let mut machine = Machine::new();
    let place = machine.place(Opener::Tpm);
    let at = |counter: Option<&str>, pcrs: &str| {
        let tpm = TpmPlace {
            counter: counter.map(|index| index.parse().unwrap()),
            pcrs: if pcrs.is_empty() { Pcrs::NONE } else { pcrs.parse().unwrap() },
            ..place.tpm.clone()
        };
        Place { tpm, ..place.clone() }
    };
    put(&mut Keyring::open(at(None, ""), NOW).unwrap(), "a", "1").unwrap();
    // An index that is something else.
    machine.tpm.judge(&["tpm2_nvdefine", "0x01806b77", "-C", "o", "-s", "8", "-a", "ownerread|ownerwrite"]);
    let refused = Keyring::open(at(Some("0x01806b77"), ""), NOW).unwrap_err();
    assert_eq!(refused.code(), code::hardware::HARDWARE_COUNTER_LOST);
    assert_eq!(get(&mut Keyring::open(at(None, ""), NOW).unwrap(), "a").unwrap(), "1");
    // No room for the vault, after the TPM has sealed another key.
    let blocked = place.vault.with_file_name("machine.json.new");
    fs::create_dir(&blocked).unwrap();
    assert_eq!(Keyring::open(at(None, "16"), NOW).unwrap_err().code(), code::config::FILE_UNWRITABLE);
    fs::remove_dir(&blocked).unwrap();
    assert!(place.tpm.next().exists());
    assert_eq!(get(&mut Keyring::open(at(None, ""), NOW).unwrap(), "a").unwrap(), "1");
    assert!(!place.tpm.next().exists());
    // The power goes between the vault and the place of what was sealed.
    let before = fs::read(&place.tpm.sealed).unwrap();
    drop(Keyring::open(at(None, "16"), NOW).unwrap());
    fs::rename(&place.tpm.sealed, place.tpm.next()).unwrap();
    fs::write(&place.tpm.sealed, &before).unwrap();
    assert_eq!(get(&mut Keyring::open(at(None, "16"), NOW).unwrap(), "a").unwrap(), "1");
    assert!(!place.tpm.next().exists());
    machine.tpm.kill();
}

#[test]
fn what_the_key_is_bound_to_follows_the_settings_and_is_told_as_it_is() {
    let machine = Machine::new();
    let place = machine.place(Opener::Tpm);
    let bound = Place { tpm: TpmPlace { pcrs: "16".parse().unwrap(), ..place.tpm.clone() }, ..place.clone() };
    put(&mut Keyring::open(place.clone(), NOW).unwrap(), "a", "1").unwrap();
    let told = Keyring::open(bound.clone(), NOW).unwrap().protection();
    assert!(told.against.contains("PCRs"), "{told:?}");
    machine.tpm.judge(&["tpm2_pcrextend", &format!("16:sha256={}", "ab".repeat(32))]);
    assert_eq!(Keyring::open(bound, NOW).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
    // What is bound cannot be unbound in another state either.
    assert_eq!(Keyring::open(place, NOW).unwrap_err().code(), code::vault::KEYRING_UNOPENED);
}

#[test]
fn a_disk_of_before_the_counter_was_tied_again_is_an_old_one() {
    let machine = Machine::new();
    let place = machine.place(Opener::Tpm);
    let without = Place { tpm: TpmPlace { counter: None, ..place.tpm.clone() }, ..place };
    put(&mut machine.open(Opener::Tpm).unwrap(), "a", "1").unwrap();
    let old = machine.keep();
    put(&mut Keyring::open(without, NOW).unwrap(), "a", "2").unwrap();
    drop(machine.open(Opener::Tpm).unwrap());
    let new = machine.keep();
    machine.put_back(&old);
    assert_eq!(machine.open(Opener::Tpm).unwrap_err().code(), code::vault::VAULT_BEHIND);
    machine.put_back(&new);
    assert_eq!(get(&mut machine.open(Opener::Tpm).unwrap(), "a").unwrap(), "2");
}
