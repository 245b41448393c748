//! One answer, copied while it comes: to a file or to standard output, in constant memory.
//!
//! It owns what must be right before the first byte is written: the status, the size, and for `-C -` that the rest
//! of the very file comes. A body that breaks off leaves what came and fails. The answer is read on a thread of its
//! own, so that `--max-time` holds while nothing comes. Time: the monotonic clock.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pinlink::{Error, Reader};

use super::answer;
use crate::exit::{Exit, Failure};
use crate::output::Outlet;

/// What is done with an answer.
pub(crate) struct Download<'a> {
    /// The URL as messages show it.
    pub(crate) url: &'a str,
    /// Where the body goes; without it, to standard output.
    pub(crate) file: Option<&'a Path>,
    /// How much of it the file has, where it is to be gone on with.
    pub(crate) held: u64,
    /// Whether status line and headers come before the body.
    pub(crate) include: bool,
    /// Whether a status of 400 or above is a failure.
    pub(crate) fail: bool,
    /// Whether an answer has a body at all.
    pub(crate) is_head: bool,
    /// The greatest body.
    pub(crate) limit: Option<u64>,
    /// When the body must have ended, and the limit that says so.
    pub(crate) latest: Option<(Instant, Duration)>,
}

/// How much of a file is there already.
pub(crate) fn held(path: &Path) -> Result<u64, Failure> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(file.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Ok(_) => Err(Failure::usage(format!("--continue-at: {} is not a file", path.display()))),
        Err(error) => Err(Failure::output(&path.display().to_string(), &error)),
    }
}

impl Download<'_> {
    /// Writes the answer.
    pub(crate) fn save(&self, reader: Reader) -> Result<(), Failure> {
        let status = reader.status();
        let range = reader.header("content-range").unwrap_or_default();
        if self.held > 0 && status == 416 && range == format!("bytes */{}", self.held) {
            return Ok(());
        }
        if self.fail && status >= 400 {
            let line = format!("{}: the answer is {}", self.url, answer::status(status));
            return Err(Failure::new(Exit::Status, line));
        }
        let has_body = !self.is_head && !matches!(status, 204 | 304);
        if let (Some(limit), Some(length), true) = (self.limit, reader.length(), has_body)
            && length > limit
        {
            let line = format!("{}: the body has {length} bytes, over the {limit} of --max-filesize", self.url);
            return Err(Failure::new(Exit::Limit, line));
        }
        let mut outlet = match self.file.filter(|_| self.held > 0) {
            None => Outlet::create(self.file)?,
            // Anything else at the end of what is there would make a file that never was.
            Some(_) if status != 206 || !range.starts_with(&format!("bytes {}-", self.held)) => {
                let (held, status) = (self.held, answer::status(status));
                let line = format!("{}: the bytes from {held} on were asked for, and the answer is {status}", self.url);
                return Err(Failure::new(Exit::Range, line));
            }
            Some(path) => Outlet::append(path)?,
        };
        if self.include {
            outlet.write(&answer::head(status, reader.headers(), reader.trace()))?;
        }
        let pieces = read(reader)?;
        while let Some(piece) = self.next(&pieces)? {
            outlet.write(&piece)?;
        }
        Ok(())
    }

    /// The next piece, or nothing at the end.
    fn next(&self, pieces: &Receiver<Result<Option<Bytes>, Error>>) -> Result<Option<Bytes>, Failure> {
        let piece = match self.latest {
            None => pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some((latest, _)) => match latest.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Err(RecvTimeoutError::Timeout),
                left => pieces.recv_timeout(left),
            },
        };
        match piece {
            Ok(piece) => Ok(piece?),
            Err(RecvTimeoutError::Timeout) => {
                let limit = self.latest.map(|(_, limit)| limit).unwrap_or_default();
                let line = format!("{}: the answer had not ended after the {limit:?} of --max-time", self.url);
                Err(Failure::new(Exit::Timeout, line))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::new(Exit::Other, format!("{}: nobody reads the answer any more", self.url)))
            }
        }
    }
}

/// Reads on a thread of its own, a piece ahead. The end, or an error, comes last.
fn read(mut reader: Reader) -> Result<Receiver<Result<Option<Bytes>, Error>>, Failure> {
    let (sender, pieces) = sync_channel(1);
    let read = move || {
        loop {
            let piece = reader.chunk();
            let is_last = !matches!(piece, Ok(Some(_)));
            if sender.send(piece).is_err() || is_last {
                return;
            }
        }
    };
    match thread::Builder::new().name("download".to_owned()).spawn(read) {
        Ok(_) => Ok(pieces),
        Err(error) => Err(Failure::new(Exit::Other, format!("no thread can be started: {error}"))),
    }
}
