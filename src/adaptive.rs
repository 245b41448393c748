//! How many connections or requests in flight are wanted at once, learned from refusals: [`Adaptive`].
//!
//! Thousands of processes share a proxy that none of them can ask for its capacity. Each lowers its limit by a
//! factor when it is refused and raises it by one at a time while it is fully used (AIMD), so they come to
//! share what there is. It never counts what is in use, never waits and dials nothing. Pure: time comes in as
//! `now`; it uses no randomness.

use std::time::{Duration, Instant};

/// The limit of one origin, or of a client in total: between 1 and its cap.
#[derive(Debug)]
pub(crate) struct Adaptive {
    cap: usize,
    /// With the fraction of the next step.
    limit: f64,
    last_fall: Option<Fall>,
    /// How long the level of the last fall is left alone.
    hold: Duration,
    /// Whether the limit rose since the last fall.
    rose: bool,
    /// Since when every accept has been slow.
    slow_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Fall {
    at: Instant,
    /// How many in use were too many.
    level: usize,
}

/// What is left after a refusal. Half would cost much of a small share; eight tenths fall too slowly to a halved cap.
const REFUSED: f64 = 0.7;
/// What is left when queues grow: nothing failed yet.
const QUEUED: f64 = 0.9;
/// What was in flight at the time of a fall has ended by then; only then is the way back up to the level open.
const RECOVERY: Duration = Duration::from_secs(1);
/// A level that is punished time after time is left alone for twice as long each time, up to this for each one in use:
/// 3 s to 30 s. Who has much knocks seldom and who has little often, which evens the shares out.
const HOLD_EACH: Duration = Duration::from_millis(500);
const MIN_HELD: usize = 6;
const MAX_HELD: usize = 60;
/// The proxy of some minutes ago had other load.
const FORGOTTEN: Duration = Duration::from_secs(180);
/// A queue is real when every accept of a whole window is slow, in relation and in absolute time.
const WINDOW: Duration = Duration::from_secs(1);
const SLOW_TIMES: u32 = 10;
const SLOW_LEAST: Duration = Duration::from_millis(200);

impl Adaptive {
    pub(crate) fn new(cap: usize) -> Adaptive {
        let cap = cap.max(1);
        Adaptive { cap, limit: cap as f64, last_fall: None, hold: RECOVERY, rose: false, slow_since: None }
    }

    /// How many may be in use at once.
    pub(crate) fn limit(&self) -> usize {
        (self.limit as usize).clamp(1, self.cap)
    }

    /// An attempt begun at `begun` found no capacity: a refusal, a reset on accept, a 429 or 503. `in_use` counts it.
    ///
    /// What was begun before the last fall was part of the same overshoot and says nothing new.
    pub(crate) fn refused(&mut self, begun: Instant, now: Instant, in_use: usize) {
        if self.last_fall.is_none_or(|fall| begun > fall.at) {
            self.fall(now, self.limit().min(in_use).max(1), REFUSED);
        }
    }

    /// An attempt came through. `in_use` counts it.
    pub(crate) fn succeeded(&mut self, now: Instant, in_use: usize) {
        if in_use < self.limit() || self.limit() >= self.cap {
            return;
        }
        let raised = self.limit + 1.0 / self.limit;
        if let Some(Fall { at, level }) = self.last_fall {
            let elapsed = now.saturating_duration_since(at);
            // Once the hold is over, the steps beyond the level double every second: small shares are not grabbed at
            // once, and a restored cap is reached soon.
            let above = elapsed.checked_sub(self.hold).map_or(0.0, |tried| tried.as_secs_f64().exp2());
            if elapsed < RECOVERY || raised >= level as f64 + above {
                return;
            }
        }
        self.limit = raised.min(self.cap as f64);
        self.rose = true;
    }

    /// A fresh connection's first byte, or its accept, took `wait`; `least` is the least that was seen of late.
    pub(crate) fn queued(&mut self, now: Instant, wait: Duration, least: Duration) {
        if wait <= SLOW_LEAST.max(least.saturating_mul(SLOW_TIMES)) {
            self.slow_since = None;
            return;
        }
        let since = *self.slow_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= WINDOW {
            self.fall(now, self.limit(), QUEUED);
            // The queue of this window is answered; the next fall takes another.
            self.slow_since = Some(now);
        }
    }

    fn fall(&mut self, now: Instant, level: usize, factor: f64) {
        self.hold = match self.last_fall {
            Some(last) if now.saturating_duration_since(last.at) >= FORGOTTEN => RECOVERY,
            // Another level by far is another capacity.
            Some(last) if level / 2 >= last.level || last.level / 2 >= level => RECOVERY,
            Some(_) if self.rose => (2 * self.hold).min(HOLD_EACH * level.clamp(MIN_HELD, MAX_HELD) as u32),
            _ => self.hold,
        };
        self.limit = (level as f64 * factor).max(1.0);
        self.last_fall = Some(Fall { at: now, level });
        self.rose = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A proxy of some capacity and the clients that share it, millisecond by millisecond.
    struct Scene {
        base: Instant,
        millis: u64,
        capacity: usize,
        active: usize,
        clients: Vec<Client>,
        random: fastrand::Rng,
    }

    struct Client {
        adaptive: Adaptive,
        /// Begin, end, and whether the proxy took it.
        in_use: Vec<(u64, u64, bool)>,
        dials_from: u64,
        served: u64,
        refused: u64,
    }

    impl Scene {
        fn new(clients: usize, capacity: usize, seed: u64) -> Scene {
            let client = |_| Client {
                adaptive: Adaptive::new(capacity),
                in_use: Vec::new(),
                dials_from: 0,
                served: 0,
                refused: 0,
            };
            let clients = (0..clients).map(client).collect();
            let random = fastrand::Rng::with_seed(seed);
            Scene { base: Instant::now(), millis: 0, capacity, active: 0, clients, random }
        }

        /// Lets every client send as much as it may; gives back what each was served, and how much was refused in all.
        fn run(&mut self, seconds: u64) -> (Vec<u64>, u64) {
            self.clients.iter_mut().for_each(|client| (client.served, client.refused) = (0, 0));
            for _ in 0..seconds * 1000 {
                self.millis += 1;
                (0..self.clients.len()).for_each(|index| self.end(index));
                let first = self.random.usize(..self.clients.len());
                (0..self.clients.len()).for_each(|turn| self.dial((first + turn) % self.clients.len()));
            }
            (self.clients.iter().map(|c| c.served).collect(), self.clients.iter().map(|c| c.refused).sum())
        }

        fn end(&mut self, index: usize) {
            let (client, millis) = (&mut self.clients[index], self.millis);
            let at = |millis| self.base + Duration::from_millis(millis);
            while let Some(ended) = client.in_use.iter().position(|&(_, end, _)| end <= millis) {
                let in_use = client.in_use.len();
                let (begun, _, taken) = client.in_use.swap_remove(ended);
                if taken {
                    self.active -= 1;
                    client.served += 1;
                    client.adaptive.succeeded(at(millis), in_use);
                } else {
                    client.refused += 1;
                    client.dials_from = millis + self.random.u64(..50);
                    client.adaptive.refused(at(begun), at(millis), in_use);
                }
            }
        }

        fn dial(&mut self, index: usize) {
            let (client, millis) = (&mut self.clients[index], self.millis);
            while client.in_use.len() < client.adaptive.limit() && client.dials_from <= millis {
                let taken = self.active < self.capacity;
                self.active += usize::from(taken);
                let end = millis + if taken { self.random.u64(20..80) } else { 5 };
                client.in_use.push((millis, end, taken));
            }
        }

        /// What the proxy can serve in this time, at 50 ms each.
        fn possible(&self, seconds: u64) -> f64 {
            (self.capacity as u64 * seconds * 1000) as f64 / 49.5
        }
    }

    #[test]
    fn clients_settle_below_a_halved_cap_share_it_and_come_back_when_it_is_restored() {
        for (clients, capacity, seed) in [(1, 64, 1), (2, 64, 2), (8, 64, 3), (8, 64, 4), (8, 256, 5), (32, 256, 6)] {
            let scene_is = format!("{clients} clients, {capacity} places");
            let mut scene = Scene::new(clients, capacity, seed);
            scene.run(30);
            scene.capacity = capacity / 2;
            let (early, refused_early) = scene.run(5);
            let (late, refused_late) = scene.run(55);
            let served = (early.iter().sum::<u64>() + late.iter().sum::<u64>()) as f64;
            let refused = (refused_early + refused_late) as f64;
            assert!(refused <= 0.01 * served, "{scene_is}: {refused} of {served} were refused");
            // A knock now and then: every ten seconds by a client alone, every second or two by each of many.
            let knocks = if clients == 1 { 5 } else { 40 * clients as u64 };
            assert!(refused_late <= knocks, "{scene_is}: {refused_late} were refused after 5 s");
            assert!(served >= 0.9 * scene.possible(60), "{scene_is}: {served} of {}", scene.possible(60));
            if clients <= 8 {
                assert!(late.iter().max().unwrap() < &(3 * late.iter().min().unwrap()), "{scene_is}: shares {late:?}");
            }

            scene.capacity = capacity;
            scene.run(50);
            let back = scene.run(10).0.iter().sum::<u64>() as f64;
            assert!(back >= 0.9 * scene.possible(10), "{scene_is}: back to {back} of {}", scene.possible(10));
        }
    }

    #[test]
    fn a_burst_of_refusals_by_one_overshoot_counts_once() {
        let (mut adaptive, base) = (Adaptive::new(100), Instant::now());
        let after = |millis| base + Duration::from_millis(millis);
        (0..50).for_each(|n| adaptive.refused(base, after(10 + n), 100));
        assert_eq!(adaptive.limit(), 70);
        adaptive.refused(after(11), after(70), 40);
        assert_eq!(adaptive.limit(), 28);
    }

    #[test]
    fn a_lonely_connection_that_is_refused_leaves_one_and_it_grows_back() {
        let (mut adaptive, base) = (Adaptive::new(8), Instant::now());
        adaptive.refused(base, base, 1);
        assert_eq!(adaptive.limit(), 1);
        let after = |millis| base + Duration::from_millis(millis);
        (0..1000).for_each(|millis| adaptive.succeeded(after(millis), 1));
        assert_eq!(adaptive.limit(), 1, "held for a second");
        (1000..20_000).step_by(50).for_each(|millis| adaptive.succeeded(after(millis), 0));
        assert_eq!(adaptive.limit(), 1, "what is not used does not grow");
        (20_000..30_000).step_by(50).for_each(|millis| adaptive.succeeded(after(millis), adaptive.limit()));
        assert_eq!(adaptive.limit(), 8);
    }

    #[test]
    fn only_a_queue_that_lasts_lowers_the_limit_and_mildly() {
        let (mut adaptive, base) = (Adaptive::new(100), Instant::now());
        let mut limit_after = |from: u64, to: u64, wait, least| {
            for millis in (from..=to).step_by(100) {
                let now = base + Duration::from_millis(millis);
                adaptive.queued(now, Duration::from_millis(wait), Duration::from_millis(least));
            }
            adaptive.limit()
        };
        assert_eq!(limit_after(0, 5000, 200, 1), 100, "not slow enough to matter");
        assert_eq!(limit_after(5100, 10_000, 900, 100), 100, "slow is what it is there");
        assert_eq!(limit_after(10_100, 11_000, 900, 10), 100, "no whole window yet");
        assert_eq!(limit_after(11_100, 11_900, 900, 10), 90);
        assert_eq!(limit_after(12_000, 12_100, 900, 10), 81);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_the_cap(
            cap in prop_oneof![0..20_usize, Just(usize::MAX)],
            events in prop::collection::vec((0..3_u8, 0..100_000_u64, 0..3000_u64, any::<usize>()), 0..300),
        ) {
            let (mut adaptive, mut now) = (Adaptive::new(cap), Instant::now());
            for (event, later, wait, in_use) in events {
                let (begun, wait) = (now, Duration::from_millis(wait));
                now += Duration::from_millis(later * later / 100_000);
                match event {
                    0 => adaptive.refused(begun, now, in_use % 30),
                    1 => adaptive.queued(now, wait, Duration::from_millis(1)),
                    _ => (0..30).for_each(|_| adaptive.succeeded(now, in_use)),
                }
                prop_assert!((1..=cap.max(1)).contains(&adaptive.limit()));
            }
        }
    }
}
