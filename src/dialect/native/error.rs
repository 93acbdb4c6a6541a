//! Problem details (RFC 9457).

use http::HeaderMap;
use serde_json::{Value, json};

use crate::dialect::{Answer, Call, Malformed};
use crate::domain::error::Error;

fn problem(status: u16, title: &str, more: Value) -> Answer {
    let mut body = json!({"type": "about:blank", "title": title, "status": status});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    Answer::with_type(status, "application/problem+json", body.to_string().into_bytes())
}

/// 404 for something that is no record, such as a change.
pub fn not_found() -> Answer {
    problem(404, "Not Found", Value::Null)
}

/// Words a refusal.
pub fn reject(_call: &Call, error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Replayed => {
            problem(401, "Unauthorized", Value::Null).header("www-authenticate", "Bearer")
        }
        Error::Denied => problem(403, "Forbidden", Value::Null),
        Error::NotFound(_) => not_found(),
        Error::Invalid(errors) => {
            let errors: Vec<_> = errors
                .iter()
                .map(|e| json!({"field": e.field, "code": e.code, "detail": e.detail}))
                .collect();
            problem(400, "Bad Request", json!({"errors": errors}))
        }
        Error::Conflict(fields) => problem(
            409,
            "Conflict",
            json!({
                "detail": "later changes or other records stand in the way",
                "conflicts": fields,
            }),
        ),
        Error::Stale => problem(412, "Precondition Failed", Value::Null),
        Error::KeyReused => problem(
            422,
            "Unprocessable Content",
            json!({"detail": "this Idempotency-Key was used with another request"}),
        ),
        Error::TooManyRequests { retry_after_s } => problem(429, "Too Many Requests", Value::Null)
            .header("retry-after", retry_after_s.to_string()),
        Error::Unavailable { retry_after_s } => unavailable(*retry_after_s),
        Error::Internal(_) | Error::Uncertain => problem(500, "Internal Server Error", Value::Null),
    }
}

fn unavailable(retry_after_s: u32) -> Answer {
    problem(503, "Service Unavailable", Value::Null)
        .header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath => not_found(),
        Malformed::UnknownMethod => problem(405, "Method Not Allowed", Value::Null),
        Malformed::TooLarge => {
            problem(413, "Content Too Large", json!({"detail": "the body is larger than 1 MiB"}))
        }
        Malformed::Incomplete => problem(
            408,
            "Request Timeout",
            json!({"detail": "the body came too slowly or broke off"}),
        ),
        Malformed::HeadTooLarge => problem(
            431,
            "Request Header Fields Too Large",
            json!({"detail": "the head is larger than 32 KiB"}),
        ),
        Malformed::Busy => unavailable(1),
        Malformed::Failed => problem(500, "Internal Server Error", Value::Null),
    }
}
