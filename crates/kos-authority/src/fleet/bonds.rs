//! Pairings, grants and calls of agents on the link of a device.
//!
//! Source: `docs/spec/pairing.md` PAIR-30 to PAIR-34; `docs/spec/grant.md` GRANT-24.

use std::sync::Arc;

use kos_base::{Timestamp, code};
use kos_klp::{
    body::{self, Policy, Task},
    message::{MessageId, MessageType},
};
use kos_policy::{Direction, Errand, Request, decide, pairing::Bonds};

use super::{
    links::Ask,
    rules::is_taken,
    talk::{Ended, SLICE_REFRESH, Talk},
};
use crate::{bonds, clock};

/// What of it is under way on one link.
#[derive(Debug, Default)]
pub(super) struct Affairs {
    /// What the device has taken.
    told: Option<Bonds>,
    /// What was sent and is not answered yet.
    under_way: Option<(MessageId, Bonds)>,
}

impl Talk<'_> {
    /// Sends what the device is paired with, unless that was said on this link and is not about to run out.
    pub(super) async fn bring_bonds(&mut self) -> Result<(), Ended> {
        let now = clock::now();
        let shared = &self.board.shared;
        let Some(bonds) = bonds::bonds_for(shared, &self.id, now).await? else { return Ok(()) };
        let is_told = |told: &Bonds| {
            told.counter == bonds.counter
                && told.pairs == bonds.pairs
                && told.grants == bonds.grants
                && now.since(told.issued) < SLICE_REFRESH
        };
        let under_way = self.bonds.under_way.as_ref().map(|(_, bonds)| bonds);
        if self.bonds.told.as_ref().is_some_and(is_told) || under_way.is_some_and(is_told) {
            return Ok(());
        }
        let signed = bonds::signed(shared, &bonds)?;
        let said = body::write(&Policy::Bonds(signed));
        self.bonds.under_way = Some((self.signed(MessageType::POLICY, &said).await?, bonds));
        Ok(())
    }

    /// Takes what the device answers to what it is paired with. What it refused is brought again with its next heartbeat.
    pub(super) fn bonds_answered(&mut self, of: Option<MessageId>, status: u16) {
        let Some((_, bonds)) = self.bonds.under_way.take_if(|(under_way, _)| Some(*under_way) == of) else {
            return;
        };
        if is_taken(&self.id, "its pairings and grants", status) {
            self.bonds.told = Some(bonds);
        }
    }

    /// Brings a call that was let through. Whom the profile keeps from agents gets none.
    pub(super) async fn bring_call(&mut self, call: Arc<Ask>) -> Result<(), Ended> {
        if !self.takes_part(Errand::Agent) || !self.calls.have_room() {
            return Ok(());
        }
        // What the device judges it by comes first.
        self.bring_bonds().await?;
        let said = body::write(&Task::Call(call.said.clone()));
        let under_way = self.signed(MessageType::TASK_REQUEST, &said).await?;
        self.calls.asked(under_way, call);
        Ok(())
    }

    /// The device asks something of an agent: of one that it is paired with, or of none.
    pub(super) async fn for_agent(
        &mut self,
        now: Timestamp,
        message: MessageId,
        said: &[u8],
    ) -> Result<(), Ended> {
        let Ok(Task::ForAgent { agent, .. }) = body::read(said) else {
            return self.refuse(Some(message), code::klp::KLP_TYPE).await;
        };
        let tie = bonds::tie_of(&self.board.shared, &self.id, &agent, now).await?;
        let code = match decide(self.standing, Request::Agent(Direction::Called, tie)).check() {
            Err(refusal) => {
                self.board.shared.policy.count(&self.id, refusal);
                refusal.code()
            }
            // No agent has a link here.
            Ok(()) => code::klp::KLP_RECIPIENT,
        };
        self.refuse(Some(message), code).await
    }
}
