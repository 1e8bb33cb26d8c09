//! What happens to a vault in the hands of somebody without its key: malice, damage, and parts in other places.

mod flips;
mod malice;
mod places;

use kos_base::{Secret, Timestamp};

use crate::{Opened, Sealed, SecretType, Unlock, VaultError, keys::Keys, shape, state::State};

/// Written and compared in `tests/vectors.rs`.
const GOLDEN: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/vault.json");
/// Written and compared there as well; its passkey gives 32 bytes of 11.
const PASSKEY: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/passkey.json");
const BEFORE: &[u8] = include_bytes!("../../../../tests/vectors/vault/golden/before.json");

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_007);

/// The secret of the golden key slot.
fn key() -> Secret<32> {
    Secret::new([7; 32])
}

/// Reads everything that a file holds, as far as it lets itself be read.
fn read_all(bytes: &[u8]) -> Result<Opened, VaultError> {
    let mut opened = Sealed::parse(bytes)?.open(Unlock::Key(&key()))?;
    for entry in opened.list()? {
        for past in opened.history(&entry.name)? {
            opened.get_version(NOW, &entry.name, past.number)?;
        }
    }
    Ok(opened)
}

/// The golden vault after somebody changed it who knows the format and has no key: the checksum fits, the MAC is the old one.
fn forged(change: impl FnOnce(&mut State)) -> Vec<u8> {
    let claim = shape::read(GOLDEN).unwrap();
    let mut state = claim.state;
    change(&mut state);
    shape::write(&state, state.root(), claim.mac).unwrap()
}

/// The golden vault after its owner changed it by hand: checksum and MAC fit.
fn owned(change: impl FnOnce(&mut State)) -> Vec<u8> {
    let opened = Sealed::parse(GOLDEN).unwrap().open(Unlock::Key(&key())).unwrap();
    let mut state = opened.parts().0.clone();
    change(&mut state);
    let keys = Keys::of(opened.parts().1.master(), &state.vault, &state.environment).unwrap();
    shape::write(&state, state.root(), keys.mac(&state.root())).unwrap()
}

#[test]
fn the_golden_vault_is_read_whole() {
    let mut opened = read_all(GOLDEN).unwrap();
    assert_eq!(opened.list().unwrap().len(), 5);
    let signing = "signing".parse().unwrap();
    assert!(opened.public_key(NOW, &signing).is_ok());
    assert_eq!(opened.list().unwrap()[4].newest.kind, SecretType::PrivateKey);
    assert_eq!(owned(|_| ()), GOLDEN);
    assert_eq!(forged(|_| ()), GOLDEN);
}
