//! An authority for tests: root, two issuing CAs, and whatever they sign, from seeded keys.

use kos_base::{
    AuthorityName, EntryId, EvidenceTier, KeyAlgorithm, Role, SecurityProfile, Timestamp, id::DeviceIdInputs,
};

use crate::{
    certificate::{
        self, AuthorityGrant, Certificate, DeviceFacts, DeviceGrant, IssuerClass, IssuerContext,
        OperatorGrant, Publication, Serial, Unsigned, Warrant, capabilities_hash,
    },
    chain::Anchors,
    crl::{self, RevocationView, VerifiedCrl},
    test_keys::TestKey,
};

/// 2026-11-20T10:20:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

pub(crate) struct TestAuthority {
    pub(crate) name: AuthorityName,
    pub(crate) root_key: TestKey,
    pub(crate) root: Certificate,
    pub(crate) issuing_keys: [TestKey; 2],
    pub(crate) issuing: [Certificate; 2],
    pub(crate) publication: Option<Publication>,
}

impl TestAuthority {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        Self::published(name, seed, None)
    }

    pub(crate) fn published(name: &str, seed: u8, publication: Option<Publication>) -> Self {
        let name: AuthorityName = name.parse().unwrap();
        let root_key = TestKey::new(KeyAlgorithm::P384, seed);
        let root = certificate::root(&name, root_key.public(), Serial::from_random([seed; 16]), NOW).unwrap();
        let root = certify(root, &root_key);
        let issuing_keys = [seed + 1, seed + 2].map(|seed| TestKey::new(KeyAlgorithm::P256, seed));
        let context = IssuerContext { issuer: &root, publication: publication.as_ref(), now: NOW };
        let issuing = IssuerClass::ALL.map(|class| {
            let key = &issuing_keys[usize::from(class.number()) - 1];
            let serial = Serial::from_random([seed + class.number(); 16]);
            certify(certificate::issuing_ca(class, key.public(), serial, &context).unwrap(), &root_key)
        });
        Self { name, root_key, root, issuing_keys, issuing, publication }
    }

    pub(crate) fn context(&self, class: IssuerClass, now: Timestamp) -> IssuerContext<'_> {
        let issuer = &self.issuing[usize::from(class.number()) - 1];
        IssuerContext { issuer, publication: self.publication.as_ref(), now }
    }

    pub(crate) fn issuing_key(&self, class: IssuerClass) -> &TestKey {
        &self.issuing_keys[usize::from(class.number()) - 1]
    }

    /// What a device with this key is, at SEC-2 and with a serial number.
    pub(crate) fn grant(&self, key: &TestKey) -> DeviceGrant {
        let serials = ["SN-0001".to_owned()];
        let device = kos_base::DeviceId::derive(&DeviceIdInputs {
            uuid: EntryId::from_parts(NOW, [7; 10]).uuid(),
            macs: &[],
            serials: &serials,
            identity_key: key.public().id(),
        });
        DeviceGrant {
            facts: DeviceFacts {
                subject: kos_base::KidSubject { authority: self.name.clone(), device, issue: 1 },
                role: Role::Sensor,
                profile: SecurityProfile::Sec2,
                evidence: EvidenceTier::KeyOnDevice,
                group: Some("berlin/line-2".parse().unwrap()),
                capabilities: capabilities_hash(&["telemetry".parse().unwrap()]),
            },
            operational_key: key.public().clone(),
            hardware_serial: Some("SN-0001".to_owned()),
            second: None,
        }
    }

    pub(crate) fn issue(&self, warrant: Warrant, class: IssuerClass, serial: u8) -> Certificate {
        let serial = Serial::from_random([serial; 16]);
        let unsigned = certificate::issue(warrant, serial, &self.context(class, NOW)).unwrap();
        certify(unsigned, self.issuing_key(class))
    }

    pub(crate) fn device(&self, key: &TestKey) -> Certificate {
        self.issue(Warrant::Device(self.grant(key)), IssuerClass::One, 0x81)
    }

    pub(crate) fn operator(&self, key: &TestKey) -> Certificate {
        let grant = OperatorGrant { name: "anna".parse().unwrap(), key: key.public().clone() };
        self.issue(Warrant::Operator(grant), IssuerClass::Two, 0x82)
    }

    pub(crate) fn server(&self, key: &TestKey) -> Certificate {
        let names = ["attic.example", "192.0.2.7"].map(|name| name.to_owned().try_into().unwrap());
        let grant = AuthorityGrant { key: key.public().clone(), names: names.to_vec() };
        self.issue(Warrant::Authority(grant), IssuerClass::Two, 0x83)
    }

    /// What a peer presents: itself and its issuing CA.
    pub(crate) fn present(&self, certificate: &Certificate, class: IssuerClass) -> Vec<Vec<u8>> {
        let issuer = self.context(class, NOW).issuer;
        vec![certificate.der().to_vec(), issuer.der().to_vec()]
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::roots(vec![self.root.clone()]).unwrap()
    }

    pub(crate) fn crl(&self, class: IssuerClass, number: u64, entries: &[crl::Entry]) -> Vec<u8> {
        let issuer = self.context(class, NOW).issuer;
        let unsigned = crl::build(issuer, number, entries.iter().copied(), NOW).unwrap();
        let signature = self.issuing_key(class).sign(unsigned.to_be_signed());
        unsigned.finish(&signature).unwrap()
    }

    pub(crate) fn root_crl(&self, number: u64, entries: &[crl::Entry]) -> Vec<u8> {
        let unsigned = crl::build(&self.root, number, entries.iter().copied(), NOW).unwrap();
        let signature = self.root_key.sign(unsigned.to_be_signed());
        unsigned.finish(&signature).unwrap()
    }

    /// All three lists, empty.
    pub(crate) fn view(&self) -> RevocationView {
        let mut view = RevocationView::default();
        view.install(VerifiedCrl::parse(&self.root_crl(1, &[]), &self.root).unwrap()).unwrap();
        for class in IssuerClass::ALL {
            let issuer = self.context(class, NOW).issuer;
            view.install(VerifiedCrl::parse(&self.crl(class, 1, &[]), issuer).unwrap()).unwrap();
        }
        view
    }
}

pub(crate) fn certify(unsigned: Unsigned, key: &TestKey) -> Certificate {
    let signature = key.sign(unsigned.to_be_signed());
    unsigned.finish(&signature).unwrap()
}
