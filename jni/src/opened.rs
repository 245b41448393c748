//! Answers that are read while they come.
//!
//! It owns the readers that Java holds by number. One is read by one thread at a time; closing it while it is read ends
//! it when that read has ended.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use pinlink::{Piece, Reader};

use crate::answer::{Failure, pack_fields, pack_opened};
use crate::handles::Handles;
use crate::packet::Packing;

/// An answer that is being read.
struct Opened {
    reader: Reader,
    /// What has come and found no room yet.
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

/// Reads the next piece into the caller's memory, and says how long it is; 0 at the end.
pub(crate) fn read(reader: i64, memory: &mut [MaybeUninit<u8>]) -> Result<usize, Failure> {
    let opened = find(reader)?;
    let mut opened = lock(&opened);
    if opened.piece.is_empty() {
        match opened.reader.chunk_into(memory)? {
            Piece::Here(size) => return Ok(size),
            Piece::Apart(piece) => opened.piece = piece,
        }
    }
    let size = memory.len().min(opened.piece.len());
    memory[..size].write_copy_of_slice(&opened.piece.split_to(size));
    Ok(size)
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
