//! For benches only: doors to parts of a call that the public interface does not reach one by one.
//!
//! It owns nothing and decides nothing; it is compiled with the feature `parts`, which no user takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::blocking::Client;
use crate::drive;
use crate::error::Result;
use crate::request::Request;
use crate::retry::{Budget, Ending, Safety, Terms, Verdict, decide};
use crate::site::Site;
use crate::wire::{Parsed, parse_head};
use crate::write::Write;

/// No bench waits longer.
const LONGEST: Duration = Duration::from_secs(60);
/// The defaults of `max_headers` and `max_header_count`.
const LIMITS: (usize, usize) = (64 * 1024, 100);

/// One origin of a client.
#[derive(Clone)]
pub struct Door {
    site: Arc<Site>,
    /// One that is dropped closes what its door leads to.
    _client: Client,
}

impl Door {
    /// The origin that this request goes to.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn of(client: &Client, request: &Request) -> Result<Door> {
        let site = client.0.core()?.pool.site(request.scheme(), request.authority())?;
        Ok(Door { site, _client: client.clone() })
    }

    /// Takes a connection, a new one where none is idle, and gives it back unused.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn lease_and_end(&self) -> Result<()> {
        let leased = drive::block_on(self.site.lease(true, Instant::now(), Instant::now() + LONGEST, LONGEST))?;
        leased.end(Instant::now());
        Ok(())
    }

    /// The head as it is sent to this origin.
    pub fn write_head(&self, request: &Request, wire: &mut Vec<u8>) {
        request.write_head(&self.site.own, false, wire);
    }
}

/// Reads the head of an answer: how long it is, where it is whole and well-formed.
pub fn read_head(bytes: &[u8]) -> Option<usize> {
    match parse_head(bytes, LIMITS.0, LIMITS.1, false) {
        Ok(Parsed::Final(_, length)) => Some(length),
        _ => None,
    }
}

/// Decides about another try after an answer of this status to what may be repeated: whether there is one.
pub fn is_sent_again(status: u16, now: Instant) -> bool {
    let terms = Terms { max_attempts: 3, backoff_base: Duration::from_millis(50), backoff_max: Duration::from_secs(2) };
    let ending = Ending::Answered { status, retry_after: None };
    let budget = &mut Budget::new(10);
    decide(&terms, Safety::Idempotent, ending, 1, 0, now, now + LONGEST, budget, 0.5) != Verdict::Return
}

/// A write's request as it is sent: its key where the profile puts it.
///
/// # Errors
/// As [`Client::write`].
pub fn keyed(write: &Write) -> Result<Request> {
    Ok(write.placed(write.request().clone(), "0123456789abcdef0123456789abcdef")?.0)
}
