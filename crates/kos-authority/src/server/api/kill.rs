//! The kill switch: what is asked for is checked here, and done by [`crate::kill`].

use std::sync::Arc;

use axum::{extract::State, response::Response};
use kos_api::{
    kill::{ArmKill, FireKill},
    plan::Plan,
    problem::Party,
};

use super::{
    answer::{Refusal, document},
    call::{Call, Context, Mode, RequestId},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{authority::Shared, clock, kill::KillFault};

type Shares = State<Arc<Shared>>;

pub(super) async fn status(State(shared): Shares, _: Context) -> Result<Response, Refusal> {
    Ok(document(shared.kill.status(&shared.name, clock::now()).await))
}

pub(super) async fn arm(State(shared): Shares, call: Call<Demanded<ArmKill>>) -> Result<Response, Refusal> {
    let ArmKill { program } = *call.body.get()?;
    if call.mode == Mode::Plan {
        let mut effects =
            vec!["log: kill_armed".to_owned(), "a code is shown once, which fires for 10 minutes".to_owned()];
        effects.extend(shared.kill.admit_arming(&shared, program).await.map_err(told(call.id))?);
        return Ok(planned(&shared, &call, effects));
    }
    let (id, actor) = (call.id, call.who.actor());
    let armed = apart(id, async move { shared.kill.arm(&shared, actor, program).await });
    Ok(document(armed.await?))
}

pub(super) async fn disarm(State(shared): Shares, call: Call<Nothing>) -> Result<Response, Refusal> {
    if call.mode == Mode::Plan {
        let armed = shared.kill.admit_firing(&shared).await.is_ok();
        let effects = armed.then(|| "log: kill_disarmed".to_owned()).into_iter().collect();
        return Ok(planned(&shared, &call, effects));
    }
    let (id, actor, own) = (call.id, call.who.actor(), Arc::clone(&shared));
    apart(id, async move { own.kill.disarm(&own, actor).await }).await?;
    Ok(document(shared.kill.status(&shared.name, clock::now()).await))
}

pub(super) async fn fire(State(shared): Shares, call: Call<Demanded<FireKill>>) -> Result<Response, Refusal> {
    let code = call.body.get()?.code.clone();
    if call.mode == Mode::Plan {
        let mut effects = vec!["log: kill_fired, its last entry".to_owned()];
        effects.extend(shared.kill.admit_firing(&shared).await.map_err(told(call.id))?);
        return Ok(planned(&shared, &call, effects));
    }
    let (id, actor) = (call.id, call.who.actor());
    let report = apart(id, async move { shared.kill.fire(&shared, actor, code.expose()).await });
    Ok(document(report.await?))
}

/// Does it to its end, even if whoever asked goes away.
async fn apart<T: Send + 'static>(
    id: RequestId,
    work: impl Future<Output = Result<T, KillFault>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or(Err(KillFault::Ended)).map_err(told(id))
}

fn told(id: RequestId) -> impl Fn(KillFault) -> Refusal {
    move |fault| Refusal::new(fault.code()).saying(&fault.to_string()).under(id)
}

fn planned<T>(shared: &Shared, call: &Call<T>, effects: Vec<String>) -> Response {
    let object = Some(Party::new("authority", &shared.name));
    document(Plan { action: call.route.name.to_owned(), object, changes: Vec::new(), effects })
}
