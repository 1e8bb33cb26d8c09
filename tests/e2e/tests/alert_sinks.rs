//! Guardians of every kind, with receivers that are not ours: rsyslog, a mail server, a device, a stream.
#![cfg(test)]

use std::{fs, process::Command};

use kos_e2e::{
    fleet::{self, Authority, Ports},
    judge::{self, Desk},
    operator::Operator,
    program::{self, Program},
    wait,
};
use serde_json::Value;

/// A rule whose text would break out of every format.
const HOSTILE: &str = "\
rules:
- name: each-ticket
  severity: critical
  summary: 'a=\"b\\|c]d Bcc: eve@example.org'
  matches: [{events: [ticket_created]}]
  when: each
  per: target
";
const SUMMARY: &str = "a=\"b\\|c]d Bcc: eve@example.org";

fn write(desk: &Desk, name: &str, content: &str) -> String {
    desk.put(name, content).unwrap();
    desk.at(name)
}

fn hostile_rules(authority: &Authority, desk: &Desk) {
    let file = write(desk, "rules.yaml", HOSTILE);
    let done = authority.kosctl(&["audit", "alerts", "rules", "apply", &file]).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}

/// Raises an alert, and returns it.
fn raise(authority: &Authority) -> Value {
    let before = alerts(authority).len();
    authority.ticket(&["--role", "sensor"]).unwrap();
    wait::until("the alert", || {
        let all = alerts(authority);
        Ok((all.len() > before).then(|| all[0].clone()))
    })
    .unwrap()
}

fn alerts(authority: &Authority) -> Vec<Value> {
    let list = authority.json(&["audit", "alerts", "list"]).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    all.filter(|alert| alert["rule"] == "each-ticket").cloned().collect()
}

/// A CA and a certificate for `localhost`: paths of the CA, the certificate, the key.
fn certificates(desk: &Desk) -> [String; 3] {
    let openssl = |words: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(words);
        let done = program::finish(openssl, "").unwrap();
        assert!(done.status.success(), "{}", done.stderr);
    };
    let [ca, ca_key, key, csr, certificate] = ["ca", "ca.key", "key", "csr", "crt"].map(|name| desk.at(name));
    let extensions = write(desk, "ext", "subjectAltName=DNS:localhost\n");
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let words = ["req", "-x509", "-subj", "/CN=test ca", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&words[..], &ec].concat());
    let words = ["req", "-subj", "/CN=receiver", "-keyout", &key, "-out", &csr];
    openssl(&[&words[..], &ec].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &csr,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &extensions,
        "-out",
        &certificate,
    ]);
    [ca, certificate, key]
}

/// Guardians who take a test, or the reason why they do not.
fn tested(authority: &Authority, name: &str) {
    let done = authority.kosctl(&["audit", "alerts", "test", name]).unwrap();
    assert_eq!(done.code(), 0, "{name}: {}{}", done.stdout, done.stderr);
}

#[test]
fn rsyslog_reads_every_value_over_each_of_its_ways() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let [ca, certificate, key] = certificates(&desk);
    let [udp, tcp, tls] = [0; 3].map(|_| Ports::free().unwrap().web);
    let (socket, got) = (desk.at("log.sock"), desk.at("got"));
    let template = "%app-name%\t%syslogseverity-text%\t%syslogfacility-text%\t%hostname%\t%msgid%\t%structured-data%\t%msg%\\n";
    let configuration = format!(
        "global(workDirectory=\"{work}\" defaultNetstreamDriverCAFile=\"{ca}\" defaultNetstreamDriverCertFile=\"{certificate}\" \
         defaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imudp\") module(load=\"imtcp\") module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tcp}\")\n\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tls}\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
         streamDriver.authMode=\"anon\" gnutlsPriorityString=\"NORMAL:-VERS-ALL:+VERS-TLS1.3\")\n\
         input(type=\"imuxsock\" socket=\"{socket}\" useSpecialParser=\"off\" parseHostname=\"on\")\n\
         template(name=\"all\" type=\"string\" string=\"{template}\")\n\
         action(type=\"omfile\" file=\"{got}\" template=\"all\")\n",
        work = desk.at("."),
    );
    let configuration = write(&desk, "rsyslog.conf", &configuration);
    let mut rsyslogd = Command::new("rsyslogd");
    rsyslogd.args(["-n", "-i", &desk.at("pid"), "-f", &configuration]);
    let collector = Program::of("rsyslogd", rsyslogd, "").unwrap();
    wait::until("rsyslog", || Ok(fs::exists(&socket)?.then_some(()))).unwrap();

    hostile_rules(&authority, &desk);
    let more: [&[&str]; 5] = [
        &["--syslog", &format!("udp://127.0.0.1:{udp}")],
        &["--syslog", &format!("tcp://127.0.0.1:{tcp}")],
        &["--syslog", &format!("tls://localhost:{tls}"), "--ca", &ca],
        &["--syslog", &format!("unix://{socket}")],
        &["--cef", &format!("tcp://127.0.0.1:{tcp}")],
    ];
    for (name, words) in ["udp", "tcp", "tls", "unix", "cef"].iter().zip(more) {
        authority.json(&[&["guardian", "add", name], words].concat()).unwrap();
        wait::until("rsyslog to listen", || {
            Ok((authority.kosctl(&["audit", "alerts", "test", name])?.code() == 0).then_some(()))
        })
        .unwrap();
    }
    let alert = raise(&authority);
    let id = alert["alertId"].as_str().unwrap();
    let lines = wait::until("five messages", || {
        let text = fs::read_to_string(&got)?;
        let lines: Vec<_> = text.lines().filter(|line| line.contains(id)).map(str::to_owned).collect();
        Ok((lines.len() >= 5).then_some(lines))
    });
    let lines =
        lines.unwrap_or_else(|e| panic!("{e}: {:?} {}", fs::read_to_string(&got), collector.errors()));
    assert_eq!(lines.len(), 5, "{lines:?}");
    let index = alert["index"].to_string();
    let (cef, plain): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("CEF:0"));
    for line in plain {
        let fields: Vec<_> = line.split('\t').collect();
        let [app, severity, facility, host, kind, data, said] = fields.as_slice() else { panic!("{line}") };
        assert_eq!(
            (*app, *severity, *facility, *kind),
            ("kos-authority", "crit", "audit", "alert"),
            "{line}"
        );
        assert_eq!(authority.json(&["status"]).unwrap()["item"]["authority"], *host);
        assert!(data.contains(&format!("index=\"{index}\"")) && data.ends_with("\"]"), "{data}");
        assert!(said.trim_start_matches(['\u{feff}', ' ']) == SUMMARY, "{said:?}");
    }
    // Split as the format says, the header has seven fields and the extension gives the summary back.
    let said = cef[0].split('\t').next_back().unwrap().trim_start();
    let fields = unescaped(said, '|', 8);
    assert_eq!(
        (fields[0].as_str(), fields[4].as_str(), fields[5].as_str()),
        ("CEF:0", "each-ticket", SUMMARY)
    );
    assert_eq!(fields[6], "10");
    assert!(
        fields[7].contains(&format!("externalId={id} ")) && fields[7].contains("cn1Label=logIndex"),
        "{said}"
    );
    let message = said.split_once("msg=").unwrap().1;
    assert_eq!(message.replace("\\=", "=").replace("\\\\", "\\"), SUMMARY, "{said}");
}

/// The first fields of a text that is divided by a character which may be escaped; the last has the rest as it stands.
fn unescaped(text: &str, divider: char, fields: usize) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if found.len() == fields {
            found.last_mut().unwrap().push(letter);
        } else if letter == '\\' {
            found.last_mut().unwrap().extend(letters.next());
        } else if letter == divider {
            found.push(String::new());
        } else {
            found.last_mut().unwrap().push(letter);
        }
    }
    found
}

#[test]
fn a_mail_server_takes_mail_whose_headers_nobody_adds_to() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let [ca, certificate, key] = certificates(&desk);
    let [plain, tls] = [0; 2].map(|_| Ports::free().unwrap().web);
    // Debian's, for which aiosmtpd is packaged.
    let server = |port: u16, more: &[&str]| {
        let mut python = Command::new("/usr/bin/python3");
        python.arg(judge::workspace("tests/e2e/receivers/mail.py")).arg(port.to_string()).args(more);
        let mut server = Program::of("python3", python, "").unwrap();
        server.line(|line| line == "ready").unwrap();
        server
    };
    let mut servers = [server(plain, &[]), server(tls, &[&certificate, &key])];
    let boxes = ["--from", "kos@example.org", "--to", "anna@example.org", "--to", "otto@example.org"];
    let [by_tls, by_plain] = [format!("smtps://localhost:{tls}"), format!("smtp://127.0.0.1:{plain}")];
    authority.json(&[&["guardian", "add", "plain", "--mail", &by_plain], &boxes[..]].concat()).unwrap();
    authority
        .json(&[&["guardian", "add", "tls", "--mail", &by_tls, "--ca", &ca], &boxes[..]].concat())
        .unwrap();
    for name in ["plain", "tls"] {
        tested(&authority, name);
    }
    hostile_rules(&authority, &desk);
    let alert = raise(&authority);
    for server in &mut servers {
        let of = |mail: &Value, name: &str| {
            let headers = mail["headers"].as_array().unwrap().iter();
            headers
                .filter(|header| header[0] == name)
                .map(|header| header[1].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let next = |server: &mut Program| -> Value {
            serde_json::from_str(&server.line(|line| line.starts_with('{')).unwrap()).unwrap()
        };
        let test = next(server);
        assert!(of(&test, "Subject")[0].starts_with("[kOS TEST low]"), "{test}");
        // The alert about the rules that were changed comes first.
        let rules = next(server);
        assert!(of(&rules, "Subject")[0].ends_with("alerting-changed"), "{rules}");
        let mail = next(server);
        assert_eq!(mail["from"], "kos@example.org");
        assert_eq!(mail["to"], serde_json::json!(["anna@example.org", "otto@example.org"]));
        assert!(of(&mail, "Bcc").is_empty(), "{mail}");
        assert_eq!(of(&mail, "Auto-Submitted"), ["auto-generated"]);
        let id = alert["alertId"].as_str().unwrap();
        assert!(of(&mail, "Message-ID")[0].starts_with(&format!("<{id}@")), "{mail}");
        let text = mail["text"].as_str().unwrap();
        assert!(
            text.starts_with(SUMMARY) && text.contains(&format!("kosctl audit alerts ack {id}")),
            "{text}"
        );
    }
    // Nobody is sent elsewhere, in the clear, or to somebody whose name begins a header.
    let to = "eve@example.org\r\nBcc: eve@example.org";
    let bad = ["guardian", "add", "bad", "--mail", &by_tls, "--from", "kos@example.org", "--to", to];
    let refused = authority.kosctl(&bad).unwrap();
    assert!(refused.code() == 2 && refused.stderr.contains("KOS-E0536"), "{}", refused.stderr);
    let clear =
        ["guardian", "add", "clear", "--mail", "smtp://192.0.2.7", "--from", "a@a.org", "--to", "b@b.org"];
    let refused = authority.kosctl(&clear).unwrap();
    assert!(refused.code() == 2 && refused.stderr.contains("without TLS"), "{}", refused.stderr);
}

#[test]
fn a_device_that_is_a_guardian_hears_of_alerts_also_of_those_that_it_missed() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "guardian").unwrap();
    let beginning = id.trim_start_matches("kdev-").get(..6).unwrap();
    authority.json(&["guardian", "add", "kai", "--device", beginning]).unwrap();
    tested(&authority, "kai");
    let last = |device: &fleet::Device| device.status().unwrap()["lastAlert"].clone();
    assert_eq!(last(&device)["rule"], "test");
    hostile_rules(&authority, &desk);
    let alert = raise(&authority);
    wait::until("the device to hear of it", || {
        Ok((last(&device)["alertId"] == alert["alertId"]).then_some(()))
    })
    .unwrap();
    assert_eq!(last(&device)["severity"], "critical");

    device.kill().unwrap();
    let missed = raise(&authority);
    wait::until("the trouble", || {
        let list = authority.json(&["guardian", "list"])?;
        Ok(list["items"][0]["trouble"].is_string().then_some(()))
    })
    .unwrap();
    device.run().unwrap();
    wait::until("the device to hear of what it missed", || {
        let status = device.status();
        Ok(status.is_ok_and(|status| status["lastAlert"]["alertId"] == missed["alertId"]).then_some(()))
    })
    .unwrap();
    let socket = device.root().join("run/kos/kosd.sock");
    let told = fleet::json(&socket, &["audit", "list", "--event", "alert_raised"]).unwrap();
    // The test, the rules that changed, and the two.
    assert_eq!(told["items"].as_array().unwrap().len(), 4, "{told}");
    let stranger =
        authority.kosctl(&["guardian", "add", "nobody", "--device", "kdev-0000000000000000"]).unwrap();
    assert_eq!(stranger.code(), 3, "{}", stranger.stderr);
}

#[test]
fn a_stream_tells_while_it_happens_and_goes_on_where_it_was_cut() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let vera = Operator::here(&authority, "vera", "viewer").unwrap();
    hostile_rules(&authority, &desk);
    wait::until("the alert about the rules", || {
        let list = authority.json(&["audit", "alerts", "list"])?;
        Ok((!list["items"].as_array().unwrap().is_empty()).then_some(()))
    })
    .unwrap();
    // curl, as somebody who may only look.
    let mut curl = Command::new("curl");
    let url = format!("https://localhost:{}/api/v1/alerts/stream", authority.ports().tls);
    curl.args(vera.curl()).args(["-N", &url]);
    let mut stream = Program::of("curl", curl, "").unwrap();
    stream.line(|line| line.starts_with(':')).unwrap();
    let alert = raise(&authority);
    let id = format!("id: {}", alert["index"]);
    stream.line(|line| line == id).unwrap();
    let data = stream.line(|line| line.starts_with("data: ")).unwrap();
    let data: Value = serde_json::from_str(data.trim_start_matches("data: ")).unwrap();
    assert_eq!((&data["kind"], &data["item"]["alertId"]), (&"Alert".into(), &alert["alertId"]));

    // kosctl goes on by itself when the authority was killed, and misses nothing.
    let (server, after) = (format!("unix:{}", authority.socket().display()), alert["index"].to_string());
    let words =
        ["--server", &server, "audit", "alerts", "tail", "--after", &after, "--count", "2", "-o", "jsonl"];
    let mut tail = Program::start("kosctl", &words, "").unwrap();
    let first = raise(&authority);
    let got = |tail: &mut Program| -> Value {
        serde_json::from_str(&tail.line(|line| line.starts_with('{')).unwrap()).unwrap()
    };
    assert_eq!(got(&mut tail)["item"]["alertId"], first["alertId"]);
    authority.kill().unwrap();
    authority.serve().unwrap();
    let second = raise(&authority);
    assert_eq!(got(&mut tail)["item"]["alertId"], second["alertId"]);
    assert!(tail.ended().unwrap().success());

    // Whoever may not look any more hears nothing more.
    authority.json(&["operator", "remove", "vera", "--yes"]).unwrap();
    raise(&authority);
    let rest = stream.ended();
    assert!(rest.is_ok(), "{rest:?}");

    // There are so many and no more, and a stop ends them all in time.
    let open: Vec<_> = (0..8)
        .map(|_| {
            let mut curl = Command::new("curl");
            curl.args(["-sN", "--unix-socket"])
                .arg(authority.socket())
                .arg("http://localhost/api/v1/alerts/stream");
            let mut stream = Program::of("curl", curl, "").unwrap();
            stream.line(|line| line.starts_with(':')).unwrap();
            stream
        })
        .collect();
    let mut curl = Command::new("curl");
    curl.args(["-s", "--unix-socket"]).arg(authority.socket()).arg("http://localhost/api/v1/alerts/stream");
    let refused = program::finish(curl, "").unwrap();
    assert!(refused.stdout.contains("KOS-E0538"), "{}", refused.stdout);
    authority.stop().unwrap();
    drop(open);
}
