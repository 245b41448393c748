//! Where a ledger's records stand: [`Store`], over HTTP ([`HttpStore`]) and in a database ([`SqlStore`]).
//!
//! It owns what a store must be able to do, and how two kinds of them do it. It knows nothing of what the records
//! say. Ages are differences of two times of the store's own; no clock here is read, and nothing is drawn at random.

use std::error::Error as StdError;
use std::time::Duration;

use crate::blocking::Client;
use crate::error::{Delivery, Error, Result};
use crate::profile::{Meaning, Place, Profile};
use crate::request::Request;
use crate::response::Response;
use crate::sql::{Dialect, Ran, Statement, Value};

/// Why a store could not do what it was asked.
pub type Failure = Box<dyn StdError + Send + Sync>;

/// Where the records of a [`Ledger`](crate::Ledger) stand.
///
/// Creating must be atomic: of many that create the same name, one does, whatever happens. What one has created,
/// everybody reads from then on, and it stays: a cache, a replica that lags, or a rule that deletes young records
/// would have the ledger promise what it can't keep.
pub trait Store {
    /// Creates a record unless one of this name is there, within about this time. Names are of letters, digits, `-`
    /// and `/`.
    ///
    /// # Errors
    /// Where it surely was not created and won't be; in doubt it is [`Created::Unsure`].
    fn create(&self, name: &str, record: &[u8], within: Duration) -> Result<Created, Failure>;

    /// Reads a record, within about this time; nothing where there is none.
    ///
    /// # Errors
    /// Where it can't be read.
    fn read(&self, name: &str, within: Duration) -> Result<Option<Found>, Failure>;
}

/// What came of creating a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created, now.
    Now,
    /// One of this name was there.
    Before,
    /// The answer was lost: it may have been created, or may yet be.
    Unsure,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it was created.
    pub record: Vec<u8>,
    /// How long ago, by the store's own clock and to the second; nothing where that does not tell.
    pub age: Option<Duration>,
}

impl<S: Store + ?Sized> Store for &S {
    fn create(&self, name: &str, record: &[u8], within: Duration) -> Result<Created, Failure> {
        (**self).create(name, record, within)
    }

    fn read(&self, name: &str, within: Duration) -> Result<Option<Found>, Failure> {
        (**self).read(name, within)
    }
}

/// Objects below a URL, in a store that takes a `PUT` on condition that there is none of that name.
///
/// With [`Profile::oss`] that is `x-oss-forbid-overwrite: true`, with [`Profile::s3`] or [`Profile::if_none_match`]
/// `If-None-Match: *`. OSS ignores its condition in a bucket whose versioning is enabled or suspended: such a bucket
/// keeps no ledger. A rule that deletes old objects must spare them for longer than any execution may come late. The
/// age of a claim is the answer's `Date` less its `Last-Modified`.
///
/// ```no_run
/// use pinlink::{Client, HttpStore, Ledger, Profile};
///
/// # fn example(client: Client, sign: fn(pinlink::Request) -> pinlink::Request) -> Result<(), pinlink::Error> { let
/// store = HttpStore::new(client, "https://ledger.oss-cn-hangzhou-internal.aliyuncs.com/orders/", &Profile::oss())?;
/// let ledger = Ledger::new(store.signed(sign));
/// # Ok(())
/// # }
/// ```
pub struct HttpStore {
    client: Client,
    base: String,
    profile: Profile,
    condition: (&'static str, &'static str),
    sign: Option<Box<dyn Fn(Request) -> Request + Send + Sync>>,
}

impl HttpStore {
    /// Below `base`, which ends with a slash.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) where that is no such URL, or the profile is none of a
    /// conditional `PUT`.
    pub fn new(client: Client, base: &str, profile: &Profile) -> Result<HttpStore> {
        let Place::Condition(Some(condition)) = *profile.place() else {
            return Err(Error::input(
                "a ledger's store takes a profile of a conditional PUT: oss, s3 or if_none_match",
            ));
        };
        Request::get(base).check()?;
        if !base.ends_with('/') || base.contains(['?', '#']) {
            return Err(Error::input("the base URL of a ledger's store ends with a slash and has no query"));
        }
        Ok(HttpStore { client, base: base.to_owned(), profile: profile.clone(), condition, sign: None })
    }

    /// Signs each request: called for each try, with everything but the signature in place (see [`Request::signed`]).
    #[must_use]
    pub fn signed(mut self, sign: impl Fn(Request) -> Request + Send + Sync + Clone + 'static) -> HttpStore {
        self.sign = Some(Box::new(move |request| request.signed(sign.clone())));
        self
    }

    fn send(&self, request: Request, within: Duration) -> Result<Response> {
        // A request's timeout can't be nothing.
        let request = request.timeout(within.max(Duration::from_millis(1)));
        self.client.send(&match &self.sign {
            Some(sign) => sign(request),
            None => request,
        })
    }

    fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }
}

impl Store for HttpStore {
    fn create(&self, name: &str, record: &[u8], within: Duration) -> Result<Created, Failure> {
        let (field, value) = self.condition;
        let put = Request::put(&self.url(name)).header(field, value).body(record.to_vec());
        let answer = match self.send(put, within) {
            Ok(answer) => answer,
            Err(error) if error.delivery() == Delivery::NotSent => return Err(error.into()),
            Err(_) => return Ok(Created::Unsure),
        };
        match self.profile.judge(answer.status(), answer.headers(), answer.body()) {
            Meaning::Applied => Ok(Created::Now),
            Meaning::Exists => Ok(Created::Before),
            Meaning::Rejected => Err(refusal("create", &answer)),
            // Also where it is refused now: an earlier try of the same call may have had its effect.
            _ => Ok(Created::Unsure),
        }
    }

    fn read(&self, name: &str, within: Duration) -> Result<Option<Found>, Failure> {
        // An answer kept by somebody on the way would tell of the past.
        let get = Request::get(&self.url(name)).header("cache-control", "no-cache");
        let answer = self.send(get, within)?;
        match answer.status() {
            200 => Ok(Some(Found { record: answer.body().to_vec(), age: age(&answer) })),
            404 => Ok(None),
            _ => Err(refusal("read", &answer)),
        }
    }
}

fn refusal(what: &str, answer: &Response) -> Failure {
    format!("the store refused to {what} a record: status {}", answer.status()).into()
}

/// By the server's clock alone: it writes both.
fn age(answer: &Response) -> Option<Duration> {
    let date = |name| {
        let text = std::str::from_utf8(answer.headers().get(name)?).ok()?;
        Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
    };
    let age = date("date")?.duration_since(date("last-modified")?);
    Some(Duration::try_from(age).unwrap_or_default())
}

/// A table. The statements are run by a closure, each for itself: outside a transaction (auto-commit), on a primary.
///
/// ```
/// use pinlink::{Ledger, SqlStore, sql::{Dialect, Ran, Statement}};
///
/// # fn connection() -> Result<Ran, std::io::Error> { Ok(Ran::default()) }
/// let run = |statement: &Statement| -> Result<Ran, std::io::Error> {
///     // Runs statement.text with statement.parameters on a connection of the job's own.
///     # connection()
/// };
/// let ledger = Ledger::new(SqlStore::new(Dialect::Postgres, run));
/// ```
pub struct SqlStore<F> {
    dialect: Dialect,
    table: String,
    run: F,
}

impl<F, E> SqlStore<F>
where
    F: Fn(&Statement) -> Result<Ran, E>,
    E: Into<Failure>,
{
    /// In the table `pinlink_ledger`.
    pub fn new(dialect: Dialect, run: F) -> SqlStore<F> {
        let table = dialect.table("pinlink_ledger").expect("a plain name");
        SqlStore { dialect, table, run }
    }

    /// In another table.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`](crate::Reason::ConfigInput) where that is no table's name.
    pub fn in_table(dialect: Dialect, table: &str, run: F) -> Result<SqlStore<F>> {
        Ok(SqlStore { dialect, table: dialect.table(table)?, run })
    }

    /// Makes the table. Once, by whoever may: not by every worker.
    pub fn create_table(&self) -> Statement {
        let table = &self.table;
        let text = match self.dialect {
            // As in the table of keys, `seen` tells a creation from a repetition on any connection.
            Dialect::MySql => format!(
                "CREATE TABLE IF NOT EXISTS {table} (\
                 `name` VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, \
                 `record` VARBINARY(255) NOT NULL, \
                 `seen` BIGINT UNSIGNED NOT NULL DEFAULT 1, \
                 `created_at` DATETIME(6) NOT NULL) ENGINE=InnoDB"
            ),
            _ => format!(
                "CREATE TABLE IF NOT EXISTS {table} (\
                 \"name\" text NOT NULL PRIMARY KEY, \
                 \"record\" text NOT NULL, \
                 \"created_at\" timestamptz NOT NULL DEFAULT now())"
            ),
        };
        Statement::new(text, [])
    }
}

impl<F, E> Store for SqlStore<F>
where
    F: Fn(&Statement) -> Result<Ran, E>,
    E: Into<Failure>,
{
    fn create(&self, name: &str, record: &[u8], _within: Duration) -> Result<Created, Failure> {
        let (table, record) = (&self.table, String::from_utf8(record.to_vec())?);
        let text = match self.dialect {
            Dialect::MySql => format!(
                "INSERT INTO {table} (`name`, `record`, `created_at`) VALUES (?, ?, UTC_TIMESTAMP(6)) \
                 ON DUPLICATE KEY UPDATE `seen` = `seen` + 1"
            ),
            _ => {
                format!("INSERT INTO {table} (\"name\", \"record\") VALUES ($1, $2) ON CONFLICT (\"name\") DO NOTHING")
            }
        };
        Ok(match (self.run)(&Statement::new(text, [name.into(), record.into()])) {
            Ok(Ran { affected: 1, .. }) => Created::Now,
            Ok(_) => Created::Before,
            // A driver does not tell whether it arrived.
            Err(_) => Created::Unsure,
        })
    }

    fn read(&self, name: &str, _within: Duration) -> Result<Option<Found>, Failure> {
        let table = &self.table;
        let text = match self.dialect {
            Dialect::MySql => format!(
                "SELECT `record`, TIMESTAMPDIFF(MICROSECOND, `created_at`, UTC_TIMESTAMP(6)) DIV 1000 \
                 FROM {table} WHERE `name` = ?"
            ),
            _ => format!(
                "SELECT \"record\", CAST(EXTRACT(EPOCH FROM now() - \"created_at\") * 1000 AS bigint) \
                 FROM {table} WHERE \"name\" = $1"
            ),
        };
        let ran = (self.run)(&Statement::new(text, [name.into()])).map_err(Into::into)?;
        let Some(row) = ran.rows.first() else { return Ok(None) };
        let record = match row.first() {
            Some(Value::Text(record)) => record.clone().into_bytes(),
            Some(Value::Bytes(record)) => record.clone(),
            _ => return Err("a record is neither text nor bytes".into()),
        };
        let age = match row.get(1) {
            Some(Value::I64(milliseconds)) => Some(Duration::from_millis(u64::try_from(*milliseconds).unwrap_or(0))),
            _ => None,
        };
        Ok(Some(Found { record, age }))
    }
}
