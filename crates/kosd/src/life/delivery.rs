//! The device's log: what is told of it at the start, when a checkpoint is due, and how it is brought to the authority.
//!
//! Source: `docs/spec/device-log.md` DLG-12 to DLG-30.

use std::{path::Path, time::Duration};

use kos_api::device::ImageVerdict;
use kos_audit::{
    EventType, TreeHash, TreeHead,
    device::{Contradiction, Courier, Errand},
};
use kos_base::{Code, Timestamp, code};
use kos_identity::enrolment::{device::Command, message::Image};
use kos_klp::{body::LogHeld, message::MessageType};
use serde_json::json;
use tokio::time::Instant;

use super::Device;
use crate::{
    config::ConfigError,
    log::{DeviceLog, LogError, Owner, about, said},
    root::{Root, file},
};

/// How long ordinary entries wait for a checkpoint, and so for being brought: each checkpoint wears flash.
const UNCOVERED_TIME_MAX: Duration = Duration::from_secs(300);
/// Pause before the authority is asked again after it took nothing, or the log could not be opened.
const PAUSE: Duration = Duration::from_secs(600);
/// Logs that a run begins anew because the authority holds another. Stops a quarrel from filling both disks.
const GIVEN_UP_MAX: u32 = 2;
/// A difference that makes the authority's word about the time an event.
const STEP_MIN: Duration = Duration::from_secs(10);
/// How long an end waits for the last entries to be brought.
const END_TIME_MAX: Duration = Duration::from_secs(3);
/// Name of the file with the digest of the configuration that the device last ran with.
const CONFIG: &str = "config.applied";

/// How the delivery stands.
#[derive(Debug, Default)]
pub(super) struct Bringing {
    courier: Courier,
    /// Since when there have been entries without a checkpoint.
    uncovered_since: Option<Instant>,
    /// Not before this moment is anything tried again.
    again_at: Option<Instant>,
    given_up: u32,
    /// Index of the first entry that is here, when the authority lacks some in front of it.
    removed: Option<u64>,
    /// The device is to end, not before its log was brought or this moment.
    ends_at: Option<Instant>,
    /// The end is in the log.
    end_told: bool,
    /// By which manifests nothing is brought, once that was told.
    forbidden_by: Option<u64>,
}

/// A configuration that is refused keeps the device from starting, so its log hears of it at the next start.
pub(super) fn tell_of_config(folder: &Path, error: &ConfigError) {
    let (state, now) = (Root::state_of(folder), crate::clock::Clock::start(None).now());
    if state.is_dir()
        && let Ok(log) = DeviceLog::new(&state, now)
    {
        let details = json!({"code": error.code().to_string(), "detail": said(&error.to_string())});
        log.write(now, EventType::ConfigRefused, about(details));
    }
}

/// A number of our table as people look it up.
fn told(number: u16) -> String {
    Code::find(&number.to_string())
        .map_or_else(|| format!("KOS-E{number:04}"), |code| format!("{code}, {}", code.title()))
}

impl Device {
    /// Opens the log if the device has an identity, and writes down how it starts.
    pub(super) fn tell_of_boot(&mut self, image: &Image) {
        self.open_log();
        let image = match image {
            Image::Unverified => ImageVerdict::Unverified,
            Image::Verified(_) => ImageVerdict::Verified,
        };
        let keys = self.keys.protection().map(|of| of.opener.to_string());
        let details = json!({"version": env!("CARGO_PKG_VERSION"), "image": image, "keysOpenBy": keys});
        self.note(EventType::DeviceBooted, details);
        if let Some(count) = self.keys.taken_in() {
            self.note(EventType::SecretsMigrated, json!({"count": count}));
        }
        let digest = data_encoding::HEXLOWER.encode(&self.config_digest);
        let path = self.root.state().join(CONFIG);
        let known = file::read(&path).ok().flatten();
        if known.is_none_or(|known| known.as_slice() != digest.as_bytes()) {
            self.note(EventType::ConfigApplied, json!({"sha256": digest}));
            if let Err(error) = file::replace(&path, digest.as_bytes(), file::PRIVATE) {
                tracing::warn!(%error, "the digest of the configuration cannot be kept");
            }
        }
    }

    /// Opens the log once there is somebody whose log it is.
    pub(super) fn open_log(&mut self) {
        let journal = self.machine.journal();
        let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.clone());
        let Some((member, authority)) = journal.membership.as_ref().zip(authority) else { return };
        let owner = Owner { authority, device: member.device.clone() };
        if self.log.is_open() || self.machine.is_ending() {
            return;
        }
        if let Err(error) = self.log.open(&owner, &self.keys, self.clock.now()) {
            tracing::error!(%error, "the device's log cannot be opened");
            self.errors.count();
            self.bringing.again_at = Some(Instant::now() + PAUSE);
        }
    }

    /// Somebody on this machine ends the device: its last entries are brought first, if there is a link.
    pub(super) fn begin_end(&mut self) {
        self.note_end("local");
        self.bringing.ends_at = Some(Instant::now() + END_TIME_MAX);
        self.end_when_brought();
    }

    fn end_when_brought(&mut self) {
        let Some(at) = self.bringing.ends_at else { return };
        let covered = self.log.sizes().map(|(_, covered)| covered);
        let is_brought = self.service.carrier.is_none() || self.bringing.courier.held() == covered;
        if is_brought || Instant::now() >= at {
            self.bringing.ends_at = None;
            self.machine.handle_command(self.clock.now(), Command::Decommission);
        }
    }

    /// How long the loop may sleep for the sake of the log.
    pub(super) fn log_pause(&self) -> Duration {
        let at = self.bringing.ends_at.map(|at| at.saturating_duration_since(Instant::now()));
        at.unwrap_or(Duration::MAX)
    }

    /// The end begins; told once.
    pub(super) fn note_end(&mut self, by: &str) {
        if !self.bringing.end_told {
            self.bringing.end_told = true;
            self.note(EventType::DecommissionBegun, json!({"by": by}));
        }
    }

    /// Makes a checkpoint when one is due, and sends what the authority does not have.
    pub(super) fn tend_log(&mut self) {
        if self.bringing.again_at.is_some_and(|at| Instant::now() < at) {
            return self.end_when_brought();
        }
        if self.bringing.again_at.take().is_some() && self.service.carrier.is_some() {
            self.bringing.courier.linked();
        }
        self.open_log();
        let Some((size, covered)) = self.log.sizes() else { return self.end_when_brought() };
        let now = Instant::now();
        let since = match size > covered {
            true => Some(*self.bringing.uncovered_since.get_or_insert(now)),
            false => None,
        };
        self.bringing.uncovered_since = since;
        if since.is_some_and(|since| now.duration_since(since) >= UNCOVERED_TIME_MAX) {
            self.log.cover(self.clock.now());
        }
        self.bring();
        self.end_when_brought();
    }

    /// Sends the next part of the log, unless one is under way.
    fn bring(&mut self) {
        let Some((_, covered)) = self.log.sizes() else { return };
        let Some(errand) = self.bringing.courier.next(covered) else { return };
        if self.service.link.is_none() {
            return;
        }
        let forbidden = self.may_send(MessageType::LOG).err();
        if let Some((counter, refusal)) = forbidden {
            if self.bringing.forbidden_by.replace(counter) != Some(counter) {
                self.note_forbidden(MessageType::LOG, &refusal);
            }
            return;
        }
        self.bringing.forbidden_by = None;
        let Some(link) = &self.service.link else { return };
        match self.log.message(errand, self.clock.now()) {
            Ok(part) => {
                if matches!(errand, Errand::Bring { .. }) {
                    self.bringing.removed = None;
                }
                if link.bring(part) {
                    self.bringing.courier.sent();
                }
            }
            Err(error) => self.not_brought(&error),
        }
    }

    /// The log was damaged on this device, or cannot be read, or signed, just now.
    fn not_brought(&mut self, error: &LogError) {
        tracing::error!(%error, "the log of this device is not brought");
        self.errors.count();
        if let LogError::Removed { kept } = error {
            self.bringing.removed = Some(*kept);
        }
        match error.damage() {
            Some(why) => self.give_log_up(why),
            None => self.rest_delivery(),
        }
    }

    /// What whoever looks at this device has to know of its delivery.
    pub(super) fn delivery_warning(&self) -> Option<String> {
        let kept = self.bringing.removed?;
        Some(format!(
            "the authority has lost its copy of this device's log, and the entries before number {kept} are not here any \
             more: nothing is brought until the authority has its copy again"
        ))
    }

    /// There is a link.
    pub(super) fn delivery_begins(&mut self) {
        self.log.cover(self.clock.now());
        self.bringing.courier.linked();
    }

    /// What the manifests say is another thing by now.
    pub(super) fn delivery_is_judged_again(&mut self) {
        if self.bringing.again_at.take().is_some() && self.service.carrier.is_some() {
            self.bringing.courier.linked();
        }
    }

    /// There is none any more.
    pub(super) fn delivery_ends(&mut self) {
        self.bringing.courier.lost();
    }

    /// The authority says how much it holds, or why it took nothing.
    pub(super) fn log_answered(&mut self, answer: Result<LogHeld, u16>) {
        let held = match answer {
            Ok(held) => held,
            Err(number) => {
                let is = |code: Code| code.number() == number;
                let contradiction = match () {
                    () if is(code::audit::DEVICE_LOG_REWOUND) => Some(Contradiction::Rewound),
                    () if is(code::audit::DEVICE_LOG_FORKED) || is(code::audit::DEVICE_LOG_EDITED) => {
                        Some(Contradiction::Forked)
                    }
                    () => None,
                };
                tracing::error!(code = %told(number), "the authority did not take this device's log");
                self.errors.count();
                return match contradiction {
                    Some(why) => self.give_log_up(why.word()),
                    None => self.rest_delivery(),
                };
            }
        };
        let head = TreeHead { size: held.size, root: TreeHash::from_bytes(held.root) };
        let own = match self.log.root_at(held.size) {
            Ok(own) => own,
            Err(error) => return self.not_brought(&error),
        };
        match self.bringing.courier.answered(head, own) {
            Ok(()) => self.log.is_held(held.size),
            Err(why) => {
                tracing::error!(%why, "the log of this device is not the one that the authority holds");
                self.errors.count();
                self.give_log_up(why.word());
            }
        }
    }

    /// A new log begins, and is brought instead.
    fn give_log_up(&mut self, why: &str) {
        self.bringing.given_up += 1;
        if self.bringing.given_up > GIVEN_UP_MAX {
            return self.rest_delivery();
        }
        match self.log.give_up(&self.keys, why, self.clock.now()) {
            Ok(()) => self.bringing.courier.linked(),
            Err(error) => {
                tracing::error!(%error, "no new log can begin");
                self.rest_delivery();
            }
        }
    }

    fn rest_delivery(&mut self) {
        self.bringing.courier.lost();
        self.bringing.again_at = Some(Instant::now() + PAUSE);
    }

    /// How many entries there are, and how many the authority has said to hold.
    pub(super) fn log_state(&self) -> (Option<u64>, Option<u64>) {
        (self.log.sizes().map(|(size, _)| size), self.bringing.courier.held())
    }

    /// The authority says what time it is.
    pub(super) fn learn_time(&mut self, told: Timestamp) {
        let before = self.clock.now();
        self.clock.learn(told);
        let after = self.clock.now();
        if after.since(before).max(before.since(after)) >= STEP_MIN {
            self.note(EventType::TimeStepped, json!({"from": before, "to": after}));
        }
    }

    /// The authority said no.
    pub(super) fn note_refusal(&self, refused: Code) {
        let lost = [code::enrolment::BANNED, code::enrolment::STATE_FORBIDS];
        let event = match lost.contains(&refused) {
            true => EventType::StandingLost,
            false => EventType::AuthorityRefused,
        };
        self.note(event, json!({"code": refused.to_string()}));
    }

    /// Newer lists count; `own`: our certificate is on one of them.
    pub(super) fn note_revocations(&self, own: bool) {
        let head = crate::revocation::head(self.service.revocations().view());
        let number = head.map(|head| head.number);
        self.note(EventType::RevocationsApplied, json!({"number": number}));
        if own {
            self.note(EventType::StandingLost, json!({"crlNumber": number}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_log_was_not_taken_is_a_code_to_look_up() {
        assert_eq!(told(790), "KOS-E0790, a manifest does not allow this");
        assert_eq!(told(9_999), "KOS-E9999");
    }
}
