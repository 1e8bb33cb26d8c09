//! Asking second verifiers: over the links that they have, one after the other, within the time of a session.
//!
//! The first whose verdict counts decides; one without a link, without lists, without an answer in time or with one that does not
//! hold is passed over. What it says is judged again by the machine of the session.
//!
//! Source: `docs/spec/second-verifier.md` SECV-11 to SECV-13.

use std::time::Duration;

use kos_base::{DeviceId, code};
use kos_identity::{
    enrolment::authority::Question,
    registry::Device,
    second::{self, Asked, Fault, Testimony},
};
use tokio::time::timeout;

use crate::{authority::Shared, clock, store::StoreError};

/// How long one node may take. It writes nothing to its disk but a line of its log.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// How long it may take in all: a session has to end in time, whoever does not answer.
const TIME_MAX: Duration = Duration::from_secs(8);

/// What a second verifier says, if one does.
pub(crate) async fn testimony(shared: &Shared, question: &Question) -> Option<Box<Testimony>> {
    let found = match timeout(TIME_MAX, first(shared, question)).await {
        Ok(found) => found,
        Err(_) => Ok(None),
    };
    let found = found.unwrap_or_else(|error| {
        tracing::error!(%error, "second verifiers cannot be asked");
        None
    });
    if found.is_none() {
        let (device, code) = (&question.device, code::second::SECOND_ABSENT);
        tracing::warn!(%device, %code, "no second verifier has judged a device");
    }
    found.map(Box::new)
}

async fn first(shared: &Shared, question: &Question) -> Result<Option<Testimony>, StoreError> {
    let mut passed_over = None;
    for named in shared.store.attestation_lists().await?.verifiers {
        let record = shared.store.device(&named.device).await?;
        if record.is_none_or(|record| second::fit(&record, clock::now()).is_err()) {
            continue;
        }
        let Some(signed) = asked(shared, &named.device, question).await else { continue };
        // Read afterwards: who was stopped meanwhile does not count.
        let Some(node) = shared.store.device(&named.device).await? else { continue };
        let is_named = shared.store.attestation_lists().await?.names_verifier(&named.device);
        let said = Testimony { node, is_named, signed };
        let asked = Asked {
            authority: &shared.name,
            device: &question.device,
            operational: question.operational,
            transcript: &second::digest(&question.transcript),
            now: clock::now(),
        };
        match second::check(&asked, &said) {
            Ok(_) | Err(Fault::Refused(_)) => return Ok(Some(said)),
            Err(fault) => {
                tracing::warn!(verifier = %named.device, %fault, "a second verifier is passed over");
                passed_over = Some(said);
            }
        }
    }
    Ok(passed_over)
}

/// What one node answers.
async fn asked(shared: &Shared, node: &DeviceId, question: &Question) -> Option<Vec<u8>> {
    // A mandatory enforcement module may keep it to the lobby.
    let stands = shared.links.standing(node).is_some_and(|held| held.profile >= second::LEAST);
    if *node == question.device || !stands {
        return None;
    }
    let mut answers = shared.links.judge(node, question.transcript.clone()).ok()?;
    match timeout(ANSWER_TIME_MAX, answers.recv()).await {
        Ok(Some(Ok(signed))) => Some(signed),
        Ok(Some(Err(status))) => {
            tracing::warn!(verifier = %node, status, "a second verifier does not judge");
            None
        }
        Ok(None) | Err(_) => {
            tracing::warn!(verifier = %node, "a second verifier does not answer");
            None
        }
    }
}

/// Why a device cannot judge now, if so.
pub(crate) fn hindrance(shared: &Shared, node: &DeviceId, record: Option<&Device>) -> Option<String> {
    let Some(record) = record else { return Some("is not there".to_owned()) };
    if let Err(Fault::Unfit(why)) = second::fit(record, clock::now()) {
        return Some(why.to_owned());
    }
    match shared.links.standing(node) {
        None => Some("has no link".to_owned()),
        Some(held) if held.profile < second::LEAST => Some("is kept to the lobby by a module".to_owned()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use kos_base::{EvidenceTier, SecurityProfile, key::SignatureForm};
    use kos_identity::{
        registry::{Actor, Change, Write},
        second::{Opinion, Verdict},
    };
    use kos_policy::Standing;

    use super::*;
    use crate::{
        fixtures::{self, Enrolled},
        fleet::Push,
        record::SystemChange,
        store::{Setting, StoredVerifier},
        writer::{SystemWrite, Transaction},
    };

    /// A device of SEC-3 in service, with all that it needs.
    async fn node(shared: &Shared, n: u8) -> (Enrolled, Device) {
        let standing = Standing::certified(SecurityProfile::Sec3, EvidenceTier::EkActivated);
        let (enrolled, device) = Enrolled::device_with(shared, n, standing, SecurityProfile::Sec3).await;
        let mut next = device.next_version();
        next.image = Some(vec![1; 32]);
        let change = Change::ChannelChanged { device: next.id.clone(), from: next.channel, to: next.channel };
        let writes = vec![Write::Device(Box::new(next.clone()))];
        let transaction = Transaction {
            at: clock::now(),
            actor: Actor::Authority,
            changes: vec![change.into()],
            writes,
            system: Vec::new(),
            answer: None,
        };
        shared.writer.commit(transaction).await.unwrap();
        second::fit(&next, clock::now()).unwrap();
        (enrolled, next)
    }

    #[tokio::test]
    async fn a_node_that_says_nothing_that_counts_does_not_keep_the_next_one_from_being_asked() {
        let (_folder, authority) = fixtures::attic().await;
        let shared = authority.shared();
        let (one, two) = (node(shared, 1).await, node(shared, 2).await);
        let mut lists = shared.store.attestation_lists().await.unwrap();
        for (_, device) in [&one, &two] {
            lists.verifiers.push(StoredVerifier { device: device.id.clone(), added_at: clock::now() });
        }
        let text = serde_json::to_string(&lists).unwrap();
        let change = SystemChange::VerifierAdded { device: one.1.id.clone() };
        let write = SystemWrite::Setting(Setting::Attestation, Some(text));
        let own = Transaction::own(clock::now(), vec![change.into()], vec![write]);
        shared.writer.commit(own).await.unwrap();

        let question = Question {
            device: fixtures::device_id(3),
            operational: fixtures::key(3).id(),
            transcript: b"what was said".to_vec(),
        };
        let said = |(enrolled, device): &(Enrolled, Device), opinion, minutes: u64| {
            let verdict = Verdict {
                authority: shared.name.clone(),
                device: question.device.clone(),
                verifier: device.id.clone(),
                transcript: second::digest(&question.transcript).into(),
                opinion,
                at: clock::now().plus(Duration::from_secs(60 * minutes)),
                why: 0,
            };
            let unsigned = verdict.unsigned(enrolled.key.public());
            let signature = enrolled.key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
            unsigned.finish(signature)
        };
        let (yes, no) = (said(&two, Opinion::Yes, 0), said(&two, Opinion::No, 0));
        for (first, second, decides) in [
            (Some(b"nonsense".to_vec()), &yes, 2),
            // Its clock is wrong; it has no lists; it refuses.
            (Some(said(&one, Opinion::Yes, 5)), &yes, 2),
            (Some(said(&one, Opinion::Unable, 0)), &no, 2),
            (None, &yes, 2),
            (Some(said(&one, Opinion::No, 0)), &yes, 1),
            (Some(said(&one, Opinion::Yes, 0)), &no, 1),
        ] {
            let answers =
                [(&one, first), (&two, Some(second.clone()))].map(|((enrolled, device), answer)| {
                    let standing = Standing::certified(SecurityProfile::Sec3, EvidenceTier::EkActivated);
                    let mut link =
                        shared.links.enter(device.id.clone(), enrolled.key.public().id(), standing);
                    async move {
                        while let Some(push) = link.pushes.recv().await {
                            if let Push::Judge(ask) = push {
                                let answer = answer.clone().ok_or(code::second::SECOND_UNFIT.number());
                                ask.answer.try_send(answer).unwrap();
                            }
                        }
                    }
                });
            let [one, two] = answers;
            let found = tokio::select! {
                found = testimony(shared, &question) => found.unwrap(),
                () = one => unreachable!("the link ended"),
                () = two => unreachable!("the link ended"),
            };
            assert_eq!(found.node.id, fixtures::device_id(decides), "{decides}");
        }
    }
}
