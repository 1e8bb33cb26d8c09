//! What a device tells about its health: load of the processor, memory, uptime, errors, and named checks.
//!
//! The readers are thin; what they read is judged by pure functions over text in `procfs`.

mod check;
mod procfs;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

pub use self::check::{Finding, HealthCheck, Verdict, builtin};
use self::procfs::CpuTimes;

/// What one look at the machine found. `None`: the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Processor time in use since the look before, in percent of all processors, 0 to 100.
    pub cpu_percent: Option<u8>,
    /// Memory that is not available, in bytes.
    pub ram_used_bytes: Option<u64>,
    /// Memory that the kernel has, in bytes.
    pub ram_total_bytes: Option<u64>,
    /// Since boot, in seconds.
    pub uptime_s: Option<u64>,
}

/// Looks at the machine whose `/proc` is below a folder, `/` for this one.
#[derive(Debug)]
pub struct Observer {
    host: PathBuf,
    before: Option<CpuTimes>,
}

impl Observer {
    /// Observes the machine whose root is `host`.
    pub fn new(host: PathBuf) -> Self {
        let before = read(&host, "proc/stat").and_then(|text| CpuTimes::parse(&text));
        Self { host, before }
    }

    /// Looks once.
    pub fn look(&mut self) -> Vitals {
        let now = read(&self.host, "proc/stat").and_then(|text| CpuTimes::parse(&text));
        let cpu_percent = self.before.zip(now).and_then(|(before, now)| now.busy_percent_since(before));
        self.before = now.or(self.before);
        let memory = read(&self.host, "proc/meminfo").and_then(|text| procfs::memory(&text));
        Vitals {
            cpu_percent,
            ram_used_bytes: memory.map(|m| m.total_bytes.saturating_sub(m.available_bytes)),
            ram_total_bytes: memory.map(|m| m.total_bytes),
            uptime_s: read(&self.host, "proc/uptime").and_then(|text| procfs::uptime_s(&text)),
        }
    }

    /// The random id that the kernel gave this boot.
    pub fn boot_id(&self) -> Option<[u8; 16]> {
        let text = read(&self.host, "proc/sys/kernel/random/boot_id")?;
        let digits = text.trim().replace('-', "").into_bytes();
        data_encoding::HEXLOWER_PERMISSIVE.decode(&digits).ok()?.try_into().ok()
    }

    /// The version of the kernel.
    pub fn kernel(&self) -> Option<String> {
        Some(read(&self.host, "proc/sys/kernel/osrelease")?.trim().to_owned())
    }

    /// The machine's root.
    pub fn host(&self) -> &Path {
        &self.host
    }

    /// The host name, if it can serve as a device's name.
    pub fn host_name(&self) -> Option<kos_base::Name> {
        read(&self.host, "proc/sys/kernel/hostname")?.trim().parse().ok()
    }
}

/// Longest file of `/proc` that is read, in bytes.
const PROC_BYTES_MAX: usize = 262_144;

fn read(host: &Path, path: &str) -> Option<String> {
    fs::read_to_string(host.join(path)).ok().filter(|text| text.len() <= PROC_BYTES_MAX)
}

/// Errors since the last heartbeat that arrived.
#[derive(Debug, Default)]
pub struct ErrorCounter(AtomicU32);

impl ErrorCounter {
    /// Counts one.
    pub fn count(&self) {
        // Saturates: four thousand million errors are as bad as any more.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
    }

    /// How many there are.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes off those that a heartbeat has told; later ones stay.
    pub fn told(&self, errors: u32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(errors)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_vitals() {
        let mut observer = Observer::new("/".into());
        let vitals = observer.look();
        assert!(vitals.ram_total_bytes.unwrap() > vitals.ram_used_bytes.unwrap());
        assert!(vitals.cpu_percent.is_none_or(|percent| percent <= 100));
        assert!(vitals.uptime_s.is_some());
        assert!(observer.boot_id().is_some() && observer.kernel().is_some());
    }

    #[test]
    fn a_machine_without_proc_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut observer = Observer::new(folder.path().into());
        assert_eq!(observer.look(), Vitals::default());
        assert_eq!((observer.boot_id(), observer.host_name()), (None, None));
    }

    #[test]
    fn errors_that_come_while_a_heartbeat_is_under_way_are_told_by_the_next() {
        let errors = ErrorCounter::default();
        errors.count();
        let told = errors.get();
        errors.count();
        errors.told(told);
        assert_eq!(errors.get(), 1);
    }
}
