//! Rows of items, and an item as lines of its fields.

use kos_base::text::printable;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::{
    Format, Printer, Shown,
    column::{Cell, Column, Room, differing, lookup},
};

/// Spaces between two columns.
const GAP: usize = 2;

/// Longest name of what changes, in characters.
const FIELD_CHARS_MAX: usize = 200;

/// A header and a row for each item; nothing when there is none.
pub(super) fn rows(columns: &[Column<'_>], items: &[Value], printer: &Printer) -> String {
    if items.is_empty() {
        return String::new();
    }
    more_rows(columns, items, printer, &mut Vec::new())
}

/// Rows of a table that goes on: its header comes with the first, and columns only grow wider.
pub(super) fn more_rows(
    columns: &[Column<'_>],
    items: &[Value],
    printer: &Printer,
    widths: &mut Vec<usize>,
) -> String {
    if items.is_empty() {
        return String::new();
    }
    let room = if printer.format == Format::Wide { Room::Wide } else { Room::Row };
    let header = columns.iter().map(|c| Cell::label(c.title.to_uppercase())).collect();
    let header = widths.is_empty().then_some(header);
    let row = |item| columns.iter().map(|c| c.cell(item, room, (printer.now)())).collect();
    aligned(&header.into_iter().chain(items.iter().map(row)).collect::<Vec<_>>(), printer, widths)
}

/// Every field on a line, then the lists inside.
pub(super) fn item<T: Shown>(item: &Value, printer: &Printer) -> String {
    let lines = |c: &Column<'_>| {
        let title = c.title.to_lowercase();
        let label = move |at| Cell::label(if at == 0 { title.clone() } else { String::new() });
        let cells = c.lines(item, (printer.now)()).into_iter().enumerate();
        cells.map(|(at, cell)| vec![label(at), cell]).collect::<Vec<_>>()
    };
    let mut out = aligned(&T::COLUMNS.iter().flat_map(lines).collect::<Vec<_>>(), printer, &mut Vec::new());
    for section in T::SECTIONS {
        if let Some(Value::Array(inner)) = lookup(item, section.path)
            && !inner.is_empty()
        {
            out.push('\n');
            let written = if is_of_lines(inner) {
                texts(inner, printer)
            } else {
                rows(section.columns, inner, printer)
            };
            out.push_str(&written);
        }
    }
    out
}

/// Whether these are changes of texts that have several lines.
fn is_of_lines(changes: &[Value]) -> bool {
    let text = |change, path| lookup(change, path).and_then(Value::as_str);
    let mut texts = changes.iter().flat_map(|change| [text(change, "from"), text(change, "to")]);
    texts.any(|text| text.is_some_and(|text| text.contains('\n')))
}

/// Changes of texts, one below the other: what goes with a minus, what comes with a plus.
fn texts(changes: &[Value], printer: &Printer) -> String {
    let mut out = String::new();
    for change in changes {
        let text = |path| lookup(change, path).and_then(Value::as_str).unwrap_or_default();
        let field = Cell::label(printable(text("field"), FIELD_CHARS_MAX));
        for Cell { text, tone } in std::iter::once(field).chain(differing(text("from"), text("to"))) {
            out.push_str(&printer.palette.paint(tone, &text));
            out.push('\n');
        }
    }
    out
}

fn aligned(rows: &[Vec<Cell>], printer: &Printer, widths: &mut Vec<usize>) -> String {
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (cell, width) in row.iter().zip(widths.iter_mut()) {
            *width = cell.text.width().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut spaces = 0;
        for (cell, width) in row.iter().zip(widths.iter()) {
            out.push_str(&" ".repeat(spaces));
            out.push_str(&printer.palette.paint(cell.tone, &cell.text));
            spaces = width - cell.text.width() + GAP;
        }
        out.push('\n');
    }
    out
}
