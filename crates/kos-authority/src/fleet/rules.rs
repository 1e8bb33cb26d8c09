//! What manifests and enforcement modules make of a device on its link.
//!
//! Source: `docs/spec/policy.md` POLS-17; `docs/spec/manifest.md`; `docs/spec/modules.md` MOD-10 to MOD-16.

use kos_base::{DeviceId, SecurityProfile, Timestamp, code};
use kos_identity::registry::Device;
use kos_klp::{
    body,
    message::{MessageId, MessageType},
};
use kos_policy::{
    Standing,
    module::{Finding, Module, Report},
    slice::Slice,
};

use super::talk::{Ended, SLICE_REFRESH, Talk};
use crate::{authority::Shared, clock, modules, policy::manifest::applied};

/// What decides what a device may do on its link, and the mandatory module that it does not meet: then it is the lobby.
pub(super) fn judged(
    shared: &Shared,
    device: &Device,
    certified: Standing,
    report: Option<(Report, Timestamp)>,
) -> (Standing, Option<(&'static dyn Module, Finding)>) {
    let seen = modules::seen(device, certified, report, clock::now());
    match modules::unmet(shared, certified, &seen) {
        Some(unmet) => (Standing { profile: SecurityProfile::Sec0, ..certified }, Some(unmet)),
        None => (certified, None),
    }
}

/// Whether a device has taken what it was sent; a refusal is told. One that does not know the message never will.
pub(super) fn is_taken(device: &DeviceId, what: &str, status: u16) -> bool {
    if status != 0 {
        tracing::error!(%device, status, what, "a device does not take what it is sent");
    }
    status == 0 || status == code::klp::KLP_TYPE.number()
}

impl Talk<'_> {
    /// Keeps a device that does not meet a mandatory module to what the lobby may, and lets it out again.
    pub(super) fn judge_modules(&mut self) {
        let shared = &self.board.shared;
        let (standing, unmet) = judged(shared, &self.device, self.certified, self.report);
        if standing == self.standing {
            return;
        }
        self.standing = standing;
        shared.links.stands(&self.id, self.number, standing);
        match unmet {
            Some((module, finding)) => {
                let request = format!("module/{}", module.name());
                shared.manifests.refused.count_module(&self.id, &request, &finding.why);
                tracing::warn!(device = %self.id, module = module.name(), why = finding.why, "kept to the lobby");
            }
            None => tracing::info!(device = %self.id, "meets every mandatory module again"),
        }
    }

    /// Sends what the manifests say about the device, unless it has taken that on this link, or is about to, and it does not run
    /// out soon.
    pub(super) async fn bring_policy(&mut self) -> Result<(), Ended> {
        let now = clock::now();
        let shared = &self.board.shared;
        let Some(slice) = applied::slice_for(shared, &self.device, now) else { return Ok(()) };
        let is_told = |told: &Slice| {
            told.counter == slice.counter
                && told.rules == slice.rules
                && now.since(told.issued) < SLICE_REFRESH
        };
        let under_way = self.policy_under_way.as_ref().map(|(_, slice)| slice);
        if self.told.policy.as_ref().is_some_and(is_told) || under_way.is_some_and(is_told) {
            return Ok(());
        }
        let said = body::write(&body::Policy::Slice(applied::signed(shared, &slice)?));
        self.policy_under_way = Some((self.signed(MessageType::POLICY, &said).await?, slice));
        Ok(())
    }

    /// Takes what the device answers to that. What it refused is brought again with its next heartbeat.
    pub(super) fn policy_answered(&mut self, of: Option<MessageId>, status: u16) {
        let answered = self.policy_under_way.take_if(|(under_way, _)| Some(*under_way) == of);
        let Some((_, slice)) = answered else { return };
        if is_taken(&self.id, "what the manifests say about it", status) {
            self.told.policy = Some(slice);
        }
    }
}
