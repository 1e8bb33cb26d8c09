//! Targets of copies of the log over the API: named, listed, pushed to, removed.
//!
//! Source: `docs/spec/audit.md` AUD-77 to AUD-79.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    mirror::{AddMirror, Mirror as Item, MirrorState, MirrorStatus, MirrorTarget},
    plan::Plan,
    problem::Party,
};
use kos_audit::Label;
use kos_base::{code, text::printable};
use kos_net::entropy;
use tokio::time::{Instant, sleep};

use super::{
    answer::{Refusal, document, page},
    call::{Body, Call, Context, Mode, Who},
    change::{Attempt, commit, given_before},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    alert::sink,
    authority::Shared,
    clock,
    mirror::{self, Login, Mirror, Target},
    record::SystemChange,
    store::StoreError,
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Most targets: each has a worker, and gets every byte of the log.
const MIRRORS_MAX: usize = 8;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest name and password with which the authority signs in, in bytes.
const LOGIN_BYTES_MAX: usize = 1_024;
/// How long a push that was asked for is waited for, and how often it is looked at.
const PUSH_TIME_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn list(State(shared): Shares, context: Context) -> Result<Response, Refusal> {
    Ok(page(for_whom(&context.who, &shared).await?, None))
}

/// Every target as this caller may see it: the path of a web address may be what lets one in, and what went wrong there may
/// repeat it.
async fn for_whom(who: &Who, shared: &Shared) -> Result<Vec<Item>, StoreError> {
    let mirrors = shared.store.mirrors().await?;
    let seen = mirrors.iter().map(|mirror| {
        let item = view(shared, mirror);
        if who.sees_names() {
            return item;
        }
        let trouble = item.trouble.map(|_| "it could not be written".to_owned());
        Item { target: mirror.target.place().to_owned(), trouble, ..item }
    });
    Ok(seen.collect())
}

/// Every target and how it stands.
pub(super) async fn all(shared: &Shared) -> Result<Vec<Item>, StoreError> {
    Ok(shared.store.mirrors().await?.iter().map(|mirror| view(shared, mirror)).collect())
}

/// How all of them stand.
pub(crate) async fn status(shared: &Shared) -> Result<MirrorStatus, StoreError> {
    let all = all(shared).await?;
    let is_behind = |item: &&Item| matches!(item.state, MirrorState::Behind | MirrorState::Refused);
    Ok(MirrorStatus {
        targets: u64::try_from(all.len()).unwrap_or(u64::MAX),
        behind: u64::try_from(all.iter().filter(is_behind).count()).unwrap_or(u64::MAX),
        lag_entries: all.iter().filter_map(|item| item.lag_entries).max(),
    })
}

fn view(shared: &Shared, mirror: &Mirror) -> Item {
    let standing = shared.mirrors.standing(&mirror.name);
    let size = shared.writer.progress().borrow().log_size;
    Item {
        name: mirror.name.clone(),
        target: mirror.target.address().to_owned(),
        added_at: mirror.added_at,
        state: match &standing {
            standing if standing.refused => MirrorState::Refused,
            standing if standing.failing_since.is_some() => MirrorState::Behind,
            standing if standing.size.is_some() => MirrorState::Current,
            _ => MirrorState::Unknown,
        },
        size: standing.size,
        lag_entries: standing.size.map(|there| size.saturating_sub(there)),
        pushed_at: standing.pushed_at,
        failing_since: standing.failing_since,
        trouble: standing.trouble,
    }
}

pub(super) async fn add(State(shared): Shares, call: Call<Demanded<AddMirror>>) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let wanted = call.body.get()?;
    let invalid =
        |why: &str| Refusal::new(code::audit::LOG_TARGET).saying(&printable(why, 300)).under(call.id);
    let name = wanted.name.clone();
    if name.len() > NAME_CHARS_MAX || name.parse::<Label>().is_err() || name.contains('/') {
        return Err(invalid("a name has 1 to 64 visible ASCII characters, and no slash"));
    }
    let taken = || Refusal::new(code::audit::LOG_TARGET_EXISTS).about("mirror", &name).under(call.id);
    let held = shared.store.mirrors().await?;
    let target = target(&shared, &call, wanted).await.map_err(|refusal| refusal.under(call.id))?;
    let is_same = |mirror: &Mirror| mirror.name == name || mirror.target.address() == target.address();
    if held.iter().any(is_same) {
        return Err(taken());
    }
    if held.len() >= MIRRORS_MAX {
        return Err(invalid(&format!("there are {MIRRORS_MAX} targets already")));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, &name, "log: mirror_added")));
    }
    let now = clock::now();
    let mirror = Mirror { name: name.clone(), added_at: now, target };
    let shown = view(&shared, &mirror);
    let change = SystemChange::MirrorAdded { name: name.clone(), target: mirror.target.place().to_owned() };
    let transaction = Transaction {
        at: now,
        actor: call.who.actor(),
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![SystemWrite::Mirror(Box::new(mirror))],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.mirrors.tell();
            Ok(response)
        }
        Attempt::Conflict => Err(taken()),
    }
}

/// What is kept of where a target is.
async fn target<T>(shared: &Arc<Shared>, call: &Call<T>, wanted: &AddMirror) -> Result<Target, Refusal> {
    let invalid = |why: &str| Refusal::new(code::audit::LOG_TARGET).saying(&printable(why, 300));
    match &wanted.target {
        MirrorTarget::Folder { path } => {
            let (folder, data) = (PathBuf::from(path), shared.home.folder().to_owned());
            let (key, begin) = (shared.log.key().clone(), call.mode == Mode::Do);
            let looked =
                tokio::task::spawn_blocking(move || mirror::check_folder(&folder, &data, &key, begin)).await;
            let looked = looked.map_err(|_| Refusal::new(code::config::INTERNAL))?;
            looked.map_err(|why| invalid(&why))?;
            Ok(Target::Folder { path: path.clone() })
        }
        MirrorTarget::Web { url, ca, user, password } => {
            let place = mirror::address(url).map_err(|error| invalid(&error.to_string()))?;
            place.check().await.map_err(|error| invalid(&error.to_string()))?;
            ca.as_deref().map_or(Ok(()), sink::check_ca).map_err(|error| invalid(&error.to_string()))?;
            let login = match (user, password) {
                (None, None) => None,
                (Some(user), Some(password)) => {
                    let fits = |text: &str| (1..=LOGIN_BYTES_MAX).contains(&text.len());
                    if !fits(user) || !fits(password.expose()) || user.contains([':', '\r', '\n']) {
                        return Err(invalid("name and password have 1 to 1024 bytes, and the name no colon"));
                    }
                    let nonce = entropy::array().map_err(|e| Refusal::new(e.code()))?;
                    let sealed =
                        mirror::seal_password(&shared.keys.store, &wanted.name, password.expose(), nonce);
                    let sealed = sealed.ok_or_else(|| Refusal::new(code::config::INTERNAL))?;
                    Some(Login { user: user.clone(), sealed })
                }
                _ => return Err(invalid("a name and its password come together")),
            };
            Ok(Target::Web { url: url.clone(), ca: ca.clone(), login })
        }
    }
}

pub(super) async fn remove(
    State(shared): Shares,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let unknown = || {
        Refusal::new(code::audit::LOG_NO_SUCH_TARGET).about("mirror", &printable(&name, 64)).under(call.id)
    };
    let held = shared.store.mirrors().await?;
    let mirror = held.into_iter().find(|mirror| mirror.name == name).ok_or_else(unknown)?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, &name, "log: mirror_removed")));
    }
    let shown = view(&shared, &mirror);
    let address = mirror.target.place().to_owned();
    let transaction = Transaction {
        at: clock::now(),
        actor: call.who.actor(),
        changes: vec![SystemChange::MirrorRemoved { name: name.clone(), target: address }.into()],
        writes: Vec::new(),
        system: vec![SystemWrite::NoMirror(name.clone())],
        answer: None,
    };
    match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
        Attempt::Done(_, response) => {
            shared.mirrors.tell();
            Ok(response)
        }
        Attempt::Conflict => Err(unknown()),
    }
}

/// Has every target looked at now, and waits until each has what the log had when this was asked, or could not be
/// written.
pub(super) async fn push(State(shared): Shares, asked: Body<Nothing>) -> Result<Response, Refusal> {
    let (who, _) = asked.by();
    let (began, size) = (Instant::now(), shared.writer.progress().borrow().log_size);
    let at = clock::now();
    shared.mirrors.tell();
    loop {
        let all = all(&shared).await?;
        let settled = |item: &Item| {
            item.size.is_some_and(|there| there >= size)
                || (item.failing_since.is_some_and(|since| since < at) && began.elapsed() > LOOK * 20)
                || item.state == MirrorState::Refused
        };
        if all.iter().all(settled) || began.elapsed() > PUSH_TIME_MAX {
            return Ok(page(for_whom(who, &shared).await?, None));
        }
        sleep(LOOK).await;
    }
}

fn plan<T>(call: &Call<T>, name: &str, effect: &str) -> Plan {
    Plan {
        action: call.route.name.to_owned(),
        object: Some(Party::new("mirror", &name)),
        changes: Vec::new(),
        effects: vec![effect.to_owned()],
    }
}
