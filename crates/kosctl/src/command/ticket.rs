//! Enrolment tickets. A ticket is a secret: it is shown once, when it is made, and never taken as an argument.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kos_api::{
    lifecycle::Because,
    routes,
    text::Reason,
    ticket::{CreateTicket, Ticket as Item, TicketFilter, TicketState},
};
use kos_base::{EntryId, GroupPath, KeyId, Name, Role, SecurityProfile};

use super::{follow, qr};
use crate::{
    Fault, Outcome,
    arguments::{ChangeFlags, Span},
    files::{self, Readers},
    output::write_out,
    session::{Ending, Session},
    terminal::read_secret,
};

/// What to do with tickets.
#[derive(Debug, Subcommand)]
pub(crate) enum Ticket {
    /// Makes a ticket and shows it, which nobody can do again.
    Create(Create),
    /// Lists tickets, newest first.
    List(List),
    /// Takes a ticket back.
    Revoke(Revoke),
    /// Draws the QR code of a ticket that is read from stdin or a file; needs no server.
    Qr(Qr),
}

/// `ticket create`
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the device is for: gateway, sensor, companion, compute, actuator or relay.
    #[arg(long)]
    role: Role,
    /// What the device will be called.
    #[arg(long)]
    name: Option<Name>,
    /// How many devices may use it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    #[command(flatten)]
    terms: Terms,
    /// Draws the QR code of its URL.
    #[arg(long)]
    qr: bool,
    #[command(flatten)]
    change: ChangeFlags,
}

/// What a ticket allows.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// The strictest security profile that it gives.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<SecurityProfile>,
    /// The group that it gives.
    #[arg(long)]
    group: Option<GroupPath>,
    /// How long it lives; more than 10m needs a reason.
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
    /// Why it is as it is; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    /// Only the device with this hardware serial may use it.
    #[arg(long, value_name = "SERIAL")]
    serial: Option<String>,
    /// Only the device with this identity key may use it.
    #[arg(long, value_name = "KEYID")]
    key_id: Option<KeyId>,
}

/// `ticket list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state: open, spent, expired or revoked.
    #[arg(long, value_parser = state)]
    state: Option<TicketState>,
    /// At most so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// `ticket revoke`
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Id of the ticket, as `ticket list` shows it.
    ticket: EntryId,
    /// Why; goes into the audit log.
    #[arg(long)]
    reason: Option<Reason>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `ticket qr`
#[derive(Debug, Args)]
pub(crate) struct Qr {
    /// The file that has the ticket or its URL, `-` for stdin; without it you are asked.
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Writes a vector image instead.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes a bitmap instead.
    #[arg(long, value_name = "FILE")]
    pbm: Option<PathBuf>,
}

/// Whether a QR code is drawn below a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawing {
    Drawn,
    Omitted,
}

impl Ticket {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List(list) => {
                let filter = TicketFilter { state: list.state, ..TicketFilter::default() };
                let (client, route) = (session.client()?, &routes::TICKET_LIST);
                follow::print_list::<Item, _>(session, &client, route, &[], filter, list.limit).await
            }
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Qr(qr) => qr.run(),
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let drawing = if self.qr { Drawing::Drawn } else { Drawing::Omitted };
        let request = self.terms.request(self.role, self.name, self.uses);
        let how = self.change.change();
        match session.client()?.change(&routes::TICKET_CREATE, &[], &request, &how).await? {
            Outcome::Done(ticket) => show(session, &ticket, drawing).map(|()| Ending::Done),
            Outcome::Planned(plan) => session.plan(&plan),
        }
    }
}

impl Terms {
    pub(super) fn request(self, role: Role, device_name: Option<Name>, uses: u32) -> CreateTicket {
        CreateTicket {
            role,
            profile_cap: self.profile,
            group: self.group,
            device_name,
            uses: Some(uses),
            lifetime_seconds: self.expires.map(|span| span.0.as_secs()),
            reason: self.reason,
            bound_serial: self.serial,
            bound_key_id: self.key_id,
        }
    }
}

/// Shows a new ticket, with all that is secret about it.
pub(super) fn show(session: &Session, ticket: &Item, drawing: Drawing) -> Result<(), Fault> {
    session.printer.item(ticket)?;
    let secret = |text: &Option<kos_api::text::SecretText>| text.as_ref().map(|t| t.expose().to_owned());
    let (text, url) = (secret(&ticket.text).unwrap_or_default(), secret(&ticket.url).unwrap_or_default());
    if session.printer.is_for_people() {
        write_out(&format!(
            "\non the device     kosd enroll\nand paste         {text}\nor open           {url}\n"
        ))?;
    }
    if drawing == Drawing::Drawn {
        let drawn = qr::terminal(&qr::encode(&url)?);
        if session.printer.is_for_people() {
            write_out(&format!("\n{drawn}"))?;
        } else {
            session.terminal.note(&drawn);
        }
    }
    Ok(())
}

impl Revoke {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let how = self.change.change();
        let (id, body) = (self.ticket.to_string(), Because { reason: self.reason });
        let client = session.client()?;
        session.outcome(&client.change::<Item, _>(&routes::TICKET_REVOKE, &[&id], &body, &how).await?)
    }
}

impl Qr {
    fn run(&self) -> Result<Ending, Fault> {
        let ticket = read_secret("ticket", self.ticket_file.as_deref())?;
        let code = qr::encode(ticket.trim())?;
        let write = |path: &Path, image: String| files::write(path, image.as_bytes(), Readers::Owner);
        match (&self.svg, &self.pbm) {
            (None, None) => write_out(&qr::terminal(&code))?,
            (svg, pbm) => {
                svg.as_deref().map_or(Ok(()), |path| write(path, qr::svg(&code)))?;
                pbm.as_deref().map_or(Ok(()), |path| write(path, qr::pbm(&code)))?;
            }
        }
        Ok(Ending::Done)
    }
}

fn state(text: &str) -> Result<TicketState, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| "not one of open, spent, expired, revoked".to_owned())
}
