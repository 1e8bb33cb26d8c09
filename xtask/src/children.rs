//! Child programs: how they are started, and what becomes of their output and exit code.
//!
//! stdout of xtask carries answers only, so a child whose output is talk has its stdout turned to our stderr.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// The cargo that started us, so that one toolchain builds everything.
pub(crate) fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a child whose stdout is the answer itself, and hands its exit code through.
pub(crate) fn exit_code(command: &mut Command) -> Result<u8> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    Ok(code_of(status))
}

/// Runs a child that only talks; false when it failed.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    eprintln!("     $ {}", line(command));
    let status =
        command.stdout(io::stderr()).status().with_context(|| format!("cannot start {}", line(command)))?;
    Ok(status.success())
}

/// Runs a child that only talks and has to succeed.
pub(crate) fn must_succeed(command: &mut Command) -> Result<()> {
    if succeeds(command)? {
        return Ok(());
    }
    bail!("{} failed", line(command))
}

/// True when a child can be started and succeeds; it is not heard.
pub(crate) fn quietly_succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// What a child wrote to stdout; an error when it failed.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{} failed", line(command));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not answer in UTF-8", line(command)))
}

/// Shows each line of a child's stdout to `reader` and to the person who waits; false when the child failed.
pub(crate) fn read_lines(command: &mut Command, mut reader: impl FnMut(&str)) -> Result<bool> {
    eprintln!("     $ {}", line(command));
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", line(command)))?;
    let stdout = child.stdout.take().context("a piped child has no stdout")?;
    for bytes in BufReader::new(stdout).split(b'\n') {
        let bytes = bytes?;
        let text = String::from_utf8_lossy(&bytes);
        eprintln!("{text}");
        reader(&text);
    }
    Ok(child.wait()?.success())
}

/// A child that a signal ended has no code and counts as 1.
fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
