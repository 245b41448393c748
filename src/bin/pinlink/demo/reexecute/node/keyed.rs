//! A write with this library: one client per process, and a key that every execution of the job derives alike.
//!
//! This is all there is to it. A row whose outcome is unknown is an error like any other: the platform executes the
//! node again, and the key says what was done already.

use std::time::Duration;

use pinlink::{Client, Outcome, Profile, Request, Scope, Write};

use super::{Done, Put, Row, Task};
use crate::demo::worker::naive::RETRIES;

/// As many as the other side.
const ATTEMPTS: usize = 1 + RETRIES;
/// A peer that moves nothing for this part of a write's time is dead: what is left is for another try.
const STALLED: u32 = 3;

/// The client of this process, and whose writes these are.
pub(super) struct Keyed {
    client: Client,
    scope: Scope,
    profile: Profile,
}

impl Keyed {
    /// Resolves and pins.
    pub(super) fn new(task: &Task) -> Result<Keyed, String> {
        let patience = Duration::from_millis(task.patience_ms);
        let client = Client::builder()
            .hosts([&task.place.origin])
            .nameservers([task.place.dns.to_string()])
            .ca_file(&task.place.ca_file)
            .allow_addresses(["127.0.0.0/8"])
            .job_connections(task.cap)
            .workers(task.processes)
            .timeout(patience)
            .max_attempts(ATTEMPTS)
            .stall_timeout(patience / STALLED)
            .build()
            .map_err(|error| error.to_string())?;
        let scope = Scope::job(&task.scope).map_err(|error| error.to_string())?;
        Ok(Keyed { client, scope, profile: Profile::idempotency_key() })
    }
}

impl Put for Keyed {
    fn put(&self, url: &str, row: &Row) -> Result<Done, String> {
        let key = self.scope.key("insert row", [row.number.to_string(), row.id.clone()]);
        let request = Request::post(url).header("content-type", "application/json").body(row.body());
        let written =
            self.client.write(&Write::new(request, &key, &self.profile)).map_err(|error| error.to_string())?;
        Ok(match written.outcome() {
            Outcome::AlreadyApplied => Done::AlreadyApplied,
            _ => Done::Applied,
        })
    }
}
