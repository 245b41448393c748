//! What a request carries: bytes at hand, a file, or what a reader or a stream brings.
//!
//! It owns the question whether a body can be sent a second time; `upload` reads it. No I/O but opening a
//! file, no clock.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_core::Stream;

/// A body that comes piece by piece.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A request's body.
#[derive(Clone)]
pub(crate) enum Content {
    Whole(Bytes),
    /// So many bytes of a file, from its beginning; read by position, so that it can be read again.
    File(Arc<File>, u64),
    /// What can be read once; clones of a request share it.
    Once(Arc<Once>),
}

/// A source that is empty after it has been read.
pub(crate) struct Once {
    length: Option<u64>,
    source: Mutex<Option<Source>>,
}

pub(crate) enum Source {
    Reader(Box<dyn Read + Send>),
    Stream(Pieces),
}

impl Content {
    pub(crate) fn file(path: &Path) -> io::Result<Content> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Content::File(Arc::new(file), length))
    }

    pub(crate) fn once(source: Source, length: Option<u64>) -> Content {
        Content::Once(Arc::new(Once { length, source: Mutex::new(Some(source)) }))
    }

    /// How long it is, where that is known before it is read.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::File(_, length) => Some(*length),
            Content::Once(once) => once.length,
        }
    }

    /// All of it, where it lies in memory.
    pub(crate) fn at_once(&self) -> Option<&Bytes> {
        match self {
            Content::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it can be sent now: what can be read once may have been.
    pub(crate) fn is_at_hand(&self) -> bool {
        match self {
            Content::Whole(_) | Content::File(..) => true,
            Content::Once(once) => once.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).is_some(),
        }
    }
}

impl Once {
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn take(&self) -> Option<Source> {
        self.source.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}
