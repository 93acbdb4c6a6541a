//! The history of any record, all changes of an account, one change with its diff, undo.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::auth::authenticate;
use super::error::not_found;
use super::page;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::access::{self, Right};
use crate::domain::actor::{Actor, Dialect};
use crate::domain::change::Change;
use crate::domain::command::{self, Kept, Undo};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::either;
use crate::domain::record::{Key, parse_id};
use crate::store::ChangeQuery;

/// `GET /haksa/v1/records/{kind}/{id}/history`: newest first; `limit`, `cursor`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let kind = Kind::parse(call.parameter("kind")).ok_or_else(|| not_found(call, "such kind,"))?;
    let key = Key::parse(kind.table().key, call.parameter("id")).ok_or(Error::NotFound(kind))?;
    let (limit, cursor) = (page::limit(call)?, page::cursor(call)?);
    let from = call
        .read(|facts| {
            let document = command::read_document(&actor, Right::Read, kind, &key, facts)?;
            let Some(cursor) = cursor else {
                return Ok(document.meta.change_id);
            };
            let record_id = key.to_string();
            match facts.change(cursor)? {
                Some(change)
                    if change.account_id == actor.account_id
                        && change.kind == kind
                        && change.record_id == record_id =>
                {
                    Ok(cursor)
                }
                _ => Err(page::invalid_cursor().into()),
            }
        })
        .await?;
    let changes = call.app.store.history(actor.account_id, from, limit, page::BYTES_MAX).await?;
    let next = changes.last().and_then(|change| change.previous_id);
    Ok(Answer::json(
        200,
        &json!({
            "items": changes.iter().map(encode).collect::<Vec<_>>(),
            "next": next.map(|id| id.to_string()),
        }),
    ))
}

/// `GET /haksa/v1/changes`: newest first by id; see [`decode`], `limit`, `cursor`. Of kinds on which the
/// caller has no right to read in the whole account, nothing is shown: where a record is can only be
/// told of each by itself.
pub async fn changes(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let mut query = decode(call)?;
    let (limit, before) = (page::limit(call)?, page::cursor(call)?.unwrap_or(i64::MAX));
    let asked = match *query.kinds {
        [kind] => Some((Right::Read, kind)),
        _ => None,
    };
    query.kinds.retain(|kind| access::has_everywhere(&actor, Right::Read, *kind));
    if query.kinds.is_empty() {
        return Err(Error::Denied(asked).into());
    }
    let (found, next) =
        call.app.store.changes(actor.account_id, &query, before, (limit, page::BYTES_MAX)).await?;
    let items: Vec<_> = found.iter().map(encode_whole).collect();
    let next = next.map(|id| id.to_string());
    Ok(Answer::json(200, &json!({"items": items, "next": next})))
}

/// `kind`, `actor`, `dialect`, `request_id`, `act_id`, `from`, `to`.
fn decode(call: &Call) -> Result<ChangeQuery, Error> {
    let mut errors = Vec::new();
    let kind = parameter(call, &mut errors, "kind", "unknown", "no such kind", Kind::parse);
    let unknown = format!("must be {}", either::<Dialect>(""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let at = |text: &str| Some(text.parse::<Timestamp>().ok()?.into());
    let (blank, no_time) = ("must not be empty", "must be a time, like 2026-04-23T09:15:30Z");
    let query = ChangeQuery {
        kinds: kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind]),
        actor: parameter(call, &mut errors, "actor", "blank", blank, some),
        dialect: parameter(call, &mut errors, "dialect", "unknown", &unknown, Dialect::parse),
        request_id: parameter(call, &mut errors, "request_id", "blank", blank, some),
        act_id: parameter(call, &mut errors, "act_id", "invalid", "must be an id", parse_id),
        from: parameter(call, &mut errors, "from", "invalid", no_time, at),
        to: parameter(call, &mut errors, "to", "invalid", no_time, at),
    };
    if errors.is_empty() { Ok(query) } else { Err(Error::Invalid(errors)) }
}

/// What a parameter of the query says, if it is there.
fn parameter<T>(
    call: &Call,
    errors: &mut FieldErrors,
    name: &'static str,
    code: &'static str,
    detail: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let text = page::parameter(call, name, errors)?;
    let value = parse(&text);
    if value.is_none() {
        errors.push(FieldError::new(name, code, detail));
    }
    value
}

/// `GET /haksa/v1/changes/{id}`.
pub async fn change(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let change = find(call, &actor).await?;
    Ok(Answer::json(200, &encode_whole(&change)))
}

/// `POST /haksa/v1/changes/{id}/undo`.
pub async fn undo(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let change = find(call, &actor).await?;
    let mut command = call.read(|facts| Undo::of(&change, call.expected(), facts)).await?;
    call.app.store.go_back(&change, &mut command).await?;
    let reader = actor.clone();
    let answered = call.submit(actor, command, move |outcome, facts| {
        let meta = &outcome.subject.meta;
        let is_own = |change: &&Arc<Change>| {
            change.kind == meta.kind && change.record_id == meta.key.to_string()
        };
        // Of the record that was asked about; where that stays as it is, of another.
        let mut change = outcome.changes.iter().find(is_own);
        if change.is_none() {
            for (other, record) in outcome.changes.iter().zip(&outcome.written) {
                if command::may_read(&reader, record, facts)? {
                    change = Some(other);
                    break;
                }
            }
        }
        let undone = change.map(|change| {
            let mut undone = encode_whole(change);
            undone.insert("kept".to_owned(), outcome.kept.iter().map(encode_kept).collect());
            undone
        });
        Ok(Answer::json(200, &undone))
    });
    Ok(answered.await?)
}

async fn find(call: &Call, actor: &Actor) -> Result<Arc<Change>, Refusal> {
    let absent = || not_found(call, "change");
    let id = parse_id(call.parameter("id")).ok_or_else(absent)?;
    let change = call.read(|facts| visible(actor, id, facts)).await?;
    change.ok_or_else(|| absent().into())
}

/// The change, where the caller may read its record.
fn visible(actor: &Actor, id: i64, facts: &mut Facts) -> Known<Option<Arc<Change>>> {
    let Some(change) = facts.change(id)?.filter(|c| c.account_id == actor.account_id) else {
        return Ok(None);
    };
    let Some(key) = Key::parse(change.kind.table().key, &change.record_id) else {
        return Ok(None);
    };
    command::read_document(actor, Right::Read, change.kind, &key, facts)?;
    Ok(Some(change))
}

fn encode(change: &Change) -> Map<String, Value> {
    let item = json!({
        "change_id": change.id,
        "version": change.version,
        "at": change.at,
        "actor": change.actor,
        "dialect": change.dialect,
        "request_id": change.request_id,
        "act_id": change.act_id.unwrap_or(change.id),
        "undoes": change.undoes,
        "action": change.action.name(),
        "before": change.before,
        "after": change.after,
    });
    match item {
        Value::Object(item) => item,
        _ => Map::new(),
    }
}

fn encode_kept(kept: &Kept) -> Value {
    json!({"kind": kept.kind.name(), "record_id": kept.key.to_string(), "field": kept.field})
}

fn encode_whole(change: &Change) -> Map<String, Value> {
    let mut item = encode(change);
    item.insert("kind".to_owned(), change.kind.name().into());
    item.insert("record_id".to_owned(), change.record_id.as_str().into());
    item.insert("previous_change_id".to_owned(), change.previous_id.into());
    item
}
