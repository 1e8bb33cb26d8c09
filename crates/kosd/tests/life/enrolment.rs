//! From the ticket to the first certificate.

use super::*;

#[tokio::test]
async fn a_device_enrols_by_ticket_and_is_checked_by_its_own_identity_chain() {
    let (authority, root) = (Authority::start().await, root());
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    let id = device.enrolled().await;

    let status = device.ask(Question::Status).await;
    assert_eq!((status.device_id, status.state), (Some(id.clone()), DeviceState::Active));
    assert_eq!(status.kid_subject.unwrap().to_string(), format!("k:attic/{id}/001"));
    let chain = device.ask(Question::Identity).await.unwrap();
    let failed: Vec<_> = chain.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
    assert_eq!(failed, [], "{:?}", chain.checks);

    let secrets = names(root.path().join("etc/kos/secrets"));
    assert_eq!(secrets, set(&["journal", "machine.json", "machine.key"]));
    let pem = fs::read_to_string(root.path().join("etc/kos/identity.cert")).unwrap();
    assert_eq!(pem.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    assert!(!pem.contains("PRIVATE"));
    assert_eq!(authority.devices()[0].state(), DeviceState::Active);
    assert_eq!(authority.devices()[0].name.as_ref(), "kitchen");
    assert_eq!(device.stop().await, Outcome::Stopped);

    // A second start goes on as the same device and enrols nothing.
    let device = Running::start(root.path(), None);
    assert_eq!(device.ask(Question::Status).await.device_id.as_ref(), Some(&id));
    device.stop().await;
    assert_eq!(authority.count(|change| matches!(change, Change::DeviceEnrolled { .. })), 1);
    let again = |ticket| Device::boot(root.path(), Options { ticket: Some(ticket), ..Options::default() });
    let (booted, _) = again(authority.ticket(Role::Sensor)).unwrap();
    assert_eq!(booted.enrolled(), Some(&id));
    drop(booted);
    let elsewhere =
        TicketText { pins: vec![kos_base::KeyId::from_bytes([9; 32])], ..authority.ticket(Role::Sensor) };
    assert_eq!(again(elsewhere).map(drop).unwrap_err().code(), code::enrolment::ENROLLED_ALREADY);
}

#[tokio::test]
async fn a_device_that_is_stopped_again_and_again_still_enrols_exactly_once() {
    let (authority, root) = (Authority::start().await, root());
    let secret = authority.ticket(Role::Sensor).to_text();
    let mut stopped = 0;
    loop {
        let ticket = TicketText::parse(&secret).unwrap();
        let (device, mut news) =
            Device::boot(root.path(), Options { ticket: Some(ticket), ..Options::default() }).unwrap();
        // Dropped after a little more time at each round, wherever it is then.
        let life = timeout(Duration::from_millis(stopped * 3), device.run(std::future::pending()));
        assert!(life.await.is_err());
        let enrolled =
            std::iter::from_fn(|| news.try_recv().ok()).any(|told| matches!(told, News::Enrolled(_)));
        if enrolled {
            break;
        }
        stopped += 1;
        assert!(stopped < 200, "it never enrols");
    }
    assert!(stopped > 0);
    assert_eq!(authority.devices().len(), 1);
    assert_eq!(authority.count(|change| matches!(change, Change::DeviceActive { .. })), 1);
}

#[tokio::test]
async fn what_is_not_as_the_ticket_says_is_refused() {
    let authority = Authority::start().await;
    let wrong = |change: fn(&mut TicketText)| {
        let mut ticket = authority.ticket(Role::Sensor);
        change(&mut ticket);
        ticket
    };
    let cases: [(&str, TicketText, Code); 4] = [
        (
            "pin",
            wrong(|ticket| ticket.pins = vec![kos_base::KeyId::from_bytes([7; 32])]),
            code::enrolment::PIN_MISMATCH,
        ),
        ("name", wrong(|ticket| ticket.authority = "cellar".parse().unwrap()), code::enrolment::PIN_MISMATCH),
        (
            "secret",
            wrong(|ticket| ticket.secret = kos_base::Secret::new([7; 32])),
            code::enrolment::TICKET_PROOF,
        ),
        ("role", authority.ticket(Role::Gateway), code::enrolment::TICKET_ROLE),
    ];
    for (what, ticket, expected) in cases {
        let root = root();
        let mut device = Running::start(root.path(), Some(ticket));
        let refused = device.wait_for(|news| match news {
            News::Refused(code) | News::Untrusted(code) => Some(code),
            _ => None,
        });
        assert_eq!(refused.await, expected, "{what}");
        device.stop().await;
    }
    assert_eq!(authority.devices(), []);
}

#[tokio::test]
async fn the_bootloader_is_locked_once_and_what_came_of_it_is_told() {
    for (exit, locked) in [(0, true), (1, false)] {
        let authority = Authority::start().await;
        let traces = tempfile::tempdir().unwrap();
        let trace = traces.path().join("ran");
        let script = format!("echo x >> {}; exit {exit}", trace.display());
        let root = root_with(&format!("bootloader: {{lock_command: [/bin/sh, -c, '{script}']}}\n"));
        let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
        device.heartbeat().await;
        device.stop().await;
        let mut device = Running::start(root.path(), None);
        device.heartbeat().await;
        device.stop().await;
        assert_eq!(fs::read_to_string(trace).unwrap(), "x\n");
        let told = |change: &Change| matches!(change, Change::BootloaderReported { locked: said, .. } if *said == locked);
        assert_eq!(authority.count(told), 1);
    }
}

#[tokio::test]
async fn what_the_configuration_says_of_the_device_is_where_it_belongs() {
    let authority = Authority::start().await;
    let root =
        root_with("services: {capabilities: [telemetry, voice-assistant]}\nsecrets: {vault: /opt/vault}\n");
    let config = root.path().join("etc/kos/config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let text =
        text.replace("role: sensor", "role: sensor, device_id: kdev-0000, cert_path: /opt/identity.cert");
    fs::write(&config, text).unwrap();
    let mut device = Running::start(root.path(), Some(authority.ticket(Role::Sensor)));
    device.heartbeat().await;

    let known = authority.devices().remove(0);
    assert_eq!(
        known.capabilities.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["telemetry", "voice-assistant"]
    );
    let secrets = names(root.path().join("opt/vault"));
    let expected = set(&["journal", "machine.json", "machine.key", "standing"]);
    assert_eq!(secrets, expected);
    // The kID that came with the heartbeat is a token.
    assert!(!names(root.path().join("var/lib/kos/device")).contains("standing"));
    assert!(root.path().join("opt/identity.cert").is_file());
    assert_eq!(names(root.path().join("etc/kos")), set(&["config.yaml"]));
    let status = device.ask(Question::Status).await;
    assert!(
        status.warnings.iter().any(|warning| warning.contains("identity.device_id")),
        "{:?}",
        status.warnings
    );
}
