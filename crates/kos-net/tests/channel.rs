//! Secure channels on real sockets: two devices, and between them a relay that does what it likes.

#![cfg(test)]

mod attic;

use std::{sync::Arc, time::Duration};

use attic::{
    Authority, Holder,
    relay::{ANNA, Attic, BERT, Deed, Direction, Ends, relay},
};
use kos_base::{SecurityProfile, code};
use kos_identity::chain::ChainError;
use kos_klp::{
    channel::{ChannelError, RECORD_PLAINTEXT_BYTES_MAX},
    frame::{Content, Frame, Hop, write_channel},
};
use kos_net::{
    carrier::Carrier,
    channel::{ChannelFault, Identity, Judge, SecureLink, accept, open},
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const CANARY: &[u8] = b"the canary sings in the cellar at noon";

/// Both ends try to make a channel over a relay that passes everything on but what `meddle` keeps or changes.
async fn exchange(
    attic: &mut Attic,
    carrier: Carrier,
    meddle: impl FnMut(Direction, usize, Vec<u8>) -> Deed + Send + 'static,
) -> (
    Result<SecureLink, ChannelFault>,
    Result<SecureLink, ChannelFault>,
    tokio::task::JoinHandle<Vec<(Direction, Vec<u8>)>>,
) {
    let Ends { anna, bert, relay: links } = attic.link(carrier).await;
    let between = relay(links, meddle);
    let (own_anna, own_bert) = (attic.own(ANNA, &attic.anna), attic.own(BERT, &attic.bert));
    let (at_anna, at_bert, to) = (attic.judge(), attic.judge(), attic.identity(BERT));
    let opening = open(anna, &own_anna, &at_anna, &to);
    let accepting = accept(bert, &own_bert, &at_bert);
    let (opened, accepted) = timeout(SOON, async { tokio::join!(opening, accepting) }).await.unwrap();
    (opened, accepted, between)
}

fn honest(_: Direction, _: usize, frame: Vec<u8>) -> Deed {
    Deed::PassOn(vec![frame])
}

async fn heard(link: &mut SecureLink) -> Result<Option<Vec<u8>>, ChannelFault> {
    timeout(SOON, link.receiver.recv()).await.unwrap()
}

#[tokio::test]
async fn two_devices_talk_through_a_relay_that_reads_nothing_on_every_carrier() {
    let mut attic = Attic::new().await;
    for carrier in Carrier::LADDER {
        let (anna, bert, between) = exchange(&mut attic, carrier, honest).await;
        let (mut anna, mut bert) = (anna.unwrap(), bert.unwrap());
        assert_eq!(*anna.peer().identity(), attic.identity(BERT), "{carrier}");
        assert_eq!(*bert.peer().identity(), attic.identity(ANNA), "{carrier}");
        assert_eq!(anna.exporter(), bert.exporter(), "{carrier}");

        let long = vec![7; RECORD_PLAINTEXT_BYTES_MAX];
        for said in [CANARY, &long] {
            anna.sender.send(said).await.unwrap();
            assert_eq!(heard(&mut bert).await.unwrap().as_deref(), Some(said), "{carrier}");
            bert.sender.send(said).await.unwrap();
            assert_eq!(heard(&mut anna).await.unwrap().as_deref(), Some(said), "{carrier}");
        }
        for wrong in [&[][..], &vec![7; RECORD_PLAINTEXT_BYTES_MAX + 1]] {
            let refused = anna.sender.send(wrong).await.unwrap_err();
            assert!(matches!(refused, ChannelFault::Channel(ChannelError::Size(_))), "{refused}");
        }
        anna.sender.sign_off().await.unwrap();
        assert_eq!(heard(&mut bert).await.unwrap(), None, "{carrier}");
        assert_eq!(heard(&mut bert).await.unwrap(), None, "{carrier}");
        bert.sender.send(b"the other way is open").await.unwrap();
        assert_eq!(heard(&mut anna).await.unwrap().unwrap(), b"the other way is open", "{carrier}");
        bert.sender.sign_off().await.unwrap();
        assert_eq!(heard(&mut anna).await.unwrap(), None, "{carrier}");
        anna.sender.close().await.unwrap();
        bert.sender.close().await.unwrap();

        let seen = timeout(SOON, between).await.unwrap().unwrap();
        assert_eq!(seen.len(), 3 + 4 + 3, "{carrier}: the exchange, four records, and the ends");
        let names: Vec<_> = attic.anna.certified.cert.iter().map(|der| der[..64].to_vec()).collect();
        for (_, frame) in &seen {
            let holds = |secret: &[u8]| frame.windows(secret.len()).any(|bytes| bytes == secret);
            assert!(!holds(CANARY) && !holds(&long[..32]), "{carrier}");
            assert!(!names.iter().any(|name| holds(name)), "{carrier}: certificates travel sealed");
        }
    }
}

/// The frame with one byte of its message changed, and everything else as it was.
fn changed(frame: &[u8], from_the_end: usize) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let at = frame.len() - 1 - from_the_end;
    frame[at] ^= 1;
    frame
}

/// A frame of the same hop with another message.
fn reframed(frame: &[u8], message: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let frame = Frame::parse(frame).unwrap();
    let Content::Channel(bytes) = frame.content() else { panic!("not of a channel") };
    write_channel(frame.hop(), &message(bytes)).unwrap()
}

#[tokio::test]
async fn whatever_a_relay_does_to_the_records_is_noticed_and_ends_the_channel() {
    /// What the relay does to the frames that carry records 1 to 4 and the end, counted from 0.
    type Meddle = fn(usize, Vec<u8>, &mut Vec<Vec<u8>>) -> Deed;
    type Expected = fn(&ChannelFault) -> bool;
    let cases: [(&str, Meddle, usize, Expected); 11] = [
        (
            "changes one",
            |n, frame, _| Deed::PassOn(vec![if n == 1 { changed(&frame, 3) } else { frame }]),
            1,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Sealed)),
        ),
        (
            "cuts a frame short",
            |n, frame, _| Deed::PassOn(vec![if n == 1 { frame[..frame.len() - 1].to_vec() } else { frame }]),
            1,
            |fault| matches!(fault, ChannelFault::Frame(_)),
        ),
        (
            "cuts a message short",
            |n, frame, _| {
                let short = |bytes: &[u8]| bytes[..bytes.len() - 1].to_vec();
                Deed::PassOn(vec![if n == 1 { reframed(&frame, short) } else { frame }])
            },
            1,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Shape(_))),
        ),
        (
            "repeats one",
            |n, frame, _| Deed::PassOn(vec![frame; if n == 1 { 2 } else { 1 }]),
            2,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Replayed)),
        ),
        (
            "repeats one later",
            |n, frame, kept| {
                kept.push(frame.clone());
                Deed::PassOn(if n == 3 { vec![kept[0].clone(), frame] } else { vec![frame] })
            },
            3,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Replayed)),
        ),
        (
            "swaps two",
            |n, frame, kept| match n {
                1 => {
                    kept.push(frame);
                    Deed::PassOn(Vec::new())
                }
                2 => Deed::PassOn(vec![frame, kept.remove(0)]),
                _ => Deed::PassOn(vec![frame]),
            },
            1,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Missing(1))),
        ),
        (
            "drops one",
            |n, frame, _| Deed::PassOn(if n == 1 { Vec::new() } else { vec![frame] }),
            1,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Missing(1))),
        ),
        (
            "drops the last one before the end",
            |n, frame, _| Deed::PassOn(if n == 3 { Vec::new() } else { vec![frame] }),
            3,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Missing(1))),
        ),
        (
            "hides the end",
            |n, frame, _| Deed::PassOn(if n == 4 { Vec::new() } else { vec![frame] }),
            4,
            |fault| matches!(fault, ChannelFault::Cut),
        ),
        (
            "makes one up",
            |n, frame, _| {
                let hop = Hop::default();
                let made_up = write_channel(&hop, &[0x84, 4, 0x41, 0, 1, 0x41, 0]).unwrap();
                Deed::PassOn(if n == 1 { vec![made_up, frame] } else { vec![frame] })
            },
            1,
            |fault| matches!(fault, ChannelFault::Channel(ChannelError::Shape(_))),
        ),
        (
            "cuts the links",
            |n, frame, _| if n == 2 { Deed::Cut } else { Deed::PassOn(vec![frame]) },
            2,
            |fault| matches!(fault, ChannelFault::Cut | ChannelFault::Link(_)),
        ),
    ];
    let mut attic = Attic::new().await;
    for (what, deed, whole, expected) in cases {
        let mut kept = Vec::new();
        let meddle = move |direction, n: usize, frame| match (direction, n.checked_sub(2)) {
            (Direction::Forth, Some(record)) => deed(record, frame, &mut kept),
            _ => Deed::PassOn(vec![frame]),
        };
        let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, meddle).await;
        let (anna, mut bert) = (anna.unwrap(), bert.unwrap());
        let mut sender = anna.sender;
        for n in 1..=4_u8 {
            // The relay may have cut the link by now.
            let _ = sender.send(&[n]).await;
        }
        let _ = sender.close().await;
        for n in 1..=whole {
            let said = heard(&mut bert).await.unwrap();
            assert_eq!(said, Some(vec![u8::try_from(n).unwrap()]), "{what}");
        }
        let fault = heard(&mut bert).await.unwrap_err();
        assert!(expected(&fault), "{what}: {fault:?}");
        assert!(matches!(bert.sender.send(b"more").await, Err(ChannelFault::Ended)), "{what}");
    }
}

#[tokio::test]
async fn what_others_send_through_the_relay_disturbs_neither_exchange_nor_channel() {
    let mut attic = Attic::new().await;
    let stray = [&[0x84, 4, 0x50][..], &[9; 16], &[1, 0x41, 0]].concat();
    let meddle = move |direction, n: usize, frame: Vec<u8>| {
        let stray = write_channel(&Hop::default(), &stray).unwrap();
        // What comes first of all would be taken for the hello.
        let disturbed = (direction, n) != (Direction::Forth, 0);
        Deed::PassOn(if disturbed { vec![stray.clone(), frame, stray] } else { vec![frame, stray] })
    };
    let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, meddle).await;
    let (mut anna, mut bert) = (anna.unwrap(), bert.unwrap());
    for said in [b"one", b"two"] {
        anna.sender.send(said).await.unwrap();
        assert_eq!(heard(&mut bert).await.unwrap().unwrap(), said);
        bert.sender.send(said).await.unwrap();
        assert_eq!(heard(&mut anna).await.unwrap().unwrap(), said);
    }
    anna.sender.sign_off().await.unwrap();
    assert_eq!(heard(&mut bert).await.unwrap(), None);
}

#[tokio::test]
async fn a_record_thrown_back_at_its_sender_does_not_open() {
    let mut attic = Attic::new().await;
    let mut first = None;
    let meddle = move |direction, n: usize, frame: Vec<u8>| match (direction, n) {
        (Direction::Forth, 2) => {
            first = Some(frame.clone());
            Deed::PassOn(vec![frame])
        }
        (Direction::Back, 1) => Deed::PassOn(first.take().into_iter().collect()),
        _ => Deed::PassOn(vec![frame]),
    };
    let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, meddle).await;
    let (mut anna, mut bert) = (anna.unwrap(), bert.unwrap());
    anna.sender.send(b"forth").await.unwrap();
    assert_eq!(heard(&mut bert).await.unwrap().unwrap(), b"forth");
    bert.sender.send(b"back").await.unwrap();
    let fault = heard(&mut anna).await.unwrap_err();
    assert!(matches!(fault, ChannelFault::Channel(ChannelError::Sealed)), "{fault:?}");
}

#[tokio::test]
async fn a_changed_exchange_gives_no_channel() {
    let mut attic = Attic::new().await;
    for (what, way, which) in
        [("hello", Direction::Forth, 0), ("reply", Direction::Back, 0), ("finish", Direction::Forth, 1)]
    {
        let meddle = move |direction, n: usize, frame: Vec<u8>| {
            let hit = direction == way && n == which;
            Deed::PassOn(vec![if hit { changed(&frame, 0) } else { frame }])
        };
        let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, meddle).await;
        assert!(bert.is_err(), "{what}");
        // Whoever opens a channel has it before its last message has arrived, and nobody to talk to.
        if let Ok(mut anna) = anna {
            assert_eq!(what, "finish");
            let fault = heard(&mut anna).await.unwrap_err();
            assert!(matches!(fault, ChannelFault::Cut), "{fault:?}");
        }
    }
}

/// What `anna` says to a relay that answers her itself, as `claims`.
async fn answered_by(attic: &mut Attic, claims: &Identity, judge: &Judge) -> ChannelFault {
    let Ends { anna, bert: _, relay: [(link, _permit), _] } = attic.link(Carrier::Tls).await;
    let (own, at_anna, to) = (attic.own(ANNA, &attic.anna), attic.judge(), attic.identity(BERT));
    let answering = accept(link, claims, judge);
    let opening = open(anna, &own, &at_anna, &to);
    let (opened, answered) = timeout(SOON, async { tokio::join!(opening, answering) }).await.unwrap();
    assert!(answered.is_err());
    opened.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_relay_that_answers_the_exchange_itself_is_refused() {
    let mut attic = Attic::new().await;
    let other = attic.authority.device_named("kdev-0000000000other1", SecurityProfile::Sec2);
    let namesake = Authority::new("attic").device_named(BERT, SecurityProfile::Sec2);
    let judge = attic.judge();

    // With the certificate of another device of the same authority.
    let claims = attic.own(BERT, &other);
    let fault = answered_by(&mut attic, &claims, &judge).await;
    assert!(matches!(fault, ChannelFault::Peer(ChainError::SomebodyElse { .. })), "{fault:?}");
    assert_eq!(fault.code(), code::certificate::CERT_IDENTITY);

    // With the certificate of the right device, which is no secret, and a key of its own.
    let stolen = Holder { key: Arc::clone(&other.key), ..attic.bert.clone() };
    let claims = attic.own(BERT, &stolen);
    let fault = answered_by(&mut attic, &claims, &judge).await;
    assert!(matches!(fault, ChannelFault::Channel(ChannelError::OtherKey)), "{fault:?}");

    // With a certificate of the right name from another root.
    let claims = attic.own(BERT, &namesake);
    let fault = answered_by(&mut attic, &claims, &judge).await;
    assert!(matches!(fault, ChannelFault::Peer(ChainError::Path(_))), "{fault:?}");
}

#[tokio::test]
async fn a_relay_that_opens_a_channel_as_somebody_else_is_refused() {
    let mut attic = Attic::new().await;
    let other = attic.authority.device_named("kdev-0000000000other1", SecurityProfile::Sec2);
    let (judge, to) = (attic.judge(), attic.identity(BERT));
    let claims = attic.own(ANNA, &other);
    let Ends { anna: _, bert, relay: [_, (link, _permit)] } = attic.link(Carrier::Tls).await;
    let (own, at_bert) = (attic.own(BERT, &attic.bert), attic.judge());
    let both = async { tokio::join!(open(link, &claims, &judge, &to), accept(bert, &own, &at_bert)) };
    let (_, accepted) = timeout(SOON, both).await.unwrap();
    let fault = accepted.map(|_| ()).unwrap_err();
    assert!(matches!(fault, ChannelFault::Peer(ChainError::SomebodyElse { .. })), "{fault:?}");
}

#[tokio::test]
async fn a_revoked_peer_gets_no_channel_in_either_role() {
    let mut attic = Attic::new().await;
    for (revoked, at_anna) in [(attic.bert.clone(), true), (attic.anna.clone(), false)] {
        attic.trust.send_replace(attic.authority.trust_without(&revoked));
        let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, honest).await;
        let fault = if at_anna { anna.map(|_| ()).unwrap_err() } else { bert.map(|_| ()).unwrap_err() };
        assert!(matches!(fault, ChannelFault::Peer(ChainError::Revoked { .. })), "{fault:?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_revoked_later_loses_the_channel_at_once() {
    let mut attic = Attic::new().await;
    let (anna, bert, _between) = exchange(&mut attic, Carrier::Tls, honest).await;
    let (mut anna, mut bert) = (anna.unwrap(), bert.unwrap());
    anna.sender.send(b"before").await.unwrap();
    assert_eq!(heard(&mut bert).await.unwrap().unwrap(), b"before");
    let waiting = tokio::spawn(async move {
        let fault = heard(&mut anna).await.unwrap_err();
        (anna, fault)
    });
    attic.trust.send_replace(attic.authority.trust_without(&attic.bert));
    let (mut anna, fault) = timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(matches!(fault, ChannelFault::Peer(ChainError::Revoked { .. })), "{fault:?}");
    assert!(matches!(anna.sender.send(b"after").await, Err(ChannelFault::Ended)));
}

#[tokio::test]
async fn an_operator_has_no_channel() {
    let mut attic = Attic::new().await;
    let Ends { anna, relay: _relay, .. } = attic.link(Carrier::Tls).await;
    let (own, judge) = (attic.own(ANNA, &attic.anna), attic.judge());
    let refused = open(anna, &own, &judge, &attic.authority.operator_identity("carl")).await.unwrap_err();
    assert!(matches!(refused, ChannelFault::NoCertificate(_)), "{refused:?}");
}
