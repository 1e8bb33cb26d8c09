//! Saved servers with their credentials.
//!
//! `--server` names the server that is saved. The key of an operator is made here and stays here. With the authority on
//! the same machine, one command does it all (`--operator NAME`). Otherwise a request goes to somebody who is admin
//! there (`--csr`), and the certificates come back (`--bundle`).

use std::path::PathBuf;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use clap::{Args, Subcommand};
use der::pem::{LineEnding, encode_string};
use kos_api::{List, operator::OperatorRole, plan::Plan, text::OperatorName};
use kos_base::{KeyAlgorithm, PublicKey, code};
use kos_identity::csr::Request;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::operator;
use crate::{
    Change, Fault, Outcome, Server,
    context::{Bundle, Context as Item, ContextName, Contexts},
    files::{self, Readers},
    output::{Column, Form, Shown},
    server::Places,
    session::{DryRun, Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest file of certificates that is read, in bytes.
const BUNDLE_BYTES_MAX: u64 = 64 * 1024;

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// Saves the server that --server names, and gets or takes the credentials for it.
    Add(Add),
    /// Lists contexts.
    List,
    /// Uses a context when nothing else is said.
    Use(Named),
    /// Shows a context.
    Show(Named),
    /// Forgets a context, its key included.
    Rm(Remove),
}

/// `context add NAME`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name: 1 to 48 of a-z, 0-9, `.`, `_`, `-`.
    name: ContextName,
    /// Makes a key, and has the authority on this machine make the certificate of this operator.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["csr", "bundle"])]
    operator: Option<OperatorName>,
    /// With --operator: what they may do, viewer, operator or admin.
    #[arg(long, value_parser = operator::role, requires = "operator", default_value = "operator")]
    role: OperatorRole,
    /// Makes a key, and writes the request for a certificate into this file.
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    csr: Option<PathBuf>,
    /// Takes the certificates from this file, which `kosctl operator add --out` wrote.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// With --operator: shows what the authority would do, and saves nothing.
    #[arg(long, requires = "operator")]
    dry_run: bool,
}

/// Which context.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name.
    name: ContextName,
}

/// `context rm NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Its name.
    name: ContextName,
    /// Answers yes to the question.
    #[arg(short, long)]
    yes: bool,
}

impl Shown for Item {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "contexts";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("context", "name"),
        Column::of("current", "current"),
        Column::of("server", "server"),
        Column::of("operator", "operator"),
        Column::of("ends", "certNotAfter").looks(Form::Moment),
    ];
}

impl Context {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let contexts = &session.contexts;
        match self {
            Self::Add(add) => return add.run(session).await,
            Self::List => {
                let list = List::complete(contexts.list()?);
                session.printer.list(&list)?;
                if list.items.is_empty() {
                    session
                        .terminal
                        .note("no contexts; make one with kosctl context add NAME --server SERVER");
                }
            }
            Self::Use(named) => {
                contexts.make_current(&named.name)?;
                session.printer.row(&contexts.show(&named.name)?)?;
            }
            Self::Show(named) => session.printer.item(&contexts.show(&named.name)?)?,
            Self::Rm(remove) => {
                let shown = contexts.show(&remove.name)?;
                let danger = Danger::Moderate { yes: remove.yes };
                let question = format!("forget the context {} and its key", shown.name);
                if session.consent(&question, danger, DryRun::No)? == Consent::Withheld {
                    return Ok(Ending::Withheld);
                }
                contexts.remove(&remove.name)?;
                session.printer.row(&shown)?;
            }
        }
        Ok(Ending::Done)
    }
}

impl Add {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let contexts = &session.contexts;
        let server = session.places.server.as_deref().map(str::parse::<Server>).transpose();
        let server =
            server.map_err(|e| Fault::usage(format!("--server: {e}"), "--server https://HOST:PORT"))?;
        match (&server, &self.bundle) {
            (None, None) => {
                let fix = format!("kosctl context add {} --server SERVER", self.name);
                return Err(Fault::usage("where is the server?", fix));
            }
            (Some(server), None) => {
                if let Some(plan) = self.begin(session, server).await? {
                    return session.plan(&plan);
                }
            }
            (server, Some(file)) => {
                if let Some(server) = server {
                    contexts.save(&self.name, server)?;
                }
                let pem = files::read(file, BUNDLE_BYTES_MAX)?;
                let malformed = |reason: &str| Fault::Malformed {
                    path: file.clone(),
                    reason: reason.to_owned(),
                    code: code::config::CONFIG_INVALID,
                };
                finish(contexts, &self.name, &pem).map_err(|wrong| match wrong {
                    Unfit::Bundle(reason) => malformed(reason),
                    Unfit::Other(fault) => fault,
                })?;
            }
        }
        session.printer.row(&contexts.show(&self.name)?)?;
        Ok(Ending::Done)
    }

    /// Saves the server and what belongs to it. A plan comes back when nothing was to be done but to make one.
    async fn begin(&self, session: &Session, server: &Server) -> Result<Option<Plan>, Fault> {
        let contexts = &session.contexts;
        if contexts.has(&self.name) {
            let message = format!("there is a context `{}` already", self.name);
            return Err(Fault::usage(message, format!("kosctl context rm {}", self.name)));
        }
        let wanted = self.operator.is_some() || self.csr.is_some();
        if !wanted {
            if let Server::Https { .. } = server {
                let message = "a server on the network wants a certificate";
                let fix = format!("kosctl context add {} --server {server} --csr FILE", self.name);
                return Err(Fault::usage(message, fix));
            }
            return contexts.save(&self.name, server).map(|()| None);
        }
        let (key, csr) = make_key()?;
        if let Some(file) = &self.csr {
            files::write(file, csr.as_bytes(), Readers::Everybody)?;
            contexts.save(&self.name, server)?;
            contexts.save_key(&self.name, &key)?;
            session.terminal.note(&format!(
                "have an admin run `kosctl operator add NAME --csr {file} --out FILE`, then run\n\
                 `kosctl context add {} --bundle FILE` here",
                self.name,
                file = file.display(),
            ));
        }
        if let Some(name) = &self.operator {
            // --server names the one that is saved; the certificate comes from the one that is here.
            let here = session.client_at(&Places { server: None, ..session.places.clone() })?;
            let how = Change { dry_run: self.dry_run, if_match: None };
            let made = match operator::create(&here, name.clone(), self.role, csr, &how).await? {
                Outcome::Done(made) => made,
                Outcome::Planned(plan) => return Ok(Some(plan)),
            };
            contexts.save(&self.name, server)?;
            contexts.save_key(&self.name, &key)?;
            finish(contexts, &self.name, operator::bundle(&made).as_bytes()).map_err(
                |wrong| match wrong {
                    Unfit::Bundle(reason) => {
                        Fault::Answer { server: server.to_string(), reason: reason.to_owned() }
                    }
                    Unfit::Other(fault) => fault,
                },
            )?;
        }
        Ok(None)
    }
}

/// Why certificates do not complete a context.
enum Unfit {
    Bundle(&'static str),
    Other(Fault),
}

/// Takes the certificates for the key of a context.
fn finish(contexts: &Contexts, name: &ContextName, pem: &[u8]) -> Result<(), Unfit> {
    let bundle = Bundle::read(pem).map_err(Unfit::Bundle)?;
    let key = contexts.key(name).map_err(Unfit::Other)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .ok()
        .and_then(|key| {
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der()).ok()
        })
        .ok_or(Unfit::Bundle("the key of the context cannot be read"))?;
    if key.public_key().as_ref() != bundle.own.public_key().raw() {
        return Err(Unfit::Bundle("the certificate is for another key than that of the context"));
    }
    contexts.save_bundle(name, &bundle).map_err(Unfit::Other)
}

/// A new key as PEM, and the request for its certificate as PEM.
fn make_key() -> Result<(Zeroizing<String>, String), Fault> {
    let failed = |_| Fault::Internal("the key cannot be made".to_owned());
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let unwritable = |what: &str| Fault::Internal(format!("the {what} cannot be written"));
    let pkcs8 = pair.to_pkcs8v1().map_err(failed)?;
    let key = encode_string("PRIVATE KEY", LineEnding::LF, pkcs8.as_ref()).map_err(|_| unwritable("key"))?;
    let public = PublicKey::from_raw(KeyAlgorithm::P256, pair.public_key().as_ref())
        .map_err(|_| unwritable("public key"))?;
    let request = Request::new(&public).map_err(|_| unwritable("request"))?;
    let signature = pair.sign(&SystemRandom::new(), request.to_be_signed()).map_err(failed)?;
    let der = request.finish(signature.as_ref()).map_err(|_| unwritable("request"))?;
    let csr =
        encode_string("CERTIFICATE REQUEST", LineEnding::LF, &der).map_err(|_| unwritable("request"))?;
    Ok((Zeroizing::new(key), csr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_for_the_key_that_was_made_and_nothing_else() {
        let (key, csr) = make_key().unwrap();
        let (label, der) = der::pem::decode_vec(csr.as_bytes()).unwrap();
        assert_eq!(label, "CERTIFICATE REQUEST");
        let request = Request::parse(&der, Request::BYTES_MAX).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let pair =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.secret_der()).unwrap();
        assert_eq!(request.public_key().raw(), pair.public_key().as_ref());
    }
}
