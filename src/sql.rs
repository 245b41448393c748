//! A write into a database that happens once: the statements for it, for MySQL, PostgreSQL and Hologres.
//!
//! It owns the texts, the checks of names, and what each count of affected rows means. Names are checked and quoted;
//! values are parameters and never part of a text, and no value is ever shown. It opens no connection: whoever has
//! one runs the statements. Pure: no clock (where time counts it is the server's own), no randomness.
//!
//! There are two ways. [`insert_once`] and [`upsert`] need a unique index over what makes a row one write, and are
//! one statement each. [`Dedup`] needs no such index: a row that stands for the key is written in the same
//! transaction as whatever else the transaction writes, so both are there or neither is.
//!
//! Either way an execution that lost the answer (to the statement, or to `COMMIT`) runs the same once more: no row
//! affected means that it had been done.

use std::fmt::{self, Write as _};
use std::time::Duration;

use data_encoding::HEXLOWER;

use crate::error::{Error, Outcome, Phase, Reason, Result};
use crate::key::{Key, sha256};

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// MySQL and MariaDB. Placeholders are `?`.
    MySql,
    /// PostgreSQL. Placeholders are `$1`.
    Postgres,
    /// Hologres: PostgreSQL's protocol and syntax, where `ON CONFLICT` takes the columns of the primary key only.
    Hologres,
}

/// A value for a placeholder.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    I64(i64),
    /// A floating-point number. It can't be part of what is unique.
    F64(f64),
    /// Text; also what the server makes of text: decimals, dates.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What a server is asked to run.
#[derive(Clone, PartialEq)]
pub struct Statement {
    /// The SQL, with placeholders.
    pub text: String,
    /// One value for each placeholder, in order.
    pub parameters: Vec<Value>,
}

/// What running a statement brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ran {
    /// How many rows it inserted, changed or deleted.
    pub affected: u64,
    /// The rows it read.
    pub rows: Vec<Vec<Value>>,
}

/// Which of two writes to the same row stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Winner<'a> {
    /// The last to arrive. A late duplicate of an older write undoes a newer one.
    LastToArrive,
    /// The one with the greatest value in this column (a version, an event's time), which the write must set. An
    /// older or equal one changes nothing. It can't tell two different writes with the same value apart (the first
    /// stays), and once the row is deleted it knows of no order any more: a late duplicate brings the row back.
    Greatest(&'a str),
}

/// Both protocols count parameters in 16 bits.
const MAX_PARAMETERS: usize = 65_535;
/// For ever, as far as a table of keys is concerned; keeps the arithmetic of every server in range.
const MAX_MEMORY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Statement {
    /// A statement of the caller's own.
    pub fn new(text: impl Into<String>, parameters: impl Into<Vec<Value>>) -> Statement {
        Statement { text: text.into(), parameters: parameters.into() }
    }

    fn bare(text: &str) -> Statement {
        Statement::new(text, [])
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({:?}, {} parameters)", self.text, self.parameters.len())
    }
}

impl fmt::Debug for Value {
    /// The kind only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::Null => "Null",
            Value::Bool(_) => "Bool",
            Value::I64(_) => "I64",
            Value::F64(_) => "F64",
            Value::Text(_) => "Text",
            Value::Bytes(_) => "Bytes",
        })
    }
}

macro_rules! values {
    ($($from:ty, $value:ident => $made:expr;)+) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Value {
                $made
            }
        }
    )+};
}

values! {
    bool, value => Value::Bool(value);
    i32, value => Value::I64(value.into());
    i64, value => Value::I64(value);
    u32, value => Value::I64(value.into());
    f64, value => Value::F64(value);
    &str, value => Value::Text(value.to_owned());
    String, value => Value::Text(value);
    &[u8], value => Value::Bytes(value.to_owned());
    Vec<u8>, value => Value::Bytes(value);
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl Dialect {
    fn is_mysql(self) -> bool {
        self == Dialect::MySql
    }

    fn placeholder(self, number: usize) -> String {
        if self.is_mysql() { "?".to_owned() } else { format!("${number}") }
    }

    /// A column's name, quoted.
    fn name(self, name: &str) -> Result<String> {
        // PostgreSQL cuts a longer one off without a word.
        let (length, most) = if self.is_mysql() { (name.chars().count(), 64) } else { (name.len(), 63) };
        let is_plain = |c: char| c <= '\u{ffff}' && (c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
        if length == 0 || length > most || !name.chars().all(is_plain) {
            let unit = if self.is_mysql() { "characters" } else { "bytes" };
            return Err(Error::input(format!("an SQL name has 1 to {most} {unit}: letters, digits, _, - and $")));
        }
        Ok(if self.is_mysql() { format!("`{name}`") } else { format!("\"{name}\"") })
    }

    /// A table's name, perhaps behind its schema's (`sales.orders`), quoted.
    pub(crate) fn table(self, table: &str) -> Result<String> {
        let parts = table.split('.').map(|part| self.name(part)).collect::<Result<Vec<_>>>()?;
        match parts.len() {
            1 | 2 => Ok(parts.join(".")),
            _ => Err(Error::input("a table is table or schema.table")),
        }
    }

    fn names(self, columns: &[&str]) -> Result<String> {
        Ok(columns.iter().map(|column| self.name(column)).collect::<Result<Vec<_>>>()?.join(", "))
    }
}

/// Inserts a row unless one with the same values in the columns `unique` is there. [`outcome`] reads the count.
///
/// `unique` must be exactly the columns of a unique index (Hologres: of the primary key), or the server refuses
/// (MySQL can't be asked to: there the effect is not once). A conflict over *another* unique index is an error of the
/// server's, never taken for "already there".
///
/// On MySQL that is `ON DUPLICATE KEY UPDATE`, not `INSERT IGNORE`: the latter makes warnings of errors, so that a
/// row that breaks a foreign key, fits no partition or clashes over another index is dropped, and one with a value
/// that is too long is inserted cut off, and both look like success. The price: the connection must count *changed*
/// rows, as MySQL's own default is. One that counts *found* rows (`CLIENT_FOUND_ROWS`: Connector/J unless
/// `useAffectedRows=true`, SQLAlchemy) says 1 also where the row was there: the effect is once all the same, but both
/// executions read `Applied`. [`Dedup`] tells them apart in both modes.
///
/// Names are taken as they are written: PostgreSQL and Hologres fold names to lower case only where they stand
/// unquoted.
///
/// ```
/// use pinlink::sql::{Dialect, insert_once};
///
/// let insert = insert_once(Dialect::Postgres, "orders", &[("id", 7.into()), ("city", "Berlin".into())], &["id"])?;
/// assert_eq!(insert.text, r#"INSERT INTO "orders" ("id", "city") VALUES ($1, $2) ON CONFLICT ("id") DO NOTHING"#);
/// # Ok::<(), pinlink::Error>(())
/// ```
///
/// # Errors
/// [`Reason::ConfigInput`] where a name is none, or a column of `unique` has no value, NULL (equal to
/// nothing, so inserted each time) or a floating-point number.
pub fn insert_once(dialect: Dialect, table: &str, columns: &[(&str, Value)], unique: &[&str]) -> Result<Statement> {
    let (mut text, parameters) = insert(dialect, table, columns, unique)?;
    match dialect {
        Dialect::MySql => write!(text, " ON DUPLICATE KEY UPDATE {}", unchanged(dialect, unique)?),
        _ => write!(text, " ON CONFLICT ({}) DO NOTHING", dialect.names(unique)?),
    }
    .expect("a String takes everything");
    Ok(Statement { text, parameters })
}

/// Inserts a row, or sets the columns of the one that has the same values in the columns `unique`. What
/// [`insert_once`] says of `unique`, names and counts holds here too.
///
/// # Errors Those of [`insert_once`]; also where every column is in `unique`, or the column of [`Winner::Greatest`]
/// has no value, NULL, or is in `unique`.
pub fn upsert(
    dialect: Dialect,
    table: &str,
    columns: &[(&str, Value)],
    unique: &[&str],
    winner: Winner<'_>,
) -> Result<Statement> {
    let (mut text, parameters) = insert(dialect, table, columns, unique)?;
    let mut set: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(|name| !unique.contains(name)).collect();
    if set.is_empty() {
        return Err(Error::input("every column is in unique, so there is nothing to set"));
    }
    if let Winner::Greatest(version) = winner {
        let is_set = |(name, value): &(&str, Value)| *name == version && *value != Value::Null;
        if !columns.iter().any(is_set) || unique.contains(&version) {
            return Err(Error::input("the column that decides must have a value and not be in unique"));
        }
        // MySQL assigns from left to right: what is compared goes last.
        set.retain(|name| *name != version);
        set.push(version);
    }
    let set = set.into_iter().map(|name| dialect.name(name)).collect::<Result<Vec<_>>>()?;
    match (dialect, winner) {
        (Dialect::MySql, winner) => {
            write!(text, " ON DUPLICATE KEY UPDATE {}", unchanged(dialect, unique)?)
                .expect("a String takes everything");
            let newer = match winner {
                Winner::Greatest(version) => Some(dialect.name(version)?),
                Winner::LastToArrive => None,
            };
            for name in set {
                match &newer {
                    Some(version) => {
                        write!(
                            text,
                            ", {name} = IF({version} IS NULL OR {version} < VALUES({version}), VALUES({name}), {name})"
                        )
                    }
                    None => write!(text, ", {name} = VALUES({name})"),
                }
                .expect("a String takes everything");
            }
        }
        (_, winner) => {
            let set: Vec<_> = set.into_iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
            write!(text, " ON CONFLICT ({}) DO UPDATE SET {}", dialect.names(unique)?, set.join(", "))
                .expect("a String takes everything");
            if let Winner::Greatest(version) = winner {
                let (row, version) = (row_name(dialect, table)?, dialect.name(version)?);
                // NULL is older than anything: nothing is greater than it, and nothing would ever replace it.
                let column = format!("{row}.{version}");
                write!(text, " WHERE {column} IS NULL OR {column} < EXCLUDED.{version}")
                    .expect("a String takes everything");
            }
        }
    }
    Ok(Statement { text, parameters })
}

/// What the count of affected rows says about [`insert_once`] or [`upsert`]: none is [`Outcome::AlreadyApplied`] (for
/// an upsert: what is there is the same, or newer); one, or MySQL's two for a row that was changed, is
/// [`Outcome::Applied`].
///
/// # Errors
/// [`Reason::ConfigInput`] for any other count: it is of another statement.
pub fn outcome(dialect: Dialect, affected: u64) -> Result<Outcome> {
    match (dialect, affected) {
        (_, 0) => Ok(Outcome::AlreadyApplied),
        (_, 1) | (Dialect::MySql, 2) => Ok(Outcome::Applied),
        _ => Err(Error::input(format!("a write of one row can't affect {affected}"))),
    }
}

/// `INSERT INTO table (columns) VALUES (placeholders)`, checked.
fn insert(dialect: Dialect, table: &str, columns: &[(&str, Value)], unique: &[&str]) -> Result<(String, Vec<Value>)> {
    if columns.len() > MAX_PARAMETERS {
        return Err(Error::input(format!("a statement has at most {MAX_PARAMETERS} values")));
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    if has_twice(&names) || has_twice(unique) {
        return Err(Error::input("a column is named twice"));
    }
    if unique.is_empty() {
        return Err(Error::input("unique names no column: nothing would tell a repetition"));
    }
    for name in unique {
        match columns.iter().find(|(column, _)| column == name) {
            None => return Err(Error::input("a column of unique has no value")),
            Some((_, Value::Null)) => return Err(Error::input("a column of unique is NULL, which equals nothing")),
            Some((_, Value::F64(_))) => {
                return Err(Error::input("a column of unique is a floating-point number, which has no one text"));
            }
            Some(_) => {}
        }
    }
    let placeholders: Vec<_> = (1..=columns.len()).map(|number| dialect.placeholder(number)).collect();
    let text = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        dialect.table(table)?,
        dialect.names(&names)?,
        placeholders.join(", ")
    );
    Ok((text, columns.iter().map(|(_, value)| value.clone()).collect()))
}

fn has_twice(names: &[&str]) -> bool {
    names.iter().enumerate().any(|(at, name)| names[..at].contains(name))
}

/// An assignment for MySQL that changes nothing where the row that is in the way is the one that `unique` means.
/// Where another index found another row, it is an error, as it is for PostgreSQL: a number that overflows in any SQL
/// mode, made from a column so that no optimiser works it out beforehand.
fn unchanged(dialect: Dialect, unique: &[&str]) -> Result<String> {
    let names = unique.iter().map(|column| dialect.name(column)).collect::<Result<Vec<_>>>()?;
    let same: Vec<_> = names.iter().map(|name| format!("{name} <=> VALUES({name})")).collect();
    let first = &names[0];
    let overflow = format!("18446744073709551615 + COALESCE(LENGTH({first}), 0) + 1");
    Ok(format!("{first} = IF(({}) OR {overflow}, {first}, {first})", same.join(" AND ")))
}

/// What PostgreSQL calls the row that is there: the table without its schema.
fn row_name(dialect: Dialect, table: &str) -> Result<String> {
    dialect.name(table.rsplit('.').next().unwrap_or(table))
}

/// A table of keys, written in the same transaction as what they stand for: class A for writes that no unique index
/// covers, such as counters, several tables, or rows without a business key.
///
/// The first statement of the transaction marks the key ([`Dedup::mark`]). A racing execution waits there until this
/// one has committed or rolled back. One row affected (on MySQL: exactly one) means that this execution is the first,
/// and its own statements follow; otherwise they are left out, and what was written under this key before is
/// compared. The table must be in the same database as the writes, and MySQL's tables must be InnoDB, or there is no
/// common transaction. The isolation level may be any; above `READ COMMITTED` PostgreSQL answers a race with a
/// serialisation failure (40001), MySQL may end it as a deadlock (1213): the same transaction is run again then.
///
/// Whatever way a transaction failed, `COMMIT`'s lost answer included, it is safe to run it again as a whole under
/// the same key, over a new connection. [`Dedup::once`] is that transaction.
///
/// Hologres runs several writes in one transaction since V2.0, as a preview: it must be switched on, which
/// [`Dedup::begin`] does; such a transaction locks its tables, so it is for few writes a second.
///
/// The rows are the memory of the keys: [`Dedup::forget`] after longer than any execution may come late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    dialect: Dialect,
    table: String,
}

/// Why [`Dedup::once`] did not end with an outcome.
#[derive(Debug)]
pub enum Unfinished<E> {
    /// Nothing was committed: run it again.
    NotCommitted(E),
    /// `COMMIT` was sent and its answer never came: run it again, over a new connection, and it says which it was.
    CommitUnknown(E),
    /// It must not be run again as it is: [`Reason::WriteMismatch`] where the key was used with another content.
    Refused(Error),
}

impl<E: fmt::Display> fmt::Display for Unfinished<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfinished::NotCommitted(error) => write!(f, "nothing was committed, run it again: {error}"),
            Unfinished::CommitUnknown(error) => {
                write!(f, "whether it was committed is not known, run it again over a new connection: {error}")
            }
            Unfinished::Refused(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Unfinished<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unfinished::NotCommitted(error) | Unfinished::CommitUnknown(error) => Some(error),
            Unfinished::Refused(error) => Some(error),
        }
    }
}

impl Dedup {
    /// In the table `pinlink_writes`.
    pub fn new(dialect: Dialect) -> Dedup {
        Dedup::in_table(dialect, "pinlink_writes").expect("a plain name")
    }

    /// In another table.
    ///
    /// # Errors
    /// [`Reason::ConfigInput`] where that is no table's name.
    pub fn in_table(dialect: Dialect, table: &str) -> Result<Dedup> {
        Ok(Dedup { dialect, table: dialect.table(table)? })
    }

    /// Makes the table. Once, by whoever may: not by every worker.
    pub fn create_table(&self) -> Statement {
        let table = &self.table;
        Statement::bare(&match self.dialect {
            // `seen` changes with every repetition, so that one affected row means the first on any connection,
            // whether it counts found rows or changed ones.
            Dialect::MySql => format!(
                "CREATE TABLE IF NOT EXISTS {table} (\
                 `idempotency_key` CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, \
                 `fingerprint` CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
                 `seen` BIGINT UNSIGNED NOT NULL DEFAULT 1, \
                 `written_at` TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)) ENGINE=InnoDB"
            ),
            _ => format!(
                "CREATE TABLE IF NOT EXISTS {table} (\
                 \"idempotency_key\" text NOT NULL PRIMARY KEY, \
                 \"fingerprint\" text NOT NULL, \
                 \"written_at\" timestamptz NOT NULL DEFAULT now())"
            ),
        })
    }

    /// What opens the transaction, in order.
    pub fn begin(&self) -> Vec<Statement> {
        let begin = Statement::bare("BEGIN");
        match self.dialect {
            Dialect::Hologres => vec![Statement::bare("SET hg_experimental_enable_transaction = on"), begin],
            _ => vec![begin],
        }
    }

    /// Marks the key, before anything else in the transaction. `content` is what is written under it, in any form
    /// that is the same for every execution; its SHA-256 is kept.
    pub fn mark(&self, key: &Key, content: &[u8]) -> Statement {
        let table = &self.table;
        let text = match self.dialect {
            Dialect::MySql => format!(
                "INSERT INTO {table} (`idempotency_key`, `fingerprint`) VALUES (?, ?) \
                 ON DUPLICATE KEY UPDATE `seen` = `seen` + 1"
            ),
            _ => format!(
                "INSERT INTO {table} (\"idempotency_key\", \"fingerprint\") VALUES ($1, $2) \
                 ON CONFLICT (\"idempotency_key\") DO NOTHING"
            ),
        };
        Statement::new(text, [key.hex().into(), fingerprint(content).into()])
    }

    /// Whether the count of rows that [`Dedup::mark`] affected says that this execution is the first.
    pub fn is_first(&self, affected: u64) -> bool {
        affected == 1
    }

    /// Reads the fingerprint of what was written under the key before, for [`Dedup::compare`].
    pub fn recall(&self, key: &Key) -> Statement {
        let (table, dialect) = (&self.table, self.dialect);
        let [fingerprint, idempotency_key] = ["fingerprint", "idempotency_key"]
            .map(|name| if dialect.is_mysql() { format!("`{name}`") } else { format!("\"{name}\"") });
        let placeholder = dialect.placeholder(1);
        let text = format!("SELECT {fingerprint} FROM {table} WHERE {idempotency_key} = {placeholder}");
        Statement::new(text, [key.hex().into()])
    }

    /// Whether what [`Dedup::recall`] read is of the same content.
    ///
    /// # Errors
    /// [`Reason::WriteMismatch`] where it is of another, [`Reason::WriteOutcomeUnknown`] where the row is gone.
    pub fn compare(&self, content: &[u8], recalled: &Ran) -> Result<()> {
        let ours = fingerprint(content);
        let refuse = |reason, detail: &'static str| Err(Error::new(reason, Phase::Receive, detail));
        match recalled.rows.first().and_then(|row| row.first()) {
            Some(Value::Text(theirs)) if *theirs == ours => Ok(()),
            Some(Value::Bytes(theirs)) if theirs == ours.as_bytes() => Ok(()),
            Some(_) => refuse(Reason::WriteMismatch, "another content was written under this key"),
            None => refuse(Reason::WriteOutcomeUnknown, "the row of this key was deleted meanwhile"),
        }
    }

    /// Deletes the rows of keys that are older than this, by the server's clock: whole seconds, rounded up, at least one.
    pub fn forget(&self, older_than: Duration) -> Statement {
        let older_than = older_than.min(MAX_MEMORY);
        let whole = older_than.as_secs() + u64::from(older_than.subsec_nanos() > 0);
        let (table, seconds) = (&self.table, whole.max(1));
        Statement::bare(&match self.dialect {
            Dialect::MySql => {
                format!("DELETE FROM {table} WHERE `written_at` < CURRENT_TIMESTAMP(6) - INTERVAL {seconds} SECOND")
            }
            _ => format!("DELETE FROM {table} WHERE \"written_at\" < now() - interval '{seconds} seconds'"),
        })
    }

    /// The whole transaction: marks the key, runs `writes` if this execution is the first, and commits. `run` runs
    /// one statement on one connection, the same for all.
    ///
    /// # Errors
    /// [`Unfinished`] says whether it may have been committed. `ROLLBACK` has been tried where that helps; a
    /// connection that failed is best closed.
    pub fn once<E>(
        &self,
        key: &Key,
        content: &[u8],
        writes: &[Statement],
        mut run: impl FnMut(&Statement) -> Result<Ran, E>,
    ) -> Result<Outcome, Unfinished<E>> {
        let outcome = match self.run_within(key, content, writes, &mut run) {
            Ok(outcome) => outcome,
            Err(unfinished) => {
                // If it fails as well, the server rolls back when the connection ends.
                let _ = run(&Statement::bare("ROLLBACK"));
                return Err(unfinished);
            }
        };
        match outcome {
            Outcome::Applied => run(&Statement::bare("COMMIT")).map_err(Unfinished::CommitUnknown)?,
            _ => run(&Statement::bare("ROLLBACK")).map_err(Unfinished::NotCommitted)?,
        };
        Ok(outcome)
    }

    fn run_within<E>(
        &self,
        key: &Key,
        content: &[u8],
        writes: &[Statement],
        run: &mut impl FnMut(&Statement) -> Result<Ran, E>,
    ) -> Result<Outcome, Unfinished<E>> {
        for statement in self.begin() {
            run(&statement).map_err(Unfinished::NotCommitted)?;
        }
        let marked = run(&self.mark(key, content)).map_err(Unfinished::NotCommitted)?;
        if !self.is_first(marked.affected) {
            let recalled = run(&self.recall(key)).map_err(Unfinished::NotCommitted)?;
            self.compare(content, &recalled).map_err(Unfinished::Refused)?;
            return Ok(Outcome::AlreadyApplied);
        }
        for statement in writes {
            run(statement).map_err(Unfinished::NotCommitted)?;
        }
        Ok(Outcome::Applied)
    }
}

fn fingerprint(content: &[u8]) -> String {
    HEXLOWER.encode(&sha256(content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::Scope;

    const DIALECTS: [Dialect; 3] = [Dialect::MySql, Dialect::Postgres, Dialect::Hologres];

    fn order() -> Vec<(&'static str, Value)> {
        vec![("id", 7.into()), ("city", "hunter2".into()), ("version", 3_i64.into())]
    }

    #[test]
    fn a_row_that_is_there_stays_as_it_is() {
        let insert = insert_once(Dialect::Hologres, "sales.orders", &order(), &["id"]).unwrap();
        assert_eq!(
            insert.text,
            "INSERT INTO \"sales\".\"orders\" (\"id\", \"city\", \"version\") VALUES ($1, $2, $3) \
             ON CONFLICT (\"id\") DO NOTHING"
        );
        let insert = insert_once(Dialect::MySql, "orders", &order(), &["id", "city"]).unwrap();
        assert_eq!(
            insert.text,
            "INSERT INTO `orders` (`id`, `city`, `version`) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE `id` = \
             IF((`id` <=> VALUES(`id`) AND `city` <=> VALUES(`city`)) \
             OR 18446744073709551615 + COALESCE(LENGTH(`id`), 0) + 1, `id`, `id`)"
        );
        assert_eq!(insert.parameters, order().into_iter().map(|(_, value)| value).collect::<Vec<_>>());
    }

    #[test]
    fn the_greatest_version_stays_and_is_assigned_last() {
        let winner = Winner::Greatest("version");
        let columns = [("id", 7.into()), ("version", 3_i64.into()), ("city", "a".into())];
        let text = |dialect| upsert(dialect, "s.orders", &columns, &["id"], winner).unwrap().text;
        assert!(text(Dialect::Postgres).ends_with(
            "DO UPDATE SET \"city\" = EXCLUDED.\"city\", \"version\" = EXCLUDED.\"version\" \
             WHERE \"orders\".\"version\" IS NULL OR \"orders\".\"version\" < EXCLUDED.\"version\""
        ));
        assert!(text(Dialect::MySql).ends_with(
            "`city` = IF(`version` IS NULL OR `version` < VALUES(`version`), VALUES(`city`), `city`), \
             `version` = IF(`version` IS NULL OR `version` < VALUES(`version`), VALUES(`version`), `version`)"
        ));
        let last = upsert(Dialect::MySql, "orders", &columns, &["id"], Winner::LastToArrive).unwrap().text;
        assert!(last.ends_with(", `version` = VALUES(`version`), `city` = VALUES(`city`)"), "{last}");
    }

    #[test]
    fn what_could_not_be_unique_or_is_no_name_is_refused_before_anything_is_sent() {
        let refused = |table: &str, columns: &[(&str, Value)], unique: &[&str]| {
            for dialect in DIALECTS {
                for error in [
                    insert_once(dialect, table, columns, unique).unwrap_err(),
                    upsert(dialect, table, columns, unique, Winner::LastToArrive).unwrap_err(),
                ] {
                    assert_eq!(error.reason(), Reason::ConfigInput);
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                }
            }
        };
        refused("orders", &order(), &[]);
        refused("orders", &order(), &["name"]);
        refused("orders", &order(), &["id", "id"]);
        refused("orders", &[("id", 1.into()), ("id", 2.into())], &["id"]);
        refused("orders", &[("id", Value::Null), ("city", "a".into())], &["id"]);
        refused("orders", &[("id", 0.5.into()), ("city", "a".into())], &["id"]);
        for table in ["", ".", "a.b.c", "a.", "a b", "a;hunter2", "a`", "a\"b", "a\0", "a\u{1f980}", &"a".repeat(65)] {
            refused(table, &order(), &["id"]);
        }
        refused("orders", &[("id\"hunter2", 1.into()), ("b", 1.into())], &["id\"hunter2"]);
        let upserted = |winner| upsert(Dialect::Postgres, "orders", &order(), &["id"], winner);
        assert!(upserted(Winner::Greatest("id")).is_err() && upserted(Winner::Greatest("age")).is_err());
        assert!(upsert(Dialect::MySql, "t", &[("id", 1.into())], &["id"], Winner::LastToArrive).is_err());
        assert!(insert_once(Dialect::Postgres, &"ä".repeat(32), &order(), &["id"]).is_err());
        assert!(insert_once(Dialect::MySql, &"ä".repeat(64), &order(), &["id"]).is_ok());
    }

    #[test]
    fn a_count_says_whether_it_was_done_before() {
        for dialect in DIALECTS {
            assert_eq!(outcome(dialect, 0).unwrap(), Outcome::AlreadyApplied);
            assert_eq!(outcome(dialect, 1).unwrap(), Outcome::Applied);
            assert!(outcome(dialect, 3).is_err());
            assert_eq!(outcome(dialect, 2).is_ok(), dialect == Dialect::MySql);
        }
    }

    #[test]
    fn no_value_is_shown() {
        let insert = insert_once(Dialect::Postgres, "orders", &order(), &["id"]).unwrap();
        assert!(!format!("{insert:?} {:?}", insert.parameters).contains("hunter2"));
    }

    /// Runs the transaction against a script: a statement's beginning, and what comes of it.
    fn transaction(script: &[(&str, Result<Ran, &'static str>)]) -> Result<Outcome, Unfinished<&'static str>> {
        let dedup = Dedup::new(Dialect::Postgres);
        let key = Scope::job("j").unwrap().key("o", 1);
        let mut script = script.iter();
        let writes = [Statement::new("UPDATE a", []), Statement::new("UPDATE b", [])];
        let done = dedup.once(&key, b"c", &writes, |statement| {
            let (text, ran) = script.next().expect("a statement too many");
            assert!(statement.text.starts_with(text), "{} is not {text}", statement.text);
            ran.clone()
        });
        assert_eq!(script.next(), None);
        done
    }

    #[test]
    fn the_first_execution_writes_and_a_later_one_only_compares() {
        let (done, none) = (Ok(Ran { affected: 1, rows: Vec::new() }), Ok(Ran::default()));
        let read = |text: &str| Ok(Ran { affected: 0, rows: vec![vec![fingerprint(text.as_bytes()).into()]] });
        let begun = ("BEGIN", none.clone());
        let first = [begun.clone(), ("INSERT", done.clone()), ("UPDATE a", none.clone()), ("UPDATE b", none.clone())];
        let with = |steps: &[(&'static str, Result<Ran, &'static str>)], end: &[_]| transaction(&[steps, end].concat());
        assert!(matches!(with(&first, &[("COMMIT", none.clone())]), Ok(Outcome::Applied)));
        assert!(matches!(with(&first, &[("COMMIT", Err("lost"))]), Err(Unfinished::CommitUnknown("lost"))));
        let failed = [("UPDATE b", Err("no")), ("ROLLBACK", Err("gone"))];
        assert!(matches!(with(&first[..3], &failed), Err(Unfinished::NotCommitted("no"))));

        let later = |read| [begun.clone(), ("INSERT", none.clone()), ("SELECT", read), ("ROLLBACK", none.clone())];
        assert!(matches!(transaction(&later(read("c"))), Ok(Outcome::AlreadyApplied)));
        let reason = |read| match transaction(&later(read)) {
            Err(Unfinished::Refused(error)) => error.reason(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(read("d")), Reason::WriteMismatch);
        assert_eq!(reason(none.clone()), Reason::WriteOutcomeUnknown);
    }

    proptest! {
        #[test]
        fn a_name_that_is_taken_holds_nothing_that_ends_a_quote(name in ".{0,70}") {
            for dialect in DIALECTS {
                if let Ok(quoted) = dialect.name(&name) {
                    let inner = &quoted[1..quoted.len() - 1];
                    prop_assert_eq!(inner, &name);
                    prop_assert!(!inner.contains(['"', '`', '\'', '\\', '\0', ';', '.']));
                }
            }
        }

        #[test]
        fn every_value_has_one_placeholder(count in 2_usize..40) {
            let names: Vec<_> = (0..count).map(|n| format!("c{n}")).collect();
            let columns: Vec<_> = names.iter().map(|name| (name.as_str(), Value::from(1))).collect();
            for dialect in DIALECTS {
                let text = insert_once(dialect, "t", &columns, &["c0"]).unwrap().text;
                let mark = if dialect == Dialect::MySql { '?' } else { '$' };
                prop_assert_eq!(text.matches(mark).count(), count);
            }
        }
    }
}
