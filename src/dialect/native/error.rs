//! Problem details (RFC 9457).

use http::HeaderMap;
use serde_json::{Value, json};

use crate::dialect::{Answer, Call, Malformed, ONCE};
use crate::domain::error::Error;

/// Where ids are of changes.
const CHANGES: &str = "/haksa/v1/changes/";
/// Characters of an id that a refusal repeats, at the most.
const ID_SHOWN: usize = 64;

fn problem(status: u16, title: &str, detail: impl Into<String>) -> Answer {
    problem_with(status, title, detail, Value::Null)
}

fn problem_with(status: u16, title: &str, detail: impl Into<String>, more: Value) -> Answer {
    let detail: String = detail.into();
    let mut body =
        json!({"type": "about:blank", "title": title, "status": status, "detail": detail});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    Answer::with_type(status, "application/problem+json", body.to_string().into_bytes())
}

/// 404 for what the path names.
pub fn not_found(call: &Call, what: &str) -> Answer {
    // As much of an id as a reader may want to see.
    let id: String = call.parameter("id").chars().take(ID_SHOWN).collect();
    problem(404, "Not Found", format!("there is no {what} {id}").trim_end())
}

/// Words a refusal.
pub fn reject(call: &Call, error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Replayed => {
            let detail = "Authorization: Bearer, with a key that is good here, is missing";
            problem(401, "Unauthorized", detail).header("www-authenticate", "Bearer")
        }
        Error::Denied(Some((right, kind))) => {
            let detail = format!("the key lacks the right {}:{}", right.name(), kind.name());
            problem(403, "Forbidden", detail)
        }
        Error::Denied(None) => problem(403, "Forbidden", "the key has no right for any of this"),
        Error::NotFound(_) if call.path().starts_with(CHANGES) => not_found(call, "change"),
        Error::NotFound(kind) => not_found(call, kind.name()),
        Error::Invalid(errors) => {
            let errors: Vec<_> = errors
                .iter()
                .map(|e| json!({"field": e.field, "code": e.code, "detail": e.detail}))
                .collect();
            let detail = "fields are not as they have to be";
            problem_with(400, "Bad Request", detail, json!({"errors": errors}))
        }
        Error::Conflict(fields) => {
            let detail = "later changes or other records stand in the way";
            problem_with(409, "Conflict", detail, json!({"conflicts": fields}))
        }
        Error::Stale { version } => {
            let detail = format!("If-Match is not what is there now: version {version}");
            problem(412, "Precondition Failed", detail)
        }
        Error::KeyReused => {
            let detail = "this Idempotency-Key was used with another request";
            problem(422, "Unprocessable Content", detail)
        }
        Error::TooManyRequests { retry_after_s } => {
            problem(429, "Too Many Requests", "more than the account may have for now")
                .header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => unavailable(*retry_after_s),
        Error::Internal(_) => failed(),
        Error::Uncertain => {
            let detail = "nobody can say whether it was done: look before you try again";
            problem(500, "Internal Server Error", detail)
        }
    }
}

fn failed() -> Answer {
    problem(500, "Internal Server Error", "a fault of the server; its log says more")
}

fn unavailable(retry_after_s: u32) -> Answer {
    problem(503, "Service Unavailable", "nothing was done; it may be tried again")
        .header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath => problem(404, "Not Found", "nothing is served at this path"),
        Malformed::UnknownMethod => {
            problem(405, "Method Not Allowed", "this path is served to the methods in Allow")
        }
        Malformed::TooLarge => problem(413, "Content Too Large", "the body is larger than 1 MiB"),
        Malformed::Incomplete => {
            problem(408, "Request Timeout", "the body came too slowly or broke off")
        }
        Malformed::HeadTooLarge => {
            let title = "Request Header Fields Too Large";
            problem(431, title, "the head is larger than 32 KiB")
        }
        Malformed::Header(name) => problem(400, "Bad Request", format!("{name} {ONCE}")),
        Malformed::Encoded => {
            problem(415, "Unsupported Media Type", "the body must not be compressed")
                .header("accept-encoding", "identity")
        }
        Malformed::Busy => unavailable(1),
        Malformed::Failed => failed(),
    }
}
