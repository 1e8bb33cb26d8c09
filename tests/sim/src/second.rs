//! Second verdicts on a network that keeps every answer it ever saw: nodes are named and taken off the list, stopped and let go on,
//! change their minds, and answer late; conversations come and go. The check of `kos_identity` runs as it is.
//!
//! Law: what opens SEC-4 is a yes that a node, which is named and in service at that very moment, gave to this conversation
//! within a minute (`second-verdict`).

use core::time::Duration;

use anyhow::{Context as _, Result};
use kos_base::{
    AgreementKey, DeviceId, DeviceState, EvidenceTier, KeyId, SecurityProfile, Timestamp, cbor, cose::Sealed,
    digest::Sha256,
};
use kos_identity::{
    registry::{Credential, Device},
    second::{Asked, Opinion, Testimony, VERDICT_BYTES_MAX, Verdict, check},
};

use crate::{
    chance::Chance,
    keys::{AuthorityKit, BEGIN, ModelKey},
    laws::Breach,
    plant::Plant,
    quarantine::in_service,
};

/// Things that happen in one life.
const STEPS: u64 = 160;
/// Nodes that may judge; the last one is the device itself.
const NODES: usize = 4;
/// How old a yes may be, in seconds.
const AGE_MAX_S: u64 = 60;

struct Node {
    record: Device,
    key: ModelKey,
    named: bool,
    opinion: Opinion,
}

/// An answer that the network keeps, and what the authority knew of its node when it asked.
#[derive(Clone)]
struct Answer {
    node: usize,
    testimony: Testimony,
    /// What it truly is about.
    transcript: Sha256,
    opinion: Opinion,
    at: Timestamp,
    /// Whether the key of the node made it.
    genuine: bool,
}

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    kit: &'static AuthorityKit,
    now: Timestamp,
    nodes: Vec<Node>,
    device: DeviceId,
    transcript: Sha256,
    answers: Vec<Answer>,
}

/// Lives one device that asks for SEC-4.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let mut chance = Chance::new(seed ^ 0x7365_636f);
    let nodes: Vec<_> = (0..NODES).map(|at| node(at, &mut chance)).collect::<Result<_>>()?;
    let device = nodes.last().context("a node")?.record.id.clone();
    let transcript = chance.bytes();
    let kit = AuthorityKit::real()?;
    let answers = Vec::new();
    let mut life = Life { chance, plant, kit, now: BEGIN, nodes, device, transcript, answers };
    for _ in 0..STEPS {
        if let Some(breach) = life.step()? {
            return Ok(Some(breach));
        }
    }
    Ok(None)
}

impl Life {
    fn step(&mut self) -> Result<Option<Breach>> {
        self.now = self.now.plus(Duration::from_secs(self.chance.between(0, 20)));
        let at = usize::try_from(self.chance.below(u64::try_from(NODES)?))?;
        match self.chance.below(12) {
            0 => self.transcript = self.chance.bytes(),
            1 => self.change(at)?,
            2..=6 => self.answer(at)?,
            _ => return self.deliver(),
        }
        Ok(None)
    }

    /// Something about a node is another thing from now on.
    fn change(&mut self, at: usize) -> Result<()> {
        let (now, kind) = (self.now, self.chance.below(5));
        let opinion =
            *self.chance.pick(&[Opinion::Yes, Opinion::Yes, Opinion::No, Opinion::Unable]).context("one")?;
        let node = self.nodes.get_mut(at).context("a node")?;
        match (kind, node.record.state()) {
            (0, _) => node.named = !node.named,
            (1, DeviceState::Active) => node.record.enter(now, DeviceState::Suspended, "lost")?,
            (1 | 2, DeviceState::Suspended) => node.record.enter(now, DeviceState::Active, "found")?,
            (3, _) => {
                let proven = node.record.evidence >= EvidenceTier::EkActivated;
                node.record.evidence =
                    if proven { EvidenceTier::KeyInTpm } else { EvidenceTier::EkActivated };
            }
            _ => node.opinion = opinion,
        }
        Ok(())
    }

    /// A node says what it thinks; or somebody else does in its name.
    fn answer(&mut self, at: usize) -> Result<()> {
        let genuine = !self.chance.one_in(8);
        let stranger = ModelKey::new(&self.chance.bytes())?;
        let node = self.nodes.get(at).context("a node")?;
        let said = Verdict {
            authority: self.kit.context.name.clone(),
            device: self.device.clone(),
            verifier: node.record.id.clone(),
            transcript: self.transcript.into(),
            opinion: node.opinion,
            at: self.now,
            why: 0,
        };
        let key = if genuine { &node.key } else { &stranger };
        let unsigned = said.unsigned(key.public());
        let signature = key.sign(&unsigned.to_be_signed())?;
        let signed = unsigned.finish(signature);
        let testimony = Testimony { node: node.record.clone(), is_named: node.named, signed };
        let (transcript, opinion) = (self.transcript, node.opinion);
        self.answers.push(Answer { node: at, testimony, transcript, opinion, at: self.now, genuine });
        Ok(())
    }

    /// An answer arrives, for the first time or again, and the authority looks at its node.
    fn deliver(&mut self) -> Result<Option<Breach>> {
        let Some(mut answer) = self.chance.pick(&self.answers).cloned() else { return Ok(None) };
        let node = self.nodes.get(answer.node).context("a node")?;
        if self.plant != Some(Plant::NodeNotReadAgain) {
            answer.testimony.node = node.record.clone();
            answer.testimony.is_named = node.named;
        }
        let transcript = match self.plant {
            Some(Plant::TranscriptOfTheAnswer) => {
                let sealed = Sealed::parse(&answer.testimony.signed, VERDICT_BYTES_MAX)?;
                *cbor::decode::<Verdict>(sealed.unverified_payload(), VERDICT_BYTES_MAX)?.transcript
            }
            _ => self.transcript,
        };
        let asked = Asked {
            authority: &self.kit.context.name,
            device: &self.device,
            operational: KeyId::from_bytes([9; 32]),
            transcript: &transcript,
            now: self.now,
        };
        let Ok(verdict) = check(&asked, &answer.testimony) else { return Ok(None) };
        let counts = node.named
            && node.record.is_admitted()
            && node.record.evidence >= EvidenceTier::EkActivated
            && node.record.id != self.device;
        let is_yes = answer.genuine && answer.opinion == Opinion::Yes && answer.transcript == self.transcript;
        let is_fresh = self.now.since(answer.at).as_secs() <= AGE_MAX_S;
        let is_for = verdict.is_for(&self.device, KeyId::from_bytes([9; 32]));
        Ok((!counts || !is_yes || !is_fresh || !is_for).then(|| Breach {
            law: "second-verdict",
            detail: format!(
                "{} opened SEC-4: counts {counts}, yes {is_yes}, fresh {is_fresh}, for it {is_for}",
                node.record.id
            ),
        }))
    }
}

fn node(at: usize, chance: &mut Chance) -> Result<Node> {
    let key = ModelKey::new(&chance.bytes())?;
    let mut record = in_service(SecurityProfile::Sec3, 1, 1)?;
    record.id = format!("kdev-{at:0>16}").parse().context("a device id")?;
    record.evidence = EvidenceTier::EkActivated;
    record.image = Some(vec![1; 32]);
    record.credential = Some(Credential {
        issue: 1,
        serial: vec![1; 16],
        issuer: KeyId::from_bytes([1; 32]),
        key: key.public().clone(),
        agreement: AgreementKey([1; 32]),
        not_before: BEGIN,
        not_after: BEGIN.plus(Duration::from_secs(7 * 24 * 3_600)),
        profile: None,
    });
    Ok(Node { record, key, named: chance.one_in(2), opinion: Opinion::Yes })
}
