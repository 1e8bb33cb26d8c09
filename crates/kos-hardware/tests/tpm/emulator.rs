//! A real TPM 2.0, in software, and the tools of others that judge it.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::Path,
    process::Command,
};

use kos_emulator::SoftTpm;
use kos_hardware::tpm::{Tpm, TpmAddress};

/// What these tests ask of it besides.
pub(crate) struct Emulator(SoftTpm);

impl Deref for Emulator {
    type Target = SoftTpm;

    fn deref(&self) -> &SoftTpm {
        &self.0
    }
}

impl DerefMut for Emulator {
    fn deref_mut(&mut self) -> &mut SoftTpm {
        &mut self.0
    }
}

impl Emulator {
    /// A TPM that was never used.
    pub(crate) fn new() -> Self {
        Self(SoftTpm::new())
    }

    pub(crate) fn address(&self) -> TpmAddress {
        self.0.address().parse().unwrap()
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.address()).unwrap()
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
