//! Who may ask the page for what: the head of a request in, a decision out.
//!
//! Invariants: a request names this page as its host, so a name that somebody points at 127.0.0.1 leads nowhere. What has an
//! effect is posted as JSON by a page of this very origin; no other page of the browser can do that, and no form.
//!
//! Source: `docs/spec/vault.md` KVS-23; Fetch, section 3.2.

use hyper::{HeaderMap, Method, StatusCode, header, http::request::Parts};

/// A part of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asset {
    pub(super) media: &'static str,
    pub(super) text: &'static str,
}

const HTML: Asset = Asset { media: "text/html; charset=utf-8", text: include_str!("web/page.html") };
const STYLE: Asset = Asset { media: "text/css; charset=utf-8", text: include_str!("web/page.css") };
const SCRIPT: Asset = Asset { media: "text/javascript; charset=utf-8", text: include_str!("web/page.js") };
const ICON: Asset = Asset { media: "image/svg+xml", text: include_str!("web/icon.svg") };

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// For a part of the page, which is the same for everybody.
    Part(&'static Asset),
    /// For what the page is to do.
    Begin,
    /// With what came of it.
    End,
}

/// What a request is, if it may be made.
pub(super) fn admit(head: &Parts, port: u16) -> Result<Asked, StatusCode> {
    let here = format!("localhost:{port}");
    if only(&head.headers, header::HOST) != Some(here.as_str()) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    let effect = match (&head.method, head.uri.path()) {
        (&Method::GET, "/") => return Ok(Asked::Part(&HTML)),
        (&Method::GET, "/page.css") => return Ok(Asked::Part(&STYLE)),
        (&Method::GET, "/page.js") => return Ok(Asked::Part(&SCRIPT)),
        (&Method::GET, "/icon.svg") => return Ok(Asked::Part(&ICON)),
        (&Method::POST, "/begin") => Asked::Begin,
        (&Method::POST, "/end") => Asked::End,
        (&Method::GET | &Method::POST, _) => return Err(StatusCode::NOT_FOUND),
        _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
    };
    let is_ours = only(&head.headers, header::ORIGIN) == Some(format!("http://{here}").as_str())
        // Browsers that say where a request comes from say that too.
        && head.headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    if !is_ours {
        return Err(StatusCode::FORBIDDEN);
    }
    if only(&head.headers, header::CONTENT_TYPE) != Some("application/json") {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    Ok(effect)
}

/// A header that stands there once.
fn only(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok()).flatten()
}

/// What every answer says to the browser: the page has its own parts and no others, and nobody frames or keeps it.
pub(super) const HEADERS: [(&str, &str); 9] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("permissions-policy", "publickey-credentials-create=(self), publickey-credentials-get=(self)"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Asked, StatusCode> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        admit(&request.body(()).unwrap().into_parts().0, 4242)
    }

    const HOST: (&str, &str) = ("host", "localhost:4242");
    const ORIGIN: (&str, &str) = ("origin", "http://localhost:4242");
    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn the_page_is_for_whoever_names_it_as_it_is_called() {
        assert_eq!(ask("GET", "/", &[HOST]), Ok(Asked::Part(&HTML)));
        assert_eq!(ask("GET", "/page.js", &[HOST]), Ok(Asked::Part(&SCRIPT)));
        for host in
            ["localhost", "localhost:4243", "127.0.0.1:4242", "[::1]:4242", "rebound.example:4242", ""]
        {
            assert_eq!(ask("GET", "/", &[("host", host)]), Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        assert_eq!(ask("GET", "/", &[]), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(ask("GET", "/", &[HOST, HOST]), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(ask("GET", "/begin", &[HOST]), Err(StatusCode::NOT_FOUND));
        assert_eq!(ask("PUT", "/", &[HOST]), Err(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn what_has_an_effect_comes_from_this_origin_and_as_json() {
        for (path, asked) in [("/begin", Asked::Begin), ("/end", Asked::End)] {
            assert_eq!(ask("POST", path, &[HOST, ORIGIN, JSON]), Ok(asked));
            for origin in ["null", "http://localhost:4243", "https://localhost:4242", "http://127.0.0.1:4242"]
            {
                let refused = ask("POST", path, &[HOST, ("origin", origin), JSON]);
                assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{origin}");
            }
            assert_eq!(ask("POST", path, &[HOST, JSON]), Err(StatusCode::FORBIDDEN));
            for site in ["cross-site", "same-site", "none"] {
                let refused = ask("POST", path, &[HOST, ORIGIN, JSON, ("sec-fetch-site", site)]);
                assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{site}");
            }
            for media in ["text/plain", "application/x-www-form-urlencoded"] {
                let refused = ask("POST", path, &[HOST, ORIGIN, ("content-type", media)]);
                assert_eq!(refused, Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
        }
    }

    #[test]
    fn the_policy_of_the_page_allows_nothing_unsafe() {
        let (_, policy) = HEADERS[0];
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe") && !policy.contains('*')
        );
        assert!(
            !HTML.text.contains("style=") && !HTML.text.contains("<style") && !HTML.text.contains("onclick")
        );
    }
}
