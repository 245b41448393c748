//! How long a connection of one way, through a proxy or to an origin, may lie idle and still be used: [`Idle`].
//!
//! Proxies and firewalls drop what is idle for longer than they say, if they say anything. This learns from what
//! was found alive and what was found dead, and forgets with time. It closes nothing and looks at no connection.
//! Pure: time comes in as `now`; it uses no randomness.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was learned of one way. Times that are alike are one entry, so that it stays small.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    survived: BTreeMap<i32, Survival>,
    died: BTreeMap<i32, Death>,
}

#[derive(Debug)]
struct Survival {
    idle: Duration,
    at: Instant,
}

#[derive(Debug)]
struct Death {
    idle: Duration,
    at: Instant,
    /// How often a connection was alive after far longer since then.
    outlived: u32,
}

/// A restart of the far side looks the same, and a way that drops what is idle for less is of no use.
const LEAST_LEARNED: Duration = Duration::from_millis(200);
/// How alike the times of one entry are.
const ALIKE: f64 = 1.05;
/// What is kept between the limit and the longest that was survived, in 16ths: the far side counts from another moment.
const MARGIN: u32 = 1;
/// When longer idle times are tried again, and how much longer.
const FADES_AFTER: Duration = Duration::from_secs(600);
const STEP: f64 = 1.5;
/// Deaths up to this much later tell of the same cut-off: it is looked at now and then, not all the time.
const SAME_CUT_OFF: f64 = 1.5;
/// A death is refuted by so many survivals of so much longer; less is the far side's own inexactness.
const OUTLIVED_BY: f64 = 1.25;
const OUTLIVED: u32 = 3;

impl Idle {
    /// A connection was alive after being idle for so long.
    pub(crate) fn survived(&mut self, idle: Duration, now: Instant) {
        if idle < LEAST_LEARNED / 2 {
            return;
        }
        self.survived.insert(entry(idle), Survival { idle, at: now });
        self.died.retain(|_, death| {
            death.outlived += u32::from(idle > death.idle.mul_f64(OUTLIVED_BY));
            death.outlived < OUTLIVED
        });
    }

    /// A connection was found dead after being idle for so long: the cut-off is there or below.
    pub(crate) fn died(&mut self, idle: Duration, now: Instant) {
        if idle < LEAST_LEARNED {
            return;
        }
        // What was survived before this connection fell idle may have been under another cut-off.
        if let Some(fell_idle) = now.checked_sub(idle) {
            self.survived.retain(|_, survival| survival.at >= fell_idle);
        }
        let least = self.died.get(&entry(idle)).map_or(idle, |death| death.idle.min(idle));
        self.died.insert(entry(idle), Death { idle: least, at: now, outlived: 0 });
    }

    /// How long a connection may be idle to be used again. To learn of longer times, report whether a connection is
    /// still alive before closing it for this.
    pub(crate) fn limit(&self, now: Instant) -> Duration {
        self.died.values().map(|death| self.limit_below(death.idle, now)).min().unwrap_or(Duration::MAX)
    }

    fn limit_below(&self, dead: Duration, now: Instant) -> Duration {
        let survivals = self.survived.values().map(|survival| survival.idle);
        let learned = match survivals.filter(|&idle| idle < dead).max() {
            Some(longest) => longest / 16 * (16 - MARGIN),
            None => dead / 2,
        };
        let same = self.died.values().filter(|death| death.idle >= dead && death.idle <= dead.mul_f64(SAME_CUT_OFF));
        let age = same.map(|death| now.saturating_duration_since(death.at)).min().unwrap_or_default();
        let steps = (age.as_secs() / FADES_AFTER.as_secs()).min(100) as i32;
        Duration::try_from_secs_f64(learned.as_secs_f64() * STEP.powi(steps)).unwrap_or(Duration::MAX)
    }
}

fn entry(idle: Duration) -> i32 {
    idle.as_secs_f64().log(ALIKE) as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A pool behind something that drops what is idle for too long, in steps of 100 ms.
    struct Scene {
        idle: Idle,
        now: Instant,
        cut_off: Duration,
        /// Since when each connection is idle, the latest last.
        pool: Vec<Instant>,
        next_request: Instant,
        mean_interval: f64,
        random: fastrand::Rng,
        met_dead: u32,
        reused: u32,
    }

    impl Scene {
        fn new(cut_off: Duration, seed: u64) -> Scene {
            let now = Instant::now();
            let mean_interval = if cut_off > MINUTE { 20.0 } else { cut_off.as_secs_f64() / 2.0 };
            let random = fastrand::Rng::with_seed(seed);
            let (idle, pool) = (Idle::default(), Vec::new());
            Scene { idle, now, cut_off, pool, next_request: now, mean_interval, random, met_dead: 0, reused: 0 }
        }

        fn run(&mut self, time: Duration) {
            for step in 0..time.as_millis() / 100 {
                self.now += SECOND / 10;
                if self.now >= self.next_request {
                    // Some at once, so that the pool holds connections of every age.
                    let at_once = self.random.usize(1..5);
                    let taken: Vec<_> = (0..at_once).map(|_| self.pool.pop()).collect();
                    taken.into_iter().flatten().for_each(|since| self.reuse(since));
                    self.pool.extend(vec![self.now; at_once]);
                    let interval = self.random.f64() * 2.0 * self.mean_interval * self.random.f64();
                    self.next_request = self.now + Duration::from_secs_f64(interval);
                }
                if step % 10 == 0 {
                    self.look();
                }
            }
        }

        fn reuse(&mut self, since: Instant) {
            let idle = self.now - since;
            if idle <= self.idle.limit(self.now) {
                self.reused += 1;
                self.met_dead += u32::from(idle >= self.cut_off);
                self.report(idle);
            }
        }

        fn report(&mut self, idle: Duration) {
            match idle < self.cut_off {
                true => self.idle.survived(idle, self.now),
                false => self.idle.died(idle, self.now),
            }
        }

        /// Looks whether each idle connection is alive, then closes the dead and those over the limit.
        fn look(&mut self) {
            let now = self.now;
            self.pool.clone().into_iter().for_each(|since| self.report(now - since));
            let limit = self.idle.limit(now).min(self.cut_off);
            self.pool.retain(|&since| now - since < limit);
        }

        fn run_until_something_died(&mut self) {
            while self.idle.died.is_empty() {
                self.run(SECOND);
            }
        }

        fn restart(&mut self) {
            let now = self.now;
            self.pool.drain(..).for_each(|since| self.idle.died(now - since, now));
        }
    }

    #[test]
    fn after_the_first_death_no_request_meets_a_dead_connection_for_ten_minutes() {
        for (cut_off, seed) in [5, 30, 60].into_iter().flat_map(|cut_off| (0..20).map(move |seed| (cut_off, seed))) {
            let cut_off = Duration::from_secs(cut_off);
            let mut scene = Scene::new(cut_off, seed);
            scene.run_until_something_died();
            (scene.met_dead, scene.reused) = (0, 0);
            scene.run(10 * MINUTE - SECOND);
            assert_eq!(scene.met_dead, 0, "{cut_off:?}, seed {seed}");
            assert!(scene.reused > 20, "{cut_off:?}, seed {seed}: {}", scene.reused);
            let limit = scene.idle.limit(scene.now);
            assert!(limit > cut_off * 7 / 10 && limit < cut_off, "{cut_off:?}, seed {seed}: {limit:?}");
        }
    }

    #[test]
    fn a_cut_off_that_is_lifted_is_forgotten_in_twenty_minutes_and_one_that_stays_is_not() {
        for (cut_off, seed) in [5, 30, 60].into_iter().flat_map(|cut_off| (0..10).map(move |seed| (cut_off, seed))) {
            let cut_off = Duration::from_secs(cut_off);
            let mut scene = Scene::new(cut_off, seed);
            scene.run_until_something_died();
            scene.met_dead = 0;
            scene.run(60 * MINUTE);
            assert!(scene.met_dead <= 6, "{cut_off:?}, seed {seed}: one step in ten minutes met {}", scene.met_dead);

            scene.cut_off = Duration::MAX;
            scene.run(20 * MINUTE);
            let limit = scene.idle.limit(scene.now);
            assert!(limit > 2 * cut_off, "{cut_off:?}, seed {seed}: {limit:?}");
        }
    }

    #[test]
    fn a_restart_lowers_the_limit_for_a_while() {
        for (cut_off, seed) in [30, 10_000].into_iter().flat_map(|cut_off| (0..10).map(move |seed| (cut_off, seed))) {
            let cut_off = Duration::from_secs(cut_off);
            let mut scene = Scene::new(cut_off, seed);
            scene.run(5 * MINUTE);
            scene.restart();
            scene.run(20 * MINUTE);
            let limit = scene.idle.limit(scene.now);
            assert!(limit > cut_off.min(MINUTE) * 3 / 4, "{cut_off:?}, seed {seed}: {limit:?}");
        }
    }

    #[test]
    fn what_dies_young_teaches_nothing_and_without_survivors_half_is_safe() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        idle.died(LEAST_LEARNED - Duration::from_millis(1), now);
        assert_eq!(idle.limit(now), Duration::MAX);
        idle.died(10 * SECOND, now);
        assert_eq!(idle.limit(now), 5 * SECOND);
        assert_eq!(idle.limit(now + FADES_AFTER), Duration::from_millis(7500));
        idle.survived(8 * SECOND, now);
        assert_eq!(idle.limit(now), Duration::from_millis(7500));
        (0..3).for_each(|_| idle.survived(12 * SECOND, now));
        assert!(idle.limit(now) < 10 * SECOND, "too little longer to refute it");
        (0..3).for_each(|_| idle.survived(13 * SECOND, now));
        assert_eq!(idle.limit(now), Duration::MAX);
    }

    proptest! {
        #[test]
        fn the_limit_stays_below_what_just_died(
            events in prop::collection::vec((any::<bool>(), 0..200_000_u64, 0..400_000_u64), 0..200),
        ) {
            let (mut idle, mut now) = (Idle::default(), Instant::now());
            for (alive, millis, later) in events {
                now += Duration::from_millis(later);
                let time = Duration::from_millis(millis);
                match alive {
                    true => idle.survived(time, now),
                    false => idle.died(time, now),
                }
                let limit = idle.limit(now);
                prop_assert!(limit > Duration::ZERO && (alive || time < LEAST_LEARNED || limit < time));
                prop_assert!(idle.survived.len() + idle.died.len() < 500);
            }
        }
    }
}
