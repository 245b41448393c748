//! What the client of `pinlink get` is built with: the options of the command line as options of the library.
//!
//! It owns how curl's few limits and rules become the library's many. The library checks the values; nothing is
//! resolved here. No clock, no randomness.

use std::time::Duration;

use pinlink::{Builder, Client, Origin, Scheme};

use super::Get;
use crate::curl::{self, Header};
use crate::exit::Failure;
use crate::network::load;

/// The library's default for dialling and handshake; a shorter total must shorten them too.
const SHORT: Duration = Duration::from_secs(5);
/// The library's default for resolving.
const RESOLVE: Duration = Duration::from_secs(30);
/// The library's default for a whole call.
const TOTAL: Duration = Duration::from_secs(30);

impl Get {
    /// `asked` are the origins of the URLs; redirects may lead to others.
    pub(super) fn builder(&self, asked: &[Origin], headers: &[Header]) -> Result<Builder, Failure> {
        let mut origins = [asked, &self.allow_origin].concat();
        let mut builder = Client::builder().hosts(origins.iter().map(Origin::to_string)).option("summary", "off");
        builder = builder.option("protocol", self.protocol(&origins)?);
        let detours = curl::detours(&self.connect_to, &origins);
        if !detours.is_empty() {
            builder = builder.connect_to(detours);
        }
        // As in curl, an empty one is none.
        if let Some(url) = self.proxy.as_deref().filter(|url| !url.is_empty()) {
            builder = builder.proxy(&curl::proxy(url, self.proxy_user.as_deref())?[..]);
            origins.extend(curl::proxy_end(url));
        }
        let pins = curl::pins(&self.resolve, &origins)?;
        if !pins.is_empty() {
            builder = builder.pins(pins);
        }
        let hosts = host_headers(headers, asked)?;
        if !hosts.is_empty() {
            builder = builder.host_header(hosts);
        }
        if !self.pins.is_empty() {
            builder = builder.import(load(&self.pins)?);
        }
        if let Some(file) = &self.cacert {
            builder = builder.ca_file(file).web_roots(false);
        }
        if let Some(file) = &self.cert {
            builder = builder.client_cert(file);
        }
        if let Some(file) = &self.key {
            builder = builder.client_key(file);
        }
        if self.location {
            builder = builder.max_redirects(usize::from(self.max_redirs));
        }
        builder = builder.decode(self.compressed);
        if let Some(limit) = self.parallel_max {
            builder = builder.max_connections(limit).max_connections_per_origin(limit);
        }
        Ok(self.network.apply(self.limits(builder)))
    }

    /// curl's two limits over our finer ones: no part may take longer than the whole.
    fn limits(&self, mut builder: Builder) -> Builder {
        let least = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // Without --max-time, a patient --connect-timeout stretches the whole, as in curl.
        if let Some(time) = self.max_time.or(self.connect_timeout.filter(|time| *time > TOTAL)) {
            builder = builder.timeout(time);
        }
        let parts = least(self.connect_timeout, self.max_time.filter(|time| *time < SHORT));
        if let Some(time) = parts {
            builder = builder.connect_timeout(time).handshake_timeout(time);
        }
        if let Some(time) = least(self.connect_timeout, self.max_time.filter(|time| *time < RESOLVE)) {
            builder = builder.resolve_timeout(time.max(Duration::from_millis(10)));
        }
        builder
    }

    /// The library has one answer for all: HTTP/2 to plain origins is spoken without asking, or not at all.
    fn protocol(&self, origins: &[Origin]) -> Result<&'static str, Failure> {
        let speaks = |scheme| origins.iter().any(|origin| origin.scheme() == scheme);
        match (speaks(Scheme::Https), speaks(Scheme::Http)) {
            _ if self.http1 => Ok("http1"),
            _ if self.http2_prior_knowledge => Ok("http2"),
            (true, true) if self.http2 => {
                Err(Failure::usage("--http2: for https and http make two calls, or take --http2-prior-knowledge"))
            }
            (true, false) if self.http2 => Ok("http2"),
            _ => Ok("auto"),
        }
    }
}

/// A `Host` of the user's own is an option of the client, which owns that header.
fn host_headers(headers: &[Header], origins: &[Origin]) -> Result<Vec<String>, Failure> {
    let Some(header) = headers.iter().rfind(|header| header.name.eq_ignore_ascii_case("host")) else {
        return Ok(Vec::new());
    };
    let Some(value) = &header.value else {
        return Err(Failure::usage("--header: a request without Host is malformed (RFC 9112 3.2)"));
    };
    Ok(origins.iter().map(|origin| format!("{}={value}", origin.host())).collect())
}
