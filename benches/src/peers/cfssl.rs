//! Debian's `cfssl serve`: a CA behind HTTP that signs what it is asked to sign.

use std::{process::Command, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rcgen::PKCS_ECDSA_P256_SHA256;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, task::JoinSet};

use super::{Contest, enter, material};
use crate::process::{self, Program, free_port};

/// Connections at a time, each with one request after the other.
const CONNECTIONS: usize = 8;
const PATH: &str = "/api/v1/cfssl/sign";

/// A server with requests that wait to be signed.
pub(crate) struct Cfssl {
    _program: Program,
    _folder: TempDir,
    port: u16,
    requests: Arc<Vec<Bytes>>,
}

impl Cfssl {
    /// Starts the server and makes `count` requests.
    pub(crate) async fn start(count: u32) -> Contest<Self> {
        let version = process::output("cfssl", &["version"]).map(|text| {
            let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
            format!("cfssl {}", version.unwrap_or("of unknown version"))
        });
        let mut contest = enter(version, || {
            let folder = process::data_folder()?;
            material::Ca::make(folder.path())?;
            let port = free_port(0)?;
            let mut command = Command::new("cfssl");
            command.args(["serve", "-loglevel", "4", "-address", "127.0.0.1", "-port", &port.to_string()]);
            command.args(["-ca", "ca.pem", "-ca-key", "ca.key"]).current_dir(folder.path());
            command.stderr(std::process::Stdio::null());
            let program = Program::start(&mut command)?;
            let requests = (0..count).map(|number| {
                let request = material::request(number, &PKCS_ECDSA_P256_SHA256)?;
                Ok(Bytes::from(serde_json::to_vec(&json!({ "certificate_request": request }))?))
            });
            let requests = Arc::new(requests.collect::<Result<_>>()?);
            Ok(Self { _program: program, _folder: folder, port, requests })
        });
        if let Ok(contender) = &contest {
            let answered = super::until_answering(contender.rival.port).await;
            contest = match answered {
                Ok(()) => contest,
                Err(error) => Err(format!("cfssl did not work: {error:#}")),
            };
        }
        contest
    }

    /// Has all requests signed; certificates per second.
    pub(crate) async fn sign(&mut self) -> Result<f64> {
        let begun = Instant::now();
        let mut lanes = JoinSet::new();
        for lane in 0..CONNECTIONS {
            lanes.spawn(sign_some(self.port, Arc::clone(&self.requests), lane));
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        Ok(f64::from(u32::try_from(self.requests.len())?) / begun.elapsed().as_secs_f64())
    }
}

async fn sign_some(port: u16, requests: Arc<Vec<Bytes>>, lane: usize) -> Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    for body in requests.iter().skip(lane).step_by(CONNECTIONS) {
        let request =
            Request::post(PATH).header("host", "127.0.0.1").header("content-type", "application/json");
        sender.ready().await?;
        let answer = sender.send_request(request.body(Full::new(body.clone()))?).await?;
        let answer = answer.into_body().collect().await?.to_bytes();
        let answer: Value = serde_json::from_slice(&answer).context("cfssl does not answer in JSON")?;
        ensure!(answer.pointer("/result/certificate").is_some(), "cfssl refused: {answer}");
    }
    Ok(())
}
