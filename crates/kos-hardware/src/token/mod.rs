//! Keys in a PKCS#11 token: a smart card, a USB token, a network HSM, or SoftHSM.
//!
//! The library of its maker is loaded into this process when a token is opened, and stays. It is code that runs with our
//! rights: its path belongs into a file that only root writes.
//!
//! Invariants: a key is made private, sensitive and not extractable, and is used only if it is so; a PIN that was refused is
//! not tried again by this handle; every error ends the session, the next errand opens a new one.
//!
//! What it does not do: set up a token or change its PIN; PIN pads; keys that want a PIN for each signature.
//!
//! Source: PKCS#11 2.40 and 3.0 (OASIS); `docs/spec/hardware.md` HW-17 to HW-22.

mod key;
mod module;
mod point;
mod refusal;

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use cryptoki::{
    context::Pkcs11,
    object::ObjectHandle,
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use zeroize::Zeroizing;

use self::refusal::Trouble;
use crate::HardwareError;

/// A token that took our PIN. Clones are the same token, and take their turns.
#[derive(Clone)]
pub struct Token {
    inner: Arc<Inner>,
}

struct Inner {
    module: Pkcs11,
    /// Its label or its serial number.
    name: String,
    pin: AuthPin,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    is_pin_refused: bool,
}

/// A session, and the handles that were found in it.
struct Open {
    session: Session,
    handles: BTreeMap<Vec<u8>, ObjectHandle>,
}

/// Whether an errand may be run twice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Never,
    /// When it fails, once more in a new session: the token may have been put back.
    Once,
}

impl Token {
    /// Loads `module`, looks for the token whose label or serial number is `name`, and logs in. The caller reads the PIN
    /// from a file; it stays in memory, so that a token that was put back is used again.
    ///
    /// # Errors
    /// [`HardwareError::Absent`] when there is no such module or token, [`HardwareError::WrongPin`] after one try.
    pub fn open(module: &Path, name: &str, pin: &Zeroizing<String>) -> Result<Self, HardwareError> {
        let inner = Inner {
            module: module::load(module)?,
            name: name.to_owned(),
            pin: AuthPin::from(pin.as_str()),
            state: Mutex::default(),
        };
        if inner.find()?.is_none() {
            return Err(HardwareError::Absent(format!("{}: no token `{name}`", module.display())));
        }
        let token = Self { inner: Arc::new(inner) };
        token.errand(Repeat::Never, |_| Ok(()))?;
        Ok(token)
    }

    /// Runs one errand in a session, alone.
    fn errand<T>(
        &self,
        repeat: Repeat,
        mut errand: impl FnMut(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, HardwareError> {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = state.open.is_some();
        match self.inner.run(&mut state, &mut errand) {
            Err(Trouble::Token(_)) if was_open && repeat == Repeat::Once => {
                self.inner.run(&mut state, &mut errand).map_err(HardwareError::from)
            }
            done => done.map_err(HardwareError::from),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.inner.name)
    }
}

impl Inner {
    fn run<T>(
        &self,
        state: &mut State,
        errand: &mut impl FnMut(&mut Open) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut open = match state.open.take() {
            Some(open) => open,
            None => self.log_in(state)?,
        };
        let done = errand(&mut open);
        // What an error left active in a session is not known. Ours leave nothing.
        if !matches!(done, Err(Trouble::Token(_))) {
            state.open = Some(open);
        }
        done
    }

    fn log_in(&self, state: &mut State) -> Result<Open, Trouble> {
        if state.is_pin_refused {
            return Err(HardwareError::WrongPin.into());
        }
        let slot = self.find()?;
        let slot = slot.ok_or_else(|| HardwareError::Removed(format!("no token `{}`", self.name)))?;
        if self.module.get_token_info(slot)?.user_pin_locked() {
            return Err(HardwareError::LockedOut("its PIN").into());
        }
        let session = self.module.open_rw_session(slot)?;
        match session.login(UserType::User, Some(&self.pin)) {
            Err(error) if refusal::is_wrong_pin(&error) => {
                state.is_pin_refused = true;
                Err(HardwareError::WrongPin.into())
            }
            Err(error) if !refusal::is_logged_in(&error) => Err(error.into()),
            _ => Ok(Open { session, handles: BTreeMap::new() }),
        }
    }

    /// Where the token is now. A slot that cannot be asked has another token, or none.
    fn find(&self) -> Result<Option<Slot>, HardwareError> {
        let slots = self.module.get_slots_with_token().map_err(Trouble::Token)?;
        let mut fitting = slots.into_iter().filter(|slot| {
            self.module.get_token_info(*slot).is_ok_and(|token| {
                token.token_initialized()
                    && [token.label(), token.serial_number()].map(str::trim_end).contains(&self.name.as_str())
            })
        });
        match (fitting.next(), fitting.next()) {
            (slot, None) => Ok(slot),
            (_, Some(_)) => Err(HardwareError::Refused(format!(
                "several tokens are called `{}`: name it by its serial number",
                self.name
            ))),
        }
    }
}
