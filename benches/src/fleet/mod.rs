//! Many devices in this process, and the real authority that they enrol with: the load generator.
//!
//! A device is the machine of `kos-identity` with keys in memory, on the TLS and the carriers of `kos-net`: what `kosd`
//! runs, without its disk. Its own preparation (keys, request) is done before a measurement begins, since devices in the
//! field have processors of their own.

mod link;
mod member;
mod newcomer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

pub(crate) use self::{
    link::{DeviceLink, heartbeat_body},
    member::{Member, dial_all},
    newcomer::{Newcomer, Wish},
};
use crate::{
    authority::{Authority, GivenTicket, TICKET_USES},
    statistics::ms,
    talk,
    usage::{Meter, Usage},
};

/// Devices that enrol at the same time, each with a ticket of its own, one after the other.
pub(crate) const WORKERS: u32 = 32;
/// Devices that are prepared and enrolled together when a fleet grows; bounds what is held in memory.
const SLICE: u32 = 2_000;
/// Members that are kept for links; more are enrolled and forgotten.
const MEMBERS_MAX: usize = 20_100;

/// An authority and the devices that enrolled with it.
pub(crate) struct Fleet {
    pub(crate) authority: Authority,
    pub(crate) members: Vec<Arc<Member>>,
    tickets: Vec<Arc<GivenTicket>>,
    /// How many have enrolled.
    pub(crate) size: u32,
}

/// One measured stretch of enrolments.
#[derive(Debug)]
pub(crate) struct Enrolments {
    pub(crate) count: u32,
    /// How long each one took, in milliseconds.
    pub(crate) latencies_ms: Vec<f64>,
    pub(crate) usage: Usage,
}

impl Enrolments {
    /// Enrolments per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.count) / self.usage.wall.as_secs_f64()
    }
}

impl Fleet {
    /// A new authority without devices.
    pub(crate) async fn start() -> Result<Self> {
        let authority = Authority::start().await?;
        let mut tickets = Vec::new();
        for _ in 0..WORKERS {
            tickets.push(Arc::new(authority.ticket().await?));
        }
        Ok(Self { authority, members: Vec::new(), tickets, size: 0 })
    }

    /// Enrols `count` new devices as fast as it goes.
    pub(crate) async fn enrol(&mut self, count: u32) -> Result<Enrolments> {
        ensure!(self.size + count <= WORKERS * TICKET_USES, "the tickets do not last for so many devices");
        let queues = self.prepare(count).await?;
        let meter = Meter::start(self.authority.program()?.pid())?;
        let mut workers = JoinSet::new();
        for queue in queues {
            workers.spawn(async move {
                let mut done = Vec::with_capacity(queue.len());
                for newcomer in queue {
                    let begun = Instant::now();
                    let member = newcomer.enrol().await?;
                    done.push((member, ms(begun.elapsed())));
                }
                anyhow::Ok(done)
            });
        }
        let mut latencies_ms = Vec::new();
        let mut arrived = Vec::new();
        while let Some(worker) = workers.join_next().await {
            for (member, took) in worker?? {
                latencies_ms.push(took);
                arrived.push(Arc::new(member));
            }
        }
        let usage = meter.stop()?;
        self.size += count;
        let room = MEMBERS_MAX.saturating_sub(self.members.len());
        self.members.extend(arrived.into_iter().take(room));
        Ok(Enrolments { count, latencies_ms, usage })
    }

    /// Makes the fleet at least this large, unless that takes longer than `patience`.
    pub(crate) async fn grow(&mut self, size: u32, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let before = self.size;
        while self.size < size && begun.elapsed() < patience {
            self.enrol(SLICE.min(size - self.size)).await?;
        }
        if self.size > before {
            talk::say(&format!(
                "{} devices, {} more in {:.0} s",
                self.size,
                self.size - before,
                begun.elapsed().as_secs_f64()
            ));
        }
        Ok(())
    }

    /// The first `count` members, after the fleet has grown to hold them.
    pub(crate) async fn members(&mut self, count: u32) -> Result<Vec<Arc<Member>>> {
        self.grow(count, Duration::MAX).await?;
        let members = self.members.get(..usize::try_from(count)?);
        Ok(members.context("fewer members than enrolled")?.to_vec())
    }

    /// Forgets `count` members from `from` on, which are no longer in service.
    pub(crate) fn forget(&mut self, from: usize, count: usize) {
        let from = from.min(self.members.len());
        self.members.drain(from..(from + count).min(self.members.len()));
    }

    /// Devices with their keys and requests made, one queue for each worker.
    async fn prepare(&self, count: u32) -> Result<Vec<Vec<Newcomer>>> {
        let mut making = JoinSet::new();
        for (worker, ticket) in (0..WORKERS).zip(&self.tickets) {
            let numbers: Vec<u32> =
                (0..count).filter(|n| n % WORKERS == worker).map(|n| self.size + n).collect();
            let ticket = Arc::clone(ticket);
            making.spawn_blocking(move || {
                numbers
                    .into_iter()
                    .map(|number| Newcomer::prepare(number, &ticket))
                    .collect::<Result<Vec<_>>>()
            });
        }
        let mut queues = Vec::new();
        while let Some(queue) = making.join_next().await {
            queues.push(queue??);
        }
        Ok(queues)
    }
}
