//! The key of a write: the same for every execution of the same work, and for no other.
//!
//! It owns what a key is made of ([`Scope`], operation, [`Record`]) and how ([`Key`]): SHA-256 over fields that each
//! stand behind their length, so that no two inputs run into each other. Text counts byte by byte: nothing is
//! trimmed, folded or normalised. Pure: no clock, no randomness, nothing of the machine; `tests/parity/keys.toml`
//! holds vectors for every language.

use std::borrow::Cow;
use std::fmt;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use ring::digest::{Context, SHA256, digest};

use crate::error::{Error, Result};

/// Names the derivation: another one gets another tag, and no key of the old one.
const VERSION: &str = "pinlink/1";
/// The longest text of a scope, in bytes.
const MAX_SCOPE: usize = 256;
/// What is said of a key where people read: so many hexadecimal digits of a hash of it.
const LOGGED: usize = 8;

/// Whose writes these are: what all executions of one job share, and no other job has.
///
/// It is the part of a key that keeps two jobs apart, so it must survive what the platform does: a re-run node, a
/// backup worker, a Spark retry. What does not survive (attempt numbers, clocks, host names, row counters, task
/// attempt ids) has no way in: a scope takes one text, and refuses what is plainly an attempt's name.
///
/// ```
/// use pinlink::Scope;
///
/// let scope = Scope::job("orders of 2026-11-22")?;
/// let key = scope.key("insert order", ["berlin", "4711"]);
/// assert_eq!(key, Scope::job("orders of 2026-11-22")?.key("insert order", ["berlin", "4711"]));
/// assert_ne!(key, scope.key("insert order", ["berlin4", "711"]));
/// assert_eq!((key.hex().len(), key.uuid().len(), key.short().len()), (64, 36, 26));
/// # Ok::<(), pinlink::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    kind: &'static str,
    text: Box<str>,
}

impl Scope {
    /// A key that the job's owner gave it: the best one, since it also survives a job that is submitted again. A
    /// business date and the job's name will do.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) where it is empty, over 256 bytes, holds a control
    /// character or names an attempt (`attempt_…`).
    pub fn job(key: &str) -> Result<Scope> {
        if key.is_empty() || key.len() > MAX_SCOPE || key.chars().any(char::is_control) {
            return Err(Error::input(format!("a job's key has 1 to {MAX_SCOPE} bytes and no control character")));
        }
        let names_one =
            |kind: &str| key.strip_prefix(kind).is_some_and(|id| id.starts_with(|c: char| c.is_ascii_digit()));
        if names_one("attempt_") || names_one("task_") {
            // Hadoop's and Spark's ids of attempts and tasks.
            return Err(Error::input("a job's key must be the same for every execution: this one names an attempt"));
        }
        Ok(Scope { kind: "job", text: key.into() })
    }

    /// The id of a MaxCompute instance (`20261122060110436gskmgc`), as `ExecutionContext` has it in Java: shared by
    /// re-runs and backup workers of this instance, not by the next submission of the same job.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) where it has not that form: 17 digits, then letters and
    /// digits.
    pub fn instance(id: &str) -> Result<Scope> {
        let (time, rest) = id.split_at_checked(17).unwrap_or_default();
        let is_one = time.bytes().all(|b| b.is_ascii_digit())
            && (2..=32).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && rest.starts_with('g');
        if !is_one {
            return Err(Error::input("an instance id is 17 digits, then 'g' and lower-case letters and digits"));
        }
        Ok(Scope { kind: "instance", text: id.into() })
    }

    /// The id of a Spark application (`application_…` on a cluster, `spark-…` on Kubernetes, `local-…`): shared by
    /// retried and speculative tasks, not by a driver that is submitted again.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) where it begins otherwise, or holds anything but
    /// letters, digits, `_` and `-`.
    pub fn spark(application: &str) -> Result<Scope> {
        let is_known =
            ["application_", "spark-", "local-", "app-"].iter().any(|prefix| application.starts_with(prefix));
        let is_plain = application.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !is_known || !is_plain || application.len() > MAX_SCOPE {
            return Err(Error::input("a Spark application's id begins with application_, app-, spark- or local-"));
        }
        Ok(Scope { kind: "spark", text: application.into() })
    }

    /// The key of one write: what is done (`insert order`), and to which record. The same inputs give the same key in
    /// every process, on every machine and in every language.
    pub fn key<'a>(&self, operation: &str, record: impl Into<Record<'a>>) -> Key {
        let mut hash = Context::new(&SHA256);
        for text in [VERSION, self.kind, &self.text, operation] {
            add(&mut hash, text.as_bytes());
        }
        record.into().add_to(&mut hash);
        Key(hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({} {:?})", self.kind, self.text)
    }
}

/// Adds a field behind its length.
fn add(hash: &mut Context, field: &[u8]) {
    hash.update(&(field.len() as u64).to_be_bytes());
    hash.update(field);
}

/// Which record a write is about: its business key, of one part or several; else its content; for a request that carries
/// many rows, the rows' place in the job.
///
/// Made from a text, a whole number, or a list of [`Part`]s ([`Record::parts`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record<'a>(Form<'a>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form<'a> {
    One(Part<'a>),
    Parts(Cow<'a, [Part<'a>]>),
    Content([u8; 32]),
    Chunk(u32, u64),
}

/// One part of a composite record key. A number is its decimal text: 7 and `"7"` are the same part. Floating-point numbers
/// have no one text and are not taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part<'a> {
    /// Text, as its UTF-8 bytes stand: `é` in two code points is another text than in one.
    Text(Cow<'a, str>),
    /// Bytes. Those of a text are the same part as the text.
    Bytes(Cow<'a, [u8]>),
    /// SQL's NULL: not the empty text.
    Null,
}

impl<'a> Record<'a> {
    /// A composite business key, in the order given.
    pub fn parts(parts: impl Into<Cow<'a, [Part<'a>]>>) -> Record<'a> {
        Record(Form::Parts(parts.into()))
    }

    /// What is written, where the record has no business key. Two equal records are then one write; and a record whose
    /// content differs from run to run (a timestamp in it) is written again.
    pub fn content(content: &[u8]) -> Record<'static> {
        Record(Form::Content(sha256(content)))
    }

    /// A request that carries many rows, by the rows' place in the job: the ordinal of the chunk within its partition. Both
    /// must be the same in every execution, and so must the rows of a chunk: sort them first.
    pub fn chunk(partition: u32, ordinal: u64) -> Record<'static> {
        Record(Form::Chunk(partition, ordinal))
    }

    fn add_to(&self, hash: &mut Context) {
        match &self.0 {
            Form::One(part) => add_parts(hash, "record", std::slice::from_ref(part)),
            Form::Parts(parts) => add_parts(hash, "record", parts),
            Form::Content(digest) => add_parts(hash, "content", &[Part::from(&digest[..])]),
            Form::Chunk(partition, ordinal) => {
                add_parts(hash, "chunk", &[Part::from(*partition), Part::from(*ordinal)]);
            }
        }
    }
}

fn add_parts(hash: &mut Context, kind: &str, parts: &[Part<'_>]) {
    add(hash, kind.as_bytes());
    hash.update(&(parts.len() as u64).to_be_bytes());
    for part in parts {
        let bytes = match part {
            Part::Text(text) => text.as_bytes(),
            Part::Bytes(bytes) => bytes,
            Part::Null => {
                hash.update(&[0]);
                continue;
            }
        };
        hash.update(&[1]);
        add(hash, bytes);
    }
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(text: &'a str) -> Part<'a> {
        Part::Text(text.into())
    }
}

impl<'a> From<&'a String> for Part<'a> {
    fn from(text: &'a String) -> Part<'a> {
        Part::Text(text.into())
    }
}

impl From<String> for Part<'_> {
    fn from(text: String) -> Self {
        Part::Text(text.into())
    }
}

impl<'a> From<&'a [u8]> for Part<'a> {
    fn from(bytes: &'a [u8]) -> Part<'a> {
        Part::Bytes(bytes.into())
    }
}

impl<'a, T: Into<Part<'a>>> From<Option<T>> for Part<'a> {
    fn from(part: Option<T>) -> Part<'a> {
        part.map_or(Part::Null, Into::into)
    }
}

macro_rules! whole_numbers {
    ($($number:ty)+) => {$(
        impl From<$number> for Part<'_> {
            fn from(number: $number) -> Self {
                Part::Text(number.to_string().into())
            }
        }
    )+};
}

whole_numbers! { i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 usize }

impl<'a, T: Into<Part<'a>>> From<T> for Record<'a> {
    fn from(part: T) -> Record<'a> {
        Record(Form::One(part.into()))
    }
}

impl<'a, T: Into<Part<'a>>, const N: usize> From<[T; N]> for Record<'a> {
    fn from(parts: [T; N]) -> Record<'a> {
        Record(Form::Parts(parts.into_iter().map(Into::into).collect()))
    }
}

/// The key of one write: 256 bits, in the form that its target takes.
///
/// It is shown as a short hash only: who knows a key may claim its write.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// A key that another language has derived.
    #[doc(hidden)]
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// 64 hexadecimal digits in lower case: all 256 bits, and just what `ClientToken` has room for.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// A UUID of version 8 (RFC 9562 5.8) of the first 122 bits.
    pub fn uuid(&self) -> String {
        let mut bytes: [u8; 16] = self.0[..16].try_into().expect("there are 32");
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = HEXLOWER.encode(&bytes);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// 26 lower-case letters and digits (base32, RFC 4648 6, without padding) of the first 128 bits, for targets with
    /// tight limits.
    pub fn short(&self) -> String {
        BASE32_NOPAD.encode(&self.0[..16]).to_ascii_lowercase()
    }

    /// What may stand in a log: eight digits of a hash of it. Equal keys show the same.
    pub fn logged(&self) -> String {
        let mut text = HEXLOWER.encode(&sha256(&self.0));
        text.truncate(LOGGED);
        text
    }

    /// What the memory of keys keeps of one.
    pub(crate) fn half(&self) -> [u8; 16] {
        self.0[..16].try_into().expect("there are 32")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.logged())
    }
}

pub(crate) fn sha256(content: &[u8]) -> [u8; 32] {
    digest(&SHA256, content).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a key is derived from, as the caller sees it.
    type Input = (String, String, Vec<Option<Vec<u8>>>);

    fn any_input() -> impl Strategy<Value = Input> {
        // Few symbols, so that inputs that differ only in where a boundary stands are common.
        let text = || {
            prop::collection::vec(prop::sample::select(vec!["a", "b", "é", "e\u{301}", "\0", "1"]), 0..4)
                .prop_map(|parts| parts.concat())
        };
        let part = prop::option::of(prop::collection::vec(prop::sample::select(vec![0_u8, 1, 8, b'a']), 0..4));
        (text().prop_map(|job| format!("j{}", job.replace('\0', ""))), text(), prop::collection::vec(part, 0..4))
    }

    fn derived((job, operation, parts): &Input) -> Key {
        let parts: Vec<Part<'_>> = parts.iter().map(|part| part.as_deref().into()).collect();
        Scope::job(job).unwrap().key(operation, Record::parts(parts))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn keys_are_equal_for_equal_inputs_only(one in any_input(), other in any_input()) {
            prop_assert_eq!(derived(&one) == derived(&other), one == other);
        }

        #[test]
        fn every_form_of_a_key_is_what_its_target_takes(input in any_input()) {
            let key = derived(&input);
            prop_assert!(key.hex().len() == 64 && key.hex().bytes().all(|b| b.is_ascii_hexdigit()));
            prop_assert!(key.short().len() == 26 && key.short().bytes().all(|b| b.is_ascii_alphanumeric()));
            let uuid = key.uuid();
            prop_assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
            prop_assert!("89ab".contains(&uuid[19..20]));
            let shown = format!("{key} {key:?}");
            prop_assert!(!shown.contains(&key.hex()[..8]));
        }
    }

    #[test]
    fn a_number_is_its_decimal_text_and_null_is_nothing_else() {
        let scope = Scope::job("j").unwrap();
        let key = |record: Record<'_>| scope.key("o", record);
        assert_eq!(key(7.into()), key("7".into()));
        assert_eq!(key((-7_i64).into()), key("-7".into()));
        assert_eq!(key("é".into()), key("é".as_bytes().into()));
        assert_ne!(key("\u{e9}".into()), key("e\u{301}".into()));
        assert_eq!(key("7".into()), key(["7"].into()), "one part is one part");
        let null: Option<&str> = None;
        let all = [
            key(Part::Null.into()),
            key(null.into()),
            key("".into()),
            key(Record::parts(vec![])),
            key(["", ""].into()),
            key(Record::content(b"")),
            key(Record::chunk(0, 0)),
            key(Record::chunk(0, 1)),
            key(Record::chunk(1, 0)),
            key(["0", "0"].into()),
        ];
        let distinct: std::collections::HashSet<Key> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len() - 1, "only the two ways to say NULL are one");
    }

    #[test]
    fn a_scope_keeps_jobs_apart_and_takes_nothing_that_changes_from_run_to_run() {
        let (job, instance) = (Scope::job("20261122060110436gskmgc"), Scope::instance("20261122060110436gskmgc"));
        assert_ne!(job.unwrap().key("o", 1), instance.unwrap().key("o", 1));
        for id in ["", "20261122060110436", "2026112206011043xgskmgc", "20261122060110436gSKM", "ääääääääääääääääag1"]
        {
            assert!(Scope::instance(id).is_err(), "{id}");
        }
        for id in ["application_1700000000000_0001", "local-1700000000000", "spark-0a1b", "app-20261122060110-0000"] {
            Scope::spark(id).unwrap();
        }
        for id in ["", "attempt_202611220601_0001_m_000000_0", "task_1", "host-7", "application_1/2"] {
            assert!(Scope::spark(id).is_err(), "{id}");
        }
        let long = "x".repeat(257);
        for key in ["", "a\nb", "attempt_202611220601_0001_m_000000_0", "task_202611220601_0001_m_000000", &long] {
            assert!(Scope::job(key).is_err(), "{key}");
        }
    }
}
