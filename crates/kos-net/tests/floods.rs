//! Strangers who want to use up what acquaintances need: idle, half-open, slow and malformed connections.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod attic;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use attic::{
    Authority,
    port::{Port, Serves},
};
use kos_net::{
    accept::Limits,
    carrier::{Carrier, Connector, Link},
    dialler::Target,
    endpoints::Endpoint,
    tls::{ClientTls, Protocol},
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(20);

/// A frame there and back on every carrier.
async fn is_served(port: &Port, tls: &ClientTls) {
    for carrier in Carrier::LADDER {
        let served = async {
            let Link { mut sender, mut receiver, .. } =
                Connector::default().dial(&[carrier], &port.target(), tls).await.unwrap();
            sender.send(b"served").await.unwrap();
            assert_eq!(receiver.recv().await.unwrap().unwrap(), b"served", "{carrier}");
        };
        assert!(timeout(SOON, served).await.is_ok(), "{carrier}");
    }
}

#[tokio::test]
async fn ten_thousand_idle_connections_do_not_stop_service() {
    const IDLE: usize = 10_000;
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();

    let attic = Authority::new("attic");
    let limits = Limits { waiting_max: 512, waiting_per_source_max: 256, established_max: 16 };
    let port = Port::open_with(attic.server_tls(), Serves::Everything, limits).await;
    let tls = attic.client(Some(&attic.operator("anna")));
    let mut idle = Vec::new();
    while idle.len() < IDLE {
        idle.push(TcpStream::connect(port.address).await.unwrap());
        if idle.len() % 2_500 == 0 {
            is_served(&port, &tls).await;
            assert!(port.gate.occupancy().waiting <= 256);
        }
    }
}

/// Lets nothing back from `server`: whoever dials through it stays half-open.
async fn one_way(server: SocketAddr, tasks: &mut JoinSet<()>) -> SocketAddr {
    let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = near.local_addr().unwrap();
    tasks.spawn(async move {
        let mut datagram = [0; 2_048];
        while let Ok((length, _)) = near.recv_from(&mut datagram).await {
            let _ = far.send_to(&datagram[..length], server).await;
        }
    });
    address
}

#[tokio::test]
async fn half_open_quic_handshakes_make_newcomers_prove_their_address_and_stop_nobody() {
    const HALF_OPEN: usize = 100;
    /// From here on the listener asks for a retry token.
    const RETRY_ABOVE: usize = 64;
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = attic.client(Some(&attic.operator("anna")));
    let connector = Arc::new(Connector::default());
    let mut tasks = JoinSet::new();
    for _ in 0..HALF_OPEN {
        let target = Target::from(Endpoint::from(one_way(port.address, &mut tasks).await));
        let (connector, tls) = (Arc::clone(&connector), tls.clone());
        tasks.spawn(async move { drop(connector.dial(&[Carrier::Quic], &target, &tls).await) });
    }
    let full = async {
        while port.gate.occupancy().waiting < RETRY_ABOVE {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, full).await.unwrap();
    is_served(&port, &tls).await;
    assert!(port.gate.occupancy().waiting <= RETRY_ABOVE, "addresses without proof cost nothing");
}

#[tokio::test]
async fn a_peer_that_breaks_the_frames_loses_its_link() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = attic.client(Some(&attic.operator("anna")));
    for said in [&[0, 0, 0, 0][..], &[0, 1, 0, 1, 7], &[0xff; 64], b"GET / HTTP/1.1\r\n\r\n"] {
        let stream = TcpStream::connect(port.address).await.unwrap();
        let host = port.target().endpoint.host;
        let mut stream = tls.connect(stream, &host, Protocol::Klp).await.unwrap().stream;
        stream.write_all(said).await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = Vec::new();
        // Cut without a farewell, since there is nothing left to say.
        let _ = timeout(SOON, stream.read_to_end(&mut heard)).await.unwrap();
        assert_eq!(heard, [], "{said:?}");
    }
    is_served(&port, &tls).await;
}
