//! Figures for Prometheus, in its text format. Labels have few and fixed values.

use std::fmt::Write as _;

use kos_base::{DeviceState, Timestamp};

use crate::{authority::Shared, server::mirrors, store::StoreError};

/// The type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A figure, or several that differ in a label.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

const BUILD: Family =
    Family { name: "kos_build_info", kind: "gauge", help: "1, with the version as a label." };
const START: Family = Family {
    name: "kos_start_time_seconds",
    kind: "gauge",
    help: "When the authority started, in Unix seconds.",
};
const DEVICES: Family = Family { name: "kos_devices", kind: "gauge", help: "Devices by recorded state." };
const ONLINE: Family = Family {
    name: "kos_devices_online",
    kind: "gauge",
    help: "Devices that have missed fewer than three heartbeats.",
};
const ENTRIES: Family =
    Family { name: "kos_log_entries_total", kind: "counter", help: "Entries of the audit log." };

const MIRRORS: Family = Family {
    name: "kos_log_mirrors",
    kind: "gauge",
    help: "Targets of copies of the log, and those that are not written.",
};
const MIRROR_LAG: Family = Family {
    name: "kos_log_mirror_lag_entries",
    kind: "gauge",
    help: "Entries that the copy furthest behind does not have; absent while nobody knows.",
};
const LINKS: Family = Family { name: "kos_links_open", kind: "gauge", help: "Open KLP links." };

/// All of them, for the reference page.
const ALL: [&Family; 8] = [&BUILD, &START, &DEVICES, &ONLINE, &LINKS, &ENTRIES, &MIRRORS, &MIRROR_LAG];

impl Family {
    fn write(&self, page: &mut String, values: impl IntoIterator<Item = (String, u64)>) {
        let Self { name, kind, help } = self;
        // Writing to a String cannot fail.
        let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let _ = writeln!(page, "{name}{labels} {value}");
        }
    }
}

/// The page at `now`.
pub(crate) async fn page(shared: &Shared, now: Timestamp) -> Result<String, StoreError> {
    let counted = shared.store.count_devices().await?;
    let by_state = |state: &DeviceState| {
        let count = counted.iter().find(|(found, _)| found == state).map_or(0, |(_, count)| *count);
        (format!("{{state=\"{state}\"}}"), count)
    };
    let one = |value: u64| [(String::new(), value)];
    let mut page = String::new();
    BUILD.write(&mut page, [(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1)]);
    START.write(&mut page, one(shared.started_at.unix_s()));
    DEVICES.write(&mut page, DeviceState::ALL.iter().map(by_state));
    ONLINE.write(&mut page, one(shared.presence.count_online(now)));
    LINKS.write(&mut page, one(u64::try_from(shared.links.len()).unwrap_or(u64::MAX)));
    ENTRIES.write(&mut page, one(shared.writer.progress().borrow().log_size));
    let mirrors = mirrors::status(shared).await?;
    let states = [("written", mirrors.targets - mirrors.behind), ("behind", mirrors.behind)];
    MIRRORS.write(&mut page, states.map(|(state, count)| (format!("{{state=\"{state}\"}}"), count)));
    MIRROR_LAG.write(&mut page, mirrors.lag_entries.map(|lag| (String::new(), lag)));
    Ok(page)
}

/// The reference page: every figure in a table, in Markdown.
pub fn reference() -> String {
    let mut page = "# Metrics\n\nServed at `/metrics` on the loopback port.\n\n| name | type | meaning |\n|---|---|---|\n".to_owned();
    for Family { name, kind, help } in ALL {
        // As above.
        let _ = writeln!(page, "| `{name}` | {kind} | {help} |");
    }
    page
}
