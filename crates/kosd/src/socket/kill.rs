//! The routes of the kill switch.

use hyper::{Method, Request, body::Body};
use kos_api::{
    Kind, Problem,
    kill::{ArmKill, FireKill},
    plan::Plan,
    routes::{LOCAL_KILL_ARM, LOCAL_KILL_DISARM, LOCAL_KILL_FIRE, LOCAL_KILL_STATUS},
};
use kos_base::code;
use tokio::sync::{mpsc, oneshot};

use super::{
    KillQuestion, Question,
    answer::{Answer, Refusal, ask, body, document, wants_plan},
};
use crate::life::Refused;

pub(super) async fn route<B>(
    device: &mpsc::Sender<Question>,
    method: Method,
    path: &str,
    request: Request<B>,
) -> Result<Answer, Refusal>
where
    B: Body<Data: Send, Error: Into<Box<dyn core::error::Error + Send + Sync>>> + Send,
{
    let only_plan = wants_plan(request.uri().query())?;
    let asked = |question| Question::Kill(question);
    if path == LOCAL_KILL_STATUS.path && method == Method::GET {
        return document(ask(device, |reply| asked(KillQuestion::Status(reply))).await?);
    }
    if path == LOCAL_KILL_ARM.path && method == Method::POST {
        let order: ArmKill = demanded(body(request).await?)?;
        return match only_plan {
            true => answered::<Plan>(device, |reply| KillQuestion::PlanArm(order, reply)).await,
            false => answered(device, |reply| KillQuestion::Arm(order, reply)).await,
        };
    }
    if path == LOCAL_KILL_DISARM.path && method == Method::DELETE {
        return match only_plan {
            true => answered::<Plan>(device, KillQuestion::PlanDisarm).await,
            false => answered(device, KillQuestion::Disarm).await,
        };
    }
    if path == LOCAL_KILL_FIRE.path && method == Method::POST {
        let order: FireKill = demanded(body(request).await?)?;
        return match only_plan {
            true => answered::<Plan>(device, KillQuestion::PlanFire).await,
            false => answered(device, |reply| KillQuestion::Fire(order, reply)).await,
        };
    }
    let routes = [LOCAL_KILL_STATUS, LOCAL_KILL_ARM, LOCAL_KILL_FIRE];
    let known = routes.iter().any(|route| route.path == path);
    let problem = Problem::new(code::config::NOT_FOUND).with_detail("a device has no such route");
    Err(Box::new(if known { problem.with_status(405) } else { problem }))
}

fn demanded<T>(body: Option<T>) -> Result<T, Refusal> {
    body.ok_or_else(|| Problem::new(code::config::BAD_REQUEST).with_detail("there is no body").into())
}

async fn answered<T: Kind>(
    device: &mpsc::Sender<Question>,
    question: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> KillQuestion,
) -> Result<Answer, Refusal> {
    let answer = ask(device, |reply| Question::Kill(question(reply))).await?;
    document(answer.map_err(|Refused { code, detail }| Problem::new(code).with_detail(detail))?)
}
