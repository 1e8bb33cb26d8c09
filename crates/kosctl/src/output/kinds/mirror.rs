//! How people see the targets of copies of the log.

use kos_api::mirror::Mirror;

use super::{Form, Shown, column};
use crate::output::Column;

impl Shown for Mirror {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "copies of the log";
    const COLUMNS: &'static [Column<'static>] = &[
        column("copy", "name"),
        column("at", "target"),
        column("state", "state"),
        column("entries", "size"),
        column("missing", "lagEntries"),
        column("newest", "pushedAt").looks(Form::Moment),
        column("failing since", "failingSince").looks(Form::Moment),
        column("trouble", "trouble"),
    ];
}
