//! What the device says about itself when it is asked.

use kos_api::{
    alert::Severity,
    chain::{
        Certificate as ApiCertificate, ChainCheck, ChainCheckName, DeviceIdInputs as ApiInputs,
        IdentityChain, Kid, Revocation, RevocationStatus,
    },
    device::{Health, ImageVerdict},
    hex::{Digest, Serial},
    keys::KeyProtection,
    lifecycle::{Decommission, Wipe},
    local::{DeviceStatus, DeviceWitness, LocalAlert, LocalModule},
    plan::{Change, Plan},
    problem::Party,
    routes::LOCAL_DECOMMISSION,
};
use kos_audit::EventType;
use kos_base::id::DeviceIdInputs;
use kos_base::{Channel, Code, DeviceState, EvidenceTier, KidSubject, Timestamp, code};
use kos_identity::{
    certificate::Certificate,
    chain::{Anchors, CheckName, Examination, KidUnderExamination, examine},
    crl::{RevocationView, Status},
    enrolment::{
        device::{Command, Held, Membership},
        message::Image,
    },
    kid,
};
use kos_keyring::Protection;
use kos_klp::body::Alert;
use kos_policy::module::{MODULES, Seen};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Device, service::standing_of};
use crate::{config::Notice, modules::Watch, socket::Question};

/// Most warnings that are kept.
const WARNINGS_MAX: usize = 32;

/// What is worth telling and stands in no file.
#[derive(Debug)]
pub(super) struct Condition {
    image: ImageVerdict,
    warnings: Vec<String>,
    /// What is in the way, if anything.
    pub(super) trouble: Option<Code>,
    /// Six digits that wait to be compared.
    pub(super) code: Option<String>,
    /// Why what it has from its maker or a node does not let it in.
    pub(super) withheld: Option<String>,
}

/// Somebody who waits for the wipe.
pub(super) struct Decommissioner {
    done: Decommission,
    reply: oneshot::Sender<Result<Decommission, Code>>,
}

impl Condition {
    pub(super) fn new(notices: &[Notice], image: &Image) -> Self {
        let image = match image {
            Image::Unverified => ImageVerdict::Unverified,
            Image::Verified(_) => ImageVerdict::Verified,
        };
        let warnings = notices.iter().map(|notice| format!("{}: {}", notice.place, notice.matter)).collect();
        Self { image, warnings, trouble: None, code: None, withheld: None }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) const fn image(&self) -> ImageVerdict {
        self.image
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is in the way, in a sentence.
    fn reason(&self) -> Option<String> {
        let trouble = self.trouble.map(|code| format!("{} ({code})", code.title()));
        let both = [trouble, self.withheld.clone()];
        let both: Vec<_> = both.into_iter().flatten().collect();
        (!both.is_empty()).then(|| both.join("; "))
    }

    /// Nothing is in the way any more.
    pub(super) fn clear(&mut self) {
        self.trouble = None;
        self.code = None;
        self.withheld = None;
    }
}

impl Device {
    pub(super) fn answer(&mut self, question: Question) {
        // Whoever asked may be gone by now; that is their business.
        match question {
            Question::Status(reply) => drop(reply.send(self.status())),
            Question::Identity(reply) => drop(reply.send(self.identity())),
            Question::ConfirmCode(digits, reply) => {
                // The machine compares them with the code that it shows by now.
                self.note(EventType::LocalChange, json!({"command": "confirm-code"}));
                self.machine.handle_command(self.clock.now(), Command::CodeConfirmed(digits));
                let _ = reply.send(());
            }
            Question::Pairings(reply) => drop(reply.send(self.pairings())),
            Question::AnswerPairing(answer, reply) => drop(reply.send(self.answer_pairing(&answer))),
            Question::Kill(question) => self.answer_kill(question),
            Question::Vouch(asked, reply) => drop(reply.send(self.vouch(&asked))),
            Question::Log(filter, reply) => drop(reply.send(self.log.page(&filter))),
            Question::LogHead(reply) => drop(reply.send(self.log.head())),
            Question::LogFile(path, reply) => drop(reply.send(self.log.file(&path))),
            Question::PlanDecommission(reply) => drop(reply.send(self.plan())),
            Question::Decommission(order, reply) => match self.member() {
                Err(code) => drop(reply.send(Err(code))),
                Ok((member, _)) => {
                    let device_id = member.device.clone();
                    tracing::warn!(reason = ?order.reason, "decommissioning was asked for on this machine");
                    self.note(EventType::LocalChange, json!({"command": "decommission"}));
                    let done = Decommission {
                        device_id,
                        state: DeviceState::Decommissioned,
                        revoked_at: None,
                        crl_number: None,
                        wipe: Wipe::Cleared,
                        audit_index: None,
                    };
                    self.decommissioners.push(Decommissioner { done, reply });
                    self.begin_end();
                }
            },
        }
    }

    /// Everything is wiped: answers whoever waits for it.
    pub(super) fn finish_decommissioning(&mut self) {
        self.condition.clear();
        for waiting in self.decommissioners.drain(..) {
            drop(waiting.reply.send(Ok(waiting.done)));
        }
    }

    pub(super) fn status(&mut self) -> DeviceStatus {
        let now = self.clock.now();
        let vitals = self.observer.look();
        let journal = self.machine.journal();
        let (member, held) = (journal.membership.as_ref(), journal.active.as_ref());
        let authority = journal.authority.as_ref();
        let name = authority.and_then(|anchor| anchor.name.clone());
        let subject = |held: &Held| {
            let (authority, device) = (name.clone()?, member?.device.clone());
            Some(KidSubject { authority, device, issue: held.issue })
        };
        let serial = |held: &Held| serial_of(&Certificate::parse(held.chain.first()?).ok()?);
        DeviceStatus {
            device_id: member.map(|member| member.device.clone()),
            name: member.map(|member| member.name.clone()).or_else(|| self.profile.name.clone()),
            state: self.state(now),
            state_reason: self.condition.reason(),
            authority: name.clone(),
            server: authority.and_then(|anchor| anchor.addresses.first().cloned()),
            role: Some(member.map_or(self.profile.role, |member| member.role.role)),
            profile: member.map_or(self.profile.profile, |member| member.role.profile),
            channel: member
                .zip(held)
                .map_or(Channel::Stable, |(member, held)| self.service.channel(member, held)),
            kid_subject: held.and_then(subject),
            identity_key_id: journal.identity.as_ref().map(kos_base::PublicKey::id),
            cert_serial: held.and_then(serial),
            cert_not_after: held.map(|held| held.not_after),
            renew_at: held.map(|held| held.renew_at),
            carrier: self.service.carrier.map(|carrier| carrier.as_str().to_owned()),
            last_heartbeat_at: self.service.last_heartbeat_at,
            health: Some(Health {
                cpu_percent: vitals.cpu_percent.map(f64::from),
                ram_used_bytes: vitals.ram_used_bytes,
                ram_total_bytes: vitals.ram_total_bytes,
                uptime_seconds: vitals.uptime_s,
                errors: self.health_errors(),
            }),
            image: Some(self.condition.image),
            keys: self.keys.protection().map(|of| protection(of, self.keys.homes(now))),
            log_entries: self.log_state().0,
            log_delivered: self.log_state().1,
            comparison_code: self.condition.code.clone(),
            witness: self.witness_status(),
            last_alert: self.service.alert().map(shown),
            modules: self.modules(),
            warnings: {
                let told = self.condition.warnings.iter().cloned();
                told.chain(self.delivery_warning()).chain(self.pairing_warning()).collect()
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// What looks at this device for enforcement modules.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.host.clone(), self.root.state())
    }

    /// What each enforcement module makes of this device, by its own word. How it is wanted, the authority knows.
    fn modules(&self) -> Vec<LocalModule> {
        let held = self.machine.journal().active.as_ref();
        let Some(standing) = held.and_then(|held| standing_of(held).ok()) else { return Vec::new() };
        let now = self.clock.now();
        let proven = standing.proven.evidence >= EvidenceTier::EkActivated;
        let report = Some((self.watch().report(&self.clock), now));
        let seen = Seen { evidence: standing.proven.evidence, attested: proven.then_some(now), report, now };
        let judged = MODULES.into_iter().map(|module| {
            let finding = module.judge(standing.profile, &seen);
            let (verdict, why) = (finding.verdict.as_str().to_owned(), finding.why);
            LocalModule { module: module.name().to_owned(), version: module.version(), verdict, why }
        });
        judged.collect()
    }

    /// What the device is as a witness; nothing before it was asked to be one.
    fn witness_status(&self) -> Option<DeviceWitness> {
        let (verifier_key, newest) = self.service.witness.standing()?;
        Some(DeviceWitness {
            verifier_key,
            size: newest.map(|(size, _)| size),
            cosigned_at: newest.map(|(_, at)| at),
            conflicts: u64::try_from(self.service.witness.conflicts()).unwrap_or(u64::MAX),
        })
    }

    /// What the next heartbeat would tell: failed checks, and how many errors there were since the last.
    fn health_errors(&self) -> Vec<String> {
        let mut errors = self.service.failed_checks.clone();
        match self.errors.get() {
            0 => {}
            count => errors.push(format!("{count} errors since the last heartbeat")),
        }
        errors
    }

    fn state(&self, now: Timestamp) -> DeviceState {
        let journal = self.machine.journal();
        match (&journal.active, &journal.authority) {
            _ if self.machine.is_ending() && journal.identity.is_none() => DeviceState::Decommissioned,
            _ if self.machine.is_ending() => DeviceState::Decommissioning,
            _ if journal.isolation.is_some() => DeviceState::Quarantined,
            (Some(held), _) if now >= held.not_after => DeviceState::Expired,
            (Some(held), _) if now >= held.renew_at => DeviceState::RenewalDue,
            (Some(_), _) => DeviceState::Active,
            (None, Some(_)) => DeviceState::Pending,
            (None, None) => DeviceState::Unknown,
        }
    }

    pub(super) fn member(&self) -> Result<(&Membership, &Held), Code> {
        let journal = self.machine.journal();
        journal.membership.as_ref().zip(journal.active.as_ref()).ok_or(code::enrolment::NOT_ENROLLED)
    }

    fn plan(&self) -> Result<Plan, Code> {
        let (member, _) = self.member()?;
        let state = self.state(self.clock.now());
        Ok(Plan {
            action: LOCAL_DECOMMISSION.name.to_owned(),
            object: Some(Party::new("device", &member.device)),
            changes: vec![Change {
                field: "state".to_owned(),
                from: Some(state.as_str().to_owned()),
                to: Some(DeviceState::Decommissioned.as_str().to_owned()),
            }],
            effects: vec![
                "its authority is told now if it can be reached, else when it can".to_owned(),
                "every key, credential and piece of state on this device is destroyed".to_owned(),
            ],
        })
    }

    fn identity(&self) -> Result<IdentityChain, Code> {
        let (member, held) = self.member()?;
        let journal = self.machine.journal();
        let presented: Vec<Vec<u8>> = held.chain.iter().map(|der| der.to_vec()).collect();
        let certificates: Vec<_> = presented.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
        let revocation = self.service.revocations().view();
        let anchors =
            Anchors::pins(journal.authority.as_ref().map(|anchor| anchor.pins.clone()).unwrap_or_default());
        let inputs = journal.identity.as_ref().map(|identity| DeviceIdInputs {
            uuid: member.uuid.uuid(),
            macs: &member.facts.macs,
            serials: &member.facts.serials,
            identity_key: identity.id(),
        });
        let checks = examine(&Examination {
            clock: self.clock.source()(),
            presented: &presented,
            anchors: &anchors,
            revocation,
            device_id_inputs: inputs,
            kid: Some(KidUnderExamination { bytes: self.service.kid(held), signer: &member.keys.kid }),
        });
        let checks: Vec<_> = checks
            .into_iter()
            .map(|check| ChainCheck {
                name: check_name(check.name),
                ok: check.ok,
                detail: Some(check.detail),
            })
            .collect();
        Ok(IdentityChain {
            device_id: Some(member.device.clone()),
            valid: checks.iter().all(|check| check.ok),
            revocation: revocation_of(&certificates, revocation),
            certificates: certificates.iter().filter_map(certificate).collect(),
            kid: kid_of(member, self.service.kid(held)),
            device_id_inputs: journal.identity.as_ref().map(|identity| ApiInputs {
                uuid: member.uuid,
                macs: member.facts.macs.clone(),
                serials: member.facts.serials.clone(),
                identity_key_id: identity.id(),
            }),
            checks,
        })
    }
}

fn serial_of(certificate: &Certificate) -> Option<Serial> {
    Serial::from_bytes(&certificate.serial().to_bytes())
}

fn certificate(certificate: &Certificate) -> Option<ApiCertificate> {
    Some(ApiCertificate {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: serial_of(certificate)?,
        sha256: Digest::from_bytes(certificate.sha256()),
        key_id: certificate.key_id(),
        algorithm: certificate.public_key().algorithm().to_string(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        pem: certificate.pem(),
    })
}

fn kid_of(member: &Membership, kid: &[u8]) -> Option<Kid> {
    let claims = kid::open(kid, &member.keys.kid).ok()?;
    Some(Kid {
        issuer: format!("k:{}", claims.subject.authority),
        subject: claims.subject,
        key_id: member.keys.kid.id(),
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        cwt: data_encoding::BASE64URL_NOPAD.encode(kid),
    })
}

fn protection(of: Protection, signing_keys: String) -> KeyProtection {
    KeyProtection {
        signing_keys,
        opener: of.opener.to_string(),
        protects_against: of.against.to_owned(),
        not_against: of.not_against.to_owned(),
        rollback: of.rollback.to_owned(),
    }
}

fn revocation_of(chain: &[Certificate], view: &RevocationView) -> Revocation {
    let unknown =
        Revocation { status: RevocationStatus::Unknown, reason: None, crl_number: None, this_update: None };
    let [device, issuer, ..] = chain else { return unknown };
    let Some(list) = view.list(issuer.key_id()) else { return unknown };
    let (status, reason) = match view.status(device.serial(), issuer.key_id(), device.key_id()) {
        Status::Good => (RevocationStatus::Good, None),
        Status::Revoked { reason } => (RevocationStatus::Revoked, reason),
        Status::Suspended => (RevocationStatus::Suspended, None),
        Status::Unknown => (RevocationStatus::Unknown, None),
    };
    Revocation {
        status,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        crl_number: Some(list.number()),
        this_update: Some(list.this_update()),
    }
}

const fn check_name(name: CheckName) -> ChainCheckName {
    match name {
        CheckName::Chain => ChainCheckName::Chain,
        CheckName::Validity => ChainCheckName::Validity,
        CheckName::Extension => ChainCheckName::Extension,
        CheckName::DeviceId => ChainCheckName::DeviceId,
        CheckName::KidSignature => ChainCheckName::KidSignature,
        CheckName::KidConfirmation => ChainCheckName::KidConfirmation,
        CheckName::Revocation => ChainCheckName::Revocation,
    }
}

/// An alert as the local socket shows it.
fn shown(alert: &Alert) -> LocalAlert {
    LocalAlert {
        alert_id: data_encoding::HEXLOWER.encode(&alert.id),
        rule: alert.rule.to_string(),
        severity: match alert.severity {
            0 => Severity::Low,
            1 => Severity::Medium,
            2 => Severity::High,
            _ => Severity::Critical,
        },
        summary: alert.summary.to_string(),
        count: alert.count,
        at: alert.at,
    }
}
