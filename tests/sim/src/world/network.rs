//! The network: connections that deliver in order or break, and handshakes that bind both ends to the same exporters.

use core::{fmt, time::Duration};
use std::collections::VecDeque;

use anyhow::Result;
use kos_base::{KeyId, PublicKey, Timestamp};
use kos_identity::enrolment::{
    authority, device,
    device::{Anchor, KeySlot},
    message::{FromAuthority, FromDevice},
};

use super::{BodyId, Event, World};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a server keeps a connection.
const SESSION_MAX: Duration = Duration::from_secs(180);

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Whom a connection reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The authority.
    Real,
    /// Somebody who pretends to be it.
    Rogue,
}

/// Who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    Device(BodyId, u64),
    Attacker,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) opener: Opener,
    pub(super) server: Server,
    pub(super) peer: Option<PublicKey>,
    pub(super) source: String,
    exporters: [[u8; 32]; 2],
    client_open: bool,
    pub(super) server_open: bool,
    /// When the last frame in each direction arrives: later ones arrive later.
    arrivals: [Timestamp; 2],
    heard: u64,
    /// Frames that wait until the session has its answer; a server reads no further before.
    pub(super) inbox: Option<VecDeque<Vec<u8>>>,
    /// What the server was asked last.
    pub(super) asked: Option<FromDevice>,
}

impl World {
    /// Opens a connection as a device does.
    pub(super) fn connect(&mut self, body: BodyId, life: u64, key: Option<KeySlot>, anchor: &Anchor) {
        let Some(one) = self.bodies.get(body.0) else { return };
        let peer = key.map(|slot| one.disk.now.signing(slot).map(|key| key.public().clone()));
        let peer = match peer {
            Some(None) => return self.laws.broken("keys", format!("{one} connects with a key that is gone")),
            Some(Some(key)) => Some(key),
            None => None,
        };
        let source = one.source.clone();
        let unpinned = anchor.pins.is_empty();
        let intercepted = unpinned && self.chance.one_in(self.weather.intercepts);
        let server = if intercepted { Server::Rogue } else { Server::Real };
        let trusted = unpinned || anchor.pins.contains(&self.root_of(server));
        let opener = Opener::Device(body, life);
        let link = self.open(opener, server, peer, source);
        if let Some(one) = self.bodies.get_mut(body.0) {
            one.link = Some(link);
        }
        if !trusted || !self.is_up(server) || self.chance.one_in(self.weather.loses) {
            self.soon(Event::ClientLost(link));
            return;
        }
        if self.weather.loses > 0 && self.chance.one_in(20) {
            // An attempt of which the client never learns that it succeeded.
            let again = self.links.get(&link).map(|link| (link.peer.clone(), link.source.clone()));
            if let Some((peer, source)) = again {
                let ghost = self.open(Opener::Attacker, server, peer, source);
                self.soon(Event::Opened(ghost));
            }
        }
        let delay = self.weather.delay(&mut self.chance);
        self.later(delay, Event::Opened(link));
        self.later(delay + Duration::from_millis(1), Event::Connected(link));
        self.later(PATIENCE, Event::Patience(link, 0));
    }

    pub(super) fn open(
        &mut self,
        opener: Opener,
        server: Server,
        peer: Option<PublicKey>,
        source: String,
    ) -> LinkId {
        self.links_made += 1;
        let id = LinkId(self.links_made);
        let exporters = [self.chance.bytes(), self.chance.bytes()];
        let arrivals = [self.now; 2];
        let link = Link {
            opener,
            server,
            peer,
            source,
            exporters,
            client_open: true,
            server_open: true,
            arrivals,
            heard: 0,
            inbox: None,
            asked: None,
        };
        self.links.insert(id, link);
        self.later(SESSION_MAX, Event::Expire(id));
        id
    }

    pub(super) fn root_of(&self, server: Server) -> KeyId {
        self.server(server).kit.context.root.key_id()
    }

    /// The handshake is done on the server's side.
    pub(super) fn opened(&mut self, id: LinkId) -> Result<()> {
        let Some(link) = self.links.get(&id) else { return Ok(()) };
        let [enrolment, renewal] = link.exporters;
        let input = authority::Input::Opened {
            peer: link.peer.clone(),
            enrolment,
            renewal,
            source: link.source.clone(),
        };
        let server = link.server;
        if self.server(server).up {
            let session = authority::Session::new(self.server(server).kit.context.clone());
            self.server_mut(server).sessions.insert(id, session);
            self.tell_session(id, input)?;
        }
        Ok(())
    }

    /// The handshake is done on the client's side.
    pub(super) fn connected(&mut self, id: LinkId) -> Result<()> {
        let Some(link) = self.links.get(&id).filter(|link| link.client_open) else { return Ok(()) };
        let [enrolment, renewal] = link.exporters;
        let root = self.root_of(link.server);
        self.tell_client(id, device::Input::Connected { root, enrolment, renewal })
    }

    /// A client sends a frame.
    pub(super) fn send_to_server(&mut self, id: LinkId, frame: Vec<u8>) {
        let lost = self.chance.one_in(self.weather.loses);
        let delay = self.weather.delay(&mut self.chance);
        let now = self.now;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client_open) else { return };
        let [to_server, _] = &mut link.arrivals;
        *to_server = (*to_server).max(now.plus(delay));
        let (at, heard) = (*to_server, link.heard);
        if self.recorded.len() < 40 {
            self.recorded.push(frame.clone());
        }
        if !lost {
            self.queue.plan(at, Event::ToServer(id, frame));
        }
        self.later(PATIENCE, Event::Patience(id, heard));
    }

    /// A server sends a frame.
    pub(super) fn send_to_client(&mut self, id: LinkId, frame: Vec<u8>) {
        let lost = self.chance.one_in(self.weather.loses);
        let delay = self.weather.delay(&mut self.chance);
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let [_, to_client] = &mut link.arrivals;
        *to_client = (*to_client).max(now.plus(delay));
        let at = *to_client;
        if lost {
            link.server_open = false;
        } else {
            self.queue.plan(at, Event::ToClient(id, frame));
        }
    }

    pub(super) fn reach_server(&mut self, id: LinkId, frame: Vec<u8>) -> Result<()> {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.server_open) else { return Ok(()) };
        if let Some(inbox) = &mut link.inbox {
            inbox.push_back(frame);
            return Ok(());
        }
        link.asked = FromDevice::from_bytes(&frame).ok().or(link.asked.take());
        self.tell_session(id, authority::Input::Frame(frame))
    }

    /// A session has the answer that it asked for, and looks at what came meanwhile.
    pub(super) fn read(&mut self, id: LinkId, waiting: VecDeque<Vec<u8>>) -> Result<()> {
        waiting.into_iter().try_for_each(|frame| self.reach_server(id, frame))
    }

    /// A session asks something.
    pub(super) fn hold_frames(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.inbox.get_or_insert_default();
        }
    }

    pub(super) fn reach_client(&mut self, id: LinkId, frame: Vec<u8>) -> Result<()> {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.client_open) else { return Ok(()) };
        link.heard += 1;
        self.tell_client(id, device::Input::Received(frame))
    }

    /// The client has waited long enough, unless something came meanwhile.
    pub(super) fn lose_patience(&mut self, id: LinkId, heard: u64) -> Result<()> {
        let waits = self.links.get(&id).is_some_and(|link| link.client_open && link.heard == heard);
        if waits { self.client_lost(id) } else { Ok(()) }
    }

    /// The client learns that its connection is gone.
    pub(super) fn client_lost(&mut self, id: LinkId) -> Result<()> {
        match self.links.get_mut(&id) {
            Some(link) if link.client_open => {
                link.client_open = false;
                self.tell_client(id, device::Input::Disconnected(None))
            }
            _ => Ok(()),
        }
    }

    /// The client closes; what it has sent still arrives.
    pub(super) fn close_by_client(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.client_open = false;
        }
    }

    /// The server closes; what it has sent still arrives.
    pub(super) fn close_by_server(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.server_open = false;
            let [_, to_client] = link.arrivals;
            let at = to_client.plus(Duration::from_millis(5));
            self.queue.plan(at, Event::ClientLost(id));
        }
    }

    /// The server's patience ends.
    pub(super) fn expire(&mut self, id: LinkId) -> Result<()> {
        self.client_lost(id)?;
        if let Some(link) = self.links.remove(&id) {
            self.server_mut(link.server).sessions.remove(&id);
        }
        Ok(())
    }

    fn tell_client(&mut self, id: LinkId, input: device::Input) -> Result<()> {
        match self.links.get(&id).map(|link| link.opener) {
            Some(Opener::Device(body, life)) => self.hear_from_network(body, life, id, input),
            _ => Ok(()),
        }
    }
}

/// A request in few words.
pub(super) fn describe_request(frame: &[u8]) -> String {
    match FromDevice::from_bytes(frame) {
        Ok(FromDevice::Hello(hello)) => format!("Hello {} {}", hello.role, hello.profile),
        Ok(FromDevice::Prove(prove)) => {
            let means = format!("{:?}", prove.means);
            format!("Prove {}", means.split(['{', '(']).next().unwrap_or_default())
        }
        Ok(FromDevice::Stored(stored)) => format!("Stored {}", stored.issue),
        Ok(FromDevice::Notice(_)) => "Notice".to_owned(),
        Ok(FromDevice::Receipt(receipt)) => format!("Receipt {}", receipt.device),
        Ok(FromDevice::Isolated(_)) => "Isolated".to_owned(),
        Err(e) => format!("nonsense: {e}"),
    }
}

/// An answer in few words.
pub(super) fn describe_answer(frame: &[u8]) -> String {
    match FromAuthority::from_bytes(frame) {
        Ok(FromAuthority::Issued(grant)) => format!("Issued {} number {}", grant.device, grant.issue),
        Ok(FromAuthority::Welcome(welcome)) => format!("Welcome, {} issued", welcome.issues),
        Ok(FromAuthority::Order(_)) => "Order".to_owned(),
        Ok(FromAuthority::Quarantine(_)) => "Quarantine".to_owned(),
        Ok(other) => format!("{other:?}"),
        Err(e) => format!("nonsense: {e}"),
    }
}
