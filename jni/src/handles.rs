//! What Java holds of ours: numbers, never pointers.
//!
//! It owns the two tables behind those numbers: [`Handles`] for what is looked up at every call (clients), and
//! [`Slots`] for what is fetched once. A number that is no longer in the table is an ordinary answer, so a use after
//! close, a second close and a close that races a call are all harmless. Nothing here waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};

use arc_swap::ArcSwap;

/// The next number of any table: none is given twice, so that a number of one table means nothing in another.
fn next() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Many look-ups, few changes: a look-up takes no lock.
pub(crate) struct Handles<T: 'static>(LazyLock<ArcSwap<HashMap<i64, T>>>);

impl<T: Clone + Send + Sync> Handles<T> {
    pub(crate) const fn new() -> Handles<T> {
        Handles(LazyLock::new(ArcSwap::default))
    }

    pub(crate) fn insert(&self, value: T) -> i64 {
        let handle = next();
        self.0.rcu(|table| {
            let mut table = HashMap::clone(table);
            table.insert(handle, value.clone());
            table
        });
        handle
    }

    pub(crate) fn find(&self, handle: i64) -> Option<T> {
        self.0.load().get(&handle).cloned()
    }

    /// Takes it out; of several who do so at once, one gets it.
    pub(crate) fn remove(&self, handle: i64) -> Option<T> {
        let before = self.0.rcu(|table| {
            let mut table = HashMap::clone(table);
            table.remove(&handle);
            table
        });
        before.get(&handle).cloned()
    }
}

/// What is put in once and taken out once.
pub(crate) struct Slots<T: 'static>(LazyLock<Mutex<HashMap<i64, T>>>);

impl<T: Send> Slots<T> {
    pub(crate) const fn new() -> Slots<T> {
        Slots(LazyLock::new(Mutex::default))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<i64, T>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn insert(&self, value: T) -> i64 {
        let slot = next();
        self.table().insert(slot, value);
        slot
    }

    /// Puts in what `make` makes for the number: who takes it out while it is made waits for that.
    pub(crate) fn insert_with<E>(&self, make: impl FnOnce(i64) -> Result<T, E>) -> Result<i64, E> {
        let slot = next();
        let mut table = self.table();
        table.insert(slot, make(slot)?);
        Ok(slot)
    }

    pub(crate) fn take(&self, slot: i64) -> Option<T> {
        self.table().remove(&slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_handle_is_good_until_it_is_removed_and_then_never_again() {
        static HANDLES: Handles<Arc<str>> = Handles::new();
        let (one, other) = (HANDLES.insert("one".into()), HANDLES.insert("other".into()));
        assert_eq!(HANDLES.find(one).as_deref(), Some("one"));
        assert_eq!(HANDLES.remove(one).as_deref(), Some("one"));
        assert_eq!((HANDLES.find(one), HANDLES.remove(one), HANDLES.find(0)), (None, None, None));
        assert_eq!(HANDLES.find(other).as_deref(), Some("other"));
    }

    #[test]
    fn of_many_who_remove_a_handle_one_gets_it() {
        static HANDLES: Handles<()> = Handles::new();
        for _ in 0..200 {
            let handle = HANDLES.insert(());
            let got = || usize::from(HANDLES.remove(handle).is_some());
            let total: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(got)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(total, 1);
        }
    }

    #[test]
    fn a_slot_is_emptied_by_the_first_who_takes_it() {
        static SLOTS: Slots<u8> = Slots::new();
        let slot = SLOTS.insert(7);
        assert_eq!((SLOTS.take(slot), SLOTS.take(slot)), (Some(7), None));
    }
}
