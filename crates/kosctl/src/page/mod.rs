//! One page on this machine, served until it has brought one answer of a passkey from a browser.
//!
//! Shape: [`ask`] takes what the page is to do and a judge of what comes back, shows address and code, and waits. [`door`] decides
//! about the head of a request, [`webauthn`] about what a browser says of a passkey; here are sockets and time.
//!
//! Invariants: it listens on 127.0.0.1 and ::1 and nowhere else, on both or not at all, since a browser takes either for
//! `localhost`. Whoever has not the code of this run learns nothing and changes nothing; the code stands in no argument of a
//! process and in no request line. What a passkey gives comes sealed to a key of this run ([`seal`]), so whoever has the port after
//! this program gets nothing. It ends with the first sealed answer, good or bad, with too many wrong codes before somebody had the
//! right one, with Ctrl-C, or after [`TIME_MAX`].
//!
//! Errors: [`PageFault`].
//!
//! What it does not do: protect from whoever is root here or sees the terminal. Pages of other ports of `localhost` are the same
//! relying party to a browser (KVS-23).
//!
//! Source: `docs/spec/vault.md` KVS-21, KVS-23 and KVS-24.

mod door;
mod seal;
mod serve;
pub(crate) mod webauthn;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
    time::Duration,
};

use aws_lc_rs::constant_time;
use data_encoding::{Encoding, Specification};
use kos_base::{Code, code, text::reason};
use rustix::io::Errno;
use serde_json::Value;
use tokio::net::TcpListener;

use self::webauthn::{Stage, Unfit};
use crate::{
    Fault, chance,
    session::Session,
    terminal::{Answers, say},
};

/// How long the page waits; stops a forgotten one from waiting for somebody else.
const TIME_MAX: Duration = Duration::from_secs(300);
/// Wrong codes before it takes no more of them: another user of this machine guesses one of 2^40 with five tries.
const WRONG_MAX: u32 = 5;
/// Bytes of the code.
const CODE_BYTES: usize = 5;
/// Letters and digits that nobody takes for one another.
const ALPHABET: &str = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How often another free port is tried.
const PORTS_MAX: u32 = 16;

/// Why the page brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum PageFault {
    /// The passkey is none that opens a vault, or what came is not of it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Somebody guessed.
    #[error("{WRONG_MAX} wrong codes")]
    Codes,
    /// There is nothing that it could ask for.
    #[error("`{0}` has no passkey that was made for `localhost`")]
    NoPasskey(String),
    /// Nobody came.
    #[error("nothing came within {} minutes", TIME_MAX.as_secs() / 60)]
    Time,
    /// There is no place for it.
    #[error("port {port}: {reason}")]
    Port {
        /// Where.
        port: u16,
        /// Why.
        reason: &'static str,
    },
}

impl PageFault {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unfit(unfit) => unfit.code(),
            Self::Codes => code::vault::VAULT_PASSKEY_CODE,
            Self::NoPasskey(_) => code::vault::VAULT_PASSKEY_NONE,
            Self::Time => code::vault::VAULT_PASSKEY_TIME,
            Self::Port { .. } => code::vault::VAULT_PASSKEY_PORT,
        }
    }
}

/// What somebody types into the page.
struct PageCode(String);

impl PageCode {
    fn draw() -> Result<Self, Fault> {
        let plain = alphabet()?.encode(&chance::bytes::<CODE_BYTES>()?);
        let (front, back) = plain.split_at(plain.len() / 2);
        Ok(Self(format!("{front}-{back}")))
    }

    /// However it is typed.
    fn is(&self, typed: &str) -> bool {
        constant_time::verify_slices_are_equal(self.plain().as_bytes(), plain(typed).as_bytes()).is_ok()
    }

    /// Its letters and digits.
    fn plain(&self) -> String {
        plain(&self.0)
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

fn alphabet() -> Result<Encoding, Fault> {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    specification.encoding().map_err(|_| Fault::Internal("the alphabet of codes is none".to_owned()))
}

/// Serves the page until it brought an answer, and returns what `judge` makes of that. `task` is what the page is told to do; it
/// gets the challenges of `judge`'s stage.
pub(crate) async fn ask<T: Send + 'static>(
    session: &Session,
    port: Option<u16>,
    mut task: Value,
    judge: impl Fn(&Stage, &[u8]) -> Result<T, Unfit> + Send + 'static,
) -> Result<T, Fault> {
    let (listeners, port) = listen(port).await?;
    let stage = Stage {
        origin: format!("http://localhost:{port}"),
        challenges: [chance::bytes()?, chance::bytes()?, chance::bytes()?],
    };
    let code = PageCode::draw()?;
    let challenges = stage.challenges.map(|bytes| data_encoding::BASE64URL_NOPAD.encode(&bytes));
    if let Some(members) = task.as_object_mut() {
        members.insert("challenges".to_owned(), challenges.as_slice().into());
    }
    announce(session, &stage.origin, port, &code);
    let bound = stage.challenges.concat();
    let desk = serve::Desk::new(code, task, bound, move |answer: &[u8]| judge(&stage, answer));
    serve::until_answered(listeners, port, desk).await
}

/// Both addresses of `localhost`, at one port.
async fn listen(wanted: Option<u16>) -> Result<(Vec<TcpListener>, u16), Fault> {
    let mut tries = 0;
    loop {
        let at = wanted.unwrap_or_default();
        let fault = |error: &io::Error| PageFault::Port { port: at, reason: reason(error) };
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, at)).await.map_err(|e| fault(&e))?;
        let port = four.local_addr().map_err(|e| fault(&e))?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(six) => return Ok((vec![four, six], port)),
            // There is no such address here, so nobody else can be at it either.
            Err(e) if is_absent(&e) => return Ok((vec![four], port)),
            Err(_) if wanted.is_none() && tries < PORTS_MAX => tries += 1,
            Err(e) => return Err(fault(&e).into()),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

fn announce(session: &Session, origin: &str, port: u16, code: &PageCode) {
    let minutes = TIME_MAX.as_secs() / 60;
    say(&format!("open {origin}/#{}", code.0));
    say(&format!("or open {origin}/ and type the code {}", code.0));
    session.terminal.note(&format!(
        "for a browser on another machine, run  ssh -N -L {port}:localhost:{port} THIS-MACHINE  there; the address is the same"
    ));
    session.terminal.note(&format!("the page waits for {minutes} minutes; Ctrl-C ends it"));
    if session.terminal.is_graphical && session.terminal.answers == Answers::Person {
        // Without the code: everybody on this machine sees the arguments of a process.
        let opening = Command::new("xdg-open")
            .arg(format!("{origin}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // Where there is none, the lines above say what to do.
        drop(opening);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_taken_however_it_is_typed_and_no_other_is() {
        let code = PageCode::draw().unwrap();
        assert_eq!(code.0.len(), 9);
        let lower = code.0.to_lowercase().replace('-', " ");
        assert!(code.is(&code.0) && code.is(&lower));
        let cut = &code.0[..8];
        for other in ["", "-", cut, &PageCode::draw().unwrap().0, &format!("{}A", code.0)] {
            assert!(!code.is(other), "{other}");
        }
    }

    #[tokio::test]
    async fn it_has_both_addresses_or_none() {
        let (listeners, port) = listen(None).await.unwrap();
        assert!(listeners.iter().all(|l| l.local_addr().unwrap().ip().is_loopback()));
        let refused = listen(Some(port)).await.err().map(|fault| fault.code().number());
        assert_eq!(refused, Some(626));
        // Somebody who has one of the two would get half of the browsers.
        drop(listeners);
        let Ok(squatter) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else { return };
        let port = squatter.local_addr().unwrap().port();
        assert!(listen(Some(port)).await.is_err());
    }
}
