//! Everything that listens: health and metrics, the administrator's socket, and the services behind them.
//!
//! [`serve`] runs all of it until it is told to stop, then lets open requests finish.

pub(crate) mod admin;
mod announce;
mod api;
mod caching;
pub(crate) mod closed;
mod doors;
mod front;
mod http;
mod pki;
mod web;
mod websocket;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::timeout};

use axum::routing::get;
use kos_net::carrier::WEBSOCKET_PATH;

pub(crate) use self::{
    api::{Streams, mirrors},
    doors::{Doors, Moves, doors},
};
use self::{
    doors::{Doorkeeper, Sockets},
    front::Front,
};
use crate::{
    alert,
    authority::{Listeners, Shared, StartError},
    clock,
    fleet::upkeep,
    mirror,
    reception::MisuseBook,
    revocation::Publisher,
    vault, witness,
    writer::Progress,
};

/// How long requests that were begun may take once the program is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Least time between two publications of the log's files.
const PUBLISH_PAUSE: Duration = Duration::from_millis(200);

/// Tells every connection that the program is to end.
pub(crate) type Stopping = watch::Receiver<bool>;

/// Ends when the program is to end.
pub(crate) async fn stopped(stopping: &mut Stopping) {
    // Who tells is gone only when everything is.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// Why it does not serve any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It was told to stop.
    Stopped,
    /// Its kill switch was fired, and everything is destroyed.
    Killed,
}

/// Serves until `stop` ends, or the kill switch was fired.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    listeners: Listeners,
    moves: Moves,
    stop: impl Future<Output = ()>,
) -> Result<Served, StartError> {
    let (tell, stopping) = watch::channel(false);
    let socket = admin::Socket::bind(&shared.home)?;
    let router = api::router(Arc::clone(shared));
    let misuse = Arc::new(MisuseBook::default());
    let front = Arc::new(Front::new(shared, Arc::clone(&misuse)).await?);
    let sockets = Sockets::with(listeners.tls, listeners.pki, &front)?;
    let doorkeeper = Doorkeeper {
        front: Arc::clone(&front),
        shared: Arc::clone(shared),
        router: router.clone().route(WEBSOCKET_PATH, get(websocket::switch)),
    };
    let mut tasks = JoinSet::new();
    let mut admin = JoinSet::new();
    admin.spawn(admin::serve(socket, router, stopping.clone()));
    tasks.spawn(web::serve(listeners.web, Arc::clone(shared), stopping.clone()));
    tasks.spawn(doorkeeper.keep(sockets, moves, stopping.clone()));
    tasks.spawn(announce::run(Arc::clone(shared), stopping));

    let mut services = JoinSet::new();
    let publisher = Publisher::new(Arc::clone(&shared.board), shared.writer.clone(), &shared.keys);
    services.spawn(publisher.run());
    services.spawn(upkeep::run(Arc::clone(shared), Arc::clone(&misuse)));
    services.spawn(vault::watch(Arc::clone(shared)));
    services.spawn(alert::watch(Arc::clone(shared)));
    services.spawn(alert::deliver(Arc::clone(shared)));
    services.spawn(mirror::run(Arc::clone(shared)));
    services.spawn(front.keep_fresh());
    let progress = shared.writer.progress();
    services.spawn(publish_log(Arc::clone(shared), progress));
    services.spawn(witness::run(Arc::clone(shared)));

    tokio::select! {
        () = stop => {}
        () = shared.kill.fired() => {
            let_go([&mut tasks, &mut services]).await;
            drop(timeout(GRACE, shared.search.close()).await);
            // A reader that does not let go is not waited for.
            drop(timeout(GRACE, shared.store.close()).await);
            shared.kill.destroy().await;
            tell.send_replace(true);
            // Whoever fired reads the report.
            drop(timeout(GRACE, async { while admin.join_next().await.is_some() {} }).await);
            return Ok(Served::Killed);
        }
    }
    tell.send_replace(true);
    let finish = async {
        while tasks.join_next().await.is_some() {}
        while admin.join_next().await.is_some() {}
    };
    if timeout(GRACE, finish).await.is_err() {
        tracing::warn!("requests that were still open are cut");
    }
    tasks.shutdown().await;
    admin.shutdown().await;
    services.shutdown().await;
    vault::close(shared).await;
    let written = upkeep::write_heartbeats(shared).await;
    upkeep::close_books(shared, &misuse, clock::now()).await?;
    written?;
    Ok(Served::Stopped)
}

/// Ends all of them. One that hangs in hardware is not waited for.
async fn let_go(mut sets: [&mut JoinSet<()>; 2]) {
    sets.iter_mut().for_each(|tasks| tasks.abort_all());
    let ended = async {
        for tasks in sets {
            while tasks.join_next().await.is_some() {}
        }
    };
    drop(timeout(GRACE, ended).await);
}

/// Publishes the log's files whenever it has grown or was cosigned.
async fn publish_log(shared: Arc<Shared>, mut progress: watch::Receiver<Progress>) {
    let mut published = 0;
    loop {
        match shared.log_files.publish(&shared.store, published).await {
            Ok(size) => published = size,
            Err(error) => tracing::error!(%error, "the log's files could not be written"),
        }
        tokio::time::sleep(PUBLISH_PAUSE).await;
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            () = shared.witnessing.cosigned.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests;
