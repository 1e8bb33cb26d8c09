//! Chromium without a window, over the two pipes of its DevTools protocol, with authenticators that it plays itself.
//!
//! Shape: messages are JSON that ends with a zero byte (`--remote-debugging-pipe`); Chromium reads them from its file 3 and writes
//! to its file 4, which a shell puts in the place of stdin and stdout. One page is open at a time.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wait;

/// How long the browser may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between the shell and Chromium: its pipes, and switches for a machine without a screen or a user of its own.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                     --disable-background-networking --disable-component-update --remote-debugging-pipe \
                     --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null";

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    heard: mpsc::Receiver<Value>,
    page: Option<String>,
    count: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

/// An authenticator that the browser plays.
#[derive(Clone, Copy, Debug)]
pub struct Authenticator {
    /// From what the 32 bytes come.
    pub function: Function,
    /// Whether it can make sure of a person.
    pub verifies: bool,
    /// Whether the person shows who they are when asked.
    pub person: bool,
    /// Whether its maker copies its passkeys to other devices.
    pub copied: bool,
}

/// How an authenticator has the PRF extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Not at all.
    Absent,
    /// As phones and password managers do, which give something already when a passkey is made.
    Prf,
    /// As security keys do (`hmac-secret`), which give something when it is used.
    HmacSecret,
}

impl Authenticator {
    /// One that can do all that is needed, in the hands of its owner.
    pub const GOOD: Self = Self { function: Function::Prf, verifies: true, person: true, copied: false };
}

impl Browser {
    /// Starts one.
    ///
    /// # Errors
    /// When there is no Chromium: `cargo xtask test deps`.
    pub fn start() -> Result<Self> {
        let profile = TempDir::with_prefix("kos-e2e-browser-")?;
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(profile.path());
        command
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().context("`sh` and `chromium` are needed: cargo xtask test deps")?;
        let pipe = child.stdin.take().context("no pipe to the browser")?;
        let from = child.stdout.take().context("no pipe from the browser")?;
        let (sender, heard) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser =
            Self { child, pipe, heard, page: None, count: 0, complaints: Vec::new(), _profile: profile };
        let made = browser.ask("Target.createTarget", &json!({"url": "about:blank"}))?;
        let target = part(&made, "targetId");
        let attached = browser.ask("Target.attachToTarget", &json!({"targetId": target, "flatten": true}))?;
        browser.page = part(&attached, "sessionId").as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Audits", "WebAuthn"] {
            browser.ask(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Plugs an authenticator in, and returns its name.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn plug_in(&mut self, authenticator: Authenticator) -> Result<String> {
        let options = json!({
            "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "usb", "hasResidentKey": true,
            "hasUserVerification": authenticator.verifies, "isUserVerified": authenticator.person,
            "hasPrf": authenticator.function == Function::Prf,
            "hasHmacSecret": authenticator.function == Function::HmacSecret,
            "defaultBackupEligibility": authenticator.copied, "defaultBackupState": authenticator.copied,
            "automaticPresenceSimulation": true
        });
        let added = self.ask("WebAuthn.addVirtualAuthenticator", &json!({"options": options}))?;
        part(&added, "authenticatorId").as_str().map(str::to_owned).context("an authenticator without a name")
    }

    /// Pulls an authenticator out; what it has is gone.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn pull_out(&mut self, authenticator: &str) -> Result<()> {
        self.ask("WebAuthn.removeVirtualAuthenticator", &json!({"authenticatorId": authenticator})).map(drop)
    }

    /// What an authenticator has.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn credentials(&mut self, authenticator: &str) -> Result<Vec<Value>> {
        let held = self.ask("WebAuthn.getCredentials", &json!({"authenticatorId": authenticator}))?;
        Ok(part(&held, "credentials").as_array().cloned().unwrap_or_default())
    }

    /// Gives an authenticator a passkey that another one had.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn implant(&mut self, authenticator: &str, credential: &Value) -> Result<()> {
        let given = json!({"authenticatorId": authenticator, "credential": credential});
        self.ask("WebAuthn.addCredential", &given).map(drop)
    }

    /// Has an authenticator lie from now on: `isBogusSignature`, `isBadUV` or `isBadUP`.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn corrupt(&mut self, authenticator: &str, lie: &str) -> Result<()> {
        let mut wanted = json!({"authenticatorId": authenticator});
        if let Some(members) = wanted.as_object_mut() {
            members.insert(lie.to_owned(), true.into());
        }
        self.ask("WebAuthn.setResponseOverrideBits", &wanted).map(drop)
    }

    /// Goes to an address and waits until the page is there.
    ///
    /// # Errors
    /// When it does not come.
    pub fn go(&mut self, address: &str) -> Result<()> {
        // Two addresses that differ behind # alone are one document, and it would stay.
        self.ask("Page.navigate", &json!({"url": "about:blank"}))?;
        let gone = self.ask("Page.navigate", &json!({"url": address}))?;
        ensure!(part(&gone, "errorText").is_null(), "{address}: {gone}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
    }

    /// Runs a script, waits for what it promises, and returns it.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&mut self, script: &str) -> Result<Value> {
        let wanted =
            json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let done = self.ask("Runtime.evaluate", &wanted)?;
        ensure!(part(&done, "exceptionDetails").is_null(), "{script}: {}", part(&done, "exceptionDetails"));
        Ok(part(part(&done, "result"), "value").clone())
    }

    /// Waits until a script says yes.
    ///
    /// # Errors
    /// When it does not.
    pub fn until(&mut self, script: &str) -> Result<()> {
        let done =
            wait::until(script, || Ok(self.run(script).is_ok_and(|value| value == true).then_some(())));
        done.with_context(|| format!("the page says: {}", self.text().unwrap_or_default()))
    }

    /// Clicks what a selector finds, once it can be clicked.
    ///
    /// # Errors
    /// When there is no such thing.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let found = format!("document.querySelector({})", Value::from(selector));
        self.until(&format!("{found} !== null && {found}.checkVisibility() && !{found}.disabled"))?;
        self.run(&format!("{found}.click()")).map(drop)
    }

    /// All text that is shown.
    ///
    /// # Errors
    /// When there is no page.
    pub fn text(&mut self) -> Result<String> {
        let text = self.run("document.body.innerText")?;
        text.as_str().map(str::to_owned).context("no text")
    }

    /// Has pages look as somebody wants them who prefers this scheme: `light` or `dark`.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn prefer(&mut self, scheme: &str) -> Result<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", &json!({"features": features})).map(drop)
    }

    /// Makes the window as wide as that.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// A picture of the page into a file.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn picture(&mut self, file: &Path) -> Result<()> {
        let shot = self.ask("Page.captureScreenshot", &json!({"format": "png"}))?;
        let png = BASE64.decode(part(&shot, "data").as_str().unwrap_or_default().as_bytes())?;
        std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What the browser complained of since it was asked last: errors, warnings and breaches of the page's policy.
    pub fn complaints(&mut self) -> Vec<String> {
        while let Ok(message) = self.heard.try_recv() {
            self.note(&message);
        }
        std::mem::take(&mut self.complaints)
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.count += 1;
        let id = self.count;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let (Some(page), Some(members)) = (&self.page, message.as_object_mut()) {
            members.insert("sessionId".to_owned(), page.as_str().into());
        }
        let mut line = message.to_string().into_bytes();
        line.push(0);
        self.pipe
            .write_all(&line)
            .context("the browser has ended: is `chromium` installed? cargo xtask test deps")?;
        loop {
            let message = self.heard.recv_timeout(PATIENCE);
            let message = message.with_context(|| format!("the browser does not answer {method}"))?;
            if *part(&message, "id") != id {
                self.note(&message);
                continue;
            }
            if !part(&message, "error").is_null() {
                bail!("{method}: {}", part(&message, "error"));
            }
            return Ok(part(&message, "result").clone());
        }
    }

    fn note(&mut self, message: &Value) {
        let parameters = part(message, "params");
        let is_bad = match part(message, "method").as_str().unwrap_or_default() {
            "Log.entryAdded" => {
                ["error", "warning"].iter().any(|level| *part(part(parameters, "entry"), "level") == **level)
            }
            "Runtime.consoleAPICalled" => {
                ["error", "warning", "assert"].iter().any(|kind| *part(parameters, "type") == **kind)
            }
            "Runtime.exceptionThrown" | "Audits.issueAdded" => true,
            _ => false,
        };
        if is_bad {
            self.complaints.push(message.to_string());
        }
    }
}

/// A member, or null.
fn part<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers end with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
