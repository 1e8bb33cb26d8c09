//! What every request passes before its handler: load, caller, rights, time; and what every answer carries.
//!
//! The rights are those that the route declares in [`kos_api::routes`]; there is no other check of who may call,
//! but that an alert is acknowledged by an administrator or a guardian (ALR-36), and what the security profile of a
//! device refuses it (POLS-20). After the rights comes the token, where the request came over TLS (TOK-9).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts as _, RawPathParams, Request, State},
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use kos_api::routes::{Caller, Effect, Object, REQUEST_ID, Route};
use kos_base::{Code, EntryId, code};
use kos_net::entropy;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    answer::Refusal,
    call::{self, Origin, Remote, RequestId, Who},
    token,
};
use crate::{authority::Shared, clock, policy};

/// Bounds the work at a time, over all routes.
#[derive(Clone, Debug)]
pub(super) struct Load {
    requests: Arc<Semaphore>,
    timeout: Duration,
}

impl Load {
    pub(super) fn new(requests_max: usize, timeout: Duration) -> Self {
        Self { requests: Arc::new(Semaphore::new(requests_max)), timeout }
    }
}

/// The gate in front of one route.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
    pub(super) load: Load,
    pub(super) route: &'static Route,
    /// Longest body, in bytes.
    pub(super) bytes_max: usize,
}

/// Lets the request through to its handler, or refuses it.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let id = RequestId(EntryId::from_parts(clock::now(), entropy::array().unwrap_or_default()));
    request.extensions_mut().insert(id);
    let answer = async {
        let _permit = gate.decide(&mut request).await?;
        let request = token::check(&gate, request).await?;
        Ok::<_, Refusal>(next.run(request).await)
    };
    let late = |_| Err(Refusal::new(code::config::OVERLOADED).saying("the answer took too long"));
    let outcome = timeout(gate.load.timeout, answer).await.unwrap_or_else(late);
    let mut response = outcome.unwrap_or_else(|refusal| refusal.under(id).into_response());
    if let Ok(value) = HeaderValue::from_str(&id.0.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    tracing::debug!(route = gate.route.name, status = response.status().as_u16(), request = %id.0, "answered");
    response
}

impl Gate {
    async fn decide(&self, request: &mut Request) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(&self.load.requests).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::new(code::config::OVERLOADED))?;
        let origin = request.extensions().get::<Origin>().cloned().unwrap_or(Origin::Nobody);
        let standing = match &origin {
            Origin::Peer(peer) => policy::standing_of(peer),
            _ => None,
        };
        let who = Who::of(&self.shared, origin).await?;
        if !self.route.admits(caller(&who, request).await) {
            let code = match who {
                Who::Nobody => code::config::NOT_SIGNED_IN,
                _ => code::access::NOT_ENTITLED,
            };
            self.count(request, code);
            let refusal = Refusal::new(code);
            return Err(match lacking(&who, self.route) {
                Some(why) => refusal.saying(&why),
                None => refusal,
            });
        }
        if let (Who::Device(device), Some(standing)) = (&who, standing) {
            let effect = match self.route.effect {
                Effect::Reads => kos_policy::Effect::Reads,
                Effect::Changes => kos_policy::Effect::Changes,
            };
            call::check(&self.shared, device, standing, kos_policy::Request::Call(effect))?;
        }
        request.extensions_mut().insert(who);
        request.extensions_mut().insert(self.route);
        Ok(permit)
    }

    /// Has a refusal recorded, against where the request came from.
    pub(super) fn count(&self, request: &Request, code: Code) {
        let source = request.extensions().get::<Remote>().map_or("this machine".to_owned(), Remote::source);
        self.shared.refusals.count(clock::now(), &source, code);
    }
}

/// What somebody lacks who is known, and as whom; nobody is to sign in first.
fn lacking(who: &Who, route: &Route) -> Option<String> {
    let known = match who {
        Who::Nobody => return None,
        Who::Operator(name, role) => format!("operator {name}, whose role is {}", role.as_str()),
        Who::LocalAdmin(_) | Who::Device(_) => who.label(),
    };
    let needs: Vec<_> = route.access.iter().map(|way| way.need()).collect();
    Some(format!("this needs {}; you are {known}", needs.join(" or ")))
}

/// The caller as the table of routes sees it. A device is asked whether it asks about itself, by its whole id.
async fn caller(who: &Who, request: &mut Request) -> Caller {
    let device = match who {
        Who::Nobody => return Caller::Anonymous,
        Who::LocalAdmin(_) => return Caller::LocalAdmin,
        Who::Operator(_, role) => return Caller::Operator(*role),
        Who::Device(device) => device,
    };
    let (mut parts, body) = std::mem::take(request).into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    *request = Request::from_parts(parts, body);
    let is_own = |(name, value): (&str, &str)| name == "device" && value == device.as_ref();
    let own = params.is_ok_and(|params| params.iter().any(is_own));
    Caller::Device(if own { Object::Own } else { Object::Other })
}
