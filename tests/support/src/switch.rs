//! The switchboard: which faults are on, how many hits each has left, and who is told when that changes.
//!
//! Owns: the list of active faults, under one short lock. Never does any I/O and knows no layer's meaning: a layer asks
//! with a closure that picks what it can play. A layer without an active fault pays one atomic load.
//! Time and randomness: none.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use crate::counts::lock;
use crate::fault::{Fault, Injection, Layer};

/// What one long-lived connection already feels, so that it counts as one hit and goes on feeling it.
#[derive(Debug, Default)]
pub(crate) struct Felt {
    heals: u64,
    faults: Vec<(u64, Fault)>,
}

/// Which faults are on.
#[derive(Debug)]
pub(crate) struct Faults {
    board: Mutex<Board>,
    layers: AtomicU8,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Board {
    active: Vec<(u64, Injection)>,
    next: u64,
    heals: u64,
}

impl Board {
    fn position<T>(&self, scope: Option<&str>, pick: &impl Fn(&Fault) -> Option<T>) -> Option<(usize, T)> {
        self.active.iter().enumerate().find_map(|(at, (_, injection))| {
            let covered = match (&injection.name, scope) {
                (None, _) => true,
                (Some(only), Some(scope)) => only.eq_ignore_ascii_case(scope),
                (Some(_), None) => false,
            };
            if covered { pick(&injection.fault).map(|found| (at, found)) } else { None }
        })
    }

    /// Counts one hit; true when it was the last.
    fn spend(&mut self, at: usize) -> bool {
        let Some(left) = &mut self.active[at].1.times else {
            return false;
        };
        *left -= 1;
        let last = *left == 0;
        if last {
            self.active.remove(at);
        }
        last
    }
}

impl Faults {
    pub(crate) fn new() -> Self {
        Faults { board: Mutex::default(), layers: AtomicU8::new(0), changed: watch::Sender::new(0) }
    }

    fn publish(&self, board: &Board) {
        let layers: HashSet<Layer> = board.active.iter().map(|(_, i)| i.fault.row().layer).collect();
        self.layers.store(layers.iter().fold(0, |mask, layer| mask | 1 << *layer as u8), Ordering::Release);
        self.changed.send_modify(|epoch| *epoch += 1);
    }

    /// Switches a fault on; one of the same kind and reach is replaced.
    pub(crate) fn inject(&self, injection: Injection) {
        let mut board = lock(&self.board);
        let kind = injection.fault.name();
        board.active.retain(|(_, old)| old.fault.name() != kind || old.name != injection.name);
        if injection.times != Some(0) {
            let id = board.next;
            board.next += 1;
            board.active.push((id, injection));
        }
        self.publish(&board);
    }

    pub(crate) fn heal(&self) {
        let mut board = lock(&self.board);
        board.active.clear();
        board.heals += 1;
        self.publish(&board);
    }

    pub(crate) fn active(&self) -> Vec<Injection> {
        lock(&self.board).active.iter().map(|(_, injection)| injection.clone()).collect()
    }

    /// Whether a layer has any fault on; the fast path of every layer.
    pub(crate) fn on(&self, layer: Layer) -> bool {
        self.layers.load(Ordering::Acquire) & (1 << layer as u8) != 0
    }

    /// Wakes whoever waits for a fault to come or go.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The first active fault that `pick` takes, without counting a hit.
    pub(crate) fn look<T>(&self, scope: Option<&str>, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        lock(&self.board).position(scope, &pick).map(|(_, found)| found)
    }

    /// The first active fault that `pick` takes; counts one hit.
    pub(crate) fn hit<T>(&self, layer: Layer, scope: Option<&str>, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        if !self.on(layer) {
            return None;
        }
        let mut board = lock(&self.board);
        let (at, found) = board.position(scope, &pick)?;
        if board.spend(at) {
            self.publish(&board);
        }
        Some(found)
    }

    /// As `hit`, but a connection that feels the fault already counts no second hit, and feels it until it heals.
    pub(crate) fn feel<T>(
        &self,
        felt: &mut Felt,
        scope: Option<&str>,
        pick: impl Fn(&Fault) -> Option<T>,
    ) -> Option<T> {
        let mut board = lock(&self.board);
        if felt.heals != board.heals {
            felt.heals = board.heals;
            felt.faults.clear();
        }
        let Some((at, found)) = board.position(scope, &pick) else {
            return felt.faults.iter().find_map(|(_, fault)| pick(fault));
        };
        let (id, fault) = (board.active[at].0, &board.active[at].1.fault);
        if !felt.faults.iter().any(|(known, _)| *known == id) {
            felt.faults.retain(|(_, old)| old.name() != fault.name());
            felt.faults.push((id, fault.clone()));
            if board.spend(at) {
                self.publish(&board);
            }
        }
        Some(found)
    }

    /// How often everything was healed; a connection that cuts after N bytes forgets its plan when this moves.
    pub(crate) fn heals(&self) -> u64 {
        lock(&self.board).heals
    }
}

impl Felt {
    pub(crate) fn any(&self) -> bool {
        !self.faults.is_empty()
    }
}
