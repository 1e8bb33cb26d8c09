//! Offline keys: made and kept by people, away from the authority, for the day when everything else is lost.
//!
//! Shape: a key is `kos-offline-secret:` and a recipient `kos-offline:`, followed by base32 (RFC 4648, section 6) of the 32
//! bytes and three bytes of a checksum, in groups of four. It is read in any case, and dashes and blanks do not count, so
//! that it can be typed from paper. A file has one key; lines that begin with `#` are for people.
//!
//! Invariants: the private half goes into its file and nowhere else. A recovery sends what it agrees on with one slot.
//!
//! Errors: a slip of the pen is found by the checksum, and a key in the place of a recipient by its label.
//!
//! What it does not do: keep the file from whoever has its disk. It opens every file of a vault that has a slot for it.
//!
//! Source: `docs/spec/vault.md` KVS-17; RFC 7748.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use clap::{Args, Subcommand};
use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use kos_api::{
    Kind, routes,
    text::SecretText,
    vault::{AddOfflineKey, Vault as Item},
};
use kos_base::{AgreementKey, Secret, code, text::printable};
use kos_vault::{OfflineKey, VaultError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{CodeFlag, PassphraseFlag, Place, Removal, Slot, change};
use crate::{
    Fault,
    arguments::ChangeFlags,
    chance, clock,
    files::{self, Readers},
    output::{Column, Shown},
    session::{Ending, Session},
};

const SECRET: &str = "kos-offline-secret";
const RECIPIENT: &str = "kos-offline";
/// Bytes of the checksum; lets one slip of the pen in 16 million through.
const CHECK_BYTES: usize = 3;
/// Longest file of a key, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// What to do with offline keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Offline {
    /// Makes a key into a file, without any server, and prints its public half.
    Make(Make),
    /// Lets an offline key open a vault.
    Add(Add),
    /// Removes the slot of an offline key.
    Remove(Remove),
}

/// `vault offline-key make`
#[derive(Debug, Args)]
pub(crate) struct Make {
    /// The new file; only you can read it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// `vault offline-key add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    place: Place,
    /// The public half, as `make` printed it.
    #[arg(long, value_name = "kos-offline:..", required_unless_present = "key_file")]
    recipient: Option<String>,
    /// The file of the key, of which the public half is sent.
    #[arg(long, value_name = "FILE", conflicts_with = "recipient")]
    key_file: Option<PathBuf>,
    /// What its slot is called; without it, `offline-` and the beginning of the public half.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault offline-key remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The slot, as `vault status --env NAME` lists it.
    name: String,
    #[command(flatten)]
    removal: Removal,
}

/// A key that was made.
#[derive(Debug, Serialize, Deserialize)]
struct OfflineKeyFile {
    /// Where it is.
    file: String,
    /// Its public half.
    recipient: String,
}

impl Kind for OfflineKeyFile {
    const KIND: &'static str = "OfflineKeyFile";
}

impl Shown for OfflineKeyFile {
    const NAME: &'static str = "recipient";
    const PLURAL: &'static str = "keys";
    const COLUMNS: &'static [Column<'static>] =
        &[Column::of("file", "file"), Column::of("recipient", "recipient")];
}

impl Offline {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Make(make) => make.run(session),
            Self::Add(add) => add.run(session).await,
            Self::Remove(remove) => remove.run(session).await,
        }
    }
}

impl Make {
    fn run(&self, session: &Session) -> Result<Ending, Fault> {
        // A key that is overwritten is lost, and with it whatever it alone opens.
        if std::fs::symlink_metadata(&self.out).is_ok() {
            let message = format!("`{}` is there already", printable(&self.out.display().to_string(), 200));
            return Err(Fault::usage(message, "name a new file with --out FILE"));
        }
        let mut bytes = chance::bytes()?;
        let key = Key(Secret::new(bytes));
        bytes.zeroize();
        let recipient = write(RECIPIENT, &key.public()?);
        let text = Zeroizing::new(format!(
            "# A kOS offline key, made at {}. Whoever has it and the file of a vault that has\n\
             # a slot for it opens the vault. Keep it away from the authority and its backups.\n\
             # Its public half, which is no secret: {}\n{}\n",
            clock::now(),
            *recipient,
            *write(SECRET, key.0.expose()),
        ));
        files::write(&self.out, text.as_bytes(), Readers::Owner)?;
        let file = printable(&self.out.display().to_string(), 4096);
        session.printer.item(&OfflineKeyFile { file, recipient: recipient.to_string() })?;
        Ok(Ending::Done)
    }
}

impl Add {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let recipient = match (&self.key_file, &self.recipient) {
            (Some(path), _) => Key::read(path)?.public()?,
            (None, Some(text)) => *parse(RECIPIENT, text)
                .ok_or_else(|| {
                    let message = "this is no public half of an offline key";
                    Fault::usage(message, "compare it with what `kosctl vault offline-key make` printed")
                })?
                .expose(),
            (None, None) => {
                return Err(Fault::usage("there is no key", "name it with --recipient or --key-file"));
            }
        };
        let recipient = HEXLOWER.encode(&recipient);
        let name = self.name.unwrap_or_else(|| format!("offline-{}", recipient.get(..8).unwrap_or_default()));
        let (client, values) = (session.client()?, [self.place.name(), name.as_str()]);
        let body = AddOfflineKey {
            passphrase: self.passphrase.read()?,
            recipient,
            code: self.code.read(session, &client, values[0], &self.change).await?,
        };
        change::<Item, _>(session, &client, &routes::VAULT_OFFLINE_ADD, &values, &body, &self.change).await
    }
}

impl Remove {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let question =
            format!("let the offline key {} open {} no more", self.name, self.removal.place.name());
        let slot = Slot {
            kind: "offline key",
            name: &self.name,
            list: "kosctl vault status --env NAME",
            is_meant: |slot| slot.recipient.is_some(),
        };
        self.removal.run(session, &routes::VAULT_OFFLINE_REMOVE, (Some(slot), &question)).await
    }
}

/// The private half of an offline key.
pub(super) struct Key(Secret<32>);

impl Key {
    /// The key in a file.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let text = Zeroizing::new(files::read(path, FILE_BYTES_MAX)?);
        let text = core::str::from_utf8(&text).unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let malformed = |reason: &str| Fault::Malformed {
            path: path.to_owned(),
            reason: reason.to_owned(),
            code: code::config::FILE_DAMAGED,
        };
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(malformed("not the file of one offline key"));
        };
        parse(SECRET, line)
            .map(Self)
            .ok_or_else(|| malformed("no offline key, or one with a slip of the pen"))
    }

    /// The public half.
    pub(super) fn public(&self) -> Result<[u8; 32], Fault> {
        self.private()?.recipient().map(|key| key.0).map_err(|e| broken(&e))
    }

    /// What it agrees on with the slot of `vault` that was made for it: base64, which opens that slot.
    pub(super) fn agree(&self, vault: &Item) -> Result<SecretText, Fault> {
        let recipient = HEXLOWER.encode(&self.public()?);
        let slot = vault.slots.iter().find(|slot| slot.recipient.as_ref() == Some(&recipient));
        let ephemeral: Option<[u8; 32]> =
            slot.and_then(|slot| HEXLOWER.decode(slot.ephemeral.as_ref()?.as_bytes()).ok()?.try_into().ok());
        let ephemeral = ephemeral.ok_or_else(|| Fault::Missing {
            kind: "slot of this key in the vault",
            name: vault.environment.clone(),
            fix: "kosctl vault status --env ENVIRONMENT lists its slots",
        })?;
        let shared = self.private()?.agree(&AgreementKey(ephemeral));
        // A slot of ours always has one; somebody else wrote it.
        let none = || Fault::Internal("the slot has a key that agrees with none".to_owned());
        shared.map(|shared| SecretText::new(BASE64.encode(shared.expose()))).ok_or_else(none)
    }

    fn private(&self) -> Result<OfflineKey, Fault> {
        OfflineKey::new(&self.0).map_err(|e| broken(&e))
    }
}

fn broken(error: &VaultError) -> Fault {
    match error {
        VaultError::NotApproved(refusal) => (*refusal).into(),
        _ => Fault::Internal("the cryptographic library failed".to_owned()),
    }
}

fn write(label: &str, bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut whole = Zeroizing::new([0; 32 + CHECK_BYTES]);
    let (key, check) = whole.split_at_mut(32);
    key.copy_from_slice(bytes);
    check.copy_from_slice(&checksum(label, bytes));
    let plain = Zeroizing::new(BASE32_NOPAD.encode(whole.as_slice()));
    let mut text = Zeroizing::new(String::with_capacity(label.len() + 2 * plain.len()));
    text.push_str(label);
    for (at, c) in plain.chars().enumerate() {
        if at % 4 == 0 {
            text.push(if at == 0 { ':' } else { '-' });
        }
        text.push(c);
    }
    text
}

fn parse(label: &str, text: &str) -> Option<Secret<32>> {
    let rest = text.trim().strip_prefix(label)?.strip_prefix(':')?;
    let mut plain = Zeroizing::new(String::with_capacity(rest.len()));
    plain.extend(rest.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase()));
    let whole = Zeroizing::new(BASE32_NOPAD.decode(plain.as_bytes()).ok()?);
    let (key, check) = whole.split_first_chunk::<32>()?;
    (check == checksum(label, key)).then(|| Secret::new(*key))
}

/// The first bytes of SHA-256 of the label, a zero byte and the key.
fn checksum(label: &str, bytes: &[u8; 32]) -> [u8; CHECK_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(label.as_bytes());
    context.update(&[0]);
    context.update(bytes);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(context.finish().as_ref().get(..CHECK_BYTES).unwrap_or_default());
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_be_typed_from_paper_and_a_slip_of_the_pen_is_found() {
        let bytes: [u8; 32] = core::array::from_fn(|n| u8::try_from(n).unwrap());
        let text = write(SECRET, &bytes);
        assert_eq!(text.len(), SECRET.len() + 1 + 56 + 13);
        let typed = text.replace('-', " ").to_lowercase().replace("kos offline secret", SECRET);
        for text in [text.as_str(), &typed] {
            assert_eq!(parse(SECRET, text).unwrap().expose(), &bytes, "{text}");
        }
        assert!(parse(RECIPIENT, &text).is_none(), "a key is no recipient");
        let relabelled = text.replace(SECRET, RECIPIENT);
        assert!(parse(RECIPIENT, &relabelled).is_none(), "the label is under the checksum");
        for at in SECRET.len() + 1..text.len() {
            let mut slip = text.as_bytes().to_vec();
            slip[at] = match slip[at] {
                b'-' => continue,
                b'A' => b'B',
                _ => b'A',
            };
            assert!(parse(SECRET, core::str::from_utf8(&slip).unwrap()).is_none(), "{at}");
        }
        for bad in ["", SECRET, "kos-offline-secret:", "kos-offline-secret:AAAA"] {
            assert!(parse(SECRET, bad).is_none(), "{bad}");
        }
    }
}
