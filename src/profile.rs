//! What one kind of target makes of a key: where it goes, and what its answers mean.
//!
//! It owns the ready profiles, each with the document its rules come from, and the reading of an answer
//! ([`Profile::judge`]). It sends nothing and decides nothing about retries; no clock, no randomness.

use std::sync::Arc;
use std::time::Duration;

use crate::key::Key;
use crate::response::Headers;

/// The part of an answer in which an error's code is looked for; so much is kept of it whatever the options say.
pub(crate) const LOOKED_AT: usize = 16 * 1024;
/// How long a target remembers a key where its profile does not say: the least of the documented ones (Stripe and the
/// Alibaba Cloud OpenAPI keep theirs for at least 24 hours).
pub(crate) const DEFAULT_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyForm {
    /// 64 hexadecimal digits ([`Key::hex`]).
    Hex,
    /// A UUID of version 8 ([`Key::uuid`]).
    Uuid,
    /// 26 letters and digits ([`Key::short`]).
    Short,
}

/// What an answer says about a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// This request had its effect.
    Applied,
    /// An earlier one under this key had.
    AlreadyApplied,
    /// Something stands where this write would go; whose it is must be found out.
    Exists,
    /// Another request under this key is being processed: ask again later.
    InProgress,
    /// This key came with another body before.
    Mismatch,
    /// Not now: send again under the same key.
    Again,
    /// The target failed, and says the same to every repetition under this key: whether there was an effect is not known.
    Stored,
    /// It does not tell whether there was an effect (a redirect after a `POST`, say).
    Unclear,
    /// Refused: this request had no effect.
    Rejected,
}

/// What is known of a target that takes keys: where the key goes, in which form, how long it is remembered, and what the
/// answers mean. Cheap to clone.
///
/// ```
/// use pinlink::{KeyForm, Meaning, Profile};
/// use std::time::Duration;
///
/// let orders = Profile::header("X-Request-Id")
///     .form(KeyForm::Uuid)
///     .memory(Duration::from_secs(30 * 60))
///     .mark(409, Some("REQUEST_RUNNING"), Meaning::InProgress)
///     .replay_mark("X-Replayed", "1");
/// # let _ = orders;
/// ```
#[derive(Clone, Debug)]
pub struct Profile(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    place: Place,
    form: KeyForm,
    memory: Duration,
    marks: Vec<Mark>,
    replay: Option<(Box<str>, Box<str>)>,
    stores_failures: bool,
    /// The field of an object's metadata that says whose write it was.
    label: Option<&'static str>,
}

/// Where a key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Header {
        name: Box<str>,
        is_quoted: bool,
    },
    Query(Box<str>),
    Form(Box<str>),
    /// The key or the record's own name is in the path, and this field makes the write conditional.
    Condition(Option<(&'static str, &'static str)>),
    /// The caller's body holds the condition.
    Body,
    /// Nowhere: the target knows nothing of keys.
    Nowhere,
}

/// An answer that means something: its status, and a code in its body where the status alone does not tell.
#[derive(Clone, Debug)]
struct Mark {
    status: u16,
    code: Option<Box<str>>,
    meaning: Meaning,
}

impl Profile {
    fn new(place: Place) -> Profile {
        Profile(Arc::new(Rules {
            place,
            form: KeyForm::Hex,
            memory: DEFAULT_MEMORY,
            marks: Vec::new(),
            replay: None,
            stores_failures: false,
            label: None,
        }))
    }

    /// `Idempotency-Key` as the IETF's draft has it (draft-ietf-httpapi-idempotency-key-header-07): a quoted
    /// structured-field string; 409 while the first request runs, 422 where the body is another one.
    pub fn idempotency_key() -> Profile {
        let place = Place::Header { name: "Idempotency-Key".into(), is_quoted: true };
        Profile::new(place)
            .mark(409, None, Meaning::InProgress)
            .mark(422, None, Meaning::Mismatch)
            .replay_mark("Idempotent-Replayed", "true")
    }

    /// `Idempotency-Key` as Stripe and those after it take it: bare; the first answer is replayed, a stored 500 too, with
    /// `Idempotent-Replayed: true`; 400 `idempotency_error` where the body is another one.
    pub fn bare_idempotency_key() -> Profile {
        Profile::header("Idempotency-Key")
            .mark(409, None, Meaning::InProgress)
            .mark(400, Some("idempotency_error"), Meaning::Mismatch)
            .mark(422, None, Meaning::Mismatch)
            .replay_mark("Idempotent-Replayed", "true")
            .stores_failures(true)
    }

    /// A header of the target's own, bare. What it answers to repetitions is told by [`Profile::mark`] and
    /// [`Profile::replay_mark`].
    pub fn header(name: &str) -> Profile {
        Profile::new(Place::Header { name: name.into(), is_quoted: false })
    }

    /// A parameter of the query.
    pub fn query(name: &str) -> Profile {
        Profile::new(Place::Query(name.into()))
    }

    /// A field of a body in `application/x-www-form-urlencoded`.
    pub fn form_field(name: &str) -> Profile {
        Profile::new(Place::Form(name.into()))
    }

    /// `ClientToken` in the query, as Alibaba Cloud's OpenAPI has it: at most 64 ASCII characters, remembered for 24
    /// hours; the codes `IdempotentParameterMismatch`, `IdempotenceParamNotMatch` and `IdempotentProcessing`.
    pub fn client_token() -> Profile {
        Profile::query("ClientToken").with_token_marks()
    }

    /// The same in a form body.
    pub fn client_token_in_form() -> Profile {
        Profile::form_field("ClientToken").with_token_marks()
    }

    fn with_token_marks(mut self) -> Profile {
        for status in [400, 403, 409] {
            self = self
                .mark(status, Some("IdempotentParameterMismatch"), Meaning::Mismatch)
                .mark(status, Some("IdempotenceParamNotMatch"), Meaning::Mismatch)
                .mark(status, Some("IdempotentProcessing"), Meaning::InProgress);
        }
        self
    }

    /// `PUT` of an OSS object that must not exist yet (`x-oss-forbid-overwrite: true`, 409 `FileAlreadyExists`). Where the
    /// object's name holds `{key}`, one that exists is this write; else its metadata (`x-oss-meta-pinlink-key`, set by
    /// the write) or its bytes tell whose it is.
    pub fn oss() -> Profile {
        Profile::condition("x-oss-forbid-overwrite", "true", Some("x-oss-meta-pinlink-key"))
            .mark(409, Some("FileAlreadyExists"), Meaning::Exists)
            .mark(409, Some("FileImmutable"), Meaning::Exists)
    }

    /// The same at an S3-compatible store: `If-None-Match: *`, 412 where the object exists, 409
    /// `ConditionalRequestConflict` while another write of it runs; metadata `x-amz-meta-pinlink-key`.
    pub fn s3() -> Profile {
        Profile::condition("if-none-match", "*", Some("x-amz-meta-pinlink-key")).mark(412, None, Meaning::Exists).mark(
            409,
            Some("ConditionalRequestConflict"),
            Meaning::InProgress,
        )
    }

    /// `PUT` of what must not exist yet at any HTTP server (`If-None-Match: *`, RFC 9110 13.1.2): 412 where it does; its
    /// bytes then tell whose it is, unless its name holds `{key}`.
    pub fn if_none_match() -> Profile {
        Profile::condition("if-none-match", "*", None).mark(412, None, Meaning::Exists)
    }

    fn condition(name: &'static str, value: &'static str, label: Option<&'static str>) -> Profile {
        let mut profile = Profile::new(Place::Condition(Some((name, value))));
        profile.rules().label = label;
        profile
    }

    /// Elasticsearch and OpenSearch: `PUT /index/_create/{key}`, 409 `version_conflict_engine_exception` where the document
    /// exists.
    pub fn elasticsearch() -> Profile {
        Profile::new(Place::Condition(None))
            .mark(409, Some("version_conflict_engine_exception"), Meaning::Exists)
            .memory(Duration::MAX)
    }

    /// Tablestore: a row whose condition `EXPECT_NOT_EXIST` stands in the caller's body; the row's primary key holds the
    /// key ([`Key::hex`]). 403 `OTSConditionCheckFail` where the row exists, `OTSRowOperationConflict` while another
    /// write of it runs.
    pub fn tablestore() -> Profile {
        Profile::new(Place::Body)
            .mark(403, Some("OTSConditionCheckFail"), Meaning::AlreadyApplied)
            .mark(409, Some("OTSRowOperationConflict"), Meaning::InProgress)
            .memory(Duration::MAX)
    }

    /// A target that knows nothing of keys.
    pub(crate) fn keyless() -> Profile {
        Profile::new(Place::Nowhere)
    }

    /// A batch whose items hold their own keys: the request may be sent again.
    pub(crate) fn idempotent() -> Profile {
        Profile::new(Place::Body)
    }

    fn rules(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.0)
    }

    /// How the key is written; the default is [`KeyForm::Hex`].
    #[must_use]
    pub fn form(mut self, form: KeyForm) -> Profile {
        self.rules().form = form;
        self
    }

    /// How long the target remembers a key; the default is 24 hours. After that, less a margin, nothing is sent again.
    #[must_use]
    pub fn memory(mut self, memory: Duration) -> Profile {
        self.rules().memory = memory;
        self
    }

    /// What an answer of this status means, where its body holds `code` if one is given. The first mark that fits counts.
    #[must_use]
    pub fn mark(mut self, status: u16, code: Option<&str>, meaning: Meaning) -> Profile {
        self.rules().marks.push(Mark { status, code: code.map(Into::into), meaning });
        self
    }

    /// The header and value by which the target says that an answer is a stored one.
    #[must_use]
    pub fn replay_mark(mut self, name: &str, value: &str) -> Profile {
        self.rules().replay = Some((name.into(), value.into()));
        self
    }

    /// Whether a failure (500) is stored under the key, so that every repetition gets it again; the default is no.
    #[must_use]
    pub fn stores_failures(mut self, stores: bool) -> Profile {
        self.rules().stores_failures = stores;
        self
    }

    pub(crate) fn takes_keys(&self) -> bool {
        self.0.place != Place::Nowhere
    }

    pub(crate) fn remembers_for(&self) -> Duration {
        self.0.memory
    }

    /// The metadata field that tells whose an object is.
    pub(crate) fn label(&self) -> Option<&'static str> {
        self.0.label
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// The key as this target takes it.
    pub(crate) fn write_key(&self, key: &Key) -> String {
        match self.0.form {
            KeyForm::Hex => key.hex(),
            KeyForm::Uuid => key.uuid(),
            KeyForm::Short => key.short(),
        }
    }

    /// What an answer means.
    pub(crate) fn judge(&self, status: u16, headers: &Headers, body: &[u8]) -> Meaning {
        let body = &body[..body.len().min(LOOKED_AT)];
        let holds = |code: &str| body.windows(code.len().max(1)).any(|window| window == code.as_bytes());
        let fits = |mark: &&Mark| mark.status == status && mark.code.as_deref().is_none_or(holds);
        if let Some(mark) = self.0.marks.iter().find(fits) {
            return mark.meaning;
        }
        let is_replay = || {
            self.0.replay.as_ref().is_some_and(|(name, value)| {
                headers.get(name).is_some_and(|have| have.trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
            })
        };
        match status {
            200..=299 if is_replay() => Meaning::AlreadyApplied,
            200..=299 => Meaning::Applied,
            408 | 421 | 425 | 429 | 502 | 503 | 504 => Meaning::Again,
            // Not known, or no such version: the same for every repetition.
            501 | 505 => Meaning::Rejected,
            500..=599 if self.0.stores_failures => Meaning::Stored,
            500..=599 => Meaning::Again,
            // RFC 9110 15.4: 303 follows what was done, 307 and 308 what was not; older targets say 301 and 302 for both.
            300..=306 | 309..=399 => Meaning::Unclear,
            _ => Meaning::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::Packing;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut packing = Packing::new(fields.len(), 100);
        fields.iter().for_each(|(name, value)| packing.push(name, value.as_bytes()));
        packing.finish(Vec::new()).0
    }

    #[test]
    fn answers_mean_what_the_target_s_document_says() {
        let none = headers(&[]);
        let judge = |profile: &Profile, status, body: &str| profile.judge(status, &none, body.as_bytes());
        let ietf = Profile::idempotency_key();
        let all = [
            (201, Meaning::Applied),
            (409, Meaning::InProgress),
            (422, Meaning::Mismatch),
            (400, Meaning::Rejected),
            (429, Meaning::Again),
            (500, Meaning::Again),
            (503, Meaning::Again),
            (303, Meaning::Unclear),
            (501, Meaning::Rejected),
            (307, Meaning::Rejected),
        ];
        for (status, meaning) in all {
            assert_eq!(judge(&ietf, status, ""), meaning, "{status}");
        }
        let replayed = headers(&[("idempotent-replayed", "true")]);
        assert_eq!(ietf.judge(201, &replayed, b""), Meaning::AlreadyApplied);
        assert_eq!(ietf.judge(201, &headers(&[("idempotent-replayed", "false")]), b""), Meaning::Applied);
        let bare = Profile::bare_idempotency_key();
        assert_eq!(judge(&bare, 500, ""), Meaning::Stored);
        assert_eq!(judge(&bare, 502, ""), Meaning::Again);
        assert_eq!(judge(&bare, 400, r#"{"error":{"type":"idempotency_error"}}"#), Meaning::Mismatch);
        assert_eq!(judge(&bare, 400, ""), Meaning::Rejected);
        assert_eq!(judge(&Profile::oss(), 409, "<Code>FileAlreadyExists</Code>"), Meaning::Exists);
        assert_eq!(judge(&Profile::oss(), 409, "<Code>ObjectNotAppendable</Code>"), Meaning::Rejected);
        assert_eq!(judge(&Profile::s3(), 412, ""), Meaning::Exists);
        assert_eq!(judge(&Profile::s3(), 409, "ConditionalRequestConflict"), Meaning::InProgress);
        assert_eq!(judge(&Profile::elasticsearch(), 409, "version_conflict_engine_exception"), Meaning::Exists);
        assert_eq!(judge(&Profile::tablestore(), 403, "OTSConditionCheckFail"), Meaning::AlreadyApplied);
        assert_eq!(judge(&Profile::tablestore(), 403, "OTSAuthFailed"), Meaning::Rejected);
        assert_eq!(judge(&Profile::client_token(), 400, "IdempotentParameterMismatch"), Meaning::Mismatch);
        assert_eq!(judge(&Profile::client_token(), 409, "IdempotentProcessing"), Meaning::InProgress);
        assert_eq!(judge(&Profile::keyless(), 409, ""), Meaning::Rejected);
    }
}
