//! From a decision to an answer: sign the certificate, sign the kID, commit, send.
//!
//! Source: `docs/spec/enrolment.md` ENR-9, ENR-18, ENR-26 to ENR-28.

use kos_base::{Code, KidSubject, Role, Timestamp, code, key::SignatureForm};
use kos_policy::{Request as Asked, Way, decide};
use minicbor::bytes::ByteVec;

use super::{AuthorityKey, Context, Output, Random, Request};
use crate::{
    certificate::{
        self, Certificate, DeviceFacts, DeviceGrant, IssuerClass, IssuerContext, Serial, Warrant,
        capabilities_hash,
    },
    enrolment::message::{Bytes, Carrier, FRAME_BYTES_MAX, FromAuthority, Grant, HealthCheck, RoleProfile},
    kid,
    registry::{Actor, Change, Commit, Credential, Device, Issued, Write},
    second::SecondVerdict,
};

/// Most bytes of revocation lists in an answer: half a frame, and what else is in it takes less than the other half.
const CRL_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// What a decision lets be issued, and what is recorded with it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The record as it is to be, without the new certificate.
    pub(crate) device: Device,
    pub(crate) changes: Vec<Change>,
    pub(crate) writes: Vec<Write>,
    pub(crate) renews: bool,
}

/// An issuance under way: what is known, and what is being signed.
#[derive(Debug)]
pub(super) struct Issuing {
    draft: Draft,
    step: Signing,
}

#[derive(Debug)]
struct Draft {
    request: Box<Request>,
    plan: Plan,
    crls: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Signing {
    Certificate(certificate::Unsigned, IssuerClass, u32),
    Kid(Box<(kid::Unsigned, Credential, Certificate)>),
}

/// What comes next.
pub(super) enum Step {
    Sign(Box<Issuing>, Output),
    Commit(Box<Request>, Commit, Vec<u8>),
    Send(Vec<u8>),
    Refuse(Code),
}

impl Issuing {
    /// Prepares the certificate that a plan allows.
    pub(super) fn start(
        context: &Context,
        now: Timestamp,
        request: Box<Request>,
        plan: Plan,
        crls: Vec<Vec<u8>>,
        second: Option<SecondVerdict>,
        random: &Random,
    ) -> Step {
        let device = &plan.device;
        let issue = device.issues + 1;
        let class = IssuerClass::of(device.profile());
        let grant = DeviceGrant {
            facts: DeviceFacts {
                subject: subject(context, device, issue),
                role: device.role,
                profile: device.profile(),
                evidence: device.evidence,
                group: device.group.clone(),
                capabilities: capabilities_hash(&device.capabilities),
            },
            operational_key: request.csr.public_key().clone(),
            hardware_serial: device.serials.first().cloned(),
            second: second.map(Box::new),
        };
        let publication = context.publication.as_ref();
        let issuer = IssuerContext { issuer: context.issuer(class), publication, now };
        let serial = Serial::from_random(random.serial);
        if let Err(code) = covers(device) {
            return Step::Refuse(code);
        }
        match certificate::issue(Warrant::Device(grant), serial, &issuer) {
            Ok(unsigned) => {
                let message = unsigned.to_be_signed().to_vec();
                let step = Signing::Certificate(unsigned, class, issue);
                let issuing = Self { draft: Draft { request, plan, crls }, step };
                let key = AuthorityKey::Issuing(class);
                Step::Sign(Box::new(issuing), Output::Sign { key, form: SignatureForm::Der, message })
            }
            Err(e) => Step::Refuse(e.code()),
        }
    }

    /// Sends again what was issued before, with a fresh kID.
    pub(super) fn again(
        context: &Context,
        now: Timestamp,
        request: Box<Request>,
        device: Device,
        crls: Vec<Vec<u8>>,
        random: &Random,
    ) -> Step {
        let Some(issued) = device.pending.clone() else {
            return Step::Refuse(code::config::INTERNAL);
        };
        let plan = Plan { device, changes: Vec::new(), writes: Vec::new(), renews: issued.renews };
        match Certificate::parse(&issued.certificate) {
            Ok(parsed) => {
                let draft = Draft { request, plan, crls };
                draft.sign_kid(context, now, issued.credential, parsed, random)
            }
            Err(e) => Step::Refuse(e.code()),
        }
    }

    /// Takes a signature in and goes on.
    pub(super) fn signed(
        self,
        context: &Context,
        now: Timestamp,
        signature: Vec<u8>,
        random: &Random,
    ) -> Step {
        let mut draft = self.draft;
        match self.step {
            Signing::Certificate(unsigned, class, issue) => {
                let certificate = match unsigned.finish(&signature) {
                    Ok(certificate) => certificate,
                    Err(e) => return Step::Refuse(e.code()),
                };
                let credential = Credential {
                    issue,
                    serial: certificate.serial().to_bytes().to_vec(),
                    issuer: context.issuer(class).key_id(),
                    key: certificate.public_key().clone(),
                    agreement: draft.request.prove.agreement,
                    not_before: certificate.not_before(),
                    not_after: certificate.not_after(),
                    profile: certificate.facts().map(|facts| facts.profile),
                };
                draft.record(&credential, &certificate);
                draft.sign_kid(context, now, credential, certificate, random)
            }
            Signing::Kid(issued) => {
                let (unsigned, credential, certificate) = *issued;
                let grant = draft.grant(context, &credential, &certificate, unsigned.finish(signature));
                let answer = FromAuthority::Issued(Box::new(grant)).to_bytes();
                draft.answer(answer)
            }
        }
    }
}

impl Draft {
    /// Writes the new certificate into the record, the list of changes and the store.
    fn record(&mut self, credential: &Credential, certificate: &Certificate) {
        let device = &mut self.plan.device;
        device.issues = credential.issue;
        // What was ordered up to now is in this certificate; what is ordered before its confirmation needs another.
        device.regenerate = false;
        device.pending = Some(Issued {
            credential: credential.clone(),
            certificate: certificate.der().to_vec(),
            renews: self.plan.renews,
        });
        self.plan.changes.push(Change::CertificateIssued {
            device: device.id.clone(),
            issue: credential.issue,
            serial: credential.serial.clone(),
            key: credential.key.id(),
            not_after: credential.not_after,
        });
        self.plan.writes.push(Write::Certificate {
            serial: credential.serial.clone(),
            issuer: credential.issuer,
            device: device.id.clone(),
            issue: credential.issue,
            der: certificate.der().to_vec(),
        });
    }

    fn sign_kid(
        self,
        context: &Context,
        now: Timestamp,
        credential: Credential,
        certificate: Certificate,
        random: &Random,
    ) -> Step {
        let claims = kid_grant(context, &self.plan.device, &credential);
        let unsigned = kid::build(now, claims, random.cti, &context.keys.kid);
        let message = unsigned.to_be_signed();
        let issuing = Box::new(Issuing {
            draft: self,
            step: Signing::Kid(Box::new((unsigned, credential, certificate))),
        });
        Step::Sign(issuing, Output::Sign { key: AuthorityKey::Kid, form: SignatureForm::Fixed, message })
    }

    fn grant(
        &self,
        context: &Context,
        credential: &Credential,
        certificate: &Certificate,
        kid: Vec<u8>,
    ) -> Grant {
        let device = &self.plan.device;
        // The role may have changed since the certificate was signed. It changes on the device with the next one.
        let (given, profile) =
            certificate.facts().map_or((device.role, device.profile()), |facts| (facts.role, facts.profile));
        let issuer = context.issuer(IssuerClass::of(profile));
        Grant {
            chain: [certificate, issuer, &context.root].map(|c| Bytes::from(c.der().to_vec())).to_vec(),
            kid: Bytes::from(kid),
            device: device.id.clone(),
            issue: credential.issue,
            name: device.name.clone(),
            group: device.group.clone(),
            role: RoleProfile { profile, ..role_profile(context, device, given) },
            keys: context.keys.clone(),
            crls: fitting(&self.crls),
        }
    }

    fn answer(mut self, answer: Vec<u8>) -> Step {
        let device = self.plan.device;
        if self.plan.changes.is_empty() {
            return Step::Send(answer);
        }
        let actor = Actor::Device(device.id.clone());
        self.plan.writes.insert(0, Write::Device(Box::new(device)));
        let commit = Commit { actor, changes: self.plan.changes, writes: self.plan.writes };
        Step::Commit(self.request, commit, answer)
    }
}

/// The lists that fit into a frame beside the certificate. A fleet's lists outgrow it; the device then gets them where
/// lists are published.
fn fitting(crls: &[Vec<u8>]) -> Vec<Bytes> {
    let mut room = CRL_BYTES_MAX;
    let fits = crls.iter().filter(|list| match room.checked_sub(list.len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    });
    fits.cloned().map(ByteVec::from).collect()
}

impl Context {
    /// The certificate of an issuing CA.
    pub fn issuer(&self, class: IssuerClass) -> &Certificate {
        let [one, two] = &self.issuers;
        match class {
            IssuerClass::One => one,
            IssuerClass::Two => two,
        }
    }
}

/// Whether the device may have a certificate of its profile: it does not go down, it is proven, and above SEC-2 its boot
/// is as it should be.
pub(super) fn covers(device: &Device) -> Result<(), Code> {
    let way = if device.enrolled_at.is_some() { Way::Renewal } else { Way::Enrolment };
    let decision = decide(device.standing(), Asked::Certify(way, device.profile()));
    decision.check().map_err(|refusal| refusal.code())
}

fn subject(context: &Context, device: &Device, issue: u32) -> KidSubject {
    KidSubject { authority: context.name.clone(), device: device.id.clone(), issue }
}

/// What a kID of this device says now. Enrolment and heartbeat answers use it alike.
pub fn kid_grant(context: &Context, device: &Device, credential: &Credential) -> kid::Grant {
    kid::Grant {
        subject: subject(context, device, credential.issue),
        audience: context.name.clone(),
        holder: credential.key.id(),
        certificate_not_after: credential.not_after,
        traits: kid::Traits {
            role: device.role,
            // What was raised since counts from the next certificate on (POLS-22).
            profile: device.certified_profile(credential),
            group: device.group.clone(),
            user: device.user.clone(),
            capabilities: device.capabilities.clone(),
            evidence: device.evidence,
            channel: device.channel,
            agreement_key: credential.agreement,
        },
    }
}

/// What a device receives with a role: firmware channel, carriers and health checks.
pub fn role_profile(context: &Context, device: &Device, role: Role) -> RoleProfile {
    let carriers = match role {
        Role::Sensor | Role::Actuator => vec![Carrier::Quic, Carrier::Tls],
        Role::Gateway | Role::Companion | Role::Compute | Role::Relay => {
            vec![Carrier::Quic, Carrier::Tls, Carrier::WebSocket]
        }
    };
    let health_checks = match role {
        Role::Sensor | Role::Actuator | Role::Relay => HealthCheck::LEAST,
        Role::Gateway | Role::Companion | Role::Compute => HealthCheck::ALL,
    };
    RoleProfile {
        role,
        profile: device.profile(),
        channel: device.channel,
        carriers,
        health_checks: health_checks.to_vec(),
        heartbeat_s: context.heartbeat_s,
    }
}
