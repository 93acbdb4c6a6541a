//! In builds for tests and development: what each list costs, asked of the database when the list is
//! first made. One that would read more than it lists is a fault of ours, and fails the test that made it.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::Store;
use super::sql::Sql;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::List;

/// Lists whose rows are put in order after they are found, with what they are known by, and why.
const SORTED: [(Kind, &str, &str); 2] = [
    (Kind::Message, "achievement_id = ", "a certificate has two messages at the most"),
    (
        Kind::Membership,
        "student_id IN ",
        "a person is few partners' student, each with rows of its own",
    ),
];

/// Texts whose plans were found good.
static GOOD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Panics at a question whose plan walks through a table, or puts rows in order that an index could have
/// had in order. (How searches by grams are planned, and why, is in [`super::search`].)
pub(super) async fn hold(
    store: &Store,
    list: &List,
    text: &str,
    parameters: &[Sql],
) -> Result<(), Error> {
    if list.called.is_some() || GOOD.lock().contains(text) {
        return Ok(());
    }
    let table = list.kind.table().name;
    let may_sort = SORTED.iter().any(|(kind, part, _)| *kind == list.kind && text.contains(part));
    let (lines, has_fault) = match store {
        Store::Sqlite(_) => {
            let rows =
                store.rows(format!("EXPLAIN QUERY PLAN {text}"), parameters.to_vec(), 4).await?;
            let line = |row: Vec<Sql>| match row.into_iter().nth(3) {
                Some(Sql::Text(line)) => line,
                _ => String::new(),
            };
            let lines: Vec<String> = rows.into_iter().map(line).collect();
            let walks = lines.iter().any(|line| {
                line.starts_with("SCAN ") || line.starts_with("SEARCH ") && !line.contains("=?")
            });
            (lines, walks)
        }
        Store::Postgres(postgres) => {
            // One message is one transaction, and no other question is in between.
            let mut literal = text.to_owned();
            for (index, value) in parameters.iter().enumerate().rev() {
                let value = match value {
                    Sql::Int(value) => value.to_string(),
                    Sql::Text(text) => format!("'{}'", text.replace('\'', "''")),
                    Sql::Null | Sql::Bytes(_) => "NULL".to_owned(),
                };
                literal = literal.replace(&format!("${}", index + 1), &value);
            }
            let mut lines = postgres
                .lines(&format!(
                    "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = {may_sort}; \
                     SET LOCAL enable_incremental_sort = off; \
                     SELECT reltuples FROM pg_class WHERE oid = '{table}'::regclass; \
                     EXPLAIN (COSTS OFF) {literal}"
                ))
                .await?;
            // Where the server has counted that all rows are of one owner, any index is as good; and for
            // a number any that has few rows.
            let is_free =
                lines.first().is_some_and(|count| count != "-1") || !text.contains("ORDER");
            lines.drain(..1);
            let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
            let walks = count("Seq Scan") > 0
                || !is_free
                    && count("Index Cond: ") < count("Index Scan") + count("Index Only Scan");
            (lines, walks)
        }
    };
    let is_sorted = lines.iter().any(|line| line.contains("TEMP B-TREE") || line.contains("Sort"));
    let is_good = !has_fault && (!is_sorted || may_sort);
    assert!(is_good, "a list without an index of its own: {text}\n{}", lines.join("\n"));
    GOOD.lock().insert(text.to_owned());
    Ok(())
}
