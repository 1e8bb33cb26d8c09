//! Issuing in process: what the authority computes for one enrolment, on one core, without network and disk.
//!
//! Counted: the session of the authority from `Hello` to `Issued` (both requests decoded and decided, CSR and ticket
//! proof verified, certificate and kID built and signed) and the signed log entry of each change. Not counted: the
//! device's side, TLS, the store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kos_api::hex;
use kos_audit::{
    Actor, BootId, Details, Entry, EventType, LogKey, SealedEntry, Sequence, Target, UnsignedEntry,
};
use kos_base::{AuthorityName, EntryId, KeyAlgorithm, Role, SecurityProfile, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{self, Certificate, IssuerClass, IssuerContext, Serial, Unsigned},
    enrolment::{
        authority::{self, AuthorityKey, Context, Found, RANDOM_BYTES, Session},
        device::{self, Anchor},
        message::AuthorityKeys,
    },
    registry::{Change, Commit, Ticket},
};
use kos_net::{entropy, keys::SigningKey};
use serde_json::json;

use super::Ground;
use crate::{
    authority::GivenTicket,
    clock,
    figure::{ISSUE_PER_S, Measured},
    fleet::{Newcomer, Wish},
    peers::{
        self,
        openssl::{self, OpensslCa},
    },
    statistics::median,
    talk,
};

/// What both ends export from their connection; here there is none.
const EXPORTER: [u8; 32] = [7; 32];
/// Where the requests come from.
const SOURCE: &str = "127.0.0.1";

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, count) = ground.scale.pick((3, 500), (5, 3_000));
    let mut openssl = OpensslCa::prepare(count);
    let goal = openssl::issuing_goal();
    let mut rates = Vec::new();
    for run in 1..=runs {
        let took = tokio::task::spawn_blocking(move || issue(count)).await??;
        let rate = f64::from(count) / took.as_secs_f64();
        rates.push(rate);
        talk::say(&format!("issuing, run {run}: {rate:.0}/s"));
        peers::again(&mut openssl, OpensslCa::sign).await;
    }
    let measured =
        Measured::new(&ISSUE_PER_S, median(&rates), rates.len(), "CPU: one core, no load generator")
            .beside(peers::rival(openssl, "one process, certificates alone"));
    Ok(vec![match goal {
        Ok(goal) => measured
            .goal(Some(goal))
            .note("goal: half of the signatures' cost by `openssl speed` in this run"),
        Err(error) => measured.note(format!("no goal: {error:#}")),
    }])
}

/// Issues to `count` devices; the authority's share of the time.
fn issue(count: u32) -> Result<Duration> {
    let mut ca = Ca::make()?;
    let mut took = Duration::ZERO;
    for number in 0..count {
        let (ticket, record) = ca.ticket()?;
        took += ca.issue(Newcomer::prepare(number, &Arc::new(ticket))?, record)?;
    }
    Ok(took)
}

/// An authority without shell.
struct Ca {
    context: Arc<Context>,
    issuing: [SigningKey; 2],
    kid: SigningKey,
    log: SigningKey,
    log_key: LogKey,
    boot: BootId,
    entries: u64,
}

impl Ca {
    fn make() -> Result<Self> {
        let now = clock::now();
        let name: AuthorityName = "bench".parse()?;
        let ed25519 = || SigningKey::generate(KeyAlgorithm::Ed25519);
        let root_key = SigningKey::generate(KeyAlgorithm::P384)?;
        let root = finish(certificate::root(&name, root_key.public(), serial()?, now)?, &root_key)?;
        let ca = |class| -> Result<(SigningKey, Certificate)> {
            let key = SigningKey::generate(KeyAlgorithm::P256)?;
            let context = IssuerContext { issuer: &root, publication: None, now };
            let unsigned = certificate::issuing_ca(class, key.public(), serial()?, &context)?;
            Ok((key, finish(unsigned, &root_key)?))
        };
        let ((one, first), (two, second)) = (ca(IssuerClass::One)?, ca(IssuerClass::Two)?);
        let (kid, log, orders) = (ed25519()?, ed25519()?, ed25519()?);
        let keys = AuthorityKeys {
            kid: kid.public().clone(),
            orders: orders.public().clone(),
            log: log.public().clone(),
        };
        let log_key = LogKey::new(&name, log.public().clone())?;
        let context = Context {
            name,
            root,
            issuers: [first, second],
            keys,
            publication: None,
            heartbeat_s: 60,
            rules: Vec::new(),
            attestation: authority::AttestationTerms::default(),
        };
        let boot = BootId::new(EntryId::from_parts(now, entropy::array()?));
        Ok(Self { context: Arc::new(context), issuing: [one, two], kid, log, log_key, boot, entries: 0 })
    }

    /// A ticket as the device holds it, and as the store does.
    fn ticket(&self) -> Result<(GivenTicket, Ticket)> {
        let now = clock::now();
        let key = SigningKey::generate(KeyAlgorithm::Ed25519)?;
        let id = EntryId::from_parts(now, entropy::array()?);
        let record = Ticket {
            id,
            version: 1,
            proof_key: key.public().clone(),
            role: Role::Sensor,
            profile_cap: SecurityProfile::Sec2,
            group: None,
            device_name: None,
            uses_max: 1,
            uses: 0,
            created_at: now,
            expires_at: now.plus(Ticket::LIFE_MAX),
            revoked: false,
            serial: None,
            identity_key: None,
            last_device: None,
        };
        let anchor = Anchor { name: None, pins: vec![self.context.root.key_id()], addresses: Vec::new() };
        Ok((GivenTicket { id, anchor, key }, record))
    }

    /// Lets a device in up to its certificate; the time that the authority's side took.
    fn issue(&mut self, mut device: Newcomer, ticket: Ticket) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        let mut ticket = Some(ticket);
        ensure!(matches!(device.wish(), Some(Wish::Connect(_))), "the device does not connect");
        let peer = Some(device.identity()?.clone());
        device.tell(device::Input::Connected {
            root: self.context.root.key_id(),
            enrolment: EXPORTER,
            renewal: EXPORTER,
        })?;
        let mut session = Session::new(Arc::clone(&self.context));
        let opened = authority::Input::Opened {
            peer,
            enrolment: EXPORTER,
            renewal: EXPORTER,
            source: SOURCE.to_owned(),
        };
        let begun = Instant::now();
        let mut answer = self.serve(&mut session, opened, &mut ticket)?;
        spent += begun.elapsed();
        while answer.is_none() || ticket.is_some() {
            if let Some(frame) = answer.take() {
                device.tell(device::Input::Received(frame))?;
            }
            let Some(Wish::Send(frame)) = device.wish() else { bail!("the device does not answer") };
            device.go_on()?;
            let begun = Instant::now();
            answer = self.serve(&mut session, authority::Input::Frame(frame), &mut ticket)?;
            spent += begun.elapsed();
        }
        Ok(spent)
    }

    /// Does what the session asks for until it waits; the last frame that it sends. The commit takes the ticket.
    fn serve(
        &mut self,
        session: &mut Session,
        input: authority::Input,
        ticket: &mut Option<Ticket>,
    ) -> Result<Option<Vec<u8>>> {
        use authority::{Input, Output};
        let now = clock::now();
        let mut sent = None;
        session.handle_input(now, input);
        while let Some(output) = session.poll_output() {
            let answer = match output {
                Output::Draw => Input::Drawn(entropy::secret::<RANDOM_BYTES>()?),
                Output::Lookup(query) => {
                    let ticket = query.ticket.and_then(|_| ticket.clone());
                    Input::Found(Box::new(Found { ticket, ..Found::default() }))
                }
                Output::Sign { key, form, message } => {
                    let [one, two] = &self.issuing;
                    let key = match key {
                        AuthorityKey::Issuing(IssuerClass::One) => one,
                        AuthorityKey::Issuing(IssuerClass::Two) => two,
                        AuthorityKey::Kid => &self.kid,
                    };
                    Input::Signed(key.sign(form, &message)?)
                }
                Output::Commit(commit) => {
                    self.record(now, &commit)?;
                    *ticket = None;
                    Input::Committed(Ok(()))
                }
                Output::Send(frame) => {
                    sent = Some(frame);
                    continue;
                }
                Output::Second(_) => Input::Seconded(None),
                Output::Close | Output::Keep(_) => continue,
                Output::Misuse(code) => bail!("the authority refuses with {code}"),
            };
            session.handle_input(now, answer);
        }
        Ok(sent)
    }

    /// Makes the signed entry of each change.
    fn record(&mut self, now: Timestamp, commit: &Commit) -> Result<()> {
        for change in &commit.changes {
            let (event_type, device, details) = match change {
                Change::DeviceEnrolled { device, identity_key, role, profile, ticket, .. } => (
                    EventType::DeviceEnrolled,
                    device,
                    json!({"identityKeyId": identity_key, "role": role, "profile": profile, "ticketId": ticket}),
                ),
                Change::CertificateIssued { device, issue, serial, key, .. } => (
                    EventType::CertificateIssued,
                    device,
                    json!({"issue": issue, "serial": hex::Serial::from_bytes(serial), "keyId": key}),
                ),
                other => bail!("an enrolment records {other:?}"),
            };
            let entry = Entry {
                actor: Actor::Device(device.clone()),
                boot_id: self.boot,
                details: Details::new(details.as_object().cloned().unwrap_or_default())?,
                event_type,
                id: EntryId::from_parts(now, entropy::array()?),
                key_id: self.log_key.id(),
                sequence: Sequence::at_index(self.entries)?,
                target: Some(Target::Device(device.clone())),
                timestamp: now,
            };
            let unsigned = UnsignedEntry::new(&entry, &self.log_key)?;
            let signature = self.log.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
            let signature = <[u8; 64]>::try_from(signature).ok().context("the log's key is not Ed25519")?;
            let sealed: SealedEntry = unsigned.finish(signature);
            std::hint::black_box(sealed.leaf_hash());
            self.entries += 1;
        }
        Ok(())
    }
}

fn serial() -> Result<Serial> {
    Ok(Serial::from_random(entropy::array()?))
}

fn finish(unsigned: Unsigned, key: &SigningKey) -> Result<Certificate> {
    let signature = key.sign(SignatureForm::Der, unsigned.to_be_signed())?;
    Ok(unsigned.finish(&signature)?)
}
