//! Pages made from the program itself: completions, manuals, and those of docs/reference.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use kos_base::Code;

use super::explain::{area, meaning};
use crate::{Fault, arguments::Arguments, output::write_out, private, session::Ending};

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
                private::create_folder(folder)?;
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
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write_pages(inner, folder)?;
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
    private::write(&folder.join(format!("{name}.1")), page(command.clone(), &name)?.as_bytes())
}

fn cli_page() -> String {
    let mut out = String::from("# kosctl\n");
    describe(&command(), &mut out);
    out
}

/// A section for the command and each below it. The options of every command stand once, at the top.
fn describe(command: &Command, out: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let is_top = !name.contains(' ');
    let heading = if is_top { "Commands".to_owned() } else { format!("`{name}`") };
    let _ = write!(out, "\n## {heading}\n\n{about}\n");
    let usage = command.clone().render_usage().to_string();
    let _ = write!(out, "\n```\n{}\n```\n", usage.trim_start_matches("Usage: ").trim());
    let arguments: Vec<_> =
        command.get_arguments().filter(|a| !a.is_hide_set() && (is_top || !a.is_global_set())).collect();
    if !arguments.is_empty() {
        out.push_str("\n| argument | meaning |\n|---|---|\n");
    }
    for argument in arguments {
        if matches!(argument.get_id().as_str(), "help" | "version") {
            continue;
        }
        let shape = argument.to_string().replace('|', "\\|");
        let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let values: Vec<_> =
            argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        if argument.get_action().takes_values() && !values.is_empty() {
            let _ = write!(help, " One of {}.", values.join(", "));
        }
        let defaults: Vec<_> = argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        if argument.get_action().takes_values() && !defaults.is_empty() {
            let _ = write!(help, " Default: `{}`.", defaults.join(" "));
        }
        let _ = writeln!(out, "| `{shape}` | {help} |");
    }
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        describe(inner, out);
    }
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
