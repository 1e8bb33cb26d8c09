//! What a quarantine needs beside the registry's decision: the signed order, what the device could read, and the sealed
//! bundles that come back.
//!
//! Bundles lie in `DATA/authority/forensics/DEVICE/ORDER.age`, one for an order, as the device sealed them: nobody here can
//! open them. They are in no backup.
//!
//! Source: `docs/spec/quarantine.md` QRN-4 to QRN-6, QRN-17, QRN-19, QRN-20.

use std::{fs, io, path::PathBuf};

use kos_audit::{EventType, SealedEntry};
use kos_base::{DeviceId, DeviceState, EntryId, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::Serial,
    enrolment::authority::Sealed,
    quarantine::{BUNDLE_BYTES_MAX, Order, RECIPIENTS_MAX, receipt_hash},
    registry::{self, Actor, Approver, Approvers, Case, Device, Ticket, Write},
};
use kos_net::{
    entropy::{self, NoEntropy},
    keys::KeyError,
};
use serde_json::{Value, json};

use crate::{
    alert::Way,
    authority::Shared,
    files::{self, Mode},
    record::{Change, SystemChange},
    store::{DeviceQuery, EntryQuery, Operator, Store, StoreError, WitnessWay},
};

/// Most things that are named of what a device could read; an entry of the log has at most 16 KiB.
const EXPOSED_MAX: usize = 64;
/// Entries that are looked at for what a device read. Stops a device that read much from keeping its own quarantine from
/// happening.
const READS_MAX: u32 = 1_000;

/// Bundles of a device that are listed. Stops a device that was quarantined very often from a list without end.
const BUNDLES_MAX: usize = 200;
/// Records that are read at a time.
const PAGE: u32 = 200;

/// Why no order can be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Something that a device could read, or could do by what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// What kind of thing.
    pub kind: &'static str,
    /// Which.
    pub id: String,
    /// What becomes of it.
    pub remedy: Remedy,
}

/// What becomes of what was exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is worth nothing from the same transaction on.
    Rotated,
    /// It ends by itself within a day.
    Expires,
    /// A person has to make another.
    Person,
}

impl Remedy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Expires => "expires",
            Self::Person => "person",
        }
    }
}

impl Exposed {
    /// As the log says it.
    pub(crate) fn to_json(&self) -> Value {
        json!({"kind": self.kind, "id": self.id, "remedy": self.remedy.as_str()})
    }
}

/// To whom bundles are sealed: guardians that named a key, the first ones by name.
pub(crate) async fn recipients(shared: &Shared) -> Result<Vec<String>, StoreError> {
    let guardians = shared.store.guardians().await?;
    let staying = guardians.into_iter().filter(|guardian| guardian.leaving.is_none());
    Ok(staying.filter_map(|guardian| guardian.bundle_key).take(RECIPIENTS_MAX).collect())
}

/// The case that a quarantine opens, with its signed order.
pub(crate) fn case(
    shared: &Shared,
    record: &Device,
    now: Timestamp,
    recipients: &[String],
) -> Result<Case, OrderError> {
    let receipt: [u8; 32] = entropy::array()?;
    let order = Order {
        id: EntryId::from_parts(now, entropy::array()?),
        device: record.id.clone(),
        authority: shared.name.clone(),
        at: now,
        issue: record.issues,
        receipt: receipt.into(),
        recipients: recipients.to_vec(),
    };
    let signer = &shared.keys.orders;
    let unsigned = order.unsigned(signer.public());
    let signature = signer.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
    Ok(Case {
        signed: unsigned.finish(signature),
        order: order.id,
        receipt_hash: receipt_hash(&receipt).into(),
        at: now,
        confirmed_at: None,
        bundle: None,
        approvals: Vec::new(),
        salt: None,
    })
}

/// Operators who stand now, with their records, and a salt for the first approval.
///
/// # Errors
/// When the store cannot be read, or there is no randomness.
pub(crate) async fn approvers(shared: &Shared) -> Result<(Approvers, Vec<Operator>), StoreError> {
    let (mut operators, mut after) = (Vec::new(), None);
    loop {
        let page = shared.store.operators(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let revoked = |one: &Operator| {
            let serial = <[u8; 16]>::try_from(one.serial.as_slice()).map(Serial::from_random);
            serial.is_ok_and(|serial| shared.board.record(one.issuer, serial).is_some())
        };
        operators.extend(page.into_iter().filter(|one| !one.removed && !revoked(one)));
    }
    let standing = operators.iter().map(|one| Approver { name: one.name.clone(), since: one.created_at });
    let salt = entropy::array().map_err(|e| StoreError::Failed(e.to_string()))?;
    Ok((Approvers { standing: standing.collect(), salt }, operators))
}

/// Devices with a case in which one of these has approved.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn approved_by(store: &Store, people: &[Actor]) -> Result<Vec<Device>, StoreError> {
    let states = vec![DeviceState::Quarantined, DeviceState::Pending];
    let (mut found, mut query) = (Vec::new(), DeviceQuery { states, ..DeviceQuery::default() });
    loop {
        let page = store.devices(&query, PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        query.after = Some(last.id.clone());
        let theirs = |case: &Case| people.iter().any(|person| case.is_approved_by(person));
        found.extend(page.into_iter().filter(|device| device.case.as_ref().is_some_and(theirs)));
    }
}

/// What takes the marks of people out of the cases in which they have approved.
///
/// # Errors
/// When the store cannot be read, or there is no randomness.
pub(crate) async fn forget_approvers(store: &Store, people: &[Actor]) -> Result<Vec<Write>, StoreError> {
    let mut writes = Vec::new();
    for device in approved_by(store, people).await? {
        let mut next = device.next_version();
        if let Some(case) = &mut next.case {
            for person in people {
                case.forget(person, entropy::array().map_err(|e| StoreError::Failed(e.to_string()))?);
            }
        }
        writes.push(Write::Device(Box::new(next)));
    }
    Ok(writes)
}

/// What else the transaction of a quarantine does: takes back what the device could let others in by, and names what it
/// could read.
pub(crate) async fn rotation(
    shared: &Shared,
    record: &Device,
    now: Timestamp,
) -> Result<(Vec<Change>, Vec<Write>), StoreError> {
    let mut exposed = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut writes = Vec::new();
    let id = record.id.to_string();
    for credential in record.credentials() {
        let key = credential.key.id().to_string();
        exposed.push(Exposed { kind: "operational-key", id: key, remedy: Remedy::Rotated });
        let number = credential.issue.to_string();
        exposed.push(Exposed { kind: "kid", id: number, remedy: Remedy::Expires });
    }
    for mut ticket in tickets_of(shared, &id).await? {
        let is_open = !ticket.revoked && ticket.uses < ticket.uses_max && now < ticket.expires_at;
        if is_open {
            ticket.version += 1;
            ticket.revoked = true;
            exposed.push(Exposed { kind: "ticket", id: ticket.id.to_string(), remedy: Remedy::Rotated });
            changes.push(registry::Change::TicketRevoked { ticket: ticket.id }.into());
            writes.push(Write::Ticket(Box::new(ticket)));
        }
    }
    for guardian in shared.store.guardians().await? {
        if matches!(&guardian.way, Way::Device { device } if *device == record.id) {
            let name = guardian.name.to_string();
            exposed.push(Exposed { kind: "guardian", id: name, remedy: Remedy::Person });
        }
    }
    for witness in shared.store.witnesses().await? {
        if matches!(&witness.way, WitnessWay::Device(device) if *device == record.id) {
            let name = witness.key.name().to_string();
            exposed.push(Exposed { kind: "witness", id: name, remedy: Remedy::Person });
        }
    }
    exposed.extend(vaults_read_by(shared, &id).await?);
    let more = exposed.len().saturating_sub(EXPOSED_MAX);
    exposed.truncate(EXPOSED_MAX);
    changes.push(SystemChange::SecretsRotated { device: record.id.clone(), exposed, more }.into());
    Ok((changes, writes))
}

/// Tickets that the device came with, as the log says: it knows their secrets.
async fn tickets_of(shared: &Shared, device: &str) -> Result<Vec<Ticket>, StoreError> {
    let event = Some(EventType::DeviceEnrolled);
    let query = EntryQuery { event, target: Some(device.to_owned()), ..EntryQuery::default() };
    let mut found: Vec<Ticket> = Vec::new();
    for row in shared.store.entries(&query, READS_MAX).await? {
        let entry = SealedEntry::from_bytes(row.leaf.clone())
            .unverified()
            .map_err(|_| StoreError::Damaged { table: "entries", row: row.position.to_string() })?;
        let named = entry.details.members().get("ticketId").and_then(Value::as_str);
        let Some(id) = named.and_then(|id| id.parse::<EntryId>().ok()) else { continue };
        if found.iter().all(|ticket| ticket.id != id) {
            found.extend(shared.store.ticket(id).await?);
        }
    }
    Ok(found)
}

/// Vaults of which the log says that the device read or used something. A person has to make other secrets.
async fn vaults_read_by(shared: &Shared, device: &str) -> Result<Vec<Exposed>, StoreError> {
    let mut found: Vec<Exposed> = Vec::new();
    for event in [EventType::VaultAccess, EventType::VaultUsed, EventType::VaultExported] {
        let query =
            EntryQuery { event: Some(event), actor: Some(device.to_owned()), ..EntryQuery::default() };
        for row in shared.store.entries(&query, READS_MAX).await? {
            let id = row.target.clone().unwrap_or_default();
            let exposed = Exposed { kind: "vault", id, remedy: Remedy::Person };
            if !found.contains(&exposed) {
                found.push(exposed);
            }
        }
    }
    Ok(found)
}

/// Where sealed bundles lie.
#[derive(Debug)]
pub(crate) struct Bundles {
    folder: PathBuf,
}

impl Bundles {
    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn place(&self, device: &DeviceId, order: EntryId) -> PathBuf {
        self.folder.join(device.as_ref()).join(format!("{order}.age"))
    }

    /// Keeps a bundle, durably. The same one again changes nothing.
    pub(crate) fn keep(&self, sealed: &Sealed) -> io::Result<()> {
        let place = self.place(&sealed.device, sealed.order);
        let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(folder)?;
        files::replace(&place, &sealed.bytes, Mode::Private)?;
        files::sync_folder(&self.folder)
    }

    /// The orders of which there are bundles of a device, the oldest first; of very many the newest.
    pub(crate) fn orders(&self, device: &DeviceId) -> io::Result<Vec<EntryId>> {
        let files = match fs::read_dir(self.folder.join(device.as_ref())) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut orders = Vec::new();
        for file in files {
            let name = file?.file_name();
            let order = name.to_str().and_then(|name| name.strip_suffix(".age")?.parse::<EntryId>().ok());
            orders.extend(order);
        }
        orders.sort_unstable();
        Ok(orders.split_off(orders.len().saturating_sub(BUNDLES_MAX)))
    }

    /// The bundle of an order.
    pub(crate) fn read(&self, device: &DeviceId, order: EntryId) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.place(device, order)) {
            Ok(bytes) if bytes.len() <= BUNDLE_BYTES_MAX => Ok(Some(bytes)),
            Ok(_) => Err(io::ErrorKind::FileTooLarge.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
