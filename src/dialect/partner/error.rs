//! Refusals in the vendor's shape: `{"detail": …}`, a text for whatever is not a field's fault.

use http::HeaderMap;

use super::class::LargeIds;
use super::student::NullForText;
use crate::dialect::{Answer, Call, Malformed, ONCE};
use crate::domain::error::{Error, FieldError};
use crate::domain::kind::Kind;
use crate::domain::teaching::class::UNKNOWN_MODELS;
use crate::domain::teaching::membership::{UNKNOWN_CLASS, UNKNOWN_STUDENT};

/// What the framework says of a body that it cannot read at all.
pub const UNREADABLE: &str = "There was an error parsing the body";
/// What the vendor's database says of a text with NUL.
pub const NUL: &str = "A string literal cannot contain NUL (0x00) characters.";

/// What the vendor says where a student's e-mail address or person is another's, or nobody's.
const STUDENT_CONFLICT: &str = "student conflict within partner";

/// What stands in the way, as decisions call it, and what the vendor says of it.
const CONFLICTS: [(&str, &str); 5] = [
    ("course_key", "course_key already exists"),
    ("content_item_id", "course is in use"),
    ("code", "code already exists"),
    ("student", STUDENT_CONFLICT),
    ("student_id", "already enrolled"),
];

/// An answer of the dialect.
pub fn json(status: u16, body: String) -> Answer {
    Answer::with_type(status, "application/json", body.into_bytes())
}

/// A refusal in one text.
pub fn detail(status: u16, text: &str) -> Answer {
    json(status, format!(r#"{{"detail":{}}}"#, super::json::quoted(text)))
}

/// 401.
pub fn unauthorized() -> Answer {
    detail(401, "unauthorized").header("www-authenticate", "Bearer")
}

fn failed() -> Answer {
    Answer::with_type(500, "text/plain; charset=utf-8", &b"Internal Server Error"[..])
}

/// Words a refusal.
pub fn reject(call: &Call, error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Replayed => unauthorized(),
        Error::Denied(_) => detail(403, "forbidden"),
        Error::NotFound(Kind::Class) => detail(404, "Class not found"),
        Error::NotFound(Kind::Course) => detail(404, "Course not found"),
        Error::NotFound(Kind::InviteCode) => detail(404, "Invite not found"),
        Error::NotFound(Kind::Student) => detail(404, "student not found"),
        Error::NotFound(Kind::Membership) => detail(404, "enrollment not found"),
        Error::NotFound(_) => detail(404, "Not Found"),
        Error::Invalid(errors) => {
            errors.first().map_or_else(failed, |error| broken_rule(call, error))
        }
        Error::Conflict(with) => {
            let is_it = |(name, _): &&(&str, _)| with.iter().any(|with| with == name);
            let words = CONFLICTS.iter().find(is_it);
            detail(409, words.map_or("conflict", |(_, words)| words))
        }
        Error::Stale { .. } => detail(412, "precondition_failed"),
        Error::KeyReused => detail(422, "idempotency_key_reused"),
        Error::TooManyRequests { retry_after_s } => {
            detail(429, "Too Many Requests").header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => unavailable(*retry_after_s),
        Error::Internal(_) | Error::Uncertain => failed(),
    }
}

/// The vendor names one broken rule at a time.
fn broken_rule(call: &Call, error: &FieldError) -> Answer {
    match error.code {
        UNKNOWN_CLASS => detail(404, "Class not found"),
        UNKNOWN_STUDENT => detail(404, "student not found"),
        "user_not_found" => detail(409, STUDENT_CONFLICT),
        "full_name_required" if call.noted::<NullForText>().is_some() => {
            detail(409, STUDENT_CONFLICT)
        }
        "nul" => detail(400, NUL),
        "unknown_model" => {
            let ids = error.detail.strip_prefix(UNKNOWN_MODELS).unwrap_or_default();
            let ids = match call.noted::<LargeIds>() {
                Some(large) => large.among(ids),
                None => ids.to_owned(),
            };
            let text = "model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다";
            detail(400, &format!("{text}: [{ids}]"))
        }
        "invalid" if error.field == "Idempotency-Key" => detail(400, "invalid_idempotency_key"),
        "too_long" | "too_many" | "too_large" | "control_character" | "record_too_large" => {
            detail(400, &format!("{}_{}", error.field, error.code))
        }
        code => detail(400, code),
    }
}

fn unavailable(retry_after_s: u32) -> Answer {
    detail(503, "service_unavailable").header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath => detail(404, "Not Found"),
        Malformed::UnknownMethod => detail(405, "Method Not Allowed"),
        Malformed::TooLarge => detail(413, "Request Entity Too Large"),
        Malformed::Incomplete => detail(400, UNREADABLE),
        Malformed::HeadTooLarge => detail(431, "Request Header Fields Too Large"),
        Malformed::Header(name) => detail(400, &format!("{name} {ONCE}")),
        Malformed::Encoded => {
            detail(415, "Unsupported Media Type").header("accept-encoding", "identity")
        }
        Malformed::Busy => unavailable(1),
        Malformed::Failed => failed(),
    }
}
