//! A device and its authority, both ends real, over a real socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod authority;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use authority::Authority;
use kos_api::lifecycle::DecommissionOrder;
use kos_base::{Code, DeviceId, DeviceState, Role, code};
use kos_identity::{
    enrolment::{device::Delivery, ticket::TicketText},
    registry::Change,
};
use kosd::{
    life::{Device, LifeError, News, NewsReceiver, Options, Outcome},
    socket::Question,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// A device that lives until it is stopped.
struct Running {
    asker: mpsc::Sender<Question>,
    news: NewsReceiver,
    stop: oneshot::Sender<()>,
    life: JoinHandle<Result<Outcome, LifeError>>,
}

impl Running {
    fn start(root: &Path, ticket: Option<TicketText>) -> Self {
        let (device, news) = Device::boot(root, Options { ticket, ..Options::default() }).unwrap();
        let (stop, stopped) = oneshot::channel();
        let asker = device.asker();
        let life = tokio::spawn(device.run(async {
            // A dropped sender is a stop as well.
            let _ = stopped.await;
        }));
        Self { asker, news, stop, life }
    }

    /// The first of the news that `wanted` takes.
    async fn wait_for<T>(&mut self, wanted: impl Fn(News) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = wanted(self.news.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, waiting).await.unwrap()
    }

    async fn enrolled(&mut self) -> DeviceId {
        self.wait_for(|news| match news {
            News::Enrolled(device) => Some(device),
            News::Refused(code) | News::Untrusted(code) => panic!("{code} {}", code.title()),
            _ => None,
        })
        .await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> T {
        let (reply, answer) = oneshot::channel();
        assert!(self.asker.send(question(reply)).await.is_ok());
        timeout(DEADLINE, answer).await.unwrap().unwrap()
    }

    async fn stop(self) -> Outcome {
        let _ = self.stop.send(());
        timeout(DEADLINE, self.life).await.unwrap().unwrap().unwrap()
    }
}

/// A root whose device has hardware of its own, so that it does not depend on the machine of the test.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = "identity: {name: kitchen, role: sensor}\nhardware: {macs: ['00:1a:2b:00:00:01'], serials: [PF3XYZ12]}\n";
    fs::create_dir_all(root.path().join("etc/kos")).unwrap();
    fs::write(root.path().join("etc/kos/config.yaml"), config).unwrap();
    root
}

fn names(folder: PathBuf) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every file below `folder`, read.
fn contents(folder: &Path, into: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap() {
            meta if meta.is_dir() => contents(&path, into),
            meta if meta.is_file() => into.push(fs::read(&path).unwrap()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_device_enrols_by_ticket_and_is_checked_by_its_own_identity_chain() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;

    let status = device.ask(Question::Status).await;
    assert_eq!((status.device_id, status.state), (Some(id.clone()), DeviceState::Active));
    assert_eq!(status.kid_subject.unwrap().to_string(), format!("k:attic/{id}/001"));
    let chain = device.ask(Question::Identity).await.unwrap();
    let failed: Vec<_> = chain.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
    // No revocation list has been published yet.
    assert_eq!(failed, [kos_api::chain::ChainCheckName::Revocation], "{:?}", chain.checks);

    let secrets = names(root.path().join("etc/kos/secrets"));
    assert_eq!(secrets, set(&["agreement-a.key", "identity.key", "journal", "operational-a.key"]));
    let pem = fs::read_to_string(root.path().join("etc/kos/identity.cert")).unwrap();
    assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert!(!pem.contains("PRIVATE"));
    assert_eq!(authority.devices()[0].state(), DeviceState::Active);
    assert_eq!(authority.devices()[0].name.as_ref(), "kitchen");
    assert_eq!(device.stop().await, Outcome::Stopped);

    // A second start goes on as the same device and enrols nothing.
    let device = Running::start(root.path(), None);
    assert_eq!(device.ask(Question::Status).await.device_id, Some(id));
    device.stop().await;
    assert_eq!(authority.count(|change| matches!(change, Change::DeviceEnrolled { .. })), 1);
    let again = Device::boot(
        root.path(),
        Options { ticket: Some(authority.ticket(Role::Sensor)), ..Options::default() },
    );
    assert_eq!(again.map(drop).unwrap_err().code(), code::enrolment::ENROLLED_ALREADY);
}

#[tokio::test]
async fn a_device_that_is_decommissioned_here_keeps_nothing_but_the_record() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;
    let keys = names(root.path().join("etc/kos/secrets"));
    let keys = keys.iter().filter(|name| name.ends_with(".key"));
    let keys: Vec<_> =
        keys.map(|name| fs::read(root.path().join("etc/kos/secrets").join(name)).unwrap()).collect();
    assert_eq!(keys.len(), 3);

    let done = device.ask(|reply| Question::Decommission(DecommissionOrder::default(), reply)).await.unwrap();
    assert_eq!((done.device_id, done.state), (id, DeviceState::Decommissioned));
    let delivery = device.wait_for(|news| match news {
        News::Ended(delivery) => Some(delivery),
        _ => None,
    });
    assert_eq!(delivery.await, Delivery::Recorded);
    assert_eq!(device.stop().await, Outcome::Ended(Delivery::Recorded));
    assert_eq!(authority.devices()[0].state(), DeviceState::Decommissioned);

    assert_eq!(names(root.path().join("etc/kos/secrets")), set(&[]));
    assert_eq!(names(root.path().join("etc/kos")), set(&["config.yaml", "secrets"]));
    assert_eq!(names(root.path().join("var/lib/kos/device")), set(&["decommissioned.cose"]));
    let mut left = Vec::new();
    contents(root.path(), &mut left);
    for key in &keys {
        // The secret part stands before the digest of 32 bytes at the end.
        let secret = &key[key.len() - 64..key.len() - 32];
        assert!(left.iter().all(|file| !file.windows(secret.len()).any(|part| part == secret)));
    }
    // A start after the end tells the authority once more and stops.
    let device = Running::start(root.path(), None);
    let ended = timeout(DEADLINE, device.life).await.unwrap().unwrap().unwrap();
    assert_eq!(ended, Outcome::Ended(Delivery::Recorded));
}

#[tokio::test]
async fn a_device_that_is_stopped_again_and_again_still_enrols_exactly_once() {
    let (authority, root) = (Authority::start().await, root());
    let secret = authority.ticket(Role::Sensor).to_text();
    let mut stopped = 0;
    loop {
        let ticket = TicketText::parse(&secret).unwrap();
        let (device, mut news) =
            Device::boot(root.path(), Options { ticket: Some(ticket), ..Options::default() }).unwrap();
        // Dropped after a little more time at each round, wherever it is then.
        let life = timeout(Duration::from_millis(stopped * 3), device.run(std::future::pending()));
        assert!(life.await.is_err());
        let enrolled =
            std::iter::from_fn(|| news.try_recv().ok()).any(|told| matches!(told, News::Enrolled(_)));
        if enrolled {
            break;
        }
        stopped += 1;
        assert!(stopped < 200, "it never enrols");
    }
    assert!(stopped > 0);
    assert_eq!(authority.devices().len(), 1);
    assert_eq!(authority.count(|change| matches!(change, Change::DeviceActive { .. })), 1);
}

#[tokio::test]
async fn what_is_not_as_the_ticket_says_is_refused() {
    let authority = Authority::start().await;
    let wrong = |change: fn(&mut TicketText)| {
        let mut ticket = authority.ticket(Role::Sensor);
        change(&mut ticket);
        ticket
    };
    let cases: [(&str, TicketText, Code); 4] = [
        (
            "pin",
            wrong(|ticket| ticket.pins = vec![kos_base::KeyId::from_bytes([7; 32])]),
            code::enrolment::PIN_MISMATCH,
        ),
        ("name", wrong(|ticket| ticket.authority = "cellar".parse().unwrap()), code::enrolment::PIN_MISMATCH),
        (
            "secret",
            wrong(|ticket| ticket.secret = kos_base::Secret::new([7; 32])),
            code::enrolment::TICKET_PROOF,
        ),
        ("role", authority.ticket(Role::Gateway), code::enrolment::TICKET_ROLE),
    ];
    for (what, ticket, expected) in cases {
        let root = root();
        let mut device = Running::start(root.path(), Some(ticket));
        let refused = device.wait_for(|news| match news {
            News::Refused(code) | News::Untrusted(code) => Some(code),
            _ => None,
        });
        assert_eq!(refused.await, expected, "{what}");
        device.stop().await;
    }
    assert_eq!(authority.devices(), []);
}
