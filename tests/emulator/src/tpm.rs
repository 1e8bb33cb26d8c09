//! A TPM: `swtpm`, and `tpm2-tools` as its judges.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{said, wait};

/// A TPM of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct SoftTpm {
    folder: TempDir,
    process: Option<Child>,
}

impl Default for SoftTpm {
    fn default() -> Self {
        Self::new()
    }
}

impl SoftTpm {
    /// One that was never used.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        let mut tpm = Self { folder, process: None };
        tpm.start();
        tpm
    }

    /// As when the machine is switched on.
    pub fn start(&mut self) {
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
            .expect("swtpm is installed: cargo xtask test deps");
        self.process = Some(process);
        wait::until("swtpm listens", || UnixStream::connect(&socket).ok());
    }

    /// As when the power goes.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// A file beside its state.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its data channel.
    pub fn socket(&self) -> PathBuf {
        self.path("tpm")
    }

    /// The same, as our settings name it.
    pub fn address(&self) -> String {
        format!("swtpm:unix:{}", self.socket().display())
    }

    /// Lets `swtpm_localca` play its maker: a certificate for the endorsement key of these two coordinates, one after the other,
    /// in the place where makers put it. The file of its issuer's certificate, PEM.
    pub fn certify_ek(&self, coordinates: &[u8]) -> PathBuf {
        let folder = self.path("maker");
        fs::create_dir(&folder).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let settings = format!(
            "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
            folder.display(),
            at("signkey.pem"),
            at("issuercert.pem"),
            at("certserial"),
        );
        fs::write(folder.join("ca.conf"), settings).unwrap();
        fs::write(folder.join("ca.options"), "").unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (x, y) = coordinates.split_at(32);
        let made = Command::new("swtpm_localca")
            .args(["--type", "ek", "--tpm2", "--decryption", "--vmid", "attic", "--dir", &at("")])
            .args(["--ek", &format!("x={},y={},id=secp256r1", hex(x), hex(y))])
            .args(["--configfile", &at("ca.conf"), "--optsfile", &at("ca.options")])
            .args(["--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164"])
            .args([
                "--tpm-manufacturer",
                "id:00001014",
                "--tpm-model",
                "swtpm",
                "--tpm-version",
                "id:20191023",
            ])
            .output()
            .expect("swtpm_localca is installed: cargo xtask test deps");
        assert!(made.status.success(), "{}", said(&made));
        let size = fs::metadata(folder.join("ek.cert")).unwrap().len().to_string();
        let attributes = "ownerread|authread|ownerwrite|authwrite|no_da";
        self.judge(&["tpm2_nvdefine", "0x01c0000a", "-C", "o", "-s", &size, "-a", attributes]);
        self.judge(&["tpm2_nvwrite", "0x01c0000a", "-C", "o", "-i", &at("ek.cert")]);
        folder.join("issuercert.pem")
    }

    /// Runs one of `tpm2-tools` against this TPM. Whether it was content, and all that it says.
    pub fn tool(&self, words: &[&str]) -> (bool, String) {
        let (program, arguments) = words.split_first().unwrap();
        let output = Command::new(program)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", format!("swtpm:path={}", self.socket().display()))
            .current_dir(self.folder.path())
            .output()
            .expect("tpm2-tools are installed: cargo xtask test deps");
        (output.status.success(), said(&output))
    }

    /// As [`Self::tool`], for what has to work.
    pub fn judge(&self, words: &[&str]) -> String {
        let (is_success, said) = self.tool(words);
        assert!(is_success, "{words:?}: {said}");
        said
    }
}

impl Drop for SoftTpm {
    fn drop(&mut self) {
        self.kill();
    }
}
