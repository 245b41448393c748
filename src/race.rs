//! Which address is dialled when: happy eyeballs (RFC 8305), also among addresses of one family.
//!
//! Pure: [`Race`] is told the time and what ended, and says what to do next. The sockets are dialled in
//! `connect`. An address that answers late never delays the next by more than the stagger.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dial this address, then ask again.
    Dial(IpAddr),
    /// Wait for a dial to end, or until then, whichever is first.
    Wait(Option<Instant>),
    /// Every address was tried and every dial has ended.
    Exhausted,
}

/// The plan for the addresses of one host.
pub(crate) struct Race {
    waiting: VecDeque<IpAddr>,
    running: Vec<IpAddr>,
    stagger: Duration,
    /// When the next address may start although none has ended.
    next_at: Option<Instant>,
}

impl Race {
    pub(crate) fn new(addresses: impl IntoIterator<Item = IpAddr>, stagger: Duration) -> Race {
        Race { waiting: addresses.into_iter().collect(), running: Vec::new(), stagger, next_at: None }
    }

    /// The next step at `now`.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let may_start = self.running.is_empty() || self.next_at.is_none_or(|at| at <= now);
        match self.waiting.front() {
            Some(&address) if may_start => {
                self.waiting.pop_front();
                self.running.push(address);
                self.next_at = Some(now + self.stagger);
                Step::Dial(address)
            }
            Some(_) => Step::Wait(self.next_at),
            None if self.running.is_empty() => Step::Exhausted,
            None => Step::Wait(None),
        }
    }

    /// A dial has failed: the next address need not wait.
    pub(crate) fn failed(&mut self, address: IpAddr) {
        self.running.retain(|&running| running != address);
        self.next_at = None;
    }

    /// The time is over. What is still running has not answered; what never ran says nothing.
    pub(crate) fn given_up(&mut self) -> Vec<IpAddr> {
        self.waiting.clear();
        std::mem::take(&mut self.running)
    }

    /// A dial has succeeded. What is still running had a head start of at least the stagger and lost it: it counts
    /// as dead.
    pub(crate) fn won(&mut self, address: IpAddr) -> Vec<IpAddr> {
        self.running.retain(|&running| running != address);
        std::mem::take(&mut self.running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGGER: Duration = Duration::from_millis(250);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_silent_address_delays_the_next_by_the_stagger() {
        let start = Instant::now();
        let mut race = Race::new([address(1), address(2)], STAGGER);
        assert_eq!(race.step(start), Step::Dial(address(1)));
        assert_eq!(race.step(start), Step::Wait(Some(start + STAGGER)));
        assert_eq!(race.step(start + STAGGER), Step::Dial(address(2)));
        assert_eq!(race.step(start + STAGGER), Step::Wait(None));
        assert_eq!(race.won(address(2)), [address(1)]);
    }

    #[test]
    fn a_refusal_starts_the_next_at_once() {
        let start = Instant::now();
        let mut race = Race::new([address(1), address(2)], STAGGER);
        assert_eq!(race.step(start), Step::Dial(address(1)));
        race.failed(address(1));
        assert_eq!(race.step(start), Step::Dial(address(2)));
        race.failed(address(2));
        assert_eq!(race.step(start), Step::Exhausted);
    }

    #[test]
    fn every_address_is_dialled_once_whatever_happens() {
        for outcomes in 0..16_u32 {
            let mut now = Instant::now();
            let mut race = Race::new((1..=4).map(address), STAGGER);
            let mut dialled = Vec::new();
            loop {
                match race.step(now) {
                    Step::Dial(address) => {
                        dialled.push(address);
                        if outcomes & (1 << (dialled.len() - 1)) != 0 {
                            race.failed(address);
                        }
                    }
                    Step::Wait(Some(at)) => now = at,
                    Step::Wait(None) => race.running.clone().into_iter().for_each(|address| race.failed(address)),
                    Step::Exhausted => break,
                }
            }
            assert_eq!(dialled, (1..=4).map(address).collect::<Vec<_>>());
        }
    }
}
