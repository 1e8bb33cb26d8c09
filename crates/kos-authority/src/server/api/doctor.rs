//! The authority examines itself: each check is something that an operator can mend.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use kos_api::doctor::{Check, Doctor};
use kos_audit::SignedCheckpoint;
use kos_base::Timestamp;
use kos_identity::certificate::Certificate;
use kos_secret_memory::{SecretMemory, Shelter};

use super::answer::{Refusal, document};
use crate::{
    alert::BEHIND_MAX,
    authority::Shared,
    clock,
    store::StoreError,
    vault::{Deed, REHEARSAL_MAX, VAULTS_MAX},
    witness::Standing,
};

/// Free space on the disk below which something is wrong; a busy fleet writes that much in a day.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How long before its end the certificate of a CA is to be replaced.
const CA_LEFT_MIN: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far the newest entry may be ahead of the clock, which is corrected now and then.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// How old the newest witnessed checkpoint may be: longer than a log is quiet without being cosigned again.
const WITNESSED_AGE_MAX: Duration = Duration::from_secs(1_800);

pub(super) async fn examine(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let now = clock::now();
    let checks = vec![
        log(&shared, now).await,
        log_files(&shared).await,
        witnesses(&shared, now).await,
        keys(&shared, now).await,
        certificates(&shared, now),
        revocation_lists(&shared, now),
        disk(&shared),
        reach(&shared),
        vaults(&shared, now).await,
        key_memory(SecretMemory::new().kind()),
        recovery(&shared, now).await,
        alerts(&shared).await,
        guardians(&shared, now).await,
        mirrors(&shared).await,
        device_logs(&shared),
    ];
    Ok(document(Doctor::of(checks)))
}

/// The logs of devices are taken, and their copies have what was anchored.
fn device_logs(shared: &Shared) -> Check {
    let trouble = shared.device_logs.trouble();
    match trouble.is_empty() {
        true => Check::good("device-logs", "nothing is in the way of those that came since the start"),
        false => Check::bad("device-logs", trouble.join("; "), "docs/guide/device-logs.md"),
    }
}

/// The newest checkpoint is there, is ours, and is not from the future.
async fn log(shared: &Shared, now: Timestamp) -> Check {
    let fix = "stop the authority, keep a copy of DATA as it is, and follow docs/guide/backup.md";
    let read = shared.store.log_state().await;
    let verified = read.map_err(|e: StoreError| e.to_string()).and_then(|state| {
        let text = state.map(|state| state.checkpoint).unwrap_or_default();
        let signed = SignedCheckpoint::parse(&text).map_err(|e| e.to_string())?;
        let verified = signed.verify(shared.log.key(), &[]).map_err(|e| e.to_string())?;
        Ok((verified.checkpoint().head.size, verified.checkpoint().time))
    });
    match verified {
        Ok((size, time)) if time <= now.plus(CLOCK_SLACK) => {
            Check::good("audit-log", format!("{size} entries, signed {time}"))
        }
        Ok((_, time)) => {
            let found = format!("the newest entry is of {time}, the clock says {now}");
            Check::bad("audit-log", found, "set the clock")
        }
        Err(why) => Check::bad("audit-log", why, fix),
    }
}

/// What others fetch is what the store holds.
async fn log_files(shared: &Shared) -> Check {
    let fix = "look whether the disk is full or read-only; the files are written again by themselves";
    let published = match shared.log_files.checkpoint() {
        Ok(Some(text)) => SignedCheckpoint::parse(&text).ok(),
        Ok(None) => None,
        Err(error) => return Check::bad("log-files", error.to_string(), fix),
    };
    let size = published.and_then(|signed| {
        signed.verify(shared.log.key(), &[]).ok().map(|verified| verified.checkpoint().head.size)
    });
    let written = shared.writer.progress().borrow().log_size;
    match size {
        Some(size) if size <= written => {
            Check::good("log-files", format!("{size} of {written} entries published"))
        }
        Some(size) => {
            Check::bad("log-files", format!("{size} entries published, {written} in the store"), fix)
        }
        None => Check::bad("log-files", "there is no checkpoint that this authority signed", fix),
    }
}

/// The witnesses cosign, and none of them holds another tree; and this one cosigns the logs that it should.
async fn witnesses(shared: &Shared, now: Timestamp) -> Check {
    let fix = "kosctl audit witness list, and docs/guide/witness.md";
    let read = async {
        let size = shared.store.log_state().await?.map_or(0, |state| state.size);
        let standing = Standing::of(&shared.store, &shared.log).await?;
        Ok::<_, StoreError>((standing, size, shared.store.witnessed_logs().await?.len()))
    };
    let (standing, size, logs) = match read.await {
        Ok(read) => read,
        Err(error) => return Check::bad("witnesses", error.to_string(), fix),
    };
    let shown = super::witnesses::standing(&standing, size, now);
    let (mut trouble, proofs) = shared.cosigner.trouble(logs);
    if proofs > 0 {
        trouble.push(format!("{proofs} proofs that a log signed two trees: DATA/authority/witness"));
    }
    if !shown.disagreeing.is_empty() {
        trouble.push(shown.summary.clone());
    } else if shown.witnesses > 0 {
        let late = standing.witnessed.is_none_or(|(_, at)| now.since(at) > WITNESSED_AGE_MAX);
        if late && now.since(shared.started_at) > WITNESSED_AGE_MAX {
            trouble.push(shown.summary.clone());
        }
        trouble.extend((!shown.lost.is_empty()).then(|| format!("no answer from {}", shown.lost.join(", "))));
    }
    match trouble.is_empty() {
        true => Check::good("witnesses", shown.summary),
        false => Check::bad("witnesses", trouble.join("; "), fix),
    }
}

/// The next start will find its keys, and they are those of this one.
async fn keys(shared: &Arc<Shared>, now: Timestamp) -> Check {
    let fix = "before the authority stops: bring back what is named; see docs/guide/keys.md";
    let keep = shared.keep.clone();
    let looked = tokio::task::spawn_blocking(move || keep.look(now));
    match looked.await {
        Ok(Ok(protection)) => {
            Check::good("keys", format!("open by {}, safe from {}", protection.opener, protection.against))
        }
        Ok(Err(error)) => Check::bad("keys", error.to_string(), fix),
        Err(error) => Check::bad("keys", error.to_string(), fix),
    }
}

/// No CA is about to run out.
fn certificates(shared: &Shared, now: Timestamp) -> Check {
    let [one, two] = &shared.keys.issuing_certificates;
    let ends = [&shared.keys.root_certificate, one, two].map(Certificate::not_after);
    let first = ends.into_iter().min().unwrap_or(now);
    if first > now.plus(CA_LEFT_MIN) {
        return Check::good("ca-certificates", format!("valid until {first}"));
    }
    let fix = "plan for a new authority: devices have to be enrolled under its root before this date";
    Check::bad("ca-certificates", format!("the first runs out at {first}"), fix)
}

/// Every CA has a list that counts.
fn revocation_lists(shared: &Shared, now: Timestamp) -> Check {
    let view = shared.board.view();
    let ends: Vec<_> = view.lists().map(|list| list.next_update()).collect();
    let first = ends.iter().min().copied().unwrap_or(now);
    let cas = shared.keys.issuing_certificates.len() + 1;
    if ends.len() == cas && first > now {
        return Check::good("revocation-lists", format!("{cas} lists, valid until {first}"));
    }
    let found = format!("{} of {cas} lists, the first runs out at {first}", ends.len());
    Check::bad("revocation-lists", found, "look for `could not be published` in the log of the program")
}

fn disk(shared: &Shared) -> Check {
    match rustix::fs::statvfs(shared.home.folder()) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let shown = format!("{} MiB free", free / (1024 * 1024));
            if free >= FREE_BYTES_MIN {
                Check::good("disk", shown)
            } else {
                Check::bad(
                    "disk",
                    shown,
                    "make room where DATA is; only what is critical is recorded on a full disk",
                )
            }
        }
        Err(error) => Check::bad("disk", error.to_string(), "look whether DATA is still mounted"),
    }
}

/// Others can find what is said about certificates.
fn reach(shared: &Shared) -> Check {
    let place = shared.place.borrow().clone();
    let address = place.address;
    match (&place.advertise, address.is_loopback()) {
        (Some(name), _) => Check::good("reach", format!("listens on {address}, known as {name}")),
        (None, true) => Check::good("reach", "this machine only"),
        (None, false) => {
            let found =
                format!("listens on {address} without a name: certificates do not say where lists are");
            Check::bad("reach", found, "kosctl authority listen ADDR --advertise NAME")
        }
    }
}

/// Every vault has the file that it should have.
async fn vaults(shared: &Arc<Shared>, now: Timestamp) -> Check {
    let fix = "keep the file as evidence, and put the newest good copy of it in its place below DATA/authority/vaults";
    let anchors = match shared.store.anchors(VAULTS_MAX).await {
        Ok(anchors) => anchors,
        Err(error) => return Check::bad("vaults", error.to_string(), fix),
    };
    let (mut refused, count) = (Vec::new(), anchors.len());
    for anchor in anchors {
        match Deed::own(shared, anchor.environment.clone(), now).trouble().await {
            Ok(None) => {}
            Ok(Some(code)) => refused.push(format!("`{}` is refused: {}", anchor.environment, code.title())),
            Err(error) => refused.push(format!("`{}`: {error}", anchor.environment)),
        }
    }
    match refused.is_empty() {
        true => Check::good("vaults", format!("{count} vaults")),
        false => Check::bad("vaults", refused.join(", "), fix),
    }
}

/// Keys of vaults do not get to a swap device. Asked by taking such memory, as an open vault would.
fn key_memory(shelter: Shelter) -> Check {
    let shown = format!("{}: {}", shelter.name(), shelter.detail());
    match shelter {
        Shelter::Memfd | Shelter::Locked => Check::good("key-memory", shown),
        Shelter::Nothing(_) => {
            Check::bad("key-memory", shown, "raise LimitMEMLOCK= of the service, or `ulimit -l`")
        }
    }
}

/// Whoever holds shares has shown not long ago that they recover the vault.
async fn recovery(shared: &Shared, now: Timestamp) -> Check {
    let fix = "kosctl vault rehearse --env ENVIRONMENT, with the holders of the shares";
    let anchors = match shared.store.anchors(VAULTS_MAX).await {
        Ok(anchors) => anchors,
        Err(error) => return Check::bad("recovery", error.to_string(), fix),
    };
    let shared_ones = anchors.iter().filter_map(|anchor| Some((anchor, &anchor.sharing.as_ref()?.public)));
    let (mut due, mut count) = (Vec::new(), 0);
    for (anchor, sharing) in shared_ones {
        count += 1;
        match sharing.rehearsed_at {
            None => due.push(format!("`{}` was never rehearsed", anchor.environment)),
            Some(at) if now.since(at) > REHEARSAL_MAX => {
                due.push(format!("`{}` was last rehearsed at {at}", anchor.environment));
            }
            Some(_) => {}
        }
    }
    match due.is_empty() {
        true => Check::good("recovery", format!("{count} vaults have shares that were rehearsed")),
        false => Check::bad("recovery", due.join(", "), fix),
    }
}

/// Alerts were seen, and are raised by the rules that somebody signed.
async fn alerts(shared: &Shared) -> Check {
    let fix = "kosctl audit alerts list --open, look at each, and acknowledge: kosctl audit alerts ack ID";
    if let Some(code) = shared.alerts.refused() {
        let found = format!("the built-in rules are in force: {}", code.title());
        return Check::bad("alerts", found, code.fix());
    }
    match shared.store.engine_state().await {
        Ok(state) => {
            let behind = shared
                .writer
                .progress()
                .borrow()
                .log_size
                .saturating_sub(state.map_or(0, |state| state.next));
            if behind > BEHIND_MAX {
                let found = format!("the rules have not looked at the last {behind} entries of the log");
                return Check::bad("alerts", found, "look at the authority's own output, and restart it");
            }
        }
        Err(error) => return Check::bad("alerts", error.to_string(), fix),
    }
    match shared.store.count_open_alerts().await {
        Ok(0) => Check::good("alerts", "none that nobody has seen"),
        Ok(open) => Check::bad("alerts", format!("{open} that nobody has seen"), fix),
        Err(error) => Check::bad("alerts", error.to_string(), fix),
    }
}

/// Somebody is told of alerts, and could be told.
async fn guardians(shared: &Shared, now: Timestamp) -> Check {
    let fix = "kosctl guardian list, then look whether each runs: kosctl audit alerts test NAME";
    let guardians = match super::guardians::all(shared).await {
        Ok(guardians) => guardians,
        Err(error) => return Check::bad("guardians", error.to_string(), fix),
    };
    let patience = shared.settings.alert_undelivered();
    let is_lost = |since: Option<Timestamp>| since.is_some_and(|since| now.since(since) >= patience);
    let lost: Vec<_> = guardians
        .iter()
        .filter(|guardian| is_lost(guardian.failing_since))
        .map(|guardian| {
            format!("`{}` is not told: {}", guardian.name, guardian.trouble.as_deref().unwrap_or(""))
        })
        .collect();
    match (guardians.len(), lost.is_empty(), shared.place.borrow().address.is_loopback()) {
        // Whoever could do harm sits at this machine.
        (0, _, true) => Check::good("guardians", "none: nobody is told of alerts (kosctl guardian add)"),
        (0, _, false) => Check::bad("guardians", "none: nobody is told of alerts", "kosctl guardian add"),
        (count, true, _) => Check::good("guardians", format!("{count}, none out of reach for long")),
        (_, false, _) => Check::bad("guardians", lost.join(", "), fix),
    }
}

/// Copies of the log have what they should.
async fn mirrors(shared: &Shared) -> Check {
    let fix = "kosctl audit mirror list says why; look at the disk or server, then: kosctl audit mirror push";
    let all = match super::mirrors::all(shared).await {
        Ok(all) => all,
        Err(error) => return Check::bad("mirrors", error.to_string(), fix),
    };
    let trouble: Vec<_> = all
        .iter()
        .filter_map(|mirror| Some(format!("`{}`: {}", mirror.name, mirror.trouble.as_deref()?)))
        .collect();
    match (all.len(), trouble.is_empty()) {
        (0, _) => Check::good("mirrors", "none: copies of the log are pulled, or not there"),
        (count, true) => Check::good("mirrors", format!("{count}, and each is written")),
        (_, false) => Check::bad("mirrors", trouble.join(", "), fix),
    }
}
