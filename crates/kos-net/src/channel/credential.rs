//! What an end shows to be trusted: its certificates.
//!
//! Shape: the CBOR array of 1 to [`PRESENTED_MAX`] byte strings, each a certificate in DER, the end's own first; at most
//! [`CREDENTIAL_BYTES_MAX`](kos_klp::channel::CREDENTIAL_BYTES_MAX) bytes, which the machines check.
//!
//! Source: `docs/spec/klp.md` KLP-56.

use kos_base::cbor;
use kos_identity::{
    certificate::PeerIdentity,
    chain::{self, PRESENTED_MAX, Usage, VerifiedPeer},
};
use kos_klp::{
    channel::ChannelError,
    party::{Party, PartyKind},
};
use minicbor::{Decoder, Encoder, decode, encode};
use rustls::pki_types::CertificateDer;

use super::{ChannelFault, Judge};

/// `chain` as a credential.
pub(super) fn write(chain: &[CertificateDer<'static>]) -> Vec<u8> {
    cbor::encode(&Shown(chain.iter().map(AsRef::as_ref).collect()))
}

/// The peer that `credential` proves, if it is exactly `party`, now and unrevoked.
///
/// # Errors
/// When it is anybody else.
pub(super) fn judge(
    credential: &[u8],
    party: &Party,
    usage: Usage,
    judge: &Judge,
) -> Result<VerifiedPeer, ChannelFault> {
    let wanted = identity(party).ok_or_else(|| ChannelFault::NoCertificate(party.to_string()))?;
    let malformed = |error: cbor::CborError| ChannelError::Shape(error.to_string());
    let Shown(chain) = cbor::decode(credential, credential.len()).map_err(malformed)?;
    let trust = judge.trust.borrow();
    let peer = chain::verify((judge.clock)(), usage, &chain, &trust.anchors, &trust.revocation)?;
    peer.expect(&wanted)?;
    Ok(peer)
}

/// What the certificate of a party names.
fn identity(party: &Party) -> Option<PeerIdentity> {
    match party.as_party().kind() {
        PartyKind::Device { authority, device } => {
            Some(PeerIdentity::Device { authority: authority.parse().ok()?, device: device.parse().ok()? })
        }
        PartyKind::Authority(authority) => {
            Some(PeerIdentity::Authority { authority: authority.parse().ok()? })
        }
        PartyKind::Everyone(_) | PartyKind::Did(_) => None,
    }
}

struct Shown<'a>(Vec<&'a [u8]>);

impl<C> minicbor::Encode<C> for Shown<'_> {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(u64::try_from(self.0.len()).unwrap_or(u64::MAX))?;
        self.0.iter().try_for_each(|certificate| e.bytes(certificate).map(drop))
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Shown<'b> {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let count = d.array()?.and_then(|count| usize::try_from(count).ok());
        match count.filter(|count| (1..=PRESENTED_MAX).contains(count)) {
            Some(count) => (0..count).map(|_| d.bytes()).collect::<Result<_, _>>().map(Self),
            None => Err(decode::Error::message("no or too many certificates")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_has_one_to_four_certificates_and_one_form() {
        for count in 0..=5 {
            let chain = vec![CertificateDer::from(vec![7; 300]); count];
            let bytes = write(&chain);
            let read = cbor::decode::<Shown<'_>>(&bytes, bytes.len());
            assert_eq!(read.is_ok(), (1..=4).contains(&count), "{count}");
        }
        for bad in [&b""[..], &[0x80], &[0x81, 0x01], &[0x9f, 0xff], &[0x82, 0x41, 0], &[0x81, 0x41, 0, 0]] {
            assert!(cbor::decode::<Shown<'_>>(bad, bad.len()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_devices_and_authorities_have_certificates() {
        for (party, named) in [
            ("attic/kdev-7f4ac30123456789", Some("spiffe://attic/device/kdev-7f4ac30123456789")),
            ("attic", Some("spiffe://attic/authority")),
            ("attic/*", None),
            ("did:web:attic.example", None),
        ] {
            let found = identity(&party.parse().unwrap()).map(|identity| identity.to_string());
            assert_eq!(found.as_deref(), named, "{party}");
        }
    }
}
