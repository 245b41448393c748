//! What follows a redirect (RFC 9110 15.4): the next request, the answer as it is, or a refusal.
//!
//! It owns the rules of a hop: which answers lead on, how a `Location` is resolved (RFC 3986 5), what may not
//! cross to another origin. It never sends anything; each hop still goes through declared hosts, pins and
//! address policy like a request of the caller. No clock, no randomness; what the far side wrote reaches no
//! error but as a host.

use std::str;

use url::Url;

use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::origin::{Origin, Scheme, check_visible};
use crate::request::Request;

/// The URLs of one call so far, and how many redirects it may follow.
#[derive(Debug)]
pub(crate) struct Trail {
    urls: Vec<String>,
    max_redirects: usize,
}

/// RFC 9110 4.1 asks for 8000 octets; nobody needs more to say where to go.
const MAX_LOCATION: usize = 8 * 1024;
impl Trail {
    /// With 0 no redirect is followed, and the caller gets the answer.
    pub(crate) fn new(max_redirects: usize) -> Trail {
        Trail { urls: Vec::new(), max_redirects }
    }
}

/// The request that follows, or nothing where the answer is the caller's: other statuses, writes, no `Location`.
///
/// # Errors
/// A `Location` that can't or may not be followed; too many, or a loop.
pub(crate) fn next(
    request: &Request,
    status: u16,
    location: Option<&[u8]>,
    trail: &mut Trail,
) -> Result<Option<Request>> {
    let leads_on = matches!(status, 301 | 302 | 303 | 307 | 308) && matches!(request.method(), "GET" | "HEAD");
    let Some(location) = location.filter(|_| leads_on && trail.max_redirects > 0) else { return Ok(None) };
    // A body is for the one who was asked; with it even a GET may do something.
    if request.content().length() != Some(0) {
        return Ok(None);
    }
    let from = Origin::from_authority(request.scheme(), request.authority())?;
    let refuse = |reason, detail: String| {
        Error::new(reason, Phase::Receive, detail).with_delivery(Delivery::Answered).with_host(from.host_port())
    };
    let malformed = |detail: &str| refuse(Reason::ProtocolHead, format!("the redirect's Location {detail}"));

    let url = resolve(&request.url(), location).map_err(malformed)?;
    let scheme = Scheme::parse(url.scheme()).ok_or_else(|| malformed("is no http or https URL"))?;
    let to = Origin::from_authority(scheme, url.authority()).map_err(|_| malformed("names no valid host and port"))?;
    if from.scheme() == Scheme::Https && to.scheme() != Scheme::Https {
        return Err(refuse(Reason::PolicyDowngrade, format!("the redirect leads to {} without TLS", to.host_port())));
    }

    if trail.urls.is_empty() {
        let path = Url::parse(&request.url()).map_err(|_| malformed("can't be resolved"))?;
        trail.urls.push(key(&from, &path));
    }
    let key = key(&to, &url);
    if trail.urls.contains(&key) {
        return Err(refuse(Reason::LimitRedirects, format!("the redirects go round in a loop by {}", to.host_port())));
    }
    if trail.urls.len() > trail.max_redirects {
        let max = trail.max_redirects;
        return Err(refuse(Reason::LimitRedirects, format!("over {max} redirects, the last to {}", to.host_port())));
    }
    let onward = request.with_target(url.as_str()).map_err(|_| malformed("is malformed"))?;
    trail.urls.push(key);
    Ok(Some(if from == to { onward } else { onward.without_credentials() }))
}

/// One form for every spelling of a URL, so that a loop is recognised.
fn key(origin: &Origin, url: &Url) -> String {
    format!("{origin}{}?{}", url.path(), url.query().unwrap_or_default())
}

/// The URL that a reference means, without its fragment. The URL standard mends what is malformed (`http:host`,
/// `///host`, `\`), and two readers that mend differently go to different hosts: only what it is here for gets to it.
fn resolve(base: &str, location: &[u8]) -> Result<Url, &'static str> {
    if location.len() > MAX_LOCATION {
        return Err("is too long");
    }
    let text = str::from_utf8(location).map_err(|_| "is not text")?;
    check_visible("location", text).map_err(|_| "is empty or holds a character that no URL has")?;
    let before_path = text.split(['/', '?', '#']).next().unwrap_or_default();
    let after_scheme = match before_path.split_once(':') {
        Some((scheme, _)) => {
            let rest = &text[scheme.len() + 1..];
            if Scheme::parse(scheme).is_none_or(|scheme| scheme == Scheme::Tcp) || !rest.starts_with("//") {
                return Err("is no http or https URL");
            }
            rest
        }
        None => text,
    };
    if let Some(rest) = after_scheme.strip_prefix("//") {
        match rest.split(['/', '?', '#']).next().unwrap_or_default() {
            "" => return Err("has no host"),
            authority if authority.contains('@') => return Err("holds user information"),
            authority if authority.contains('%') => return Err("has a percent sign in its host"),
            _ => {}
        }
    }
    let base = Url::parse(base).map_err(|_| "can't be resolved")?;
    let mut url = base.join(text).map_err(|_| "is malformed")?;
    url.set_fragment(None);
    // Encoded, it may have grown.
    if url.as_str().len() > 2 * MAX_LOCATION { Err("is too long") } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::CREDENTIALS;

    fn follow(url: &str, location: &str) -> Result<Option<Request>> {
        next(&Request::get(url), 302, Some(location.as_bytes()), &mut Trail::new(10))
    }

    fn refusal(url: &str, location: &str) -> Reason {
        let error = follow(url, location).expect_err(location);
        assert_eq!((error.delivery(), error.phase()), (Delivery::Answered, Phase::Receive), "{location}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        error.reason()
    }

    #[test]
    fn a_reference_is_resolved_as_rfc_3986_5_4_has_it() {
        for (location, url) in [
            ("g", "http://a/b/c/g"),
            ("./g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y/./x#s", "http://a/b/c/g?y/./x"),
            (";x", "http://a/b/c/;x"),
            ("../../../../g", "http://a/g"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g:80/x", ""),
            ("./g:80/x", "http://a/b/c/g:80/x"),
            ("HTTPS://B.example:443/%7Ex?a=b#f", "https://b.example/%7Ex?a=b"),
            ("/ä", "http://a/%C3%A4"),
            ("https://bücher.example", "https://xn--bcher-kva.example/"),
            ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ] {
            match follow("http://a/b/c/d;p?q", location) {
                Ok(request) => assert_eq!(request.unwrap().url(), url, "{location}"),
                Err(error) => assert_eq!((error.reason(), url), (Reason::ProtocolHead, ""), "{location}"),
            }
        }
    }

    #[test]
    fn only_reads_without_a_body_are_followed_and_only_by_five_statuses() {
        for status in 100..600 {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
                let request = Request::new(method, "https://a/");
                let onward = next(&request, status, Some(b"/b"), &mut Trail::new(10)).unwrap();
                let follows = [301, 302, 303, 307, 308].contains(&status) && ["GET", "HEAD"].contains(&method);
                assert_eq!(onward.is_some(), follows, "{status} {method}");
                assert!(onward.is_none_or(|onward| onward.method() == method));
            }
        }
        let answer = |request: Request, location| next(&request, 302, location, &mut Trail::new(10)).unwrap();
        assert!(answer(Request::get("https://a/"), None).is_none());
        assert!(answer(Request::get("https://a/").body("hunter2"), Some(b"/b")).is_none());
        assert!(next(&Request::get("https://a/"), 302, Some(b"\0"), &mut Trail::new(0)).unwrap().is_none());
    }

    #[test]
    fn what_speaks_for_the_caller_stays_at_its_origin() {
        let mut request = Request::get("https://a.example/x").header("x-trace", "7").header("accept", "a/b");
        for name in &CREDENTIALS {
            request = request.header(name.as_str(), "hunter2");
        }
        let head = |location: &[u8]| {
            let onward = next(&request, 307, Some(location), &mut Trail::new(1)).unwrap().unwrap();
            let own = crate::request::OwnFields::new("host", &http::HeaderValue::from_static("agent"), false);
            let mut wire = Vec::new();
            onward.write_head(&own, false, &mut wire);
            (String::from_utf8(wire).unwrap(), onward.is_keyed())
        };
        for same in [&b"/y"[..], b"//A.example./y", b"https://a.example:443/y"] {
            let (head, is_keyed) = head(same);
            assert!(is_keyed && head.matches("hunter2").count() == CREDENTIALS.len(), "{head}");
        }
        for other in [&b"https://b.example/y"[..], b"https://a.example:444/y", b"//x.a.example/y"] {
            let (head, is_keyed) = head(other);
            assert!(!is_keyed && !head.contains("hunter2"), "{head}");
            assert!(head.contains("x-trace: 7\r\n") && head.matches("accept").count() == 1, "{head}");
        }
    }

    #[test]
    fn a_redirect_leads_neither_out_of_tls_nor_out_of_http() {
        let long = format!("/{}", "a".repeat(MAX_LOCATION));
        assert_eq!(refusal("https://a/", "http://a/?hunter2"), Reason::PolicyDowngrade);
        for bad in [
            "",
            "ftp://a/hunter2",
            "javascript:hunter2",
            "tcp://a:1/",
            "file:///hunter2",
            "https:hunter2",
            "https:/hunter2",
            "https:///hunter2",
            "//",
            "///hunter2",
            "\\\\hunter2",
            "https://u:hunter2@b/",
            "//@b/hunter2",
            "https://b:0/hunter2",
            "https://b:70000/",
            "https://ex%41mple/",
            "https://-hunter2/",
            "/a b",
            "/a\r\nx: hunter2",
            &long,
        ] {
            assert_eq!(refusal("https://a/", bad), Reason::ProtocolHead, "{bad}");
        }
        assert!(next(&Request::get("https://a/"), 302, Some(b"/\xff"), &mut Trail::new(1)).is_err());
    }

    #[test]
    fn redirects_end_after_so_many_and_at_a_loop() {
        let mut trail = Trail::new(3);
        let mut request = Request::get("https://a.example?n#f");
        for hop in 1..=3 {
            request = next(&request, 301, Some(format!("/{hop}").as_bytes()), &mut trail).unwrap().unwrap();
        }
        let mut hop = |location: &[u8]| next(&request, 301, Some(location), &mut trail).unwrap_err();
        assert_eq!(hop(b"/4").reason(), Reason::LimitRedirects);
        for seen in [&b"#f"[..], b"3", b"/1", b"//A.EXAMPLE./x/../1#f", b"https://a.example:443/?n"] {
            let error = hop(seen);
            assert!(error.reason() == Reason::LimitRedirects && error.to_string().contains("loop"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn wherever_a_redirect_points_it_is_a_sendable_request_or_an_error(
            location in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "(https?:|ftp:)?/{0,3}[a-z@:%.\\[\\]/?#\\\\ä{}|^-]{0,30}".prop_map(String::into_bytes),
            ],
        ) {
            let request = Request::get("https://a.example/b/c?d").header("authorization", "hunter2");
            if let Ok(Some(onward)) = next(&request, 302, Some(&location), &mut Trail::new(5)) {
                prop_assert!(onward.check().is_ok() && onward.url().starts_with("https://"));
                prop_assert!(!onward.url().contains(['@', '#']) || location.contains(&b'@'));
                let origin = Origin::from_authority(onward.scheme(), onward.authority()).unwrap();
                let bytes = format!("{onward:?}").contains("header_bytes: 0");
                prop_assert_eq!(bytes, origin != Origin::parse("https://a.example").unwrap());
            }
        }
    }
}
