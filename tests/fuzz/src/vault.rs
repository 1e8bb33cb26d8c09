//! Any bytes as a vault and as a file of the source document: reading ends, no work of a passphrase is done for it, and
//! with the secret of the golden vault nothing opens that its keys did not seal.

use kos_base::Secret;
use kos_vault::{Head, Opened, PrfOutput, Sealed, SourceFile, Unlock, VaultError};

use crate::Verdict;

/// The two generations of the vault of `tests/vectors/vault/golden`, one that a passkey opens as well, the secret of their key
/// slots, and what the passkey gives.
const GOLDEN: [&[u8]; 3] = [
    include_bytes!("../../../fuzz/corpus/vault/before.json"),
    include_bytes!("../../../fuzz/corpus/vault/vault.json"),
    include_bytes!("../../../fuzz/corpus/vault/passkey.json"),
];
/// Sealed with its keys by hand, from parts that are not in their places: it opens, and does not decrypt.
const EXCHANGED: &[u8] =
    include_bytes!("../../../tests/vectors/vault/malice/exchanged-under-a-good-mac/vault.json");
const KEY: Secret<32> = Secret::new([7; 32]);
const GIVEN: [u8; 32] = [11; 32];

/// Reads the bytes as both.
pub fn run(bytes: &[u8]) -> Verdict {
    let sealed = Sealed::parse(bytes);
    if let Ok(sealed) = &sealed {
        let _ =
            (sealed.vault(), sealed.environment(), sealed.slots().count(), sealed.passkey_slots().count());
        let output = PrfOutput::new(Secret::new(GIVEN)).expect("it is not zero");
        for unlock in [Unlock::Key(&KEY), Unlock::Passkey(&output)] {
            match sealed.open(unlock) {
                Ok(opened) => check(sealed, &opened),
                Err(VaultError::NoSlot | VaultError::WrongSecret | VaultError::Forged) => {}
                Err(other) => assert_eq!(other.to_string(), "", "the file was read already"),
            }
        }
    }
    let source = SourceFile::parse(bytes);
    assert!(sealed.is_err() || source.is_err(), "no file is both");
    Verdict::of(&sealed).or(Verdict::of(&source))
}

/// What opens is one of the golden files, however its JSON is written, and everything in it is whole.
fn check(sealed: &Sealed, opened: &Opened) {
    assert_eq!(sealed.head(), opened.head());
    if sealed.head() == head(EXCHANGED) {
        assert!(matches!(opened.list(), Err(VaultError::Damaged(_))));
        return;
    }
    assert!(GOLDEN.map(head).contains(&opened.head()), "nobody sealed this");
    for entry in opened.list().expect("what was sealed decrypts") {
        assert!(opened.history(&entry.name).is_ok_and(|history| !history.is_empty()));
    }
}

fn head(file: &[u8]) -> Head {
    Sealed::parse(file).expect("a file of the vectors").head()
}
