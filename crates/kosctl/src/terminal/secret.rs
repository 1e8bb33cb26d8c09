//! Secrets that come in: from a file, from stdin, or typed where nobody can read along. Never from the command line.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use kos_base::text::only_line;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Answers;
use crate::{Fault, files};

/// Longest secret that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;

const END_OF_TEXT: u8 = 0x03;
const END_OF_TRANSMISSION: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const LINE_KILL: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// The secret in `file` (`-` is stdin); without a file, from stdin, where a person is asked for `what`. It is the only line
/// there, without its line end; nothing else is taken off it.
pub(crate) fn read_secret(what: &str, file: Option<&Path>) -> Result<Zeroizing<String>, Fault> {
    let bytes = read_value(what, file, SECRET_BYTES_MAX)?;
    let Ok(text) = core::str::from_utf8(&bytes) else {
        return Err(Fault::usage(format!("the {what} is not UTF-8"), "give it as UTF-8, in one line"));
    };
    let Some(line) = only_line(text) else {
        let message = format!("the {what} is one line, and here are more");
        return Err(Fault::usage(message, "keep it in a file of its own, in one line"));
    };
    if line.is_empty() {
        return Err(Fault::usage(format!("there is no {what}"), "give it on stdin or in a file"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// A secret that nobody has yet: a person types it twice, since what was made with a slip of the finger is lost.
pub(crate) fn choose_secret(
    what: &str,
    file: Option<&Path>,
    answers: Answers,
) -> Result<Zeroizing<String>, Fault> {
    let first = read_secret(what, file)?;
    let typed = file.is_none() && io::stdin().is_terminal() && answers == Answers::Person;
    if typed && *read_secret("again", None)? != *first {
        return Err(Fault::usage(format!("these are two {what}s"), "type the same one twice"));
    }
    Ok(first)
}

/// Bytes as they are, at most `bytes_max`: those of `file` (`-` is stdin); without a file those of stdin, where a person
/// types one line.
pub(crate) fn read_value(
    what: &str,
    file: Option<&Path>,
    bytes_max: u64,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let bytes = match file {
        Some(path) if path != Path::new("-") => return files::read(path, bytes_max).map(Zeroizing::new),
        None if io::stdin().is_terminal() => type_in(what)?.ok_or(Fault::Interrupted)?,
        _ => {
            let room = usize::try_from(bytes_max).unwrap_or_default().saturating_add(1);
            // Room for all of it: what grows leaves copies behind.
            let mut bytes = Zeroizing::new(Vec::with_capacity(room));
            io::stdin().take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            bytes
        }
    };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(Fault::usage(
            format!("the {what} is longer than {bytes_max} bytes"),
            "give a shorter one",
        ));
    }
    Ok(bytes)
}

/// A secret that a person types where nobody can read along, as it is; nothing after Ctrl-C.
pub(crate) fn type_secret(what: &str) -> Result<Option<Zeroizing<String>>, Fault> {
    let Some(typed) = type_in(what)? else { return Ok(None) };
    match core::str::from_utf8(&typed) {
        Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(Fault::usage(format!("the {what} is not UTF-8"), "set the terminal to UTF-8")),
    }
}

/// Words that a person types where nobody can read along, without white space at their end; nothing after Ctrl-C.
pub(crate) fn type_line(what: &str) -> Result<Option<Zeroizing<String>>, Fault> {
    let Some(typed) = type_in(what)? else { return Ok(None) };
    // What is no UTF-8 is no word either, and is told as such.
    Ok(Some(Zeroizing::new(String::from_utf8_lossy(&typed).trim_end().to_owned())))
}

/// Restores the terminal however the typing ends.
struct Unseen(Termios);

impl Unseen {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        // Without ISIG the terminal cannot be left dark by Ctrl-C: it arrives as a character and ends the typing.
        unseen.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// What is typed up to the end of the line; nothing after Ctrl-C.
fn type_in(what: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    let unseen = Unseen::begin().map_err(unreadable)?;
    let _ = write!(io::stderr(), "{what}: ");
    let mut typed = Zeroizing::new(Vec::with_capacity(usize::try_from(SECRET_BYTES_MAX).unwrap_or_default()));
    let (mut is_whole, mut is_too_long) = (true, false);
    for byte in io::stdin().lock().bytes() {
        match byte.map_err(unreadable)? {
            b'\n' | b'\r' | END_OF_TRANSMISSION => break,
            END_OF_TEXT => {
                is_whole = false;
                break;
            }
            BACKSPACE | DELETE => while typed.pop().is_some_and(|b| b & 0xc0 == 0x80) {},
            LINE_KILL => typed.clear(),
            byte if typed.len() < typed.capacity() => typed.push(byte),
            _ => is_too_long = true,
        }
    }
    drop(unseen);
    let _ = writeln!(io::stderr());
    if is_whole && is_too_long {
        let message = format!("the {what} is longer than {SECRET_BYTES_MAX} bytes");
        return Err(Fault::usage(message, "give it on stdin or in a file"));
    }
    Ok(is_whole.then_some(typed))
}

fn unreadable(source: io::Error) -> Fault {
    Fault::Unreadable { path: "stdin".into(), source }
}
