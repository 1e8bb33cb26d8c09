//! The one TLS port of a small authority, with everything that the tests speak to it: KLP links echo frames.

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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new(limits);
        let (up, links) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        if serves == Serves::Everything {
            let quic = Listener::bind(address, Arc::clone(&tls)).unwrap();
            let up = up.clone();
            tasks.spawn(quic.serve(Arc::clone(&gate), move |_, link, mut permit: Permit| {
                let up = up.clone();
                async move {
                    if let (Ok(link), Ok(())) = (link, permit.establish()) {
                        echo(link, permit, up).await;
                    }
                }
            }));
        }
        let handle = move |stream, remote, permit| tcp(Arc::clone(&tls), stream, remote, permit, up.clone());
        tasks.spawn(serve(listener, Arc::clone(&gate), handle));
        Self { address, gate, links, _tasks: tasks }
    }

    pub(crate) fn target(&self) -> Target {
        Target::from(Endpoint::from(self.address))
    }
}

type Up = mpsc::UnboundedSender<kos_net::carrier::About>;

async fn tcp(tls: Arc<ServerTls>, stream: TcpStream, remote: SocketAddr, mut permit: Permit, up: Up) {
    match tls.accept(stream).await {
        Ok(Accepted::Klp { stream, facts, peer }) if permit.establish().is_ok() => {
            echo(Link::over_tls(stream, remote, peer, Arc::new(facts)), permit, up).await;
        }
        Ok(Accepted::Http { stream, facts, peer }) if permit.establish().is_ok() => {
            if let Some(io) = upgrade(stream).await {
                echo(Link::over_websocket(io, remote, peer, Arc::new(facts)).await, permit, up).await;
            }
        }
        Ok(Accepted::Enrolment { mut stream, .. }) => {
            let _ = stream.write_all(b"enrolment\n").await;
            let _ = stream.shutdown().await;
        }
        Ok(_) | Err(_) => {}
    }
}

async fn echo(link: Link, permit: Permit, up: Up) {
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
