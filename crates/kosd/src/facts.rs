//! What the hardware says about itself: addresses of network cards, serial numbers of board and chip.
//!
//! Shape: at most [`MACS_MAX`] addresses and [`SERIALS_MAX`] serials, sorted, each once. Only addresses that a maker
//! assigned and nobody changed count. Serials that makers leave at a placeholder are dropped, since thousands of boards
//! share them.
//!
//! What it does not do: trust them. They are an input of the device id and an attribute, never an identity.
//!
//! Source: `Documentation/ABI/testing/sysfs-class-net`, `sysfs-firmware-dmi-tables` of the kernel;
//! `docs/spec/identity.md`.

use std::{collections::BTreeSet, fs, path::Path};

use kos_base::Mac;
use kos_identity::enrolment::message::{Facts, MACS_MAX, SERIAL_BYTES_MAX, SERIALS_MAX};

use crate::config::Config;

/// `addr_assign_type` of an address that came with the card.
const ASSIGNED_BY_MAKER: &str = "0";

/// What makers write where a serial should be. Compared in lower case, without spaces and punctuation.
const PLACEHOLDERS: [&str; 14] = [
    "tobefilledbyoem",
    "defaultstring",
    "systemserialnumber",
    "baseboardserialnumber",
    "serialnumber",
    "notspecified",
    "notapplicable",
    "notavailable",
    "none",
    "na",
    "oem",
    "invalid",
    "unknown",
    "empty",
];

/// The facts of the machine whose root is `host`, or those that the configuration says instead.
pub fn collect(host: &Path, config: &Config) -> Facts {
    let mut macs = config.macs.clone().unwrap_or_else(|| macs(host));
    let mut serials = config.serials.clone().unwrap_or_else(|| serials(host));
    macs.sort_unstable();
    macs.dedup();
    macs.truncate(MACS_MAX);
    serials.sort_unstable();
    serials.dedup();
    serials.truncate(SERIALS_MAX);
    Facts { macs, serials }
}

fn macs(host: &Path) -> Vec<Mac> {
    let Ok(cards) = fs::read_dir(host.join("sys/class/net")) else { return Vec::new() };
    let macs = cards.flatten().filter_map(|card| {
        let says = |name: &str| fs::read_to_string(card.path().join(name)).ok();
        if says("addr_assign_type")?.trim() != ASSIGNED_BY_MAKER {
            return None;
        }
        says("address")?.trim().parse().ok().filter(Mac::is_universal)
    });
    macs.collect()
}

fn serials(host: &Path) -> Vec<String> {
    let read =
        |path: &str| fs::read(host.join(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let firmware = [
        "sys/class/dmi/id/product_serial",
        "sys/class/dmi/id/board_serial",
        "proc/device-tree/serial-number",
    ];
    let told = firmware.into_iter().filter_map(read);
    let told = told.chain(read("proc/cpuinfo").and_then(|text| chip_serial(&text)));
    let genuine: BTreeSet<String> = told.filter_map(|text| genuine(&text)).collect();
    genuine.into_iter().collect()
}

/// The line `Serial : ...` of `/proc/cpuinfo` on boards that have one.
fn chip_serial(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("Serial"))?;
    Some(line.trim_start().strip_prefix(':')?.trim().to_owned())
}

/// The serial without the white space and zero byte around it, unless it is a placeholder.
fn genuine(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let letters: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let one_letter = letters.chars().next().is_none_or(|first| letters.chars().all(|c| c == first));
    let counted = matches!(letters.as_str(), "0123456789" | "123456789" | "1234567890" | "12345678");
    let shown = text.len() <= SERIAL_BYTES_MAX && text.chars().all(kos_base::text::is_safe);
    (shown && !one_letter && !counted && !PLACEHOLDERS.contains(&letters.as_str())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(host: &Path, path: &str, content: &str) {
        let path = host.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn config(text: &str) -> Config {
        Config::parse("config.yaml", text.as_bytes()).unwrap().config
    }

    #[test]
    fn only_addresses_that_came_with_the_card_count() {
        let host = tempfile::tempdir().unwrap();
        for (card, address, assigned) in [
            ("eth0", "00:1a:2b:00:00:02\n", "0\n"),
            ("eth1", "00:1a:2b:00:00:01\n", "0\n"),
            ("twin", "00:1a:2b:00:00:01\n", "0\n"),
            ("changed", "00:1a:2b:00:00:03\n", "3\n"),
            ("docker0", "02:42:00:00:00:01\n", "0\n"),
            ("lo", "00:00:00:00:00:00\n", "0\n"),
            ("ib0", "00:00:00:00:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01\n", "0\n"),
        ] {
            put(host.path(), &format!("sys/class/net/{card}/address"), address);
            put(host.path(), &format!("sys/class/net/{card}/addr_assign_type"), assigned);
        }
        let facts = collect(host.path(), &config(""));
        assert_eq!(
            facts.macs.iter().map(Mac::to_string).collect::<Vec<_>>(),
            ["00:1a:2b:00:00:01", "00:1a:2b:00:00:02"]
        );
    }

    #[test]
    fn serials_come_from_firmware_and_chip_and_placeholders_are_dropped() {
        let host = tempfile::tempdir().unwrap();
        put(host.path(), "sys/class/dmi/id/product_serial", "PF3XYZ12\n");
        put(host.path(), "sys/class/dmi/id/board_serial", "To be filled by O.E.M.\n");
        put(host.path(), "proc/device-tree/serial-number", "10000000abcdef01\0");
        put(host.path(), "proc/cpuinfo", "processor\t: 0\nSerial\t\t: 10000000abcdef01\nModel : x\n");
        assert_eq!(collect(host.path(), &config("")).serials, ["10000000abcdef01", "PF3XYZ12"]);
        for junk in [
            "",
            " ",
            "\0",
            "0",
            "00000000",
            "xxxxxxx",
            "Default string",
            "System Serial Number",
            "Not Specified",
            "N/A",
            "None",
            "123456789",
            "a\x1b[31mb",
            &"x1".repeat(33),
        ] {
            assert_eq!(genuine(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn the_configuration_speaks_for_machines_without_hardware_of_their_own() {
        let text = "hardware: {macs: ['00:1a:2b:00:00:09', '00:1a:2b:00:00:08'], serials: [B, A]}";
        let facts = collect(Path::new("/"), &config(text));
        assert_eq!((facts.macs.len(), facts.macs[0].to_string()), (2, "00:1a:2b:00:00:08".to_owned()));
        assert_eq!(facts.serials, ["A", "B"]);
        let none = collect(Path::new("/"), &config("hardware: {macs: [], serials: []}"));
        assert_eq!(none, Facts::default());
    }
}
