//! Wrong HTTP/2 answers, as bytes: what a script says when a request has been read.
//!
//! Owns: the field blocks that explode, the floods' blocks and every malformed frame. When a script begins, and what
//! the windows allow, is the business of `talk`. No I/O, no time, no randomness.

use crate::fault::{BadFrame, Fault};
use crate::frames::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, LARGEST, MAX_CONCURRENT_STREAMS, PADDED,
    PING, PRIORITY, PUSH_PROMISE, SETTINGS, STATUS_200,
};
use crate::hpack;
use crate::peer::FLOOD;

/// The body of a right answer.
const BODY: &[u8] = b"hello";

/// How many one-byte frames one turn of a flood has at most.
pub(crate) const TINY: i64 = 1024;

/// A stream that a client never opens before it has seen a million answers.
const IDLE: u32 = 2_000_001;

/// How much one turn of a flood is.
const TURN: usize = 16 << 10;

/// Something without end.
pub(crate) enum Flood {
    /// These bytes again and again; they belong to no stream that could be reset.
    Block(Vec<u8>),
    /// One-byte DATA frames on this stream, as far as its window goes.
    Tiny(u32),
    /// These bytes again and again until the stream is reset.
    Stream(u32, Vec<u8>),
}

impl Flood {
    /// The stream whose reset ends it; 0 for none.
    pub(crate) fn stream(&self) -> u32 {
        match self {
            Flood::Block(_) => 0,
            Flood::Tiny(id) | Flood::Stream(id, _) => *id,
        }
    }
}

/// What is said at once, the body that follows as the windows allow, and what never ends.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) bytes: Vec<u8>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) flood: Option<Flood>,
}

fn right_head() -> Vec<u8> {
    let length = BODY.len().to_string();
    [vec![STATUS_200], hpack::field("content-type", "text/plain"), hpack::field("content-length", &length)].concat()
}

/// Something, and then the right answer.
fn then_right(mut bytes: Vec<u8>, id: u32) -> Script {
    bytes.extend(frames::headers(id, &right_head()));
    Script { bytes, body: Some(BODY.to_vec()), flood: None }
}

fn only(bytes: Vec<u8>) -> Script {
    Script { bytes, ..Script::default() }
}

/// The start of an answer that says nothing about its length.
fn endless_head(id: u32) -> Vec<u8> {
    frames::headers(id, &[STATUS_200])
}

fn block(frame: &[u8]) -> Vec<u8> {
    frame.repeat(TURN / frame.len() + 1)
}

/// What is said to the request on this stream.
pub(crate) fn script(fault: Option<&Fault>, id: u32) -> Script {
    match fault {
        Some(Fault::ResetStream(code)) => only(frames::reset(id, *code)),
        Some(Fault::ResetMidBody(code)) => {
            let half = frames::frame(DATA, 0, id, &BODY[..2]);
            only([frames::headers(id, &right_head()), half, frames::reset(id, *code)].concat())
        }
        Some(Fault::ContinuationFlood) => {
            let fields = hpack::field("x-flood", "0123456789").repeat(50);
            let flood = Flood::Block(block(&frames::frame(CONTINUATION, 0, id, &fields)));
            Script { bytes: frames::frame(HEADERS, 0, id, &[STATUS_200]), body: None, flood: Some(flood) }
        }
        Some(Fault::HeaderBomb) => {
            let mut head = [vec![STATUS_200], hpack::remembered("x-bomb", &"b".repeat(4000))].concat();
            head.resize(LARGEST, hpack::indexed(62)[0]);
            Script { bytes: frames::headers(id, &head), body: Some(BODY.to_vec()), flood: None }
        }
        Some(Fault::HeaderList(bytes)) => {
            let (mut head, mut left) = (vec![STATUS_200], (*bytes as usize).min(FLOOD));
            while left > 0 {
                // What a list is counted as: 32 besides the bytes of name and value.
                let value = left.saturating_sub(38).min(4000);
                head.extend(hpack::field("x-list", &"v".repeat(value)));
                left = left.saturating_sub(38 + value);
            }
            Script { bytes: frames::headers(id, &head), body: Some(BODY.to_vec()), flood: None }
        }
        Some(Fault::TableSizeGame) => {
            let head = [hpack::table_size(1 << 20), right_head()].concat();
            Script { bytes: frames::headers(id, &head), body: Some(BODY.to_vec()), flood: None }
        }
        Some(Fault::WindowZeroIncrement) => only(frames::window_update(id, 0)),
        Some(Fault::EmptyDataFlood) => {
            let flood = Flood::Stream(id, block(&frames::frame(DATA, 0, id, &[])));
            Script { bytes: endless_head(id), body: None, flood: Some(flood) }
        }
        Some(Fault::TinyDataFlood) => Script { bytes: endless_head(id), body: None, flood: Some(Flood::Tiny(id)) },
        Some(Fault::SettingsFlood) => flood(&frames::settings(&[(MAX_CONCURRENT_STREAMS, 100)])),
        Some(Fault::PingFlood) => flood(&frames::frame(PING, 0, 0, b"the same")),
        Some(Fault::PriorityFlood) => flood(&frames::frame(PRIORITY, 0, id, &[0, 0, 0, 0, 15])),
        Some(Fault::PushPromise) => {
            // ":method: GET", ":scheme: http", ":path: /", and who says so.
            let asked = [vec![0x82, 0x86, 0x84], hpack::field(":authority", "kms.box.test")].concat();
            let promise = frames::frame(PUSH_PROMISE, END_HEADERS, id, &[&2_u32.to_be_bytes()[..], &asked].concat());
            let pushed = [frames::headers(2, &right_head()), frames::frame(DATA, END_STREAM, 2, BODY)].concat();
            then_right([promise, pushed].concat(), id)
        }
        Some(Fault::MalformedFrame(how)) => malformed(*how, id),
        _ => then_right(Vec::new(), id),
    }
}

fn flood(frame: &[u8]) -> Script {
    Script { bytes: Vec::new(), body: None, flood: Some(Flood::Block(block(frame))) }
}

fn malformed(how: BadFrame, id: u32) -> Script {
    let answer = |head: &[u8]| only([frames::headers(id, head), frames::frame(DATA, END_STREAM, id, BODY)].concat());
    match how {
        BadFrame::HeadersPadding => {
            let padded = [&[200][..], &right_head()].concat();
            only(frames::frame(HEADERS, END_HEADERS | PADDED | END_STREAM, id, &padded))
        }
        BadFrame::HpackIndex => answer(&[&[STATUS_200][..], &hpack::indexed(4000)].concat()),
        BadFrame::NoStatus => answer(&hpack::field("content-type", "text/plain")),
        BadFrame::DataBeforeHeaders => {
            let head = frames::frame(HEADERS, END_HEADERS | END_STREAM, id, &right_head());
            only([frames::frame(DATA, 0, id, BODY), head].concat())
        }
        BadFrame::DataOnIdle => then_right(frames::frame(DATA, END_STREAM, IDLE, BODY), id),
        BadFrame::HeadersOnZero => then_right(frames::headers(0, &right_head()), id),
        BadFrame::WindowZero => then_right(frames::window_update(0, 0), id),
        BadFrame::SettingsLength => then_right(frames::frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0]), id),
        BadFrame::SettingsAckPayload => then_right(frames::frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 9]), id),
        BadFrame::PingLength => then_right(frames::frame(PING, 0, 0, &[0; 7]), id),
        BadFrame::ResetOnIdle => then_right(frames::reset(IDLE, 0), id),
        BadFrame::ContinuationAlone => then_right(frames::frame(CONTINUATION, END_HEADERS, id, &right_head()), id),
        BadFrame::FrameTooLarge => {
            let head = endless_head(id);
            only([head, frames::frame(DATA, END_STREAM, id, &vec![b'x'; LARGEST + 1])].concat())
        }
        BadFrame::GoAwayShort => then_right(frames::frame(GOAWAY, 0, 0, &[0; 4]), id),
    }
}
