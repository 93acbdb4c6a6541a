//! What a database holds beside records and their history.

use bytes::Bytes;

use super::{Eye, Looker, Sql, int, text};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::table::KeyType;
use crate::store::{Flavor, sql};

/// Rows read at once.
const PAGE: i64 = 500;

/// An answer that is kept for an idempotency key.
#[derive(Debug)]
pub struct StoredAnswerRow {
    /// Whose key.
    pub credential_id: i64,
    /// The key.
    pub key: String,
    /// The first change of what was done.
    pub act_id: Option<i64>,
    /// Why it could not be given again.
    pub fault: Option<String>,
}

/// What a large command has put aside, and has not shown or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Ids of which table.
    pub table: String,
    /// The first of them.
    pub first_id: i64,
    /// The last.
    pub last_id: i64,
}

/// How far a sequence and its table are.
#[derive(Debug)]
pub struct Sequenced {
    /// Of which table.
    pub table: &'static str,
    /// The largest id there.
    pub newest: i64,
    /// The id that would be given next.
    pub next: i64,
}

const ANSWERS: &str = "SELECT credential_id, key, request_hash, status, headers, body, at, act_id \
     FROM idempotency WHERE (credential_id, key) > ($1, $2) ORDER BY credential_id, key LIMIT $3";
const CONTENTS: &str = "SELECT hash, bytes FROM content WHERE hash > $1 ORDER BY hash LIMIT $2";
const PICTURES_OF: &str = "SELECT id FROM image WHERE content_hash = $1 ORDER BY id LIMIT 10";
const PICTURES_WITHOUT: &str = "SELECT i.id FROM image i LEFT JOIN content c \
     ON c.hash = i.content_hash WHERE c.hash IS NULL ORDER BY i.id LIMIT 100";
const TOKENS_OF_NOBODY: &str = "SELECT DISTINCT t.credential_id FROM token t LEFT JOIN credential c \
     ON c.id = t.credential_id WHERE c.id IS NULL LIMIT 100";
const STAGED: &str = "SELECT name, first_id, last_id FROM staging";
/// Changes and links that are staged for no command.
const STAGED_FOR_NOBODY: &str = "SELECT (SELECT count(*) FROM change_staged c WHERE NOT EXISTS \
     (SELECT 1 FROM staging WHERE name = 'change' AND c.id BETWEEN first_id AND last_id)), \
     (SELECT count(*) FROM link_staged WHERE NOT EXISTS (SELECT 1 FROM staging))";

/// Next to the largest id, which is read first: both may grow in between.
fn find_sequenced(table: &str) -> String {
    format!(
        "SELECT (SELECT coalesce(max(id), 0) FROM {table}), \
         last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {table}_id_seq"
    )
}

fn tables_with_sequences() -> impl Iterator<Item = &'static str> {
    let kinds = Kind::ALL.iter().map(|kind| kind.table());
    kinds.filter(|table| table.key == KeyType::Int).map(|table| table.name).chain(["change"])
}

impl Looker {
    /// Answers that are kept for idempotency keys, in the order of credential and key from the one after
    /// `after` on; none when there are no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn answers_after(
        &self,
        after: &(i64, String),
    ) -> Result<Vec<StoredAnswerRow>, Error> {
        let parameters = vec![Sql::Int(after.0), Sql::Text(after.1.clone()), Sql::Int(PAGE)];
        let rows = self.found(ANSWERS, parameters, 2 + sql::ANSWER_WIDTH).await?.0;
        let answer = |mut row: Vec<Sql>| {
            let rest = row.split_off(2);
            let (credential_id, key) = (sql::first_int(&row)?, text(row.pop())?);
            let act_id = rest.last().and_then(int);
            let fault = match sql::decode_answer(rest) {
                Ok(_) => None,
                Err(Error::Internal(cause)) => Some(cause),
                Err(error) => Some(error.to_string()),
            };
            Some(StoredAnswerRow { credential_id, key, act_id, fault })
        };
        Ok(rows.into_iter().filter_map(answer).collect())
    }

    /// Contents with the hashes by which they are named, in the order of these from the one after `after`
    /// on; none when there are no more.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn contents_after(&self, after: &str) -> Result<Vec<(String, Bytes)>, Error> {
        let parameters = vec![Sql::Text(after.to_owned()), Sql::Int(PAGE)];
        let content = |row: Vec<Sql>| match <[Sql; 2]>::try_from(row).ok()? {
            [Sql::Text(hash), Sql::Bytes(bytes)] => Some((hash, bytes)),
            [Sql::Text(hash), _] => Some((hash, Bytes::new())),
            _ => None,
        };
        let rows = self.found(CONTENTS, parameters, 2).await?.0;
        Ok(rows.into_iter().filter_map(content).collect())
    }

    /// Pictures that name a content; ten at the most.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn pictures_of(&self, hash: &str) -> Result<Vec<String>, Error> {
        let rows = self.all(PICTURES_OF, vec![Sql::Text(hash.to_owned())], 1).await?;
        Ok(rows.into_iter().filter_map(|row| text(row.into_iter().next())).collect())
    }

    /// Pictures that name a content which is not there; a hundred at the most.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn pictures_without_content(&self) -> Result<Vec<String>, Error> {
        let rows = self.all(PICTURES_WITHOUT, Vec::new(), 1).await?;
        Ok(rows.into_iter().filter_map(|row| text(row.into_iter().next())).collect())
    }

    /// Credentials that are not there and have tokens; a hundred at the most.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn credentials_of_tokens_alone(&self) -> Result<Vec<i64>, Error> {
        let rows = self.all(TOKENS_OF_NOBODY, Vec::new(), 1).await?;
        Ok(rows.iter().filter_map(|row| sql::first_int(row)).collect())
    }

    /// What a large command has put aside and not shown: one that goes on, or was cut off.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, Error> {
        let Eye::Sqlite(_) = self.eye else { return Ok(Vec::new()) };
        let leftover = |row: Vec<Sql>| match <[Sql; 3]>::try_from(row).ok()? {
            [Sql::Text(table), Sql::Int(first_id), Sql::Int(last_id)] => {
                Some(Leftover { table, first_id, last_id })
            }
            _ => None,
        };
        let rows = self.all(STAGED, Vec::new(), 3).await?;
        Ok(rows.into_iter().filter_map(leftover).collect())
    }

    /// How many changes and links are staged for no command at all.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn staged_for_nobody(&self) -> Result<i64, Error> {
        let Eye::Sqlite(_) = self.eye else { return Ok(0) };
        let rows = self.all(STAGED_FOR_NOBODY, Vec::new(), 2).await?;
        Ok(rows.iter().flatten().filter_map(int).sum())
    }

    /// How far each sequence is, and its table; none where the tables themselves tell the next id.
    ///
    /// # Errors
    /// As [`Looker::answers_after`].
    pub async fn sequences(&self) -> Result<Vec<Sequenced>, Error> {
        let mut all = Vec::new();
        if self.flavor() == Flavor::Postgres {
            for table in tables_with_sequences() {
                let rows = self.all(&find_sequenced(table), Vec::new(), 2).await?;
                if let [row] = &*rows
                    && let [Sql::Int(newest), Sql::Int(next)] = **row
                {
                    all.push(Sequenced { table, newest, next });
                }
            }
        }
        Ok(all)
    }

    const fn flavor(&self) -> Flavor {
        match self.eye {
            Eye::Sqlite(_) => Flavor::Sqlite,
            Eye::Postgres(_) => Flavor::Postgres,
        }
    }
}
