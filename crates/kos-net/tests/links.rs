//! KLP links on real sockets: the same on every carrier.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod attic;

use std::{sync::Arc, time::Duration};

use attic::{
    Authority, Holder,
    port::{Port, Serves},
    stranger,
};
use kos_base::{Code, code};
use kos_net::{
    carrier::{Carrier, Connector, Link, LinkError},
    dialler::{Dialler, Target},
    frame::{FRAME_BYTES_MAX, FrameError},
    tls::{ClientTls, Expectation, Exporter, Group, Suite},
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn client(attic: &Authority, holder: &Holder) -> ClientTls {
    attic.client(Some(holder))
}

async fn dial(port: &Port, carrier: Carrier, tls: &ClientTls) -> Link {
    Connector::default().dial(&[carrier], &port.target(), tls).await.unwrap()
}

#[tokio::test]
async fn frames_of_every_size_come_back_in_order_on_every_carrier() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    for carrier in Carrier::LADDER {
        let Link { about, mut sender, mut receiver } = dial(&port, carrier, &tls).await;
        assert_eq!(about.carrier, carrier);
        let sizes = [1, 2, 255, 1_023, 1_024, 1_025, 16_384, 65_535, FRAME_BYTES_MAX];
        let sending = async {
            for (n, size) in sizes.iter().enumerate() {
                sender.send(&vec![u8::try_from(n).unwrap(); *size]).await.unwrap();
            }
            for n in 0..500_u16 {
                sender.queue(&n.to_be_bytes()).await.unwrap();
            }
            sender.close().await.unwrap();
        };
        let receiving = async {
            for (n, size) in sizes.iter().enumerate() {
                let frame = receiver.recv().await.unwrap().unwrap();
                assert_eq!(frame, vec![u8::try_from(n).unwrap(); *size], "{carrier}");
            }
            for n in 0..500_u16 {
                assert_eq!(receiver.recv().await.unwrap().unwrap(), n.to_be_bytes(), "{carrier}");
            }
            assert_eq!(receiver.recv().await.unwrap(), None, "{carrier}");
        };
        timeout(SOON, async { tokio::join!(sending, receiving) }).await.unwrap();
    }
}

#[tokio::test]
async fn both_ends_know_each_other_and_share_a_secret_on_every_carrier() {
    let attic = Authority::new("attic");
    let mut port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    let mut secrets = Vec::new();
    for carrier in Carrier::LADDER {
        let link = dial(&port, carrier, &tls).await;
        let theirs = timeout(SOON, port.links.recv()).await.unwrap().unwrap();
        assert_eq!(*link.about.peer.identity(), attic.identity());
        assert_eq!(*theirs.peer.identity(), attic.operator_identity("anna"));
        assert_eq!(link.about.exporter(), theirs.exporter(), "{carrier}");
        let renewal = |about: &kos_net::carrier::About| *about.facts.exporter(Exporter::Renewal).expose();
        assert_eq!(renewal(&link.about), renewal(&theirs), "{carrier}");
        for about in [&link.about, &theirs] {
            assert_eq!((about.facts.suite, about.facts.group), (Suite::Aes256Gcm, Group::X25519MlKem768));
        }
        secrets.push(*link.about.exporter().expose());
    }
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), 3, "every link has a secret of its own");
}

#[tokio::test]
async fn a_frame_of_no_legal_length_is_not_sent_and_the_link_lives_on() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    for carrier in Carrier::LADDER {
        let mut link = dial(&port, carrier, &tls).await;
        let empty = link.sender.send(&[]).await;
        assert!(matches!(empty, Err(LinkError::Frame(FrameError::Empty))), "{carrier}");
        let long = link.sender.send(&vec![0; FRAME_BYTES_MAX + 1]).await;
        assert!(matches!(long, Err(LinkError::Frame(FrameError::TooLong { .. }))), "{carrier}");
        link.sender.send(b"still here").await.unwrap();
        assert_eq!(link.receiver.recv().await.unwrap().unwrap(), b"still here", "{carrier}");
    }
}

#[tokio::test]
async fn a_send_that_was_cancelled_half_way_ends_the_sending() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    for carrier in [Carrier::Quic, Carrier::Tls] {
        let Link { mut sender, receiver: _not_read, .. } = dial(&port, carrier, &tls).await;
        // Nobody reads the echoes, so that sooner or later nothing more is taken.
        let full = async {
            loop {
                let sent = timeout(Duration::from_millis(200), sender.send(&[7; FRAME_BYTES_MAX])).await;
                if sent.is_err() {
                    break;
                }
            }
        };
        timeout(SOON, full).await.unwrap();
        assert!(matches!(sender.send(b"more").await, Err(LinkError::Torn)), "{carrier}");
    }
}

#[tokio::test]
async fn nobody_untrusted_gets_a_link_on_any_carrier() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let mut port = Port::open(Arc::clone(&server), Serves::Everything).await;
    let (good, revoked) = (attic.operator("anna"), attic.operator("bob"));
    server.set_trust(attic.trust_without(&revoked));
    let expected = Expectation::Peer { trust: attic.trust(), identity: attic.identity() };
    let foreign = Authority::new("attic").operator("anna");
    for carrier in Carrier::LADDER {
        for shown in [Some(&revoked.certified), Some(&foreign.certified), Some(&stranger().1), None] {
            let tls = attic.client_expecting(shown.cloned(), expected.clone());
            // TLS lets the client believe that all is well until it reads.
            if let Ok(mut link) = Connector::default().dial(&[carrier], &port.target(), &tls).await {
                let _ = link.sender.send(b"hello").await;
                let heard = timeout(SOON, link.receiver.recv()).await.unwrap();
                assert!(!matches!(heard, Ok(Some(_))), "{carrier} {heard:?}");
            }
        }
        let link = dial(&port, carrier, &client(&attic, &good)).await;
        let theirs = timeout(SOON, port.links.recv()).await.unwrap().unwrap();
        assert_eq!(theirs.exporter(), link.about.exporter(), "{carrier}: no other link came up before");
    }
}

#[tokio::test]
async fn a_client_refuses_a_server_that_it_does_not_expect_on_every_carrier() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let cellar = Authority::new("cellar");
    let tls = cellar.client(Some(&cellar.operator("anna")));
    for carrier in Carrier::LADDER {
        let refused = Connector::default().dial(&[carrier], &port.target(), &tls).await.unwrap_err();
        assert_eq!(refused.code(), code::certificate::CERT_CHAIN, "{carrier} {refused}");
    }
}

#[tokio::test]
async fn a_link_falls_to_tcp_where_udp_is_swallowed() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::TcpOnly).await;
    // A socket that never answers, as a firewall makes it.
    let _swallowed = std::net::UdpSocket::bind(port.address).unwrap();
    let tls = client(&attic, &attic.operator("anna"));
    let connector = Connector::default();
    let mut link =
        timeout(SOON, connector.dial(&Carrier::LADDER, &port.target(), &tls)).await.unwrap().unwrap();
    assert_eq!(link.about.carrier, Carrier::Tls);
    link.sender.send(b"over tcp").await.unwrap();
    assert_eq!(link.receiver.recv().await.unwrap().unwrap(), b"over tcp");
}

#[tokio::test]
async fn the_order_of_the_ladder_is_obeyed_and_every_failure_is_told() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    let connector = Connector::default();
    for ladder in [[Carrier::WebSocket, Carrier::Quic], [Carrier::Tls, Carrier::WebSocket]] {
        let link = connector.dial(&ladder, &port.target(), &tls).await.unwrap();
        assert_eq!(link.about.carrier, ladder[0]);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target::from(kos_net::endpoints::Endpoint::from(closed));
    let ladder = [Carrier::Tls, Carrier::WebSocket];
    let failed = connector.dial(&ladder, &target, &tls).await.unwrap_err();
    assert_eq!(failed.rungs.iter().map(|(carrier, _)| *carrier).collect::<Vec<_>>(), ladder);
    assert_eq!(failed.code(), code::config::UNREACHABLE, "{failed}");
    assert!(failed.to_string().starts_with("no carrier gave a link; tls: "), "{failed}");
}

#[tokio::test]
async fn no_carrier_goes_where_the_list_forbids() {
    let attic = Authority::new("attic");
    let mut port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    let connector = Connector::new(Dialler::restricted_to(vec!["control.kos".parse().unwrap()]));
    for carrier in Carrier::LADDER {
        let refused = connector.dial(&[carrier], &port.target(), &tls).await.unwrap_err();
        let code: Code = refused.code();
        assert_eq!(code, code::config::ENDPOINT_FORBIDDEN, "{carrier}");
    }
    let refused = connector.dial(&Carrier::LADDER, &port.target(), &tls).await.unwrap_err();
    assert_eq!(refused.rungs.len(), 1, "what one carrier may not do, no carrier may");
    assert!(port.links.try_recv().is_err());
}

#[tokio::test]
async fn dropping_both_halves_cuts_the_link() {
    let attic = Authority::new("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let tls = client(&attic, &attic.operator("anna"));
    for carrier in Carrier::LADDER {
        let link = dial(&port, carrier, &tls).await;
        let up = async {
            while port.gate.occupancy().established != 1 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, up).await.unwrap();
        drop(link);
        let gone = async {
            while port.gate.occupancy().established != 0 {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(SOON, gone).await.is_ok(), "{carrier}");
    }
}
