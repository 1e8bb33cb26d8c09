//! Server-sent events as they come: bytes in any pieces, whole events out.
//!
//! Source: WHATWG HTML, 9.2.6; fields other than `id`, `event` and `data` mean nothing here.

/// Longest event, in bytes. Stops a server that would fill memory.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where to go on behind it; empty when nothing was said so far.
    pub(crate) id: String,
    /// What it is; empty when nothing was said.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: String,
}

/// The event is longer than any that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    skips_newline: bool,
    event: Event,
    /// The id of the last event, or of the last sign of life.
    pub(crate) last_id: Option<String>,
    /// The id that the lines so far have named; it counts with the empty line.
    id: Option<String>,
}

impl EventReader {
    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            if std::mem::take(&mut self.skips_newline) && *byte == b'\n' {
                continue;
            }
            match byte {
                b'\n' | b'\r' => {
                    self.skips_newline = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&String::from_utf8_lossy(&line)));
                }
                other => self.line.push(*other),
            }
            if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            self.last_id.clone_from(&self.id);
            let mut event = std::mem::take(&mut self.event);
            event.id = self.last_id.clone().unwrap_or_default();
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_cut_is_not_taken_for_seen() {
        let mut cut = EventReader::default();
        cut.take(b"id: 1\n\nid: 2\nevent: entry\ndata: {").unwrap();
        assert_eq!(cut.last_id.as_deref(), Some("1"));
    }

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let text = ": beat\nid: 4\n\nid: 5\r\nevent: entry\r\ndata: {\"a\":1}\r\n\r\nid: 6\ndata:x\ndata: y\nretry: 7\n\n";
        for step in 1..text.len() {
            let mut reader = EventReader::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(step) {
                events.extend(reader.take(piece).unwrap());
            }
            let event = |id: &str, name: &str, data: &str| Event {
                id: id.to_owned(),
                name: name.to_owned(),
                data: data.to_owned(),
            };
            assert_eq!(events, [event("5", "entry", "{\"a\":1}"), event("6", "", "x\ny")], "{step}");
            assert_eq!(reader.last_id.as_deref(), Some("6"));
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut reader = EventReader::default();
        let endless = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(reader.take(&endless), Ok(Vec::new()));
        assert_eq!(reader.take(b"x"), Err(TooLong));
        let mut reader = EventReader::default();
        let mut given_up = false;
        for _ in 0..EVENT_BYTES_MAX / 4 {
            given_up |= reader.take(b"data: four\n").is_err();
        }
        assert!(given_up);
    }
}
