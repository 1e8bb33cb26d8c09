//! What time does to a secure channel. The links are pipes in memory, so that it can pass at will.

#![cfg(test)]

mod attic;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attic::{
    NOW,
    relay::{ANNA, Attic, BERT, Ends},
};
use kos_base::Timestamp;
use kos_identity::chain::{ChainError, Clock};
use kos_klp::channel::{CHANNEL_TIME_MAX, ChannelError, EXCHANGE_TIME_MAX};
use kos_net::{
    carrier::{About, Carrier, Link},
    channel::{ChannelFault, Judge, SecureLink, accept, open},
    frame::FRAME_BYTES_MAX,
};
use tokio::{io::duplex, time::Instant};

/// A pipe between two ends of links that were made for real.
fn pipe(near: About, far: About) -> (Link, Link) {
    let (left, right) = duplex(4 * FRAME_BYTES_MAX);
    let link = |io, about: About| Link::over_tls(io, about.remote, about.peer, about.facts);
    (link(left, near), link(right, far))
}

/// A channel whose ends judge dates by `clock`, in seconds.
async fn channel(attic: &mut Attic, clock: &Arc<AtomicU64>) -> (SecureLink, SecureLink) {
    let Ends { anna, bert, .. } = attic.link(Carrier::Tls).await;
    let (near, far) = pipe(anna.about.clone(), bert.about.clone());
    let judge = || {
        let clock = Arc::clone(clock);
        let now = move || Clock::Trusted(Timestamp::from_unix_s(clock.load(Ordering::Relaxed)));
        Judge { clock: Arc::new(now), ..attic.judge() }
    };
    let (own_anna, own_bert) = (attic.own(ANNA, &attic.anna), attic.own(BERT, &attic.bert));
    let (at_anna, at_bert, to) = (judge(), judge(), attic.identity(BERT));
    let (opened, accepted) =
        tokio::join!(open(near, &own_anna, &at_anna, &to), accept(far, &own_bert, &at_bert));
    (opened.unwrap(), accepted.unwrap())
}

#[tokio::test]
async fn a_relay_that_keeps_the_exchange_to_itself_is_given_up_in_time() {
    let mut attic = Attic::new().await;
    let Ends { anna, bert, .. } = attic.link(Carrier::Tls).await;
    let (near, mut far) = pipe(anna.about.clone(), bert.about.clone());
    let (own, judge, to) = (attic.own(ANNA, &attic.anna), attic.judge(), attic.identity(BERT));
    tokio::time::pause();
    let begun = Instant::now();
    let (opened, hello) = tokio::join!(open(near, &own, &judge, &to), far.receiver.recv());
    assert!(hello.unwrap().is_some());
    assert!(matches!(opened.map(|_| ()), Err(ChannelFault::Slow)));
    assert_eq!(begun.elapsed().as_secs(), EXCHANGE_TIME_MAX.as_secs());
}

#[tokio::test]
async fn a_channel_ends_after_a_day_whatever_the_clocks_say() {
    let mut attic = Attic::new().await;
    let clock = Arc::new(AtomicU64::new(NOW.unix_s()));
    let (mut anna, mut bert) = channel(&mut attic, &clock).await;
    tokio::time::pause();
    tokio::time::advance(CHANNEL_TIME_MAX - Duration::from_secs(60)).await;
    anna.sender.send(b"late").await.unwrap();
    assert_eq!(bert.receiver.recv().await.unwrap().unwrap(), b"late");
    tokio::time::advance(Duration::from_secs(61)).await;
    for end in [&mut anna, &mut bert] {
        let over = end.sender.send(b"too late").await.unwrap_err();
        assert!(matches!(over, ChannelFault::Channel(ChannelError::Over)), "{over:?}");
    }
}

#[tokio::test]
async fn a_channel_ends_with_the_certificate_of_either_end() {
    let mut attic = Attic::new().await;
    let clock = Arc::new(AtomicU64::new(NOW.unix_s()));
    let (mut anna, mut bert) = channel(&mut attic, &clock).await;
    let last = bert.peer().not_after().min(anna.peer().not_after()).unix_s();
    clock.store(last, Ordering::Relaxed);
    anna.sender.send(b"the last second counts in full").await.unwrap();
    clock.store(last + 1, Ordering::Relaxed);
    // Also what has arrived already.
    let fault = bert.receiver.recv().await.unwrap_err();
    assert!(matches!(fault, ChannelFault::Peer(ChainError::Expired { .. })), "{fault:?}");
    assert!(matches!(bert.sender.send(b"more").await, Err(ChannelFault::Ended)));
}
