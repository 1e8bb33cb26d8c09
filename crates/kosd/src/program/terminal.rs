//! Asking a person at the terminal.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Longest answer in bytes.
const ANSWER_BYTES_MAX: u64 = 1024;

/// The terminal of this process, even when its standard input is something else.
pub(super) struct Terminal(File);

impl Terminal {
    pub(super) fn open() -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        tty.is_terminal().then_some(Self(tty))
    }

    /// Asks and reads one line.
    pub(super) fn ask(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        write!(self.0, "{question}")?;
        self.0.flush()?;
        let mut line = Zeroizing::new(String::new());
        BufReader::new((&self.0).take(ANSWER_BYTES_MAX)).read_line(&mut line)?;
        Ok(line)
    }

    /// As [`Terminal::ask`], without showing what is typed.
    pub(super) fn ask_secretly(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        let shown = tcgetattr(&self.0)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&self.0, OptionalActions::Flush, &hidden)?;
        let answer = self.ask(question);
        let restored = tcsetattr(&self.0, OptionalActions::Flush, &shown);
        writeln!(self.0)?;
        restored?;
        answer
    }
}
