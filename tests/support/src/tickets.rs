//! Session tickets whose key can be thrown away at run time.
//!
//! Owns: the key that one origin's TLS configurations share, so that sessions resume across them until it rotates. What
//! rotates it is the business of `handshake`. Randomness: ring's, for keys.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::Error;
use rustls::crypto::ring::Ticketer;
use rustls::server::ProducesTickets;

/// The current ticketer. Tickets of earlier ones are waste paper.
#[derive(Debug)]
pub(crate) struct Tickets(RwLock<Arc<dyn ProducesTickets>>);

impl Tickets {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Tickets(RwLock::new(Ticketer::new()?)))
    }

    /// Forgets all sessions.
    pub(crate) fn rotate(&self) {
        if let Ok(fresh) = Ticketer::new() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    fn current(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.current().lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current().encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.current().decrypt(cipher)
    }
}
