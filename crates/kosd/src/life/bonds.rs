//! With whom this device is paired, what a person at it says about that, and what agents ask of it.
//!
//! Invariants: bonds that the authority's order key did not sign for this very device never count, and none give way to
//! older ones. A pairing that was ended here has ended here, whatever the authority still thinks: what was said is durable
//! and goes with every heartbeat until bonds come that know it. A call is judged here again by what the authority judged it
//! by, and its use is durable before its answer.
//!
//! What it does not do: keep whoever owns the machine from answering whom they like.
//!
//! Source: `docs/spec/pairing.md` PAIR-30 to PAIR-36; `docs/spec/grant.md` GRANT-25, GRANT-26.

use kos_api::local::{AnswerPairing, LocalPairing, LocalPairings};
use kos_audit::EventType;
use kos_base::{Code, EntryId, Timestamp, code, code::pairing as codes, key::SignatureForm};
use kos_identity::enrolment::device::{Command, KeySlot};
use kos_klp::body::STATEMENTS_MAX;
use kos_policy::{
    Direction, Request, Tie, decide,
    grant::{Ability, Basis, Call, Usage, judge},
    pairing::{self, Bond, Bonds, Partner, Side, Statement, Word},
};
use serde_json::{Value, json};

use super::{Device, service::standing_of};
use crate::{
    log::Filter,
    standing::{Said, Standing, Used},
};

/// Longest answer to a call, in bytes: an ACK has room for so much.
const RESULT_BYTES_MAX: usize = 4_096;
/// Entries of the log that are looked through for a call, and most that it gets. Stops a call from reading everything.
const LOOKED_AT_MAX: u64 = 1_000;
const ENTRIES_MAX: usize = 8;

/// What came of a call: the answer, and what the machine has to do.
pub(super) type Answered = (Vec<u8>, Option<Command>);

impl Device {
    /// The bonds in force here. Those that are kept and do not count are told, and count as none.
    fn bonds(&self) -> Option<Bonds> {
        let kept = self.service.standing.bonds.as_deref()?;
        self.open_bonds(kept)
            .inspect_err(|code| tracing::error!(%code, "what is kept of pairings does not count"))
            .ok()
    }

    fn open_bonds(&self, signed: &[u8]) -> Result<Bonds, Code> {
        let journal = self.machine.journal();
        let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.as_ref());
        let (Some(member), Some(authority)) = (journal.membership.as_ref(), authority) else {
            return Err(code::enrolment::STATE_FORBIDS);
        };
        pairing::open(signed, &member.keys.orders, authority, &member.device).map_err(|error| {
            tracing::error!(%error, "pairings that came are not used");
            error.code()
        })
    }

    /// Takes bonds over that came, if they count and may come after those that are held, and says what the configuration
    /// says of what is proposed.
    pub(super) fn take_bonds(&self, signed: Vec<u8>, standing: &mut Standing) -> Result<(), Code> {
        let held = self.bonds();
        let newer = self.open_bonds(&signed).and_then(|newer| match &held {
            Some(held) => newer.follow(held).map(|()| newer).map_err(|error| error.code()),
            None => Ok(newer),
        });
        let newer = newer.inspect_err(|code| {
            self.note(EventType::AuthorityRefused, json!({"code": code.to_string()}));
        })?;
        // The same again is no event: it comes with every link.
        if held.is_none_or(|held| held.counter != newer.counter) {
            let paired = newer.pairs.iter().filter(|bond| bond.is_paired()).count();
            let details = json!({"counter": newer.counter, "pairings": paired, "grants": newer.grants.len()});
            self.note(EventType::BondsApplied, details);
        }
        let mut said = standing.said.take().unwrap_or_default();
        said.retain(|said| newer.pairs.iter().any(|bond| is_news(said, bond)));
        for bond in newer.pairs.iter().filter(|bond| !bond.device_said) {
            let accepted = self.config.accept_pairings.iter().any(|named| is_called(bond, named));
            if accepted && !said.iter().any(|said| said.pairing == bond.id) {
                said.push(self.word(bond, Word::Confirm));
            }
        }
        let orders = self.machine.journal().membership.as_ref().map(|member| member.keys.orders.clone());
        if let (Some(used), Some(key)) = (standing.used.as_mut(), orders) {
            used.retain(|used| newer.grant(used.grant, &key).is_some());
        }
        standing.said = Some(said).filter(|said| !said.is_empty());
        standing.bonds = Some(signed.into());
        Ok(())
    }

    fn word(&self, bond: &Bond, word: Word) -> Said {
        Said { pairing: bond.id, partner: bond.partner.clone(), word, at: self.clock.now() }
    }

    /// What this device says of pairings and the authority has not taken yet, signed by the key in service.
    pub(super) fn statements(&self) -> Vec<Vec<u8>> {
        let said = self.service.standing.said.as_deref().unwrap_or_default();
        let journal = self.machine.journal();
        let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.clone());
        let (Some(member), Some(held), Some(authority), false) =
            (&journal.membership, &journal.active, authority, said.is_empty())
        else {
            return Vec::new();
        };
        let key = match self.keys.signing(KeySlot::Operational(held.slot), self.clock.now()) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(%error, "what this device says of pairings cannot be signed");
                self.errors.count();
                return Vec::new();
            }
        };
        let sign = |said: &Said| {
            let statement = Statement {
                authority: authority.clone(),
                device: member.device.clone(),
                partner: said.partner.clone(),
                pairing: said.pairing,
                word: said.word,
                at: said.at,
            };
            let unsigned = statement.unsigned(Side::Device, key.public());
            let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).ok()?;
            Some(unsigned.finish(signature))
        };
        said.iter().take(STATEMENTS_MAX).filter_map(sign).collect()
    }

    fn has_ended(&self, pairing: EntryId) -> bool {
        let said = self.service.standing.said.as_deref().unwrap_or_default();
        said.iter().any(|said| said.pairing == pairing && said.word == Word::End)
    }

    /// What a person at this device sees.
    pub(super) fn pairings(&self) -> LocalPairings {
        let bonds = self.bonds();
        let pairings = bonds.iter().flat_map(|bonds| bonds.pairs.iter().map(|bond| self.shown(bonds, bond)));
        LocalPairings { pairings: pairings.collect() }
    }

    fn shown(&self, bonds: &Bonds, bond: &Bond) -> LocalPairing {
        let said = self.service.standing.said.as_deref().unwrap_or_default();
        let confirmed =
            bond.device_said || said.iter().any(|said| said.pairing == bond.id && said.word == Word::Confirm);
        let state = match (self.has_ended(bond.id), bond.is_paired()) {
            (true, _) => "ended",
            (false, true) => "paired",
            (false, false) => "proposed",
        };
        let orders = self.machine.journal().membership.as_ref().map(|member| &member.keys.orders);
        let under = |signed: &[u8]| {
            let grant = orders.and_then(|key| kos_policy::grant::Grant::open(signed, key).ok());
            grant.is_some_and(|grant| grant.pairing == bond.id)
        };
        let grants = bonds.grants.iter().filter(|held| under(&held.signed)).count();
        LocalPairing {
            pairing_id: bond.id,
            with: name_of(bond),
            state: state.to_owned(),
            trust_level: bond.level.to_string(),
            device_confirmed: confirmed,
            partner_confirmed: bond.partner_said,
            grants: u64::try_from(grants).unwrap_or(u64::MAX),
        }
    }

    /// How many pairings wait for a person at this device.
    pub(super) fn pairing_warning(&self) -> Option<String> {
        let waiting = self.pairings().pairings.into_iter();
        let waiting = waiting.filter(|one| one.state == "proposed" && !one.device_confirmed).count();
        (waiting > 0)
            .then(|| format!("{waiting} proposed pairings wait for a person at this device: kosd pair"))
    }

    /// A person at this device confirms a pairing, or ends it.
    pub(super) fn answer_pairing(&mut self, answer: &AnswerPairing) -> Result<LocalPairing, Code> {
        let bonds = self.bonds().ok_or(codes::PAIR_UNKNOWN)?;
        let named = |bond: &&Bond| is_called(bond, &answer.with) || bond.id.to_string() == answer.with;
        let bond = bonds.pairs.iter().find(named).ok_or(codes::PAIR_UNKNOWN)?;
        if self.has_ended(bond.id) && answer.confirm {
            return Err(codes::PAIR_UNKNOWN);
        }
        let (word, command) = match answer.confirm {
            true => (Word::Confirm, "pair"),
            false => (Word::End, "unpair"),
        };
        self.note(EventType::LocalChange, json!({"command": command, "pairing": bond.id}));
        if !(answer.confirm && bond.device_said) {
            let mut standing = self.service.standing.clone();
            let mut said = standing.said.take().unwrap_or_default();
            said.retain(|said| said.pairing != bond.id);
            said.push(self.word(bond, word));
            standing.said = Some(said);
            self.stand(standing)?;
        }
        Ok(self.shown(&bonds, bond))
    }

    /// An agent asks something of this device. The use is noted in `standing`, which is to be durable before the answer.
    pub(super) fn answer_call(&mut self, signed: &[u8], standing: &mut Standing) -> Result<Answered, Code> {
        let now = self.clock.now();
        let journal = self.machine.journal();
        let (member, held) =
            journal.membership.as_ref().zip(journal.active.as_ref()).ok_or(code::enrolment::STATE_FORBIDS)?;
        let own = standing_of(held).map_err(|setback| setback.code())?;
        let (orders, facts) = (member.keys.orders.clone(), self.facts_of_policy());
        let facts = facts.ok_or(code::enrolment::STATE_FORBIDS)?;
        let claimed = Call::claimed(signed).map_err(|refused| refused.code())?;
        let bonds = self.bonds();
        let bond = bonds.as_ref().and_then(|bonds| bonds.paired(&claimed.agent, now));
        let bond = bond.filter(|bond| !self.has_ended(bond.id));
        let tie = if bond.is_some() { Tie::Paired } else { Tie::Unpaired };
        if let Err(refusal) = decide(own, Request::Agent(Direction::Calls, tie)).check() {
            self.refused_by_profile(refusal);
            return Err(refusal.code());
        }
        let (bonds, bond) = bonds.as_ref().zip(bond).ok_or(codes::PAIR_NONE)?;
        let key = bond.key.as_ref().ok_or(codes::PAIR_NONE)?;
        let used = standing.used.get_or_insert_default();
        let judged = Call::open(signed, key)
            .map_err(|refused| (refused.code(), refused.to_string()))
            .and_then(|call| {
                let none = || (codes::GRANT_UNKNOWN, codes::GRANT_UNKNOWN.title().to_owned());
                let (grant, lifted) = bonds.grant(call.grant, &orders).ok_or_else(none)?;
                if grant.pairing != bond.id {
                    return Err(none());
                }
                let usage = used
                    .iter()
                    .find(|used| used.grant == call.grant)
                    .map_or(Usage::default(), |used| used.usage);
                let basis = judge(&grant, &call, usage, lifted, now, &facts);
                basis
                    .map(|basis| (call, usage, basis))
                    .map_err(|refused| (refused.code(), refused.to_string()))
            });
        let (call, usage, basis) = match judged {
            Ok(judged) => judged,
            Err((code, why)) => {
                self.note_refused_call(code, &why);
                return Err(code);
            }
        };
        used.retain(|used| used.grant != call.grant);
        used.push(Used { grant: call.grant, usage: usage.after(&call) });
        self.note_call(&call, basis);
        self.perform(&call, now)
    }

    fn note_call(&self, call: &Call, basis: Basis) {
        let details = json!({
            "grant": call.grant, "agent": call.agent.to_string(), "capability": call.ability.as_str(),
            "resource": call.resource.to_string(), "number": call.number, "basis": basis.as_str(),
        });
        self.note(EventType::AgentCalled, details);
    }

    fn note_refused_call(&self, code: Code, why: &str) {
        tracing::warn!(%code, why, "a call of an agent is refused");
        let details =
            json!({"rule": "grant", "request": "agent/calls", "code": code.to_string(), "why": why});
        self.note(EventType::PolicyRefused, details);
    }

    /// Does what a call asks for.
    fn perform(&mut self, call: &Call, _now: Timestamp) -> Result<Answered, Code> {
        let resource = call.resource.as_ref();
        let said = match (call.ability, resource.split_once('/')) {
            (Ability::DeviceStatus, Some(("status", "health"))) => {
                let status = self.status();
                json!({"state": status.state, "image": status.image, "health": status.health, "version": status.version})
            }
            (Ability::DeviceStatus, Some(("status", "link"))) => {
                let status = self.status();
                json!({
                    "carrier": status.carrier, "lastHeartbeatAt": status.last_heartbeat_at,
                    "certNotAfter": status.cert_not_after,
                })
            }
            (Ability::DeviceLog, Some(("log", event))) => self.entries_of(event),
            (Ability::RegenCert, None) if resource == "certificate" => {
                return Ok((written(&json!({"ordered": true})), Some(Command::Regenerate)));
            }
            _ => return Err(code::config::NOT_FOUND),
        };
        Ok((written(&said), None))
    }

    /// The newest entries of this type, as many as an answer has room for.
    fn entries_of(&self, event: &str) -> Value {
        let (size, _) = self.log.sizes().unwrap_or_default();
        let filter = Filter {
            event: Some(event.to_owned()),
            from: size.saturating_sub(LOOKED_AT_MAX),
            limit: usize::try_from(LOOKED_AT_MAX).unwrap_or(usize::MAX),
            ..Filter::default()
        };
        let (mut entries, _) = self.log.page(&filter);
        let mut kept = entries.split_off(entries.len().saturating_sub(ENTRIES_MAX));
        while written(&json!({"entries": kept})).len() > RESULT_BYTES_MAX && !kept.is_empty() {
            kept.remove(0);
        }
        json!({"entries": kept})
    }
}

fn written(said: &Value) -> Vec<u8> {
    serde_json::to_vec(said).unwrap_or_default()
}

/// What people call the other side.
fn name_of(bond: &Bond) -> String {
    match (&bond.partner, &bond.label) {
        (Partner::User(_), Some(name)) => format!("user:{name}"),
        (partner, _) => partner.to_string(),
    }
}

fn is_called(bond: &Bond, named: &str) -> bool {
    name_of(bond) == named || bond.partner.to_string() == named
}

/// Whether the authority does not know yet what was said of this pairing.
fn is_news(said: &Said, bond: &Bond) -> bool {
    said.pairing == bond.id && (said.word == Word::End || !bond.device_said)
}
