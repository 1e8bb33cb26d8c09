//! What a restored authority serves until it is opened: health on loopback, and one request on the local socket.
//!
//! No TLS port, no list, no OCSP answer: whatever it could say about a certificate might be wrong. Nothing is written
//! before the request that opens it.

use std::{fs, future::Future, net::Ipv4Addr, path::Path, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{Extensions, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use kos_api::{backup::OpenRestored, plan::Plan, problem::Party, routes::RESTORE_OPEN};
use kos_base::code;
use kos_net::accept::{Gate, Limits, serve as accept};
use tokio::sync::{Mutex, watch};

use super::{
    Restoration, RestoreError,
    open::{Knowledge, Opening},
};
use crate::{
    authority::{self, Home, Options, StartError},
    clock, files,
    keys::Keys,
    log::{LogFiles, LogSigner},
    server::{
        admin,
        closed::{Call, Mode, Refusal, document, label, serve_connection},
    },
    settings::{PORT_BASE, Settings},
    store::{self, Store, StoreLock},
    writer::Writer,
};

/// How waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The authority may be opened as any other.
    Opened,
    /// The program is to end.
    Stopped,
}

const LIMITS: Limits = Limits { waiting_max: 64, waiting_per_source_max: 64, established_max: 64 };

/// A closed authority.
struct Closed {
    home: Home,
    restoration: Restoration,
    keys: Keys,
    log: LogSigner,
    store: Store,
    writer: Writer,
    /// One attempt at a time.
    turn: Mutex<()>,
    opened: watch::Sender<bool>,
}

/// Waits, closed, until an administrator opens the authority in `options.data` or `stop` ends. `ready` is called once
/// the local socket listens.
///
/// # Errors
/// As for opening any authority.
pub async fn wait(
    options: &Options,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&Restoration),
) -> Result<Ended, StartError> {
    let home = Home::below(&options.data);
    crate::kill::check(&home, options.credentials.as_deref()).await?;
    let settings = Settings::read(&home.settings())?;
    authority::make_folders(&home)?;
    let lock = StoreLock::take(home.folder())?;
    let Some(restoration) = Restoration::of(&home)? else { return Ok(Ended::Opened) };
    let (keys, _) = home.keep(&settings, options.credentials.as_deref()).open(clock::now())?;
    // New hardware often begins in 1970, and what opening signs stays.
    authority::check_issuers(&keys.issuing_certificates, clock::now())?;
    let (store, half) = store::open(&home.store(), &keys.store).await?;
    let files = LogFiles::new(home.log()).map_err(|e| StartError::file(&home.log(), &e))?;
    let published = files.published().map_err(|e| StartError::file(&home.log(), &e))?;
    let name = restoration.authority.clone();
    let log = authority::log_signer(&name, &keys, clock::now())?;
    let (writer, writing) =
        Writer::start(half, &store, name, log.clone(), published.as_deref(), |_| {}).await?;

    let base = options.port_base.or(settings.port_base).unwrap_or(PORT_BASE);
    let web = authority::listen(Ipv4Addr::LOCALHOST.into(), base).await?;
    let socket = admin::Socket::bind(&home)?;
    let (opened, is_open) = watch::channel(false);
    let (tell, stopping) = watch::channel(false);
    let turn = Mutex::new(());
    let closed = Arc::new(Closed { home, restoration, keys, log, store, writer, turn, opened });
    ready(&closed.restoration);

    let router = router(&closed);
    let serving = tokio::spawn(admin::serve(socket, router, stopping.clone()));
    let health = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(not_ready));
    let answer = move |stream, _, permit| {
        let (router, stopping) = (health.clone(), stopping.clone());
        async move {
            serve_connection(stream, router, Extensions::new(), stopping).await;
            drop(permit);
        }
    };
    let mut opened = is_open;
    let ended = tokio::select! {
        () = accept(web, Gate::new(LIMITS), answer) => Ended::Stopped,
        () = stop => Ended::Stopped,
        _ = opened.wait_for(|open| *open) => Ended::Opened,
    };
    tell.send_replace(true);
    // What was asked is answered first.
    let _ = serving.await;
    closed.store.close().await;
    drop(closed);
    writing.finished().await?;
    drop(lock);
    Ok(ended)
}

async fn not_ready() -> (StatusCode, &'static str) {
    (StatusCode::SERVICE_UNAVAILABLE, "restored and closed: kosctl backup restore\n")
}

fn router(closed: &Arc<Closed>) -> Router {
    Router::new()
        .route(RESTORE_OPEN.path, post(open))
        .fallback(refuse)
        .layer(middleware::from_fn(who))
        .with_state(Arc::clone(closed))
}

/// The socket's own rule is the only one here: whoever is not its administrator gets no answer.
async fn who(mut request: Request, next: Next) -> Response {
    match label(&mut request, &RESTORE_OPEN) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn refuse(State(closed): State<Arc<Closed>>) -> Refusal {
    let Restoration { backup_at, backup_size, .. } = &closed.restoration;
    let detail = format!("its state is of {backup_at}, its log has {backup_size} entries");
    Refusal::new(code::store::RESTORED_CLOSED).saying(&detail)
}

async fn open(State(closed): State<Arc<Closed>>, call: Call<OpenRestored>) -> Result<Response, Refusal> {
    let id = call.id;
    // Carried to its end even when the caller goes away.
    let opening = tokio::spawn(closed.carry_out(call));
    opening.await.map_err(|_| Refusal::new(code::config::INTERNAL))?.map_err(|error| {
        tracing::error!(%error, "the authority stays closed");
        Refusal::new(error.code()).saying(&error.to_string()).under(id)
    })
}

impl Closed {
    async fn carry_out(self: Arc<Self>, call: Call<OpenRestored>) -> Result<Response, RestoreError> {
        let _turn = self.turn.lock().await;
        let opening = Opening {
            name: &self.restoration.authority,
            store: &self.store,
            writer: &self.writer,
            keys: &self.keys,
            log: &self.log,
            restoration: &self.restoration,
            now: clock::now(),
            actor: call.who.actor(),
        };
        let OpenRestored { log, against, declare_loss } = call.body;
        let knowledge = match (log, declare_loss) {
            (Some(folder), false) => opening.check(Path::new(&folder), against).await?,
            (None, true) if against.is_none() => Knowledge::Lost,
            _ => return Err(RestoreError::Undecided),
        };
        if call.mode == Mode::Plan {
            let effects = opening.effects(&knowledge).await?;
            let action = call.route.name.to_owned();
            let object = Some(Party::new("authority", &self.restoration.authority));
            return Ok(document(Plan { action, object, changes: Vec::new(), effects }));
        }
        let outcome = opening.open(knowledge).await?;
        let mark = self.home.restored();
        let failed = |e: std::io::Error| StartError::file(&mark, &e);
        fs::remove_file(&mark).map_err(failed)?;
        files::sync_folder(self.home.folder()).map_err(failed)?;
        self.opened.send_replace(true);
        Ok(document(outcome))
    }
}
