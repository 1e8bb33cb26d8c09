//! The enrolment listener of the authority.

use std::sync::Arc;

use kos_base::key::SignatureForm;
use kos_identity::enrolment::authority::{AuthorityKey, Found, Input, Output, Query, Session};
use kos_net::{
    carrier::Link,
    entropy,
    frame::{self, FrameReader, Patience},
    tls::{Accepted, Exporter},
};
use tokio::{
    io::split,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Duration,
};

use super::Inner;

const PATIENCE: Patience = Patience { silence: Duration::from_secs(20), body: Duration::from_secs(5) };

impl Inner {
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut sessions = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            sessions.spawn(Arc::clone(&self).accept(stream));
        }
    }

    async fn accept(self: Arc<Self>, stream: TcpStream) {
        let remote = stream.peer_addr().unwrap();
        match self.tls.accept(stream).await {
            Ok(Accepted::Enrolment { stream, facts, key }) => {
                let exporter = |purpose| *facts.exporter(purpose).expose();
                let opened = Input::Opened {
                    peer: key,
                    enrolment: exporter(Exporter::Enrolment),
                    renewal: exporter(Exporter::Renewal),
                    source: remote.ip().to_string(),
                };
                self.converse(opened, stream).await;
            }
            Ok(Accepted::Klp { stream, facts, peer }) => {
                self.talk(Link::over_tls(stream, remote, peer, Arc::new(facts))).await;
            }
            Ok(Accepted::Http { .. }) => self.store.lock().unwrap().upgrades += 1,
            Err(_) => {}
        }
    }

    async fn converse<IO>(&self, opened: Input, stream: IO)
    where
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite,
    {
        let mut session = Session::new(Arc::clone(&self.context));
        session.handle_input(self.clock.now(), opened);
        let (reading, mut writing) = split(stream);
        let mut reader = FrameReader::new(reading, PATIENCE);
        loop {
            while let Some(output) = session.poll_output() {
                let answer = match output {
                    Output::Draw => Input::Drawn(entropy::secret().unwrap()),
                    Output::Lookup(query) => Input::Found(Box::new(self.look_up(&query))),
                    // This authority knows no second verifier.
                    Output::Second(_) => Input::Seconded(None),
                    Output::Sign { key, form, message } => Input::Signed(self.sign(key, form, &message)),
                    Output::Keep(sealed) => {
                        self.store.lock().unwrap().bundles.push(sealed.bytes);
                        continue;
                    }
                    Output::Commit(commit) => Input::Committed(self.commit(commit)),
                    Output::Send(frame) => match frame::write(&mut writing, &frame, PATIENCE.body).await {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    Output::Misuse(_) => continue,
                    Output::Close => return,
                };
                session.handle_input(self.clock.now(), answer);
            }
            match reader.read().await {
                Ok(Some(frame)) => session.handle_input(self.clock.now(), Input::Frame(frame)),
                _ => return,
            }
        }
    }

    fn sign(&self, key: AuthorityKey, form: SignatureForm, message: &[u8]) -> Vec<u8> {
        let key = match key {
            AuthorityKey::Issuing(class) => self.issuing_key(class),
            AuthorityKey::Kid => &self.kid,
        };
        key.sign(form, message).unwrap()
    }

    fn look_up(&self, query: &Query) -> Found {
        let crls = self.lists();
        let store = self.store.lock().unwrap();
        let holds = |device: &&kos_identity::registry::Device| {
            let keys = [
                Some(device.identity_key.id()),
                device.credential.as_ref().map(|held| held.key.id()),
                device.pending.as_ref().map(|held| held.credential.key.id()),
            ];
            query.device.as_ref() == Some(&device.id)
                || query.key.is_some_and(|key| keys.contains(&Some(key)))
        };
        let ticket = query.ticket.and_then(|id| store.tickets.get(&id).cloned());
        Found { device: store.devices.values().find(holds).cloned(), ticket, crls, ..Found::default() }
    }
}
