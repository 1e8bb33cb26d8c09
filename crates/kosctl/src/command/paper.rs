//! Pages made from the program itself: completions, manuals, and those of docs/reference.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Arg, Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use kos_base::{Code, code::Exit};

use super::explain::{area, meaning};
use crate::{
    Fault,
    arguments::Arguments,
    files::{self, Readers},
    output::write_out,
    session::Ending,
};

/// `completions SHELL`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// `man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Writes a page for every command into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// `reference PAGE`
#[derive(Debug, Args)]
pub(crate) struct Reference {
    /// Which page.
    page: ReferencePage,
}

/// A page of docs/reference.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReferencePage {
    /// Every command with its options.
    Cli,
    /// Every error code.
    Errors,
    /// The HTTP API.
    Openapi,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Ending, Fault> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "kosctl", &mut script);
        write_out(&String::from_utf8_lossy(&script)).map(|()| Ending::Done)
    }
}

impl Man {
    pub(crate) fn run(&self) -> Result<Ending, Fault> {
        match &self.dir {
            None => write_out(&page(command(), "kosctl")?)?,
            Some(folder) => {
                files::create_folder(folder, Readers::Everybody)?;
                write_pages(&command(), folder)?;
            }
        }
        Ok(Ending::Done)
    }
}

impl Reference {
    pub(crate) fn run(&self) -> Result<Ending, Fault> {
        let text = match self.page {
            ReferencePage::Cli => cli_page(),
            ReferencePage::Errors => errors_page(),
            ReferencePage::Openapi => {
                let text = serde_json::to_string_pretty(&kos_api::openapi::document());
                text.map_err(|e| Fault::Internal(e.to_string()))? + "\n"
            }
        };
        write_out(&text).map(|()| Ending::Done)
    }
}

fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

fn page(command: Command, name: &str) -> Result<String, Fault> {
    let mut text = Vec::new();
    Page::new(command)
        .title(name.to_uppercase())
        .render(&mut text)
        .map_err(|e| Fault::Internal(e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A file for the command and each below it.
fn write_pages(command: &Command, folder: &Path) -> Result<(), Fault> {
    for inner in shown(command) {
        write_pages(inner, folder)?;
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
    files::write(
        &folder.join(format!("{name}.1")),
        page(command.clone(), &name)?.as_bytes(),
        Readers::Everybody,
    )
}

fn cli_page() -> String {
    let top = command();
    let mut out = String::from("# kosctl\n");
    describe(&top, &mut out);
    out.push_str("\n## Exit codes\n\n| exit | meaning |\n|---|---|\n| 0 | done, or so already |\n");
    for exit in Exit::ALL {
        let _ = writeln!(out, "| {} | {} |", exit.code(), meaning(exit));
    }
    out.push_str(ENVIRONMENT);
    for inner in shown(&top) {
        describe_with_inner(inner, &mut out);
    }
    out
}

/// What `program.rs` reads from the environment.
const ENVIRONMENT: &str = "
## Environment

| variable | meaning |
|---|---|
| `KOS_SERVER` | as `--server`, which goes before it |
| `KOS_CONTEXT` | as `--context`, which goes before it |
| `KOS_DATA_DIR` | the data folder of an authority on this machine |
| `XDG_CONFIG_HOME` | contexts are kept in `kos` below it, else in `~/.config/kos` |
| `NO_COLOR` | no colours, unless `--color always` |

The server is the first that is named by `--server`, `KOS_SERVER`, `--context`, `KOS_CONTEXT`, `KOS_DATA_DIR`,
`kosctl context use`, or whose socket is in `./kos-data` or `/var/lib/kos`.
";

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help")
}

fn describe_with_inner(command: &Command, out: &mut String) {
    let _ = write!(out, "\n## `{}`\n", command.get_bin_name().unwrap_or_else(|| command.get_name()));
    describe(command, out);
    for inner in shown(command) {
        describe_with_inner(inner, out);
    }
}

/// What a command does and what it takes. The options of every command stand with the program itself.
fn describe(command: &Command, out: &mut String) {
    let is_top = !command.get_bin_name().is_some_and(|name| name.contains(' '));
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let _ = write!(out, "\n{about}.\n\n```\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    let mut rows = command
        .get_arguments()
        .filter(|a| !a.is_hide_set() && (is_top || !a.is_global_set()))
        .filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
        .map(row)
        .peekable();
    if rows.peek().is_some() {
        out.push_str("\n| argument | meaning |\n|---|---|\n");
        out.extend(rows);
    }
}

fn row(argument: &Arg) -> String {
    let escaped = |text: String| text.replace('|', "\\|");
    let short = argument.get_short().map(|c| format!("`-{c}`, ")).unwrap_or_default();
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if !help.ends_with('.') {
        help.push('.');
    }
    if argument.get_action().takes_values() {
        let values: Vec<_> =
            argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        if !values.is_empty() {
            let _ = write!(help, " One of {}.", values.join(", "));
        }
        if let [default] = argument.get_default_values() {
            let _ = write!(help, " Default: `{}`.", default.to_string_lossy());
        }
    }
    format!("| {short}`{}` | {} |\n", escaped(argument.to_string()), escaped(help))
}

fn errors_page() -> String {
    let mut out = String::from(
        "# Error codes\n\nEvery failure has a code that is never used for anything else. `kosctl explain CODE` says the \
         same without a server.\n",
    );
    let mut here = "";
    for code in Code::all() {
        if area(code) != here {
            here = area(code);
            let _ = write!(
                out,
                "\n## {:02}: {here}\n\n| code | what happened | what to do | exit |\n|---|---|---|---|\n",
                code.number() / 100
            );
        }
        let exit = code.exit();
        let _ = writeln!(
            out,
            "| {code} | {} | {} | {}: {} |",
            code.title(),
            code.fix().replace('|', "\\|"),
            exit.code(),
            meaning(exit)
        );
    }
    out
}
