//! The figures: what each one is, its floor and goal, and the line that a measurement of it becomes.
//!
//! Floors and goals are promises; `docs` and `SPECIFICATION.md` repeat them from here. A floor that is missed means that
//! the part is not done; a goal is where it is to get.

use serde::Serialize;

use crate::statistics::rounded;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A figure before it is measured.
#[derive(Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Below which (or above, if lower is better) the part is not done.
    pub(crate) floor: Option<f64>,
    /// Where it is to get. Some goals are measured in the same run.
    pub(crate) goal: Option<f64>,
    /// What is measured, in one sentence.
    pub(crate) what: &'static str,
}

const KIB: f64 = 1_024.0;
const MIB: f64 = 1_024.0 * KIB;

pub(crate) const ENROL_PER_S: Figure = Figure {
    name: "enrol_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: Some(250.0),
    goal: Some(1_000.0),
    what: "full enrolments: two handshakes, proof, certificate, kID, two durable records",
};
pub(crate) const ENROL_P99_MS: Figure = Figure {
    name: "enrol_p99_ms",
    unit: "ms",
    better: Better::Lower,
    floor: None,
    goal: Some(100.0),
    what: "from the first packet of an enrolment to the confirmation that it is recorded, at full load",
};
pub(crate) const ISSUE_PER_S: Figure = Figure {
    name: "issue_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: None,
    goal: None,
    what: "decisions with certificate, kID and signed log entries on one core, without network and disk",
};
pub(crate) const ATTEST_VERIFY_PER_S: Figure = Figure {
    name: "attest_verify_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: None,
    goal: Some(1_000.0),
    what: "attestations of a TPM judged on one core: challenge, answer, two certificates of keys, quote",
};
pub(crate) const POLICY_DECISION_US: Figure = Figure {
    name: "policy_decision_us",
    unit: "us",
    better: Better::Lower,
    floor: None,
    goal: Some(10.0),
    what: "one decision with 100 policies in force, among a thousand devices that ask in turn",
};
pub(crate) const POLICY_DECISION_10K_US: Figure = Figure {
    name: "policy_decision_10k_us",
    unit: "us",
    better: Better::Lower,
    floor: None,
    goal: Some(50.0),
    what: "the same with 10 000 policies",
};
pub(crate) const HEARTBEAT_PER_S: Figure = Figure {
    name: "heartbeat_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: Some(10_000.0),
    goal: Some(50_000.0),
    what: "heartbeats authenticated, taken in and answered on 1 000 links; the slower of TLS and QUIC",
};
pub(crate) const IDLE_LINK_BYTES: Figure = Figure {
    name: "idle_link_bytes",
    unit: "B",
    better: Better::Lower,
    floor: Some(64.0 * KIB),
    goal: Some(24.0 * KIB),
    what: "resident memory of the authority for each link that is open and idle; the larger of TLS and QUIC",
};
pub(crate) const KOSD_RSS_BYTES: Figure = Figure {
    name: "kosd_rss_bytes",
    unit: "B",
    better: Better::Lower,
    floor: Some(16.0 * MIB),
    goal: Some(8.0 * MIB),
    what: "resident memory of the daemon of an enrolled device after its first heartbeat",
};
pub(crate) const KOSD_BINARY_BYTES: Figure = Figure {
    name: "kosd_binary_bytes",
    unit: "B",
    better: Better::Lower,
    floor: Some(10.0 * MIB),
    goal: Some(6.0 * MIB),
    what: "the daemon's program file, as it ships",
};
pub(crate) const KOSD_READY_MS: Figure = Figure {
    name: "kosd_ready_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(200.0),
    goal: Some(50.0),
    what: "from the start of the daemon of an enrolled device until it says that it is ready",
};
pub(crate) const AUTHORITY_READY_MS: Figure = Figure {
    name: "authority_ready_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(3_000.0),
    goal: Some(1_000.0),
    what: "from the start of an authority with 100 000 devices until it says that it is ready",
};
pub(crate) const REVOCATION_CUT_MS: Figure = Figure {
    name: "revocation_cut_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(1_000.0),
    goal: Some(1_000.0),
    what: "from the call that suspends a device until its link is closed; the slowest of all runs",
};

pub(crate) const QUARANTINE_CUT_MS: Figure = Figure {
    name: "quarantine_cut_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(1_000.0),
    goal: Some(1_000.0),
    what: "from the call that orders a device into quarantine until the last of its messages that is accepted; the slowest of all runs",
};

pub(crate) const ZERO_TOUCH_MS: Figure = Figure {
    name: "zero_touch_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(2_000.0),
    goal: Some(2_000.0),
    what: "from the first start of a device's daemon until its authority has it in service, by a voucher that names its TPM (swtpm, ECC EK), on loopback; the slowest of all runs",
};

pub(crate) const VAULT_DECRYPT_US: Figure = Figure {
    name: "vault_decrypt_us",
    unit: "us",
    better: Better::Lower,
    floor: None,
    goal: Some(10.0),
    what: "one secret of an open vault found, decrypted and checked, in the core",
};
pub(crate) const VAULT_READ_MS: Figure = Figure {
    name: "vault_read_ms",
    unit: "ms",
    better: Better::Lower,
    floor: None,
    goal: Some(5.0),
    what: "from the request for a secret at the local socket to the secret, recorded before it is given",
};
pub(crate) const VAULT_WRITE_MS: Figure = Figure {
    name: "vault_write_ms",
    unit: "ms",
    better: Better::Lower,
    floor: None,
    goal: Some(5.0),
    what: "from putting a secret at the local socket to the answer, file, anchor and log entry on the disk",
};

pub(crate) const LOG_ENTRIES_PER_S: Figure = Figure {
    name: "log_entries_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: Some(5_000.0),
    goal: Some(20_000.0),
    what: "changes asked for by 64 writers at the local socket, each with its signed log entry on the disk before the answer",
};
pub(crate) const LOG_APPEND_TO_PROOF_P99_MS: Figure = Figure {
    name: "log_append_to_proof_p99_ms",
    unit: "ms",
    better: Better::Lower,
    floor: Some(200.0),
    goal: Some(50.0),
    what: "from asking for a change to a proof of its entry that was verified, with 64 writers at it",
};
pub(crate) const LOG_TREE_VERIFY_PER_S: Figure = Figure {
    name: "log_tree_verify_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: None,
    goal: Some(1_000_000.0),
    what: "entries hashed and compared with tiles and signed root, read from files, on all processors",
};
pub(crate) const LOG_SIGNATURE_VERIFY_PER_S: Figure = Figure {
    name: "log_signature_verify_per_s",
    unit: "1/s",
    better: Better::Higher,
    floor: None,
    goal: Some(40_000.0),
    what: "entries of a log that `kosctl audit verify --log` takes apart, signatures, tree and order, on all processors",
};
pub(crate) const LOG_PROOF_10M_MS: Figure = Figure {
    name: "log_proof_10m_ms",
    unit: "ms",
    better: Better::Lower,
    floor: None,
    goal: Some(10.0),
    what: "one proof made from the tiles of a log of 10 000 000 entries, and verified; p99",
};

/// Every figure, in the order in which they are measured and shown.
pub(crate) const ALL: [&Figure; 23] = [
    &ENROL_PER_S,
    &ENROL_P99_MS,
    &ISSUE_PER_S,
    &ATTEST_VERIFY_PER_S,
    &POLICY_DECISION_US,
    &POLICY_DECISION_10K_US,
    &HEARTBEAT_PER_S,
    &IDLE_LINK_BYTES,
    &KOSD_RSS_BYTES,
    &KOSD_BINARY_BYTES,
    &KOSD_READY_MS,
    &AUTHORITY_READY_MS,
    &VAULT_DECRYPT_US,
    &VAULT_READ_MS,
    &VAULT_WRITE_MS,
    &LOG_ENTRIES_PER_S,
    &LOG_APPEND_TO_PROOF_P99_MS,
    &LOG_TREE_VERIFY_PER_S,
    &LOG_SIGNATURE_VERIFY_PER_S,
    &LOG_PROOF_10M_MS,
    &REVOCATION_CUT_MS,
    &QUARANTINE_CUT_MS,
    &ZERO_TOUCH_MS,
];

/// Another system's value of the same figure, measured in the same run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rival {
    /// Name and version.
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// A figure that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) figure: &'static Figure,
    pub(crate) value: f64,
    /// How many measurements stand behind the value.
    pub(crate) runs: usize,
    /// What holds it back, as far as the run shows.
    pub(crate) bound: String,
    /// A goal that was measured in the same run instead of the figure's own.
    pub(crate) goal: Option<f64>,
    /// Everyone that it was compared with; the best of them counts.
    pub(crate) rivals: Vec<Rival>,
    /// What one must know to read the value.
    pub(crate) notes: Vec<String>,
}

impl Measured {
    pub(crate) fn new(figure: &'static Figure, value: f64, runs: usize, bound: impl Into<String>) -> Self {
        Self { figure, value, runs, bound: bound.into(), goal: None, rivals: Vec::new(), notes: Vec::new() }
    }

    /// Sets the goal that the run itself has shown.
    #[must_use]
    pub(crate) fn goal(self, goal: Option<f64>) -> Self {
        Self { goal, ..self }
    }

    /// Adds a rival, or the reason why there is none.
    #[must_use]
    pub(crate) fn beside(mut self, rival: Result<Rival, String>) -> Self {
        match rival {
            Ok(rival) => self.rivals.push(rival),
            Err(why) => self.notes.push(why),
        }
        self
    }

    /// Adds a remark.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The line of the contract.
    pub(crate) fn line(&self) -> Line {
        let Figure { name, unit, better, floor, .. } = *self.figure;
        let goal = self.goal.or(self.figure.goal);
        let keeps = |bound: f64| match better {
            Better::Higher => self.value >= bound,
            Better::Lower => self.value <= bound,
        };
        let best = self.rivals.iter().min_by(|a, b| match better {
            Better::Higher => b.value.total_cmp(&a.value),
            Better::Lower => a.value.total_cmp(&b.value),
        });
        let ratio = |rival: &Rival| match better {
            Better::Higher => self.value / rival.value,
            Better::Lower => rival.value / self.value,
        };
        let others = self.rivals.iter().filter(|rival| Some(*rival) != best);
        let others = others.map(|rival| format!("{} {}", rival.name, rounded(rival.value)));
        let notes: Vec<String> = self.notes.iter().cloned().chain(others).collect();
        Line {
            kind: "figure",
            name,
            value: rounded(self.value),
            unit,
            better,
            floor,
            goal: goal.map(rounded),
            met: goal.or(floor).is_none_or(keeps),
            peer: best.map(|rival| rival.name.clone()),
            peer_value: best.map(|rival| rounded(rival.value)),
            ratio: best.map(|rival| (ratio(rival) * 100.0).round() / 100.0).filter(|ratio| ratio.is_finite()),
            runs: self.runs,
            bound: self.bound.clone(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }
}

/// A measured figure as it stands on stdout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    kind: &'static str,
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    better: Better,
    pub(crate) floor: Option<f64>,
    pub(crate) goal: Option<f64>,
    pub(crate) met: bool,
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    pub(crate) ratio: Option<f64>,
    runs: usize,
    pub(crate) bound: String,
    pub(crate) note: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rival(name: &str, value: f64) -> Result<Rival, String> {
        Ok(Rival { name: name.to_owned(), value })
    }

    #[test]
    fn a_ratio_above_one_means_that_ours_is_better_whichever_way() {
        let fast = Measured::new(&ENROL_PER_S, 500.0, 5, "CPU").beside(rival("x", 250.0)).line();
        assert_eq!((fast.ratio, fast.met), (Some(2.0), false));
        let small = Measured::new(&KOSD_BINARY_BYTES, 5.0 * MIB, 1, "").beside(rival("x", 10.0 * MIB)).line();
        assert_eq!((small.ratio, small.met), (Some(2.0), true));
    }

    #[test]
    fn the_strongest_rival_counts_and_the_others_are_told() {
        let measured = Measured::new(&ENROL_PER_S, 500.0, 5, "CPU");
        let line = measured.beside(rival("slow", 100.0)).beside(rival("quick", 1_000.0)).line();
        assert_eq!((line.peer.as_deref(), line.ratio), (Some("quick"), Some(0.5)));
        assert_eq!(line.note.as_deref(), Some("slow 100"));
    }

    #[test]
    fn a_missing_rival_is_null_with_a_note() {
        let measured = Measured::new(&ENROL_PER_S, 412.0, 5, "CPU, 55 % load generator");
        let line = measured.beside(Err("openssl is not installed".to_owned())).line();
        let json = serde_json::to_string(&line).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"kind":"figure","name":"enrol_per_s","value":412.0,"unit":"1/s","better":"higher","floor":250.0,"#,
                r#""goal":1000.0,"met":false,"peer":null,"peerValue":null,"ratio":null,"runs":5,"#,
                r#""bound":"CPU, 55 % load generator","note":"openssl is not installed"}"#
            )
        );
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
