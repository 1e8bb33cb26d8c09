//! Lets devices on the local network find the authority, while it listens beyond loopback.

use std::sync::Arc;

use kos_net::discovery::{Advertisement, Interfaces};

use super::{Stopping, stopped};
use crate::authority::Shared;

/// Advertises until the program stops, then says goodbye.
pub(super) async fn run(shared: Arc<Shared>, mut stopping: Stopping) {
    let mut place = shared.place.subscribe();
    let mut shown: Option<Advertisement> = None;
    loop {
        let wanted = !place.borrow_and_update().address.is_loopback();
        if wanted && shown.is_none() {
            let pin = shared.keys.root.public().id();
            match Advertisement::start(&Interfaces::AllButLoopback, &shared.name, pin, shared.ports.tls) {
                Ok(advertisement) => shown = Some(advertisement),
                Err(error) => tracing::warn!(%error, "devices cannot find this authority by themselves"),
            }
        }
        if !wanted && let Some(advertisement) = shown.take() {
            advertisement.end().await;
        }
        tokio::select! {
            () = stopped(&mut stopping) => break,
            // The sender is in what is shared, which this holds.
            _ = place.changed() => {}
        }
    }
    if let Some(advertisement) = shown {
        advertisement.end().await;
    }
}
