//! Text from strangers, made safe to show.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_overrides_are_made_visible() {
        assert_eq!(printable("a\x1b[31mb", 64), "a\u{fffd}[31mb");
        assert_eq!(printable("x\u{202e}y\u{200b}", 64), "x\u{fffd}y\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("Küche 2", 64), "Küche 2");
    }
}
