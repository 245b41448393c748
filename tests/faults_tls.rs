//! FAULTS section 3, what the box has no script for: handshakes of versions and ciphers that nobody should speak (L6),
//! floods (L9), monstrous chains (L10), protocols that were not offered (L14), a clock that is ten years off (L18), client
//! certificates (L20) and proxies that listen in (L21). Sessions are in faults_tls_sessions.rs.
//!
//! A [`Peer`] plays most of them, each to blocking and async callers and to requests that may be repeated and that may
//! not. `openssl` and `faketime` are asked where the real thing is worth more than a script of it.

mod common;

use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::raw::{FINE, NAME, Peer, Wire};
use common::session::{Authority, Identity, Session, Trust, meets, named};
use common::survival::{Ask, Caller, TIMEOUT, every_call, fails_as, recovers, recovers_alone, unsent};
use common::*;
use pinlink::{Builder, Delivery, Phase, Reason, Request};
use pinlink_box::{Certificate, Fault, Network};
use rcgen::{CertificateParams, CustomExtension, SanType};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// As [`meets`], for a peer that shows this instead of what it should.
#[track_caller]
fn meets_certificate(
    caller: Caller,
    trust: &Trust,
    right: &Arc<ServerConfig>,
    wrong: &Arc<ServerConfig>,
    reason: Reason,
) {
    let wrong = Arc::clone(wrong);
    let peer = Peer::instead_of_tls(Arc::clone(right), move |wire| Session::accept(wire, &wrong)?.until_closed());
    let error = meets(caller, Ask::Post, &peer, trust.client(&peer), unsent(reason, 1));
    assert_eq!(error.phase(), Phase::Handshake, "{error}");
}

#[test]
fn l3_a_missing_intermediate_is_not_fetched_from_where_the_certificate_says() {
    let (trust, library) = (Trust::new(), Peer::saying(FINE));
    let intermediate = trust.authority.intermediate("an intermediate that is not sent");
    let at = format!("http://{}/intermediate.der", library.at);
    // Authority information access (RFC 5280 4.2.2.1): where the issuer's certificate is to be had.
    let method = [&[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, at.len() as u8], at.as_bytes()].concat();
    let method = [&[0x30, method.len() as u8], method.as_slice()].concat();
    let access = [&[0x30, method.len() as u8], method.as_slice()].concat();
    let mut params = named(&[NAME]);
    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access));
    let alone = intermediate.sign(&params);
    let mut whole = intermediate.sign(&params);
    whole.chain.push(intermediate.certificate.clone());
    for caller in Caller::ALL {
        meets_certificate(caller, &trust, &whole.server(), &alone.server(), Reason::TlsUnknownIssuer);
    }
    assert_eq!(library.connections(), 0, "nobody is asked on the word of a stranger");
}

#[test]
fn l4_a_name_is_matched_as_a_whole_and_a_wildcard_for_one_label() {
    let trust = Trust::new();
    let right = trust.authority.right();
    let subject = |params: &mut CertificateParams| {
        params.distinguished_name.push(rcgen::DnType::CommonName, NAME);
    };
    let mut nothing = CertificateParams::default();
    subject(&mut nothing);
    let mut other_kinds = CertificateParams::default();
    subject(&mut other_kinds);
    other_kinds.subject_alt_names = vec![
        SanType::URI(format!("https://{NAME}/").try_into().unwrap()),
        SanType::Rfc822Name(format!("somebody@{NAME}").try_into().unwrap()),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
    ];
    let names = [
        "*",
        "*.*",
        "*.test",
        "p*.test",
        "*r.test",
        "pee*.test",
        "*.peer.test",
        "peer.test.evil.example",
        "eer.test",
        "test",
    ];
    for params in names.map(|name| named(&[name])).into_iter().chain([nothing, other_kinds]) {
        for caller in Caller::ALL {
            let wrong = trust.authority.sign(&params).server();
            meets_certificate(caller, &trust, &right, &wrong, Reason::TlsWrongName);
        }
    }
    // One label is what it is for.
    let peer = Peer::sound_over_tls(trust.authority.sign(&named(&["*.peer.test"])).server());
    let [one, two] = ["a", "a.b"].map(|labels| format!("https://{labels}.{NAME}:{}", peer.at.port()));
    let builder =
        peer.reached_by([one.clone(), two.clone()]).pins(["a.peer.test=127.0.0.1", "a.b.peer.test=127.0.0.1"]);
    let client = builder.web_roots(false).ca_file(trust.authority.file(&trust.scratch)).build().unwrap();
    for caller in Caller::ALL {
        fails_as(caller, &client, &Request::get(&two), TIMEOUT, unsent(Reason::TlsWrongName, 1));
    }
    peer.recovers(&client, &one);
}

/// Keeps one certificate for each name, and one for those who name nobody.
#[derive(Debug)]
struct Hosts {
    named: Vec<(&'static str, Arc<CertifiedKey>)>,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Hosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let of = |name| self.named.iter().find(|(host, _)| Some(*host) == name);
        Some(Arc::clone(of(hello.server_name()).map_or(&self.default, |(_, certified)| certified)))
    }
}

#[test]
fn l13_virtual_hosts_on_one_address_are_told_apart_by_name() {
    let trust = Trust::new();
    let of = |name| trust.authority.sign(&named(&[name])).certified();
    let hosts = ["a.peer.test", "b.peer.test"];
    let hosts = Hosts { named: hosts.map(|name| (name, of(name))).to_vec(), default: of("default.test") };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_cert_resolver(Arc::new(hosts));
    let peer = Peer::sound_over_tls(Arc::new(config));
    let at = |host: &str| format!("https://{host}:{}/row", peer.at.port());
    let builder =
        peer.reached_by([at("a.peer.test"), at("b.peer.test"), at("127.0.0.1")].map(|url| url.replace("/row", "")));
    let builder = builder.pins(["a.peer.test=127.0.0.1", "b.peer.test=127.0.0.1"]).web_roots(false);
    let client = builder.ca_file(trust.authority.file(&trust.scratch)).build().unwrap();
    for (caller, ask) in every_call() {
        for host in ["a.peer.test", "b.peer.test"] {
            assert_eq!(caller.send(&client, &ask.request(&at(host))).unwrap().status(), 200, "{host}");
            assert!(peer.heads().last().unwrap().contains(&format!("host: {host}:")), "{:?}", peer.heads().last());
        }
        // Who names nobody gets the default, which is another's.
        fails_as(caller, &client, &ask.request(&at("127.0.0.1")), TIMEOUT, unsent(Reason::TlsWrongName, 1));
    }
    assert_eq!(peer.requests("/row"), 12);
    peer.recovers(&client, &at("a.peer.test"));
}

/// A ServerHello as TLS 1.2 and earlier have it (RFC 5246 7.4.1.3).
fn server_hello(version: u16, suite: u16, extensions: &[u8]) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(suite.to_be_bytes());
    hello.push(0);
    if !extensions.is_empty() {
        hello.extend((extensions.len() as u16).to_be_bytes());
        hello.extend(extensions);
    }
    let message = [&[2, 0, 0, hello.len() as u8], hello.as_slice()].concat();
    record(22, &message)
}

/// A record that nobody has encrypted.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(content.len() as u16).to_be_bytes(), content].concat()
}

/// Answers a ClientHello with this, then waits for the client to go.
fn instead_of_a_handshake(trust: &Trust, answer: Vec<u8>) -> Peer {
    Peer::instead_of_tls(trust.authority.right(), move |wire| {
        hello(wire)?;
        wire.say(&answer)?;
        wire.until_closed()
    })
}

/// Reads the ClientHello, or some of it.
fn hello(wire: &mut Wire) -> io::Result<()> {
    io::Read::read(&mut wire.stream, &mut [0; 8192]).map(|_| ())
}

#[test]
fn l6_versions_and_ciphers_that_nobody_should_speak_are_refused_and_nothing_older_is_tried() {
    let trust = Trust::new();
    for (answer, reasons) in [
        (server_hello(0x0300, 0x0005, &[]), &[Reason::TlsVersion][..]),
        (server_hello(0x0301, 0x002f, &[]), &[Reason::TlsVersion]),
        (server_hello(0x0302, 0x002f, &[]), &[Reason::TlsVersion]),
        // RC4, 3DES, CBC with SHA-1, no encryption at all: nobody offered them.
        (server_hello(0x0303, 0x0005, &[]), &[Reason::TlsProtocol]),
        (server_hello(0x0303, 0x000a, &[]), &[Reason::TlsProtocol]),
        (server_hello(0x0303, 0xc013, &[]), &[Reason::TlsProtocol]),
        (server_hello(0x0303, 0x0002, &[]), &[Reason::TlsProtocol]),
        // protocol_version, handshake_failure, insufficient_security, inappropriate_fallback.
        (record(21, &[2, 70]), &[Reason::TlsVersion]),
        (record(21, &[2, 40]), &[Reason::TlsVersion]),
        (record(21, &[2, 71]), &[Reason::TlsVersion]),
        (record(21, &[2, 86]), &[Reason::TlsVersion, Reason::TlsAlert]),
    ] {
        for (caller, ask) in every_call() {
            let peer = instead_of_a_handshake(&trust, answer.clone());
            let client = trust.client(&peer).build().unwrap();
            let error = caller.send(&client, &ask.request(&peer.url("https", "/asked"))).unwrap_err();
            assert!(reasons.contains(&error.reason()), "{answer:x?}: {error}");
            assert_failed(&error, error.reason(), Delivery::NotSent);
            assert_eq!((error.attempts(), peer.connections()), (1, 1), "{answer:x?}: {error}");
            assert_eq!(client.stats().connections_live, 0);
            peer.recovers(&client, &peer.url("https", "/after"));
        }
    }
}

/// `openssl s_server`, for as long as this lives.
struct OpenSsl {
    child: Child,
    port: u16,
}

impl OpenSsl {
    /// Runs `openssl` to its end.
    fn run(directory: &Path, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn serve(directory: &Path, arguments: &str) -> OpenSsl {
        let mut child = Command::new("openssl")
            .args("s_server -accept 127.0.0.1:0 -www -key leaf.key".split(' '))
            .args(arguments.split(' '))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let accept = lines.into_iter().find(|line| line.starts_with("ACCEPT"));
        let accept = accept.unwrap_or_else(|| panic!("openssl s_server {arguments} does not listen"));
        let port = accept.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("it tells its port");
        OpenSsl { child, port }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn l6_an_old_server_of_openssl_s_is_refused_by_version_cipher_or_signature() {
    let (trust, scratch) = (Trust::new(), Scratch::new());
    let directory = scratch.as_ref();
    OpenSsl::run(directory, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2");
    OpenSsl::run(directory, "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=peer.test");
    scratch.file("san", format!("subjectAltName=DNS:{NAME}"));
    for digest in ["sha1", "sha256"] {
        let signing = "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san";
        OpenSsl::run(directory, &format!("{signing} -{digest} -out {digest}.pem"));
    }
    let both = [trust.authority.file(&trust.scratch), scratch.path("ca.pem")].map(|path| std::fs::read(path).unwrap());
    let trusted = scratch.file("both.pem", both.concat());
    let weak = "-cipher ALL:@SECLEVEL=0";
    for (arguments, reason) in [
        (format!("-cert sha256.pem -tls1 {weak}"), Some(Reason::TlsVersion)),
        (format!("-cert sha256.pem -tls1_1 {weak}"), Some(Reason::TlsVersion)),
        ("-cert sha256.pem -tls1_2 -cipher AES128-SHA".to_owned(), Some(Reason::TlsVersion)),
        ("-cert sha256.pem -tls1_2 -cipher ECDHE-RSA-AES128-SHA".to_owned(), Some(Reason::TlsVersion)),
        (format!("-cert sha256.pem -tls1_2 -sigalgs RSA+SHA1 {weak}"), Some(Reason::TlsVersion)),
        (format!("-cert sha1.pem -tls1_2 {weak}"), Some(Reason::TlsCertificate)),
        ("-cert sha256.pem -tls1_2".to_owned(), None),
        ("-cert sha256.pem -tls1_3".to_owned(), None),
    ] {
        let server = OpenSsl::serve(directory, &arguments);
        let sound = Peer::sound_over_tls(trust.authority.right());
        let url = format!("https://{NAME}:{}/", server.port);
        for caller in Caller::ALL {
            let builder = sound.reached_by([url.clone(), sound.url("https", "")]).web_roots(false).ca_file(&trusted);
            let client = builder.build().unwrap();
            match reason {
                Some(reason) => {
                    _ = fails_as(caller, &client, &Request::get(&url), TIMEOUT, unsent(reason, 1));
                    assert_eq!((client.stats().dials, client.stats().connections_live), (1, 0), "{arguments}");
                    sound.recovers(&client, &sound.url("https", "/after"));
                }
                None => assert_eq!(caller.send(&client, &Request::get(&url)).unwrap().status(), 200, "{arguments}"),
            }
        }
    }
}

#[test]
fn l8_a_handshake_that_drips_ends_in_its_time_however_much_it_drips() {
    let trust = Trust::new();
    for caller in Caller::ALL {
        let peer = Peer::instead_of_tls(trust.authority.right(), |wire| {
            hello(wire)?;
            // A record of 16 KiB, a byte every now and then.
            wire.say([22, 3, 3, 0x40, 0])?;
            loop {
                wire.say([2])?;
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let budget = Duration::from_millis(200);
        let builder = trust.client(&peer).handshake_timeout(budget).max_attempts(2_usize);
        let begun = Instant::now();
        let error = meets(caller, Ask::Post, &peer, builder, unsent(Reason::TlsTimeout, 2));
        assert!(begun.elapsed() < 2 * budget + BOUNDED, "{error}");
    }
}

#[test]
fn l9_a_flood_instead_of_a_handshake_ends_it() {
    let trust = Trust::new();
    for flood in [record(21, &[1, 90]), record(22, &[]), record(20, &[1])] {
        for (caller, ask) in every_call() {
            let flood = flood.clone();
            let peer = Peer::instead_of_tls(trust.authority.right(), move |wire| {
                hello(wire)?;
                wire.flood(&flood)
            });
            let builder = trust.client(&peer).handshake_timeout(Duration::from_secs(1));
            meets(caller, ask, &peer, builder, unsent(Reason::TlsProtocol, 1));
        }
    }
}

/// A certificate below so many intermediates, with all of them.
fn below(mut authority: Authority, depth: usize, name: impl Fn(usize) -> String) -> Identity {
    let mut chain = Vec::new();
    for level in 0..depth {
        authority = authority.intermediate(&name(level));
        chain.insert(0, authority.certificate.clone());
    }
    let mut leaf = authority.sign(&named(&[NAME]));
    leaf.chain.extend(chain);
    leaf
}

#[test]
fn l10_a_monstrous_chain_costs_an_error_and_no_more() {
    let trust = Trust::new();
    let root = || Authority::root("a CA that signs for anybody");
    let many: Vec<String> = (0..10_000).map(|at| format!("n{at}.example.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    // Twenty by the same name, none of them the leaf's issuer: whoever tries every way tries for ever.
    let double = Authority::root("whoever");
    let mut maze = double.sign(&named(&[NAME]));
    maze.chain.extend((0..80).map(|_| Authority::root("whoever").intermediate("whoever").certificate));
    let chains = [
        ("10,000 names", trust.authority.sign(&named(&many))),
        ("100 intermediates", below(root(), 100, |level| format!("level {level}"))),
        ("100 intermediates of one name", below(root(), 100, |_| "level".to_owned())),
        ("a maze", maze),
    ];
    let right = trust.authority.right();
    for (what, chain) in chains {
        let wrong = chain.server();
        for caller in Caller::ALL {
            let wrong = Arc::clone(&wrong);
            let peer =
                Peer::instead_of_tls(Arc::clone(&right), move |wire| Session::accept(wire, &wrong)?.until_closed());
            let client = trust.client(&peer).build().unwrap();
            let begun = Instant::now();
            let error = caller.send(&client, &Request::get(&peer.url("https", "/asked"))).unwrap_err();
            assert!(begun.elapsed() < BOUNDED, "{what}: {:?}", begun.elapsed());
            assert_failed(&error, error.reason(), Delivery::NotSent);
            let expected = [Reason::TlsCertificate, Reason::TlsUnknownIssuer, Reason::TlsProtocol];
            assert!(expected.contains(&error.reason()), "{what}: {error}");
            assert_eq!((error.attempts(), peer.connections()), (1, 1), "{what}: {error}");
            peer.recovers(&client, &peer.url("https", "/after"));
        }
    }
}

/// A client of the box's HTTPS origins whose callers all speak HTTP/2 where they are let.
fn http2(network: &Network) -> Builder {
    client(network).option("protocol", "http2")
}

#[test]
fn l14_who_ignores_alpn_gets_http_1() {
    let network = network();
    network.inject(Fault::AlpnNone);
    for (caller, ask) in every_call() {
        let client = http2(&network).hosts([http(&network, ""), secure(&network, "")]).build().unwrap();
        let answer = caller.send(&client, &ask.request(&secure(&network, "/echo"))).unwrap();
        assert_eq!((answer.status(), answer.trace().is_http2, answer.trace().attempts), (200, false, 1));
        assert_eq!(last_seen(&network).protocol, "HTTP/1.1");
        assert_whole_at(&client, &secure(&network, "/rows/healthy"));
    }
}

#[test]
fn l14_who_agrees_on_http_2_and_speaks_http_1_is_not_understood() {
    for (caller, ask) in every_call() {
        let network = network();
        network.inject(Fault::AlpnLies);
        let client = http2(&network).build().unwrap();
        let error = caller.send(&client, &ask.request(&secure(&network, "/sink/1"))).unwrap_err();
        assert!(everything_said(&error).contains("Protocol."), "{caller:?} {ask:?}: {error}");
        let counts = network.counts();
        // One that has ended before anything was sent counts as a try.
        assert_eq!(u64::from(error.attempts()), counts.proxy.total, "{caller:?} {ask:?}: {error}");
        assert!(counts.proxy.total <= 3, "no storm, and no second try by another protocol: {error} {counts:?}");
        assert!(network.seen().is_empty(), "HTTP/1.1 was tried: {:?}", network.seen());
        assert!(network.sink().is_empty());
        network.heal();
        assert_whole_at(&client, &secure(&network, "/rows/healthy"));
    }
}

#[test]
fn l14_no_protocol_in_common_is_said_and_one_that_nobody_offered_is_refused() {
    let trust = Trust::new();
    for (caller, ask) in every_call() {
        // The alert is no_application_protocol.
        let unknown = trust.authority.sign(&named(&[NAME])).server_with(|config| {
            config.alpn_protocols = vec![b"spdy/3".to_vec()];
        });
        let peer =
            Peer::instead_of_tls(trust.authority.right(), move |wire| Session::accept(wire, &unknown)?.until_closed());
        meets(caller, ask, &peer, trust.client(&peer), unsent(Reason::TlsAlpn, 1));

        let chosen = [&[0, 16, 0, 9, 0, 7, 6][..], b"spdy/3"].concat();
        let peer = instead_of_a_handshake(&trust, server_hello(0x0303, 0xc02f, &chosen));
        meets(caller, ask, &peer, trust.client(&peer), unsent(Reason::TlsProtocol, 1));
    }
    // A blocking caller speaks HTTP/1.1 and this peer HTTP/2.
    let network = network();
    let url = format!("https://{}:{}", host(&network), network.scripted2_tls());
    let client = bare(&network).hosts([url.clone(), http(&network, "")]).build().unwrap();
    for ask in Ask::ALL {
        fails_as(Caller::Blocking, &client, &ask.request(&url), TIMEOUT, unsent(Reason::TlsAlpn, 1));
    }
    assert_eq!(Caller::Async.send(&client, &Request::get(&url)).unwrap().status(), 200);
    recovers(&client, &network);
}

#[test]
fn l16_a_portal_s_redirect_in_the_place_of_tls_is_not_followed() {
    let (trust, portal) = (Trust::new(), Peer::saying(FINE));
    let to = portal.at;
    for (caller, ask) in every_call() {
        let login = format!("HTTP/1.1 302 Found\r\nLocation: http://{to}/login\r\nContent-Length: 0\r\n\r\n");
        let peer = instead_of_a_handshake(&trust, login.into_bytes());
        let builder = trust.client(&peer).max_redirects(10_usize);
        meets(caller, ask, &peer, builder, unsent(Reason::TlsNotTls, 1));
    }
    assert_eq!(portal.connections(), 0);
}

/// The clock's year, near enough.
fn year(time: SystemTime) -> u64 {
    1970 + time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() * 100 / 3_155_695_200
}

#[test]
fn l1_l18_a_clock_that_is_ten_years_off_is_named_in_the_error() {
    if let Some(network) = outer() {
        let ahead = std::env::var("CLOCK").expect("the parent says so") == "ahead";
        let reason = if ahead { Reason::TlsExpired } else { Reason::TlsNotYetValid };
        let client = client_at(&network).build().unwrap();
        for (caller, ask) in every_call() {
            let error =
                fails_as(caller, &client, &ask.request(&secure_at(&network, "/sink/1")), TIMEOUT, unsent(reason, 1));
            let now = SystemTime::now();
            // Near New Year either is right.
            let years = [year(now), year(now + Duration::from_secs(86_400)), year(now - Duration::from_secs(86_400))];
            let is_named = years.iter().any(|year| error.to_string().contains(&format!("{year}-")));
            assert!(is_named, "which time it is here is not said: {error}");
        }
        // The rest of the client does not care what time it is.
        assert_whole_at(&client, &http_at(&network, "/rows/healthy"));
        return;
    }
    let network = network();
    for (direction, days) in [("ahead", "+3653d"), ("behind", "-3653d")] {
        // The monotonic clock stays what it is, as it does on a machine whose date is wrong.
        let clock = format!("CLOCK={direction}");
        let wrapper =
            ["env", &clock, "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "faketime", "-f", days];
        alone(&wrapper, "l1_l18_a_clock_that_is_ten_years_off_is_named_in_the_error", &network);
    }
    assert!(network.sink().is_empty());
}

/// A builder for the origin that wants a client certificate, and for the plain one.
fn known(network: &Network) -> (Builder, String) {
    let url = format!("https://{}:{}", host(network), network.https_client_auth());
    (bare(network).hosts([url.clone(), http(network, "")]), url)
}

#[test]
fn l20_who_shows_no_certificate_or_a_stranger_s_is_told_so_and_nothing_was_sent() {
    for (fault, (caller, ask)) in [Fault::Tls13Only, Fault::Tls12Only]
        .into_iter()
        .flat_map(|fault| every_call().map(move |call| (fault.clone(), call)))
    {
        let network = network();
        let (nobody, url) = known(&network);
        let stranger =
            nobody.clone().client_cert(network.file("stranger.pem")).client_key(network.file("stranger.key"));
        for builder in [nobody, stranger] {
            network.inject(fault.clone());
            let client = builder.build().unwrap();
            let request = ask.request(&format!("{url}/sink/1"));
            let error = caller.send(&client, &request).expect_err("it is not let in");
            // In TLS 1.3 the alert follows the handshake, and a reset may follow it so closely that it overtakes it.
            let is_overtaken =
                fault == Fault::Tls13Only && (everything_said(&error).contains("Connect.") || error.attempts() > 1);
            if !is_overtaken {
                assert_failed(&error, Reason::TlsClientAuth, Delivery::NotSent);
                assert_eq!((error.phase(), error.attempts()), (Phase::Handshake, 1), "{error}");
            }
            assert_eq!(network.counts().origins.requests, 0, "{fault:?}");
            assert!(network.sink().is_empty());
            recovers(&client, &network);
            client.close();
            network.reset_counts();
        }
    }
}

#[test]
fn l20_who_shows_a_known_certificate_is_let_in() {
    let network = network();
    let (builder, url) = known(&network);
    let both = Scratch::new();
    let parts = ["client.pem", "client.key"].map(|name| std::fs::read(network.file(name)).unwrap());
    let one_file = both.file("both.pem", parts.concat());
    let two_files = builder.clone().client_cert(network.file("client.pem")).client_key(network.file("client.key"));
    for (caller, builder) in Caller::ALL
        .into_iter()
        .flat_map(|caller| [two_files.clone(), builder.clone().client_cert(&one_file)].map(|builder| (caller, builder)))
    {
        let client = builder.build().unwrap();
        for ask in Ask::ALL {
            assert_eq!(caller.send(&client, &ask.request(&format!("{url}/echo"))).unwrap().status(), 200);
            assert_eq!(last_seen(&network).client_certificate.as_deref(), Some("pinlink-box client"));
        }
        recovers(&client, &network);
    }
}

#[test]
fn l20_a_key_or_certificate_that_cannot_be_used_fails_the_build() {
    let network = network();
    let (builder, _) = known(&network);
    let scratch = Scratch::new();
    let file = |name: &str| network.file(name);
    for (certificate, key) in [
        (scratch.path("missing"), file("client.key")),
        (file("client.pem"), scratch.path("missing")),
        (scratch.as_ref().to_owned(), file("client.key")),
        (file("client.pem"), file("client-encrypted.key")),
        (file("client.pem"), file("stranger.key")),
        (file("client.pem"), file("client.pem")),
        (file("client.key"), file("client.key")),
        (scratch.file("empty", ""), file("client.key")),
        (file("client.pem"), scratch.file("text", "no key here")),
    ] {
        let error = builder.clone().client_cert(&certificate).client_key(&key).build().expect_err("it was accepted");
        assert_failed(&error, Reason::ConfigKey, Delivery::NotSent);
        assert!(!everything_said(&error).contains("BEGIN"), "{error}");
    }
    let error = builder.clone().client_cert(file("client.pem")).build().expect_err("there is no key");
    assert_failed(&error, Reason::ConfigKey, Delivery::NotSent);
    let error = builder.client_key(file("client.key")).build().expect_err("there is no certificate");
    assert_failed(&error, Reason::ConfigConflict, Delivery::NotSent);
    let counts = network.counts();
    assert_eq!((counts.dns.queries, counts.proxy.total), (0, 0), "nothing was asked and nothing was dialled");
}

#[test]
fn l21_a_proxy_that_listens_in_is_believed_only_where_its_ca_was_given() {
    let (trust, spy) = (Trust::new(), Trust::of("whoever listens in"));
    for (caller, ask) in every_call() {
        let config = spy.authority.right();
        // It opens every tunnel to itself.
        let proxy = Peer::playing(move |wire| {
            let Some(head) = wire.head()? else { return Ok(()) };
            assert!(head.starts_with("CONNECT "), "{head}");
            wire.say("HTTP/1.1 200 Connection established\r\n\r\n")?;
            let mut session = Session::accept(wire, &config)?;
            while session.request(wire)?.is_some() {
                session.say(FINE)?;
            }
            Ok(())
        });
        let url = format!("https://{NAME}:443/asked");
        let through = |trust: &Trust| {
            let builder = proxy.reached_by([format!("https://{NAME}")]).proxy(&*format!("http://{}", proxy.at));
            builder.web_roots(false).ca_file(trust.authority.file(&trust.scratch)).build().unwrap()
        };
        let client = through(&trust);
        fails_as(caller, &client, &ask.request(&url), TIMEOUT, unsent(Reason::TlsUnknownIssuer, 1));
        assert_eq!((proxy.connections(), proxy.requests("/asked")), (1, 0), "it learned nothing");
        assert_eq!(client.stats().connections_live, 0);

        let client = through(&spy);
        assert_eq!(caller.send(&client, &ask.request(&url)).unwrap().status(), 200);
        assert_eq!(proxy.requests("/asked"), 1);
        let stats = client.stats();
        assert_eq!((stats.connections_live, stats.connections_idle), (1, 1));
    }
}

#[test]
fn l2_l11_a_session_of_a_name_at_the_same_address_is_never_resumed_by_address() {
    let network = network();
    let literal = format!("https://127.0.0.1:{}", network.https(Certificate::Right));
    let client = client(&network).hosts([literal.clone(), secure(&network, ""), http(&network, "")]).build().unwrap();
    get(&client, &secure(&network, "/rows/1"));
    for caller in Caller::ALL {
        let request = Request::get(&format!("{literal}/rows/1"));
        fails_as(caller, &client, &request, TIMEOUT, unsent(Reason::TlsWrongName, 1));
    }
    assert_eq!(network.counts().origins.resumed, 0);
    recovers_alone(&client, &network);
}
