//! Verifying a whole log: every leaf, every signature, every hash, here and not where the log is kept.

use core::ops::Range;
use std::{
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use clap::Args;
use kos_api::{
    audit::{Assurance, AuditVerdict, LogFailure, LogFailureKind, VerifyLog},
    hex::Digest,
    routes,
};
use kos_audit::{
    self as log, AnyLogKey, Conflict, Demand, FailureKind, Given, LeafReading, LogCheck, LogKey, Policy,
    RangeCheck, SignedCheckpoint, Verdict, WitnessKey,
    tree::{Bundle, Piece, Tile},
    witness::Judgement,
};
use kos_base::code;

use super::{
    NOTE_BYTES_MAX, log_key, other_signer, owner,
    prove::judge_saved,
    source::{Place, Source},
};
use crate::{
    Fault,
    files::{self, Readers},
    session::{Ending, Session},
};

/// `audit verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A copy of a log: a folder with its files (checkpoint, tile/..), or the address below which somebody serves them;
    /// needs no authority.
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<String>,
    /// The file with the key of the log; without it, the server's word is taken for it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// An older checkpoint of the same log, which it must extend.
    #[arg(long, value_name = "CHECKPOINT")]
    against: Option<PathBuf>,
    /// The verifier key of a witness whose word counts; as often as there are witnesses.
    #[arg(long = "witness", value_name = "VKEY", conflicts_with_all = ["on_server", "from", "to", "proof"])]
    witnesses: Vec<WitnessKey>,
    /// How many of them must have cosigned; without it, the verdict says what the log is worth.
    #[arg(long, value_name = "K", requires = "witnesses")]
    threshold: Option<usize>,
    /// Writes both checkpoints into this file when the log contradicts the one of --against, for `audit witness judge`.
    #[arg(long, value_name = "FILE", requires = "against", conflicts_with = "on_server")]
    evidence: Option<PathBuf>,
    /// Verifies the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE", conflicts_with = "log")]
    log_of: Option<String>,
    /// Has the server verify its own log, which is faster and takes its word for it.
    #[arg(long, conflicts_with_all = ["log", "key"])]
    on_server: bool,
    /// The archive that the oldest entries are in, so that the whole log is verified; may stand there several times.
    #[arg(long, value_name = "DIR", conflicts_with = "on_server")]
    archive: Vec<PathBuf>,
    /// Only entries from this index on: that they are in the tree that the checkpoint signs, signed and at their place.
    #[arg(long, value_name = "N", conflicts_with = "on_server")]
    from: Option<u64>,
    /// Only entries up to this index, which is included.
    #[arg(long, value_name = "M", conflicts_with = "on_server")]
    to: Option<u64>,
    /// One proof that was saved with `audit prove --out`, in place of a log; needs no server.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["log", "against", "on_server", "from", "to"])]
    proof: Option<PathBuf>,
    /// The file with the CAs of an https address, in PEM; without it, those that this system trusts.
    #[arg(long, value_name = "FILE", requires = "log")]
    ca: Option<PathBuf>,
}

/// By what a log is judged, besides its key.
#[derive(Debug)]
pub(crate) struct By {
    /// Whose cosignatures count, and how many.
    policy: Policy,
    demand: Demand,
    /// A checkpoint that somebody kept.
    held: Option<String>,
    /// Where its oldest entries are.
    archives: Vec<PathBuf>,
}

impl By {
    /// Nothing but its key.
    pub(crate) const fn nothing() -> Self {
        Self { policy: Policy::none(), demand: Demand::None, held: None, archives: Vec::new() }
    }
}

impl Verify {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if let Some(proof) = &self.proof {
            return judge_saved(session, proof, self.key.as_deref()).await;
        }
        let held = match &self.against {
            Some(path) => Some(held_checkpoint(path)?),
            None => None,
        };
        let by = self.by(held.clone())?;
        let (verdict, kept) = match (&self.log, self.on_server) {
            (None, true) => {
                let (client, body) = (session.client()?, VerifyLog { against: held });
                let device = owner(&client, self.log_of.as_deref()).await?;
                let (route, values) = match &device {
                    Some(device) => (&routes::DEVICE_LOG_VERIFY, vec![device.as_str()]),
                    None => (&routes::AUDIT_VERIFY, Vec::new()),
                };
                (client.ask(route, &values, &serde_json::json!({}), &body).await?, Ok(()))
            }
            (None, false) if self.log_of.is_some() => {
                let client = session.client()?;
                let device = owner(&client, self.log_of.as_deref()).await?.unwrap_or_default();
                let key = log_key(session, self.key.as_deref(), Some((&client, Some(&device)))).await?;
                let source = Source::DeviceLog(&client, &device);
                self.judged(session, &source, &key, &by).await?
            }
            (log, _) => {
                let place = Place::parse(log.as_deref().unwrap_or("server"), self.ca.as_deref(), session)?;
                let server = place.client().map(|client| (client, None));
                let key = log_key(session, self.key.as_deref(), server).await?;
                self.judged(session, &place.source(), &key, &by).await?
            }
        };
        session.printer.item(&verdict)?;
        kept?;
        Ok(Ending::judged(verdict.ok))
    }

    fn by(&self, held: Option<String>) -> Result<By, Fault> {
        let demand = if self.threshold.is_some() { Demand::Witnessed } else { Demand::None };
        let policy = match (self.witnesses.len(), self.threshold) {
            (0, _) => Policy::none(),
            (_, threshold) => Policy::new(self.witnesses.clone(), threshold.unwrap_or(1)).map_err(|e| {
                Fault::usage(e.to_string(), "as many --witness as there are, and --threshold up to that")
            })?,
        };
        Ok(By { policy, demand, held, archives: self.archive.clone() })
    }

    /// The verdict; and whether the evidence is kept that was asked for.
    async fn judged(
        &self,
        session: &Session,
        source: &Source<'_>,
        key: &LogKey,
        by: &By,
    ) -> Result<(AuditVerdict, Result<(), Fault>), Fault> {
        Source::check_archives(&by.archives, key)?;
        let (verdict, judged) = match self.range()? {
            Some(range) => judge_range((source, &by.archives), key, by.held.as_deref(), range).await?,
            None => judge(source, key, by).await?,
        };
        let contradicts =
            |failure: &log::Failure| matches!(failure.kind, FailureKind::Forked | FailureKind::Rewound);
        let held = by.held.as_ref().filter(|_| verdict.failures.iter().any(contradicts));
        let kept = held.map_or(Ok(()), |held| self.keep_evidence(session, key, held, &judged));
        if self.witnesses.is_empty() && self.range()?.is_none() && source.witnessed().await?.is_some() {
            session.terminal.note(
                "witnesses cosigned this log; by their keys it is worth more: --witness VKEY (docs/guide/witness.md)",
            );
        }
        let mut verdict = written(verdict);
        if let Some(why) = other_signer(&judged, key) {
            // Everything else that is found follows from it.
            let detail = |failure: &LogFailure| failure.detail.starts_with("the checkpoint: ");
            verdict.failures.retain(|failure| !detail(failure));
            verdict
                .failures
                .insert(0, LogFailure { index: None, kind: LogFailureKind::BadSignature, detail: why });
        }
        Ok((verdict, kept))
    }

    /// The held checkpoint and the one that was judged. A source that is asked again may answer something else.
    fn keep_evidence(&self, session: &Session, key: &LogKey, held: &str, judged: &str) -> Result<(), Fault> {
        let conflict = match (Conflict::new(&AnyLogKey::from(key), held, judged), &self.evidence) {
            (Ok(conflict), _) => conflict,
            (Err(_), None) => return Ok(()),
            (Err(error), Some(path)) => {
                let reason = format!("no evidence to write: {error}");
                return Err(Fault::Malformed { path: path.clone(), reason, code: error.code() });
            }
        };
        let said = match conflict.judge() {
            Judgement::Equivocation => {
                "the two checkpoints prove by themselves that the log signed two trees"
            }
            _ => "with the tiles of the larger one, the two checkpoints show what became of the log",
        };
        session.terminal.note(said);
        match &self.evidence {
            Some(path) => files::write(path, conflict.to_string().as_bytes(), Readers::Everybody),
            None => {
                session.terminal.note("--evidence FILE keeps them, for kosctl audit witness judge");
                Ok(())
            }
        }
    }
}

impl Verify {
    /// The indices that are asked for, when not all are.
    fn range(&self) -> Result<Option<Range<u64>>, Fault> {
        if self.from.is_none() && self.to.is_none() {
            return Ok(None);
        }
        let (from, to) = (self.from.unwrap_or(0), self.to.map(|last| last.saturating_add(1)));
        if to.is_some_and(|to| to <= from) {
            return Err(Fault::usage("--to is before --from", "kosctl audit verify --from 10 --to 20"));
        }
        Ok(Some(from..to.unwrap_or(u64::MAX)))
    }
}

/// A checkpoint that somebody kept, as it was written. What it is worth is for the verdict to say.
fn held_checkpoint(path: &Path) -> Result<String, Fault> {
    let text = String::from_utf8_lossy(&files::read(path, NOTE_BYTES_MAX)?).into_owned();
    match SignedCheckpoint::parse(&text) {
        Ok(_) => Ok(text),
        Err(why) => Err(Fault::Malformed {
            path: path.to_owned(),
            reason: why.to_string(),
            code: code::audit::CHECKPOINT_FORM,
        }),
    }
}

/// Judges some entries of a log; to its end when there is no other. With the checkpoint by which it was judged.
async fn judge_range(
    (source, archives): (&Source<'_>, &[PathBuf]),
    key: &LogKey,
    held: Option<&str>,
    mut range: Range<u64>,
) -> Result<(Verdict, String), Fault> {
    let text = source.checkpoint().await?;
    if range.end == u64::MAX {
        let signed = SignedCheckpoint::parse(&text).ok().and_then(|signed| signed.verify(key, &[]).ok());
        range.end = signed.map_or(0, |signed| signed.head().size).max(range.start.saturating_add(1));
    }
    let mut check = RangeCheck::new(key, &text, held, range);
    while let Some(piece) = check.next() {
        check.take(found(source, archives, piece).await?, |bytes| read_leaves(bytes, key));
    }
    Ok((check.finish(), text))
}

/// Takes a log apart, leaf by leaf. With the checkpoint by which it was judged.
pub(crate) async fn judge(source: &Source<'_>, key: &LogKey, by: &By) -> Result<(Verdict, String), Fault> {
    // Read first, so that it is not of a larger log than the newest.
    let cosigned = source.witnessed().await?;
    let checkpoint = source.checkpoint().await?;
    let given = Given {
        checkpoint: &checkpoint,
        held: by.held.as_deref(),
        cosigned: cosigned.as_deref(),
        demand: by.demand,
    };
    let mut check = LogCheck::by(key, by.policy.clone(), given);
    for bundle in Bundle::all(check.size()) {
        let stored = check.tile(bundle.tile(), source.piece(Piece::Tile(bundle.tile())).await?.as_deref());
        let bytes = match found(source, &by.archives, Piece::Bundle(bundle)).await? {
            Some(bytes) => bytes,
            // Whether they may be elsewhere is for the entries that come to say.
            None if bundle == bundle.full() => {
                check.archived(&stored);
                continue;
            }
            None => Vec::new(),
        };
        for (at, reading) in read_leaves(&bytes, key).into_iter().enumerate() {
            check.leaf(reading, stored.get(at).copied());
        }
    }
    for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
        let bytes = source.piece(Piece::Tile(tile)).await?;
        check.tile(tile, bytes.as_deref());
    }
    Ok((check.finish(), checkpoint))
}

/// A piece of a log, or of an archive that its oldest entries are in.
pub(super) async fn found(
    source: &Source<'_>,
    archives: &[PathBuf],
    piece: Piece,
) -> Result<Option<Vec<u8>>, Fault> {
    let mut found = source.piece(piece).await?;
    for archive in archives {
        if found.is_some() || !matches!(piece, Piece::Bundle(_)) {
            break;
        }
        found = Source::Folder(archive).piece(piece).await?;
    }
    Ok(found)
}

/// Hashes and verifies the leaves of a bundle, on every processor.
fn read_leaves(bytes: &[u8], key: &LogKey) -> Vec<LeafReading> {
    let leaves: Vec<_> = Bundle::leaves(bytes).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = leaves.len().div_ceil(threads).max(1);
    let read = |part: &[Result<&[u8], log::tree::Torn>]| -> Vec<_> {
        part.iter().map(|leaf| leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key))).collect()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = leaves.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
        // A thread that fell leaves its share out, which then is missing from the log: nothing is passed over.
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// The verdict as the API writes it.
fn written(verdict: Verdict) -> AuditVerdict {
    AuditVerdict {
        ok: verdict.is_ok(),
        origin: Some(verdict.origin.as_str().to_owned()),
        size: verdict.head.size,
        root_hash: Some(Digest::from_bytes(*verdict.head.root.as_bytes())),
        checkpoint_time: verdict.checkpoint_time,
        entries_checked: verdict.entries_checked,
        signatures_checked: verdict.signatures_checked,
        assurance: match verdict.assurance {
            log::Assurance::LocalIntegrity => Assurance::LocalIntegrity,
            log::Assurance::HeldCheckpoint => Assurance::HeldCheckpoint,
            log::Assurance::Witnessed => Assurance::Witnessed,
        },
        witnessed_size: verdict.witnessed_size,
        witnessed_by: verdict.witnessed_by,
        failures: verdict
            .failures
            .into_iter()
            .map(|failure| LogFailure {
                index: failure.index,
                kind: kind(failure.kind),
                detail: failure.detail,
            })
            .collect(),
        failures_found: verdict.failures_found,
        not_checked: verdict.not_checked.iter().map(ToString::to_string).collect(),
    }
}

const fn kind(kind: FailureKind) -> LogFailureKind {
    match kind {
        FailureKind::Edited => LogFailureKind::Edited,
        FailureKind::Deleted => LogFailureKind::Deleted,
        FailureKind::Reordered => LogFailureKind::Reordered,
        FailureKind::Truncated => LogFailureKind::Truncated,
        FailureKind::Forked => LogFailureKind::Forked,
        FailureKind::Rewound => LogFailureKind::Rewound,
        FailureKind::Torn => LogFailureKind::Torn,
        FailureKind::BadSignature => LogFailureKind::BadSignature,
        FailureKind::Unwitnessed => LogFailureKind::Unwitnessed,
    }
}
