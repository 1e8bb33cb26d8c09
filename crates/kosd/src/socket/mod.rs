//! `ROOT/run/kos/kosd.sock`: the device's word to programs on the same machine.
//!
//! Shape: HTTP/1.1 with the bodies of `kos-api`; the routes are those of `routes::LOCAL`. A connection lives at most
//! `CONNECTION_TIME_MAX`, a body has at most `BODY_BYTES_MAX` bytes, and `CONNECTIONS_MAX` are served at a time.
//!
//! Invariants: only root, the daemon's own user and members of the group `kos` are answered; the kernel tells who
//! asks. Questions reach the device one after the other and are answered from one state.
//!
//! Errors: a [`kos_api::Problem`] with a stable code.

mod answer;
mod ask;
mod kill;
mod log;
mod path;
mod peer;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kos_api::{
    audit::Checkpoint,
    chain::IdentityChain,
    kill::{ArmKill, FireKill, KillArmed, KillReport, KillStatus},
    lifecycle::{Decommission, DecommissionOrder},
    local::{AnswerPairing, DeviceStatus, LocalPairing, LocalPairings},
    plan::Plan,
    voucher::{Vouch, VouchFor},
};
use kos_base::Code;
use serde_json::Value;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

pub use self::ask::{AskError, Asker};
use self::peer::Household;
pub use crate::log::Filter;
use crate::{
    life::{Refused, Unvouched},
    root::RootError,
};

/// Longest life of one connection. Stops a program that holds on to the socket from keeping others out.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(90);
/// How long the last answers may take to be read. Stops a program that does not read from keeping a dead device alive.
const ANSWERED_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the head of a request may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest body in bytes.
const BODY_BYTES_MAX: usize = 16_384;
/// Most connections at a time; others wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// Most memory for one request's head, in bytes; the least that hyper allows.
const HEAD_BYTES_MAX: usize = 8_192;
/// Rights of the socket: its owner and its group. Who they may be is asked again at every connection.
const SOCKET_MODE: u32 = 0o660;

/// What a program asks of the device.
#[derive(Debug)]
pub enum Question {
    /// How it is.
    Status(oneshot::Sender<DeviceStatus>),
    /// Its certificates and kID, checked.
    Identity(oneshot::Sender<Result<IdentityChain, Code>>),
    /// A person has compared this code, and it is the same.
    ConfirmCode(String, oneshot::Sender<()>),
    /// What decommissioning would do.
    PlanDecommission(oneshot::Sender<Result<Plan, Code>>),
    /// End it.
    Decommission(DecommissionOrder, oneshot::Sender<Result<Decommission, Code>>),
    /// With whom it is paired.
    Pairings(oneshot::Sender<LocalPairings>),
    /// A person confirms a pairing, or ends it.
    AnswerPairing(AnswerPairing, oneshot::Sender<Result<LocalPairing, Code>>),
    /// About its kill switch.
    Kill(KillQuestion),
    /// Vouch for a new device.
    Vouch(VouchFor, oneshot::Sender<Result<Vouch, Unvouched>>),
    /// A page of its own log, and where the next one begins.
    Log(Filter, oneshot::Sender<(Vec<Value>, Option<u64>)>),
    /// The signed head of its log.
    LogHead(oneshot::Sender<Option<Checkpoint>>),
    /// A file of its log.
    LogFile(String, oneshot::Sender<Option<Vec<u8>>>),
}

/// What a program asks of the kill switch.
#[derive(Debug)]
pub enum KillQuestion {
    /// How it stands.
    Status(oneshot::Sender<KillStatus>),
    /// What arming it would do.
    PlanArm(ArmKill, oneshot::Sender<Result<Plan, Refused>>),
    /// Arm it.
    Arm(ArmKill, oneshot::Sender<Result<KillArmed, Refused>>),
    /// What disarming it would do.
    PlanDisarm(oneshot::Sender<Result<Plan, Refused>>),
    /// Disarm it.
    Disarm(oneshot::Sender<Result<KillStatus, Refused>>),
    /// What firing it would do.
    PlanFire(oneshot::Sender<Result<Plan, Refused>>),
    /// Fire it; the answer comes when everything is gone.
    Fire(FireKill, oneshot::Sender<Result<KillReport, Refused>>),
}

/// The answers that are on their way.
#[derive(Debug)]
pub struct Answers(Arc<Semaphore>);

impl Answers {
    /// Returns when every connection has got its answer, or soon after that.
    pub async fn given(self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // Whoever does not take its answer is not waited for.
        drop(timeout(ANSWERED_TIME_MAX, self.0.acquire_many(all)).await);
    }
}

/// The socket, listening.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    household: Arc<Household>,
    places: Arc<Semaphore>,
}

impl Socket {
    /// Listens at `path`, of any length, and removes what an earlier daemon left there. The caller holds the lock of
    /// its ROOT, so nobody else listens there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(path: &Path) -> Result<Self, RootError> {
        let refused = |error| RootError::unwritable(path, error);
        let household = Household::of_this_machine();
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let short = path::Short::of(path).map_err(refused)?;
        let listener = UnixListener::bind(short.path()).map_err(refused)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        if let Some(group) = household.group() {
            // Only root and members of the group may do this; without it, the group simply has no access.
            drop(std::os::unix::fs::chown(path, None, Some(group)));
        }
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Ok(Self { listener, household: Arc::new(household), places })
    }

    /// A way to wait until what was asked is answered.
    pub fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.places))
    }

    /// Serves until it is dropped. Questions go to `device`.
    pub async fn serve(self, device: mpsc::Sender<Question>) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the local socket cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (household, device) = (Arc::clone(&self.household), device.clone());
            tokio::spawn(async move {
                let _place = place;
                if timeout(CONNECTION_TIME_MAX, serve_one(stream, &household, device)).await.is_err() {
                    tracing::debug!("a connection of the local socket took too long");
                }
            });
        }
    }
}

async fn serve_one(stream: UnixStream, household: &Household, device: mpsc::Sender<Question>) {
    let standing = match stream.peer_cred() {
        Ok(peer) => household.judge(&peer),
        Err(error) => {
            tracing::warn!(%error, "the kernel does not tell who asks");
            return;
        }
    };
    let service =
        service_fn(move |request: Request<Incoming>| answer::answer(standing, device.clone(), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the local socket ended early");
    }
}

#[cfg(test)]
mod tests;
