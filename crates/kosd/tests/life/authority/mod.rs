//! An authority that keeps everything in memory: the real machines of `kos-identity` and `kos-klp` behind a real port.

mod links;
mod reception;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use kos_base::{
    AuthorityName, DeviceId, EntryId, KeyAlgorithm, Role, SecurityProfile, Timestamp, key::SignatureForm,
};
use kos_identity::{
    certificate::{
        AuthorityGrant, Certificate, IssuerClass, IssuerContext, Serial, Unsigned, Warrant, issue,
        issuing_ca, root,
    },
    chain::Anchors,
    crl, decommission,
    enrolment::{
        authority::{CommitFailed, Context},
        message::AuthorityKeys,
        ticket::TicketText,
    },
    quarantine,
    registry::{Actor, Case, Change, Commit, Device, Operation, Order, RevocationReason, Ticket, Write},
};
use kos_klp::body::Heartbeat;
use kos_net::{
    accept::{Gate, Limits},
    carrier::{Carrier, quic},
    discovery::{Advertisement, Interfaces},
    entropy,
    keys::{SigningKey, certified},
    tls::{ServerTls, Trust},
};
use kosd::clock::Clock;
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

use crate::{DEADLINE, wait};
pub(crate) use links::Push;

/// Which carriers the port offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// TCP and UDP.
    Open,
    /// A network that swallows UDP.
    TcpAlone,
}

/// An authority. It answers while it is on.
pub(crate) struct Authority {
    inner: Arc<Inner>,
    address: SocketAddr,
    network: Network,
    serving: JoinSet<()>,
}

struct Inner {
    context: Arc<Context>,
    tls: Arc<ServerTls>,
    own: Arc<SigningKey>,
    own_serial: Serial,
    root_key: SigningKey,
    issuing: [SigningKey; 2],
    kid: SigningKey,
    orders: SigningKey,
    clock: Clock,
    store: Mutex<Store>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Store {
    devices: BTreeMap<DeviceId, Device>,
    tickets: BTreeMap<EntryId, Ticket>,
    changes: Vec<Change>,
    revoked: Vec<(kos_base::KeyId, crl::Entry)>,
    crl_number: u64,
    beats: Vec<Beat>,
    /// What devices acknowledged: the status of each answer to a signed message.
    answers: Vec<u16>,
    /// Every signed frame that was sent.
    sent: Vec<Vec<u8>>,
    links: BTreeMap<DeviceId, links::Handle>,
    /// What devices in quarantine sealed.
    bundles: Vec<Vec<u8>>,
    /// Connections that came by HTTP, as a WebSocket does.
    upgrades: usize,
}

/// A heartbeat that came.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) carrier: Carrier,
    pub(crate) issue: u32,
    pub(crate) said: Heartbeat,
}

/// What a test looks at.
pub(crate) struct View<'a> {
    pub(crate) devices: Vec<&'a Device>,
    pub(crate) beats: &'a [Beat],
    pub(crate) answers: &'a [u16],
    pub(crate) links: usize,
    pub(crate) upgrades: usize,
}

fn serial() -> Serial {
    Serial::from_random(entropy::array().unwrap())
}

fn make(algorithm: KeyAlgorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

fn finish(unsigned: Unsigned, key: &SigningKey) -> Certificate {
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
    unsigned.finish(&signature).unwrap()
}

impl Authority {
    pub(crate) async fn start() -> Self {
        Self::start_on(Network::Open).await
    }

    pub(crate) async fn start_on(network: Network) -> Self {
        Self::start_with(Inner::new("attic", Duration::ZERO), network, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(address: &str, name: &str) -> Self {
        Self::start_with(Inner::new(name, Duration::ZERO), Network::Open, address).await
    }

    /// An authority whose clock is right and behind those of all devices.
    pub(crate) async fn start_behind(time: Duration) -> Self {
        Self::start_with(Inner::new("attic", time), Network::Open, "127.0.0.1:0").await
    }

    async fn start_with(inner: Arc<Inner>, network: Network, address: &str) -> Self {
        let address = address.parse().unwrap();
        let mut authority = Self { inner, address, network, serving: JoinSet::new() };
        authority.turn_on().await;
        authority
    }

    /// Answers again, at the same address as before.
    pub(crate) async fn turn_on(&mut self) {
        let tcp = TcpListener::bind(self.address).await.unwrap();
        self.address = tcp.local_addr().unwrap();
        self.serving.spawn(Arc::clone(&self.inner).serve(tcp));
        if self.network == Network::Open {
            let inner = Arc::clone(&self.inner);
            let udp = self.bind_udp().await;
            self.serving.spawn(udp.serve(Gate::new(Limits::AUTHORITY), move |_, link, _permit| {
                let inner = Arc::clone(&inner);
                async move {
                    if let Ok(link) = link {
                        inner.talk(link).await;
                    }
                }
            }));
        }
    }

    /// The socket of an earlier listener closes a little after it.
    async fn bind_udp(&self) -> quic::Listener {
        wait::until(|| quic::Listener::bind(self.address, Arc::clone(&self.inner.tls)).ok()).await
    }

    /// Answers nobody, and cuts every link.
    pub(crate) async fn turn_off(&mut self) {
        self.serving.shutdown().await;
        self.inner.store.lock().unwrap().links.clear();
    }

    /// Lets time pass, on the authority's clock.
    pub(crate) fn let_pass(&self, time: Duration) {
        self.inner.clock.learn(self.inner.clock.now().plus(time));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Shows itself on the local network.
    pub(crate) fn advertise(&self) -> Advertisement {
        let name = &self.inner.context.name;
        Advertisement::start(&Interfaces::AllButLoopback, name, self.pin(), self.address.port()).unwrap()
    }

    pub(crate) fn pin(&self) -> kos_base::KeyId {
        self.inner.context.root.key_id()
    }

    /// A ticket for one device of `role`.
    pub(crate) fn ticket(&self, role: Role) -> TicketText {
        let now = self.inner.clock.now();
        let text = TicketText {
            authority: self.inner.context.name.clone(),
            id: EntryId::from_parts(now, entropy::array().unwrap()),
            secret: entropy::secret().unwrap(),
            pins: vec![self.pin()],
            addresses: vec![self.address()],
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

    /// Forgets every device, as an authority that lost its store.
    pub(crate) fn forget_all(&self) {
        self.inner.store.lock().unwrap().devices.clear();
    }

    /// How often something happened.
    pub(crate) fn count(&self, what: impl Fn(&Change) -> bool) -> usize {
        self.inner.store.lock().unwrap().changes.iter().filter(|change| what(change)).count()
    }

    /// Waits until it sees what is wanted.
    pub(crate) async fn until<T>(&self, what: &str, wanted: impl Fn(&View<'_>) -> Option<T>) -> T {
        let mut changed = self.inner.changed.subscribe();
        let seen = async {
            loop {
                changed.borrow_and_update();
                if let Some(found) = self.look(&wanted) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        timeout(DEADLINE, seen).await.unwrap_or_else(|_| panic!("never seen: {what}"))
    }

    pub(crate) fn look<T>(&self, wanted: impl Fn(&View<'_>) -> T) -> T {
        let store = self.inner.store.lock().unwrap();
        wanted(&View {
            devices: store.devices.values().collect(),
            beats: &store.beats,
            answers: &store.answers,
            links: store.links.len(),
            upgrades: store.upgrades,
        })
    }

    /// What an operator does to the only device.
    pub(crate) fn operate(&self, operation: Operation) {
        let device = self.devices().pop().unwrap();
        let actor = Actor::Operator("anna".parse().unwrap());
        let commit = operation.apply(self.now(), actor, device).unwrap();
        self.inner.commit(commit).unwrap();
    }

    /// Orders the only device to wipe itself.
    pub(crate) fn order_the_end(&self) {
        let device = self.devices().pop().unwrap();
        let (inner, now) = (&self.inner, self.now());
        let receipt = entropy::array::<32>().unwrap();
        let order = decommission::Order {
            id: EntryId::from_parts(now, entropy::array().unwrap()),
            device: device.id,
            authority: inner.context.name.clone(),
            at: now,
            receipt: receipt.into(),
        };
        let unsigned = order.unsigned(inner.orders.public());
        let signature = inner.orders.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
        let order = Order {
            signed: unsigned.finish(signature),
            receipt_hash: decommission::receipt_hash(&receipt).to_vec(),
            at: now,
        };
        self.operate(Operation::Decommission { reason: "sold".to_owned(), order });
    }

    /// Orders the only device into quarantine, by what `change` makes of a sound order.
    pub(crate) fn quarantine(&self, change: impl FnOnce(quarantine::Order) -> quarantine::Order) {
        let device = self.devices().pop().unwrap();
        let (inner, now) = (&self.inner, self.now());
        let receipt = entropy::array::<32>().unwrap();
        let order = change(quarantine::Order {
            id: EntryId::from_parts(now, entropy::array().unwrap()),
            device: device.id,
            authority: inner.context.name.clone(),
            at: now,
            issue: device.issues,
            receipt: receipt.into(),
            recipients: Vec::new(),
        });
        let unsigned = order.unsigned(inner.orders.public());
        let signature = inner.orders.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
        let case = Box::new(Case {
            signed: unsigned.finish(signature),
            order: order.id,
            receipt_hash: quarantine::receipt_hash(&receipt).into(),
            at: now,
            confirmed_at: None,
            bundle: None,
            approvals: Vec::new(),
            salt: None,
        });
        self.operate(Operation::Quarantine { reason: "strange".to_owned(), case });
    }

    /// What the device in quarantine sealed.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.inner.store.lock().unwrap().bundles.last().unwrap().clone()
    }

    /// Somebody changes the order of the only device on its way.
    pub(crate) fn change_order(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut store = self.inner.store.lock().unwrap();
        let device = store.devices.values_mut().next().unwrap();
        change(&mut device.case.as_mut().unwrap().signed);
    }

    /// A slice of the manifests, signed by the order key.
    pub(crate) fn orders(&self, slice: &kos_policy::slice::Slice) -> Vec<u8> {
        let key = &self.inner.orders;
        let unsigned = slice.unsigned(key.public());
        let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
        unsigned.finish(signature)
    }

    /// Signs a message on every open link.
    pub(crate) fn push(&self, push: &Push) {
        for handle in self.inner.store.lock().unwrap().links.values() {
            assert!(handle.push.try_send(push.clone()).is_ok());
        }
    }

    /// Takes back the authority's own certificate, as after a theft.
    pub(crate) fn revoke_own_certificate(&self) {
        let entry = crl::Entry {
            serial: self.inner.own_serial,
            at: self.now(),
            reason: RevocationReason::KeyCompromise,
        };
        let issuer = self.inner.context.issuers[1].key_id();
        self.inner.store.lock().unwrap().revoked.push((issuer, entry));
    }

    /// Revokes certificates of other devices, as a fleet does that renews.
    pub(crate) fn revoke_others(&self, count: usize) {
        let (issuer, at) = (self.inner.context.issuers[0].key_id(), self.now());
        let entry = |_| crl::Entry { serial: serial(), at, reason: RevocationReason::Superseded };
        let entries = (0..count).map(entry).map(|entry| (issuer, entry));
        self.inner.store.lock().unwrap().revoked.extend(entries);
    }

    /// Newer revocation lists of every CA.
    pub(crate) fn lists(&self) -> Vec<Vec<u8>> {
        self.inner.lists()
    }

    /// Every signed frame that was sent so far.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        self.inner.store.lock().unwrap().sent.clone()
    }
}

impl Inner {
    fn new(name: &str, behind: Duration) -> Arc<Self> {
        let name: AuthorityName = name.parse().unwrap();
        let clock = Clock::start(None);
        clock.learn(clock.now().minus(behind));
        let now = clock.now();
        let root_key = make(KeyAlgorithm::P384);
        let root = finish(root(&name, root_key.public(), serial(), now).unwrap(), &root_key);
        let issuing = [make(KeyAlgorithm::P256), make(KeyAlgorithm::P256)];
        let issuer = |class, key: &SigningKey| {
            let context = IssuerContext { issuer: &root, publication: None, now };
            finish(issuing_ca(class, key.public(), serial(), &context).unwrap(), &root_key)
        };
        let issuers = [issuer(IssuerClass::One, &issuing[0]), issuer(IssuerClass::Two, &issuing[1])];

        let own = Arc::new(make(KeyAlgorithm::P256));
        let own_serial = serial();
        let grant = AuthorityGrant { key: own.public().clone(), names: Vec::new() };
        let context = IssuerContext { issuer: &issuers[1], publication: None, now };
        let warrant = Warrant::Authority(grant);
        let certificate = finish(issue(warrant, own_serial, &context).unwrap(), &issuing[1]);
        let shown = [&certificate, &issuers[1], &root].map(|c| CertificateDer::from(c.der().to_vec()));
        let anchors = Arc::new(Anchors::roots(vec![root.clone()]).unwrap());
        let trust = Trust { anchors, revocation: Arc::default() };

        let [kid, orders, log] = [(); 3].map(|()| make(KeyAlgorithm::Ed25519));
        let keys = AuthorityKeys {
            kid: kid.public().clone(),
            orders: orders.public().clone(),
            log: log.public().clone(),
        };
        let certified = certified(shown.to_vec(), Arc::clone(&own));
        Arc::new(Self {
            tls: ServerTls::new(clock.source(), certified, trust).unwrap(),
            context: Arc::new(Context {
                name,
                root,
                issuers,
                keys,
                publication: None,
                heartbeat_s: 60,
                rules: Vec::new(),
                attestation: kos_identity::enrolment::authority::AttestationTerms::default(),
            }),
            own,
            own_serial,
            root_key,
            issuing,
            kid,
            orders,
            clock,
            store: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    fn issuing_key(&self, class: IssuerClass) -> &SigningKey {
        let [one, two] = &self.issuing;
        match class {
            IssuerClass::One => one,
            IssuerClass::Two => two,
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    /// Newer lists, each of its own number.
    fn lists(&self) -> Vec<Vec<u8>> {
        let mut store = self.store.lock().unwrap();
        store.crl_number = crl::next_number(Some(store.crl_number), self.clock.now());
        let [one, two] = &self.context.issuers;
        let signers = [
            (&self.context.root, &self.root_key),
            (one, self.issuing_key(IssuerClass::One)),
            (two, self.issuing_key(IssuerClass::Two)),
        ];
        let list = |(issuer, key): (&Certificate, &SigningKey)| {
            let of_issuer = store.revoked.iter().filter(|(by, _)| *by == issuer.key_id());
            let entries = of_issuer.map(|(_, entry)| *entry);
            let unsigned = crl::build(issuer, store.crl_number, entries, self.clock.now()).unwrap();
            let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed()).unwrap();
            unsigned.finish(&signature).unwrap()
        };
        signers.map(list).to_vec()
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
                Write::Device(device) => {
                    store.notice(&device);
                    store.devices.insert(device.id.clone(), *device);
                }
                Write::Ticket(ticket) => drop(store.tickets.insert(ticket.id, *ticket)),
                _ => {}
            }
        }
        store.changes.extend(commit.changes);
        drop(store);
        self.tell();
        Ok(())
    }
}
