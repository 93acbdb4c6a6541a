//! Whether values are taken: one statement for each column, however many values are asked for.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::types::ToSql;

use super::{Connection, PgFault};
use crate::domain::facts::{Fact, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::store::sql::{self, Sql};

/// The values asked for, column by column.
pub type Questions = BTreeMap<(Kind, &'static str), Vec<Key>>;

/// Parts these questions from other needs.
pub fn split(needs: Vec<Need>) -> (Questions, Vec<Need>) {
    let (mut questions, mut others) = (Questions::new(), Vec::new());
    for need in needs {
        match need {
            Need::Taken(Selector { kind, column, value }) => {
                questions.entry((kind, column)).or_default().push(value);
            }
            other => others.push(other),
        }
    }
    (questions, others)
}

/// Answers the questions about one column, whose values are all numbers or all texts.
pub async fn load(
    connection: &Connection,
    ((kind, column), values): ((Kind, &'static str), Vec<Key>),
) -> Result<Vec<(Need, Fact)>, PgFault> {
    let numbers: Vec<i64> = values.iter().filter_map(Key::as_int).collect();
    let parameter: Box<dyn ToSql + Sync + Send> = if numbers.is_empty() {
        Box::new(values.iter().map(ToString::to_string).collect::<Vec<_>>())
    } else {
        Box::new(numbers)
    };
    let rows = connection.query(&sql::taken_any(kind, column), &vec![parameter], 1).await?;
    let taken: HashSet<Key> = rows
        .into_iter()
        .filter_map(|row| match row.into_iter().next() {
            Some(Sql::Int(value)) => Some(Key::Int(value)),
            Some(Sql::Text(value)) => Some(Key::Text(value)),
            _ => None,
        })
        .collect();
    let fact = |value: Key| {
        let is_taken = taken.contains(&value);
        (Need::Taken(Selector { kind, column, value }), Fact::Taken(is_taken))
    };
    Ok(values.into_iter().map(fact).collect())
}
