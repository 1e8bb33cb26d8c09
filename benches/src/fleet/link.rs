//! A device's end of a KLP link: heartbeats out, acknowledgements in.

use std::sync::LazyLock;

use anyhow::{Context as _, Result, ensure};
use kos_base::Channel;
use kos_klp::{
    body::{self, Ack, Heartbeat, Version},
    frame::{Content, Frame},
    message::{MessageId, MessageType},
    proof::ProofClass,
    session::{Incoming, Outgoing, Session},
};
use kos_net::carrier::{Link, LinkReceiver, LinkSender};

use crate::clock;

/// What every device says: a plain state without health checks.
static HEARTBEAT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let versions = ["kosd"].iter().filter_map(|name| {
        Some(Version { component: name.parse().ok()?, version: env!("CARGO_PKG_VERSION").parse().ok()? })
    });
    body::write(&Heartbeat {
        cpu_percent: Some(7),
        ram_used_bytes: Some(1 << 28),
        ram_total_bytes: Some(1 << 30),
        uptime_seconds: Some(90_000),
        errors: 0,
        checks: Vec::new(),
        versions: versions.collect(),
        config_digest: [7; 32],
        boot_id: [9; 16],
        channel: Channel::Stable,
        interval_seconds: None,
        statements: Vec::new(),
        modules: None,
    })
});

/// The body of a heartbeat, for rivals that carry the same bytes.
pub(crate) fn heartbeat_body() -> &'static [u8] {
    &HEARTBEAT
}

/// A device's end of an open link.
pub(crate) struct DeviceLink {
    session: Session,
    sender: LinkSender,
    receiver: LinkReceiver,
    sent: u128,
}

impl DeviceLink {
    pub(crate) fn new(link: Link, session: Session) -> Self {
        Self { session, sender: link.sender, receiver: link.receiver, sent: 0 }
    }

    /// Sends `count` heartbeats in one go and waits until all are acknowledged.
    pub(crate) async fn beat(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.sent += 1;
            let id = MessageId::from_bytes(self.sent.to_be_bytes());
            let outgoing = Outgoing::new(MessageType::HEARTBEAT, id, heartbeat_body());
            let frame = self.session.link_frame(clock::now(), &outgoing)?;
            self.sender.queue(&frame).await?;
        }
        self.sender.flush().await?;
        let mut missing = count;
        while missing > 0 {
            let frame = self.receiver.recv().await?.context("the authority closed the link")?;
            missing -= u32::from(self.is_acknowledgement(&frame)?);
        }
        Ok(())
    }

    /// Ends when the authority has closed the link.
    pub(crate) async fn closed(mut self) {
        while let Ok(Some(_)) = self.receiver.recv().await {}
    }

    /// Whether a frame says that a heartbeat was taken in. Signed news are none.
    fn is_acknowledgement(&mut self, bytes: &[u8]) -> Result<bool> {
        let Content::Plain(envelope) = Frame::parse(bytes)?.into_content() else { return Ok(false) };
        if envelope.class() != ProofClass::Link {
            return Ok(false);
        }
        let Incoming::Message(received) = self.session.receive_link(clock::now(), envelope)? else {
            return Ok(false);
        };
        let message = received.message();
        ensure!(message.kind == MessageType::ACK, "the authority sends {}", message.kind);
        let ack: Ack = body::read(message.body)?;
        ensure!(ack.status() == 0, "a heartbeat was refused with {}", ack.status());
        Ok(true)
    }
}
