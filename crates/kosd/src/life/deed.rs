//! What the machine asks for, done.

use std::{process::Stdio, sync::Arc, time::Duration};

use kos_audit::EventType;
use kos_base::{Code, Secret, code};
use kos_identity::{
    certificate::Certificate,
    enrolment::device::{
        Anchor, Delivery, Event, Input, Installation, KeySlot, Output, RANDOM_BYTES, SignWith,
    },
};
use kos_net::{
    entropy,
    keys::{SigningKey, certified, self_signed},
    tls::{ClientTls, Expectation},
};
use kos_policy::{Request, decide};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::{process::Command, time::timeout};

use super::{Connection, Device, Happening, JOURNAL, LifeError, News, Outcome, RECORD, service::standing_of};
use crate::{
    keystore::{KeystoreError, word},
    root::{self, Kind, RootError, file},
};

/// How long the bootloader lock command may take.
const LOCK_TIME_MAX: Duration = Duration::from_secs(60);

/// Why something was not done. The machine is loaded again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Setback {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    #[error("the key or the random numbers failed: {0}")]
    Provider(String),
    #[error("no carrier is allowed both by the configuration and by the role profile")]
    Carriers,
}

impl Setback {
    /// The stable code.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Root(error) => error.code(),
            Self::Keystore(error) => error.code(),
            Self::Provider(_) => code::config::INTERNAL,
            Self::Carriers => code::config::CONFIG_INVALID,
        }
    }
}

impl Device {
    /// Does everything that the machine asks for now.
    ///
    /// # Errors
    /// When something was not done and the machine cannot be loaded again.
    pub(super) fn carry_out_all(&mut self) -> Result<(), LifeError> {
        while let Some(output) = self.machine.poll_output() {
            if let Err(setback) = self.carry_out(output) {
                let code = setback.code();
                tracing::error!(%code, %setback, "the device starts over from what is on its disk");
                self.errors.count();
                self.news.tell(News::Setback(code));
                self.reload()?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, output: Output) -> Result<(), Setback> {
        let answer = match output {
            Output::MakeKey(slot) => {
                let made = self.keys.make(slot, self.clock.now())?;
                self.note(EventType::KeyMade, json!({"key": word(slot)}));
                Some(Input::KeyMade(made))
            }
            Output::Draw => {
                let drawn = entropy::secret::<RANDOM_BYTES>();
                Some(Input::Drawn(drawn.map_err(|error| Setback::Provider(error.to_string()))?))
            }
            Output::Persist(journal) => {
                let path = self.root.secrets().join(JOURNAL);
                file::replace(&path, &root::seal(Kind::Journal, &journal), file::PRIVATE)?;
                None
            }
            Output::Connect { key, chain, anchor } => {
                self.connect(key, chain, anchor)?;
                None
            }
            Output::Send(frame) => {
                if let Some(connection) = &self.connection {
                    connection.send(frame);
                }
                None
            }
            Output::Close => {
                self.connection = None;
                None
            }
            Output::Sign { key, form, message } => {
                let signature = match (key, &self.ticket) {
                    (SignWith::Slot(slot), _) => {
                        self.keys.signing(slot, self.clock.now())?.sign(form, &message)
                    }
                    (SignWith::Ticket, Some(ticket)) => ticket.key.sign(form, &message),
                    (SignWith::Ticket, None) => {
                        return Err(Setback::Provider("there is no ticket".to_owned()));
                    }
                };
                Some(Input::Signed(signature.map_err(|error| Setback::Provider(error.to_string()))?))
            }
            Output::Offer => Some(Input::Offered(self.keys.offer(self.clock.now())?)),
            Output::Attest { challenge, binding, slot } => {
                let statement = self.keys.attest(&challenge, binding, slot, self.clock.now())?;
                Some(Input::Attested(Box::new(statement)))
            }
            Output::ShowCode(code) => {
                tracing::warn!(code, "compare this code with the one that the authority shows");
                self.condition.code = Some(code.clone());
                self.news.tell(News::Code(code));
                None
            }
            Output::Install(installation) => {
                self.install(&installation)?;
                None
            }
            Output::LockBootloader => {
                self.lock_bootloader();
                None
            }
            Output::Erase(slots) => {
                self.keys.erase(&slots, self.clock.now())?;
                None
            }
            Output::Forget => {
                self.forget_credentials()?;
                None
            }
            Output::Gather { order, recipients } => Some(Input::Gathered(self.gather(order, &recipients)?)),
            Output::WriteRecord(record) => {
                self.note_end("authority");
                file::replace(&self.root.state().join(RECORD), &record, file::PRIVATE)?;
                None
            }
            Output::Wipe => {
                self.wipe()?;
                Some(Input::Wiped)
            }
            Output::Event(event) => {
                self.tell_event(event);
                None
            }
        };
        if let Some(answer) = answer {
            self.machine.handle_input(self.clock.now(), answer);
        }
        Ok(())
    }

    fn connect(&mut self, key: Option<KeySlot>, chain: Vec<Vec<u8>>, anchor: Anchor) -> Result<(), Setback> {
        let own = key.map(|slot| self.own_key_of_renewal(slot)).transpose()?.flatten();
        let key = key.map(|slot| self.keys.signing(slot, self.clock.now())).transpose()?;
        self.connect_with(key, chain, anchor, own)
    }

    /// The same with a key that is there already.
    pub(super) fn connect_with(
        &mut self,
        key: Option<Arc<SigningKey>>,
        chain: Vec<Vec<u8>>,
        anchor: Anchor,
        own_key: Option<Secret<32>>,
    ) -> Result<(), Setback> {
        let targets = self.targets(&anchor.addresses);
        let addresses = targets.iter().map(|target| target.endpoint.to_string()).collect();
        let anchor = Anchor { addresses, ..anchor };
        let shown = match key {
            None => None,
            Some(key) if chain.is_empty() => {
                let own = self_signed(&key).map_err(|error| Setback::Provider(error.to_string()))?;
                Some(certified(vec![own], key))
            }
            Some(key) => {
                // The root stays at home: whoever is asked has it.
                let sent = chain.into_iter().take(2).map(CertificateDer::from).collect();
                Some(certified(sent, key))
            }
        };
        let expectation = match anchor.pins.as_slice() {
            [] => Expectation::Unconfirmed,
            pins => Expectation::Pins(pins.to_vec()),
        };
        let given = self.machine.journal().membership.as_ref().map(|member| member.role.profile);
        let tls = ClientTls {
            clock: self.clock.source_of_first_word(),
            certified: shown,
            expectation,
            profile: given.unwrap_or(self.profile.profile),
        };
        self.conversations = self.conversations.wrapping_add(1);
        let (number, happenings) = (self.conversations, self.happenings.0.clone());
        let targets = self.targets(&anchor.addresses);
        self.connection =
            Some(Connection::open(number, self.dialler.clone(), tls, targets, own_key, happenings));
        Ok(())
    }

    /// Writes the certificate for other programs, and revocation lists that its chain signed.
    fn install(&mut self, installation: &Installation) -> Result<(), Setback> {
        let chain =
            installation.chain.iter().filter_map(|der| Certificate::parse(der).ok()).collect::<Vec<_>>();
        let pem: String = chain.iter().take(2).map(Certificate::pem).collect();
        let path = self.root.certificate();
        if file::read(path)?.is_none_or(|old| old.as_slice() != pem.as_bytes()) {
            file::replace(path, pem.as_bytes(), file::PUBLIC)?;
        }
        self.service.hold(chain, &installation.crls)?;
        for path in self.service.revocations().unsound() {
            self.condition.warn(format!("{}: not used; the authority sends it again", path.display()));
        }
        Ok(())
    }

    fn lock_bootloader(&self) {
        let words = self.config.bootloader_lock.clone().unwrap_or_default();
        let happenings = self.happenings.0.clone();
        tokio::spawn(async move {
            let result = run_to_end(&words).await;
            // The loop ends before its commands do.
            drop(happenings.send(Happening::BootloaderLock(result)).await);
        });
    }

    /// Destroys everything that makes this device the one that it was: keys first, the record last of all and never.
    fn wipe(&mut self) -> Result<(), Setback> {
        self.connection = None;
        self.service.end();
        self.ticket = None;
        self.log.close();
        self.keys.destroy(self.clock.now())?;
        file::empty(self.root.secrets())?;
        file::remove(self.root.certificate())?;
        // The papers of a kill switch that was fired are proof as well; an arming is not.
        let kept: &[&str] = if self.switch.firing().is_some() { &crate::kill::KEPT } else { &[RECORD] };
        file::empty_except(&self.root.state(), kept)?;
        self.finish_decommissioning();
        Ok(())
    }

    fn tell_event(&mut self, event: Event) {
        let news = match event {
            Event::Time(told) => {
                self.learn_time(told);
                return;
            }
            Event::Enrolled(device) => {
                tracing::info!(%device, "enrolled");
                self.open_log();
                self.note(EventType::DeviceEnrolled, json!({}));
                self.ticket = None;
                self.condition.clear();
                self.compare_with_config();
                News::Enrolled(device)
            }
            Event::Renewed(issue) => {
                tracing::info!(issue, "a newer certificate is in service");
                self.note(EventType::CertificateRenewed, json!({"issue": issue}));
                self.condition.trouble = None;
                self.service.renewals_refused = 0;
                News::Renewed(issue)
            }
            Event::Isolated(order) => return self.note_quarantine(order),
            Event::StillIsolated => {
                self.condition.trouble = Some(code::quarantine::IN_QUARANTINE);
                return;
            }
            Event::Reinstated(issue) => {
                self.note_reinstatement(issue);
                News::Renewed(issue)
            }
            Event::Waiting => {
                tracing::info!("waiting to be let in");
                self.condition.trouble = Some(code::enrolment::PENDING);
                News::Waiting
            }
            Event::Withheld(withheld) => {
                tracing::warn!(%withheld, "it has to wait for a person");
                self.condition.withheld = Some(withheld.to_string());
                return;
            }
            Event::Claimed(root) => {
                tracing::info!(%root, "a voucher of the maker says whose this device is");
                self.note(EventType::AuthorityClaimed, json!({"rootKeyId": root}));
                self.condition.withheld = None;
                return;
            }
            Event::Refused(code) => {
                tracing::warn!(%code, reason = code.title(), "the authority refuses");
                // A device that is suspended hears the same for as long as that lasts.
                if self.condition.trouble.replace(code) != Some(code) {
                    self.note_refusal(code);
                }
                self.errors.count();
                if code == code::enrolment::RENEWAL_PROOF {
                    self.service.renewals_refused = self.service.renewals_refused.wrapping_add(1);
                }
                News::Refused(code)
            }
            Event::Untrusted(code) => {
                tracing::error!(%code, reason = code.title(), "the authority's answer is not used");
                if self.condition.trouble.replace(code) != Some(code) {
                    self.note(EventType::AuthorityUntrusted, json!({"code": code.to_string()}));
                }
                self.errors.count();
                self.look_around();
                News::Untrusted(code)
            }
            Event::Unreachable => {
                tracing::info!("the authority cannot be reached, trying again later");
                self.condition.trouble = Some(code::config::UNREACHABLE);
                self.look_around();
                News::Unreachable
            }
            Event::Ended(delivery) => {
                tracing::info!(?delivery, "decommissioned");
                if delivery == Delivery::Recorded {
                    self.outcome = Some(Outcome::Ended(delivery));
                }
                News::Ended(delivery)
            }
        };
        self.news.tell(news);
    }

    /// Tells when the configuration asks for another security profile than the certificate says. It is not followed
    /// (POLS-23).
    fn compare_profile(&mut self) {
        let held = self.machine.journal().active.as_ref().and_then(|held| standing_of(held).ok());
        let (Some(wanted), Some(standing)) = (self.config.profile, held) else { return };
        if let Err(refusal) = decide(standing, Request::Configure(wanted)).check() {
            self.refused_by_profile(refusal);
            self.condition.warn(format!("identity.profile in the configuration is not followed: {refusal}"));
        }
    }

    /// Tells when the configuration speaks of another device than the one that this has become.
    pub(super) fn compare_with_config(&mut self) {
        self.compare_profile();
        let journal = self.machine.journal();
        let (Some(member), Some(held)) = (&journal.membership, &journal.active) else { return };
        let expected = self.config.device_id.as_ref().is_none_or(|prefix| prefix.fits(&member.device));
        let kid = self.config.kind_id.as_ref().is_none_or(|kid| {
            let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.as_ref());
            authority == Some(&kid.authority)
                && kid.device.fits(&member.device)
                && held.issue >= kid.issue_min
        });
        for (key, holds) in [("identity.device_id", expected), ("identity.kind_id", kid)] {
            if !holds {
                let warning =
                    format!("{key} in the configuration is that of another device than {}", member.device);
                tracing::warn!("{warning}");
                self.note(EventType::ConfigContradicted, json!({"setting": key}));
                self.condition.warn(warning);
            }
        }
    }
}

/// Runs a command without a shell, without input, and with an environment that holds nothing.
async fn run_to_end(words: &[String]) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("no command is configured")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().map_err(|error| error.kind().to_string())?;
    match timeout(LOCK_TIME_MAX, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(_) => Err(format!("took longer than {} s", LOCK_TIME_MAX.as_secs())),
    }
}
