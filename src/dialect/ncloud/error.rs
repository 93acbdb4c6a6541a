//! Refusals in the vendor's two shapes: the gateway's, `{"error":{…}}` with a code in text, and the
//! service's, flat with a whole number.

use http::HeaderMap;
use serde_json::json;

use super::auth::HasTenant;
use crate::dialect::{Answer, Call, Malformed, ONCE, accept};
use crate::domain::error::Error;
use crate::domain::sign_in::application::NAME_TAKEN;
use crate::domain::sign_in::consent::Language;

/// A refusal before the service is reached.
fn gateway(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"error": {"errorCode": code, "message": message}}))
}

fn gateway_saying(status: u16, code: &str, message: &str, details: &str) -> Answer {
    let error = json!({"errorCode": code, "message": message, "details": details});
    Answer::json(status, &json!({"error": error}))
}

/// A refusal by the service.
fn service(status: u16, code: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"errorCode": code, "message": message}))
}

/// Words a refusal, the service's own in the language that the caller likes best.
pub fn reject(call: &Call, error: &Error) -> Answer {
    let without_tenant = matches!(call.noted(), Some(HasTenant(false)));
    let say = |ko, en, ja| match language(&call.headers) {
        Language::Ko => ko,
        Language::En => en,
        Language::Ja => ja,
    };
    match error {
        Error::Unauthenticated | Error::Replayed => {
            let details = "Invalid authentication information.";
            gateway_saying(401, "200", "Authentication Failed", details)
        }
        Error::Denied(_) => gateway(401, "210", "Permission Denied"),
        Error::NotFound(_) | Error::Invalid(_) if without_tenant => {
            service(400, 9014, "Tenant not created")
        }
        Error::NotFound(_) => {
            let message = say(
                "존재하지 않는 Application",
                "Application does not exist.",
                "存在しないApplicationです。",
            );
            service(400, 9016, message)
        }
        Error::Invalid(errors)
            if !errors.is_empty() && errors.iter().all(|error| error.code == NAME_TAKEN) =>
        {
            let message = say(
                "이미 사용 중인 Application 이름입니다.",
                "Application with the same name already exists.",
                "同じ名前のApplicationが既に存在します。",
            );
            service(400, 400, message)
        }
        Error::Invalid(_) => {
            service(400, 400, say("잘못된 요청", "Invalid request.", "不正なリクエストです。"))
        }
        Error::Conflict(_) => service(409, 409, "Conflict with another change"),
        Error::Stale { .. } => service(412, 412, "Precondition failed"),
        Error::KeyReused => service(422, 422, "Idempotency-Key was used with another request"),
        Error::TooManyRequests { retry_after_s } => {
            gateway(429, "420", "Rate Limited").header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => unavailable(*retry_after_s),
        Error::Internal(_) | Error::Uncertain => gateway(500, "900", "Unexpected Error"),
    }
}

fn unavailable(retry_after_s: u32) -> Answer {
    gateway(503, "500", "Endpoint Error").header("retry-after", retry_after_s.to_string())
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _path: &str, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath | Malformed::UnknownMethod => {
            gateway_saying(404, "300", "Not Found Exception", "URL not found.")
        }
        Malformed::TooLarge => gateway(413, "430", "Request Entity Too Large"),
        Malformed::Incomplete => gateway(400, "100", "Bad Request Exception"),
        Malformed::HeadTooLarge => gateway(431, "430", "Request Header Fields Too Large"),
        Malformed::Header(name) => {
            gateway_saying(400, "100", "Bad Request Exception", &format!("{name} {ONCE}"))
        }
        Malformed::Encoded => {
            gateway(415, "100", "Unsupported Media Type").header("accept-encoding", "identity")
        }
        Malformed::Busy => unavailable(1),
        Malformed::Failed => gateway(500, "900", "Unexpected Error"),
    }
}

/// The language that `Accept-Language` likes best among ours; Korean when it has no say. A range
/// whose weight cannot be read counts for nothing.
fn language(headers: &HeaderMap) -> Language {
    let mut best = (Language::Ko, 0.0);
    for range in accept::elements(headers, "accept-language") {
        let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
        let Some(weight) = accept::weight(parameter.trim()).and_then(weight) else { continue };
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let known = match primary.as_str() {
            "*" => Some(Language::Ko),
            primary => Language::parse(primary),
        };
        let Some(language) = known else { continue };
        if weight > best.1 {
            best = (language, weight);
        }
    }
    best.0
}

/// A decimal from 0 to 1, with as many digits as it has.
fn weight(text: &str) -> Option<f32> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|weight| is_decimal && (0.0..=1.0).contains(weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_liked_best() {
        for (lines, expected) in [
            (&[][..], Language::Ko),
            (&[""], Language::Ko),
            (&["*"], Language::Ko),
            (&["en-US,en;q=0.9,ko;q=0.8"], Language::En),
            (&["fr, ja;q=0.5, en;q=0.7"], Language::En),
            (&["JA-jp"], Language::Ja),
            (&["ja;q=0.3,ko"], Language::Ko),
            (&["ko;q=0.9, en;Q=0.1"], Language::Ko),
            (&["ko;q=0.1, en ; Q=0.9"], Language::En),
            (&["fr", "ja;q=0.2", "en;q=0.9"], Language::En),
            (&["ja, en"], Language::Ja),
            (&["en;q=0"], Language::Ko),
            (&["en;q=.5"], Language::En),
            (&["ja;q=0.5, en;q=0.50001"], Language::En),
            (&["en;q=0.9, ja;q=1.0000"], Language::Ja),
            (&["en, ja;q=5"], Language::En),
            (&["en;q=5"], Language::Ko),
            (&["en;q=-1"], Language::Ko),
            (&["en;q=NaN"], Language::Ko),
            (&["en;q=inf"], Language::Ko),
            (&["en;q=1e0"], Language::Ko),
            (&["en;q=, ja;level=1"], Language::Ko),
            (&["fr,de"], Language::Ko),
            (&[";;,q=,=", ";"], Language::Ko),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("accept-language", line.parse().unwrap());
            }
            assert_eq!(language(&headers), expected, "{lines:?}");
        }
    }
}
