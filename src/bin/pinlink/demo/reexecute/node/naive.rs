//! A write as people write it today, in good faith: a keep-alive client, a `POST`, a time limit, blind retries.
//!
//! It is what `requests.Session` with a retry loop does: on an error or a 5xx the same request once more, after a short
//! sleep, three times.

use std::thread;
use std::time::Duration;

use ureq::{Agent, Error};

use super::{Done, Put, Row, Task};
use crate::demo::worker::naive::{RETRIES, SLEEP, agent, config};

/// The client of this process.
pub(super) struct Naive(Agent);

impl Naive {
    /// Reads the CA; the client keeps its connections.
    pub(super) fn new(task: &Task) -> Result<Naive, String> {
        let patience = Duration::from_millis(task.patience_ms);
        Ok(Naive(agent(config(&task.place, patience, patience)?, task.place.dns)))
    }

    fn once(&self, url: &str, row: &Row) -> Result<(), Error> {
        // The answer is read to its end, so that its connection can be used again.
        self.0.post(url).content_type("application/json").send(row.body())?.body_mut().read_to_vec().map(drop)
    }
}

impl Put for Naive {
    fn put(&self, url: &str, row: &Row) -> Result<Done, String> {
        let mut outcome = self.once(url, row);
        for _ in 0..RETRIES {
            match outcome {
                Ok(()) | Err(Error::StatusCode(400..=499)) => break,
                Err(_) => thread::sleep(SLEEP),
            }
            outcome = self.once(url, row);
        }
        outcome.map(|()| Done::Applied).map_err(|error| error.to_string())
    }
}
