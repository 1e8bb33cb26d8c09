//! A device that enrols: the machine of `kos-identity`, driven over TLS, with its keys in memory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use kos_base::{KeyAlgorithm, PublicKey, Role, SecurityProfile};
use kos_identity::{
    chain::Clock,
    enrolment::{
        device::{
            Anchor, BootloaderLock, ClockTrust, Command, Event, Input, KeySlot, Machine, MadeKey, Output,
            Profile, RANDOM_BYTES, SignWith,
        },
        message::{Facts, Image},
    },
};
use kos_net::{
    dialler::{Dialler, Target},
    endpoints::Endpoint,
    entropy,
    frame::{self, FrameReader, Patience},
    keys::{AgreementSecret, SigningKey, certified, self_signed},
    tls::{ClientTls, Expectation, Exporter, Protocol},
};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::Member;
use crate::{authority::GivenTicket, clock};

const PATIENCE: Patience = Patience { silence: Duration::from_secs(60), body: Duration::from_secs(30) };
const SEND_TIME_MAX: Duration = Duration::from_secs(30);

/// A device that has made its keys and its request and is about to connect.
pub(crate) struct Newcomer {
    machine: Machine,
    keys: Keys,
    /// What the machine wants next.
    wish: Option<Wish>,
}

/// Where and as whom to connect.
pub(crate) struct Connect {
    key: Option<KeySlot>,
    chain: Vec<Vec<u8>>,
    anchor: Anchor,
}

/// The keys of one device.
struct Keys {
    ticket: Arc<GivenTicket>,
    signing: BTreeMap<KeySlot, Arc<SigningKey>>,
}

/// An open connection.
struct Connection {
    reader: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

/// What the machine asks of the network.
pub(crate) enum Wish {
    Connect(Connect),
    Send(Vec<u8>),
    Close,
    Enrolled,
}

impl Newcomer {
    /// A device with this number, up to its first connection.
    pub(crate) fn prepare(number: u32, ticket: &Arc<GivenTicket>) -> Result<Self> {
        let profile = Profile {
            facts: Facts { macs: Vec::new(), serials: vec![format!("BENCH-{number:08}")] },
            image: Image::Unverified,
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            name: None,
            capabilities: Vec::new(),
            bootloader: BootloaderLock::None,
            keys: kos_identity::enrolment::device::KeyHome::Elsewhere,
            introduction: kos_identity::enrolment::device::Introduction::default(),
        };
        let mut machine = Machine::load(profile, None, None, ClockTrust::Trusted)?;
        let mut keys = Keys { ticket: Arc::clone(ticket), signing: BTreeMap::new() };
        let enrol = Command::Enrol { anchor: ticket.anchor.clone(), ticket: Some(ticket.id) };
        machine.handle_command(clock::now(), enrol);
        let wish = keys.next_wish(&mut machine)?;
        Ok(Self { machine, keys, wish })
    }

    /// The identity key, with which it connects for the first time.
    pub(crate) fn identity(&self) -> Result<&PublicKey> {
        Ok(self.keys.signing(KeySlot::Identity)?.public())
    }

    /// What it wants next; nothing while it waits for a frame.
    pub(crate) const fn wish(&mut self) -> Option<Wish> {
        self.wish.take()
    }

    /// Tells it what happened.
    pub(crate) fn tell(&mut self, input: Input) -> Result<()> {
        self.machine.handle_input(clock::now(), input);
        self.go_on()
    }

    /// Finds out what it wants next, after a wish was fulfilled that has no answer.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        self.wish = self.keys.next_wish(&mut self.machine)?;
        Ok(())
    }

    /// Enrols: two connections, until the authority has recorded that the certificate is stored.
    pub(crate) async fn enrol(mut self) -> Result<Member> {
        let mut connection: Option<Connection> = None;
        loop {
            match self.wish() {
                Some(Wish::Connect(connect)) => {
                    let (opened, connected) = self.keys.dial(connect).await?;
                    connection = Some(opened);
                    self.tell(connected)?;
                }
                Some(Wish::Send(bytes)) => {
                    let connection = connection.as_mut().context("nothing to send on")?;
                    frame::write(&mut connection.writer, &bytes, SEND_TIME_MAX).await?;
                    self.go_on()?;
                }
                Some(Wish::Close) => {
                    connection = None;
                    self.go_on()?;
                }
                Some(Wish::Enrolled) => return self.keys.member(&self.machine),
                None => {
                    let connection = connection.as_mut().context("the device waits for nothing")?;
                    let frame =
                        connection.reader.read().await?.context("the authority closed the connection")?;
                    self.tell(Input::Received(frame))?;
                }
            }
        }
    }
}

impl Keys {
    /// Does what can be done here, until the network is needed or the machine waits.
    fn next_wish(&mut self, machine: &mut Machine) -> Result<Option<Wish>> {
        while let Some(output) = machine.poll_output() {
            let answer = match output {
                Output::MakeKey(slot) => Input::KeyMade(self.make(slot)?),
                Output::Draw => Input::Drawn(entropy::secret::<RANDOM_BYTES>()?),
                Output::Sign { key, form, message } => {
                    let key = match key {
                        SignWith::Slot(slot) => self.signing(slot)?,
                        SignWith::Ticket => &self.ticket.key,
                    };
                    Input::Signed(key.sign(form, &message)?)
                }
                Output::Connect { key, chain, anchor } => {
                    return Ok(Some(Wish::Connect(Connect { key, chain, anchor })));
                }
                Output::Send(frame) => return Ok(Some(Wish::Send(frame))),
                Output::Close => return Ok(Some(Wish::Close)),
                Output::Event(Event::Enrolled(_)) => return Ok(Some(Wish::Enrolled)),
                Output::Persist(_)
                | Output::Install(_)
                | Output::Erase(_)
                | Output::Event(Event::Time(_)) => continue,
                Output::Event(event) => bail!("an enrolment failed: {event:?}"),
                other => bail!("an enrolment asks for {other:?}"),
            };
            machine.handle_input(clock::now(), answer);
        }
        Ok(None)
    }

    fn make(&mut self, slot: KeySlot) -> Result<MadeKey> {
        if let KeySlot::Agreement(_) = slot {
            return Ok(MadeKey::Agreement(AgreementSecret::generate()?.public()));
        }
        let key = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519)?);
        let public = key.public().clone();
        self.signing.insert(slot, key);
        Ok(MadeKey::Signing(public))
    }

    fn signing(&self, slot: KeySlot) -> Result<&Arc<SigningKey>> {
        self.signing.get(&slot).with_context(|| format!("no key in {slot:?}"))
    }

    async fn dial(&self, connect: Connect) -> Result<(Connection, Input)> {
        let key = Arc::clone(self.signing(connect.key.context("a connection without a key")?)?);
        let chain = match connect.chain.is_empty() {
            true => vec![self_signed(&key)?],
            false => connect.chain.into_iter().take(2).map(CertificateDer::from).collect(),
        };
        let tls = ClientTls {
            clock: Arc::new(|| Clock::Trusted(clock::now())),
            certified: Some(certified(chain, key)),
            expectation: Expectation::Pins(connect.anchor.pins),
            profile: SecurityProfile::Sec2,
        };
        let address: Endpoint =
            connect.anchor.addresses.first().context("an authority without address")?.parse()?;
        let host = address.host.clone();
        let stream = Dialler::unrestricted().connect(&Target::from(address)).await?;
        let connected = tls.connect(stream, &host, Protocol::Enrolment).await?;
        let input = Input::Connected {
            root: connected.peer.root().key_id(),
            enrolment: *connected.facts.exporter(Exporter::Enrolment).expose(),
            renewal: *connected.facts.exporter(Exporter::Renewal).expose(),
        };
        let (reading, writer) = tokio::io::split(connected.stream);
        Ok((Connection { reader: FrameReader::new(reading, PATIENCE), writer }, input))
    }

    fn member(&self, machine: &Machine) -> Result<Member> {
        let journal = machine.journal();
        let held = journal.active.as_ref().context("enrolled without a certificate")?;
        let chain = held.chain.iter().take(2).map(|der| CertificateDer::from(der.to_vec())).collect();
        let anchor = journal.authority.as_ref().context("enrolled without an authority")?;
        Ok(Member {
            authority: anchor.name.clone().context("an authority without a name")?,
            device: journal.membership.as_ref().context("enrolled without an id")?.device.clone(),
            address: anchor.addresses.first().context("an authority without address")?.parse()?,
            pins: anchor.pins.clone(),
            chain,
            key: Arc::clone(self.signing(KeySlot::Operational(held.slot))?),
        })
    }
}
