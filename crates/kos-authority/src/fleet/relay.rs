//! The authority as a relay between two of its devices: it passes on what it cannot read.
//!
//! A frame goes on only from a link to a link, so both devices are in good standing, and only if a relay may pass it on
//! at all: encrypted or of a secure channel, with a recipient, not expired, with a hop left; and only if the security profiles of both
//! ends allow it (POLS-19). Nothing is stored: a device
//! that has no link now gets nothing, and the sender is told.
//!
//! Limits: [`Allowance`] for each sender, and the queue of each recipient (`links`).
//!
//! Source: `docs/spec/klp.md` KLP-18, KLP-32.

use std::time::Duration;

use kos_base::{Code, DeviceId, Timestamp, code};
use kos_klp::{
    channel::channel_id_of,
    frame::{Content, Frame, Hop},
    message::MessageId,
    party::PartyKind,
};
use kos_policy::{Forwarding, Request, decide};
use tokio::time::Instant;

use crate::policy::manifest::applied;

use super::{
    links::{Relayed, Undelivered},
    talk::{Ended, Talk, remaining},
};

/// Bytes that a device may have passed on at once, and every second. Stops one device from filling the links of others.
const BURST_BYTES: u32 = 1 << 20;
const BYTES_PER_SECOND: u32 = 1 << 18;

/// What a device may still have passed on.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes: u32,
    at: Instant,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self { bytes: BURST_BYTES, at: now }
    }

    /// Takes `bytes` out, if they are there.
    fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = now.duration_since(self.at).min(Duration::from_secs(8));
        let gained = passed.as_nanos().saturating_mul(u128::from(BYTES_PER_SECOND)) / 1_000_000_000;
        let bytes_now = self.bytes.saturating_add(u32::try_from(gained).unwrap_or(u32::MAX)).min(BURST_BYTES);
        let left = u32::try_from(bytes).ok().and_then(|bytes| bytes_now.checked_sub(bytes));
        (self.bytes, self.at) = (left.unwrap_or(bytes_now), now);
        left.is_some()
    }
}

impl Talk<'_> {
    /// Passes a frame on to the device that its hop names, or says why not.
    pub(super) async fn pass_on(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Ended> {
        // The timer does not see it when the clock of the system is put forward.
        remaining(self.not_after, now)?;
        match self.deliver(now, frame) {
            Ok(()) => Ok(()),
            Err(code) => {
                tracing::debug!(device = %self.id, %code, "a frame is not passed on");
                self.refuse(channel_of(frame), code).await
            }
        }
    }

    fn deliver(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Code> {
        let passed_on = frame.relay(now).map_err(|error| error.code())?;
        let to = self.recipient(frame.hop()).ok_or(code::klp::KLP_RECIPIENT)?;
        let forwarding = match frame.content() {
            Content::Channel(_) => Forwarding::Channel,
            Content::Encrypted(_) | Content::Plain(_) => Forwarding::Encrypted,
        };
        // Before anything is asked that takes time or is recorded.
        if !self.allowance.take(Instant::now(), passed_on.len()) {
            return Err(code::klp::KLP_MEMORY);
        }
        // Without a link the recipient is not reached anyhow; what the sender may not at all it hears first.
        let linked = self.board.shared.links.standing(&to);
        let other = linked.unwrap_or(self.standing);
        decide(self.standing, Request::Peer(forwarding, other)).check().map_err(|refusal| {
            self.board.shared.policy.count(&self.id, refusal);
            refusal.code()
        })?;
        if linked.is_none() {
            return Err(code::klp::KLP_RECIPIENT);
        }
        if applied::refuses_peer(&self.board.shared, &self.device, self.standing, &to, now) {
            return Err(code::manifest::MANIFEST_REFUSES);
        }
        let relayed = Relayed { frame: passed_on, forwarding, from: self.standing };
        self.board.shared.links.pass_on(&to, relayed).map_err(|undelivered| match undelivered {
            Undelivered::NoLink => code::klp::KLP_RECIPIENT,
            Undelivered::Full => code::klp::KLP_MEMORY,
        })
    }

    /// Sends the device what another one sent it, unless it has come to stand since where that may not reach it.
    pub(super) async fn bring_relayed(&mut self, relayed: &Relayed) -> Result<(), Ended> {
        let reaches = decide(relayed.from, Request::Peer(relayed.forwarding, self.standing)).check();
        if let Err(refusal) = reaches {
            self.board.shared.policy.count(&self.id, refusal);
            return Ok(());
        }
        Ok(self.sender.send(&relayed.frame).await?)
    }

    /// Another device of ours.
    fn recipient(&self, hop: &Hop<'_>) -> Option<DeviceId> {
        match hop.to?.kind() {
            PartyKind::Device { authority, device } if authority == self.board.shared.name.as_ref() => {
                device.parse().ok().filter(|device| *device != self.id)
            }
            _ => None,
        }
    }
}

/// What the answer to a frame names: the channel, where it is of one. What is encrypted has no name for us.
fn channel_of(frame: &Frame<'_>) -> Option<MessageId> {
    let Content::Channel(message) = frame.content() else { return None };
    channel_id_of(message).ok().map(|channel| MessageId::from_bytes(*channel.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_burst_passed_on_and_then_a_rate() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun);
        let burst = usize::try_from(BURST_BYTES).unwrap();
        assert!(allowance.take(begun, burst));
        assert!(!allowance.take(begun, 1));
        let later = begun + Duration::from_secs(1);
        assert!(!allowance.take(later, 1 + burst / 4), "a second gives a quarter");
        assert!(allowance.take(later, burst / 4));
        let much_later = begun + Duration::from_secs(86_400);
        assert!(!allowance.take(much_later, burst + 1), "and it never grows over the burst");
        assert!(allowance.take(much_later, burst));
        // 64 bytes every half millisecond are half the rate, however little each pause gives.
        for n in 1..=2_000 {
            let at = much_later + Duration::from_micros(500 * n);
            assert!(allowance.take(at, 64), "{n}");
        }
    }
}
