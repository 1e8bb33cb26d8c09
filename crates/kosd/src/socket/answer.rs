//! One request, one answer.

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{CONTENT_TYPE, HeaderValue},
};
use kos_api::{
    Document, Kind, Problem,
    local::AnswerPairing,
    problem::PROBLEM_JSON,
    routes::{
        LOCAL_DECOMMISSION, LOCAL_IDENTITY, LOCAL_KILL_STATUS, LOCAL_PAIRING_ANSWER, LOCAL_PAIRING_LIST,
        LOCAL_STATUS, LOCAL_VOUCH,
    },
};
use kos_base::{Code, code};
use tokio::sync::{mpsc, oneshot};

use super::{BODY_BYTES_MAX, Question, peer::Standing};
use super::{kill, log};

pub(super) type Answer = Response<Full<Bytes>>;
/// Boxed: a problem is long, and most requests have none.
pub(super) type Refusal = Box<Problem>;

/// Never fails: whatever goes wrong is an answer, too.
pub(super) async fn answer<B>(
    standing: Standing,
    device: mpsc::Sender<Question>,
    request: Request<B>,
) -> Result<Answer, core::convert::Infallible>
where
    B: Body<Data: Send, Error: Into<Box<dyn core::error::Error + Send + Sync>>> + Send,
{
    let answered = match standing {
        Standing::Admitted => route(&device, request).await,
        Standing::Stranger => {
            let detail = "only root, the daemon's own user and the group kos are answered here";
            Err(Problem::new(code::config::NOT_SIGNED_IN).with_detail(detail).into())
        }
    };
    Ok(answered.unwrap_or_else(|problem| refusal(&problem)))
}

async fn route<B>(device: &mpsc::Sender<Question>, request: Request<B>) -> Result<Answer, Refusal>
where
    B: Body<Data: Send, Error: Into<Box<dyn core::error::Error + Send + Sync>>> + Send,
{
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path == LOCAL_STATUS.path && method == Method::GET {
        return document(ask(device, Question::Status).await?);
    }
    if path == LOCAL_IDENTITY.path && method == Method::GET {
        return document(ask(device, Question::Identity).await?.map_err(problem_of)?);
    }
    if path == LOCAL_DECOMMISSION.path && method == Method::POST {
        let only_plan = wants_plan(request.uri().query())?;
        let order = body(request).await?.unwrap_or_default();
        return match only_plan {
            true => document(ask(device, Question::PlanDecommission).await?.map_err(problem_of)?),
            false => {
                let done = ask(device, |reply| Question::Decommission(order, reply)).await?;
                document(done.map_err(problem_of)?)
            }
        };
    }
    if path == LOCAL_VOUCH.path && method == Method::POST {
        let asked = body(request).await?.ok_or_else(|| problem_of(code::config::BAD_REQUEST))?;
        let said = ask(device, |reply| Question::Vouch(asked, reply)).await?;
        return document(said.map_err(|no| Box::new(Problem::new(no.code).with_detail(no.detail)))?);
    }
    if path == LOCAL_PAIRING_LIST.path && method == Method::GET {
        return document(ask(device, Question::Pairings).await?);
    }
    if path == LOCAL_PAIRING_ANSWER.path && method == Method::POST {
        let said: Option<AnswerPairing> = body(request).await?;
        let said = said.ok_or_else(|| problem_of(code::config::BAD_REQUEST))?;
        let done = ask(device, |reply| Question::AnswerPairing(said, reply)).await?;
        return document(done.map_err(problem_of)?);
    }
    if path.starts_with("/api/v1/audit/") && method == Method::GET {
        return log::route(device, &path, request.uri().query()).await;
    }
    if path.starts_with(LOCAL_KILL_STATUS.path) {
        return kill::route(device, method, &path, request).await;
    }
    let known = [LOCAL_STATUS, LOCAL_IDENTITY, LOCAL_VOUCH, LOCAL_DECOMMISSION]
        .iter()
        .any(|route| route.path == path);
    let problem = Problem::new(code::config::NOT_FOUND).with_detail("a device has no such route");
    Err(Box::new(if known { problem.with_status(405) } else { problem }))
}

/// Whether the query is `dryRun=true`.
pub(super) fn wants_plan(query: Option<&str>) -> Result<bool, Refusal> {
    match query {
        None | Some("" | "dryRun=false") => Ok(false),
        Some("dryRun=true") => Ok(true),
        Some(_) => Err(Box::new(
            Problem::new(code::config::BAD_REQUEST).with_detail("the query may be `dryRun=true`"),
        )),
    }
}

/// The JSON object of a request, or nothing when it has none.
pub(super) async fn body<B, T>(request: Request<B>) -> Result<Option<T>, Refusal>
where
    T: serde::de::DeserializeOwned,
    B: Body<Data: Send, Error: Into<Box<dyn core::error::Error + Send + Sync>>> + Send,
{
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Problem::new(code::config::TOO_LARGE).with_status(413),
        None => Problem::new(code::config::BAD_REQUEST).with_detail("the body did not come"),
    })?;
    let bytes = body.to_bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Problem::new(code::config::BAD_REQUEST).with_detail(error.to_string()).into())
}

pub(super) async fn ask<T>(
    device: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<T>) -> Question,
) -> Result<T, Refusal> {
    let stopping = || Box::new(Problem::new(code::config::UNREACHABLE).with_detail("the daemon is stopping"));
    let (reply, answer) = oneshot::channel();
    device.send(question(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

pub(super) fn document<T: Kind>(item: T) -> Result<Answer, Refusal> {
    let json = serde_json::to_vec(&Document::new(item)).map_err(|_| Problem::new(code::config::INTERNAL))?;
    Ok(answer_of(StatusCode::OK, "application/json", json))
}

pub(super) fn problem_of(code: Code) -> Refusal {
    Problem::new(code).into()
}

fn refusal(problem: &Problem) -> Answer {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer_of(status, PROBLEM_JSON, serde_json::to_vec(problem).unwrap_or_default())
}

pub(super) fn answer_of(status: StatusCode, media: &'static str, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stranger_learns_nothing_and_asks_nothing() {
        let (device, mut questions) = mpsc::channel(1);
        let request = Request::builder().uri(LOCAL_STATUS.path).body(Full::<Bytes>::default()).unwrap();
        let answer = answer(Standing::Stranger, device, request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(questions.recv().await.is_none());
    }
}
