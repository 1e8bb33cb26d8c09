//! `kosd run`: the device under an init system.

use std::time::Duration;

use kos_base::code;
use kosd::{
    life::{Device, News, NewsReceiver},
    socket::Question,
};
use sd_notify::NotifyState;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{interval, timeout},
};

use super::Failure;

pub(super) async fn run(
    device: Device,
    news: NewsReceiver,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut aside = JoinSet::new();
    if let Some(patience) = sd_notify::watchdog_enabled() {
        aside.spawn(keep_alive(device.asker(), patience));
    }
    aside.spawn(pass_on(news));
    notify(&[NotifyState::Ready]);
    tracing::info!("ready");
    let outcome = device.run(stop).await;
    notify(&[NotifyState::Stopping]);
    let outcome = outcome?;
    tracing::info!(?outcome, "stopped");
    Ok(())
}

/// Tells the watchdog that the device answers, for as long as it does.
async fn keep_alive(device: mpsc::Sender<Question>, patience: Duration) {
    let mut ticks = interval(patience / 3);
    loop {
        ticks.tick().await;
        let (reply, answer) = oneshot::channel();
        let asked = device.send(Question::Status(reply)).await;
        if asked.is_err() || !matches!(timeout(patience / 3, answer).await, Ok(Ok(_))) {
            tracing::error!(code = %code::config::INTERNAL, "the device does not answer; the watchdog is not told");
            continue;
        }
        notify(&[NotifyState::Watchdog]);
    }
}

/// Shows the newest of the news where `systemctl status` prints it.
async fn pass_on(mut news: NewsReceiver) {
    while let Some(told) = news.recv().await {
        let status = match told {
            News::Code(digits) => format!("compare code {digits}"),
            News::Waiting => "waiting to be let in".to_owned(),
            News::Enrolled(device) => format!("enrolled as {device}"),
            News::Heartbeat => "in service".to_owned(),
            News::Renewed(issue) => format!("certificate {issue} in service"),
            News::Refused(code) | News::Untrusted(code) | News::Setback(code) => {
                format!("{code} {}", code.title())
            }
            News::Unreachable => "the authority does not answer".to_owned(),
            News::Ended(_) => "decommissioned".to_owned(),
        };
        notify(&[NotifyState::Status(&status)]);
    }
}

/// Without an init system that listens there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the init system cannot be told");
    }
}
