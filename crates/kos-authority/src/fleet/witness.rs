//! What a device is asked over its link as a witness: of a log, or of another device that wants SEC-4.
//!
//! Source: `docs/spec/klp.md` KLP-45 to KLP-50, KLP-115; `docs/spec/second-verifier.md` SECV-5.

use std::sync::Arc;

use kos_klp::{
    body::{self, Ack, WitnessRequest},
    message::{MessageId, MessageType},
    session::Outgoing,
};
use kos_net::entropy;
use kos_policy::Errand;

use super::{
    links::{Ask, WitnessAsk},
    talk::{Ended, Talk},
};
use crate::clock;

impl Talk<'_> {
    /// Asks the device to cosign. An older question that it has not answered is given up.
    pub(super) async fn ask_witness(&mut self, ask: Arc<WitnessAsk>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Witness) {
            return Ok(());
        }
        let id = self.witness(&WitnessRequest::Cosign(ask.request.clone())).await?;
        self.asked = Some((id, ask));
        Ok(())
    }

    /// Asks the device to judge another one (SECV-5).
    pub(super) async fn ask_judge(&mut self, ask: Arc<Ask>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Witness) || !self.judging.have_room() {
            return Ok(());
        }
        let id = self.witness(&WitnessRequest::Judge(ask.said.clone())).await?;
        self.judging.asked(id, ask);
        Ok(())
    }

    async fn witness(&mut self, request: &WitnessRequest) -> Result<MessageId, Ended> {
        let id = MessageId::from_bytes(entropy::array()?);
        let said = body::write(request);
        let frame = self.session.link_frame(clock::now(), &Outgoing::new(MessageType::WITNESS, id, &said))?;
        self.sender.send(&frame).await?;
        Ok(id)
    }

    /// Takes what the device says as a witness. A refusal is no answer.
    pub(super) fn witnessed(&mut self, of: Option<MessageId>, ack: &Ack) -> Result<(), Ended> {
        let Some((_, ask)) = self.asked.take_if(|(asked, _)| Some(*asked) == of) else { return Ok(()) };
        if let (0, Some(result)) = (ack.status(), ack.result()) {
            // Whoever asked may have stopped waiting.
            drop(ask.answer.try_send(body::read(result)?));
        }
        Ok(())
    }
}
