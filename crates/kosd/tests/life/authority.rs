//! An authority that keeps everything in memory: the real sessions of `kos-identity` behind a real TLS port.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use kos_base::{AuthorityName, DeviceId, EntryId, KeyAlgorithm, Role, SecurityProfile, key::SignatureForm};
use kos_identity::{
    certificate::{
        AuthorityGrant, Certificate, IssuerClass, IssuerContext, Serial, Unsigned, Warrant, issue,
        issuing_ca, root,
    },
    chain::Anchors,
    enrolment::{
        authority::{AuthorityKey, CommitFailed, Context, Found, Input, Output, Query, Session},
        message::AuthorityKeys,
        ticket::TicketText,
    },
    registry::{Change, Commit, Device, Ticket, Write},
};
use kos_net::{
    entropy,
    frame::{self, FrameReader, Patience},
    keys::{SigningKey, certified},
    tls::{Accepted, Exporter, ServerTls, Trust},
};
use kosd::clock::Clock;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::split,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Duration,
};

const PATIENCE: Patience = Patience { silence: Duration::from_secs(20), body: Duration::from_secs(5) };

/// A running authority.
pub(crate) struct Authority {
    inner: Arc<Inner>,
    address: String,
    _tasks: JoinSet<()>,
}

struct Inner {
    context: Arc<Context>,
    tls: Arc<ServerTls>,
    issuing: [SigningKey; 2],
    kid: SigningKey,
    clock: Clock,
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    devices: BTreeMap<DeviceId, Device>,
    tickets: BTreeMap<EntryId, Ticket>,
    changes: Vec<Change>,
}

fn serial() -> Serial {
    Serial::from_random(entropy::array().unwrap())
}

fn finish(unsigned: Unsigned, key: &SigningKey) -> Certificate {
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
    unsigned.finish(&signature).unwrap()
}

impl Authority {
    pub(crate) async fn start() -> Self {
        let name: AuthorityName = "attic".parse().unwrap();
        let clock = Clock::start(None);
        let now = clock.now();
        let make = |algorithm| SigningKey::generate(algorithm).unwrap();
        let root_key = make(KeyAlgorithm::P384);
        let root = finish(root(&name, root_key.public(), serial(), now).unwrap(), &root_key);
        let issuing = [make(KeyAlgorithm::P256), make(KeyAlgorithm::P256)];
        let issuer = |class, key: &SigningKey| {
            let context = IssuerContext { issuer: &root, publication: None, now };
            finish(issuing_ca(class, key.public(), serial(), &context).unwrap(), &root_key)
        };
        let issuers = [issuer(IssuerClass::One, &issuing[0]), issuer(IssuerClass::Two, &issuing[1])];

        let key = Arc::new(make(KeyAlgorithm::P256));
        let grant = AuthorityGrant { key: key.public().clone(), names: Vec::new() };
        let context = IssuerContext { issuer: &issuers[1], publication: None, now };
        let own = finish(issue(Warrant::Authority(grant), serial(), &context).unwrap(), &issuing[1]);
        let shown = [&own, &issuers[1], &root].map(|c| CertificateDer::from(c.der().to_vec())).to_vec();
        let anchors = Arc::new(Anchors::roots(vec![root.clone()]).unwrap());
        let trust = Trust { anchors, revocation: Arc::default() };

        let [kid, orders, log] = [(); 3].map(|()| make(KeyAlgorithm::Ed25519));
        let keys = AuthorityKeys {
            kid: kid.public().clone(),
            orders: orders.public().clone(),
            log: log.public().clone(),
        };
        let inner = Arc::new(Inner {
            tls: ServerTls::new(clock.source(), certified(shown, key), trust).unwrap(),
            context: Arc::new(Context { name, root, issuers, keys, publication: None, heartbeat_s: 60 }),
            issuing,
            kid,
            clock,
            store: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&inner).serve(listener));
        Self { inner, address, _tasks: tasks }
    }

    /// A ticket for one device of `role`.
    pub(crate) fn ticket(&self, role: Role) -> TicketText {
        let now = self.inner.clock.now();
        let text = TicketText {
            authority: self.inner.context.name.clone(),
            id: EntryId::from_parts(now, entropy::array().unwrap()),
            secret: entropy::secret().unwrap(),
            pins: vec![self.inner.context.root.key_id()],
            addresses: vec![self.address.clone()],
            expires_at: now.plus(Duration::from_secs(600)),
            role,
            profile_cap: SecurityProfile::Sec2,
        };
        let proof = SigningKey::from_ed25519_seed(&text.proof_seed()).unwrap();
        let ticket = Ticket {
            id: text.id,
            version: 1,
            proof_key: proof.public().clone(),
            role,
            profile_cap: SecurityProfile::Sec2,
            group: None,
            device_name: None,
            uses_max: 1,
            uses: 0,
            created_at: now,
            expires_at: text.expires_at,
            revoked: false,
            serial: None,
            identity_key: None,
            last_device: None,
        };
        self.inner.store.lock().unwrap().tickets.insert(ticket.id, ticket);
        text
    }

    /// The devices that it knows.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.inner.store.lock().unwrap().devices.values().cloned().collect()
    }

    /// How often something happened.
    pub(crate) fn count(&self, what: impl Fn(&Change) -> bool) -> usize {
        self.inner.store.lock().unwrap().changes.iter().filter(|change| what(change)).count()
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut sessions = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            sessions.spawn(Arc::clone(&self).session(stream));
        }
    }

    async fn session(self: Arc<Self>, stream: TcpStream) {
        let source = stream.peer_addr().unwrap().ip().to_string();
        let Ok(Accepted::Enrolment { stream, facts, key }) = self.tls.accept(stream).await else { return };
        let exporter = |purpose| *facts.exporter(purpose).expose();
        let (enrolment, renewal) = (exporter(Exporter::Enrolment), exporter(Exporter::Renewal));
        let mut session = Session::new(Arc::clone(&self.context));
        session.handle_input(self.clock.now(), Input::Opened { peer: key, enrolment, renewal, source });
        let (reading, mut writing) = split(stream);
        let mut reader = FrameReader::new(reading, PATIENCE);
        loop {
            while let Some(output) = session.poll_output() {
                let answer = match output {
                    Output::Draw => Input::Drawn(entropy::secret().unwrap()),
                    Output::Lookup(query) => Input::Found(Box::new(self.look_up(&query))),
                    Output::Sign { key, form, message } => Input::Signed(self.sign(key, form, &message)),
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
        let [one, two] = &self.issuing;
        let key = match key {
            AuthorityKey::Issuing(IssuerClass::One) => one,
            AuthorityKey::Issuing(IssuerClass::Two) => two,
            AuthorityKey::Kid => &self.kid,
        };
        key.sign(form, message).unwrap()
    }

    fn look_up(&self, query: &Query) -> Found {
        let store = self.store.lock().unwrap();
        let holds = |device: &&Device| {
            let keys = [
                Some(device.identity_key.id()),
                device.credential.as_ref().map(|held| held.key.id()),
                device.pending.as_ref().map(|held| held.credential.key.id()),
            ];
            query.device.as_ref() == Some(&device.id)
                || query.key.is_some_and(|key| keys.contains(&Some(key)))
        };
        let ticket = query.ticket.and_then(|id| store.tickets.get(&id).cloned());
        Found { device: store.devices.values().find(holds).cloned(), ticket, ..Found::default() }
    }

    fn commit(&self, commit: Commit) -> Result<(), CommitFailed> {
        let mut store = self.store.lock().unwrap();
        let mut fresh = BTreeSet::new();
        for write in &commit.writes {
            fresh.insert(match write {
                Write::Device(device) => {
                    store.devices.get(&device.id).map_or(0, |held| held.version) + 1 == device.version
                }
                Write::Ticket(ticket) => {
                    store.tickets.get(&ticket.id).map_or(0, |held| held.version) + 1 == ticket.version
                }
                _ => true,
            });
        }
        if fresh.contains(&false) {
            return Err(CommitFailed::Conflict);
        }
        for write in commit.writes {
            match write {
                Write::Device(device) => drop(store.devices.insert(device.id.clone(), *device)),
                Write::Ticket(ticket) => drop(store.tickets.insert(ticket.id, *ticket)),
                _ => {}
            }
        }
        store.changes.extend(commit.changes);
        Ok(())
    }
}
