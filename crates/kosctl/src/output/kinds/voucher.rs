//! How people see vouchers.

use kos_api::voucher::{Maker, Voucher, VoucherOwner, VouchingNode};

use super::{Form, Shown, column};
use crate::output::Column;

impl Shown for Maker {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "makers";
    const COLUMNS: &'static [Column<'static>] = &[
        column("maker", "name"),
        column("profile", "profileCap"),
        column("evidence", "evidenceTier"),
        column("certificates", "certificates"),
        column("role", "role"),
        column("group", "group"),
        column("key", "keyId").wide(),
        column("cas", "caKeyIds").wide(),
        column("added", "addedAt").looks(Form::Moment).wide(),
    ];
}

impl Shown for Voucher {
    const NAME: &'static str = "voucherId";
    const PLURAL: &'static str = "vouchers";
    const COLUMNS: &'static [Column<'static>] = &[
        column("voucher", "voucherId"),
        column("maker", "maker"),
        column("state", "state"),
        column("for", "subject"),
        column("ends", "expiresAt").looks(Form::Moment),
        column("device", "deviceId"),
        column("passed on to", "endorsedTo").wide(),
        column("key of the maker", "makerKeyId").wide(),
        column("imported", "importedAt").looks(Form::Moment).wide(),
    ];
}

impl Shown for VoucherOwner {
    const NAME: &'static str = "authority";
    const PLURAL: &'static str = "owners";
    const COLUMNS: &'static [Column<'static>] =
        &[column("authority", "authority"), column("pin", "pin"), column("key", "key")];
}

impl Shown for VouchingNode {
    const NAME: &'static str = "grantId";
    const PLURAL: &'static str = "devices that vouch";
    const COLUMNS: &'static [Column<'static>] = &[
        column("grant", "grantId"),
        column("device", "deviceId"),
        column("state", "state"),
        column("profile", "profileCap"),
        column("used", "uses"),
        column("of", "usesMax"),
        column("ends", "expiresAt").looks(Form::Moment),
        column("role", "role").wide(),
        column("group", "group").wide(),
        column("granted", "createdAt").looks(Form::Moment).wide(),
    ];
}
