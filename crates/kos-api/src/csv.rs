//! CSV that a spreadsheet shows and does not obey.
//!
//! RFC 4180: every cell in quotes, quotes doubled, lines end in CR LF. A cell that a spreadsheet would take for a formula
//! begins with an apostrophe. Characters that a terminal or a page obeys instead of showing, line ends among them, are
//! replaced, so that one line is one row for every reader.

use kos_base::text::is_safe;

/// What begins a formula in one spreadsheet or another, also in the wide forms of East Asian input; blanks before it do not
/// help.
const FORMULA: [char; 9] = ['=', '+', '-', '@', '|', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Appends one row.
pub fn push_row<'a>(out: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (at, cell) in cells.into_iter().enumerate() {
        out.push_str(if at == 0 { "\"" } else { ",\"" });
        push_cell(out, cell);
        out.push('"');
    }
    out.push_str("\r\n");
}

fn push_cell(out: &mut String, cell: &str) {
    let begins = cell.chars().find(|c| !c.is_whitespace() && is_safe(*c));
    let is_number = !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit());
    if !is_number && (begins.is_some_and(|c| FORMULA.contains(&c)) || cell.starts_with(['\t', '\r', '\n'])) {
        out.push('\'');
    }
    for c in cell.chars() {
        match c {
            '"' => out.push_str("\"\""),
            c if is_safe(c) => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> String {
        let mut out = String::new();
        push_row(&mut out, cells.iter().copied());
        out
    }

    #[test]
    fn cells_are_quoted_and_a_row_is_a_line() {
        assert_eq!(row(&["a", "b,c", "d\"e", ""]), "\"a\",\"b,c\",\"d\"\"e\",\"\"\r\n");
        assert_eq!(row(&["a\r\nb"]), "\"a\u{fffd}\u{fffd}b\"\r\n");
        assert_eq!(row(&["{\"a\":1}", "17", "ü 日本"]), "\"{\"\"a\"\":1}\",\"17\",\"ü 日本\"\r\n");
    }

    #[test]
    fn no_cell_is_a_formula_or_commands_a_terminal() {
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "|x",
            "\t=1",
            "\r=1",
            " =1",
            "\u{200b}=1",
            "\u{ff1d}1",
            "\u{202e}=1",
        ] {
            let line = row(&[formula]);
            assert!(line.starts_with("\"'"), "{formula:?} {line:?}");
        }
        let hostile = row(&["\u{1b}[2J\u{9b}31m\u{202e}\u{0}\u{7f}\u{e0041}<b>"]);
        assert_eq!(hostile, "\"\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}<b>\"\r\n");
    }
}
