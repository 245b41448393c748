//! The client of an async caller: [`AsyncClient`].
//!
//! It owns nothing but the way of calling: what it is stands in `life`, what a call does in `exchange`. A call
//! runs wherever its future is polled; only readiness and time come from the process's own runtime, so any
//! executor will do. Dropping a future ends its call.

use std::net::IpAddr;
use std::sync::Arc;

use crate::blocking::Client;
use crate::config::Builder;
use crate::error::Result;
use crate::event::Stats;
use crate::incoming::AsyncReader;
use crate::life::{Draft, Handle};
use crate::pin_set::PinSet;
use crate::raw::AsyncSocket;
use crate::request::Request;
use crate::response::Response;
use crate::write::{Batch, Write, Written};

/// A client for async callers: the same options, pins, connections and caps as [`Client`]. Cheap to clone; clones
/// share everything, and so do a client made from the other kind ([`From`]): one cap holds for both.
///
/// It works on any executor: on a tokio runtime of yours (of either flavour, with or without its I/O and time drivers),
/// on another one, or on none. Dropping a call's future cancels it: its connection is closed, and its place goes to the
/// next caller.
///
/// ```no_run
/// # async fn example() -> Result<(), pinlink::Error> {
/// use pinlink::{AsyncClient, Request};
///
/// let client = AsyncClient::builder().hosts(["https://kms.example"]).build_async().await?;
/// let answer = client.send(&Request::get("https://kms.example/keys/7")).await?;
/// println!("{} {}", answer.status(), answer.text()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncClient(Arc<Handle>);

impl Builder {
    /// As [`Builder::build`], without blocking the executor.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub async fn build_async(self) -> Result<AsyncClient> {
        let draft = Draft::new(self.finish()?)?;
        Ok(AsyncClient(Arc::new(draft.finish().await?)))
    }
}

impl From<Client> for AsyncClient {
    fn from(client: Client) -> AsyncClient {
        AsyncClient(client.0)
    }
}

impl From<AsyncClient> for Client {
    fn from(client: AsyncClient) -> Client {
        Client(client.0)
    }
}

impl AsyncClient {
    /// Starts with the defaults of every option; end with [`Builder::build_async`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// As [`Client::send`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send(&self, request: &Request) -> Result<Response> {
        let core = self.0.core()?;
        core.call(request, None).await
    }

    /// As [`Client::open`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn open(&self, request: &Request) -> Result<AsyncReader> {
        self.0.core()?.async_reader(request).await
    }

    /// As [`Client::write`]. A future that is dropped leaves the outcome unknown.
    ///
    /// # Errors
    /// As [`Client::write`].
    pub async fn write(&self, write: &Write) -> Result<Written> {
        self.0.core()?.write(write).await
    }

    /// As [`Client::write_batch`].
    pub async fn write_batch(&self, batch: &Batch) -> Vec<Result<Written>> {
        match self.0.core() {
            Ok(core) => core.write_batch(batch).await,
            Err(error) => batch.items().iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// As [`Client::connect`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<AsyncSocket> {
        self.0.core()?.connect(host, port, false).await.map(AsyncSocket::new)
    }

    /// As [`Client::connect_tls`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_tls(&self, host: &str, port: u16) -> Result<AsyncSocket> {
        self.0.core()?.connect(host, port, true).await.map(AsyncSocket::new)
    }

    /// As [`Client::pins`].
    pub fn pins(&self) -> PinSet {
        self.0.pins()
    }

    /// As [`Client::repin`].
    ///
    /// # Errors
    /// As [`Client::repin`].
    pub fn repin(&self, host: &str, addresses: &[IpAddr]) -> Result<()> {
        self.0.repin(host, addresses)
    }

    /// As [`Client::stats`].
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// As [`Client::close`].
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for AsyncClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncClient").finish_non_exhaustive()
    }
}
