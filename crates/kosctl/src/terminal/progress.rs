//! Progress of what takes long: a spinner on a terminal, else one line a step.

use core::time::Duration;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Talk, Terminal};

/// What is over sooner than this is not worth a spinner.
const SPINNER_AFTER: Duration = Duration::from_secs(1);

/// Something that takes long.
pub(crate) struct Progress<'a> {
    terminal: &'a Terminal,
    started: Instant,
    step: String,
    spinner: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(terminal: &'a Terminal) -> Self {
        Self { terminal, started: Instant::now(), step: String::new(), spinner: None }
    }

    /// Says which step it is at, as often as one looks.
    pub(crate) fn at(&mut self, step: &str) {
        if self.terminal.talk == Talk::Quiet {
            return;
        }
        if !self.terminal.is_live {
            if self.step != step {
                step.clone_into(&mut self.step);
                self.terminal.note(step);
            }
            return;
        }
        if self.started.elapsed() >= SPINNER_AFTER {
            let spinner = self.spinner.get_or_insert_with(|| {
                let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                spinner.set_style(ProgressStyle::default_spinner());
                spinner.enable_steady_tick(Duration::from_millis(100));
                spinner
            });
            spinner.set_message(kos_base::text::printable(step, 100));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
