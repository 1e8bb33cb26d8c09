//! Somebody else has the port while a page is open.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use kos_e2e::browser::Authenticator;
use serde_json::{Value, json};

use super::{ASKS, Bench, SAME};

/// Takes both addresses of `localhost` at a port, says yes to everything there, and tells what was posted.
fn stand_in(port: u16) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
    for listener in [four, six] {
        let tell = tell.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                // A browser opens connections that it then does not use.
                thread::spawn(move || tell.send(say_yes(stream)));
            }
        });
    }
    told
}

/// Reads one request to its end, and answers as the page's own command would.
fn say_yes(mut stream: TcpStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                break;
            }
        }
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => request.extend_from_slice(&piece[..n]),
            _ => break,
        }
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    drop(stream.write_all(answer.as_bytes()));
    String::from_utf8_lossy(&request).into_owned()
}

#[test]
fn whoever_has_the_port_after_the_page_gets_nothing_that_opens() {
    let mut bench = Bench::new();
    bench.browser.plug_in(Authenticator::GOOD).unwrap();
    bench.add("blue key");
    bench.done(&["lock"], "");
    let opening = bench.serve(&["unlock", "--passkey"], "");
    let (port, code) = (opening.port(), opening.code.clone());
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    bench.overhear(SAME);
    opening.interrupt();
    let posted = stand_in(port);
    bench.walk();
    let plain = bench.browser.run("window.plain").unwrap();
    let plain: Value = serde_json::from_str(plain[0].as_str().unwrap()).unwrap();
    let output = BASE64URL_NOPAD.decode(plain["used"]["output"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(output.len(), 32);

    // It came to the wrong one, sealed, without the code and without anything that was sealed.
    let request = posted.iter().find(|request| request.starts_with("POST /end")).unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["key", "sealed"]);
    let raw = ["key", "sealed"]
        .map(|name| BASE64URL_NOPAD.decode(body[name].as_str().unwrap().as_bytes()).unwrap());
    assert_eq!((raw[0].len(), raw[0][0]), (65, 4), "a public key");
    assert!(raw.iter().all(|raw| !raw.windows(8).any(|window| output.windows(8).any(|part| part == window))));
    let forms = [BASE64URL_NOPAD.encode(&output), BASE64.encode(&output), HEXLOWER.encode(&output)];
    for secret in forms.iter().chain([&code, &code.replace('-', "")]) {
        assert!(!request.contains(secret.as_str()), "{secret} in {request}");
    }
    let named = plain["used"]["credentialId"].as_str().unwrap();
    assert!(!request.contains(named), "not even which passkey it was");

    // It opens nothing at the next page.
    let next = bench.serve(&["unlock", "--passkey"], "");
    assert_eq!(next.post("/begin", &json!({"code": next.code}).to_string()).0, 200);
    assert_eq!(next.post("/end", &body.to_string()).0, 403);
    let mut altered = body.clone();
    altered["sealed"] = BASE64URL_NOPAD.encode(&raw[1][1..]).into();
    assert_eq!(next.post("/end", &altered.to_string()).0, 403);
    next.interrupt();
    assert_eq!(bench.state(), "locked");

    // An answer that somebody alters on its way is none, and the right one is taken after it.
    let opening = bench.serve(&["unlock", "--passkey"], "");
    bench.browser.go(&opening.link()).unwrap();
    bench.browser.until(ASKS).unwrap();
    let alter = "{ const real = window.fetch; window.fetch = async (path, what) => { \
                   const other = what.body.replace(/\"sealed\":\"(.)/, (_, c) => `\"sealed\":\"${c === 'A' ? 'B' : 'A'}`); \
                   window.altered = (await real(path, { ...what, body: other })).status; \
                   return real(path, what); }; }";
    bench.browser.run(alter).unwrap();
    bench.walk();
    assert_eq!(bench.browser.run("window.altered").unwrap(), 403);
    let (code, said) = bench.ending(opening);
    assert_eq!(code, 0, "{said}");
    assert_eq!(bench.state(), "unlocked");
    bench.authority.stop().unwrap();
}
