//! Many calls at once from one blocking caller.
//!
//! It owns the lanes: for each origin as many as it may have connections, each taking that origin's next
//! row when its last one has ended, all driven by the caller's thread. Rows keep their order in the result
//! and never fail each other; one deadline bounds them all.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use crate::drive;
use crate::error::{Error, Result};
use crate::exchange::Core;
use crate::request::Request;
use crate::response::Response;
use crate::site::Site;

/// The rows of one origin, and how many of them have been taken.
struct Group {
    site: Arc<Site>,
    rows: Vec<usize>,
    taken: Cell<usize>,
    /// How many may be under way at once.
    most: usize,
    lanes: Cell<usize>,
}

impl Group {
    fn next(&self) -> Option<usize> {
        let row = self.rows.get(self.taken.get()).copied();
        self.taken.set(self.taken.get() + usize::from(row.is_some()));
        row
    }

    /// The group with rows left that has the fewest lanes, and room for one more.
    fn neediest(groups: &[Group]) -> Option<&Group> {
        let open = groups.iter().filter(|group| group.taken.get() < group.rows.len() && group.lanes.get() < group.most);
        open.min_by_key(|group| group.lanes.get())
    }
}

/// Is told of each row that ends, in the order in which they end.
pub(crate) type Each<'a> = &'a mut dyn FnMut(usize, &Result<Response>);

impl Core {
    /// An outcome for each request, in their order.
    pub(crate) fn map(&self, requests: &[Request], each: Each<'_>) -> Result<Vec<Result<Response>>> {
        let latest = Instant::now() + self.config.timeout;
        let outcomes: RefCell<Vec<Option<Result<Response>>>> = RefCell::new(vec![None; requests.len()]);
        let each = RefCell::new(each);
        let groups = self.group(requests, |row, error| {
            let outcome = Err(error);
            each.borrow_mut()(row, &outcome);
            outcomes.borrow_mut()[row] = Some(outcome);
        });
        let useful: usize = groups.iter().map(|group| group.most.min(group.rows.len())).sum();
        let on_each = groups.iter().map(|group| group.most / self.config.connections_per_origin()).max().unwrap_or(1);
        // More lanes than connections would take them from each other, origin by origin, a dial for every row. A lane
        // stays with its origin until that one's rows are out, then goes where the fewest lanes are.
        let lanes = (0..useful.min(self.config.connections() * on_each)).map(|_| {
            let (outcomes, each, groups) = (&outcomes, &each, &groups);
            let lane: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async move {
                while let Some(group) = Group::neediest(groups) {
                    group.lanes.set(group.lanes.get() + 1);
                    while let Some(row) = group.next() {
                        let outcome = self.call(&requests[row], Some(latest)).await;
                        each.borrow_mut()(row, &outcome);
                        outcomes.borrow_mut()[row] = Some(outcome);
                        // First all that have come are read, then the next ones sent: the server is woken once for many.
                        drive::give_way().await;
                    }
                    group.lanes.set(group.lanes.get() - 1);
                }
            });
            lane
        });
        drive::drive_all(lanes)?;
        Ok(outcomes.into_inner().into_iter().map(|outcome| outcome.expect("every row was in one lane")).collect())
    }

    /// Sorts the rows by origin. A row that can't be sent at all has its outcome here.
    fn group(&self, requests: &[Request], mut refuse: impl FnMut(usize, Error)) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut last = 0;
        for (row, request) in requests.iter().enumerate() {
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
            // Rows of one origin mostly follow each other.
            if groups.get(last).is_none_or(|group| !Arc::ptr_eq(&group.site, &site)) {
                last = groups.iter().position(|group| Arc::ptr_eq(&group.site, &site)).unwrap_or(groups.len());
            }
            match groups.get_mut(last) {
                Some(group) => group.rows.push(row),
                None => {
                    let most = site.capacity(true);
                    groups.push(Group { site, rows: vec![row], taken: Cell::new(0), most, lanes: Cell::new(0) });
                }
            }
        }
        groups
    }
}
