//! Drives one enrolment session: frames in, frames out, and in between whatever the machine asks for.
//!
//! The machine decides; this only carries out. Answers to questions come from the store, the writer, the keys and the
//! source of randomness. A session ends with its connection, after [`SESSION_MAX`] at the latest.
//!
//! Source: `docs/spec/enrolment.md` ENR.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use kos_base::{Code, KeyId, PublicKey, Secret, code};
use kos_identity::enrolment::authority::{
    AuthorityKey, CommitFailed, Context, Found, Input, Output, Query, RANDOM_BYTES, Session,
};
use kos_identity::enrolment::message::{FromAuthority, Refused};
use kos_net::{
    accept::source_of,
    entropy,
    frame::{self, FrameReader, Patience},
    tls::{Exporter, Facts},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
    time::timeout,
};

use super::misuse::{Greeting, MisuseBook, Standing};
use crate::{
    authority::Shared,
    clock,
    fleet::own_key,
    second,
    store::{StoreError, StoredMaker},
    writer::Transaction,
};

/// Longest time that one session may take; an honest one takes three round trips.
const SESSION_MAX: Duration = Duration::from_secs(20);
const PATIENCE: Patience = Patience { silence: Duration::from_secs(10), body: Duration::from_secs(5) };
/// How long the peer may take to accept an answer.
const SEND_DEADLINE: Duration = Duration::from_secs(5);

/// Where devices are let in.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    /// What all sessions know; exchanged when the authority gets a public name.
    pub(crate) context: watch::Receiver<Arc<Context>>,
    /// Who abused it.
    pub(crate) misuse: Arc<MisuseBook>,
}

/// Why a session ended without an answer. The log of the program gets it; the peer sees a closed connection.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("a forensic bundle cannot be kept: {0}")]
    Bundle(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] entropy::NoEntropy),
    #[error(transparent)]
    Key(#[from] kos_net::keys::KeyError),
}

impl Desk {
    /// Serves one connection to its end.
    pub(crate) async fn serve<IO>(&self, stream: IO, facts: &Facts, peer: Option<PublicKey>, source: IpAddr)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let source = source_of(source).to_string();
        match timeout(SESSION_MAX, self.converse(stream, facts, peer, &source)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%source, %error, "enrolment session broken off"),
            Err(_) => tracing::debug!(%source, "enrolment session took too long"),
        }
    }

    async fn converse<IO>(
        &self,
        stream: IO,
        facts: &Facts,
        peer: Option<PublicKey>,
        source: &str,
    ) -> Result<(), Broken>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (read, mut write) = tokio::io::split(stream);
        let mut frames = FrameReader::new(read, PATIENCE);
        let context = Arc::clone(&self.context.borrow());
        let mut session = Session::new(context);
        let own = peer.as_ref().map(PublicKey::id);
        let renewal = self.renewal(facts, peer.as_ref()).await?;
        let mut greeting = None;
        let mut next = Some(Input::Opened {
            peer,
            enrolment: *facts.exporter(Exporter::Enrolment).expose(),
            renewal: *renewal.expose(),
            source: source.to_owned(),
        });
        loop {
            let input = match next.take() {
                Some(input) => input,
                None => match frames.read().await? {
                    Some(bytes) if self.serves(source, own).await? => {
                        if let Some(greeting) = &mut greeting {
                            Greeting::answered(greeting);
                        }
                        Input::Frame(bytes)
                    }
                    Some(_) => {
                        self.misuse.count(clock::now(), source, code::enrolment::RATE_LIMITED);
                        let refused = refusal(code::enrolment::RATE_LIMITED);
                        return Ok(frame::write(&mut write, &refused, SEND_DEADLINE).await?);
                    }
                    None => return Ok(()),
                },
            };
            session.handle_input(clock::now(), input);
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Draw => next = Some(Input::Drawn(entropy::secret::<RANDOM_BYTES>()?)),
                    Output::Lookup(query) => next = Some(Input::Found(Box::new(self.look_up(&query).await?))),
                    Output::Second(question) => {
                        next = Some(Input::Seconded(second::testimony(&self.shared, &question).await));
                    }
                    Output::Sign { key, form, message } => {
                        let key = match key {
                            AuthorityKey::Issuing(class) => self.shared.keys.issuing(class),
                            AuthorityKey::Kid => &self.shared.keys.kid,
                        };
                        next = Some(Input::Signed(key.sign(form, &message)?));
                    }
                    Output::Keep(sealed) => self.shared.bundles.keep(&sealed)?,
                    Output::Commit(commit) => {
                        let done = self.shared.writer.commit(Transaction::of(clock::now(), commit)).await;
                        next = Some(Input::Committed(done.map(drop).map_err(|error| failed(&error))));
                    }
                    Output::Send(bytes) => {
                        if matches!(FromAuthority::from_bytes(&bytes), Ok(FromAuthority::Welcome(_))) {
                            greeting = Some(self.misuse.greet(source));
                        }
                        frame::write(&mut write, &bytes, SEND_DEADLINE).await?;
                    }
                    Output::Misuse(code) => match greeting.take() {
                        Some(greeted) => greeted.abort(clock::now(), code),
                        None => self.misuse.count(clock::now(), source, code),
                    },
                    Output::Close => {
                        // A peer that is gone already has its answer or will ask again.
                        let _ = timeout(SEND_DEADLINE, write.shutdown()).await;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What a renewal on this connection is bound to: the exporter, and the device's own key where the key of the connection is
    /// that of a certificate with SEC-1 (OWN-7).
    async fn renewal(&self, facts: &Facts, peer: Option<&PublicKey>) -> Result<Secret<32>, StoreError> {
        let exporter = facts.exporter(Exporter::Renewal);
        let plain = || Secret::new(*exporter.expose());
        let Some(key) = peer else { return Ok(plain()) };
        let device = self.shared.store.device_by_key(key.id()).await?;
        let device =
            device.filter(|device| own_key::certificate_of(device).is_some_and(|held| held.key == *key));
        Ok(device.and_then(|device| own_key::renewal(&self.shared, &device, exporter)).unwrap_or_else(plain))
    }

    /// Whether this source is served, or at least this key. It is asked for when strangers are not.
    async fn serves(&self, source: &str, key: Option<KeyId>) -> Result<bool, StoreError> {
        match (self.misuse.standing(clock::now(), source), key) {
            (Standing::Served, _) => Ok(true),
            (Standing::KnownOnly, Some(key)) => Ok(self.shared.store.device_by_key(key).await?.is_some()),
            (Standing::KnownOnly, None) | (Standing::Refused, _) => Ok(false),
        }
    }

    async fn look_up(&self, query: &Query) -> Result<Found, StoreError> {
        let device = match (&query.device, query.key) {
            (Some(id), _) => self.shared.store.device(id).await?,
            (None, Some(key)) => self.shared.store.device_by_key(key).await?,
            (None, None) => None,
        };
        let ticket = match query.ticket {
            Some(id) => self.shared.store.ticket(id).await?,
            None => None,
        };
        let mut vouchers = Vec::new();
        for place in &query.vouchers {
            vouchers.extend(self.shared.store.vouchers_of(place).await?);
        }
        let makers = match query.makers || !vouchers.is_empty() {
            true => self.shared.store.makers().await?.iter().filter_map(StoredMaker::maker).collect(),
            false => Vec::new(),
        };
        let (sponsor, node) = match &query.sponsor {
            Some((grant, node)) => (
                self.shared.store.vouching_grant(*grant).await?.map(Box::new),
                self.shared.store.device(node).await?.map(Box::new),
            ),
            None => (None, None),
        };
        let lookalikes =
            self.shared.store.lookalikes(&query.macs, &query.serials, query.ek, query.key).await?;
        let lobby = self.shared.store.lobby_count(&query.source).await?;
        // All three: of the root, of the CA that signs the device, and of the CA that signed the certificate of this
        // port, by which the device knows us.
        let crls = self.shared.board.view().lists().map(|list| list.der().to_vec()).collect();
        let (waiting, waiting_from_source) = (lobby.total, lobby.from_source);
        // Only whoever shows a TPM has them looked at.
        let (ek_listed, golden) = match query.ek {
            Some(ek) => {
                let known = self.shared.store.attestation_lists().await?;
                (known.lists(ek), known.golden_sets())
            }
            None => (false, Vec::new()),
        };
        Ok(Found {
            device,
            ticket,
            lookalikes,
            waiting,
            waiting_from_source,
            ek_listed,
            golden,
            vouchers,
            makers,
            sponsor,
            node,
            crls,
        })
    }
}

fn failed(error: &StoreError) -> CommitFailed {
    match error {
        StoreError::Conflict { .. } => CommitFailed::Conflict,
        StoreError::LobbyFull => CommitFailed::Store(error.code()),
        other => {
            tracing::error!(error = %other, "an enrolment could not be recorded");
            CommitFailed::Store(other.code())
        }
    }
}

fn refusal(code: Code) -> Vec<u8> {
    FromAuthority::Refused(Refused { code: code.number(), retry_after_s: Some(60) }).to_bytes()
}
