//! Asks the witnesses of this log after it has grown, and keeps what they answer.
//!
//! Shape: a *round* takes the newest checkpoint to all witnesses at once, each in a task of its own with a time limit. What
//! comes back goes into the store, and from there below the published checkpoint. A witness that fails is asked again
//! after a pause that doubles; one that is slow holds up itself alone.
//!
//! Invariants: nobody who commits waits for a witness. A cosignature makes no entry; that a witness is lost, back, or
//! holds another tree does.
//!
//! Source: AUD-104, AUD-105; C2SP tlog-witness.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use kos_audit::{AnyLogKey, Conflict, SignedCheckpoint, tree::verify_consistency, witness::AddCheckpoint};
use kos_base::{DeviceId, Timestamp, text::printable};
use kos_klp::body::WitnessAnswer;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    ask::{ASK_TIME_MAX, AskError, Reply, WitnessUrl},
    cosigner::record_left,
    evidence::{self, Kept},
    standing::policy,
};
use crate::{
    authority::Shared,
    clock,
    fleet::Undelivered,
    log::{CHECKPOINT_BYTES_MAX, consistency},
    pause,
    record::SystemChange,
    store::{LogState, StoreError, StoredWitness, WitnessState, WitnessWay},
    writer::{Cosigned, SystemWrite, Transaction},
};

/// Least time between two rounds, which a critical entry begins.
const ROUND_MIN: Duration = Duration::from_secs(2);
/// How long an ordinary entry may wait for its round.
const ORDINARY_MAX: Duration = Duration::from_secs(20);
/// How old a round may be when nothing happens: cosignatures say that the log is still the same.
const QUIET_MAX: Duration = Duration::from_secs(600);
/// First pause after a witness has failed, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// The longest for a device, which comes back by itself.
const DEVICE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause after a witness has named another tree: it may hold more by then, and what it holds is evidence.
const DISAGREEING_PAUSE: Duration = Duration::from_secs(15);
/// After how long without an answer a witness counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// How far the clock of a witness may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(3_600);
/// Longest reason that is kept of a witness that fails, in characters.
const TROUBLE_CHARS_MAX: usize = 200;
/// Requests to a witness in one go: one that names another size each time is not asked for ever.
const TRIES_MAX: u32 = 3;

/// A checkpoint on its way to the witnesses.
#[derive(Clone, Debug)]
struct Round {
    number: u64,
    size: u64,
    text: Arc<str>,
    /// What has come back, by witness.
    lines: BTreeMap<String, String>,
}

impl Round {
    /// The checkpoint with what has come back; nothing without a cosignature, and nothing that could not be read again:
    /// it is published, and a start reads what was published.
    fn cosigned(&self) -> Option<(SignedCheckpoint, LogState)> {
        let lines: String = self.lines.values().map(String::as_str).collect();
        let checkpoint = format!("{}{lines}", self.text);
        let is_too_long = u64::try_from(checkpoint.len()).is_ok_and(|len| len > CHECKPOINT_BYTES_MAX);
        if lines.is_empty() || is_too_long {
            return None;
        }
        let signed = SignedCheckpoint::parse(&checkpoint).ok()?;
        Some((signed, LogState { size: self.size, checkpoint }))
    }
}

/// What is known of a witness in this run.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// The round that it has answered.
    done: u64,
    is_under_way: bool,
    failures: u32,
    failing_since: Option<Timestamp>,
    again_at: Option<Instant>,
    /// What shows that it holds another tree is in a file.
    is_proven: bool,
}

/// What came of asking.
#[derive(Debug)]
enum Outcome {
    Cosigned {
        line: String,
        at: Timestamp,
    },
    /// It has another tree, of this size; and its checkpoint, if it gave one.
    Disagrees {
        size: Option<u64>,
        checkpoint: Option<String>,
    },
    Failed(String),
}

impl Outcome {
    /// What is wrong, for whoever looks at the list.
    fn trouble(&self) -> Option<String> {
        match self {
            Self::Cosigned { .. } => None,
            Self::Disagrees { size: Some(size), .. } => {
                Some(format!("it holds another tree, of {size} entries"))
            }
            Self::Disagrees { size: None, .. } => Some("it holds another tree".to_owned()),
            Self::Failed(why) => Some(printable(why, TROUBLE_CHARS_MAX)),
        }
    }
}

struct Answered {
    witness: StoredWitness,
    round: u64,
    size: u64,
    outcome: Outcome,
}

struct Collector {
    shared: Arc<Shared>,
    asks: JoinSet<Answered>,
    asked: HashMap<String, Asked>,
    round: Round,
    began: Option<Instant>,
    /// Somebody changed the witnesses.
    is_hurried: bool,
}

/// Does it for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    record_left(&shared).await;
    let mut progress = shared.writer.progress();
    let round = Round { number: 0, size: 0, text: Arc::from(""), lines: BTreeMap::new() };
    let mut collector = Collector {
        shared: Arc::clone(&shared),
        asks: JoinSet::new(),
        asked: HashMap::new(),
        round,
        began: None,
        is_hurried: false,
    };
    loop {
        let next = match collector.turn().await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the witnesses cannot be asked");
                Instant::now() + PAUSE_MIN
            }
        };
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            () = shared.witnessing.changed.notified() => collector.is_hurried = true,
            Some(Ok(answered)) = collector.asks.join_next(), if !collector.asks.is_empty() => {
                if let Err(error) = collector.take(answered).await {
                    tracing::error!(%error, "what a witness said cannot be kept");
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

impl Collector {
    /// Begins a round when one is due, asks whoever is to be asked, and says when to look again.
    async fn turn(&mut self) -> Result<Instant, StoreError> {
        let now = Instant::now();
        let mut next = self.due(now);
        if next <= now {
            self.begin(now).await?;
            next = self.due(now);
        }
        for witness in self.shared.store.witnesses().await? {
            let asked = self.asked.entry(witness.key.name().to_owned()).or_default();
            if asked.is_under_way || asked.done >= self.round.number || self.round.size == 0 {
                continue;
            }
            if let Some(again_at) = asked.again_at.filter(|at| *at > now) {
                next = next.min(again_at);
                continue;
            }
            asked.is_under_way = true;
            let (shared, round) = (Arc::clone(&self.shared), self.round.clone());
            self.asks.spawn(async move {
                let outcome = ask(&shared, &witness, &round).await;
                Answered { witness, round: round.number, size: round.size, outcome }
            });
        }
        Ok(next)
    }

    /// When the next round is due.
    fn due(&self, now: Instant) -> Instant {
        let Some(began) = self.began else { return now };
        let progress = *self.shared.writer.progress().borrow();
        let pause = if self.is_hurried || progress.critical_size > self.round.size {
            ROUND_MIN
        } else if progress.log_size > self.round.size {
            ORDINARY_MAX
        } else {
            QUIET_MAX
        };
        began + pause
    }

    async fn begin(&mut self, now: Instant) -> Result<(), StoreError> {
        (self.began, self.is_hurried) = (Some(now), false);
        let Some(state) = self.shared.store.log_state().await? else { return Ok(()) };
        self.round = Round {
            number: self.round.number + 1,
            size: state.size,
            text: state.checkpoint.into(),
            lines: BTreeMap::new(),
        };
        Ok(())
    }

    async fn take(&mut self, answered: Answered) -> Result<(), StoreError> {
        let Answered { mut witness, round, size, outcome } = answered;
        let (now, name) = (clock::now(), witness.key.name().to_owned());
        let asked = self.asked.entry(name.clone()).or_default();
        asked.is_under_way = false;
        let before = witness.state;
        let mut named = None;
        self.shared.witnessing.trouble(&name, outcome.trouble());
        let change = match outcome {
            Outcome::Cosigned { line, at } => {
                *asked = Asked { done: round, ..Asked::default() };
                (witness.size, witness.cosigned_at, witness.state) = (size, at, WitnessState::Cosigning);
                if round == self.round.number {
                    self.round.lines.insert(name.clone(), line);
                }
                let was_away = matches!(before, WitnessState::Lost | WitnessState::Disagrees);
                was_away.then_some(SystemChange::WitnessBack { witness: name, size })
            }
            Outcome::Disagrees { size: theirs, checkpoint } => {
                asked.again_at = Some(Instant::now() + DISAGREEING_PAUSE);
                witness.state = WitnessState::Disagrees;
                if before == WitnessState::Disagrees && asked.is_proven {
                    return Ok(());
                }
                let (proven, kept) = self.prove(&name, checkpoint).await;
                if let Some(asked) = self.asked.get_mut(&name) {
                    asked.is_proven = kept.is_some();
                }
                // That it disagrees is recorded once, and once more when it first gives evidence.
                if before == WitnessState::Disagrees && !matches!(kept, Some(Kept::New(_))) {
                    return Ok(());
                }
                let evidence = match kept {
                    Some(Kept::New(file) | Kept::Known(file)) => Some(file),
                    Some(Kept::Enough) | None => None,
                };
                named.clone_from(&evidence);
                tracing::error!(
                    witness = name,
                    ?theirs,
                    own = size,
                    proven,
                    code = %kos_base::code::audit::WITNESS_DISAGREES,
                    "a witness holds another tree of this log"
                );
                Some(SystemChange::WitnessDisagreed {
                    witness: name,
                    size: theirs,
                    own_size: size,
                    proven,
                    evidence,
                })
            }
            Outcome::Failed(why) => {
                asked.failures = asked.failures.saturating_add(1);
                let longest = match witness.way {
                    WitnessWay::Url(_) => PAUSE_MAX,
                    // That it has no link is known here.
                    WitnessWay::Device(_) => DEVICE_PAUSE_MAX,
                };
                let pause = pause::after(asked.failures, PAUSE_MIN, longest);
                asked.again_at = Some(Instant::now() + pause);
                let since = *asked.failing_since.get_or_insert(now);
                tracing::warn!(witness = name, why, "a witness does not cosign");
                let is_news = matches!(before, WitnessState::Waiting | WitnessState::Cosigning);
                if !is_news || now.since(since) < LOST_AFTER {
                    return Ok(());
                }
                witness.state = WitnessState::Lost;
                Some(SystemChange::WitnessLost { witness: name, since })
            }
        };
        self.keep(witness, change, now).await?;
        if let Some(file) = named {
            evidence::recorded(&self.shared.home.witness(), &file);
        }
        Ok(())
    }

    /// Makes durable what a witness has said: with an entry where there is something to record.
    async fn keep(
        &self,
        witness: StoredWitness,
        change: Option<SystemChange>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let cosigned = witness.state == WitnessState::Cosigning;
        if let Some(change) = change {
            let writes = vec![SystemWrite::Witness(Box::new(witness.clone()))];
            match self.shared.writer.commit(Transaction::own(now, vec![change.into()], writes)).await {
                // It was removed meanwhile.
                Err(StoreError::Conflict { .. }) => return Ok(()),
                kept => kept.map(drop)?,
            }
        }
        if !cosigned {
            return Ok(());
        }
        let policy = policy(&self.shared.store).await?;
        let cosigned = self.round.cosigned();
        if cosigned.is_none() && !self.round.lines.is_empty() {
            tracing::error!(
                lines = self.round.lines.len(),
                "no checkpoint can be read with these cosignatures"
            );
        }
        let met = cosigned.as_ref().zip(policy).is_some_and(|((signed, _), policy)| {
            let verified = signed.clone().verify(self.shared.log.key(), policy.witnesses());
            verified.is_ok_and(|verified| policy.is_met_by(&verified))
        });
        let cosigned = cosigned.map(|(_, state)| state);
        let kept =
            Cosigned { witnesses: vec![witness], witnessed: cosigned.clone().filter(|_| met), cosigned };
        self.shared.writer.keep_cosigned(kept).await?;
        self.shared.witnessing.cosigned.notify_one();
        Ok(())
    }

    /// Whether the checkpoint of a witness shows that this log signed something that it is not any more; and the file in
    /// which both are kept.
    async fn prove(&self, name: &str, checkpoint: Option<String>) -> (bool, Option<Kept>) {
        let Some(theirs) = checkpoint else { return (false, None) };
        let key = AnyLogKey::from(self.shared.log.key());
        let Ok(conflict) = Conflict::new(&key, &theirs, &self.round.text) else { return (false, None) };
        let proven = self.contradicts(&conflict).await;
        match evidence::keep(&self.shared.home.witness(), &conflict) {
            Ok(kept) => (proven, Some(kept)),
            Err(error) => {
                tracing::error!(witness = name, %error, "evidence cannot be kept");
                (proven, None)
            }
        }
    }

    /// With the tree that is here: the smaller checkpoint is not its beginning, or the larger one is larger than it is.
    async fn contradicts(&self, conflict: &Conflict) -> bool {
        let [smaller, larger] = conflict.heads();
        if larger.size > self.round.size {
            return true;
        }
        let proof = consistency(&self.shared.store, smaller.size, larger.size).await;
        proof.is_ok_and(|proof| verify_consistency(&proof, &smaller, &larger).is_err())
    }
}

/// Takes the checkpoint of a round to a witness.
async fn ask(shared: &Shared, witness: &StoredWitness, round: &Round) -> Outcome {
    match try_asking(shared, witness, round).await {
        Ok(outcome) => outcome,
        Err(why) => Outcome::Failed(format!("{} {why}", why.code())),
    }
}

async fn try_asking(shared: &Shared, witness: &StoredWitness, round: &Round) -> Result<Outcome, AskError> {
    let nonsense = |why: &str| AskError::Nonsense(why.to_owned());
    let signed = SignedCheckpoint::parse(&round.text).map_err(|e| AskError::Nonsense(e.to_string()))?;
    let mut old = witness.size.min(round.size);
    for _ in 0..TRIES_MAX {
        let proof = consistency(&shared.store, old, round.size).await;
        let proof = proof.map_err(|e| AskError::Nonsense(e.to_string()))?;
        let request = AddCheckpoint::new(old, proof, &signed).to_string();
        let Reply { status, body, held } = send(shared, witness, request).await?;
        match status {
            200 => {
                let cosigned =
                    signed.with_lines(&body).ok().and_then(|signed| signed.cosignature_of(&witness.key));
                let (line, at) = cosigned.ok_or_else(|| nonsense("no cosignature of its key"))?;
                if at > clock::now().plus(AHEAD_MAX) {
                    return Err(nonsense("a cosignature of the future"));
                }
                return Ok(Outcome::Cosigned { line, at });
            }
            409 => {
                let theirs = body.strip_suffix('\n').and_then(|size| size.parse::<u64>().ok());
                let theirs = theirs.ok_or_else(|| nonsense("409 without a size"))?;
                if theirs > round.size {
                    return Ok(disagrees(shared, witness, Some(theirs), held).await);
                }
                old = theirs;
            }
            422 => return Ok(disagrees(shared, witness, Some(old), held).await),
            other => return Err(AskError::Nonsense(format!("status {other}"))),
        }
    }
    Err(nonsense("another size each time"))
}

/// Asks for the checkpoint that shows it.
async fn disagrees(
    shared: &Shared,
    witness: &StoredWitness,
    size: Option<u64>,
    held: Option<String>,
) -> Outcome {
    let origin = shared.log.key().origin().as_str();
    let checkpoint = match &witness.way {
        WitnessWay::Url(url) => match url.parse::<WitnessUrl>() {
            Ok(url) => {
                url.newest(origin).await.ok().filter(|reply| reply.status == 200).map(|reply| reply.body)
            }
            Err(_) => None,
        },
        WitnessWay::Device(_) => held,
    };
    Outcome::Disagrees { size, checkpoint }
}

/// Asks a device as a witness; with an empty request, for its key.
pub(crate) async fn ask_device(
    shared: &Shared,
    device: &DeviceId,
    request: Vec<u8>,
) -> Result<WitnessAnswer, AskError> {
    let answered = timeout(ASK_TIME_MAX, shared.links.ask_witness(device, request)).await;
    answered.map_err(|_| AskError::Slow)?.map_err(|why| match why {
        Undelivered::NoLink => AskError::Link("it has none, or does not cosign"),
        Undelivered::Full => AskError::Link("it does not keep up"),
    })
}

async fn send(shared: &Shared, witness: &StoredWitness, request: String) -> Result<Reply, AskError> {
    match &witness.way {
        WitnessWay::Url(url) => {
            let url: WitnessUrl = url.parse().map_err(|_| AskError::Unreachable("its address".to_owned()))?;
            url.add_checkpoint(request).await
        }
        WitnessWay::Device(device) => {
            let WitnessAnswer { key, status, body, held } =
                ask_device(shared, device, request.into_bytes()).await?;
            if key != witness.key.to_string() {
                return Err(AskError::Link("its key is another"));
            }
            Ok(Reply { status, body, held })
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use kos_audit::witness::{WITNESS_NAME_BYTES_MAX, WITNESSES_MAX};

    use super::*;

    /// A round that so many witnesses with names of so many bytes have answered.
    fn answered(witnesses: usize, name_bytes: usize) -> Round {
        let line = |name: &str, bytes: &[u8]| format!("\u{2014} {name} {}\n", BASE64.encode(bytes));
        let root = BASE64.encode(&[7; 32]);
        let text = format!("attic/klog\n7\n{root}\ntime 1795170000000\n\n{}", line("attic/klog", &[1; 68]));
        let lines = (0..witnesses).map(|n| {
            let name = format!("{n:0name_bytes$}");
            (name.clone(), line(&name, &[2; 76]))
        });
        Round { number: 1, size: 7, text: text.into(), lines: lines.collect() }
    }

    #[test]
    fn the_lines_of_all_witnesses_are_kept_and_no_more_than_a_start_reads_back() {
        let most = answered(WITNESSES_MAX, WITNESS_NAME_BYTES_MAX).cosigned().unwrap().1;
        assert!(u64::try_from(most.checkpoint.len()).unwrap() < CHECKPOINT_BYTES_MAX && most.size == 7);
        assert_eq!(
            most.checkpoint.lines().filter(|line| line.starts_with('\u{2014}')).count(),
            WITNESSES_MAX + 1
        );
        assert!(answered(1, 9).cosigned().is_some() && answered(0, 9).cosigned().is_none());
        assert!(answered(64, 9).cosigned().is_none(), "more lines than a note has");
        assert!(answered(60, 255).cosigned().is_none(), "longer than what is read back");
        let mut odd = answered(1, 9);
        odd.lines.insert("x".to_owned(), "no line".to_owned());
        assert!(odd.cosigned().is_none());
    }
}
