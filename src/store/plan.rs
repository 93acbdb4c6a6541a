//! In builds for tests and development: what each list costs, asked of the database when the list is
//! first made. One that would read more than it lists is a fault of ours, and fails the test that made it.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use super::Store;
use super::sql::{Sql, first_int};
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
    let may_sort = SORTED.iter().any(|(kind, part, _)| *kind == list.kind && text.contains(part));
    let rows = match store {
        Store::Sqlite(_) => {
            store.rows(format!("EXPLAIN QUERY PLAN {text}"), parameters.to_vec(), 4).await?
        }
        Store::Postgres(postgres) => postgres.explain(text, parameters).await?,
    };
    let line = |row: &Vec<Sql>| match row.last() {
        Some(Sql::Text(line)) => line.clone(),
        _ => String::new(),
    };
    let plan: Vec<String> = rows.iter().map(line).collect();
    let has = |word: &str| plan.iter().filter(|line| line.contains(word)).count();
    let walks = match store {
        // What a question made itself is walked through whole.
        Store::Sqlite(_) => has("SCAN ") > has("SCAN turn") || has("SEARCH ") > has("=?"),
        Store::Postgres(_) => {
            // Of few rows any index that is small is as good for a number, and once the server has
            // counted that all of them are of one owner, for a page.
            let counted = "SELECT count(*) FROM pg_class WHERE relname = $1 AND reltuples >= 0";
            let table = Sql::Text(list.kind.name().to_owned());
            let counted = store.rows(counted.to_owned(), vec![table], 1).await?;
            let is_strict =
                !may_sort && text.contains(" ORDER BY ") && first_int(&counted.concat()) == Some(0);
            let scans = has("Index Scan") + has("Index Only Scan");
            has("Seq Scan") > 0 || is_strict && scans > has("Index Cond: ")
        }
    };
    let is_sorted = has("TEMP B-TREE") + has("Sort") > 0;
    let is_good = !walks && (may_sort || !is_sorted);
    assert!(is_good, "a list without an index of its own: {text}\n{}", plan.join("\n"));
    GOOD.lock().insert(text.to_owned());
    Ok(())
}
