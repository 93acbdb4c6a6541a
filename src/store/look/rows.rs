//! Rows of records, as they stand.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{ASKED, Looker, Sql, int, padded, places};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::domain::table::{Among, Unique};
use crate::store::sql::{self, Undecodable};
use crate::store::trees;

/// Rows read at once.
const PAGE: usize = ASKED;
/// Values that several have, read at once: each time the whole column is looked through.
const SHARED: usize = 10_000;

/// A row of a kind.
#[derive(Debug)]
pub struct Row {
    /// Of which kind.
    pub kind: Kind,
    /// Its id; none where it is of no id's type.
    pub key: Option<Key>,
    /// The record, or why it is none.
    pub document: Result<Document, String>,
    cells: Vec<Sql>,
}

/// What others need to know of a row that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub account_id: i64,
    /// It is not deleted.
    pub is_live: bool,
}

impl Row {
    fn of(kind: Kind, cells: Vec<Sql>) -> Self {
        let document = sql::try_decode(kind, &cells).map_err(|undecodable| match undecodable {
            Undecodable::Row(Error::Internal(cause)) => cause,
            Undecodable::Row(error) => error.to_string(),
            Undecodable::Fields(_, cause) => cause.to_string(),
        });
        let key = match cells.first() {
            Some(Sql::Int(id)) => Some(Key::Int(*id)),
            Some(Sql::Text(id)) => Some(Key::from(id.as_str())),
            _ => None,
        };
        Self { kind, key, document, cells }
    }

    /// How faults call it: `form 551`.
    pub fn name(&self) -> String {
        let id = self.key.as_ref().map_or_else(|| "without an id".to_owned(), Key::to_string);
        format!("{} {id}", self.kind.name())
    }

    /// Its newest change; none where that is no number.
    pub fn change_id(&self) -> Option<i64> {
        let place = sql::column_index(self.kind.table(), "change_id")?;
        self.cells.get(place).and_then(int)
    }

    /// True when nothing at all was changed between this and `other`.
    pub fn is_as(&self, other: &Self) -> bool {
        self.cells == other.cells
    }

    /// The columns in which it is not what would be written of its record.
    ///
    /// # Errors
    /// [`Error::Internal`] when the record cannot be written.
    pub fn misshapen(&self) -> Result<Vec<&'static str>, Error> {
        let Ok(document) = &self.document else { return Ok(Vec::new()) };
        let due = sql::encode(document)?;
        let columns = sql::columns(self.kind.table());
        let mut found = Vec::new();
        for ((place, name), (is, due)) in
            columns.split(", ").enumerate().zip(self.cells.iter().zip(&due))
        {
            if is == due || (name == "body" && self.is_same_body(is, due)) {
                continue;
            }
            let own = self.kind.table().columns.iter().map(|column| column.name);
            let name = own.chain(["body"]).find(|own| *own == name);
            found.push(name.unwrap_or(if place == 0 { "id" } else { "system" }));
        }
        Ok(found)
    }

    /// Bodies may say what is so by default; they are not written so.
    fn is_same_body(&self, is: &Sql, due: &Sql) -> bool {
        let (Sql::Text(is), Sql::Text(due)) = (is, due) else { return false };
        let parse = serde_json::from_str::<Map<String, Value>>;
        let (Ok(mut is), Ok(due)) = (parse(is), parse(due)) else { return false };
        let defaults = self.kind.defaults().values();
        is.retain(|name, value| due.contains_key(name) || defaults.get(name) != Some(value));
        is == due
    }
}

impl Looker {
    /// Rows of a kind, deleted ones too, in the order of their ids from the one after `after` on; none
    /// when there are no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn rows_after(&self, kind: Kind, after: Option<&Key>) -> Result<Vec<Row>, Error> {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let (text, parameters) = sql::documents_after(kind, after, limit);
        let width = sql::column_count(kind.table());
        let rows = self.found(&text, parameters, width).await?.0;
        Ok(rows.into_iter().map(|row| Row::of(kind, row)).collect())
    }

    /// The rows of a kind with these ids, those that are there.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn rows_at(&self, kind: Kind, keys: &[&Key]) -> Result<Vec<Row>, Error> {
        let mut all = Vec::with_capacity(keys.len());
        let (text, width) = (find(kind), sql::column_count(kind.table()));
        for keys in keys.chunks(ASKED) {
            let parameters = padded(keys.iter().map(|key| sql::key(key)));
            let rows = self.all(&text, parameters, width).await?;
            all.extend(rows.into_iter().map(|row| Row::of(kind, row)));
        }
        Ok(all)
    }

    /// Whose the rows of a kind with these ids are, and whether they are live; those that are there.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn standing(
        &self,
        kind: Kind,
        keys: &[Key],
    ) -> Result<HashMap<Key, Standing>, Error> {
        let mut all = HashMap::with_capacity(keys.len());
        let text = find_standing(kind);
        for keys in keys.chunks(ASKED) {
            let rows = self.all(&text, padded(keys.iter().map(sql::key)), 3).await?;
            for row in rows {
                let [id, account_id, deleted_at] = &*row else { continue };
                let key = match id {
                    Sql::Int(id) => Key::Int(*id),
                    Sql::Text(id) => Key::from(id.as_str()),
                    Sql::Null | Sql::Bytes(_) => continue,
                };
                let account_id = int(account_id).unwrap_or_default();
                let is_live = *deleted_at == Sql::Null;
                all.insert(key, Standing { account_id, is_live });
            }
        }
        Ok(all)
    }

    /// Those of these records of a tree that stand below themselves.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn circles(&self, kind: Kind, keys: &[Key]) -> Result<Vec<String>, Error> {
        let text = trees::circles(kind, trees::of(kind)?, &format!("IN {}", places(1)));
        let mut found = Vec::new();
        for keys in keys.chunks(ASKED) {
            let rows = self.all(&text, padded(keys.iter().map(sql::key)), 1).await?;
            found.extend(rows.iter().filter_map(|row| row.first()).filter_map(shown));
        }
        found.dedup();
        Ok(found)
    }

    /// Pairs of records that have in common what each should have alone; a hundred at the most.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn twins(&self, kind: Kind, unique: &Unique) -> Result<Vec<[String; 2]>, Error> {
        let pair = |row: Vec<Sql>| {
            let [one, other] = &*row else { return None };
            Some([shown(one)?, shown(other)?])
        };
        let rows = self.all(&find_twins(kind, unique), Vec::new(), 2).await?;
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// Values of a column that several live records of an account have, in the order of account and value
    /// from the one after `after` on; none when there are no more.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn shared(
        &self,
        kind: Kind,
        column: &str,
        after: &(i64, String),
    ) -> Result<Vec<(i64, String)>, Error> {
        let parameters = vec![Sql::Int(after.0), Sql::Text(after.1.clone())];
        let rows = self.all(&find_shared(kind, column), parameters, 2).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| match <[Sql; 2]>::try_from(row).ok()? {
                [Sql::Int(account_id), Sql::Text(value)] => Some((account_id, value)),
                _ => None,
            })
            .collect())
    }

    /// The live records of an account with a value in a column; a hundred at the most.
    ///
    /// # Errors
    /// As [`Looker::rows_after`].
    pub async fn with_value(
        &self,
        kind: Kind,
        column: &str,
        (account_id, value): &(i64, String),
    ) -> Result<Vec<Row>, Error> {
        let parameters = vec![Sql::Int(*account_id), Sql::Text(value.clone())];
        let width = sql::column_count(kind.table());
        let rows = self.all(&find_with_value(kind, column), parameters, width).await?;
        Ok(rows.into_iter().map(|row| Row::of(kind, row)).collect())
    }
}

fn shown(value: &Sql) -> Option<String> {
    match value {
        Sql::Int(id) => Some(id.to_string()),
        Sql::Text(id) => Some(id.clone()),
        Sql::Null | Sql::Bytes(_) => None,
    }
}

fn find(kind: Kind) -> String {
    let (all, name) = (sql::columns(kind.table()), kind.name());
    format!("SELECT {all} FROM {name} WHERE id IN {}", places(1))
}

fn find_standing(kind: Kind) -> String {
    format!("SELECT id, account_id, deleted_at FROM {} WHERE id IN {}", kind.name(), places(1))
}

fn find_twins(kind: Kind, unique: &Unique) -> String {
    let mut fields: Vec<&str> = unique.fields.to_vec();
    let mut conditions: String = String::new();
    for (place, field) in fields.iter().enumerate() {
        let and = if place == 0 { "" } else { " AND " };
        let _ = write!(conditions, "{and}{field} IS NOT NULL");
    }
    if unique.among == Among::Live {
        conditions.push_str(" AND deleted_at IS NULL");
        fields.push("account_id");
    }
    let fields = fields.join(", ");
    format!(
        "SELECT min(id), max(id) FROM {} WHERE {conditions} GROUP BY {fields} \
         HAVING count(*) > 1 ORDER BY 1 LIMIT 100",
        kind.name()
    )
}

fn find_shared(kind: Kind, column: &str) -> String {
    format!(
        "SELECT account_id, {column} FROM {} WHERE {column} IS NOT NULL AND deleted_at IS NULL \
         AND (account_id, {column}) > ($1, $2) GROUP BY account_id, {column} HAVING count(*) > 1 \
         ORDER BY account_id, {column} LIMIT {SHARED}",
        kind.name()
    )
}

fn find_with_value(kind: Kind, column: &str) -> String {
    format!(
        "SELECT {} FROM {} WHERE account_id = $1 AND {column} = $2 AND deleted_at IS NULL \
         ORDER BY id LIMIT 100",
        sql::columns(kind.table()),
        kind.name()
    )
}
