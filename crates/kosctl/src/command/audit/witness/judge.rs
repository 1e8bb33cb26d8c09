//! Judging two checkpoints of one log: by its key alone, and by its tiles where the key does not suffice. Needs no server.

use std::path::{Path, PathBuf};

use clap::Args;
use kos_api::{Kind, hex::Digest};
use kos_audit::{
    AnyLogKey, Conflict, Frontier, SignedCheckpoint, TreeHash, TreeHead,
    tree::{Piece, Tile},
    witness::Judgement,
};
use kos_base::{code, text::printable};
use serde::{Deserialize, Serialize};

use super::super::{NOTE_BYTES_MAX, parse_key, source::Source};
use crate::{
    Fault, files,
    output::{Column, Form, Shown},
    session::{Ending, Session},
};

/// `audit witness judge FILE FILE`
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// Two checkpoints with --key, or one file of evidence: `DATA/authority/witness/conflict-*.txt`.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file with the key of the log.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A folder with the files of the log that the larger checkpoint signs; needed where the sizes differ.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

/// What two checkpoints show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogJudgement {
    equivocation: bool,
    origin: String,
    judgement: String,
    detail: String,
    sizes: [u64; 2],
    root_hashes: [Digest; 2],
    verifier_key: String,
}

impl Kind for LogJudgement {
    const KIND: &'static str = "LogJudgement";
}

impl Shown for LogJudgement {
    const NAME: &'static str = "equivocation";
    const PLURAL: &'static str = "judgements";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("equivocation", "equivocation"),
        Column::of("log", "origin"),
        Column::of("found", "detail"),
        Column::of("sizes", "sizes"),
        Column::of("roots", "rootHashes").looks(Form::Hash),
        Column::of("key", "verifierKey"),
    ];
}

impl Judge {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let conflict = self.conflict()?;
        let judgement = match (conflict.judge(), &self.log) {
            (Judgement::NeedsTree, Some(folder)) => with_tree(&conflict, folder).await?,
            (judged, _) => judged,
        };
        let (word, detail) = match judgement {
            Judgement::Equivocation => (
                "equivocation",
                "the log's key signed two trees of which neither is the beginning of the other",
            ),
            Judgement::Consistent => ("consistent", "the smaller tree is the beginning of the larger one"),
            Judgement::NeedsTree => {
                ("needs-tree", "the sizes differ: --log DIR with the tiles of the larger tree decides")
            }
            Judgement::OtherTree => {
                ("other-tree", "the tiles are not those of the larger tree, and decide nothing")
            }
        };
        let heads = conflict.heads();
        let shown = LogJudgement {
            equivocation: judgement == Judgement::Equivocation,
            origin: conflict.key().origin().to_owned(),
            judgement: word.to_owned(),
            detail: detail.to_owned(),
            sizes: heads.map(|head| head.size),
            root_hashes: heads.map(|head| Digest::from_bytes(*head.root.as_bytes())),
            verifier_key: conflict.key().to_string(),
        };
        session.printer.item(&shown)?;
        Ok(Ending::judged(shown.equivocation))
    }

    fn conflict(&self) -> Result<Conflict, Fault> {
        let text = |path: &Path| -> Result<String, Fault> {
            Ok(String::from_utf8_lossy(&files::read(path, 4 * NOTE_BYTES_MAX)?).into_owned())
        };
        let key = self.key.as_deref().map(|path| parse_key::<AnyLogKey>(path, &text(path)?)).transpose()?;
        let bad = |path: &Path, reason: &str| Fault::Malformed {
            path: path.to_owned(),
            reason: printable(reason, 200),
            code: code::audit::WITNESS_EVIDENCE,
        };
        match (self.files.as_slice(), key) {
            ([evidence], key) => {
                let conflict =
                    Conflict::parse(&text(evidence)?).map_err(|e| bad(evidence, &e.to_string()))?;
                match key.is_none_or(|key| key == *conflict.key()) {
                    true => Ok(conflict),
                    false => Err(bad(evidence, "evidence about the key of another log")),
                }
            }
            ([one, other], Some(key)) => {
                Conflict::new(&key, &text(one)?, &text(other)?).map_err(|e| bad(one, &e.to_string()))
            }
            _ => Err(Fault::usage("two checkpoints are judged by the key of the log", "--key FILE")),
        }
    }
}

/// Grows the tree in `folder` again, up to the larger checkpoint.
async fn with_tree(conflict: &Conflict, folder: &Path) -> Result<Judgement, Fault> {
    let [smaller, larger] = conflict.heads();
    let source = Source::Folder(folder);
    // Which tiles there are; what is in them is judged by the roots.
    let size = size_of(&source.checkpoint().await?).unwrap_or_default().max(larger.size);
    let (mut tree, mut then) = (Frontier::empty(), TreeHash::EMPTY);
    for tile in Tile::all(size).filter(|tile| tile.level() == 0) {
        let bytes = source.piece(Piece::Tile(tile)).await?.unwrap_or_default();
        let Ok(hashes) = tile.hashes(&bytes) else { break };
        for hash in hashes {
            if tree.size() == larger.size || tree.append(hash).is_err() {
                break;
            }
            if tree.size() == smaller.size {
                then = tree.root();
            }
        }
    }
    let grown: TreeHead = tree.head();
    Ok(conflict.judge_with(&grown, then))
}

fn size_of(checkpoint: &str) -> Option<u64> {
    SignedCheckpoint::parse(checkpoint).ok()?;
    checkpoint.lines().nth(1)?.parse().ok()
}
