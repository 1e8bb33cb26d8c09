//! Memory of a server for each link that is open and idle.
//!
//! Each server starts anew for each run, so that the memory of the links before does not hide that of the next. Every
//! link says something once, since a device does.

use anyhow::Result;
use kos_net::carrier::Carrier;

use super::Ground;
use crate::{
    figure::{IDLE_LINK_BYTES, Measured},
    fleet::dial_all,
    peers::{self, mosquitto::Mosquitto, nats::Nats},
    process::{Program, allow_descriptors},
    statistics::{count, median, number},
    talk,
};

/// Descriptors that are not for links.
const DESCRIPTORS_KEPT: u64 = 1_000;

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, wanted) = ground.scale.pick((1, 5_000), (3, 20_000));
    let allowed = allow_descriptors().saturating_sub(DESCRIPTORS_KEPT);
    let links = u32::try_from(allowed).unwrap_or(u32::MAX).min(wanted);
    let fleet = ground.fleet().await?;
    let members = fleet.members(links).await?;
    let (mut by_carrier, mut mosquitto, mut nats) = ([Vec::new(), Vec::new()], None, None);
    for run in 1..=runs {
        for (index, carrier) in [Carrier::Tls, Carrier::Quic].into_iter().enumerate() {
            fleet.authority.restart().await?;
            let before = fleet.authority.program()?.settled_bytes().await?;
            let open = dial_all(&members, carrier).await?;
            let each = grown(fleet.authority.program()?, before).await? / count(&open);
            talk::say(&format!("idle over {carrier}, run {run}: {each:.0} B a link"));
            by_carrier.get_mut(index).into_iter().for_each(|all| all.push(each));
        }
        let broker = mosquitto.get_or_insert(Mosquitto::start().await);
        peers::again(broker, async |broker| {
            broker.restart().await?;
            let before = broker.program.settled_bytes().await?;
            let mut open = broker.connect(links).await?;
            for session in &mut open {
                session.publish(1).await?;
            }
            Ok(grown(&broker.program, before).await? / count(&open))
        })
        .await;
        let server = nats.get_or_insert(Nats::start().await);
        peers::again(server, async |server| {
            server.restart().await?;
            let before = server.program.settled_bytes().await?;
            let open = server.connect(links).await?;
            Ok(grown(&server.program, before).await? / count(&open))
        })
        .await;
    }
    // The authority goes on without the links of this measurement.
    fleet.authority.restart().await?;
    let [tls, quic] = by_carrier.map(|all| median(&all));
    let measured = Measured::new(&IDLE_LINK_BYTES, tls.max(quic), runs, "memory")
        .beside(rival(mosquitto, "TLS with client certificates"))
        .beside(rival(nats, "TLS with client certificates"))
        .note(format!("{links} links; TLS {tls:.0} B, QUIC {quic:.0} B; the kernel's buffers not counted"));
    Ok(vec![measured])
}

fn rival<T>(contest: Option<peers::Contest<T>>, how: &str) -> Result<crate::figure::Rival, String> {
    peers::rival(contest.unwrap_or_else(|| Err("no run".to_owned())), how)
}

async fn grown(program: &Program, before: u64) -> Result<f64> {
    Ok(number(program.settled_bytes().await?.saturating_sub(before)))
}
