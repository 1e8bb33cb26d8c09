//! How people see attestations.

use kos_api::attestation::{Attestation, Golden, ListedEk, Verifier};

use super::{Form, Shown, column};
use crate::output::Column;

impl Shown for Attestation {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "attestations";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("evidence", "evidenceTier"),
        column("verified", "verifiedAt").looks(Form::Moment),
        column("by", "vouchedBy"),
        column("start", "golden"),
        column("ek", "ek"),
        column("pcrs", "pcrs").wide(),
        column("switched on", "resetCount").wide(),
        column("woken up", "restartCount").wide(),
    ];
}

impl Shown for ListedEk {
    const NAME: &'static str = "ek";
    const PLURAL: &'static str = "endorsement keys";
    const COLUMNS: &'static [Column<'static>] =
        &[column("ek", "ek"), column("note", "note"), column("added", "addedAt").looks(Form::Moment)];
}

impl Shown for Golden {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "golden sets";
    const COLUMNS: &'static [Column<'static>] = &[
        column("name", "name"),
        column("from", "deviceId"),
        column("added", "addedAt").looks(Form::Moment),
        column("pcrs", "pcrs").wide(),
    ];
}

impl Shown for Verifier {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "second verifiers";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("added", "addedAt").looks(Form::Moment),
        column("why not now", "hindrance"),
    ];
}
