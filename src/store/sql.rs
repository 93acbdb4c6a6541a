//! Every statement that works on records and history, for both backends. The common subset: `$1`
//! parameters, whole numbers and text only, instants as microseconds.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::change::{Action, Change};
use crate::domain::command::Content;
use crate::domain::error::Error;
use crate::domain::facts::{Answered, Count, Namers, Signature, StoredAnswer, Token};
use crate::domain::fields::Fields;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Meta};
use crate::domain::table::{Column, ColumnType, KeyType, Table, Unique, Way};
use crate::domain::time::Instant;
use crate::pipeline::Touched;

/// A value on its way to or from the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sql {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BLOB or BYTEA.
    Bytes(bytes::Bytes),
}

impl Sql {
    /// About the bytes that it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => size_of::<i64>(),
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A value of a row, where it stands.
#[derive(Debug)]
pub(super) enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(Cow<'a, str>),
    /// What no record is made of.
    Other,
}

impl<'a> From<&'a Sql> for Cell<'a> {
    fn from(value: &'a Sql) -> Self {
        match value {
            Sql::Null => Self::Null,
            Sql::Int(value) => Self::Int(*value),
            Sql::Text(text) => Self::Text(Cow::Borrowed(text)),
            Sql::Bytes(_) => Self::Other,
        }
    }
}

/// The columns that every record table begins with.
const SYSTEM: &str = "id, account_id, version, change_id, created_at, updated_at, deleted_at";
/// How many those are.
const SYSTEM_COUNT: usize = 7;

/// The text of every statement on one kind's table.
#[derive(Debug)]
pub(super) struct Statements {
    /// One row by `$1`.
    pub find: String,
    /// A new row: all columns.
    pub insert: String,
    /// All columns of the row with id `$1`, with the values of [`encode_edit`]; the last parameter is the
    /// version it must still have.
    pub update: String,
    /// The same, but of a record's own fields only the body. SQLite would rewrite the index entries of
    /// every column that is named, changed or not.
    pub update_body: String,
    /// The same, but of no field of the record: it was deleted or brought back.
    pub update_state: String,
}

/// All columns of a kind, in the order of [`encode`].
pub(super) fn columns(table: &Table) -> String {
    let mut text = SYSTEM.to_owned();
    for column in table.columns {
        let _ = write!(text, ", {}", column.name);
    }
    text.push_str(", body");
    text
}

/// How many columns those are.
pub(super) const fn column_count(table: &Table) -> usize {
    SYSTEM_COUNT + table.columns.len() + 1
}

impl Statements {
    /// Writes the statements for a kind.
    pub(super) fn new(kind: Kind) -> Self {
        let table = kind.table();
        let all = columns(table);
        let marks: Vec<String> = (1..=column_count(table)).map(|n| format!("${n}")).collect();
        let update = |touched| {
            let names = written(table, touched);
            let sets = sets(table, touched, &names, |place| format!("${}", place + 1));
            // The owner stands in the WHERE: no write can move a row to another account.
            format!(
                "UPDATE {} SET {sets} WHERE id = $1 AND account_id = $2 AND version = ${}",
                table.name,
                names.len() + 1
            )
        };
        Self {
            find: format!("SELECT {all} FROM {} WHERE id = $1", table.name),
            insert: format!("INSERT INTO {} ({all}) VALUES ({})", table.name, marks.join(", ")),
            update: update(Touched::All),
            update_body: update(Touched::Body),
            update_state: update(Touched::State),
        }
    }
}

/// The columns of a stored row with what [`encode_edit`] gives for each.
pub(super) fn written(table: &Table, touched: Touched) -> Vec<&'static str> {
    let last = match touched {
        Touched::All | Touched::Columns(_) => {
            let own = table.columns.iter().map(|column| column.name);
            return SYSTEM.split(", ").chain(own).chain(["body"]).collect();
        }
        Touched::Body => "body",
        Touched::State => "deleted_at",
    };
    vec!["id", "account_id", "version", "change_id", "updated_at", last]
}

/// What an UPDATE sets of the columns `names`, each to what `value` says of its place.
pub(super) fn sets(
    table: &Table,
    touched: Touched,
    names: &[&str],
    value: impl Fn(usize) -> String,
) -> String {
    let is_set = |name: &str| match (name, touched) {
        ("id" | "account_id" | "created_at", _) | ("deleted_at", Touched::Columns(_)) => false,
        (_, Touched::Columns(columns)) => {
            let place = table.columns.iter().position(|column| column.name == name);
            place.is_none_or(|place| columns >> place & 1 == 1)
        }
        _ => true,
    };
    let sets = names.iter().enumerate().filter(|(_, name)| is_set(name));
    sets.map(|(place, name)| format!("{name} = {}", value(place))).collect::<Vec<_>>().join(", ")
}

/// Where a column stands among [`columns`].
pub(super) fn column_index(table: &Table, column: &str) -> Option<usize> {
    columns(table).split(", ").position(|name| name == column)
}

/// The live rows of a kind with `column = $1`, oldest id first.
pub(super) fn select(kind: Kind, column: &str) -> String {
    select_where(kind, &format!("{column} = $1"))
}

/// The live rows of a kind whose `column` is among `$1`, oldest id first.
pub(super) fn select_any(kind: Kind, column: &str) -> String {
    select_where(kind, &format!("{column} = ANY($1)"))
}

fn select_where(kind: Kind, condition: &str) -> String {
    let table = kind.table();
    format!(
        "SELECT {} FROM {} WHERE {condition} AND deleted_at IS NULL ORDER BY id",
        columns(table),
        table.name
    )
}

/// Whether any row of a kind, deleted or not, has `column = $1`.
pub(super) fn taken(kind: Kind, column: &str) -> String {
    format!("SELECT 1 FROM {} WHERE {column} = $1 LIMIT 1", kind.table().name)
}

/// Which values of `$1`, an array, some row of a kind has, deleted or not.
pub(super) fn taken_any(kind: Kind, column: &str) -> String {
    format!("SELECT DISTINCT {column} FROM {} WHERE {column} = ANY($1)", kind.table().name)
}

/// Ids of `$2` live rows at the most that name `$1` in this way.
pub(super) fn naming(way: (Kind, Option<&str>), to: Kind) -> String {
    let by = way.0.table().name;
    match way.1 {
        Some(column) => {
            format!("SELECT id FROM {by} WHERE {column} = $1 AND deleted_at IS NULL LIMIT $2")
        }
        None => format!(
            "SELECT from_id FROM link WHERE to_kind = '{}' AND to_id = $1 AND from_kind = '{by}' \
             LIMIT $2",
            to.name()
        ),
    }
}

/// What [`naming`] takes.
pub(super) fn naming_parameters(naming: &Namers) -> [Sql; 2] {
    let (to, limit) = (&naming.to.1, Sql::Int(naming.limit));
    let to = if naming.column.is_some() { key(to) } else { Sql::Text(to.to_string()) };
    [to, limit]
}

/// The id that stands in a row's first column, in a column of numbers or of texts.
pub(super) fn named_key(kind: Kind, row: &[Sql]) -> Option<Key> {
    match row.first()? {
        Sql::Int(id) => Some(Key::Int(*id)),
        Sql::Text(id) => Key::parse(kind.table().key, id),
        Sql::Null | Sql::Bytes(_) => None,
    }
}

/// How many live rows of a kind have these values, `$1` and so on, in these columns.
pub(super) fn count(kind: Kind, columns: &[&str]) -> String {
    let conditions =
        columns.iter().enumerate().map(|(index, column)| format!("{column} = ${} AND ", index + 1));
    format!(
        "SELECT count(*) FROM {} WHERE {}deleted_at IS NULL",
        kind.table().name,
        conditions.collect::<String>()
    )
}

/// The text for a count, and its parameters.
pub(super) fn counting(asked: &Count) -> (String, Vec<Sql>) {
    let columns: Vec<&str> = asked.is.iter().map(|(column, _)| *column).collect();
    (count(asked.kind, &columns), asked.is.iter().map(|(_, value)| key(value)).collect())
}

/// What stands in the way where the database finds that something is not unique: what `is_it` holds
/// for. None for what no table declares, which is no caller's business.
pub(super) fn refusal(is_it: impl Fn(&Table, &Unique) -> bool) -> Option<Error> {
    Kind::ALL.iter().find_map(|kind| {
        let table = kind.table();
        table.unique.iter().find(|unique| is_it(table, unique)).map(Unique::taken)
    })
}

/// Content by its hash.
pub(super) const CONTENT_FIND: &str = "SELECT bytes FROM content WHERE hash = $1";
/// Keeps content, once.
pub(super) const CONTENT_PUT: &str =
    "INSERT INTO content (hash, bytes) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";

/// Content as parameters.
pub(super) fn encode_content(content: &Content) -> Vec<Sql> {
    vec![Sql::Text(content.hash.clone()), Sql::Bytes(content.bytes.clone())]
}

/// The columns of a change, in the order of [`encode_change`].
macro_rules! change_columns {
    () => {
        "id, account_id, kind, record_id, version, previous_id, act_id, act_end, undoes, at, actor, \
         dialect, request_id, action, before, after"
    };
}
pub(super) use change_columns;

/// How many columns a change has.
pub(super) const CHANGE_WIDTH: usize = 16;
/// Their types: `b` for BIGINT, `t` for TEXT.
pub(super) const CHANGE_TYPES: &str = "bbttbbbbbbtttttt";

/// One change.
pub(super) const CHANGE_FIND: &str =
    concat!("SELECT ", change_columns!(), " FROM change WHERE id = $1");

/// Changes of one record, newest first: `$2` of them at the most, back from change `$1`.
pub(super) const HISTORY: &str = concat!(
    "WITH RECURSIVE walk (here, before_it, n) AS (\
     SELECT id, previous_id, CAST(1 AS BIGINT) FROM change WHERE id = $1 \
     UNION ALL SELECT c.id, c.previous_id, w.n + 1 FROM change c JOIN walk w ON c.id = w.before_it \
     WHERE w.n < $2) SELECT ",
    change_columns!(),
    " FROM walk JOIN change ON id = here ORDER BY n"
);

/// The same, as many of them as take no more than `$3` bytes; the first in any case.
pub(super) const HISTORY_PAGE: &str = concat!(
    "WITH RECURSIVE walk (here, before_it, n, size) AS (\
     SELECT id, previous_id, CAST(1 AS BIGINT), \
     CAST(octet_length(before) + octet_length(after) AS BIGINT) FROM change WHERE id = $1 \
     UNION ALL SELECT c.id, c.previous_id, w.n + 1, \
     w.size + octet_length(c.before) + octet_length(c.after) \
     FROM change c JOIN walk w ON c.id = w.before_it \
     WHERE w.n < $2 AND w.size + octet_length(c.before) + octet_length(c.after) <= $3) SELECT ",
    change_columns!(),
    " FROM walk JOIN change ON id = here ORDER BY n"
);

/// The changes of act `$1`, whose last is `$2`, newest first: `$3` of them at the most.
pub(super) const ACT: &str = concat!(
    "SELECT ",
    change_columns!(),
    " FROM change WHERE id BETWEEN $1 AND $2 AND act_id = $1 ORDER BY id DESC LIMIT $3"
);

/// The answer to an idempotency key.
pub(super) const IDEMPOTENCY_FIND: &str = "SELECT request_hash, status, headers, body, at, act_id \
     FROM idempotency WHERE credential_id = $1 AND key = $2";

/// How many columns of an answer these are.
pub(super) const ANSWER_WIDTH: usize = 6;

/// Keeps an answer; an outlived one gives way.
pub(super) const IDEMPOTENCY_PUT: &str = "INSERT INTO idempotency \
     (credential_id, key, request_hash, status, headers, body, at, act_id) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
     ON CONFLICT (credential_id, key) DO UPDATE SET request_hash = excluded.request_hash, \
     status = excluded.status, headers = excluded.headers, body = excluded.body, at = excluded.at, \
     act_id = excluded.act_id \
     WHERE idempotency.at <= excluded.at - 86400000000";

/// A token by the hash of its text.
pub(super) const TOKEN_FIND: &str =
    "SELECT hash, credential_id, expires_at FROM token WHERE hash = $1";

/// Keeps a token.
pub(super) const TOKEN_PUT: &str =
    "INSERT INTO token (hash, credential_id, expires_at) VALUES ($1, $2, $3)";

/// Whether a signature was used.
pub(super) const SIGNATURE_FIND: &str =
    "SELECT 1 FROM signature WHERE expires_at = $1 AND credential_id = $2 AND digest = $3";

/// Marks a signature as used.
pub(super) const SIGNATURE_PUT: &str =
    "INSERT INTO signature (expires_at, credential_id, digest) VALUES ($1, $2, $3)";

/// A signature as parameters.
pub(super) fn encode_signature(signature: &Signature) -> Vec<Sql> {
    let Signature { expires_at, credential_id, digest } = signature;
    vec![Sql::Int(micros(*expires_at)), Sql::Int(*credential_id), Sql::Text(digest.clone())]
}

/// The proof of the master key: what is sealed under it as key 0.
pub(super) const MASTER_KEY_FIND: &str =
    "SELECT sealed FROM sealed_key WHERE id = 0 ORDER BY slot LIMIT 1";

/// Keeps the proof of the master key; the first one stands.
pub(super) const MASTER_KEY_PUT: &str = "INSERT INTO sealed_key (id, slot, sealed) \
     VALUES (0, 1, $1) ON CONFLICT (id, slot) DO NOTHING";

/// The migrations that were applied, oldest first, and what each was made of.
pub(super) const SCHEMA_HISTORY: &str =
    "SELECT version, checksum FROM refinery_schema_history ORDER BY version";

/// Microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The instant of so many microseconds since 1970.
pub(super) fn instant(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(Error::internal)
}

/// A key as a parameter.
pub(super) fn key(key: &Key) -> Sql {
    match key {
        Key::Int(id) => Sql::Int(*id),
        Key::Text(id) => Sql::Text(id.clone()),
    }
}

/// The fields of a record without a column of their own, as JSON, but those that are as its kind has
/// them by default; and what of a newer release's stood beside them.
fn body(document: &Document) -> Result<String, Error> {
    let kind = document.meta.kind;
    let has_column = |name: &str| kind.table().columns.iter().any(|column| column.name == name);
    let mut body = document.fields()?.object_but(kind.defaults(), |name| !has_column(name));
    if let Some(unknown) = document.unknown() {
        body.pop();
        let comma = if body.len() > 1 { "," } else { "" };
        let _ = write!(body, "{comma}{unknown}}}");
    }
    Ok(body)
}

/// A record as the values of its columns.
pub(super) fn encode(document: &Document) -> Result<Vec<Sql>, Error> {
    let Meta { kind, key: id, account_id, version, change_id, created_at, updated_at, deleted_at } =
        &document.meta;
    let table = kind.table();
    let fields = document.fields()?;
    let mut values = Vec::with_capacity(column_count(table) + 1);
    values.extend([
        key(id),
        Sql::Int(*account_id),
        Sql::Int(*version),
        Sql::Int(*change_id),
        Sql::Int(micros(*created_at)),
        Sql::Int(micros(*updated_at)),
        deleted_at.map_or(Sql::Null, |at| Sql::Int(micros(at))),
    ]);
    for Column { name, column_type } in table.columns {
        values.push(match (column_type, fields.value(name)) {
            (_, Value::Null) => Sql::Null,
            (ColumnType::Int | ColumnType::Reference(..), Value::Number(number)) => {
                Sql::Int(number.as_i64().ok_or_else(|| wrong(table, name))?)
            }
            (ColumnType::Text | ColumnType::Reference(..), Value::String(text)) => Sql::Text(text),
            (ColumnType::Flag, Value::Bool(flag)) => Sql::Int(flag.into()),
            (ColumnType::Instant, Value::String(text)) => {
                let at: Instant = text.parse().map_err(|_| wrong(table, name))?;
                Sql::Int(at.as_microsecond())
            }
            _ => return Err(wrong(table, name)),
        });
    }
    values.push(Sql::Text(body(document)?));
    Ok(values)
}

/// A record as the values of the columns that [`written`] names.
pub(super) fn encode_edit(document: &Document, touched: Touched) -> Result<Vec<Sql>, Error> {
    let Meta { key: id, account_id, version, change_id, updated_at, deleted_at, .. } =
        &document.meta;
    let last = match touched {
        Touched::All | Touched::Columns(_) => return encode(document),
        Touched::Body => Sql::Text(body(document)?),
        Touched::State => optional(deleted_at.map(micros)),
    };
    Ok(vec![
        key(id),
        Sql::Int(*account_id),
        Sql::Int(*version),
        Sql::Int(*change_id),
        Sql::Int(micros(*updated_at)),
        last,
    ])
}

/// Why a row is no record.
pub(super) enum Undecodable {
    /// Not even its identity can be read.
    Row(Error),
    /// The fields of this one are not of their type.
    Fields(Meta, serde_json::Error),
}

impl From<Error> for Undecodable {
    fn from(error: Error) -> Self {
        Self::Row(error)
    }
}

/// A record from the values of its columns.
pub(super) fn decode<'a>(
    kind: Kind,
    row: impl IntoIterator<Item: Into<Cell<'a>>>,
) -> Result<Document, Error> {
    try_decode(kind, row).map_err(|undecodable| match undecodable {
        Undecodable::Row(error) => error,
        Undecodable::Fields(meta, cause) => {
            Error::internal(format!("{} {}: {cause}", kind.name(), meta.key))
        }
    })
}

/// The same, for checks.
pub(super) fn try_decode<'a>(
    kind: Kind,
    row: impl IntoIterator<Item: Into<Cell<'a>>>,
) -> Result<Document, Undecodable> {
    let table = kind.table();
    let mut cells = row.into_iter();
    let mut next = || cells.next().map_or(Cell::Null, Into::into);
    let key = match (table.key, next()) {
        (KeyType::Int, Cell::Int(id)) => Key::Int(id),
        (KeyType::Text, Cell::Text(id)) => Key::Text(id.into_owned()),
        _ => return Err(wrong(table, "id").into()),
    };
    let mut int = |name| match next() {
        Cell::Int(value) => Ok(value),
        _ => Err(wrong(table, name)),
    };
    let account_id = int("account_id")?;
    let version = int("version")?;
    let change_id = int("change_id")?;
    let created_at = instant(int("created_at")?)?;
    let updated_at = instant(int("updated_at")?)?;
    let deleted_at = match next() {
        Cell::Int(at) => Some(instant(at)?),
        _ => None,
    };
    let mut columns = Vec::with_capacity(table.columns.len());
    for Column { name, column_type } in table.columns {
        let value = match (column_type, next()) {
            (_, Cell::Null) => Value::Null,
            (
                ColumnType::Int | ColumnType::Instant | ColumnType::Reference(..),
                Cell::Int(value),
            ) => value.into(),
            (ColumnType::Flag, Cell::Int(flag)) => (flag != 0).into(),
            (ColumnType::Text | ColumnType::Reference(..), Cell::Text(text)) => text.into(),
            _ => return Err(wrong(table, name).into()),
        };
        columns.push((*name, value));
    }
    let Cell::Text(body) = next() else {
        return Err(wrong(table, "body").into());
    };
    let meta =
        Meta { kind, key, account_id, version, change_id, created_at, updated_at, deleted_at };
    match kind.read(columns, &body) {
        Ok(record) => Ok(Document::of_any(meta, record, body.len())),
        Err(cause) => Err(Undecodable::Fields(meta, cause)),
    }
}

fn wrong(table: &Table, column: &str) -> Error {
    Error::internal(format!("{}.{column} is not of its type", table.name))
}

/// A change as the values of its columns.
pub(super) fn encode_change(change: &Change) -> Vec<Sql> {
    let Change {
        id,
        account_id,
        kind,
        record_id,
        version,
        previous_id,
        act_id,
        act_end,
        undoes,
        at,
        actor,
        dialect,
        request_id,
        action,
        before,
        after,
    } = change;
    vec![
        Sql::Int(*id),
        Sql::Int(*account_id),
        Sql::Text(kind.name().to_owned()),
        Sql::Text(record_id.clone()),
        Sql::Int(*version),
        optional(*previous_id),
        optional(*act_id),
        optional(*act_end),
        optional(*undoes),
        Sql::Int(micros(*at)),
        Sql::Text(actor.clone()),
        Sql::Text(dialect.clone()),
        Sql::Text(request_id.clone()),
        Sql::Text(action.name().to_owned()),
        fields(before.as_ref()),
        fields(after.as_ref()),
    ]
}

fn optional(id: Option<i64>) -> Sql {
    id.map_or(Sql::Null, Sql::Int)
}

fn fields(fields: Option<&Fields>) -> Sql {
    Sql::Text(fields.map_or_else(|| "null".to_owned(), Fields::to_string))
}

/// A change from the values of its columns.
pub(super) fn decode_change(values: Vec<Sql>) -> Result<Change, Error> {
    let bad = || Error::internal("a change is not of its type");
    let parse = |text: &str| (text != "null").then(|| Fields::parse(text)).transpose();
    let [
        Sql::Int(id),
        Sql::Int(account_id),
        Sql::Text(kind),
        Sql::Text(record_id),
        Sql::Int(version),
        previous,
        act,
        act_end,
        undoes,
        Sql::Int(at),
        Sql::Text(actor),
        Sql::Text(dialect),
        Sql::Text(request_id),
        Sql::Text(action),
        Sql::Text(before),
        Sql::Text(after),
    ] = <[Sql; CHANGE_WIDTH]>::try_from(values).map_err(|_| bad())?
    else {
        return Err(bad());
    };
    Ok(Change {
        id,
        account_id,
        kind: Kind::parse(&kind).ok_or_else(bad)?,
        record_id,
        version,
        previous_id: first_int(&[previous]),
        act_id: first_int(&[act]),
        act_end: first_int(&[act_end]),
        undoes: first_int(&[undoes]),
        at: instant(at)?,
        actor,
        dialect,
        request_id,
        action: Action::parse(&action).ok_or_else(bad)?,
        before: parse(&before)?,
        after: parse(&after)?,
    })
}

/// The first column of a row, where it is a number.
pub(super) fn first_int(row: &[Sql]) -> Option<i64> {
    match row.first() {
        Some(Sql::Int(value)) => Some(*value),
        _ => None,
    }
}

/// The rows of a kind in id order.
pub(super) fn documents_after(kind: Kind, after: Option<&Key>, limit: i64) -> (String, Vec<Sql>) {
    let table = kind.table();
    let all = columns(table);
    match after {
        None => (
            format!("SELECT {all} FROM {} ORDER BY id LIMIT $1", table.name),
            vec![Sql::Int(limit)],
        ),
        Some(after) => (
            format!("SELECT {all} FROM {} WHERE id > $1 ORDER BY id LIMIT $2", table.name),
            vec![key(after), Sql::Int(limit)],
        ),
    }
}

/// Every statement that both stores share, to be prepared by a check.
pub(super) fn all() -> Vec<String> {
    let mut all: Vec<String> = [
        CHANGE_FIND,
        HISTORY,
        HISTORY_PAGE,
        ACT,
        CONTENT_FIND,
        CONTENT_PUT,
        IDEMPOTENCY_FIND,
        IDEMPOTENCY_PUT,
        TOKEN_FIND,
        TOKEN_PUT,
        SIGNATURE_FIND,
        SIGNATURE_PUT,
        MASTER_KEY_FIND,
        MASTER_KEY_PUT,
        SCHEMA_HISTORY,
    ]
    .map(str::to_owned)
    .to_vec();
    for kind in Kind::ALL.iter().copied() {
        all.push(Statements::new(kind).find);
        all.extend(kind.table().columns.iter().map(|column| select(kind, column.name)));
        all.extend(Way::to(kind).map(|way| naming((way.by, way.column), kind)));
        all.push(documents_after(kind, None, 1).0);
        all.push(documents_after(kind, Some(&Key::Int(1)), 1).0);
    }
    all
}

/// An answer to an idempotency key as parameters. Bodies are text in every dialect.
pub(super) fn encode_answer(
    credential_id: i64,
    key: &str,
    answer: &StoredAnswer,
) -> Result<Vec<Sql>, Error> {
    let (status, headers, body) = match &answer.answered {
        Answered::Whole { status, headers, body } => {
            let headers = serde_json::to_string(headers).map_err(Error::internal)?;
            (*status, headers, String::from_utf8(body.to_vec()).map_err(Error::internal)?)
        }
        Answered::Of(kind, key) => (NO_STATUS, kind.name().to_owned(), key.to_string()),
    };
    Ok(vec![
        Sql::Int(credential_id),
        Sql::Text(key.to_owned()),
        Sql::Text(answer.request_hash.clone()),
        Sql::Int(status.into()),
        Sql::Text(headers),
        Sql::Text(body),
        Sql::Int(micros(answer.at)),
        optional(answer.act_id),
    ])
}

/// Stands where an answer is not kept, with kind and key of the record that it showed for headers and body.
const NO_STATUS: u16 = 0;

/// An answer to an idempotency key from its columns.
pub(super) fn decode_answer(values: Vec<Sql>) -> Result<StoredAnswer, Error> {
    let bad = || Error::internal("an answer is not of its type");
    let [
        Sql::Text(request_hash),
        Sql::Int(status),
        Sql::Text(headers),
        Sql::Text(body),
        Sql::Int(at),
        act,
    ] = <[Sql; ANSWER_WIDTH]>::try_from(values).map_err(|_| bad())?
    else {
        return Err(bad());
    };
    let answered = match u16::try_from(status) {
        Ok(NO_STATUS) => {
            let kind = Kind::parse(&headers).ok_or_else(bad)?;
            Answered::Of(kind, Key::parse(kind.table().key, &body).ok_or_else(bad)?)
        }
        Ok(status @ 100..600) => {
            let headers = serde_json::from_str(&headers).map_err(Error::internal)?;
            Answered::Whole { status, headers, body: body.into() }
        }
        _ => return Err(Error::internal(format!("{status} is no status"))),
    };
    Ok(StoredAnswer { request_hash, answered, at: instant(at)?, act_id: first_int(&[act]) })
}

/// A token as parameters.
pub(super) fn encode_token(token: &Token) -> Vec<Sql> {
    vec![
        Sql::Text(token.hash.clone()),
        Sql::Int(token.credential_id),
        Sql::Int(micros(token.expires_at)),
    ]
}

/// A token from its columns.
pub(super) fn decode_token(values: Vec<Sql>) -> Result<Token, Error> {
    let bad = || Error::internal("a token is not of its type");
    let [Sql::Text(hash), Sql::Int(credential_id), Sql::Int(expires_at)] =
        <[Sql; 3]>::try_from(values).map_err(|_| bad())?
    else {
        return Err(bad());
    };
    Ok(Token { hash, credential_id, expires_at: instant(expires_at)? })
}
