//! One entry of a copy of a log, with a proof that is made here from its files.
//!
//! What it does not do: believe the copy. The proof is verified like one that came from a server.

use kos_api::{
    audit::AuditEntry,
    hex::{Digest, Signature},
    problem::Party,
};
use kos_audit::{
    Actor, LogKey, Proof, SealedEntry, SignedCheckpoint, Target,
    tree::{Bundle, Piece, ProofPlan},
};
use kos_base::{Code, code};
use serde_json::Value;

use super::{other_signer, source::Source};
use crate::Fault;

/// The proof that the entry at `index` is in the log of which `source` has the files, with the entry in it.
pub(super) async fn prove(source: &Source<'_>, index: u64) -> Result<Proof, Fault> {
    let bad = |code: Code, reason: String| Fault::Malformed { path: source.to_string().into(), reason, code };
    let text = source.checkpoint().await?;
    let signed = SignedCheckpoint::parse(&text)
        .map_err(|why| bad(code::audit::LOG_CHECKPOINT, format!("its checkpoint: {why}")))?;
    let size: u64 = text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default();
    let plan = ProofPlan::inclusion(index, size).map_err(|_| {
        bad(code::audit::LOG_NO_SUCH_ENTRY, format!("it has the entries before {size}, and not {index}"))
    })?;
    let mut tiles = Vec::new();
    for tile in plan.tiles() {
        tiles.push(whole(source, Piece::Tile(*tile)).await?);
    }
    let hashes = plan.finish(&tiles).map_err(|why| bad(code::audit::LOG_TREE, why.to_string()))?;
    let unread = || bad(code::audit::LOG_EDITED, format!("its bundle does not have entry {index}"));
    let bundle = Bundle::grown(index, size).next().ok_or_else(unread)?;
    let bytes = whole(source, Piece::Bundle(bundle)).await?;
    let place = usize::try_from(index.saturating_sub(bundle.first_leaf())).unwrap_or(usize::MAX);
    let leaf = Bundle::leaves(&bytes).nth(place).and_then(Result::ok).ok_or_else(unread)?;
    Ok(Proof::new(index, hashes, signed).with_leaf(&SealedEntry::from_bytes(leaf.to_vec())))
}

/// A piece that the copy must have.
async fn whole(source: &Source<'_>, piece: Piece) -> Result<Vec<u8>, Fault> {
    let missing = || {
        let entries = matches!(piece, Piece::Bundle(_));
        let hint = if entries { ", or is in an archive" } else { "" };
        let reason = format!("`{}` is missing{hint}", piece.path());
        Fault::Malformed { path: source.to_string().into(), reason, code: code::audit::LOG_DELETED }
    };
    source.piece(piece).await?.ok_or_else(missing)
}

/// An entry that was proven, as a server shows it to whoever sees no names: only the authority has the keys of people.
pub(super) fn entry(proof: &Proof, key: &LogKey) -> Result<AuditEntry, Fault> {
    let text = proof.to_string();
    let proven = proof.clone().verify(None, key, &[]).map_err(|why| {
        let reason = other_signer(&text, key).unwrap_or_else(|| why.to_string());
        Fault::Malformed { path: "the copy of the log".into(), reason, code: why.code() }
    })?;
    let verified = proven.entry();
    let entry = verified.entry();
    let mut details = entry.details.members().clone();
    for (name, _) in entry.details.personal() {
        details.insert(name.to_owned(), Value::Null);
    }
    Ok(AuditEntry {
        index: proof.index(),
        id: entry.id,
        timestamp: entry.timestamp,
        event_type: entry.event_type.to_string(),
        actor: Party {
            kind: Actor::kind(&entry.actor).to_owned(),
            id: entry.actor.plain_id().map(str::to_owned),
        },
        target: entry
            .target
            .as_ref()
            .map(|target| Party { kind: Target::kind(target).to_owned(), id: target.plain_id() }),
        details,
        key_id: entry.key_id,
        signature: Signature::from_bytes(verified.signature().to_vec()),
        leaf_hash: Digest::from_bytes(*verified.leaf().leaf_hash().as_bytes()),
        merkle_proof: Some(text),
    })
}
