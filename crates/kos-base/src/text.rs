//! Text from strangers, made safe to show, and what the system says, in our words.

use std::io;

use data_encoding::BASE64;

/// `s` with control characters, bidirectional overrides and other invisible marks replaced by `�`, cut to at most
/// `chars_max` characters. Use it for every text that did not come from this program, before a person sees it.
pub fn printable(s: &str, chars_max: usize) -> String {
    let mut out: String =
        s.chars().take(chars_max).map(|c| if is_safe(c) { c } else { '\u{fffd}' }).collect();
    if s.chars().nth(chars_max).is_some() {
        out.push('…');
    }
    out
}

/// Whether a terminal or a page shows `c` as one visible mark or a space and does nothing else.
pub fn is_safe(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{061c}' | '\u{e0000}'..='\u{e0fff}'))
}

/// What an IO error means, in our words.
pub fn reason(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => "there is nothing of this name",
        Kind::PermissionDenied => "no permission",
        Kind::AlreadyExists => "there is something of this name already",
        Kind::ConnectionRefused => "nobody listens there",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => "the connection broke",
        Kind::UnexpectedEof => "it ends too early",
        Kind::TimedOut => "no answer in time",
        Kind::HostUnreachable | Kind::NetworkUnreachable => "no route to it",
        Kind::AddrNotAvailable => "this machine has no such address",
        Kind::AddrInUse => "somebody else listens there",
        Kind::StorageFull | Kind::QuotaExceeded => "no space left",
        Kind::ReadOnlyFilesystem => "the file system is read-only",
        Kind::IsADirectory => "it is a folder",
        Kind::NotADirectory => "a part of the path is not a folder",
        Kind::FileTooLarge => "it is too large",
        Kind::InvalidData => "it is not what it should be",
        Kind::InvalidFilename => "the name is not possible",
        _ => "the system refused",
    }
}

/// The only line of a text, without its line end (LF or CRLF); `None` when more follows. So is a passphrase read that lies
/// in a file: nothing else is taken off it, since a blank may be a part of it.
pub fn only_line(text: &str) -> Option<&str> {
    let line = match text.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => text,
    };
    (!line.contains('\n')).then_some(line)
}

/// The bytes that `text` is the one base64 of: RFC 4648, section 4, with padding at the end and zero bits in it. The library
/// alone takes padded pieces one after the other as well, so that a value would have many texts.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let is_one = !text.trim_end_matches('=').contains('=');
    if is_one { BASE64.decode(text.as_bytes()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        for (text, line) in [
            ("a b", Some("a b")),
            (" a \n", Some(" a ")),
            ("a\r\n", Some("a")),
            ("a\r", Some("a\r")),
            ("", Some("")),
            ("\n", Some("")),
            ("a\nb", None),
            ("a\n\n", None),
            ("\na", None),
        ] {
            assert_eq!(only_line(text), line, "{text:?}");
        }
    }

    #[test]
    fn a_value_has_one_base64() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("Zm9vYg==", b"foob")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes));
        }
        for other in ["Zg==Zg==", "Zm8=Zm9v", "Zh==", "Zg=", "Zg", "Zm9v=", "====", "Zm 9v", "Zm9v\n", "Zm9_"]
        {
            assert_eq!(base64(other), None, "{other:?}");
        }
    }

    #[test]
    fn terminal_escapes_and_overrides_are_made_visible() {
        assert_eq!(printable("a\x1b[31mb", 64), "a\u{fffd}[31mb");
        assert_eq!(printable("x\u{202e}y\u{200b}", 64), "x\u{fffd}y\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("Küche 2", 64), "Küche 2");
    }
}
