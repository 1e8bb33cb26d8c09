//! Device certificates, written by somebody else's program: ours writes them only for devices that have enrolled.

use std::{sync::Arc, time::Duration};

use kos_base::{EvidenceTier, KeyAlgorithm, KidSubject, Role, SecurityProfile};
use kos_identity::certificate::{Certificate, DeviceFacts, PeerIdentity, Profile, capabilities_hash, oid};
use kos_net::keys::SigningKey;
use rcgen::{
    CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{Authority, Holder};

impl Authority {
    /// A device of this security profile.
    pub(crate) fn device(&self, profile: SecurityProfile) -> Holder {
        self.device_named("kdev-0123456789abcdef", profile)
    }

    /// One of several devices.
    pub(crate) fn device_named(&self, id: &str, profile: SecurityProfile) -> Holder {
        let subject = KidSubject { authority: self.name.clone(), device: id.parse().unwrap(), issue: 1 };
        let identity = PeerIdentity::Device { authority: self.name.clone(), device: subject.device.clone() };
        let facts = DeviceFacts {
            subject,
            role: Role::Sensor,
            profile,
            evidence: EvidenceTier::QuoteVerified,
            group: None,
            capabilities: capabilities_hash(&[]),
        };
        let extension: Vec<u64> = oid::IDENTITY_EXTENSION.arcs().map(u64::from).collect();
        let key = Arc::new(SigningKey::generate(KeyAlgorithm::P256).unwrap());
        let pair = KeyPair::try_from(key.to_pkcs8().unwrap().as_slice()).unwrap();

        let mut params = CertificateParams::default();
        let from = std::time::UNIX_EPOCH + Duration::from_secs(self.now.unix_s());
        params.serial_number = Some(super::serial().to_bytes().to_vec().into());
        params.not_before = (from - Duration::from_secs(300)).into();
        params.not_after = (from + Duration::from_secs(24 * 3600)).into();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&extension, facts.to_der().unwrap())];
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.public().id().as_bytes().to_vec());
        params.use_authority_key_identifier_extension = true;

        let class = Profile::Device(profile).issuer().unwrap();
        let issuing = self.issuing(class);
        let mut ca = CertificateParams::default();
        ca.distinguished_name = rcgen::DistinguishedName::new();
        let subject = issuing.certificate.subject();
        let common_name = subject.split(',').find_map(|part| part.strip_prefix("CN=")).unwrap();
        ca.distinguished_name.push(DnType::OrganizationName, self.name.to_string());
        ca.distinguished_name.push(DnType::CommonName, common_name);
        ca.key_identifier_method =
            KeyIdMethod::PreSpecified(issuing.certificate.key_id().as_bytes().to_vec());
        let ca_key = KeyPair::try_from(issuing.key.to_pkcs8().unwrap().as_slice()).unwrap();
        let written = params.signed_by(&pair, &Issuer::from_params(&ca, ca_key)).unwrap();
        self.holder(Certificate::parse(written.der()).unwrap(), issuing, key)
    }
}
