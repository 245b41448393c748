//! What tests of writes share: the keys of one job, who writes, and what the sink says became of it.

use std::time::Duration;

use pinlink::{
    AsyncClient, Batch, Builder, Client, Error, Key, Outcome, Reason, Record, Request, Result, Scope, Written,
};
use pinlink_box::{Fault, Injection, Network};

use super::survival::Caller;
use super::{client, http, http2, secure};

/// The key of a record, the same in every process of these tests.
pub(crate) fn key<'a>(record: impl Into<Record<'a>>) -> Key {
    Scope::job("orders of 2026-11-22").expect("a job's key").key("insert order", record)
}

impl Caller {
    /// Writes, as this caller does.
    pub(crate) fn write(self, client: &Client, write: &pinlink::Write) -> Result<Written> {
        match self {
            Caller::Blocking => client.write(write),
            Caller::Async => runtime().block_on(AsyncClient::from(client.clone()).write(write)),
        }
    }

    /// Writes many in one request, as this caller does.
    pub(crate) fn write_batch(self, client: &Client, batch: &Batch) -> Vec<Result<Written>> {
        match self {
            Caller::Blocking => client.write_batch(batch),
            Caller::Async => runtime().block_on(AsyncClient::from(client.clone()).write_batch(batch)),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread")
}

/// How a write gets to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Tls,
    Http2,
    Http2Tls,
}

impl Way {
    pub(crate) const ALL: [Way; 4] = [Way::Plain, Way::Tls, Way::Http2, Way::Http2Tls];

    /// A client that goes this way, and does not wait long between tries.
    pub(crate) fn client(self, network: &Network) -> Client {
        let builder = match self {
            Way::Plain | Way::Tls => client(network).option("protocol", "http1"),
            Way::Http2 | Way::Http2Tls => http2(network),
        };
        prompt(builder).build().expect("a client")
    }

    pub(crate) fn url(self, network: &Network, path: &str) -> String {
        match self {
            Way::Plain | Way::Http2 => http(network, path),
            Way::Tls | Way::Http2Tls => secure(network, path),
        }
    }
}

/// Short waits between tries: what is tested is what is sent again, not when.
pub(crate) fn prompt(builder: Builder) -> Builder {
    builder.backoff_base(Duration::from_millis(1)).backoff_max(Duration::from_millis(20))
}

/// A client for the plain origin, with short waits between tries.
pub(crate) fn writer(network: &Network) -> Client {
    prompt(client(network)).build().expect("a client")
}

/// A POST of a record to the sink that knows keys.
pub(crate) fn post(network: &Network, record: &str) -> Request {
    Request::post(&http(network, &format!("/sink/{record}"))).body("berlin")
}

/// Injects a fault that hits one record, so many times.
pub(crate) fn spoil(network: &Network, fault: Fault, record: &str, times: u32) {
    network.inject_injection(Injection { fault, times: Some(times), name: Some(record.to_owned()) });
}

/// What the sink has of a record: how often it was attempted and applied, under all its keys together.
pub(crate) fn effects(network: &Network, record: &str) -> (u64, u64) {
    let of_record = network.sink().into_iter().filter(|write| write.record == record);
    of_record.fold((0, 0), |sum, write| (sum.0 + write.attempts, sum.1 + write.applied))
}

/// The keys under which a record came.
pub(crate) fn keys(network: &Network, record: &str) -> Vec<Option<String>> {
    network.sink().into_iter().filter(|write| write.record == record).map(|write| write.key).collect()
}

/// The write had this outcome.
#[track_caller]
pub(crate) fn assert_written(written: &Result<Written>, outcome: Outcome) {
    match written {
        Ok(written) => assert_eq!(written.outcome(), outcome, "{written:?}"),
        Err(error) => panic!("expected {outcome:?}: {error}"),
    }
}

/// The write failed for this reason, with the outcome that belongs to it.
#[track_caller]
pub(crate) fn refused(written: Result<Written>, reason: Reason) -> Error {
    let error = match written {
        Ok(written) => panic!("expected {}: {written:?}", reason.as_str()),
        Err(error) => error,
    };
    let outcome = if reason == Reason::WriteOutcomeUnknown { Outcome::Unknown } else { Outcome::Rejected };
    assert_eq!((error.reason(), error.outcome()), (reason, outcome), "{error}");
    error
}

/// Nobody knows what became of the write.
#[track_caller]
pub(crate) fn unknown(written: Result<Written>) -> Error {
    refused(written, Reason::WriteOutcomeUnknown)
}
