//! `docs/guide/verify-with-other-tools.md`: its commands are run as they stand there, in its order, by one shell.
#![cfg(test)]

use std::{collections::BTreeSet, env, os::unix::fs::symlink, process::Command};

use kos_e2e::{
    fleet::{self, Authority},
    judge::{self, Desk},
    operator::Operator,
    program,
};

const GUIDE: &str = include_str!("../../../docs/guide/verify-with-other-tools.md");

/// What stands in the guide below commands that begin so, and is to be said here as well.
const SAID: [(&str, &str); 14] = [
    ("curl -s -o /dev/null -w", "304"),
    ("openssl verify", "cert-00: OK"),
    ("openssl ocsp", "Response verify OK"),
    ("openssl ocsp", "cert-00: good"),
    ("certtool --verify", "Chain verification output: Verified. The certificate is trusted."),
    ("openssl s_client -connect kos.example.org:8641 -alpn http/1.1 -tls1_2", ALERT),
    ("openssl s_client -connect kos.example.org:8641 -alpn http/1.1 -CAfile", "CONNECTION ESTABLISHED"),
    ("openssl s_client -connect kos.example.org:8641 -alpn http/1.1 -CAfile", "Protocol version: TLSv1.3"),
    ("openssl s_client -connect kos.example.org:8641 -alpn http/1.1 -CAfile", "Verification: OK"),
    ("curl -s --cacert", "\"active\":1"),
    ("python kid.py", "bound to key"),
    ("cat head", "/klog"),
    ("go run proof.go", "entry 8 is in"),
    ("sed 's/^index 8/index 9/'", BENT),
];
const ALERT: &str = "alert protocol version";
const BENT: &str = "invalid transparency proof";

/// What follows a prompt, with the lines that continue it.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("server$ "));
        let Some(command) = command else { continue };
        let mut command = command.to_owned();
        while command.ends_with('\\') {
            command = format!("{command}\n{}", lines.next().unwrap());
        }
        commands.push(command);
    }
    commands
}

/// The program in this language.
fn listing(language: &str) -> &str {
    let rest = GUIDE.split_once(&format!("```{language}\n")).unwrap().1;
    rest.split_once("```").unwrap().0
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let authority = Authority::start().unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "guide").unwrap();
    let operator = Operator::here(&authority, "bob", "operator").unwrap();
    let desk = Desk::new().unwrap();
    desk.put("kid.py", listing("python")).unwrap();
    desk.put("proof.go", listing("go")).unwrap();
    symlink(operator.config(), desk.at(".config")).unwrap();
    copy_log(&authority, &desk);

    let commands = commands();
    let socket = authority.socket().to_string_lossy().into_owned();
    let tls = format!("localhost:{}", authority.ports().tls);
    let mut script = String::new();
    for command in &commands {
        let command = command.replace("kos.example.org:8641", &tls);
        let command = command.replace("/var/lib/kos/authority/run/authority.sock", &socket);
        script += &format!("{{ {command}\n}} 2>&1\nprintf '\\n@@@%s\\n' $?\n");
    }
    desk.put("script", script).unwrap();
    let programs = program::path("kosctl").unwrap();
    let mut path = vec![programs.parent().unwrap().to_owned(), judge::workspace("target/judges/bin")];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
    let mut shell = Command::new("bash");
    shell.arg("script").current_dir(desk.at("")).env("LC_ALL", "C.UTF-8").env("HOME", desk.at(""));
    shell.env("PATH", env::join_paths(path).unwrap()).env("KOS_SERVER", format!("unix:{socket}"));
    shell.env("PKI", format!("http://127.0.0.1:{}", authority.ports().pki)).env("D", &id);
    shell.env("GOCACHE", judge::workspace("target/judges/go").canonicalize().unwrap()).env_remove("GOFLAGS");
    let done = program::finish(shell, "").unwrap();

    let mut told = done.stdout.split("\n@@@");
    let mut said = told.next().unwrap().to_owned();
    let mut demanded = BTreeSet::new();
    for (command, next) in commands.iter().zip(&mut told) {
        let (code, rest) = next.split_once('\n').unwrap();
        let wanted = SAID.iter().filter(|(begins, _)| command.starts_with(begins));
        let wanted: Vec<&str> = wanted.map(|(_, words)| *words).collect();
        let fails = wanted.iter().any(|words| [ALERT, BENT].contains(words));
        assert_eq!(code != "0", fails, "{command}\nended with {code}:\n{said}");
        for words in wanted {
            assert!(said.contains(words), "{command}\nwanted: {words}\n{said}");
            assert!(GUIDE.contains(words), "the guide does not say `{words}`");
            demanded.insert(words);
        }
        said = rest.to_owned();
    }
    assert!(told.next().is_none() && demanded.len() == SAID.len(), "{}{}", done.stdout, done.stderr);
    device.stop().unwrap();
}

/// The published log, once it holds everything.
fn copy_log(authority: &Authority, desk: &Desk) {
    let published = authority.published().unwrap();
    for (path, bytes) in program::files(&published).unwrap() {
        let name = path.strip_prefix(&published).unwrap().to_string_lossy().into_owned();
        desk.put(&format!("copy-of-log/{name}"), bytes).unwrap();
    }
}
