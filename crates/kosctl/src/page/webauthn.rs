//! What a browser says of a passkey, checked: bytes in, decisions out.
//!
//! Shape: a [`Stage`] is one page of one run, with challenges that nobody else has. [`Stage::created`] takes what came of making
//! a passkey, [`Stage::used`] what came of using one.
//!
//! Invariants: a challenge counts for one page and one act. Nothing is taken from another origin, for another relying party, or
//! without a person that the authenticator made sure of. A new passkey has signed with the key that it showed.
//!
//! Errors: [`Unfit`], with a code of its own for each thing that somebody can mend.
//!
//! What it does not do: ask for attestation, so it does not know who made the authenticator. Keep the public key: what opens a
//! vault is what the function of a passkey gives, and the slot's commitment judges that.
//!
//! Source: `docs/spec/vault.md` KVS-21; Web Authentication Level 3, sections 5.8.1, 6.1, 7.1 and 7.2.

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{
        ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use data_encoding::BASE64URL_NOPAD;
use kos_api::text::SecretText;
use kos_base::{Code, Secret, code};
use kos_vault::CREDENTIAL_ID_BYTES;
use serde::Deserialize;
use zeroize::Zeroize as _;

/// The relying party of every page that this program serves: browsers make passkeys for no address, and for this name without
/// a certificate.
pub(crate) const RELYING_PARTY: &str = "localhost";

const FLAG_PRESENT: u8 = 0x01;
const FLAG_VERIFIED: u8 = 0x04;
const FLAG_BACKUP: u8 = 0x08;
const FLAG_CREDENTIAL: u8 = 0x40;

/// Why a passkey, or what was said of it, is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has no PRF extension, or does not give the same for the same.
    #[error("{0}")]
    Function(&'static str),
    /// Nobody was asked for a PIN, a finger or a face.
    #[error("it asked for no PIN, fingerprint or face")]
    Person,
    /// It is no answer to what was asked.
    #[error("{0}")]
    Answer(&'static str),
}

impl Unfit {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Function(_) => code::vault::VAULT_PASSKEY_PRF,
            Self::Person => code::vault::VAULT_PASSKEY_PERSON,
            Self::Answer(_) => code::vault::VAULT_PASSKEY_ANSWER,
        }
    }
}

/// What one page asks for.
pub(crate) struct Stage {
    /// Where it is served, as browsers write it.
    pub(crate) origin: String,
    /// For making a passkey, using it, and using it again.
    pub(crate) challenges: [[u8; 32]; 3],
}

/// A passkey that was just made, as the page tells it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Creation {
    credential_id: String,
    client_data: String,
    authenticator_data: String,
    public_key: String,
    algorithm: i64,
    /// Whether it says that it has the extension.
    has_function: bool,
    /// What it gave already while it was made, which not every one does.
    output: Option<SecretText>,
}

/// A use of a passkey, as the page tells it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Assertion {
    credential_id: String,
    client_data: String,
    authenticator_data: String,
    signature: String,
    output: Option<SecretText>,
}

/// A passkey that can open a vault.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) credential: Vec<u8>,
    pub(crate) output: Secret<32>,
    /// Whether its maker may copy it to other devices of its owner.
    pub(crate) is_copied: bool,
}

/// What stands in the JSON that an authenticator signs the hash of. There is more in it, which does not count.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// The parts of authenticator data that count here.
struct Authenticator<'a> {
    flags: u8,
    rest: &'a [u8],
}

impl Stage {
    /// Checks a new passkey, and one or two uses of it: two where it gave nothing while it was made.
    pub(crate) fn created(&self, made: &Creation, uses: &[Assertion]) -> Result<Made, Unfit> {
        let [for_making, for_use, for_another] = &self.challenges;
        let (_, authenticator) =
            self.said("webauthn.create", for_making, &made.client_data, &made.authenticator_data)?;
        let authenticator = read(&authenticator)?;
        let credential = bytes(&made.credential_id)?;
        if attested(&authenticator)? != credential || !CREDENTIAL_ID_BYTES.contains(&credential.len()) {
            return Err(Unfit::Answer("the new passkey has another id than its device says"));
        }
        if !made.has_function {
            return Err(Unfit::Function("its authenticator or the browser has no PRF extension"));
        }
        let mut outputs: Vec<Secret<32>> = Vec::with_capacity(3);
        outputs.extend(made.output.as_ref().map(output).transpose()?);
        let public = (bytes(&made.public_key)?, algorithm(made.algorithm)?);
        for (used, challenge) in uses.iter().zip([for_use, for_another]) {
            let signed = self.signed(challenge, used)?;
            if bytes(&used.credential_id)? != credential {
                return Err(Unfit::Answer("another passkey was used than the one that was made"));
            }
            let key = UnparsedPublicKey::new(public.1, &public.0);
            key.verify(&signed, &bytes(&used.signature)?)
                .map_err(|_| Unfit::Answer("the new passkey did not sign with its own key"))?;
            outputs.push(given(used)?);
        }
        let output = outputs.pop().filter(|_| !uses.is_empty() && !outputs.is_empty());
        let output = output.ok_or(Unfit::Answer("the new passkey was not tried twice"))?;
        if outputs.iter().any(|other| *other != output) {
            return Err(Unfit::Function("it gave two things for the same question"));
        }
        Ok(Made { credential, output, is_copied: authenticator.flags & FLAG_BACKUP != 0 })
    }

    /// Checks a use of one of these passkeys. Whether it opens anything is for the vault to say.
    pub(crate) fn used(&self, used: &Assertion, known: &[String]) -> Result<Secret<32>, Unfit> {
        let [_, challenge, _] = &self.challenges;
        self.signed(challenge, used)?;
        if !known.contains(&used.credential_id) {
            return Err(Unfit::Answer("another passkey was used than those of the vault"));
        }
        given(used)
    }

    /// What the authenticator signed.
    fn signed(&self, challenge: &[u8; 32], used: &Assertion) -> Result<Vec<u8>, Unfit> {
        let (client, mut signed) =
            self.said("webauthn.get", challenge, &used.client_data, &used.authenticator_data)?;
        signed.extend_from_slice(digest(&SHA256, &client).as_ref());
        Ok(signed)
    }

    /// Client data and authenticator data, after all that they have to say was in them.
    fn said(
        &self,
        kind: &str,
        challenge: &[u8; 32],
        client: &str,
        authenticator: &str,
    ) -> Result<(Vec<u8>, Vec<u8>), Unfit> {
        let (client, authenticator) = (bytes(client)?, bytes(authenticator)?);
        let data: ClientData =
            serde_json::from_slice(&client).map_err(|_| Unfit::Answer("the browser's part is no JSON"))?;
        if data.kind != kind {
            return Err(Unfit::Answer("it is an answer to another question"));
        }
        if data.challenge != BASE64URL_NOPAD.encode(challenge) {
            return Err(Unfit::Answer("it is an answer to the question of another page"));
        }
        if data.origin != self.origin || data.cross_origin {
            return Err(Unfit::Answer("it was asked for by a page of somebody else"));
        }
        read(&authenticator)?;
        Ok((client, authenticator))
    }
}

/// Relying party and flags.
fn read(data: &[u8]) -> Result<Authenticator<'_>, Unfit> {
    const SHORT: Unfit = Unfit::Answer("the authenticator's part is cut off");
    let (party, rest) = data.split_first_chunk::<32>().ok_or(SHORT)?;
    let (head, rest) = rest.split_first_chunk::<5>().ok_or(SHORT)?;
    // Then four bytes of a counter, which not every authenticator has.
    let [flags, ..] = *head;
    if party.as_slice() != digest(&SHA256, RELYING_PARTY.as_bytes()).as_ref() {
        return Err(Unfit::Answer("the passkey is of another domain"));
    }
    if flags & FLAG_VERIFIED == 0 {
        return Err(Unfit::Person);
    }
    if flags & FLAG_PRESENT == 0 {
        return Err(Unfit::Answer("nobody was present"));
    }
    Ok(Authenticator { flags, rest })
}

/// The id of the credential in the authenticator data of a new one.
fn attested<'a>(authenticator: &Authenticator<'a>) -> Result<&'a [u8], Unfit> {
    const NONE: Unfit = Unfit::Answer("the authenticator names no new passkey");
    if authenticator.flags & FLAG_CREDENTIAL == 0 {
        return Err(NONE);
    }
    // The model of the authenticator, which nobody vouches for.
    let (_, rest) = authenticator.rest.split_first_chunk::<16>().ok_or(NONE)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(NONE)?;
    rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(NONE)
}

/// The signature algorithms that the page asks for, by their numbers in COSE.
fn algorithm(number: i64) -> Result<&'static dyn VerificationAlgorithm, Unfit> {
    match number {
        -8 => Ok(&ED25519),
        -7 => Ok(&ECDSA_P256_SHA256_ASN1),
        -257 => Ok(&RSA_PKCS1_2048_8192_SHA256),
        _ => Err(Unfit::Answer("the new passkey signs with what was not asked for")),
    }
}

fn given(used: &Assertion) -> Result<Secret<32>, Unfit> {
    let none = Unfit::Function("its authenticator or the browser gave nothing for the PRF extension");
    output(used.output.as_ref().ok_or(none)?)
}

fn output(text: &SecretText) -> Result<Secret<32>, Unfit> {
    let (text, mut plain) = (text.expose().as_bytes(), [0; 32]);
    let is_whole = BASE64URL_NOPAD.decode_len(text.len()) == Ok(plain.len())
        && BASE64URL_NOPAD.decode_mut(text, &mut plain) == Ok(plain.len());
    let output = Secret::new(plain);
    plain.zeroize();
    if !is_whole {
        return Err(Unfit::Answer("what the passkey gave has not 32 bytes"));
    }
    if output == Secret::new([0; 32]) {
        return Err(Unfit::Function("it gives nothing but zeros"));
    }
    Ok(output)
}

fn bytes(text: &str) -> Result<Vec<u8>, Unfit> {
    let malformed = |_| Unfit::Answer("a part of it is no base64url");
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
            RsaKeyPair,
        },
    };
    use serde_json::{Value, json};

    use super::*;

    const ORIGIN: &str = "http://localhost:4242";
    const ID: [u8; 16] = [7; 16];
    const UP_UV: u8 = FLAG_PRESENT | FLAG_VERIFIED;

    fn stage() -> Stage {
        Stage { origin: ORIGIN.to_owned(), challenges: [[1; 32], [2; 32], [3; 32]] }
    }

    fn b64(bytes: &[u8]) -> String {
        BASE64URL_NOPAD.encode(bytes)
    }

    fn client(kind: &str, challenge: u8) -> Value {
        json!({"type": kind, "challenge": b64(&[challenge; 32]), "origin": ORIGIN, "crossOrigin": false, "more": 1})
    }

    fn data(flags: u8) -> Vec<u8> {
        [digest(&SHA256, b"localhost").as_ref(), &[flags], &[0, 0, 0, 9]].concat()
    }

    /// An authenticator with a key of one algorithm.
    enum Device {
        P256(EcdsaKeyPair),
        Ed25519(Ed25519KeyPair),
        Rsa(RsaKeyPair),
    }

    impl Device {
        fn p256() -> Self {
            Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        }

        fn public(&self) -> (Vec<u8>, i64) {
            use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
            let der = |der: Result<PublicKeyX509Der<'_>, _>| der.unwrap().as_ref().to_vec();
            match self {
                Self::P256(key) => (der(key.public_key().as_der()), -7),
                Self::Ed25519(key) => (der(key.public_key().as_der()), -8),
                Self::Rsa(key) => (der(key.public_key().as_der()), -257),
            }
        }

        fn sign(&self, message: &[u8]) -> Vec<u8> {
            let random = SystemRandom::new();
            match self {
                Self::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
                Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
                Self::Rsa(key) => {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                    signature
                }
            }
        }

        fn made(&self, change: impl FnOnce(&mut Value)) -> Creation {
            let (public, algorithm) = self.public();
            let attested = [&[0; 16][..], &[0, 16], &ID, b"a COSE key"].concat();
            let mut made = json!({
                "credentialId": b64(&ID), "clientData": b64(client("webauthn.create", 1).to_string().as_bytes()),
                "authenticatorData": b64(&[data(UP_UV | FLAG_CREDENTIAL), attested].concat()),
                "publicKey": b64(&public), "algorithm": algorithm, "hasFunction": true, "output": null
            });
            change(&mut made);
            serde_json::from_value(made).unwrap()
        }

        fn used(&self, client: &Value, data: &[u8], output: u8) -> Assertion {
            let client = client.to_string();
            let signed = [data, digest(&SHA256, client.as_bytes()).as_ref()].concat();
            serde_json::from_value(json!({
                "credentialId": b64(&ID), "clientData": b64(client.as_bytes()), "authenticatorData": b64(data),
                "signature": b64(&self.sign(&signed)), "output": b64(&[output; 32])
            }))
            .unwrap()
        }

        /// The two uses as they should be.
        fn twice(&self) -> [Assertion; 2] {
            [2, 3].map(|challenge| self.used(&client("webauthn.get", challenge), &data(UP_UV), 5))
        }
    }

    fn refused(made: &Creation, uses: &[Assertion]) -> Unfit {
        stage().created(made, uses).err().unwrap_or_else(|| panic!("it is taken"))
    }

    #[test]
    fn a_passkey_of_each_algorithm_is_taken_after_two_acts_that_agree() {
        let devices = [
            Device::p256(),
            Device::Ed25519(Ed25519KeyPair::generate().unwrap()),
            Device::Rsa(RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap()),
        ];
        for device in &devices {
            let made = stage().created(&device.made(|_| ()), &device.twice()).unwrap();
            assert_eq!((made.credential.as_slice(), made.is_copied), (&ID[..], false));
            assert_eq!(made.output, Secret::new([5; 32]));
            // Where it gave it while it was made, one use is enough.
            let [once, _] = device.twice();
            let with = |byte: u8| device.made(|made| made["output"] = b64(&[byte; 32]).into());
            assert!(stage().created(&with(5), &[once]).is_ok());
            let [once, _] = device.twice();
            let why = refused(&with(6), &[once]);
            assert_eq!(why.code().number(), 621, "{why}");
        }
        let key = Device::p256();
        let foreign = refused(&key.made(|_| ()), &Device::p256().twice());
        assert_eq!(foreign, Unfit::Answer("the new passkey did not sign with its own key"));
    }

    #[test]
    fn a_passkey_without_the_function_or_that_was_not_tried_is_not_taken() {
        let device = Device::p256();
        let without = device.made(|made| made["hasFunction"] = false.into());
        assert_eq!(refused(&without, &[]).code().number(), 621);
        assert_eq!(refused(&device.made(|_| ()), &[]).code().number(), 623);
        let [once, _] = device.twice();
        assert_eq!(refused(&device.made(|_| ()), &[once]).code().number(), 623);
        for (output, code) in [(Value::Null, 621), (b64(&[0; 32]).into(), 621), (b64(&[1; 31]).into(), 623)] {
            let [mut once, again] = device.twice();
            once.output = serde_json::from_value(output).unwrap();
            assert_eq!(refused(&device.made(|_| ()), &[once, again]).code().number(), code);
        }
        let other = [device.used(&client("webauthn.get", 2), &data(UP_UV), 5)]
            .into_iter()
            .chain([device.used(&client("webauthn.get", 3), &data(UP_UV), 6)]);
        let other: Vec<Assertion> = other.collect();
        assert_eq!(refused(&device.made(|_| ()), &other).code().number(), 621);
    }

    #[test]
    fn nobody_is_taken_for_the_owner_who_did_not_show_it() {
        let device = Device::p256();
        let [_, again] = device.twice();
        let absent = device.used(&client("webauthn.get", 2), &data(FLAG_PRESENT), 5);
        assert_eq!(refused(&device.made(|_| ()), &[absent, again]), Unfit::Person);
        let made = device.made(|made| {
            made["authenticatorData"] = b64(&data(FLAG_PRESENT | FLAG_CREDENTIAL)).into();
        });
        assert_eq!(refused(&made, &device.twice()), Unfit::Person);
        let absent = device.used(&client("webauthn.get", 2), &data(FLAG_PRESENT), 5);
        assert_eq!(stage().used(&absent, &[b64(&ID)]).err(), Some(Unfit::Person));
    }

    #[test]
    fn answers_of_other_pages_questions_and_passkeys_are_refused() {
        let device = Device::p256();
        let known = [b64(&ID)];
        let good = || client("webauthn.get", 2);
        assert!(stage().used(&device.used(&good(), &data(UP_UV), 5), &known).is_ok());
        for (member, value) in [
            ("type", json!("webauthn.create")),
            ("challenge", json!(b64(&[3; 32]))),
            ("origin", json!("http://localhost:4243")),
            ("origin", json!("https://localhost:4242")),
            ("crossOrigin", json!(true)),
        ] {
            let mut other = good();
            other[member] = value;
            let why = stage().used(&device.used(&other, &data(UP_UV), 5), &known).unwrap_err();
            assert_eq!(why.code().number(), 623, "{member}: {why}");
        }
        let elsewhere = [digest(&SHA256, b"kos.example").as_ref(), &[UP_UV, 0, 0, 0, 0]].concat();
        for bytes in [elsewhere.as_slice(), &data(UP_UV)[..36], &[]] {
            let why = stage().used(&device.used(&good(), bytes, 5), &known).unwrap_err();
            assert_eq!(why.code().number(), 623, "{why}");
        }
        let other = stage().used(&device.used(&good(), &data(UP_UV), 5), &[b64(&[8; 16])]).unwrap_err();
        assert_eq!(other.code().number(), 623);
        assert_eq!(format!("{:?}", device.twice()[0].output), "Some(SecretText(..))");
    }

    #[test]
    fn what_an_authenticator_says_of_a_new_passkey_is_read_to_its_end_and_no_further() {
        let device = Device::p256();
        let whole = [data(UP_UV | FLAG_CREDENTIAL), vec![0; 16], vec![0, 16], ID.to_vec()].concat();
        let with = |bytes: &[u8]| {
            let made = device.made(|made| made["authenticatorData"] = b64(bytes).into());
            stage().created(&made, &device.twice())
        };
        assert!(with(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(matches!(with(&whole[..end]), Err(Unfit::Answer(_))), "{end}");
        }
        for at in 37 + 16..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(matches!(with(&other), Err(Unfit::Answer(_))), "{at}");
        }
    }
}
