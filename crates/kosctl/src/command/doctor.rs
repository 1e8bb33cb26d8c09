//! An examination: can the server be reached, do the clocks agree, and what does the server find in itself?

use core::time::Duration;

use kos_api::{
    authority::Status,
    doctor::{Check, Doctor},
    local::DeviceStatus,
    routes,
};
use kos_base::{DeviceState, Timestamp};

use super::status::{Peer, ask};
use crate::{
    Fault, clock,
    session::{Ending, Session},
};

/// How far two clocks may differ before certificates and tickets suffer.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// After how long without a heartbeat something is wrong; three are missing then.
const SILENCE_MAX: Duration = Duration::from_secs(200);

pub(crate) async fn run(session: &Session) -> Result<Ending, Fault> {
    let checks = examine(session).await;
    let doctor = Doctor::of(checks);
    session.printer.item(&doctor)?;
    Ok(Ending::judged(doctor.ok))
}

async fn examine(session: &Session) -> Vec<Check> {
    let reached = async {
        let client = session.client()?;
        let peer = ask(&client).await?;
        Ok::<_, Fault>((client, peer))
    };
    let (client, peer) = match reached.await {
        Ok(reached) => reached,
        Err(fault) => {
            let failure = fault.failure();
            return vec![Check::bad("server", failure.detail.unwrap_or(failure.title), failure.fix)];
        }
    };
    let mut checks = vec![Check::good("server", client.server().to_string())];
    match peer {
        Peer::Authority(status) => {
            checks.extend(of_authority(&status));
            match client.show::<Doctor>(&routes::DOCTOR, &[]).await {
                Ok(own) => checks.extend(own.checks),
                Err(fault) => {
                    let failure = fault.failure();
                    checks.push(Check::bad("examination", failure.title, failure.fix));
                }
            }
        }
        Peer::Device(status) => checks.extend(of_device(&status, clock::now())),
    }
    checks
}

fn of_authority(status: &Status) -> [Check; 2] {
    let ours = env!("CARGO_PKG_VERSION");
    let version = match status.version == ours {
        true => Check::good("version", ours),
        false => Check::bad(
            "version",
            format!("the server is {}, kosctl is {ours}", status.version),
            "update the older of the two programs",
        ),
    };
    let now = clock::now();
    let skew = now.since(status.now).max(status.now.since(now));
    let clocks = match skew <= SKEW_MAX {
        true => Check::good("clocks", format!("{} s apart", skew.as_secs())),
        false => Check::bad("clocks", format!("{} s apart", skew.as_secs()), "set both clocks"),
    };
    [version, clocks]
}

fn of_device(status: &DeviceStatus, now: Timestamp) -> Vec<Check> {
    let state = match status.state {
        DeviceState::Active | DeviceState::RenewalDue => Check::good("state", status.state.as_str()),
        other => {
            let why = status.state_reason.as_deref().unwrap_or("no reason is known");
            Check::bad("state", format!("{other}: {why}"), "kosctl status")
        }
    };
    let heartbeat = match status.last_heartbeat_at {
        Some(at) if now.since(at) <= SILENCE_MAX => Check::good("heartbeat", at.to_string()),
        Some(at) => {
            Check::bad("heartbeat", format!("the last was at {at}"), "check the way to the authority")
        }
        None => Check::bad("heartbeat", "there was none yet", "check the way to the authority"),
    };
    let certificate = match status.cert_not_after {
        Some(end) if end > now => Check::good("certificate", format!("until {end}")),
        Some(end) => {
            Check::bad("certificate", format!("ended at {end}"), "reach the authority: it recovers by itself")
        }
        None => Check::bad("certificate", "there is none", "kosd enroll"),
    };
    let warnings =
        status.warnings.iter().map(|w| Check::bad("warning", w, "mend config.yaml, or live with it"));
    [state, heartbeat, certificate].into_iter().chain(warnings).collect()
}
