//! What the routes share: bodies and queries.

use super::error::{UNREADABLE, detail};
use super::json::{Json, Unreadable};
use super::validate::Faults;
use crate::dialect::{Answer, Call, Refusal};

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
    let media_type = call.media_type();
    let is_json = media_type.is_empty()
        || media_type
            .strip_prefix("application/")
            .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
    if !is_json {
        return String::from_utf8(body.to_vec())
            .map(Json::Text)
            .map_err(|_| detail(400, UNREADABLE));
    }
    Json::parse(body).map_err(|fault| match fault {
        Unreadable::Syntax { position, error } => Faults::invalid_json(position, error),
        Unreadable::Broken => detail(400, UNREADABLE),
    })
}

/// True when null clears a field (RFC 7396); in plain JSON it keeps what is stored.
pub fn null_clears(call: &Call) -> bool {
    call.media_type() == "application/merge-patch+json"
}

/// A query parameter, the last where it is repeated.
pub fn query(call: &Call, name: &str) -> Option<String> {
    form_urlencoded::parse(call.query().as_bytes())
        .filter(|(found, _)| found == name)
        .last()
        .map(|(_, value)| value.into_owned())
}

/// Sends a caller with one slash too many on to the path without it. The address is relative, so
/// that it holds behind any proxy.
pub async fn redirect(call: &Call) -> Result<Answer, Refusal> {
    let path = call.path().strip_suffix('/').unwrap_or(call.path());
    let query = call.query();
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(Answer::empty(307).header("location", format!("{path}{mark}{query}")))
}
