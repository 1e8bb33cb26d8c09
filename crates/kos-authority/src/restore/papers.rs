//! What a backup must not bring back of vouchers, grants and makers: what was used up, withdrawn or passed on since.
//!
//! Source: `docs/spec/voucher.md` VOU-27.

use kos_base::Timestamp;
use kos_identity::registry::Write;
use kos_voucher::{Fate, Sponsor};

use super::RestoreError;
use crate::{
    record::{Change, PapersChange},
    store::{Setting, Store, StoreError},
    writer::{SystemWrite, Transaction, Writer},
};

/// Records that are read at a time.
const PAGE: u32 = 500;

/// Withdraws every voucher that waits and every grant, and has no factory certificate let in by itself any more.
pub(super) async fn withdraw(store: &Store, writer: &Writer, now: Timestamp) -> Result<(), RestoreError> {
    let mut after = None;
    loop {
        let page = store.vouchers(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for kept in page.into_iter().filter(|kept| kept.fate == Fate::Waiting) {
            let change = PapersChange::VoucherVoided { voucher: kept.id };
            let write = Write::Voucher(Box::new(kept.becoming(Fate::Void { at: now, device: None })));
            commit(writer, now, change, vec![write], Vec::new()).await?;
        }
    }
    for held in store.vouching_grants(u32::MAX).await?.into_iter().filter(|held| !held.revoked) {
        let change = PapersChange::VouchingWithdrawn { grant: held.id, device: held.device.clone() };
        let held = Sponsor { revoked: true, version: held.version + 1, ..held };
        commit(writer, now, change, vec![Write::Sponsor(Box::new(held))], Vec::new()).await?;
    }
    let mut makers = store.makers().await?;
    for at in 0..makers.len() {
        let Some(maker) = makers.get_mut(at).filter(|maker| maker.certificates_admit) else { continue };
        maker.certificates_admit = false;
        let change = PapersChange::trusted(maker);
        let text = serde_json::to_string(&makers).map_err(|e| StoreError::Entry(e.to_string()))?;
        commit(writer, now, change, Vec::new(), vec![SystemWrite::Setting(Setting::Makers, Some(text))])
            .await?;
    }
    Ok(())
}

async fn commit(
    writer: &Writer,
    now: Timestamp,
    change: PapersChange,
    writes: Vec<Write>,
    system: Vec<SystemWrite>,
) -> Result<(), RestoreError> {
    let transaction = Transaction { writes, ..Transaction::own(now, vec![Change::from(change)], system) };
    writer.commit(transaction).await?;
    Ok(())
}
