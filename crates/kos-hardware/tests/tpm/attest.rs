//! What a TPM says of itself, judged by our verifier and by `tpm2-tools`, in both directions.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use kos_attest::{
    ActivatedEk, AttestError, AttestationKey, Binding, Challenge, EkRoots, EndorsementKey, Quoted, Signed,
    VerifiedQuote, vouch,
};
use kos_base::{KeyId, PublicKey, Secret, Timestamp};
use kos_hardware::{
    HardwareError,
    tpm::{Endorsement, PcrQuote, Pcrs, Tpm},
};

use crate::emulator::Emulator;

fn binding(nonce: u8) -> Binding {
    Binding::of_request(&[1; 32], &[nonce; 32], KeyId::from_bytes([3; 32]), &[4; 32])
}

fn challenge(of: &Endorsement) -> Challenge {
    let ek = EndorsementKey::parse(&of.ek).unwrap();
    let ak = AttestationKey::parse(&of.ak).unwrap();
    Challenge::make(ek, ak, &Secret::new([5; 32]), Secret::new([6; 32])).unwrap()
}

fn activated(tpm: &Tpm) -> ActivatedEk {
    let made = challenge(&tpm.endorsement().unwrap());
    let secret = tpm.activate(made.credential(), made.seed()).unwrap();
    made.answered(binding(2), &binding(2).answer(&secret)).unwrap()
}

fn judged(activated: &ActivatedEk, quote: &PcrQuote) -> Result<VerifiedQuote, AttestError> {
    let signed = Signed { attest: &quote.attest, signature: &quote.signature };
    activated.quoted(&Quoted { signed, values: &quote.values }, kos_attest::Pcrs::DEFAULT)
}

fn pcrs() -> Pcrs {
    "0,2,4,7".parse().unwrap()
}

#[test]
fn a_tpm_proves_itself_its_keys_and_its_start() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let (blob, public): (Vec<u8>, PublicKey) = tpm.make_key().unwrap();
    let activated = activated(&tpm);
    let said = tpm.certify(&blob, binding(2).as_bytes()).unwrap();
    let signed = Signed { attest: &said.attest, signature: &said.signature };
    assert_eq!(activated.certified(&said.public, &signed, &public, "new").unwrap().key(), &public);

    let before = judged(&activated, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    assert!(before.values().bytes().iter().all(|byte| *byte == 0));
    let stale = judged(&activated, &tpm.quote(pcrs(), binding(9).as_bytes()).unwrap());
    assert_eq!(stale, Err(AttestError::Stale("the quote")));
    let others = judged(&activated, &tpm.quote("0,2".parse().unwrap(), binding(2).as_bytes()).unwrap());
    assert_eq!(others, Err(AttestError::OtherPcrs));

    emulator.judge(&["tpm2_pcrextend", &format!("7:sha256={}", "ab".repeat(32))]);
    let after = judged(&activated, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    assert_eq!(after.values().differing(before.values()), [7]);
    assert_eq!(after.follows(&before.clock()), Ok(()));
    assert_eq!(emulator.left_over(), "");
}

/// All 24, which are read in three parts.
#[test]
fn every_pcr_can_be_quoted() {
    let emulator = Emulator::new();
    let quote = emulator.open().quote(Pcrs::from_bits(0xff_ffff).unwrap(), &[1; 32]).unwrap();
    assert_eq!(quote.values.len(), 24 * 32);
}

#[test]
fn after_a_start_the_keys_are_the_same_and_an_older_state_is_found() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let first = tpm.endorsement().unwrap();
    let known = activated(&tpm);
    let early = judged(&known, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    emulator.kill();
    let copy = emulator.path("copy");
    let state = emulator.path("state");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(&state).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    emulator.start();
    assert_eq!(tpm.endorsement().unwrap(), first);
    let later = judged(&known, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    assert!(later.clock().reset_count > early.clock().reset_count, "{:?}", later.clock());
    assert_eq!(later.follows(&early.clock()), Ok(()));
    assert_eq!(early.follows(&later.clock()), Err(AttestError::WoundBack));

    emulator.kill();
    emulator.start();
    let known_now = judged(&known, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    emulator.kill();
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&copy, &state).unwrap();
    emulator.start();
    let copied = judged(&known, &tpm.quote(pcrs(), binding(2).as_bytes()).unwrap()).unwrap();
    assert_eq!(copied.follows(&known_now.clock()), Err(AttestError::WoundBack), "{copied:?} {known_now:?}");
}

/// `tpm2_activatecredential` opens what we made, and we open what `tpm2_makecredential` made.
#[test]
fn tpm2_tools_agree_about_credentials() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    for words in [
        &["tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pub"][..],
        &[
            "tpm2_createak",
            "-C",
            "ek.ctx",
            "-c",
            "ak.ctx",
            "-G",
            "ecc",
            "-g",
            "sha256",
            "-s",
            "ecdsa",
            "-u",
            "ak.pub",
            "-n",
            "ak.name",
        ],
        &["tpm2_flushcontext", "-t"],
        &["tpm2_startauthsession", "--policy-session", "-S", "session.ctx"],
        &["tpm2_policysecret", "-S", "session.ctx", "-c", "e"],
    ] {
        emulator.judge(words);
    }
    let ours = tpm.endorsement().unwrap();
    let theirs = Endorsement {
        ek: fs::read(emulator.path("ek.pub")).unwrap()[2..].to_vec(),
        ak: fs::read(emulator.path("ak.pub")).unwrap()[2..].to_vec(),
        certificate: None,
    };
    assert_eq!(ours.ek, theirs.ek, "the template of the TCG gives both the same key");

    let made = challenge(&theirs);
    assert_eq!(
        AttestationKey::parse(&theirs.ak).unwrap().name().as_slice(),
        fs::read(emulator.path("ak.name")).unwrap()
    );
    // Magic and version of the tool, then both structures with their lengths.
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let file = [&[0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1][..], &sized(made.credential()), &sized(made.seed())];
    fs::write(emulator.path("cred.blob"), file.concat()).unwrap();
    emulator.judge(&[
        "tpm2_activatecredential",
        "-c",
        "ak.ctx",
        "-C",
        "ek.ctx",
        "-i",
        "cred.blob",
        "-o",
        "secret",
        "-P",
        "session:session.ctx",
    ]);
    assert_eq!(fs::read(emulator.path("secret")).unwrap(), [6; 32]);
    emulator.judge(&["tpm2_flushcontext", "-t"]);
    emulator.judge(&["tpm2_flushcontext", "session.ctx"]);

    // The reverse, for our own attestation key.
    let name = AttestationKey::parse(&ours.ak)
        .unwrap()
        .name()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    fs::write(emulator.path("theirs"), [8; 32]).unwrap();
    emulator.judge(&[
        "tpm2_makecredential",
        "-T",
        "none",
        "-u",
        "ek.pub",
        "-s",
        "theirs",
        "-n",
        &name,
        "-o",
        "theirs.blob",
    ]);
    let blob = fs::read(emulator.path("theirs.blob")).unwrap();
    let (credential, rest) = part(&blob[8..]);
    let (seed, _) = part(rest);
    assert_eq!(tpm.activate(credential, seed).unwrap(), Secret::new([8; 32]));
    for at in [2, 40, credential.len() - 1] {
        let mut changed = credential.to_vec();
        changed[at] ^= 1;
        assert!(matches!(tpm.activate(&changed, seed), Err(HardwareError::Damaged(_))), "byte {at}");
    }
    assert_eq!(emulator.left_over(), "");
}

fn part(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[2..].split_at(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

/// `tpm2_checkquote` verifies what our device says, with the key as `tpm2_print` reads it from our public area.
#[test]
fn tpm2_tools_agree_about_quotes() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let ak = tpm.endorsement().unwrap().ak;
    let quote = tpm.quote(pcrs(), binding(2).as_bytes()).unwrap();
    let sized = [&u16::try_from(ak.len()).unwrap().to_be_bytes()[..], &ak].concat();
    fs::write(emulator.path("ak.pub"), sized).unwrap();
    fs::write(emulator.path("quote.msg"), &quote.attest).unwrap();
    fs::write(emulator.path("quote.sig"), &quote.signature).unwrap();
    emulator.judge(&["tpm2_pcrread", "sha256:0,2,4,7", "-o", "quote.pcrs", "-F", "values"]);
    assert_eq!(fs::read(emulator.path("quote.pcrs")).unwrap(), quote.values);
    let nonce: String = binding(2).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let check = |nonce: &str| {
        emulator
            .tool(&[
                "tpm2_checkquote",
                "-u",
                "ak.pub",
                "-m",
                "quote.msg",
                "-s",
                "quote.sig",
                "-f",
                "quote.pcrs",
                "-l",
                "sha256:0,2,4,7",
                "-g",
                "sha256",
                "-q",
                nonce,
            ])
            .0
    };
    assert!(check(&nonce));
    assert!(!check(&"00".repeat(32)));
}

/// A maker's CA as `swtpm_localca` plays it, and the certificate where a maker puts it.
#[test]
fn the_certificate_of_a_maker_is_found_and_vouches() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let ek = tpm.endorsement().unwrap();
    assert_eq!(ek.certificate, None);
    let issuer = emulator.certify_ek(&EndorsementKey::parse(&ek.ek).unwrap().key().raw()[1..]);
    let root =
        Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(issuer).output().unwrap().stdout;
    let ek = tpm.endorsement().unwrap();
    let der = ek.certificate.expect("the certificate is found");
    let key = EndorsementKey::parse(&ek.ek).unwrap();
    let now = Timestamp::from_unix_ms(
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap(),
    );
    let roots = EkRoots::new([&root[..]]).unwrap();
    let vouched = vouch(&key, &[&der], &roots, now).unwrap();
    assert_eq!(vouched.maker().model, "swtpm");
    assert!(vouch(&key, &[&der], &EkRoots::default(), now).is_err());
}
