//! What a call brings back, as it crosses: a head, and the body behind it.
//!
//! It owns the order of the fields, and the errors that the core can't have because they are this side's: a handle that
//! is no more, a panic that was caught, a packet that is malformed. What else went wrong is told in the core's words.

use std::net::SocketAddr;

use pinlink::{Delivery, Error, Headers, Outcome, Phase, Reader, Reason, Response, Trace, Written};

use crate::packet::{Malformed, Packing};

/// What the first byte says.
const RESPONSE: u8 = 0;
const FAILURE: u8 = 1;
const VALUE: u8 = 2;

/// The bits of an answer's second byte.
const IS_CUT: u8 = 1;
const IS_REUSED: u8 = 2;
const IS_HTTP2: u8 = 4;
const WAS_APPLIED_BEFORE: u8 = 8;

/// The greatest array that every JVM can make.
const MAX_ARRAY: usize = i32::MAX as usize - 8;

/// What a native function has to say.
pub(crate) enum Answer {
    Response(Response),
    Written(Written),
    /// A write's, of which only the head is told.
    Head(Written),
    Failure(Failure),
    /// A packet of the function's own.
    Value(Vec<u8>),
}

/// What went wrong: in the core, or on this side.
pub(crate) enum Failure {
    Core(Error),
    /// One of which the body of the answer is not told.
    Head(Error),
    Own(Reason, &'static str),
    /// It failed here before anything of the call was done.
    NotBegun(&'static str),
}

impl Failure {
    /// The handle is of no client: it was closed.
    pub(crate) const CLOSED: Failure = Failure::Own(Reason::Closed, "the client was closed");
    /// The number is of no answer that is being read.
    pub(crate) const CLOSED_STREAM: Failure = Failure::Own(Reason::Closed, "the answer's stream was closed");
    /// Whoever waited for the call gave it up.
    pub(crate) const CANCELED: Failure = Failure::Own(Reason::Canceled, "the call was canceled");
    /// A panic was caught. What it said stands on stderr: it may hold what no message may.
    pub(crate) const PANIC: Failure = Failure::Own(Reason::Internal, "a native function panicked");
    /// A text that should be an address is none.
    pub(crate) const ADDRESS: Failure = Failure::Own(Reason::ConfigInput, "a pin is an IP address, not a name");
    /// The socket was closed by another thread.
    pub(crate) const CLOSED_SOCKET: Failure = Failure::Own(Reason::Closed, "the socket was closed");
    /// The time that a socket's user gave is over.
    pub(crate) const LATE: Failure = Failure::Own(Reason::ConnectTimeout, "not connected within the time given");
    /// A number that should be a port is none.
    pub(crate) const PORT: Failure = Failure::Own(Reason::ConfigInput, "a port is 1 to 65535");
    /// The JVM could not take over what came beside a packet: the call was not begun.
    pub(crate) const NO_MEMORY: Failure = Failure::NotBegun("the JVM has no memory left for a call");
    /// The answer is beyond what a Java array holds, or what the JVM's heap has room for.
    const TOO_LARGE: Failure =
        Failure::Own(Reason::LimitBody, "the JVM has no memory for the answer: open it, or lower max_body");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Core(error)
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Failure {
        Failure::Own(Reason::Internal, "a packet is malformed: the classes and the native library are not of one build")
    }
}

impl From<Result<Response, Error>> for Answer {
    fn from(result: Result<Response, Error>) -> Answer {
        match result {
            Ok(response) => Answer::Response(response),
            Err(error) => Answer::Failure(Failure::Core(error)),
        }
    }
}

impl From<Result<Written, Error>> for Answer {
    fn from(result: Result<Written, Error>) -> Answer {
        match result {
            Ok(written) => Answer::Written(written),
            Err(error) => Answer::Failure(Failure::Core(error)),
        }
    }
}

impl From<Result<Vec<u8>, Failure>> for Answer {
    fn from(result: Result<Vec<u8>, Failure>) -> Answer {
        result.map_or_else(Answer::Failure, Answer::Value)
    }
}

impl Answer {
    /// The bytes behind the head.
    pub(crate) fn body(&self) -> &[u8] {
        match self {
            Answer::Response(response) => response.body(),
            Answer::Written(written) => written.response().body(),
            Answer::Failure(Failure::Core(error)) => error.body().map(|body| &body[..]).unwrap_or_default(),
            Answer::Head(_) | Answer::Failure(Failure::Head(_) | Failure::Own(..) | Failure::NotBegun(_)) => &[],
            Answer::Value(value) => value,
        }
    }

    /// The same, or what can be told without its body where no array could hold it.
    pub(crate) fn within_an_array(self) -> Answer {
        // A head is at most `max_headers`, 1 MiB.
        if self.body().len() > MAX_ARRAY - (4 << 20) { self.without_body() } else { self }
    }

    /// What can be told of it where nobody has room for its body: what became of a write stays what it is.
    pub(crate) fn without_body(self) -> Answer {
        match self {
            Answer::Written(written) => Answer::Head(written),
            Answer::Failure(Failure::Core(error)) => Answer::Failure(Failure::Head(error)),
            Answer::Head(_) | Answer::Failure(_) => self,
            Answer::Response(_) | Answer::Value(_) => Answer::Failure(Failure::TOO_LARGE),
        }
    }

    /// Whether less of it can't be told.
    pub(crate) fn is_without_body(&self) -> bool {
        match self {
            Answer::Head(_) => true,
            Answer::Failure(failure) => !matches!(failure, Failure::Core(_)),
            Answer::Response(_) | Answer::Written(_) | Answer::Value(_) => false,
        }
    }

    /// Packs all but the body.
    pub(crate) fn pack_head(&self, packet: &mut impl Packing) {
        match self {
            Answer::Response(response) => pack_response(response, 0, response.body().len(), packet),
            Answer::Written(written) => {
                pack_response(written.response(), pack_outcome(written), written.response().body().len(), packet);
            }
            Answer::Head(written) => pack_response(written.response(), pack_outcome(written) | IS_CUT, 0, packet),
            Answer::Failure(failure) => pack_failure(failure, packet),
            Answer::Value(_) => packet.put_byte(VALUE),
        }
    }
}

fn pack_outcome(written: &Written) -> u8 {
    if written.outcome() == Outcome::AlreadyApplied { WAS_APPLIED_BEFORE } else { 0 }
}

fn pack_response(response: &Response, flags: u8, body: usize, packet: &mut impl Packing) {
    let flags = flags | if response.is_cut() { IS_CUT } else { 0 };
    pack_start(response.status(), flags, body, response.trace(), packet);
    pack_fields(response.headers(), packet);
    pack_fields(response.trailers(), packet);
}

/// The head of an answer whose body is read while it comes: its trailers are not there yet.
pub(crate) fn pack_opened(reader: &Reader, packet: &mut impl Packing) {
    pack_start(reader.status(), 0, 0, reader.trace(), packet);
    pack_fields(reader.headers(), packet);
    packet.put_short_length(0);
}

/// Byte 0 what it is, 1 flags, 2 status, 4 tries, 8 six times in microseconds, 32 length of the body, 36 address;
/// behind it stand header and trailer fields.
fn pack_start(status: u16, flags: u8, body: usize, trace: &Trace, packet: &mut impl Packing) {
    packet.put_byte(RESPONSE);
    let flags = flags | if trace.reused { IS_REUSED } else { 0 } | if trace.is_http2 { IS_HTTP2 } else { 0 };
    packet.put_byte(flags);
    packet.put_short(status);
    packet.put_int(trace.attempts);
    for time in [trace.queue, trace.connect, trace.handshake, trace.wait, trace.receive, trace.total] {
        // A call takes an hour at most, which fits.
        packet.put_int(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }
    packet.put_length(body);
    match trace.address {
        None => packet.put_byte(0),
        Some(SocketAddr::V4(address)) => {
            packet.put_byte(4);
            packet.put(&address.ip().octets());
            packet.put_short(address.port());
        }
        Some(SocketAddr::V6(address)) => {
            packet.put_byte(16);
            packet.put(&address.ip().octets());
            packet.put_short(address.port());
        }
    }
}

pub(crate) fn pack_fields(fields: &Headers, packet: &mut impl Packing) {
    packet.put_short_length(fields.len());
    for (name, value) in fields.iter() {
        packet.put_short_length(name.len());
        packet.put(name.as_bytes());
        packet.put_short_length(value.len());
        packet.put(value);
    }
}

/// Texts, so that an error of a later version is still one here; -1 stands for what there is not.
fn pack_failure(failure: &Failure, packet: &mut impl Packing) {
    packet.put_byte(FAILURE);
    match failure {
        Failure::Core(error) | Failure::Head(error) => {
            packet.put_text(error.reason().as_str());
            packet.put_text(error.phase().as_str());
            packet.put_text(error.delivery().as_str());
            packet.put_text(error.outcome().as_str());
            packet.put_text(error.host().unwrap_or_default());
            packet.put_text(&error.address().map(|address| address.to_string()).unwrap_or_default());
            packet.put_int(error.attempts());
            packet.put_long(error.elapsed().map_or(-1, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)));
            packet.put_text(&error.to_string());
            packet.put_int(u32::from(error.status().unwrap_or_default()));
            let is_whole = matches!(failure, Failure::Core(_));
            packet.put_length(error.body().filter(|_| is_whole).map_or(0, |body| body.len()));
        }
        Failure::Own(reason, detail) => {
            let (phase, delivery) = match reason {
                Reason::Closed | Reason::ConfigInput => (Phase::Configure, Delivery::NotSent),
                Reason::LimitBody => (Phase::Receive, Delivery::Answered),
                // A panic may have come at any moment of a call.
                _ => (Phase::Configure, Delivery::Unknown),
            };
            pack_own(*reason, phase, delivery, detail, packet);
        }
        Failure::NotBegun(detail) => {
            pack_own(Reason::Internal, Phase::Configure, Delivery::NotSent, detail, packet);
        }
    }
}

fn pack_own(reason: Reason, phase: Phase, delivery: Delivery, detail: &str, packet: &mut impl Packing) {
    let outcome = if delivery == Delivery::NotSent { Outcome::Rejected } else { Outcome::Unknown };
    packet.put_text(reason.as_str());
    packet.put_text(phase.as_str());
    packet.put_text(delivery.as_str());
    packet.put_text(outcome.as_str());
    packet.put_text("");
    packet.put_text("");
    packet.put_int(0);
    packet.put_long(-1);
    packet.put_length(reason.as_str().len() + 2 + detail.len());
    packet.put(reason.as_str().as_bytes());
    packet.put(b": ");
    packet.put(detail.as_bytes());
    packet.put_int(0);
    packet.put_length(0);
}
