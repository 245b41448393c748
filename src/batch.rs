//! Many calls at once from one blocking caller.
//!
//! It owns the lanes: for each origin as many as it may have exchanges, each taking that origin's next row when
//! its last one has ended. They are driven by the caller's thread, or, where all rows share HTTP/2 connections,
//! by the runtime's, beside those: a batch crosses between the two threads, not a row. Rows keep their order in the result
//! and never fail each other; one deadline bounds them all.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Delivery, Error, Phase, Reason, Result};
use crate::exchange::Core;
use crate::request::Request;
use crate::response::Response;
use crate::site::Site;
use crate::{drive, process};

/// The rows of one origin, and how many of them have been taken.
struct Group {
    site: Arc<Site>,
    rows: Vec<usize>,
    taken: AtomicUsize,
    /// Whether its rows share connections.
    shares: bool,
    /// How many may be under way at once.
    most: usize,
    lanes: AtomicUsize,
}

impl Group {
    fn next(&self) -> Option<usize> {
        let row = self.rows.get(self.taken.load(Relaxed)).copied();
        self.taken.fetch_add(usize::from(row.is_some()), Relaxed);
        row
    }

    /// The group with rows left that has the fewest lanes, and room for one more.
    fn neediest(groups: &[Group]) -> Option<&Group> {
        let is_open =
            |group: &&Group| group.taken.load(Relaxed) < group.rows.len() && group.lanes.load(Relaxed) < group.most;
        groups.iter().filter(is_open).min_by_key(|group| group.lanes.load(Relaxed))
    }
}

/// The lanes that stand between two rows, until no other one has anything to do. A wake of one's own would have the
/// whole batch yield to the connection after every second row.
#[derive(Default)]
struct Between(Mutex<Vec<Waker>>);

impl Between {
    /// Lets the others go first.
    async fn step_back(&self) {
        let mut went = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut went, true) {
                return Poll::Ready(());
            }
            locked(&self.0).push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether there was anybody.
    fn go_on(&self) -> bool {
        let gone = std::mem::take(&mut *locked(&self.0));
        let found = !gone.is_empty();
        gone.into_iter().for_each(Waker::wake);
        found
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A row that has ended.
type Ended = (usize, Result<Response>);

/// Rows that end on the runtime's thread are handed over so many at once, or as many as there are after so long.
const HANDED_OVER: (usize, Duration) = (256, Duration::from_millis(20));

/// What has come is read in one round, what comes next is sent in another; then it is the connection's turn.
const ROUNDS: usize = 2;

/// Is told of each row that ends, in the order in which they end.
pub(crate) type Each<'a> = &'a mut dyn FnMut(usize, &Result<Response>);

impl Core {
    /// An outcome for each request, in their order, within `timeout`.
    pub(crate) fn map(self: &Arc<Self>, requests: &[Request], each: Each<'_>) -> Vec<Result<Response>> {
        self.map_until(requests, Instant::now() + self.config.timeout, each)
    }

    /// The same until then.
    pub(crate) fn map_until(
        self: &Arc<Self>,
        requests: &[Request],
        latest: Instant,
        each: Each<'_>,
    ) -> Vec<Result<Response>> {
        let mut outcomes: Vec<Option<Result<Response>>> = vec![None; requests.len()];
        let mut end = |(row, outcome): Ended| {
            each(row, &outcome);
            outcomes[row] = Some(outcome);
        };
        let mut groups = self.group(requests, |row, error| end((row, Err(error))));
        drive::block_on(self.choose(&mut groups, latest));
        let useful: usize = groups.iter().map(|group| group.most.min(group.rows.len())).sum();
        let on_each = groups.iter().map(|group| group.most / self.config.connections_per_origin()).fold(1, usize::max);
        // More lanes than connections would take them from each other, origin by origin, a dial for every row. A lane
        // stays with its origin until that one's rows are out, then goes where the fewest lanes are.
        let lanes = useful.min(self.config.connections() * on_each);
        let ended = if groups.iter().all(|group| group.shares) {
            self.map_beside_the_connections(requests, groups, lanes, latest, &mut end)
        } else {
            let end = RefCell::new(end);
            let lane = || -> Pin<Box<dyn Future<Output = ()> + '_>> {
                Box::pin(self.lane(requests, &groups, latest, |ended| end.borrow_mut()(ended), drive::give_way))
            };
            drive::drive_all((0..lanes).map(|_| lane()))
        };
        // A row without an outcome was in a lane that was cut off.
        let cut_off = |ended: &Result<()>| match ended {
            Ok(()) => unreachable!("every row was in one lane, and all have ended"),
            Err(error) => Err(error.clone()),
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| cut_off(&ended))).collect()
    }

    /// Finds out which version of HTTP the rows will be sent by. Where all targets choose HTTP/2 the rows share connections;
    /// else the caller drives them all, and shares only where it is told to.
    async fn choose(&self, groups: &mut [Group], latest: Instant) {
        let mut all_share = groups.iter().all(|group| group.site.may_share(false));
        for group in groups.iter().take(if all_share { groups.len() } else { 0 }) {
            all_share &= group.site.shares(latest).await;
        }
        for group in groups {
            group.shares = all_share || group.site.may_share(true);
            // One connection's worth is enough where it is shared: more would only crowd the target.
            group.most = if group.shares { self.config.max_streams } else { group.site.capacity(true) };
        }
    }

    /// Takes rows and runs them, one after the other, until there are none left.
    async fn lane<Gone: Future<Output = ()>>(
        &self,
        requests: &[Request],
        groups: &[Group],
        latest: Instant,
        end: impl Fn(Ended),
        give_way: impl Fn() -> Gone,
    ) {
        while let Some(group) = Group::neediest(groups) {
            group.lanes.fetch_add(1, Relaxed);
            while let Some(row) = group.next() {
                end((row, self.call_at(Some(&group.site), &requests[row], Some(latest)).await));
                // First all that have come are read, then the next ones sent: the server is woken once for many.
                give_way().await;
            }
            group.lanes.fetch_sub(1, Relaxed);
        }
    }

    /// Runs the lanes where the HTTP/2 connections are driven.
    fn map_beside_the_connections(
        self: &Arc<Self>,
        requests: &[Request],
        groups: Vec<Group>,
        lanes: usize,
        latest: Instant,
        end: &mut dyn FnMut(Ended),
    ) -> Result<()> {
        let (core, requests) = (Arc::clone(self), requests.to_vec());
        let (hand_over, mut handed_over) = mpsc::unbounded_channel::<Vec<Ended>>();
        let running = process::spawn(async move {
            let (ended, between) = (Mutex::new(Vec::new()), Between::default());
            let end = |row: Ended| locked(&ended).push(row);
            let lane = |_| core.lane(&requests, &groups, latest, &end, || between.step_back());
            let mut all: FuturesUnordered<_> = (0..lanes).map(lane).collect();
            let mut handed_over_at = Instant::now();
            poll_fn(|cx| {
                let mut rounds = 0;
                loop {
                    let polled = all.poll_next_unpin(cx);
                    let mut rows = locked(&ended);
                    // The caller is there until this ends.
                    if polled == Poll::Ready(None) {
                        let _ = hand_over.send(std::mem::take(&mut rows));
                        return Poll::Ready(());
                    }
                    if rows.len() >= HANDED_OVER.0 || (!rows.is_empty() && handed_over_at.elapsed() >= HANDED_OVER.1) {
                        let _ = hand_over.send(std::mem::take(&mut rows));
                        handed_over_at = Instant::now();
                    }
                    if polled.is_pending() {
                        // Who goes on has been woken, and this task with it.
                        rounds += 1;
                        if !between.go_on() || rounds == ROUNDS {
                            return Poll::Pending;
                        }
                    }
                }
            })
            .await;
        })?;
        drive::block_on_call(async {
            while let Some(rows) = handed_over.recv().await {
                rows.into_iter().for_each(&mut *end);
            }
            running.await.ok_or_else(|| {
                // Any of the rows without an outcome may have been under way.
                Error::new(Reason::Internal, Phase::Wait, "a batch panicked").with_delivery(Delivery::Unknown)
            })
        })
    }

    /// Sorts the rows by origin. A row that can't be sent at all has its outcome here.
    fn group(&self, requests: &[Request], mut refuse: impl FnMut(usize, Error)) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut last = 0;
        for (row, request) in requests.iter().enumerate() {
            // Rows of one origin mostly follow each other, and say so in the same words.
            if let Some(group) = groups.get_mut(last)
                && let Some(&before) = group.rows.last()
                && requests[before].is_for_the_same(request)
                && request.check().is_ok()
            {
                group.rows.push(row);
                continue;
            }
            let site = request.check().and_then(|()| self.pool.site(request.scheme(), request.authority()));
            let site = match site {
                Ok(site) => site,
                Err(error) => {
                    self.counters.requests.one();
                    self.counters.failures.one();
                    refuse(row, error);
                    continue;
                }
            };
            last = groups.iter().position(|group| Arc::ptr_eq(&group.site, &site)).unwrap_or(groups.len());
            match groups.get_mut(last) {
                Some(group) => group.rows.push(row),
                None => {
                    let (taken, lanes) = (AtomicUsize::new(0), AtomicUsize::new(0));
                    groups.push(Group { site, rows: vec![row], taken, shares: false, most: 1, lanes });
                }
            }
        }
        groups
    }
}
