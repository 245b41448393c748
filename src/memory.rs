//! Which bodies went out under which keys: so that a key never goes out with two, nor after its target has forgotten it.
//!
//! It owns a bounded memory of one process: 16 bytes of the key, 16 of the body's hash, and when it was first sent;
//! above the option `remembered_keys` the oldest is dropped, and with it the guard. Pure: time is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::key::Key;

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    fingerprint: [u8; 16],
    first_sent: Instant,
}

/// The memory.
#[derive(Debug)]
pub(crate) struct Memory {
    known: HashMap<[u8; 16], Known>,
    /// From the oldest to the newest.
    order: VecDeque<[u8; 16]>,
    most: usize,
}

/// What the memory says of a write that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The first under its key.
    New,
    /// Sent before, with the same body, first at this time.
    Known(Instant),
    /// Sent before with another body.
    Mismatch,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Memory {
        Memory { known: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Notes that a write is about to be sent.
    pub(crate) fn admit(&mut self, key: &Key, fingerprint: [u8; 16], now: Instant) -> Admission {
        let key = key.half();
        if let Some(known) = self.known.get(&key) {
            return match known.fingerprint == fingerprint {
                true => Admission::Known(known.first_sent),
                false => Admission::Mismatch,
            };
        }
        if self.most == 0 {
            return Admission::New;
        }
        while self.order.len() >= self.most {
            let Some(oldest) = self.order.pop_front() else { break };
            self.known.remove(&oldest);
        }
        self.order.push_back(key);
        self.known.insert(key, Known { fingerprint, first_sent: now });
        Admission::New
    }

    /// Takes back the note of a write that never left, as if it had not been tried.
    pub(crate) fn take_back(&mut self, key: &Key) {
        let key = key.half();
        if self.known.remove(&key).is_some() {
            // It is mostly the newest.
            if let Some(at) = self.order.iter().rposition(|known| *known == key) {
                self.order.remove(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::Scope;

    fn key(record: u64) -> Key {
        Scope::job("job").unwrap().key("write", record)
    }

    #[test]
    fn the_same_key_with_another_body_is_noticed_until_the_key_is_dropped() {
        let (mut memory, now) = (Memory::new(2), Instant::now());
        let later = now + Duration::from_secs(1);
        assert_eq!(memory.admit(&key(1), [1; 16], now), Admission::New);
        assert_eq!(memory.admit(&key(1), [1; 16], later), Admission::Known(now));
        assert_eq!(memory.admit(&key(1), [2; 16], later), Admission::Mismatch);
        assert_eq!(memory.admit(&key(2), [2; 16], later), Admission::New);
        assert_eq!(memory.admit(&key(3), [3; 16], later), Admission::New);
        assert_eq!(memory.known.len(), 2, "never more than it may");
        assert_eq!(memory.admit(&key(1), [2; 16], later), Admission::New, "the oldest was dropped");
    }

    #[test]
    fn with_room_for_none_nothing_is_remembered() {
        let mut memory = Memory::new(0);
        memory.admit(&key(1), [1; 16], Instant::now());
        assert!(memory.known.is_empty() && memory.order.is_empty());
    }

    #[test]
    fn what_never_left_is_not_remembered() {
        let (mut memory, now) = (Memory::new(2), Instant::now());
        memory.admit(&key(1), [1; 16], now);
        memory.take_back(&key(1));
        memory.take_back(&key(9));
        assert_eq!(memory.admit(&key(1), [2; 16], now), Admission::New);
        assert_eq!((memory.known.len(), memory.order.len()), (1, 1));
    }
}
