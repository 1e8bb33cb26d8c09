//! What a machine does to the authority before it is killed: system calls that fail, under strace.

use std::{path::Path, process::Command};

use super::load::Dice;
use crate::program;

/// A system call that is to fail, where, and how.
struct Fault {
    calls: &'static str,
    /// Below the data folder.
    paths: &'static [&'static str],
    error: &'static str,
    /// A call up to this one of its kind fails, and those after it.
    calls_max: u64,
}

const FILE: &[&str] =
    &["authority/vaults/default.json", "authority/vaults/default.json.new", "authority/vaults"];
const STORE: &[&str] = &["authority/store.db", "authority/store.db-wal"];
const FAULTS: [Fault; 6] = [
    Fault { calls: "write", paths: FILE, error: "ENOSPC", calls_max: 6 },
    Fault { calls: "fsync", paths: FILE, error: "EIO", calls_max: 6 },
    Fault { calls: "rename,renameat,renameat2", paths: FILE, error: "EIO", calls_max: 6 },
    Fault { calls: "openat", paths: FILE, error: "ENOSPC", calls_max: 6 },
    Fault { calls: "pwrite64", paths: STORE, error: "ENOSPC", calls_max: 120 },
    Fault { calls: "fsync,fdatasync", paths: STORE, error: "EIO", calls_max: 20 },
];

/// The same command, in which a call fails from some moment on.
pub(super) fn inject(command: &Command, data: &Path, dice: &mut Dice) -> Command {
    let [first, ..] = &FAULTS;
    let at = usize::try_from(dice.roll(6)).unwrap_or_default();
    let Fault { calls, paths, error, calls_max } = FAULTS.get(at).unwrap_or(first);
    let from = 1 + dice.roll(*calls_max);
    under_strace(command, data, calls, paths, &format!("error={error}:when={from}+"))
}

/// The same command, in which the file of a vault never gets into its place, and says that it did.
pub(super) fn keep_out_of_place(command: &Command, data: &Path) -> Command {
    under_strace(command, data, "rename,renameat,renameat2", FILE, "retval=0")
}

fn under_strace(command: &Command, data: &Path, calls: &str, paths: &[&str], how: &str) -> Command {
    let paths =
        paths.iter().flat_map(|path| ["-P".to_owned(), data.join(path).to_string_lossy().into_owned()]);
    let calls = ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), format!("inject={calls}:{how}")];
    program::under_strace(command, paths.chain(calls))
}
