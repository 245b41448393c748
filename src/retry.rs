//! May this be sent again, and when?
//!
//! Pure: [`decide`] is one table from what happened to what to do; time and randomness are arguments. It
//! holds the promise that a request without a key and without an idempotent method (RFC 9110 9.2.2) is
//! never sent again once a byte of it may have left.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::error::{Delivery, Kind, Reason};

/// What sending twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safety {
    /// The same as sending once, by the method's definition.
    Idempotent,
    /// The same as sending once, because the server recognises the key.
    Keyed,
    /// Perhaps a second effect.
    Once,
}

/// What one try ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An error, and whether it came from a connection that had been idle before.
    Failed { reason: Reason, delivery: Delivery, reused: bool },
    /// An answer, and how long the server asks to wait (`Retry-After`).
    Answered { status: u16, retry_after: Option<Duration> },
    /// An answer to a keyed write that asks for the same once more.
    Again { retry_after: Option<Duration> },
    /// An answer that another request under the same key is being processed; so many have come already.
    InProgress { polls: u32, retry_after: Option<Duration> },
    /// An answer to a keyed write that no repetition would change.
    Settled,
}

impl Ending {
    /// Whether this ends the call, whatever the terms are: so do most answers.
    pub(crate) fn is_last(self) -> bool {
        match self {
            Ending::Settled => true,
            Ending::Answered { status, .. } => !asks_again(status) && status != 421,
            _ => false,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand the answer or the error to the caller.
    Return,
    /// Send again at once on another connection; it was never sent, so it costs no budget.
    Replace,
    /// Send again at this time.
    Again(Instant),
}

/// The numbers of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) max_attempts: u32,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_max: Duration,
}

/// How often a dead idle connection is replaced within one call before it counts as a failure: the pool may hold some
/// that died together.
const MAX_REPLACED: u32 = 16;

/// The table. `attempt` counts the tries so far, this one included; `replaced` the replacements; `random` is in [0, 1).
#[expect(clippy::too_many_arguments, reason = "a pure table: everything it depends on is an argument")]
pub(crate) fn decide(
    terms: &Terms,
    safety: Safety,
    ending: Ending,
    attempt: u32,
    replaced: u32,
    now: Instant,
    deadline: Instant,
    budget: &mut Budget,
    random: f64,
) -> Verdict {
    // What never left costs the target nothing, so it draws on no budget: attempts and deadline bound it.
    let (asked_to_wait, is_free) = match ending {
        Ending::Failed { reason, delivery: Delivery::NotSent, reused: true }
            if replaced < MAX_REPLACED && is_found_dead(reason) =>
        {
            return if now < deadline { Verdict::Replace } else { Verdict::Return };
        }
        Ending::Failed { reason, delivery, .. } => {
            if !may_help(reason) || (delivery != Delivery::NotSent && safety == Safety::Once) {
                return Verdict::Return;
            }
            (None, delivery == Delivery::NotSent)
        }
        // RFC 9110 15.5.20: the connection was the wrong one. Once more, over another.
        Ending::Answered { status: 421, .. } => {
            let may_go_again = attempt == 1 && attempt < terms.max_attempts && safety != Safety::Once && now < deadline;
            return if may_go_again && budget.take() { Verdict::Again(now) } else { Verdict::Return };
        }
        Ending::Settled => return Verdict::Return,
        Ending::Again { retry_after } => (retry_after, false),
        // A twin's write is waited for as long as there is time: it is a question, and no try.
        Ending::InProgress { polls, retry_after } => {
            let wait = backoff(terms, polls + 1, random).max(retry_after.unwrap_or_default());
            return match now.checked_add(wait) {
                Some(at) if at < deadline => Verdict::Again(at),
                _ => Verdict::Return,
            };
        }
        Ending::Answered { status, retry_after } => {
            if !asks_again(status) || safety == Safety::Once {
                return Verdict::Return;
            }
            (retry_after, false)
        }
    };
    if attempt >= terms.max_attempts {
        return Verdict::Return;
    }
    let wait = backoff(terms, attempt, random).max(asked_to_wait.unwrap_or_default());
    // A wait beyond what a clock can hold is beyond any deadline.
    let Some(at) = now.checked_add(wait) else { return Verdict::Return };
    if at >= deadline || !(is_free || budget.take()) {
        return Verdict::Return;
    }
    Verdict::Again(at)
}

/// How a connection that had been idle turns out to be of no use before anything is written to it.
fn is_found_dead(reason: Reason) -> bool {
    matches!(reason.kind(), Kind::Connect | Kind::Tls) || reason == Reason::ProtocolUnexpected
}

/// Failures that another try may not meet. Certificates, policy, input and limits stay as they are; so does a full
/// queue, which another try would only lengthen.
fn may_help(reason: Reason) -> bool {
    match reason.kind() {
        Kind::Connect => true,
        Kind::Protocol => matches!(reason, Reason::ProtocolIncomplete),
        Kind::Proxy => {
            matches!(reason, Reason::ProxyUnavailable | Reason::ProxyTimeout | Reason::ProxyProtocol)
        }
        Kind::Tls => matches!(reason, Reason::TlsTimeout | Reason::TlsClosed),
        Kind::Timeout => matches!(reason, Reason::TimeoutStalled),
        _ => false,
    }
}

/// Statuses by which a server or a gateway says that it did not do the work now (RFC 9110 15.5.9, 15.6.3 to 15.6.5,
/// RFC 6585 4).
fn asks_again(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// Full jitter: drawn from zero up to a ceiling that doubles with each try.
fn backoff(terms: &Terms, attempt: u32, random: f64) -> Duration {
    let mut ceilings = ExponentialBuilder::new()
        .with_min_delay(terms.backoff_base)
        .with_max_delay(terms.backoff_max)
        .with_factor(2.0)
        .without_max_times()
        .build();
    let ceiling = ceilings.nth(attempt.saturating_sub(1) as usize).unwrap_or(terms.backoff_max);
    full_jitter(ceiling, random)
}

/// A wait between zero and the ceiling.
pub(crate) fn full_jitter(ceiling: Duration, random: f64) -> Duration {
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

/// Retries that may still be made: a token bucket filled by requests, so that retries stay below a share of the load.
#[derive(Debug)]
pub(crate) struct Budget {
    fifths: u32,
    most: u32,
}

/// What a retry costs, in the unit that each request brings one of: retries are at most a fifth of the requests.
const PRICE: u32 = 5;

impl Budget {
    /// A full budget of `retries`.
    pub(crate) fn new(retries: usize) -> Budget {
        let most = u32::try_from(retries).unwrap_or(u32::MAX).saturating_mul(PRICE);
        Budget { fifths: most, most }
    }

    /// A request was made.
    pub(crate) fn earn(&mut self) {
        self.fifths = (self.fifths + 1).min(self.most);
    }

    fn take(&mut self) -> bool {
        match self.fifths.checked_sub(PRICE) {
            Some(left) => {
                self.fifths = left;
                true
            }
            None => false,
        }
    }
}

/// How long `Retry-After` (RFC 9110 10.2.3) asks to wait: seconds, or a date against `now`. Nothing where it is neither.
pub(crate) fn retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are more seconds than any deadline.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms =
        Terms { max_attempts: 3, backoff_base: Duration::from_millis(50), backoff_max: Duration::from_secs(2) };

    fn verdict(safety: Safety, ending: Ending, attempt: u32) -> Verdict {
        let now = Instant::now();
        decide(&TERMS, safety, ending, attempt, 0, now, now + Duration::from_secs(30), &mut Budget::new(10), 0.5)
    }

    fn any_ending() -> impl Strategy<Value = Ending> {
        let reason = prop::sample::select(Reason::ALL);
        let delivery = prop::sample::select(vec![Delivery::NotSent, Delivery::Unknown, Delivery::Answered]);
        prop_oneof![
            (reason, delivery, any::<bool>()).prop_map(|(reason, delivery, reused)| Ending::Failed {
                reason,
                delivery,
                reused
            }),
            (100..600_u16, prop::option::of(any::<u64>()))
                .prop_map(|(status, after)| Ending::Answered { status, retry_after: after.map(Duration::from_secs) }),
            Just(Ending::Settled),
            prop::option::of(any::<u64>())
                .prop_map(|after| Ending::Again { retry_after: after.map(Duration::from_secs) }),
        ]
    }

    proptest! {
        #[test]
        fn what_may_have_left_once_is_never_sent_twice(ending in any_ending(), attempt in 1..20_u32, replaced in 0..40_u32,
                                                       random in 0.0..1.0_f64, budget in 0..50_usize) {
            // What only a keyed write ends with.
            prop_assume!(!matches!(ending, Ending::Again { .. }));
            let now = Instant::now();
            let verdict = decide(&TERMS, Safety::Once, ending, attempt, replaced, now, now + Duration::from_secs(30),
                                 &mut Budget::new(budget), random);
            let never_left = matches!(ending, Ending::Failed { delivery: Delivery::NotSent, .. });
            prop_assert!(never_left || verdict == Verdict::Return);
        }

        #[test]
        fn what_is_last_is_returned_whatever_else_is_known(ending in any_ending(), attempt in 1..20_u32, replaced in 0..40_u32,
                                                           random in 0.0..1.0_f64) {
            prop_assume!(ending.is_last());
            let now = Instant::now();
            for safety in [Safety::Idempotent, Safety::Keyed, Safety::Once] {
                let verdict = decide(&TERMS, safety, ending, attempt, replaced, now, now + Duration::from_secs(30),
                                     &mut Budget::new(10), random);
                prop_assert_eq!(verdict, Verdict::Return);
            }
        }

        #[test]
        fn no_call_goes_on_past_its_deadline_its_attempts_or_its_budget(ending in any_ending(), attempt in 1..20_u32,
                                                                        random in 0.0..1.0_f64, left in 0..5000_u64) {
            let now = Instant::now();
            let deadline = now + Duration::from_millis(left);
            for safety in [Safety::Idempotent, Safety::Keyed, Safety::Once] {
                let mut budget = Budget::new(1);
                if let Verdict::Again(at) =
                    decide(&TERMS, safety, ending, attempt, 99, now, deadline, &mut budget, random)
                {
                    prop_assert!(at < deadline && attempt < TERMS.max_attempts);
                    let never_left = matches!(ending, Ending::Failed { delivery: Delivery::NotSent, .. });
                    let second = decide(&TERMS, safety, ending, attempt, 99, now, deadline, &mut budget, random);
                    prop_assert!(never_left || second == Verdict::Return);
                }
            }
        }

        #[test]
        fn configuration_certificates_policy_and_limits_are_never_retried(reason in prop::sample::select(Reason::ALL)) {
            prop_assume!(matches!(reason.kind(), Kind::Config | Kind::Policy | Kind::Limit | Kind::Closed | Kind::Canceled
                | Kind::Internal | Kind::Overloaded | Kind::Write) || matches!(reason, Reason::TlsExpired | Reason::TlsWrongName
                | Reason::TlsUnknownIssuer | Reason::TlsNotYetValid | Reason::TlsCertificate | Reason::TlsVersion));
            let ending = Ending::Failed { reason, delivery: Delivery::NotSent, reused: false };
            prop_assert_eq!(verdict(Safety::Idempotent, ending, 1), Verdict::Return);
        }

        #[test]
        fn a_twin_s_write_is_waited_for_as_long_as_there_is_time(polls in 0..1000_u32, random in 0.0..1.0_f64, left in 1..60_u64) {
            let now = Instant::now();
            let deadline = now + Duration::from_secs(left);
            let ending = Ending::InProgress { polls, retry_after: None };
            let verdict = decide(&TERMS, Safety::Keyed, ending, 99, 0, now, deadline, &mut Budget::new(0), random);
            match verdict {
                Verdict::Again(at) => prop_assert!(at < deadline && at <= now + TERMS.backoff_max),
                verdict => prop_assert!(verdict == Verdict::Return && left <= TERMS.backoff_max.as_secs()),
            }
        }

        #[test]
        fn any_text_may_stand_in_retry_after(text in ".{0,40}") {
            let _ = retry_after(&text, jiff::Timestamp::UNIX_EPOCH);
        }
    }

    #[test]
    fn a_dead_idle_connection_is_replaced_for_any_request() {
        let ending = Ending::Failed { reason: Reason::ConnectClosed, delivery: Delivery::NotSent, reused: true };
        for safety in [Safety::Idempotent, Safety::Keyed, Safety::Once] {
            assert_eq!(verdict(safety, ending, 3), Verdict::Replace);
        }
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_only_where_that_is_safe() {
        let ending = Ending::Failed { reason: Reason::ConnectClosed, delivery: Delivery::Unknown, reused: false };
        assert!(matches!(verdict(Safety::Idempotent, ending, 1), Verdict::Again(_)));
        assert!(matches!(verdict(Safety::Keyed, ending, 1), Verdict::Again(_)));
        assert_eq!(verdict(Safety::Once, ending, 1), Verdict::Return);
    }

    #[test]
    fn the_server_s_wish_to_wait_is_obeyed_or_the_answer_returned() {
        let now = Instant::now();
        let wait = |seconds| {
            let ending = Ending::Answered { status: 503, retry_after: Some(Duration::from_secs(seconds)) };
            let deadline = now + Duration::from_secs(10);
            decide(&TERMS, Safety::Idempotent, ending, 1, 0, now, deadline, &mut Budget::new(1), 0.0)
        };
        assert_eq!(wait(5), Verdict::Again(now + Duration::from_secs(5)));
        assert_eq!(wait(11), Verdict::Return);
        assert_eq!(wait(u64::MAX), Verdict::Return);
        assert_eq!(wait(9_999_999_999_999_999_999), Verdict::Return);
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        let seconds = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("5"), Some(5));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0));
        assert!(seconds("1000000000000000000000000").unwrap() > 1 << 40);
        for garbage in ["", "-1", "soon", "1.5", "Sun"] {
            assert_eq!(seconds(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn retries_are_at_most_a_fifth_of_the_requests() {
        let mut budget = Budget::new(2);
        let mut taken = 0;
        for _ in 0..1000 {
            budget.earn();
            taken += u32::from(budget.take());
        }
        assert!((200..=202).contains(&taken), "{taken}");
    }
}
