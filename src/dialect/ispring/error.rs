//! Refusals in the vendor's shape: `code`, which is the HTTP status, and `message`.

use http::HeaderMap;
use serde_json::json;

use super::body::BodyFault;
use super::format::Format;
use super::tree::MISSPELT;
use crate::dialect::{Answer, Call, Malformed};
use crate::domain::error::Error;
use crate::domain::kind::Kind;

fn refusal(format: Format, status: u16, message: &str) -> Answer {
    format.answer(status, &[], &json!({"code": status, "message": message}))
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, path: &str, headers: &HeaderMap) -> Answer {
    let format = Format::preferred(path, headers);
    match fault {
        Malformed::UnknownPath => refusal(format, 404, "Not Found"),
        Malformed::UnknownMethod => refusal(format, 405, "Method Not Allowed"),
        Malformed::TooLarge => refusal(format, 413, "Payload too large"),
        Malformed::Incomplete | Malformed::Header(_) => refusal(format, 400, "Wrong parameters"),
        Malformed::HeadTooLarge => refusal(format, 431, "Request header fields too large"),
        Malformed::Encoded => {
            refusal(format, 415, "Unsupported media type").header("accept-encoding", "identity")
        }
        Malformed::Busy => reject_in(format, &Error::Unavailable { retry_after_s: 1 }),
        Malformed::Failed => refusal(format, 500, "Internal error"),
    }
}

/// Words why a body is not read.
pub fn unread(call: &Call, fault: BodyFault) -> Answer {
    let format = Format::of(call);
    match fault {
        BodyFault::Malformed => refusal(format, 400, "Wrong parameters"),
        BodyFault::MediaType => refusal(format, 415, "Unsupported media type"),
    }
}

/// Words a refusal.
pub fn reject(call: &Call, error: &Error) -> Answer {
    reject_in(Format::of(call), error)
}

fn reject_in(format: Format, error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Replayed => {
            refusal(format, 401, "Authorization failed").header("www-authenticate", "Bearer")
        }
        Error::Denied(_) => refusal(format, 403, "Permission denied"),
        Error::NotFound(Kind::Enrollment) => refusal(format, 400, "Unknown Enrollment"),
        Error::Invalid(errors) if errors.iter().any(|error| error.code == MISSPELT) => {
            let details = errors.iter().map(|error| format!("{} {}", error.field, error.detail));
            let details = details.collect::<Vec<_>>().join(", ");
            let message = "Wrong parameters";
            format.answer(400, &[], &json!({"code": 400, "message": message, "details": details}))
        }
        Error::NotFound(_) | Error::Invalid(_) => refusal(format, 400, "Wrong parameters"),
        Error::Conflict(_) => refusal(format, 409, "Conflict"),
        Error::Stale { .. } => refusal(format, 412, "Precondition failed"),
        Error::KeyReused => refusal(format, 422, "Idempotency-Key was used with another request"),
        Error::TooManyRequests { retry_after_s } => refusal(format, 429, "Too many requests")
            .header("retry-after", retry_after_s.to_string()),
        Error::Unavailable { retry_after_s } => refusal(format, 503, "Service unavailable")
            .header("retry-after", retry_after_s.to_string()),
        Error::Internal(_) | Error::Uncertain => refusal(format, 500, "Internal error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_code_and_message() {
        for (error, status, message) in [
            (Error::Unauthenticated, 401, "Authorization failed"),
            (Error::Replayed, 401, "Authorization failed"),
            (Error::Denied(None), 403, "Permission denied"),
            (Error::NotFound(Kind::Enrollment), 400, "Unknown Enrollment"),
            (Error::NotFound(Kind::Course), 400, "Wrong parameters"),
            (Error::Invalid(Vec::new()), 400, "Wrong parameters"),
            (Error::Conflict(Vec::new()), 409, "Conflict"),
            (Error::Stale { version: 2 }, 412, "Precondition failed"),
            (Error::KeyReused, 422, "Idempotency-Key was used with another request"),
            (Error::Unavailable { retry_after_s: 1 }, 503, "Service unavailable"),
            (Error::internal("the cause"), 500, "Internal error"),
        ] {
            let answer = reject_in(Format::Xml, &error);
            assert_eq!(answer.status, status);
            assert_eq!(
                String::from_utf8(answer.body.into()).unwrap(),
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><code>{status}</code>\
                     <message>{message}</message></response>"
                )
            );
            let answer = reject_in(Format::Json, &error);
            assert_eq!(
                String::from_utf8(answer.body.into()).unwrap(),
                format!(r#"{{"code":{status},"message":"{message}"}}"#)
            );
        }
    }
}
