//! Refusals in the vendor's shape: `statusCode`, `error`, `message`, and `details` where fields are
//! at fault.

use http::HeaderMap;
use serde::Serialize;
use serde_json::json;

use crate::dialect::{Answer, Malformed};
use crate::domain::error::Error;
use crate::domain::kind::Kind;

const MEDIA_TYPE: &str = "application/json; charset=utf-8";
const BAD_REQUEST: &str = "잘못된 요청입니다.";
const UNEXPECTED: &str = "예기치 않은 오류가 발생했습니다.";

/// One field at fault.
pub struct Detail {
    /// The field as the caller spelled it.
    pub field: String,
    /// What is wrong with it, for a person.
    pub reason: String,
}

impl Detail {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// An answer of the dialect.
pub fn answer(status: u16, body: &impl Serialize) -> Answer {
    let Answer { status, body, .. } = Answer::json(status, body);
    answer_of(status, body)
}

/// An answer of the dialect whose JSON is written already.
pub fn answer_of(status: u16, body: Vec<u8>) -> Answer {
    Answer::with_type(status, MEDIA_TYPE, body)
}

fn refusal(status: u16, error: &str, message: &str) -> Answer {
    answer(status, &json!({"statusCode": status, "error": error, "message": message}))
}

/// 400, with the fields at fault where there are any.
pub fn bad_request(details: &[Detail]) -> Answer {
    bad_request_saying(BAD_REQUEST, details)
}

/// 400 with a message of its own.
pub fn bad_request_saying(message: &str, details: &[Detail]) -> Answer {
    if details.is_empty() {
        return refusal(400, "BadRequest", message);
    }
    let details: Vec<_> = details
        .iter()
        .map(|detail| json!({"field": detail.field, "reason": detail.reason}))
        .collect();
    answer(
        400,
        &json!({"statusCode": 400, "error": "BadRequest", "message": message, "details": details}),
    )
}

/// Words a refusal.
pub fn reject(error: &Error) -> Answer {
    match error {
        Error::Unauthenticated | Error::Replayed => refusal(401, "Unauthorized", "Invalid token"),
        Error::NotFound(Kind::Achievement) | Error::Denied => {
            refusal(404, "AchievementNotFound", "해당 인증서를 찾을 수 없습니다.")
        }
        Error::NotFound(_) => refusal(404, "NotFound", "요청한 리소스를 찾을 수 없습니다."),
        Error::Invalid(errors) => bad_request(
            &errors.iter().map(|e| Detail::new(e.field, e.detail.as_str())).collect::<Vec<_>>(),
        ),
        Error::Conflict(_) => refusal(409, "Conflict", "다른 변경과 충돌합니다."),
        Error::Stale => refusal(412, "PreconditionFailed", "인증서가 그 사이에 변경되었습니다."),
        Error::KeyReused => refusal(
            422,
            "UnprocessableEntity",
            "Idempotency-Key가 다른 요청에 이미 사용되었습니다.",
        ),
        Error::TooManyRequests { retry_after_s } => {
            refusal(429, "TooManyRequests", "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.")
                .header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => {
            refusal(503, "ServiceUnavailable", "잠시 후 다시 시도해 주세요.")
                .header("retry-after", retry_after_s.to_string())
        }
        Error::Internal(_) => refusal(500, "InternalServerError", UNEXPECTED),
    }
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath | Malformed::UnknownMethod => {
            refusal(404, "NotFound", "요청한 리소스를 찾을 수 없습니다.")
        }
        Malformed::TooLarge => bad_request(&[Detail::new("body", "the body is larger than 1 MiB")]),
        Malformed::Incomplete => {
            bad_request(&[Detail::new("body", "the body came too slowly or broke off")])
        }
        Malformed::Failed => refusal(500, "InternalServerError", UNEXPECTED),
    }
}
