//! Answers that are read while they come.
//!
//! It owns the readers that Java holds by number. One is read by one thread at a time; closing it while it is read ends
//! it when that read has ended.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use pinlink::Reader;

use crate::answer::{Failure, pack_fields, pack_opened};
use crate::handles::Handles;
use crate::packet::Packing;

/// An answer that is being read.
struct Opened {
    reader: Reader,
    /// What has come and was not asked for yet.
    piece: Bytes,
}

static READERS: Handles<Arc<Mutex<Opened>>> = Handles::new();

/// Keeps a reader, and packs its number, the length of its body (-1 where it is not known), and its head.
pub(crate) fn keep(reader: Reader) -> Vec<u8> {
    let mut head = Vec::new();
    pack_opened(&reader, &mut head);
    let length = reader.length().and_then(|length| i64::try_from(length).ok()).unwrap_or(-1);
    let mut packet = Vec::new();
    packet.put_long(READERS.insert(Arc::new(Mutex::new(Opened { reader, piece: Bytes::new() }))));
    packet.put_long(length);
    packet.put(&head);
    packet
}

fn find(reader: i64) -> Result<Arc<Mutex<Opened>>, Failure> {
    READERS.find(reader).ok_or(Failure::CLOSED_STREAM)
}

fn lock(opened: &Mutex<Opened>) -> MutexGuard<'_, Opened> {
    opened.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Reads the next bytes, so many at most; none at the end.
pub(crate) fn read(reader: i64, most: usize) -> Result<Bytes, Failure> {
    let opened = find(reader)?;
    let mut opened = lock(&opened);
    if opened.piece.is_empty() && most > 0 {
        opened.piece = opened.reader.chunk()?.unwrap_or_default();
    }
    let size = most.min(opened.piece.len());
    Ok(opened.piece.split_to(size))
}

/// The fields that came behind the body.
pub(crate) fn trailers(reader: i64) -> Result<Vec<u8>, Failure> {
    let opened = find(reader)?;
    let mut packet = Vec::new();
    pack_fields(lock(&opened).reader.trailers(), &mut packet);
    Ok(packet)
}

pub(crate) fn close(reader: i64) {
    drop(READERS.remove(reader));
}
