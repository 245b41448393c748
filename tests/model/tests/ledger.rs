//! The ledger's protocol, explored: every interleaving of claimants, of their crashes, of lost answers and of time.
//!
//! What is explored is `src/ledger.rs` itself, included below, not a description of it. The world around it is small:
//! a store, a target, a clock of whole seconds, and claimants that begin at any moment (so that a re-executed node is
//! simply another one). Answers may be lost, and a message whose answer was lost may arrive later. Nobody is ever
//! made to take its next step, and a claimant that takes none any more is a dead one: so deaths at every point are
//! among the interleavings, and need no action of their own but where time would wait for a write. The exploration is
//! exhaustive within the bounds of [`Ledger`], breadth first, so that a counterexample is a shortest one.
#![expect(clippy::print_stdout, reason = "how much was explored is what a reader wants to see")]

#[path = "../../../src/ledger.rs"]
#[allow(dead_code, unreachable_pub, reason = "the shell's part of it is not used here")]
mod ledger;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ledger::{Claimant, Effect, End, Name, Observation, Record, Step, Takeover, Terms};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// What time is counted from. Every instant of an exploration is this and some whole seconds.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

const WRITE: u64 = 1;

fn at(now: u64) -> Instant {
    *BEGINNING + Duration::from_secs(now)
}

/// What is explored.
#[derive(Clone, Debug)]
struct Ledger {
    claimants: usize,
    takeover: Takeover,
    verifies: bool,
    /// A write may have its effect after its time: a pause between the check and the send, or a message that lingers.
    pauses: bool,
    /// The store tells the age of what is read: exactly, or up to a second too much.
    has_ages: bool,
    lease: u64,
    margin: u64,
    /// How many seconds there are.
    seconds: u64,
    /// How many turns there are.
    turns: u32,
    /// When the claimants' time is up.
    deadline: u64,
    /// So many answers or messages may be lost.
    losses: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    store: BTreeMap<Name, (Record, u64)>,
    effects: u8,
    claimants: Vec<Process>,
    /// What was sent by those who don't wait for it any more.
    under_way: Vec<Message>,
    losses: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Process {
    Running(Claimant),
    /// It looked at the clock and decided on this, and nothing of it has happened yet.
    Sending(Claimant, Step),
    /// The answer is on its way: what it says was so when it happened.
    Hearing(Claimant, Observation),
    Dead,
    Ended(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Create(Name, Record),
    Write { until: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// A claimant looks at the clock and decides; what needs no clock happens at once.
    Decide(usize),
    /// The same, and the store's clock says up to a second too much.
    DecideCoarsely(usize),
    /// What it decided on happens, and is answered.
    Happen(usize),
    /// The answer comes.
    Hear(usize),
    /// No answer comes, and the message is late: by nothing (then it is the answer that was lost), by much, or for
    /// ever.
    Lose(usize),
    /// The write surely did not leave.
    Refuse(usize),
    /// It dies before it sends the write, so that time need not wait for that.
    Die(usize),
    /// A late message arrives.
    Arrive(usize),
    /// A late write never will, and time need not wait for it.
    Vanish(usize),
    Tick,
}

impl Ledger {
    fn new(takeover: Takeover) -> Ledger {
        Ledger {
            claimants: 2,
            takeover,
            verifies: false,
            pauses: false,
            has_ages: true,
            lease: 2,
            margin: 1,
            seconds: 4,
            turns: 2,
            deadline: 100,
            losses: 1,
        }
    }

    /// A claimant that has not begun.
    fn process(&self, number: usize) -> Process {
        let (takeover, verifies) = (self.takeover, self.verifies);
        let [lease, margin, write, pause] = [self.lease, self.margin, WRITE, 0].map(Duration::from_secs);
        let terms = Terms { lease, margin, write, first_pause: pause, last_pause: pause, takeover, verifies };
        Process::Running(Claimant::new(terms, number as u128, [7; 32], at(self.deadline)))
    }

    /// An answer comes. One that tells of a claim may take its time, and that matters.
    fn answer(world: &World, mut claimant: Claimant, seen: Observation) -> Process {
        if matches!(seen, Observation::Created | Observation::Found(Record::Claim(_), _)) {
            return Process::Hearing(claimant, seen);
        }
        claimant.observe(seen, at(world.now), 1.0);
        Process::Running(claimant)
    }

    fn hear(world: &mut World, number: usize) -> Option<()> {
        let Process::Hearing(mut claimant, seen) = world.claimants[number].clone() else { return None };
        claimant.observe(seen, at(world.now), 1.0);
        world.claimants[number] = Process::Running(claimant);
        Some(())
    }

    /// What a step does to the world, and what is seen of it.
    fn happen(&self, world: &mut World, step: Step, coarse: u64) -> Observation {
        match step {
            Step::Create(name, _) if world.store.contains_key(&name) => Observation::Exists,
            Step::Create(name, record) => {
                // Only a claim's age is looked at: the others' would only make more states.
                let since = if matches!(name, Name::Claim(_)) { world.now } else { 0 };
                world.store.insert(name, (record, since));
                Observation::Created
            }
            Step::Read(name) => match world.store.get(&name) {
                Some((record, since)) => {
                    let age = self.has_ages.then(|| Duration::from_secs(world.now.saturating_sub(*since) + coarse));
                    Observation::Found(*record, age)
                }
                None => Observation::Missing,
            },
            Step::Verify => Observation::Verified(Some(world.effects > 0)),
            Step::Write { .. } => {
                let most = if self.takeover == Takeover::Conditional { 1 } else { u8::MAX };
                world.effects = world.effects.saturating_add(1).min(most);
                Observation::Wrote(Effect::Had)
            }
            Step::Wait { .. } | Step::End(_) => unreachable!("nothing happens"),
        }
    }

    fn decide(&self, world: &mut World, number: usize, coarse: u64) -> Option<()> {
        // They differ in nothing but their nonces, so that one order of beginning stands for all.
        if number > 0 && world.claimants[number - 1] == self.process(number - 1) {
            return None;
        }
        let Process::Running(mut claimant) = world.claimants[number].clone() else { return None };
        let step = claimant.next(at(world.now));
        world.claimants[number] = match step {
            Step::Wait { .. } => return None,
            Step::End(end) => Process::Ended(end),
            // From the look at the clock to the arrival time passes, and it matters.
            Step::Write { .. } | Step::Create(Name::Claim(_), _) if coarse == 0 => Process::Sending(claimant, step),
            // Only a claim's age is looked at.
            step if coarse == 0 || matches!(step, Step::Read(Name::Claim(_))) => {
                let seen = self.happen(world, step, coarse);
                Ledger::answer(world, claimant, seen)
            }
            _ => return None,
        };
        Some(())
    }

    /// One message is dealt with: what is seen of it, and what remains under way.
    fn send(&self, world: &mut World, number: usize, fate: Action) -> Option<()> {
        let Process::Sending(claimant, step) = world.claimants[number].clone() else { return None };
        let (message, doubt) = match step {
            Step::Create(name, record) => (Message::Create(name, record), Observation::Unsure),
            Step::Write { until } => (Message::Write { until }, Observation::Wrote(Effect::Unknown)),
            _ => unreachable!("nothing else is sent"),
        };
        let seen = match fate {
            Action::Happen(_) => self.happen(world, step, 0),
            Action::Lose(_) => {
                world.losses = world.losses.checked_sub(1)?;
                world.under_way.push(message);
                doubt
            }
            Action::Refuse(_) => match step {
                Step::Write { .. } => Observation::Wrote(Effect::HadNone),
                _ => return None,
            },
            _ => return None,
        };
        world.claimants[number] = Ledger::answer(world, claimant, seen);
        Some(())
    }

    /// Writes keep to their time unless pauses are explored.
    fn may_tick(&self, world: &World) -> bool {
        let is_due = |until: Instant| !self.pauses && until <= at(world.now);
        let sending = world.claimants.iter().any(|process| match process {
            Process::Sending(_, Step::Write { until }) => is_due(*until),
            _ => false,
        });
        let under_way = world.under_way.iter().any(|message| match message {
            Message::Write { until } => is_due(*until),
            Message::Create(..) => false,
        });
        let is_running = |process: &Process| !matches!(process, Process::Dead | Process::Ended(_));
        // Before anything happens and after everything has, time is nothing to anybody.
        let matters = world.claimants.iter().any(|process| matches!(process, Process::Sending(..)))
            || (!world.store.is_empty() || !world.under_way.is_empty()) && world.claimants.iter().any(is_running);
        world.now < self.seconds && matters && !sending && !under_way
    }

    /// Explores all of it, says how much that was, and returns the shortest ways to what was found.
    fn explore(self, what: &str) -> Found {
        self.explore_until(what, HasDiscoveries::All)
    }

    /// Explores until something that always holds does not.
    fn find(self, what: &str) -> Found {
        self.explore_until(what, HasDiscoveries::AnyFailures)
    }

    fn explore_until(self, what: &str, enough: HasDiscoveries) -> Found {
        let checker = self.checker().threads(2).finish_when(enough).spawn_bfs().join();
        println!(
            "{what}: {} states of {} reached, {} steps deep",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth()
        );
        Found(checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect())
    }
}

/// Ways to what was found, by the property's name: counterexamples of what always holds, examples of what sometimes
/// does.
struct Found(BTreeMap<&'static str, Vec<Action>>);

impl Found {
    fn holds(&self, always: &str) -> bool {
        !self.0.contains_key(always)
    }

    /// Everything else that always holds does, and so does this.
    fn is_safe(&self) {
        for always in ALWAYS {
            assert!(self.holds(always), "{always}: {:?}", self.0[always]);
        }
    }

    fn happens(&self, sometimes: &str) -> bool {
        self.0.contains_key(sometimes)
    }
}

const ONE_EFFECT: &str = "at most one effect";
const CONFIRMED: &str = "what is confirmed has happened";
const REPORTED: &str = "what is reported as done has happened";
const DENIED: &str = "what all report as not done has not happened";
const ALWAYS: [&str; 4] = [ONE_EFFECT, CONFIRMED, REPORTED, DENIED];
const DONE: &str = "done";
const TAKEN_OVER: &str = "done by the second turn";
const ABANDONED: &str = "given up since a holder died";

impl Model for Ledger {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            now: 0,
            store: BTreeMap::new(),
            effects: 0,
            claimants: (0..self.claimants).map(|number| self.process(number)).collect(),
            under_way: Vec::new(),
            losses: self.losses,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (number, process) in world.claimants.iter().enumerate() {
            match process {
                Process::Running(_) if self.has_ages => {
                    actions.extend([Action::Decide(number), Action::DecideCoarsely(number)]);
                }
                Process::Running(_) => actions.push(Action::Decide(number)),
                Process::Sending(_, step) => {
                    actions.extend([Action::Happen(number), Action::Lose(number)]);
                    if matches!(step, Step::Write { .. }) {
                        actions.extend([Action::Refuse(number), Action::Die(number)]);
                    }
                }
                Process::Hearing(..) => actions.push(Action::Hear(number)),
                Process::Dead | Process::Ended(_) => {}
            }
        }
        for (number, message) in world.under_way.iter().enumerate() {
            actions.push(Action::Arrive(number));
            if matches!(message, Message::Write { .. }) {
                actions.push(Action::Vanish(number));
            }
        }
        actions.push(Action::Tick);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Decide(number) => self.decide(&mut world, number, 0)?,
            Action::DecideCoarsely(number) => self.decide(&mut world, number, 1)?,
            Action::Happen(number) | Action::Lose(number) | Action::Refuse(number) => {
                self.send(&mut world, number, action)?;
            }
            Action::Hear(number) => Ledger::hear(&mut world, number)?,
            Action::Die(number) => world.claimants[number] = Process::Dead,
            Action::Arrive(number) => {
                let step = match world.under_way.remove(number) {
                    Message::Create(name, record) => Step::Create(name, record),
                    Message::Write { until } => Step::Write { until },
                };
                self.happen(&mut world, step, 0);
            }
            Action::Vanish(number) => {
                world.under_way.remove(number);
            }
            Action::Tick if self.may_tick(&world) => world.now += 1,
            Action::Tick => return None,
        }
        Some(world)
    }

    fn within_boundary(&self, world: &World) -> bool {
        !world.store.contains_key(&Name::Claim(self.turns))
    }

    fn properties(&self) -> Vec<Property<Ledger>> {
        fn any(world: &World, end: impl Fn(End) -> bool) -> bool {
            world.claimants.iter().any(|process| matches!(process, Process::Ended(how) if end(*how)))
        }
        vec![
            Property::always(ONE_EFFECT, |_: &Ledger, world: &World| world.effects <= 1),
            Property::always(CONFIRMED, |_: &Ledger, world: &World| {
                !world.store.contains_key(&Name::Done) || world.effects > 0
            }),
            Property::always(REPORTED, |_: &Ledger, world: &World| {
                world.effects > 0 || !any(world, |end| matches!(end, End::Applied { .. } | End::AlreadyApplied))
            }),
            Property::always(DENIED, |_: &Ledger, world: &World| {
                let denies = |process: &Process| matches!(process, Process::Ended(End::NotWritten | End::NoTime));
                world.effects == 0 || !world.claimants.iter().all(denies)
            }),
            Property::sometimes(DONE, |_: &Ledger, world: &World| world.store.contains_key(&Name::Done)),
            Property::sometimes(TAKEN_OVER, |_: &Ledger, world: &World| {
                world.store.contains_key(&Name::Done) && world.store.contains_key(&Name::Claim(1))
            }),
            Property::sometimes(ABANDONED, |_: &Ledger, world: &World| any(world, |end| end == End::Abandoned)),
        ]
    }
}

#[test]
fn a_conditional_target_sees_one_effect_whatever_dies_pauses_or_is_lost() {
    let found = Ledger { pauses: true, ..Ledger::new(Takeover::Conditional) }.explore("conditional, pauses");
    found.is_safe();
    assert!(found.happens(DONE) && found.happens(TAKEN_OVER));
}

#[test]
fn without_a_verdict_nobody_writes_in_doubt_so_there_is_one_effect_even_through_pauses() {
    let found = Ledger { pauses: true, ..Ledger::new(Takeover::Stop) }.explore("stop, pauses");
    found.is_safe();
    // What was given back is taken over; what may have been written is not.
    assert!(found.happens(DONE) && found.happens(TAKEN_OVER) && found.happens(ABANDONED));
}

#[test]
fn with_verify_there_is_one_effect_while_writes_keep_to_their_time() {
    for (has_ages, what) in [(true, "verify, the store tells ages"), (false, "verify, by one's own watch")] {
        let found = Ledger { verifies: true, has_ages, ..Ledger::new(Takeover::Stop) }.explore(what);
        found.is_safe();
        assert!(found.happens(DONE) && found.happens(TAKEN_OVER));
    }
}

#[test]
#[ignore = "two million states take minutes (make soak-writes)"]
fn three_claimants_with_verify_have_one_effect() {
    let ledger = Ledger {
        claimants: 3,
        lease: 1,
        has_ages: false,
        losses: 0,
        seconds: 3,
        verifies: true,
        ..Ledger::new(Takeover::Stop)
    };
    ledger.explore("verify, three claimants").is_safe();
}

#[test]
fn claimants_whose_time_is_up_leave_nothing_twice() {
    for (takeover, deadline) in [(Takeover::Stop, 1), (Takeover::Stop, 3), (Takeover::Conditional, 3)] {
        let ledger = Ledger { verifies: true, deadline, ..Ledger::new(takeover) };
        ledger.explore(&format!("{takeover:?}, verify, deadline {deadline}")).is_safe();
    }
}

/// The one window: a holder is paused between its last look at the clock and its send, until after its lease.
#[test]
fn with_verify_a_write_that_is_late_beyond_its_lease_is_the_one_window() {
    let ledger = Ledger { verifies: true, pauses: true, losses: 0, ..Ledger::new(Takeover::Stop) };
    let found = ledger.find("verify, pauses");
    let Some(way) = found.0.get(ONE_EFFECT) else { panic!("no way into the window was found") };
    println!("the window: {way:?}");
    // Nothing needs to be lost for it, and nobody to die: time alone does it.
    let ticks = way.iter().filter(|action| **action == Action::Tick).count() as u64;
    assert!(ticks > 2, "{way:?}");
    assert!(way.iter().all(|action| {
        matches!(
            action,
            Action::Decide(_) | Action::DecideCoarsely(_) | Action::Happen(_) | Action::Hear(_) | Action::Tick
        )
    }));
    assert!([CONFIRMED, REPORTED, DENIED].iter().all(|always| found.holds(always)));
}

/// The explorer sees what it should: each promise that the protocol does not make is broken within reach.
#[test]
fn what_is_not_promised_is_found_broken() {
    let repeated = Ledger::new(Takeover::Repeat).find("repeat");
    assert!(!repeated.holds(ONE_EFFECT), "a second effect was accepted, and there is none");
    let hasty = Ledger { verifies: true, margin: 0, ..Ledger::new(Takeover::Stop) };
    assert!(!hasty.find("verify, no margin for a coarse clock").holds(ONE_EFFECT));
}
