//! The witness that a device is for the log of its authority: it cosigns what goes on from what it cosigned before.
//!
//! Shape, in the state folder: `witness.key` says whose memory this is (a verifier key, and a line `signed` once it has
//! signed something, without whose record it is no memory any more), `witness.log` is the record of the
//! log, and `witness.conflict-<16 hex>` are two checkpoints that contradict each other. The key itself is in the vault.
//!
//! Invariants: the record is durable before the key signs. Who has lost its memory makes a new key, so its word is not
//! taken for that of the witness which knew more. Evidence is never removed but with the device.
//!
//! Errors: [`WitnessFault`]; the authority gets the code and no cosignature.
//!
//! Source: `docs/spec/klp.md` KLP-80 to KLP-82; `docs/spec/audit.md` AUD-90 to AUD-102.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kos_audit::{
    AnyLogKey, Conflict, LogKey, Witness, WitnessKey,
    witness::{Answer, Output, Record},
};
use kos_base::{
    AuthorityName, Code, DeviceId, PublicKey, Timestamp, code, digest::sha256, key::SignatureForm,
};
use kos_klp::body::WitnessAnswer;
use kos_net::keys::SigningKey;

use crate::{
    keystore::{Keystore, KeystoreError},
    root::{RootError, file},
};

const KEY: &str = "witness.key";
const SIGNED: &str = "signed";
const RECORD: &str = "witness.log";
const CONFLICT: &str = "witness.conflict-";
/// Most files of evidence. Whoever has the log's key could have us keep any number; the first ones say enough.
const CONFLICTS_MAX: usize = 16;

/// Why the device does not cosign.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessFault {
    /// What it remembers cannot be read or written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its key cannot be had.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// What it remembers is not what it wrote, or is of another log.
    #[error("{} is not what this device remembers of the log", .0.display())]
    Memory(PathBuf),
    /// The names or keys cannot be used.
    #[error("no key of a log or witness: {0}")]
    Key(String),
}

impl WitnessFault {
    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Root(error) => error.code(),
            Self::Keystore(error) => error.code(),
            Self::Memory(_) => code::audit::WITNESS_MEMORY,
            Self::Key(_) => code::config::INTERNAL,
        }
    }
}

/// Whose log it is, and who cosigns it.
pub(crate) struct Parties<'a> {
    pub(crate) authority: &'a AuthorityName,
    pub(crate) device: &'a DeviceId,
    pub(crate) log: &'a PublicKey,
}

/// The witness, once it was asked.
#[derive(Debug)]
pub(crate) struct DeviceWitness {
    folder: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    witness: Witness,
    key: SigningKey,
    log: AnyLogKey,
    /// The key file says that something was signed.
    has_signed: bool,
}

impl DeviceWitness {
    /// The one whose memory is in the state folder.
    pub(crate) fn new(state: &Path) -> Self {
        Self { folder: state.to_owned(), open: None }
    }

    /// Answers a request, and gives back the contradictions that it showed and that were not known before.
    ///
    /// # Errors
    /// When key or memory cannot be had.
    pub(crate) fn answer(
        &mut self,
        now: Timestamp,
        keys: &Keystore,
        parties: &Parties<'_>,
        request: &[u8],
    ) -> Result<(WitnessAnswer, Vec<Conflict>), WitnessFault> {
        let log = LogKey::new(parties.authority, parties.log.clone());
        let log = AnyLogKey::from(&log.map_err(|e| WitnessFault::Key(e.to_string()))?);
        if self.open.as_ref().is_none_or(|open| open.log != log) {
            self.open = Some(self.open(now, keys, parties, log.clone())?);
        }
        let Some(open) = &mut self.open else { return Err(WitnessFault::Key("not open".to_owned())) };
        let key = open.witness.key().to_string();
        if request.is_empty() {
            return Ok((WitnessAnswer { key, status: 0, body: String::new(), held: None }, Vec::new()));
        }
        let (mut answer, mut conflicts) = (Answer::Unavailable, Vec::new());
        open.witness.handle_request(now, request);
        while let Some(output) = open.witness.poll_output() {
            match output {
                Output::Persist(record) => {
                    let path = self.folder.join(RECORD);
                    let kept = file::replace(&path, record.to_string().as_bytes(), file::PRIVATE);
                    let kept = kept.and_then(|()| {
                        if open.has_signed {
                            return Ok(());
                        }
                        let text = format!("{key}\n{SIGNED}\n");
                        file::replace(&self.folder.join(KEY), text.as_bytes(), file::PRIVATE)
                    });
                    open.has_signed |= kept.is_ok();
                    if let Err(error) = kept {
                        tracing::error!(%error, "what was cosigned cannot be remembered");
                        open.witness.handle_failure();
                    }
                }
                Output::Keep(conflict) => {
                    if keep(&self.folder, &conflict)? {
                        conflicts.push(conflict);
                    }
                }
                Output::Sign(message) => {
                    let signed = open.key.sign(SignatureForm::Fixed, message.as_bytes());
                    match signed.ok().and_then(|signature| signature.try_into().ok()) {
                        Some(signature) => open.witness.handle_signature(signature),
                        None => open.witness.handle_failure(),
                    }
                }
                Output::Send(given) => answer = given,
            }
        }
        let held = open.witness.held(log.origin()).map(Record::checkpoint);
        let held = held.filter(|_| matches!(answer, Answer::OtherSize(_) | Answer::NotConsistent));
        Ok((WitnessAnswer { key, status: answer.status(), body: answer.body(), held }, conflicts))
    }

    /// Its verifier key, and size and time of the newest checkpoint that it cosigned; nothing before it was asked.
    pub(crate) fn standing(&self) -> Option<(String, Option<(u64, Timestamp)>)> {
        let key = file::read(&self.folder.join(KEY)).ok().flatten()?;
        let key = String::from_utf8_lossy(&key).lines().next().unwrap_or_default().to_owned();
        let record = read_record(&self.folder).ok().flatten();
        Some((key, record.map(|record| (record.head().size, record.at()))))
    }

    /// How many contradictions it keeps.
    pub(crate) fn conflicts(&self) -> usize {
        conflicts_in(&self.folder)
    }

    fn open(
        &self,
        now: Timestamp,
        keys: &Keystore,
        parties: &Parties<'_>,
        log: AnyLogKey,
    ) -> Result<Open, WitnessFault> {
        let name = format!("{}/{}", parties.authority, parties.device);
        let key_of = |key: &SigningKey| {
            WitnessKey::new(&name, key.public().clone()).map_err(|e| WitnessFault::Key(e.to_string()))
        };
        let path = self.folder.join(KEY);
        let owner = file::read(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let record = read_record(&self.folder);
        if let (Some(owner), Some(key)) = (owner, keys.witness(now)?)
            && owner.lines().next() == Some(key_of(&key)?.to_string().as_str())
            && (owner.lines().nth(1) != Some(SIGNED) || !matches!(record, Ok(None)))
        {
            let record = record?;
            let has_signed = record.is_some();
            if has_signed && owner.lines().nth(1) != Some(SIGNED) {
                file::replace(&path, format!("{}\n{SIGNED}\n", key_of(&key)?).as_bytes(), file::PRIVATE)?;
            }
            let mut witness = Witness::new(key_of(&key)?);
            let watched = witness.watch(log.clone(), record);
            watched.map_err(|_| WitnessFault::Memory(self.folder.join(RECORD)))?;
            return Ok(Open { witness, key, log, has_signed });
        }
        // Who has lost its memory, or is in another fleet, is another witness.
        let key = keys.make_witness(now)?;
        let own = key_of(&key)?;
        file::remove(&self.folder.join(RECORD))?;
        file::replace(&path, format!("{own}\n").as_bytes(), file::PRIVATE)?;
        let mut witness = Witness::new(own);
        witness.watch(log.clone(), None).map_err(|_| WitnessFault::Memory(self.folder.join(RECORD)))?;
        Ok(Open { witness, key, log, has_signed: false })
    }
}

fn read_record(folder: &Path) -> Result<Option<Record>, WitnessFault> {
    let path = folder.join(RECORD);
    let Some(bytes) = file::read(&path)? else { return Ok(None) };
    let text = core::str::from_utf8(&bytes).ok().and_then(|text| Record::parse(text).ok());
    text.map(Some).ok_or(WitnessFault::Memory(path))
}

/// Keeps evidence, durably. Whether it is new.
fn keep(folder: &Path, conflict: &Conflict) -> Result<bool, RootError> {
    let text = conflict.to_string();
    let mut digest = data_encoding::HEXLOWER.encode(&sha256(text.as_bytes()));
    digest.truncate(16);
    let path = folder.join(format!("{CONFLICT}{digest}"));
    if path.exists() || conflicts_in(folder) >= CONFLICTS_MAX {
        return Ok(false);
    }
    file::replace(&path, text.as_bytes(), file::PRIVATE)?;
    Ok(true)
}

fn conflicts_in(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(CONFLICT)).count()
}

#[cfg(test)]
mod tests {
    use kos_audit::{Checkpoint, TreeHash, TreeHead, witness::AddCheckpoint};
    use kos_base::KeyAlgorithm;
    use kos_hardware::tpm::TpmAddress;
    use kos_keyring::{Anchor, Home, Opener, Place, Signers, TpmPlace};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);

    #[test]
    fn a_witness_whose_record_is_gone_signs_with_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| folder.path().join(name);
        let place = Place {
            vault: in_folder("machine.json"),
            anchor: Anchor::at(in_folder("machine.anchor")),
            key_file: in_folder("machine.key"),
            credentials: None,
            tpm: TpmPlace::unused(in_folder("machine.tpm")),
            opener: Opener::KeyFile,
        };
        let keys =
            Keystore::open(place, Signers::new(Home::Vault, TpmAddress::default(), None), NOW).unwrap();
        let signer = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let authority: AuthorityName = "attic".parse().unwrap();
        let device: DeviceId = "kdev-0000000000000001".parse().unwrap();
        let parties = Parties { authority: &authority, device: &device, log: signer.public() };
        let ask = |request: &str| {
            let mut witness = DeviceWitness::new(folder.path());
            let answer = witness.answer(NOW, &keys, &parties, request.as_bytes()).unwrap().0;
            assert_eq!(witness.standing().unwrap().0, answer.key);
            (answer.status, answer.key)
        };
        let log = LogKey::new(&authority, signer.public().clone()).unwrap();
        let head = TreeHead { size: 1, root: TreeHash::from_bytes([7; 32]) };
        let checkpoint = Checkpoint { origin: log.origin().clone(), head, time: NOW };
        let signature = signer.sign(SignatureForm::Fixed, checkpoint.to_be_signed().as_bytes()).unwrap();
        let signed = checkpoint.finish(&log, signature.try_into().unwrap());
        let request = AddCheckpoint::new(0, Vec::new(), &signed).to_string();

        let key = ask("").1;
        assert_eq!(ask("").1, key, "it has signed nothing yet");
        assert_eq!(ask(&request), (200, key.clone()));
        assert_eq!(ask(&request), (409, key.clone()));
        fs::remove_file(folder.path().join(RECORD)).unwrap();
        let (status, other) = ask(&request);
        assert!(status == 200 && other != key, "the key that signed a tree signs no other");
        assert_eq!(ask(&request), (409, other));
    }
}
