//! How people see alerts, their rules and guardians.

use kos_api::alert::{Alert, AlertRules, Guardian, GuardianTest};

use super::{Form, Section, Shown, column};
use crate::output::Column;

impl Shown for Alert {
    const NAME: &'static str = "alertId";
    const PLURAL: &'static str = "alerts";
    const COLUMNS: &'static [Column<'static>] = &[
        column("alert", "alertId"),
        column("severity", "severity"),
        column("rule", "rule"),
        column("when", "at").looks(Form::Moment),
        column("count", "count"),
        column("since", "since"),
        column("state", "state").looks(Form::State),
        column("about", "about.type"),
        column("id", "about.id"),
        column("meaning", "summary").wide(),
        column("unseen before", "unseen").wide(),
        column("entries", "entries").wide(),
        column("log entry", "index").wide(),
        column("acknowledged", "acknowledgedAt").looks(Form::Moment).wide(),
        column("by", "acknowledgedBy.id").wide(),
    ];
    const SECTIONS: &'static [Section] = &[Section::of(
        "deliveries",
        &[
            column("guardian", "guardian"),
            column("delivered", "deliveredAt").looks(Form::Moment),
            column("attempts", "attempts"),
            column("trouble", "trouble"),
        ],
    )];
}

impl Shown for AlertRules {
    const NAME: &'static str = "counter";
    const PLURAL: &'static str = "rules";
    const COLUMNS: &'static [Column<'static>] = &[
        column("number", "counter"),
        column("digest", "digest"),
        column("refused", "refused"),
        column("not in force", "removed"),
    ];
    const SECTIONS: &'static [Section] = &[Section::of(
        "rules",
        &[
            column("rule", "name"),
            column("severity", "severity"),
            column("when", "when"),
            column("quiet", "quietSeconds").looks(Form::Seconds),
            column("origin", "origin"),
            column("meaning", "summary"),
        ],
    )];
}

impl Shown for Guardian {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "guardians";
    const COLUMNS: &'static [Column<'static>] = &[
        column("guardian", "name"),
        column("kind", "kind"),
        column("address", "address"),
        column("waiting", "waiting"),
        column("last told", "lastDeliveredAt").looks(Form::Moment),
        column("failing since", "failingSince").looks(Form::Moment),
        column("trouble", "trouble"),
        column("added", "addedAt").looks(Form::Moment).wide(),
    ];
}

impl Shown for GuardianTest {
    const NAME: &'static str = "guardian";
    const PLURAL: &'static str = "tests";
    const COLUMNS: &'static [Column<'static>] = &[
        column("guardian", "guardian"),
        column("took it", "ok").looks(Form::Good),
        column("trouble", "trouble"),
        column("notice", "alertId"),
    ];
}
