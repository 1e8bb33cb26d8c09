//! One transaction over many requests.

use kos_audit::VerifiedEntry;
use kos_base::Timestamp;

use super::{Cosigned, Receipt, SystemWrite, Transaction, scribe::Scribe};
use crate::store::{AlertNote, Heartbeat, LogState, StoreError, WriteHalf};

/// Writes and commits a group. What became of each, in the order in which they came.
///
/// # Errors
/// When nothing of the group could be written: the caller rolls back and restores the scribe.
pub(super) async fn commit(
    half: &mut WriteHalf,
    scribe: &mut Scribe,
    group: &[Transaction],
) -> Result<Vec<Result<Receipt, StoreError>>, StoreError> {
    let mut results = Vec::with_capacity(group.len());
    let mut newest = None;
    half.begin().await?;
    half.begin_request().await?;
    for transaction in group {
        let first = scribe.next_index();
        match apply(half, scribe, transaction).await {
            Ok(receipt) => {
                half.keep_request().await?;
                newest = Some(transaction.at);
                results.push(Ok(receipt));
            }
            Err(error) if error.concerns_one_request() => {
                half.undo_request().await?;
                scribe.forget_from(first);
                results.push(Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    let Some(newest) = newest else {
        half.roll_back().await;
        return Ok(results);
    };
    grow(half, scribe, newest).await?;
    half.commit().await?;
    Ok(results)
}

/// Writes what was recorded into the log, and its new head.
async fn grow(half: &mut WriteHalf, scribe: &mut Scribe, at: Timestamp) -> Result<(), StoreError> {
    let grown = scribe.finish_group(at)?;
    half.add_entries(&grown.entries).await?;
    for tile in &grown.tiles {
        half.put_tile(tile).await?;
    }
    half.put_log_state(&LogState { size: scribe.size(), checkpoint: grown.checkpoint }).await
}

/// Appends entries that were signed before, in a transaction of their own.
pub(super) async fn adopt(
    half: &mut WriteHalf,
    scribe: &mut Scribe,
    entries: Vec<VerifiedEntry>,
) -> Result<(), StoreError> {
    let Some(last) = entries.last() else { return Ok(()) };
    half.begin().await?;
    for entry in &entries {
        scribe.adopt(entry)?;
    }
    grow(half, scribe, last.entry().timestamp).await?;
    half.commit().await
}

async fn apply(
    half: &mut WriteHalf,
    scribe: &mut Scribe,
    transaction: &Transaction,
) -> Result<Receipt, StoreError> {
    if transaction.changes.is_empty() {
        return Err(StoreError::Entry("a transaction without a change has nothing to record".to_owned()));
    }
    let first = scribe.next_index();
    for write in &transaction.writes {
        half.write(write).await?;
    }
    for write in &transaction.system {
        match write {
            SystemWrite::Crl(list) => half.put_crl(list).await?,
            SystemWrite::Operator(operator) => half.put_operator(operator).await?,
            SystemWrite::Stands(operator) => half.check_stands(*operator).await?,
            SystemWrite::Archive(archive) => half.add_archive(archive).await?,
            SystemWrite::EraseSubject(subject) => {
                half.erase_subject(subject).await?;
                scribe.forget_people();
            }
            SystemWrite::WriteAnew => half.write_anew().await?,
            SystemWrite::Setting(setting, Some(value)) => half.put_setting(*setting, value).await?,
            SystemWrite::Setting(setting, None) => half.clear_setting(*setting).await?,
            SystemWrite::Revoke(revocation) => half.put_revocation(revocation).await?,
            SystemWrite::Vault { anchor, instead_of } => {
                half.put_anchor(anchor, instead_of.as_ref()).await?;
            }
            SystemWrite::CodeMark(mark) => half.put_code_mark(mark).await?,
            SystemWrite::NoCodeMark(environment) => half.remove_code_mark(environment).await?,
            SystemWrite::AddWitness(witness) => half.add_witness(witness).await?,
            SystemWrite::Witness(witness) => half.keep_witness(witness).await?,
            SystemWrite::NoWitness(name) => half.remove_witness(name).await?,
            SystemWrite::AddWitnessedLog(log) => half.add_witnessed_log(log).await?,
            SystemWrite::NoWitnessedLog(origin) => half.remove_witnessed_log(origin).await?,
            SystemWrite::LogAnchor(anchor) => half.put_log_anchor(anchor).await?,
            SystemWrite::Alerts(alerts, state) => {
                for (alert, raised) in alerts.iter().zip(first..) {
                    half.add_alert(alert, raised).await?;
                }
                half.put_engine_state(state).await?;
            }
            SystemWrite::AlertSeen(alert, at) => half.acknowledge_alert(alert, *at, first).await?,
            SystemWrite::Guardian(guardian) => half.add_guardian(guardian).await?,
            SystemWrite::NoGuardian(name) => half.remove_guardian(name, transaction.at, first).await?,
            SystemWrite::GuardianGone(name) => half.drop_guardian(name).await?,
            SystemWrite::Mirror(mirror) => half.add_mirror(mirror).await?,
            SystemWrite::NoMirror(name) => half.remove_mirror(name).await?,
            SystemWrite::Manifest(manifest, signed) => half.add_manifest(manifest, signed).await?,
            SystemWrite::Pairing(pairing, before) => {
                half.put_pairing(transaction.at, pairing, *before).await?;
            }
            SystemWrite::Grant(grant, before) => half.put_grant(grant, before.as_deref()).await?,
            SystemWrite::NoGrant(id) => half.remove_grant(*id).await?,
            SystemWrite::OwnCertificate { issuer, serial, der } => {
                half.add_certificate(*issuer, serial, None, 0, der).await?;
            }
        }
    }
    for change in &transaction.changes {
        scribe.record(half, transaction.at, &transaction.actor, change).await?;
    }
    let receipt = Receipt { first, entries: scribe.next_index() - first };
    if let Some(answer) = &transaction.answer {
        half.put_answer(&(answer.0)(receipt)?).await?;
    }
    Ok(receipt)
}

/// Stores measured values in a transaction of their own.
pub(super) async fn keep_heartbeats(
    half: &mut WriteHalf,
    heartbeats: &[Heartbeat],
) -> Result<(), StoreError> {
    half.begin().await?;
    let mut kept = Ok(());
    for heartbeat in heartbeats {
        kept = half.put_heartbeat(heartbeat).await;
        if kept.is_err() {
            break;
        }
    }
    end(half, kept).await
}

/// Notes something about alerts in a transaction of its own.
pub(super) async fn note(half: &mut WriteHalf, note: &AlertNote) -> Result<(), StoreError> {
    half.begin().await?;
    let noted = half.note_alerts(note).await;
    end(half, noted).await
}

async fn end(half: &mut WriteHalf, done: Result<(), StoreError>) -> Result<(), StoreError> {
    let ended = match done {
        Ok(()) => half.commit().await,
        Err(error) => Err(error),
    };
    if ended.is_err() {
        half.roll_back().await;
    }
    ended
}

/// Stores what witnesses have said in a transaction of its own.
pub(super) async fn keep_cosigned(half: &mut WriteHalf, cosigned: &Cosigned) -> Result<(), StoreError> {
    half.begin().await?;
    let kept = put_cosigned(half, cosigned).await;
    end(half, kept).await
}

async fn put_cosigned(half: &mut WriteHalf, cosigned: &Cosigned) -> Result<(), StoreError> {
    for witness in &cosigned.witnesses {
        match half.keep_witness(witness).await {
            // It was removed meanwhile.
            Err(StoreError::Conflict { .. }) => {}
            kept => kept?,
        }
    }
    if let Some(state) = &cosigned.cosigned {
        half.put_cosigned_state(state).await?;
    }
    match &cosigned.witnessed {
        Some(state) => half.put_witnessed_state(state).await,
        None => Ok(()),
    }
}
