//! The async clients: one call after the other, or as many tasks as there are connections or streams.
//!
//! All run on a `current_thread` runtime, where nothing says otherwise. TLS is ring's everywhere, with the same CA.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinlink::AsyncClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio_rustls::TlsConnector;

use crate::asked::{Ask, At, PAYLOAD, PAYLOAD_TYPE, Result};
use crate::clients::{builder, provide, request, trust};
use crate::turns::{Batch, Call};

/// How the exchanges share connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// One exchange at a time on each of so many connections.
    Http1(usize),
    /// So many at once on one connection.
    Http2(usize),
}

impl Way {
    fn at_once(self) -> usize {
        match self {
            Way::Http1(at_once) | Way::Http2(at_once) => at_once,
        }
    }

    /// Whether an answer came the way it was to come.
    pub(crate) fn check(self, is_http2: bool) -> Result<()> {
        match is_http2 == matches!(self, Way::Http2(_)) {
            true => Ok(()),
            false => Err("the answer came over the other version of HTTP".into()),
        }
    }
}

/// One exchange at a time. The clients with a pool have one of these for each task, and one pool.
pub(crate) trait Caller: Send + 'static {
    fn call(&mut self, ask: Ask) -> impl Future<Output = Result<()>> + Send;
}

/// Who does the calls, and where.
pub(crate) struct Tasks<C> {
    runtime: Runtime,
    callers: Vec<C>,
}

impl<C: Caller> Tasks<C> {
    pub(crate) fn one_by_one(mut self, ask: Ask) -> Result<Call> {
        let mut caller = self.callers.pop().ok_or("there is no caller")?;
        Ok(Box::new(move || self.runtime.block_on(caller.call(ask))))
    }

    pub(crate) fn at_once(mut self) -> Batch {
        Box::new(move |count| {
            self.runtime.block_on(async {
                let taken = Arc::new(AtomicUsize::new(0));
                let work = |caller| tokio::spawn(work(caller, Arc::clone(&taken), count));
                let tasks: Vec<_> = self.callers.drain(..).map(work).collect();
                for task in tasks {
                    self.callers.push(task.await??);
                }
                Ok(())
            })
        })
    }
}

async fn work<C: Caller>(mut caller: C, taken: Arc<AtomicUsize>, count: usize) -> Result<C> {
    while taken.fetch_add(1, Relaxed) < count {
        caller.call(Ask::Get).await?;
    }
    Ok(caller)
}

fn one_thread() -> Result<Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The clients of a pool: clones.
fn clones<C: Clone>(runtime: Runtime, caller: C, way: Way) -> Tasks<C> {
    Tasks { runtime, callers: vec![caller; way.at_once()] }
}

#[derive(Clone)]
pub(crate) struct Pinlink {
    client: AsyncClient,
    url: Arc<str>,
    way: Way,
}

pub(crate) fn pinlink(at: &At, way: Way) -> Result<Tasks<Pinlink>> {
    pinlink_on(one_thread()?, at, way)
}

pub(crate) fn pinlink_on_two_workers(at: &At, way: Way) -> Result<Tasks<Pinlink>> {
    pinlink_on(runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?, at, way)
}

fn pinlink_on(runtime: Runtime, at: &At, way: Way) -> Result<Tasks<Pinlink>> {
    let client = runtime.block_on(bounded(builder(at), way).build_async())?;
    Ok(clones(runtime, Pinlink { client, url: at.url.as_str().into(), way }, way))
}

/// The options of a client of ours that make it go this way.
pub(crate) fn bounded(builder: pinlink::Builder, way: Way) -> pinlink::Builder {
    match way {
        Way::Http1(connections) => {
            let builder = builder.option("protocol", "http1");
            builder.max_connections(connections).max_connections_per_origin(connections)
        }
        Way::Http2(streams) => builder.option("protocol", "http2").max_connections(1usize).max_streams(streams),
    }
}

impl Caller for Pinlink {
    async fn call(&mut self, ask: Ask) -> Result<()> {
        let request = request(&self.url, ask);
        if ask == Ask::Stream {
            let (mut answer, mut taken) = (self.client.open(&request).await?, 0);
            while let Some(piece) = answer.chunk().await? {
                taken += piece.len();
            }
            return ask.check_length(taken);
        }
        let answer = self.client.send(&request).await?;
        self.way.check(answer.trace().is_http2)?;
        ask.check(answer.body())
    }
}

#[derive(Clone)]
pub(crate) struct Reqwest {
    client: reqwest::Client,
    url: Arc<str>,
    way: Way,
}

pub(crate) fn reqwest(at: &At, way: Way) -> Result<Tasks<Reqwest>> {
    provide();
    let mut builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(way.at_once());
    if at.tls {
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(&at.ca)?)?]);
    } else if matches!(way, Way::Http2(_)) {
        builder = builder.http2_prior_knowledge();
    }
    Ok(clones(one_thread()?, Reqwest { client: builder.build()?, url: at.url.as_str().into(), way }, way))
}

impl Caller for Reqwest {
    async fn call(&mut self, ask: Ask) -> Result<()> {
        let request = match ask {
            Ask::Post => self.client.post(&*self.url).header("content-type", PAYLOAD_TYPE).body(&PAYLOAD[..]),
            _ => self.client.get(&*self.url),
        };
        let mut answer = request.send().await?;
        self.way.check(answer.version() == Version::HTTP_2)?;
        if ask == Ask::Stream {
            let mut taken = 0;
            while let Some(piece) = answer.chunk().await? {
                taken += piece.len();
            }
            return ask.check_length(taken);
        }
        ask.check(&answer.bytes().await?)
    }
}

/// A request of hyper's types: to a URL, or over a connection, where HTTP/1.1 has the path only, and a `Host`.
fn hyper_request(target: &str, host: Option<&str>, ask: Ask) -> Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().uri(target);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    Ok(match ask {
        Ask::Post => {
            let request = request.method("POST").header("content-type", PAYLOAD_TYPE);
            request.body(Full::new(Bytes::from_static(&PAYLOAD)))?
        }
        _ => request.body(Full::default())?,
    })
}

async fn hyper_answer(answer: http::Response<Incoming>, ask: Ask, way: Way) -> Result<()> {
    way.check(answer.version() == Version::HTTP_2)?;
    let mut body = answer.into_body();
    if ask != Ask::Stream {
        return ask.check(&body.collect().await?.to_bytes());
    }
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        taken += frame?.data_ref().map_or(0, Bytes::len);
    }
    ask.check_length(taken)
}

#[derive(Clone)]
pub(crate) struct HyperUtil<C> {
    client: Legacy<C, Full<Bytes>>,
    url: Arc<str>,
    way: Way,
}

/// hyper-util's client over TCP.
pub(crate) fn hyper_util(at: &At, way: Way) -> Result<Tasks<HyperUtil<HttpConnector>>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy(at, way, connector)
}

/// hyper-util's client with hyper-rustls.
pub(crate) fn hyper_util_tls(
    at: &At,
    way: Way,
) -> Result<Tasks<HyperUtil<hyper_rustls::HttpsConnector<HttpConnector>>>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(trust(at)?).https_only();
    let connector = match way {
        Way::Http1(_) => builder.enable_http1().wrap_connector(connector),
        Way::Http2(_) => builder.enable_http2().wrap_connector(connector),
    };
    legacy(at, way, connector)
}

fn legacy<C: Connect + Clone + Send + Sync + 'static>(at: &At, way: Way, connector: C) -> Result<Tasks<HyperUtil<C>>> {
    let mut builder = Legacy::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(way.at_once()).http2_only(matches!(way, Way::Http2(_)));
    let client = builder.build(connector);
    Ok(clones(one_thread()?, HyperUtil { client, url: at.url.as_str().into(), way }, way))
}

impl<C: Connect + Clone + Send + Sync + 'static> Caller for HyperUtil<C> {
    async fn call(&mut self, ask: Ask) -> Result<()> {
        let answer = self.client.request(hyper_request(&self.url, None, ask)?).await?;
        hyper_answer(answer, ask, self.way).await
    }
}

/// A connection of hyper's, without a client around it.
pub(crate) struct Hyper {
    connection: http1::SendRequest<Full<Bytes>>,
    host: String,
    path: String,
    way: Way,
}

pub(crate) fn hyper(at: &At, way: Way) -> Result<Tasks<Hyper>> {
    let runtime = one_thread()?;
    let connect = async || -> Result<Hyper> {
        let connection = match at.tls {
            true => http1_over(over_tls(at, way).await?).await?,
            false => http1_over(over_tcp(at).await?).await?,
        };
        Ok(Hyper { connection, host: at.authority(), path: at.path.clone(), way })
    };
    let callers = (0..way.at_once()).map(|_| runtime.block_on(connect())).collect::<Result<_>>()?;
    Ok(Tasks { runtime, callers })
}

async fn http1_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<http1::SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Caller for Hyper {
    async fn call(&mut self, ask: Ask) -> Result<()> {
        self.connection.ready().await?;
        let request = hyper_request(&self.path, Some(&self.host), ask)?;
        let answer = self.connection.send_request(request).await?;
        hyper_answer(answer, ask, self.way).await
    }
}

/// One connection of hyper's that all share.
#[derive(Clone)]
pub(crate) struct HyperStreams {
    connection: http2::SendRequest<Full<Bytes>>,
    url: Arc<str>,
    way: Way,
}

pub(crate) fn hyper_streams(at: &At, way: Way) -> Result<Tasks<HyperStreams>> {
    let runtime = one_thread()?;
    let connection = runtime.block_on(async {
        match at.tls {
            true => http2_over(over_tls(at, way).await?).await,
            false => http2_over(over_tcp(at).await?).await,
        }
    })?;
    Ok(clones(runtime, HyperStreams { connection, url: at.url.as_str().into(), way }, way))
}

async fn http2_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<http2::SendRequest<Full<Bytes>>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Caller for HyperStreams {
    async fn call(&mut self, ask: Ask) -> Result<()> {
        self.connection.ready().await?;
        let answer = self.connection.send_request(hyper_request(&self.url, None, ask)?).await?;
        hyper_answer(answer, ask, self.way).await
    }
}

async fn over_tcp(at: &At) -> Result<TcpStream> {
    let socket = TcpStream::connect(at.address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn over_tls(at: &At, way: Way) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config = trust(at)?;
    if matches!(way, Way::Http2(_)) {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let name = ServerName::try_from(at.name.clone())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, over_tcp(at).await?).await?)
}
