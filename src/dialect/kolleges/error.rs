//! Refusals in the vendor's shape: `statusCode`, `error`, `message`, and `details` where fields are
//! at fault. The vendor's pages come in two editions; each route has the words of its own page.

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde_json::json;

use crate::dialect::{Answer, Call, Malformed, ONCE};
use crate::domain::certificate::form::DESIGN_NOT_FOUND;
use crate::domain::error::{Error, FieldError};

const MEDIA_TYPE: &str = "application/json; charset=utf-8";
const BAD_REQUEST: &str = "잘못된 요청입니다.";
const UNEXPECTED: &str = "예기치 않은 오류가 발생했습니다.";
const NOT_ISSUED: &str = "인증서 발급 중 예기치 않은 오류가 발생했습니다.";

/// The words of a page: each an `error` with its `message`.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    bad_request: &'static str,
    not_found: (&'static str, &'static str),
    failed: (&'static str, &'static str),
}

/// Certificates.
pub const ACHIEVEMENT: Words = Words {
    bad_request: "BadRequest",
    not_found: ("AchievementNotFound", "해당 인증서를 찾을 수 없습니다."),
    failed: ("InternalServerError", UNEXPECTED),
};
/// Forms: the only printed text for a missing form speaks of a certificate.
pub const FORM: Words = Words {
    not_found: ("AchievementFormNotFound", "해당 인증서를 찾을 수 없습니다."),
    ..ACHIEVEMENT
};
/// The edit of a form.
pub const FORM_EDIT: Words = Words {
    bad_request: "Bad Request",
    not_found: ("Not Found", "해당 인증서를 찾을 수 없습니다."),
    ..ACHIEVEMENT
};
/// Issuing.
pub const ISSUE: Words = Words { failed: ("InternalServerError", NOT_ISSUED), ..FORM };
/// Certificate designs.
pub const CERTIFICATE_DESIGN: Words = Words {
    not_found: ("CertificateDesignNotFound", "템플릿 디자인을 찾을 수 없습니다."),
    ..ACHIEVEMENT
};
/// Badge designs.
pub const BADGE_DESIGN: Words = Words {
    not_found: ("BadgeDesignNotFound", "뱃지 디자인을 찾을 수 없습니다."),
    ..ACHIEVEMENT
};
/// A picture that is to become a badge design.
pub const UPLOAD: Words = Words {
    bad_request: "Bad Request",
    not_found: ("Not Found", "뱃지 디자인을 찾을 수 없습니다."),
    failed: ("Internal Server Error", NOT_ISSUED),
};

/// One field at fault.
#[derive(Debug)]
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
pub fn answer_of(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer::with_type(status, MEDIA_TYPE, body)
}

/// A refusal in words of its own.
pub fn refusal(status: u16, error: &str, message: &str) -> Answer {
    refusal_over(status, error, message, &[])
}

/// A refusal over these fields.
pub fn refusal_over(status: u16, error: &str, message: &str, details: &[Detail]) -> Answer {
    let mut body = json!({"statusCode": status, "error": error, "message": message});
    if !details.is_empty() {
        let details: Vec<_> = details
            .iter()
            .map(|detail| json!({"field": detail.field, "reason": detail.reason}))
            .collect();
        if let Some(body) = body.as_object_mut() {
            body.insert("details".to_owned(), details.into());
        }
    }
    answer(status, &body)
}

/// 400 in the words of the call's page, with the fields at fault where there are any.
pub fn bad_request(call: &Call, details: &[Detail]) -> Answer {
    refusal_over(400, words(call).bad_request, BAD_REQUEST, details)
}

/// The words of the page that the call's route noted.
fn words(call: &Call) -> &'static Words {
    call.noted().copied().unwrap_or(&ACHIEVEMENT)
}

/// Words a refusal.
pub fn reject(call: &Call, error: &Error) -> Answer {
    let words = words(call);
    match error {
        Error::Unauthenticated | Error::Replayed => refusal(401, "Unauthorized", "Invalid token"),
        Error::NotFound(_) | Error::Denied(_) => {
            let (error, message) = words.not_found;
            refusal(404, error, message)
        }
        Error::Invalid(errors) => {
            if let Some(message) = missing_design(errors) {
                return refusal(404, "Not Found", message);
            }
            let detail = |error: &FieldError| Detail::new(wire_name(error.field), &*error.detail);
            let details: Vec<_> = errors.iter().map(detail).collect();
            refusal_over(400, words.bad_request, BAD_REQUEST, &details)
        }
        Error::Conflict(_) => refusal(409, "Conflict", "다른 변경과 충돌합니다."),
        Error::Stale { .. } => {
            refusal(412, "PreconditionFailed", "인증서가 그 사이에 변경되었습니다.")
        }
        Error::KeyReused => refusal(
            422,
            "UnprocessableEntity",
            "Idempotency-Key가 다른 요청에 이미 사용되었습니다.",
        ),
        // The vendor's pages know no 429.
        Error::TooManyRequests { retry_after_s } | Error::Unavailable { retry_after_s } => {
            unavailable(*retry_after_s)
        }
        Error::Internal(_) | Error::Uncertain => {
            let (error, message) = words.failed;
            refusal(500, error, message)
        }
    }
}

/// The message for a design that is not there, where nothing else is wrong.
fn missing_design(errors: &[FieldError]) -> Option<&'static str> {
    let first = errors.first()?;
    if errors.iter().any(|error| error.code != DESIGN_NOT_FOUND) {
        return None;
    }
    Some(if first.field == "certificate_design_id" {
        "해당 증명서 디자인을 찾을 수 없습니다."
    } else {
        "해당 배지 디자인을 찾을 수 없습니다."
    })
}

/// A record's field as this dialect spells it.
fn wire_name(field: &'static str) -> &'static str {
    match field {
        "issued_at" => "created_at",
        "certificate_design_id" => "achievementCertificateDesignId",
        "badge_design_id" => "achievementBadgeDesignId",
        other => other,
    }
}

fn unavailable(retry_after_s: u32) -> Answer {
    refusal(503, "ServiceUnavailable", "잠시 후 다시 시도해 주세요.")
        .header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    let bad_request = |field, reason| {
        let details = [Detail::new(field, reason)];
        refusal_over(400, ACHIEVEMENT.bad_request, BAD_REQUEST, &details)
    };
    let body = |reason| bad_request("body", reason);
    match fault {
        Malformed::UnknownPath | Malformed::UnknownMethod => {
            refusal(404, "NotFound", "요청한 리소스를 찾을 수 없습니다.")
        }
        Malformed::TooLarge => body("the body is too large"),
        Malformed::Incomplete => body("the body came too slowly or broke off"),
        Malformed::HeadTooLarge => {
            refusal(431, "RequestHeaderFieldsTooLarge", "요청 헤더가 너무 큽니다.")
        }
        Malformed::Header(name) => bad_request(name, ONCE),
        Malformed::Encoded => {
            refusal(415, "UnsupportedMediaType", "압축된 본문은 지원하지 않습니다.")
                .header("accept-encoding", "identity")
        }
        Malformed::Busy => unavailable(1),
        Malformed::Failed => refusal(500, "InternalServerError", UNEXPECTED),
    }
}
