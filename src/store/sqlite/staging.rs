//! Where a large command's rows, edits, changes and links wait until all of it is written.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::SqliteFault;
use super::statement::{Rerun, execute, query};
use crate::domain::kind::Kind;
use crate::pipeline::{Pending, Touched, Writes};
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

/// How many values of a row there is room for in [`make_edits`].
const EDIT_WIDTH: usize = 32;

/// Edits of stored rows that are written with the last part, all of one table with one statement. They
/// wait in a table of this connection's own, in memory: to put them there takes nobody's turn.
pub(super) struct Edits {
    text: String,
    form: i64,
    count: usize,
}

/// Makes room for edits.
pub(super) fn make_edits(connection: &Connection) -> Result<(), SqliteFault> {
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    let text = format!("CREATE TEMP TABLE edit (form, {})", places(EDIT_WIDTH));
    execute(connection, &text, &[]).map(|_| ())
}

fn places(count: usize) -> String {
    (1..=count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")
}

/// Forgets the edits of the last command.
pub(super) fn forget_edits(connection: &Connection) -> Result<(), SqliteFault> {
    execute(connection, "DELETE FROM temp.edit", &[]).map(|_| ())
}

/// Stages the edits of stored rows.
pub(super) fn stage_edits(
    connection: &Connection,
    writes: &Writes,
) -> Result<Vec<Edits>, SqliteFault> {
    let mut forms: BTreeMap<(Kind, Touched), Vec<(&Pending, i64)>> = BTreeMap::new();
    for pending in writes.documents.values() {
        if let Some(stored_version) = pending.stored_version {
            let form = (pending.document.meta.kind, pending.touched);
            forms.entry(form).or_default().push((pending, stored_version));
        }
    }
    execute(connection, "BEGIN", &[])?;
    let staged = put_edits(connection, forms);
    let end = if staged.is_ok() { "COMMIT" } else { "ROLLBACK" };
    execute(connection, end, &[])?;
    staged
}

fn put_edits(
    connection: &Connection,
    forms: BTreeMap<(Kind, Touched), Vec<(&Pending, i64)>>,
) -> Result<Vec<Edits>, SqliteFault> {
    forget_edits(connection)?;
    let mut staged = Vec::with_capacity(forms.len());
    for (((kind, touched), rows), form) in forms.into_iter().zip(0..) {
        let width = sql::written(kind.table(), touched).len() + 1;
        let marks: Vec<String> = (1..=width + 1).map(|n| format!("?{n}")).collect();
        let (places, marks) = (places(width), marks.join(", "));
        let text = format!("INSERT INTO temp.edit (form, {places}) VALUES ({marks})");
        let mut inserts = Rerun::over(connection);
        for (pending, stored_version) in &rows {
            let mut values = vec![Sql::Int(form)];
            values.extend(sql::encode_edit(&pending.document, touched)?);
            values.push(Sql::Int(*stored_version));
            inserts.execute(&text, &values)?;
        }
        staged.push(Edits { text: edit_rows(kind, touched), form, count: rows.len() });
    }
    Ok(staged)
}

/// Writes staged edits; false when one of the rows has moved on.
pub(super) fn show_edits(connection: &Connection, edits: &Edits) -> Result<bool, SqliteFault> {
    Ok(execute(connection, &edits.text, &[Sql::Int(edits.form)])? == edits.count)
}

/// Writes the edits of form `?1`.
fn edit_rows(kind: Kind, touched: Touched) -> String {
    let table = kind.table();
    let (name, names) = (table.name, sql::written(table, touched));
    let sets = sql::sets(table, touched, &names, |place| format!("e.c{}", place + 1));
    format!(
        "UPDATE {name} SET {sets} FROM temp.edit e WHERE e.form = ?1 AND {name}.id = e.c1 \
         AND {name}.account_id = e.c2 AND {name}.version = e.c{}",
        names.len() + 1
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Sqlite;

    #[test]
    fn edits_of_every_kind_find_their_rows_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Sqlite::open(&folder.path().join("haksa.db"), crate::store::Whom::Clients).unwrap();
        store.migrate().unwrap();
        let connection = crate::store::sqlite::connect(&store.place, true).unwrap();
        make_edits(&connection).unwrap();
        for kind in Kind::ALL {
            let width = sql::written(kind.table(), Touched::All).len() + 1;
            assert!(width <= EDIT_WIDTH, "{}: {width}", kind.name());
            for touched in [Touched::All, Touched::Columns(1), Touched::Body, Touched::State] {
                let text = format!("EXPLAIN QUERY PLAN {}", edit_rows(*kind, touched));
                let mut plan = connection.prepare(&text).unwrap();
                let lines = plan.query_map([0], |row| row.get::<_, String>(3)).unwrap();
                let lines: Vec<String> = lines.map(Result::unwrap).collect();
                let is_found = lines[0].starts_with("SCAN e")
                    && lines[1].starts_with(&format!("SEARCH {} USING ", kind.name()))
                    && lines[1].contains("id=?");
                assert!(is_found, "{text}: {lines:?}");
            }
        }
    }
}
