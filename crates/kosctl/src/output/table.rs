//! Rows of items, and an item as lines of its fields.

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::{
    Printer, Shown,
    column::{Cell, Column, Room, lookup},
};

/// Spaces between two columns.
const GAP: usize = 2;

/// A header and a row for each item; nothing when there is none.
pub(super) fn rows(columns: &[Column<'_>], items: &[Value], printer: &Printer) -> String {
    if items.is_empty() {
        return String::new();
    }
    let header = columns.iter().map(|c| Cell::label(c.title.to_uppercase())).collect();
    let row = |item| columns.iter().map(|c| c.cell(item, Room::Row, (printer.now)())).collect();
    aligned(&core::iter::once(header).chain(items.iter().map(row)).collect::<Vec<_>>(), printer)
}

/// Every field on a line, then the lists inside.
pub(super) fn item<T: Shown>(item: &Value, printer: &Printer) -> String {
    let lines = |c: &Column<'_>| {
        let title = c.title.to_lowercase();
        let label = move |at| Cell::label(if at == 0 { title.clone() } else { String::new() });
        let cells = c.lines(item, (printer.now)()).into_iter().enumerate();
        cells.map(|(at, cell)| vec![label(at), cell]).collect::<Vec<_>>()
    };
    let mut out = aligned(&T::COLUMNS.iter().flat_map(lines).collect::<Vec<_>>(), printer);
    for section in T::SECTIONS {
        if let Some(Value::Array(inner)) = lookup(item, section.path)
            && !inner.is_empty()
        {
            out.push('\n');
            out.push_str(&rows(section.columns, inner, printer));
        }
    }
    out
}

fn aligned(rows: &[Vec<Cell>], printer: &Printer) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns)
        .map(|at| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max().unwrap_or_default()
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut spaces = 0;
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(&" ".repeat(spaces));
            out.push_str(&printer.palette.paint(cell.tone, &cell.text));
            spaces = width - cell.text.width() + GAP;
        }
        out.push('\n');
    }
    out
}
