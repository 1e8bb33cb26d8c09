//! `ready.json`: for programs that wait until both ends work.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::fault::Fault;

/// The file, for as long as both ends work. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Ready(PathBuf);

/// What is in it.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) authority: &'a str,
    pub(crate) device: &'a str,
    pub(crate) first_run: bool,
    /// Nothing when the device has ended: no heartbeat comes.
    pub(crate) heartbeat_ms: Option<u64>,
    pub(crate) ports: [u16; 3],
    pub(crate) socket: &'a Path,
}

impl Ready {
    /// Takes away what an interrupted run left.
    pub(crate) fn clear(data: &Path) -> Result<(), Fault> {
        let path = data.join("ready.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::file(&path, error)),
            _ => Ok(()),
        }
    }

    /// Puts the file in its place, whole.
    pub(crate) fn write(data: &Path, facts: &Facts<'_>) -> Result<Self, Fault> {
        let [web, tls, pki] = facts.ports;
        let document = json!({
            "apiVersion": "kos.v1",
            "kind": "Ready",
            "item": {
                "authority": facts.authority,
                "deviceId": facts.device,
                "pid": std::process::id(),
                "firstRun": facts.first_run,
                "heartbeatMs": facts.heartbeat_ms,
                "ports": { "web": web, "tls": tls, "pki": pki },
                "socket": facts.socket,
            }
        });
        let path = data.join("ready.json");
        let beside = data.join("ready.json.new");
        let write = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(format!("{document}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|error| Fault::file(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // Whoever looks finds a process id that no longer runs.
        drop(fs::remove_file(&self.0));
    }
}
