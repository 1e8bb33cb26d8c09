//! Proving one entry: its proof is fetched or read from a file, and verified here.

use std::path::{Path, PathBuf};

use clap::Args;
use kos_api::{Kind, hex::Digest};
use kos_audit::{
    LogKey, Proof,
    proof::{PROOF_BYTES_MAX, ProofError},
};
use kos_base::{EntryId, Timestamp, code};
use serde::{Deserialize, Serialize};

use super::{copy, fetch_entry, log_key, other_signer, owner, source::Place};
use crate::{
    Client, Fault,
    files::{self, Readers},
    output::{Column, Form, Shown},
    session::{Ending, Session},
};

/// `audit prove INDEX`
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The place of the entry in the log, from 0.
    #[arg(required_unless_present = "proof")]
    index: Option<u64>,
    /// Proves an entry of the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE", conflicts_with = "proof")]
    log_of: Option<String>,
    /// A proof that was saved with --out; needs no server.
    #[arg(long, value_name = "FILE", conflicts_with = "index", requires = "key")]
    proof: Option<PathBuf>,
    /// An entry of a copy of a log: of a folder with its files, or of the address below which somebody serves them; needs no
    /// server.
    #[arg(long, value_name = "DIR", requires = "key", conflicts_with_all = ["log_of", "proof"])]
    log: Option<String>,
    /// The file with the key of the log; without it, the server's word is taken for it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Saves the proof, with the entry in it.
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    out: Option<PathBuf>,
}

/// What a proof shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditProof {
    ok: bool,
    index: u64,
    id: Option<EntryId>,
    event_type: Option<String>,
    timestamp: Option<Timestamp>,
    size: Option<u64>,
    root_hash: Option<Digest>,
    checkpoint_time: Option<Timestamp>,
    detail: Option<String>,
    proof: String,
}

impl Kind for AuditProof {
    const KIND: &'static str = "AuditProof";
}

impl Shown for AuditProof {
    const NAME: &'static str = "index";
    const PLURAL: &'static str = "proofs";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("proven", "ok").looks(Form::Good),
        Column::of("entry", "index"),
        Column::of("event", "eventType"),
        Column::of("when", "timestamp").looks(Form::Moment),
        Column::of("id", "id"),
        Column::of("in a log of", "size"),
        Column::of("with root", "rootHash"),
        Column::of("signed", "checkpointTime").looks(Form::Moment),
        Column::of("found", "detail"),
    ];
}

impl Prove {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let (proof, key) = match (&self.proof, &self.log, self.index) {
            (Some(path), ..) => (read(path)?, log_key(session, self.key.as_deref(), None).await?),
            (None, Some(log), Some(index)) => {
                let place = Place::parse(log, None, session)?;
                let key = log_key(session, self.key.as_deref(), None).await?;
                (copy::prove(&place.source(), index).await?, key)
            }
            (None, None, Some(index)) => {
                let client = session.client()?;
                let device = owner(&client, self.log_of.as_deref()).await?;
                let device = device.as_deref();
                let key = log_key(session, self.key.as_deref(), Some((&client, device))).await?;
                (fetch(&client, device, index).await?, key)
            }
            (None, _, None) => return Err(Fault::usage("which entry?", "kosctl audit prove INDEX")),
        };
        if let Some(path) = &self.out {
            files::write(path, proof.to_string().as_bytes(), Readers::Owner)?;
        }
        print(session, proof, &key)
    }
}

/// Judges a proof that was saved, by the key of the log alone.
pub(super) async fn judge_saved(
    session: &Session,
    proof: &Path,
    key: Option<&Path>,
) -> Result<Ending, Fault> {
    print(session, read(proof)?, &log_key(session, key, None).await?)
}

fn read(path: &Path) -> Result<Proof, Fault> {
    let bytes = files::read(path, u64::try_from(PROOF_BYTES_MAX).unwrap_or(u64::MAX))?;
    Proof::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| Fault::Malformed {
        path: path.to_owned(),
        reason: e.to_string(),
        code: e.code(),
    })
}

fn print(session: &Session, proof: Proof, key: &LogKey) -> Result<Ending, Fault> {
    let shown = judge(proof, key);
    session.printer.item(&shown)?;
    Ok(Ending::judged(shown.ok))
}

/// The proof of the entry at `index`, with the entry in it.
async fn fetch(client: &Client, device: Option<&str>, index: u64) -> Result<Proof, Fault> {
    let answer = |reason: String| Fault::Answer { server: client.server().to_string(), reason };
    let entry = fetch_entry(client, device, index).await?;
    let Some(text) = entry.merkle_proof else {
        return Err(Fault::Missing {
            kind: "checkpoint yet that covers entry",
            name: index.to_string(),
            fix: "try again in a second",
        });
    };
    let proof = Proof::parse(&text).map_err(|e| answer(e.to_string()))?;
    if proof.index() != index {
        return Err(answer(format!("a proof of entry {} for entry {index}", proof.index())));
    }
    if proof.unverified_leaf().is_none() {
        return Err(answer("a proof without the entry that it proves".to_owned()));
    }
    Ok(proof)
}

fn judge(proof: Proof, key: &LogKey) -> AuditProof {
    let (index, text) = (proof.index(), proof.to_string());
    let judged: Result<_, ProofError> = proof.verify(None, key, &[]);
    let (proven, detail) = match judged {
        Ok(proven) => (Some(proven), None),
        Err(why) => {
            let other = other_signer(&text, key);
            (None, Some(other.unwrap_or_else(|| format!("{}: {why}", code::audit::LOG_PROOF.title()))))
        }
    };
    let entry = proven.as_ref().map(|p| p.entry().entry());
    let head = proven.as_ref().map(|p| *p.checkpoint().head());
    AuditProof {
        ok: proven.is_some(),
        index,
        id: entry.map(|e| e.id),
        event_type: entry.map(|e| e.event_type.to_string()),
        timestamp: entry.map(|e| e.timestamp),
        size: head.map(|h| h.size),
        root_hash: head.map(|h| Digest::from_bytes(*h.root.as_bytes())),
        checkpoint_time: proven.as_ref().map(|p| p.checkpoint().checkpoint().time),
        detail,
        proof: text,
    }
}
