//! Runs the program on a terminal, with somebody who types.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::program::User;

/// How long the program may take to say something.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, and the keyboard and screen before it.
pub(crate) struct Seat {
    child: Child,
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
    read: usize,
}

impl Seat {
    /// Starts `kosctl` with stdin, stdout and stderr on a terminal.
    pub(crate) fn take(user: &User, words: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_kosctl"))
            .args(words)
            .env_clear()
            .env("HOME", user.home.path())
            .env("NO_COLOR", "1")
            .current_dir(user.home.path())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keyboard = File::from(keyboard);
        let mut eye = keyboard.try_clone().unwrap();
        let (tell, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            // The terminal fails once its last program is gone.
            while let Ok(n) = eye.read(&mut piece) {
                if tell.send(piece[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, seen: String::new(), read: 0 }
    }

    /// Waits until `text` is on the screen, below what was waited for before.
    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        loop {
            if let Some(at) = self.seen[self.read..].find(text) {
                self.read += at + text.len();
                return self;
            }
            let piece = self.screen.recv_timeout(PATIENCE);
            let piece = piece.unwrap_or_else(|_| panic!("`{text}` is not on the screen:\n{}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) -> &mut Self {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// How it ended, and everything that was on the screen.
    pub(crate) fn leave(mut self) -> (i32, String) {
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill().unwrap();
                    panic!("it does not end:\n{}", self.seen);
                }
            }
        }
        (self.child.wait().unwrap().code().unwrap(), self.seen)
    }
}
