//! Vouchers over the API: makers that are trusted, vouchers imported and passed on, nodes that may vouch.
//!
//! Source: `docs/spec/voucher.md` VOU-10, VOU-25 to VOU-33.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::BASE64;
use kos_api::{
    plan::Plan,
    problem::Party,
    voucher::{
        AddMaker, AddVouchingNode, EndorseVoucher, FactoryCertificates, ImportVoucher, Maker as MakerItem,
        Voucher as Item, VoucherOwner, VoucherState, VouchingNode, VouchingState,
    },
};
use kos_base::{
    EntryId, EvidenceTier, KeyAlgorithm, PublicKey, SecurityProfile, Timestamp, code, key::SignatureForm,
};
use kos_identity::registry::Write;
use kos_net::entropy;
use kos_voucher::{Bundle, Fate, Grant, Kept, Maker, Owner, Sponsor, VoucherId, Withheld, idevid, why_void};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject as _};

use super::{
    answer::{Refusal, document, page},
    call::{Call, Context, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::short,
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::Shared,
    clock,
    record::PapersChange,
    store::{Setting, StoreError, StoredMaker},
    writer::{SystemWrite, Transaction},
};

type Shares = State<Arc<Shared>>;

/// Most vouchers or grants in an answer.
const LISTED_MAX: u32 = 500;
/// Longest PEM of the CAs of a maker, in characters.
const CAS_CHARS_MAX: usize = 32 * 1024;

fn withheld(why: &Withheld) -> Refusal {
    Refusal::new(why.code().unwrap_or(code::voucher::VOUCHER_MALFORMED)).saying(&why.to_string())
}

fn bad(why: &str) -> Refusal {
    Refusal::new(code::config::BAD_REQUEST).saying(why)
}

fn public_key(pem: &str) -> Result<PublicKey, Refusal> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
    let der = der.map_err(|_| bad("the key is no PEM of a public key"))?;
    PublicKey::from_spki_der(&der).map_err(|error| bad(&error.to_string()))
}

fn pem(key: &PublicKey) -> String {
    let text = BASE64.encode(key.spki_der());
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
}

fn plan<T>(call: &Call<T>, object: Party, effect: &str) -> Plan {
    let (action, effects) = (call.route.name.to_owned(), vec![effect.to_owned()]);
    Plan { action, object: Some(object), changes: Vec::new(), effects }
}

pub(super) async fn makers(State(shared): Shares) -> Result<Response, Refusal> {
    Ok(page(shared.store.makers().await?.iter().map(maker).collect(), None))
}

/// A maker that may be trusted as it is asked for.
fn checked(wanted: AddMaker, now: Timestamp) -> Result<StoredMaker, Refusal> {
    let key = wanted.key.as_deref().map(public_key).transpose()?;
    let cas = wanted.cas.unwrap_or_default();
    if cas.len() > CAS_CHARS_MAX {
        return Err(bad("the CAs are too long"));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cas.as_bytes()).collect();
    let cas = read.map_err(|_| bad("the CAs are no PEM of certificates"))?;
    if cas.len() > Maker::ROOTS_MAX {
        return Err(bad(&format!("a maker has at most {} CAs", Maker::ROOTS_MAX)));
    }
    cas.iter().try_for_each(|der| idevid::check_root(der).map(drop)).map_err(|why| withheld(&why))?;
    if key.is_none() && cas.is_empty() {
        return Err(bad("a maker has a key, or CAs of factory certificates"));
    }
    if key.as_ref().is_some_and(|key| key.algorithm() == KeyAlgorithm::P384) {
        return Err(bad("a voucher is signed with Ed25519 or P-256"));
    }
    Ok(StoredMaker {
        name: wanted.name,
        key: key.map(|key| BASE64.encode(key.spki_der())),
        roots: cas.iter().map(|der| BASE64.encode(der)).collect(),
        certificates_admit: wanted.certificates == FactoryCertificates::Admit,
        role: wanted.role,
        group: wanted.group,
        profile: wanted.profile_cap.unwrap_or(SecurityProfile::Sec2),
        evidence: wanted.evidence_tier.unwrap_or(EvidenceTier::KeyOnDevice),
        added_at: now,
    })
}

pub(super) async fn add_maker(
    State(shared): Shares,
    call: Call<Demanded<AddMaker>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let now = clock::now();
    let wanted = checked(call.body.get()?.clone(), now).map_err(|refusal| refusal.under(call.id))?;
    let _turn = shared.attesting.turn.lock().await;
    let mut held = shared.store.makers().await?;
    let exists = |why: &str| {
        Refusal::new(code::voucher::VOUCHER_EXISTS).saying(why).about("maker", &wanted.name).under(call.id)
    };
    if held.iter().any(|maker| maker.name == wanted.name) {
        return Err(exists("there is a maker of this name"));
    }
    let clashes = |maker: &&StoredMaker| {
        let key = wanted.key.is_some() && maker.key == wanted.key;
        key || maker.roots.iter().any(|root| wanted.roots.contains(root))
    };
    if let Some(other) = held.iter().find(clashes) {
        return Err(exists(&format!("{} has the same key or CA", other.name)));
    }
    if held.len() >= Maker::COUNT_MAX {
        return Err(exists("there are as many as there may be"));
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("maker", &wanted.name), "log: maker_trusted")));
    }
    let item = maker(&wanted);
    let change = PapersChange::trusted(&wanted);
    held.push(wanted);
    store_makers(&shared, &call, now, change, &held, item).await
}

pub(super) async fn remove_maker(
    State(shared): Shares,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let _turn = shared.attesting.turn.lock().await;
    let mut held = shared.store.makers().await?;
    let unknown =
        || Refusal::new(code::voucher::VOUCHER_UNKNOWN).about("maker", &short(&name)).under(call.id);
    let at = held.iter().position(|maker| maker.name.as_ref() == name).ok_or_else(unknown)?;
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("maker", &short(&name)), "log: maker_removed")));
    }
    let gone = held.remove(at);
    let change = PapersChange::MakerRemoved { name: gone.name.clone() };
    store_makers(&shared, &call, clock::now(), change, &held, maker(&gone)).await
}

/// Writes the makers with the entry that says so. Whoever calls has the turn.
async fn store_makers<B>(
    shared: &Arc<Shared>,
    call: &Call<B>,
    at: Timestamp,
    change: PapersChange,
    makers: &[StoredMaker],
    item: MakerItem,
) -> Result<Response, Refusal> {
    let text = serde_json::to_string(makers).map_err(|e| StoreError::Entry(e.to_string()))?;
    let system = vec![SystemWrite::Setting(Setting::Makers, Some(text))];
    let (actor, changes) = (call.who.actor(), vec![change.into()]);
    let transaction = Transaction { at, actor, changes, writes: Vec::new(), system, answer: None };
    match commit(shared, call, transaction, move |_| item.clone()).await? {
        Attempt::Done(_, response) => Ok(response),
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

fn maker(stored: &StoredMaker) -> MakerItem {
    let read = stored.maker();
    let roots = read.iter().flat_map(|maker| &maker.roots);
    MakerItem {
        name: stored.name.clone(),
        key_id: read.as_ref().and_then(|maker| maker.key.as_ref()).map(PublicKey::id),
        ca_key_ids: roots.filter_map(|der| idevid::check_root(der).ok()).collect(),
        certificates: match stored.certificates_admit {
            true => FactoryCertificates::Admit,
            false => FactoryCertificates::Name,
        },
        role: stored.role,
        group: stored.group.clone(),
        profile_cap: stored.profile,
        evidence_tier: stored.evidence,
        added_at: stored.added_at,
    }
}

pub(super) async fn owner(State(shared): Shares) -> Result<Response, Refusal> {
    Ok(document(VoucherOwner {
        authority: shared.name.clone(),
        pin: shared.keys.root.public().id(),
        key: pem(shared.keys.orders.public()),
    }))
}

pub(super) async fn list(State(shared): Shares) -> Result<Response, Refusal> {
    let (makers, now) = (trusted(&shared).await?, clock::now());
    let mut items = Vec::new();
    let mut after = None;
    // Bounded by what was imported by hand.
    loop {
        let found = shared.store.vouchers(after, LISTED_MAX).await?;
        after = found.last().map(|kept| kept.id);
        items.extend(found.iter().map(|kept| view(kept, &makers, now)));
        if found.len() < usize::try_from(LISTED_MAX).unwrap_or(usize::MAX) {
            return Ok(page(items, None));
        }
    }
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let kept = find(&shared, &id).await.map_err(|refusal| refusal.under(context.id))?;
    let makers = trusted(&shared).await?;
    Ok(document(Item { file: Some(BASE64.encode(&kept.bundle)), ..view(&kept, &makers, clock::now()) }))
}

pub(super) async fn import(
    State(shared): Shares,
    call: Call<Demanded<ImportVoucher>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let refused = |why: Withheld| withheld(&why).under(call.id);
    let file = BASE64.decode(call.body.get()?.file.as_bytes());
    let file = file.map_err(|_| bad("the file is no base64").under(call.id))?;
    let bundle = Bundle::parse(&file).map_err(refused)?;
    let signer = bundle.maker().map_err(refused)?;
    let makers = trusted(&shared).await?;
    let maker = makers.iter().find(|maker| maker.signs_by(signer)).and_then(|maker| maker.key.as_ref());
    let maker = maker.ok_or_else(|| refused(Withheld::saying(code::voucher::VOUCHER_MAKER, &signer)))?;
    let voucher = bundle.verify(maker).map_err(refused)?;
    let now = clock::now();
    voucher.is_for(shared.keys.root.public().id(), now).map_err(refused)?;
    let exists =
        || Refusal::new(code::voucher::VOUCHER_EXISTS).about("voucher", &voucher.id()).under(call.id);
    // One that is void is given anew, by whoever looks at it now.
    let held = shared.store.voucher(voucher.id()).await?;
    if held.as_ref().is_some_and(|held| !matches!(held.fate, Fate::Void { .. })) {
        return Err(exists());
    }
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("voucher", &voucher.id()), "log: voucher_imported")));
    }
    let kept = held.map_or_else(|| Kept::new(&voucher, now), |held| held.becoming(Fate::Waiting));
    let item = view(&kept, &makers, now);
    let change = PapersChange::VoucherImported {
        voucher: kept.id,
        maker: kept.maker,
        subject: kept.subject.to_string(),
        expires: kept.expires,
    };
    match write(&shared, &call, now, change, Write::Voucher(Box::new(kept)), item).await? {
        Attempt::Done(_, response) => Ok(response),
        Attempt::Conflict => Err(exists()),
    }
}

pub(super) async fn endorse(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Demanded<EndorseVoucher>>,
) -> Result<Response, Refusal> {
    let refused = |why: Withheld| withheld(&why).under(call.id);
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let wanted = call.body.get()?.clone();
        let key = public_key(&wanted.key).map_err(|refusal| refusal.under(call.id))?;
        let kept = find(&shared, &id).await.map_err(|refusal| refusal.under(call.id))?;
        match &kept.fate {
            Fate::Waiting => {}
            Fate::Spent { device, .. } => {
                let why = format!("by {device}");
                return Err(refused(Withheld::saying(code::voucher::VOUCHER_SPENT, &why)));
            }
            Fate::Endorsed { .. } => return Err(refused(Withheld::new(code::voucher::VOUCHER_ENDORSED))),
            Fate::Void { device, .. } => {
                let why = why_void(device.as_ref());
                return Err(refused(Withheld::saying(code::voucher::VOUCHER_SPENT, &why)));
            }
        }
        let makers = trusted(&shared).await?;
        let maker = makers.iter().find(|maker| maker.signs_by(kept.maker)).and_then(|m| m.key.as_ref());
        let maker = maker.ok_or_else(|| refused(Withheld::new(code::voucher::VOUCHER_MAKER)))?;
        let voucher = Bundle::parse(&kept.bundle).and_then(|bundle| bundle.verify(maker)).map_err(refused)?;
        let signer = &shared.keys.orders;
        if voucher.owner().key != *signer.public() {
            let why = "it names another key of its owner";
            return Err(refused(Withheld::saying(code::voucher::VOUCHER_OWNER, &why)));
        }
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, Party::new("voucher", &kept.id), "log: voucher_endorsed")));
        }
        let now = clock::now();
        let next = Owner { pin: wanted.pin, key };
        let endorsement = voucher.endorsement(next, now).map_err(refused)?;
        let unsigned = endorsement.unsigned(signer.public());
        let signature = signer.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
        let signature = signature.map_err(|e| Refusal::new(e.code()).under(call.id))?;
        let bundle = voucher.endorsed(unsigned.finish(signature)).to_bytes();
        let file = BASE64.encode(&bundle);
        let fate = Fate::Endorsed { to: wanted.pin, at: now };
        let kept = Kept { bundle: bundle.into(), ..kept.becoming(fate) };
        let item = Item { file: Some(file), ..view(&kept, &makers, now) };
        let change = PapersChange::VoucherEndorsed { voucher: kept.id, to: wanted.pin };
        match write(&shared, &call, now, change, Write::Voucher(Box::new(kept)), item).await? {
            Attempt::Done(_, response) => return Ok(response),
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("voucher", &short(&id)).under(call.id))
}

async fn write<B, T>(
    shared: &Arc<Shared>,
    call: &Call<B>,
    at: Timestamp,
    change: PapersChange,
    write: Write,
    item: T,
) -> Result<Attempt, Refusal>
where
    T: kos_api::envelope::Kind + serde::Serialize + Clone + Send + Sync + 'static,
{
    let (actor, changes) = (call.who.actor(), vec![change.into()]);
    let transaction =
        Transaction { at, actor, changes, writes: vec![write], system: Vec::new(), answer: None };
    commit(shared, call, transaction, move |_| item.clone()).await
}

async fn trusted(shared: &Shared) -> Result<Vec<Maker>, Refusal> {
    Ok(shared.store.makers().await?.iter().filter_map(StoredMaker::maker).collect())
}

async fn find(shared: &Shared, typed: &str) -> Result<Kept, Refusal> {
    let unknown = || Refusal::new(code::voucher::VOUCHER_UNKNOWN).about("voucher", &short(typed));
    let id: VoucherId = typed.parse().map_err(|_| unknown())?;
    shared.store.voucher(id).await?.ok_or_else(unknown)
}

fn view(kept: &Kept, makers: &[Maker], now: Timestamp) -> Item {
    let (state, device, to) = match &kept.fate {
        Fate::Waiting if kept.expires.is_some_and(|at| now >= at) => (VoucherState::Expired, None, None),
        Fate::Waiting => (VoucherState::Waiting, None, None),
        Fate::Spent { device, .. } => (VoucherState::Spent, Some(device.clone()), None),
        Fate::Endorsed { to, .. } => (VoucherState::Endorsed, None, Some(*to)),
        Fate::Void { device, .. } => (VoucherState::Void, device.clone(), None),
    };
    Item {
        voucher_id: kept.id.to_string(),
        maker: makers.iter().find(|maker| maker.signs_by(kept.maker)).map(|maker| maker.name.clone()),
        maker_key_id: kept.maker,
        subject: kept.subject.to_string(),
        state,
        device_id: device,
        endorsed_to: to,
        expires_at: kept.expires,
        imported_at: kept.imported_at,
        file: None,
    }
}

pub(super) async fn nodes(State(shared): Shares) -> Result<Response, Refusal> {
    let now = clock::now();
    let found = shared.store.vouching_grants(LISTED_MAX).await?;
    Ok(page(found.iter().map(|held| node(held, now)).collect(), None))
}

pub(super) async fn add_node(
    State(shared): Shares,
    call: Call<Demanded<AddVouchingNode>>,
) -> Result<Response, Refusal> {
    if let Some(response) = given_before(&shared, &call).await? {
        return Ok(response);
    }
    let wanted = call.body.get()?.clone();
    let life = Duration::from_secs(wanted.lifetime_seconds);
    if !(1..=Sponsor::USES_MAX).contains(&wanted.uses) {
        return Err(bad("a node vouches for 1 to 1000 devices").under(call.id));
    }
    if life.is_zero() || life > Sponsor::LIFE_MAX {
        return Err(bad("a grant lives at least a second and at most 90 days").under(call.id));
    }
    let stopped =
        || Refusal::new(code::voucher::SPONSOR_STOPPED).about("device", &wanted.device_id).under(call.id);
    let record = shared.store.device(&wanted.device_id).await?.filter(|record| record.is_admitted());
    let record = record.ok_or_else(stopped)?;
    let own = record.credential.as_ref().map(|held| record.certified_profile(held)).ok_or_else(stopped)?;
    if wanted.profile_cap > own {
        return Err(bad(&format!("its own profile is {own}, and it gives no more than that")).under(call.id));
    }
    let now = clock::now();
    let drawn = entropy::array().map_err(|_| Refusal::new(code::config::INTERNAL).under(call.id))?;
    let held = Sponsor {
        id: EntryId::from_parts(now, drawn),
        version: 1,
        device: record.id.clone(),
        profile: wanted.profile_cap,
        role: wanted.role,
        group: wanted.group,
        uses_max: wanted.uses,
        uses: 0,
        created_at: now,
        expires_at: now.plus(life),
        revoked: false,
    };
    if call.mode == Mode::Plan {
        return Ok(document(plan(&call, Party::new("device", &record.id), "log: vouching_granted")));
    }
    let grant = Grant {
        id: held.id,
        device: held.device.clone(),
        authority: shared.name.clone(),
        pin: shared.keys.root.public().id(),
        profile: held.profile,
        uses: held.uses_max,
        expires: held.expires_at,
    };
    let signer = &shared.keys.orders;
    let unsigned = grant.unsigned(signer.public());
    let signature = signer.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
    let signature = signature.map_err(|e| Refusal::new(e.code()).under(call.id))?;
    let item = VouchingNode { file: Some(BASE64.encode(&unsigned.finish(signature))), ..node(&held, now) };
    let change = PapersChange::VouchingGranted {
        grant: held.id,
        device: held.device.clone(),
        profile: held.profile,
        uses: held.uses_max,
        expires: held.expires_at,
    };
    match write(&shared, &call, now, change, Write::Sponsor(Box::new(held)), item).await? {
        Attempt::Done(_, response) => Ok(response),
        Attempt::Conflict => Err(Refusal::new(code::store::STORE_CONFLICT).under(call.id)),
    }
}

pub(super) async fn remove_node(
    State(shared): Shares,
    Path(id): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let unknown = || Refusal::new(code::voucher::VOUCHER_UNKNOWN).about("grant", &short(&id)).under(call.id);
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let grant: EntryId = id.parse().map_err(|_| unknown())?;
        let held = shared.store.vouching_grant(grant).await?.ok_or_else(unknown)?;
        if call.mode == Mode::Plan {
            return Ok(document(plan(&call, Party::new("grant", &held.id), "log: vouching_withdrawn")));
        }
        let now = clock::now();
        if held.revoked {
            return Ok(document(node(&held, now)));
        }
        let held = Sponsor { revoked: true, version: held.version + 1, ..held };
        let item = node(&held, now);
        let change = PapersChange::VouchingWithdrawn { grant: held.id, device: held.device.clone() };
        match write(&shared, &call, now, change, Write::Sponsor(Box::new(held)), item).await? {
            Attempt::Done(_, response) => return Ok(response),
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("grant", &short(&id)).under(call.id))
}

fn node(held: &Sponsor, now: Timestamp) -> VouchingNode {
    let state = if held.revoked {
        VouchingState::Withdrawn
    } else if now >= held.expires_at {
        VouchingState::Expired
    } else if held.uses >= held.uses_max {
        VouchingState::Spent
    } else {
        VouchingState::Valid
    };
    VouchingNode {
        grant_id: held.id,
        device_id: held.device.clone(),
        profile_cap: held.profile,
        role: held.role,
        group: held.group.clone(),
        uses: held.uses,
        uses_max: held.uses_max,
        created_at: held.created_at,
        expires_at: held.expires_at,
        state,
        file: None,
    }
}
