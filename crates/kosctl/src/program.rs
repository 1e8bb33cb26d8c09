//! The program: from the words of the command line to the exit code.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::{Parser as _, error::ErrorKind};

use crate::{
    Fault,
    arguments::{Arguments, Global},
    clock,
    context::Contexts,
    output::{Format, Printer, failure_json, write_out},
    server::Places,
    session::{Ending, Session},
    terminal::{Answers, Color, Palette, Talk, Terminal, Tone, say},
};
use kos_api::Failure;
use kos_base::{approved, text::printable};

/// Data folders that are tried when nothing names a server.
const USUAL_DATA: [&str; 2] = ["./kos-data", "/var/lib/kos"];

/// Runs the program on `words`, the first being its own name, and returns its exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return explain_usage(&error, &words),
    };
    let palette = palette(arguments.global.color, io::stderr().is_terminal());
    let format = arguments.global.output;
    let ended =
        approved::module().map_err(Fault::from).and_then(|_| session(arguments.global)).and_then(|session| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|_| Fault::Internal("the system gives no event queue".to_owned()))?;
            runtime.block_on(arguments.command.run(&session))
        });
    match ended {
        Ok(ending) => ending.exit_code(),
        // Whoever read our output has seen enough.
        Err(Fault::OutputClosed) => 0,
        Err(Fault::Interrupted) => Ending::Interrupted.exit_code(),
        Err(fault) => report(&fault.failure(), format, palette),
    }
}

/// Whether a browser that is opened here would be before the person. Over SSH it would not, and no browser is run as root.
fn is_graphical() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    (is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
        && !is_set("SSH_CONNECTION")
        && !rustix::process::geteuid().is_root()
}

fn session(global: Global) -> Result<Session, Fault> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let (Some(_), Some(_)) = (&global.context, variable("KOS_SERVER"))
        && global.server.is_none()
        && !global.quiet
        && !is_json(global.output)
    {
        say("KOS_SERVER is set and goes before --context");
    }
    let config = match (variable("XDG_CONFIG_HOME"), variable("HOME")) {
        (Some(config), _) => Some(PathBuf::from(config)),
        (None, Some(home)) => Some(PathBuf::from(home).join(".config")),
        (None, None) => None,
    };
    let answers = if io::stdin().is_terminal() && io::stderr().is_terminal() && !global.no_input {
        Answers::Person
    } else {
        Answers::Nobody
    };
    Ok(Session {
        printer: Printer {
            format: global.output,
            columns: global.columns,
            sort: global.sort,
            palette: palette(global.color, io::stdout().is_terminal()),
            now: clock::now,
        },
        terminal: Terminal {
            answers,
            talk: match (global.verbose, global.quiet || is_json(global.output)) {
                (true, _) => Talk::Verbose,
                // A program reads stderr as well: it finds the error document there, or nothing.
                (false, true) => Talk::Quiet,
                (false, false) => Talk::Normal,
            },
            is_live: io::stderr().is_terminal(),
            is_graphical: is_graphical(),
        },
        contexts: config.map_or(Contexts::nowhere(), |config| Contexts::at(config.join("kos"))),
        places: Places {
            server: global.server,
            server_variable: variable("KOS_SERVER"),
            context: global.context.or_else(|| variable("KOS_CONTEXT")),
            data: variable("KOS_DATA_DIR").map(PathBuf::from),
            usual: USUAL_DATA.map(PathBuf::from).to_vec(),
        },
        timeout: global.timeout.map(|span| span.0),
    })
}

const fn is_json(format: Format) -> bool {
    matches!(format, Format::Json | Format::Jsonl)
}

fn palette(color: Color, is_terminal: bool) -> Palette {
    let wanted = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    if wanted { Palette::Ansi } else { Palette::Plain }
}

/// Prints a failure on stderr and returns its exit code.
fn report(failure: &Failure, format: Format, palette: Palette) -> u8 {
    if is_json(format) {
        say(&failure_json(failure));
        return failure.exit_code;
    }
    let label = palette.paint(Tone::Bad, &format!("error[{}]", failure.code));
    say(&format!("{label}: {}", printable(&failure.title, 200)));
    let line = |name: &str, text: &str| say(&format!("  {name:<8} {}", printable(text, 500)));
    if let Some(object) = &failure.object {
        line(&printable(&object.kind, 8), object.id.as_deref().unwrap_or("-"));
    }
    if let Some(why) = failure.detail.as_deref().and_then(|detail| beyond(&failure.title, detail)) {
        line("why", why);
    }
    line("fix", &failure.fix);
    let request = failure.request_id.as_ref().map(|id| format!("          request {id}")).unwrap_or_default();
    line("more", &format!("kosctl explain {}{request}", failure.code));
    failure.exit_code
}

/// What a reason says beyond the title, which stands above it.
fn beyond<'a>(title: &str, detail: &'a str) -> Option<&'a str> {
    match detail.strip_prefix(title) {
        Some("") => None,
        Some(rest) => Some(rest.strip_prefix(": ").unwrap_or(detail)),
        None => Some(detail),
    }
}

/// Help and version are results; anything else is a failure of ours to be understood.
fn explain_usage(error: &clap::Error, words: &[OsString]) -> u8 {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return u8::from(write_out(&text.to_string()).is_err());
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(text.to_string().trim_end());
            return kos_base::code::Exit::Usage.code();
        }
        _ => {}
    }
    let text = text.to_string();
    let mut lines = text.lines().map(str::trim);
    let mut message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    for line in lines.by_ref().take_while(|line| !line.starts_with("Usage:")) {
        let line = line.trim_start_matches("tip: ");
        if !line.is_empty() && !line.starts_with("For more information") {
            message.push_str(if message.ends_with(':') { " " } else { "; " });
            message.push_str(line);
        }
    }
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).unwrap_or("kosctl help");
    let is = |word: &OsString, wanted: &[&str]| word.to_str().is_some_and(|word| wanted.contains(&word));
    let json = ["json", "jsonl"];
    let format =
        words.windows(2).any(|pair| match pair {
            [flag, value] => is(flag, &["-o", "--output"]) && is(value, &json),
            _ => false,
        }) || words.iter().any(|word| is(word, &["-ojson", "-ojsonl", "--output=json", "--output=jsonl"]));
    let fault = Fault::usage(message.replace('\'', "`"), usage);
    report(
        &fault.failure(),
        if format { Format::Json } else { Format::Table },
        palette(Color::Auto, io::stderr().is_terminal()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_does_not_say_the_title_again() {
        let title = "the proof does not hold";
        assert_eq!(beyond(title, title), None);
        assert_eq!(beyond(title, "the proof does not hold: another root"), Some("another root"));
        assert_eq!(beyond(title, "another root"), Some("another root"));
        assert_eq!(beyond(title, "the proof does not hold here"), Some("the proof does not hold here"));
    }
}
