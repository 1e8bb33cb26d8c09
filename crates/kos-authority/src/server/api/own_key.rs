//! A new key of its own for a device of SEC-1, because an operator wants it.
//!
//! Source: `docs/spec/own-key.md` OWN-5.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::lifecycle::Because;
use kos_base::code;
use kos_net::entropy;

use super::{
    answer::Refusal,
    call::Call,
    lifecycle::{Step, because, operate},
};
use crate::{authority::Shared, fleet::own_key, record::SystemChange};

pub(super) async fn rotate(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    call: Call<Because>,
) -> Result<Response, Refusal> {
    let reason = because(call.body.reason.as_ref(), "an operator wants it");
    let salt = entropy::array().map_err(|e| Refusal::new(e.code()))?;
    operate(&shared, &device, &call, |record| {
        let none = || Refusal::new(code::token::OWN_KEY_NONE).about("device", &record.id);
        let issue = own_key::certificate_of(record).ok_or_else(none)?.issue;
        if record.own_keys.as_ref().is_some_and(|keys| keys.next().is_some()) {
            return Err(Refusal::new(code::token::OWN_KEY_UNDER_WAY).about("device", &record.id));
        }
        let reason = reason.clone();
        Ok(vec![Step::Edit(Box::new(move |record| {
            let number = record.own_keys.get_or_insert_default().mint(salt, issue)?;
            Some(SystemChange::OwnKeyMade { device: record.id.clone(), number, reason }.into())
        }))])
    })
    .await
}
