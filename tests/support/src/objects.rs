//! The object store: `/oss/{bucket}/{object…}`, which follows OSS or S3, whichever the request speaks.
//!
//! Owns: the conditions of a PUT (`x-oss-forbid-overwrite: true`, `If-None-Match: *`), the metadata that is kept
//! (`x-oss-meta-*`, `x-amz-meta-*`), and the answers. A condition is decided at the moment the object is put: of many
//! racing writers one wins. `?conflict=1` has `If-None-Match` meet `ConditionalRequestConflict` while another write of
//! the object is under way, as S3 may. Entity tags look like MD5 and are not.
//! Time: the system clock, in whole seconds as HTTP tells it. Randomness: none.

use std::sync::OnceLock;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use ring::digest::{self, SHA256};

use crate::content::Content;
use crate::routes::parameter;
use crate::shelf::{Item, Kind, UnderWay};
use crate::sink::{CONDITION, Outcome, Place, Sink, Target};

/// What a PUT wants of an object that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// To replace it.
    Overwrite,
    /// 409 `FileAlreadyExists`.
    Forbid,
    /// 412 `PreconditionFailed`.
    NoneMatch,
}

/// One PUT of an object.
pub(crate) struct ObjectPut {
    name: String,
    condition: Condition,
    conflicts: bool,
    fields: HeaderMap,
    under_way: OnceLock<UnderWay>,
}

impl ObjectPut {
    pub(crate) fn new(parts: &Parts, name: String) -> Self {
        let says = |field: HeaderName, wanted: &str| {
            parts.headers.get(field).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let condition = if says(HeaderName::from_static("x-oss-forbid-overwrite"), "true") {
            Condition::Forbid
        } else if says(header::IF_NONE_MATCH, "*") {
            Condition::NoneMatch
        } else {
            Condition::Overwrite
        };
        let kept = |name: &HeaderName| {
            *name == header::CONTENT_TYPE
                || ["x-oss-meta-", "x-amz-meta-"].iter().any(|is| name.as_str().starts_with(is))
        };
        let fields = parts.headers.iter().filter(|(name, _)| kept(name));
        let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        let conflicts = parameter(parts.uri.query(), "conflict").is_some_and(|value| value == "1");
        ObjectPut { name, condition, conflicts, fields, under_way: OnceLock::new() }
    }
}

impl Target for ObjectPut {
    fn place(&self) -> Place {
        (self.name.clone(), (self.condition != Condition::Overwrite).then(|| CONDITION.to_owned()))
    }

    fn begin(&self, sink: &Sink, _body: &Bytes) -> Option<Response<Content>> {
        let (under_way, another) = sink.shelf.start(Kind::Object, &self.name);
        if another && self.conflicts && self.condition == Condition::NoneMatch {
            return Some(refused(StatusCode::CONFLICT, "ConditionalRequestConflict"));
        }
        _ = self.under_way.set(under_way);
        None
    }

    fn apply(&self, sink: &Sink, body: &Bytes) -> Outcome {
        let item = Item { fields: self.fields.clone(), ..Item::new(body.clone()) };
        let put = if self.condition == Condition::Overwrite {
            sink.shelf.put(Kind::Object, &self.name, item);
            true
        } else {
            sink.shelf.create(Kind::Object, &self.name, item)
        };
        let answer = match self.condition {
            _ if put => {
                sink.applied(&self.place());
                let mut answer = Response::new(Content::Whole(Full::default()));
                answer.headers_mut().extend(tag(body).map(|tag| (header::ETAG, tag)));
                answer
            }
            Condition::Forbid => refused(StatusCode::CONFLICT, "FileAlreadyExists"),
            _ => refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        };
        Outcome { answer, applied: put }
    }
}

/// Thirty-two upper-case hexadecimal digits in quotes.
fn tag(bytes: &[u8]) -> Option<HeaderValue> {
    let hash = digest::digest(&SHA256, bytes);
    let hex: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02X}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).ok()
}

fn refused(status: StatusCode, code: &str) -> Response<Content> {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>\n");
    let mut response = Response::new(Content::Whole(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// GET and HEAD. Both dates are told by one clock, so that their difference is the object's age.
pub(crate) fn read(sink: &Sink, name: &str) -> Response<Content> {
    let Some(item) = sink.shelf.find(Kind::Object, name) else {
        return refused(StatusCode::NOT_FOUND, "NoSuchKey");
    };
    let date = |at| HeaderValue::try_from(httpdate::fmt_http_date(at)).ok();
    let own = [
        (header::ETAG, tag(&item.bytes)),
        (header::LAST_MODIFIED, date(item.put)),
        (header::DATE, date(SystemTime::now())),
    ];
    let mut response = Response::new(Content::Whole(Full::from(item.bytes)));
    *response.headers_mut() = item.fields;
    response.headers_mut().extend(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
    response
}

pub(crate) fn delete(sink: &Sink, name: &str) -> Response<Content> {
    sink.shelf.remove(Kind::Object, name);
    let mut response = Response::new(Content::Whole(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
