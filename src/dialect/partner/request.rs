//! What the routes share: bodies and queries.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::auth::admit;
use super::error::{NUL, UNREADABLE, detail};
use super::json::{Json, JsonFault};
use super::validate::{RequestFaults, query};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::actor::Actor;
use crate::domain::command::Command;
use crate::domain::list::List;
use crate::domain::record::{Record, Stored};

/// Rows to pass over, and rows at the most.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Rows to pass over.
    pub offset: i64,
    /// Rows at the most.
    pub limit: i64,
    /// Which page that is, from 1.
    pub page: i64,
}

/// Reads the body, which the vendor's framework does before it asks who calls. A body of another
/// type than JSON counts as a string.
///
/// # Errors
/// 422 for what is no JSON, 400 for what cannot be read at all.
pub fn body(call: &Call) -> Result<Json, Answer> {
    let body = call.body()?;
    if body.is_empty() {
        return Ok(Json::Null);
    }
    if !is_json(call.headers.get(CONTENT_TYPE)) {
        return String::from_utf8(body.to_vec())
            .map(Json::Text)
            .map_err(|_| detail(400, UNREADABLE));
    }
    Json::parse(body).map_err(|fault| match fault {
        JsonFault::Syntax { position, error } => RequestFaults::invalid_json(position, error),
        JsonFault::Broken => detail(400, UNREADABLE),
    })
}

/// True when a body of this type is read as JSON; so is one of no type.
fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let Some(content_type) = content_type.filter(|value| !value.is_empty()) else {
        return true;
    };
    // The framework reads headers as Latin-1, and with more than one slash it finds no type.
    let text: String = content_type.as_bytes().iter().copied().map(char::from).collect();
    let media_type = text.split(';').next().unwrap_or_default().trim().to_lowercase();
    media_type.strip_prefix("application/").is_some_and(|subtype| {
        !subtype.contains('/') && (subtype == "json" || subtype.ends_with("+json"))
    })
}

/// True when null clears a field (RFC 7396); in plain JSON it keeps what is stored.
pub fn null_clears(call: &Call) -> bool {
    call.media_type() == "application/merge-patch+json"
}

/// Who calls, the id in the path, and what `decode` makes of the rest; every fault of them at once.
///
/// # Errors
/// 401, 403 or 404 for the caller, 422 for the faults.
pub async fn named<T>(
    call: &Call,
    name: &'static str,
    decode: impl FnOnce(&mut RequestFaults) -> Option<T>,
) -> Result<(Actor, i64, T), Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    // Of these two any number may be asked for.
    let least = (!matches!(name, "student_id" | "enrollment_id")).then_some(1);
    let id = faults.path(name, call.parameter(name), least);
    let rest = decode(&mut faults);
    let (actor, (id, rest)) = faults.refuse_or(actor.zip(id.zip(rest)))?;
    Ok((actor, id, rest))
}

/// Runs a command and answers with the record that it is about.
///
/// # Errors
/// The command's refusal.
pub async fn submit<R: Record>(
    call: &Call,
    actor: Actor,
    command: impl Command,
    status: u16,
    encode: impl Fn(&Stored<R>) -> Value + Send + Sync + 'static,
) -> Result<Answer, Refusal> {
    let answered = call.submit(actor, command, move |outcome, _| {
        Ok(Answer::json(status, &encode(&outcome.subject.typed()?)))
    });
    Ok(answered.await?)
}

/// Removes what the path names.
///
/// # Errors
/// As [`named`], and the command's refusal.
pub async fn remove<C: Command>(
    call: &Call,
    name: &'static str,
    command: impl FnOnce(i64) -> C,
) -> Result<Answer, Refusal> {
    let (actor, id, ()) = named(call, name, |_| Some(())).await?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    Ok(call.submit(actor, command(id), |_, _| Ok(Answer::empty(204))).await?)
}

/// A text to filter by; an empty one is none.
///
/// # Errors
/// 400 for one that no database could keep.
pub fn filter(call: &Call, name: &str) -> Result<Option<String>, Answer> {
    Ok(any_filter(call, name)?.filter(|text| !text.is_empty()))
}

/// The same where an empty text is one to filter by.
///
/// # Errors
/// As [`filter`].
pub fn any_filter(call: &Call, name: &str) -> Result<Option<String>, Answer> {
    match query(call, name) {
        Some(text) if text.contains('\0') => Err(detail(400, NUL)),
        text => Ok(text),
    }
}

/// `limit` and `offset` of a list.
pub fn slice(call: &Call, faults: &mut RequestFaults, limit: i64, limit_max: i64) -> Option<Slice> {
    let limit = number(call, faults, "limit", limit, 1, Some(limit_max));
    let offset = number(call, faults, "offset", 0, 0, None);
    limit.zip(offset).map(|(limit, offset)| {
        let page = (offset / limit).saturating_add(1);
        Slice { offset, limit, page }
    })
}

/// A whole number in the query, within bounds; `default`, if absent.
pub fn number(
    call: &Call,
    faults: &mut RequestFaults,
    name: &str,
    default: i64,
    least: i64,
    most: Option<i64>,
) -> Option<i64> {
    match query(call, name) {
        Some(text) => faults.query(name, &text, least, most),
        None => Some(default),
    }
}

/// The vendor's page object.
pub fn paged(items: &[Value], total: i64, slice: Slice) -> Value {
    json!({"items": items, "total": total, "page": slice.page, "size": slice.limit})
}

/// A page of an account's list, as the vendor's page object.
pub async fn page<R: Record>(
    call: &Call,
    account_id: i64,
    list: List,
    slice: Slice,
    encode: impl Fn(&Stored<R>) -> Value,
) -> Result<Answer, Refusal> {
    let (ids, total) = ids(call, list, slice).await?;
    // One that went since the list was made is not shown.
    let found = call.read(|facts| facts.find_all(account_id, &ids)).await?;
    let items: Vec<_> = found.iter().map(encode).collect();
    Ok(Answer::json(200, &paged(&items, total, slice)))
}

/// The ids of a page, and how many there are on all.
pub async fn ids(call: &Call, list: List, slice: Slice) -> Result<(Vec<i64>, i64), Refusal> {
    Ok(call.app.store.list_counted(&list.page(slice.limit, slice.offset)).await?)
}

/// Sends a caller with one slash too many on to the path without it. The address is relative to the
/// one that was asked (RFC 3986 section 5), whatever path a proxy has put before that.
pub fn redirect(call: &Call) -> Answer {
    let path = call.path().strip_suffix('/').unwrap_or(call.path());
    let last = path.rsplit('/').next().unwrap_or_default();
    let query = call.query();
    let mark = if query.is_empty() { "" } else { "?" };
    Answer::empty(307).header("location", format!("../{last}{mark}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_type() {
        let judge = |text: &[u8]| is_json(Some(&HeaderValue::from_bytes(text).unwrap()));
        assert!(is_json(None));
        for text in [
            &b""[..],
            b"application/json",
            b"APPLICATION/JSON ;a",
            b"application/json;;",
            b"application/json; x=\xe9",
            b"application/json\xa0",
            b"application/+json",
            b"application/\xe9+json",
            b"application/merge-patch+json",
        ] {
            assert!(judge(text), "{text:?}");
        }
        for text in [
            &b" "[..],
            b";charset=utf-8",
            b"json",
            b"/json",
            b"text/plain",
            b"application/x/y+json",
            b"application/json,text/plain",
            b"application/ json",
            b"application/json\xe9",
            b"\xe9/json",
            b"\"application/json\"",
        ] {
            assert!(!judge(text), "{text:?}");
        }
    }
}
