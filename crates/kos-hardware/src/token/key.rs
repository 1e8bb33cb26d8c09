//! The keys of a token: made, found, used, destroyed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::{
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};
use kos_base::{KeyAlgorithm, PublicKey};
use kos_net::{
    entropy,
    keys::{HardwareKey, KeyError, SigningKey},
};

use super::{
    Open, Repeat, Token,
    point::{curves, public_key},
    refusal::Trouble,
};
use crate::{HardwareError, refusal::passed_on};

/// Longest label of a key in bytes: what every token takes, and a line of a list.
const LABEL_BYTES_MAX: usize = 64;

/// A private key as the token has it.
struct Private {
    handle: ObjectHandle,
    /// What it shares with its public half.
    id: Vec<u8>,
}

impl Token {
    /// Makes a key in the token.
    ///
    /// # Errors
    /// [`HardwareError::KeyExists`] when the label is taken, [`HardwareError::Refused`] when the token knows no such keys
    /// or makes one that can be taken out. Nothing is left in it then.
    pub fn make_key(&self, label: &str, algorithm: KeyAlgorithm) -> Result<PublicKey, HardwareError> {
        let is_shown = |c: char| !c.is_control();
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.chars().all(is_shown) {
            return Err(HardwareError::Refused("a label has 1 to 64 bytes of visible characters".to_owned()));
        }
        let id: [u8; 16] = entropy::array()?;
        self.errand(Repeat::Never, |open| {
            let session = &open.session;
            if !all_of(session, label)?.is_empty() {
                return Err(HardwareError::KeyExists(label.to_owned()).into());
            }
            let (public, private) = generate(session, label, &id, algorithm)?;
            let made = key_at(session, &Private { handle: private, id: id.to_vec() }, label);
            if made.is_err() {
                for half in [private, public] {
                    session.destroy_object(half)?;
                }
            }
            made
        })
    }

    /// The key of this label.
    ///
    /// # Errors
    /// [`HardwareError::KeyMissing`] when it is not there, [`HardwareError::Refused`] when it can be taken out of the
    /// token, or several have this label.
    pub fn find(&self, label: &str) -> Result<SigningKey, HardwareError> {
        let (id, public) = self.errand(Repeat::Once, |open| {
            let private = private_of(&open.session, label)?;
            let public = key_at(&open.session, &private, label)?;
            Ok((private.id, public))
        })?;
        let key =
            TokenKey { token: self.clone(), label: label.to_owned(), id, algorithm: public.algorithm() };
        Ok(SigningKey::elsewhere(public, Arc::new(key)))
    }

    /// Destroys both halves of the key of this label, and everything else that has it.
    ///
    /// # Errors
    /// [`HardwareError::KeyMissing`] when there is none.
    pub fn destroy(&self, label: &str) -> Result<(), HardwareError> {
        self.errand(Repeat::Never, |open| {
            let found = all_of(&open.session, label)?;
            if found.is_empty() {
                return Err(HardwareError::KeyMissing(label.to_owned()).into());
            }
            open.handles.clear();
            found.into_iter().try_for_each(|object| open.session.destroy_object(object))?;
            Ok(())
        })
    }
}

struct TokenKey {
    token: Token,
    label: String,
    id: Vec<u8>,
    algorithm: KeyAlgorithm,
}

impl HardwareKey for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signed = self.token.errand(Repeat::Once, |open| {
            let handle = self.handle(open)?;
            let signature = match self.algorithm {
                KeyAlgorithm::Ed25519 => {
                    let params = EddsaParams::new(EddsaSignatureScheme::Pure);
                    open.session.sign(&Mechanism::Eddsa(params), handle, message)
                }
                KeyAlgorithm::P256 => {
                    open.session.sign(&Mechanism::Ecdsa, handle, digest(&SHA256, message).as_ref())
                }
                KeyAlgorithm::P384 => {
                    open.session.sign(&Mechanism::Ecdsa, handle, digest(&SHA384, message).as_ref())
                }
            };
            Ok(signature?)
        });
        signed.map_err(|error| passed_on(&format!("token `{}`", self.label), &error))
    }
}

impl TokenKey {
    fn handle(&self, open: &mut Open) -> Result<ObjectHandle, Trouble> {
        if let Some(handle) = open.handles.get(&self.id) {
            return Ok(*handle);
        }
        let private = private_of(&open.session, &self.label)?;
        if private.id != self.id {
            return Err(HardwareError::KeyMissing(self.label.clone()).into());
        }
        open.handles.insert(private.id, private.handle);
        Ok(private.handle)
    }
}

fn generate(
    session: &Session,
    label: &str,
    id: &[u8],
    algorithm: KeyAlgorithm,
) -> Result<(ObjectHandle, ObjectHandle), Error> {
    let mechanism = match algorithm {
        KeyAlgorithm::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => Mechanism::EccKeyPairGen,
    };
    let both =
        [Attribute::Token(true), Attribute::Label(label.as_bytes().to_vec()), Attribute::Id(id.to_vec())];
    let private = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
    ];
    let private = [&both[..], &private].concat();
    let mut last = Error::NotSupported;
    for curve in curves(algorithm) {
        let public =
            [Attribute::Private(false), Attribute::Verify(true), Attribute::EcParams(curve.to_vec())];
        match session.generate_key_pair(&mechanism, &[&both[..], &public].concat(), &private) {
            // It may know the curve by its other name.
            Err(
                error @ Error::Pkcs11(
                    RvError::AttributeValueInvalid
                    | RvError::CurveNotSupported
                    | RvError::DomainParamsInvalid
                    | RvError::TemplateInconsistent
                    | RvError::GeneralError
                    | RvError::FunctionFailed,
                    _,
                ),
            ) => last = error,
            done => return done,
        }
    }
    Err(last)
}

/// Everything of this label: one key has two halves.
fn all_of(session: &Session, label: &str) -> Result<Vec<ObjectHandle>, Error> {
    let mut found = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        let wanted =
            [Attribute::Class(class), Attribute::Token(true), Attribute::Label(label.as_bytes().to_vec())];
        found.extend(session.find_objects(&wanted)?);
    }
    Ok(found)
}

fn private_of(session: &Session, label: &str) -> Result<Private, Trouble> {
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let handle = match session.find_objects(&wanted)?.as_slice() {
        [] => return Err(HardwareError::KeyMissing(label.to_owned()).into()),
        [handle] => *handle,
        _ => return Err(HardwareError::Refused(format!("several keys are called `{label}`")).into()),
    };
    let id = session.get_attributes(handle, &[AttributeType::Id])?;
    let [Attribute::Id(id)] = id.as_slice() else {
        return Err(HardwareError::Answer("the id of the key").into());
    };
    Ok(Private { handle, id: id.clone() })
}

/// The public half of a key that stays in the token.
fn key_at(session: &Session, private: &Private, label: &str) -> Result<PublicKey, Trouble> {
    let kept =
        session.get_attributes(private.handle, &[AttributeType::Sensitive, AttributeType::Extractable])?;
    if !(kept.contains(&Attribute::Sensitive(true)) && kept.contains(&Attribute::Extractable(false))) {
        return Err(HardwareError::Refused(format!("the key `{label}` can be taken out of it")).into());
    }
    let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Id(private.id.clone())];
    let public = session.find_objects(&wanted)?;
    let [public] = public.as_slice() else {
        return Err(HardwareError::KeyMissing(format!("{label}: its public half")).into());
    };
    let read = session.get_attributes(*public, &[AttributeType::EcParams, AttributeType::EcPoint])?;
    let (mut curve, mut point) = (None, None);
    for attribute in &read {
        match attribute {
            Attribute::EcParams(bytes) => curve = Some(bytes),
            Attribute::EcPoint(bytes) => point = Some(bytes),
            _ => {}
        }
    }
    let key = curve.zip(point).and_then(|(curve, point)| public_key(curve, point));
    key.ok_or_else(|| HardwareError::Answer("the public key").into())
}
