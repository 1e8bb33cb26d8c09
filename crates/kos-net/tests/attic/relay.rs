//! A relay that nobody trusts: it passes frames on between the links of two devices, keeps everything that it sees, and
//! does with each frame what a test wants.

use kos_base::SecurityProfile;
use kos_identity::certificate::PeerIdentity;
use kos_klp::frame::Frame;
use kos_net::{
    accept::Permit,
    carrier::{Carrier, Connector, Link, LinkReceiver, LinkSender},
    channel::{Identity, Judge},
    tls::Trust,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    Authority, Holder, NOW,
    port::{Port, Serves},
};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the end that opens the channel.
    Forth,
    /// From the end that accepts it.
    Back,
}

/// What a relay does about a frame.
#[derive(Debug)]
pub(crate) enum Deed {
    /// Passes these on in its place.
    PassOn(Vec<Vec<u8>>),
    /// Cuts both links.
    Cut,
}

/// Two devices that have a link to the same relay and none to each other.
pub(crate) struct Attic {
    pub(crate) authority: Authority,
    pub(crate) anna: Holder,
    pub(crate) bert: Holder,
    pub(crate) trust: watch::Sender<Trust>,
    port: Port,
    handed_out: mpsc::UnboundedReceiver<(Link, Permit)>,
}

/// The four ends of their two links.
pub(crate) struct Ends {
    pub(crate) anna: Link,
    pub(crate) bert: Link,
    pub(crate) relay: [(Link, Permit); 2],
}

pub(crate) const ANNA: &str = "kdev-00000000000anna1";
pub(crate) const BERT: &str = "kdev-00000000000bert1";

impl Attic {
    pub(crate) async fn new() -> Self {
        let authority = Authority::new("attic");
        let (anna, bert) = (
            authority.device_named(ANNA, SecurityProfile::Sec2),
            authority.device_named(BERT, SecurityProfile::Sec2),
        );
        let (port, handed_out) = Port::handing_out(authority.server_tls(), Serves::Everything).await;
        let (trust, _) = watch::channel(authority.trust());
        Self { authority, anna, bert, trust, port, handed_out }
    }

    pub(crate) fn identity(&self, id: &str) -> PeerIdentity {
        PeerIdentity::Device { authority: self.authority.name.clone(), device: id.parse().unwrap() }
    }

    /// Who says that it is this device and shows the certificates and the key of `holder`.
    pub(crate) fn own(&self, id: &str, holder: &Holder) -> Identity {
        Identity {
            identity: self.identity(id),
            chain: holder.certified.cert.clone(),
            key: holder.key.clone(),
        }
    }

    pub(crate) fn judge(&self) -> Judge {
        Judge { clock: self.authority.clock(), trust: self.trust.subscribe() }
    }

    pub(crate) async fn link(&mut self, carrier: Carrier) -> Ends {
        let (anna, to_anna) = self.dial(carrier, &self.anna.clone()).await;
        let (bert, to_bert) = self.dial(carrier, &self.bert.clone()).await;
        Ends { anna, bert, relay: [to_anna, to_bert] }
    }

    async fn dial(&mut self, carrier: Carrier, holder: &Holder) -> (Link, (Link, Permit)) {
        let tls = self.authority.client(Some(holder));
        let link = Connector::default().dial(&[carrier], &self.port.target(), &tls).await.unwrap();
        (link, self.handed_out.recv().await.unwrap())
    }
}

/// Passes frames on until both ends are done. Gives what it saw, in order.
pub(crate) fn relay(
    relay: [(Link, Permit); 2],
    mut meddle: impl FnMut(Direction, usize, Vec<u8>) -> Deed + Send + 'static,
) -> JoinHandle<Vec<(Direction, Vec<u8>)>> {
    let [(anna, anna_permit), (bert, bert_permit)] = relay;
    tokio::spawn(async move {
        let _permits = (anna_permit, bert_permit);
        let mut seen = Vec::new();
        let (mut from_anna, mut from_bert) = (Some(anna.receiver), Some(bert.receiver));
        let (mut to_anna, mut to_bert) = (Some(anna.sender), Some(bert.sender));
        while from_anna.is_some() || from_bert.is_some() {
            let (direction, frame) = tokio::select! {
                frame = next(&mut from_anna) => (Direction::Forth, frame),
                frame = next(&mut from_bert) => (Direction::Back, frame),
            };
            let to = if direction == Direction::Forth { &mut to_bert } else { &mut to_anna };
            let Some(frame) = frame else {
                hang_up(to.take()).await;
                continue;
            };
            let n = seen.iter().filter(|(way, _)| *way == direction).count();
            let passed_on = Frame::parse(&frame).unwrap().relay(NOW).unwrap();
            seen.push((direction, frame));
            match meddle(direction, n, passed_on) {
                Deed::PassOn(frames) => {
                    for frame in frames {
                        if let Some(to) = to {
                            let _ = to.send(&frame).await;
                        }
                    }
                }
                Deed::Cut => break,
            }
        }
        seen
    })
}

/// The next frame; none when the link has ended, and never again after that.
async fn next(receiver: &mut Option<LinkReceiver>) -> Option<Vec<u8>> {
    let Some(link) = receiver else { return std::future::pending().await };
    let frame = link.recv().await.ok().flatten();
    if frame.is_none() {
        *receiver = None;
    }
    frame
}

async fn hang_up(sender: Option<LinkSender>) {
    if let Some(sender) = sender {
        let _ = sender.close().await;
    }
}
