//! Outgoing messages: what is on its way to whom, what became of it, and another attempt.

use serde_json::{Value, json};

use super::auth::authenticate;
use super::page::{self, Page};
use super::record::submit;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::access::{Place, Right};
use crate::domain::command;
use crate::domain::delivery::attempt::Retry;
use crate::domain::delivery::message::{Channel, Message, MessageStatus};
use crate::domain::error::{Error, FieldError};
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::names::Named;
use crate::domain::record::{Stored, parse_id};

/// `GET /haksa/v1/messages`: newest first; `status`, `channel`, `achievement_id`, `limit`, `cursor`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let list = decode(call, actor.account_id)?;
    let page = Page::of(call)?;
    call.read(|_| command::permit(&actor, Right::Read, Kind::Message, &Place::Account)).await?;
    let (ids, next) = page.ids(call, list).await?;
    let found = call.read(|facts| facts.find_all(actor.account_id, &ids)).await?;
    let items: Vec<_> = found.iter().map(encode).collect();
    Ok(Answer::json(200, &json!({"items": items, "next": next})))
}

/// `GET /haksa/v1/messages/{id}`.
pub async fn read(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let id = id(call)?;
    let message = call.read(|facts| command::read::<Message>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&message)).etag(message.meta.version))
}

/// `POST /haksa/v1/messages/{id}/retry`: another attempt, at once. Refused for what was sent, is on
/// its way, or has no way.
pub async fn retry(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let command = Retry { message_id: id(call)?, expected: call.expected() };
    submit(call, actor, command, 200, |message| Ok(encode(&message.typed()?))).await
}

fn id(call: &Call) -> Result<i64, Error> {
    parse_id(call.parameter("id")).ok_or(Error::NotFound(Kind::Message))
}

fn decode(call: &Call, account_id: i64) -> Result<List, Error> {
    let mut errors = Vec::new();
    let list = List::of::<Message>(account_id)
        .among("status", named::<MessageStatus>(call, "status", &mut errors).as_slice())
        .among("channel", named::<Channel>(call, "channel", &mut errors).as_slice());
    let achievement_id = page::parameter(call, "achievement_id", &mut errors).and_then(|text| {
        let id = parse_id(&text);
        if id.is_none() {
            errors.push(FieldError::new("achievement_id", "invalid", "must be an id"));
        }
        id
    });
    let list = list.is_given("achievement_id", achievement_id).backwards();
    if errors.is_empty() { Ok(list) } else { Err(Error::Invalid(errors)) }
}

/// A value to filter by, by its name.
fn named<T: Named>(call: &Call, name: &'static str, errors: &mut Vec<FieldError>) -> Option<T> {
    let text = page::parameter(call, name, errors)?;
    let value = T::parse(&text);
    if value.is_none() {
        let known: Vec<_> = T::ALL.iter().map(|value| value.name()).collect();
        let detail = format!("must be one of {}", known.join(", "));
        errors.push(FieldError::new(name, "unknown", detail));
    }
    value
}

fn encode(message: &Stored<Message>) -> Value {
    let Stored { meta, record } = message;
    json!({
        "id": message.id(),
        "achievement_id": record.achievement_id,
        "channel": record.channel,
        "status": record.status,
        "due_at": record.due_at,
        "recipient_name": record.recipient_name,
        "recipient": record.recipient,
        "subject": record.subject,
        "body": record.body,
        "reference": record.reference,
        "attempt_count": record.attempt_count,
        "last_error": record.last_error,
        "sent_at": record.sent_at,
        "provider_message_id": record.provider_message_id,
        "version": meta.version,
        "created_at": meta.created_at,
        "updated_at": meta.updated_at,
    })
}
