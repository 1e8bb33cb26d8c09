//! A device and its authority, both ends real, over a real socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod authority;
mod discovery;
mod endings;
mod enrolment;
mod kill;
mod manifests;
mod orders;
mod policy;
mod quarantine;
mod refusals;
mod renewal;
mod reports;
mod wait;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use authority::Authority;
use kos_api::lifecycle::DecommissionOrder;
use kos_base::{Code, DeviceId, DeviceState, Role, Timestamp, code};
use kos_identity::{
    enrolment::{
        device::{Delivery, KeySlot, Slot},
        ticket::TicketText,
    },
    registry::Change,
};
use kosd::{
    config::Config,
    keystore::Keystore,
    life::{Device, LifeError, News, NewsReceiver, Options, Outcome},
    root::Root,
    socket::{Filter, Question},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// Longer than the pause between two searches, so that an answer which a busy machine misses once decides nothing.
const DEADLINE: Duration = Duration::from_secs(120);

const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// The keys that the device in `root` holds now.
fn keystore(root: &Path) -> Keystore {
    let config = Config::load(&Root::config_file(root)).unwrap().config;
    let root = Root::new(root, &config);
    Keystore::open(root.keyring(&config, None), root.signers(&config), NOW).unwrap()
}

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

    /// The next acknowledged heartbeat.
    async fn heartbeat(&mut self) {
        self.wait_for(|news| (news == News::Heartbeat).then_some(())).await;
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
    root_with("")
}

/// The same with more sections in its configuration.
fn root_with(sections: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let config = format!(
        "identity: {{name: kitchen, role: sensor}}\nhardware: {{macs: ['00:1a:2b:00:00:01'], serials: [PF3XYZ12]}}\n{sections}"
    );
    fs::create_dir_all(root.path().join("etc/kos")).unwrap();
    fs::write(root.path().join("etc/kos/config.yaml"), config).unwrap();
    root
}

/// What the device has written down, signed or not yet.
async fn words(device: &Running, root: &Path) -> String {
    let pending = fs::read_to_string(root.join("var/lib/kos/device/log.pending")).unwrap_or_default();
    let filter = Filter { limit: 500, ..Filter::default() };
    let (entries, _) = device.ask(|reply| Question::Log(filter, reply)).await;
    entries.iter().fold(pending, |words, entry| words + &entry.to_string())
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
