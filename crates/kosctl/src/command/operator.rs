//! Operators: who may use the authority over the network.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    List,
    operator::{CreateOperator, Operator as Item, OperatorRole},
    routes,
    text::OperatorName,
};

use crate::{
    Change, Client, Fault, Outcome,
    arguments::ChangeFlags,
    files::{self, Readers},
    output::write_out,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest certificate request that is read, in bytes.
const CSR_BYTES_MAX: u64 = 16 * 1024;

/// What to do with operators.
#[derive(Debug, Subcommand)]
pub(crate) enum Operator {
    /// Makes a certificate for an operator, from the request of `kosctl context add --csr`.
    Add(Add),
    /// Lists operators.
    List,
    /// Revokes the certificate of an operator.
    Remove(Remove),
}

/// `operator add NAME`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Who it is: 1 to 48 of a-z, 0-9, `.`, `_`, `-`.
    name: OperatorName,
    /// What they may do: viewer, operator or admin.
    #[arg(long, value_parser = role, default_value = "operator")]
    role: OperatorRole,
    /// The request, as PEM.
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// Where the certificates are written, for `kosctl context add --bundle`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `operator remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Who it is.
    name: OperatorName,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Operator {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        match self {
            Self::Add(add) => add.run(session, &client).await,
            Self::List => {
                let list: List<Item> =
                    client.list(&routes::OPERATOR_LIST, &[], &serde_json::json!({})).await?;
                session.printer.list(&list)?;
                if list.items.is_empty() {
                    session.terminal.note("no operators");
                }
                Ok(Ending::Done)
            }
            Self::Remove(remove) => remove.run(session, &client).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let csr = files::read(&self.csr, CSR_BYTES_MAX)?;
        let csr = String::from_utf8(csr).map_err(|_| Fault::Malformed {
            path: self.csr.clone(),
            reason: "not PEM of a certificate request".to_owned(),
            code: kos_base::code::enrolment::CSR_INVALID,
        })?;
        let outcome = create(client, self.name, self.role, csr, &self.change.change()).await?;
        if let (Outcome::Done(operator), Some(out)) = (&outcome, &self.out) {
            files::write(out, bundle(operator).as_bytes(), Readers::Everybody)?;
        }
        if let (Outcome::Done(operator), None, true) = (&outcome, &self.out, session.printer.is_for_people())
        {
            write_out(&bundle(operator))?;
            return Ok(Ending::Done);
        }
        session.outcome(&outcome)
    }
}

impl Remove {
    async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("revoke the certificate of {}", self.name);
        let (route, values, nothing) =
            (&routes::OPERATOR_REMOVE, [self.name.as_ref()], serde_json::json!({}));
        let asked =
            session.consent_to(client, (route, &values, &nothing), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&client.change::<Item, _>(route, &values, &nothing, &self.change.change()).await?)
    }
}

/// Asks the authority for the certificate of an operator.
pub(super) async fn create(
    client: &Client,
    name: OperatorName,
    role: OperatorRole,
    csr: String,
    how: &Change,
) -> Result<Outcome<Item>, Fault> {
    let request = CreateOperator { name, role, csr };
    client.change(&routes::OPERATOR_CREATE, &[], &request, how).await
}

/// What a context needs: the operator's certificate, its issuing CA and the root.
pub(super) fn bundle(operator: &Item) -> String {
    let [certificates, root] =
        [&operator.certificates, &operator.root].map(|pem| pem.as_deref().unwrap_or_default());
    format!("{certificates}{root}")
}

/// The role of an operator, as typed.
pub(super) fn role(text: &str) -> Result<OperatorRole, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| "not one of viewer, operator, admin".to_owned())
}
