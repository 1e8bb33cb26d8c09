//! The log over HTTP, and copies of it elsewhere: read by strangers' programs, pulled from every kind of source, refused
//! where they contradict what is held, and whole after a kill at any point.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use kos_e2e::{
    fleet::{Authority, Ports},
    judge::{self, Desk},
    operator::Operator,
    program::{self, Finished, Program, under_strace},
    wait,
};
use serde_json::Value;

/// Makes the log grow.
fn grow(authority: &Authority, by: usize) {
    for _ in 0..by {
        authority.ticket(&["--role", "sensor"]).unwrap();
    }
}

/// The folder of the published log, once it holds everything.
fn published(authority: &Authority, desk: &Desk) -> PathBuf {
    let folder = authority.published().unwrap();
    authority.json(&["audit", "checkpoint", "--key-out", &desk.at("vkey")]).unwrap();
    fs::copy(folder.join("checkpoint"), desk.at("head")).unwrap();
    folder
}

/// A copy of a folder, to be tampered with.
fn copied(from: &Path, to: &str) {
    for (path, bytes) in program::files(from).unwrap() {
        let path = Path::new(to).join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The log's files in a folder, by path.
fn log_in(folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = program::files(folder.as_ref()).unwrap().into_iter();
    let files = files.map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes));
    files.filter(|(path, _)| path.starts_with("tile") || path.ends_with("checkpoint")).collect()
}

/// A web server that knows nothing of logs.
struct Web(#[expect(dead_code, reason = "it runs as long as this is kept")] Program, String);

fn serve(folder: &str) -> Web {
    let port = Ports::free().unwrap().web;
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, &port.to_string()]);
    let server = Program::holding("python3", command).unwrap();
    let connects = || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    drop(wait::until("the web server", connects).unwrap());
    Web(server, format!("http://127.0.0.1:{port}"))
}

/// What Go's sumdb says of a log.
fn go(vkey: &str, prefix: &str, more: &[&str]) -> Finished {
    let mut judge = Command::new("go");
    judge.arg("run").arg(judge::workspace("crates/kos-audit/tests/judge/tiles.go")).args([vkey, prefix]);
    judge.args(more).env_remove("GOFLAGS").env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    judge.env("GOCACHE", judge::workspace("target/judges/go").canonicalize().unwrap());
    program::finish(judge, "").expect("the judge needs `go`: cargo xtask test deps")
}

/// `audit mirror pull` without a server of its own.
fn pull(from: &str, to: &str, more: &[&str]) -> Finished {
    let arguments = ["audit", "mirror", "pull", "--from", from, "--to", to, "-o", "json"];
    program::run("kosctl", &[&arguments, more].concat(), "").unwrap()
}

fn item(done: &Finished) -> Value {
    assert_eq!(done.code(), 0, "{}", done.stderr);
    serde_json::from_str::<Value>(&done.stdout).unwrap()["item"].take()
}

fn refused(done: &Finished, code: &str) {
    assert_eq!(done.code(), 8, "{}{}", done.stdout, done.stderr);
    assert!(done.stderr.contains(code), "{code}: {}", done.stderr);
}

fn verified(folder: &str, vkey: &str, more: &[&str]) -> Finished {
    let arguments = ["audit", "verify", "--log", folder, "--key", vkey, "-o", "json"];
    program::run("kosctl", &[&arguments, more].concat(), "").unwrap()
}

#[test]
fn the_log_is_copied_by_every_way_and_judged_by_strangers() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    grow(&authority, 20);
    published(&authority, &desk);
    fs::copy(desk.at("head"), desk.at("held")).unwrap();
    grow(&authority, 250);
    let operator = Operator::here(&authority, "vera", "viewer").unwrap();
    let folder = published(&authority, &desk).to_string_lossy().into_owned();
    let (vkey, held) = (desk.at("vkey"), desk.at("held"));

    // From the socket, over TLS with a certificate, from a folder, and from a copy that any web server serves.
    let local = authority.kosctl(&["audit", "mirror", "pull", "--to", &desk.at("a"), "-o", "json"]).unwrap();
    let size = item(&local)["size"].as_u64().unwrap();
    assert!(size > 256);
    let remote = ["--context", "home", "audit", "mirror", "pull", "--to", &desk.at("b"), "-o", "json"];
    item(&operator.kosctl(&remote).unwrap());
    assert_eq!(item(&pull(&folder, &desk.at("c"), &["--key", &vkey]))["added"], size);
    let web = serve(&desk.at("a"));
    item(&pull(&web.1, &desk.at("d"), &["--key", &vkey]));
    for copy in ["a", "b", "c", "d"] {
        let (log, whole) = (log_in(&desk.at(copy)), log_in(&folder));
        // The authority keeps narrower tiles, which a copy has never seen.
        assert!(
            log == log_in(&desk.at("a")) && log.iter().all(|(path, bytes)| whole.get(path) == Some(bytes)),
            "{copy}"
        );
        let verdict = item(&verified(&desk.at(copy), &vkey, &["--against", &held]));
        assert_eq!((&verdict["size"], &verdict["assurance"]), (&size.into(), &"held-checkpoint".into()));
        assert_eq!(verdict["notChecked"], serde_json::json!([]));
    }
    assert_eq!(item(&pull(&web.1, &desk.at("d"), &[]))["filesFetched"], 0, "there is nothing new");

    // A standard client reads below the address of the API, and from any web server.
    let file = |name: &str| operator.file(name).to_string_lossy().into_owned();
    let (certificate, key, root) = (file("operator.pem"), file("operator.key"), file("root.pem"));
    let api = format!("https://localhost:{}/api/v1/audit/log", authority.ports().tls);
    let tls = ["-held", &held, "-cert", &certificate, "-key", &key, "-ca", &root];
    let ok = format!("ok {size}\n");
    for (prefix, more) in [(api.as_str(), &tls[..]), (&web.1, &["-held", &held]), (&desk.at("b"), &[])] {
        let judged = go(&vkey, prefix, more);
        assert_eq!(judged.stdout, ok, "{prefix}: {}", judged.stderr);
    }
    heads_are_as_the_format_wants_them(&authority, size);

    // A part of it, from where others serve it, and one proof, from nowhere.
    let part = item(&verified(&web.1, &vkey, &["--from", "100", "--to", "259", "--against", &held]));
    assert_eq!(
        (&part["ok"], &part["entriesChecked"], &part["assurance"]),
        (&true.into(), &160.into(), &"held-checkpoint".into())
    );
    assert_eq!(part["notChecked"][0], "the entries of index 0 to 99 and their signatures");
    let proof = desk.at("proof");
    authority.json(&["audit", "prove", "7", "--out", &proof]).unwrap();
    let judged = |key: &str| {
        program::run("kosctl", &["audit", "verify", "--proof", &proof, "--key", key], "").unwrap()
    };
    assert_eq!(judged(&vkey).code(), 0, "{}", judged(&vkey).stderr);
    let stranger = Authority::start().unwrap();
    stranger.json(&["audit", "checkpoint", "--key-out", &desk.at("other")]).unwrap();
    assert_eq!(judged(&desk.at("other")).code(), 10);
    refused(&pull(&web.1, &desk.at("e"), &["--key", &desk.at("other")]), "KOS-E0503");
}

/// Types, caching, coding, and what is not there.
fn heads_are_as_the_format_wants_them(authority: &Authority, size: u64) {
    let socket = authority.socket().to_string_lossy().into_owned();
    let ask = |path: &str, more: &[&str]| {
        let url = format!("http://localhost/api/v1/audit/log/{path}");
        let arguments =
            [&["-s", "-o", "/dev/null", "-D", "-", "--unix-socket", &socket, &url], more].concat();
        judge::agrees("curl", &arguments, "").unwrap().to_ascii_lowercase()
    };
    let partial = size - 256;
    let for_ever = "cache-control: max-age=31536000, immutable";
    for (path, wanted) in [
        ("checkpoint".to_owned(), ["content-type: text/plain; charset=utf-8", "cache-control: no-cache"]),
        ("tile/0/000".to_owned(), ["content-type: application/octet-stream", for_ever]),
        (format!("tile/0/001.p/{partial}"), ["content-type: application/octet-stream", for_ever]),
        // Its file gave way to the full one long ago.
        ("tile/entries/000.p/7".to_owned(), ["content-type: application/octet-stream", for_ever]),
        ("tile/1/000.p/1".to_owned(), ["content-type: application/octet-stream", for_ever]),
    ] {
        let head = ask(&path, &[]);
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        for line in wanted {
            assert!(head.contains(line), "{path}: {line}: {head}");
        }
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        let again = ask(&path, &["-H", &format!("If-None-Match: {tag}")]);
        assert!(again.starts_with("http/1.1 304"), "{path}: {again}");
    }
    assert!(!ask("tile/entries/000", &[]).contains("content-encoding"));
    assert!(ask("tile/entries/000", &["--compressed"]).contains("content-encoding: gzip"));
    assert!(!ask("tile/0/000", &["--compressed"]).contains("content-encoding"));
    for path in [
        "tile/0/002".to_owned(),
        format!("tile/0/001.p/{}", partial + 9),
        "tile/0/001".to_owned(),
        "tile/00/000".to_owned(),
        "tile/0/0".to_owned(),
        "tile/0/x000/000".to_owned(),
        "tile/0/000.p/256".to_owned(),
        "tile/entries/000.p/0".to_owned(),
        "tile/64/000".to_owned(),
        "../store.db".to_owned(),
    ] {
        assert!(ask(&path, &["--path-as-is"]).starts_with("http/1.1 404"), "{path}");
    }
}

#[test]
fn a_source_that_contradicts_the_copy_changes_nothing_of_it() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    grow(&authority, 5);
    let folder = published(&authority, &desk);
    copied(&folder, &desk.at("old"));
    let (copy, vkey) = (desk.at("copy"), desk.at("vkey"));
    let take = |from: &Authority| from.kosctl(&["audit", "mirror", "pull", "--to", &copy]).unwrap();

    // Somebody copied the disk, and both go on.
    authority.stop().unwrap();
    let mut fork = authority.copied().unwrap();
    authority.serve().unwrap();
    fork.serve().unwrap();
    grow(&authority, 3);
    published(&authority, &desk);
    assert_eq!(take(&authority).code(), 0);
    let held = fs::read(desk.at("copy/checkpoint")).unwrap();
    let unchanged = || {
        assert_eq!(fs::read(desk.at("copy/checkpoint")).unwrap(), held);
        assert_eq!(verified(&copy, &vkey, &[]).code(), 0);
    };
    grow(&fork, 9);
    published(&fork, &Desk::new().unwrap());
    refused(&take(&fork), "KOS-E0504");
    unchanged();
    let kept = || program::files(desk.at("copy/evidence").as_ref()).unwrap();
    let said: Vec<_> =
        kept().into_iter().map(|(path, bytes)| (path.file_name().unwrap().to_owned(), bytes)).collect();
    assert!(said.contains(&("held".into(), held.clone())) && said.len() == 2, "{said:?}");
    refused(&take(&fork), "KOS-E0504");
    assert_eq!(kept().len(), 2, "the same contradiction is kept once");
    refused(&pull(&desk.at("old"), &copy, &[]), "KOS-E0505");
    assert_eq!(kept().len(), 4);
    unchanged();

    // Somebody tampers with what a source serves.
    grow(&authority, 3);
    published(&authority, &desk);
    type Tamper = fn(&mut Vec<u8>);
    let tampered: [(&str, &str, Tamper); 5] = [
        ("tile/entries", "KOS-E0551", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("tile/0", "KOS-E0551", |bytes| bytes[3] ^= 1),
        ("tile/entries", "KOS-E0552", |bytes| bytes.truncate(bytes.len() - 9)),
        ("tile/0", "KOS-E0552", |bytes| bytes.truncate(32)),
        ("checkpoint", "KOS-E0503", |bytes| bytes[20] ^= 1),
    ];
    for (at, (path, code, tamper)) in tampered.into_iter().enumerate() {
        let source = desk.at(&format!("source-{at}"));
        copied(&folder, &source);
        for (file, mut bytes) in program::files(source.as_ref()).unwrap() {
            if file.starts_with(Path::new(&source).join(path)) {
                tamper(&mut bytes);
                fs::write(file, bytes).unwrap();
            }
        }
        refused(&pull(&source, &copy, &[]), code);
        unchanged();
    }
    let cut = desk.at("source-cut");
    copied(&folder, &cut);
    fs::remove_dir_all(Path::new(&cut).join("tile/entries")).unwrap();
    refused(&pull(&cut, &copy, &[]), "KOS-E0552");
    unchanged();

    // What a wrong source left behind is not believed either.
    assert_eq!(take(&authority).code(), 0);
    let whole = log_in(&folder.to_string_lossy());
    let copied = log_in(&copy);
    assert!(whole[Path::new("checkpoint")] == copied[Path::new("checkpoint")]);
    assert_eq!(verified(&copy, &vkey, &[]).code(), 0);
}

#[test]
fn a_pull_that_is_killed_anywhere_goes_on_where_it_was() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    grow(&authority, 5);
    let folder = published(&authority, &desk).to_string_lossy().into_owned();
    copied(folder.as_ref(), &desk.at("old"));
    grow(&authority, 4);
    published(&authority, &desk);
    let vkey = desk.at("vkey");
    let mut kills = 0;
    for calls in ["rename", "fsync,syncfs", "openat", "write"] {
        for at in 1..500 {
            let copy = desk.at(&format!("copy-{}-{at}", calls.len()));
            assert_eq!(pull(&desk.at("old"), &copy, &["--key", &vkey]).code(), 0);
            let arguments = ["audit", "mirror", "pull", "--from", &folder, "--to", &copy];
            let command = program::command("kosctl", &arguments).unwrap();
            let inject = format!("inject={calls}:signal=KILL:when={at}");
            let options = ["-e".to_owned(), format!("trace={calls}"), "-e".to_owned(), inject];
            let killed = program::finish(under_strace(&command, options), "").unwrap();
            let there = item(&verified(&copy, &vkey, &[]));
            assert_eq!(there["ok"], true, "{calls} {at}: {there}");
            assert_eq!(pull(&folder, &copy, &[]).code(), 0, "{calls} {at}");
            assert!(
                log_in(&copy)[Path::new("checkpoint")]
                    == fs::read(Path::new(&folder).join("checkpoint")).unwrap()
            );
            assert_eq!(item(&verified(&copy, &vkey, &[]))["ok"], true, "{calls} {at}");
            fs::remove_dir_all(&copy).unwrap();
            if killed.status.success() {
                break;
            }
            assert_eq!(killed.code(), 128 + 9, "{}", killed.stderr);
            kills += 1;
        }
    }
    assert!(kills > 30, "{kills}");
}

/// What `audit mirror list` says of a target.
fn target(authority: &Authority, name: &str) -> Value {
    let list = authority.json(&["audit", "mirror", "list"]).unwrap();
    let mut items = list["items"].as_array().unwrap().iter();
    items.find(|item| item["name"] == name).cloned().unwrap_or_default()
}

/// Waits until a target is in a state.
fn becomes(authority: &Authority, name: &str, state: &str) -> Value {
    wait::until(&format!("`{name}` to be {state}"), || {
        let target = target(authority, name);
        Ok((target["state"] == state && (state != "current" || target["lagEntries"] == 0)).then_some(target))
    })
    .unwrap()
}

/// A WebDAV server that somebody else wrote, with a certificate of its own; ends with this value.
struct Dav {
    #[expect(dead_code, reason = "it runs as long as this is kept")]
    program: Program,
    url: String,
}

impl Dav {
    /// Its folder is `dav`, its user anna.
    fn start(desk: &Desk, port: u16) -> Self {
        fs::create_dir_all(desk.at("dav")).unwrap();
        if !Path::new(&desk.at("dav.pem")).exists() {
            let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
            let names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
            for make in [
                format!("openssl req -x509 {key} -days 2 -keyout ca.key -out ca.pem -subj /CN=ca"),
                format!("openssl req {key} -keyout dav.key -out dav.csr {names}"),
                "openssl x509 -req -in dav.csr -CA ca.pem -CAkey ca.key -days 2 -copy_extensions copy -out dav.pem".to_owned(),
            ] {
                desk.agrees(&make, "").unwrap();
            }
        }
        let config = format!(
            "host: 127.0.0.1\nport: {port}\nserver: cheroot\nssl_certificate: {}\nssl_private_key: {}\nprovider_mapping:\n  \"/\": {}\n\
             http_authenticator:\n  domain_controller: null\n  accept_basic: true\n  accept_digest: false\n  \
             default_to_digest: false\nsimple_dc:\n  user_mapping:\n    \"*\":\n      anna:\n        password: {PASSWORD}\n",
            desk.at("dav.pem"),
            desk.at("dav.key"),
            desk.at("dav"),
        );
        desk.put("dav.yaml", config).unwrap();
        let mut command = Command::new(judge::workspace("target/judges/bin/wsgidav"));
        command.args(["--config", &desk.at("dav.yaml")]);
        let mut program = Program::holding("wsgidav", command).unwrap();
        wait::until("the WebDAV server", || {
            anyhow::ensure!(program.is_running()?, "it ended: {}{}", program.stdout(), program.errors());
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        })
        .unwrap();
        Self { program, url: format!("https://localhost:{port}") }
    }
}

/// Nothing is protected by it.
const PASSWORD: &str = "only-for-this-test";

#[test]
fn the_authority_pushes_to_folders_and_webdav_and_goes_on_after_any_end() {
    let mut authority = Authority::start_with("mirror_behind_seconds: 10\n").unwrap();
    let desk = Desk::new().unwrap();
    grow(&authority, 5);
    let (disk, password) = (desk.at("disk"), desk.at("password"));
    let data = authority.data().join("authority").to_string_lossy().into_owned();
    fs::create_dir(&disk).unwrap();
    desk.put("password", PASSWORD).unwrap();

    // Never in its own data, never where another log is, never twice.
    let add = |authority: &Authority, arguments: &[&str]| {
        authority.kosctl(&[&["audit", "mirror", "add"], arguments].concat()).unwrap()
    };
    let (inside, nowhere) = (format!("{data}/log"), desk.at("nowhere"));
    // Nor where nothing is ever dialled.
    for place in [&data, &inside, "/", &nowhere, "http://192.0.2.7/log", "https://169.254.169.254/log"] {
        let refused = add(&authority, &["bad", place]);
        assert_eq!(refused.code(), 2, "{place}: {}", refused.stderr);
        assert!(refused.stderr.contains("KOS-E0554"), "{place}: {}", refused.stderr);
    }
    let closed = format!("http://127.0.0.1:{}/log", Ports::free().unwrap().tls);
    assert_eq!(add(&authority, &["away", &closed]).code(), 0);
    assert_eq!(add(&authority, &["disk", &disk]).code(), 0);
    let twice = add(&authority, &["again", &disk]);
    assert!(twice.code() == 6 && twice.stderr.contains("KOS-E0555"), "{}", twice.stderr);
    let port = Ports::free().unwrap().tls;
    let dav = Dav::start(&desk, port);
    let web = ["dav", &dav.url, "--ca", &desk.at("ca.pem"), "--user", "anna", "--password-file", &password];
    let added = add(&authority, &web);
    assert_eq!(added.code(), 0, "{}", added.stderr);
    for name in ["disk", "dav"] {
        becomes(&authority, name, "current");
    }
    assert!(becomes(&authority, "away", "behind")["trouble"].as_str().unwrap().contains("nobody listens"));
    authority.json(&["audit", "mirror", "remove", "away", "--yes"]).unwrap();

    // What is there is the log, for us and for strangers.
    grow(&authority, 3);
    let pushed = authority.kosctl(&["audit", "mirror", "push", "-o", "json"]).unwrap();
    assert_eq!(pushed.code(), 0, "{}{}", pushed.stdout, pushed.stderr);
    let folder = published(&authority, &desk).to_string_lossy().into_owned();
    authority.kosctl(&["audit", "mirror", "push"]).unwrap();
    let vkey = desk.at("vkey");
    for copy in [&disk, &desk.at("dav")] {
        assert_eq!(item(&verified(copy, &vkey, &[]))["ok"], true, "{copy}");
        assert_eq!(
            log_in(copy)[Path::new("checkpoint")],
            fs::read(Path::new(&folder).join("checkpoint")).unwrap()
        );
        assert!(go(&vkey, copy, &[]).stdout.starts_with("ok "), "{copy}");
    }

    // One that is away keeps nobody waiting, is told of, and gets everything when it is back; so does one after a kill.
    drop(dav);
    grow(&authority, 2);
    becomes(&authority, "disk", "current");
    becomes(&authority, "dav", "behind");
    wait::until("the log to say so", || {
        Ok(authority.events()?.contains(&"mirror_behind".to_owned()).then_some(()))
    })
    .unwrap();
    let doctor = authority.kosctl(&["doctor"]).unwrap();
    assert!(doctor.code() == 10 && doctor.stdout.contains("mirrors"), "{}", doctor.stdout);
    let metrics = format!("http://127.0.0.1:{}/metrics", authority.ports().web);
    let page = judge::agrees("curl", &["-s", &metrics], "").unwrap();
    assert!(page.contains("kos_log_mirrors{state=\"behind\"} 1"), "{page}");
    authority.kill().unwrap();
    let _dav = Dav::start(&desk, port);
    authority.serve().unwrap();
    becomes(&authority, "dav", "current");
    assert_eq!(item(&verified(&desk.at("dav"), &vkey, &[]))["ok"], true);

    // One that contradicts the log is left alone, and the log has its checkpoint.
    authority.stop().unwrap();
    let mut fork = authority.copied().unwrap();
    authority.serve().unwrap();
    grow(&authority, 3);
    becomes(&authority, "disk", "current");
    let held = fs::read(Path::new(&disk).join("checkpoint")).unwrap();
    authority.stop().unwrap();
    fork.serve().unwrap();
    grow(&fork, 1);
    becomes(&fork, "disk", "refused");
    let refused = fork.json(&["audit", "list", "--event", "mirror_refused"]).unwrap();
    let checkpoints: Vec<_> =
        refused["items"].as_array().unwrap().iter().map(|entry| &entry["details"]["checkpoint"]).collect();
    assert!(checkpoints.iter().any(|text| text.as_str().unwrap().contains("/klog")), "{refused}");
    assert_eq!(fs::read(Path::new(&disk).join("checkpoint")).unwrap(), held, "it is written to no more");
    let said = program::files(fork.data()).unwrap();
    assert!(said.iter().all(|(_, bytes)| !bytes.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes())));
}
