//! The reference page of the configuration file, made from the table of keys.

use core::fmt::{self, Write as _};

use super::keys::{KEYS, Key, Otherwise};

const INTRODUCTION: &str = "\
# config.yaml

kosd reads `ROOT/etc/kos/config.yaml` at each start. Every key may be absent, and so may the file. Unknown keys and
values that make no sense are refused with their line, and nothing of the file is then in force. Anchors, aliases and
merge keys are refused as well. The file holds no secret: a ticket goes in by prompt, standard input or `--ticket-file`.
";

/// The page as Markdown.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    // Writing to a String cannot fail.
    let _ = write_sections(&mut page);
    page
}

fn write_sections(page: &mut String) -> fmt::Result {
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            writeln!(page, "\n## {section}")?;
        }
        write_key(page, key)?;
    }
    Ok(())
}

fn write_key(page: &mut String, key: &Key) -> fmt::Result {
    writeln!(page, "\n### {}.{}\n\n{}\n", key.section, key.name, key.does.trim())?;
    match key.otherwise {
        Otherwise::Value(value) => writeln!(page, "Default: `{value}`")?,
        Otherwise::Words(words) => writeln!(page, "Default: {words}")?,
    }
    writeln!(page, "\n```yaml\n{}:\n  {}: {}\n```", key.section, key.name, key.example)
}
