use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{KeyAlgorithm, PublicKey, Timestamp};

use super::*;
use crate::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    key::{AnyLogKey, LogKey, WitnessKey},
    tree::{Frontier, ProofPlan, TileGrowth, TreeHash, TreeHead, leaf_hash},
};

const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

fn pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    (pair, public)
}

fn sign(seed: u8, message: &str) -> [u8; 64] {
    pair(seed).0.sign(message.as_bytes()).as_ref().try_into().unwrap()
}

fn log_key(seed: u8) -> LogKey {
    LogKey::new(&"attic".parse().unwrap(), pair(seed).1).unwrap()
}

fn witness_key() -> WitnessKey {
    WitnessKey::new("cellar/witness", pair(9).1).unwrap()
}

/// The hashes of the leaves of a log that turned into another one after `fork` leaves.
fn hashes(size: u64, fork: u64) -> Vec<TreeHash> {
    (0..size).map(|n| leaf_hash(&[n.to_be_bytes(), u64::from(n >= fork).to_be_bytes()].concat())).collect()
}

fn head(hashes: &[TreeHash]) -> TreeHead {
    let mut frontier = Frontier::empty();
    hashes.iter().for_each(|hash| frontier.append(*hash).unwrap());
    frontier.head()
}

fn checkpoint(seed: u8, hashes: &[TreeHash]) -> SignedCheckpoint {
    let key = log_key(seed);
    let stated = Checkpoint { origin: key.origin().clone(), head: head(hashes), time: NOW };
    stated.finish(&key, sign(seed, &stated.to_be_signed()))
}

fn proof(old: u64, hashes: &[TreeHash]) -> Vec<TreeHash> {
    let size = u64::try_from(hashes.len()).unwrap();
    let grown = TileGrowth::new(0, size).unwrap().finish::<Vec<u8>>(&[], hashes).unwrap();
    let plan = ProofPlan::consistency(old, size).unwrap();
    let tile =
        |wanted| grown.iter().find(|(tile, _)| tile == wanted).map(|(_, bytes)| bytes.clone()).unwrap();
    plan.finish(&plan.tiles().iter().map(tile).collect::<Vec<_>>()).unwrap()
}

fn request(old: u64, hashes: &[TreeHash]) -> String {
    AddCheckpoint::new(old, proof(old, hashes), &checkpoint(1, hashes)).to_string()
}

/// Carries everything out, and gives back what was persisted, kept and answered.
fn ask(witness: &mut Witness, request: &str) -> (Vec<Output>, Answer) {
    ask_at(NOW, witness, request)
}

fn ask_at(now: Timestamp, witness: &mut Witness, request: &str) -> (Vec<Output>, Answer) {
    witness.handle_request(now, request.as_bytes());
    let mut before = Vec::new();
    loop {
        match witness.poll_output().expect("an answer") {
            Output::Send(answer) => return (before, answer),
            output => {
                if let Output::Sign(message) = &output {
                    witness.handle_signature(sign(9, message));
                }
                before.push(output);
            }
        }
    }
}

fn watching() -> Witness {
    let mut witness = Witness::new(witness_key());
    witness.watch(AnyLogKey::from(&log_key(1)), None).unwrap();
    witness
}

#[test]
fn a_log_that_grows_is_cosigned_and_the_record_comes_before_the_signature() {
    let mut witness = watching();
    let mut old = 0;
    for size in [0, 1, 2, 7, 8, 300] {
        let grown = hashes(size, u64::MAX);
        let (outputs, answer) = ask(&mut witness, &request(old, &grown));
        let [Output::Persist(record), Output::Sign(_)] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert_eq!(*record.head(), head(&grown));
        assert_eq!(Record::parse(&record.to_string()).as_ref(), Ok(record));
        let Answer::Cosigned(line) = answer else { panic!("{answer:?}") };
        let cosigned = checkpoint(1, &grown).with_lines(&line).unwrap();
        assert_eq!(cosigned.cosignature_of(&witness_key()), Some((line, NOW)));
        let verified = cosigned.verify(&log_key(1), &[witness_key()]).unwrap();
        assert_eq!(verified.witnessed_by(), ["cellar/witness"]);
        old = size;
    }
    let statement = witness.statement("attic/klog").unwrap();
    let again = statement.finish(sign(9, &statement.to_be_signed()));
    let verified = SignedCheckpoint::parse(&again).unwrap().verify(&log_key(1), &[witness_key()]).unwrap();
    assert_eq!((verified.head().size, verified.witnessed_by().len()), (300, 1));
}

#[test]
fn a_checkpoint_that_comes_again_gets_the_same_cosignature_and_costs_no_write() {
    let mut witness = watching();
    let grown = hashes(7, u64::MAX);
    let first = ask(&mut witness, &request(0, &grown)).1;
    let later = |seconds: u64| Timestamp::from_unix_s(NOW.unix_s() + seconds);
    for seconds in [0, 1, 59] {
        let (outputs, answer) = ask_at(later(seconds), &mut witness, &request(7, &grown));
        assert!(matches!(outputs.as_slice(), [Output::Sign(_)]), "{outputs:?}");
        assert_eq!(answer, first);
    }
    let (outputs, answer) = ask_at(later(60), &mut witness, &request(7, &grown));
    assert!(matches!(outputs.as_slice(), [Output::Persist(_), Output::Sign(_)]), "{outputs:?}");
    assert_ne!(answer, first, "the log is still the same, a minute later");
    witness.handle_request(later(61), request(7, &grown).as_bytes());
    witness.handle_failure();
    assert_eq!(witness.held("attic/klog").unwrap().at(), later(60));
}

#[test]
fn every_other_request_gets_the_answer_that_the_protocol_has_for_it() {
    let grown = hashes(7, u64::MAX);
    let good = request(5, &grown);
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let (short, forked) = (hashes(4, u64::MAX), hashes(9, 3));
    let unsigned = AddCheckpoint::new(5, proof(5, &grown), &checkpoint(2, &grown)).to_string();
    let other = good.replace("attic/klog", "cellar/klog");
    let many = format!(
        "old 5\n{}\n{}",
        format!("{}\n", TreeHash::EMPTY.to_base64()).repeat(64),
        checkpoint(1, &grown)
    );
    for (asked, status) in [
        (good.clone(), 200),
        (String::new(), 400),
        (with("old 5", "old 05"), 400),
        (with("old 5", "old -5"), 400),
        (with("old 5", "old 5 "), 400),
        (with("old 5\n", ""), 400),
        (with("old 5\n", "old 5\r\n"), 400),
        (with("\n\n", "\n"), 400),
        (with("\n\n", "\nAAAA\n\n"), 400),
        (good.trim_end().to_owned(), 400),
        (many, 400),
        (with("old 5", "old 8"), 400),
        (other, 404),
        (unsigned, 403),
        (with("\n7\n", "\n8\n"), 403),
        (with("old 5", "old 4"), 409),
        (with("old 5", "old 0"), 409),
        (request(0, &short), 409),
        (AddCheckpoint::new(5, Vec::new(), &checkpoint(1, &grown)).to_string(), 422),
        (request(5, &forked), 422),
        (AddCheckpoint::new(5, Vec::new(), &checkpoint(1, &hashes(5, 3))).to_string(), 422),
    ] {
        let mut witness = watching();
        let held = hashes(5, u64::MAX);
        assert_eq!(ask(&mut witness, &request(0, &held)).1.status(), 200);
        let (outputs, answer) = ask(&mut witness, &asked);
        assert_eq!(answer.status(), status, "{asked}");
        let signed = outputs.iter().any(|output| matches!(output, Output::Sign(_)));
        assert_eq!(signed, status == 200, "{asked}");
        let kept = if status == 200 { 7 } else { 5 };
        assert_eq!(witness.held("attic/klog").unwrap().head().size, kept);
        if status == 409 {
            assert_eq!((answer.body().as_str(), answer.content_type()), ("5\n", "text/x.tlog.size"));
        }
    }
}

#[test]
fn two_roots_of_one_size_are_a_proof_whatever_the_request_says_and_two_sizes_need_the_tree() {
    let mut witness = watching();
    ask(&mut witness, &request(0, &hashes(7, u64::MAX)));
    let (outputs, answer) = ask(&mut witness, &request(3, &hashes(7, 3)));
    assert_eq!(answer, Answer::OtherSize(7));
    let [Output::Keep(conflict)] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(conflict.judge(), Judgement::Equivocation);
    assert_eq!(Conflict::parse(&conflict.to_string()).as_ref(), Ok(conflict));

    let forked = hashes(9, 3);
    let (outputs, answer) = ask(&mut witness, &request(7, &forked));
    assert_eq!(answer, Answer::NotConsistent);
    let [Output::Keep(conflict)] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(conflict.judge(), Judgement::NeedsTree);
    let then = |hashes: &[TreeHash]| head(&hashes[..7]).root;
    assert_eq!(conflict.judge_with(&head(&forked), then(&forked)), Judgement::Equivocation);
    let honest = hashes(9, u64::MAX);
    assert_eq!(conflict.judge_with(&head(&honest), then(&honest)), Judgement::OtherTree);
    let key = AnyLogKey::from(&log_key(1));
    let [one, two] = [&honest[..7], &honest].map(|hashes| checkpoint(1, hashes).to_string());
    let agreeing = Conflict::new(&key, &two, &one).unwrap();
    assert_eq!(agreeing.judge_with(&head(&honest), then(&honest)), Judgement::Consistent);
    let stranger = checkpoint(2, &honest).to_string();
    assert_eq!(Conflict::new(&key, &one, &stranger), Err(ConflictError::Checkpoint));
}

#[test]
fn after_a_failure_the_witness_goes_on_from_what_it_held() {
    let mut witness = watching();
    ask(&mut witness, &request(0, &hashes(5, u64::MAX)));
    let grown = hashes(7, u64::MAX);
    witness.handle_request(NOW, request(5, &grown).as_bytes());
    assert!(matches!(witness.poll_output(), Some(Output::Persist(_))));
    witness.handle_failure();
    assert_eq!(witness.poll_output(), Some(Output::Send(Answer::Unavailable)));
    assert_eq!(witness.poll_output(), None);
    assert_eq!(ask(&mut witness, &request(5, &grown)).1.status(), 200);
    assert_eq!(ask(&mut witness, &request(5, &hashes(8, 3))).1, Answer::OtherSize(7));
}

#[test]
fn a_record_of_another_log_or_that_was_altered_is_no_memory() {
    let mut witness = watching();
    ask(&mut witness, &request(0, &hashes(5, u64::MAX)));
    let held = witness.held("attic/klog").unwrap().clone();
    let text = held.to_string();
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let read = String::from_utf8(changed).ok().map(|changed| Record::parse(&changed));
        // The time is the witness's own word, which nobody signed.
        let is_time = held.at().unix_s().to_string();
        let time = text.find(&format!("\n{is_time}\n")).unwrap() + 1;
        if !(time..time + is_time.len()).contains(&at) {
            assert!(!matches!(read, Some(Ok(_))), "byte {at}");
        }
    }
    assert_eq!(witness.watch(AnyLogKey::from(&log_key(2)), Some(held)), Err(RecordError));
}

#[test]
fn a_policy_counts_each_key_once_and_asks_for_no_more_than_there_are() {
    let second = WitnessKey::new("loft/witness", pair(8).1).unwrap();
    let alias = WitnessKey::new("cellar/alias", pair(9).1).unwrap();
    let policy = |witnesses: &[&WitnessKey], threshold| {
        Policy::new(witnesses.iter().map(|one| (*one).clone()).collect(), threshold)
    };
    assert!(policy(&[&witness_key(), &second], 2).is_ok());
    assert_eq!(policy(&[&witness_key()], 0), Err(PolicyError::Threshold { threshold: 0, witnesses: 1 }));
    assert_eq!(policy(&[&witness_key()], 2), Err(PolicyError::Threshold { threshold: 2, witnesses: 1 }));
    assert_eq!(policy(&[&witness_key(), &alias], 1), Err(PolicyError::Twice));

    let mut witness = watching();
    let grown = hashes(5, u64::MAX);
    let Answer::Cosigned(line) = ask(&mut witness, &request(0, &grown)).1 else { panic!() };
    let twice = checkpoint(1, &grown).with_lines(&format!("{line}{line}")).unwrap();
    let verified = twice.verify(&log_key(1), &[witness_key(), alias, second.clone()]).unwrap();
    assert_eq!(verified.witnessed_by(), ["cellar/witness"]);
    assert!(policy(&[&witness_key(), &second], 1).unwrap().is_met_by(&verified));
    assert!(!policy(&[&witness_key(), &second], 2).unwrap().is_met_by(&verified));
}
