//! What the authority says to a device over its link, and what it makes of the answers.
//!
//! Source: `docs/spec/klp.md` KLP-45 to KLP-50; `docs/spec/policy.md` POLS-12, POLS-13, POLS-17.

use std::{
    ops::ControlFlow,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use kos_base::{Channel, DeviceId, EntryId, KeyId, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::PeerIdentity,
    enrolment::authority::{Context, kid_grant},
    kid,
    registry::Device,
};
use kos_klp::{
    body::{self, Ack, Command, Heartbeat, HeartbeatAnswer, Instruction},
    freshness::{ReplayGuard, Sender},
    message::{MessageId, MessageType, RevocationHead},
    session::{Outgoing, Session},
};
use kos_net::{
    carrier::{Link, LinkError, LinkReceiver, LinkSender},
    entropy,
    keys::SigningKey,
};
use kos_policy::{
    Credential, Entrance, Errand, Refusal, Request, Standing, decide,
    module::{REPORT_AGE_MAX, Report},
    slice::Slice,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    bonds::Affairs,
    links::{Cut, Push, WitnessAsk},
    own_key::Ends,
    questions::Questions,
    relay::Allowance,
    rules,
};
use crate::{
    authority::Shared,
    bonds, clock, policy,
    presence::Arrival,
    record::{Change, SystemChange},
    revocation::News,
    store::StoreError,
    writer::Transaction,
};

/// A fresh kID is sent when the last one on this link is older.
const KID_REFRESH: Duration = Duration::from_secs(8 * 3600);

/// Most frames that are taken before it is looked again whether the link is to be cut.
const TOGETHER_MAX: u32 = 32;

/// What the manifests say is said again on a link after this time, long before it runs out.
pub(super) const SLICE_REFRESH: Duration = Duration::from_secs(24 * 3600);

/// Most alerts that a device has not acknowledged. Whoever waits for an older one hears that it was not taken.
const ALERTS_MAX: usize = 4;

/// How long they may take together. Stops a device whose frames are slow to take from putting off its being cut.
const TOGETHER_TIME_MAX: Duration = Duration::from_millis(100);

/// Serves the links of devices.
#[derive(Clone, Debug)]
pub(crate) struct Switchboard {
    pub(crate) shared: Arc<Shared>,
    /// The key of the TLS certificate, which signs commands.
    pub(crate) own: watch::Receiver<Arc<SigningKey>>,
    /// What the authority is.
    pub(crate) context: watch::Receiver<Arc<Context>>,
    /// Places of signed messages; its epoch is durable.
    pub(crate) places: Arc<Mutex<Sender>>,
}

/// Why a link was ended from this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the peer is not a device in service")]
    NotInService,
    #[error("the device was cut off")]
    Cut,
    #[error("the device does not show the key of its own")]
    OwnKey,
    #[error("the device's certificate has run out")]
    Expired,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Frame(#[from] kos_klp::frame::FrameError),
    #[error(transparent)]
    Received(#[from] kos_klp::session::ReceiveError),
    #[error(transparent)]
    Send(#[from] kos_klp::session::SendError),
    #[error(transparent)]
    Derivation(#[from] kos_klp::DerivationError),
    #[error(transparent)]
    Body(#[from] body::BodyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] kos_net::keys::KeyError),
    #[error(transparent)]
    Entropy(#[from] entropy::NoEntropy),
    #[error(transparent)]
    Policy(#[from] Refusal),
    #[error(transparent)]
    Party(#[from] kos_klp::party::ParsePartyError),
}

/// One link and what is known of its device.
pub(super) struct Talk<'a> {
    pub(super) board: &'a Switchboard,
    own: Arc<SigningKey>,
    /// The number of the device's own key that its link has shown.
    pub(super) shown: Option<u32>,
    pub(super) session: Session,
    pub(super) sender: LinkSender,
    pub(super) id: DeviceId,
    pub(super) device: Arc<Device>,
    /// What its certificate says.
    pub(super) certified: Standing,
    /// What decides what it may do here: the same, or the lobby while a mandatory module is not met.
    pub(super) standing: Standing,
    /// What it said last of itself for enforcement modules, and when.
    pub(super) report: Option<(Report, Timestamp)>,
    /// When that is too old to count.
    stale_at: Option<Instant>,
    /// The number of this link among those of the device.
    pub(super) number: u64,
    /// When the certificate of the link runs out, and the link with it.
    pub(super) not_after: Timestamp,
    /// What was signed and heard over this link, once anything was.
    pub(super) heard: Option<Box<ReplayGuard>>,
    /// What the device may still have passed on.
    pub(super) allowance: Allowance,
    kid_sent_at: Option<Timestamp>,
    pub(super) told: Told,
    delivery: Option<Delivery>,
    /// What the manifests say, while it is not answered.
    pub(super) policy_under_way: Option<(MessageId, Slice)>,
    /// The question to the device as a witness that is not answered yet.
    pub(super) asked: Option<(MessageId, Arc<WitnessAsk>)>,
    /// Other devices that it was asked to judge.
    pub(super) judging: Questions,
    /// Calls of agents that it has not answered.
    pub(super) calls: Questions,
    /// Alerts that are not acknowledged yet, oldest first.
    alerts: Vec<(MessageId, oneshot::Sender<u16>)>,
    /// What was said of pairings and grants, and what is asked of the device by agents.
    pub(super) bonds: Affairs,
}

/// Revocation lists on their way: the message that is not acknowledged yet.
struct Delivery {
    news: Arc<News>,
    number: usize,
    under_way: MessageId,
}

/// What the device has been told over this link, so that it is told once.
#[derive(Default)]
pub(super) struct Told {
    /// The state of the revocation lists that were sent.
    revocations: Option<RevocationHead>,
    channel: Option<Channel>,
    regenerate_version: Option<u64>,
    /// The own key that it was given.
    pub(super) own_key: Option<u32>,
    /// What the manifests say about it, which it has taken, and when that was.
    pub(super) policy: Option<Slice>,
}

impl Switchboard {
    /// Serves one link until it ends.
    pub(crate) async fn serve(&self, link: Link) {
        let remote = link.about.remote;
        if let Err(ended) = self.talk(link).await {
            tracing::debug!(%remote, reason = %ended, "link ended");
        }
    }

    async fn talk(&self, link: Link) -> Result<(), Ended> {
        let Link { about, sender, mut receiver } = link;
        let PeerIdentity::Device { authority, device: id } = about.peer.identity().clone() else {
            return Err(Ended::NotInService);
        };
        let key = about.peer.key_id();
        let not_after = about.peer.not_after();
        // Before it enters, since entering cuts the link that the device has.
        let device = self.in_service(&id, key).await?;
        let standing = policy::standing_of(&about.peer).ok_or(Ended::NotInService)?;
        let own = Arc::clone(&self.own.borrow());
        let ends = Ends {
            authority: authority.as_ref().parse()?,
            own_key: own.public().id(),
            device: format!("{authority}/{id}").parse()?,
        };
        let begun = self.hear_key(&about, &device, &ends, &mut receiver).await?;
        // Nothing was reported yet: who has to is in the lobby from the first moment.
        let (certified, (standing, _)) = (standing, rules::judged(&self.shared, &device, standing, None));
        let mut registration = self.shared.links.enter(id.clone(), key, standing);
        // And afterwards again: a change from now on reaches the link, and one before is in this record.
        let device = self.in_service(&id, key).await?;
        if !begun.stands(&about, &device) {
            return Err(Ended::OwnKey);
        }
        let shown = Credential::Certificate { record: device.profile() };
        if let Err(refusal) = decide(certified, Request::Enter(Entrance::Link, shown)).check() {
            self.shared.policy.count(&id, refusal);
            return Err(refusal.into());
        }
        let session = ends.session(&about, &begun.secret)?;
        let device = Arc::new(device);
        let mut talk = Talk {
            board: self,
            own,
            shown: begun.shown,
            session,
            sender,
            id,
            device,
            certified,
            standing: certified,
            report: None,
            stale_at: None,
            number: registration.number(),
            not_after,
            heard: None,
            allowance: Allowance::new(Instant::now()),
            kid_sent_at: None,
            told: Told::default(),
            delivery: None,
            policy_under_way: None,
            asked: None,
            judging: Questions::default(),
            calls: Questions::default(),
            alerts: Vec::new(),
            bonds: Affairs::default(),
        };
        talk.judge_modules();
        self.shared.links.stands(&talk.id, talk.number, talk.standing);
        self.shared.alerts.linked(&talk.id);
        talk.confirm_key(begun.shown).await?;
        talk.push(Push::Record(Arc::clone(&talk.device))).await?;
        talk.take_first(begun.first).await?;
        let mut expiry = pin!(sleep(remaining(not_after, clock::now())?));
        loop {
            tokio::select! {
                biased;
                () = registration.cut.wait() => {
                    // A newer link may have reported already.
                    if registration.is_current() {
                        self.shared.presence.gone(&talk.id);
                    }
                    return Err(Ended::Cut);
                }
                () = expiry.as_mut() => return Err(Ended::Expired),
                () = passed(talk.stale_at) => talk.forget_report(),
                push = registration.pushes.recv() => match push {
                    Some(push) => talk.push(push).await?,
                    None => return Err(Ended::Cut),
                },
                frame = receiver.recv() => match frame? {
                    Some(frame) => {
                        let taken = talk.take_together(&frame, &mut receiver, &registration.cut).await;
                        // What was answered goes out, whatever comes next; but a device that does not read puts off no cut.
                        let flushed = tokio::select! {
                            biased;
                            () = registration.cut.wait() => Ok(()),
                            flushed = talk.sender.flush() => flushed,
                        };
                        if first_of(taken, flushed)?.is_break() {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                // Last, so that others cannot keep the device's own reports from being heard.
                frame = registration.relayed.recv() => match frame {
                    Some(relayed) => talk.bring_relayed(&relayed).await?,
                    None => return Err(Ended::Cut),
                },
            }
        }
    }

    /// The record of a device that may have a link with this key.
    pub(super) async fn in_service(&self, id: &DeviceId, key: KeyId) -> Result<Device, Ended> {
        let device = self.shared.store.device(id).await?.ok_or(Ended::NotInService)?;
        let serves = device.credential.as_ref().is_some_and(|c| c.key.id() == key);
        if serves && device.is_admitted() { Ok(device) } else { Err(Ended::NotInService) }
    }
}

/// How long a link may last whose certificate runs out at `not_after`.
pub(super) fn remaining(not_after: Timestamp, now: Timestamp) -> Result<Duration, Ended> {
    if now < not_after { Ok(not_after.since(now)) } else { Err(Ended::Expired) }
}

/// Waits for a moment; for ever when there is none.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whether frames that began to be taken at `begun` may be followed by another one before it is looked what else there is.
fn takes_more(cut: &Cut, begun: Instant) -> bool {
    !cut.is_now() && begun.elapsed() < TOGETHER_TIME_MAX
}

/// What ended the link is what was taken; that answers did not go out as well is of no interest then.
pub(super) fn first_of<T>(taken: Result<T, Ended>, flushed: Result<(), LinkError>) -> Result<T, Ended> {
    let taken = taken?;
    flushed?;
    Ok(taken)
}

impl Talk<'_> {
    pub(super) async fn heartbeat(
        &mut self,
        now: Timestamp,
        message: MessageId,
        said: &[u8],
    ) -> Result<(), Ended> {
        // The timer does not see it when the clock of the system is put forward.
        remaining(self.not_after, now)?;
        let heartbeat: Heartbeat = body::read(said)?;
        self.report = heartbeat.modules.map(|report| (report, now));
        self.stale_at = self.report.map(|_| Instant::now() + REPORT_AGE_MAX);
        self.judge_modules();
        if !heartbeat.statements.is_empty() {
            let (shared, said) = (&self.board.shared, &heartbeat.statements);
            bonds::take_of_device(shared, &self.device, said, now).await?;
        }
        let own = heartbeat.interval_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        if self.board.shared.presence.heard(now, &self.id, own, said) == Arrival::First {
            let change = Change::from(SystemChange::DeviceOnline { device: self.id.clone() });
            self.board.shared.writer.commit_or_count(Transaction::own(now, vec![change], Vec::new())).await?;
        }
        let context = Arc::clone(&self.board.context.borrow());
        let answer = HeartbeatAnswer {
            time: now,
            kid: self.fresh_kid(now, &context)?,
            channel: Some(self.device.channel).filter(|channel| *channel != heartbeat.channel),
            wanted: Vec::new(),
            renew_at: self.device.regenerate.then_some(now),
            interval_seconds: u16::try_from(context.heartbeat_s).unwrap_or(60),
            pending_order: None,
        };
        let ack = body::write(&Ack::done(Some(body::write(&answer))));
        let id = MessageId::from_bytes(entropy::array()?);
        let outgoing = Outgoing {
            reply_to: Some(message),
            revocation: Some(self.board.shared.board.news().head),
            ..Outgoing::new(MessageType::ACK, id, &ack)
        };
        let frame = self.session.link_frame(now, &outgoing)?;
        Ok(self.sender.queue(&frame).await?)
    }

    /// The report of the device has had its time, however long it is silent.
    fn forget_report(&mut self) {
        (self.report, self.stale_at) = (None, None);
        self.judge_modules();
    }

    /// Takes a frame and those that have arrived behind it, so that their answers leave together, until the link is cut.
    /// `Break`: the device sends no more.
    async fn take_together(
        &mut self,
        first: &[u8],
        receiver: &mut LinkReceiver,
        cut: &Cut,
    ) -> Result<ControlFlow<()>, Ended> {
        let begun = Instant::now();
        self.take(first).await?;
        for _ in 1..TOGETHER_MAX {
            if !takes_more(cut, begun) {
                break;
            }
            match receiver.recv().now_or_never() {
                None => break,
                Some(frame) => match frame? {
                    Some(frame) => self.take(&frame).await?,
                    None => return Ok(ControlFlow::Break(())),
                },
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Sends the lists to a device that holds others. One that could not use them gets them once on a link.
    pub(super) async fn compare(&mut self, held: Option<RevocationHead>) -> Result<(), Ended> {
        let own = self.board.shared.board.news().head;
        if let Some(held) = held.filter(|held| held.number > own.number) {
            let (id, held, own) = (&self.id, held.number, own.number);
            tracing::error!(device = %id, held, own, "a device holds a newer revocation list than this authority");
        }
        if held == Some(own) || self.told.revocations == Some(own) {
            Ok(())
        } else {
            self.bring_lists().await
        }
    }

    /// Begins to send the newest lists, unless others are on their way: those are brought to their end first.
    async fn bring_lists(&mut self) -> Result<(), Ended> {
        if self.delivery.is_some() {
            return Ok(());
        }
        let news = self.board.shared.board.news();
        self.told.revocations = Some(news.head);
        self.next_piece(news, 0).await
    }

    /// Sends one message of the lists. The next one waits until this one is acknowledged, so that heartbeats get through.
    async fn next_piece(&mut self, news: Arc<News>, number: usize) -> Result<(), Ended> {
        self.delivery = match news.bodies.get(number) {
            Some(said) => {
                let under_way = self.signed(MessageType::REVOCATION, said).await?;
                Some(Delivery { news, number, under_way })
            }
            None => None,
        };
        Ok(())
    }

    /// What was sent has arrived; on with what comes next, or with what is newer by now.
    pub(super) async fn acknowledged(&mut self, of: Option<MessageId>, status: u16) -> Result<(), Ended> {
        if let Some(at) = self.alerts.iter().position(|(under_way, _)| Some(*under_way) == of) {
            let (_, told) = self.alerts.remove(at);
            // Whoever asked may have stopped waiting; it is asked again then.
            let _ = told.send(status);
            return Ok(());
        }
        self.policy_answered(of, status);
        self.bonds_answered(of, status);
        let Some(Delivery { news, number, .. }) =
            self.delivery.take_if(|delivery| Some(delivery.under_way) == of)
        else {
            return Ok(());
        };
        if status == 0 {
            self.next_piece(news, number + 1).await?;
        }
        let newest = self.board.shared.board.news().head;
        if self.told.revocations == Some(newest) { Ok(()) } else { self.bring_lists().await }
    }

    /// A kID when the device's is getting old.
    fn fresh_kid(&mut self, now: Timestamp, context: &Context) -> Result<Option<Vec<u8>>, Ended> {
        if self.kid_sent_at.is_some_and(|at| now.since(at) < KID_REFRESH) {
            return Ok(None);
        }
        let Some(credential) = &self.device.credential else { return Ok(None) };
        let grant = kid_grant(context, &self.device, credential);
        let unsigned = kid::build(now, grant, entropy::array()?, self.board.shared.keys.kid.public());
        let signature = self.board.shared.keys.kid.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
        self.kid_sent_at = Some(now);
        Ok(Some(unsigned.finish(signature)))
    }

    /// Tells the device what changed.
    async fn push(&mut self, push: Push) -> Result<(), Ended> {
        match push {
            Push::Record(device) => {
                let version = device.version;
                self.device = device;
                // What stands in the kID may have changed, so the next answer brings a new one.
                self.kid_sent_at = None;
                self.bring_policy().await?;
                self.bring_own_key().await?;
                self.bring_bonds().await?;
                let channel = self.device.channel;
                let told = self.told.channel.replace(channel);
                // Whom no command is given hears of both with its next heartbeat.
                let obeys = self.takes_part(Errand::Command);
                if told.is_some_and(|told| told != channel) && obeys {
                    self.command(Instruction::SetChannel(channel)).await?;
                }
                if self.device.regenerate && self.told.regenerate_version.is_none() && obeys {
                    self.told.regenerate_version = Some(version);
                    self.command(Instruction::Regenerate).await?;
                }
                Ok(())
            }
            Push::Revocations => self.bring_lists().await,
            Push::Policies => self.bring_policy().await,
            Push::Modules => {
                self.judge_modules();
                Ok(())
            }
            Push::Bonds => self.bring_bonds().await,
            Push::Call(call) => self.bring_call(call).await,
            Push::Witness(ask) => self.ask_witness(ask).await,
            Push::Judge(ask) => self.ask_judge(ask).await,
            Push::Alert(said, done) => {
                let under_way = self.signed(MessageType::ALERT, &said).await?;
                if self.alerts.len() >= ALERTS_MAX {
                    self.alerts.remove(0);
                }
                self.alerts.push((under_way, done));
                Ok(())
            }
        }
    }

    /// Whether the device takes part in this; what it does not is not sent to it (POLS-13).
    pub(super) fn takes_part(&self, errand: Errand) -> bool {
        decide(self.standing, Request::Message(errand)).is_allowed()
    }

    /// The same of what the device asks for. A refusal is counted.
    pub(super) fn may(&self, errand: Errand) -> bool {
        let decided = decide(self.standing, Request::Message(errand)).check();
        decided.map_err(|refusal| self.board.shared.policy.count(&self.id, refusal)).is_ok()
    }

    pub(super) async fn command(&mut self, instruction: Instruction) -> Result<(), Ended> {
        let id = EntryId::from_parts(clock::now(), entropy::array()?);
        let command = body::write(&Command { id, instruction });
        self.signed(MessageType::COMMAND, &command).await.map(drop)
    }

    /// Sends a message that the authority signs.
    pub(super) async fn signed(&mut self, kind: MessageType, said: &[u8]) -> Result<MessageId, Ended> {
        let now = clock::now();
        let id = MessageId::from_bytes(entropy::array()?);
        let outgoing = Outgoing::new(kind, id, said);
        let draft = {
            let mut places = self.board.places.lock().unwrap_or_else(PoisonError::into_inner);
            self.session.solo_draft(now, &outgoing, &mut places, self.own.public())?
        };
        let signature = self.own.sign(SignatureForm::Fixed, &draft.to_be_signed())?;
        let frame = draft.finish(&signature).direct_frame()?;
        self.sender.send(&frame).await?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures, fleet::links::Links};

    #[test]
    fn a_link_lasts_as_long_as_the_certificate_and_not_longer() {
        let not_after = Timestamp::from_unix_s(1_000);
        let left = remaining(not_after, Timestamp::from_unix_s(940));
        assert!(matches!(left, Ok(left) if left == Duration::from_secs(60)));
        for late in [not_after, not_after.plus(Duration::from_secs(1))] {
            assert!(matches!(remaining(not_after, late), Err(Ended::Expired)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_taken_together_until_the_link_is_cut_or_they_have_had_their_time() {
        let (links, begun) = (Arc::new(Links::default()), Instant::now());
        let mut link = links.enter(fixtures::device_id(1), fixtures::key(1).id(), fixtures::SEC2);
        assert!(takes_more(&link.cut, begun));
        tokio::time::advance(TOGETHER_TIME_MAX).await;
        assert!(!takes_more(&link.cut, begun) && takes_more(&link.cut, Instant::now()));
        let _newer = links.enter(fixtures::device_id(1), fixtures::key(1).id(), fixtures::SEC2);
        assert!(!takes_more(&link.cut, Instant::now()));
        // Having asked takes nothing away.
        link.cut.wait().await;
        assert!(link.cut.is_now());
    }

    #[test]
    fn the_error_of_what_was_taken_is_the_one_that_is_told() {
        let torn = || Err(LinkError::Torn);
        assert!(matches!(first_of::<()>(Err(Ended::Expired), torn()), Err(Ended::Expired)));
        assert!(matches!(first_of(Ok(()), torn()), Err(Ended::Link(LinkError::Torn))));
        assert!(matches!(first_of(Ok(7), Ok(())), Ok(7)));
    }
}
