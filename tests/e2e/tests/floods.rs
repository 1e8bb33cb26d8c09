//! Strangers from many addresses who connect and say nothing, against the limits of a real authority.
#![cfg(test)]

use std::{fs, net::Ipv4Addr};

use kos_e2e::{
    fleet::{self, Authority, Device},
    wait,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
};

/// Connections, each fourth from the same address.
const IDLE: u16 = 10_000;
const PER_ADDRESS: u16 = 4;
/// Waiting connections of the TLS port (`Limits::AUTHORITY`), and descriptors for everything else.
const OPEN_MAX: usize = 1_024 + 176;

/// Connects from an address of its own on this machine.
async fn connect(n: u16, port: u16) -> std::io::Result<TcpStream> {
    let [high, low] = (n / PER_ADDRESS).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

#[test]
fn ten_thousand_idle_connections_from_many_addresses_stop_no_device() {
    // What a shell gives to its programs, and what this one needs for itself.
    let mut files = getrlimit(Resource::Nofile);
    files.current = Some(1_024);
    setrlimit(Resource::Nofile, files).unwrap();
    let authority = Authority::start_with("heartbeat_seconds: 5\n").unwrap();
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    assert!(files.maximum.is_none_or(|most| most > u64::from(IDLE) + 100), "hard limit {:?}", files.maximum);
    let pid = authority.pid().unwrap();
    let open = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let runtime = Runtime::new().unwrap();
    let mut idle = Vec::new();
    for quarter in 1..=4u16 {
        for n in (quarter - 1) * (IDLE / 4)..quarter * (IDLE / 4) {
            idle.push(runtime.block_on(connect(n, authority.ports().tls)).unwrap());
        }
        let text = authority.ticket(&["--role", "sensor"]).unwrap();
        let done = Device::new(&format!("flood-{quarter}"), "").unwrap().enrol(&text).unwrap();
        assert_eq!(done.code(), 0, "after {} connections: {}", idle.len(), done.stderr);
        assert!(open() <= OPEN_MAX, "{} descriptors", open());
    }
    let (mut device, id) = fleet::device_in_service(&authority, "flood").unwrap();
    authority.device_becomes(&id, "online", |online| online == true).unwrap();
    device.stop().unwrap();
    drop(idle);
    wait::until("the strangers to be forgotten", || Ok((open() < 200).then_some(()))).unwrap();
}
