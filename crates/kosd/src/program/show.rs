//! `kosd status` and `kosd id`.

use std::path::Path;

use kos_api::{local::DeviceStatus, routes::LOCAL_STATUS};
use kos_base::{Timestamp, code};
use kosd::{chain, config::Config, life, root::Root, socket::Asker};

use super::{Failure, print};

pub(super) async fn status(folder: &Path) -> Result<(), Failure> {
    let asker = Asker::connect(&root(folder)?.socket()).await?;
    let status: DeviceStatus = asker.ask(&LOCAL_STATUS, Vec::new()).await?;
    print(&lines(&status))
}

/// The device id alone, so that scripts can use it. Needs no running daemon.
pub(super) fn id(folder: &Path) -> Result<(), Failure> {
    let journal =
        life::remembered(&root(folder)?).map_err(|error| Failure::new(error.code(), chain(&error)))?;
    match journal.and_then(|journal| journal.membership) {
        Some(member) => print(&format!("{}\n", member.device)),
        None => Err(Failure::new(code::enrolment::NOT_ENROLLED, "")),
    }
}

/// Where the files are, by the configuration.
pub(super) fn root(folder: &Path) -> Result<Root, Failure> {
    let loaded = Config::load(&Root::config_file(folder));
    let loaded = loaded.map_err(|error| Failure::new(error.code(), error.to_string()))?;
    Ok(Root::new(folder, &loaded.config))
}

/// How far the log is, and how far it was delivered.
fn log_of(status: &DeviceStatus) -> Option<String> {
    let entries = status.log_entries?;
    Some(match status.log_delivered {
        Some(delivered) => format!("{entries} entries, {delivered} at the authority"),
        None => format!("{entries} entries"),
    })
}

fn lines(status: &DeviceStatus) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let at = |time: Option<Timestamp>| text(time.map(|time| time.to_string()));
    let mut lines = vec![
        ("device", text(status.device_id.as_ref().map(ToString::to_string))),
        ("name", text(status.name.as_ref().map(ToString::to_string))),
        ("state", status.state.to_string()),
        ("reason", text(status.state_reason.clone())),
        ("authority", text(status.authority.as_ref().map(ToString::to_string))),
        ("server", text(status.server.clone())),
        ("role", text(status.role.map(|role| role.to_string()))),
        ("profile", status.profile.to_string()),
        ("channel", status.channel.to_string()),
        ("kid", text(status.kid_subject.as_ref().map(ToString::to_string))),
        ("certificate", at(status.cert_not_after)),
        ("renewal", at(status.renew_at)),
        ("carrier", text(status.carrier.clone())),
        ("heartbeat", at(status.last_heartbeat_at)),
        ("log", text(log_of(status))),
        ("code", text(status.comparison_code.clone())),
    ];
    lines.extend(status.keys.iter().flat_map(|keys| {
        [
            ("keys", format!("encrypted, opened by {}", keys.opener)),
            ("  signing", keys.signing_keys.clone()),
            ("  helps", format!("against {}", keys.protects_against)),
            ("  not", format!("against {}", keys.not_against)),
            ("  rollback", keys.rollback.clone()),
        ]
    }));
    lines.extend(status.witness.iter().flat_map(|witness| {
        [
            (
                "cosigned",
                format!(
                    "{} entries, {}",
                    text(witness.size.map(|size| size.to_string())),
                    at(witness.cosigned_at)
                ),
            ),
            ("contradicts", witness.conflicts.to_string()),
        ]
    }));
    lines.extend(
        status.modules.iter().map(|one| ("module", format!("{} {}: {}", one.module, one.verdict, one.why))),
    );
    lines.extend(status.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines
        .iter()
        .map(|(name, value)| format!("{name:<12}{}\n", kos_base::text::printable(value, 400)))
        .collect()
}
