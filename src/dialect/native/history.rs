//! The history of any record, one change with its diff, undo.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::auth::authenticate;
use super::error::not_found;
use super::page;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::access::Right;
use crate::domain::actor::Actor;
use crate::domain::change::Change;
use crate::domain::command::{self, Kept, Undo};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::record::{Key, parse_id};

/// `GET /haksa/v1/records/{kind}/{id}/history`: newest first; `limit`, `cursor`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let kind = Kind::parse(call.parameter("kind")).ok_or_else(not_found)?;
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
    let changes = call.app.store.history(actor.account_id, from, limit).await?;
    let next = changes.last().and_then(|change| change.previous_id);
    Ok(Answer::json(
        200,
        &json!({
            "items": changes.iter().map(encode).collect::<Vec<_>>(),
            "next": next.map(|id| id.to_string()),
        }),
    ))
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
    let command = call.read(|facts| Undo::of(&change, call.expected(), facts)).await?;
    let answered = call.submit(actor, command, |outcome, _| {
        let meta = &outcome.subject.meta;
        let is_own = |change: &&Arc<Change>| {
            change.kind == meta.kind && change.record_id == meta.key.to_string()
        };
        // Of the record that was asked about; where that stays as it is, of another.
        let change = outcome.changes.iter().find(is_own).or(outcome.changes.first());
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
    let id = parse_id(call.parameter("id")).ok_or_else(not_found)?;
    let change = call.read(|facts| visible(actor, id, facts)).await?;
    change.ok_or_else(|| not_found().into())
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
