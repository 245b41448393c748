//! One call: admit, lease, send, classify, and either return or try again.
//!
//! It owns the loop that the README describes and nothing else: the connections are the pool's, the
//! decision is `retry`'s, the bytes are the connection's. The same loop serves a blocking caller, a batch
//! and, on a runtime, an async caller; it never knows which.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use crate::config::Config;
use crate::connection::{Answer, Bounds};
use crate::drive;
use crate::error::{Delivery, Error, Kind, Phase, Reason, Result};
use crate::event::Counters;
use crate::pin_set::PinSet;
use crate::pool::{Pool, Site};
use crate::request::Request;
use crate::response::{Response, Trace};
use crate::retry::{self, Ending, Safety, Terms, Verdict};

/// What a call needs of its client.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: Arc<Counters>,
}

impl Core {
    /// The moment a call that begins now must have ended.
    pub(crate) fn deadline(&self, request: &Request, now: Instant) -> (Instant, Duration) {
        let timeout = request.deadline_after().unwrap_or(self.config.timeout);
        (now + timeout, timeout)
    }

    /// Runs one call to its end.
    pub(crate) async fn call(&self, request: &Request, latest: Option<Instant>) -> Result<Response> {
        let begun = Instant::now();
        self.counters.requests.one();
        let result = self.try_call(request, begun, latest).await;
        match &result {
            Ok(response) => self.counters.answered(response.trace.total),
            Err(error) => {
                self.counters.failures.one();
                tracing::debug!(reason = error.reason().as_str(), "call failed");
            }
        }
        result
    }

    async fn try_call(&self, request: &Request, begun: Instant, latest: Option<Instant>) -> Result<Response> {
        request.check()?;
        let site = self.pool.site(request.scheme(), request.authority())?;
        let (mut deadline, timeout) = self.deadline(request, begun);
        deadline = latest.map_or(deadline, |latest| latest.min(deadline));
        if begun >= deadline {
            return Err(late(timeout).with_host(site.label.clone()));
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
        let (mut attempt, mut replaced) = (1, 0);
        let mut delivery = Delivery::NotSent;
        loop {
            let tried = self.attempt(&site, request, deadline, timeout, begun).await;
            let (ending, now) = match &tried {
                Ok(response) => {
                    let retry_after = asked_to_wait(response);
                    delivery = delivery.and(Delivery::Answered);
                    (Ending::Answered { status: response.status(), retry_after }, begun + response.trace.total)
                }
                Err((error, reused)) => {
                    let ending = Ending::Failed { reason: error.reason(), delivery: error.delivery(), reused: *reused };
                    delivery = delivery.and(error.delivery());
                    (ending, Instant::now())
                }
            };
            let random = fastrand::f64();
            let verdict = {
                let mut budget = site.budget();
                retry::decide(&terms, safety, ending, attempt, replaced, now, deadline, &mut budget, random)
            };
            match verdict {
                Verdict::Return => {
                    return match tried {
                        Ok(mut response) => {
                            response.trace.attempts = attempt;
                            Ok(response)
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
                }
                Verdict::Again(at) => {
                    attempt += 1;
                    self.counters.retries.one();
                    tracing::debug!(host = %site.label, attempt, "sending again");
                    drive::sleep_until(at).await;
                }
            }
        }
    }

    /// One try. An error comes with whether its connection had been idle before.
    async fn attempt(
        &self,
        site: &Arc<Site>,
        request: &Request,
        deadline: Instant,
        timeout: Duration,
        begun: Instant,
    ) -> Result<Response, (Error, bool)> {
        // Pinned here first: a span around a pointer costs nothing, around the future it would move a kilobyte.
        let leased =
            pin!(site.lease(deadline, timeout)).instrument(tracing::debug_span!("lease", host = %site.label)).await;
        let mut lease = leased.map_err(|error| (error, false))?;
        let leased_at = Instant::now();
        let connection = lease.connection();
        let reused = connection.uses > 0;
        if reused {
            self.counters.reuses.one();
        }
        let (was_idle, idle_since) = (connection.was_idle, connection.idle_since);
        let bounds = Bounds {
            deadline,
            timeout,
            stall: self.config.stall_timeout,
            max_headers: self.config.max_headers.0,
            max_header_count: self.config.max_header_count,
            max_interim: self.config.max_interim,
            max_body: self.config.max_body.0,
        };
        if leased_at >= deadline {
            lease.end(leased_at);
            return Err((late(timeout), false));
        }
        let exchanged = pin!(connection.exchange(request, &site.own, &bounds, leased_at))
            .instrument(tracing::debug_span!("exchange", host = %site.label))
            .await;
        let address = connection.address;
        let Answer { status, headers, body, head_at } = exchanged.map_err(|error| {
            if was_idle && error.delivery() == Delivery::NotSent && error.kind() == Kind::Connect {
                site.learn_idle(leased_at, idle_since);
            }
            (error.with_address(address), was_idle)
        })?;
        let ended_at = Instant::now();
        let trace = Trace {
            address: Some(address),
            attempts: 1,
            reused,
            queue: leased_at.duration_since(begun),
            connect: if reused { Duration::ZERO } else { connection.connect },
            handshake: if reused { Duration::ZERO } else { connection.handshake },
            wait: head_at.duration_since(leased_at),
            receive: ended_at.duration_since(head_at),
            total: ended_at.duration_since(begun),
        };
        if connection.is_reusable() {
            lease.end(ended_at);
        }
        Ok(Response { status, headers, body, trace })
    }
}

fn late(timeout: Duration) -> Error {
    Error::new(Reason::TimeoutTotal, Phase::Queue, "the call's time was over before it was sent")
        .with_budget("timeout", timeout)
}

fn asked_to_wait(response: &Response) -> Option<Duration> {
    if response.is_success() {
        return None;
    }
    retry::retry_after(response.header("retry-after")?, PinSet::now())
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
