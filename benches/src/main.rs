//! `kos-bench [NAME..]`: measures the figures of `SPECIFICATION.md`, ours and other systems in turn, on this machine.
//!
//! stdout has one JSON line a figure, talk goes to stderr. What is measured is the release build of the programs, found
//! beside this one, and the daemon as it ships; `cargo xtask bench` builds them. Exit codes: 0 all ran, whether or not a
//! goal was met; 1 something could not be measured; 2 wrong use.
//!
//! Every change that is counted was synced to a disk before it was acknowledged. The load generator is this program and
//! shares the processors with what it measures, so each line tells its share.

mod authority;
mod clock;
mod figure;
mod figures;
mod fleet;
mod peers;
mod process;
mod statistics;
mod table;
mod talk;
mod usage;
mod wait;

use std::{path::Path, process::ExitCode};

use anyhow::Result;
use clap::{Parser, builder::PossibleValuesParser};

use crate::{
    figure::{
        ALL, ATTEST_VERIFY_PER_S, AUTHORITY_READY_MS, ENROL_P99_MS, ENROL_PER_S, Figure, HEARTBEAT_PER_S,
        IDLE_LINK_BYTES, ISSUE_PER_S, KOSD_BINARY_BYTES, KOSD_READY_MS, KOSD_RSS_BYTES,
        LOG_APPEND_TO_PROOF_P99_MS, LOG_ENTRIES_PER_S, LOG_PROOF_10M_MS, LOG_SIGNATURE_VERIFY_PER_S,
        LOG_TREE_VERIFY_PER_S, Line, Measured, POLICY_DECISION_10K_US, POLICY_DECISION_US, QUARANTINE_CUT_MS,
        REVOCATION_CUT_MS, VAULT_DECRYPT_US, VAULT_READ_MS, VAULT_WRITE_MS, ZERO_TOUCH_MS,
    },
    figures::{
        Ground, Scale, attestation, copied_log, daemon, enrolment, heartbeat, idle, issuing, log, policy,
        quarantine, readiness, revocation, vault, zero_touch,
    },
};

/// Measure.
#[derive(Parser)]
struct Arguments {
    /// All figures unless some are named
    #[arg(value_parser = PossibleValuesParser::new(ALL.map(|figure| figure.name)))]
    names: Vec<String>,
    /// Only name the figures
    #[arg(long)]
    list: bool,
    /// Fewer and shorter runs
    #[arg(long)]
    quick: bool,
    /// Update the table in SPECIFICATION.md
    #[arg(long)]
    write: bool,
}

/// What is measured together.
#[derive(Clone, Copy)]
enum Group {
    Enrolment,
    Issuing,
    Attestation,
    Policy,
    Heartbeat,
    Idle,
    Daemon,
    Readiness,
    Vault,
    Log,
    CopiedLog,
    Revocation,
    Quarantine,
    ZeroTouch,
}

/// In the order of the figures. The devices of the first are used by the next; the last takes some out of service.
const GROUPS: [(Group, &[&Figure]); 14] = [
    (Group::Enrolment, &[&ENROL_PER_S, &ENROL_P99_MS]),
    (Group::Issuing, &[&ISSUE_PER_S]),
    (Group::Attestation, &[&ATTEST_VERIFY_PER_S]),
    (Group::Policy, &[&POLICY_DECISION_US, &POLICY_DECISION_10K_US]),
    (Group::Heartbeat, &[&HEARTBEAT_PER_S]),
    (Group::Idle, &[&IDLE_LINK_BYTES]),
    (Group::Daemon, &[&KOSD_RSS_BYTES, &KOSD_BINARY_BYTES, &KOSD_READY_MS]),
    (Group::Readiness, &[&AUTHORITY_READY_MS]),
    (Group::Vault, &[&VAULT_DECRYPT_US, &VAULT_READ_MS, &VAULT_WRITE_MS]),
    (Group::Log, &[&LOG_ENTRIES_PER_S, &LOG_APPEND_TO_PROOF_P99_MS]),
    (Group::CopiedLog, &[&LOG_TREE_VERIFY_PER_S, &LOG_SIGNATURE_VERIFY_PER_S, &LOG_PROOF_10M_MS]),
    (Group::Revocation, &[&REVOCATION_CUT_MS]),
    (Group::Quarantine, &[&QUARANTINE_CUT_MS]),
    (Group::ZeroTouch, &[&ZERO_TOUCH_MS]),
];

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        for figure in ALL {
            print(figure.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    process::allow_descriptors();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted =
        |figure: &Figure| arguments.names.is_empty() || arguments.names.iter().any(|n| n == figure.name);
    let mut ground = Ground::new(if arguments.quick { Scale::Quick } else { Scale::Full });
    let mut lines: Vec<Line> = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for (group, figures) in GROUPS {
        if !figures.iter().any(|figure| wanted(figure)) {
            continue;
        }
        match measure(group, &mut ground).await {
            Ok(measured) => {
                for line in measured.iter().filter(|m| wanted(m.figure)).map(Measured::line) {
                    print(&serde_json::to_string(&line)?);
                    lines.push(line);
                }
            }
            Err(error) => {
                let names: Vec<_> = figures.iter().map(|figure| figure.name).collect();
                talk::say(&format!("{} could not be measured: {error:#}", names.join(", ")));
                code = ExitCode::FAILURE;
            }
        }
    }
    if arguments.write {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        table::write(&repository.join("SPECIFICATION.md"), &lines)?;
    }
    Ok(code)
}

async fn measure(group: Group, ground: &mut Ground) -> Result<Vec<Measured>> {
    match group {
        Group::Enrolment => enrolment::measure(ground).await,
        Group::Issuing => issuing::measure(ground).await,
        Group::Policy => policy::measure(ground).await,
        Group::Attestation => attestation::measure(ground).await,
        Group::Heartbeat => heartbeat::measure(ground).await,
        Group::Idle => idle::measure(ground).await,
        Group::Daemon => daemon::measure(ground).await,
        Group::Readiness => readiness::measure(ground).await,
        Group::Vault => vault::measure(ground).await,
        Group::Log => log::measure(ground).await,
        Group::CopiedLog => copied_log::measure(ground).await,
        Group::Revocation => revocation::measure(ground).await,
        Group::Quarantine => quarantine::measure(ground).await,
        Group::ZeroTouch => zero_touch::measure(ground).await,
    }
}

#[expect(clippy::print_stdout, reason = "stdout holds the figures")]
fn print(line: &str) {
    println!("{line}");
}
