//! Structured log lines on stderr, filtered by `KOS_LOG` (`info`, `warn,kos_authority=debug`, ..).

use std::{
    env,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Sends log lines to stderr from here on.
pub(super) fn start() {
    let wanted = env::var("KOS_LOG").unwrap_or_default();
    let parsed = wanted.parse::<Targets>();
    let understood = parsed.is_ok();
    let default = || Targets::new().with_default(tracing::Level::INFO);
    let targets = if wanted.is_empty() { default() } else { parsed.unwrap_or_else(|_| default()) };
    let colour = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false);
    // The journal writes the time itself.
    let started = match env::var_os("JOURNAL_STREAM") {
        Some(_) => tracing_subscriber::registry().with(targets).with(lines.without_time()).try_init(),
        None => tracing_subscriber::registry().with(targets).with(lines).try_init(),
    };
    if started.is_ok() && !understood {
        tracing::warn!("KOS_LOG cannot be understood; it is as if it said `info`");
    }
}
