//! Other systems that do a part of the same work. Each is found, asked for its version, and run in turn with ours; one
//! that is missing becomes a remark and fails nothing.

pub(crate) mod age;
pub(crate) mod cfssl;
pub(crate) mod material;
pub(crate) mod mender;
pub(crate) mod mosquitto;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod openssl;
pub(crate) mod sqlite;
pub(crate) mod sumdb;

use std::time::Duration;

use anyhow::Result;

use crate::{figure::Rival, statistics::median, talk, wait};

/// How long a server may take to come up.
const START_TIME_MAX: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
/// Connections that are opened at the same time.
const LANES: u32 = 32;

/// A rival at work, with the values of its runs so far, or why there is none.
pub(crate) type Contest<T> = Result<Contender<T>, String>;

/// A rival that runs.
pub(crate) struct Contender<T> {
    pub(crate) name: String,
    pub(crate) rival: T,
    values: Vec<f64>,
}

/// Enters a rival, or notes why it cannot take part.
pub(crate) fn enter<T>(name: Result<String, String>, make: impl FnOnce() -> Result<T>) -> Contest<T> {
    let name = name?;
    let rival = make().map_err(|error| format!("{name} did not work: {error:#}"))?;
    Ok(Contender { name, rival, values: Vec::new() })
}

/// Runs a rival once more. One that fails is out.
pub(crate) async fn again<T>(contest: &mut Contest<T>, run: impl AsyncFnOnce(&mut T) -> Result<f64>) {
    let Ok(contender) = contest else { return };
    match run(&mut contender.rival).await {
        Ok(value) => {
            talk::say(&format!("{}: {value:.0}", contender.name));
            contender.values.push(value);
        }
        Err(error) => *contest = Err(format!("{} did not work: {error:#}", contender.name)),
    }
}

/// The median of a rival's runs, with a word about how it ran; or why there is none.
pub(crate) fn rival<T>(contest: Contest<T>, how: &str) -> Result<Rival, String> {
    let Contender { name, values, .. } = contest?;
    Ok(Rival { name: format!("{name} ({how})"), value: median(&values) })
}

/// Waits until something listens on a port of this machine.
pub(crate) async fn until_answering(port: u16) -> Result<()> {
    wait::until("a listener", PAUSE, START_TIME_MAX, async || {
        Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop))
    })
    .await
}
