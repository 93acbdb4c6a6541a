//! Refusals in the vendor's shape: `errorCode` and `errorMessage`, both never empty.

use std::net::IpAddr;

use http::HeaderMap;
use serde_json::json;

use crate::dialect::{Answer, Call, Malformed, ONCE};
use crate::domain::error::Error;

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"errorCode": code, "errorMessage": message}))
}

fn not_found() -> Answer {
    refusal(404, "ResourceNotFound", "요청하신 Resource를 찾을수 없습니다.")
}

fn failed() -> Answer {
    refusal(500, "InternalServerError", "Internal server error")
}

/// The request's form or content is wrong.
pub fn invalid(message: &str) -> Answer {
    refusal(400, "ValidationError", message)
}

/// The key is unknown or no longer good.
pub fn invalid_api_key() -> Answer {
    refusal(403, "InvalidAPIKey", "유효한 API Key가 아닙니다.")
}

/// The signed date is too far from the server's clock.
pub fn too_skewed() -> Answer {
    refusal(403, "RequestTimeTooSkewed", "시간 값이 서버 시간을 15분 이상 벗어났습니다.")
}

/// The signature was not made with the key's secret.
pub fn wrong_signature() -> Answer {
    refusal(403, "SignatureDoesNotMatch", "생성한 signature를 확인하세요.")
}

/// The key may not be used from that address.
pub fn wrong_address(peer: IpAddr) -> Answer {
    refusal(403, "Forbidden", &format!("허용되지 않은 IP({peer})로 접근하고 있습니다."))
}

/// Words a refusal.
pub fn reject(_call: &Call, error: &Error) -> Answer {
    word(error)
}

fn word(error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Denied(_) => {
            refusal(401, "Unauthorized", "권한이 없습니다.")
        }
        Error::Replayed => {
            let message = "15분 안에 동일한 signature 값이 사용되었습니다.";
            refusal(403, "DuplicatedSignature", message)
        }
        Error::NotFound(_) => not_found(),
        Error::Invalid(errors) => {
            let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
            invalid(&details.join(", "))
        }
        Error::Conflict(_) => refusal(409, "Conflict", "Another change stands in the way"),
        Error::Stale { .. } => refusal(412, "PreconditionFailed", "If-Match names another version"),
        Error::KeyReused => {
            refusal(422, "ValidationError", "Idempotency-Key was used with another request")
        }
        Error::TooManyRequests { retry_after_s } => {
            refusal(429, "TooManyRequests", "Too many requests")
                .header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => unavailable(*retry_after_s),
        Error::Internal(_) | Error::Uncertain => failed(),
    }
}

fn unavailable(retry_after_s: u32) -> Answer {
    refusal(503, "ServiceUnavailable", "Service unavailable")
        .header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath | Malformed::UnknownMethod => not_found(),
        Malformed::TooLarge => refusal(413, "ValidationError", "The body is too large"),
        Malformed::Incomplete => invalid("The body came too slowly or broke off"),
        Malformed::HeadTooLarge => refusal(431, "ValidationError", "The head is too large"),
        Malformed::Header(name) => invalid(&format!("{name} {ONCE}")),
        Malformed::Encoded => refusal(415, "ValidationError", "The body must not be compressed")
            .header("accept-encoding", "identity"),
        Malformed::Busy => unavailable(1),
        Malformed::Failed => failed(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::kind::Kind;

    #[test]
    fn every_refusal_has_its_status_and_code_and_no_empty_text() {
        for (error, status, code) in [
            (Error::Unauthenticated, 401, "Unauthorized"),
            (Error::Denied(None), 401, "Unauthorized"),
            (Error::NotFound(Kind::Relationship), 404, "ResourceNotFound"),
            (Error::invalid("metadata", "x", "wrong"), 400, "ValidationError"),
            (Error::Conflict(vec![]), 409, "Conflict"),
            (Error::Stale { version: 2 }, 412, "PreconditionFailed"),
            (Error::KeyReused, 422, "ValidationError"),
            (Error::Replayed, 403, "DuplicatedSignature"),
            (Error::Unavailable { retry_after_s: 1 }, 503, "ServiceUnavailable"),
            (Error::internal("sealed-secret"), 500, "InternalServerError"),
        ] {
            let answer = word(&error);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, body["errorCode"].as_str()), (status, Some(code)));
            let message = body["errorMessage"].as_str().unwrap();
            assert!(!message.is_empty() && !message.contains("sealed-secret"));
        }
    }
}
