//! What surviving a fault means, asserted in one place (FAULTS.md, first page): the expected error with its `Delivery`
//! and number of tries, the deadline kept, nothing leaked, and the next healthy request answered.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pinlink::{AsyncClient, Builder, Client, Delivery, Error, Reason, Request, Response, Result};
use pinlink_box::{BadFrame, ChunkSize, Fault, Followed, Malformation, Network, OverCap, StatusLine};

use super::{BOUNDED, assert_failed, assert_whole, eventually};

/// Codes of RST_STREAM (RFC 9113 section 7) that say nothing of whether the request was processed.
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// Every fault of the box, with values that a request meets.
pub(crate) fn every_fault() -> Vec<Fault> {
    let mut faults = vec![
        Fault::Silent,
        Fault::ServFail(100),
        Fault::Refused,
        Fault::NotImp,
        Fault::FormErr,
        Fault::NxDomain,
        Fault::NoData,
        Fault::Truncate,
        Fault::TruncateNoTcp,
        Fault::AliasLoop,
        Fault::AliasChain(3),
        Fault::Answer(vec!["127.0.0.9".parse().unwrap()]),
        Fault::ManyAddresses(100),
        Fault::Malformed(Malformation::Garbage, Followed::Nothing),
        Fault::Ttl(0),
        Fault::SlowAnswer(50),
        Fault::RateLimit(1),
        Fault::RefuseAll,
        Fault::Blackhole,
        Fault::ResetOnAccept,
        Fault::ResetAfterRequest(0),
        Fault::ResetAfterRequest(100),
        Fault::ResetAfterRequest(5_000),
        Fault::ResetAfterRequest(40_000),
        Fault::ResetMidAnswer(0),
        Fault::ResetMidAnswer(20),
        Fault::CloseMidAnswer(0),
        Fault::CloseMidAnswer(20),
        Fault::CloseMidAnswer(150),
        Fault::AckLost,
        Fault::AckLostReset,
        Fault::HalfOpen,
        Fault::IdleCut(10),
        Fault::IdleDrop(10),
        Fault::Flap(50),
        Fault::Drip(1),
        Fault::StallUpload,
        Fault::Latency(20),
        Fault::Bandwidth(200_000),
        Fault::Cap(0, OverCap::Refuse),
        Fault::Cap(0, OverCap::Reset),
        Fault::Cap(0, OverCap::Queue),
        Fault::HandshakeStall,
        Fault::HandshakeClose,
        Fault::NotTls,
        Fault::AlertMidStream,
        Fault::GarbageRecord,
        Fault::TruncatedClose,
        Fault::Tls12Only,
        Fault::Tls13Only,
        Fault::AlpnNone,
        Fault::AlpnLies,
        Fault::RotateTickets,
        Fault::InterimFlood,
        Fault::Interim(3),
        Fault::UnaskedSwitch,
        Fault::HeaderFlood,
        Fault::HeaderCount(1000),
        Fault::BigHeader(1 << 20),
        Fault::EndlessBody,
        Fault::EndlessBodyNoLength,
        Fault::LengthAndChunked,
        Fault::TwoLengths,
        Fault::NegativeLength,
        Fault::ShortBody,
        Fault::ChunkedNoEnd,
        Fault::BadChunkSize(ChunkSize::Overflow),
        Fault::ExtraBytes,
        Fault::GarbageStatus(StatusLine::Garbage),
        Fault::EarlyFinal,
        Fault::CloseAfterAnswer,
        Fault::Http10,
        Fault::KeepAliveTimeout(1),
        Fault::SilentClose,
        Fault::RequestTimeout408,
        Fault::NoContentWithBody,
        Fault::EarlyClose,
        Fault::WriteThenReset,
        Fault::EarlyFinalKeep,
        Fault::ExpectIgnored,
        Fault::ExpectLate(20),
        Fault::ExpectFailed,
        Fault::ExpectFinal(413),
        Fault::HiddenState,
        Fault::BigError(1 << 20),
        Fault::TrailerFlood,
        Fault::SlowBody(50),
        Fault::GoAwayAfter(0),
        Fault::GoAwayAfter(1),
        Fault::GoAwayUnprocessed,
        Fault::GoAwayGraceful(1),
        Fault::GoAwayError,
        Fault::RefusedStream,
        Fault::ResetStream(NO_ERROR),
        Fault::ResetStream(CANCEL),
        Fault::ResetMidBody(CANCEL),
        Fault::ContinuationFlood,
        Fault::HeaderBomb,
        Fault::HeaderList(1 << 20),
        Fault::TableSizeGame,
        Fault::WindowClosed,
        Fault::WindowZeroIncrement,
        Fault::EmptyDataFlood,
        Fault::TinyDataFlood,
        Fault::SettingsFlood,
        Fault::PingFlood,
        Fault::PriorityFlood,
        Fault::MaxStreams(0),
        Fault::MaxStreamsLowered(0),
        Fault::PushPromise,
        Fault::SilentPeer,
        Fault::ConnectStatus(407),
        Fault::ConnectStatus(502),
        Fault::ConnectGarbage,
        Fault::ConnectEndless,
        Fault::ConnectSilent,
        Fault::ConnectThenSilent,
        Fault::SocksRefused(5),
        Fault::SocksGarbage,
        Fault::TunnelClose,
        Fault::SinkResetBeforeBody,
        Fault::SinkResetInBody,
        Fault::SinkResetAfterBody,
        Fault::ApplyThenDie,
        Fault::ApplyThenReset,
        Fault::ApplyThenSilence,
        Fault::ApplyThen500,
        Fault::Fail500,
        Fault::Stored500,
        Fault::Refuse503,
        Fault::SlowSink(50),
        Fault::BulkPartial(50),
        Fault::WriteChaos(1, 100),
    ];
    faults.extend(BadFrame::ALL.map(Fault::MalformedFrame));
    let named: BTreeSet<&str> = faults.iter().map(Fault::name).collect();
    let all: BTreeSet<&str> = Fault::ALL.iter().map(|row| row.name).collect();
    assert_eq!(named, all, "a fault of the box is missing here");
    faults
}

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
