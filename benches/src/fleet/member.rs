//! A device in service, as far as its links need it.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use kos_base::{AuthorityName, DeviceId, KeyId, SecurityProfile};
use kos_identity::chain::Clock;
use kos_klp::{
    party::Party,
    proof::link::LinkRole,
    session::{Session, Signer},
};
use kos_net::{
    carrier::{Carrier, Connector},
    dialler::{Dialler, Target},
    endpoints::Endpoint,
    keys::{SigningKey, certified},
    tls::{ClientTls, Expectation},
};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinSet;

use super::DeviceLink;
use crate::clock;

/// Links that are opened at the same time: fewer than make the authority ask UDP addresses for a token.
const DIALS: usize = 32;

/// A device in service.
pub(crate) struct Member {
    pub(crate) authority: AuthorityName,
    pub(crate) device: DeviceId,
    pub(crate) address: Endpoint,
    pub(crate) pins: Vec<KeyId>,
    /// Its own certificate and that of its issuer.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<SigningKey>,
}

impl Member {
    /// Opens a link on `carrier`.
    pub(crate) async fn dial(&self, connector: &Connector, carrier: Carrier) -> Result<DeviceLink> {
        let tls = ClientTls {
            clock: Arc::new(|| Clock::Trusted(clock::now())),
            certified: Some(certified(self.chain.clone(), Arc::clone(&self.key))),
            expectation: Expectation::Pins(self.pins.clone()),
            profile: SecurityProfile::Sec2,
        };
        let target = Target::from(self.address.clone());
        let link = connector.dial(&[carrier], &target, &tls).await?;
        let session = Session::new(
            LinkRole::Dialler,
            link.about.exporter(),
            Party::device(&self.authority, &self.device),
            self.key.public().id(),
            Signer { party: Party::authority(&self.authority), key: link.about.peer.public_key().clone() },
            clock::now().unix_ms(),
        )?;
        Ok(DeviceLink::new(link, session))
    }
}

/// Opens a link for each of `members` and sends one heartbeat on it.
pub(crate) async fn dial_all(members: &[Arc<Member>], carrier: Carrier) -> Result<Vec<DeviceLink>> {
    let mut dialling = JoinSet::new();
    for lane in 0..DIALS {
        let own: Vec<_> = members.iter().skip(lane).step_by(DIALS).cloned().collect();
        dialling.spawn(async move {
            // One UDP socket a lane: fewer than devices have, and enough that no socket is the narrow place.
            let connector = Connector::new(Dialler::unrestricted());
            let mut open = Vec::with_capacity(own.len());
            for member in own {
                let dialled = member.dial(&connector, carrier).await;
                let mut link =
                    dialled.with_context(|| format!("{} has no link over {carrier}", member.device))?;
                link.beat(1)
                    .await
                    .with_context(|| format!("{} is not heard over {carrier}", member.device))?;
                open.push(link);
            }
            anyhow::Ok(open)
        });
    }
    let mut open = Vec::with_capacity(members.len());
    while let Some(lane) = dialling.join_next().await {
        open.extend(lane??);
    }
    Ok(open)
}
