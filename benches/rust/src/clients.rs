//! The blocking clients, one call after the other over the connection that they keep.
//!
//! Each takes a URL as text and reads the body to its end, as its documentation shows. TLS is ring's everywhere, with
//! the same CA.

use std::io::Read;
use std::sync::Arc;

use pinlink::{Builder, Client, Request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::asked::{Ask, At, PAYLOAD, PAYLOAD_TYPE, Result};
use crate::tasks::{Way, bounded};
use crate::turns::{Batch, Call, Turn, at_once};

/// What one read takes of a body that is not held, where the caller brings the buffer.
const PIECE: usize = 64 * 1024;

/// TLS for clients that are given it ready-made.
pub(crate) fn trust(at: &At) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&at.ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// TLS for clients that take it from the process.
pub(crate) fn provide() {
    // An error says that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What every client of ours is built with.
pub(crate) fn builder(at: &At) -> Builder {
    let builder = Client::builder().hosts([at.origin()]).allow_addresses(["127.0.0.0/8"]);
    match at.tls {
        true => builder.pins([format!("{}=127.0.0.1", at.name)]).ca_file(&at.ca),
        false => builder,
    }
}

/// What a client of ours is asked.
pub(crate) fn request(url: &str, ask: Ask) -> Request {
    match ask {
        Ask::Post => Request::post(url).header("content-type", PAYLOAD_TYPE).body(&PAYLOAD[..]),
        _ => Request::get(url),
    }
}

pub(crate) fn pinlink_send(at: &At, ask: Ask) -> Result<Call> {
    let (client, url) = (builder(at).build()?, at.url.clone());
    Ok(match ask {
        Ask::Stream => Box::new(move || {
            let (mut answer, mut taken) = (client.open(&request(&url, ask))?, 0);
            while let Some(piece) = answer.chunk()? {
                taken += piece.len();
            }
            ask.check_length(taken)
        }),
        _ => Box::new(move || ask.check(client.send(&request(&url, ask))?.body())),
    })
}

/// Batches of rows, each built from its URL and handed to one `map`.
pub(crate) fn map(at: &At, way: Way) -> Result<Batch> {
    let (client, url) = (bounded(builder(at), way).build()?, at.url.clone());
    Ok(Box::new(move |count| {
        let rows: Vec<Request> = (0..count).map(|_| Request::get(&url)).collect();
        client.map(&rows).into_iter().try_for_each(|outcome| {
            let answer = outcome?;
            way.check(answer.trace().is_http2)?;
            Ask::Get.check(answer.body())
        })
    }))
}

pub(crate) fn pinlink_map(at: &At, way: Way) -> Result<Turn> {
    Ok(at_once(map(at, way)?))
}

/// The same rows without `map`: one after the other.
pub(crate) fn pinlink_in_turn(at: &At, way: Way) -> Result<Turn> {
    let (client, url) = (bounded(builder(at), way).build()?, at.url.clone());
    Ok(at_once(Box::new(move |count| {
        (0..count).try_for_each(|_| Ask::Get.check(client.send(&Request::get(&url))?.body()))
    })))
}

pub(crate) fn ureq(at: &At, ask: Ask) -> Result<Call> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};

    let mut config = ureq::Agent::config_builder().proxy(None);
    if at.tls {
        let roots = RootCerts::new_with_certs(&[Certificate::from_pem(&std::fs::read(&at.ca)?)?]);
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    let (agent, url) = (ureq::Agent::new_with_config(config.build()), at.url.clone());
    Ok(match ask {
        Ask::Get | Ask::Body => Box::new(move || ask.check(&agent.get(&url).call()?.body_mut().read_to_vec()?)),
        Ask::Post => Box::new(move || {
            let mut answer = agent.post(&url).content_type(PAYLOAD_TYPE).send(&PAYLOAD[..])?;
            ask.check(&answer.body_mut().read_to_vec()?)
        }),
        Ask::Stream => {
            let mut buffer = vec![0; PIECE];
            Box::new(move || ask.check_length(count(agent.get(&url).call()?.body_mut().as_reader(), &mut buffer)?))
        }
    })
}

pub(crate) fn reqwest(at: &At, ask: Ask) -> Result<Call> {
    provide();
    let mut builder = reqwest::blocking::Client::builder().no_proxy();
    if at.tls {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(&at.ca)?)?]);
    }
    let (client, url) = (builder.build()?, at.url.clone());
    Ok(match ask {
        Ask::Get | Ask::Body => Box::new(move || ask.check(&client.get(&url).send()?.bytes()?)),
        Ask::Post => Box::new(move || {
            let request = client.post(&url).header("content-type", PAYLOAD_TYPE).body(&PAYLOAD[..]);
            ask.check(&request.send()?.bytes()?)
        }),
        Ask::Stream => {
            let mut buffer = vec![0; PIECE];
            Box::new(move || ask.check_length(count(client.get(&url).send()?, &mut buffer)?))
        }
    })
}

/// Reads to the end.
fn count(mut from: impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut taken = 0;
    loop {
        match from.read(buffer)? {
            0 => return Ok(taken),
            got => taken += got,
        }
    }
}
