//! The loopback port: whether the authority lives, whether it is ready, and its metrics.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{Extensions, StatusCode},
    response::IntoResponse,
    routing::get,
};
use kos_net::accept::{Gate, Limits, serve as accept};
use tokio::net::TcpListener;

use super::{
    Stopping,
    http::{Version, serve_connection},
    stopped,
};
use crate::{authority::Shared, clock, metrics};

/// A machine's own monitors need a few connections.
const LIMITS: Limits = Limits { waiting_max: 64, waiting_per_source_max: 64, established_max: 64 };

/// Accepts until the program stops.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stopping: Stopping) {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(shared);
    let stop = stopping.clone();
    let handle = move |stream, _, permit| {
        let (router, stopping) = (router.clone(), stop.clone());
        async move {
            serve_connection(stream, Version::Http1, router, Extensions::new(), stopping).await;
            drop(permit);
        }
    };
    let mut stopping = stopping;
    tokio::select! {
        () = accept(listener, Gate::new(LIMITS), handle) => {}
        () = stopped(&mut stopping) => {}
    }
}

/// It lives when it answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// It is ready when the store answers.
async fn readyz(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match shared.store.log_state().await {
        Ok(Some(_)) => (StatusCode::OK, "ready\n".to_owned()),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "the log has not begun\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.code())),
    }
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    match metrics::page(&shared, clock::now()).await {
        Ok(text) => (StatusCode::OK, [("content-type", metrics::CONTENT_TYPE)], text),
        Err(error) => {
            let text = format!("# {}\n", error.code());
            (StatusCode::SERVICE_UNAVAILABLE, [("content-type", metrics::CONTENT_TYPE)], text)
        }
    }
}
