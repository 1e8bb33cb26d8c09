//! The commands, one file a noun: its arguments and what it does.

mod agent;
mod attest;
mod audit;
mod authority;
mod backup;
mod context;
mod decommission;
mod device;
mod doctor;
mod enroll;
mod explain;
mod follow;
mod guardian;
mod identity;
mod kill;
mod operator;
mod pairing;
mod paper;
mod policy;
mod qr;
mod status;
mod ticket;
mod user;
mod vault;
mod voucher;

use clap::Subcommand;

use crate::{
    Fault,
    session::{Ending, Session},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows how the server is.
    Status,
    /// Examines the way to the server, and the server itself.
    Doctor,
    /// Explains an error code; needs no server.
    Explain(explain::Explain),
    /// Saved servers with their credentials.
    #[command(subcommand)]
    Context(context::Context),
    /// Tickets, with which devices enrol.
    #[command(subcommand)]
    Ticket(ticket::Ticket),
    /// Makes a ticket for one device, and shows what to type there.
    Enroll(enroll::Enroll),
    /// Lists devices.
    List(device::List),
    /// Devices.
    #[command(subcommand)]
    Device(device::Device),
    /// Identities of devices, from the certificate to the root.
    #[command(subcommand)]
    Identity(identity::Identity),
    /// Has a device make new keys and get a new certificate.
    RegenCert(device::RegenCert),
    /// Moves a device to another firmware channel.
    SetChannel(device::SetChannel),
    /// Ends a device for good.
    Decommission(decommission::Decommission),
    /// The authority itself.
    #[command(subcommand)]
    Authority(authority::Authority),
    /// People and programs that may use the authority over the network.
    #[command(subcommand)]
    Operator(operator::Operator),
    /// What the authority holds of a person: export and erasure.
    #[command(subcommand)]
    User(user::User),
    /// Who is told of alerts.
    #[command(subcommand)]
    Guardian(guardian::Guardian),
    /// What security profiles allow, and which rule decides.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Agents: what they may ask of devices.
    #[command(subcommand)]
    Agent(agent::Agent),
    /// What TPMs prove: of devices, by whose keys, of which starts.
    #[command(subcommand)]
    Attest(attest::Attest),
    /// Who lets devices in without a person: makers and their vouchers, devices that vouch.
    #[command(subcommand)]
    Voucher(voucher::Voucher),
    /// Vaults of secrets, one an environment.
    #[command(subcommand)]
    Vault(vault::Vault),
    /// The kill switch of an authority or a device, on its own machine.
    #[command(subcommand)]
    Kill(kill::Kill),
    /// Backups of an authority.
    #[command(subcommand)]
    Backup(backup::Backup),
    /// The audit log.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Prints the completions of a shell.
    Completions(paper::Completions),
    /// Prints the manual page, or writes those of all commands into a folder.
    Man(paper::Man),
    /// Prints a page of docs/reference.
    #[command(hide = true)]
    Reference(paper::Reference),
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Status => status::run(session).await,
            Self::Doctor => doctor::run(session).await,
            Self::Explain(explain) => explain.run(session),
            Self::Context(context) => context.run(session).await,
            Self::Ticket(ticket) => ticket.run(session).await,
            Self::Enroll(enroll) => enroll.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Device(device) => device.run(session).await,
            Self::Identity(identity) => identity.run(session).await,
            Self::RegenCert(regen) => regen.run(session).await,
            Self::SetChannel(set) => set.run(session).await,
            Self::Decommission(decommission) => decommission.run(session).await,
            Self::Authority(authority) => authority.run(session).await,
            Self::Operator(operator) => operator.run(session).await,
            Self::User(user) => user.run(session).await,
            Self::Guardian(guardian) => guardian.run(session).await,
            Self::Policy(policy) => policy.run(session).await,
            Self::Agent(agent) => agent.run(session).await,
            Self::Attest(attest) => attest.run(session).await,
            Self::Voucher(voucher) => voucher.run(session).await,
            Self::Vault(vault) => vault.run(session).await,
            Self::Kill(kill) => kill.run(session).await,
            Self::Backup(backup) => backup.run(session).await,
            Self::Audit(audit) => audit.run(session).await,
            Self::Completions(completions) => completions.run(),
            Self::Man(man) => man.run(),
            Self::Reference(page) => page.run(),
        }
    }
}
