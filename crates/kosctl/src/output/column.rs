//! Columns of tables, and how a value looks in one.

use core::time::Duration;

use kos_base::{Timestamp, text::printable};
use serde_json::Value;

use crate::terminal::Tone;

/// Most characters of a value. Longer text is cut, so that a hostile name cannot fill a screen.
const VALUE_CHARS_MAX: usize = 4000;

/// Most characters of a value in a row.
const CELL_CHARS_MAX: usize = 120;

/// One column: a field and how it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    pub(super) title: &'a str,
    pub(super) path: &'a str,
    pub(super) form: Form,
    pub(super) is_wide: bool,
}

/// What stands in a table, before it is painted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// A list inside an item.
#[derive(Debug)]
pub(crate) struct Section {
    pub(super) path: &'static str,
    pub(super) columns: &'static [Column<'static>],
}

/// How a value looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Text,
    /// A moment: how long ago in a row, in full in an item.
    Moment,
    /// A number of bytes.
    Bytes,
    /// A part of a hundred.
    Percent,
    /// A number of seconds.
    Seconds,
    /// A long hex text: its beginning in a row.
    Hash,
    /// A state, in its colour.
    State,
    /// Something that should be true.
    Good,
    /// The id of somebody, whose kind stands beside it; a person without a name was erased.
    Who,
    /// A text of several lines: its first in a row.
    Lines,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Row,
    /// A row of which nothing is cut that can be read.
    Wide,
    Line,
}

impl<'a> Column<'a> {
    pub(crate) const fn of(title: &'a str, path: &'a str) -> Self {
        Self { title, path, form: Form::Text, is_wide: false }
    }

    pub(crate) const fn looks(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Only with `-o wide`, and when an item is shown alone.
    pub(crate) const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    pub(super) fn cell(&self, item: &Value, room: Room, now: Timestamp) -> Cell {
        let value = lookup(item, self.path);
        let text = match (self.form, value) {
            (Form::Who, Some(Value::Null)) if is_person_beside(item, self.path) => "erased".to_owned(),
            (_, None | Some(Value::Null)) => return Cell { text: "-".to_owned(), tone: Tone::Plain },
            (Form::Moment, Some(Value::String(text))) => moment(text, room, now),
            (Form::Bytes, Some(Value::Number(n))) => bytes(n.as_u64().unwrap_or_default()),
            (Form::Percent, Some(Value::Number(n))) => format!("{:.0} %", n.as_f64().unwrap_or_default()),
            (Form::Seconds, Some(Value::Number(n))) => {
                span(Duration::from_secs(n.as_u64().unwrap_or_default()))
            }
            (Form::Hash, Some(Value::String(text))) if room != Room::Line => text.chars().take(16).collect(),
            (Form::Lines, Some(Value::String(text))) => text.lines().next().unwrap_or_default().to_owned(),
            (_, value) => plain(value),
        };
        let tone = match (self.form, text.as_str()) {
            (Form::Good, "yes") | (Form::State, "active" | "open" | "good" | "unlocked") => Tone::Good,
            (Form::Good, _)
            | (Form::State, "expired" | "suspended" | "quarantined" | "revoked" | "refused") => Tone::Bad,
            (Form::State, "pending" | "renewal-due" | "decommissioning" | "unknown") => Tone::Warn,
            _ => Tone::Plain,
        };
        let chars_max = match room {
            Room::Row => CELL_CHARS_MAX,
            Room::Wide | Room::Line => VALUE_CHARS_MAX,
        };
        Cell { text: printable(&text, chars_max), tone }
    }

    /// The value of an item that is shown alone: one cell, or one for each line of a text that has several.
    pub(super) fn lines(&self, item: &Value, now: Timestamp) -> Vec<Cell> {
        match (self.form, lookup(item, self.path)) {
            (Form::Lines, Some(Value::String(text))) if !text.is_empty() => {
                let written = text.lines().filter(|line| !line.is_empty());
                let cell = |line| Cell { text: printable(line, VALUE_CHARS_MAX), tone: Tone::Plain };
                written.map(cell).collect()
            }
            _ => vec![self.cell(item, Room::Line, now)],
        }
    }
}

/// What stood in a text and what stands in it instead, line by line: what both have at their beginning and end once.
pub(super) fn differing(from: &str, to: &str) -> Vec<Cell> {
    let (from, to): (Vec<_>, Vec<_>) = (from.lines().collect(), to.lines().collect());
    let begin = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let (old, new) = (from.get(begin..).unwrap_or_default(), to.get(begin..).unwrap_or_default());
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, tail) = old.split_at(old.len().saturating_sub(end));
    let new = new.get(..new.len().saturating_sub(end)).unwrap_or_default();
    let head = from.get(..begin).unwrap_or_default();
    let cell = |mark: char, tone: Tone, line: &str| {
        let line = printable(&line.replace('\t', "    "), VALUE_CHARS_MAX);
        Cell { text: format!("{mark} {line}"), tone }
    };
    let all =
        [(' ', Tone::Plain, head), ('-', Tone::Bad, old), ('+', Tone::Good, new), (' ', Tone::Plain, tail)];
    all.into_iter()
        .flat_map(|(mark, tone, lines)| lines.iter().map(move |line| cell(mark, tone, line)))
        .collect()
}

impl Cell {
    pub(super) const fn label(text: String) -> Self {
        Self { text, tone: Tone::Dim }
    }
}

impl Section {
    pub(crate) const fn of(path: &'static str, columns: &'static [Column<'static>]) -> Self {
        Self { path, columns }
    }
}

/// The field at `a.b.c`.
pub(super) fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| match value {
        Value::Null => Some(value),
        _ => value.get(key),
    })
}

/// Whether what stands at `a.id` is a person, by what stands at `a.type`.
fn is_person_beside(item: &Value, path: &str) -> bool {
    let kind = path.rsplit_once('.').and_then(|(party, _)| lookup(item, &format!("{party}.type")));
    kind.and_then(Value::as_str).is_some_and(|kind| ["operator", "local-user"].contains(&kind))
}

/// A value in one line, without marks around text.
pub(super) fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text, VALUE_CHARS_MAX),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => items.iter().map(|v| plain(Some(v))).collect::<Vec<_>>().join(", "),
        Some(other) => printable(&other.to_string(), VALUE_CHARS_MAX),
    }
}

fn moment(text: &str, room: Room, now: Timestamp) -> String {
    let Ok(at) = text.parse::<Timestamp>() else { return text.to_owned() };
    let (ahead, past) = (at.since(now), now.since(at));
    let relative = if ahead.max(past) < Duration::from_secs(1) {
        // Two machines, or two moments of one: nobody can tell before from after.
        "now".to_owned()
    } else if at > now {
        format!("in {}", span(ahead))
    } else {
        format!("{} ago", span(past))
    };
    match room {
        Room::Row | Room::Wide => relative,
        Room::Line => format!("{text}   {relative}"),
    }
}

/// A length of time in its largest unit.
fn span(length: Duration) -> String {
    let s = length.as_secs();
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) => {
            let tenths = n.saturating_mul(10) / size;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{n} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_people_read_them() {
        let now: Timestamp = "2026-11-20T12:00:00.000Z".parse().unwrap();
        for (form, value, row) in [
            (Form::Moment, json!("2026-11-20T11:59:48.000Z"), "12 s ago"),
            (Form::Moment, json!("2026-11-20T12:00:00.999Z"), "now"),
            (Form::Moment, json!("2026-11-20T11:59:59.001Z"), "now"),
            (Form::Moment, json!("2026-12-04T12:00:00.000Z"), "in 14 d"),
            (Form::Bytes, json!(1_610_612_736_u64), "1.5 GiB"),
            (Form::Bytes, json!(1023), "1023 B"),
            (Form::Percent, json!(12.4), "12 %"),
            (Form::Seconds, json!(7300), "2 h"),
            (Form::Hash, json!("0123456789abcdef0123"), "0123456789abcdef"),
            (Form::Text, json!(["a", "b"]), "a, b"),
            (Form::Text, json!(null), "-"),
            (Form::Good, json!(true), "yes"),
            (Form::Text, json!("a\u{1b}[2Jb"), "a\u{fffd}[2Jb"),
        ] {
            let column = Column::of("X", "x").looks(form);
            assert_eq!(column.cell(&json!({ "x": value }), Room::Row, now).text, row);
        }
    }

    #[test]
    fn what_is_the_same_in_two_texts_stands_once() {
        let lines = |from, to| differing(from, to).into_iter().map(|cell| cell.text).collect::<Vec<_>>();
        assert_eq!(lines("a\n\tb\nc\n", "a\nd\ne\nc"), ["  a", "-     b", "+ d", "+ e", "  c"]);
        assert_eq!(lines("", "a\u{1b}\nb"), ["+ a\u{fffd}", "+ b"]);
        assert_eq!(lines("a\na", "a"), ["  a", "- a"]);
    }

    #[test]
    fn nothing_of_a_wide_row_is_cut() {
        let column = Column::of("X", "x");
        let text = |room| column.cell(&json!({"x": "y".repeat(300)}), room, Timestamp::from_unix_s(0)).text;
        assert_eq!((text(Room::Row).chars().count(), text(Room::Wide).len()), (CELL_CHARS_MAX + 1, 300));
    }

    #[test]
    fn a_path_through_the_unknown_is_unknown_and_one_to_nowhere_is_not_there() {
        let value = json!({ "health": null, "a": { "b": 1 } });
        assert_eq!(lookup(&value, "health.cpuPercent"), Some(&Value::Null));
        assert_eq!(lookup(&value, "a.b"), Some(&json!(1)));
        assert_eq!(lookup(&value, "a.c"), None);
    }

    #[test]
    fn a_text_of_several_lines_has_a_line_for_each() {
        let column = Column::of("checkpoint", "note").looks(Form::Lines);
        let text = |item: &Value| {
            let cells = column.lines(item, Timestamp::from_unix_s(0));
            cells.into_iter().map(|cell| cell.text).collect::<Vec<_>>()
        };
        assert_eq!(
            text(&json!({"note": "kos/attic\n7\n\n\u{2014} a\u{1b}[2J\n"})),
            ["kos/attic", "7", "\u{2014} a\u{fffd}[2J"]
        );
        assert_eq!(text(&json!({"note": null})), ["-"]);
        assert_eq!(text(&json!({"note": ""})), [""]);
    }
}
