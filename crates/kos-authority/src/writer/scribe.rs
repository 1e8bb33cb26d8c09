//! Turns changes into signed entries, in order, and seals what they say about people.

use std::{collections::HashMap, sync::Arc};

use kos_audit::{
    Actor as EntryActor, Details, Entry, Personal, Place, SealedEntry, Sequence, SubjectKey, Target,
    VerifiedEntry, Weight,
};
use kos_base::{AuthorityName, EntryId, Secret, Timestamp};
use kos_identity::registry::Actor;
use kos_net::entropy;

use super::Progress;
use crate::{
    log::{LogSigner, Tail},
    record::{About, Change, Draft, Person, event_of},
    search,
    store::{StoreError, StoredEntry, Subject, Tile, WriteHalf},
};

/// Keys of people that are kept at hand. Many sources that knock once must not fill the memory.
const KEYS_MAX: usize = 10_000;

/// Writes the entries of one group after the other.
pub(super) struct Scribe {
    signer: LogSigner,
    authority: AuthorityName,
    tail: Tail,
    pending: Vec<(StoredEntry, SealedEntry)>,
    /// How many entries there were when the last critical one was in.
    critical_size: u64,
    keys: HashMap<String, Arc<SubjectKey>>,
}

/// What a group adds to the log.
pub(super) struct Grown {
    pub(super) entries: Vec<StoredEntry>,
    pub(super) tiles: Vec<Tile>,
    pub(super) checkpoint: String,
}

impl Scribe {
    pub(super) fn new(signer: LogSigner, authority: AuthorityName, tail: Tail) -> Self {
        Self { signer, authority, tail, pending: Vec::new(), critical_size: 0, keys: HashMap::new() }
    }

    /// How many entries are in the log.
    pub(super) const fn size(&self) -> u64 {
        self.tail.size()
    }

    /// How far the log is.
    pub(super) fn progress(&self) -> Progress {
        Progress { log_size: self.size(), critical_size: self.critical_size.min(self.size()) }
    }

    /// Where the next entry will stand.
    pub(super) fn next_index(&self) -> u64 {
        self.size() + u64::try_from(self.pending.len()).unwrap_or(u64::MAX)
    }

    /// The log's edge before a group, for [`Self::return_to`].
    pub(super) fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Forgets everything since the log had this edge: the group was not written.
    pub(super) fn return_to(&mut self, tail: Tail) {
        self.tail = tail;
        self.pending.clear();
        self.keys.clear();
    }

    /// Forgets the entries from `index` on: their request was not written.
    pub(super) fn forget_from(&mut self, index: u64) {
        let kept = usize::try_from(index.saturating_sub(self.size())).unwrap_or(usize::MAX);
        self.pending.truncate(kept);
        // A key that the request brought went with it.
        self.keys.clear();
    }

    /// Forgets the keys that are at hand: one of them is erased.
    pub(super) fn forget_people(&mut self) {
        self.keys.clear();
    }

    /// Writes the entry of one change.
    pub(super) async fn record(
        &mut self,
        half: &mut WriteHalf,
        at: Timestamp,
        actor: &Actor,
        change: &Change,
    ) -> Result<(), StoreError> {
        let Draft { event, about, details, people } = event_of(change);
        let index = self.next_index();
        let sequence = Sequence::at_index(index).map_err(|e| StoreError::Entry(e.to_string()))?;
        let id = EntryId::from_parts(at, draw()?);

        let actor = match Person::behind(actor) {
            Some(person) => {
                let sealed = self.seal(half, &person, id, Place::Actor).await?;
                match actor {
                    Actor::Operator(_) => EntryActor::Operator(sealed),
                    Actor::LocalUser(_) => EntryActor::LocalUser(sealed),
                    Actor::Authority | Actor::Device(_) | Actor::Agent(_) | Actor::Unknown(_) => {
                        EntryActor::Unknown(Some(sealed))
                    }
                }
            }
            None => match actor {
                Actor::Device(device) => EntryActor::Device(device.clone()),
                Actor::Agent(agent) => {
                    let label = agent.as_ref().parse().map_err(|_| StoreError::Entry(agent.to_string()))?;
                    EntryActor::Agent(label)
                }
                _ => EntryActor::Authority(self.authority.clone()),
            },
        };
        let target = match about {
            About::Nothing => None,
            About::Authority => Some(Target::Authority(self.authority.clone())),
            About::Device(device) => Some(Target::Device(device)),
            About::Ticket(ticket) => Some(Target::Ticket(ticket)),
            About::Issuer(key) => Some(Target::Issuer(key)),
            About::Rule(name) => {
                let label = name.as_ref().parse().map_err(|_| StoreError::Entry(name.to_string()))?;
                Some(Target::Rule(label))
            }
            About::Vault(environment) => {
                let label = environment.as_str().parse();
                Some(Target::Vault(label.map_err(|_| StoreError::Entry(environment.to_string()))?))
            }
            About::Alert(id) => Some(Target::Alert((&id).into())),
            About::Guardian(name) => {
                let label = name.as_ref().parse().map_err(|_| StoreError::Entry(name.to_string()))?;
                Some(Target::Guardian(label))
            }
            About::Operator(name) => {
                let person = Person::Operator(name);
                Some(Target::Operator(self.seal(half, &person, id, Place::Target).await?))
            }
        };
        let mut details = Details::new(details).map_err(|e| StoreError::Entry(e.to_string()))?;
        for (key, person) in people {
            let sealed = self.seal(half, &person, id, Place::Detail(key)).await?;
            details = details.with_personal(key, &sealed).map_err(|e| StoreError::Entry(e.to_string()))?;
        }
        let entry = Entry {
            actor,
            boot_id: self.signer.boot(),
            details,
            event_type: event,
            id,
            key_id: self.signer.key().id(),
            sequence,
            target,
            timestamp: at,
        };
        let sealed = self.signer.seal(&entry)?;
        self.pending.push((row(&entry, index, &sealed), sealed));
        if event.weight() == Weight::Critical {
            self.critical_size = index + 1;
        }
        Ok(())
    }

    /// Takes an entry over that was signed before, if it is the next one.
    pub(super) fn adopt(&mut self, entry: &VerifiedEntry) -> Result<(), StoreError> {
        let index = self.next_index();
        let sequence = Sequence::at_index(index).map_err(|e| StoreError::Entry(e.to_string()))?;
        if entry.entry().sequence != sequence {
            return Err(StoreError::Entry(format!("entry {index} does not follow")));
        }
        let leaf = entry.leaf().clone();
        self.pending.push((row(entry.entry(), index, &leaf), leaf));
        Ok(())
    }

    /// Takes the entries of the group into the tree and signs the new head.
    pub(super) fn finish_group(&mut self, at: Timestamp) -> Result<Grown, StoreError> {
        let (entries, leaves): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().unzip();
        let tiles = self.tail.append(&leaves)?;
        let checkpoint = self.signer.checkpoint(self.tail.head(), at)?.to_string();
        Ok(Grown { entries, tiles, checkpoint })
    }

    async fn seal(
        &mut self,
        half: &mut WriteHalf,
        person: &Person,
        entry: EntryId,
        place: Place<'_>,
    ) -> Result<Personal, StoreError> {
        let key = self.key_of(half, person).await?;
        let text = kos_base::text::printable(person.text(), 200);
        Personal::seal(&text, &key, draw()?, entry, place).map_err(|e| StoreError::Entry(e.to_string()))
    }

    async fn key_of(&mut self, half: &mut WriteHalf, person: &Person) -> Result<Arc<SubjectKey>, StoreError> {
        let name = person.subject();
        if let Some(key) = self.keys.get(&name) {
            return Ok(Arc::clone(key));
        }
        let key = match half.subject_of(&name).await? {
            Some(held) => SubjectKey::new(held.secret),
            None => {
                let secret: Secret<32> = entropy::secret().map_err(|e| StoreError::Failed(e.to_string()))?;
                let key = SubjectKey::new(Secret::new(*secret.expose()));
                let subject = Subject { id: key.subject().to_string(), person: name.clone(), secret };
                half.add_subject(&subject).await?;
                key
            }
        };
        if self.keys.len() >= KEYS_MAX {
            self.keys.clear();
        }
        let key = Arc::new(key);
        self.keys.insert(name, Arc::clone(&key));
        Ok(key)
    }
}

fn row(entry: &Entry, position: u64, sealed: &SealedEntry) -> StoredEntry {
    StoredEntry {
        position,
        id: entry.id,
        at: entry.timestamp,
        event: entry.event_type.to_string(),
        actor: search::actor_id(&entry.actor),
        target: entry.target.as_ref().map(search::target_id),
        leaf: sealed.as_bytes().to_vec(),
    }
}

fn draw<const N: usize>() -> Result<[u8; N], StoreError> {
    entropy::array().map_err(|e| StoreError::Failed(e.to_string()))
}
