//! Who names whom elsewhere than in columns, as it is kept here.

use rusqlite::Connection;

use super::SqliteFault;
use super::statement::Rerun;
use crate::pipeline::Link;
use crate::store::links::link_columns;
use crate::store::sql::Sql;

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

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    [PUT, DROP].into_iter().map(str::to_owned)
}
