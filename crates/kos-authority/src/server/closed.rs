//! The parts of the server that a closed authority uses as well.

use axum::{Router, extract::Request, http::Extensions};
use kos_api::routes::Route;
use kos_base::{EntryId, code};
use kos_net::entropy;
use tokio::net::TcpStream;

pub(crate) use super::api::{Call, Mode, Refusal, document};
use super::{
    Stopping,
    api::{Origin, RequestId, Who},
    http::{self, Version},
};
use crate::clock;

/// Notes who calls, as the gate of an open authority does; on this socket only its administrator may.
pub(crate) fn label(request: &mut Request, route: &'static Route) -> Result<(), Refusal> {
    let Some(Origin::LocalAdmin(user)) = request.extensions().get::<Origin>().cloned() else {
        return Err(Refusal::new(code::config::NOT_SIGNED_IN));
    };
    let id = RequestId(EntryId::from_parts(clock::now(), entropy::array().unwrap_or_default()));
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(Who::LocalAdmin(user));
    request.extensions_mut().insert(route);
    Ok(())
}

/// One connection of plain HTTP/1.1.
pub(crate) async fn serve_connection(
    stream: TcpStream,
    router: Router,
    known: Extensions,
    stopping: Stopping,
) {
    http::serve_connection(stream, Version::Http1, router, known, stopping).await;
}
