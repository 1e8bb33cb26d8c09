//! The end that a channel is opened to.
//!
//! Source: `docs/spec/klp.md` KLP-53 to KLP-59.

use core::mem;
use std::collections::VecDeque;

use kos_base::{Timestamp, digest::Sha256};

use super::{
    CREDENTIAL_BYTES_MAX, Channel, ChannelError, EXCHANGE_TIME_MAX, Input, Output, Own,
    exchange::{
        ChannelRole, Hello, ReplyHead, Statement, finish_head, finish_transcript, read_finish, to_be_signed,
        transcript,
    },
    schedule::Schedule,
};
use crate::{party::Party, session::Signer};

/// Answers one hello.
pub struct Responder {
    hello: Hello,
    own: Own,
    deadline: Timestamp,
    phase: Phase,
    outputs: VecDeque<Output>,
}

enum Phase {
    MakingKey,
    Agreeing { head: ReplyHead },
    Signing { head: ReplyHead, schedule: Schedule },
    AwaitingFinish { finish: Sha256, schedule: Schedule },
    Authenticating { finish: Sha256, schedule: Schedule, statement: Statement },
    Over,
}

impl Responder {
    /// Begins to answer a hello.
    ///
    /// # Errors
    /// When it is none, is for somebody else, or claims to be from ourselves; or when our credential is too long.
    pub fn new(now: Timestamp, hello: &[u8], own: Own) -> Result<Self, ChannelError> {
        let hello = Hello::read(hello)?;
        if hello.responder != own.party
            || hello.initiator == own.party
            || hello.initiator.as_party().is_everyone()
        {
            return Err(ChannelError::NotForUs(hello.responder));
        }
        if own.credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(ChannelError::Size(own.credential.len()));
        }
        let outputs = VecDeque::from([Output::MakeEphemeral]);
        Ok(Self { hello, own, deadline: now.plus(EXCHANGE_TIME_MAX), phase: Phase::MakingKey, outputs })
    }

    /// Who claims to open it.
    pub const fn claimed_peer(&self) -> &Party {
        &self.hello.initiator
    }

    /// What to do next; none until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Goes on with an answer of the shell or a message of the peer.
    ///
    /// # Errors
    /// When anything is not as it must be. The exchange is over; the peer begins a new one.
    pub fn handle_input(&mut self, now: Timestamp, input: Input<'_>) -> Result<(), ChannelError> {
        if self.deadline <= now {
            self.phase = Phase::Over;
            return Err(ChannelError::Over);
        }
        let channel = self.hello.channel;
        self.phase = match (mem::replace(&mut self.phase, Phase::Over), input) {
            (Phase::MakingKey, Input::Ephemeral(ephemeral)) => {
                self.outputs.push_back(Output::Agree(self.hello.ephemeral));
                Phase::Agreeing { head: ReplyHead::new(channel, self.own.key.id(), ephemeral) }
            }
            (Phase::Agreeing { head }, Input::Shared(shared)) => {
                let seen = transcript(&self.hello.bytes, &head.bytes);
                let schedule = Schedule::new(&seen, &shared)?;
                let signed = to_be_signed(ChannelRole::Responder, &seen, &self.own.credential);
                self.outputs.push_back(Output::Sign(signed));
                Phase::Signing { head, schedule }
            }
            (Phase::Signing { head, schedule }, Input::Signature(signature)) => {
                let statement = Statement { credential: mem::take(&mut self.own.credential), signature };
                let reply =
                    head.with_sealed(channel, &schedule.seal("reply", &head.bytes, &statement.to_bytes())?);
                let finish = finish_transcript(&self.hello.bytes, &reply);
                self.outputs.push_back(Output::Send(reply));
                Phase::AwaitingFinish { finish, schedule }
            }
            (Phase::AwaitingFinish { finish, schedule }, Input::Message(message)) => {
                let sealed = read_finish(message, channel)?;
                let statement = Statement::read(&schedule.open("finish", &finish_head(channel), sealed)?)?;
                let (party, credential) = (self.hello.initiator.clone(), statement.credential.clone());
                self.outputs.push_back(Output::Authenticate { party, key_id: self.hello.key_id, credential });
                Phase::Authenticating { finish, schedule, statement }
            }
            (Phase::Authenticating { finish, schedule, statement }, Input::PeerKey(key)) => {
                statement.verify(&key, self.hello.key_id, ChannelRole::Initiator, &finish)?;
                let peer = Signer { party: self.hello.initiator.clone(), key };
                let channel = Channel::new(now, channel, ChannelRole::Responder, peer, &schedule)?;
                self.outputs.push_back(Output::Established(Box::new(channel)));
                Phase::Over
            }
            _ => return Err(ChannelError::Unexpected),
        };
        Ok(())
    }
}
