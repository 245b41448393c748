//! What `-T` sends: a file with its length, or what standard input or a pipe brings, in pieces.
//!
//! A file is the library's to read. What may keep its reader waiting is read on a thread of its own, a few pieces
//! ahead, so that the limits on time hold while nothing comes. No clock, no randomness.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use futures_core::Stream;
use pinlink::Request;
use tokio::sync::mpsc::{Receiver, channel};

use crate::exit::{Exit, Failure};

/// What is read at once.
const PIECE: usize = 64 * 1024;
/// How many pieces may wait to be sent.
const AHEAD: usize = 2;

/// The request with the file as its body; `-` is standard input.
pub(crate) fn attach(request: Request, path: &Path) -> Result<Request, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(Exit::Read, format!("--upload-file: {} can't be read: {error}", path.display()))
    };
    if path == Path::new("-") {
        return Ok(request.body_stream(Pieces::read(io::stdin()).map_err(unreadable)?, None));
    }
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_file() {
        return Ok(request.body_file(path));
    }
    // A pipe or a device has no length.
    Ok(request.body_stream(Pieces::read(file).map_err(unreadable)?, None))
}

/// What another thread reads.
struct Pieces(Receiver<io::Result<Bytes>>);

impl Pieces {
    fn read(mut source: impl Read + Send + 'static) -> io::Result<Pieces> {
        let (sender, receiver) = channel(AHEAD);
        let read = move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = match source.read(&mut piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(0) => return,
                    Ok(size) => {
                        piece.truncate(size);
                        Ok(Bytes::from(piece))
                    }
                    Err(error) => Err(error),
                };
                let is_last = read.is_err();
                if sender.blocking_send(read).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new().name("upload".to_owned()).spawn(read)?;
        Ok(Pieces(receiver))
    }
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(cx)
    }
}
