//! The same as a syslog message, in the Common Event Format that many collectors of security events read.
//!
//! Shape: `CEF:0|kOS|kos-authority|VERSION|RULE|SUMMARY|SEVERITY|EXTENSION`. In the header `|` and `\\` are escaped, in the
//! extension `=` and `\\`; line ends and other characters that are not visible are replaced before that.
//!
//! Source: ALR-42; ArcSight Common Event Format, version 0.

use kos_audit::alert::Severity;
use kos_base::text::printable;

use super::syslog;
use crate::alert::Notice;

/// The message of a notice.
pub(super) fn message(notice: &Notice) -> String {
    let severity = match notice.severity {
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let entries: Vec<_> = notice.entries.iter().map(u64::to_string).collect();
    let index = notice.index.map(|index| index.to_string()).unwrap_or_default();
    let kind = if notice.test { "test" } else { "alert" };
    let (rt, count) = (notice.at.unix_ms().to_string(), notice.count.to_string());
    let (id, entries) = (notice.id.as_str(), entries.join(","));
    let extension = [
        ("rt", rt.as_str()),
        ("externalId", id),
        ("cat", kind),
        ("cnt", &count),
        ("dvchost", notice.authority.as_ref()),
        ("cn1Label", "logIndex"),
        ("cn1", &index),
        ("cs1Label", "group"),
        ("cs1", notice.group.as_deref().unwrap_or_default()),
        ("cs2Label", "entries"),
        ("cs2", &entries),
        ("msg", &notice.summary),
    ];
    let extension: Vec<_> =
        extension.iter().map(|(key, value)| format!("{key}={}", escaped(value, '='))).collect();
    let header = [&notice.rule, &notice.summary].map(|field| escaped(field, '|'));
    let [rule, summary] = &header;
    let version = env!("CARGO_PKG_VERSION");
    let said =
        format!("CEF:0|kOS|kos-authority|{version}|{rule}|{summary}|{severity}|{}", extension.join(" "));
    format!("{} - {said}", syslog::header(notice))
}

fn escaped(value: &str, special: char) -> String {
    let one = |c: char| if c == special || c == '\\' { format!("\\{c}") } else { c.to_string() };
    printable(value, 400).chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::tests::hostile;

    #[test]
    fn neither_a_field_nor_a_value_can_end_itself() {
        let said = message(&hostile());
        let cef = said.split_once(" - CEF:0|").unwrap().1;
        // What is not escaped divides the header; in the extension a `|` is a letter like any other.
        let (header, _) = cef.split_once("|rt=").unwrap();
        let header = header.replace("\\\\", "").replace("\\|", "");
        assert_eq!(header.matches('|').count(), 5, "{said}");
        assert!(said.contains(r#"|a"b\\c]d|"#), "{said}");
        assert!(said.contains(r"msg=e\=f|g"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
