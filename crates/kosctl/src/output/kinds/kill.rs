//! How people see the kill switch.

use kos_api::kill::{KillArmed, KillNotice, KillReport, KillStatus};

use super::{Column, Form, Section, Shown, column};

impl Shown for KillStatus {
    const NAME: &'static str = "state";
    const PLURAL: &'static str = "kill switches";
    const COLUMNS: &'static [Column<'static>] = &[
        column("subject", "subject"),
        column("name", "name"),
        column("state", "state"),
        column("until", "expiresAt").looks(Form::Moment),
        column("program", "program"),
        column("wrong codes", "wrongCodes"),
    ];
}

impl Shown for KillArmed {
    const NAME: &'static str = "code";
    const PLURAL: &'static str = "armings";
    const COLUMNS: &'static [Column<'static>] = &[
        column("subject", "subject"),
        column("name", "name"),
        column("code", "code"),
        column("until", "expiresAt").looks(Form::Moment),
        column("program", "program"),
        column("would go", "targets"),
    ];
}

impl Shown for KillReport {
    const NAME: &'static str = "complete";
    const PLURAL: &'static str = "reports";
    const COLUMNS: &'static [Column<'static>] = &[
        column("subject", "subject"),
        column("name", "name"),
        column("complete", "complete").looks(Form::Good),
        column("fired", "firedAt").looks(Form::Moment),
        column("recorded", "recorded").looks(Form::Good),
        column("log entry", "auditIndex"),
        column("notice", "notice"),
        column("notified", "notified"),
        column("program", "program"),
        column("remaining", "remaining"),
    ];
    const SECTIONS: &'static [Section] =
        &[Section::of("targets", &[column("target", "path"), column("assurance", "assurance")])];
}

impl Shown for KillNotice {
    const NAME: &'static str = "ok";
    const PLURAL: &'static str = "notices";
    const COLUMNS: &'static [Column<'static>] = &[
        column("ok", "ok").looks(Form::Good),
        column("subject", "subject"),
        column("name", "name"),
        column("authority", "authority"),
        column("fired", "firedAt").looks(Form::Moment),
        column("key", "keyId"),
        column("program", "program"),
        column("log entry", "auditIndex"),
        column("checkpoint", "checkpoint").looks(Form::Lines),
        column("failures", "failures"),
    ];
}
