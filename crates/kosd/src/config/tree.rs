//! The file as nodes with their lines, before anybody asks what they mean.
//!
//! Shape: texts, lists, maps and nothing. YAML's own idea of numbers and truth does not matter here: `7` and `"7"` are the
//! same text. Anchors, aliases, tags, merge keys, repeated keys and several documents are refused, since nobody needs
//! them here and they are how small files become large ones.
//!
//! Limits: [`DEPTH_MAX`] and [`NODES_MAX`], so that a file costs memory in proportion to its length.

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use kos_base::text::printable;

/// Deepest nesting: the file, a section, a key, a list or map of values, and some air.
const DEPTH_MAX: usize = 8;
/// Most nodes. Stops a small file from filling the memory of a small device.
const NODES_MAX: usize = 2_000;
/// Longest reason of the parser that is told, in characters.
const REASON_CHARS_MAX: usize = 200;

/// A value and the line that it begins on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lined<T> {
    pub(super) line: u64,
    pub(super) value: T,
}

/// One node of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing, `~` or `null`, not in quotes.
    Nothing,
    /// A text, whatever it looks like.
    Text(String),
    /// A list.
    List(Vec<Lined<Node>>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Lined<String>,
    pub(super) value: Lined<Node>,
}

/// What is wrong, and on which line.
pub(super) type Fault = Lined<String>;

/// Reads a file. One without any content is [`Node::Nothing`].
pub(super) fn read(text: &str) -> Result<Lined<Node>, Fault> {
    let mut options = Options::default();
    options.disallow_directives = true;
    options.emit_anchor_events = false;
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut reading = Reading { parser: Parser::new_from_str_with_options(text, options), nodes: 0 };
    reading.file()
}

struct Reading<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reading<'a> {
    fn file(&mut self) -> Result<Lined<Node>, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or(Lined { line: 1, value: Node::Nothing })),
                Event::DocumentStart(..) if root.is_some() => return Err(fault(&span, "a second document")),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let reason = printable(&error.info(), REASON_CHARS_MAX);
                Err(Lined { line: line(error.marker().line()), value: format!("not YAML: {reason}") })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Lined<Node>, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(fault(span, "too much for a configuration"));
        }
        if event.is_alias() || event.anchor_id().is_some() || event.tag().is_some() {
            return Err(fault(span, "anchors, aliases and tags are not used here"));
        }
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => {
                Node::Nothing
            }
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            Event::SequenceStart(..) => Node::List(self.list(depth)?),
            Event::MappingStart(..) => Node::Map(self.map(depth)?),
            _ => return Err(fault(span, "not a value")),
        };
        Ok(Lined { line: line(span.start.line()), value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Lined<Node>>, Fault> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(list),
                (event, span) => list.push(self.node(event, &span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Fault> {
        let mut map: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(map),
                next => next,
            };
            let key = match self.node(event, &span, depth + 1)? {
                Lined { line, value: Node::Text(value) } => Lined { line, value },
                _ => return Err(fault(&span, "a key that is not a word")),
            };
            if key.value == "<<" {
                return Err(fault(&span, "merge keys are not used here"));
            }
            if map.iter().any(|entry| entry.key.value == key.value) {
                let again = format!("`{}` stands there twice", printable(&key.value, 64));
                return Err(Lined { line: key.line, value: again });
            }
            let (event, span) = self.next()?;
            map.push(Entry { key, value: self.node(event, &span, depth + 1)? });
        }
    }
}

fn fault(span: &Span, reason: &str) -> Fault {
    Lined { line: line(span.start.line()), value: reason.to_owned() }
}

fn line(counted: usize) -> u64 {
    u64::try_from(counted).unwrap_or(u64::MAX).max(1)
}
