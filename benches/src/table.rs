//! The table of figures in `SPECIFICATION.md`, between two comments that mark its place.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::figure::{ALL, Line};

const BEGIN: &str = "<!-- figures: written by `cargo xtask bench --write` -->";
const END: &str = "<!-- end of figures -->";
/// What the file holds when there was none.
const EMPTY: &str = "# Specification\n\n## Figures\n\n";
const HEAD: &str =
    "| figure | value | floor | goal | met | beside | ratio | bound |\n|---|---|---|---|---|---|---|---|\n";

/// Replaces the rows of the figures that were measured and keeps the others.
pub(crate) fn write(path: &Path, lines: &[Line]) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => EMPTY.to_owned(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    fs::write(path, replaced(&old, lines)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(text: &str, lines: &[Line]) -> String {
    let (before, rest) = text.split_once(BEGIN).unwrap_or((text, ""));
    let (old, after) = rest.split_once(END).unwrap_or(("", "\n"));
    let mut table = format!("{BEGIN}\n\n{HEAD}");
    for figure in ALL {
        let begins = format!("| `{}` |", figure.name);
        let measured = lines.iter().find(|line| line.name == figure.name).map(row);
        let kept = || old.lines().find(|line| line.starts_with(&begins)).map(|line| format!("{line}\n"));
        let missing = || format!("{begins} not yet | | | | | | |\n");
        table.push_str(&measured.or_else(kept).unwrap_or_else(missing));
    }
    for figure in ALL {
        table.push_str(&format!("\n- `{}`: {}", figure.name, figure.what));
        let line = lines.iter().find(|line| line.name == figure.name);
        let begins = format!("- `{}`: ", figure.name);
        let kept = || {
            old.lines().find(|line| line.starts_with(&begins)).and_then(|line| line.split_once(" Last run: "))
        };
        match (line, kept()) {
            (Some(Line { note: Some(note), .. }), _) => table.push_str(&format!(". Last run: {note}")),
            (None, Some((_, note))) => table.push_str(&format!(". Last run: {note}")),
            _ => table.push('.'),
        }
    }
    format!("{before}{table}\n\n{END}{after}")
}

fn row(line: &Line) -> String {
    let Line { name, value, unit, floor, goal, met, peer, peer_value, ratio, bound, .. } = line;
    let number = |value: &Option<f64>| value.map(|value| shown(value, unit)).unwrap_or_default();
    let beside = peer.as_ref().map(|peer| format!("{peer}: {}", number(peer_value))).unwrap_or_default();
    let ratio = ratio.map(|ratio| ratio.to_string()).unwrap_or_default();
    let met = if *met { "yes" } else { "no" };
    let (value, floor, goal) = (shown(*value, unit), number(floor), number(goal));
    format!("| `{name}` | {value} | {floor} | {goal} | {met} | {beside} | {ratio} | {bound} |\n")
}

/// A number as people read it; bytes in KiB or MiB.
fn shown(value: f64, unit: &str) -> String {
    const KIB: f64 = 1_024.0;
    match unit {
        "B" if value >= KIB * KIB => format!("{:.1} MiB", value / (KIB * KIB)),
        "B" => format!("{:.1} KiB", value / KIB),
        "1/s" => format!("{value}/s"),
        unit => format!("{value} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{ENROL_PER_S, KOSD_BINARY_BYTES, Measured, Rival};

    fn line(value: f64) -> Line {
        let rival = Rival { name: "openssl ca 3.0".to_owned(), value: 380.0 };
        Measured::new(&ENROL_PER_S, value, 5, "CPU").beside(Ok(rival)).note("with notes").line()
    }

    #[test]
    fn rows_are_replaced_and_everything_else_stays() {
        let first = replaced("# Ours\n\nBefore.\n\n", &[line(412.0)]);
        assert!(first.starts_with("# Ours\n\nBefore.\n\n"), "{first}");
        let row = "| `enrol_per_s` | 412/s | 250/s | 1000/s | no | openssl ca 3.0: 380/s | 1.08 | CPU |\n";
        assert!(first.contains(row), "{first}");
        assert!(first.contains("two durable records. Last run: with notes\n"), "{first}");
        assert!(first.contains("| `kosd_rss_bytes` | not yet |"), "{first}");

        let with_more = first.replace(END, &format!("{END}\n\nAfter."));
        let size = Measured::new(&KOSD_BINARY_BYTES, 7_827_952.0, 1, "size").line();
        let second = replaced(&with_more, &[size]);
        assert!(second.contains(row) && second.contains("| `kosd_binary_bytes` | 7.5 MiB |"), "{second}");
        assert!(second.contains("Last run: with notes"), "{second}");
        assert!(second.contains("\n\nAfter."), "{second}");
        assert_eq!(replaced(&second, &[]), second);
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(shown(24_576.0, "B"), "24.0 KiB");
        assert_eq!(shown(8_388_608.0, "B"), "8.0 MiB");
        assert_eq!(shown(12.5, "ms"), "12.5 ms");
        assert_eq!(shown(412.0, "1/s"), "412/s");
    }
}
