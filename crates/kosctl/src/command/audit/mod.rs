//! The audit log: reading it, and judging it without trusting whoever keeps it.

mod alerts;
mod archive;
mod copy;
mod erase;
mod export;
mod filter;
mod mirror;
mod prove;
mod source;
mod tail;
mod verify;
mod witness;

pub(super) use self::{
    erase::Erase,
    source::Source,
    verify::{By, judge},
};

use core::str::FromStr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::{BASE64, HEXLOWER};
use kos_api::{
    audit::{AuditEntry, AuditFilter, AuditOrder, Checkpoint},
    routes,
};
use kos_audit::{LogKey, VerifierKeyError};
use kos_base::text::printable;

use super::{device::find, follow};
use crate::{
    Client, Fault,
    files::{self, Readers},
    output::write_out,
    session::{Ending, Session},
};
use export::Export;
use filter::Filter;
use prove::Prove;
use source::Place;
use tail::Tail;
use verify::Verify;
use witness::Witness;

/// Longest verifier key or checkpoint that is read, in bytes.
pub(super) const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Lists entries, those that fit.
    List(List),
    /// Shows the last entries, and follows what is added.
    Tail(Tail),
    /// Shows an entry with its proof.
    Show(Show),
    /// Verifies a whole log: a copy of its files, or the server's; exits 10 if anything is wrong.
    Verify(Verify),
    /// Proves that the log holds an entry; exits 10 if the proof does not hold.
    Prove(Prove),
    /// Writes entries as one file, for spreadsheets or programs; recorded in the log.
    Export(Export),
    /// Moves the oldest entries into an archive. Their hashes stay, and with them every proof.
    Archive(archive::Archive),
    /// Destroys the key under which the log speaks of a person or an address. The entries stay, and prove what they proved.
    Erase(Erase),
    /// Shows the signed head of the log. Keep it elsewhere: against it a later log can be judged.
    Checkpoint(Head),
    /// Witnesses: who cosigns the log, and whose logs are cosigned here.
    #[command(subcommand)]
    Witness(Witness),
    /// What a rule found suspicious in the log, and who has seen it.
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Copies of the log elsewhere.
    #[command(subcommand)]
    Mirror(mirror::Mirror),
}

/// `audit list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    /// The newest first.
    #[arg(long, conflicts_with = "oldest")]
    newest: bool,
    /// The oldest first, which is what happens anyway.
    #[arg(long)]
    oldest: bool,
    /// Lists the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["newest", "person"])]
    log_of: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// `audit show INDEX`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The place of the entry in the log, from 0.
    index: u64,
    /// Shows an entry of the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE")]
    log_of: Option<String>,
    #[command(flatten)]
    copy: OfCopy,
}

/// A copy of a log in place of a server's.
#[derive(Debug, Args)]
pub(super) struct OfCopy {
    /// An entry of a copy of a log: of a folder with its files, or of the address below which somebody serves them; needs no
    /// server.
    #[arg(long, value_name = "DIR", requires = "key", conflicts_with = "log_of")]
    log: Option<String>,
    /// The file with the key of the log.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// `audit checkpoint`
#[derive(Debug, Args)]
pub(crate) struct Head {
    /// Writes the checkpoint into this file, for `audit verify --against`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes the key of the log into this file, for `audit verify --key`.
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
    /// Shows the head of the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE")]
    log_of: Option<String>,
}

impl Audit {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Tail(tail) => tail.run(session).await,
            Self::Show(show) => {
                let entry = if let Some(log) = &show.copy.log {
                    let place = Place::parse(log, None, session)?;
                    let key = log_key(session, show.copy.key.as_deref(), None).await?;
                    copy::entry(&copy::prove(&place.source(), show.index).await?, &key)?
                } else {
                    let client = session.client()?;
                    let device = owner(&client, show.log_of.as_deref()).await?;
                    fetch_entry(&client, device.as_deref(), show.index).await?
                };
                session.printer.item(&entry)?;
                if let (true, Some(proof)) = (session.printer.is_for_people(), &entry.merkle_proof) {
                    write_out(&format!("\n{proof}"))?;
                }
                Ok(Ending::Done)
            }
            Self::Verify(verify) => verify.run(session).await,
            Self::Prove(prove) => prove.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Archive(archive) => archive.run(session).await,
            Self::Erase(erase) => erase.run(session).await,
            Self::Checkpoint(head) => head.run(session).await,
            Self::Witness(witness) => witness.run(session).await,
            Self::Alerts(alerts) => alerts.run(session).await,
            Self::Mirror(mirror) => mirror.run(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let order = self.newest.then_some(AuditOrder::Newest);
        let filter = AuditFilter { order, ..self.filter.asked(&client).await? };
        let device = owner(&client, self.log_of.as_deref()).await?;
        let (route, values) = match &device {
            Some(device) => (&routes::DEVICE_LOG_LIST, vec![device.as_str()]),
            None => (&routes::AUDIT_LIST, Vec::new()),
        };
        follow::print_list::<AuditEntry, _>(session, &client, route, &values, filter, self.limit).await
    }
}

impl Head {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let device = owner(&client, self.log_of.as_deref()).await?;
        let checkpoint = fetch_head(&client, device.as_deref()).await?;
        for (path, text) in
            [(self.out, checkpoint.text.clone()), (self.key_out, format!("{}\n", checkpoint.verifier_key))]
        {
            path.map_or(Ok(()), |path| files::write(&path, text.as_bytes(), Readers::Everybody))?;
        }
        session.printer.item(&checkpoint).map(|()| Ending::Done)
    }
}

/// The id of the device whose log is meant, if it is not the authority's own.
async fn owner(client: &Client, typed: Option<&str>) -> Result<Option<String>, Fault> {
    match typed {
        Some(device) => Ok(Some(find(client, device).await?.device.device_id.to_string())),
        None => Ok(None),
    }
}

async fn fetch_entry(client: &Client, device: Option<&str>, index: u64) -> Result<AuditEntry, Fault> {
    let index = index.to_string();
    match device {
        Some(device) => client.show(&routes::DEVICE_LOG_SHOW, &[device, &index]).await,
        None => client.show(&routes::AUDIT_SHOW, &[&index]).await,
    }
}

async fn fetch_head(client: &Client, device: Option<&str>) -> Result<Checkpoint, Fault> {
    match device {
        Some(device) => client.show(&routes::DEVICE_LOG_CHECKPOINT, &[device]).await,
        None => client.show(&routes::AUDIT_CHECKPOINT, &[]).await,
    }
}

/// The log's key: from a file, or from the server itself, which then is judged by its own word.
pub(super) async fn log_key(
    session: &Session,
    file: Option<&Path>,
    server: Option<(&Client, Option<&str>)>,
) -> Result<LogKey, Fault> {
    let (text, place) = match (file, server) {
        (Some(path), _) => {
            let text = files::read(path, NOTE_BYTES_MAX)?;
            (String::from_utf8_lossy(&text).into_owned(), path.to_owned())
        }
        (None, Some((client, device))) => {
            let head = fetch_head(client, device).await?;
            session.terminal.note("the key came from the server itself; --key FILE judges it independently");
            (head.verifier_key, PathBuf::from(client.server().to_string()))
        }
        (None, None) => {
            let fix = "kosctl audit checkpoint --key-out FILE, on a day when you trust the authority";
            return Err(Fault::usage("a copy of a log is judged by the log's key", fix));
        }
    };
    parse_key(&place, &text)
}

/// The verifier key in a text that came from `place`.
fn parse_key<K: FromStr<Err = VerifierKeyError>>(place: &Path, text: &str) -> Result<K, Fault> {
    text.trim().parse().map_err(|e: VerifierKeyError| Fault::Malformed {
        path: place.to_owned(),
        reason: printable(&e.to_string(), 200),
        code: e.code(),
    })
}

/// Who signed a note, when it has no signature line of this key: a key that was mixed up shows so, and changes to the log do
/// not. By the ids of keys, which are told and prove nothing.
fn other_signer(note: &str, key: &LogKey) -> Option<String> {
    let own = key.to_string();
    // Base64, which comes last, has this character as well.
    let own = own.splitn(3, '+').take(2).collect::<Vec<_>>().join("+");
    let signers: Vec<_> = note.lines().filter_map(signer).collect();
    let first = signers.first().filter(|_| !signers.contains(&own))?;
    Some(format!("another key signed this: {}, and not {own}, which was given", printable(first, 200)))
}

/// `NAME+ID` of a signature line.
fn signer(line: &str) -> Option<String> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = BASE64.decode(signature.as_bytes()).ok()?;
    Some(format!("{name}+{}", HEXLOWER.encode(bytes.get(..4)?)))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use kos_base::{KeyAlgorithm, PublicKey};

    use super::*;

    #[test]
    fn a_log_is_known_by_its_own_key_whatever_characters_that_has() {
        let keys = (0..64).map(|seed| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
            LogKey::new(&"attic".parse().unwrap(), public).unwrap()
        });
        let keys: Vec<_> = keys.collect();
        assert!(keys.iter().any(|key| key.to_string().matches('+').count() > 2));
        for (at, key) in keys.iter().enumerate() {
            let id = HEXLOWER.decode(key.to_string().split('+').nth(1).unwrap().as_bytes()).unwrap();
            let note = format!("attic/klog\n1\nAA==\n\n\u{2014} attic/klog {}\n", BASE64.encode(&id));
            assert_eq!(other_signer(&note, key), None);
            assert!(other_signer(&note, &keys[(at + 1) % keys.len()]).is_some());
        }
    }
}
