//! Shares as people hand them in: typed, one a line of stdin, or in files. Read here first, so that a slip of the pen is told
//! to whoever made it and never sent.
//!
//! Errors print no word (RCV-8). The word that was likely meant goes to the terminal of whoever typed, and nowhere else
//! (RCV-7).

use std::{
    io,
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};

use kos_shares::{Share, ShareError};
use zeroize::Zeroizing;

use crate::{
    Fault, files,
    terminal::{Terminal, say},
};

/// Longest file or input with shares, in bytes: sixteen sheets as text.
const SHARES_BYTES_MAX: u64 = 64 * 1024;

/// A share and where its words came from.
pub(super) struct Handed {
    pub(super) share: Share,
    pub(super) from: String,
}

/// The shares in files, one a file; without files those of stdin, one a line.
pub(super) fn read_shares(paths: &[PathBuf], terminal: &Terminal) -> Result<Vec<Handed>, Fault> {
    let mut texts = Vec::new();
    for path in paths {
        let text = files::read(path, SHARES_BYTES_MAX)?;
        texts.push((format!("`{}`", path.display()), Zeroizing::new(text)));
    }
    // On a terminal that asks nothing, the words would be seen as they are typed.
    if paths.is_empty() && !io::stdin().is_terminal() {
        let room = usize::try_from(SHARES_BYTES_MAX).unwrap_or_default();
        let mut input = Zeroizing::new(Vec::with_capacity(room));
        let unreadable = |source| Fault::Unreadable { path: "stdin".into(), source };
        io::stdin().take(SHARES_BYTES_MAX).read_to_end(&mut input).map_err(unreadable)?;
        let lines = input.split(|b| *b == b'\n').zip(1..);
        let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
        texts.extend(lines.map(|(line, n)| (format!("line {n}"), Zeroizing::new(line.to_vec()))));
    }
    if texts.is_empty() {
        return Err(Fault::usage("there is no share", "give one a line on stdin, or with --share-file FILE"));
    }
    let parse = |(from, text): (String, Zeroizing<Vec<u8>>)| {
        let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
        match parse(&text) {
            Ok(share) => Ok(Handed { share, from }),
            Err(source) => {
                if terminal.is_live {
                    hint(&source);
                }
                Err(Fault::Share { from, source })
            }
        }
    };
    texts.into_iter().map(parse).collect()
}

/// A share of its words, or of a sheet that has them numbered.
pub(super) fn parse(text: &str) -> Result<Share, ShareError> {
    let is_number =
        |word: &str| word.strip_suffix('.').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    if !text.split_whitespace().any(|word| word == "1.") {
        return Share::parse(text);
    }
    // Long enough for the whole text: what grows leaves copies behind.
    let mut words = Zeroizing::new(String::with_capacity(text.len() + 1));
    let mut follows = false;
    for word in text.split_whitespace() {
        if follows {
            words.push_str(word);
            words.push(' ');
        }
        follows = is_number(word);
    }
    Share::parse(&words)
}

/// Tells whoever typed which word was likely meant.
pub(super) fn hint(error: &ShareError) {
    if let ShareError::Word(unknown) = error
        && let Some(nearest) = unknown.nearest()
    {
        say(&format!("word {} was likely meant to be `{nearest}`: look at the sheet", unknown.position()));
    }
}
