//! How results are written: tables for people, documents for programs.
//!
//! stdout has results and nothing else; talk goes to stderr. Columns are named by their path in the JSON document
//! (`health.cpuPercent`), so that `--columns` and `--sort` take whatever field it has.
//!
//! Text that strangers wrote (names, reasons, subjects of certificates) cannot command a terminal: JSON escapes such
//! characters, every other form replaces them.

mod column;
mod kinds;
mod safe;
mod table;

use std::{
    cmp::Ordering,
    io::{self, Write as _},
};

use kos_api::{API_VERSION, Failure, Kind, List, audit::LeftOut, envelope::list_kind};
use kos_base::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub(crate) use column::{Column, Form, Section};
use column::{lookup, plain};

use crate::{Fault, terminal::Palette};

/// A kind that people can read as well.
pub(crate) trait Shown: Kind {
    /// The field that names an item, for `-o name`.
    const NAME: &'static str;
    /// What a list of none is called: `no devices`.
    const PLURAL: &'static str;
    /// The fields of a row.
    const COLUMNS: &'static [Column<'static>];
    /// Lists inside an item, which follow its fields.
    const SECTIONS: &'static [Section] = &[];
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The most important columns.
    #[default]
    Table,
    /// All columns.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// One YAML document.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// A field to sort by; `-field` from the largest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    path: String,
    descending: bool,
}

/// Writes results to stdout.
#[derive(Debug)]
pub(crate) struct Printer {
    pub(crate) format: Format,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) sort: Option<Sort>,
    pub(crate) palette: Palette,
    /// The time when something is written: a person may have typed for long since the start.
    pub(crate) now: fn() -> Timestamp,
}

/// `Document`, around something borrowed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a, T> {
    api_version: &'a str,
    kind: &'a str,
    item: &'a T,
}

/// `List`, around things borrowed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Many<'a, T> {
    api_version: &'a str,
    kind: &'a str,
    items: Vec<&'a T>,
    next: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<&'a LeftOut>,
}

impl core::str::FromStr for Sort {
    type Err = core::convert::Infallible;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let path = s.strip_prefix('-').unwrap_or(s);
        Ok(Self { path: path.to_owned(), descending: path.len() < s.len() })
    }
}

impl Printer {
    /// Whether a person reads the result, not a program.
    pub(crate) const fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// One item: its fields for people, a document for programs.
    pub(crate) fn item<T: Shown>(&self, item: &T) -> Result<(), Fault> {
        if self.is_for_people() && self.columns.is_none() {
            return write_out(&table::item::<T>(&value_of(item)?, self));
        }
        self.row(item)
    }

    /// One item as a row, which is enough to say what became of it.
    pub(crate) fn row<T: Shown>(&self, item: &T) -> Result<(), Fault> {
        match self.format {
            Format::Table | Format::Wide => self.table::<T>(&[value_of(item)?]),
            Format::Name => write_out(&format!("{}\n", plain(lookup(&value_of(item)?, T::NAME)))),
            Format::Json | Format::Jsonl | Format::Yaml => {
                self.document(&One { api_version: API_VERSION, kind: T::KIND, item })
            }
        }
    }

    /// A list of items.
    pub(crate) fn list<T: Shown>(&self, list: &List<T>) -> Result<(), Fault> {
        let mut items: Vec<(&T, Value)> =
            list.items.iter().map(|item| Ok((item, value_of(item)?))).collect::<Result<_, Fault>>()?;
        if let Some(Sort { path, descending }) = &self.sort {
            chosen_column::<T>(path, items.first().map(|(_, value)| value))?;
            items.sort_by(|(_, a), (_, b)| {
                let order = compare(lookup(a, path), lookup(b, path));
                if *descending { order.reverse() } else { order }
            });
        }
        match self.format {
            Format::Table | Format::Wide => {
                self.table::<T>(&items.into_iter().map(|(_, value)| value).collect::<Vec<_>>())
            }
            Format::Name => items
                .iter()
                .try_for_each(|(_, value)| write_out(&format!("{}\n", plain(lookup(value, T::NAME))))),
            Format::Jsonl => items.iter().try_for_each(|(item, _)| self.row(*item)),
            Format::Json | Format::Yaml => self.document(&Many {
                api_version: API_VERSION,
                kind: &list_kind(T::KIND),
                items: items.into_iter().map(|(item, _)| item).collect(),
                next: list.next.as_deref(),
                archived: list.archived.as_ref(),
            }),
        }
    }

    /// Items of something that goes on: lines of a table, or a JSON document each. `widths` are those of the columns so far.
    pub(crate) fn lines<T: Shown>(&self, items: &[T], widths: &mut Vec<usize>) -> Result<(), Fault> {
        let values = || items.iter().map(value_of).collect::<Result<Vec<_>, Fault>>();
        match self.format {
            Format::Table | Format::Wide => {
                let values = values()?;
                let columns = self.columns_of::<T>(&values)?;
                write_out(&table::more_rows(&columns, &values, self, widths))
            }
            Format::Name | Format::Jsonl | Format::Yaml => items.iter().try_for_each(|item| self.row(item)),
            Format::Json => items.iter().try_for_each(|item| {
                let one = One { api_version: API_VERSION, kind: T::KIND, item };
                let failed = |e: serde_json::Error| Fault::Internal(format!("cannot be written: {e}"));
                write_out(&(safe::escaped(&serde_json::to_string(&one).map_err(failed)?) + "\n"))
            }),
        }
    }

    fn document(&self, document: &impl Serialize) -> Result<(), Fault> {
        let failed = |e: &dyn core::fmt::Display| Fault::Internal(format!("cannot be written: {e}"));
        let text = match self.format {
            Format::Yaml => safe::replaced(&serde_saphyr::to_string(document).map_err(|e| failed(&e))?),
            Format::Jsonl => safe::escaped(&serde_json::to_string(document).map_err(|e| failed(&e))?) + "\n",
            _ => safe::escaped(&serde_json::to_string_pretty(document).map_err(|e| failed(&e))?) + "\n",
        };
        write_out(&text)
    }

    fn table<T: Shown>(&self, values: &[Value]) -> Result<(), Fault> {
        write_out(&table::rows(&self.columns_of::<T>(values)?, values, self))
    }

    fn columns_of<T: Shown>(&self, values: &[Value]) -> Result<Vec<Column<'_>>, Fault> {
        let Some(paths) = &self.columns else {
            let all = self.format == Format::Wide;
            return Ok(T::COLUMNS.iter().filter(|c| all || !c.is_wide).copied().collect());
        };
        paths.iter().map(|path| chosen_column::<T>(path, values.first())).collect()
    }
}

/// Writes to stdout.
pub(crate) fn write_out(text: &str) -> Result<(), Fault> {
    write_bytes(text.as_bytes())
}

/// Writes to stdout what need not be text.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| match source.kind() {
        io::ErrorKind::BrokenPipe => Fault::OutputClosed,
        _ => Fault::Unwritable { path: "stdout".into(), source },
    })
}

/// A failure as JSON, for stderr.
pub(crate) fn failure_json(failure: &Failure) -> String {
    let document = One { api_version: API_VERSION, kind: Failure::KIND, item: failure };
    safe::escaped(&serde_json::to_string(&document).unwrap_or_default())
}

fn value_of<T: Serialize>(item: &T) -> Result<Value, Fault> {
    serde_json::to_value(item).map_err(|e| Fault::Internal(format!("cannot be written: {e}")))
}

/// The column of a path that somebody typed. It need not be one of the usual columns, but it must be there.
fn chosen_column<'a, T: Shown>(path: &'a str, example: Option<&Value>) -> Result<Column<'a>, Fault> {
    let usual = T::COLUMNS.iter().find(|c| c.path == path || c.title.eq_ignore_ascii_case(path));
    if let Some(column) = usual {
        return Ok(*column);
    }
    if example.is_none_or(|value| lookup(value, path).is_some()) {
        return Ok(Column::of(path, path));
    }
    let known: Vec<_> =
        example.and_then(Value::as_object).into_iter().flat_map(|o| o.keys().cloned()).collect();
    let message = format!("a {} has no field `{}`", T::KIND, kos_base::text::printable(path, 60));
    Err(Fault::usage(message, format!("use one of: {}", known.join(", "))))
}

/// Numbers by size, all else by its text; what is unknown comes last.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None | Some(Value::Null), None | Some(Value::Null)) => Ordering::Equal,
        (None | Some(Value::Null), _) => Ordering::Greater,
        (_, None | Some(Value::Null)) => Ordering::Less,
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (a, b) => plain(a).cmp(&plain(b)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_sort_by_size_and_the_unknown_last() {
        let mut values = [json!(10), json!(null), json!(9), json!("b"), json!("a")];
        values[..3].sort_by(|a, b| compare(Some(a), Some(b)));
        values[3..].sort_by(|a, b| compare(Some(a), Some(b)));
        assert_eq!(values, [json!(9), json!(10), json!(null), json!("a"), json!("b")]);
    }

    #[test]
    fn a_sort_from_the_largest_has_a_minus() {
        assert_eq!("-name".parse(), Ok(Sort { path: "name".into(), descending: true }));
        assert_eq!("name".parse(), Ok(Sort { path: "name".into(), descending: false }));
    }
}
