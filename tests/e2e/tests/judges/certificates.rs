//! OpenSSL and GnuTLS trust the certificates of a fleet until its lists and its responder take them back.

use anyhow::{Context as _, Result};
use kos_e2e::{
    fleet::{self, Authority},
    judge::Desk,
    operator::Operator,
    wait,
};

/// The judged: the name of their files, and what each may be used for.
const JUDGED: [(&str, &[&str]); 3] =
    [("device", &["sslclient", "sslserver"]), ("operator", &["sslclient"]), ("port", &["sslserver"])];

/// Certificates and lists of a fleet, as PEM.
struct Papers {
    desk: Desk,
    pki: String,
    lists: Vec<String>,
}

impl Papers {
    fn new(authority: &Authority) -> Result<Self> {
        let desk = Desk::new()?;
        let show = authority.json(&["authority", "show"])?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        desk.put("root.pem", text(&show["item"]["root"]["pem"]))?;
        let crls = authority.json(&["authority", "crl"])?;
        let lists = crls["items"].as_array().context("a list without items")?;
        let lists = lists.iter().map(|list| text(&list["issuerKeyId"])[..16].to_owned()).collect();
        Ok(Self { desk, pki: format!("http://127.0.0.1:{}/pki", authority.ports().pki), lists })
    }

    /// Keeps the chain of somebody under a name: the whole, the first certificate and the CA that signed it.
    fn keep(&self, name: &str, chain: &str) -> Result<()> {
        let end = "-----END CERTIFICATE-----\n";
        let mut parts =
            chain.split_inclusive(end).filter_map(|part| Some(&part[part.find("-----BEGIN C")?..]));
        let own = parts.next().context("an empty chain")?;
        let issuer = parts.next().context("a chain of one")?;
        self.desk.put(&format!("{name}.pem"), own)?;
        self.desk.put(&format!("{name}-ca.pem"), issuer)?;
        self.desk.put(&format!("{name}-chain.pem"), format!("{own}{issuer}"))
    }

    /// Fetches the lists of all CAs into one file.
    fn fetch_lists(&self) -> Result<()> {
        let mut all = String::new();
        for list in &self.lists {
            all += &self.desk.agrees(&format!("curl -sSf {}/{list}.crl.pem", self.pki), "BEGIN X509 CRL")?;
        }
        self.desk.put("lists.pem", all)
    }

    /// What the judges are asked about somebody, each with its yes and its no.
    fn questions(&self, name: &str, purposes: &[&str]) -> Vec<[String; 3]> {
        let (yes, no) =
            ("Chain verification output: Verified. The certificate is trusted.", "chain is revoked");
        let mut questions = vec![[
            format!(
                "certtool --verify --verify-profile low --load-ca-certificate root.pem --load-crl lists.pem \
                 --infile {name}-chain.pem"
            ),
            yes.to_owned(),
            no.to_owned(),
        ]];
        questions.extend(purposes.iter().map(|purpose| {
            [
                format!(
                    "openssl verify -x509_strict -check_ss_sig -purpose {purpose} -crl_check_all -CAfile \
                     root.pem -untrusted {name}-ca.pem -CRLfile lists.pem {name}.pem"
                ),
                format!("{name}.pem: OK"),
                "error 23 at 0 depth lookup: certificate revoked".to_owned(),
            ]
        }));
        questions
    }

    /// What OpenSSL and GnuTLS are told by the responder, who must be believed.
    fn responder_says(&self, name: &str, word: &str) -> Result<()> {
        let (desk, pki) = (&self.desk, &self.pki);
        let line = format!(
            "openssl ocsp -issuer {name}-ca.pem -cert {name}.pem -url {pki}/ocsp -CAfile root.pem \
             -VAfile {name}-ca.pem"
        );
        let said = desk.agrees(&line, &format!("{name}.pem: {word}"))?;
        anyhow::ensure!(said.contains("Response verify OK"), "{said}");
        let line = format!(
            "ocsptool --ask={pki}/ocsp --load-cert {name}.pem --load-issuer {name}-ca.pem --load-signer \
             {name}-ca.pem"
        );
        let said = desk.agrees(&line, "Verifying OCSP Response: Success")?;
        anyhow::ensure!(said.contains(&format!("Certificate Status: {word}")), "{said}");
        Ok(())
    }
}

#[test]
fn two_libraries_trust_every_certificate_of_a_fleet_until_it_is_taken_back() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "judged-1").unwrap();
    let anna = Operator::here(&authority, "anna", "admin").unwrap();
    let papers = Papers::new(&authority).unwrap();
    let desk = &papers.desk;
    let chain = authority.kosctl(&["identity", "show", "--device", &id, "--pem"]).unwrap();
    papers.keep("device", &chain.stdout).unwrap();
    papers.keep("operator", &std::fs::read_to_string(anna.file("operator.pem")).unwrap()).unwrap();
    let port =
        format!("openssl s_client -connect 127.0.0.1:{} -alpn kos-enrol/1 -showcerts", authority.ports().tls);
    papers.keep("port", &desk.ask(&port).unwrap().1).unwrap();
    papers.fetch_lists().unwrap();
    for (name, purposes) in JUDGED {
        for [question, yes, _] in papers.questions(name, purposes) {
            desk.agrees(&question, &yes).unwrap();
        }
        papers.responder_says(name, "good").unwrap();
    }
    let hosts = "openssl verify -verify_hostname localhost -verify_ip 127.0.0.1 -CAfile root.pem";
    desk.agrees(&format!("{hosts} -untrusted port-ca.pem port.pem"), "port.pem: OK").unwrap();
    let wrong = "openssl verify -purpose sslserver -CAfile root.pem -untrusted operator-ca.pem operator.pem";
    desk.disagrees(wrong, "unsuitable certificate purpose").unwrap();

    let name = authority.device(&id).unwrap()["name"].as_str().unwrap().to_owned();
    authority.json(&["decommission", "--device", &id, "--confirm", &name]).unwrap();
    authority.device_becomes(&id, "state", |state| state == "decommissioned").unwrap();
    device.program().unwrap().ended().unwrap();
    authority.json(&["operator", "remove", "anna", "--yes"]).unwrap();
    for (name, purposes) in JUDGED {
        let gone = name != "port";
        for [question, yes, no] in papers.questions(name, purposes) {
            wait::until(&format!("the lists to say so of the {name}"), || {
                papers.fetch_lists()?;
                let (agreed, said) = desk.ask(&question)?;
                Ok((agreed != gone && said.contains(if gone { &no } else { &yes })).then_some(()))
            })
            .unwrap();
        }
        papers.responder_says(name, if gone { "revoked" } else { "good" }).unwrap();
    }
}
