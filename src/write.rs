//! One write: a request, its key, its target's profile; and what became of it.
//!
//! It owns what a caller says of a write ([`Write`]), where its key goes in the request, and what an answer or an
//! error makes of it ([`Conclusion`]): done, or a question that must still be asked. Pure: it sends nothing and
//! reads no clock; `writing` does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, header};

use crate::error::{Delivery, Error, Outcome, Phase, Reason, Result};
use crate::key::{Key, sha256};
use crate::profile::{DEFAULT_MEMORY, Meaning, Place, Profile};
use crate::request::Request;
use crate::response::Response;

/// In a URL's path it stands for the key.
const PLACEHOLDER: &str = "{key}";

/// What a target promises about a write that is executed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guarantee {
    /// One effect across retries, re-executions and twins, as long as the target remembers the key.
    Once,
    /// The method's own: a repeated effect equals one (RFC 9110 9.2.2). Two twins are in no order.
    Repeatable,
    /// This process sends it at most once where it may have arrived; a re-executed node sends it again.
    AtMostOncePerProcess,
}

/// A write, ready to be sent as often as it takes.
///
/// ```no_run
/// use pinlink::{Client, Outcome, Profile, Request, Scope, Write};
///
/// # fn example(client: Client) -> Result<(), pinlink::Error> {
/// let scope = Scope::job("orders of 2026-11-22")?;
/// let profile = Profile::idempotency_key();
/// let order = Request::post("https://orders.example/orders").body(r#"{"id":4711}"#);
/// let written = client.write(&Write::new(order, &scope.key("insert order", 4711), &profile))?;
/// assert!(matches!(written.outcome(), Outcome::Applied | Outcome::AlreadyApplied));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Write {
    request: Request,
    key: Option<Key>,
    profile: Profile,
    is_unkeyed: bool,
    verify: Option<Verify>,
}

/// A read that tells whether a write had its effect.
#[derive(Clone)]
struct Verify {
    request: Request,
    reads: Reads<bool>,
}

/// What a caller reads in an answer; nothing where it does not tell.
type Reads<T> = Arc<dyn Fn(&Response) -> Option<T> + Send + Sync>;

impl Write {
    /// A write under a key, to a target that takes keys as `profile` says. `{key}` in the URL stands for the key, in the
    /// form that the profile has.
    pub fn new(request: Request, key: &Key, profile: &Profile) -> Write {
        Write { request, key: Some(*key), profile: profile.clone(), is_unkeyed: false, verify: None }
    }

    /// A write to a target that knows nothing of keys. `PUT` and `DELETE` are repeatable by definition; any other method is
    /// refused ([`Reason::WriteUnkeyed`]) unless the caller says [`Write::unkeyed`].
    pub fn keyless(request: Request) -> Write {
        Write { request, key: None, profile: Profile::keyless(), is_unkeyed: false, verify: None }
    }

    /// Accepts that a re-executed node may have this effect twice.
    #[must_use]
    pub fn unkeyed(mut self) -> Write {
        self.is_unkeyed = true;
        self
    }

    /// A read that settles an unknown outcome: `reads` says of its answer whether the write had its effect, or nothing
    /// where it can't be told. The last quarter of the call's time is kept for it. A "no" leaves the outcome unknown
    /// all the same: the write may still be on its way.
    #[must_use]
    pub fn verify(
        mut self,
        request: Request,
        reads: impl Fn(&Response) -> Option<bool> + Send + Sync + 'static,
    ) -> Write {
        self.verify = Some(Verify { request, reads: Arc::new(reads) });
        self
    }

    /// What may be promised of it.
    pub fn guarantee(&self) -> Guarantee {
        match self.key {
            Some(_) if self.profile.takes_keys() => Guarantee::Once,
            _ if self.request.is_idempotent() => Guarantee::Repeatable,
            _ => Guarantee::AtMostOncePerProcess,
        }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn verifies(&self) -> bool {
        self.verify.is_some()
    }

    /// Whether it may be sent at all.
    pub(crate) fn check(&self) -> Result<()> {
        self.request.check()?;
        if let Some(verify) = &self.verify {
            verify.request.check()?;
        }
        let method = self.request.method();
        if matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") {
            return Err(Error::input(format!("a {method} is no write: send it")));
        }
        if matches!(self.profile.place(), Place::Condition(Some(_))) && method != "PUT" {
            return Err(Error::input(
                "this profile is for PUT: the condition makes a PUT of an object a write that happens once",
            ));
        }
        if self.guarantee() == Guarantee::AtMostOncePerProcess && !self.is_unkeyed {
            let detail =
                format!("a {method} without a key to a target that knows none: executed again, it writes again");
            return Err(Error::new(Reason::WriteUnkeyed, Phase::Configure, detail).with_host(self.request.authority()));
        }
        Ok(())
    }

    /// The request as it is sent: its key in place. True where the target's name for the record is the key itself.
    pub(crate) fn placed(&self, request: Request, label: &str) -> Result<(Request, bool)> {
        let Some(key) = &self.key else { return Ok((request, false)) };
        let text = self.profile.write_key(key);
        let url = request.url();
        let is_named = url.split('?').next().is_some_and(|path| path.contains(PLACEHOLDER));
        let request = match url.contains(PLACEHOLDER) {
            true => request.with_target(&url.replace(PLACEHOLDER, &text))?,
            false => request,
        };
        let is_given = |name: &str| request.headers().any(|(given, _)| given.as_str().eq_ignore_ascii_case(name));
        let placed = match self.profile.place() {
            Place::Header { name, .. } if is_given(name) => {
                return Err(Error::input(format!("header {name} is given already: it is the key's place")));
            }
            Place::Header { name, is_quoted: true } => request.header(name, format!("\"{text}\"")),
            Place::Header { name, is_quoted: false } => request.header(name, text),
            Place::Query(name) => {
                let url = request.url();
                let query = url.split_once('?').map(|(_, query)| query);
                if has_parameter(query.unwrap_or_default().as_bytes(), name) {
                    return Err(Error::input(format!("the query has a {name} already: it is the key's place")));
                }
                let joint = if query.is_some() { '&' } else { '?' };
                request.with_target(&format!("{url}{joint}{name}={text}"))?
            }
            Place::Form(name) => {
                let Some(body) = request.body_bytes() else {
                    return Err(Error::input("a key goes into a form that is at hand as a whole"));
                };
                if has_parameter(body, name) {
                    return Err(Error::input(format!("the form has a {name} already: it is the key's place")));
                }
                let joint: &[u8] = if body.is_empty() { b"" } else { b"&" };
                let form = [body, joint, name.as_bytes(), b"=", text.as_bytes()].concat();
                request
                    .header_unless_given(header::CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")
                    .body(form)
            }
            Place::Condition(Some((name, value))) => {
                if request.headers().any(|(given, have)| given == *name && have != *value) {
                    return Err(Error::input(format!(
                        "header {name} is the condition of this write: it must be {value}"
                    )));
                }
                let request = request.header_unless_given(name, value);
                match self.profile.label() {
                    Some(name) => request.header(name, label),
                    None => request,
                }
            }
            Place::Condition(None) if !is_named || !(url.contains("/_create/") || url.contains("op_type=create")) => {
                return Err(Error::input("the URL needs {key} where the document's id goes, behind /_create/"));
            }
            Place::Condition(None) | Place::Body | Place::Nowhere => request,
        };
        placed.check()?;
        Ok((placed, is_named))
    }
}

/// Whether a query or a form has a parameter of this name.
fn has_parameter(pairs: &[u8], name: &str) -> bool {
    pairs.split(|&b| b == b'&').any(|pair| pair.split(|&b| b == b'=').next() == Some(name.as_bytes()))
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").field("request", &self.request).field("key", &self.key).finish_non_exhaustive()
    }
}

/// A write that had its effect.
#[derive(Clone)]
pub struct Written {
    outcome: Outcome,
    response: Response,
}

impl Written {
    pub(crate) fn new(outcome: Outcome, response: Response) -> Written {
        Written { outcome, response }
    }

    /// [`Outcome::Applied`] or [`Outcome::AlreadyApplied`].
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The answer that said so: to the write; or to the read that settled it.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The same, without a copy.
    pub fn into_response(self) -> Response {
        self.response
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("outcome", &self.outcome).field("response", &self.response).finish()
    }
}

/// A body's hash: whole, to compare an object with; and half, as the memory of keys keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 32]);

impl Fingerprint {
    pub(crate) fn half(&self) -> [u8; 16] {
        self.0[..16].try_into().expect("there are 32")
    }
}

/// What an object's metadata says of whose it is: a short hash of the key, and one of the body.
pub(crate) fn label(key: Option<&Key>, fingerprint: Option<Fingerprint>) -> String {
    let key = key.map(Key::logged).unwrap_or_default();
    let body = fingerprint.map(|fingerprint| HEXLOWER.encode(&fingerprint.half())).unwrap_or_default();
    format!("{key}.{body}")
}

/// Whether two labels are of the same key, and one of them tells nothing of the body.
fn is_half(one: &str, other: &str) -> bool {
    match (one.split_once('.'), other.split_once('.')) {
        (Some((key, body)), Some((other_key, other_body))) => {
            key == other_key && (body.is_empty() || other_body.is_empty())
        }
        _ => false,
    }
}

/// A write as it is sent, and what its answers are held against.
pub(crate) struct Prepared<'a> {
    pub(crate) write: &'a Write,
    pub(crate) request: Request,
    pub(crate) is_named: bool,
    pub(crate) label: String,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Whether an earlier call may have done it.
    pub(crate) is_doubtful: bool,
    /// Why it is not sent at all: its outcome is not known, and the target may have forgotten its key.
    pub(crate) forgotten: Option<Error>,
}

/// What an outcome rests on, or the question that must still be asked.
#[expect(clippy::large_enum_variant, reason = "the large one is the one that nearly every write ends with")]
pub(crate) enum Conclusion {
    Done(Result<Written>),
    Ask(Box<Question>),
}

/// A read about a write.
pub(crate) struct Question {
    pub(crate) request: Request,
    about: About,
    /// Whether an earlier try may have been done, whatever stands there now.
    is_doubtful: bool,
}

enum About {
    /// Whose is the object, by its metadata?
    Label,
    /// The same, by its bytes.
    Bytes,
    /// The caller's own question, and what is said where it has no answer.
    Verify(Error),
}

impl Prepared<'_> {
    /// What the end of the call means.
    pub(crate) fn conclude(&self, result: Result<Response>) -> Conclusion {
        match result {
            Ok(response) => self.judge(response),
            Err(error) if error.delivery() == Delivery::NotSent && !self.is_doubtful => Conclusion::Done(Err(error)),
            // Whoever gave up asks nothing more.
            Err(error) if error.reason() == Reason::Canceled => Conclusion::Done(Err(error)),
            Err(error) if error.reason() == Reason::WriteOutcomeUnknown => self.unknown(error),
            Err(error) => {
                let detail =
                    format!("the write may have happened, and its answer is lost ({})", error.reason().as_str());
                let mut unknown = Error::new(Reason::WriteOutcomeUnknown, error.phase(), detail)
                    .with_delivery(error.delivery().max(Delivery::Unknown))
                    .with_host(self.request.authority())
                    .with_effort(error.attempts(), error.elapsed().unwrap_or_default());
                if let Some(address) = error.address() {
                    unknown = unknown.with_address(address);
                }
                self.unknown(unknown.with_source(error))
            }
        }
    }

    fn judge(&self, response: Response) -> Conclusion {
        let (status, trace) = (response.status(), *response.trace());
        let said = |reason, detail: String| {
            let error = Error::new(reason, Phase::Receive, detail)
                .with_delivery(Delivery::Answered)
                .with_host(self.request.authority())
                .with_effort(trace.attempts, trace.total)
                .with_answer(status, response.body().clone());
            match trace.address {
                Some(address) => error.with_address(address),
                None => error,
            }
        };
        let unknown = |detail: String| self.unknown(said(Reason::WriteOutcomeUnknown, detail));
        match self.write.profile.judge(status, response.headers(), response.body()) {
            Meaning::Applied if trace.is_early => {
                unknown(format!("the target answered {status} before it had all of the body"))
            }
            Meaning::Applied => Conclusion::Done(Ok(Written::new(Outcome::Applied, response))),
            Meaning::AlreadyApplied => Conclusion::Done(Ok(Written::new(Outcome::AlreadyApplied, response))),
            Meaning::Exists if self.is_named => Conclusion::Done(Ok(Written::new(Outcome::AlreadyApplied, response))),
            Meaning::Exists => self.ask_whose(self.write.profile.label().is_some(), trace.is_doubtful),
            Meaning::Unclear => unknown(format!("the answer ({status}) does not tell whether it was done")),
            Meaning::Mismatch if trace.is_doubtful => unknown(format!(
                "the target knows this key ({}) with another body: perhaps that of an earlier try",
                self.key()
            )),
            Meaning::Mismatch => Conclusion::Done(Err(said(
                Reason::WriteMismatch,
                format!("the target knows this key ({}) with another body ({status})", self.key()),
            ))),
            Meaning::InProgress => {
                unknown(format!("another request under this key ({}) was still being processed", self.key()))
            }
            Meaning::Stored => unknown(format!(
                "the target failed ({status}) under this key ({}), and says so to every repetition",
                self.key()
            )),
            Meaning::Again if (500..600).contains(&status) => {
                unknown(format!("the target failed ({status}), and may have done the write before it did"))
            }
            Meaning::Again | Meaning::Rejected if trace.is_doubtful => {
                unknown(format!("the last answer refused it ({status}), but an earlier try may have been done"))
            }
            Meaning::Again | Meaning::Rejected => {
                Conclusion::Done(Err(said(Reason::WriteRejected, format!("the target answered {status}"))))
            }
        }
    }

    fn key(&self) -> String {
        self.write.key.as_ref().map(Key::logged).unwrap_or_default()
    }

    /// The outcome is not known: the caller's own question comes first, if there is one.
    pub(crate) fn unknown(&self, error: Error) -> Conclusion {
        match &self.write.verify {
            Some(verify) => {
                let (request, about) = (verify.request.clone(), About::Verify(error));
                Conclusion::Ask(Box::new(Question { request, about, is_doubtful: true }))
            }
            None => Conclusion::Done(Err(error)),
        }
    }

    fn ask_whose(&self, by_label: bool, is_doubtful: bool) -> Conclusion {
        let (method, about) = if by_label { (Method::HEAD, About::Label) } else { (Method::GET, About::Bytes) };
        Conclusion::Ask(Box::new(Question { request: self.request.beside(method), about, is_doubtful }))
    }

    /// What the answer to a question means.
    pub(crate) fn settle(&self, question: Question, answer: Result<Response>) -> Conclusion {
        let applied = |response| Conclusion::Done(Ok(Written::new(Outcome::AlreadyApplied, response)));
        let is_doubtful = question.is_doubtful;
        let conflict = || {
            if is_doubtful {
                return self.unsettled("what exists there is not this write's any more, if it was");
            }
            let error = Error::new(Reason::WriteConflict, Phase::Receive, "what exists there is not this write's")
                .with_delivery(Delivery::Answered)
                .with_host(self.request.authority());
            Conclusion::Done(Err(error))
        };
        let (response, about) = match (answer, question.about) {
            (Ok(response), about) => (response, about),
            (Err(_), About::Verify(error)) => return Conclusion::Done(Err(error)),
            (Err(error), _) => return self.unsettled("the read that would tell whose it is failed").with_cause(error),
        };
        match about {
            About::Verify(error) => match self.write.verify.as_ref().and_then(|verify| (verify.reads)(&response)) {
                Some(true) => applied(response),
                _ => Conclusion::Done(Err(error)),
            },
            _ if response.status() == 404 => self.unsettled("what existed a moment ago is gone"),
            About::Label if response.is_success() => {
                match self.write.profile.label().and_then(|name| response.header(name)) {
                    Some(label) if label == self.label => applied(response),
                    // Without a hash of the body in one of them, or written by somebody who does not label: its bytes tell.
                    Some(label) if is_half(label, &self.label) => self.ask_whose(false, is_doubtful),
                    None => self.ask_whose(false, is_doubtful),
                    Some(_) => conflict(),
                }
            }
            About::Bytes if response.is_success() => match self.fingerprint {
                Some(fingerprint) if sha256(response.body()) == fingerprint.0 => applied(response),
                Some(_) => conflict(),
                None => self.unsettled("the body was sent once and can't be compared"),
            },
            _ => self.unsettled("the read that would tell whose it is was refused"),
        }
    }

    /// Something exists there, and it can't be told whose.
    fn unsettled(&self, detail: &'static str) -> Conclusion {
        let error = Error::new(Reason::WriteOutcomeUnknown, Phase::Receive, detail)
            .with_delivery(Delivery::Answered)
            .with_host(self.request.authority());
        self.unknown(error)
    }
}

impl Conclusion {
    fn with_cause(self, cause: Error) -> Conclusion {
        match self {
            Conclusion::Done(Err(error)) => Conclusion::Done(Err(error.with_source(cause))),
            other => other,
        }
    }
}

/// What became of one item of a [`Batch`], as its answer has it. An item that [`Meaning::Exists`] counts as done: the
/// batch's items go by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What the answer says of it.
    pub meaning: Meaning,
    /// The item's own status, as the target has it.
    pub status: u16,
}

/// Many writes in one request whose answer tells of each: only the failed ones are sent again, each under its own key.
#[derive(Clone)]
pub struct Batch {
    items: Vec<(Key, Bytes)>,
    memory: Duration,
    composes: Composes,
    reads: Reads<Vec<Fate>>,
}

/// Makes the request of some items.
type Composes = Arc<dyn Fn(&[(Key, Bytes)]) -> Request + Send + Sync>;

impl Batch {
    /// A batch of a target's own making: `composes` makes the request of some of the items, with their keys in it; `reads`
    /// finds the items' fates in the answer, one for each, in their order; nothing where it can't be understood.
    pub fn new(
        composes: impl Fn(&[(Key, Bytes)]) -> Request + Send + Sync + 'static,
        reads: impl Fn(&Response) -> Option<Vec<Fate>> + Send + Sync + 'static,
    ) -> Batch {
        let (composes, reads) = (Arc::new(composes), Arc::new(reads));
        Batch { items: Vec::new(), memory: DEFAULT_MEMORY, composes, reads }
    }

    /// `_bulk` of Elasticsearch and OpenSearch at this URL, one `create` for each item, whose document's id is its key:
    /// an item is a JSON document without a line feed.
    ///
    /// ```no_run
    /// # fn example(client: pinlink::Client, scope: pinlink::Scope) {
    /// use pinlink::Batch;
    ///
    /// let mut batch = Batch::elasticsearch("https://es.example:9200/_bulk", "orders");
    /// for order in [4711, 4712] {
    ///     batch = batch.item(&scope.key("index order", order), format!(r#"{{"id":{order}}}"#));
    /// }
    /// for outcome in client.write_batch(&batch) {
    ///     println!("{outcome:?}");
    /// }
    /// # }
    /// ```
    pub fn elasticsearch(url: &str, index: &str) -> Batch {
        let (url, index) = (url.to_owned(), serde_json::Value::from(index));
        let composes = move |items: &[(Key, Bytes)]| {
            let mut lines = Vec::new();
            for (key, document) in items {
                let action = format!("{{\"create\":{{\"_index\":{index},\"_id\":\"{}\"}}}}\n", key.hex());
                lines.extend_from_slice(action.as_bytes());
                lines.extend_from_slice(document);
                lines.push(b'\n');
            }
            Request::post(&url).header("Content-Type", "application/x-ndjson").body(lines)
        };
        Batch::new(composes, read_bulk).memory(Duration::MAX)
    }

    /// How long the target remembers the items' keys; the default is 24 hours. After that, less a margin, nothing is sent
    /// again.
    #[must_use]
    pub fn memory(mut self, memory: Duration) -> Batch {
        self.memory = memory;
        self
    }

    pub(crate) fn remembers_for(&self) -> Duration {
        self.memory
    }

    /// Adds an item.
    #[must_use]
    pub fn item(mut self, key: &Key, body: impl Into<Bytes>) -> Batch {
        self.items.push((*key, body.into()));
        self
    }

    pub(crate) fn items(&self) -> &[(Key, Bytes)] {
        &self.items
    }

    pub(crate) fn compose(&self, items: &[(Key, Bytes)]) -> Request {
        (self.composes)(items)
    }

    /// The fates of so many items; nothing where the answer does not tell of each.
    pub(crate) fn read(&self, response: &Response, items: usize) -> Option<Vec<Fate>> {
        (self.reads)(response).filter(|fates| fates.len() == items)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("items", &self.items.len()).finish_non_exhaustive()
    }
}

fn read_bulk(response: &Response) -> Option<Vec<Fate>> {
    #[derive(serde::Deserialize)]
    struct Bulk {
        items: Vec<Item>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        create: Created,
    }
    #[derive(serde::Deserialize)]
    struct Created {
        status: u16,
    }
    let bulk: Bulk = serde_json::from_slice(response.body()).ok()?;
    let fate = |Item { create: Created { status } }| Fate {
        meaning: match status {
            200..=299 => Meaning::Applied,
            // The id is the key: what exists is this write.
            409 => Meaning::AlreadyApplied,
            429 | 500..=599 => Meaning::Again,
            _ => Meaning::Rejected,
        },
        status,
    };
    Some(bulk.items.into_iter().map(fate).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Scope;
    use crate::profile::KeyForm;

    fn key() -> Key {
        Scope::job("job").unwrap().key("write", 7)
    }

    fn placed(profile: &Profile, request: Request) -> Result<Request> {
        let write = Write::new(request.clone(), &key(), profile);
        write.check()?;
        write.placed(request, "label").map(|(request, _)| request)
    }

    /// The caller's fields, a line each.
    fn fields(request: &Request) -> String {
        let line =
            |(name, value): (http::HeaderName, http::HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        request.headers().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_key_goes_where_the_target_looks_for_it() {
        let (hex, url) = (key().hex(), "https://a/b?c=d");
        let post = || Request::post(url);
        let at = |profile: &Profile, request| placed(profile, request).unwrap();
        assert_eq!(fields(&at(&Profile::idempotency_key(), post())), format!("idempotency-key: \"{hex}\""));
        assert_eq!(fields(&at(&Profile::bare_idempotency_key(), post())), format!("idempotency-key: {hex}"));
        let own = Profile::header("X-Id").form(KeyForm::Short);
        assert_eq!(fields(&at(&own, post())), format!("x-id: {}", key().short()));
        let token = Profile::client_token();
        assert_eq!(at(&token, post()).url(), format!("{url}&ClientToken={hex}"));
        let token = token.form(KeyForm::Uuid);
        assert_eq!(at(&token, Request::post("https://a/")).url(), format!("https://a/?ClientToken={}", key().uuid()));
        let put = || Request::put("https://a/o");
        let oss = "x-oss-forbid-overwrite: true\nx-oss-meta-pinlink-key: label";
        assert_eq!(fields(&at(&Profile::oss(), put())), oss);
        assert_eq!(fields(&at(&Profile::s3(), put())), "if-none-match: *\nx-amz-meta-pinlink-key: label");
        assert_eq!(fields(&at(&Profile::if_none_match(), put())), "if-none-match: *");
        let document = at(&Profile::elasticsearch(), Request::put("https://a/i/_create/{key}"));
        assert_eq!(document.url(), format!("https://a/i/_create/{hex}"));
    }

    #[test]
    fn a_form_gets_the_key_and_keeps_what_it_has() {
        let token = Profile::client_token_in_form();
        let form = placed(&token, Request::post("https://a/").body("Action=Run")).unwrap();
        assert_eq!(form.body_bytes().unwrap(), format!("Action=Run&ClientToken={}", key().hex()).as_bytes());
        assert_eq!(fields(&form), "content-type: application/x-www-form-urlencoded");
        let form = placed(&Profile::form_field("t"), Request::post("https://a/")).unwrap();
        assert_eq!(form.body_bytes().unwrap(), format!("t={}", key().hex()).as_bytes());
    }

    #[test]
    fn what_can_t_be_a_write_is_refused_before_anything_is_sent() {
        let refused = |profile: Profile, request: Request| {
            assert_eq!(placed(&profile, request).expect_err("refused").reason(), Reason::ConfigInput);
        };
        let post = || Request::post("https://a/");
        refused(Profile::client_token(), Request::post("https://a/?ClientToken=mine"));
        refused(Profile::client_token_in_form(), post().body("a=b&ClientToken=mine"));
        refused(Profile::client_token_in_form(), post().body_reader(std::io::empty(), None));
        refused(Profile::idempotency_key(), post().header("Idempotency-Key", "mine"));
        refused(Profile::elasticsearch(), Request::put("https://a/i/_create/7"));
        refused(Profile::elasticsearch(), Request::post("https://a/i/_update/{key}"));
        refused(Profile::header("X-Request-Id"), post().header("x-request-id", "mine"));
        refused(Profile::header("not a name"), post());
        refused(Profile::header("Host"), post());
        refused(Profile::query("a b"), post());
        refused(Profile::oss(), post());
        refused(Profile::oss(), Request::put("https://a/o").header("x-oss-forbid-overwrite", "false"));
        refused(Profile::s3(), Request::put("https://a/o").header("If-None-Match", "\"tag\""));
        placed(&Profile::s3(), Request::put("https://a/o").header("If-None-Match", "*")).unwrap();
        refused(Profile::idempotency_key(), Request::get("https://a/"));
    }

    #[test]
    fn what_a_target_may_promise_is_said_and_a_plain_post_must_be_meant() {
        let keyless = |method| Write::keyless(Request::new(method, "https://a/"));
        let keyed = Write::new(Request::post("https://a/"), &key(), &Profile::idempotency_key());
        assert_eq!(keyed.guarantee(), Guarantee::Once);
        for method in ["PUT", "DELETE"] {
            assert_eq!(keyless(method).guarantee(), Guarantee::Repeatable);
            keyless(method).check().unwrap();
        }
        for method in ["POST", "PATCH"] {
            assert_eq!(keyless(method).guarantee(), Guarantee::AtMostOncePerProcess);
            let error = keyless(method).check().expect_err("refused");
            assert_eq!((error.reason(), error.outcome()), (Reason::WriteUnkeyed, Outcome::Rejected));
            keyless(method).unkeyed().check().unwrap();
        }
    }
}
