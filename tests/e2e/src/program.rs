//! Starting, watching and ending one of the programs.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Names a folder with programs of another build, which are then the ones under test.
pub const ELSEWHERE: &str = "KOS_PROGRAMS";

/// Where the programs under test are: in the folder that [`ELSEWHERE`] names; else beside this executable, or one folder up
/// for test executables in `deps`.
///
/// # Errors
/// When a program is missing: build the workspace first.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("the path of this program is unknown")?;
    let folders: Vec<PathBuf> = match env::var_os(ELSEWHERE) {
        Some(folder) => vec![folder.into()],
        None => own.ancestors().skip(1).take(2).map(Path::to_path_buf).collect(),
    };
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("`{name}` is not built: cargo build --workspace --bins"))
}

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    /// Kept open for a program that ends with its input.
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    errors: Arc<Mutex<String>>,
    listener: Option<thread::JoinHandle<()>>,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; signals count as 128 and their number.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        self.status.code().or_else(|| self.status.signal().map(|s| 128 + s)).unwrap_or(-1)
    }
}

/// A command for one of the programs, with nothing of the caller's environment that could change what it does.
///
/// # Errors
/// When the program is not built.
pub fn command(name: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(path(name)?);
    command.args(arguments);
    for (variable, _) in env::vars_os() {
        let kos = variable.to_string_lossy().starts_with("KOS_");
        if kos {
            command.env_remove(variable);
        }
    }
    command.env("NO_COLOR", "1");
    Ok(command)
}

/// The same command under strace with these options. It is our child and gets our signals; strace looks on from beside.
pub fn under_strace(command: &Command, options: impl IntoIterator<Item = String>) -> Command {
    let mut watched = Command::new("strace");
    watched.args(["-D", "-f", "-qq", "-o", "/dev/null"]).args(options);
    watched.arg("--").arg(command.get_program()).args(command.get_args());
    for (variable, value) in command.get_envs() {
        match value {
            Some(value) => watched.env(variable, value),
            None => watched.env_remove(variable),
        };
    }
    watched
}

/// strace with these options, looking on at a program that runs already, from now on.
///
/// # Errors
/// When it cannot be started, or may not look on.
pub fn watch(pid: u32, options: &[&str]) -> Result<Program> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null"]).args(options).args(["-p", &pid.to_string()]);
    let mut strace = Program::of("strace", strace, "")?;
    wait::until("strace to look on", || {
        ensure!(strace.is_running()?, "strace ended: {}", strace.errors());
        Ok(strace.errors().contains("attached").then_some(()))
    })?;
    Ok(strace)
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started. How it ends is for the caller to judge.
pub fn run(name: &str, arguments: &[&str], input: &str) -> Result<Finished> {
    finish(command(name, arguments)?, input)
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started.
pub fn finish(mut command: Command, input: &str) -> Result<Finished> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes it, which is its right.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

impl Program {
    /// Starts a program that goes on running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, arguments: &[&str], input: &str) -> Result<Self> {
        Self::of(name, command(name, arguments)?, input)
    }

    /// Starts `command`, which becomes the program `name` without another process in between.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(name: &str, command: Command, input: &str) -> Result<Self> {
        let mut program = Self::holding(name, command)?;
        if let Some(mut stdin) = program.input.take() {
            drop(stdin.write_all(input.as_bytes()));
        }
        Ok(program)
    }

    /// The same for a program that runs until its input ends, which is when this value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn holding(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        let input = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().context("no standard output")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().context("no standard error")?;
        let sink = Arc::clone(&errors);
        let listener = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut chunk) {
                let text = String::from_utf8_lossy(chunk.get(..n).unwrap_or_default()).into_owned();
                if let Ok(mut all) = sink.lock() {
                    all.push_str(&text);
                }
            }
        });
        let listener = Some(listener);
        Ok(Self { name: name.to_owned(), child, input, lines, seen: Vec::new(), errors, listener })
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it does not read any more.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("a program without input")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// Waits for a line of standard output that fits.
    ///
    /// # Errors
    /// When the program ends or the deadline passes first; the message holds what it said.
    pub fn line(&mut self, fits: impl Fn(&str) -> bool) -> Result<String> {
        let what = format!("a line of `{}`", self.name);
        wait::until(&what, || {
            while let Ok(line) = self.lines.try_recv() {
                self.seen.push(line.clone());
                if fits(&line) {
                    return Ok(Some(line));
                }
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended with {status}\n{}\n{}", self.name, self.seen.join("\n"), self.errors());
            }
            Ok(None)
        })
    }

    /// Everything that it has written to standard output so far.
    pub fn stdout(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Everything that it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Everything that it wrote to standard error until it ended.
    pub fn last_words(&mut self) -> String {
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        self.errors()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends it without warning, as a power cut would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// When it does not stop, or stops with anything but 0.
    pub fn stop(mut self) -> Result<()> {
        self.terminate()?;
        let status = self.ended()?;
        ensure!(status.success(), "`{}` stopped with {status}\n{}", self.name, self.errors());
        Ok(())
    }

    /// Asks it to stop, and does not wait.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("no process id")?, Signal::TERM)?)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let what = format!("the end of `{}`", self.name);
        wait::until(&what, || self.status())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Copies a folder with everything in it, as somebody does who has the disk.
///
/// # Errors
/// When it cannot be copied.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut copying = Command::new("cp");
    copying.arg("--archive").arg(from).arg(to);
    let done = finish(copying, "")?;
    ensure!(done.status.success(), "cp failed: {}", done.stderr);
    Ok(())
}

/// Every file below `folder` with its content; links are not followed.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push((entry.path(), fs::read(entry.path())?));
            }
        }
    }
    Ok(found)
}
