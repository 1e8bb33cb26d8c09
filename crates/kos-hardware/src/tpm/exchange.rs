//! Commands of one errand, one after the other over one connection, and the end of everything that they loaded.
//!
//! Invariants: every handle that an answer gives is flushed when the errand ends, however it ends; an answer is used only
//! after its code says success and its parts fill it exactly.
//!
//! Errors: [`refusal`] says what a code of the TPM means to us.
//!
//! Source: TPM 2.0 Library, part 1, 18; part 2, 6.6 (response codes).

use std::{thread, time::Duration};

use tpm2_protocol::{
    TpmError, TpmUnmarshal as _, TpmWriter,
    basic::TpmHandle,
    data::{TpmCc, TpmRc, TpmRcBase, TpmRh, TpmSt, TpmSu, TpmsAuthCommand},
    frame::{
        TpmFlushContextCommand, TpmFrame, TpmResponse, TpmStartupCommand, TpmUnmarshalBody,
        tpm_marshal_command,
    },
};
use zeroize::Zeroizing;

use super::link::{FRAME_BYTES_MAX, Link};
use crate::HardwareError;

/// How often a TPM that is busy with itself is asked again, with twice the pause each time: 5 s in all.
const TRIES_MAX: u32 = 9;
const PAUSE: Duration = Duration::from_millis(20);

/// Who a command says that it comes from.
#[derive(Clone, Copy)]
pub(super) enum Authority {
    /// The command needs none.
    None,
    /// The empty password, for things whose use the TPM leaves to whoever reaches it.
    Empty,
}

pub(super) struct Exchange {
    link: Link,
    loaded: Vec<TpmHandle>,
}

impl Exchange {
    pub(super) const fn new(link: Link) -> Self {
        Self { link, loaded: Vec::new() }
    }

    /// Runs a command whose answer nobody needs to authenticate.
    pub(super) fn run<C, R>(&mut self, command: &C, authority: Authority) -> Result<R, HardwareError>
    where
        C: TpmFrame,
        R: TpmUnmarshalBody,
    {
        self.ask(command, authority)?.map_err(refusal)
    }

    /// Runs a command whose caller knows what a refusal means.
    pub(super) fn ask<C, R>(
        &mut self,
        command: &C,
        authority: Authority,
    ) -> Result<Result<R, TpmRc>, HardwareError>
    where
        C: TpmFrame,
        R: TpmUnmarshalBody,
    {
        let password = [TpmsAuthCommand { session_handle: TpmRh::Pw.value().into(), ..Default::default() }];
        let sessions: &[TpmsAuthCommand] = match authority {
            Authority::None => &[],
            Authority::Empty => &password,
        };
        let frame = frame(command, sessions)?;
        let answer = match self.patiently(&frame, R::CC)? {
            Ok(answer) => answer,
            Err(code) => return Ok(Err(code)),
        };
        let body = TpmResponse::cast(&answer).and_then(TpmResponse::unmarshal::<R>);
        body.map(Ok).map_err(malformed)
    }

    /// Sends a command as it stands there, and hands out an answer that says success.
    pub(super) fn transmit(&mut self, frame: &[u8], cc: TpmCc) -> Result<Zeroizing<Vec<u8>>, HardwareError> {
        self.patiently(frame, cc)?.map_err(refusal)
    }

    /// Waits while the TPM is busy. A handle in the answer is flushed at the end of the errand.
    fn patiently(
        &mut self,
        frame: &[u8],
        cc: TpmCc,
    ) -> Result<Result<Zeroizing<Vec<u8>>, TpmRc>, HardwareError> {
        let mut is_started = false;
        let mut pause = PAUSE;
        for left in (0..TRIES_MAX).rev() {
            let answer = self.link.transmit(frame)?;
            let response = match TpmResponse::cast(&answer) {
                Ok(response) => response,
                // Codes of drivers, resource managers and vendors are not in the standard.
                Err(TpmError::InvalidRc { value, .. }) => {
                    return Err(HardwareError::Refused(format!("code {value:#010x}")));
                }
                Err(error) => return Err(malformed(error)),
            };
            response.validate(cc).map_err(malformed)?;
            let code = response.rc().map_err(malformed)?;
            match code.base() {
                TpmRcBase::Success => {
                    self.remember(response, cc)?;
                    return Ok(Ok(answer));
                }
                // Nobody has switched it on: there is neither firmware nor a kernel before us.
                TpmRcBase::Initialize if !is_started => {
                    is_started = true;
                    let startup = TpmStartupCommand { handles: [], startup_type: TpmSu::Clear };
                    let startup = self::frame(&startup, &[])?;
                    self.link.transmit(&startup)?;
                }
                TpmRcBase::Retry
                | TpmRcBase::Yielded
                | TpmRcBase::Testing
                | TpmRcBase::NvRate
                | TpmRcBase::NvUnavailable => {
                    if left > 0 {
                        thread::sleep(pause);
                        pause *= 2;
                    }
                }
                _ => return Ok(Err(code)),
            }
        }
        Err(HardwareError::Refused("it is busy with itself".to_owned()))
    }

    fn remember(&mut self, response: &TpmResponse, cc: TpmCc) -> Result<(), HardwareError> {
        let gives_handle =
            matches!(cc, TpmCc::CreatePrimary | TpmCc::Load | TpmCc::ContextLoad | TpmCc::StartAuthSession);
        if gives_handle {
            let (handle, _) = TpmHandle::unmarshal(response.body()).map_err(malformed)?;
            self.loaded.push(handle);
        }
        Ok(())
    }
}

/// Whatever is still loaded goes, the youngest first. Nobody is left to hear of a failure, and a TPM that is gone has
/// nothing loaded.
impl Drop for Exchange {
    fn drop(&mut self) {
        while let Some(flush_handle) = self.loaded.pop() {
            let flush = TpmFlushContextCommand { handles: [], flush_handle };
            let Ok(frame) = frame(&flush, &[]) else { continue };
            if self.link.transmit(&frame).is_err() {
                return;
            }
        }
    }
}

/// A command as bytes.
pub(super) fn frame<C: TpmFrame>(
    command: &C,
    sessions: &[TpmsAuthCommand],
) -> Result<Zeroizing<Vec<u8>>, HardwareError> {
    let tag = if sessions.is_empty() { TpmSt::NoSessions } else { TpmSt::Sessions };
    marshalled(|writer| tpm_marshal_command(command, tag, sessions, writer))
}

/// What `write` writes.
pub(super) fn marshalled(
    write: impl FnOnce(&mut TpmWriter<'_>) -> Result<(), TpmError>,
) -> Result<Zeroizing<Vec<u8>>, HardwareError> {
    let mut bytes = Zeroizing::new(vec![0; FRAME_BYTES_MAX]);
    let mut writer = TpmWriter::new(&mut bytes);
    // Ours are small and well-formed.
    write(&mut writer).map_err(|_| HardwareError::Fault)?;
    let length = writer.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// The parts of an answer do not fit.
pub(super) const fn malformed(_: TpmError) -> HardwareError {
    HardwareError::Answer("its form")
}

/// What a refusal means. Those who know more about their command look before this does.
pub(super) fn refusal(code: TpmRc) -> HardwareError {
    match code.base() {
        TpmRcBase::Lockout => HardwareError::LockedOut("too many wrong tries"),
        TpmRcBase::PolicyFail | TpmRcBase::PcrChanged => HardwareError::State,
        TpmRcBase::Integrity => HardwareError::Damaged("the TPM finds it changed"),
        TpmRcBase::BadAuth | TpmRcBase::AuthFail | TpmRcBase::AuthMissing => {
            HardwareError::Refused(format!("{code}: its owner set a password"))
        }
        _ => HardwareError::Refused(code.to_string()),
    }
}
