//! How both databases are asked for what is no single record and no selection of records.

use std::borrow::Cow;
use std::sync::Arc;

use super::sql::{self, Sql};
use super::trees;
use crate::domain::error::Error;
use crate::domain::facts::{Fact, Need};

/// A statement, its parameters, and how many columns its rows have.
pub(super) type Asked = (Cow<'static, str>, Vec<Sql>, usize);

/// What to ask for a need.
///
/// # Errors
/// [`Error::Internal`] for what is asked in another way.
pub(super) fn of(need: &Need) -> Result<Asked, Error> {
    let int = |number: &i64| Sql::Int(*number);
    let of_changes =
        |text: &'static str, parameters| (Cow::from(text), parameters, sql::CHANGE_WIDTH);
    Ok(match need {
        Need::Taken(selector) => {
            let text = sql::taken(selector.kind, selector.column);
            (text.into(), vec![sql::key(&selector.value)], 1)
        }
        Need::Above(kind, key) | Need::Below(kind, key) => {
            let walk = if let Need::Above(..) = need { trees::above } else { trees::below };
            let text = walk(*kind, trees::of(*kind)?, "= $1");
            (text.into(), vec![sql::key(key)], 1 + sql::column_count(kind.table()))
        }
        Need::Namers(naming) => {
            let text = sql::naming((naming.by, naming.column), naming.to.0);
            (text.into(), sql::naming_parameters(naming).into(), 1)
        }
        Need::Count(count) => {
            let (text, parameters) = sql::counting(count);
            (text.into(), parameters, 1)
        }
        Need::Change(id) => of_changes(sql::CHANGE_FIND, vec![int(id)]),
        Need::Changes(id, count) => of_changes(sql::HISTORY, vec![int(id), int(count)]),
        Need::Act(first, last, limit) => of_changes(sql::ACT, [first, last, limit].map(int).into()),
        Need::Idempotency(credential_id, key) => {
            let parameters = vec![int(credential_id), Sql::Text(key.clone())];
            (sql::IDEMPOTENCY_FIND.into(), parameters, sql::ANSWER_WIDTH)
        }
        Need::Token(hash) => (sql::TOKEN_FIND.into(), vec![Sql::Text(hash.clone())], 3),
        Need::Signature(signature) => {
            (sql::SIGNATURE_FIND.into(), sql::encode_signature(signature), 1)
        }
        Need::Id(_) => return Err(Error::internal("ids are the writer's to give")),
        Need::Record(..) | Need::Select(_) => {
            return Err(Error::internal("records are loaded kind by kind"));
        }
    })
}

/// What the rows say.
///
/// # Errors
/// [`Error::Internal`] when one of them cannot be read.
pub(super) fn answer(need: &Need, rows: Vec<Vec<Sql>>) -> Result<Fact, Error> {
    let first = rows.first();
    Ok(match need {
        Need::Above(kind, _) | Need::Below(kind, _) => {
            let document = |row: &Vec<Sql>| sql::decode(*kind, row.iter().skip(1)).map(Arc::new);
            Fact::Select(rows.iter().map(document).collect::<Result<_, _>>()?)
        }
        Need::Namers(naming) => {
            Fact::Namers(rows.iter().filter_map(|row| sql::named_key(naming.by, row)).collect())
        }
        Need::Count(_) => {
            Fact::Count(first.and_then(|row| sql::first_int(row)).unwrap_or_default())
        }
        Need::Change(_) => {
            let change = rows.into_iter().next().map(sql::decode_change).transpose()?;
            Fact::Change(change.map(Arc::new))
        }
        Need::Changes(..) | Need::Act(..) => {
            Fact::Changes(rows.into_iter().map(sql::decode_change).collect::<Result<_, _>>()?)
        }
        Need::Idempotency(..) => {
            Fact::Idempotency(rows.into_iter().next().map(sql::decode_answer).transpose()?)
        }
        Need::Token(_) => Fact::Token(rows.into_iter().next().map(sql::decode_token).transpose()?),
        Need::Taken(_) => Fact::Taken(!rows.is_empty()),
        Need::Signature(_) => Fact::Signature(!rows.is_empty()),
        Need::Id(_) | Need::Record(..) | Need::Select(_) => {
            return Err(Error::internal("no question was asked"));
        }
    })
}
