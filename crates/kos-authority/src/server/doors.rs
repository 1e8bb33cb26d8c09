//! The doors to the network: TLS, QUIC and pki, and how they move to another address while the authority serves.
//!
//! A move goes in steps, so that nothing is answered on an address that the log does not know: the old sockets are
//! closed, since a wildcard and an address of the same port exclude each other; the new ones are bound, and accept
//! nobody; the mover records the move; then the new ones are opened. When binding or recording fails, the old address
//! is bound again.
//!
//! What was open ends with its door: links are cut and come back, requests and enrolments under way get their answer.
//! Cutting is wanted when an authority withdraws to loopback.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use kos_base::text::reason;
use kos_net::carrier::quic;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Stopping, front::Front, pki, stopped};
use crate::authority::{Place, Shared, StartError};

/// How long a port may stay taken after its socket was closed: QUIC says goodbye first, for three times the round trip
/// of its slowest peer and more.
const RELEASE_MAX: Duration = Duration::from_secs(15);
/// Pause between two attempts to bind.
const RELEASE_PAUSE: Duration = Duration::from_millis(50);
/// Pause before the old address is tried again, when even that fails.
const BACK_PAUSE: Duration = Duration::from_secs(1);

/// The way to move the doors. Moves happen one after the other.
#[derive(Debug)]
pub(crate) struct Doors(mpsc::Sender<Move>);

/// Moves that are asked for.
#[derive(Debug)]
pub(crate) struct Moves(mpsc::Receiver<Move>);

#[derive(Debug)]
struct Move {
    to: Place,
    bound: oneshot::Sender<io::Result<()>>,
    recorded: oneshot::Receiver<oneshot::Sender<()>>,
}

/// The two ends of it.
pub(crate) fn doors() -> (Doors, Moves) {
    let (ask, asked) = mpsc::channel(1);
    (Doors(ask), Moves(asked))
}

/// Sockets that are bound elsewhere and accept nobody yet. Dropping it brings the old ones back.
#[derive(Debug)]
pub(crate) struct Bound(oneshot::Sender<oneshot::Sender<()>>);

impl Doors {
    /// Closes the doors and binds new ones.
    ///
    /// # Errors
    /// When the address cannot be listened on. The old one is.
    pub(crate) async fn bind(&self, to: Place) -> io::Result<Bound> {
        let (bound, is_bound) = oneshot::channel();
        let (record, recorded) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.0.send(Move { to, bound, recorded }).await.map_err(|_| gone())?;
        is_bound.await.map_err(|_| gone())??;
        Ok(Bound(record))
    }
}

impl Bound {
    /// Opens the new doors: the move is recorded. Returns once they are open.
    pub(crate) async fn open(self) {
        let (opened, is_open) = oneshot::channel();
        if self.0.send(opened).is_ok() {
            // Without an answer the program is ending.
            let _ = is_open.await;
        }
    }
}

/// The sockets of all doors.
#[derive(Debug)]
pub(super) struct Sockets {
    tls: TcpListener,
    udp: quic::Listener,
    pki: TcpListener,
}

impl Sockets {
    /// Adds QUIC to ports that are bound.
    pub(super) fn with(tls: TcpListener, pki: TcpListener, front: &Front) -> Result<Self, StartError> {
        let udp = tls.local_addr().and_then(|at| quic::Listener::bind(at, Arc::clone(front.tls())));
        let port = front.shared().ports.tls;
        let udp = udp.map_err(|e| StartError::Port { port, why: format!("udp: {}", reason(&e)) })?;
        Ok(Self { tls, udp, pki })
    }

    async fn bind(address: IpAddr, front: &Front) -> io::Result<Self> {
        let ports = front.shared().ports;
        let tls = TcpListener::bind(SocketAddr::new(address, ports.tls)).await?;
        let udp = quic::Listener::bind(SocketAddr::new(address, ports.tls), Arc::clone(front.tls()))?;
        let pki = TcpListener::bind(SocketAddr::new(address, ports.pki)).await?;
        Ok(Self { tls, udp, pki })
    }

    /// Binds as soon as the sockets that were there have gone.
    async fn bind_when_free(address: IpAddr, front: &Front) -> io::Result<Self> {
        let deadline = Instant::now() + RELEASE_MAX;
        loop {
            match Self::bind(address, front).await {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(RELEASE_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Who waits behind the doors.
pub(super) struct Doorkeeper {
    pub(super) front: Arc<Front>,
    pub(super) shared: Arc<Shared>,
    pub(super) router: Router,
}

impl Doorkeeper {
    /// Keeps the doors open, wherever they are, until the program stops; then lets requests under way finish.
    pub(super) async fn keep(self, sockets: Sockets, mut moves: Moves, mut stopping: Stopping) {
        let mut inside = JoinSet::new();
        let mut open = self.open(sockets, &mut inside);
        loop {
            let moving = tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(moving) = moves.0.recv() => moving,
                Some(_) = inside.join_next() => continue,
            };
            if let Some(sockets) = self.carry_out(moving, &open).await {
                open = self.open(sockets, &mut inside);
            }
        }
        open.send_replace(true);
        while inside.join_next().await.is_some() {}
    }

    /// Opens the doors. They close when the sender says so.
    fn open(&self, sockets: Sockets, inside: &mut JoinSet<()>) -> watch::Sender<bool> {
        let (close, closing) = watch::channel(false);
        let Sockets { tls, udp, pki } = sockets;
        inside.spawn(Arc::clone(&self.front).serve_tcp(tls, self.router.clone(), closing.clone()));
        inside.spawn(Arc::clone(&self.front).serve_quic(udp, closing.clone()));
        inside.spawn(pki::serve(pki, Arc::clone(&self.shared), closing));
        close
    }

    /// The sockets to be opened, where the open ones were closed.
    async fn carry_out(&self, moving: Move, open: &watch::Sender<bool>) -> Option<Sockets> {
        let Move { to, bound, recorded } = moving;
        let from = self.shared.place.borrow().address;
        let fresh = if to.address == from {
            Ok(None)
        } else {
            open.send_replace(true);
            Sockets::bind_when_free(to.address, &self.front).await.map(Some)
        };
        let fresh = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                let back = self.bind_again(from).await;
                // The old address is back, whether or not anybody still waits for the answer.
                let _ = bound.send(Err(error));
                return Some(back);
            }
        };
        // Whoever has gone away records nothing, which shows in the next step.
        let _ = bound.send(Ok(()));
        let Ok(opened) = recorded.await else {
            let moved = fresh.map(drop).is_some();
            return if moved { Some(self.bind_again(from).await) } else { None };
        };
        self.shared.place.send_replace(to);
        self.front.renew(crate::clock::now()).await;
        // As above.
        let _ = opened.send(());
        fresh
    }

    /// Binds the address that was good before. Without doors there is nothing else to do.
    async fn bind_again(&self, address: IpAddr) -> Sockets {
        loop {
            match Sockets::bind_when_free(address, &self.front).await {
                Ok(sockets) => return sockets,
                Err(error) => tracing::error!(%address, %error, "the former address cannot be bound again"),
            }
            sleep(BACK_PAUSE).await;
        }
    }
}
