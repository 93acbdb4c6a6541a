//! The table of links, for checks: who names whom elsewhere than in columns.

use std::collections::HashSet;

use super::Store;
use super::sql::Sql;
use crate::domain::error::Error;

/// Kind and id of the one that is named, then of the one that names it.
pub type Link = [String; 4];

/// Links asked for by one statement.
const ASKED: usize = 250;

/// The columns of a link.
macro_rules! link_columns {
    () => {
        "to_kind, to_id, from_kind, from_id"
    };
}
pub(super) use link_columns;

/// `$5` links in their order, from the one after `$1` to `$4` on.
const AFTER: &str = concat!(
    "SELECT ",
    link_columns!(),
    " FROM link WHERE (",
    link_columns!(),
    ") > ($1, $2, $3, $4) ORDER BY ",
    link_columns!(),
    " LIMIT $5"
);

/// Those among so many links that stand. (From the links asked for to the table: SQLite would look
/// through all of it.)
fn standing() -> String {
    let row =
        |n: usize| format!("(${}, ${}, ${}, ${})", 4 * n + 1, 4 * n + 2, 4 * n + 3, 4 * n + 4);
    let rows: Vec<String> = (0..ASKED).map(row).collect();
    format!(
        "WITH asked (tk, ti, fk, fi) AS (VALUES {}) SELECT {} FROM asked CROSS JOIN link \
         WHERE to_kind = tk AND to_id = ti AND from_kind = fk AND from_id = fi",
        rows.join(", "),
        link_columns!()
    )
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> [String; 2] {
    [AFTER.to_owned(), standing()]
}

fn decode(row: Vec<Sql>) -> Result<Link, Error> {
    match <[Sql; 4]>::try_from(row) {
        Ok([Sql::Text(to_kind), Sql::Text(to_id), Sql::Text(from_kind), Sql::Text(from_id)]) => {
            Ok([to_kind, to_id, from_kind, from_id])
        }
        _ => Err(Error::internal("a link is not of its type")),
    }
}

impl Store {
    /// Links in their order, from the one after `after` on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn links_after(&self, after: &Link, limit: i64) -> Result<Vec<Link>, Error> {
        let mut parameters = after.clone().map(Sql::Text).to_vec();
        parameters.push(Sql::Int(limit));
        let rows = self.rows(AFTER.to_owned(), parameters, 4).await?;
        rows.into_iter().map(decode).collect()
    }

    /// Those of these links that stand.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn standing_links(&self, links: &[Link]) -> Result<HashSet<Link>, Error> {
        let mut found = HashSet::new();
        for asked in links.chunks(ASKED) {
            // One text for however many: the last is asked for again.
            let all = asked.iter().chain(asked.last().into_iter().cycle());
            let parameters = all.take(ASKED).flatten().cloned().map(Sql::Text).collect();
            let rows = self.rows(standing(), parameters, 4).await?;
            for row in rows {
                found.insert(decode(row)?);
            }
        }
        Ok(found)
    }
}
