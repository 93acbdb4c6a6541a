//! Statements as this database has them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, Row, Statement, ToSql, ffi};

use crate::domain::error::Error;
use crate::domain::facts::{Fact, Need, Sequence};
use crate::domain::kind::Kind;
use crate::pipeline::{Pending, Touched, Writes};
use crate::store::question;
use crate::store::sql::{self, Cell, Sql, Statements};

impl ToSql for Sql {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Why a statement or a commit failed.
#[derive(Debug)]
pub(super) enum SqliteFault {
    /// A rule of the database itself.
    Constraint(Error),
    /// What a command was decided by has moved on meanwhile.
    Moved,
    /// It took longer than it may, and was stopped.
    Late,
    /// Nothing was written; later attempts may work (disk full, locked, read-only).
    Unavailable(String),
    /// What is on disk is no longer known: no further write can be trusted.
    Fatal(String),
    /// A fault of ours.
    Internal(Error),
}

impl SqliteFault {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Constraint(error) | Self::Internal(error) => error,
            Self::Unavailable(cause) => {
                tracing::error!(error.cause = %cause, "database unavailable");
                Error::Unavailable { retry_after_s: 5 }
            }
            Self::Moved | Self::Late => Error::Unavailable { retry_after_s: 1 },
            Self::Fatal(cause) => Error::Internal(cause),
        }
    }
}

impl From<rusqlite::Error> for SqliteFault {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = &error else {
            return Self::Internal(Error::Internal(text));
        };
        match failure.code {
            ErrorCode::ConstraintViolation => match taken(&text) {
                Some(refusal) => Self::Constraint(refusal),
                None => Self::Internal(Error::Internal(text)),
            },
            ErrorCode::OperationInterrupted => Self::Late,
            _ if failure.extended_code == ffi::SQLITE_IOERR_FSYNC => Self::Fatal(text),
            ErrorCode::DiskFull
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::SystemIoFailure => Self::Unavailable(text),
            _ => Self::Internal(Error::Internal(text)),
        }
    }
}

/// What is not unique, from what the database says of it.
fn taken(message: &str) -> Option<Error> {
    let columns = message.strip_prefix("UNIQUE constraint failed: ")?;
    let columns: Vec<&str> = columns.split(", ").collect();
    sql::refusal(|table, unique| {
        let names = columns.iter().map(|column| column.strip_prefix(table.name)?.strip_prefix('.'));
        let Some(mut names) = names.collect::<Option<Vec<_>>>() else { return false };
        names.retain(|name| *name != "account_id");
        names == unique.fields
    })
}

impl From<Error> for SqliteFault {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

/// The shared text with SQLite's numbered parameters: to SQLite `$1` is a name, which takes the next
/// free number wherever it first stands.
pub(super) fn numbered(text: &str) -> Cow<'_, str> {
    if text.contains('$') { text.replace('$', "?").into() } else { text.into() }
}

/// The statements of a kind, numbered beforehand.
pub(super) fn numbered_statements(kind: Kind) -> Statements {
    let Statements { find, insert, update, update_body, update_state } = Statements::new(kind);
    let [find, insert, update, update_body, update_state] =
        [find, insert, update, update_body, update_state].map(|text| numbered(&text).into_owned());
    Statements { find, insert, update, update_body, update_state }
}

pub(super) fn query(
    connection: &Connection,
    text: &str,
    parameters: &[Sql],
    width: usize,
) -> Result<Vec<Vec<Sql>>, SqliteFault> {
    let mut statement = connection.prepare_cached(&numbered(text))?;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(width);
        for column in 0..width {
            values.push(match row.get_ref(column)? {
                ValueRef::Null => Sql::Null,
                ValueRef::Integer(value) => Sql::Int(value),
                ValueRef::Text(text) => Sql::Text(String::from_utf8_lossy(text).into_owned()),
                ValueRef::Blob(bytes) => Sql::Bytes(bytes::Bytes::copy_from_slice(bytes)),
                ValueRef::Real(_) => {
                    return Err(Error::internal("a column of an unknown type").into());
                }
            });
        }
        found.push(values);
    }
    Ok(found)
}

/// The values of a row where they stand.
fn cells<'a>(row: &'a Row<'_>) -> impl Iterator<Item = Cell<'a>> {
    (0..).map_while(|column| row.get_ref(column).ok()).map(|value| match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(value) => Cell::Int(value),
        // The lossy way looks at each byte by itself, even where nothing is lost.
        ValueRef::Text(text) => Cell::Text(
            str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed),
        ),
        ValueRef::Real(_) | ValueRef::Blob(_) => Cell::Other,
    })
}

pub(super) fn execute(
    connection: &Connection,
    text: &str,
    parameters: &[Sql],
) -> Result<usize, SqliteFault> {
    let mut statement = connection.prepare_cached(&numbered(text))?;
    Ok(statement.execute(rusqlite::params_from_iter(parameters))?)
}

/// Runs one statement many times without looking it up each time.
pub(super) struct Rerun<'a> {
    connection: &'a Connection,
    ready: Option<(&'a str, CachedStatement<'a>)>,
}

impl<'a> Rerun<'a> {
    pub(super) const fn over(connection: &'a Connection) -> Self {
        Self { connection, ready: None }
    }

    fn statement(&mut self, text: &'a str) -> Result<&mut Statement<'a>, SqliteFault> {
        let ready = match self.ready.take() {
            Some(ready) if ready.0 == text => ready,
            _ => (text, self.connection.prepare_cached(&numbered(text))?),
        };
        Ok(&mut self.ready.insert(ready).1)
    }

    pub(super) fn execute(
        &mut self,
        text: &'a str,
        parameters: &[Sql],
    ) -> Result<usize, SqliteFault> {
        Ok(self.statement(text)?.execute(rusqlite::params_from_iter(parameters))?)
    }
}

/// What the database says to a need. What is there and cannot be read is a fact, too.
pub(super) fn load<'a>(
    finds: &mut Rerun<'a>,
    statements: &'a HashMap<Kind, Statements>,
    need: &Need,
) -> Result<Fact, SqliteFault> {
    match load_readable(finds, statements, need) {
        Err(SqliteFault::Internal(error)) => Ok(Fact::Unreadable(error)),
        loaded => loaded,
    }
}

fn load_readable<'a>(
    finds: &mut Rerun<'a>,
    statements: &'a HashMap<Kind, Statements>,
    need: &Need,
) -> Result<Fact, SqliteFault> {
    let connection = finds.connection;
    let of = |kind: &Kind| {
        statements.get(kind).ok_or_else(|| Error::internal("a kind without statements"))
    };
    Ok(match need {
        Need::Record(kind, key) => {
            let find = finds.statement(&of(kind)?.find)?;
            let mut rows = find.query([sql::key(key)])?;
            let document = rows.next()?.map(|row| sql::decode(*kind, cells(row))).transpose()?;
            Fact::Record(document.map(Arc::new))
        }
        Need::Select(selector) => {
            let text = sql::select(selector.kind, selector.column);
            let mut select = connection.prepare_cached(&numbered(&text))?;
            let mut rows = select.query([sql::key(&selector.value)])?;
            let mut documents = Vec::new();
            while let Some(row) = rows.next()? {
                documents.push(Arc::new(sql::decode(selector.kind, cells(row))?));
            }
            Fact::Select(documents)
        }
        need => {
            let (text, parameters, width) = question::of(need)?;
            question::answer(need, query(connection, &text, &parameters, width)?)?
        }
    })
}

/// The statement that writes a row, and its parameters.
pub(super) fn write<'a>(
    statements: &'a Statements,
    pending: &Pending,
) -> Result<(&'a str, Vec<Sql>), Error> {
    let document = &pending.document;
    let Some(stored_version) = pending.stored_version else {
        return Ok((&statements.insert, sql::encode(document)?));
    };
    let text = match pending.touched {
        Touched::All | Touched::Columns(_) => &statements.update,
        Touched::Body => &statements.update_body,
        Touched::State => &statements.update_state,
    };
    let mut values = sql::encode_edit(document, pending.touched)?;
    values.push(Sql::Int(stored_version));
    Ok((text, values))
}

/// The table whose ids a sequence gives.
pub(super) fn sequence_table(sequence: Sequence) -> &'static str {
    match sequence {
        Sequence::Change => "change",
        Sequence::Record(kind) => kind.table().name,
    }
}

/// The largest id of a table. Rows are never removed, so it is the last one given.
pub(super) fn newest_id(connection: &Connection, table: &str) -> Result<i64, SqliteFault> {
    let rows = query(connection, &format!("SELECT coalesce(max(id), 0) FROM {table}"), &[], 1)?;
    Ok(rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default())
}

/// Writes what a commit holds beside records and their changes.
pub(super) fn write_beside(connection: &Connection, writes: &Writes) -> Result<(), SqliteFault> {
    for content in &writes.contents {
        execute(connection, sql::CONTENT_PUT, &sql::encode_content(content))?;
    }
    for (credential_id, key, answer) in &writes.answers {
        let values = sql::encode_answer(*credential_id, key, answer)?;
        if execute(connection, sql::IDEMPOTENCY_PUT, &values)? != 1 {
            return Err(SqliteFault::Constraint(Error::Conflict(vec!["idempotency".to_owned()])));
        }
    }
    for token in &writes.tokens {
        execute(connection, sql::TOKEN_PUT, &sql::encode_token(token))?;
    }
    for signature in &writes.signatures {
        execute(connection, sql::SIGNATURE_PUT, &sql::encode_signature(signature))?;
    }
    Ok(())
}
