//! A message to a device of the fleet, over its link. It is told when the device has acknowledged it.
//!
//! Source: ALR-39; `docs/spec/klp.md` KLP-85 to KLP-88.

use data_encoding::HEXLOWER;
use kos_audit::alert::Severity;
use kos_base::{Code, DeviceId};
use kos_klp::body;

use super::SinkError;
use crate::{alert::Notice, authority::Shared};

pub(super) async fn send(shared: &Shared, device: &DeviceId, notice: &Notice) -> Result<(), SinkError> {
    let said = body::write(&message(notice)?);
    let answer = shared.links.alert(device, said).map_err(|_| SinkError::NoLink)?;
    match answer.await {
        Ok(0) => Ok(()),
        Ok(status) => {
            let known = Code::all().find(|code| code.number() == status);
            let said = known.map_or_else(|| status.to_string(), |code| format!("{code} {}", code.title()));
            Err(SinkError::Refused(said))
        }
        Err(_) => Err(SinkError::LinkEnded),
    }
}

fn message(notice: &Notice) -> Result<body::Alert, SinkError> {
    let internal = |what: &str| SinkError::Internal(format!("{what} of the alert does not fit"));
    let id = HEXLOWER.decode(notice.id.as_str().as_bytes()).ok().and_then(|id| id.try_into().ok());
    // A summary has 200 characters, which may be more bytes than that.
    let summary = body::DetailText::cut(&notice.summary);
    Ok(body::Alert {
        id: id.ok_or_else(|| internal("the id"))?,
        rule: notice.rule.parse().map_err(|_| internal("the rule"))?,
        severity: match notice.severity {
            Severity::Low => 0,
            Severity::Medium => 1,
            Severity::High => 2,
            Severity::Critical => 3,
        },
        summary,
        count: notice.count,
        at: notice.at,
        index: notice.index,
    })
}
