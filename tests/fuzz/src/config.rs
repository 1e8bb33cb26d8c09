//! Any bytes as `config.yaml`: a configuration, or a refusal that names a line and is safe to show.

use kos_base::text::is_safe;
use kosd::config::{Config, ConfigError};

use crate::Verdict;

/// Reads the bytes as the file of a device.
pub fn run(bytes: &[u8]) -> Verdict {
    let read = Config::parse("config.yaml", bytes);
    // YAML ends a line with either of two characters, or both.
    let breaks = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let lines_max = u64::try_from(breaks).unwrap_or(u64::MAX).saturating_add(1);
    let is_in_file = |line: u64| (1..=lines_max).contains(&line);
    match &read {
        Ok(loaded) => assert!(loaded.notices.iter().all(|notice| is_in_file(notice.place.line))),
        Err(refused @ (ConfigError::UnknownKey { place, .. } | ConfigError::Invalid { place, .. })) => {
            assert!(is_in_file(place.line), "{refused}");
            assert!(refused.to_string().chars().all(is_safe), "{refused:?}");
        }
        Err(other) => assert_eq!(other.to_string(), "", "nothing was read from a disk"),
    }
    Verdict::of(&read)
}
