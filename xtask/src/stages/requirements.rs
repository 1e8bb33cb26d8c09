//! Stage `deps`: brings what the tests need and a plain Rust installation lacks, or names what is missing.
//!
//! Another command installs a list of its own by [`demand`].
//!
//! Three lists: `xtask/debian-packages.txt` (installed with apt-get when root runs the tests), the outside judges in
//! `xtask/python-packages.txt` (a virtual environment in `target/judges`) and the tools in `tools.rs`. Tests call the
//! Python judges as `target/judges/bin/python`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::tally::Tally;
use crate::workspace::Workspace;
use crate::{children, tools};

/// One line of the list of Debian packages.
#[derive(PartialEq, Eq, Debug)]
struct Package {
    name: String,
    /// A program that shows that the package, or another source of the same program, is there. `-` in the list means
    /// that only dpkg can tell.
    program: Option<String>,
    reason: String,
}

/// Installs everything; counts a check for every package, for the judges and for the tools.
pub(super) fn install(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    install_debian(workspace, "xtask/debian-packages.txt", tally)?;

    let judges = install_judges(workspace);
    tally.count(judges.is_ok());
    if let Err(error) = judges {
        eprintln!("missing: the Python judges of xtask/python-packages.txt: {error:#}");
    }

    for tool in [tools::DENY, tools::CYCLONEDX] {
        let installed = tool.install(workspace);
        tally.count(installed.is_ok());
        if let Err(error) = installed {
            eprintln!("missing: {}: {error:#}", tool.name);
        }
    }
    Ok(())
}

/// Installs what another list of Debian packages names.
///
/// # Errors
/// When something of it is missing then.
pub(crate) fn demand(workspace: &Workspace, list: &str) -> Result<()> {
    let mut tally = Tally::default();
    install_debian(workspace, list, &mut tally)?;
    ensure!(tally.failed == 0, "packages of {list} are missing");
    Ok(())
}

fn install_debian(workspace: &Workspace, list: &str, tally: &mut Tally) -> Result<()> {
    let list = workspace.root.join(list);
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let packages = text.lines().enumerate().filter_map(|(index, line)| parse(index + 1, line).transpose());
    let packages = packages.collect::<Result<Vec<Package>>>();
    let packages = packages.with_context(|| format!("{} is wrong", list.display()))?;

    let absent: Vec<&Package> = packages.iter().filter(|package| !package.is_there()).collect();
    if !absent.is_empty() && is_root() {
        apt_get(&["update"]);
        let names = absent.iter().map(|package| package.name.as_str());
        apt_get(
            &["install", "--yes", "--no-install-recommends"].into_iter().chain(names).collect::<Vec<_>>(),
        );
    }
    for package in &packages {
        let is_there = package.is_there();
        tally.count(is_there);
        if !is_there {
            eprintln!("missing: Debian package {} ({})", package.name, package.reason);
        }
    }
    Ok(())
}

/// Reads `PACKAGE PROGRAM # REASON`. Empty lines and comments are nothing.
fn parse(number: usize, line: &str) -> Result<Option<Package>> {
    let (entry, reason) = line.split_once('#').unwrap_or((line, ""));
    let words: Vec<&str> = entry.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(None),
        [name, program] if !reason.trim().is_empty() => Ok(Some(Package {
            name: (*name).to_owned(),
            program: (*program != "-").then(|| (*program).to_owned()),
            reason: reason.trim().to_owned(),
        })),
        _ => bail!("line {number}: expected `PACKAGE PROGRAM # REASON`, found `{line}`"),
    }
}

impl Package {
    fn is_there(&self) -> bool {
        match &self.program {
            Some(program) => is_program(program),
            None => {
                let status = Command::new("dpkg-query")
                    .args(["--show", "--showformat=${db:Status-Status}", &self.name])
                    .output();
                status.is_ok_and(|status| status.stdout == b"installed")
            }
        }
    }
}

/// Looks along PATH and where daemons live, which is on the PATH of root only.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(daemons).any(|folder| folder.join(name).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("--user").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// What apt-get could not do shows afterwards, in what is still missing.
fn apt_get(words: &[&str]) {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--quiet", "--option", "Acquire::Retries=3"])
        .args(words);
    if let Err(error) = children::must_succeed(&mut apt) {
        eprintln!("note: {error:#}");
    }
}

/// Makes the virtual environment, unless the one that is there was made from the same list.
fn install_judges(workspace: &Workspace) -> Result<()> {
    let list = workspace.root.join("xtask/python-packages.txt");
    let wanted = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    // Where the tests look, wherever cargo builds.
    let judges = workspace.root.join("target/judges");
    let python = judges.join("bin/python");
    let record = judges.join("installed.txt");
    let is_current = fs::read_to_string(&record).is_ok_and(|installed| installed == wanted);
    if is_current && runs(&python) {
        return Ok(());
    }
    fs::create_dir_all(&judges).with_context(|| format!("cannot make {}", judges.display()))?;
    children::must_succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&judges))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    children::must_succeed(Command::new(&python).args(pip).arg(&list))?;
    fs::write(&record, wanted).with_context(|| format!("cannot write {}", record.display()))
}

fn runs(python: &Path) -> bool {
    children::quietly_succeeds(Command::new(python).arg("--version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_package_program_and_reason() {
        let package = parse(1, "gnutls-bin certtool # judges certificates").unwrap().unwrap();
        assert_eq!(package.name, "gnutls-bin");
        assert_eq!(package.program.as_deref(), Some("certtool"));
        assert_eq!(package.reason, "judges certificates");
        assert_eq!(parse(1, "golang-golang-x-mod-dev - # notes").unwrap().unwrap().program, None);
        assert_eq!(parse(1, "# only talk").unwrap(), None);
        assert_eq!(parse(1, "").unwrap(), None);
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        let refusal = parse(7, "curl curl").unwrap_err();
        assert!(refusal.to_string().starts_with("line 7: "), "{refusal}");
    }
}
