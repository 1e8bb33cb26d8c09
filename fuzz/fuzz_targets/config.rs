//! Any bytes as config.yaml: a configuration or a refusal that names a line.

#![no_main]

use kosd::config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(ConfigError::UnknownKey { place, .. } | ConfigError::Invalid { place, .. }) =
        Config::parse("config.yaml", bytes)
    {
        assert!(place.line > 0);
    }
});
