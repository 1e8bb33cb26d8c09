//! Other devices that a device is asked to judge before they get SEC-4.
//!
//! Source: `docs/spec/klp.md` KLP-115; `docs/spec/second-verifier.md` SECV-5.

use std::sync::Arc;

use kos_klp::{
    body::{self, Ack, WitnessRequest},
    message::{MessageId, MessageType},
    session::Outgoing,
};
use kos_net::entropy;
use kos_policy::Errand;

use super::{
    links::JudgeAsk,
    talk::{Ended, Talk},
};
use crate::clock;

/// Most transcripts that a device has not judged. Whoever waits for an older one hears that it was not taken.
const TRANSCRIPTS_MAX: usize = 4;

/// What is not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Judging(Vec<(MessageId, Arc<JudgeAsk>)>);

impl Talk<'_> {
    /// Asks the device to judge another one.
    pub(super) async fn ask_judge(&mut self, ask: Arc<JudgeAsk>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Witness) {
            return Ok(());
        }
        let id = MessageId::from_bytes(entropy::array()?);
        let said = body::write(&WitnessRequest::Judge(ask.transcript.clone()));
        let frame = self.session.link_frame(clock::now(), &Outgoing::new(MessageType::WITNESS, id, &said))?;
        self.sender.send(&frame).await?;
        let Judging(waiting) = &mut self.judging;
        if waiting.len() >= TRANSCRIPTS_MAX {
            waiting.remove(0);
        }
        waiting.push((id, ask));
        Ok(())
    }

    /// Takes what the device says of another one.
    pub(super) fn judged(&mut self, of: Option<MessageId>, ack: &Ack) {
        let Judging(waiting) = &mut self.judging;
        let Some(at) = waiting.iter().position(|(asked, _)| Some(*asked) == of) else { return };
        let (_, ask) = waiting.remove(at);
        let answer = match ack.status() {
            0 => Ok(ack.result().unwrap_or_default().to_vec()),
            number => Err(number),
        };
        // Whoever asked may have stopped waiting.
        drop(ask.answer.try_send(answer));
    }
}
