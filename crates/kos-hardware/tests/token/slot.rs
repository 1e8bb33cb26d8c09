//! A token of SoftHSM, in a process of its own: PKCS#11 is initialised once a process, and SoftHSM reads where its tokens
//! are from the environment, which a process does not change while it has threads.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kos_emulator::SoftToken;
use kos_hardware::{HardwareError, token::Token};
use zeroize::Zeroizing;

const FOLDER: &str = "KOS_FAULTS";
const PIN: &str = SoftToken::PIN;
pub(crate) const LABEL: &str = SoftToken::LABEL;

/// The token of this process.
pub(crate) struct Slot {
    folder: PathBuf,
}

/// Runs `test`, the test of this name, in a process with a new token.
pub(crate) fn with_token(name: &str, test: impl FnOnce(&Slot)) {
    if let Some(folder) = env::var_os(FOLDER) {
        return test(&Slot { folder: folder.into() });
    }
    let token = SoftToken::new();
    let slot = Slot { folder: token.folder().to_owned() };
    compile(&slot.faulty());

    let mut inside = Command::new(env::current_exe().unwrap());
    inside.args(["--exact", name, "--nocapture"]).envs(slot.environment());
    let output = inside.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Otherwise a test that was renamed would pass by not being found.
    assert!(said(&output).contains("1 passed"), "{}", said(&output));
}

fn compile(module: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/token/faulty.c");
    let mut cc = Command::new("cc");
    let output = cc.args(["-shared", "-fPIC", "-o"]).arg(module).arg(source).arg("-ldl").output();
    let output = output.expect("a C compiler is installed");
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

impl Slot {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn environment(&self) -> [(&'static str, OsString); 2] {
        [("SOFTHSM2_CONF", self.path("softhsm2.conf").into()), (FOLDER, self.folder.clone().into())]
    }

    /// SoftHSM with faults that can be switched on.
    pub(crate) fn faulty(&self) -> PathBuf {
        self.path("faulty.so")
    }

    pub(crate) fn switch_on(&self, fault: &str) {
        fs::write(self.path(fault), "").unwrap();
    }

    pub(crate) fn switch_off(&self, fault: &str) {
        fs::remove_file(self.path(fault)).unwrap();
    }

    /// How often a PIN was tried through the faulty module.
    pub(crate) fn logins(&self) -> usize {
        fs::read(self.path("logins")).map_or(0, |tries| tries.len())
    }

    /// Makes a token.
    pub(crate) fn add(&self, label: &str) {
        let words = ["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "8462840"];
        let output = Command::new("softhsm2-util").args(words).envs(self.environment()).output();
        let output = output.expect("softhsm2 is installed");
        assert!(output.status.success(), "{}", said(&output));
    }

    /// The token through SoftHSM itself.
    pub(crate) fn open(&self) -> Token {
        self.open_through(Path::new(SoftToken::MODULE), LABEL, PIN).unwrap()
    }

    /// The token through the module with faults.
    pub(crate) fn open_faulty(&self) -> Token {
        self.open_through(&self.faulty(), LABEL, PIN).unwrap()
    }

    pub(crate) fn open_through(&self, module: &Path, name: &str, pin: &str) -> Result<Token, HardwareError> {
        Token::open(module, name, &Zeroizing::new(pin.to_owned()))
    }

    /// Runs `pkcs11-tool` on the token. All that it says.
    pub(crate) fn judge(&self, words: &[&str]) -> String {
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", SoftToken::MODULE, "--token-label", LABEL, "--login", "--pin", PIN]);
        let output = tool.args(words).output().expect("opensc is installed");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    }

    /// What `pkcs11-tool` tells of the slots.
    pub(crate) fn list(&self) -> String {
        let output =
            Command::new("pkcs11-tool").args(["--module", SoftToken::MODULE, "--list-token-slots"]).output();
        said(&output.expect("opensc is installed"))
    }
}
