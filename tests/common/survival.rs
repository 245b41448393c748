//! What surviving a fault means, asserted in one place (FAULTS.md, first page): the expected error with its `Delivery`
//! and number of tries, the deadline kept, nothing leaked, and the next healthy request answered.

use std::time::{Duration, Instant};

use pinlink::{AsyncClient, Builder, Client, Delivery, Error, Reason, Request, Response, Result};
use pinlink_box::Network;

use super::{BOUNDED, assert_failed, assert_whole, eventually};

/// Who calls. Every row is met by both unless it says why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Blocking,
    Async,
}

impl Caller {
    pub(crate) const ALL: [Caller; 2] = [Caller::Blocking, Caller::Async];

    /// Builds a client, as this caller does.
    pub(crate) fn build(self, builder: Builder) -> Result<Client> {
        match self {
            Caller::Blocking => builder.build(),
            Caller::Async => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
                runtime.block_on(builder.build_async()).map(Client::from)
            }
        }
    }

    /// Sends one request, as this caller does.
    pub(crate) fn send(self, client: &Client, request: &Request) -> Result<Response> {
        match self {
            Caller::Blocking => client.send(request),
            Caller::Async => {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread");
                runtime.block_on(AsyncClient::from(client.clone()).send(request))
            }
        }
    }
}

/// The failure that a fault must lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) delivery: Delivery,
    /// How often the request must have been tried.
    pub(crate) attempts: u32,
}

/// Sends a request into a fault that is on: it fails as it must, within its deadline and a moment.
#[track_caller]
pub(crate) fn fails_as(
    caller: Caller,
    client: &Client,
    request: &Request,
    deadline: Duration,
    failure: Failure,
) -> Error {
    let begun = Instant::now();
    let error = match caller.send(client, request) {
        Ok(answer) => panic!("{caller:?}: answered with {answer:?}; expected {failure:?}"),
        Err(error) => error,
    };
    // On a busy machine the moment may be long; it must never be "for ever".
    assert!(begun.elapsed() < deadline + BOUNDED, "{caller:?}: {error} came after {:?}", begun.elapsed());
    assert_failed(&error, failure.reason, failure.delivery);
    assert_eq!(error.attempts(), failure.attempts, "{caller:?}: {error}");
    error
}

/// After a fault has been healed: the next request succeeds and nothing has leaked, here or at the proxy.
#[track_caller]
pub(crate) fn recovers(client: &Client, network: &Network) {
    network.heal();
    assert_whole(client, network);
    let stats = client.stats();
    assert!(stats.connections_peak <= 32, "{stats:?}");
    eventually("the proxy has no more connections than the client", || {
        network.counts().proxy.live <= client.stats().connections_live
    });
}

/// What is asked for, by what sending it twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A `GET`, which may be repeated.
    Get,
    /// A `POST` that may not.
    Post,
    /// A `POST` whose key lets the target recognise a repetition.
    Keyed,
}

impl Ask {
    pub(crate) const ALL: [Ask; 3] = [Ask::Get, Ask::Post, Ask::Keyed];

    pub(crate) fn request(self, url: &str) -> Request {
        match self {
            Ask::Get => Request::get(url),
            Ask::Post => Request::post(url).body("once"),
            Ask::Keyed => Request::post(url).body("once").header("Idempotency-Key", "\"7\""),
        }
    }

    /// The failure where the request left and no answer came: what may be repeated has been tried `attempts` times, and
    /// nobody knows what became of the rest.
    pub(crate) fn lost(self, reason: Reason, attempts: u32) -> Failure {
        let delivery = Delivery::Unknown;
        match self {
            Ask::Post => Failure { reason: Reason::WriteOutcomeUnknown, delivery, attempts: 1 },
            _ => Failure { reason, delivery, attempts },
        }
    }

    /// The failure where the answer began and broke.
    pub(crate) fn broken(self, reason: Reason, attempts: u32) -> Failure {
        let attempts = if self == Ask::Post { 1 } else { attempts };
        Failure { reason, delivery: Delivery::Answered, attempts }
    }
}

/// The failure where nothing left: whatever was asked for, the same.
pub(crate) fn unsent(reason: Reason, attempts: u32) -> Failure {
    Failure { reason, delivery: Delivery::NotSent, attempts }
}

/// The time of a call, where it is not what is tested.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Who asks, and for what.
pub(crate) fn every_call() -> impl Iterator<Item = (Caller, Ask)> {
    Caller::ALL.into_iter().flat_map(|caller| Ask::ALL.map(|ask| (caller, ask)))
}

/// As [`recovers`], for the only client of a network: the proxy has no connection more than that client.
#[track_caller]
pub(crate) fn recovers_alone(client: &Client, network: &Network) {
    recovers(client, network);
    eventually("the proxy has no connection more", || network.counts().proxy.live == client.stats().connections_live);
}
