//! Talk for whoever waits: stderr, since stdout holds the figures alone.

/// Says how far it is.
#[expect(clippy::print_stderr, reason = "a long command tells how far it is")]
pub(crate) fn say(text: &str) {
    eprintln!("     {text}");
}
