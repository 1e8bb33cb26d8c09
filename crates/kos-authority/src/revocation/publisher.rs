//! Signs revocation lists: at once after a revocation, at most one a second, and long before the newest runs out.

use std::{sync::Arc, time::Duration};

use kos_base::{KeyId, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::Certificate,
    crl::{self, VerifiedCrl},
};
use kos_net::keys::SigningKey;
use tokio::time::{Instant, sleep_until};

use super::{Board, Staleness};
use crate::{
    clock,
    keys::Keys,
    record::SystemChange,
    store::{StoreError, StoredCrl},
    writer::{SystemWrite, Transaction, Writer},
};

/// Least time between two lists: a thousand revocations at once make one list, not a thousand.
const PAUSE: Duration = Duration::from_secs(1);
/// How often to look whether a list is due for renewal.
const LOOK: Duration = Duration::from_secs(60);

/// One CA that publishes lists.
struct Issuer {
    certificate: Certificate,
    signer: Arc<SigningKey>,
}

/// Publishes the lists of every CA.
pub(crate) struct Publisher {
    board: Arc<Board>,
    writer: Writer,
    issuers: Vec<Issuer>,
}

impl Publisher {
    pub(crate) fn new(board: Arc<Board>, writer: Writer, keys: &Keys) -> Self {
        let issuer = |certificate: &Certificate, signer: &Arc<SigningKey>| Issuer {
            certificate: certificate.clone(),
            signer: Arc::clone(signer),
        };
        let mut issuers = vec![issuer(&keys.root_certificate, &keys.root)];
        issuers.extend(keys.issuing_certificates.iter().zip(&keys.issuing).map(|(c, s)| issuer(c, s)));
        Self { board, writer, issuers }
    }

    /// Publishes for ever. Dropping the future ends it between two lists.
    pub(crate) async fn run(self) {
        let mut changed = self.board.subscribe();
        loop {
            let began = Instant::now();
            if let Err(error) = self.publish_due(clock::now()).await {
                tracing::error!(%error, "a revocation list could not be published");
            }
            sleep_until(began + PAUSE).await;
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep_until(began + LOOK) => {}
            }
        }
    }

    /// Publishes every list that says something else than the records, or is old.
    ///
    /// # Errors
    /// The first one that occurred. The lists of the other CAs are published all the same.
    pub(crate) async fn publish_due(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for issuer in &self.issuers {
            let key = issuer.certificate.key_id();
            let held = self.board.view().list(key).map(|list| (list.number(), list.this_update()));
            let (entries, staleness) = self.board.next_list(key, now);
            let is_old = held.is_none_or(|(_, made)| now >= made.plus(crl::VALIDITY / 7));
            if is_old || staleness == Staleness::Stale {
                let last = held.map(|(number, _)| number);
                outcome = outcome.and(self.publish(issuer, key, last, entries, now).await);
            }
        }
        outcome
    }

    async fn publish(
        &self,
        issuer: &Issuer,
        key: KeyId,
        last: Option<u64>,
        entries: Vec<crl::Entry>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| StoreError::Failed(format!("revocation list: {e}"));
        let number = crl::next_number(last, now);
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let unsigned = crl::build(&issuer.certificate, number, entries, now).map_err(|e| failed(&e))?;
        let signature = issuer.signer.sign(SignatureForm::Der, unsigned.to_be_signed());
        let der = unsigned.finish(&signature.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        let list = VerifiedCrl::parse(&der, &issuer.certificate).map_err(|e| failed(&e))?;
        let stored = StoredCrl { issuer: key, number, next_update: list.next_update(), der };
        let change = SystemChange::CrlPublished { issuer: key, number, entries: count };
        let transaction = Transaction::own(now, vec![change.into()], vec![SystemWrite::Crl(stored)]);
        self.writer.commit(transaction).await?;
        self.board.install(key, list, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[tokio::test]
    async fn a_ca_that_cannot_sign_does_not_keep_the_others_from_publishing() {
        let (_folder, authority) = fixtures::attic().await;
        let shared = authority.shared();
        let mut publisher = Publisher::new(Arc::clone(&shared.board), shared.writer.clone(), &shared.keys);
        let numbers = |publisher: &Publisher| -> Vec<u64> {
            let view = shared.board.view();
            let keys = publisher.issuers.iter().map(|issuer| issuer.certificate.key_id());
            keys.map(|key| view.list(key).unwrap().number()).collect()
        };
        let before = numbers(&publisher);
        publisher.issuers[0].signer = Arc::clone(&publisher.issuers[1].signer);
        let later = clock::now().plus(crl::VALIDITY / 7);
        assert!(publisher.publish_due(later).await.is_err());
        let after = numbers(&publisher);
        assert_eq!(after[0], before[0]);
        assert!(after[1] > before[1] && after[2] > before[2], "{before:?} {after:?}");
    }
}
