//! What a check reads: rows as they stand, over a connection of its own, by statements that may take
//! long. Each statement sees one state of the database, and none is kept for the next: a check that takes
//! minutes stands in nobody's way.

mod beside;
mod history;
mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use history::{Entry, Step};
pub use rows::{Row, Standing};

use super::search;
use super::sql::{self, Sql};
use super::{OpenError, Store, list, postgres, sqlite};
use crate::domain::error::Error;

/// Values asked for by one statement.
const ASKED: usize = 500;
/// Bytes of one answer at the most, but that it has one row at least.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection for whoever looks at everything.
#[derive(Debug)]
pub struct Looker {
    eye: Eye,
}

#[derive(Debug)]
enum Eye {
    Sqlite(sqlite::Eye),
    Postgres(postgres::Eye),
}

/// Rows, and whether they are all that there are: there may be too many bytes of them.
type Found = (Vec<Vec<Sql>>, bool);

impl Store {
    /// A connection for whoever looks at everything.
    ///
    /// # Errors
    /// [`OpenError::Open`] when the database does not answer.
    pub async fn looker(&self) -> Result<Looker, OpenError> {
        Ok(Looker {
            eye: match self {
                Self::Sqlite(sqlite) => Eye::Sqlite(sqlite.eye()?),
                Self::Postgres(postgres) => Eye::Postgres(postgres.eye().await?),
            },
        })
    }

    /// Statements of this release that the database does not take, and why.
    ///
    /// # Errors
    /// [`Error::Internal`] when one cannot be written.
    pub async fn statement_faults(&self) -> Result<Vec<String>, Error> {
        let mut statements = sql::all();
        statements.extend(list::statements(self.flavor())?);
        statements.extend(super::links::statements());
        statements.extend(super::changes::statements());
        statements.extend(super::sweep::statements(self.flavor()));
        statements.extend(match self {
            Self::Sqlite(_) => sqlite::statements(),
            Self::Postgres(_) => postgres::statements(),
        });
        let mut found = Vec::new();
        for text in statements {
            let prepared = match self {
                Self::Sqlite(sqlite) => sqlite.prepare(&text),
                Self::Postgres(postgres) => postgres.prepare(&text).await,
            };
            if let Err(error) = prepared {
                found.push(format!("{error:?}: {text}"));
            }
        }
        Ok(found)
    }
}

impl Looker {
    async fn found(&self, text: &str, parameters: Vec<Sql>, width: usize) -> Result<Found, Error> {
        match &self.eye {
            Eye::Sqlite(eye) => eye.rows(text.to_owned(), parameters, width, BYTES_MAX).await,
            Eye::Postgres(eye) => eye.rows(text, &parameters, width, BYTES_MAX).await,
        }
    }

    /// Rows that are short or few.
    async fn all(
        &self,
        text: &str,
        parameters: Vec<Sql>,
        width: usize,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        Ok(match &self.eye {
            Eye::Sqlite(eye) => eye.rows(text.to_owned(), parameters, width, usize::MAX).await?.0,
            Eye::Postgres(eye) => eye.rows(text, &parameters, width, usize::MAX).await?.0,
        })
    }

    /// What of the tables, their indexes, constraints and triggers is not as this release makes them, a
    /// sentence each; none where that cannot be told, because nothing may be made on the server to compare
    /// them with.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn schema_faults(&self) -> Result<Option<Vec<String>>, Error> {
        match &self.eye {
            Eye::Sqlite(eye) => eye.schema_faults().await.map(Some),
            Eye::Postgres(eye) => eye.schema_faults().await,
        }
    }

    /// The tables whose pages can be looked through one by one; none where the database sees to that.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn tables(&self) -> Result<Vec<String>, Error> {
        let Eye::Sqlite(_) = self.eye else { return Ok(Vec::new()) };
        let rows = self.all(sqlite::TABLES, Vec::new(), 1).await?;
        Ok(rows.into_iter().filter_map(|row| text(row.into_iter().next())).collect())
    }

    /// Damaged pages of a table, and entries of its indexes that are not its rows'.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn damage(&self, table: &str, is_quick: bool) -> Result<Vec<String>, Error> {
        let how = if is_quick { "quick_check" } else { "integrity_check" };
        let rows = self.all(&format!("PRAGMA {how}({table})"), Vec::new(), 1).await?;
        let found = rows.into_iter().filter_map(|row| text(row.into_iter().next()));
        Ok(found.filter(|found| found != "ok").collect())
    }

    /// People with larger ids than `after`, in order: each one's id, and the sum of the grams by which
    /// searches should find them. Beside it, where each row holds its own grams, their sum.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn gram_sums_due(&self, after: i64) -> Result<Vec<(i64, u64, Option<u64>)>, Error> {
        let (text, most) = match self.eye {
            Eye::Sqlite(_) => (search::PEOPLE, None),
            Eye::Postgres(_) => (search::PEOPLE_WITH_GRAMS, Some(())),
        };
        let rows = self.found(text, vec![Sql::Int(after)], 4).await?.0;
        let sums = rows.into_iter().filter_map(|row| match <[Sql; 4]>::try_from(row).ok()? {
            [Sql::Int(id), Sql::Text(name), email, grams] => {
                let email = match email {
                    Sql::Text(email) => email,
                    _ => String::new(),
                };
                let found = match (most, grams) {
                    (Some(()), Sql::Text(grams)) => Some(search::sum_of_joined(&grams)),
                    (Some(()), _) => Some(0),
                    (None, _) => None,
                };
                Some((id, search::sum_due(&name, &email, most.is_some()), found))
            }
            _ => None,
        });
        Ok(sums.collect())
    }

    /// Adds up the grams by which searches find people with these ids, from the gram `from` on; gives the
    /// one to go on from, if there are more. Nothing is added where rows hold their own.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn gram_sums(
        &self,
        from: String,
        ids: (i64, i64),
        sums: HashMap<i64, u64>,
    ) -> Result<(HashMap<i64, u64>, Option<String>), Error> {
        match &self.eye {
            Eye::Sqlite(eye) => eye.gram_sums(from, ids, sums).await,
            Eye::Postgres(_) => Ok((sums, None)),
        }
    }
}

/// What a database is made of, by what it is and its name: the table that it is of, and its text.
pub(super) type Objects = BTreeMap<(String, String), [String; 2]>;

/// How what stands differs from what is made; what others put beside it is nobody's business.
pub(super) fn differences(made: &Objects, standing: &Objects) -> Vec<String> {
    let tables: HashSet<&String> = made.values().map(|[table, _]| table).collect();
    let mut found = Vec::new();
    for ((what, name), text) in made {
        match standing.get(&(what.clone(), name.clone())) {
            None => found.push(format!("the {what} {name} is not there")),
            Some(other) if other != text => {
                found.push(format!("the {what} {name} is not as this release makes it"));
            }
            Some(_) => {}
        }
    }
    for (place, [table, _]) in standing {
        if tables.contains(table) && !table.is_empty() && !made.contains_key(place) {
            let (what, name) = place;
            found.push(format!("the {what} {name} of {table} is none of this release's"));
        }
    }
    found
}

/// `($1, …)` for as many values as are asked for at once, the first of them being parameter `first`.
fn places(first: usize) -> String {
    let marks: Vec<String> = (first..first + ASKED).map(|n| format!("${n}")).collect();
    format!("({})", marks.join(", "))
}

/// One text for however many values: the last is asked for again.
fn padded(values: impl ExactSizeIterator<Item = Sql>) -> Vec<Sql> {
    let mut all: Vec<Sql> = values.take(ASKED).collect();
    if let Some(last) = all.last().cloned() {
        all.resize(ASKED, last);
    }
    all
}

fn text(value: Option<Sql>) -> Option<String> {
    match value {
        Some(Sql::Text(text)) => Some(text),
        _ => None,
    }
}

const fn int(value: &Sql) -> Option<i64> {
    match value {
        Sql::Int(value) => Some(*value),
        _ => None,
    }
}
