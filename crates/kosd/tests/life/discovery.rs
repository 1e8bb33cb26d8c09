//! An authority that is found on the local network: a namespace with one wire, since loopback is never searched.

use std::process::Command;

use kos_base::SecurityProfile;
use kos_identity::registry::Operation;
use kos_net::discovery::{Browser, Interfaces};
use tokio::time::Instant;

use super::*;

const INSIDE: &str = "KOS_TEST_INSIDE_NAMESPACE";
const WIRE: &str = "kos0";
const ADDRESS: &str = "192.0.2.1";

/// Runs `inside` on a network with nothing but loopback and one wire.
fn on_a_network(test: &str, inside: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(inside);
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

async fn authority(name: &str) -> Authority {
    Authority::start_at(&format!("{ADDRESS}:0"), name).await
}

#[test]
fn an_authority_that_is_found_without_a_pin_is_used_after_a_person_compared_the_code() {
    let test = "discovery::an_authority_that_is_found_without_a_pin_is_used_after_a_person_compared_the_code";
    on_a_network(test, async {
        let authority = authority("attic").await;
        let _shown = authority.advertise();
        let root = root_with("network: {discovery_method: mdns}\n");
        let mut device = Running::start(root.path(), None);
        let code = device.wait_for(|news| match news {
            News::Code(code) => Some(code),
            News::Enrolled(_) => panic!("enrolled without comparison"),
            _ => None,
        });
        let code = code.await;
        let shown = authority
            .until("a code in the lobby", |seen| seen.devices.first()?.lobby.as_ref()?.comparison.clone());
        assert_eq!(shown.await, code);
        authority.operate(Operation::Approve { profile: SecurityProfile::Sec1 });

        // It asks again every minute, and at once after a restart, which changes neither device nor code.
        device.stop().await;
        let mut device = Running::start(root.path(), None);
        let again = device.wait_for(|news| match news {
            News::Code(code) => Some(code),
            _ => None,
        });
        assert_eq!(again.await, code);
        // A wrong code changes nothing.
        let wrong = if code == "000000" { "000001" } else { "000000" };
        device.ask(|reply| Question::ConfirmCode(wrong.to_owned(), reply)).await;
        assert!(device.ask(Question::Status).await.cert_serial.is_none());
        device.ask(|reply| Question::ConfirmCode(code, reply)).await;
        device.enrolled().await;
        device.heartbeat().await;
        assert_eq!(device.ask(Question::Status).await.authority.unwrap().as_ref(), "attic");
    });
}

#[test]
fn an_authority_that_has_moved_is_found_again_by_its_pin() {
    on_a_network("discovery::an_authority_that_has_moved_is_found_again_by_its_pin", async {
        let (stranger, authority) = (authority("cellar").await, authority("attic").await);
        let _shown = (stranger.advertise(), authority.advertise());
        let mut ticket = authority.ticket(Role::Sensor);
        ticket.addresses = vec![format!("{ADDRESS}:9")];
        let root = root_with("network: {discovery_method: mdns}\n");
        let mut device = Running::start(root.path(), Some(ticket));
        device.enrolled().await;
        device.heartbeat().await;
        assert_eq!(stranger.devices(), []);
        device.stop().await;
        // And again after a restart, since what was found is not remembered.
        let mut device = Running::start(root.path(), None);
        device.heartbeat().await;
    });
}

#[test]
fn among_several_authorities_only_a_pin_chooses() {
    on_a_network("discovery::among_several_authorities_only_a_pin_chooses", async {
        let (one, other) = (authority("attic").await, authority("cellar").await);
        let _shown = (one.advertise(), other.advertise());
        // The network hears of them within seconds.
        let mut browser = Browser::start(&Interfaces::AllButLoopback).unwrap();
        for _ in [&one, &other] {
            assert!(browser.next(Instant::now() + DEADLINE).await.is_some());
        }
        drop(browser);
        let root = root_with("network: {discovery_method: kDNS}\n");
        let mut device = Running::start(root.path(), None);
        device.wait_for(|news| (news == News::Unreachable).then_some(())).await;
        let status = device.ask(Question::Status).await;
        assert!(status.warnings.iter().any(|warning| warning.contains("several authorities")), "{status:?}");
        assert!(status.state_reason.unwrap().contains(&code::config::NO_SERVER.to_string()));
        device.stop().await;
        assert_eq!((one.devices().len(), other.devices().len()), (0, 0));

        let pinned = root_with(&format!("network: {{discovery_method: kDNS, pin: [{}]}}\n", other.pin()));
        let mut device = Running::start(pinned.path(), None);
        device.wait_for(|news| (news == News::Waiting).then_some(())).await;
        assert_eq!((one.devices().len(), other.devices().len()), (0, 1));
    });
}
