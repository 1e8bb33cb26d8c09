//! What a maker, a node or a stranger hands in: reading ends, and nothing is believed that was not signed.

use kos_base::{SecurityProfile, cbor};
use kos_voucher::{Bundle, Grant, SignedBy, Vouched, idevid};

use crate::{
    Verdict,
    cast::{NOW, ROOT, nobodys_key},
};

/// Reads the bytes as a voucher, as a grant, as the word of a node and as a factory certificate.
pub fn run(bytes: &[u8]) -> Verdict {
    let key = nobodys_key();
    let bundle = Bundle::parse(bytes);
    if let Ok(bundle) = &bundle {
        assert_eq!(bundle.to_bytes(), bytes, "a voucher is written in one way");
        // Who signed a seed is in the file: its first signature is tried by that key as well.
        let _ = bundle.maker();
        assert!(bundle.clone().verify(&key).is_err(), "nobody signed this voucher");
    }
    assert!(Grant::verify(bytes, &key).is_err(), "nobody signed this grant");
    let vouched = Vouched::parse(bytes);
    if let Ok(vouched) = &vouched {
        let said = vouched.unverified();
        assert!(cbor::encode(said).len() <= bytes.len());
        let node = SignedBy { key: Some(&key), profile: SecurityProfile::Sec2 };
        let checked = vouched.clone().check(None, node, (said.subject, said.pin), NOW);
        assert!(checked.is_err(), "nobody granted this");
    }
    let maker = kos_voucher::Maker {
        name: "acme".parse().expect("a name"),
        key: None,
        roots: vec![ROOT.to_vec()],
        certificates: kos_voucher::Certificates::Admit,
        terms: kos_voucher::Terms {
            role: None,
            group: None,
            profile: SecurityProfile::Sec1,
            evidence: kos_base::EvidenceTier::KeyOnDevice,
        },
    };
    assert!(idevid::judge(&[bytes], &key, &[maker], NOW).is_err(), "nobody signed this certificate");
    Verdict::of(&bundle).or(Verdict::of(&vouched))
}
