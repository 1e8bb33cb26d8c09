//! How people see witnesses.

use kos_api::witness::{Witness, WitnessPolicy, WitnessedLog};

use crate::output::{Column, Form, Shown};

/// Shorter to read in the tables below.
const fn column(title: &'static str, path: &'static str) -> Column<'static> {
    Column::of(title, path)
}

impl Shown for Witness {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "witnesses";
    const COLUMNS: &'static [Column<'static>] = &[
        column("witness", "name"),
        column("state", "state").looks(Form::State),
        column("entries", "size"),
        column("cosigned", "cosignedAt").looks(Form::Moment),
        column("at", "url"),
        column("device", "deviceId"),
        column("trouble", "trouble"),
        column("added", "addedAt").looks(Form::Moment).wide(),
        column("key", "verifierKey").wide(),
    ];
}

impl Shown for WitnessPolicy {
    const NAME: &'static str = "threshold";
    const PLURAL: &'static str = "policies";
    const COLUMNS: &'static [Column<'static>] =
        &[column("asked for", "threshold"), column("of witnesses", "witnesses")];
}

impl Shown for WitnessedLog {
    const NAME: &'static str = "origin";
    const PLURAL: &'static str = "logs";
    const COLUMNS: &'static [Column<'static>] = &[
        column("log", "origin"),
        column("entries", "size"),
        column("cosigned", "cosignedAt").looks(Form::Moment),
        column("our key", "witnessKey"),
        column("its key", "verifierKey").wide(),
        column("added", "addedAt").looks(Form::Moment).wide(),
    ];
}
