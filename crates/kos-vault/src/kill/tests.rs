use kos_base::{KeyAlgorithm, PublicKey, Secret, Timestamp, key::SignatureForm};

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);

fn subject() -> Subject {
    Subject { kind: SubjectKind::Authority, name: "attic".to_owned() }
}

fn outputs(machine: &mut Machine) -> Vec<Output> {
    core::iter::from_fn(|| machine.poll_output()).collect()
}

/// An armed machine as the next start finds it, and its code.
fn armed() -> (Machine, ConfirmCode) {
    let mut machine = Machine::load(None).unwrap();
    let code = machine.arm(NOW, subject(), ProgramFate::Keep, &Secret::new([7; 21])).unwrap();
    let outputs = outputs(&mut machine);
    let [Output::Record(Moment::Armed(ProgramFate::Keep)), Output::Persist(journal)] = outputs.as_slice()
    else {
        panic!("{outputs:?}")
    };
    (Machine::load(Some(journal)).unwrap(), code)
}

fn fire(machine: &mut Machine, code: &ConfirmCode) -> Result<(), KillError> {
    machine.fire(
        NOW,
        code,
        vec![Target::new("keys".into()), Target::sealed("store".into(), "keys".into())],
        vec!["log".into()],
    )
}

/// Answers every step, and returns the words of the outputs and the last journal.
fn carry_out(machine: &mut Machine) -> (Vec<&'static str>, Option<Journal>) {
    let (mut words, mut journal) = (Vec::new(), None);
    while let Some(output) = machine.poll_output() {
        words.push(match output {
            Output::Persist(bytes) => {
                journal = Some(Journal::from_bytes(&bytes).unwrap());
                "persist"
            }
            Output::Forget => "forget",
            Output::Record(Moment::Fired(_)) => {
                machine.handle_input(Input::Recorded(Recorded::Entry(41)));
                "record"
            }
            Output::Record(_) => "note",
            Output::Sign => {
                machine.handle_input(Input::Signed(true));
                "sign"
            }
            Output::Notify => {
                machine.handle_input(Input::Notified(Notified::Told));
                "notify"
            }
            Output::Destroy(_) => {
                machine.handle_input(Input::Destroyed(Assurance::Cleared));
                "destroy"
            }
            Output::Report(_) => "report",
            Output::End => "end",
        });
    }
    (words, journal)
}

#[test]
fn everything_comes_in_its_order_and_is_durable_before_the_next() {
    let (mut machine, code) = armed();
    fire(&mut machine, &code).unwrap();
    let (words, journal) = carry_out(&mut machine);
    let wanted = "persist record persist sign persist notify persist destroy persist destroy persist report persist end";
    assert_eq!(words.join(" "), wanted);
    let Some(Journal::Fired(firing)) = journal else { panic!("{journal:?}") };
    assert_eq!((firing.stage, firing.entry, firing.noticed), (Stage::Done, Some(41), true));
    assert_eq!(firing.notified, Notified::Told);
    // What is sealed is worth nothing without its key, and only because that went first.
    let outcomes: Vec<_> = firing.targets.iter().filter_map(|target| target.outcome.clone()).collect();
    assert_eq!(outcomes, [Assurance::Cleared, Assurance::CryptoErased]);
    // Done is done: a later start asks for nothing.
    let mut machine = Machine::load(Some(&Journal::Fired(firing).to_bytes())).unwrap();
    machine.resume();
    assert_eq!(machine.poll_output(), None);
    assert_eq!(machine.arm(NOW, subject(), ProgramFate::Keep, &Secret::new([7; 21])), Err(KillError::Fired));
    assert_eq!(machine.disarm(), Err(KillError::Fired));
}

#[test]
fn a_start_at_any_point_goes_on_from_the_journal() {
    let (mut machine, code) = armed();
    fire(&mut machine, &code).unwrap();
    let mut journals = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            Output::Persist(bytes) => journals.push(bytes),
            Output::Record(_) => machine.handle_input(Input::Recorded(Recorded::Failed)),
            Output::Sign => machine.handle_input(Input::Signed(true)),
            Output::Notify => machine.handle_input(Input::Notified(Notified::Unreached)),
            Output::Destroy(_) => machine.handle_input(Input::Destroyed(Assurance::Cleared)),
            _ => {}
        }
    }
    let rest = |bytes: &[u8]| {
        let mut machine = Machine::load(Some(bytes)).unwrap();
        machine.resume();
        let words = carry_out(&mut machine).0;
        words.into_iter().filter(|word| *word != "persist").collect::<Vec<_>>().join(" ")
    };
    let rests: Vec<_> = journals.iter().map(|journal| rest(journal)).collect();
    assert_eq!(
        rests,
        [
            "record sign notify destroy destroy report end",
            "sign notify destroy destroy report end",
            "destroy destroy report end",
            "destroy destroy report end",
            "destroy report end",
            "report end",
            "",
        ]
    );
}

#[test]
fn what_takes_longer_than_its_time_is_given_up() {
    let (mut machine, code) = armed();
    fire(&mut machine, &code).unwrap();
    assert!(matches!(machine.poll_output(), Some(Output::Persist(_))));
    assert_eq!(machine.poll_output(), Some(Output::Record(Moment::Fired(ProgramFate::Keep))));
    machine.handle_timeout();
    let (words, journal) = carry_out(&mut machine);
    assert_eq!(
        words.join(" "),
        "persist sign persist persist destroy persist destroy persist report persist end"
    );
    let Some(Journal::Fired(firing)) = journal else { panic!("{journal:?}") };
    assert!(!firing.recorded && firing.noticed && firing.notified == Notified::Unreached);
}

#[test]
fn what_could_not_be_destroyed_is_tried_again_by_the_next_start() {
    let (mut machine, code) = armed();
    fire(&mut machine, &code).unwrap();
    let mut last = Vec::new();
    while let Some(output) = machine.poll_output() {
        match output {
            Output::Persist(bytes) => last = bytes,
            Output::Record(_) => machine.handle_input(Input::Recorded(Recorded::Noted)),
            Output::Sign => machine.handle_input(Input::Signed(false)),
            Output::Notify => machine.handle_input(Input::Notified(Notified::Nobody)),
            Output::Destroy(path) => machine.handle_input(Input::Destroyed(if path == "keys" {
                Assurance::Failed("busy".to_owned())
            } else {
                Assurance::Absent
            })),
            _ => {}
        }
    }
    let mut machine = Machine::load(Some(&last)).unwrap();
    machine.resume();
    assert_eq!(machine.poll_output(), Some(Output::Destroy("keys".to_owned())));
}

#[test]
fn the_third_wrong_code_disarms_and_each_is_counted_first() {
    let (mut machine, code) = armed();
    for left in [2, 1] {
        let wrong = fire(&mut machine, &ConfirmCode::typed("0000-0000"));
        assert_eq!(wrong, Err(KillError::Code { left }));
        let outputs = outputs(&mut machine);
        let [Output::Persist(journal)] = outputs.as_slice() else { panic!("{outputs:?}") };
        machine = Machine::load(Some(journal)).unwrap();
    }
    assert_eq!(fire(&mut machine, &ConfirmCode::typed("")), Err(KillError::Disarmed));
    assert_eq!(outputs(&mut machine), [Output::Forget, Output::Record(Moment::Disarmed { codes: true })]);
    assert_eq!(fire(&mut machine, &code), Err(KillError::NotArmed));
}

#[test]
fn an_arming_ends_with_its_time_and_with_a_clock_that_is_set_back() {
    let (mut machine, code) = armed();
    let late = NOW.plus(ARMED_FOR);
    let early = NOW.minus(Duration::from_millis(1));
    for at in [late, early] {
        assert_eq!(machine.fire(at, &code, vec![], vec![]), Err(KillError::Expired));
        assert_eq!(machine.armed_until(at), None);
        assert!(machine.admit_arming(at).is_ok());
    }
    assert_eq!(machine.admit_arming(NOW), Err(KillError::Armed));
    assert_eq!(machine.armed_until(NOW), Some(late));
    assert_eq!(outputs(&mut machine), []);
    assert_eq!(machine.disarm(), Ok(true));
    assert_eq!(machine.disarm(), Ok(false));
}

#[test]
fn a_code_is_typed_in_any_case_and_never_shown_by_accident() {
    let (mut machine, code) = armed();
    let shown = code.shown();
    assert_eq!(shown.len(), 9);
    assert!(!format!("{code:?} {machine:?}").contains(&shown[..4]));
    let typed =
        ConfirmCode::typed(&shown.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l"));
    assert_eq!(fire(&mut machine, &typed), Ok(()));
}

#[test]
fn a_journal_that_is_not_ours_starts_nothing() {
    let (machine, _) = armed();
    let Standing::Armed(arming) = machine.standing() else { panic!() };
    let good = Journal::Armed(arming.clone()).to_bytes();
    let text = String::from_utf8(good.get(65..).unwrap().to_vec()).unwrap();
    let summed = |json: &str| {
        let digest = data_encoding::HEXLOWER.encode(&kos_base::digest::sha256(json.as_bytes()));
        format!("{digest}\n{json}")
    };
    assert!(Machine::load(Some(summed(&text).as_bytes())).is_ok());
    for bad in [
        String::new(),
        "{}".to_owned(),
        text.replace("kos.kill.v1", "kos.kill.v2"),
        text.replace("\"wrong\":0", "\"wrong\":0,\"more\":1"),
        text.replace("\"wrong\":0", "\"wrong\":256"),
        text.clone() + "x",
    ] {
        assert_eq!(Machine::load(Some(summed(&bad).as_bytes())).err(), Some(KillError::Journal), "{bad}");
    }
    for at in 0..good.len() {
        let mut bent = good.clone();
        bent[at] ^= 4;
        assert!(Machine::load(Some(&bent)).is_err(), "{at}");
        assert!(Machine::load(good.get(..at)).is_err(), "{at}");
    }
}

#[test]
fn a_notice_is_believed_only_as_it_was_signed() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let key = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let notice = Notice {
        subject: NoticeSubject::Authority,
        name: "attic".to_owned(),
        authority: None,
        at: NOW,
        key: key.clone(),
        program_deleted: true,
        entry: Some(41),
        checkpoint: Some("attic\n".to_owned()),
    };
    let unsigned = notice.unsigned();
    let signature = pair.sign(&unsigned.to_be_signed());
    assert!(key.verify(SignatureForm::Fixed, &unsigned.to_be_signed(), signature.as_ref()).is_ok());
    let signed = unsigned.finish(signature.as_ref().to_vec());
    assert_eq!(verify_notice(&signed).unwrap().notice(), &notice);
    for at in 0..signed.len() {
        let mut bent = signed.clone();
        bent[at] ^= 1;
        assert!(verify_notice(&bent).is_err(), "byte {at}");
    }
}
