//! What a device has from its maker, or from a node that vouches for it, and what it makes of the voucher that an authority
//! sends.
//!
//! Invariants: a root is pinned by a voucher only if the maker whom this device believes signed it for this very device, and the
//! connection leads to that root; and never in place of another pin.
//!
//! Errors: a voucher that does not hold pins nothing. The device goes on as one that knows nobody, and says why.
//!
//! Source: `docs/spec/voucher.md` VOU-15 to VOU-19.

use kos_attest::EndorsementKey;
use kos_base::{Code, KeyId, PublicKey, Timestamp, code};
use kos_voucher::{Bundle, Subject, Withheld, idevid};

use super::{
    Event, Machine, Output,
    conversation::{Conversation, Purpose},
};
use crate::enrolment::message::{Bytes, Hello, Pending, Prove, Welcome};

/// Introduction that a device was given before it met its authority.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    /// The key of its maker, whose vouchers it believes.
    pub maker: Option<PublicKey>,
    /// Its factory certificate and issuers, DER.
    pub certificates: Vec<Vec<u8>>,
    /// The word of a node.
    pub vouch: Option<Vec<u8>>,
}

impl Machine {
    /// Shows them to an authority that has not let the device in yet.
    pub(super) fn show_introduction(&self, talk: &Conversation, hello: Hello) -> Hello {
        if talk.purpose != Purpose::Enrol {
            return hello;
        }
        let Introduction { maker, certificates, .. } = &self.profile.introduction;
        let chain: Vec<Bytes> = certificates.iter().map(|der| der.clone().into()).collect();
        let factory = (!chain.is_empty()).then_some(chain);
        Hello { maker: maker.as_ref().map(PublicKey::id), factory, ..hello }
    }

    /// The same with the word of a node.
    pub(super) fn show_vouch(&self, talk: &Conversation, prove: Prove) -> Prove {
        let vouch = self.profile.introduction.vouch.as_ref().filter(|_| talk.purpose == Purpose::Enrol);
        Prove { vouch: vouch.map(|vouch| vouch.clone().into()), ..prove }
    }

    /// Pins the root of an authority that is known by nothing else, if a voucher says that the device is its own.
    pub(super) fn recognise(&mut self, now: Timestamp, talk: &Conversation, root: KeyId, welcome: &Welcome) {
        let known = self.journal.authority.as_ref().is_none_or(|anchor| !anchor.pins.is_empty());
        let (Some(maker), Some(voucher), false) = (&self.profile.introduction.maker, &welcome.voucher, known)
        else {
            return;
        };
        match self.judge(now, talk, root, maker, voucher) {
            Ok(()) => {
                if let Some(anchor) = &mut self.journal.authority {
                    anchor.pins = vec![root];
                }
                self.journal.comparisons.clear();
                self.persist();
                self.outputs.push_back(Output::Event(Event::Claimed(root)));
            }
            Err(withheld) => self.outputs.push_back(Output::Event(Event::Withheld(withheld))),
        }
    }

    fn judge(
        &self,
        now: Timestamp,
        talk: &Conversation,
        root: KeyId,
        maker: &PublicKey,
        voucher: &[u8],
    ) -> Result<(), Withheld> {
        let voucher = Bundle::parse(voucher)?.verify(maker)?;
        let ours = match &voucher.statement().subject {
            Subject::Identity(key) => self.journal.identity.as_ref().is_some_and(|own| own.id() == *key),
            Subject::Endorsement(ek) => {
                let own = talk.offer.as_ref().and_then(|offer| EndorsementKey::parse(&offer.ek).ok());
                own.is_some_and(|own| own.id() == *ek)
            }
            // Serials of two CAs of a maker can be alike: the CA is the one that stands behind its own certificate.
            Subject::Serial { serial, issuer } => {
                let (first, rest) = self.profile.introduction.certificates.split_first().unzip();
                let own = first.and_then(|der| idevid::unverified_serial(der));
                let mut issuers = rest.into_iter().flatten();
                own.as_ref() == Some(serial)
                    && issuers.any(|der| idevid::check_root(der).is_ok_and(|key| key == *issuer))
            }
        };
        if !ours {
            return Err(Withheld::new(code::voucher::VOUCHER_DEVICE));
        }
        voucher.is_for(root, now)
    }

    /// Tells why what the device showed does not let it in.
    pub(super) fn told_to_wait(&mut self, pending: &Pending) {
        let code = pending.why.and_then(|number| Code::find(&number.to_string()));
        let withheld = code.map(|code| Output::Event(Event::Withheld(Withheld::new(code))));
        self.outputs.extend(withheld);
    }
}
