//! Vouchers: the makers that sign them, what becomes of them, and devices that vouch for others.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use data_encoding::BASE64;
use kos_api::{
    List, routes,
    voucher::{
        AddMaker, AddVouchingNode, EndorseVoucher, FactoryCertificates, ImportVoucher, Maker as MakerItem,
        Voucher as Item, VoucherOwner, VouchingNode,
    },
};
use kos_base::{DeviceId, EntryId, EvidenceTier, GroupPath, KeyId, Name, Role, SecurityProfile};

use crate::{
    Fault, Outcome,
    arguments::{ChangeFlags, Span},
    files::{self, Readers},
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What to do with vouchers.
#[derive(Debug, Subcommand)]
pub(crate) enum Voucher {
    /// Keeps a voucher of a trusted maker until its device comes.
    Import(Import),
    /// Lists vouchers, and what became of them.
    List,
    /// Shows a voucher; with --out it writes the file again.
    Show(Show),
    /// Passes a device that has not come on to another owner.
    Endorse(Endorse),
    /// Shows what a maker, or the owner before, has to put into a voucher for this authority.
    Owner,
    /// Makers whose vouchers or factory certificates count.
    #[command(subcommand)]
    Maker(Maker),
    /// Devices that may vouch for new ones.
    #[command(subcommand)]
    Node(Node),
}

/// `voucher import FILE`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The voucher.
    file: PathBuf,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `voucher show VOUCHER`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id, as `voucher list` shows it.
    voucher: String,
    /// Writes the file there.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `voucher endorse VOUCHER`
#[derive(Debug, Args)]
pub(crate) struct Endorse {
    /// Its id, as `voucher list` shows it.
    voucher: String,
    /// Key id of the root of the next owner's authority, as `voucher owner` shows it there.
    #[arg(long, value_name = "KEYID")]
    pin: KeyId,
    /// PEM file with the key by which that owner endorses.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the voucher with its new endorsement is written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    change: ChangeFlags,
}

/// What to do with makers.
#[derive(Debug, Subcommand)]
pub(crate) enum Maker {
    /// Trusts a maker, on terms.
    Add(Box<Add>),
    /// Lists them.
    List,
    /// Trusts one no more. Devices that came in stay.
    Remove {
        /// Which.
        maker: Name,
        #[command(flatten)]
        change: ChangeFlags,
    },
}

/// `voucher maker add NAME`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What it is to be called.
    name: Name,
    /// PEM file with the public key that signs its vouchers.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// PEM file with the CAs that issue its factory certificates.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What factory certificates are good for.
    #[arg(long, value_enum, default_value_t = Certificates::Name)]
    certificates: Certificates,
    /// The highest security profile of its devices.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<SecurityProfile>,
    /// The least evidence that they must show, such as ek-activated.
    #[arg(long, value_name = "TIER")]
    evidence: Option<EvidenceTier>,
    /// Their role; what they ask for when nothing is said.
    #[arg(long)]
    role: Option<Role>,
    /// Their group.
    #[arg(long)]
    group: Option<GroupPath>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// What factory certificates are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Certificates {
    /// They prove the serial that a voucher names.
    Name,
    /// They let in every device of the maker, whoever bought it.
    Admit,
}

/// What to do with devices that vouch.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Lets a device vouch for new ones, within limits.
    Add(Box<AddNode>),
    /// Lists them.
    List,
    /// Lets one vouch no more.
    Remove {
        /// The grant, as `voucher node list` shows it.
        grant: EntryId,
        #[command(flatten)]
        change: ChangeFlags,
    },
}

/// `voucher node add DEVICE`
#[derive(Debug, Args)]
pub(crate) struct AddNode {
    /// The device, by its whole id.
    device: DeviceId,
    /// For how many devices it may vouch.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// The highest security profile that it may give.
    #[arg(long)]
    profile: SecurityProfile,
    /// For how long, up to 90d.
    #[arg(long = "for", value_name = "TIME")]
    life: Span,
    /// The role of the devices that it lets in.
    #[arg(long)]
    role: Option<Role>,
    /// Their group.
    #[arg(long)]
    group: Option<GroupPath>,
    /// Where the signed grant is written, for the device.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Voucher {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let nothing = serde_json::json!({});
        match self {
            Self::Import(Import { file, change }) => {
                let request = ImportVoucher { file: BASE64.encode(&files::read(&file, FILE_BYTES_MAX)?) };
                let how = change.change();
                session
                    .outcome(&client.change::<Item, _>(&routes::VOUCHER_IMPORT, &[], &request, &how).await?)
            }
            Self::List => {
                let list: List<Item> = client.list(&routes::VOUCHER_LIST, &[], &nothing).await?;
                session.printer.list(&list)?;
                Ok(Ending::Done)
            }
            Self::Show(Show { voucher, out }) => {
                let item = client.show::<Item>(&routes::VOUCHER_SHOW, &[&voucher]).await?;
                if let Some(out) = out {
                    keep(&out, item.file.as_deref())?;
                }
                session.printer.item(&item)?;
                Ok(Ending::Done)
            }
            Self::Endorse(endorse) => endorse.run(session).await,
            Self::Owner => {
                session.printer.item(&client.show::<VoucherOwner>(&routes::VOUCHER_OWNER, &[]).await?)?;
                Ok(Ending::Done)
            }
            Self::Maker(maker) => maker.run(session).await,
            Self::Node(node) => node.run(session).await,
        }
    }
}

impl Endorse {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let question = format!("pass the device of voucher {} on to another owner", self.voucher);
        if withheld(session, &question, &self.change)? {
            return Ok(Ending::Withheld);
        }
        let request = EndorseVoucher { pin: self.pin, key: text(&self.key)? };
        let (how, route) = (self.change.change(), &routes::VOUCHER_ENDORSE);
        let done = session.client()?.change::<Item, _>(route, &[&self.voucher], &request, &how).await?;
        if let Outcome::Done(item) = &done {
            keep(&self.out, item.file.as_deref())?;
        }
        session.outcome(&done)
    }
}

impl Maker {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let nothing = serde_json::json!({});
        match self {
            Self::List => {
                let list: List<MakerItem> = client.list(&routes::MAKER_LIST, &[], &nothing).await?;
                session.printer.list(&list)?;
                Ok(Ending::Done)
            }
            Self::Add(add) => {
                if withheld(
                    session,
                    &format!("let in devices of {} without a person", add.name),
                    &add.change,
                )? {
                    return Ok(Ending::Withheld);
                }
                let how = add.change.change();
                let request = AddMaker {
                    name: add.name,
                    key: add.key.as_deref().map(text).transpose()?,
                    cas: add.ca.as_deref().map(text).transpose()?,
                    certificates: match add.certificates {
                        Certificates::Name => FactoryCertificates::Name,
                        Certificates::Admit => FactoryCertificates::Admit,
                    },
                    role: add.role,
                    group: add.group,
                    profile_cap: add.profile,
                    evidence_tier: add.evidence,
                };
                session
                    .outcome(&client.change::<MakerItem, _>(&routes::MAKER_ADD, &[], &request, &how).await?)
            }
            Self::Remove { maker, change } => {
                if withheld(session, &format!("trust {maker} no more"), &change)? {
                    return Ok(Ending::Withheld);
                }
                let (route, how) = (&routes::MAKER_REMOVE, change.change());
                session
                    .outcome(&client.change::<MakerItem, _>(route, &[maker.as_ref()], &nothing, &how).await?)
            }
        }
    }
}

impl Node {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let nothing = serde_json::json!({});
        match self {
            Self::List => {
                let list: List<VouchingNode> = client.list(&routes::VOUCHING_LIST, &[], &nothing).await?;
                session.printer.list(&list)?;
                Ok(Ending::Done)
            }
            Self::Add(add) => {
                let question = format!("let {} vouch for {} devices", add.device, add.uses);
                if withheld(session, &question, &add.change)? {
                    return Ok(Ending::Withheld);
                }
                let how = add.change.change();
                let request = AddVouchingNode {
                    device_id: add.device,
                    uses: add.uses,
                    profile_cap: add.profile,
                    lifetime_seconds: add.life.0.as_secs(),
                    role: add.role,
                    group: add.group,
                };
                let done =
                    client.change::<VouchingNode, _>(&routes::VOUCHING_ADD, &[], &request, &how).await?;
                if let Outcome::Done(item) = &done {
                    keep(&add.out, item.file.as_deref())?;
                }
                session.outcome(&done)
            }
            Self::Remove { grant, change } => {
                if withheld(session, "let that device vouch no more", &change)? {
                    return Ok(Ending::Withheld);
                }
                let (route, how, grant) = (&routes::VOUCHING_REMOVE, change.change(), grant.to_string());
                session.outcome(&client.change::<VouchingNode, _>(route, &[&grant], &nothing, &how).await?)
            }
        }
    }
}

fn text(path: &Path) -> Result<String, Fault> {
    let bytes = files::read(path, FILE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| Fault::usage("the file is no PEM", "name a file with a PEM block"))
}

/// Writes what came in base64.
fn keep(path: &Path, file: Option<&str>) -> Result<(), Fault> {
    let bytes = BASE64.decode(file.unwrap_or_default().as_bytes()).unwrap_or_default();
    files::write(path, &bytes, Readers::Owner)
}

fn withheld(session: &Session, question: &str, change: &ChangeFlags) -> Result<bool, Fault> {
    let danger = Danger::Moderate { yes: change.yes };
    Ok(session.consent(question, danger, change.dry_run.into())? == Consent::Withheld)
}
