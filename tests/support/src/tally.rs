//! What the explicit proxies counted: who is in a tunnel, and what they were asked for.
//!
//! Owns: the counts of tunnels and the log of their requests, under one lock. Before it sets a new peak or is asked, it
//! looks at the kernel's state of the live sockets, as the gate does: a client that has closed one tunnel and opens the
//! next must not be counted twice. No I/O, no time, no randomness.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::counts::lock;
use crate::socket;

/// How many requests the log keeps.
const ASKED: usize = 10_000;

/// What the explicit proxies counted, both together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelCounts {
    /// Tunnels through which bytes could go.
    pub opened: u64,
    /// Those whose client has not closed its side yet.
    pub live: u64,
    /// The most that were ever live at once.
    pub peak: u64,
    /// Requests turned away for want of the right user and password.
    pub unauthorized: u64,
}

/// What a client asked an explicit proxy for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelRequest {
    /// `connect` or `socks`.
    pub proxy: String,
    /// The target as sent: `127.0.0.1:80`, `[::1]:80` or `kms.box.test:80`.
    pub target: String,
    /// All fields of a `CONNECT`, in order; SOCKS has none.
    pub headers: Vec<(String, String)>,
    /// Whether it came with the right user and password, where they are asked for.
    pub authorized: bool,
}

#[derive(Default)]
struct State {
    live: HashMap<u64, RawFd>,
    next: u64,
    counts: TunnelCounts,
    asked: Vec<TunnelRequest>,
}

/// The counts and the log.
#[derive(Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
}

/// One live tunnel. Must be dropped before its socket is closed.
pub(crate) struct Live {
    tally: Arc<Tally>,
    id: u64,
}

impl Drop for Live {
    fn drop(&mut self) {
        lock(&self.tally.state).live.remove(&self.id);
    }
}

impl State {
    fn sweep(&mut self) {
        self.live.retain(|_, fd| !socket::gone(*fd));
    }
}

impl Tally {
    pub(crate) fn asked(&self, request: TunnelRequest) {
        let mut state = lock(&self.state);
        state.counts.unauthorized += u64::from(!request.authorized);
        if state.asked.len() < ASKED {
            state.asked.push(request);
        }
    }

    /// Turns away a client that never got as far as naming its target.
    pub(crate) fn unauthorized(&self) {
        lock(&self.state).counts.unauthorized += 1;
    }

    pub(crate) fn opened(self: &Arc<Self>, client: &TcpStream) -> Live {
        let mut state = lock(&self.state);
        state.sweep();
        let id = state.next;
        state.next += 1;
        state.live.insert(id, client.as_raw_fd());
        state.counts.opened += 1;
        state.counts.peak = state.counts.peak.max(state.live.len() as u64);
        Live { tally: Arc::clone(self), id }
    }

    pub(crate) fn counts(&self) -> TunnelCounts {
        let mut state = lock(&self.state);
        state.sweep();
        TunnelCounts { live: state.live.len() as u64, ..state.counts }
    }

    pub(crate) fn requests(&self) -> Vec<TunnelRequest> {
        lock(&self.state).asked.clone()
    }

    pub(crate) fn reset(&self) {
        let mut state = lock(&self.state);
        state.sweep();
        state.asked.clear();
        state.counts = TunnelCounts { peak: state.live.len() as u64, ..TunnelCounts::default() };
    }
}
