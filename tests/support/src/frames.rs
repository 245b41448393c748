//! HTTP/2 frames as bytes (RFC 9113, section 4): right ones, and pieces to build wrong ones from.
//!
//! Owns: the frame header's layout, the numbers of frame types, flags, settings and errors, and reading one frame.
//! Decides nothing: what is sent when is the business of the scripted HTTP/2 peer. No time, no randomness.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest payload anybody may send unless told otherwise.
pub(crate) const LARGEST: usize = 1 << 14;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// On DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// On SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
/// On HEADERS, PUSH_PROMISE and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;
/// On DATA, HEADERS and PUSH_PROMISE.
pub(crate) const PADDED: u8 = 8;
/// On HEADERS.
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// Settings.
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// Errors.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// The window of a connection, and of every stream unless told otherwise.
pub(crate) const WINDOW: i64 = 65_535;

/// The field block `:status: 200`, one index into the static table.
pub(crate) const STATUS_200: u8 = 0x88;

/// One frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if length > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let stream = u32::from_be_bytes([head[5] & 0x7F, head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding and priority; of a broken frame, nothing.
    pub(crate) fn content(&self) -> &[u8] {
        let mut content = self.payload.as_slice();
        let mut padding = 0;
        if self.has(PADDED)
            && let Some((first, rest)) = content.split_first()
        {
            (padding, content) = (usize::from(*first), rest);
        }
        if self.kind == HEADERS && self.has(WITH_PRIORITY) {
            content = content.get(5..).unwrap_or_default();
        }
        content.get(..content.len().saturating_sub(padding)).unwrap_or_default()
    }

    /// The 32-bit number at this place.
    pub(crate) fn number(&self, at: usize) -> Option<u32> {
        self.payload.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
    }

    /// The settings of a SETTINGS frame.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (u16, u32)> {
        self.payload
            .chunks_exact(6)
            .map(|six| (u16::from_be_bytes([six[0], six[1]]), u32::from_be_bytes([six[2], six[3], six[4], six[5]])))
    }
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter().flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()));
    frame(SETTINGS, 0, 0, &pairs.collect::<Vec<u8>>())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A whole field block as HEADERS and as many CONTINUATIONs as it takes.
pub(crate) fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut pieces = block.chunks(LARGEST).peekable();
    let (mut bytes, mut kind) = (Vec::new(), HEADERS);
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, flags, stream, piece));
        kind = CONTINUATION;
    }
    bytes
}

/// A frame with this payload, whether or not it makes sense.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend([length[1], length[2], length[3], kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Reads the client's preface and its frames up to the first request.
pub(crate) async fn await_request(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    from.read_exact(&mut [0; PREFACE.len()]).await?;
    while Frame::read(from).await?.kind != HEADERS {}
    Ok(())
}

/// What a server says first, and that it has heard what the client said first.
pub(crate) fn hello() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()
}

/// The start of a plausible answer to the first request, that goes on or breaks off.
pub(crate) fn half_an_answer() -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, 1, &[STATUS_200]), frame(DATA, 0, 1, b"the first half of")].concat()
}
