//! The ways by which a guardian is told, one file each.

mod cef;
mod device;
mod mail;
pub(crate) mod reach;
mod syslog;
mod webhook;

use std::sync::Arc;

pub(crate) use self::{
    mail::address as mail_address,
    reach::{Address, AddressError, WEB, check_ca},
    syslog::address as syslog_address,
    webhook::{address as webhook_address, secret as webhook_secret},
};
use super::{Guardian, Notice, SyslogForm, Way};
use crate::authority::Shared;

/// A guardian was not told. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    #[error(transparent)]
    Reach(#[from] reach::ReachError),
    #[error("it answered {0}")]
    Answered(String),
    /// This alert as it is, whenever it comes.
    #[error("it answered {0}")]
    Refused(String),
    #[error("it does not speak as it should: {0}")]
    Protocol(String),
    #[error("the device has no link")]
    NoLink,
    #[error("the link of the device ended")]
    LinkEnded,
    #[error("a fault of this authority: {0}")]
    Internal(String),
}

/// Tells a guardian.
///
/// # Errors
/// When it has not taken the notice, or nobody knows whether it has.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    guardian: &Guardian,
    notice: &Notice,
) -> Result<(), SinkError> {
    match &guardian.way {
        Way::Person { .. } => Ok(()),
        Way::Webhook { url, ca, salt } => {
            let secret = webhook_secret(&shared.keys.store, &guardian.name, *salt);
            let secret =
                secret.map_err(|_| SinkError::Internal("the secret cannot be derived".to_owned()))?;
            webhook::send(url, ca.as_deref(), &secret, notice).await
        }
        Way::Syslog { address, ca, form } => {
            let message = match form {
                SyslogForm::Structured => syslog::message(notice),
                SyslogForm::Cef => cef::message(notice),
            };
            syslog::send(address, ca.as_deref(), &message).await
        }
        Way::Mail { relay, ca, from, to } => mail::send((relay, ca.as_deref()), from, to, notice).await,
        Way::Device { device } => device::send(shared, device, notice).await,
    }
}
