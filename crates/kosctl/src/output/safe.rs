//! Documents that cannot command the terminal on which they are shown.

use kos_base::text::is_safe;

/// JSON with every character escaped that a terminal might obey. The same document: such characters stand in strings
/// only, since between them JSON has nothing but ASCII.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_safe(c) || c == '\n' {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

/// Text of several lines with such characters replaced.
pub(super) fn replaced(text: &str) -> String {
    text.chars().map(|c| if is_safe(c) || c == '\n' { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_means_the_same_and_is_harmless() {
        let hostile = "a\u{9b}2J\u{202e}\x1b[31m\u{e0041}ü";
        let text = escaped(&serde_json::to_string(hostile).unwrap());
        assert_eq!(text, r#""a\u009b2J\u202e\u001b[31m\udb40\udc41ü""#);
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }
}
