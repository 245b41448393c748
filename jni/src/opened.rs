//! Answers that are read while they come.
//!
//! It owns the readers that Java holds by number. One is read by one thread at a time; closing it while it is read ends
//! it when that read has ended.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use pinlink::{Error, Reader};

use crate::answer::{Failure, pack_fields, pack_opened};
use crate::handles::Handles;
use crate::packet::Packing;

static READERS: Handles<Arc<Mutex<Reader>>> = Handles::new();

/// Keeps a reader, and packs its number, the length of its body (-1 where it is not known), and its head.
pub(crate) fn keep(reader: Reader) -> Vec<u8> {
    let mut head = Vec::new();
    pack_opened(&reader, &mut head);
    let length = reader.length().and_then(|length| i64::try_from(length).ok()).unwrap_or(-1);
    let mut packet = Vec::new();
    packet.put_long(READERS.insert(Arc::new(Mutex::new(reader))));
    packet.put_long(length);
    packet.put(&head);
    packet
}

/// Reads the next bytes; none at the end.
pub(crate) fn read(reader: i64, into: &mut [u8]) -> Result<usize, Failure> {
    let reader = READERS.find(reader).ok_or(Failure::CLOSED_STREAM)?;
    let mut reader = reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    reader.read(into).map_err(|error| {
        let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).cloned();
        ours.map_or(Failure::PANIC, Failure::Core)
    })
}

/// The fields that came behind the body.
pub(crate) fn trailers(reader: i64) -> Result<Vec<u8>, Failure> {
    let reader = READERS.find(reader).ok_or(Failure::CLOSED_STREAM)?;
    let reader = reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut packet = Vec::new();
    pack_fields(reader.trailers(), &mut packet);
    Ok(packet)
}

pub(crate) fn close(reader: i64) {
    drop(READERS.remove(reader));
}
