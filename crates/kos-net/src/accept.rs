//! Accepting connections so that strangers cannot use up what acquaintances need.
//!
//! A connection is *waiting* from its first packet until its peer has proven who it is, and *established* afterwards.
//! Waiting connections are few and never block a newcomer: when there are too many, in total or from one source, the
//! oldest is dropped, because an honest peer is through in milliseconds and a hostile one stays. Established ones have
//! a number of their own.
//!
//! What it does not do: judge peers, or time out what is established; the protocols above have their own patience.
//!
//! A source is an IPv4 address or an IPv6 network of 64 bits, since that is what one customer gets.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::{Future, pending},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kos_base::{Code, code};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::sleep,
};

/// Pause after the system could not give a descriptor, so that a full table does not become a busy loop.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

/// How many connections a gate lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Waiting connections in total.
    pub waiting_max: usize,
    /// Waiting connections of one source.
    pub waiting_per_source_max: usize,
    /// Established connections in total.
    pub established_max: usize,
}

impl Limits {
    /// What an authority uses: a handshake of 10 ms lets 25 600 strangers a second from one source come and go before
    /// one of them is dropped.
    pub const AUTHORITY: Self =
        Self { waiting_max: 1_024, waiting_per_source_max: 256, established_max: 120_000 };
}

/// There are as many established connections as allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many connections")]
pub struct Full;

impl Full {
    /// The stable code.
    pub const fn code(self) -> Code {
        code::config::OVERLOADED
    }
}

/// Counts connections and decides who has to go. Shared by every listener of a program.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    established: usize,
    /// In order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    by_source: HashMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Waiting {
    source: IpAddr,
    evict: oneshot::Sender<()>,
}

impl State {
    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let gone = self.waiting.remove(&id)?;
        if let Some(ids) = self.by_source.get_mut(&gone.source) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_source.remove(&gone.source);
            }
        }
        Some(gone)
    }

    fn evict(&mut self, id: u64) {
        if let Some(waiting) = self.remove(id) {
            // Whoever no longer listens is ending by itself.
            let _ = waiting.evict.send(());
        }
    }
}

impl Gate {
    /// A gate with these limits.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Lets a newcomer wait; drops the oldest of its source, or of all, when there are too many.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> (Permit, Eviction) {
        let source = source_of(peer);
        let mut state = self.lock();
        let own = state.by_source.get(&source);
        if own.is_some_and(|ids| ids.len() >= self.limits.waiting_per_source_max) {
            own.and_then(|ids| ids.first().copied()).into_iter().for_each(|id| state.evict(id));
        }
        while state.waiting.len() >= self.limits.waiting_max {
            let Some(id) = state.waiting.keys().next().copied() else { break };
            state.evict(id);
        }
        let (evict, evicted) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        state.waiting.insert(id, Waiting { source, evict });
        state.by_source.entry(source).or_default().insert(id);
        (Permit { gate: Arc::clone(self), stage: Stage::Waiting(id) }, Eviction(evicted))
    }

    /// How many are waiting and established.
    pub fn occupancy(&self) -> Occupancy {
        let state = self.lock();
        Occupancy { waiting: state.waiting.len(), established: state.established }
    }

    fn evict_oldest(&self) {
        let mut state = self.lock();
        state.waiting.keys().next().copied().into_iter().for_each(|id| state.evict(id));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Figures of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Not yet proven.
    pub waiting: usize,
    /// Proven.
    pub established: usize,
}

/// The right to exist of one connection; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    gate: Arc<Gate>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting(u64),
    Established,
}

impl Permit {
    /// The peer has proven who it is: the connection is no longer dropped in favour of newcomers.
    ///
    /// # Errors
    /// When there are too many, or it has just been dropped. Close the connection.
    pub fn establish(&mut self) -> Result<(), Full> {
        if let Stage::Waiting(id) = self.stage {
            let mut state = self.gate.lock();
            if state.established >= self.gate.limits.established_max || state.remove(id).is_none() {
                return Err(Full);
            }
            state.established += 1;
            self.stage = Stage::Established;
        }
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        match self.stage {
            Stage::Waiting(id) => drop(state.remove(id)),
            Stage::Established => state.established = state.established.saturating_sub(1),
        }
    }
}

/// Tells when a waiting connection has to go.
#[derive(Debug)]
pub struct Eviction(oneshot::Receiver<()>);

impl Eviction {
    /// Ends when the connection has to go; never once it is established.
    pub async fn wait(self) {
        if self.0.await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Accepts for ever and runs `handle` for each connection. Dropping the future ends all of them.
///
/// `handle` calls [`Permit::establish`] once it knows its peer, and keeps the permit as long as the connection.
pub async fn serve<F, H>(listener: TcpListener, gate: Arc<Gate>, handle: F)
where
    F: Fn(TcpStream, SocketAddr, Permit) -> H,
    H: Future<Output = ()> + Send + 'static,
{
    serve_until(listener, gate, handle, pending()).await;
}

/// As [`serve`], until `stop` ends: then the port is given back, and the connections that are open run to their end.
pub async fn serve_until<F, H>(
    listener: TcpListener,
    gate: Arc<Gate>,
    handle: F,
    stop: impl Future<Output = ()>,
) where
    F: Fn(TcpStream, SocketAddr, Permit) -> H,
    H: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = stop.as_mut() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (permit, eviction) = gate.admit(peer.ip());
                    // Without it small answers wait for acknowledgements; a failure shows at the next write.
                    let _ = stream.set_nodelay(true);
                    // Boxed, because a select holds what it polls twice.
                    let handling = Box::pin(handle(stream, peer, permit));
                    connections.spawn(async move {
                        tokio::select! {
                            () = eviction.wait() => {}
                            () = handling => {}
                        }
                    });
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    gate.evict_oldest();
                    sleep(EXHAUSTED_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Errors of a connection that ended before it was accepted; the next one is not affected.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The source that an address belongs to: itself, or its IPv6 network of 64 bits.
pub fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMITS: Limits = Limits { waiting_max: 4, waiting_per_source_max: 2, established_max: 3 };

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_customer_are_one_source() {
        for (peer, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(source_of(from(peer)), from(source), "{peer}");
        }
    }

    #[tokio::test]
    async fn the_oldest_of_a_source_makes_room_for_its_newest() {
        let gate = Gate::new(LIMITS);
        let (_first, first_out) = gate.admit(from("2001:db8::1"));
        let (mut second, second_out) = gate.admit(from("2001:db8::2"));
        let (_other, _other_out) = gate.admit(from("192.0.2.1"));
        let (_third, _third_out) = gate.admit(from("2001:db8::ffff"));
        first_out.wait().await;
        assert_eq!(gate.occupancy(), Occupancy { waiting: 3, established: 0 });
        assert_eq!(second.establish(), Ok(()));
        let (_fourth, _) = gate.admit(from("2001:db8::3"));
        let (_fifth, _) = gate.admit(from("2001:db8::4"));
        let still = tokio::time::timeout(Duration::from_millis(5), second_out.wait()).await;
        assert!(still.is_err(), "an established connection is not dropped");
    }

    #[tokio::test]
    async fn the_oldest_of_all_makes_room_when_sources_are_many() {
        let gate = Gate::new(LIMITS);
        let mut held: Vec<_> = (1..=5).map(|n| gate.admit(from(&format!("192.0.2.{n}")))).collect();
        let (mut dropped, eviction) = held.remove(0);
        eviction.wait().await;
        assert_eq!(dropped.establish(), Err(Full));
        assert_eq!(gate.occupancy().waiting, 4);
        drop(held);
        assert_eq!(gate.occupancy(), Occupancy { waiting: 0, established: 0 });
        assert!(gate.lock().by_source.is_empty());
    }

    #[test]
    fn no_more_are_established_than_allowed_and_places_are_given_back() {
        let gate = Gate::new(LIMITS);
        let mut held: Vec<_> = (1..=4).map(|n| gate.admit(from(&format!("192.0.2.{n}"))).0).collect();
        let results: Vec<_> = held.iter_mut().map(Permit::establish).collect();
        assert_eq!(results, [Ok(()), Ok(()), Ok(()), Err(Full)]);
        held.remove(0);
        assert_eq!(held[2].establish(), Ok(()));
        assert_eq!(gate.occupancy(), Occupancy { waiting: 0, established: 3 });
    }

    #[tokio::test]
    async fn an_honest_client_is_served_among_idle_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let gate = Gate::new(Limits { waiting_max: 64, waiting_per_source_max: 16, established_max: 64 });
        let echo = |mut stream: TcpStream, _, _permit| async move {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_ok() {
                let _ = stream.write_all(&byte).await;
            }
        };
        let client = async {
            let mut idle = Vec::new();
            for _ in 0..400 {
                idle.push(TcpStream::connect(at).await.unwrap());
            }
            let mut honest = TcpStream::connect(at).await.unwrap();
            honest.write_all(b"x").await.unwrap();
            let mut byte = [0];
            honest.read_exact(&mut byte).await.unwrap();
            assert_eq!(&byte, b"x");
            assert!(gate.occupancy().waiting <= 16);
        };
        tokio::select! {
            () = serve(listener, Arc::clone(&gate), echo) => unreachable!("accepting never ends"),
            () = client => {}
        }
        assert_eq!(gate.occupancy().waiting, 0, "ending the listener ends its connections");
    }
}
