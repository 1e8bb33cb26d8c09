//! The texts of `/proc`, read.
//!
//! Source: proc(5); `Documentation/filesystems/proc.rst` of the kernel.

/// Processor time since boot, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuTimes {
    busy: u64,
    total: u64,
}

impl CpuTimes {
    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Guest times are
    /// part of user and nice already.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
        let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [_, _, _, idle, rest @ ..] = numbers.as_slice() else { return None };
        let total = numbers.iter().try_fold(0u64, |sum, n| sum.checked_add(*n))?;
        let waiting = idle.saturating_add(rest.first().copied().unwrap_or(0));
        Some(Self { busy: total.saturating_sub(waiting), total })
    }

    /// Percent of the time between both that was in use; `None` when no tick passed. The kernel may let single
    /// counters step back a little.
    pub(super) fn busy_percent_since(self, before: Self) -> Option<u8> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        let busy = self.busy.saturating_sub(before.busy).min(total);
        u8::try_from(u128::from(busy) * 100 / u128::from(total)).ok()
    }
}

/// Memory of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total_bytes: u64,
    pub(super) available_bytes: u64,
}

/// Reads `/proc/meminfo`.
pub(super) fn memory(meminfo: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let total_bytes = bytes("MemTotal").filter(|total| *total > 0)?;
    Some(Memory { total_bytes, available_bytes: bytes("MemAvailable")?.min(total_bytes) })
}

/// Whole seconds since boot, from `/proc/uptime`.
pub(super) fn uptime_s(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// Average load over five minutes in hundredths, from `/proc/loadavg`.
pub(super) fn load_hundredths(loadavg: &str) -> Option<u64> {
    let (whole, part) = loadavg.split_ascii_whitespace().nth(1)?.split_once('.')?;
    let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part.parse().ok().filter(|_| digits)?)
}

/// How many processors `/proc/stat` lists.
pub(super) fn processors(stat: &str) -> u64 {
    let own = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u64::try_from(stat.lines().filter(own).count()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_a_share_of_the_time_between_two_looks() {
        let at = |text: &str| CpuTimes::parse(text).unwrap();
        let first = at("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n");
        for (later, percent) in [
            ("cpu  150 0 150 800 100 0 0 0 0 0\n", Some(50)),
            ("cpu  100 0 100 900 100 0 0 0 0 0\n", Some(0)),
            ("cpu  200 0 200 700 100 0 0 0\n", Some(100)),
            ("cpu  100 0 100 700 100 0 0 0\n", None),
            ("cpu  90 0 100 800 100 0 0 0\n", Some(0)),
        ] {
            assert_eq!(at(later).busy_percent_since(first), percent, "{later}");
        }
        for bad in
            ["", "cpu", "cpu  1 2 3", "cpu  1 2 3 x 5", "cpu0 1 2 3 4 5", "cpu  18446744073709551615 1 1 1 1"]
        {
            assert_eq!(CpuTimes::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:        2000 kB\nMemFree:  10 kB\nMemAvailable:    500 kB\nMemTotalX: 1 kB\n";
        assert_eq!(memory(text), Some(Memory { total_bytes: 2_048_000, available_bytes: 512_000 }));
        for bad in
            ["", "MemTotal: 1 kB", "MemTotal: 0 kB\nMemAvailable: 0 kB", "MemTotal: x kB\nMemAvailable: 1 kB"]
        {
            assert_eq!(memory(bad), None, "{bad}");
        }
    }

    #[test]
    fn uptime_and_load_are_read() {
        assert_eq!(uptime_s("12345.67 54321.00\n"), Some(12_345));
        assert_eq!(uptime_s("x"), None);
        assert_eq!(load_hundredths("0.10 1.25 0.05 1/100 123\n"), Some(125));
        for bad in ["", "0.1", "0.10 x", "0.10 1.2 3", "0.10 1.+2 3"] {
            assert_eq!(load_hundredths(bad), None, "{bad}");
        }
        assert_eq!(processors("cpu  1\ncpu0 1\ncpu1 1\nctxt 1\n"), 2);
    }
}
