//! Enrolment tickets: made, shown, withdrawn.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    lifecycle::Because,
    plan::Plan,
    problem::Party,
    text::SecretText,
    ticket::{CreateTicket, TicketFilter},
};
use kos_base::{EntryId, SecurityProfile, code};
use kos_identity::{
    enrolment::{
        message::SERIAL_BYTES_MAX,
        ticket::{TicketText, proof_seed},
    },
    registry::{Change, Ticket, Write},
};
use kos_net::{entropy, keys::SigningKey};

use super::{
    answer::{Refusal, document, limit, page},
    call::{Asked, Call, Context, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::short,
    lifecycle::Demanded,
    view,
};
use crate::{authority::Shared, clock, writer::Transaction};

type Shares = State<Arc<Shared>>;

pub(super) async fn create(
    State(shared): Shares,
    call: Call<Demanded<CreateTicket>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let life = checked(wanted).map_err(|refusal| refusal.under(call.id))?;
    if call.mode == Mode::Plan {
        return Ok(document(Plan {
            action: call.route.name.to_owned(),
            object: None,
            changes: Vec::new(),
            effects: vec!["log: ticket_created".to_owned()],
        }));
    }
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let drawn = |_| Refusal::new(code::config::INTERNAL).under(call.id);
        let secret = entropy::secret().map_err(drawn)?;
        let proof_key = SigningKey::from_ed25519_seed(&proof_seed(&secret));
        let proof_key = proof_key.map_err(|e| Refusal::new(e.code()).under(call.id))?.public().clone();
        let ticket = Ticket {
            id: EntryId::from_parts(now, entropy::array().map_err(drawn)?),
            version: 1,
            proof_key,
            role: wanted.role,
            profile_cap: wanted.profile_cap.unwrap_or(SecurityProfile::Sec2),
            group: wanted.group.clone(),
            device_name: wanted.device_name.clone(),
            uses_max: wanted.uses.unwrap_or(1),
            uses: 0,
            created_at: now,
            expires_at: now.plus(life),
            revoked: false,
            serial: wanted.bound_serial.clone(),
            identity_key: wanted.bound_key_id,
            last_device: None,
        };
        let address = shared.address();
        let text = TicketText {
            authority: shared.name.clone(),
            id: ticket.id,
            secret,
            pins: vec![shared.keys.root.public().id()],
            addresses: vec![address.clone()],
            role: ticket.role,
            profile_cap: ticket.profile_cap,
            expires_at: ticket.expires_at,
        };
        let text = text.to_text();
        let url = format!("https://{address}/enroll#{}", *text);
        let mut shown = view::ticket_with(&ticket, Vec::new(), call.who.name(), now);
        shown.text = Some(SecretText::new(text.to_string()));
        shown.url = Some(SecretText::new(url));
        let change = Change::TicketCreated {
            ticket: ticket.id,
            role: ticket.role,
            profile_cap: ticket.profile_cap,
            uses_max: ticket.uses_max,
            expires_at: ticket.expires_at,
        };
        let transaction = Transaction {
            at: now,
            actor: call.who.actor(),
            changes: vec![change.into()],
            writes: vec![Write::Ticket(Box::new(ticket))],
            system: Vec::new(),
            answer: None,
        };
        match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
            Attempt::Done(_, response) => return Ok(response),
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id))
}

/// How long the ticket is to live, if it may be made as it is asked for.
fn checked(wanted: &CreateTicket) -> Result<Duration, Refusal> {
    let bad = |why: &str| Err(Refusal::new(code::config::BAD_REQUEST).saying(why));
    let life = wanted.lifetime_seconds.map_or(Ticket::LIFE_MAX, Duration::from_secs);
    let longest = if wanted.reason.is_some() { Ticket::LIFE_MAX_WITH_REASON } else { Ticket::LIFE_MAX };
    if life > longest {
        return Err(Refusal::new(code::enrolment::TICKET_TOO_LONG_LIVED));
    }
    if life.is_zero() {
        return bad("a ticket lives at least a second");
    }
    if !(1..=Ticket::USES_MAX).contains(&wanted.uses.unwrap_or(1)) {
        return bad("a ticket has 1 to 10000 uses");
    }
    let fits = |serial: &String| {
        (1..=SERIAL_BYTES_MAX).contains(&serial.len()) && serial.chars().all(kos_base::text::is_safe)
    };
    if wanted.bound_serial.as_ref().is_some_and(|serial| !fits(serial)) {
        return bad("a serial has 1 to 64 visible characters");
    }
    Ok(life)
}

pub(super) async fn list(
    State(shared): Shares,
    context: Context,
    Asked(filter): Asked<TicketFilter>,
) -> Result<Response, Refusal> {
    let wanted = limit(filter.limit)?;
    let full = usize::try_from(wanted).unwrap_or(usize::MAX);
    let before = filter.cursor.as_deref().map(str::parse).transpose();
    let mut before: Option<EntryId> =
        before.map_err(|_| context.bad("the cursor is not one of this list"))?;
    let now = clock::now();
    let mut items = Vec::new();
    loop {
        let found = shared.store.tickets(before, wanted).await?;
        let is_last = found.len() < full;
        for record in &found {
            before = Some(record.id);
            if filter.state.is_none_or(|state| view::ticket_state(record, now) == state) {
                items.push(view::ticket(&shared, record, now).await?);
            }
            if items.len() >= full {
                return Ok(page(items, Some(record.id.to_string())));
            }
        }
        if is_last {
            return Ok(page(items, None));
        }
    }
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(ticket): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &ticket).await.map_err(|refusal| refusal.under(context.id))?;
    Ok(document(view::ticket(&shared, &record, clock::now()).await?))
}

pub(super) async fn revoke(
    State(shared): Shares,
    Path(ticket): Path<String>,
    call: Call<Because>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let now = clock::now();
        let held = find(&shared, &ticket).await.map_err(|refusal| refusal.under(call.id))?;
        if call.mode == Mode::Plan {
            let effects = if held.revoked { Vec::new() } else { vec!["log: ticket_revoked".to_owned()] };
            let object = Some(Party::new("ticket", &held.id));
            return Ok(document(Plan {
                action: call.route.name.to_owned(),
                object,
                changes: Vec::new(),
                effects,
            }));
        }
        let mut shown = view::ticket(&shared, &held, now).await?;
        if held.revoked {
            return Ok(document(shown));
        }
        let record = Ticket { revoked: true, version: held.version + 1, ..held };
        shown.state = view::ticket_state(&record, now);
        let transaction = Transaction {
            at: now,
            actor: call.who.actor(),
            changes: vec![Change::TicketRevoked { ticket: record.id }.into()],
            writes: vec![Write::Ticket(Box::new(record))],
            system: Vec::new(),
            answer: None,
        };
        match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
            Attempt::Done(_, response) => return Ok(response),
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("ticket", &short(&ticket)).under(call.id))
}

async fn find(shared: &Shared, typed: &str) -> Result<Ticket, Refusal> {
    let unknown = || Refusal::new(code::config::NOT_FOUND).about("ticket", &short(typed));
    let id = typed.parse().map_err(|_| unknown())?;
    shared.store.ticket(id).await?.ok_or_else(unknown)
}
