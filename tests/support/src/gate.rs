//! The proxy's gate: who is in, who waits, who is turned away, under one lock so that the counts are exact.
//!
//! Owns: live connections, the queue above the cap, and the proxy's counts. Before it turns anybody away, sets a new
//! peak or is asked, it looks at the kernel's state of the live sockets: a client that has closed one connection and
//! opens the next must not be counted twice only because the task behind the first has not run yet.
//! Never does any I/O on the connections. No time, no randomness.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::ProxyPlan;
use crate::counts::{ProxyCounts, lock};
use crate::fault::{Fault, Layer, OverCap};
use crate::socket;
use crate::switch::Faults;

/// The gate of all proxied ports.
pub(crate) struct Gate {
    state: Mutex<State>,
    plan: (Option<usize>, OverCap),
    faults: Arc<Faults>,
}

#[derive(Default)]
struct State {
    live: HashMap<u64, RawFd>,
    next: u64,
    waiting: VecDeque<(RawFd, oneshot::Sender<Pass>)>,
    counts: ProxyCounts,
}

/// A place among the live connections; given back on drop. Must be dropped before its socket is closed.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    id: u64,
}

/// What becomes of a connection.
pub(crate) enum Admission {
    Served(Pass),
    Refused,
    Reset,
    Queued(oneshot::Receiver<Pass>),
}

impl Pass {
    /// Gives the place back early, when the client has closed its side.
    pub(crate) fn release(&self) {
        let waiting = {
            let mut state = lock(&self.gate.state);
            state.live.remove(&self.id);
            !state.waiting.is_empty()
        };
        if waiting {
            self.gate.settle();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    /// Forgets the connections, served and waiting, whose client has gone.
    fn sweep(&mut self) {
        self.live.retain(|_, fd| !socket::gone(*fd));
        self.waiting.retain(|(fd, _)| !socket::gone(*fd));
    }

    fn enter(&mut self, gate: &Arc<Gate>, fd: RawFd) -> Pass {
        let id = self.next;
        self.next += 1;
        self.live.insert(id, fd);
        self.counts.peak = self.counts.peak.max(self.live.len() as u64);
        Pass { gate: Arc::clone(gate), id }
    }
}

impl Gate {
    pub(crate) fn new(plan: &ProxyPlan, faults: Arc<Faults>) -> Self {
        Gate { state: Mutex::default(), plan: (plan.cap, plan.over_cap), faults }
    }

    fn cap(&self) -> (usize, OverCap) {
        let pick = |fault: &Fault| {
            if let Fault::Cap(n, over) = fault { Some((*n, *over)) } else { None }
        };
        let fault = if self.faults.on(Layer::Proxy) { self.faults.look(None, pick) } else { None };
        fault.unwrap_or((self.plan.0.unwrap_or(usize::MAX), self.plan.1))
    }

    pub(crate) fn admit(self: &Arc<Self>, client: &TcpStream) -> Admission {
        let (cap, over) = self.cap();
        let fd = client.as_raw_fd();
        let mut state = lock(&self.state);
        state.counts.total += 1;
        if state.live.len() >= cap || state.live.len() as u64 >= state.counts.peak || !state.waiting.is_empty() {
            state.sweep();
        }
        if state.live.len() < cap && state.waiting.is_empty() {
            return Admission::Served(state.enter(self, fd));
        }
        match over {
            OverCap::Queue => {
                let (turn, waiting) = oneshot::channel();
                state.counts.queued += 1;
                state.waiting.push_back((fd, turn));
                drop(state);
                // The sweep may have made room for those who waited longer.
                self.settle();
                Admission::Queued(waiting)
            }
            OverCap::Refuse => {
                state.counts.refused += 1;
                Admission::Refused
            }
            OverCap::Reset => {
                state.counts.refused += 1;
                state.counts.reset += 1;
                Admission::Reset
            }
        }
    }

    /// Lets in who waits while there is room.
    pub(crate) fn settle(self: &Arc<Self>) {
        let (cap, _) = self.cap();
        loop {
            let mut state = lock(&self.state);
            if state.live.len() >= cap {
                return;
            }
            let Some((fd, turn)) = state.waiting.pop_front() else {
                return;
            };
            if socket::gone(fd) {
                continue;
            }
            let pass = state.enter(self, fd);
            // Outside the lock: a pass that nobody takes any more gives itself back.
            drop(state);
            drop(turn.send(pass));
        }
    }

    /// Counts a reset by a fault; `arrived` when the connection was not counted yet.
    pub(crate) fn count_reset(&self, arrived: bool) {
        let mut state = lock(&self.state);
        state.counts.reset += 1;
        state.counts.total += u64::from(arrived);
    }

    pub(crate) fn count_idle_cut(&self) {
        lock(&self.state).counts.idle_cut += 1;
    }

    pub(crate) fn counts(&self) -> ProxyCounts {
        let mut state = lock(&self.state);
        state.sweep();
        ProxyCounts { live: state.live.len() as u64, ..state.counts }
    }

    /// All counts start again; the peak from what is live.
    pub(crate) fn reset(&self) {
        let mut state = lock(&self.state);
        state.sweep();
        state.counts = ProxyCounts { peak: state.live.len() as u64, ..ProxyCounts::default() };
    }
}
