//! The exchange: does what the machines of [`kos_klp::channel`] ask for, in their order.
//!
//! Source: `docs/spec/klp.md` KLP-53 to KLP-59.

use kos_base::key::SignatureForm;
use kos_identity::chain::{Usage, VerifiedPeer};
use kos_klp::channel::{Channel, ChannelError, ChannelId, Initiator, Input, Machine, Output, Own, Responder};

use super::{ChannelFault, Identity, Judge, SecureLink, Way, credential, party};
use crate::{entropy, keys::AgreementSecret};

/// One exchange over one link.
pub(super) struct Exchange<'a> {
    channel: ChannelId,
    machine: Machine,
    way: Way,
    own: &'a Identity,
    judge: &'a Judge,
    /// In which role the other end shows its certificates.
    usage: Usage,
    ephemeral: Option<AgreementSecret>,
    peer: Option<VerifiedPeer>,
}

impl<'a> Exchange<'a> {
    /// Opens a channel to whom the way leads to.
    pub(super) async fn open(
        way: Way,
        own: &'a Identity,
        judge: &'a Judge,
    ) -> Result<SecureLink, ChannelFault> {
        let channel = ChannelId::from_bytes(entropy::array()?);
        let machine = Initiator::new(way.timer.now(), channel, shown(own)?, way.sender.to.clone())?;
        Self::new(channel, Machine::Initiator(machine), way, own, judge, Usage::Server).run().await
    }

    /// Answers a hello.
    pub(super) async fn accept(
        mut way: Way,
        channel: ChannelId,
        hello: &[u8],
        own: &'a Identity,
        judge: &'a Judge,
    ) -> Result<SecureLink, ChannelFault> {
        let machine = Responder::new(way.timer.now(), hello, shown(own)?)?;
        way.sender.to = machine.claimed_peer().clone();
        Self::new(channel, Machine::Responder(machine), way, own, judge, Usage::Client).run().await
    }

    const fn new(
        channel: ChannelId,
        machine: Machine,
        way: Way,
        own: &'a Identity,
        judge: &'a Judge,
        usage: Usage,
    ) -> Self {
        Self { channel, machine, way, own, judge, usage, ephemeral: None, peer: None }
    }

    async fn run(mut self) -> Result<SecureLink, ChannelFault> {
        loop {
            while let Some(output) = self.machine.poll_output() {
                if let Some(channel) = self.carry_out(output).await? {
                    let peer = self.peer.ok_or(ChannelError::Unexpected)?;
                    return Ok(SecureLink::new(self.way, self.judge, *channel, peer));
                }
            }
            let message = self.way.recv(self.channel).await?;
            self.input(Input::Message(&message))?;
        }
    }

    /// Carries one output out. Gives the channel once it is established.
    async fn carry_out(&mut self, output: Output) -> Result<Option<Box<Channel>>, ChannelFault> {
        match output {
            Output::MakeEphemeral => {
                let fresh = AgreementSecret::generate()?;
                let public = fresh.public();
                self.ephemeral = Some(fresh);
                self.input(Input::Ephemeral(public))?;
            }
            Output::Agree(peer) => {
                // It serves this one agreement, and is wiped when it is dropped at the end of this block.
                let ephemeral = self.ephemeral.take().ok_or(ChannelError::Unexpected)?;
                let shared = ephemeral.agree(peer)?;
                self.input(Input::Shared(shared))?;
            }
            Output::Authenticate { party, credential, .. } => {
                // That the key is the one in the exchange, the machine checks.
                let peer = credential::judge(&credential, &party, self.usage, self.judge)?;
                let key = peer.public_key().clone();
                self.peer = Some(peer);
                self.input(Input::PeerKey(key))?;
            }
            Output::Sign(bytes) => {
                let signature = self.own.key.sign(SignatureForm::Fixed, &bytes)?;
                self.input(Input::Signature(signature))?;
            }
            Output::Send(message) => self.way.sender.send(&message).await?,
            Output::Established(channel) => return Ok(Some(channel)),
        }
        Ok(None)
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), ChannelFault> {
        Ok(self.machine.handle_input(self.way.timer.now(), input)?)
    }
}

/// This node as the machines want it.
fn shown(own: &Identity) -> Result<Own, ChannelFault> {
    Ok(Own {
        party: party(&own.identity)?,
        key: own.key.public().clone(),
        credential: credential::write(&own.chain),
    })
}
