//! Somebody who asks for a certificate, with every step in the hands of the test.

use core::cell::OnceCell;

use kos_attest::Binding;
use kos_base::{AgreementKey, EntryId, KeyAlgorithm, KeyId, Role, Secret, SecurityProfile, digest::sha256};
use kos_emulator::paper::{self, PaperTpm};
use kos_identity::{
    csr,
    enrolment::{
        message::{
            Bootloader, Facts, FromAuthority, FromDevice, Hello, Image, KeyCertificate, Means, Offer,
            PcrQuote, Prove, Statement, Stored, Welcome,
        },
        proof::{RenewalKind, RenewalProof, TicketProof, commitment},
    },
};
use minicbor::bytes::ByteArray;

use crate::{
    office::{Line, Office},
    test_keys::TestKey,
};

/// A device in the hands of the test.
pub(crate) struct Applicant {
    pub(crate) seed: u8,
    pub(crate) identity: TestKey,
    pub(crate) operational: TestKey,
    pub(crate) facts: Facts,
    pub(crate) role: Role,
    pub(crate) profile: SecurityProfile,
    pub(crate) image: Image,
    pub(crate) nonce: [u8; 32],
    /// Made once: an ECDSA signature is another one each time.
    pub(crate) csr: OnceCell<Vec<u8>>,
    /// What says of itself that it has the keys.
    pub(crate) tpm: Option<PaperTpm>,
    /// Whose vouchers it believes.
    pub(crate) maker: Option<KeyId>,
    /// What its maker certified.
    pub(crate) factory: Vec<Vec<u8>>,
    /// The word of a node.
    pub(crate) vouch: Option<Vec<u8>>,
}

impl Applicant {
    /// A sensor whose keys come from `seed` and the next number, and which shows hardware of its own.
    pub(crate) fn new(seed: u8) -> Self {
        Self::with_keys(seed, seed + 1)
    }

    fn with_keys(seed: u8, operational: u8) -> Self {
        Self {
            seed,
            identity: TestKey::new(KeyAlgorithm::Ed25519, seed),
            operational: TestKey::new(KeyAlgorithm::Ed25519, operational),
            facts: Facts {
                macs: vec![format!("00:11:22:33:44:{seed:02x}").parse().unwrap()],
                serials: vec![format!("S{seed}")],
            },
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            image: Image::Unverified,
            nonce: [seed; 32],
            csr: OnceCell::new(),
            tpm: None,
            maker: None,
            factory: Vec::new(),
            vouch: None,
        }
    }

    /// One whose keys are in a TPM.
    pub(crate) fn with_tpm(seed: u8) -> Self {
        Self {
            identity: TestKey::new(KeyAlgorithm::P256, seed),
            operational: TestKey::new(KeyAlgorithm::P256, seed + 1),
            tpm: Some(PaperTpm::new()),
            ..Self::with_keys(seed, seed + 1)
        }
    }

    fn offer(&self) -> Option<Offer> {
        let tpm = self.tpm.as_ref()?;
        Some(Offer { ek: tpm.ek_public().into(), ak: tpm.ak_public().into(), certificates: Vec::new() })
    }

    /// What the TPM says for this conversation.
    pub(crate) fn statement(&self, line: &Line, welcome: &Welcome) -> Option<Statement> {
        let (tpm, challenge) = (self.tpm.as_ref()?, welcome.challenge.as_ref()?);
        let [enrolment, _] = &line.exporters;
        let csr = sha256(&self.csr());
        let binding = Binding::of_request(enrolment, &welcome.nonce, self.identity.public().id(), &csr);
        let secret = tpm.activate(&challenge.credential, &challenge.seed).unwrap_or_default();
        let certified = |key: &TestKey| {
            let public = paper::signing(paper::KEY, key.public().raw());
            let paper::Said { attest, signature } = tpm.certify(&public, binding.as_bytes());
            KeyCertificate { public: public.into(), attest: attest.into(), signature: signature.into() }
        };
        let paper::Said { attest, signature } = tpm.quote(challenge.pcrs, binding.as_bytes());
        let values = tpm.values(challenge.pcrs).into();
        Some(Statement {
            answer: binding.answer(&Secret::new(secret)).into(),
            identity: certified(&self.identity),
            operational: certified(&self.operational),
            quote: PcrQuote { attest: attest.into(), signature: signature.into(), values },
        })
    }

    pub(crate) fn hello(&self) -> Vec<u8> {
        let hello = Hello {
            commitment: ByteArray::from(commitment(&self.nonce)),
            facts: self.facts.clone(),
            image: self.image.clone(),
            role: self.role,
            profile: self.profile,
            name: None,
            capabilities: Vec::new(),
            attestation: self.offer(),
            maker: self.maker,
            factory: (!self.factory.is_empty())
                .then(|| self.factory.iter().cloned().map(Into::into).collect()),
        };
        FromDevice::Hello(hello).to_bytes()
    }

    pub(crate) fn csr(&self) -> Vec<u8> {
        self.csr.get_or_init(|| request(&self.operational)).clone()
    }

    /// Calls by the identity key and says hello.
    pub(crate) fn greet(&self, office: &mut Office) -> (Line, Welcome) {
        let mut line = office.call(Some(self.identity.public()));
        let welcome = self.greet_on(office, &mut line);
        (line, welcome)
    }

    pub(crate) fn greet_on(&self, office: &mut Office, line: &mut Line) -> Welcome {
        match office.tell(line, &self.hello()).as_slice() {
            [FromAuthority::Welcome(welcome)] => welcome.clone(),
            other => panic!("not welcome: {other:?}"),
        }
    }

    /// The request that an honest device makes, without anything that entitles it.
    pub(crate) fn request(&self, welcome: &Welcome) -> Prove {
        Prove {
            token: welcome.token,
            nonce: ByteArray::from(self.nonce),
            csr: self.csr().into(),
            agreement: AgreementKey([5; 32]),
            means: Means::Lobby,
            attestation: None,
            vouch: self.vouch.clone().map(Into::into),
        }
    }

    /// The proof of a ticket whose key has this seed.
    pub(crate) fn by_ticket(&self, line: &Line, ticket: EntryId, seed: u8) -> Means {
        let [enrolment, _] = &line.exporters;
        let proof = TicketProof {
            exporter: enrolment,
            identity: self.identity.public().id(),
            csr: &sha256(&self.csr()),
            ticket,
            role: self.role,
            profile: self.profile,
        };
        let signature = TestKey::new(KeyAlgorithm::Ed25519, seed).sign(&proof.to_be_signed());
        Means::Ticket { ticket, signature: signature.into() }
    }

    /// The proof for a renewal or recovery with the number that the device knows.
    pub(crate) fn by_keys(
        &self,
        office: &Office,
        line: &Line,
        welcome: &Welcome,
        (kind, issue, by): (RenewalKind, u32, &TestKey),
    ) -> Means {
        let [_, renewal] = &line.exporters;
        let signed = RenewalProof {
            exporter: renewal,
            challenge: &welcome.nonce,
            device: &office.holder(by.public()).id,
            csr: &sha256(&self.csr()),
            issue,
            kind,
        }
        .to_be_signed();
        let (first, new) = (proof(by, &signed).into(), proof(&self.operational, &signed).into());
        match kind {
            RenewalKind::Renewal => Means::Renewal { issue, old: first, new },
            RenewalKind::Recovery => Means::Recovery { issue, identity: first, new },
        }
    }

    /// Asks for the first certificate with a ticket whose key has this seed.
    pub(crate) fn enrol(&self, office: &mut Office, ticket: EntryId, seed: u8) -> Vec<FromAuthority> {
        let (mut line, welcome) = self.greet(office);
        let means = self.by_ticket(&line, ticket, seed);
        let attestation = self.statement(&line, &welcome);
        self.prove(office, &mut line, Prove { means, attestation, ..self.request(&welcome) })
    }

    /// Asks for the first certificate without anything.
    pub(crate) fn wait_in_lobby(&self, office: &mut Office) -> Vec<FromAuthority> {
        let (mut line, welcome) = self.greet(office);
        self.prove(office, &mut line, self.request(&welcome))
    }

    /// The same with what the TPM says.
    pub(crate) fn wait_in_lobby_with_tpm(&self, office: &mut Office) -> Vec<FromAuthority> {
        let (mut line, welcome) = self.greet(office);
        let attestation = self.statement(&line, &welcome);
        self.prove(office, &mut line, Prove { attestation, ..self.request(&welcome) })
    }

    pub(crate) fn prove(&self, office: &mut Office, line: &mut Line, prove: Prove) -> Vec<FromAuthority> {
        office.tell(line, &FromDevice::Prove(prove).to_bytes())
    }

    /// Asks for the next certificate; `by` is the key that shows who it is, and the one that calls.
    pub(crate) fn go_on(
        &self,
        office: &mut Office,
        (kind, issue, by): (RenewalKind, u32, &TestKey),
    ) -> Vec<FromAuthority> {
        let mut line = office.call(Some(by.public()));
        let welcome = self.greet_on(office, &mut line);
        let means = self.by_keys(office, &line, &welcome, (kind, issue, by));
        let attestation = self.statement(&line, &welcome);
        self.prove(office, &mut line, Prove { means, attestation, ..self.request(&welcome) })
    }

    /// Confirms a certificate over a connection with its key.
    pub(crate) fn confirm(&self, office: &mut Office, issue: u32) -> Vec<FromAuthority> {
        self.confirm_and_tell(office, issue, None)
    }

    /// The same, and what came of the bootloader lock.
    pub(crate) fn confirm_and_tell(
        &self,
        office: &mut Office,
        issue: u32,
        bootloader: Option<Bootloader>,
    ) -> Vec<FromAuthority> {
        let mut line = office.call(Some(self.operational.public()));
        office.tell(&mut line, &FromDevice::Stored(Stored { issue, bootloader }).to_bytes())
    }

    /// A device in service, let in by a ticket.
    pub(crate) fn in_service(office: &mut Office, seed: u8) -> Self {
        let applicant = Self::new(seed);
        let ticket = office.ticket(seed);
        crate::office::issued(&applicant.enrol(office, ticket, seed));
        assert_eq!(applicant.confirm(office, 1), [FromAuthority::Recorded]);
        applicant
    }

    /// The same device with another operational key.
    pub(crate) fn with_next_key(&self, operational: u8) -> Self {
        Self::with_keys(self.seed, operational)
    }
}

/// A signature as proofs have it: the two numbers of ECDSA at fixed length.
pub(crate) fn proof(key: &TestKey, message: &[u8]) -> Vec<u8> {
    let signature = key.sign(message);
    if key.public().algorithm() == KeyAlgorithm::Ed25519 {
        return signature;
    }
    let mut fixed = vec![0; 64];
    let mut rest = &signature[2..];
    for place in fixed.chunks_exact_mut(32) {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        // A leading zero keeps the number positive.
        let number = &number[number.len().saturating_sub(32)..];
        let at = place.len() - number.len();
        place[at..].copy_from_slice(number);
        rest = after;
    }
    fixed
}

/// A request for a certificate for this key, signed by it.
pub(crate) fn request(key: &TestKey) -> Vec<u8> {
    let request = csr::Request::new(key.public()).unwrap();
    let signature = key.sign(request.to_be_signed());
    request.finish(&signature).unwrap()
}
