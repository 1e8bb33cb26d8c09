//! Who gets through the one TLS port, and who does not: both ends are ours, the sockets are real.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod attic;

use std::{sync::Arc, time::Duration};

use attic::{Authority, Holder, NOW, stranger};
use kos_base::{KeyAlgorithm, Timestamp};
use kos_identity::chain::{ChainError, Clock};
use kos_net::{
    endpoints::Host,
    keys::SigningKey,
    tls::{
        Accepted, ClientTls, Connected, Expectation, Exporter, Group, HandshakeError, PeerError, Protocol,
        ServerTls, Suite,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Outcome = (Result<Accepted<TcpStream>, HandshakeError>, Result<Connected<TcpStream>, HandshakeError>);

/// One handshake over a real connection.
async fn handshake(server: &ServerTls, client: &ClientTls, protocol: Protocol) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let host: Host = "attic.local".parse().unwrap();
    let serving = async { server.accept(listener.accept().await.unwrap().0).await };
    let connecting = async { client.connect(TcpStream::connect(at).await.unwrap(), &host, protocol).await };
    tokio::join!(serving, connecting)
}

#[tokio::test]
async fn every_door_opens_to_those_it_is_for_and_both_ends_know_the_same() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let operator = attic.operator("anna");
    let client = attic.client(Some(&operator));
    for protocol in [Protocol::Klp, Protocol::Http1, Protocol::Http2] {
        let (accepted, connected) = handshake(&server, &client, protocol).await;
        let connected = connected.unwrap();
        let (facts, peer) = match accepted.unwrap() {
            Accepted::Klp { facts, peer, .. } if protocol == Protocol::Klp => (facts, peer),
            Accepted::Http { facts, peer, .. } if protocol != Protocol::Klp => (facts, peer),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(*peer.identity(), attic.operator_identity("anna"));
        assert_eq!(*connected.peer.identity(), attic.identity());
        assert_eq!((facts.protocol, connected.facts.protocol), (protocol, protocol));
        assert_eq!((facts.suite, connected.facts.suite), (Suite::Aes256Gcm, Suite::Aes256Gcm));
        assert_eq!((facts.group, connected.facts.group), (Group::X25519MlKem768, Group::X25519MlKem768));
        let purposes = [Exporter::Enrolment, Exporter::Renewal, Exporter::Klp];
        for purpose in purposes {
            assert_eq!(facts.exporter(purpose), connected.facts.exporter(purpose), "{purpose:?}");
        }
        assert_ne!(facts.exporter(Exporter::Enrolment), facts.exporter(Exporter::Renewal));
        assert_ne!(facts.exporter(Exporter::Enrolment), facts.exporter(Exporter::Klp));
    }
}

#[tokio::test]
async fn enrolment_takes_any_identity_key_or_none_and_calls_it_unverified() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let (key, certified) = stranger();
    let pinned = Expectation::Pins(vec![attic.pin()]);
    for (shown, wanted) in [(Some(certified), Some(key.public().clone())), (None, None)] {
        let client = attic.client_expecting(shown, pinned.clone());
        let (accepted, connected) = handshake(&server, &client, Protocol::Enrolment).await;
        assert_eq!(*connected.unwrap().peer.identity(), attic.identity());
        assert!(matches!(accepted, Ok(Accepted::Enrolment { key, .. }) if key == wanted));
    }
}

#[tokio::test]
async fn a_stranger_comes_through_no_door_but_enrolment() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let expected = Expectation::Peer { trust: attic.trust(), identity: attic.identity() };
    let other = Authority::new("attic").operator("anna");
    for (shown, path) in [(Some(stranger().1), true), (Some(other.certified), true), (None, false)] {
        let client = attic.client_expecting(shown, expected.clone());
        for protocol in [Protocol::Klp, Protocol::Http1, Protocol::Http2] {
            let refused = handshake(&server, &client, protocol).await.0.unwrap_err();
            match &refused {
                HandshakeError::Peer(PeerError::Chain(ChainError::Path(_))) if path => {}
                HandshakeError::Tls(_) if !path => {}
                other => unreachable!("{protocol:?} {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_revoked_peer_is_refused_from_the_next_handshake_on() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let operator = attic.operator("anna");
    let client = attic.client(Some(&operator));
    assert!(handshake(&server, &client, Protocol::Klp).await.0.is_ok());

    server.set_trust(attic.trust_without(&operator));
    let (accepted, connected) = handshake(&server, &client, Protocol::Klp).await;
    let refused = accepted.unwrap_err();
    assert!(
        matches!(refused, HandshakeError::Peer(PeerError::Chain(ChainError::Revoked { .. }))),
        "{refused:?}"
    );
    let mut stream = connected.unwrap().stream;
    let alert = stream.read_u8().await.unwrap_err().to_string();
    assert!(alert.contains("Revoked"), "{alert}");
}

#[tokio::test]
async fn a_certificate_counts_only_while_the_servers_clock_says_so() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let client = attic.client(Some(&attic.operator("anna")));
    let day = 24 * 3600;
    for (at, wanted) in [
        (0, "not valid before"),
        (NOW.unix_s() - day, "not valid before"),
        (NOW.unix_s(), "ok"),
        (NOW.unix_s() + 400 * day, "expired"),
        (4_102_444_800, "expired"),
    ] {
        let clock = Arc::new(move || Clock::Trusted(Timestamp::from_unix_s(at)));
        let server = ServerTls::new(clock, attic.server().certified, server.trust()).unwrap();
        match handshake(&server, &client, Protocol::Klp).await.0 {
            Ok(_) => assert_eq!(wanted, "ok"),
            Err(HandshakeError::Peer(error)) => assert!(error.to_string().contains(wanted), "{error}"),
            Err(other) => unreachable!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_goes_only_to_the_server_that_it_expects() {
    let attic = Authority::new("attic");
    let cellar = Authority::new("cellar");
    let server = attic.server_tls();
    let trust = attic.trust();
    let bob = attic.operator_identity("bob");
    let revoked = attic.server();
    let revoked_server =
        ServerTls::new(attic.clock(), Arc::clone(&revoked.certified), attic.trust()).unwrap();
    let wants = |expectation| attic.client_expecting(Some(stranger().1), expectation);
    let peer = |trust, identity| Expectation::Peer { trust, identity };
    for (what, server, expectation, wanted) in [
        ("pin", &server, Expectation::Pins(vec![attic.pin()]), Ok(())),
        ("backup pin", &server, Expectation::Pins(vec![cellar.pin(), attic.pin()]), Ok(())),
        ("wrong pin", &server, Expectation::Pins(vec![cellar.pin()]), Err("pinned")),
        ("no pin", &server, Expectation::Pins(Vec::new()), Err("pinned")),
        ("unconfirmed", &server, Expectation::Unconfirmed, Ok(())),
        ("other root", &server, peer(cellar.trust(), attic.identity()), Err("no path")),
        (
            "other name",
            &server,
            peer(trust.clone(), cellar.identity()),
            Err("names `spiffe://attic/authority`"),
        ),
        ("other kind", &server, peer(trust.clone(), bob), Err("names `spiffe://attic/authority`")),
        ("revoked", &revoked_server, peer(attic.trust_without(&revoked), attic.identity()), Err("revoked")),
    ] {
        let (_, connected) = handshake(server, &wants(expectation), Protocol::Enrolment).await;
        match (connected, wanted) {
            (Ok(connected), Ok(())) => assert_eq!(*connected.peer.identity(), attic.identity(), "{what}"),
            (Err(HandshakeError::Peer(error)), Err(part)) => {
                assert!(error.to_string().contains(part), "{what}: {error}");
            }
            (other, _) => unreachable!("{what}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_operator_cannot_play_the_server_not_even_under_a_pin() {
    let attic = Authority::new("attic");
    let impostor = ServerTls::new(attic.clock(), attic.operator("eve").certified, attic.trust()).unwrap();
    for expectation in [Expectation::Pins(vec![attic.pin()]), Expectation::Unconfirmed] {
        let client = attic.client_expecting(None, expectation);
        let refused = handshake(&impostor, &client, Protocol::Enrolment).await.1.unwrap_err();
        assert!(
            matches!(refused, HandshakeError::Peer(PeerError::Chain(ChainError::Purpose(_)))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_device_without_a_clock_reaches_its_pinned_authority() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let mut client = attic.client_expecting(Some(stranger().1), Expectation::Pins(vec![attic.pin()]));
    let expired = Timestamp::from_unix_s(4_102_444_800);
    for (clock, ok) in [
        (Clock::Untrusted, true),
        (Clock::Floor(Timestamp::default()), true),
        (Clock::Floor(expired), false),
        (Clock::Trusted(Timestamp::default()), false),
    ] {
        client.clock = Arc::new(move || clock);
        let (_, connected) = handshake(&server, &client, Protocol::Enrolment).await;
        assert_eq!(connected.is_ok(), ok, "{clock:?}");
    }
}

#[tokio::test]
async fn the_certificate_can_be_exchanged_while_the_server_runs() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let client = attic.client(None);
    let shown = |outcome: Outcome| outcome.1.unwrap().peer.serial();
    let first = shown(handshake(&server, &client, Protocol::Enrolment).await);
    let renewed = attic.server();
    server.set_certificate(Arc::clone(&renewed.certified));
    let second = shown(handshake(&server, &client, Protocol::Enrolment).await);
    assert_ne!(first, second);
    assert_eq!(second, renewed.certificate.serial());
}

#[tokio::test]
async fn a_certificate_without_its_key_is_worthless() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    let Holder { certified, .. } = attic.operator("anna");
    let thief = Arc::new(SigningKey::generate(KeyAlgorithm::Ed25519).unwrap());
    let stolen = kos_net::keys::certified(certified.cert.clone(), thief);
    let expected = Expectation::Peer { trust: attic.trust(), identity: attic.identity() };
    let client = attic.client_expecting(Some(stolen), expected);
    for protocol in [Protocol::Klp, Protocol::Enrolment] {
        let refused = handshake(&server, &client, protocol).await.0.unwrap_err();
        assert!(matches!(refused, HandshakeError::Tls(_)), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_or_half_is_given_up_after_five_seconds() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    // The first bytes of a ClientHello, and no more.
    for said in [&[][..], &[22], &[22, 3, 1, 1, 0, 1, 0]] {
        let (near, mut far) = tokio::io::duplex(4_096);
        far.write_all(said).await.unwrap();
        let begun = tokio::time::Instant::now();
        let refused = server.accept(near).await.unwrap_err();
        assert!(matches!(refused, HandshakeError::Slow), "{refused:?}");
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    }
}

#[tokio::test]
async fn garbage_is_refused_at_once() {
    let attic = Authority::new("attic");
    let server = attic.server_tls();
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[22, 3, 1, 0xff, 0xff, 1], b"SSH-2.0-x\r\n"] {
        let (near, mut far) = tokio::io::duplex(4_096);
        far.write_all(said).await.unwrap();
        far.shutdown().await.unwrap();
        let refused = server.accept(near).await.unwrap_err();
        assert!(matches!(refused, HandshakeError::Tls(_)), "{refused:?}");
    }
}
