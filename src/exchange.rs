//! One call: admit, lease, send, classify, and either return or try again.
//!
//! It owns the loop that the README describes and nothing else: the connections are the pool's, the
//! decision is `retry`'s, the bytes are the connection's. The same loop serves a blocking caller, a batch
//! and, on a runtime, an async caller; it never knows which.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::io::ReadBuf;
use tracing::Instrument;

use crate::config::Config;
use crate::connection::{Answer, Begun, Connection};
use crate::crowd::is_refusal;
use crate::decode::{Decoder, State};
use crate::drive;
use crate::error::{Delivery, Error, Kind, Phase, Reason, Result};
use crate::event::Counters;
use crate::http2::Exchange;
use crate::lease::{Lease, Leased, Stream};
use crate::memory::Memory;
use crate::pin_set::PinSet;
use crate::pool::Pool;
use crate::profile::{LOOKED_AT, Meaning};
use crate::redirect::{self, Trail};
use crate::request::Request;
use crate::response::{Headers, Response, Trace, Trailers};
use crate::retry::{self, Ending, Safety, Terms, Verdict};
use crate::site::Site;
use crate::watch::{Bounds, Watch};

/// How much is read of an answer that nobody wants.
const WASTE: usize = 64 * 1024;

/// What a call needs of its client.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<Counters>,
    /// What was written by this client in this process.
    pub(crate) memory: Mutex<Memory>,
}

/// What a call has brought.
#[expect(clippy::large_enum_variant, reason = "the large one is the one that every call brings: a box would cost it")]
pub(crate) enum Taken {
    Whole(Response),
    Head(Box<Opened>),
}

/// An answer whose body is still to be read.
pub(crate) struct Opened {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) trace: Trace,
    pub(crate) flow: Flow,
}

/// Where the rest of an answer comes from.
pub(crate) enum Flow {
    Connection { lease: Lease, begun: Begun, watch: Watch },
    // The exchange is dropped first: its end is what makes the stream free.
    Stream { exchange: Box<Exchange>, stream: Stream },
}

impl Flow {
    /// Whoever reads the rest takes the time that it takes: from here on only the far side's pauses are bounded.
    pub(crate) fn unbind(&mut self) {
        match self {
            Flow::Connection { begun, watch, .. } => watch.unbind(begun.head_at),
            Flow::Stream { exchange, .. } => exchange.unbind(),
        }
    }

    /// How long the body is, where the far side has said so.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Flow::Connection { begun, .. } => begun.length(),
            Flow::Stream { exchange, .. } => exchange.length(),
        }
    }

    /// Appends what comes next of the body, at most `room` bytes; true at its end.
    pub(crate) async fn read_some(&mut self, into: &mut Vec<u8>, room: usize) -> Result<bool> {
        match self {
            Flow::Connection { lease, begun, watch } => {
                let connection = lease.connection();
                watch.begin_window(connection.meter(), Instant::now());
                let address = connection.address;
                connection.read_some(begun, into, room, watch).await.map_err(|error| error.with_address(address))
            }
            Flow::Stream { exchange, stream } => {
                exchange.resume(Instant::now());
                let address = stream.channel().address;
                exchange.read_some(into, room).await.map_err(|error| error.with_address(address))
            }
        }
    }

    /// How much of what comes next may be read by [`Flow::read_into`] into memory of this size.
    pub(crate) fn straight(&mut self, room: usize) -> Option<usize> {
        match self {
            Flow::Connection { lease, begun, .. } => lease.connection().straight(begun, room),
            // HTTP/2 has read it already.
            Flow::Stream { .. } => None,
        }
    }

    /// Reads up to `most` bytes, which [`Flow::straight`] has allowed, into a caller's memory; true at the body's end.
    pub(crate) async fn read_into(&mut self, into: &mut ReadBuf<'_>, most: usize) -> Result<bool> {
        match self {
            Flow::Connection { lease, begun, watch } => {
                let connection = lease.connection();
                watch.begin_window(connection.meter(), Instant::now());
                let address = connection.address;
                connection.read_into(begun, into, most, watch).await.map_err(|error| error.with_address(address))
            }
            Flow::Stream { .. } => Ok(false),
        }
    }

    /// Gives back what carried the body, which has ended; what came behind it is returned.
    pub(crate) fn end(self, now: Instant) -> Trailers {
        match self {
            Flow::Connection { mut lease, .. } => {
                let trailers = lease.connection().take_trailers();
                if lease.connection().is_reusable() {
                    lease.end(now);
                }
                trailers
            }
            Flow::Stream { mut exchange, .. } => std::mem::take(&mut exchange.trailers),
        }
    }
}

impl Taken {
    fn status(&self) -> StatusCode {
        match self {
            Taken::Whole(response) => response.status,
            Taken::Head(opened) => opened.status,
        }
    }

    /// Whether it answers a request of whose body nothing has left.
    fn is_without_body(&self) -> bool {
        match self {
            Taken::Whole(response) => response.trace.is_without_body,
            Taken::Head(opened) => opened.trace.is_without_body,
        }
    }

    fn headers(&self) -> &Headers {
        match self {
            Taken::Whole(response) => &response.headers,
            Taken::Head(opened) => &opened.headers,
        }
    }

    /// Reads what is left of an answer that nobody wants, so that its connection is of use; a long one is not worth it.
    async fn finish(self) {
        let Taken::Head(opened) = self else { return };
        let (mut flow, mut waste) = (opened.flow, Vec::new());
        while waste.len() < WASTE {
            match flow.read_some(&mut waste, WASTE).await {
                Ok(true) => {
                    flow.end(Instant::now());
                    return;
                }
                Ok(false) => {}
                Err(_) => return,
            }
        }
    }

    /// Undoes the content coding of a whole body. One that is read by the caller is decoded as it comes.
    fn decode(self, most: usize) -> Result<Taken> {
        let Taken::Whole(mut response) = self else { return Ok(self) };
        let Some(coding) = response.headers.get("content-encoding").filter(|_| !response.body.is_empty()) else {
            return Ok(Taken::Whole(response));
        };
        if let Some(mut decoder) = Decoder::of(coding)? {
            let mut body = Vec::new();
            let (_, state) = decoder.decode(&response.body, &mut body, most)?;
            if state == State::Full && decoder.decode(&[], &mut Vec::new(), 1)?.1 == State::Full {
                let detail = format!("the decoded body is over {most} bytes");
                return Err(Error::new(Reason::LimitBody, Phase::Receive, detail).with_delivery(Delivery::Answered));
            }
            // What was cut off on purpose can't be whole.
            if !response.is_cut {
                decoder.finish()?;
            }
            (response.headers, response.body) = (response.headers.decoded(), body.into());
        }
        Ok(Taken::Whole(response))
    }

    /// What the answer says about another try.
    fn ending(&self, request: &Request, polls: u32) -> Ending {
        let retry_after = self.asked_to_wait();
        let (Some(keying), Taken::Whole(response)) = (request.keying(), self) else {
            return Ending::Answered { status: self.status().as_u16(), retry_after };
        };
        match keying.profile.judge(response.status(), response.headers(), response.body()) {
            Meaning::Again => Ending::Again { retry_after },
            Meaning::InProgress => Ending::InProgress { polls, retry_after },
            _ => Ending::Settled,
        }
    }

    fn trace(&mut self) -> &mut Trace {
        match self {
            Taken::Whole(response) => &mut response.trace,
            Taken::Head(opened) => &mut opened.trace,
        }
    }

    /// How long the far side asks to wait before the next try.
    fn asked_to_wait(&self) -> Option<Duration> {
        if self.status().is_success() {
            return None;
        }
        let value = self.headers().get("retry-after")?;
        retry::retry_after(std::str::from_utf8(value).ok()?, PinSet::now())
    }
}

impl Core {
    /// The moment a call that begins now must have ended.
    fn deadline(&self, request: &Request, now: Instant) -> (Instant, Duration) {
        let timeout = request.deadline_after().unwrap_or(self.config.timeout);
        (now + timeout, timeout)
    }

    /// Runs one call to its end.
    pub(crate) async fn call(&self, request: &Request, latest: Option<Instant>) -> Result<Response> {
        self.call_at(None, request, latest).await
    }

    /// The same where it is known whom the request is for.
    pub(crate) async fn call_at(
        &self,
        site: Option<&Arc<Site>>,
        request: &Request,
        latest: Option<Instant>,
    ) -> Result<Response> {
        let begun = Instant::now();
        self.counters.requests.one();
        let mut result = self.try_call::<true>(site, request, begun, latest).await;
        if self.config.max_redirects > 0 || self.config.decode {
            result = Box::pin(self.settle::<true>(request, result, begun, latest)).await;
        }
        self.count(&mut result);
        match result {
            Ok(Taken::Whole(response)) => Ok(response),
            Ok(Taken::Head(_)) => unreachable!("it was asked for as a whole"),
            Err(error) => Err(error),
        }
    }

    /// Runs one call until its answer has begun.
    pub(crate) async fn open(&self, request: &Request) -> Result<Opened> {
        let begun = Instant::now();
        self.counters.requests.one();
        let result = self.try_call::<false>(None, request, begun, None).await;
        let mut result = self.settle::<false>(request, result, begun, None).await;
        self.count(&mut result);
        match result? {
            Taken::Head(opened) => Ok(*opened),
            Taken::Whole(_) => unreachable!("its head was asked for"),
        }
    }

    fn count(&self, result: &mut Result<Taken>) {
        match result {
            Ok(taken) => self.counters.answered(taken.trace().total),
            Err(error) => {
                self.counters.failures.one();
                tracing::debug!(reason = error.reason().as_str(), "call failed");
            }
        }
    }

    /// What some clients do with an answer before it is the caller's: follow where it leads, and undo its coding.
    async fn settle<const WHOLE: bool>(
        &self,
        request: &Request,
        mut result: Result<Taken>,
        begun: Instant,
        latest: Option<Instant>,
    ) -> Result<Taken> {
        if self.config.max_redirects > 0 && result.as_ref().is_ok_and(|taken| taken.status().is_redirection()) {
            result = self.follow::<WHOLE>(request, result?, begun, latest).await;
        }
        if !self.config.decode || !request.takes_codings() {
            return result;
        }
        let mut taken = result?;
        let trace = *taken.trace();
        taken.decode(self.bounds(request, begun, Duration::ZERO).max_body).map_err(|error| {
            let error = error.with_host(request.authority()).with_effort(trace.attempts, begun.elapsed());
            match trace.address {
                Some(address) => error.with_address(address),
                None => error,
            }
        })
    }

    /// Goes where an answer leads, within what is declared and the time of the call.
    async fn follow<const WHOLE: bool>(
        &self,
        request: &Request,
        mut taken: Taken,
        begun: Instant,
        latest: Option<Instant>,
    ) -> Result<Taken> {
        let mut trail = Trail::new(self.config.max_redirects);
        let mut asked = Cow::Borrowed(request);
        let mut attempts = 0;
        loop {
            attempts += taken.trace().attempts;
            let location = taken.headers().get("location");
            let next = redirect::next(&asked, taken.status().as_u16(), location, &mut trail);
            let next = next.map_err(|error| error.with_effort(attempts, begun.elapsed()))?;
            let Some(next) = next else {
                taken.trace().attempts = attempts;
                return Ok(taken);
            };
            taken.finish().await;
            tracing::debug!(host = next.authority(), "redirected");
            asked = Cow::Owned(next);
            // The way there was asked and answered, whatever becomes of the next step.
            taken = self.try_call::<WHOLE>(None, &asked, begun, latest).await.map_err(|error| {
                let delivery = Delivery::Answered.and(error.delivery());
                let attempts = attempts + error.attempts();
                error.with_delivery(delivery).with_effort(attempts, begun.elapsed())
            })?;
        }
    }

    /// `WHOLE` says that the answer is read to its end, else its body is the caller's to read. Each has its own code: what
    /// every call does must not pay for what some do.
    async fn try_call<const WHOLE: bool>(
        &self,
        site: Option<&Arc<Site>>,
        request: &Request,
        begun: Instant,
        latest: Option<Instant>,
    ) -> Result<Taken> {
        request.check()?;
        let site = match site {
            Some(site) => Arc::clone(site),
            None => self.pool.site(request.scheme(), request.authority())?,
        };
        let (mut deadline, timeout) = self.deadline(request, begun);
        deadline = latest.map_or(deadline, |latest| latest.min(deadline));
        if begun >= deadline {
            return Err(late(timeout).with_host(site.label.clone()));
        }
        if !request.content().is_at_hand() {
            let detail = "the body was sent before, and can be read only once";
            return Err(Error::input(detail).with_host(site.label.clone()));
        }
        let safety = match request {
            _ if request.is_idempotent() => Safety::Idempotent,
            _ if request.is_keyed() => Safety::Keyed,
            _ => Safety::Once,
        };
        let terms = Terms {
            max_attempts: u32::try_from(self.config.max_attempts).unwrap_or(u32::MAX),
            backoff_base: self.config.backoff_base,
            backoff_max: self.config.backoff_max,
        };
        site.budget().earn();
        let (mut attempt, mut replaced, mut polls) = (1, 0, 0);
        let mut delivery = Delivery::NotSent;
        let mut is_doubtful = request.keying().is_some_and(|keying| keying.is_doubtful);
        // What said last that a twin is being processed: it tells more than that the time is over.
        let mut in_progress: Option<Box<Taken>> = None;
        let mut expects = request.expects();
        let last_send = request.keying().and_then(|keying| keying.forgotten_at).map_or(deadline, |at| at.min(deadline));
        let mut limits = Limits { deadline, last_send, timeout, begun, tried_at: begun };
        loop {
            let signed = match request.as_signed() {
                Ok(signed) => signed,
                // Where it was sent before, that is not undone.
                Err(error) if delivery != Delivery::NotSent => {
                    let error = Error::new(error.reason(), Phase::Queue, error.detail().to_owned());
                    let elapsed = begun.elapsed();
                    return Err(describe(error.with_delivery(delivery), safety, &site, attempt, elapsed));
                }
                Err(error) => return Err(error.with_host(site.label.clone())),
            };
            let sent = signed.as_deref().unwrap_or(request);
            let mut tried = self.attempt::<WHOLE>(&site, sent, expects, limits).await;
            let (ending, now) = match &mut tried {
                Ok(taken) if expects && taken.status() == StatusCode::EXPECTATION_FAILED && taken.is_without_body() => {
                    // RFC 9110 10.1.1: it does not know the question; nothing of the body has left.
                    expects = false;
                    delivery = delivery.and(Delivery::Answered);
                    limits.tried_at = Instant::now();
                    continue;
                }
                Ok(taken) => {
                    delivery = delivery.and(Delivery::Answered);
                    (taken.ending(request, polls), begun + taken.trace().total)
                }
                Err((error, reused)) => {
                    let ending = Ending::Failed { reason: error.reason(), delivery: error.delivery(), reused: *reused };
                    delivery = delivery.and(error.delivery());
                    (ending, Instant::now())
                }
            };
            let verdict = match ending.is_last() || !request.content().is_at_hand() {
                true => Verdict::Return,
                false => {
                    let (mut budget, random) = (site.budget(), fastrand::f64());
                    let tries = attempt - polls;
                    retry::decide(&terms, safety, ending, tries, replaced, now, last_send, &mut budget, random)
                }
            };
            match verdict {
                Verdict::Return => {
                    let tried = match (tried, in_progress.take()) {
                        (Err((error, _)), Some(said)) if error.kind() == Kind::Timeout => Ok(*said),
                        (tried, _) => tried,
                    };
                    return match tried {
                        Ok(mut taken) => {
                            taken.trace().attempts = attempt;
                            taken.trace().is_doubtful = is_doubtful;
                            Ok(taken)
                        }
                        Err((error, _)) => {
                            let error = error.with_delivery(delivery);
                            Err(describe(error, safety, &site, attempt, now.duration_since(begun)))
                        }
                    };
                }
                Verdict::Replace => {
                    replaced += 1;
                    self.counters.replaced.one();
                    limits.tried_at = now;
                }
                Verdict::Again(at) => {
                    attempt += 1;
                    let waits = matches!(ending, Ending::InProgress { .. });
                    polls += u32::from(waits);
                    is_doubtful |= match &tried {
                        // A twin that is at work may be done by now.
                        Ok(taken) => waits || taken.status().is_server_error(),
                        Err((error, _)) => error.delivery() != Delivery::NotSent,
                    };
                    self.counters.retries.one();
                    tracing::debug!(host = %site.label, attempt, "sending again");
                    // What was answered is not needed any more; its connection may be.
                    in_progress = tried.ok().filter(|_| waits).map(Box::new);
                    drive::sleep_until(at).await;
                    limits.tried_at = Instant::now();
                }
            }
        }
    }

    /// One try. An error comes with whether its connection had been idle before.
    async fn attempt<const WHOLE: bool>(
        &self,
        site: &Arc<Site>,
        request: &Request,
        expects: bool,
        limits: Limits,
    ) -> Result<Taken, (Error, bool)> {
        let Limits { deadline, last_send, timeout, begun, tried_at } = limits;
        // Pinned here first: a span around a pointer costs nothing, around the future it would move a kilobyte.
        let leased = pin!(site.lease(drive::is_driven(), tried_at, last_send, timeout))
            .instrument(tracing::debug_span!("lease", host = %site.label))
            .await;
        let leased = leased.map_err(|error| (error, false))?;
        let leased_at = Instant::now();
        if leased_at >= last_send {
            leased.end(leased_at);
            return Err((late(timeout), false));
        }
        let bounds = self.bounds(request, deadline, timeout);
        let mut trace = Trace { attempts: 1, queue: leased_at.duration_since(begun), ..Trace::default() };
        let span = tracing::debug_span!("exchange", host = %site.label);
        let mut lease = match leased {
            Leased::Connection(lease) => lease,
            Leased::Stream(stream) => {
                let shared = pin!(self.attempt_shared::<WHOLE>(site, request, stream, &bounds, trace, begun));
                return shared.instrument(span).await;
            }
        };
        let connection = lease.connection();
        trace.address = Some(connection.address);
        trace.reused = connection.uses > 0;
        if trace.reused {
            self.counters.reuses.one();
        } else {
            (trace.connect, trace.handshake) = (connection.connect, connection.handshake);
        }
        let (was_idle, idle_since, address) = (connection.was_idle, connection.idle_since, connection.address);
        let heard = connection.heard();
        let failed = |error: Error, connection: &Connection| {
            let is_silent = connection.heard() == heard;
            let now = Instant::now();
            match error.kind() {
                Kind::Connect if was_idle && is_silent => site.died_idle(idle_since, leased_at),
                Kind::Timeout if was_idle && is_silent && connection.is_unacknowledged() => {
                    site.died_idle(idle_since, leased_at);
                }
                Kind::Connect if !was_idle && is_silent && is_refusal(error.reason()) => site.refused(leased_at, now),
                _ => {}
            }
            (error.with_address(address), was_idle)
        };
        if WHOLE {
            let exchanged =
                pin!(connection.exchange(request, &site.own, expects, &bounds, leased_at)).instrument(span).await;
            let Answer { status, headers, body, trailers, is_cut, is_early, head_at, ended_at } =
                exchanged.map_err(|error| failed(error, connection))?;
            site.learn(status, &trace, leased_at, head_at, was_idle.then_some(idle_since));
            trace.is_without_body = expects && !connection.has_begun_body();
            trace.is_early = is_early;
            trace.note(leased_at, head_at, ended_at, begun);
            if connection.is_reusable() && status != StatusCode::MISDIRECTED_REQUEST {
                lease.end(ended_at);
            }
            return Ok(Taken::Whole(Response { status, headers, body, trailers, is_cut, trace }));
        }
        let mut watch = Watch::new(&bounds, connection.meter(), leased_at);
        let opened = pin!(connection.begin(request, &site.own, expects, &bounds, &mut watch)).instrument(span).await;
        let mut answer = opened.map_err(|error| failed(error, connection))?;
        trace.is_without_body = expects && !connection.has_begun_body();
        site.learn(answer.head.status, &trace, leased_at, answer.head_at, was_idle.then_some(idle_since));
        trace.note(leased_at, answer.head_at, answer.head_at, begun);
        let (headers, _) = std::mem::take(&mut answer.head.fields).finish(Vec::new());
        let status = answer.head.status;
        let flow = Flow::Connection { lease, begun: answer, watch };
        Ok(Taken::Head(Box::new(Opened { status, headers, trace, flow })))
    }

    /// One try on a connection that carries others beside it.
    async fn attempt_shared<const WHOLE: bool>(
        &self,
        site: &Site,
        request: &Request,
        stream: Stream,
        bounds: &Bounds,
        mut trace: Trace,
        begun: Instant,
    ) -> Result<Taken, (Error, bool)> {
        let leased_at = begun + trace.queue;
        let channel = stream.channel();
        trace.is_http2 = true;
        trace.address = Some(channel.address);
        trace.reused = channel.uses() > 0;
        if trace.reused {
            self.counters.reuses.one();
        } else {
            (trace.connect, trace.handshake) = (channel.connect, channel.handshake);
        }
        let answers = channel.answers();
        let failed = |error: Error| {
            // What broke its promises or a limit is not used again, nor what has answered nobody since this try began.
            let is_broken =
                matches!(error.kind(), Kind::Protocol | Kind::Limit) || error.reason() == Reason::ConnectGoAway;
            let own = u64::from(error.delivery() == Delivery::Answered);
            if is_broken || (error.kind() == Kind::Timeout && channel.answers() <= answers + own) {
                channel.retire();
            }
            // One that was going when it was taken is replaced, as one that died idle is.
            let is_replaced = error.reason() == Reason::ConnectGoAway && answers > 0;
            (error.with_address(channel.address), is_replaced)
        };
        let mut exchange = Exchange::begin(channel, request, &site.own, bounds, leased_at).await.map_err(failed)?;
        let (status, head_at) = (exchange.status, exchange.head_at);
        trace.is_early = exchange.is_early;
        if status == StatusCode::MISDIRECTED_REQUEST {
            channel.retire();
        }
        site.learn(status, &trace, leased_at, head_at, None);
        if !WHOLE {
            let headers = exchange.take_headers();
            trace.note(leased_at, head_at, head_at, begun);
            let flow = Flow::Stream { stream, exchange: Box::new(exchange) };
            return Ok(Taken::Head(Box::new(Opened { status, headers, trace, flow })));
        }
        let (headers, body, is_cut) = exchange.read_whole(bounds).await.map_err(failed)?;
        let trailers = std::mem::take(&mut exchange.trailers);
        let ended_at = if exchange.has_waited { Instant::now() } else { head_at };
        drop((exchange, stream));
        trace.note(leased_at, head_at, ended_at, begun);
        Ok(Taken::Whole(Response { status, headers, body, trailers, is_cut, trace }))
    }

    fn bounds(&self, request: &Request, deadline: Instant, timeout: Duration) -> Bounds {
        let max_size = request.max_size().map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        Bounds {
            deadline,
            timeout,
            stall: self.config.stall_timeout,
            min_progress: self.config.min_progress.0,
            max_headers: self.config.max_headers.0,
            max_header_count: self.config.max_header_count,
            max_interim: self.config.max_interim,
            max_body: self.config.max_body.0.min(max_size),
            max_error_body: self.config.max_error_body.0,
            understood: if request.keying().is_some() { LOOKED_AT } else { 0 },
        }
    }
}

/// The time that a call has.
#[derive(Clone, Copy)]
struct Limits {
    deadline: Instant,
    /// From then on nothing is sent: the deadline, or when a target may have forgotten the key.
    last_send: Instant,
    timeout: Duration,
    begun: Instant,
    /// When this try began.
    tried_at: Instant,
}

fn late(timeout: Duration) -> Error {
    Error::new(Reason::TimeoutTotal, Phase::Queue, "the call's time was over before it was sent")
        .with_budget("timeout", timeout)
}

/// The error as the caller gets it: with the host, the effort, and an honest word about a write.
fn describe(error: Error, safety: Safety, site: &Site, attempts: u32, elapsed: Duration) -> Error {
    let error = if safety == Safety::Once && error.delivery() == Delivery::Unknown {
        let mut unknown = Error::new(
            Reason::WriteOutcomeUnknown,
            error.phase(),
            format!("the request may have arrived, and its answer did not ({})", error.reason().as_str()),
        )
        .with_delivery(Delivery::Unknown);
        if let Some(address) = error.address() {
            unknown = unknown.with_address(address);
        }
        unknown.with_source(error)
    } else {
        error
    };
    debug_assert!(error.phase() != Phase::Configure || error.delivery() == Delivery::NotSent);
    error.with_host(site.label.clone()).with_effort(attempts, elapsed)
}
