//! What a vault asks for beside a passphrase: one-time codes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use data_encoding::BASE32_NOPAD;
use kos_api::{
    authority::Status,
    routes::{self, encode},
    text::SecretText,
    vault::{AddAuthoriser, Vault as Item},
};
use kos_base::code;
use zeroize::Zeroizing;

use super::{CodeFlag, PassphraseFlag, Place, Removal, change, typed_code};
use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    chance,
    command::qr,
    session::{Ending, Session},
    terminal::{Answers, read_secret, say},
};

/// Bytes of a seed that is made here, as RFC 4226 recommends.
const SEED_BYTES: usize = 20;

/// Of which kind.
#[derive(Debug, Subcommand)]
pub(crate) enum Authoriser {
    /// One-time codes of RFC 6238, as phones and keys make them.
    #[command(subcommand)]
    Totp(Totp),
}

/// What to do with one-time codes.
#[derive(Debug, Subcommand)]
pub(crate) enum Totp {
    /// Has a vault ask for codes: shows a seed once, as a URI and a QR code, and takes a code of it.
    Add(Add),
    /// Has a vault ask for no codes any more.
    Remove(Remove),
}

/// `vault authoriser totp add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    place: Place,
    /// The file with a seed that you have, in base32 or as an `otpauth://totp/` URI; without it, one is made and shown.
    #[arg(long, value_name = "FILE", requires = "code_file")]
    seed_file: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault authoriser totp remove`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    removal: Removal,
}

impl Authoriser {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Totp(Totp::Add(add)) => add.run(session).await,
            Self::Totp(Totp::Remove(remove)) => remove.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if self.seed_file.is_none() && session.terminal.answers == Answers::Nobody {
            let message = "the seed has to be shown, and nobody is there to see it";
            return Err(Fault::usage(message, "give one that you have with --seed-file and --code-file"));
        }
        let client = session.client()?;
        let (route, values) = (&routes::VAULT_AUTHORISER_ADD, [self.place.name()]);
        if client.show::<Item>(&routes::VAULT_SHOW, &values).await?.authoriser.is_some() {
            let message = "the vault asks for one-time codes already";
            return Err(Fault::usage(message, "kosctl vault authoriser totp remove"));
        }
        let passphrase = self.passphrase.read()?;
        let body = |seed: &str, code| AddAuthoriser {
            passphrase: passphrase.clone(),
            seed: SecretText::new(seed.to_owned()),
            code,
        };
        if let (Some(seed), Some(code)) = (&self.seed_file, &self.code.code_file) {
            let seed = read_secret("seed", Some(seed))?;
            let body = body(&seed, typed_code(&read_secret("one-time code", Some(code))?));
            return change::<Item, _>(session, &client, route, &values, &body, &self.change).await;
        }
        let seed = seed()?;
        if self.change.dry_run {
            let body = body(&seed, SecretText::new("000000".to_owned()));
            return change::<Item, _>(session, &client, route, &values, &body, &self.change).await;
        }
        show(&client, values[0], &seed).await?;
        loop {
            let body = body(&seed, typed_code(&read_secret("one-time code", None)?));
            match change::<Item, _>(session, &client, route, &values, &body, &self.change).await {
                // A slip of the finger, or a code that was over: the seed would have to be scanned anew otherwise.
                Err(fault) if fault.code() == code::vault::VAULT_CODE => {
                    say("this is no code of this seed; type the next one, or end with Ctrl-C");
                }
                ending => return ending,
            }
        }
    }
}

impl Remove {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let question = format!("have {} ask for no one-time codes any more", self.removal.place.name());
        self.removal.run(session, &routes::VAULT_AUTHORISER_REMOVE, (None, &question)).await
    }
}

fn seed() -> Result<Zeroizing<String>, Fault> {
    let bytes = Zeroizing::new(chance::bytes::<SEED_BYTES>()?);
    Ok(Zeroizing::new(BASE32_NOPAD.encode(bytes.as_slice())))
}

/// Shows the seed to the person at the terminal, once.
async fn show(client: &Client, environment: &str, seed: &str) -> Result<(), Fault> {
    let status: Status = client.show(&routes::STATUS, &[]).await?;
    let label = encode(&format!("{environment} of {}", status.authority), "-._~");
    let uri = Zeroizing::new(format!("otpauth://totp/kOS:{label}?secret={seed}&issuer=kOS"));
    let picture = Zeroizing::new(qr::terminal(&qr::encode(&uri)?));
    say(&picture);
    say(&uri);
    say(
        "scan this with the program that is to show the codes, or type the seed there; it is not shown again",
    );
    Ok(())
}
