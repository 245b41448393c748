//! The promise: of all executions of a write, one has it done, at a target that knows nothing of keys; and where
//! nobody can tell, that is what is said.
//!
//! The protocol itself is explored by `tests/model`. Here it runs: over a store in memory that loses answers where
//! it is told to, and over the box's object store, with the box's sink as the target.

mod common;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::writes::{effects, key, spoil, writer};
use common::{BOUNDED, PATIENCE, everything_said, http, network};
use pinlink::{
    Attempt, Client, Created, Entry, Error, Failure, Found, HttpStore, Ledger, Outcome, Profile, Reason, Request,
    Settled, Store, Takeover, Write,
};
use pinlink_box::{Fault, Injection, Network};

/// A store in memory. Records have no age there: claims are watched on the observer's own clock.
#[derive(Default)]
struct Memory {
    records: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What comes of the next creations, where it is not what should.
    troubles: Mutex<Vec<Trouble>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    AnswerLost,
    NotCreated,
    Refused,
}

impl Memory {
    fn meets(troubles: impl Into<Vec<Trouble>>) -> Memory {
        let mut troubles = troubles.into();
        troubles.reverse();
        Memory { troubles: Mutex::new(troubles), ..Memory::default() }
    }

    /// The last part of each name.
    fn names(&self) -> Vec<String> {
        let last = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        self.records.lock().unwrap().keys().map(last).collect()
    }
}

impl Store for Memory {
    fn create(&self, name: &str, record: &[u8], _: Duration) -> Result<Created, Failure> {
        let trouble = self.troubles.lock().unwrap().pop().unwrap_or(Trouble::None);
        match trouble {
            Trouble::NotCreated => return Ok(Created::Unsure),
            Trouble::Refused => return Err("no access".into()),
            Trouble::None | Trouble::AnswerLost => {}
        }
        let mut records = self.records.lock().unwrap();
        if records.contains_key(name) {
            return Ok(Created::Before);
        }
        records.insert(name.to_owned(), record.to_vec());
        Ok(if trouble == Trouble::AnswerLost { Created::Unsure } else { Created::Now })
    }

    fn read(&self, name: &str, _: Duration) -> Result<Option<Found>, Failure> {
        let records = self.records.lock().unwrap();
        Ok(records.get(name).map(|record| Found { record: record.clone(), age: None }))
    }
}

/// Claims that are soon dead.
fn ledger<S: Store>(store: S) -> Ledger<S> {
    Ledger::new(store).lease(Duration::from_millis(200)).margin(Duration::from_millis(50))
}

/// A target that counts, and knows nothing of keys.
#[derive(Default)]
struct Target(AtomicU32);

impl Target {
    fn write(&self) -> Attempt<u32, Failure> {
        Attempt::Applied(self.0.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn effects(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

fn entry<S: Store>(ledger: &Ledger<S>) -> Entry<'_, S> {
    ledger.entry(&key(1), b"content")
}

/// An execution that dies in its write, having had its effect or not.
fn die<S: Store>(ledger: &Ledger<S>, target: &Target, has_effect: bool) {
    let death = catch_unwind(AssertUnwindSafe(|| {
        entry(ledger).once(|_| -> Attempt<u32, Failure> {
            if has_effect {
                target.write();
            }
            std::panic::panic_any("killed");
        })
    }));
    assert!(death.is_err());
}

#[track_caller]
fn refused<T>(settled: Result<Settled<T>, Error>, reason: Reason, outcome: Outcome) -> Error {
    let Err(error) = settled else { panic!("expected {}", reason.as_str()) };
    assert_eq!((error.reason(), error.outcome()), (reason, outcome), "{error}");
    assert!(!everything_said(&error).contains(&key(1).hex()), "{error}");
    error
}

#[test]
fn the_first_execution_writes_and_every_later_one_finds_it_done() {
    let (ledger, target) = (ledger(Memory::default()), Target::default());
    let first = entry(&ledger).once(|_| target.write()).unwrap();
    assert_eq!((first.outcome(), first.is_confirmed(), first.into_value()), (Outcome::Applied, true, Some(1)));
    for _ in 0..3 {
        let later = entry(&ledger).once(|_| target.write()).unwrap();
        assert_eq!((later.outcome(), later.into_value()), (Outcome::AlreadyApplied, None));
    }
    assert_eq!((target.effects(), ledger.store().names()), (1, vec!["claim-0".to_owned(), "done".to_owned()]));
}

#[test]
fn w4_twins_behind_a_barrier_have_one_effect_and_all_see_it() {
    const TWINS: usize = 8;
    let (ledger, target) = (Ledger::new(Memory::default()), Target::default());
    for record in 0..50 {
        let barrier = Barrier::new(TWINS);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let twin = || {
                barrier.wait();
                ledger.entry(&key(record), b"content").once(|_| target.write()).unwrap().outcome()
            };
            let twins: Vec<_> = (0..TWINS).map(|_| scope.spawn(twin)).collect();
            twins.into_iter().map(|twin| twin.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 1);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied | Outcome::AlreadyApplied)));
    }
    assert_eq!(target.effects(), 50);
}

#[test]
fn w2_after_a_death_in_the_write_nobody_writes_unless_somebody_can_tell() {
    for has_effect in [false, true] {
        let (ledger, target) = (ledger(Memory::default()), Target::default());
        die(&ledger, &target, has_effect);
        for _ in 0..2 {
            let error = refused(entry(&ledger).once(|_| target.write()), Reason::WriteOutcomeUnknown, Outcome::Unknown);
            assert!(error.to_string().contains("said no more"), "{error}");
        }
        assert_eq!(target.effects(), u32::from(has_effect));

        let told = entry(&ledger).verify(|| Some(target.effects() > 0)).once(|_| target.write()).unwrap();
        let expected = if has_effect { Outcome::AlreadyApplied } else { Outcome::Applied };
        assert_eq!((told.outcome(), target.effects()), (expected, 1));
        assert_eq!(entry(&ledger).once(|_| target.write()).unwrap().outcome(), Outcome::AlreadyApplied);
    }
}

#[test]
fn w2_what_follows_a_death_is_the_caller_s_choice() {
    for (takeover, effects) in [(Takeover::Stop, 1), (Takeover::Repeat, 2), (Takeover::Conditional, 2)] {
        let (ledger, target) = (ledger(Memory::default()).takeover(takeover), Target::default());
        die(&ledger, &target, true);
        // The read can't tell, or there is none.
        let settled = entry(&ledger).verify(|| None).once(|_| target.write());
        assert_eq!((settled.is_ok(), target.effects()), (effects == 2, effects), "{takeover:?}");
    }
}

#[test]
fn w6_another_content_under_the_same_key_is_a_mismatch_while_it_is_written_and_after() {
    let (ledger, target) = (Ledger::new(Memory::default()), Target::default());
    let other =
        || refused(ledger.entry(&key(1), b"other").once(|_| target.write()), Reason::WriteMismatch, Outcome::Rejected);
    let written = entry(&ledger).once(|_| {
        other();
        target.write()
    });
    assert_eq!(written.unwrap().outcome(), Outcome::Applied);
    other();
    assert_eq!(target.effects(), 1);
}

#[test]
fn w5_who_finds_a_claim_alive_waits_for_it_and_no_longer_than_it_may() {
    let (ledger, target) = (Ledger::new(Memory::default()), Target::default());
    let (begin, begun) = mpsc::channel();
    let (go_on, held) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let (begin, held) = (begin, held);
            entry(&ledger).once(|_| {
                begin.send(()).unwrap();
                held.recv_timeout(PATIENCE).unwrap();
                target.write()
            })
        });
        begun.recv_timeout(PATIENCE).unwrap();
        let begun = Instant::now();
        let impatient = entry(&ledger).timeout(Duration::from_millis(150)).once(|_| target.write());
        let error = refused(impatient, Reason::WriteOutcomeUnknown, Outcome::Unknown);
        assert!(begun.elapsed() < BOUNDED && error.to_string().contains("holds the claim"), "{error}");
        let patient = scope.spawn(|| entry(&ledger).once(|_| target.write()));
        go_on.send(()).unwrap();
        assert_eq!(holder.join().unwrap().unwrap().outcome(), Outcome::Applied);
        assert_eq!(patient.join().unwrap().unwrap().outcome(), Outcome::AlreadyApplied);
    });
    assert_eq!(target.effects(), 1);
}

#[test]
fn a_write_that_surely_had_no_effect_gives_its_turn_back_at_once() {
    let (ledger, target) = (Ledger::new(Memory::default()), Target::default());
    let begun = Instant::now();
    let rejected = entry(&ledger).once(|_| Attempt::<u32, _>::Rejected(Failure::from("no such account")));
    let error = refused(rejected, Reason::WriteRejected, Outcome::Rejected);
    assert!(everything_said(&error).contains("no such account"));
    assert_eq!(entry(&ledger).once(|_| target.write()).unwrap().outcome(), Outcome::Applied);
    assert!(begun.elapsed() < BOUNDED, "nobody waits for the lease of a turn that was given back");
    assert_eq!(ledger.store().names(), ["claim-0", "claim-1", "done", "void-0"]);
}

#[test]
fn w1_a_claim_whose_answer_is_lost_is_told_by_reading_it() {
    use Trouble::{AnswerLost, None, NotCreated};
    for troubles in [&[AnswerLost][..], &[NotCreated], &[NotCreated, AnswerLost], &[None, AnswerLost]] {
        let (ledger, target) = (Ledger::new(Memory::meets(troubles)), Target::default());
        let settled = entry(&ledger).once(|_| target.write()).unwrap();
        assert_eq!((settled.outcome(), settled.is_confirmed()), (Outcome::Applied, true), "{troubles:?}");
        assert_eq!((target.effects(), ledger.store().names().len()), (1, 2), "{troubles:?}");
    }
}

#[test]
fn w1_a_write_whose_answer_is_lost_is_unknown_unless_a_read_finds_it() {
    let lost = |target: &Target| {
        target.write();
        Attempt::<u32, Failure>::Unknown("the connection was reset".into())
    };
    let (found, target) = (ledger(Memory::default()), Target::default());
    let settled = entry(&found).verify(|| Some(target.effects() > 0)).once(|_| lost(&target)).unwrap();
    assert_eq!((settled.outcome(), settled.into_value()), (Outcome::Applied, None));
    assert_eq!(entry(&found).once(|_| target.write()).unwrap().outcome(), Outcome::AlreadyApplied);

    for reads in [None, Some(false)] {
        let (ledger, target) = (ledger(Memory::default()), Target::default());
        let unsettled = entry(&ledger).verify(|| reads).once(|_| lost(&target));
        let error = refused(unsettled, Reason::WriteOutcomeUnknown, Outcome::Unknown);
        assert!(everything_said(&error).contains("reset"));
        assert_eq!((target.effects(), ledger.store().names()), (1, vec!["claim-0".to_owned()]));
    }
}

#[test]
fn a_store_that_fails_before_the_write_prevents_it_and_after_it_is_told() {
    let target = Target::default();
    let closed = Ledger::new(Memory::meets([Trouble::Refused]));
    let error = refused(entry(&closed).once(|_| target.write()), Reason::WriteLedger, Outcome::Rejected);
    assert!(everything_said(&error).contains("no access"));
    let foreign = Memory::default();
    foreign.records.lock().unwrap().insert(format!("{}/claim-0", key(1).hex()), b"something else".to_vec());
    refused(entry(&Ledger::new(foreign)).once(|_| target.write()), Reason::WriteLedger, Outcome::Rejected);
    assert_eq!(target.effects(), 0);

    let half = Ledger::new(Memory::meets([Trouble::None, Trouble::Refused]));
    let settled = entry(&half).once(|_| target.write()).unwrap();
    assert_eq!((settled.outcome(), settled.is_confirmed(), target.effects()), (Outcome::Applied, false, 1));
}

#[test]
fn a_lease_or_a_time_that_makes_no_sense_is_refused_before_anything_is_claimed() {
    let target = Target::default();
    let ledger = |lease, margin| Ledger::new(Memory::default()).lease(lease).margin(margin);
    let second = Duration::from_secs(1);
    for (lease, margin, timeout) in [
        (Duration::ZERO, second, second),
        (Duration::MAX, second, second),
        (second, Duration::MAX, second),
        (second, second, Duration::ZERO),
        (second, second, Duration::MAX),
    ] {
        let ledger = ledger(lease, margin);
        let settled = entry(&ledger).timeout(timeout).once(|_| target.write());
        refused(settled, Reason::ConfigInput, Outcome::Rejected);
        assert!(ledger.store().names().is_empty());
    }
    assert_eq!(target.effects(), 0);
}

/// A ledger in the box's object store, in a folder of its own.
fn over_http(network: &Network, client: &Client, folder: &str, profile: &Profile) -> Ledger<HttpStore> {
    let base = http(network, &format!("/oss/ledger/{folder}/"));
    let signed = |request: Request| request.header("authorization", "signed");
    Ledger::new(HttpStore::new(client.clone(), &base, profile).unwrap().signed(signed))
}

/// A POST to the sink, without a key.
fn post(network: &Network, client: &Client, record: &str, left: Duration) -> Attempt<pinlink::Written, Error> {
    let request = Request::post(&http(network, &format!("/sink/{record}"))).body("berlin").timeout(left);
    client.write(&Write::keyless(request).unkeyed()).into()
}

#[test]
fn w4_twins_over_an_object_store_have_one_effect_whatever_its_condition_is_called() {
    const TWINS: usize = 4;
    let network = network();
    let client = writer(&network);
    for (folder, profile) in [("oss", Profile::oss()), ("s3", Profile::s3()), ("any", Profile::if_none_match())] {
        let ledger = over_http(&network, &client, folder, &profile);
        let barrier = Barrier::new(TWINS);
        let mut outcomes: Vec<_> = thread::scope(|scope| {
            let twin = || {
                barrier.wait();
                let written = ledger.entry(&key(1), b"berlin").once(|left| post(&network, &client, folder, left));
                written.unwrap().outcome()
            };
            let twins: Vec<_> = (0..TWINS).map(|_| scope.spawn(twin)).collect();
            twins.into_iter().map(|twin| twin.join().unwrap()).collect()
        });
        outcomes.sort_by_key(|outcome| *outcome != Outcome::Applied);
        assert_eq!(outcomes[..2], [Outcome::Applied, Outcome::AlreadyApplied], "{folder}");
        assert_eq!(effects(&network, folder), (1, 1), "{folder}");
    }
}

#[test]
fn w2_the_age_of_a_dead_claim_is_told_by_the_store_s_own_clock() {
    let network = network();
    let client = writer(&network);
    let ledger = over_http(&network, &client, "dead", &Profile::oss())
        .lease(Duration::from_millis(100))
        .margin(Duration::from_secs(1));
    let death = catch_unwind(AssertUnwindSafe(|| {
        ledger.entry(&key(1), b"berlin").once(|_| -> Attempt<(), Failure> { std::panic::panic_any("killed") })
    }));
    assert!(death.is_err());
    let told = ledger.entry(&key(1), b"berlin").verify(|| Some(effects(&network, "dead").1 > 0));
    let begun = Instant::now();
    let settled = told.once(|left| post(&network, &client, "dead", left)).unwrap();
    assert_eq!((settled.outcome(), effects(&network, "dead")), (Outcome::Applied, (1, 1)));
    assert!(begun.elapsed() < BOUNDED);
}

#[test]
fn w1_a_claim_that_the_store_took_without_an_answer_is_the_claimant_s_own() {
    let network = network();
    let client = writer(&network);
    for (number, fault) in [Fault::ApplyThenDie, Fault::ApplyThenReset, Fault::ApplyThen500, Fault::SinkResetInBody]
        .into_iter()
        .enumerate()
    {
        let (folder, key) = (format!("lost-{number}"), key(1));
        let ledger = over_http(&network, &client, &folder, &Profile::oss());
        spoil(&network, fault.clone(), &format!("ledger/{folder}/{}/claim-0", key.hex()), 1);
        let settled = ledger.entry(&key, b"berlin").once(|left| post(&network, &client, &folder, left)).unwrap();
        assert_eq!((settled.outcome(), settled.is_confirmed()), (Outcome::Applied, true), "{fault:?}");
        assert_eq!(effects(&network, &folder), (1, 1), "{fault:?}");
    }
}

#[test]
fn w1_w4_in_chaos_no_record_has_two_effects_and_none_is_said_to_be_done_that_is_not() {
    const RECORDS: u32 = 40;
    let network = network();
    let client = writer(&network);
    let ledger = over_http(&network, &client, "chaos", &Profile::oss()).lease(Duration::from_secs(2));
    network.inject_injection(Injection { fault: Fault::WriteChaos(5, 25), times: None, name: None });
    let execute = || -> Vec<Result<Outcome, Error>> {
        let write = |record: u32| {
            let entry = ledger.entry(&key(record), b"berlin").timeout(Duration::from_secs(3));
            let settled =
                entry.once(|left| post(&network, &client, &format!("r{record}"), left.min(Duration::from_millis(300))));
            settled.map(|settled| settled.outcome())
        };
        (0..RECORDS).map(write).collect()
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let twins = [scope.spawn(execute), scope.spawn(execute)];
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    });
    let mut known = 0;
    for record in 0..RECORDS {
        let (sent, had) = effects(&network, &format!("r{record}"));
        assert!(sent <= 1 && had <= 1, "record {record} was sent {sent} times");
        for told in outcomes.iter().map(|twin| &twin[record as usize]) {
            match told {
                Ok(outcome) => {
                    assert!(matches!(outcome, Outcome::Applied | Outcome::AlreadyApplied));
                    assert_eq!(had, 1, "record {record} is said to be done");
                    known += 1;
                }
                Err(error) => assert!(
                    error.outcome() == Outcome::Unknown || had == 0 || error.reason() == Reason::WriteLedger,
                    "record {record}: {error}"
                ),
            }
        }
    }
    assert!(known > RECORDS, "{known} of {} were told", 2 * RECORDS);
}

#[test]
fn a_store_s_profile_is_one_of_a_conditional_put() {
    let network = network();
    let client = writer(&network);
    let store = |base: &str, profile: &Profile| HttpStore::new(client.clone(), base, profile).map(drop);
    let base = http(&network, "/oss/b/");
    store(&base, &Profile::s3()).unwrap();
    for (base, profile) in [
        (&*base, Profile::idempotency_key()),
        (&base[..base.len() - 1], Profile::oss()),
        (&format!("{base}?x=/"), Profile::oss()),
        ("nowhere/", Profile::oss()),
    ] {
        assert_eq!(store(base, &profile).unwrap_err().reason(), Reason::ConfigInput, "{base}");
    }
}
