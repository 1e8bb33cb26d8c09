//! What every command can be told, and words of the command line that are not words of kOS.

use core::{fmt, str::FromStr, time::Duration};
use std::sync::LazyLock;

use clap::{Args, Parser};
use kos_base::approved;

use crate::{
    Change,
    command::Command,
    output::{Format, Sort},
    terminal::Color,
};

/// What `--version` says: in the build with the FIPS module, that as well.
static VERSION: LazyLock<String> = LazyLock::new(|| approved::version(env!("CARGO_PKG_VERSION")));

/// The operator's hand: talks to a kOS authority, or to the daemon of a device.
#[derive(Debug, Parser)]
#[command(name = "kosctl", version = VERSION.as_str(), max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// The fields of a table, by their names in JSON: `deviceId,health.cpuPercent`.
    #[arg(long, global = true, value_delimiter = ',', value_name = "FIELDS")]
    pub(crate) columns: Option<Vec<String>>,
    /// The field by which a list is sorted; `-FIELD` from the largest.
    #[arg(long, global = true, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<Sort>,
    /// Says nothing but results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Says which requests are made.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When there are colours.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Asks nothing; what needs an answer fails.
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// The server: `unix:PATH` or `https://HOST:PORT` (or KOS_SERVER).
    #[arg(long, global = true, value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// A saved server with its credentials; see `kosctl context` (or KOS_CONTEXT).
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How long to wait for an answer: `500ms`, `30s`, `5m`; 30 s if nothing is said. Also how long `--wait` waits.
    #[arg(long, global = true, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
}

/// For changes that can be undone.
#[derive(Debug, Args)]
pub(crate) struct ChangeFlags {
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Answers yes to the question.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

impl ChangeFlags {
    /// How the change is asked for, whatever version of its object is there.
    pub(crate) const fn change(&self) -> Change {
        Change { dry_run: self.dry_run, if_match: None }
    }
}

/// For changes that cannot be undone.
#[derive(Debug, Args)]
pub(crate) struct SevereFlags {
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The name of the device, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

/// For changes that somebody else has to carry out.
#[derive(Debug, Args)]
pub(crate) struct WaitFlags {
    /// Waits until it has happened, as long as said here or with --timeout, or 10 min; exits 9 if it has not.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    wait: Option<Option<Span>>,
}

/// How long `--wait` waits if nothing else is said.
const WAIT: Duration = Duration::from_mins(10);

impl WaitFlags {
    /// How long is to be waited, if at all. `timeout` is what was said with `--timeout`.
    pub(crate) fn limit(&self, timeout: Option<Duration>) -> Option<Duration> {
        let said = self.wait?;
        Some(said.map(|span| span.0).or(timeout).unwrap_or(WAIT))
    }
}

/// A length of time, typed as `500ms`, `30s`, `10m`, `2h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The text is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSpan;

impl FromStr for Span {
    type Err = BadSpan;

    fn from_str(s: &str) -> Result<Self, BadSpan> {
        let digits = s.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = s.split_at_checked(digits).ok_or(BadSpan)?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadSpan),
        };
        let ms = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_ms)).filter(|ms| *ms > 0);
        ms.map(|ms| Self(Duration::from_millis(ms))).ok_or(BadSpan)
    }
}

impl fmt::Display for BadSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a length of time such as `30s`, `10m`, `2h` or `7d`")
    }
}

impl core::error::Error for BadSpan {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_defined() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_is_said_of_waiting_itself_holds_before_the_timeout() {
        let at = |wait| WaitFlags { wait };
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
        assert_eq!(at(None).limit(Some(short)), None);
        assert_eq!(at(Some(None)).limit(None), Some(WAIT));
        assert_eq!(at(Some(None)).limit(Some(short)), Some(short));
        assert_eq!(at(Some(Some(Span(long)))).limit(Some(short)), Some(long));
    }

    #[test]
    fn a_length_of_time_has_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000), ("7d", 604_800_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1w", "0s", "1.5h", "99999999999999999999d", "1é"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
