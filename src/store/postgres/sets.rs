//! Questions of which one statement answers many: whether values are taken, and who names whom.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Connection, PgFault, array};
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Namers, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};
use crate::domain::table::{KeyType, Way};
use crate::store::sql::{self, Sql};
use crate::store::trees;

/// What a statement answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Which records of a tree stand above some.
    Above(Kind),
    /// Which stand below.
    Below(Kind),
    /// Which values of a column are taken.
    Taken(Kind, &'static str),
    /// Which records of a kind, by a column or elsewhere, name those of another; so many of each at the
    /// most.
    Namers(Kind, Option<&'static str>, Kind, i64),
}

/// The values asked for, question by question.
pub type Questions = BTreeMap<Question, Vec<Key>>;

/// Parts these questions from other needs.
pub fn split(needs: Vec<Need>) -> (Questions, Vec<Need>) {
    let (mut questions, mut others) = (Questions::new(), Vec::new());
    for need in needs {
        let (question, value) = match need {
            Need::Above(kind, key) => (Question::Above(kind), key),
            Need::Below(kind, key) => (Question::Below(kind), key),
            Need::Taken(Selector { kind, column, value }) => (Question::Taken(kind, column), value),
            Need::Namers(Namers { by, column, to, limit }) => {
                (Question::Namers(by, column, to.0, limit), to.1)
            }
            other => {
                others.push(other);
                continue;
            }
        };
        questions.entry(question).or_default().push(value);
    }
    (questions, others)
}

/// Answers a question about values that are all numbers or all texts.
pub async fn load(
    connection: &Connection,
    (question, values): (Question, Vec<Key>),
) -> Result<Vec<(Need, Fact)>, PgFault> {
    match question {
        Question::Above(kind) => {
            let text = trees::above(kind, trees::of(kind)?, ANY);
            load_walk(connection, kind, &text, values, |key| Need::Above(kind, key)).await
        }
        Question::Below(kind) => {
            let text = trees::below(kind, trees::of(kind)?, ANY);
            load_walk(connection, kind, &text, values, |key| Need::Below(kind, key)).await
        }
        Question::Taken(kind, column) => {
            let all: Vec<&Key> = values.iter().collect();
            let text = sql::taken_any(kind, column);
            let rows = connection.query(&text, &vec![array(&all)], 1).await?;
            let taken: HashSet<Key> =
                rows.into_iter().filter_map(|row| value(row.first())).collect();
            let fact = |value: Key| {
                let is_taken = taken.contains(&value);
                (Need::Taken(Selector { kind, column, value }), Fact::Taken(is_taken))
            };
            Ok(values.into_iter().map(fact).collect())
        }
        Question::Namers(by, column, to, limit) => {
            let named: Vec<String>;
            let all: Vec<&Key> = values.iter().collect();
            let array = if column.is_some() {
                array(&all)
            } else {
                named = values.iter().map(ToString::to_string).collect();
                Box::new(named)
            };
            let text = naming_any((by, column), to);
            let rows = connection.query(&text, &vec![array, Box::new(limit)], 2).await?;
            let mut found: HashMap<String, Vec<Key>> = HashMap::new();
            for row in rows {
                if let (Some(key), Some(to)) = (sql::named_key(by, &row), value(row.get(1))) {
                    found.entry(to.to_string()).or_default().push(key);
                }
            }
            let fact = |value: Key| {
                let keys = found.remove(&value.to_string()).unwrap_or_default();
                let naming = Namers { by, column, to: (to, value), limit };
                (Need::Namers(naming), Fact::Namers(keys))
            };
            Ok(values.into_iter().map(fact).collect())
        }
    }
}

/// Is among those that are asked about.
pub const ANY: &str = "= ANY($1)";

/// Answers with the rows behind each key that a walk began at.
async fn load_walk(
    connection: &Connection,
    kind: Kind,
    text: &str,
    keys: Vec<Key>,
    need: impl Fn(Key) -> Need,
) -> Result<Vec<(Need, Fact)>, PgFault> {
    let parameters = vec![array(&keys.iter().collect::<Vec<_>>())];
    let rows = connection.query(text, &parameters, 1 + sql::column_count(kind.table())).await?;
    let mut found: HashMap<Key, Result<Vec<Arc<Document>>, Error>> = HashMap::new();
    for row in rows {
        let Some((start, row)) = row.split_first() else { continue };
        let Some(start) = value(Some(start)) else { continue };
        let documents = found.entry(start).or_insert_with(|| Ok(Vec::new()));
        match (sql::decode(kind, row), &mut *documents) {
            (Ok(document), Ok(documents)) => documents.push(Arc::new(document)),
            (Err(error), Ok(_)) => *documents = Err(error),
            (_, Err(_)) => {}
        }
    }
    let fact = |key: Key| {
        let documents = found.remove(&key).unwrap_or_else(|| Ok(Vec::new()));
        (need(key), documents.map_or_else(Fact::Unreadable, Fact::Select))
    };
    Ok(keys.into_iter().map(fact).collect())
}

fn value(cell: Option<&Sql>) -> Option<Key> {
    match cell? {
        Sql::Int(value) => Some(Key::Int(*value)),
        Sql::Text(value) => Some(Key::Text(value.clone())),
        Sql::Null | Sql::Bytes(_) => None,
    }
}

/// Ids of `$2` live rows at the most for each of `$1` that they name, and which of these.
fn naming_any((by, column): (Kind, Option<&str>), to: Kind) -> String {
    let is_number = column.is_some() && to.table().key == KeyType::Int;
    let array = if is_number { "bigint[]" } else { "text[]" };
    let one = match column {
        Some(column) => format!(
            "SELECT id FROM {} WHERE {column} = u.named AND deleted_at IS NULL LIMIT $2",
            by.name()
        ),
        None => format!(
            "SELECT from_id AS id FROM link WHERE to_kind = '{}' AND to_id = u.named \
             AND from_kind = '{}' LIMIT $2",
            to.name(),
            by.name()
        ),
    };
    format!("SELECT t.id, u.named FROM unnest($1::{array}) u (named), LATERAL ({one}) t")
}

/// Every statement, to be prepared by a check.
pub fn statements() -> impl Iterator<Item = String> {
    let naming = |to: &Kind| {
        Way::to(*to).map(|way| naming_any((way.by, way.column), *to)).collect::<Vec<_>>()
    };
    let walks = |(kind, tree)| [trees::above, trees::below].map(|text| text(kind, tree, ANY));
    Kind::ALL.iter().flat_map(naming).chain(trees::all().flat_map(walks))
}
