//! A real TPM 2.0, in software: `swtpm` with a state of its own, and the tools of others that judge it.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kos_hardware::tpm::{Tpm, TpmAddress};
use tempfile::TempDir;

use crate::wait;

pub(crate) struct Emulator {
    folder: TempDir,
    process: Option<Child>,
}

impl Emulator {
    /// A TPM that was never used.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let mut emulator = Self { folder, process: None };
        emulator.start();
        emulator
    }

    pub(crate) fn start(&mut self) {
        let socket = self.socket();
        let control = self.path("tpm.ctrl");
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(&control);
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init"])
            .arg("--tpmstate")
            .arg(format!("dir={}", self.path("state").display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", control.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm is installed");
        self.process = Some(process);
        wait::until("swtpm listens", || UnixStream::connect(&socket).ok());
    }

    /// As when the power goes.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("tpm")
    }

    pub(crate) fn address(&self) -> TpmAddress {
        TpmAddress::Unix(self.socket())
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.address()).unwrap()
    }

    /// Runs one of `tpm2-tools` against this TPM. Its exit and all that it says.
    pub(crate) fn tool(&self, words: &[&str]) -> (bool, String) {
        let (program, arguments) = words.split_first().unwrap();
        let output = Command::new(program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", format!("swtpm:path={}", self.socket().display()))
            .current_dir(self.folder.path())
            .output()
            .expect("tpm2-tools are installed");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// As [`Self::tool`], for what has to work.
    pub(crate) fn judge(&self, words: &[&str]) -> String {
        let (is_success, said) = self.tool(words);
        assert!(is_success, "{words:?}: {said}");
        said
    }

    /// Lets `tpm2_load` load what a blob of ours holds under the storage key that it makes itself: `object.ctx`.
    pub(crate) fn judge_loads(&self, blob: &[u8]) {
        // A structure of its library: two coordinates of 32 zeros, each in a buffer of 128 bytes.
        let coordinate = [&32u16.to_ne_bytes()[..], &[0; 128]].concat();
        fs::write(self.path("unique"), [&coordinate[..], &coordinate].concat()).unwrap();
        let public = part(blob, PUBLIC_AT);
        let private = part(blob, PUBLIC_AT + public.len());
        fs::write(self.path("object.pub"), public).unwrap();
        fs::write(self.path("object.priv"), private).unwrap();
        // These tools leave behind what they load.
        self.judge(&["tpm2_flushcontext", "-t"]);
        self.judge(&[
            "tpm2_createprimary",
            "-C",
            "o",
            "-g",
            "sha256",
            "-G",
            "ecc256:aes128cfb",
            "-a",
            "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda",
            "-u",
            "unique",
            "-c",
            "primary.ctx",
        ]);
        self.judge(&[
            "tpm2_load",
            "-C",
            "primary.ctx",
            "-u",
            "object.pub",
            "-r",
            "object.priv",
            "-c",
            "object.ctx",
        ]);
        self.judge(&["tpm2_flushcontext", "-t"]);
    }

    /// What is loaded, as the TPM tells it: objects and sessions that somebody forgot.
    pub(crate) fn left_over(&self) -> String {
        ["handles-transient", "handles-loaded-session", "handles-saved-session"]
            .map(|what| self.judge(&["tpm2_getcap", what]))
            .concat()
    }
}

/// Where the public part of a blob begins: behind the magic, version, kind, PCRs and name.
pub(crate) const PUBLIC_AT: usize = 7 + 1 + 1 + 4 + 34;

/// A part with the length before it.
pub(crate) fn part(blob: &[u8], at: usize) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([blob[at], blob[at + 1]]));
    &blob[at..at + 2 + length]
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether `openssl` finds that the key of `spki` signed `message`.
pub(crate) fn openssl_verifies(folder: &Path, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let [key, text, sign] = ["judge.der", "judge.txt", "judge.sig"].map(|name| folder.join(name));
    fs::write(&key, spki).unwrap();
    fs::write(&text, message).unwrap();
    fs::write(&sign, signature).unwrap();
    let verdict = Command::new("openssl")
        .args(["dgst", "-sha256", "-keyform", "DER", "-verify"])
        .args([&key, Path::new("-signature"), &sign, &text])
        .output()
        .expect("openssl is installed");
    verdict.status.success()
}
