//! Identities: what the authority says of one, and what the program finds by itself in files.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_api::chain::{ChainCheck, ChainCheckName, IdentityChain, Revocation, RevocationStatus};
use kos_base::{AgreementKey, Channel, EvidenceTier, KeyAlgorithm, PublicKey, Role, SecurityProfile};
use kos_identity::kid::{self, Traits};

use crate::{
    pki::{Key, Pki, now},
    program::User,
    sample::{ID, device},
    stand_in::{Asked, StandIn, Told},
};

pub(crate) fn chain(valid: bool) -> IdentityChain {
    IdentityChain {
        device_id: Some(ID.parse().unwrap()),
        certificates: vec![],
        kid: None,
        device_id_inputs: None,
        revocation: Revocation {
            status: RevocationStatus::Good,
            reason: None,
            crl_number: Some(7),
            this_update: None,
        },
        checks: vec![ChainCheck { name: ChainCheckName::Chain, ok: valid, detail: None }],
        valid,
    }
}

#[test]
fn a_chain_that_does_not_hold_exits_ten() {
    for (valid, code) in [(true, 0), (false, 10)] {
        let server = StandIn::start(move |asked: &Asked| {
            if asked.path.ends_with("/chain") {
                Told::item(chain(valid))
            } else {
                Told::item(device(ID, None))
            }
        });
        let words = ["identity", "chain", "--device", "7f4a", "-o", "json", "--server", &server.server()];
        let run = User::new().run(&words);
        assert_eq!((run.code, run.json()["kind"].as_str()), (code, Some("IdentityChain")), "{run:?}");
        assert_eq!(server.lines()[1], format!("GET /api/v1/devices/{ID}/chain"));
        let shown = User::new().run(&["identity", "show", "--device", "7f4a", "--server", &server.server()]);
        assert_eq!(shown.code, 0, "to show is not to judge");
    }
}

#[test]
fn an_authority_wants_to_know_which_device() {
    let server = StandIn::start(|_| Told::bytes(r#"{"apiVersion":"kos.v1","kind":"Status","item":{}}"#));
    for words in [&["identity", "chain"][..], &["decommission", "--confirm", "kitchen"]] {
        let run = User::new().run(&[words, &["--server", &server.server()]].concat());
        assert!(run.code == 2 && run.err.contains("--device DEVICE"), "{run:?}");
    }
}

#[test]
fn certificates_are_judged_without_a_server() {
    let (pki, key) = (Pki::new(now()), Key::p256());
    let own = pki.operator("anna", key.public);
    let user = User::new();
    let file = user.write("own.pem", format!("{}{}", own.pem(), pki.issuing.pem()));
    let root = user.write("root.pem", pki.root.pem());
    let verify = |more: &[&str]| {
        let run =
            user.run(&[&["identity", "verify", &file, "--root", &root, "-o", "json"][..], more].concat());
        (run.code, run.json()["item"].clone())
    };
    let (code, found) = verify(&[]);
    assert_eq!((code, &found["valid"]), (0, &true.into()), "{found}");
    assert_eq!(found["certificates"].as_array().map(Vec::len), Some(3), "the root comes last");
    let names: Vec<_> =
        found["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chain", "validity", "extension"], "what was not given is not asked");

    let [of_root, of_issuing] = pki.lists(&[]);
    let (a, b) = (user.write("a.crl", of_root), user.write("b.crl", of_issuing));
    let (code, found) = verify(&["--crl", &a, "--crl", &b]);
    assert_eq!(
        (code, &found["revocation"]["status"], &found["revocation"]["crlNumber"]),
        (0, &"good".into(), &7.into())
    );
    let [_, revoking] = pki.lists(&[&own]);
    let revoking = user.write("c.crl", kos_identity::crl::pem(&revoking));
    let (code, found) = verify(&["--crl", &a, "--crl", &revoking]);
    assert_eq!((code, &found["revocation"]["reason"]), (10, &"key-compromise".into()), "{found}");

    let later = now().plus(Duration::from_secs(100 * 86_400)).to_string();
    let (code, found) = verify(&["--at", &later]);
    assert_eq!((code, &found["checks"][1]["ok"]), (10, &false.into()), "{found}");

    let other = user.write("other.pem", Pki::new(now()).root.pem());
    let run = user.run(&["identity", "verify", &file, "--root", &other, "-o", "json"]);
    assert_eq!((run.code, run.json()["item"]["checks"][0]["ok"].as_bool()), (10, Some(false)));
}

#[test]
fn a_kid_is_judged_by_its_signer_and_against_the_certificate() {
    let (pki, key) = (Pki::new(now()), Key::p256());
    let own = pki.operator("anna", key.public.clone());
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signer = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    let grant = kid::Grant {
        subject: format!("k:attic/{ID}/001").parse().unwrap(),
        audience: "attic".parse().unwrap(),
        holder: key.public.id(),
        certificate_not_after: own.not_after(),
        traits: Traits {
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            group: None,
            user: None,
            capabilities: vec![],
            evidence: EvidenceTier::KeyOnDevice,
            channel: Channel::Stable,
            agreement_key: AgreementKey([9; 32]),
        },
    };
    let unsigned = kid::build(now(), grant, [1; 16], &signer);
    let signature = pair.sign(&unsigned.to_be_signed()).as_ref().to_vec();
    let cwt = unsigned.finish(signature);

    let user = User::new();
    let file = user.write("own.pem", format!("{}{}", own.pem(), pki.issuing.pem()));
    let root = user.write("root.pem", pki.root.pem());
    let pem = |key: &PublicKey| {
        der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, key.spki_der()).unwrap()
    };
    let (right, wrong) = (user.write("right.pem", pem(&signer)), user.write("wrong.pem", pem(&key.public)));
    let text = user.write("kid.txt", data_encoding::BASE64URL_NOPAD.encode(&cwt) + "\n");
    let bytes = user.write("kid.cwt", &cwt);
    for (kid, signer, signed) in [(&text, &right, true), (&bytes, &right, true), (&text, &wrong, false)] {
        let words =
            ["identity", "verify", &file, "--root", &root, "--kid", kid, "--kid-key", signer, "-o", "json"];
        let run = user.run(&words);
        let found = run.json()["item"]["checks"].clone();
        assert_eq!(
            (&found[3]["name"], &found[3]["ok"]),
            (&"kid-signature".into(), &signed.into()),
            "{run:?}"
        );
        // An operator's certificate has no number that a kID could speak of.
        assert_eq!((&found[4]["name"], &found[4]["ok"]), (&"kid-confirmation".into(), &false.into()));
        assert_eq!(run.code, 10);
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let user = User::new();
    let (pki, garbage) = (Pki::new(now()), user.write("garbage", "hello"));
    let root = user.write("root.pem", pki.root.pem());
    let own = user.write("own.pem", pki.issuing.pem());
    for (words, code) in [
        (&["identity", "verify", &garbage, "--root", &root][..], "KOS-E0301"),
        (&["identity", "verify", &own, "--root", &own], "KOS-E0301"),
        (&["identity", "verify", &own, "--root", &root, "--crl", &garbage], "KOS-E0308"),
        (&["identity", "verify", &own, "--authority", &garbage], "KOS-E0003"),
        (&["identity", "verify", "nowhere", "--root", &root], "KOS-E0005"),
        (&["identity", "verify", &own], "KOS-E0002"),
    ] {
        let run = user.run(&[words, &["-o", "json"]].concat());
        assert_eq!(run.failure()["code"], code, "{words:?}: {run:?}");
    }
}
