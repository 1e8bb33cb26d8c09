//! The papers of a kill switch, and what is kept outside of a TPM.

use aws_lc_rs::digest::{SHA256, digest};
use kos_base::Secret;
use kos_vault::kill::{
    Assurance, Input, Machine, Notice, NoticeSubject, Notified, Output, ProgramFate, Recorded, Subject,
    SubjectKind, Target,
};

use super::{
    Seed,
    conversation::{NOW, key, sign},
};

/// The journal after each step of a life, and the notices of an authority and of a device.
pub(super) fn kill() -> Vec<Seed> {
    let mut machine = Machine::load(None).unwrap();
    let subject = Subject { kind: SubjectKind::Authority, name: "attic".into() };
    let code = machine.arm(NOW, subject, ProgramFate::Keep, &Secret::new([7; 21])).unwrap();
    let mut journals = Vec::new();
    let mut carry_out = |machine: &mut Machine| {
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Persist(journal) => journals.push(journal),
                Output::Record(_) => machine.handle_input(Input::Recorded(Recorded::Entry(7))),
                Output::Sign => machine.handle_input(Input::Signed(true)),
                Output::Notify => machine.handle_input(Input::Notified(Notified::Told)),
                Output::Destroy(_) => machine.handle_input(Input::Destroyed(Assurance::Cleared)),
                _ => {}
            }
        }
    };
    carry_out(&mut machine);
    let (key_file, vault) = ("/data/machine.key".to_owned(), "/data/machine.json".to_owned());
    let targets = vec![Target::new(key_file.clone()), Target::sealed(vault, key_file)];
    machine.fire(NOW, &code, targets, vec!["/data/log: the log".into()]).unwrap();
    carry_out(&mut machine);
    let journals = journals.into_iter().enumerate();
    let mut seeds: Vec<Seed> =
        journals.map(|(at, journal)| (format!("kill/{at}.journal"), journal)).collect();
    for (name, subject) in [("authority", NoticeSubject::Authority), ("device", NoticeSubject::Device)] {
        let is_device = subject == NoticeSubject::Device;
        let notice = Notice {
            subject,
            name: name.to_owned(),
            authority: is_device.then(|| "attic".to_owned()),
            at: NOW,
            key: key().1,
            program_deleted: is_device,
            entry: (!is_device).then_some(7),
            checkpoint: (!is_device).then(|| "kos/attic\n8\n".to_owned()),
        };
        let unsigned = notice.unsigned();
        let signature = sign(&unsigned.to_be_signed());
        seeds.push((format!("kill/{name}.cose"), unsigned.finish(signature)));
    }
    seeds
}

/// A sealed secret of which a TPM would say that another one made it, and the anchor of a counter (HW-7, HW-13).
pub(super) fn tpm_blob() -> Vec<Seed> {
    let mut sealed = b"kos-tpm\x01s\x00\x01\x00\x81".to_vec();
    sealed.extend_from_slice(&[7; 34]);
    for (byte, length) in [(1_u8, 78_u16), (2, 126)] {
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.resize(sealed.len() + usize::from(length), byte);
    }
    let sum = digest(&SHA256, &sealed);
    sealed.extend_from_slice(sum.as_ref());
    let anchor = [&[7; 34][..], &0x0180_6b01_u32.to_be_bytes(), &3_u64.to_be_bytes()].concat();
    vec![("tpm_blob/sealed".into(), sealed), ("tpm_blob/anchor".into(), anchor)]
}
