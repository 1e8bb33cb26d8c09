//! Nothing calls home: a first run on a machine without any route, watched from the kernel's side.
#![cfg(test)]

use std::{collections::BTreeSet, fs, net::IpAddr, process::Command};

use anyhow::{Context as _, Result, bail};
use kos_e2e::{
    program::{self, Program},
    wait,
};
use tempfile::TempDir;

/// Every address in a trace of system calls; nothing but IP and Unix sockets may be in it.
fn contacted(trace: &str) -> Result<BTreeSet<IpAddr>> {
    let mut found = BTreeSet::new();
    for call in trace.lines() {
        for address in call.split("sa_family=").skip(1) {
            let family = address.split([',', '}']).next().unwrap_or_default();
            let quoted = |after: &str| {
                let text = address.split(after).nth(1).and_then(|rest| rest.split('"').next());
                text.with_context(|| format!("no address in: {call}"))
            };
            match family {
                "AF_UNIX" => {}
                "AF_INET" => drop(found.insert(quoted("sin_addr=inet_addr(\"")?.parse()?)),
                "AF_INET6" => drop(found.insert(quoted("inet_pton(AF_INET6, \"")?.parse()?)),
                _ => bail!("an address of another kind: {call}"),
            }
        }
    }
    Ok(found)
}

#[test]
fn a_first_run_contacts_nobody_but_this_machine() {
    let folder = TempDir::with_prefix("kos-alone-").unwrap();
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let data = data.to_string_lossy().into_owned();
    let quickstart = program::command("quickstart", &["--data", &data, "--port-base", "0"]).unwrap();
    let mut alone = Command::new("unshare");
    // `-D`: the program is our child and hears our signals, strace watches from beside.
    let watched = "ip link set lo up && exec strace -D -f -e trace=connect,sendto,sendmsg,sendmmsg -o \"$@\"";
    alone.args(["--map-root-user", "--net", "sh", "-c", watched, "sh"]).arg(&trace);
    alone.arg(quickstart.get_program()).args(quickstart.get_args());
    for (variable, value) in quickstart.get_envs() {
        match value {
            Some(value) => alone.env(variable, value),
            None => alone.env_remove(variable),
        };
    }
    let mut quickstart = Program::of("quickstart", alone, "").unwrap();
    quickstart.line(|line| line == "ready").unwrap();
    let pid = quickstart.pid();
    quickstart.stop().unwrap();

    let is_end = |line: &str| {
        line.split_once(' ')
            .is_some_and(|(who, what)| who == pid.to_string() && what.trim() == "+++ exited with 0 +++")
    };
    let trace = wait::until("the end of the trace", || {
        let trace = fs::read_to_string(&trace)?;
        Ok(trace.lines().any(is_end).then_some(trace))
    });
    let found = contacted(&trace.unwrap()).unwrap();
    assert!(!found.is_empty(), "the device was not seen to reach its authority");
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}

#[test]
fn an_address_beyond_this_machine_would_be_seen() {
    let trace = "7 connect(5, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr(\"192.0.2.1\")}, 16) = -1\n\
                 7 sendto(5, \"\", 0, 0, {sa_family=AF_INET6, sin6_port=htons(53), sin6_flowinfo=htonl(0), \
                 inet_pton(AF_INET6, \"2001:db8::1\", &sin6_addr), sin6_scope_id=0}, 28) = -1\n\
                 7 connect(6, {sa_family=AF_UNIX, sun_path=\"/run/x\"}, 19) = 0\n";
    let found = contacted(trace).unwrap();
    assert_eq!(found, BTreeSet::from(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]));
    assert!(contacted("7 connect(5, {sa_family=AF_VSOCK, svm_cid=2}, 16) = 0\n").is_err());
}
