//! Where a large command's rows, changes and links wait until all of it is written.

use rusqlite::Connection;

use super::SqliteFault;
use super::statement::{execute, query};
use crate::store::links::link_columns;
use crate::store::sql::{self, Sql, change_columns};

/// Puts ids of table `$1` aside.
pub(super) const PUT_ASIDE: &str =
    "INSERT INTO staging (name, first_id, last_id) VALUES ($1, $2, $3)";
/// The last id of table `$1` that was put aside.
const LAST_ID: &str = "SELECT coalesce(max(last_id), 0) FROM staging WHERE name = $1";
/// What is staged.
pub(super) const FIND: &str = "SELECT name, first_id, last_id FROM staging";
/// A new change, which nobody is to see yet.
pub(super) const CHANGE_PUT: &str = concat!(
    "INSERT INTO change_staged (",
    change_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
);
/// Shows the staged changes.
const CHANGES_SHOW: &str = concat!(
    "INSERT INTO change (",
    change_columns!(),
    ") SELECT ",
    change_columns!(),
    " FROM change_staged ORDER BY id"
);
/// A new link, which nobody is to see yet.
pub(super) const LINK_PUT: &str =
    concat!("INSERT INTO link_staged (", link_columns!(), ") VALUES ($1, $2, $3, $4)");
/// Shows the staged links.
const LINKS_SHOW: &str = concat!(
    "INSERT INTO link (",
    link_columns!(),
    ") SELECT ",
    link_columns!(),
    " FROM link_staged"
);
/// Forgets what was staged but rows of records.
const FORGET: [&str; 3] =
    ["DELETE FROM change_staged", "DELETE FROM link_staged", "DELETE FROM staging"];

/// Holds for a row `r` of a table that is staged.
pub(super) fn has(table: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM staging \
         WHERE name = '{table}' AND r.id BETWEEN first_id AND last_id)"
    )
}

/// Shows staged rows; there are as many as ids.
pub(super) fn show_rows(table: &str) -> String {
    format!("UPDATE {table} SET deleted_at = NULL WHERE id BETWEEN $1 AND $2")
}

/// Removes staged rows.
pub(super) fn discard_rows(table: &str) -> String {
    format!("DELETE FROM {table} WHERE id BETWEEN $1 AND $2")
}

/// Shows the staged changes; as many as there are.
pub(super) fn show_changes(connection: &Connection) -> Result<usize, SqliteFault> {
    execute(connection, CHANGES_SHOW, &[])
}

/// Shows the staged links; as many as there are.
pub(super) fn show_links(connection: &Connection) -> Result<usize, SqliteFault> {
    execute(connection, LINKS_SHOW, &[])
}

/// Forgets what was staged but rows of records.
pub(super) fn forget(connection: &Connection) -> Result<(), SqliteFault> {
    FORGET.iter().try_for_each(|text| execute(connection, text, &[]).map(|_| ()))
}

/// The largest id of a table that was put aside for rows which are not all written yet.
pub(super) fn last_id(connection: &Connection, table: &str) -> Result<i64, SqliteFault> {
    let rows = query(connection, LAST_ID, &[Sql::Text(table.to_owned())], 1)?;
    Ok(rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default())
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    let fixed = [PUT_ASIDE, LAST_ID, FIND, CHANGE_PUT, CHANGES_SHOW, LINK_PUT, LINKS_SHOW];
    fixed.into_iter().chain(FORGET).map(str::to_owned)
}
