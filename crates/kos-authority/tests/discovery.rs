//! An authority that listens beyond this machine is found on the local network, and is gone when it withdraws.
//!
//! The test runs itself again in a network namespace with one wire, because nothing is advertised on loopback.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{path::Path, process::Command, time::Duration};

use kos_authority::{Authority, Options, PortChoice};
use kos_net::discovery::{Browser, Interfaces};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::oneshot,
    time::Instant,
};

const INSIDE: &str = "KOS_TEST_INSIDE_NAMESPACE";
const WIRE: &str = "kos0";
const ADDRESS: &str = "192.0.2.1";
const SOON: Duration = Duration::from_secs(20);
/// How long to look for what should not be there.
const LOOK: Duration = Duration::from_secs(3);

#[test]
fn an_authority_is_found_while_it_listens_beyond_this_machine_and_not_before_or_after() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        return runtime.unwrap().block_on(inside());
    }
    let commands = [
        "ip link set lo up",
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
        .arg(std::thread::current().name().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [inside.stdout, inside.stderr].concat();
    assert!(inside.status.success(), "in a network namespace: {}", String::from_utf8_lossy(&said));
}

async fn inside() {
    let folder = tempfile::tempdir().unwrap();
    Authority::init(folder.path(), Some("attic".parse().unwrap()), None).unwrap();
    let data = folder.path().to_owned();
    let options = Options { data, port_base: Some(0), port_choice: PortChoice::Exact, credentials: None };
    let authority = Authority::open(options).await.unwrap();
    let (socket, port) = (authority.socket(), authority.ports().tls);
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(authority.serve(async { drop(stopped.await) }));
    let browse = || Browser::start(&Interfaces::Named(vec![WIRE.to_owned()])).unwrap();

    assert_eq!(browse().collect(LOOK).await, []);
    listen(&socket, &json!({"address": "0.0.0.0", "advertise": ADDRESS})).await;
    let found = browse().next(Instant::now() + SOON).await.unwrap();
    assert_eq!(found.name.as_ref(), "attic");
    assert_eq!(found.target.endpoint.port, port);
    assert_eq!(found.target.addresses, [ADDRESS.parse::<std::net::IpAddr>().unwrap()]);
    let wanted = format!(
        "attic._kos-enrol._tcp.local. kos-attic.local. {port} {ADDRESS} {{'v': '1', 'name': 'attic', 'pin': '{}'}}",
        found.pin
    );
    assert_eq!(tokio::task::spawn_blocking(foreign_browser).await.unwrap(), wanted);
    listen(&socket, &json!({"address": "127.0.0.1"})).await;
    assert_eq!(browse().collect(LOOK).await, []);

    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

/// What the zeroconf library of Python finds first.
fn foreign_browser() -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let browser = Command::new(workspace.join("target/judges/bin/python"))
        .arg(workspace.join("crates/kos-net/tests/judges/browse.py"))
        .arg(ADDRESS)
        .output()
        .expect("the judge needs target/judges: cargo xtask test deps");
    let said = String::from_utf8(browser.stdout).unwrap();
    assert!(browser.status.success(), "{said}{}", String::from_utf8_lossy(&browser.stderr));
    said.trim().to_owned()
}

async fn listen(socket: &Path, body: &Value) {
    let (body, length) = (body.to_string(), body.to_string().len());
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = "PUT /api/v1/authority/listen HTTP/1.1\r\nHost: attic\r\nConnection: close";
    stream.write_all(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
