//! What an answer of a token means to us.

use cryptoki::error::{Error, RvError};

use crate::HardwareError;

/// What ends an errand.
pub(super) enum Trouble {
    /// The token said so. Its session is not used any more.
    Token(Error),
    /// We found so. The session is as good as before.
    Ours(HardwareError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl From<HardwareError> for Trouble {
    fn from(error: HardwareError) -> Self {
        Self::Ours(error)
    }
}

impl From<Trouble> for HardwareError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Ours(error) => error,
            Trouble::Token(error) => of_token(&error),
        }
    }
}

pub(super) const fn is_wrong_pin(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _))
}

/// Somebody else in this process has logged in.
pub(super) const fn is_logged_in(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::UserAlreadyLoggedIn, _))
}

fn of_token(error: &Error) -> HardwareError {
    let Error::Pkcs11(code, function) = error else {
        return match error {
            Error::NotSupported | Error::NullFunctionPointer | Error::MissingSymbol(_) => {
                HardwareError::Refused(error.to_string())
            }
            _ => HardwareError::Answer("its form"),
        };
    };
    match code {
        RvError::PinLocked => HardwareError::LockedOut("its PIN"),
        RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::SessionClosed
        | RvError::SessionHandleInvalid
        | RvError::UserNotLoggedIn => HardwareError::Removed(format!("{function} says {code:?}")),
        _ => HardwareError::Refused(format!("{function} says {code:?}")),
    }
}
