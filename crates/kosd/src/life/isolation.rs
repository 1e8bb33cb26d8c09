//! A device in quarantine: it cuts its link, forgets what the authority gave it, gathers the bundle, and waits.
//!
//! Source: `docs/spec/quarantine.md` QRN-10 to QRN-15.

use std::fs;

use kos_api::device::ImageVerdict;
use kos_audit::EventType;
use kos_base::{EntryId, code, own_key::HeldKeys};
use serde_json::json;

use super::{Device, News, deed::Setback};
use crate::{
    forensics::{self, ENTRIES_MAX, Scene},
    log::Filter,
    root::{Root, file},
    standing::Standing,
};

impl Device {
    /// The order is recorded and every link cut before anything is cleared.
    pub(super) fn note_quarantine(&mut self, order: EntryId) {
        tracing::warn!(%order, "the authority ordered this device into quarantine");
        self.note(EventType::QuarantineOrdered, json!({"order": order}));
        self.service.stop();
        self.delivery_ends();
        self.ticket = None;
        self.condition.trouble = Some(code::quarantine::IN_QUARANTINE);
        self.news.tell(News::Refused(code::quarantine::IN_QUARANTINE));
    }

    /// It is in service again, and what was gathered for the guardian is no longer needed here.
    pub(super) fn note_reinstatement(&mut self, issue: u32) {
        tracing::info!(issue, "in service again after a quarantine");
        self.note(EventType::DeviceReinstated, json!({"issue": issue}));
        self.condition.clear();
        if let Err(error) = remove_bundles(&self.root, None) {
            tracing::warn!(%error, "a forensic bundle stays on this device");
        }
    }

    /// Destroys the credentials that are no keys: the certificate, the kID, and whatever else the authority said. That
    /// signed messages were heard is not known any more, so none from before this moment counts.
    pub(super) fn forget_credentials(&mut self) -> Result<(), Setback> {
        self.service.end();
        file::remove(self.root.certificate())?;
        self.keys.keep_own_keys(&HeldKeys::default(), self.clock.now())?;
        let standing = Standing { lost_at: Some(self.clock.now()), ..Standing::default() };
        standing.store(self.root.secrets())?;
        self.service.forgot(standing);
        Ok(())
    }

    /// The sealed bundle of this order: that which is there, or a new one.
    pub(super) fn gather(
        &mut self,
        order: EntryId,
        recipients: &[String],
    ) -> Result<Option<Vec<u8>>, Setback> {
        if recipients.is_empty() {
            return Ok(None);
        }
        let path = self.root.state().join(forensics::file_name(order));
        if let Some(sealed) = file::read(&path)? {
            return Ok(Some(sealed.to_vec()));
        }
        remove_bundles(&self.root, Some(order))?;
        let Some(member) = self.machine.journal().membership.as_ref() else { return Ok(None) };
        let (size, _) = self.log.sizes().unwrap_or_default();
        let last = u64::try_from(ENTRIES_MAX).unwrap_or(u64::MAX);
        let newest = Filter { from: size.saturating_sub(last), limit: ENTRIES_MAX, ..Filter::default() };
        let head = self.log.head();
        let config = Root::config_file(self.root.folder());
        let state = self.root.state();
        let scene = Scene {
            order,
            device: &member.device,
            at: self.clock.now(),
            host: &self.host,
            config: &config,
            state: &state,
            image: match self.condition.image() {
                ImageVerdict::Verified => "verified",
                ImageVerdict::Unverified => "unverified",
            },
            warnings: self.condition.warnings(),
            verifier_key: head.as_ref().map(|head| head.verifier_key.clone()),
            checkpoint: head.map(|head| head.text),
            entries: self.log.page(&newest).0,
        };
        match forensics::seal(&forensics::document(&scene), recipients) {
            Ok(sealed) => {
                file::replace(&path, &sealed, file::PRIVATE)?;
                Ok(Some(sealed))
            }
            // What the order says is obeyed without it.
            Err(error) => {
                tracing::error!(%error, "there is no forensic bundle");
                self.errors.count();
                Ok(None)
            }
        }
    }
}

/// Removes bundles, but not that of `kept`.
fn remove_bundles(root: &Root, kept: Option<EntryId>) -> Result<(), Setback> {
    let kept = kept.map(forensics::file_name);
    for entry in fs::read_dir(root.state()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(forensics::FILES) && Some(&name) != kept.as_ref() {
            file::remove(&entry.path())?;
        }
    }
    Ok(())
}
