//! One link, from its first heartbeat to its end.

use core::time::Duration;

use kos_base::{Code, Timestamp, code};
use kos_klp::{
    body::{
        self, Ack, Alert, Assembly, Command, HeartbeatAnswer, LogHeld, Misfit, Policy, Revocation, Task,
        WitnessRequest,
    },
    frame::{Content, Frame},
    message::{MessageId, MessageType, Unhandled},
    party::Party,
    proof::{Envelope, ProofClass, link::LinkRole},
    session::{Incoming, Outgoing, ReceiveError, Session, Signer},
};
use kos_net::{
    carrier::{self, LinkSender},
    entropy,
};
use kos_policy::{Request, Rule, decide};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{Deserted, JudgeCall, Line, Matter, News, Signed, WitnessCall, random_part};
use crate::revocation;

/// How long the authority may take to acknowledge a heartbeat. It writes nothing to its disk for that.
const ACK_TIME_MAX: Duration = Duration::from_secs(20);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the authority closed it")]
    Closed,
    #[error("the authority does not acknowledge heartbeats")]
    Silent,
    #[error("the authority answers a heartbeat with {0}")]
    Denied(u16),
    #[error("the authority's certificate was revoked")]
    Revoked(#[from] kos_identity::chain::ChainError),
    #[error(transparent)]
    Link(#[from] carrier::LinkError),
    #[error(transparent)]
    Frame(#[from] kos_klp::frame::FrameError),
    #[error(transparent)]
    Received(#[from] ReceiveError),
    #[error(transparent)]
    Send(#[from] kos_klp::session::SendError),
    #[error(transparent)]
    Derivation(#[from] kos_klp::DerivationError),
    #[error(transparent)]
    Body(#[from] body::BodyError),
    #[error(transparent)]
    Party(#[from] kos_klp::party::ParsePartyError),
    #[error(transparent)]
    Entropy(#[from] entropy::NoEntropy),
    #[error("nobody wants it any more")]
    Deserted,
}

impl From<Deserted> for Ended {
    fn from(Deserted: Deserted) -> Self {
        Self::Deserted
    }
}

/// What is known on one link.
pub(super) struct Talk<'a> {
    line: &'a mut Line,
    session: Session,
    sender: LinkSender,
    /// When the next heartbeat is due, once one was acknowledged.
    due: Option<Instant>,
    /// The heartbeat that is under way.
    waiting: Option<Waiting>,
    /// What the authority was told last.
    channel_told: Option<kos_base::Channel>,
    /// What it was told of pairings.
    statements_told: Vec<Vec<u8>>,
    /// A revocation list that comes in pieces.
    assembly: Assembly,
    /// The part of the log that is under way.
    log_under_way: Option<MessageId>,
    /// Rules by which something was refused on this link.
    refused_by: Vec<Rule>,
}

/// A heartbeat that is not acknowledged yet.
struct Waiting {
    message: MessageId,
    until: Instant,
    errors: u32,
    failed: Vec<String>,
}

impl<'a> Talk<'a> {
    /// Reports until the link ends. Says why it did, and, if a heartbeat was acknowledged, when the next would have been
    /// due.
    pub(super) async fn hold(line: &'a mut Line, link: carrier::Link) -> (Ended, Option<Instant>) {
        let carrier::Link { about, sender, mut receiver } = link;
        let session = match session(line, &about) {
            Ok(session) => session,
            Err(ended) => return (ended, None),
        };
        let assembly = Assembly::default();
        let mut talk = Self {
            line,
            session,
            sender,
            due: None,
            waiting: None,
            channel_told: None,
            statements_told: Vec::new(),
            assembly,
            log_under_way: None,
            refused_by: Vec::new(),
        };
        let ended = talk.go_on(&about, &mut receiver).await.err().unwrap_or(Ended::Closed);
        let due = talk.due;
        if matches!(ended, Ended::Deserted)
            && let Err(error) = talk.sender.close().await
        {
            tracing::debug!(%error, "the authority did not hear that the link ends");
        }
        (ended, due)
    }

    async fn go_on(
        &mut self,
        about: &carrier::About,
        receiver: &mut carrier::LinkReceiver,
    ) -> Result<(), Ended> {
        loop {
            let now = Instant::now();
            let next = match (&self.waiting, self.due) {
                (Some(waiting), _) => waiting.until,
                (None, due) => due.unwrap_or(now),
            };
            tokio::select! {
                frame = receiver.recv() => match frame? {
                    Some(frame) => self.take(&frame).await?,
                    None => return Err(Ended::Closed),
                },
                changed = self.line.situation.changed() => {
                    changed.map_err(|_| Ended::Deserted)?;
                    about.peer.check_revocation(&self.line.situation.borrow().revocation)?;
                    if self.waiting.is_none() && self.has_news() {
                        self.beat().await?;
                    }
                }
                Some(part) = self.line.logs.recv() => {
                    let id = MessageId::from_bytes(entropy::array()?);
                    self.log_under_way = Some(id);
                    self.send(&Outgoing::new(MessageType::LOG, id, &part)).await?;
                }
                () = sleep_until(next) => match self.waiting {
                    Some(_) => return Err(Ended::Silent),
                    None => self.beat().await?,
                },
            }
        }
    }

    /// Whether the authority was told something that is not so any more.
    fn has_news(&self) -> bool {
        let situation = self.line.situation.borrow();
        let is_new = !situation.statements.is_empty() && situation.statements != self.statements_told;
        self.channel_told.is_some_and(|told| is_new || told != situation.channel)
    }

    /// Sends a heartbeat.
    async fn beat(&mut self) -> Result<(), Ended> {
        let (channel, revocation, statements) = {
            let situation = self.line.situation.borrow_and_update();
            (situation.channel, revocation::head(&situation.revocation), situation.statements.clone())
        };
        let (mut heartbeat, failed) = self.line.reporter.look(channel, self.line.terms.interval).await;
        heartbeat.statements.clone_from(&statements);
        self.statements_told = statements;
        let said = body::write(&heartbeat);
        let message = MessageId::from_bytes(entropy::array()?);
        self.send(&Outgoing { revocation, ..Outgoing::new(MessageType::HEARTBEAT, message, &said) }).await?;
        self.channel_told = Some(channel);
        let until = Instant::now() + ACK_TIME_MAX;
        self.waiting = Some(Waiting { message, until, errors: heartbeat.errors, failed });
        Ok(())
    }

    /// Takes one frame in.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let now = self.line.clock.now();
        let Content::Plain(envelope) = Frame::parse(bytes)?.into_content() else {
            // Anybody in the fleet can have such a frame passed on to us, so it must not cost us the link.
            tracing::debug!("a frame that came through a relay is dropped");
            return Ok(());
        };
        match envelope.class() {
            ProofClass::Link => self.take_link(now, envelope).await,
            ProofClass::Solo | ProofClass::Batch => self.take_signed(now, envelope).await,
        }
    }

    async fn take_link(&mut self, now: Timestamp, envelope: Envelope<'_>) -> Result<(), Ended> {
        let name = envelope.claimed_name();
        let received = match self.session.receive_link(now, envelope) {
            Ok(Incoming::Message(received)) => received,
            Ok(Incoming::Ignored(_)) => return Ok(()),
            Err(error) => return self.refuse(name, error).await,
        };
        let message = received.message();
        if let Err(code) = self.may(message.kind).await? {
            return self.reply(message.id, Err(code)).await;
        }
        match message.kind {
            MessageType::WITNESS => match body::read::<WitnessRequest>(message.body) {
                Ok(WitnessRequest::Cosign(request)) => self.cosign(message.id, request).await,
                Ok(WitnessRequest::Judge(transcript)) => self.judge(message.id, transcript).await,
                Err(error) => self.reply(message.id, Err(error.code())).await,
            },
            MessageType::ACK => self.acknowledged(message.reply_to, &body::read(message.body)?).await,
            _ => self.leave_unhandled(name).await,
        }
    }

    /// Whether our own security profile takes part in messages of this type (POLS-13).
    async fn may(&mut self, kind: MessageType) -> Result<Result<(), Code>, Ended> {
        let Some(errand) = kind.errand() else { return Ok(Ok(())) };
        let Err(refusal) = decide(self.line.terms.standing, Request::Message(errand)).check() else {
            return Ok(Ok(()));
        };
        if !self.refused_by.contains(&refusal.rule()) {
            self.refused_by.push(refusal.rule());
            self.line.tell(News::Refused(refusal)).await?;
        }
        Ok(Err(refusal.code()))
    }

    /// Answers a message that was not believed, if it is to be answered (KLP-44).
    async fn refuse(
        &mut self,
        (kind, id): (MessageType, MessageId),
        error: ReceiveError,
    ) -> Result<(), Ended> {
        if error.breaks_link() {
            return Err(error.into());
        }
        tracing::warn!(%error, "a message is not taken");
        match error.answer(kind) {
            Some(code) => self.reply(id, Err(code)).await,
            None => Ok(()),
        }
    }

    /// Refuses or ignores a message that is right and that a device has no use for (KLP-22).
    async fn leave_unhandled(&mut self, (kind, id): (MessageType, MessageId)) -> Result<(), Ended> {
        match kind.unhandled() {
            Unhandled::Refuse => self.reply(id, Err(code::klp::KLP_TYPE)).await,
            Unhandled::Ignore => Ok(()),
        }
    }

    /// Leaves it to the device, and sends what it answers.
    async fn cosign(&mut self, asked: MessageId, request: Vec<u8>) -> Result<(), Ended> {
        let (done, answered) = oneshot::channel();
        self.line.tell(News::Witness(WitnessCall { request, done })).await?;
        match answered.await.map_err(|_| Ended::Deserted)? {
            Ok(answer) => self.acknowledge(asked, &Ack::done(Some(body::write(&answer)))).await,
            Err(code) => self.reply(asked, Err(code)).await,
        }
    }

    /// The same for another device that is to be judged.
    async fn judge(&mut self, asked: MessageId, transcript: Vec<u8>) -> Result<(), Ended> {
        let (done, answered) = oneshot::channel();
        self.line.tell(News::Judge(JudgeCall { transcript, done })).await?;
        match answered.await.map_err(|_| Ended::Deserted)? {
            Ok(verdict) => self.acknowledge(asked, &Ack::done(Some(verdict))).await,
            Err(code) => self.reply(asked, Err(code)).await,
        }
    }

    async fn acknowledged(&mut self, of: Option<MessageId>, ack: &Ack) -> Result<(), Ended> {
        if self.log_under_way.take_if(|id| Some(*id) == of).is_some() {
            let held = body::read::<LogHeld>(ack.result().unwrap_or_default());
            let answer = if ack.status() == 0 { Ok(held?) } else { Err(ack.status()) };
            return Ok(self.line.tell(News::LogAnswered(answer)).await?);
        }
        // One that comes too late, or twice, says nothing new.
        let Some(waiting) = self.waiting.take_if(|waiting| Some(waiting.message) == of) else {
            return Ok(());
        };
        if ack.status() != 0 {
            return Err(Ended::Denied(ack.status()));
        }
        let answer: HeartbeatAnswer = body::read(ack.result().unwrap_or_default())?;
        self.line.reporter.told(waiting.errors);
        let wanted = Duration::from_secs(answer.interval_seconds.into());
        let interval = self.line.terms.interval.unwrap_or(wanted);
        // A little early rather than late, and not in step with the rest of the fleet.
        self.due = Some(Instant::now() + interval - random_part(interval / 10));
        self.line.tell(News::Acknowledged { answer: Box::new(answer), failed: waiting.failed }).await?;
        if self.has_news() { self.beat().await } else { Ok(()) }
    }

    /// Takes a signed message, and acknowledges it once its effect is durable.
    async fn take_signed(&mut self, now: Timestamp, envelope: Envelope<'_>) -> Result<(), Ended> {
        let name = envelope.claimed_name();
        let heard = &mut self.line.terms.heard;
        let received = match self.session.receive_signed(now, envelope, None, heard) {
            Ok(Incoming::Message(received)) => received,
            Ok(Incoming::Ignored(_)) => return Ok(()),
            Err(error) => return self.refuse(name, error).await,
        };
        let message = received.message();
        if let Err(code) = self.may(message.kind).await? {
            return self.reply(message.id, Err(code)).await;
        }
        let matter = match message.kind {
            MessageType::COMMAND => body::read::<Command>(message.body).map(Matter::Command),
            MessageType::ALERT => body::read::<Alert>(message.body).map(Matter::Alert),
            MessageType::POLICY => body::read::<Policy>(message.body).map(|policy| match policy {
                Policy::Slice(slice) => Matter::Policy(slice),
                Policy::Bonds(bonds) => Matter::Bonds(bonds),
            }),
            MessageType::TASK_REQUEST => match body::read::<Task>(message.body) {
                Ok(Task::Call(call)) => Ok(Matter::Call(call)),
                // A device is no agent, and knows no other work.
                Ok(Task::ForAgent { .. }) | Err(_) => return self.leave_unhandled(name).await,
            },
            MessageType::REVOCATION => match body::read::<Revocation>(message.body) {
                Ok(news) => match whole_lists(&mut self.assembly, &news) {
                    Ok(Some(lists)) => Ok(Matter::Revocation(lists)),
                    // Nothing follows from a part.
                    Ok(None) => return self.reply(message.id, Ok(())).await,
                    Err(error) => {
                        tracing::warn!(%error, "a revocation list did not arrive");
                        return self.reply(message.id, Err(code::klp::KLP_MALFORMED)).await;
                    }
                },
                Err(error) => Err(error),
            },
            _ => return self.leave_unhandled(name).await,
        };
        match matter {
            Ok(matter) => match self.carry_out(matter).await? {
                Ok(result) => self.acknowledge(message.id, &Ack::done(result)).await,
                Err(code) => self.reply(message.id, Err(code)).await,
            },
            Err(error) => self.reply(message.id, Err(error.code())).await,
        }
    }

    /// Leaves it to the device, and waits until that is done.
    async fn carry_out(&mut self, matter: Matter) -> Result<Result<Option<Vec<u8>>, Code>, Ended> {
        let (done, outcome) = oneshot::channel();
        let heard = self.line.terms.heard.to_bytes();
        self.line.tell(News::Signed(Signed { matter, heard, done })).await?;
        outcome.await.map_err(|_| Ended::Deserted)
    }

    async fn reply(&mut self, to: MessageId, outcome: Result<(), Code>) -> Result<(), Ended> {
        let ack = match outcome {
            Ok(()) => Ack::done(None),
            Err(code) => Ack::refused(code, code.title()),
        };
        self.acknowledge(to, &ack).await
    }

    async fn acknowledge(&mut self, to: MessageId, ack: &Ack) -> Result<(), Ended> {
        let said = body::write(ack);
        let id = MessageId::from_bytes(entropy::array()?);
        self.send(&Outgoing { reply_to: Some(to), ..Outgoing::new(MessageType::ACK, id, &said) }).await
    }

    async fn send(&mut self, outgoing: &Outgoing<'_>) -> Result<(), Ended> {
        let frame = self.session.link_frame(self.line.clock.now(), outgoing)?;
        Ok(self.sender.send(&frame).await?)
    }
}

/// The lists that are whole now; nothing while only a part of one has come.
fn whole_lists(assembly: &mut Assembly, news: &Revocation) -> Result<Option<Vec<Vec<u8>>>, Misfit> {
    let mut lists: Vec<_> = news.crls().map(<[u8]>::to_vec).collect();
    let Some(piece) = news.piece() else { return Ok(Some(lists)) };
    lists.extend(assembly.take(piece)?);
    Ok((!lists.is_empty()).then_some(lists))
}

fn session(line: &Line, about: &carrier::About) -> Result<Session, Ended> {
    let terms = &line.terms;
    let authority: Party = terms.authority.as_ref().parse()?;
    let peer = Signer { party: authority, key: about.peer.public_key().clone() };
    let epoch = line.clock.now().unix_ms();
    let (own, own_key) = (terms.own.clone(), terms.own_key);
    let secret = terms.secret(about.exporter(), line.refusals);
    Ok(Session::new(LinkRole::Dialler, &secret, own, own_key, peer, epoch)?)
}
