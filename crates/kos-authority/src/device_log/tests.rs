use kos_audit::{
    Actor, BootId, Checkpoint, Details, Entry, EventType, Frontier, Sequence, TreeHead, UnsignedEntry,
    tree::leaf_hash,
};
use kos_base::{EntryId, key::SignatureForm};
use kos_net::keys::SigningKey;
use serde_json::Value;

use super::{book::CRITICAL_ANCHOR_EVERY, *};
use crate::{
    fixtures::{self, Enrolled},
    store::EntryQuery,
};

const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// A device that writes what it wants.
struct Writer {
    signer: SigningKey,
    key: LogKey,
    leaves: Vec<Vec<u8>>,
}

impl Writer {
    fn new(shared: &Shared, device: &Device) -> Self {
        let signer = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
        let key = LogKey::of_device(&shared.name, &device.id, signer.public().clone()).unwrap();
        Self { signer, key, leaves: Vec::new() }
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signer.sign(SignatureForm::Fixed, message).unwrap().try_into().unwrap()
    }

    fn leaf(&self, index: u64, event: EventType, detail: &str) -> Vec<u8> {
        let details = serde_json::json!({"detail": detail});
        let Value::Object(details) = details else { unreachable!() };
        let entry = Entry {
            actor: Actor::Device("kdev-7f4ac30123456789".parse().unwrap()),
            boot_id: BootId::new(EntryId::from_parts(NOW, [7; 10])),
            details: Details::new(details).unwrap(),
            event_type: event,
            id: EntryId::from_parts(NOW, [1; 10]),
            key_id: self.key.id(),
            sequence: Sequence::at_index(index).unwrap(),
            target: None,
            timestamp: NOW,
        };
        let unsigned = UnsignedEntry::new(&entry, &self.key).unwrap();
        let signature = self.sign(&unsigned.to_be_signed());
        unsigned.finish(signature).as_bytes().to_vec()
    }

    fn append(&mut self, event: EventType, detail: &str) {
        let index = u64::try_from(self.leaves.len()).unwrap();
        let leaf = self.leaf(index, event, detail);
        self.leaves.push(leaf);
    }

    fn checkpoint(&self, leaves: &[Vec<u8>]) -> String {
        let mut frontier = Frontier::empty();
        leaves.iter().for_each(|leaf| frontier.append(leaf_hash(leaf)).unwrap());
        self.signed(frontier.head())
    }

    fn signed(&self, head: TreeHead) -> String {
        let checkpoint = Checkpoint { origin: self.key.origin().clone(), head, time: NOW };
        let signature = self.sign(checkpoint.to_be_signed().as_bytes());
        checkpoint.finish(&self.key, signature).to_string()
    }

    /// The message with the leaves from `first` on.
    fn part(&self, first: usize) -> Log {
        Log {
            key: self.signer.public().raw().try_into().unwrap(),
            first: u64::try_from(first).unwrap(),
            leaves: self.leaves[first..].to_vec(),
            checkpoint: self.checkpoint(&self.leaves),
        }
    }
}

/// The details of every entry of this type in the authority's log.
async fn recorded(shared: &Shared, event: EventType) -> Vec<Value> {
    let entries = entries(shared, event).await;
    entries.into_iter().map(|entry| Value::Object(entry.details.members().clone())).collect()
}

async fn entries(shared: &Shared, event: EventType) -> Vec<Entry> {
    let query = EntryQuery { event: Some(event), ..EntryQuery::default() };
    let rows = shared.store.entries(&query, 100).await.unwrap();
    let verified = rows.into_iter().map(|row| {
        kos_audit::SealedEntry::from_bytes(row.leaf).verify(shared.log.key()).unwrap().entry().clone()
    });
    verified.collect()
}

async fn attic() -> (tempfile::TempDir, Arc<Shared>, Device) {
    let (folder, authority) = fixtures::attic().await;
    let shared = Arc::clone(authority.shared());
    let (_, device) = Enrolled::device(&shared, 1).await;
    // Nobody serves it: the parts are enough.
    std::mem::forget(authority);
    (folder, shared, device)
}

#[tokio::test]
async fn what_is_acknowledged_is_verified_copied_and_anchored() {
    let (_folder, shared, device) = attic().await;
    let mut writer = Writer::new(&shared, &device);
    writer.append(EventType::LogBegun, "");
    writer.append(EventType::DeviceBooted, "");
    let held = take(&shared, &device, writer.part(0), NOW).await.unwrap();
    assert_eq!(held.size, 2);
    assert_eq!(recorded(&shared, EventType::DeviceLogAnchored).await.len(), 1);
    // Ordinary ones wait, critical ones do not.
    writer.append(EventType::DeviceStopped, "");
    assert_eq!(take(&shared, &device, writer.part(2), NOW).await.unwrap().size, 3);
    assert_eq!(recorded(&shared, EventType::DeviceLogAnchored).await.len(), 1);
    anchor_due(&shared, NOW, false).await.unwrap();
    assert_eq!(recorded(&shared, EventType::DeviceLogAnchored).await.len(), 1);
    anchor_due(&shared, NOW, true).await.unwrap();
    assert_eq!(recorded(&shared, EventType::DeviceLogAnchored).await.len(), 2);
    writer.append(EventType::KillArmed, "");
    // Another anchor is not made for it at once: the answer waits for the next one.
    let held = take(&shared, &device, writer.part(3), NOW).await.unwrap();
    let made = entries(&shared, EventType::DeviceLogAnchored).await.pop().unwrap();
    assert_eq!(made.timestamp, NOW.plus(CRITICAL_ANCHOR_EVERY));
    let anchors = recorded(&shared, EventType::DeviceLogAnchored).await;
    assert_eq!((anchors.len(), &anchors[2]["size"]), (3, &Value::from(4)));
    assert_eq!(anchors[2]["rootHash"], TreeHash::from_bytes(held.root).to_string());
    assert_eq!(anchors[2]["logKeyId"], writer.key.id().to_string());
    // What came before is no lie, and what is beyond the end is not there.
    assert_eq!(take(&shared, &device, writer.part(1), NOW).await.unwrap(), held);
    assert!(recorded(&shared, EventType::DeviceLogRefused).await.is_empty());
}

#[tokio::test]
async fn every_lie_is_refused_recorded_and_kept() {
    let (folder, shared, device) = attic().await;
    let mut writer = Writer::new(&shared, &device);
    for _ in 0..3 {
        writer.append(EventType::DeviceBooted, "true");
    }
    take(&shared, &device, writer.part(0), NOW).await.unwrap();
    let refused = async |log: Log, wanted: Code| {
        assert_eq!(take(&shared, &device, log, NOW).await, Err(wanted));
    };
    // Rewound: the log's key signs fewer entries.
    let offer = |leaves: &[Vec<u8>]| Log {
        first: u64::try_from(leaves.len()).unwrap(),
        leaves: Vec::new(),
        checkpoint: writer.checkpoint(leaves),
        ..writer.part(0)
    };
    refused(offer(&writer.leaves[..2]), code::audit::DEVICE_LOG_REWOUND).await;
    // Forked: as many, and others.
    let other = [&writer.leaves[..2], &[writer.leaf(2, EventType::DeviceBooted, "false")]].concat();
    refused(offer(&other), code::audit::DEVICE_LOG_FORKED).await;
    // Edited, and a gap: an entry that was not signed for its place.
    for index in [2, 4] {
        let leaf = writer.leaf(index, EventType::DeviceBooted, "false");
        let leaves = [&writer.leaves[..], core::slice::from_ref(&leaf)].concat();
        let log =
            Log { first: 3, leaves: vec![leaf], checkpoint: writer.checkpoint(&leaves), ..writer.part(0) };
        refused(log, code::audit::DEVICE_LOG_EDITED).await;
    }
    // A checkpoint that somebody else signed.
    let stranger = Writer::new(&shared, &device);
    let log = Log { checkpoint: stranger.checkpoint(&writer.leaves), ..offer(&writer.leaves) };
    refused(log, code::audit::DEVICE_LOG_EDITED).await;
    let told = recorded(&shared, EventType::DeviceLogRefused).await;
    let reasons: Vec<_> = told.iter().map(|details| details["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["rewound", "forked", "edited", "checkpoint"]);
    let evidence = folder.path().join("authority/device-logs").join(device.id.as_ref()).join("evidence");
    for details in &told {
        let bytes = std::fs::read(evidence.join(details["evidence"].as_str().unwrap())).unwrap();
        let digest = data_encoding::HEXLOWER.encode(&sha256(&bytes));
        assert_eq!(details["evidenceSha256"], digest);
        assert!(body::read::<Log>(&bytes).is_ok());
    }
    // Nothing of it has changed what is held, and the truth is taken as before.
    let held = take(&shared, &device, offer(&writer.leaves), NOW).await.unwrap();
    assert_eq!(held.size, 3);
}

#[tokio::test]
async fn another_key_begins_another_log_and_too_many_are_refused() {
    let (folder, shared, device) = attic().await;
    let mut first = Writer::new(&shared, &device);
    first.append(EventType::LogBegun, "first");
    take(&shared, &device, first.part(0), NOW).await.unwrap();
    for number in 2..=LOGS_MAX {
        let mut next = Writer::new(&shared, &device);
        next.append(EventType::LogBegun, "again");
        assert_eq!(take(&shared, &device, next.part(0), NOW).await.unwrap().size, 1, "{number}");
        let anchor = shared.store.log_anchor(&device.id).await.unwrap().unwrap();
        assert_eq!(anchor.number, number);
    }
    let mut last = Writer::new(&shared, &device);
    last.append(EventType::LogBegun, "again");
    assert_eq!(take(&shared, &device, last.part(0), NOW).await, Err(code::audit::DEVICE_LOG_FULL));
    assert!(shared.device_logs.trouble()[0].ends_with("too-many-logs"));
    let told = recorded(&shared, EventType::DeviceLogRefused).await;
    let reasons: Vec<_> = told.iter().map(|details| details["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["other-key", "too-many-logs"]);
    // It is not silent for ever.
    assert_eq!(take(&shared, &device, last.part(0), NOW.plus(LOGS_TIME)).await.unwrap().size, 1);
    assert!(shared.device_logs.trouble().is_empty());
    assert!(
        folder.path().join("authority/device-logs").join(device.id.as_ref()).join("1/checkpoint").is_file()
    );
}

#[tokio::test]
async fn history_below_the_anchor_is_not_replaced_while_the_copy_is_gone() {
    let (folder, shared, device) = attic().await;
    let mut writer = Writer::new(&shared, &device);
    for _ in 0..5 {
        writer.append(EventType::KillArmed, "");
    }
    take(&shared, &device, writer.part(0), NOW).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("authority/device-logs").join(device.id.as_ref())).unwrap();
    let offer = |leaves: &[Vec<u8>]| Log {
        first: u64::try_from(leaves.len()).unwrap(),
        leaves: Vec::new(),
        checkpoint: writer.checkpoint(leaves),
        ..writer.part(0)
    };
    let other = [&writer.leaves[..4], &[writer.leaf(4, EventType::DeviceBooted, "false")]].concat();
    let rewound = take(&shared, &device, offer(&writer.leaves[..3]), NOW).await;
    assert_eq!(rewound, Err(code::audit::DEVICE_LOG_REWOUND));
    let forked = take(&shared, &device, offer(&other), NOW).await;
    assert_eq!(forked, Err(code::audit::DEVICE_LOG_FORKED));
    // The true one is asked for again, and until it is here this is said.
    assert_eq!(take(&shared, &device, offer(&writer.leaves), NOW).await.unwrap().size, 0);
    let told = shared.device_logs.trouble();
    assert!(told[0].contains(device.id.as_ref()) && told[0].contains("0 of 5"), "{told:?}");
    assert_eq!(take(&shared, &device, writer.part(0), NOW).await.unwrap().size, 5);
    assert!(shared.device_logs.trouble().is_empty());
}

#[tokio::test]
async fn a_copy_that_was_changed_is_not_extended_and_one_that_is_gone_comes_again() {
    let (folder, shared, device) = attic().await;
    let mut writer = Writer::new(&shared, &device);
    for _ in 0..5 {
        writer.append(EventType::KillArmed, "");
    }
    take(&shared, &device, writer.part(0), NOW).await.unwrap();
    let copy = folder.path().join("authority/device-logs").join(device.id.as_ref()).join("1");
    let tile = copy.join("tile/0/000.p/5");
    let genuine = std::fs::read(&tile).unwrap();
    let mut bent = genuine.clone();
    bent[40] ^= 1;
    std::fs::write(&tile, &bent).unwrap();
    writer.append(EventType::KillArmed, "");
    assert_eq!(take(&shared, &device, writer.part(5), NOW).await, Err(code::audit::DEVICE_LOG_COPY));
    std::fs::remove_dir_all(&copy).unwrap();
    assert_eq!(take(&shared, &device, writer.part(5), NOW).await.unwrap().size, 0);
    assert_eq!(take(&shared, &device, writer.part(0), NOW).await.unwrap().size, 6);
    // Another log in its place is none, although its key signed it.
    std::fs::remove_dir_all(&copy).unwrap();
    writer.leaves[1] = writer.leaf(1, EventType::KillArmed, "another");
    assert_eq!(take(&shared, &device, writer.part(0), NOW).await, Err(code::audit::DEVICE_LOG_FORKED));
}
