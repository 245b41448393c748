//! What conditional writes are done to: named things that are put there whole, at once, and by one of many.
//!
//! Owns: the bytes and fields of objects, documents and rows, and how many writes to each are under way. Decides no
//! status and no header. Time: the system clock, for when a thing was put. Randomness: none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;

use crate::counts::lock;

/// Which kind of thing a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Object,
    Document,
    Row,
}

/// A thing on the shelf.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) bytes: Bytes,
    /// The fields that are kept with it.
    pub(crate) fields: HeaderMap,
    pub(crate) put: SystemTime,
}

type Name = (Kind, String);

/// All things.
#[derive(Default)]
pub(crate) struct Shelf {
    items: Mutex<HashMap<Name, Item>>,
    busy: Arc<Mutex<HashMap<Name, u64>>>,
}

/// A write under way; over when dropped.
pub(crate) struct UnderWay {
    busy: Arc<Mutex<HashMap<Name, u64>>>,
    name: Name,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.busy).entry(self.name.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Shelf {
    pub(crate) fn clear(&self) {
        lock(&self.items).clear();
    }

    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<Item> {
        lock(&self.items).get(&(kind, name.to_owned())).cloned()
    }

    /// Puts a thing where none is; false, and nothing has changed, where one is.
    pub(crate) fn create(&self, kind: Kind, name: &str, item: Item) -> bool {
        match lock(&self.items).entry((kind, name.to_owned())) {
            Entry::Vacant(place) => {
                place.insert(item);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Puts a thing in any case.
    pub(crate) fn put(&self, kind: Kind, name: &str, item: Item) {
        lock(&self.items).insert((kind, name.to_owned()), item);
    }

    pub(crate) fn remove(&self, kind: Kind, name: &str) {
        lock(&self.items).remove(&(kind, name.to_owned()));
    }

    /// Notes a write that begins, and tells whether another was under way.
    pub(crate) fn start(&self, kind: Kind, name: &str) -> (UnderWay, bool) {
        let name = (kind, name.to_owned());
        let mut busy = lock(&self.busy);
        let count = busy.entry(name.clone()).or_default();
        *count += 1;
        (UnderWay { busy: Arc::clone(&self.busy), name }, *count > 1)
    }
}

impl Item {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Item { bytes, fields: HeaderMap::new(), put: SystemTime::now() }
    }
}
