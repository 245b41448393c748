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
    /// Nothing where the body could not be read before it was sent.
    fingerprint: Option<[u8; 16]>,
    first_sent: Instant,
    /// Writes under it that have not ended.
    holders: u32,
    /// Whether one of them may have left.
    has_left: bool,
    /// Whether one of them may have been done.
    may_be_done: bool,
}

/// So many of the oldest are looked over for one to drop.
const LOOKED_OVER: usize = 64;

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
    /// Tried before, with the same body.
    Known {
        /// When it was first tried.
        first_sent: Instant,
        /// Whether one of the tries may have been done.
        is_doubtful: bool,
    },
    /// Sent before with another body.
    Mismatch,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Memory {
        Memory { known: HashMap::new(), order: VecDeque::new(), most }
    }

    /// Notes that a write is about to be sent.
    pub(crate) fn admit(&mut self, key: &Key, fingerprint: Option<[u8; 16]>, now: Instant) -> Admission {
        let key = key.half();
        if let Some(known) = self.known.get_mut(&key) {
            if let (Some(before), Some(now)) = (known.fingerprint, fingerprint)
                && before != now
            {
                return Admission::Mismatch;
            }
            // Another call that is under way may be done first.
            let is_doubtful = known.may_be_done || known.holders > 0;
            known.holders += 1;
            known.fingerprint = known.fingerprint.or(fingerprint);
            return Admission::Known { first_sent: known.first_sent, is_doubtful };
        }
        if self.most == 0 {
            return Admission::New;
        }
        if self.order.len() >= self.most {
            // One that is under way stays, if there is another among the oldest.
            let is_idle = |key: &[u8; 16]| self.known.get(key).is_none_or(|known| known.holders == 0);
            let at = self.order.iter().take(LOOKED_OVER).position(is_idle).unwrap_or(0);
            if let Some(dropped) = self.order.remove(at) {
                self.known.remove(&dropped);
            }
        }
        self.order.push_back(key);
        self.known.insert(key, Known { fingerprint, first_sent: now, holders: 1, has_left: false, may_be_done: false });
        Admission::New
    }

    /// Whether a write under this key may have been done.
    pub(crate) fn may_be_done(&self, key: &Key) -> bool {
        self.known.get(&key.half()).is_some_and(|known| known.may_be_done)
    }

    /// Notes that an admitted write has ended. Where none of those under its key has left, it is as if there had been none.
    pub(crate) fn end(&mut self, key: &Key, has_left: bool, may_be_done: bool) {
        let key = key.half();
        let Some(known) = self.known.get_mut(&key) else { return };
        known.holders = known.holders.saturating_sub(1);
        known.has_left |= has_left;
        known.may_be_done |= may_be_done;
        if known.holders == 0 && !known.has_left {
            self.known.remove(&key);
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

    const ONE: Option<[u8; 16]> = Some([1; 16]);
    const OTHER: Option<[u8; 16]> = Some([2; 16]);

    /// Tried first at this time, and perhaps done.
    fn known(first_sent: Instant) -> Admission {
        Admission::Known { first_sent, is_doubtful: true }
    }

    fn key(record: u64) -> Key {
        Scope::job("job").unwrap().key("write", record)
    }

    #[test]
    fn the_same_key_with_another_body_is_noticed_until_the_key_is_dropped() {
        let (mut memory, now) = (Memory::new(2), Instant::now());
        let later = now + Duration::from_secs(1);
        assert_eq!(memory.admit(&key(1), ONE, now), Admission::New);
        assert_eq!(memory.admit(&key(1), ONE, later), known(now));
        assert_eq!(memory.admit(&key(1), OTHER, later), Admission::Mismatch);
        assert_eq!(memory.admit(&key(1), None, later), known(now), "what can't be compared is no mismatch");
        assert_eq!(memory.admit(&key(2), OTHER, later), Admission::New);
        assert_eq!(memory.admit(&key(3), OTHER, later), Admission::New);
        assert_eq!(memory.known.len(), 2, "never more than it may");
        assert_eq!(memory.admit(&key(1), OTHER, later), Admission::New, "the oldest was dropped");
        memory.end(&key(9), true, true);
        memory.admit(&key(4), None, later);
        assert_eq!(memory.admit(&key(4), ONE, later), known(later));
        assert_eq!(memory.admit(&key(4), OTHER, later), Admission::Mismatch, "the first that can be compared counts");
    }

    #[test]
    fn what_never_left_is_not_remembered() {
        let (mut memory, now) = (Memory::new(2), Instant::now());
        memory.admit(&key(1), ONE, now);
        memory.end(&key(1), false, false);
        assert_eq!(memory.admit(&key(1), OTHER, now), Admission::New);
        assert_eq!((memory.known.len(), memory.order.len()), (1, 1));
    }

    #[test]
    fn what_left_once_stays_whatever_becomes_of_the_next_try() {
        let (mut memory, now) = (Memory::new(2), Instant::now());
        memory.admit(&key(1), ONE, now);
        memory.end(&key(1), true, true);
        memory.admit(&key(1), ONE, now);
        memory.end(&key(1), false, false);
        assert_eq!(memory.admit(&key(1), OTHER, now), Admission::Mismatch);
        // Two at once: the one that does not leave ends first.
        memory.admit(&key(2), ONE, now);
        memory.admit(&key(2), ONE, now);
        memory.end(&key(2), false, false);
        assert_eq!(memory.admit(&key(2), OTHER, now), Admission::Mismatch);
        memory.end(&key(2), true, true);
        assert_eq!(memory.admit(&key(2), OTHER, now), Admission::Mismatch);
    }

    #[test]
    fn with_room_for_none_nothing_is_remembered() {
        let mut memory = Memory::new(0);
        memory.admit(&key(1), ONE, Instant::now());
        assert!(memory.known.is_empty() && memory.order.is_empty());
    }
}
