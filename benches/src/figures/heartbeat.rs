//! Heartbeats on many links at once, beside a broker that takes the same bytes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kos_net::carrier::Carrier;
use tokio::task::JoinSet;

use super::Ground;
use crate::{
    figure::{HEARTBEAT_PER_S, Measured},
    fleet::{DeviceLink, dial_all},
    peers::{self, mosquitto::Mosquitto, mqtt},
    statistics::{median, rounded},
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

/// What several runs of one side came to.
#[derive(Default)]
struct Runs {
    /// Reports per second, many under way on each link.
    many: Vec<f64>,
    /// The same, each after the acknowledgement of the one before.
    single: Vec<f64>,
    /// Processor time of the server for each of the many, in microseconds.
    costs: Vec<f64>,
    usages: Vec<Usage>,
}

impl Runs {
    /// Runs once more with these ends.
    async fn add<T: Reporting>(&mut self, ends: Vec<T>, server: u32, time: Duration) -> Result<f64> {
        let (count, usage, ends) = flood(ends, WINDOW, server, time).await?;
        let rate = per_second(count, &usage);
        self.many.push(rate);
        self.costs.push(usage::each_us(&usage, count));
        self.usages.push(usage);
        let (count, usage, _) = flood(ends, 1, server, time / 2).await?;
        self.single.push(per_second(count, &usage));
        Ok(rate)
    }
}

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, time) = ground.scale.pick((3, Duration::from_secs(2)), (5, Duration::from_secs(5)));
    let fleet = ground.fleet().await?;
    let members = fleet.members(LINKS).await?;
    let pid = fleet.authority.program()?.pid();
    let mut broker = Mosquitto::start().await;
    let (mut tls, mut quic, mut beside) = (Runs::default(), Runs::default(), Runs::default());
    for run in 1..=runs {
        for (carrier, so_far) in [(Carrier::Tls, &mut tls), (Carrier::Quic, &mut quic)] {
            let rate = so_far.add(dial_all(&members, carrier).await?, pid, time).await?;
            talk::say(&format!("heartbeats over {carrier}, run {run}: {rate:.0}/s"));
        }
        peers::again(&mut broker, async |broker| {
            beside.add(broker.connect(LINKS).await?, broker.program.pid(), time).await
        })
        .await;
    }
    let both = [(Carrier::Tls, &tls), (Carrier::Quic, &quic)].map(|(c, r)| (c, median(&r.many), r));
    let [(faster, rate, _), (slower, value, of_slower)] = match both {
        [tls, quic] if tls.1 < quic.1 => [quic, tls],
        as_they_are => as_they_are,
    };
    let all = [&tls, &quic, &beside];
    let [single_tls, single_quic, single_beside] = all.map(|runs| median(&runs.single).round());
    let [cost_tls, cost_quic, cost_beside] = all.map(|runs| rounded(median(&runs.costs)));
    let measured = Measured::new(&HEARTBEAT_PER_S, value, runs, usage::bound(&of_slower.usages, "authority"))
        .beside(peers::rival(broker, "TLS with client certificates, QoS 1, the same bytes"))
        .note(format!("{slower}; over {faster} {rate:.0}/s; {WINDOW} under way on each link"))
        .note(format!("one at a time: TLS {single_tls}/s, QUIC {single_quic}/s, peer {single_beside}/s"))
        .note(format!(
            "processor time for each: TLS {cost_tls} us, QUIC {cost_quic} us, peer {cost_beside} us"
        ));
    Ok(vec![measured])
}

fn per_second(count: u32, usage: &Usage) -> f64 {
    f64::from(count) / usage.wall.as_secs_f64()
}

/// Lets every end report without pause for `time`, `window` at once; the reports, and the ends.
async fn flood<T: Reporting>(
    ends: Vec<T>,
    window: u32,
    server: u32,
    time: Duration,
) -> Result<(u32, Usage, Vec<T>)> {
    let meter = Meter::start(server)?;
    let until = Instant::now() + time;
    let mut reporting = JoinSet::new();
    for mut end in ends {
        reporting.spawn(async move {
            let mut count = 0;
            while Instant::now() < until {
                end.report(window).await?;
                count += window;
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
    Ok((total, usage, open))
}
