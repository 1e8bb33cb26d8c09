//! Secure channels: what a direct link gives, between two nodes that reach each other only through relays.
//!
//! [`open`] and [`accept`] run the exchange of [`kos_klp::channel`] over a link to whoever passes frames on, and give a
//! [`SecureLink`]: it sends and receives in order, knows who the peer is, and has a secret for the MACs of the messages
//! inside, as a [`Link`] does. The relay is not trusted with anything. It may refuse to work; whatever else it does ends
//! the channel with a [`ChannelFault`] that says what was seen.
//!
//! Invariants: the peer was judged like the peer of a TLS handshake (chain, exact identity, revocation) before anything is
//! sent to it; it is judged anew for every record and whenever the trust changes. A private X25519 key lives for one
//! agreement and is wiped. Records come in order, each of them once: links keep order, so whatever is missing, repeated or
//! moved was done by somebody. The end of what is said is signed off, so it cannot be cut.
//!
//! One channel has its link for itself. What it does not do: find a relay, open the channel again, or hide who talks to
//! whom and how much.
//!
//! Source: `docs/spec/klp.md` KLP-32, KLP-52 to KLP-64.

mod credential;
mod exchange;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kos_base::{Code, Secret, Timestamp, code};
use kos_identity::{
    certificate::PeerIdentity,
    chain::{ChainError, Clock, VerifiedPeer},
};
use kos_klp::{
    channel::{
        Channel, ChannelError, ChannelId, EXCHANGE_TIME_MAX, Opened, RECORD_PLAINTEXT_BYTES_MAX,
        channel_id_of,
    },
    frame::{self, Content, Frame, Hop},
    message::LIFE_DEFAULT,
    party::{Party, PartyRef},
};
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use self::exchange::Exchange;
use crate::{
    carrier::{Link, LinkError, LinkReceiver, LinkSender},
    entropy::NoEntropy,
    keys::{KeyError, SigningKey},
    tls::{ClockSource, Trust},
};

/// Who we are to the other end.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What our certificate names.
    pub identity: PeerIdentity,
    /// Our certificates, our own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Our operational key.
    pub key: Arc<SigningKey>,
}

/// How the other end is judged.
#[derive(Clone)]
pub struct Judge {
    /// Tells the time to whoever judges dates.
    pub clock: ClockSource,
    /// Which roots are trusted and what was taken back; the newest counts, also for channels that are open.
    pub trust: watch::Receiver<Trust>,
}

/// A secure channel, ready for use.
#[derive(Debug)]
pub struct SecureLink {
    /// Sends to the peer.
    pub sender: SecureSender,
    /// Receives from the peer.
    pub receiver: SecureReceiver,
}

/// Why there is no channel, or no channel any more.
#[derive(Debug, thiserror::Error)]
pub enum ChannelFault {
    /// The relay passed something on that is not a frame.
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    /// The relay passed something on that has no place in this channel.
    #[error("a frame that does not belong to the channel")]
    Foreign,
    /// What came through the relay was changed, repeated, lost or made up, or the time of the channel is over.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The link ended before the peer had signed off. What came before is whole; what would have come after is missing.
    #[error("the link ended before the channel did")]
    Cut,
    /// The other end, or the relay, did not answer in time.
    #[error("the exchange took longer than {} seconds", EXCHANGE_TIME_MAX.as_secs())]
    Slow,
    /// The peer is not who it must be. Not retried.
    #[error("the peer is not trusted")]
    Peer(#[from] ChainError),
    /// The channel has ended by an earlier fault.
    #[error("the channel has ended")]
    Ended,
    /// The link to the relay failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our key, or a key of the peer, is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// Only devices and authorities have certificates that a channel takes.
    #[error("`{0}` has no certificate for a channel")]
    NoCertificate(String),
}

impl ChannelFault {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Frame(error) => error.code(),
            Self::Channel(error) => error.code(),
            Self::Peer(error) => error.code(),
            Self::Link(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::Foreign | Self::Cut | Self::Slow | Self::Ended => code::klp::KLP_CHANNEL,
            Self::NoCertificate(_) => code::klp::KLP_RECIPIENT,
        }
    }
}

/// Opens a channel to `peer` over a link to a relay.
///
/// # Errors
/// When the peer is somebody else, does not answer within [`EXCHANGE_TIME_MAX`], or the relay interferes. Open another
/// one, over another relay if there is one.
pub async fn open(
    link: Link,
    own: &Identity,
    judge: &Judge,
    peer: &PeerIdentity,
) -> Result<SecureLink, ChannelFault> {
    let way = Way::new(link, judge, party(peer)?);
    within(Exchange::open(way, own, judge)).await
}

/// Waits for one peer to open a channel over a link to a relay, for as long as the link lives, and answers it. Who it is,
/// [`SecureLink::peer`] says; whether it may be that, the caller.
///
/// # Errors
/// As [`open`]. Nobody who was refused learns more than that.
pub async fn accept(link: Link, own: &Identity, judge: &Judge) -> Result<SecureLink, ChannelFault> {
    let mut way = Way::new(link, judge, party(&own.identity)?);
    let frame = way.receiver.recv().await?.ok_or(ChannelFault::Cut)?;
    let (channel, hello) = channel_message(&frame)?;
    way.timer = Timer(Instant::now());
    within(Exchange::accept(way, channel, hello, own, judge)).await
}

async fn within(
    exchange: impl Future<Output = Result<SecureLink, ChannelFault>>,
) -> Result<SecureLink, ChannelFault> {
    timeout(EXCHANGE_TIME_MAX, Box::pin(exchange)).await.unwrap_or(Err(ChannelFault::Slow))
}

/// The party that a certificate is for.
fn party(identity: &PeerIdentity) -> Result<Party, ChannelFault> {
    match identity {
        PeerIdentity::Device { authority, device } => Ok(Party::device(authority, device)),
        PeerIdentity::Authority { authority } => Ok(Party::authority(authority)),
        PeerIdentity::Operator { .. } => Err(ChannelFault::NoCertificate(identity.to_string())),
    }
}

impl SecureLink {
    /// Who is at the other end.
    pub fn peer(&self) -> &VerifiedPeer {
        &self.sender.shared.peer
    }

    /// The link secret for messages inside the channel; whoever opened it is the dialler (KLP-64).
    pub fn exporter(&self) -> &Secret<32> {
        &self.sender.shared.exporter
    }

    fn new(way: Way, judge: &Judge, channel: Channel, peer: VerifiedPeer) -> Self {
        let Way { sender, receiver, timer, .. } = way;
        let exporter = Secret::new(*channel.exporter().expose());
        let state = Mutex::new(State::Open(Box::new(channel)));
        let shared = Arc::new(Shared { state, peer, exporter, judge: judge.clone(), timer });
        Self {
            sender: SecureSender { path: sender, shared: Arc::clone(&shared), signed_off: false },
            receiver: SecureReceiver {
                link: receiver,
                trust: judge.trust.clone(),
                shared,
                signed_off: false,
            },
        }
    }
}

/// What both halves use.
struct Shared {
    state: Mutex<State>,
    peer: VerifiedPeer,
    exporter: Secret<32>,
    judge: Judge,
    timer: Timer,
}

enum State {
    Open(Box<Channel>),
    Ended,
}

impl Shared {
    /// Does something with the channel of a peer that is still trusted. The first fault ends it for both halves.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut Channel, Timestamp) -> Result<T, ChannelFault>,
    ) -> Result<T, ChannelFault> {
        let mut state = self.state();
        let State::Open(channel) = &mut *state else { return Err(ChannelFault::Ended) };
        let outcome = self.check_peer().and_then(|()| act(channel, self.timer.now()));
        if outcome.is_err() {
            *state = State::Ended;
        }
        outcome
    }

    fn check_peer(&self) -> Result<(), ChannelFault> {
        self.peer.check_revocation(&self.judge.trust.borrow().revocation)?;
        let (serial, not_after) = (self.peer.serial(), self.peer.not_after());
        match (self.judge.clock)() {
            Clock::Trusted(now) | Clock::Floor(now) if now.floor_s() > not_after => {
                Err(ChainError::Expired { serial, not_after }.into())
            }
            _ => Ok(()),
        }
    }

    /// The fault that ends the channel.
    fn fault(&self, fault: impl Into<ChannelFault>) -> ChannelFault {
        *self.state() = State::Ended;
        fault.into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The half of a channel that sends. Let every send run to its end: the record of one that is cancelled is missing, which
/// ends the channel at the other end.
pub struct SecureSender {
    path: PathSender,
    shared: Arc<Shared>,
    /// We have said that nothing more will come.
    signed_off: bool,
}

impl SecureSender {
    /// Sends `plaintext`, 1 to [`RECORD_PLAINTEXT_BYTES_MAX`] bytes, as one record.
    ///
    /// # Errors
    /// When the length is wrong (the channel is still good), the peer is trusted no more, or the channel or its link has
    /// ended.
    pub async fn send(&mut self, plaintext: &[u8]) -> Result<(), ChannelFault> {
        if !(1..=RECORD_PLAINTEXT_BYTES_MAX).contains(&plaintext.len()) {
            return Err(ChannelError::Size(plaintext.len()).into());
        }
        let record = self.shared.with(|channel, now| Ok(channel.seal(now, plaintext)?))?;
        self.pass_on(&record).await
    }

    /// Signs off: says that nothing more will come, and how much came. The peer may go on sending.
    ///
    /// # Errors
    /// As [`SecureSender::send`]; the peer then takes what it has for cut.
    pub async fn sign_off(&mut self) -> Result<(), ChannelFault> {
        let record = self.shared.with(|channel, now| Ok(channel.close(now)?))?;
        self.signed_off = true;
        self.pass_on(&record).await
    }

    /// Signs off, unless that was done, and closes the link when everything has left. Not every carrier can close one
    /// direction alone: a peer that still has something to say is waited for before.
    ///
    /// # Errors
    /// As [`SecureSender::sign_off`].
    pub async fn close(mut self) -> Result<(), ChannelFault> {
        if !self.signed_off {
            self.sign_off().await?;
        }
        Ok(self.path.link.close().await?)
    }

    async fn pass_on(&mut self, record: &[u8]) -> Result<(), ChannelFault> {
        self.path.send(record).await.map_err(|fault| self.shared.fault(fault))
    }
}

impl fmt::Debug for SecureSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureSender").field("peer", self.shared.peer.identity()).finish_non_exhaustive()
    }
}

/// The half of a channel that receives.
pub struct SecureReceiver {
    link: LinkReceiver,
    trust: watch::Receiver<Trust>,
    shared: Arc<Shared>,
    /// The peer has said that nothing more will come.
    signed_off: bool,
}

impl SecureReceiver {
    /// What the next record says, or `None` when the peer has signed off. May be cancelled and called again.
    ///
    /// # Errors
    /// When a relay changed, repeated, lost, moved or made up anything, when the peer is trusted no more, or when the
    /// link ended. The channel is of no further use, and whatever was received before is whole.
    pub async fn recv(&mut self) -> Result<Option<Vec<u8>>, ChannelFault> {
        while !self.signed_off {
            tokio::select! {
                received = self.link.recv() => {
                    let frame = received.map_err(|error| self.shared.fault(error))?;
                    let frame = frame.ok_or_else(|| self.shared.fault(ChannelFault::Cut))?;
                    let opened = self.shared.with(|channel, now| {
                        let (of, message) = channel_message(&frame)?;
                        if of == channel.id() { Ok(Some(channel.open_next(now, message)?)) } else { Ok(None) }
                    })?;
                    match opened {
                        Some(Opened::Data(plaintext)) => return Ok(Some(plaintext)),
                        Some(Opened::Closed { .. }) => self.signed_off = true,
                        None => {}
                    }
                }
                () = changed(&mut self.trust) => self.shared.with(|_, _| Ok(()))?,
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for SecureReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureReceiver").field("peer", self.shared.peer.identity()).finish_non_exhaustive()
    }
}

/// Resolves when there is another trust; never when there can be none.
async fn changed(trust: &mut watch::Receiver<Trust>) {
    if trust.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The message of a channel in a frame, and which channel it is of: whoever a relay serves can send to us, and what is not
/// of our channel is passed over. The hop is the relay's: nothing in it is believed, and nothing needs to be.
fn channel_message(frame: &[u8]) -> Result<(ChannelId, &[u8]), ChannelFault> {
    match Frame::parse(frame)?.into_content() {
        Content::Channel(message) => Ok((channel_id_of(message)?, message)),
        Content::Plain(_) | Content::Encrypted(_) => Err(ChannelFault::Foreign),
    }
}

/// Time since the link was given to the channel. A clock that is set meanwhile makes no channel live longer.
#[derive(Clone, Copy)]
struct Timer(Instant);

impl Timer {
    fn now(self) -> Timestamp {
        Timestamp::from_unix_ms(0).plus(self.0.elapsed())
    }
}

/// The link while the exchange goes on.
struct Way {
    sender: PathSender,
    receiver: LinkReceiver,
    timer: Timer,
}

impl Way {
    fn new(link: Link, judge: &Judge, to: Party) -> Self {
        let Link { sender, receiver, .. } = link;
        let sender = PathSender { link: sender, to, clock: Arc::clone(&judge.clock) };
        Self { sender, receiver, timer: Timer(Instant::now()) }
    }

    /// The next message of this channel.
    async fn recv(&mut self, channel: ChannelId) -> Result<Vec<u8>, ChannelFault> {
        loop {
            let frame = self.receiver.recv().await?.ok_or(ChannelFault::Cut)?;
            let (of, message) = channel_message(&frame)?;
            if of == channel {
                return Ok(message.to_vec());
            }
        }
    }
}

/// Sends messages of a channel as frames that relays pass on to one party.
struct PathSender {
    link: LinkSender,
    to: Party,
    clock: ClockSource,
}

impl PathSender {
    async fn send(&mut self, message: &[u8]) -> Result<(), ChannelFault> {
        let frame = frame::write_channel(&self.hop(self.to.as_party()), message)?;
        Ok(self.link.send(&frame).await?)
    }

    fn hop<'a>(&self, to: PartyRef<'a>) -> Hop<'a> {
        match (self.clock)() {
            Clock::Trusted(now) => Hop::to(to, now.plus(LIFE_DEFAULT)),
            // Relays drop what has no end, so a node that does not know the time claims one that is far enough. A floor
            // may be months ago.
            Clock::Floor(_) | Clock::Untrusted => Hop::to(to, Timestamp::from_unix_s(NO_CLOCK_EXPIRY_S)),
        }
    }
}

/// What a node that does not know the time says about the end of its frames: the year 2100. Only relays look at it.
const NO_CLOCK_EXPIRY_S: u64 = 4_102_444_800;
