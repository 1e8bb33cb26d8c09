//! Passkeys through the programs and a real browser: added, used, refused.
#![cfg(test)]

#[path = "passkey/port.rs"]
mod port;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv6Addr, TcpListener, TcpStream},
};

use data_encoding::BASE64URL_NOPAD;
use kos_e2e::{
    browser::{Authenticator, Browser, Function},
    fleet::Authority,
    judge, otp,
    program::{self, Finished, Program},
    wait,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PASSPHRASE: &str = "correct horse battery staple";
const SECRET: &str = "hunter2";

/// Whether the page has said how it went.
const SAID: &str = "/good|bad/.test(document.querySelector('#said').className)";
/// Whether it waits for a press of its button.
const ASKS: &str =
    "(document.querySelector('#act').checkVisibility() && !document.querySelector('#act').disabled)";

/// Changes nothing of what is sealed.
const SAME: &str = "text => text";

/// An authority with a vault that has a secret, and a browser.
struct Bench {
    authority: Authority,
    browser: Browser,
    server: String,
}

/// `kosctl`, as it waits for its page.
struct Waiting {
    program: Program,
    origin: String,
    code: String,
}

impl Bench {
    fn new() -> Self {
        let authority = Authority::start().unwrap();
        let server = format!("unix:{}", authority.socket().display());
        let bench = Self { authority, browser: Browser::start().unwrap(), server };
        bench.done(&["unlock", "--create"], PASSPHRASE);
        bench.done(&["put", "db/pass"], SECRET);
        bench
    }

    fn run(&self, words: &[&str], input: &str) -> Finished {
        let all = [&["--server", &self.server, "--no-input", "vault"], words].concat();
        program::run("kosctl", &all, input).unwrap()
    }

    fn done(&self, words: &[&str], input: &str) -> String {
        let run = self.run(words, input);
        assert_eq!(run.code(), 0, "{words:?}: {}", run.stderr);
        run.stdout
    }

    fn item(&self, words: &[&str], input: &str) -> Value {
        let text = self.done(&[words, &["-o", "json"]].concat(), input);
        serde_json::from_str::<Value>(&text).unwrap()["item"].clone()
    }

    /// Starts what serves a page, and reads where that is.
    fn serve(&self, words: &[&str], input: &str) -> Waiting {
        let all = [&["--server", &self.server, "--no-input", "vault"], words].concat();
        let program = Program::start("kosctl", &all, input).unwrap();
        let link = wait::until("the address of the page", || {
            let said = program.errors();
            let link = said.lines().find_map(|line| line.strip_prefix("open ")).map(str::to_owned);
            Ok(link.filter(|_| said.contains("type the code")))
        });
        let link = link.unwrap_or_else(|e| panic!("{e}: {}", program.errors()));
        let (origin, code) = link.split_once("/#").unwrap();
        Waiting { origin: origin.to_owned(), code: code.to_owned(), program }
    }

    /// Adds a passkey of the authenticator that is plugged in.
    fn add(&mut self, name: &str) {
        let adding = self.serve(&["passkey", "add", "--name", name], PASSPHRASE);
        self.browser.go(&adding.link()).unwrap();
        self.walk();
        let (code, said) = self.ending(adding);
        assert_eq!(code, 0, "{said}\n{}", self.browser.text().unwrap());
    }

    /// Opens the vault by clicking on the page.
    fn open(&mut self) -> (i32, String) {
        let opening = self.serve(&["unlock", "--passkey"], "");
        self.browser.go(&opening.link()).unwrap();
        self.walk();
        self.ending(opening)
    }

    /// Presses the button until there is none any more, and says how often that was.
    fn walk(&mut self) -> u32 {
        let mut pressed = 0;
        loop {
            self.browser.until(&format!("{SAID} || {ASKS}")).unwrap();
            if self.browser.run(SAID).unwrap() == true {
                return pressed;
            }
            self.browser.click("#act").unwrap();
            pressed += 1;
        }
    }

    fn ending(&mut self, mut waiting: Waiting) -> (i32, String) {
        let ended = waiting.program.ended();
        let status = ended.unwrap_or_else(|e| panic!("{e}\n{}", self.browser.text().unwrap()));
        (status.code().unwrap(), waiting.program.stdout() + &waiting.program.last_words())
    }

    fn state(&self) -> Value {
        self.item(&["status", "--env", "default"], "")["state"].clone()
    }
}

impl Waiting {
    fn link(&self) -> String {
        format!("{}/#{}", self.origin, self.code)
    }
}

/// The contrast of everything that has words of its own, at least as WCAG 2.2 wants it; else what has less.
const FAINT: &str = "(() => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
    const [r, g, b] = parts.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const own = getComputedStyle(element).backgroundColor;
    return own === 'rgba(0, 0, 0, 0)' ? ground(element.parentElement) : own;
  };
  const wordy = [...document.querySelectorAll('main *')].filter((element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const faint = wordy.filter((element) => {
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  });
  return [wordy.length, faint.map((element) => element.outerHTML)];
})()";

impl Bench {
    /// How the page looks in both schemes and on a telephone; pictures of it go below `target/pictures`.
    fn look(&mut self, name: &str) {
        let folder = judge::workspace("target/pictures");
        fs::create_dir_all(&folder).unwrap();
        let mut seen = Vec::new();
        for (scheme, width) in [("light", 1000), ("dark", 1000), ("dark", 360)] {
            self.browser.resize(width, 720).unwrap();
            self.browser.prefer(scheme).unwrap();
            let looks = self.browser.run(FAINT).unwrap();
            assert!(looks[0].as_u64().unwrap() > 3, "{looks}");
            assert_eq!(looks[1], json!([]), "{name} in {scheme} is hard to read");
            let overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
            assert_eq!(self.browser.run(overflow).unwrap(), false, "{name} at {width}");
            let file = folder.join(format!("{name}-{scheme}-{width}.png"));
            self.browser.picture(&file).unwrap();
            seen.push(fs::read(file).unwrap());
        }
        assert_ne!(seen[0], seen[1], "both schemes look alike");
    }

    /// Entries of the log of this kind, by what they say.
    fn events(&self, kind: &str) -> Vec<Value> {
        let listed = self.authority.json(&["audit", "list", "--event", kind]).unwrap();
        listed["items"].as_array().unwrap().iter().map(|entry| entry["details"].clone()).collect()
    }

    /// Has the page tell what it posts, and what it seals, after `change` of that.
    fn overhear(&mut self, change: &str) {
        let wrap = "{ const real = window.fetch; window.sent = []; \
                    window.fetch = (path, what) => { window.sent.push(what.body); return real(path, what); }; \
                    const seal = crypto.subtle.encrypt.bind(crypto.subtle); window.plain = []; \
                    crypto.subtle.encrypt = (form, key, plain) => { \
                      const text = CHANGE(new TextDecoder().decode(plain)); window.plain.push(text); \
                      return seal(form, key, new TextEncoder().encode(text)); }; }";
        self.browser.run(&wrap.replace("CHANGE", &format!("({change})"))).unwrap();
    }
}

impl Waiting {
    fn port(&self) -> u16 {
        self.origin.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Ends it as a person does.
    fn interrupt(mut self) {
        let pid = Pid::from_raw(self.program.pid().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(self.program.ended().unwrap().code(), Some(130), "{}", self.program.errors());
    }

    /// Sends a request that no browser would, and returns its status and body.
    fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        let mut text = format!("{line} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        // It may be refused before all of it was sent.
        drop(stream.write_all(format!("{text}\r\n{body}").as_bytes()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        (status.unwrap_or_default(), body.to_owned())
    }

    /// Posts as the page does.
    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let host = self.origin.strip_prefix("http://").unwrap();
        let headers = [("Host", host), ("Origin", &self.origin), ("Content-Type", "application/json")];
        self.send(&format!("POST {path}"), &headers, body)
    }
}

#[test]
fn a_passkey_opens_a_vault_in_a_browser() {
    let mut bench = Bench::new();
    let key = bench.browser.plug_in(Authenticator::GOOD).unwrap();
    // The code is typed once, as by somebody whose terminal is not on the machine of the browser.
    let adding = bench.serve(&["passkey", "add", "--name", "blue key"], PASSPHRASE);
    let title = fs::read(format!("/proc/{}/cmdline", adding.program.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&title).contains(&adding.code));
    bench.browser.go(&format!("{}/", adding.origin)).unwrap();
    bench.browser.until("document.activeElement === document.querySelector('#code')").unwrap();
    bench.look("code");
    bench.browser.run("document.querySelector('#code').value = 'aaaa aaaa'").unwrap();
    bench.browser.click("#enter button").unwrap();
    bench.browser.until(SAID).unwrap();
    assert!(bench.browser.text().unwrap().contains("not the code"));
    let typed = format!("document.querySelector('#code').value = {}", json!(adding.code.to_lowercase()));
    bench.browser.run(&typed).unwrap();
    bench.browser.click("#enter button").unwrap();
    bench.browser.until(ASKS).unwrap();
    bench.look("add");
    assert!(bench.walk() >= 2);
    let (code, said) = bench.ending(adding);
    assert_eq!(code, 0, "{said}\n{}", bench.browser.text().unwrap());
    assert_eq!(bench.browser.credentials(&key).unwrap().len(), 1);
    // Its own wrong code is what the browser complains of, and nothing else.
    let complaints = bench.browser.complaints();
    assert!(
        !complaints.is_empty() && complaints.iter().all(|told| told.contains("status of 403")),
        "{complaints:?}"
    );

    let slots = bench.item(&["status", "--env", "default"], "")["slots"].clone();
    assert_eq!((&slots[1]["name"], &slots[1]["kind"]), (&"blue key".into(), &"passkey".into()), "{slots}");
    assert_eq!(slots[1]["passkey"]["relyingParty"], "localhost");
    let listed = bench.done(&["passkey", "list"], "");
    assert!(listed.contains("blue key") && listed.contains("ADDED"), "{listed}");

    bench.done(&["lock"], "");
    let opening = bench.serve(&["unlock", "--passkey"], "");
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    assert_eq!(bench.browser.run("location.href").unwrap(), format!("{}/", opening.origin).as_str());
    bench.look("unlock");
    assert_eq!(bench.walk(), 1);
    bench.look("done");
    let (code, said) = bench.ending(opening);
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.state(), "unlocked");
    assert_eq!(bench.done(&["get", "db/pass"], ""), SECRET);
    assert_eq!(bench.browser.complaints(), Vec::<String>::new());

    // Another one gives nothing while it is made, and is asked three times.
    bench.browser.pull_out(&key).unwrap();
    let plain = bench
        .browser
        .plug_in(Authenticator { function: Function::HmacSecret, copied: true, ..Authenticator::GOOD })
        .unwrap();
    let adding = bench.serve(&["passkey", "add", "--name", "red key"], PASSPHRASE);
    bench.browser.go(&adding.link()).unwrap();
    assert_eq!(bench.walk(), 3);
    let (code, said) = bench.ending(adding);
    assert!(code == 0 && said.contains("may copy it"), "{code}: {said}");
    bench.done(&["lock"], "");
    let (code, said) = bench.open();
    assert_eq!(code, 0, "one of two, which is plugged in: {said}");
    assert_eq!(bench.events("vault_passkey_added").len(), 2);

    // It gives a new passphrase as well, and then opens nothing any more.
    let new = bench.authority.data().join("new");
    fs::write(&new, "another horse, another stable\n").unwrap();
    let words = ["recover", "--passkey", "--new-passphrase-file", new.to_str().unwrap()];
    let recovering = bench.serve(&words, "");
    bench.browser.go(&recovering.link()).unwrap();
    bench.walk();
    let (code, said) = bench.ending(recovering);
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.run(&["unlock", "--passkey"], "").code(), 3);
    bench.done(&["lock"], "");
    bench.done(&["unlock"], "another horse, another stable");
    bench.browser.pull_out(&plain).unwrap();
    let verdict = bench.authority.json(&["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");
    bench.authority.stop().unwrap();
}

#[test]
fn an_authenticator_that_cannot_guard_a_vault_is_refused_in_plain_words() {
    let mut bench = Bench::new();
    // Without the extension.
    let poor =
        bench.browser.plug_in(Authenticator { function: Function::Absent, ..Authenticator::GOOD }).unwrap();
    let adding = bench.serve(&["passkey", "add"], PASSPHRASE);
    bench.browser.go(&adding.link()).unwrap();
    assert_eq!(bench.walk(), 1);
    let shown = bench.browser.text().unwrap();
    assert!(shown.contains("cannot open a vault") && shown.contains("PRF extension"), "{shown}");
    bench.look("refused");
    let (code, said) = bench.ending(adding);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("KOS-E0621") && said.contains("hmac-secret"), "{said}");
    bench.browser.pull_out(&poor).unwrap();

    // Without a PIN, or in the hands of somebody who does not know it.
    for person in [
        Authenticator { verifies: false, ..Authenticator::GOOD },
        Authenticator { person: false, ..Authenticator::GOOD },
    ] {
        let unsure = bench.browser.plug_in(person).unwrap();
        let adding = bench.serve(&["passkey", "add"], PASSPHRASE);
        bench.browser.go(&adding.link()).unwrap();
        bench.browser.click("#act").unwrap();
        bench.browser.until(SAID).unwrap();
        let shown = bench.browser.text().unwrap();
        assert!(shown.contains("PIN"), "{shown}");
        adding.interrupt();
        bench.browser.pull_out(&unsure).unwrap();
    }
    // One whose signature is of another key.
    let liar = bench.browser.plug_in(Authenticator::GOOD).unwrap();
    let adding = bench.serve(&["passkey", "add"], PASSPHRASE);
    bench.browser.go(&adding.link()).unwrap();
    bench.browser.click("#act").unwrap();
    bench.browser.until(ASKS).unwrap();
    bench.browser.corrupt(&liar, "isBogusSignature").unwrap();
    bench.walk();
    let (code, said) = bench.ending(adding);
    assert!(code == 8 && said.contains("KOS-E0623"), "{code}: {said}");
    bench.browser.pull_out(&liar).unwrap();

    // A page that was tampered with does not ask for one.
    let lax = bench.browser.plug_in(Authenticator { verifies: false, ..Authenticator::GOOD }).unwrap();
    let adding = bench.serve(&["passkey", "add"], PASSPHRASE);
    bench.browser.go(&adding.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    let weaken = "for (const act of ['create', 'get']) { \
                    const real = navigator.credentials[act].bind(navigator.credentials); \
                    navigator.credentials[act] = (asked) => { \
                      asked.publicKey.userVerification = 'discouraged'; delete asked.publicKey.extensions; \
                      if (asked.publicKey.authenticatorSelection) asked.publicKey.authenticatorSelection = { \
                        residentKey: 'discouraged', userVerification: 'discouraged' }; \
                      return real(asked); }; }";
    bench.browser.run(weaken).unwrap();
    bench.walk();
    let (code, said) = bench.ending(adding);
    assert!(code == 5 && said.contains("KOS-E0622"), "{code}: {said}");
    bench.browser.pull_out(&lax).unwrap();
    let slots = bench.item(&["status", "--env", "default"], "")["slots"].clone();
    assert_eq!(slots.as_array().unwrap().len(), 1, "{slots}");
    assert_eq!(bench.events("vault_passkey_added"), Vec::<Value>::new());
    bench.authority.stop().unwrap();
}

#[test]
fn another_and_a_removed_passkey_open_nothing_and_count() {
    let mut bench = Bench::new();
    let key = bench.browser.plug_in(Authenticator::GOOD).unwrap();
    bench.add("blue key");
    bench.done(&["lock"], "");
    let copied = bench.browser.credentials(&key).unwrap()[0].clone();
    bench.browser.pull_out(&key).unwrap();

    // One that has no passkey of the vault.
    let other = bench.browser.plug_in(Authenticator::GOOD).unwrap();
    let opening = bench.serve(&["unlock", "--passkey"], "");
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.click("#act").unwrap();
    bench.browser.until(SAID).unwrap();
    assert_eq!(bench.state(), "locked");
    opening.interrupt();

    // A copy that signs as the right one does, and has not its function.
    bench.browser.implant(&other, &copied).unwrap();
    let (code, said) = bench.open();
    assert!(code == 5 && said.contains("KOS-E0621"), "{code}: {said}");
    bench.browser.pull_out(&other).unwrap();

    // One whose function gives something else.
    let right = bench.browser.plug_in(Authenticator::GOOD).unwrap();
    bench.add("green key");
    bench.done(&["lock"], "");
    let opening = bench.serve(&["unlock", "--passkey"], "");
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    bench.overhear("text => text.replace(/\"output\":\"..../, '\"output\":\"AAAA')");
    bench.walk();
    let (code, said) = bench.ending(opening);
    assert!(code == 5 && said.contains("KOS-E0608"), "{code}: {said}");
    assert_eq!(bench.state(), "locked");
    assert_eq!(bench.events("vault_unlock_failed"), [json!({"by": "passkey"})]);

    // The right one, whose slot goes while the page is open.
    bench.done(&["passkey", "remove", "blue key", "--yes"], PASSPHRASE);
    bench.done(&["lock"], "");
    let opening = bench.serve(&["unlock", "--passkey"], "");
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    assert_eq!(
        bench.run(&["passkey", "remove", "green key", "--yes"], "wrong horse battery staple").code(),
        5
    );
    bench.done(&["passkey", "remove", "green key", "--yes"], PASSPHRASE);
    bench.done(&["lock"], "");
    bench.walk();
    let (code, said) = bench.ending(opening);
    assert!(code == 3 && said.contains("KOS-E0607"), "{code}: {said}");
    assert_eq!(bench.state(), "locked");
    let none = bench.run(&["unlock", "--passkey"], "");
    assert!(none.code() == 3 && none.stderr.contains("KOS-E0620"), "{}", none.stderr);
    assert_eq!(bench.events("vault_passkey_removed").len(), 2);
    // Two passkeys and a passphrase were wrong; two more passphrases, and nothing is tried any more.
    assert_eq!(bench.events("vault_unlock_failed").len(), 3);
    for words in [&["unlock"][..], &["passkey", "add"]] {
        let wrong = bench.run(words, "wrong horse battery staple");
        assert_eq!(wrong.code(), 5);
        // Nobody makes a passkey that nothing becomes of.
        assert!(!wrong.stderr.contains("http://localhost"), "{}", wrong.stderr);
    }
    assert!(bench.run(&["unlock"], PASSPHRASE).stderr.contains("KOS-E0636"));
    bench.browser.pull_out(&right).unwrap();
    bench.authority.stop().unwrap();
}

#[test]
fn a_vault_that_asks_for_codes_does_so_after_a_passkey() {
    let mut bench = Bench::new();
    bench.browser.plug_in(Authenticator::GOOD).unwrap();
    bench.add("blue key");
    let at = |name: &str| bench.authority.data().join(name).to_string_lossy().into_owned();
    let (passphrase, seed, typed) = (at("passphrase"), at("seed"), at("code"));
    fs::write(&passphrase, PASSPHRASE).unwrap();
    fs::write(&seed, otp::SEED).unwrap();
    let first = otp::step().unwrap();
    fs::write(&typed, otp::code(first).unwrap()).unwrap();
    let add = ["authoriser", "totp", "add", "--passphrase-file", &passphrase, "--seed-file", &seed];
    bench.done(&[&add[..], &["--code-file", &typed]].concat(), "");
    bench.done(&["lock"], "");
    let words = ["unlock", "--passkey", "--code-file", &typed];
    for (code, expected) in [(otp::code(first).unwrap(), 5), (otp::code(first + 1).unwrap(), 0)] {
        fs::write(&typed, code).unwrap();
        let opening = bench.serve(&words, "");
        bench.browser.go(&opening.link()).unwrap();
        bench.walk();
        let (code, said) = bench.ending(opening);
        assert!(code == expected && (code == 0 || said.contains("KOS-E0647")), "{code}: {said}");
    }
    assert_eq!(bench.state(), "unlocked");
    assert_eq!(bench.events("vault_unlock_failed"), [json!({"by": "code"})]);
    bench.authority.stop().unwrap();
}

#[test]
fn the_page_is_for_its_own_browser_and_for_one_answer() {
    let mut bench = Bench::new();
    bench.browser.plug_in(Authenticator::GOOD).unwrap();
    bench.add("blue key");
    bench.done(&["lock"], "");
    let opening = bench.serve(&["unlock", "--passkey"], "");
    let (origin, code) = (opening.origin.clone(), opening.code.clone());
    let host = origin.strip_prefix("http://").unwrap().to_owned();
    let begin = json!({"code": code}).to_string();
    let media = ("Content-Type", "application/json");

    // Another name for this address, other pages, forms, long bodies.
    let address = format!("127.0.0.1:{}", opening.port());
    for other in [address.as_str(), "rebound.example", "localhost"] {
        assert_eq!(opening.send("GET /", &[("Host", other)], "").0, 421, "{other}");
    }
    for foreign in ["https://evil.example", "http://localhost:1", "null"] {
        let headers = [("Host", host.as_str()), ("Origin", foreign), media];
        assert_eq!(opening.send("POST /begin", &headers, &begin).0, 403, "{foreign}");
    }
    let headers = [("Host", host.as_str()), ("Origin", &origin), ("Content-Type", "text/plain")];
    assert_eq!(opening.send("POST /begin", &headers, &begin).0, 415);
    assert_eq!(opening.send("POST /begin", &[("Host", host.as_str()), media], &begin).0, 403, "no origin");
    assert_eq!(opening.post("/begin", &"x".repeat(65_537)).0, 413);
    assert_eq!(opening.post("/begin", "{}").0, 400);
    assert_eq!(opening.post("/end", &begin).0, 400, "no answer");
    let unsealed = json!({"code": code, "answer": {"used": null}}).to_string();
    assert_eq!(opening.post("/end", &unsealed).0, 400, "not sealed");
    for path in ["/../../etc/passwd", "/page", "/begin"] {
        assert_eq!(opening.send(&format!("GET {path}"), &[("Host", &host)], "").0, 404, "{path}");
    }
    // Without the code nobody learns what is asked for.
    let (status, body) = opening.post("/begin", &json!({"code": "AAAA-AAAA"}).to_string());
    assert!(status == 403 && !body.contains("passkeys"), "{body}");
    let (status, body) = opening.post("/begin", &begin);
    assert!(status == 200 && body.contains("passkeys"), "{body}");

    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    // Whoever guesses now ends nothing, has no more than five tries with the one above, and posts no answer.
    for (n, status) in [(2, 403), (3, 403), (4, 403), (5, 403), (6, 429)] {
        let guess = json!({"code": format!("AAAA-AAA{n}")}).to_string();
        assert_eq!(opening.post("/begin", &guess).0, status, "{n}");
    }
    let point = BASE64URL_NOPAD.encode(&[4; 65]);
    assert_eq!(opening.post("/end", &json!({"key": point, "sealed": "AAAA"}).to_string()).0, 403);
    bench.overhear(SAME);
    bench.walk();
    let sent = bench.browser.run("window.sent").unwrap();
    let plain = bench.browser.run("window.plain").unwrap();
    let (code, said) = bench.ending(opening);
    assert_eq!(code, 0, "{said}");
    assert!(TcpStream::connect(address).is_err(), "it ends with its answer");
    let answer: Value = serde_json::from_str(plain[0].as_str().unwrap()).unwrap();
    let output = answer["used"]["output"].as_str().unwrap();
    assert!(!said.contains(output) && !sent[0].as_str().unwrap().contains(output));

    // What opened the vault once is nothing to the next page, as it was sealed and sealed anew.
    bench.done(&["lock"], "");
    let next = bench.serve(&["unlock", "--passkey"], "");
    assert_eq!(next.post("/end", sent[0].as_str().unwrap()).0, 403, "before it began");
    bench.browser.go(&next.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    assert_eq!(next.post("/end", sent[0].as_str().unwrap()).0, 403, "after it began");
    bench.overhear(&format!("() => {}", json!(plain[0])));
    bench.walk();
    let shown = bench.browser.text().unwrap();
    assert!(shown.contains("does not hold"), "{shown}");
    let (code, said) = bench.ending(next);
    assert!(code == 8 && said.contains("KOS-E0623"), "{code}: {said}");
    assert_eq!(bench.state(), "locked");

    // Somebody else who guesses ends it.
    let guessed = bench.serve(&["unlock", "--passkey"], "");
    for n in 2..7 {
        assert_eq!(guessed.post("/begin", &json!({"code": format!("AAAA-AAA{n}")}).to_string()).0, 403);
    }
    let (code, said) = bench.ending(guessed);
    assert!(code == 5 && said.contains("KOS-E0624"), "{code}: {said}");

    // Whoever has half of `localhost` would get half of the browsers.
    let squatter = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = squatter.local_addr().unwrap().port().to_string();
    let refused = bench.run(&["unlock", "--passkey", "--port", &port], "");
    assert!(refused.code() == 1 && refused.stderr.contains("KOS-E0626"), "{}", refused.stderr);
    assert_eq!(bench.events("vault_unlock_failed"), Vec::<Value>::new());
    bench.authority.stop().unwrap();
}
