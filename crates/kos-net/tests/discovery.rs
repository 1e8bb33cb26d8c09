//! Discovery on a network of its own: a namespace with one wire, and browsers that are not ours.
//!
//! The test runs itself again inside the namespace, because loopback, where tests live, is never used for discovery.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kos_base::KeyId;
use kos_net::discovery::{Advertisement, Browser, Interfaces};
use tokio::time::Instant;

const INSIDE: &str = "KOS_TEST_INSIDE_NAMESPACE";
const WIRE: &str = "kos0";
const ADDRESS: &str = "192.0.2.1";
const SOON: Duration = Duration::from_secs(20);

/// Runs `inside` on a network with nothing but loopback and one wire.
fn on_a_network(test: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let commands = [
        "ip link set lo up multicast on",
        &format!("ip link add {WIRE} type veth peer name kos1"),
        &format!("ip address add {ADDRESS}/24 dev {WIRE}"),
        &format!("ip link set {WIRE} up"),
        "ip link set kos1 up",
        &format!("ip route add 224.0.0.0/4 dev {WIRE}"),
        "exec \"$0\" --exact \"$1\" --nocapture",
    ];
    // Its summary is not ours: what it did not run, we did.
    let inside = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-ec", &commands.join("\n")])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [inside.stdout, inside.stderr].concat();
    assert!(inside.status.success(), "in a network namespace: {}", String::from_utf8_lossy(&said));
}

fn judge(script: &str) -> Command {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = crate_dir.join("../../target/judges/bin/python");
    let mut command = Command::new(python);
    command.arg(crate_dir.join("tests/judges").join(script)).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn pin() -> KeyId {
    KeyId::from_bytes([0xab; 32])
}

#[test]
fn a_foreign_browser_finds_the_advertised_authority() {
    on_a_network("a_foreign_browser_finds_the_advertised_authority", || {
        let name = "attic.example".parse().unwrap();
        let shown = Advertisement::start(&Interfaces::AllButLoopback, &name, pin(), 8641).unwrap();
        let output = judge("browse.py").arg(ADDRESS).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = format!(
            "attic.example._kos-enrol._tcp.local. kos-attic-example.local. 8641 {ADDRESS} \
             {{'v': '1', 'name': 'attic.example', 'pin': '{}'}}",
            pin()
        );
        assert_eq!(said.trim(), wanted, "{}", String::from_utf8_lossy(&output.stderr));
        block_on(shown.end());
    });
}

struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn our_browser_shows_a_foreign_responders_authority_once_and_nothing_malformed() {
    on_a_network("our_browser_shows_a_foreign_responders_authority_once_and_nothing_malformed", || {
        let mut child = judge("advertise.py").args([ADDRESS, &pin().to_string()]).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let _responder = Responder(child);
        assert_eq!(out.lines().next().unwrap().unwrap(), "ready");
        block_on(async {
            let mut browser = Browser::start(&Interfaces::Named(vec![WIRE.to_owned()])).unwrap();
            let found = browser.next(Instant::now() + SOON).await.unwrap();
            assert_eq!((found.name.as_ref(), found.pin), ("cellar", pin()));
            assert_eq!(found.target.endpoint.to_string(), "judge-0.local:8641");
            assert_eq!(found.target.addresses, [ADDRESS.parse::<std::net::IpAddr>().unwrap()]);
            assert_eq!(browser.collect(Duration::from_secs(3)).await, []);
        });
    });
}

#[test]
fn nothing_is_advertised_on_loopback() {
    on_a_network("nothing_is_advertised_on_loopback", || {
        // Without the wire there is nowhere left to advertise.
        assert!(Command::new("ip").args(["link", "del", WIRE]).status().unwrap().success());
        assert!(
            Command::new("ip").args(["route", "add", "224.0.0.0/4", "dev", "lo"]).status().unwrap().success()
        );
        let name = "attic".parse().unwrap();
        let shown = Advertisement::start(&Interfaces::AllButLoopback, &name, pin(), 8641).unwrap();
        block_on(async {
            let browser = Browser::start(&Interfaces::Named(vec!["lo".to_owned()])).unwrap();
            assert_eq!(browser.collect(Duration::from_secs(3)).await, []);
            shown.end().await;
        });
    });
}
