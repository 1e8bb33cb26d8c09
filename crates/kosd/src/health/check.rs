//! Health checks: how they are written, which are built in, and what they find.

use core::{fmt, str::FromStr, time::Duration};
use std::path::{Path, PathBuf};

use kos_base::text::printable;
use kos_identity::enrolment::message::HealthCheck as Named;
use tokio::{net::UnixStream, time::timeout};

use super::{procfs, read};
use crate::clock::Clock;

/// How long a service may take to accept a connection. Stops a stuck one from holding up the heartbeat.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(1);

/// One thing to look at. Written as its kind and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// `disk-free PATH PERCENT`: the file system of PATH has at least that much room for everybody.
    DiskFree {
        /// Absolute.
        path: PathBuf,
        /// 1 to 99.
        percent_min: u8,
    },
    /// `memory-free PERCENT`: at least that much memory is available.
    MemoryFree {
        /// 1 to 99.
        percent_min: u8,
    },
    /// `load PER_CPU`: the five-minute load is at most that much a processor.
    Load {
        /// 1 to 1000.
        per_cpu_max: u16,
    },
    /// `socket PATH`: a service accepts connections there.
    Socket {
        /// Absolute.
        path: PathBuf,
    },
    /// `clock SECONDS`: the machine's clock is at most that far from the authority's.
    Clock {
        /// 1 to 3600.
        seconds_max: u16,
    },
}

/// The text is not a health check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a health check (`disk-free PATH PERCENT`, `memory-free PERCENT`, `load PER_CPU`, `socket PATH`, `clock SECONDS`)"
)]
pub struct ParseCheckError {
    text: String,
}

impl FromStr for HealthCheck {
    type Err = ParseCheckError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseCheckError { text: printable(s, 80) };
        let path = |s: &str| s.starts_with('/').then(|| PathBuf::from(s)).ok_or_else(bad);
        let percent = |s: &str| s.parse::<u8>().ok().filter(|n| (1..=99).contains(n)).ok_or_else(bad);
        let count = |s: &str, max| s.parse::<u16>().ok().filter(|n| (1..=max).contains(n)).ok_or_else(bad);
        let words: Vec<_> = s.split(' ').collect();
        match words.as_slice() {
            ["disk-free", at, least] => Ok(Self::DiskFree { path: path(at)?, percent_min: percent(least)? }),
            ["memory-free", least] => Ok(Self::MemoryFree { percent_min: percent(least)? }),
            ["load", most] => Ok(Self::Load { per_cpu_max: count(most, 1000)? }),
            ["clock", most] => Ok(Self::Clock { seconds_max: count(most, 3600)? }),
            ["socket", at] => Ok(Self::Socket { path: path(at)? }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFree { path, percent_min } => write!(f, "disk-free {} {percent_min}", path.display()),
            Self::MemoryFree { percent_min } => write!(f, "memory-free {percent_min}"),
            Self::Load { per_cpu_max } => write!(f, "load {per_cpu_max}"),
            Self::Socket { path } => write!(f, "socket {}", path.display()),
            Self::Clock { seconds_max } => write!(f, "clock {seconds_max}"),
        }
    }
}

/// What a check of a role profile looks at, unless the configuration says otherwise. `state` is where the device keeps
/// its state.
pub fn builtin(check: Named, state: &Path) -> HealthCheck {
    match check {
        Named::Disk => HealthCheck::DiskFree { path: state.to_owned(), percent_min: 5 },
        Named::Memory => HealthCheck::MemoryFree { percent_min: 5 },
        Named::Load => HealthCheck::Load { per_cpu_max: 4 },
        Named::Clock => HealthCheck::Clock { seconds_max: 60 },
    }
}

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// It cannot be told: the kernel does not say, or the authority has not told its time yet.
    Unknown,
}

/// A verdict and its reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Good, bad or unknown.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
}

impl Finding {
    fn judge(good: bool, seen: String) -> Self {
        Self { verdict: if good { Verdict::Good } else { Verdict::Bad }, seen }
    }

    fn unknown(seen: &str) -> Self {
        Self { verdict: Verdict::Unknown, seen: seen.to_owned() }
    }
}

impl HealthCheck {
    /// Looks once, at the machine whose root is `host`. Takes at most a second.
    pub async fn look(&self, host: &Path, clock: &Clock) -> Finding {
        match self {
            Self::DiskFree { path, percent_min } => disk(path, *percent_min),
            Self::MemoryFree { percent_min } => memory(host, *percent_min),
            Self::Load { per_cpu_max } => load(host, *per_cpu_max),
            Self::Socket { path } => match timeout(SOCKET_TIMEOUT, UnixStream::connect(path)).await {
                Ok(Ok(_)) => Finding::judge(true, "accepts connections".to_owned()),
                Ok(Err(error)) => Finding::judge(false, error.kind().to_string()),
                Err(_) => Finding::judge(false, "does not answer within 1 s".to_owned()),
            },
            Self::Clock { seconds_max } => match clock.drift() {
                Some(drift) => {
                    let good = drift <= Duration::from_secs((*seconds_max).into());
                    Finding::judge(good, format!("{} s from the authority's", drift.as_secs()))
                }
                None => Finding::unknown("the authority has not told its time yet"),
            },
        }
    }
}

fn disk(path: &Path, percent_min: u8) -> Finding {
    let Ok(stat) = rustix::fs::statvfs(path) else { return Finding::unknown("no such file system") };
    match (stat.f_bavail.saturating_mul(100)).checked_div(stat.f_blocks) {
        Some(free) => Finding::judge(free >= u64::from(percent_min), format!("{free} % free")),
        None => Finding::unknown("a file system without blocks"),
    }
}

fn memory(host: &Path, percent_min: u8) -> Finding {
    let Some(memory) = read(host, "proc/meminfo").and_then(|text| procfs::memory(&text)) else {
        return Finding::unknown("the kernel does not tell");
    };
    let free = memory.available_bytes.saturating_mul(100) / memory.total_bytes.max(1);
    Finding::judge(free >= u64::from(percent_min), format!("{free} % available"))
}

fn load(host: &Path, per_cpu_max: u16) -> Finding {
    let average = read(host, "proc/loadavg").and_then(|text| procfs::load_hundredths(&text));
    let (Some(average), Some(stat)) = (average, read(host, "proc/stat")) else {
        return Finding::unknown("the kernel does not tell");
    };
    let most = u64::from(per_cpu_max).saturating_mul(100).saturating_mul(procfs::processors(&stat));
    Finding::judge(average <= most, format!("load {}.{:02}", average / 100, average % 100))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn checks_are_written_as_they_are_read() {
        for text in ["disk-free /var 10", "memory-free 5", "load 4", "socket /run/web.sock", "clock 60"] {
            assert_eq!(text.parse::<HealthCheck>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "disk-free",
            "disk-free var 10",
            "disk-free /var 0",
            "disk-free /var 100",
            "load 0",
            "load x",
            "socket web",
            "socket",
            "ping 1",
            "load  4",
            "memory-free 5 5",
            "clock 0",
            "clock 3601",
        ] {
            assert!(bad.parse::<HealthCheck>().is_err(), "{bad}");
        }
        for check in Named::ALL {
            let written = builtin(*check, Path::new("/var")).to_string();
            assert!(written.starts_with(check.as_str()), "{written}");
        }
    }

    #[tokio::test]
    async fn verdicts_follow_what_the_machine_says() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        let clock = Clock::start(None);
        let put = |name: &str, text: &str| fs::write(folder.path().join("proc").join(name), text).unwrap();
        put("meminfo", "MemTotal: 100 kB\nMemAvailable: 10 kB\n");
        put("loadavg", "9.99 2.50 0.00 1/1 1\n");
        put("stat", "cpu  1 1 1 1\ncpu0 1\n");
        let socket = folder.path().join("web.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let listening = format!("socket {}", socket.display());
        for (check, verdict) in [
            ("memory-free 10", Verdict::Good),
            ("memory-free 11", Verdict::Bad),
            ("load 3", Verdict::Good),
            ("load 2", Verdict::Bad),
            ("disk-free /nowhere 5", Verdict::Unknown),
            ("clock 60", Verdict::Unknown),
            (&listening, Verdict::Good),
            ("socket /nowhere.sock", Verdict::Bad),
        ] {
            let found = check.parse::<HealthCheck>().unwrap().look(folder.path(), &clock).await;
            assert_eq!(found.verdict, verdict, "{check}: {}", found.seen);
        }
        drop(listener);
        let found = listening.parse::<HealthCheck>().unwrap().look(folder.path(), &clock).await;
        assert_eq!(found.verdict, Verdict::Bad, "{}", found.seen);
    }
}
