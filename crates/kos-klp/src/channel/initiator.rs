//! The end that opens a channel.
//!
//! Source: `docs/spec/klp.md` KLP-53 to KLP-59.

use core::mem;
use std::collections::VecDeque;

use kos_base::{PublicKey, Secret, Timestamp, digest::Sha256};

use super::{
    CREDENTIAL_BYTES_MAX, Channel, ChannelError, ChannelId, EXCHANGE_TIME_MAX, Input, Output, Own,
    exchange::{
        ChannelRole, Hello, ReplyHead, Statement, finish_head, finish_transcript, to_be_signed, transcript,
        write_finish,
    },
    schedule::Schedule,
};
use crate::{party::Party, session::Signer};

/// Opens a channel to a peer.
pub struct Initiator {
    channel: ChannelId,
    own: Own,
    peer: Party,
    deadline: Timestamp,
    phase: Phase,
    outputs: VecDeque<Output>,
}

enum Phase {
    MakingKey,
    AwaitingReply {
        hello: Hello,
    },
    Agreeing {
        hello: Hello,
        head: ReplyHead,
        sealed: Vec<u8>,
        finish: Sha256,
    },
    Authenticating {
        schedule: Schedule,
        head: ReplyHead,
        reply: Sha256,
        finish: Sha256,
        statement: Statement,
    },
    Signing {
        schedule: Schedule,
        key: PublicKey,
    },
    Over,
}

impl Initiator {
    /// Begins an exchange with `peer`; `channel` is 16 bytes that the shell drew.
    ///
    /// # Errors
    /// When the peer is ourselves, or our credential is too long.
    pub fn new(now: Timestamp, channel: ChannelId, own: Own, peer: Party) -> Result<Self, ChannelError> {
        if own.party == peer || peer.as_party().is_everyone() {
            return Err(ChannelError::NotForUs(peer));
        }
        if own.credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(ChannelError::Size(own.credential.len()));
        }
        Ok(Self {
            channel,
            own,
            peer,
            deadline: now.plus(EXCHANGE_TIME_MAX),
            phase: Phase::MakingKey,
            outputs: VecDeque::from([Output::MakeEphemeral]),
        })
    }

    /// What to do next; none until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Goes on with an answer of the shell or a message of the peer.
    ///
    /// # Errors
    /// When anything is not as it must be. The exchange is over; begin a new one.
    pub fn handle_input(&mut self, now: Timestamp, input: Input<'_>) -> Result<(), ChannelError> {
        if self.deadline <= now {
            self.phase = Phase::Over;
            return Err(ChannelError::Over);
        }
        self.phase = match (mem::replace(&mut self.phase, Phase::Over), input) {
            (Phase::MakingKey, Input::Ephemeral(ephemeral)) => {
                let (own, peer) = (self.own.party.clone(), self.peer.clone());
                let hello = Hello::new(self.channel, own, peer, self.own.key.id(), ephemeral);
                self.outputs.push_back(Output::Send(hello.bytes.clone()));
                Phase::AwaitingReply { hello }
            }
            (Phase::AwaitingReply { hello }, Input::Message(reply)) => {
                let (head, sealed) = ReplyHead::read(reply, self.channel)?;
                self.outputs.push_back(Output::Agree(head.ephemeral));
                let (sealed, finish) = (sealed.to_vec(), finish_transcript(&hello.bytes, reply));
                Phase::Agreeing { hello, head, sealed, finish }
            }
            (Phase::Agreeing { hello, head, sealed, finish }, Input::Shared(shared)) => {
                self.open_reply(&shared, &hello, head, &sealed, finish)?
            }
            (Phase::Authenticating { schedule, head, reply, finish, statement }, Input::PeerKey(key)) => {
                statement.verify(&key, head.key_id, ChannelRole::Responder, &reply)?;
                let signed = to_be_signed(ChannelRole::Initiator, &finish, &self.own.credential);
                self.outputs.push_back(Output::Sign(signed));
                Phase::Signing { schedule, key }
            }
            (Phase::Signing { schedule, key }, Input::Signature(signature)) => {
                let statement = Statement { credential: mem::take(&mut self.own.credential), signature };
                let sealed = schedule.seal("finish", &finish_head(self.channel), &statement.to_bytes())?;
                self.outputs.push_back(Output::Send(write_finish(self.channel, &sealed)));
                let peer = Signer { party: self.peer.clone(), key };
                let channel = Channel::new(now, self.channel, ChannelRole::Initiator, peer, &schedule)?;
                self.outputs.push_back(Output::Established(Box::new(channel)));
                Phase::Over
            }
            _ => return Err(ChannelError::Unexpected),
        };
        Ok(())
    }

    fn open_reply(
        &mut self,
        shared: &Secret<32>,
        hello: &Hello,
        head: ReplyHead,
        sealed: &[u8],
        finish: Sha256,
    ) -> Result<Phase, ChannelError> {
        let reply = transcript(&hello.bytes, &head.bytes);
        let schedule = Schedule::new(&reply, shared)?;
        let statement = Statement::read(&schedule.open("reply", &head.bytes, sealed)?)?;
        let (party, credential) = (self.peer.clone(), statement.credential.clone());
        self.outputs.push_back(Output::Authenticate { party, key_id: head.key_id, credential });
        Ok(Phase::Authenticating { schedule, head, reply, finish, statement })
    }
}
