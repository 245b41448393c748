//! The client of a blocking caller: [`Client`].
//!
//! It owns nothing but the way of calling: what it is stands in `life`, what a call does in `exchange`. Calls
//! are driven by the calling thread. Every function returns within the bounds of its options.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;

use crate::batch::Each;
use crate::config::Builder;
use crate::drive;
use crate::error::{Error, Phase, Reason, Result};
use crate::event::Stats;
use crate::exchange::Core;
use crate::incoming::Reader;
use crate::life::{Draft, Handle, resolve_declared};
use crate::pin_set::PinSet;
use crate::process::PerProcess;
use crate::raw::Socket;
use crate::request::Request;
use crate::response::Response;
use crate::write::{Batch, Write, Written};

/// A client: resolved, pinned, pooled, bounded. Cheap to clone; clones share everything.
///
/// Build one per process and keep it. Calls run on the calling thread down to the socket. In a child after
/// `fork()` the first call notices, abandons the parent's connections without touching them, and starts
/// afresh with the same pins and no look-up.
///
/// ```no_run
/// use pinlink::{Client, Request};
///
/// let client = Client::builder().hosts(["https://kms.example"]).max_connections(8).build()?;
/// let answer = client.send(&Request::get("https://kms.example/keys/7"))?;
/// println!("{} {}", answer.status(), answer.text()?);
/// # Ok::<(), pinlink::Error>(())
/// ```
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Handle>);

impl Builder {
    /// Checks the options, resolves every declared host that has no pin, and makes the client.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) for a mistake in the options, a pin set or a CA file;
    /// [`Kind::Policy`](crate::Kind::Policy) for an address in a refused range;
    /// [`Kind::Dns`](crate::Kind::Dns) with every host that did not resolve within `resolve_timeout`.
    pub fn build(self) -> Result<Client> {
        let draft = Draft::new(self.finish()?)?;
        Ok(Client(Arc::new(drive::block_on_call(draft.finish())?)))
    }
}

/// The client that a process shares, and the options it was built with.
static SHARED: ArcSwapOption<(String, Client)> = ArcSwapOption::const_empty();

impl Builder {
    /// The client of this process: built by the first who asks, the same for everyone who asks with the same options, in a
    /// child after `fork()` too. One pool and one cap then serve however many users load this library. A shared client
    /// that was closed is built anew.
    ///
    /// # Errors
    /// As [`Builder::build`]; [`Reason::ConfigShared`] where it has other options.
    pub fn build_shared(self) -> Result<Client> {
        static BUILDING: PerProcess<Mutex<()>> = PerProcess::new();
        let config = self.finish()?;
        let options = format!("{config:?}");
        let shared = || -> Option<Result<Client>> {
            let shared = SHARED.load();
            let (known, client) = shared.as_deref()?;
            if client.0.is_closed() {
                return None;
            }
            Some(if *known == options {
                Ok(client.clone())
            } else {
                let detail = "this process has a shared client already, with other options";
                Err(Error::new(Reason::ConfigShared, Phase::Configure, detail))
            })
        };
        if let Some(client) = shared() {
            return client;
        }
        let _building =
            BUILDING.find_or(|| Ok(Mutex::new(())))?.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Perhaps somebody was first.
        if let Some(client) = shared() {
            return client;
        }
        let client = Client(Arc::new(drive::block_on_call(Draft::new(config)?.finish())?));
        SHARED.store(Some(Arc::new((options, client.clone()))));
        Ok(client)
    }
}

impl PinSet {
    /// Resolves a builder's hosts, whatever pins it has, and makes no connection: what `pinlink resolve` does.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn resolve(builder: Builder) -> Result<PinSet> {
        drive::block_on_call(resolve_declared(builder.finish()?))
    }
}

impl Client {
    /// Starts with the defaults of every option.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends one request and reads its answer, on this thread.
    ///
    /// A status of 400 or more is an answer, not an error. Requests that may be repeated are, within
    /// `max_attempts` and `retry_budget`; a `POST` or `PATCH` without `Idempotency-Key` never is once a byte
    /// of it may have left.
    ///
    /// # Errors
    /// Every [`Kind`](crate::Kind); [`Error::delivery`](crate::Error::delivery) says whether the target may have seen
    /// the request, and [`Reason::WriteOutcomeUnknown`](crate::Reason::WriteOutcomeUnknown) that a write may have
    /// happened.
    pub fn send(&self, request: &Request) -> Result<Response> {
        let life = self.0.life()?;
        drive::block_on_call(life.core.call(request, None))
    }

    /// Sends one request and returns when the head of its answer has come; the body is read by the caller, in constant
    /// memory.
    ///
    /// ```no_run
    /// # fn example(client: pinlink::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut answer = client.open(&pinlink::Request::get("https://oss.example/large.csv").resume())?;
    /// std::io::copy(&mut answer, &mut std::fs::File::create("large.csv")?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn open(&self, request: &Request) -> Result<Reader> {
        self.0.core()?.reader(request)
    }

    /// Sends many requests, as many at once as there may be connections, and returns an outcome for each, in their
    /// order. One failing row fails no other. `timeout` bounds them all together.
    pub fn map(&self, requests: &[Request]) -> Vec<Result<Response>> {
        self.map_with(requests, &mut |_, _| {})
    }

    /// As [`Client::map`]; `each` is told of every row when it ends, for progress bars.
    pub fn map_with(&self, requests: &[Request], each: Each<'_>) -> Vec<Result<Response>> {
        let mapped = self.0.life().map(|life| life.core.map(requests, each));
        mapped.unwrap_or_else(|error| requests.iter().map(|_| Err(error.clone())).collect())
    }

    /// Writes, and says what became of it: sends again under the same key where an answer is lost or puts it off, waits
    /// for a twin that is being processed, and asks where the outcome is not known otherwise. `Ok` is a write that had
    /// its effect, once: now or before.
    ///
    /// # Errors
    /// [`Error::outcome`](crate::Error::outcome) says whether the write surely had no effect
    /// ([`Outcome::Rejected`](crate::Outcome::Rejected)) or may have had it
    /// ([`Outcome::Unknown`](crate::Outcome::Unknown)): sending the same [`Write`] again is then safe where its
    /// [`Write::guarantee`] says so. [`Reason::WriteUnkeyed`](crate::Reason::WriteUnkeyed) comes before anything is
    /// sent, and so does [`Reason::WriteMismatch`](crate::Reason::WriteMismatch) where this process has sent the other
    /// body.
    pub fn write(&self, write: &Write) -> Result<Written> {
        let life = self.0.life()?;
        drive::block_on_call(life.core.write(write))
    }

    /// Writes many, as many at once as there may be connections, and returns an outcome for each, in their order.
    /// `timeout` bounds them all together.
    pub fn write_all(&self, writes: &[Write]) -> Vec<Result<Written>> {
        let written = self.0.life().map(|life| life.core.write_all(writes));
        written.unwrap_or_else(|error| writes.iter().map(|_| Err(error.clone())).collect())
    }

    /// Writes many in one request, and sends again only those items that failed; an outcome for each, in their order.
    pub fn write_batch(&self, batch: &Batch) -> Vec<Result<Written>> {
        let write = |core: Arc<Core>| drive::block_on_call(async move { Ok(core.write_batch(batch).await) });
        let written = self.0.core().and_then(write);
        written.unwrap_or_else(|error| batch.items().iter().map(|_| Err(error.clone())).collect())
    }

    /// A TCP connection to a declared `tcp://host:port`, for protocols that are not HTTP: pinned, raced, and counted
    /// against the caps until it is dropped.
    ///
    /// ```no_run
    /// # fn example(client: pinlink::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::{Read, Write};
    ///
    /// let mut socket = client.connect("redis.example", 6379)?; // declared as tcp://redis.example:6379
    /// socket.write_all(b"PING\r\n")?;
    /// let mut answer = [0; 7];
    /// socket.read_exact(&mut answer)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of a call that was not sent.
    pub fn connect(&self, host: &str, port: u16) -> Result<Socket> {
        drive::block_on_call(self.0.core()?.connect(host, port, false)).map(Socket::new)
    }

    /// As [`Client::connect`], over TLS: the certificate is verified for the host, or for its name in `sni`; the option
    /// `alpn` says which protocols are offered.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_tls(&self, host: &str, port: u16) -> Result<Socket> {
        drive::block_on_call(self.0.core()?.connect(host, port, true)).map(Socket::new)
    }

    /// What is pinned now.
    pub fn pins(&self) -> PinSet {
        self.0.pins()
    }

    /// Replaces the addresses of a declared host. Idle connections to addresses that are gone are closed now, busy
    /// ones when their exchange ends.
    ///
    /// # Errors
    /// [`Reason::PolicyNotDeclared`](crate::Reason::PolicyNotDeclared) for a host without a pin,
    /// [`Reason::PolicyAddress`](crate::Reason::PolicyAddress) for a refused address,
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) for an empty list.
    pub fn repin(&self, host: &str, addresses: &[IpAddr]) -> Result<()> {
        self.0.repin(host, addresses)
    }

    /// What this client has done in this process.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Closes idle connections and fails every later call with [`Reason::Closed`](crate::Reason::Closed); calls under
    /// way end as usual. The summary is written once, where the option `summary` says. Closing again does nothing.
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
