//! The wide-column table: as much of Tablestore as puts a row that is not there yet.
//!
//! Owns: `POST /ots/PutRow` (condition EXPECT_NOT_EXIST) and `GET /ots/PutRow?get={row}`. Bodies are opaque: the row's
//! primary key comes in `x-box-row`, which no real server has. Errors are told as in protocol buffers, code and
//! message. No time, no randomness.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::content::Content;
use crate::shelf::{Item, Kind};
use crate::sink::{CONDITION, Outcome, Place, Sink, Target};

/// A row to be put.
pub(crate) struct RowPut {
    row: String,
}

impl RowPut {
    /// `None` without a row's name.
    pub(crate) fn new(parts: &Parts) -> Option<Self> {
        let row = parts.headers.get("x-box-row")?;
        Some(RowPut { row: String::from_utf8_lossy(row.as_bytes()).into_owned() })
    }
}

impl Target for RowPut {
    fn place(&self) -> Place {
        (self.row.clone(), Some(CONDITION.to_owned()))
    }

    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome {
        let applied = sink.shelf.create(Kind::Row, &self.row, Item::new(body.clone()));
        let answer = if applied {
            sink.applied(&self.place());
            Response::new(Content::Whole(Full::default()))
        } else {
            refused(StatusCode::FORBIDDEN, "OTSConditionCheckFail", "Condition check failed.")
        };
        Outcome { answer, applied }
    }
}

/// An error of two fields, each short enough for a length of one byte.
pub(crate) fn refused(status: StatusCode, code: &str, message: &str) -> Response<Content> {
    let field = |number: u8, text: &str| [&[number << 3 | 2, text.len() as u8], text.as_bytes()].concat();
    let mut response = Response::new(Content::Whole(Full::from([field(1, code), field(2, message)].concat())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A row's bytes, as they came.
pub(crate) fn read(sink: &Sink, row: &str) -> Response<Content> {
    match sink.shelf.find(Kind::Row, row) {
        Some(item) => Response::new(Content::Whole(Full::from(item.bytes))),
        None => refused(StatusCode::NOT_FOUND, "OTSRowNotExist", "There is no such row."),
    }
}
