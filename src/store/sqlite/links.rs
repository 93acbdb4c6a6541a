//! Who names whom: links, as they are kept here, and what a large command has to ask.

use rusqlite::Connection;
use serde_json::Value;

use super::SqliteFault;
use super::statement::{Rerun, query};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::domain::table::Way;
use crate::pipeline::Link;
use crate::store::links::link_columns;
use crate::store::sql::{self, Sql};

/// A link that stands, whether it did before or not.
const PUT: &str = concat!(
    "INSERT INTO link (",
    link_columns!(),
    ") VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
);
/// One that does not.
const DROP: &str = concat!("DELETE FROM link WHERE (", link_columns!(), ") = ($1, $2, $3, $4)");

/// A link as parameters.
pub(super) fn encode(link: &Link) -> Vec<Sql> {
    link.texts().map(Sql::Text).to_vec()
}

/// Writes links as they stand from now on, or do not.
pub(super) fn write<'a>(
    connection: &Connection,
    links: impl Iterator<Item = (&'a Link, &'a bool)>,
) -> Result<(), SqliteFault> {
    let mut rows = Rerun::over(connection);
    for (link, stands) in links {
        rows.execute(if *stands { PUT } else { DROP }, &encode(link))?;
    }
    Ok(())
}

/// Whether a live record names one of these in this way.
pub(super) fn is_named(
    connection: &Connection,
    kind: Kind,
    way: Way,
    keys: &[&Key],
) -> Result<bool, SqliteFault> {
    Ok(!query(connection, &find_naming(kind, way), &[array(keys)], 1)?.is_empty())
}

/// Whether all of these records are there.
pub(super) fn are_there(
    connection: &Connection,
    kind: Kind,
    keys: &[&Key],
) -> Result<bool, SqliteFault> {
    let rows = query(connection, &count_live(kind), &[array(keys)], 1)?;
    let count = rows.first().and_then(|row| sql::first_int(row));
    Ok(count.and_then(|count| usize::try_from(count).ok()) == Some(keys.len()))
}

/// Keys as a JSON array.
fn array(keys: &[&Key]) -> Sql {
    let value = |key: &&Key| match key {
        Key::Int(id) => Value::from(*id),
        Key::Text(id) => Value::from(id.as_str()),
    };
    Sql::Text(keys.iter().map(value).collect::<Value>().to_string())
}

/// How many of `$1`, a JSON array of different ids, are live.
fn count_live(kind: Kind) -> String {
    format!(
        "SELECT count(*) FROM {} WHERE id IN (SELECT value FROM json_each($1)) \
         AND deleted_at IS NULL",
        kind.name()
    )
}

/// A live record that names one of `$1`, a JSON array.
fn find_naming(kind: Kind, way: Way) -> String {
    match way.column {
        Some(column) => format!(
            "SELECT 1 FROM {} WHERE {column} IN (SELECT value FROM json_each($1)) \
             AND deleted_at IS NULL LIMIT 1",
            way.by.table().name
        ),
        None => format!(
            "SELECT 1 FROM link WHERE to_kind = '{}' \
             AND to_id IN (SELECT CAST(value AS TEXT) FROM json_each($1)) \
             AND from_kind = '{}' LIMIT 1",
            kind.name(),
            way.by.name()
        ),
    }
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    let of = |kind: &Kind| {
        let kind = *kind;
        Way::to(kind).map(move |way| find_naming(kind, way))
    };
    let counts = Kind::ALL.iter().map(|kind| count_live(*kind));
    [PUT, DROP].into_iter().map(str::to_owned).chain(counts).chain(Kind::ALL.iter().flat_map(of))
}
