//! A row with this library: one client per process, which every thread shares.
//!
//! This is all there is to it; the rest is the default. Names are resolved once, when the client is built, and the
//! job's cap on connections is divided over its workers.

use pinlink::{Client, Request};

use super::{Fetch, Job};

/// The client of this process.
pub(super) struct Pinned(Client);

impl Pinned {
    /// Resolves and pins.
    pub(super) fn new(job: &Job) -> Result<Pinned, String> {
        Client::builder()
            .hosts([&job.place.origin])
            .nameservers([job.place.dns.to_string()])
            .ca_file(&job.place.ca_file)
            .allow_addresses(["127.0.0.0/8"])
            .job_connections(job.cap)
            .workers(job.workers)
            .build()
            .map(Pinned)
            .map_err(|error| error.to_string())
    }
}

impl Fetch for Pinned {
    fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let response = self.0.send(&Request::get(url)).map_err(|error| error.to_string())?;
        match response.status() {
            200 => Ok(response.into_body().to_vec()),
            status => Err(format!("the service answered {status}")),
        }
    }
}
