//! What a check reads from a file.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::statement::{SqliteFault, numbered};
use super::{OpenError, Sqlite};
use crate::domain::error::Error;
use crate::store::look::{Objects, differences};
use crate::store::search::GRAM_HASH;
use crate::store::sql::Sql;

/// The tables and their indexes, but those that others are made of.
pub const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' \
     AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
/// What a file is made of, apart from what SQLite itself keeps there.
const OBJECTS: &str = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master \
     WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' AND tbl_name <> 'refinery_schema_history'";
/// Which people the grams from `?1` on find, of those with ids from `?2` to `?3`.
const GRAMS: &str = "SELECT term, doc FROM person_search_terms WHERE term >= ?1 \
     AND doc BETWEEN ?2 AND ?3";
/// So many are read at once, and as many more as the last gram has.
const GRAMS_AT_ONCE: usize = 500_000;

/// A connection for whoever looks at everything.
#[derive(Clone, Debug)]
pub struct Eye(Arc<Mutex<Connection>>);

impl Sqlite {
    /// A connection for whoever looks at everything.
    pub(in crate::store) fn eye(&self) -> Result<Eye, OpenError> {
        Ok(Eye(Arc::new(Mutex::new(super::connect_to_look(&self.place)?))))
    }
}

impl Eye {
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Connection) -> Result<T, SqliteFault> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        let looking = tokio::task::spawn_blocking(move || f(&this.0.lock()));
        looking.await.map_err(Error::internal)?.map_err(SqliteFault::into_error)
    }

    /// Rows until they are of `bytes_max`, and whether they are all.
    pub(in crate::store) async fn rows(
        &self,
        text: String,
        parameters: Vec<Sql>,
        width: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Vec<Sql>>, bool), Error> {
        self.with(move |connection| {
            let mut statement = connection.prepare_cached(&numbered(&text))?;
            let mut rows = statement.query(rusqlite::params_from_iter(&parameters))?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            while bytes < bytes_max {
                let Some(row) = rows.next()? else { return Ok((found, true)) };
                let mut values = Vec::with_capacity(width);
                for column in 0..width {
                    let value = value(row.get_ref(column)?);
                    bytes += value.length();
                    values.push(value);
                }
                found.push(values);
            }
            Ok((found, false))
        })
        .await
    }

    /// See [`crate::store::look::Looker::gram_sums`].
    pub(in crate::store) async fn gram_sums(
        &self,
        from: String,
        (first, last): (i64, i64),
        mut sums: HashMap<i64, u64>,
    ) -> Result<(HashMap<i64, u64>, Option<String>), Error> {
        self.with(move |connection| {
            let mut statement = connection.prepare_cached(GRAMS)?;
            let mut rows = statement.query((from, first, last))?;
            let (mut count, mut gram, mut hash) = (0, String::new(), 0);
            while let Some(row) = rows.next()? {
                let (term, id) = (row.get_ref(0)?, row.get(1)?);
                let term = term.as_str().map_err(|_| Error::internal("a gram is no text"))?;
                if term != gram {
                    if count >= GRAMS_AT_ONCE {
                        return Ok((sums, Some(term.to_owned())));
                    }
                    term.clone_into(&mut gram);
                    hash = GRAM_HASH.hash_one(term);
                }
                let sum: &mut u64 = sums.entry(id).or_default();
                *sum = sum.wrapping_add(hash);
                count += 1;
            }
            Ok((sums, None))
        })
        .await
    }

    /// See [`crate::store::look::Looker::schema_faults`].
    pub(in crate::store) async fn schema_faults(&self) -> Result<Vec<String>, Error> {
        self.with(|connection| {
            let mut fresh = Connection::open_in_memory()?;
            super::migrations().run(&mut fresh).map_err(Error::internal)?;
            Ok(differences(&objects(&fresh)?, &objects(connection)?))
        })
        .await
    }
}

/// What no record is made of is given as bytes.
fn value(value: ValueRef<'_>) -> Sql {
    match value {
        ValueRef::Null => Sql::Null,
        ValueRef::Integer(value) => Sql::Int(value),
        ValueRef::Text(text) => match str::from_utf8(text) {
            Ok(text) => Sql::Text(text.to_owned()),
            Err(_) => Sql::Bytes(bytes::Bytes::copy_from_slice(text)),
        },
        ValueRef::Blob(bytes) => Sql::Bytes(bytes::Bytes::copy_from_slice(bytes)),
        ValueRef::Real(_) => Sql::Bytes(bytes::Bytes::new()),
    }
}

/// The text of each index, trigger and table, with the table that it is of. A file that was copied as SQL
/// text may have blanks and quotation marks elsewhere.
fn objects(connection: &Connection) -> rusqlite::Result<Objects> {
    let mut statement = connection.prepare(OBJECTS)?;
    let object = |row: &rusqlite::Row<'_>| {
        let text: String = row.get(3)?;
        let text = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\''));
        Ok(((row.get(0)?, row.get(1)?), [row.get(2)?, text.collect()]))
    };
    statement.query_map([], object)?.collect()
}
