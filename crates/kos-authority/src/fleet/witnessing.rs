//! What a device is asked as a witness: to cosign the log, and to judge the attestation of another device.
//!
//! Source: `docs/spec/klp.md` KLP-80 to KLP-82, KLP-115.

use std::sync::Arc;

use kos_klp::{
    body::{self, Ack, WitnessRequest},
    message::{MessageId, MessageType},
    session::Outgoing,
};
use kos_net::entropy;
use kos_policy::Errand;

use super::{
    links::{JudgeAsk, WitnessAsk},
    talk::{Ended, Talk},
};
use crate::clock;

/// Most transcripts that a device has not judged. Whoever waits for an older one hears that it was not taken.
const TRANSCRIPTS_MAX: usize = 4;

/// What is not answered yet.
#[derive(Debug, Default)]
pub(super) struct Witnessing {
    asked: Option<(MessageId, Arc<WitnessAsk>)>,
    /// Oldest first.
    judging: Vec<(MessageId, Arc<JudgeAsk>)>,
}

impl Talk<'_> {
    /// Asks the device to cosign. An older question that it has not answered is given up.
    pub(super) async fn ask_witness(&mut self, ask: Arc<WitnessAsk>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Witness) {
            return Ok(());
        }
        let id = self.ask(&WitnessRequest::Cosign(ask.request.clone())).await?;
        self.witnessing.asked = Some((id, ask));
        Ok(())
    }

    /// Asks the device to judge another one.
    pub(super) async fn ask_judge(&mut self, ask: Arc<JudgeAsk>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Witness) {
            return Ok(());
        }
        let id = self.ask(&WitnessRequest::Judge(ask.transcript.clone())).await?;
        if self.witnessing.judging.len() >= TRANSCRIPTS_MAX {
            self.witnessing.judging.remove(0);
        }
        self.witnessing.judging.push((id, ask));
        Ok(())
    }

    async fn ask(&mut self, request: &WitnessRequest) -> Result<MessageId, Ended> {
        let id = MessageId::from_bytes(entropy::array()?);
        let said = body::write(request);
        let frame = self.session.link_frame(clock::now(), &Outgoing::new(MessageType::WITNESS, id, &said))?;
        self.sender.send(&frame).await?;
        Ok(id)
    }

    /// Takes what the device says as a witness. A refusal is no answer.
    pub(super) fn witnessed(&mut self, of: Option<MessageId>, ack: &Ack) -> Result<(), Ended> {
        if let Some(at) = self.witnessing.judging.iter().position(|(asked, _)| Some(*asked) == of) {
            let (_, ask) = self.witnessing.judging.remove(at);
            let answer = match ack.status() {
                0 => Ok(ack.result().unwrap_or_default().to_vec()),
                number => Err(number),
            };
            // Whoever asked may have stopped waiting.
            drop(ask.answer.try_send(answer));
            return Ok(());
        }
        let asked = &mut self.witnessing.asked;
        let Some((_, ask)) = asked.take_if(|(asked, _)| Some(*asked) == of) else { return Ok(()) };
        if let (0, Some(result)) = (ack.status(), ack.result()) {
            // As above.
            drop(ask.answer.try_send(body::read(result)?));
        }
        Ok(())
    }
}
