//! A body on its way out, piece by piece, framed as HTTP/1.1 wants it.
//!
//! It owns reading the source with at most one piece in memory: on the caller's own thread where that drives,
//! else on a thread that may block. It checks that the source keeps to the length it announced. It writes to no
//! socket and knows no deadline: whoever polls it does.

use std::future::Future;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::body::{Content, Pieces, Source};
use crate::drive;
use crate::process::{self, Task};

/// What is read at once: large enough that system calls cost little, small enough to be nothing beside the limit on
/// memory.
const PIECE: usize = 128 * 1024;

/// What the error says where the source fails.
pub(crate) const UNREADABLE: &str = "the request's body could not be read from its source";

/// A body that is being sent.
pub(crate) struct Upload {
    supply: Supply,
    /// What must still come, where the length was announced.
    left: Option<u64>,
    is_first: bool,
    has_ended: bool,
}

enum Supply {
    /// What blocks while it is read.
    Blocking(Blocking),
    /// The same, being read on another thread.
    Reading(Task<(Blocking, io::Result<Bytes>)>),
    Pieces(Pieces),
    Whole(Bytes),
    /// Nothing is left.
    Dry,
}

enum Blocking {
    Reader(Box<dyn Read + Send>),
    File { file: Arc<std::fs::File>, at: u64 },
}

impl Blocking {
    fn read(&mut self, most: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; most];
        let got = loop {
            let read = match self {
                Blocking::Reader(reader) => reader.read(&mut piece),
                Blocking::File { file, at } => file.read_at(&mut piece, *at).inspect(|got| *at += *got as u64),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        piece.truncate(got);
        Ok(piece.into())
    }
}

fn broken(detail: &'static str) -> io::Error {
    io::Error::other(detail)
}

impl Upload {
    /// Begins to read a body; nothing where it could be read once and has been.
    pub(crate) fn begin(content: &Content) -> Option<Upload> {
        let supply = match content {
            Content::Whole(bytes) => Supply::Whole(bytes.clone()),
            Content::File(file, _) => Supply::Blocking(Blocking::File { file: Arc::clone(file), at: 0 }),
            Content::Once(once) => match once.take()? {
                Source::Reader(reader) => Supply::Blocking(Blocking::Reader(reader)),
                Source::Stream(pieces) => Supply::Pieces(pieces),
            },
        };
        Some(Upload { supply, left: content.length(), is_first: true, has_ended: false })
    }

    /// The next piece; empty at the end.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.has_ended {
            return Poll::Ready(Ok(Bytes::new()));
        }
        let piece = ready!(self.poll_supply(cx))?;
        if piece.is_empty() {
            self.has_ended = true;
            self.supply = Supply::Dry;
            return Poll::Ready(match self.left {
                Some(1..) => Err(broken("the body ended before the length that was given")),
                _ => Ok(piece),
            });
        }
        if let Some(left) = &mut self.left {
            *left = match left.checked_sub(piece.len() as u64) {
                Some(left) => left,
                None => return Poll::Ready(Err(broken("the body is longer than the length that was given"))),
            };
        }
        Poll::Ready(Ok(piece))
    }

    fn poll_supply(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        // A file may have grown since its length was announced: no more than that is read of it.
        let most = match (&self.supply, self.left) {
            (Supply::Blocking(Blocking::File { .. }), Some(0)) => return Poll::Ready(Ok(Bytes::new())),
            (Supply::Blocking(Blocking::File { .. }), Some(left)) => PIECE.min(usize::try_from(left).unwrap_or(PIECE)),
            _ => PIECE,
        };
        loop {
            match &mut self.supply {
                Supply::Blocking(blocking) if drive::is_driven() => return Poll::Ready(blocking.read(most)),
                Supply::Blocking(_) => {
                    let Supply::Blocking(mut blocking) = std::mem::replace(&mut self.supply, Supply::Dry) else {
                        unreachable!("it was matched a line above");
                    };
                    let reading = process::spawn_blocking(move || {
                        let piece = blocking.read(most);
                        (blocking, piece)
                    });
                    self.supply = Supply::Reading(reading.map_err(io::Error::other)?);
                }
                Supply::Reading(task) => {
                    let (blocking, piece) =
                        ready!(Pin::new(task).poll(cx)).ok_or_else(|| broken("the body's reader panicked"))?;
                    self.supply = Supply::Blocking(blocking);
                    return Poll::Ready(piece);
                }
                Supply::Pieces(pieces) => match ready!(pieces.as_mut().poll_next(cx)) {
                    Some(Ok(piece)) if piece.is_empty() => {}
                    Some(piece) => return Poll::Ready(piece),
                    None => return Poll::Ready(Ok(Bytes::new())),
                },
                Supply::Whole(bytes) => return Poll::Ready(Ok(std::mem::take(bytes))),
                Supply::Dry => return Poll::Ready(Ok(Bytes::new())),
            }
        }
    }

    /// Whether the end has been handed out.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What stands on the wire before a piece, and after the last one (RFC 9112 7.1). Nothing where the length is known.
    pub(crate) fn frame(&mut self, piece: &[u8], trailers: &[u8], wire: &mut Vec<u8>, is_chunked: bool) {
        if !is_chunked {
            return;
        }
        if !std::mem::take(&mut self.is_first) {
            wire.extend_from_slice(b"\r\n");
        }
        // A vector takes every write.
        let _ = write!(wire, "{:x}\r\n", piece.len());
        if piece.is_empty() {
            wire.extend_from_slice(trailers);
            wire.extend_from_slice(b"\r\n");
        }
    }
}
