//! Heartbeats on many links at once, beside a broker that takes the same bytes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use kos_net::{
    carrier::{Carrier, Connector},
    dialler::Dialler,
};
use tokio::task::JoinSet;

use super::Ground;
use crate::{
    figure::{HEARTBEAT_PER_S, Measured},
    fleet::{DeviceLink, dial_all},
    peers::{self, mosquitto::Mosquitto, mqtt},
    statistics::median,
    talk,
    usage::{self, Meter, Usage},
};

const LINKS: u32 = 1_000;
/// Heartbeats that a link sends before it waits for their acknowledgements: what a broker allows by default is 20.
const WINDOW: u32 = 16;

/// One end that can report.
pub(crate) trait Reporting: Send + 'static {
    /// Sends `count` reports in one go and waits until all are acknowledged.
    fn report(&mut self, count: u32) -> impl Future<Output = Result<()>> + Send;
}

impl Reporting for DeviceLink {
    fn report(&mut self, count: u32) -> impl Future<Output = Result<()>> + Send {
        self.beat(count)
    }
}

impl Reporting for mqtt::Session {
    fn report(&mut self, count: u32) -> impl Future<Output = Result<()>> + Send {
        self.publish(count)
    }
}

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, time) = ground.scale.pick((3, Duration::from_secs(2)), (5, Duration::from_secs(5)));
    let fleet = ground.fleet().await?;
    let members = fleet.members(LINKS).await?;
    let connector = Arc::new(Connector::new(Dialler::unrestricted()));
    let pid = fleet.authority.program()?.pid();
    let mut broker = Mosquitto::start().await;
    let (mut by_carrier, mut usages) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for run in 1..=runs {
        for (index, carrier) in [Carrier::Tls, Carrier::Quic].into_iter().enumerate() {
            let links = dial_all(&members, &connector, carrier).await?;
            let (rate, usage) = flood(links, pid, time).await?;
            talk::say(&format!("heartbeats over {carrier}, run {run}: {rate:.0}/s"));
            by_carrier.get_mut(index).into_iter().for_each(|rates| rates.push(rate));
            usages.get_mut(index).into_iter().for_each(|all| all.push(usage));
        }
        peers::again(&mut broker, async |broker| {
            let sessions = broker.connect(LINKS).await?;
            Ok(flood(sessions, broker.program.pid(), time).await?.0)
        })
        .await;
    }
    let [tls, quic] = by_carrier.map(|rates| median(&rates));
    let [over_tls, over_quic] = usages;
    let (value, slower, of_slower, faster, rate) = if tls < quic {
        (tls, Carrier::Tls, over_tls, Carrier::Quic, quic)
    } else {
        (quic, Carrier::Quic, over_quic, Carrier::Tls, tls)
    };
    let measured = Measured::new(&HEARTBEAT_PER_S, value, runs, usage::bound(&of_slower, "authority"))
        .beside(peers::rival(broker, "TLS with client certificates, QoS 1, the same bytes"))
        .note(format!("{slower}; over {faster} {rate:.0}/s; {WINDOW} under way on each link"));
    Ok(vec![measured])
}

/// Lets every end report without pause for `time`; reports per second.
async fn flood<T: Reporting>(ends: Vec<T>, server: u32, time: Duration) -> Result<(f64, Usage)> {
    let meter = Meter::start(server)?;
    let until = Instant::now() + time;
    let mut reporting = JoinSet::new();
    for mut end in ends {
        reporting.spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                end.report(WINDOW).await?;
                count += WINDOW;
            }
            anyhow::Ok((count, end))
        });
    }
    let (mut total, mut open) = (0, Vec::new());
    while let Some(reported) = reporting.join_next().await {
        let (count, end) = reported??;
        total += count;
        open.push(end);
    }
    let usage = meter.stop()?;
    drop(open);
    Ok((f64::from(total) / usage.wall.as_secs_f64(), usage))
}
