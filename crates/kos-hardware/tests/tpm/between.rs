//! Somebody on the bus between us and a real TPM: listens, changes bits, cuts the wire, answers in its place.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use kos_hardware::tpm::TpmAddress;
use tempfile::TempDir;

/// What is done to the frame of a number, counted from when it was ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Nothing,
    FlipCommand {
        frame: usize,
        bit: usize,
    },
    FlipAnswer {
        frame: usize,
        bit: usize,
    },
    /// The TPM gets the command, we get no answer.
    Cut {
        frame: usize,
    },
    /// Instead of what the TPM would say, every time from this frame on.
    Say {
        frame: usize,
        code: u32,
    },
}

struct Plan {
    deed: Deed,
    /// Every command and its answer, as they should have been.
    heard: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) struct Between {
    folder: TempDir,
    plan: Arc<Mutex<Plan>>,
}

impl Between {
    /// Sits down before the TPM at `socket`.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plan = Arc::new(Mutex::new(Plan { deed: Deed::Nothing, heard: Vec::new() }));
        let listener = UnixListener::bind(folder.path().join("bus")).unwrap();
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                // An end of either side is the end of the connection, and no failure of a test by itself.
                let _ = serve(client, &socket, &shared);
            }
        });
        Self { folder, plan }
    }

    pub(crate) fn address(&self) -> TpmAddress {
        TpmAddress::Unix(self.folder.path().join("bus"))
    }

    /// From now on, and forgets what was heard.
    pub(crate) fn order(&self, deed: Deed) {
        *self.plan.lock().unwrap() = Plan { deed, heard: Vec::new() };
    }

    /// Commands and answers since the last order.
    pub(crate) fn heard(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.plan.lock().unwrap().heard.clone()
    }
}

fn serve(mut client: UnixStream, socket: &Path, plan: &Mutex<Plan>) -> io::Result<()> {
    let mut tpm = UnixStream::connect(socket)?;
    loop {
        let mut command = read_frame(&mut client)?;
        let heard = command.clone();
        let (deed, number) = {
            let plan = plan.lock().unwrap();
            (plan.deed, plan.heard.len())
        };
        match deed {
            Deed::FlipCommand { frame, bit } if frame == number => flip(&mut command, bit),
            Deed::Say { frame, code } if frame <= number => {
                let mut answer = vec![0x80, 1, 0, 0, 0, 10];
                answer.extend_from_slice(&code.to_be_bytes());
                plan.lock().unwrap().heard.push((heard, answer.clone()));
                client.write_all(&answer)?;
                continue;
            }
            _ => {}
        }
        tpm.write_all(&command)?;
        let mut answer = read_frame(&mut tpm)?;
        plan.lock().unwrap().heard.push((heard, answer.clone()));
        match deed {
            Deed::FlipAnswer { frame, bit } if frame == number => flip(&mut answer, bit),
            Deed::Cut { frame } if frame == number => return Ok(()),
            _ => {}
        }
        client.write_all(&answer)?;
        if matches!(deed, Deed::FlipAnswer { frame, .. } if frame == number) {
            // An answer that says that it is longer than it is would be waited for.
            client.shutdown(std::net::Shutdown::Write)?;
        }
    }
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn read_frame(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 10];
    stream.read_exact(&mut frame)?;
    let size = u32::from_be_bytes([frame[2], frame[3], frame[4], frame[5]]);
    frame.resize(size.clamp(10, 4096).try_into().unwrap(), 0);
    stream.read_exact(&mut frame[10..])?;
    Ok(frame)
}
