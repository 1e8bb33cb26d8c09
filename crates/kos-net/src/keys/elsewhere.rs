//! Keys that live in a TPM or token: the one hook through which `SigningKey` signs with them.
//!
//! Shape: the hardware answers in fixed length (64 or 96 bytes); DER is made here.
//!
//! Invariants: a signature is verified under the public key before it leaves. A fault in the hardware, or a token that was
//! exchanged, then costs a signature and never a key.
//!
//! Errors: what the hardware says passes through; a signature that does not verify is [`KeyError::WrongSignature`].
//!
//! Source: RFC 3279, 2.2.3 (DER of ECDSA), RFC 9053, 2 (fixed length); `docs/spec/hardware.md` HW-2.

use der::{Encode as _, Sequence, asn1::UintRef};
use kos_base::{KeyAlgorithm, PublicKey, key::SignatureForm};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task,
};

use super::KeyError;

/// A private key in a TPM or token.
pub trait HardwareKey: Send + Sync {
    /// Signs `message`, which the hardware hashes or has hashed as the algorithm demands, and answers in the form of
    /// [`SignatureForm::Fixed`]: 64 bytes of Ed25519, or the two numbers of ECDSA at fixed length. Blocks.
    ///
    /// # Errors
    /// [`KeyError::Hardware`] with the code of what is wrong.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

pub(super) fn sign(
    key: &dyn HardwareKey,
    public: &PublicKey,
    form: SignatureForm,
    message: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let fixed = apart(|| key.sign(message))?;
    public.verify(SignatureForm::Fixed, message, &fixed).map_err(|_| KeyError::WrongSignature)?;
    match (public.algorithm(), form) {
        (KeyAlgorithm::Ed25519, _) | (_, SignatureForm::Fixed) => Ok(fixed),
        (KeyAlgorithm::P256 | KeyAlgorithm::P384, SignatureForm::Der) => {
            // Verified, so it has the even length of its algorithm.
            let (r, s) = fixed.split_at(fixed.len() / 2);
            let numbers = UintRef::new(r).and_then(|r| Ok(EcdsaSignature { r, s: UintRef::new(s)? }));
            numbers.and_then(|numbers| numbers.to_der()).map_err(|_| KeyError::Provider)
        }
    }
}

/// Hardware may take its time, or never answer: other tasks of the runtime go on in another thread meanwhile, if it may have
/// more than one.
fn apart<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, mpsc},
        time::Duration,
    };

    use kos_base::{Code, code};

    use super::super::SigningKey;
    use super::*;

    /// A software key behind the hook.
    struct Behind(SigningKey);

    impl HardwareKey for Behind {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.0.sign(SignatureForm::Fixed, message)
        }
    }

    /// What goes wrong in a token.
    enum Fault {
        Says(Code),
        Answers(Vec<u8>),
    }

    impl HardwareKey for Fault {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            match self {
                Self::Says(code) => Err(KeyError::Hardware(*code)),
                Self::Answers(signature) => Ok(signature.clone()),
            }
        }
    }

    const ALGORITHMS: [KeyAlgorithm; 3] = [KeyAlgorithm::Ed25519, KeyAlgorithm::P256, KeyAlgorithm::P384];

    #[test]
    fn a_key_elsewhere_signs_in_both_forms_and_is_never_written_out() {
        for algorithm in ALGORITHMS {
            let inside = SigningKey::generate(algorithm).unwrap();
            let public = inside.public().clone();
            let key = SigningKey::elsewhere(public.clone(), Arc::new(Behind(inside)));
            // Often enough for numbers with leading zeros and with the highest bit set.
            for round in 0..300u16 {
                let message = round.to_be_bytes();
                for form in [SignatureForm::Der, SignatureForm::Fixed] {
                    let signature = key.sign(form, &message).unwrap();
                    assert_eq!(public.verify(form, &message, &signature), Ok(()), "{algorithm} {form:?}");
                }
            }
            assert_eq!(key.to_pkcs8().unwrap_err(), KeyError::Elsewhere);
            assert_eq!(KeyError::Elsewhere.code(), code::hardware::HARDWARE_ELSEWHERE);
        }
    }

    #[test]
    fn a_signature_of_another_key_or_with_any_bit_changed_is_given_to_nobody() {
        for algorithm in ALGORITHMS {
            let key = SigningKey::generate(algorithm).unwrap();
            let check = |signature: Vec<u8>| {
                let faulty = SigningKey::elsewhere(key.public().clone(), Arc::new(Fault::Answers(signature)));
                for form in [SignatureForm::Der, SignatureForm::Fixed] {
                    assert_eq!(faulty.sign(form, b"message").unwrap_err(), KeyError::WrongSignature);
                }
            };
            let good = key.sign(SignatureForm::Fixed, b"message").unwrap();
            for bit in 0..good.len() * 8 {
                let mut changed = good.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                check(changed);
            }
            check(SigningKey::generate(algorithm).unwrap().sign(SignatureForm::Fixed, b"message").unwrap());
            check(good[..good.len() - 1].to_vec());
            check(Vec::new());
        }
    }

    #[test]
    fn what_the_hardware_says_is_passed_on() {
        let public = SigningKey::generate(KeyAlgorithm::P256).unwrap().public().clone();
        let key = SigningKey::elsewhere(public, Arc::new(Fault::Says(code::hardware::TOKEN_REMOVED)));
        let refusal = key.sign(SignatureForm::Der, b"message").unwrap_err();
        assert_eq!(refusal.code(), code::hardware::TOKEN_REMOVED);
        assert_eq!(refusal.to_string(), "the token was removed");
    }

    /// Answers when it is let.
    struct Hangs(Mutex<mpsc::Receiver<()>>, mpsc::Sender<()>);

    impl HardwareKey for Hangs {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, KeyError> {
            self.1.send(()).unwrap();
            let _ = self.0.lock().unwrap().recv();
            Err(KeyError::Provider)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn hardware_that_hangs_does_not_take_the_thread_of_other_tasks() {
        let (answer, hangs) = mpsc::channel();
        let (hung, is_hung) = mpsc::channel();
        let public = SigningKey::generate(KeyAlgorithm::P256).unwrap().public().clone();
        let key = SigningKey::elsewhere(public, Arc::new(Hangs(Mutex::new(hangs), hung)));
        let signing = tokio::spawn(async move { key.sign(SignatureForm::Fixed, b"message") });
        is_hung.recv().unwrap();
        let (told, other) = mpsc::channel();
        tokio::spawn(async move { told.send(()) });
        // Not by the runtime's clock, which hangs with its only thread.
        let other = other.recv_timeout(Duration::from_secs(10));
        // Before anything is asserted: the runtime of the test waits for it.
        drop(answer);
        assert_eq!(other, Ok(()));
        assert!(signing.await.unwrap().is_err());
    }
}
