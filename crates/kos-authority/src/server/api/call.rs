//! Who calls and what they send.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
};
use kos_api::{
    operator::OperatorRole,
    routes::{IDEMPOTENCY_KEY, Route},
};
use kos_base::{DeviceId, EntryId, Name, code, digest::sha256_parts};
use kos_identity::{certificate::PeerIdentity, chain::VerifiedPeer, registry::Actor};
use kos_net::accept::source_of;
use kos_policy::{Credential, Entrance, Standing, decide};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use zeroize::Zeroize as _;

use super::answer::Refusal;
use crate::{authority::Shared, clock, policy, store::Digest};

/// How a request came in. The listener knows; nothing in the request can say so.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Nobody said who they are.
    Nobody,
    /// The socket: the server's own user, root, or group `kos`; the user's name.
    LocalAdmin(String),
    /// The socket: anybody else.
    LocalStranger,
    /// TLS with a certificate of ours.
    Peer(Arc<VerifiedPeer>),
}

/// From which address a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) IpAddr);

impl Remote {
    /// As whom refusals count it.
    pub(super) fn source(&self) -> String {
        source_of(self.0).to_string()
    }
}

/// Who calls, as known at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Nobody,
    LocalAdmin(String),
    Operator(Name, OperatorRole),
    Device(DeviceId),
}

impl Who {
    /// Asks again for every request: a certificate that was revoked since the handshake says nothing.
    pub(super) async fn of(shared: &Shared, origin: Origin) -> Result<Self, Refusal> {
        let peer = match origin {
            Origin::Nobody | Origin::LocalStranger => return Ok(Self::Nobody),
            Origin::LocalAdmin(user) => return Ok(Self::LocalAdmin(user)),
            Origin::Peer(peer) => peer,
        };
        let valid = peer.check_revocation(&shared.board.view());
        valid.map_err(|e| Refusal::new(e.code()))?;
        if peer.not_after() <= clock::now() {
            return Err(Refusal::new(code::certificate::CERT_EXPIRED));
        }
        match peer.identity() {
            PeerIdentity::Operator { .. } => {
                let known = shared.store.operator_by_key(peer.key_id()).await?;
                Ok(match known.filter(|operator| !operator.removed) {
                    Some(operator) => Self::Operator(operator.name, operator.role),
                    None => Self::Nobody,
                })
            }
            PeerIdentity::Device { device, .. } => {
                let known = shared.store.device(device).await?;
                let key = peer.key_id();
                let in_service = known.filter(|held| {
                    held.is_admitted() && held.credential.as_ref().is_some_and(|c| c.key.id() == key)
                });
                if let (Some(held), Some(standing)) = (&in_service, policy::standing_of(&peer)) {
                    let shown = Credential::Certificate { record: held.profile() };
                    check(shared, &held.id, standing, kos_policy::Request::Enter(Entrance::Api, shown))?;
                }
                Ok(in_service.map_or(Self::Nobody, |held| Self::Device(held.id)))
            }
            PeerIdentity::Authority { .. } => Ok(Self::Nobody),
        }
    }

    /// The actor of what this caller does.
    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Nobody => Actor::Unknown(String::new()),
            Self::LocalAdmin(user) => Actor::LocalUser(user.clone()),
            Self::Operator(name, _) => Actor::Operator(name.clone()),
            Self::Device(device) => Actor::Device(device.clone()),
        }
    }

    /// Whether names and addresses of people are for them to see (AUD-88).
    pub(super) const fn sees_names(&self) -> bool {
        match self {
            Self::LocalAdmin(_) => true,
            Self::Operator(_, role) => matches!(role, OperatorRole::Admin),
            Self::Nobody | Self::Device(_) => false,
        }
    }

    /// Their name, as other people know it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Nobody => String::new(),
            Self::LocalAdmin(user) => user.clone(),
            Self::Operator(name, _) => name.to_string(),
            Self::Device(device) => device.to_string(),
        }
    }

    /// What tells one caller from another.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::LocalAdmin(user) => format!("local {user}"),
            Self::Operator(name, _) => format!("operator {name}"),
            Self::Device(device) => format!("device {device}"),
        }
    }
}

/// Whether the security profile of a device allows something; if not, that is counted.
pub(super) fn check(
    shared: &Shared,
    device: &DeviceId,
    standing: Standing,
    request: kos_policy::Request,
) -> Result<(), Refusal> {
    decide(standing, request).check().map_err(|refused| {
        shared.policy.count(device, refused);
        Refusal::new(refused.code()).saying(&refused.to_string()).about("device", device)
    })
}

/// The id of a request: in its answer, its problem and the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) EntryId);

/// A request that changes something: its body, and how it is to be carried out.
#[derive(Debug)]
pub(crate) struct Call<T> {
    pub(crate) who: Who,
    pub(crate) route: &'static Route,
    pub(crate) id: RequestId,
    pub(crate) mode: Mode,
    /// The version that the caller has seen.
    pub(crate) if_match: Option<String>,
    pub(crate) repeatable: Option<Repeatable>,
    pub(crate) body: T,
}

/// Whether a change is made or only planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Do,
    Plan,
}

/// A request that came with an `Idempotency-Key`.
#[derive(Clone, Debug)]
pub(crate) struct Repeatable {
    /// Under which the answer is kept.
    pub(super) request: Digest,
    /// What the key was used for.
    pub(super) digest: Digest,
    /// Seals the answer in the store, which knows the key's digest only: some answers hold a secret.
    pub(super) seal: Digest,
}

/// Longest `Idempotency-Key`, in characters.
const KEY_CHARS_MAX: usize = 64;

impl<T, S> FromRequest<S> for Call<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let context = Context::from_request_parts(&mut parts, state).await?;
        let query = Query::<kos_api::plan::ChangeQuery>::from_request_parts(&mut parts, state).await;
        let query = query.map_err(|e| context.bad(&e.body_text()))?;
        let method_and_path = format!("{} {}", parts.method, parts.uri);
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().map(str::to_owned));
        let key = header(IDEMPOTENCY_KEY)
            .transpose()
            .map_err(|_| context.bad("the Idempotency-Key is not ASCII"))?;
        let if_match = header("if-match").transpose().map_err(|_| context.bad("If-Match is not ASCII"))?;
        let (body, bytes) = read(Request::from_parts(parts, body), state, &context).await?;
        let repeatable = key.map(|key| repeatable(&context, &key, &method_and_path, &bytes)).transpose()?;
        // Of some routes nothing is kept, not even a hash.
        let repeatable = repeatable.filter(|_| context.route.is_repeatable());
        wipe(bytes);
        let Context { who, route, id } = context;
        let mode = if query.dry_run.unwrap_or(false) { Mode::Plan } else { Mode::Do };
        Ok(Self { who, route, id, mode, if_match, repeatable, body })
    }
}

/// The body of a request that only reads.
#[derive(Debug)]
pub(super) struct Body<T> {
    pub(super) who: Who,
    pub(super) id: RequestId,
    pub(super) body: T,
}

impl<T> Body<T> {
    /// Who asks, under which id.
    pub(super) const fn by(&self) -> (&Who, RequestId) {
        (&self.who, self.id)
    }
}

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let context = Context::from_request_parts(&mut parts, state).await?;
        let (body, bytes) = read(Request::from_parts(parts, body), state, &context).await?;
        wipe(bytes);
        Ok(Self { who: context.who, id: context.id, body })
    }
}

/// The body, read, and its bytes; without one, the default.
async fn read<T, S>(request: Request, state: &S, context: &Context) -> Result<(T, Bytes), Refusal>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
{
    let bytes = Bytes::from_request(request, state).await;
    let bytes = bytes.map_err(|e| {
        let too_large = e.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE;
        let code = if too_large { code::config::TOO_LARGE } else { code::config::BAD_REQUEST };
        Refusal::new(code).with_status(e.status().as_u16()).under(context.id)
    })?;
    let body = if bytes.is_empty() {
        Ok(T::default())
    } else {
        serde_json::from_slice(&bytes).map_err(|e| context.bad(&wrong_with(&e)))
    };
    match body {
        Ok(body) => Ok((body, bytes)),
        Err(refusal) => {
            wipe(bytes);
            Err(refusal)
        }
    }
}

/// A body may hold a secret. What the connection read it into is not ours to wipe, unless nobody else has it.
fn wipe(body: Bytes) {
    if let Ok(mut bytes) = body.try_into_mut() {
        bytes.zeroize();
    }
}

/// What is wrong with a body. What stands where something else should be is not repeated, since it may be a secret; the
/// names of fields are.
fn wrong_with(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let field =
        ["unknown field", "missing field", "duplicate field"].iter().any(|start| said.starts_with(start));
    if field {
        return said;
    }
    let what = match error.classify() {
        Category::Syntax | Category::Eof => "this is not JSON",
        Category::Data | Category::Io => "this is not what belongs here",
    };
    format!("{what}: line {} column {}", error.line(), error.column())
}

fn repeatable(context: &Context, key: &str, asked: &str, body: &[u8]) -> Result<Repeatable, Refusal> {
    if !(1..=KEY_CHARS_MAX).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(context.bad("the Idempotency-Key has 1 to 64 visible ASCII characters"));
    }
    let caller = context.who.label();
    let under = |domain| sha256_parts(domain, [caller.as_bytes(), key.as_bytes()]);
    Ok(Repeatable {
        request: under("kos idempotency id v1"),
        seal: under("kos idempotency seal v1"),
        // With the key, or whoever has the store could guess what stands in the request: a name, say.
        digest: sha256_parts("kos idempotency request v2", [key.as_bytes(), asked.as_bytes(), body]),
    })
}

/// Who calls what, for requests that only read.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(crate) who: Who,
    pub(crate) route: &'static Route,
    pub(crate) id: RequestId,
}

impl Context {
    /// The request is malformed.
    pub(super) fn bad(&self, why: &str) -> Refusal {
        Refusal::new(code::config::BAD_REQUEST).saying(&kos_base::text::printable(why, 300)).under(self.id)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let found = (parts.extensions.get(), parts.extensions.get(), parts.extensions.get());
        match found {
            (Some(who), Some(route), Some(id)) => {
                Ok(Self { who: Who::clone(who), route: *route, id: RequestId::clone(id) })
            }
            // Only a route that was mounted past the gate gets here.
            _ => Err(Refusal::new(code::config::INTERNAL)),
        }
    }
}

/// The query of a request that reads; a field that does not exist is refused.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let context = Context::from_request_parts(parts, state).await?;
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|e| context.bad(&e.body_text()))
    }
}
