//! The one TLS port of a small authority, with everything that the tests speak to it: KLP links echo frames, or are handed
//! to the test.

use std::{net::SocketAddr, sync::Arc};

use kos_net::{
    accept::{Gate, Limits, Permit, serve},
    carrier::{Link, LinkReceiver, LinkSender, WEBSOCKET_PATH, accept_key, quic::Listener},
    dialler::Target,
    endpoints::Endpoint,
    tls::{Accepted, ServerTls},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

/// Which carriers a port serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    Everything,
    /// As if a firewall swallowed UDP.
    TcpOnly,
}

/// A port that is served until it is dropped.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    /// What is known about each link that came up, in order.
    pub(crate) links: mpsc::UnboundedReceiver<kos_net::carrier::About>,
    _tasks: JoinSet<()>,
}

impl Port {
    pub(crate) async fn open(tls: Arc<ServerTls>, serves: Serves) -> Self {
        Self::open_with(tls, serves, Limits::AUTHORITY).await
    }

    pub(crate) async fn open_with(tls: Arc<ServerTls>, serves: Serves, limits: Limits) -> Self {
        let (up, links) = mpsc::unbounded_channel();
        let (address, gate, tasks) = listen(tls, serves, limits, Up::Echo(up));
        Self { address, gate, links, _tasks: tasks }
    }

    /// A port whose links are the test's.
    pub(crate) async fn handing_out(
        tls: Arc<ServerTls>,
        serves: Serves,
    ) -> (Self, mpsc::UnboundedReceiver<(Link, Permit)>) {
        let (up, handed_out) = mpsc::unbounded_channel();
        let (address, gate, tasks) = listen(tls, serves, Limits::AUTHORITY, Up::HandOut(up));
        let (_, links) = mpsc::unbounded_channel();
        (Self { address, gate, links, _tasks: tasks }, handed_out)
    }

    pub(crate) fn target(&self) -> Target {
        Target::from(Endpoint::from(self.address))
    }
}

/// What becomes of a link.
#[derive(Clone)]
enum Up {
    Echo(mpsc::UnboundedSender<kos_net::carrier::About>),
    HandOut(mpsc::UnboundedSender<(Link, Permit)>),
}

fn listen(
    tls: Arc<ServerTls>,
    serves: Serves,
    limits: Limits,
    up: Up,
) -> (SocketAddr, Arc<Gate>, JoinSet<()>) {
    let (listener, quic) = loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        if serves != Serves::Everything {
            break (listener, None);
        }
        // The number that is free for TCP may be another program's for UDP.
        match Listener::bind(listener.local_addr().unwrap(), Arc::clone(&tls)) {
            Ok(quic) => break (listener, Some(quic)),
            Err(taken) => assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse),
        }
    };
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let address = listener.local_addr().unwrap();
    let gate = Gate::new(limits);
    let mut tasks = JoinSet::new();
    if let Some(quic) = quic {
        let up = up.clone();
        tasks.spawn(quic.serve(Arc::clone(&gate), move |_, link, mut permit: Permit| {
            let up = up.clone();
            async move {
                if let (Ok(link), Ok(())) = (link, permit.establish()) {
                    hold(link, permit, up).await;
                }
            }
        }));
    }
    let handle = move |stream, remote, permit| tcp(Arc::clone(&tls), stream, remote, permit, up.clone());
    tasks.spawn(serve(listener, Arc::clone(&gate), handle));
    (address, gate, tasks)
}

async fn tcp(tls: Arc<ServerTls>, stream: TcpStream, remote: SocketAddr, mut permit: Permit, up: Up) {
    match tls.accept(stream).await {
        Ok(Accepted::Klp { stream, facts, peer }) if permit.establish().is_ok() => {
            hold(Link::over_tls(stream, remote, peer, Arc::new(facts)), permit, up).await;
        }
        Ok(Accepted::Http { stream, facts, peer }) if permit.establish().is_ok() => {
            if let Some(io) = upgrade(stream).await {
                hold(Link::over_websocket(io, remote, peer, Arc::new(facts)).await, permit, up).await;
            }
        }
        Ok(Accepted::Enrolment { mut stream, .. }) => {
            let _ = stream.write_all(b"enrolment\n").await;
            let _ = stream.shutdown().await;
        }
        Ok(_) | Err(_) => {}
    }
}

async fn hold(link: Link, permit: Permit, up: Up) {
    let up = match up {
        Up::Echo(up) => up,
        Up::HandOut(up) => {
            let _ = up.send((link, permit));
            return;
        }
    };
    let Link { about, mut sender, mut receiver } = link;
    let _ = up.send(about);
    if pump(&mut sender, &mut receiver).await.is_ok() {
        let _ = sender.close().await;
    }
    drop(permit);
}

async fn pump(
    sender: &mut LinkSender,
    receiver: &mut LinkReceiver,
) -> Result<(), kos_net::carrier::LinkError> {
    while let Some(frame) = receiver.recv().await? {
        sender.send(&frame).await?;
    }
    Ok(())
}

/// What the HTTP side of an authority does with a request to switch to WebSocket.
async fn upgrade<IO: AsyncRead + AsyncWrite + Unpin>(io: IO) -> Option<BufReader<IO>> {
    let mut io = BufReader::new(io);
    let mut key = None;
    let mut line = String::new();
    io.read_line(&mut line).await.ok()?;
    let asked = line == format!("GET {WEBSOCKET_PATH} HTTP/1.1\r\n");
    while line != "\r\n" {
        line.clear();
        io.read_line(&mut line).await.ok()?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("sec-websocket-key")
        {
            key = Some(accept_key(value.trim().as_bytes()));
        }
    }
    let (answer, upgraded) = match key.filter(|_| asked) {
        Some(key) => (
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {key}\r\n\r\n"
            ),
            true,
        ),
        None => {
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), false)
        }
    };
    io.write_all(answer.as_bytes()).await.ok()?;
    io.flush().await.ok()?;
    upgraded.then_some(io)
}
