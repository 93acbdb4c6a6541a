//! Refusals in the vendor's two shapes: the gateway's, `{"error":{…}}` with a code in text, and the
//! service's, flat with a whole number.

use http::HeaderMap;
use serde_json::json;

use crate::dialect::{Answer, Call, Malformed, Refusal};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::sign_in::application::NAME_TAKEN;
use crate::domain::sign_in::consent::Language;
use crate::domain::sign_in::tenant::Tenant;

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

/// Words a refusal.
pub fn reject(error: &Error) -> Answer {
    reject_in(Language::Ko, error)
}

fn reject_in(language: Language, error: &Error) -> Answer {
    let say = |ko, en, ja| match language {
        Language::Ko => ko,
        Language::En => en,
        Language::Ja => ja,
    };
    match error {
        Error::Unauthenticated | Error::Replayed => {
            let details = "Invalid authentication information.";
            gateway_saying(401, "200", "Authentication Failed", details)
        }
        Error::Denied => gateway(401, "210", "Permission Denied"),
        Error::NotFound(Kind::Tenant) => service(400, 9014, "Tenant not created"),
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
        Error::Stale => service(412, 412, "Precondition failed"),
        Error::KeyReused => service(422, 422, "Idempotency-Key was used with another request"),
        Error::TooManyRequests { retry_after_s } => {
            gateway(429, "420", "Rate Limited").header("retry-after", retry_after_s.to_string())
        }
        Error::Unavailable { retry_after_s } => {
            gateway(503, "500", "Endpoint Error").header("retry-after", retry_after_s.to_string())
        }
        Error::Internal(_) => gateway(500, "900", "Unexpected Error"),
    }
}

/// Words a fault of the request itself.
pub fn malformed(fault: Malformed, _headers: &HeaderMap) -> Answer {
    match fault {
        Malformed::UnknownPath | Malformed::UnknownMethod => {
            gateway_saying(404, "300", "Not Found Exception", "URL not found.")
        }
        Malformed::TooLarge => gateway(413, "430", "Request Entity Too Large"),
        Malformed::Incomplete => gateway(400, "100", "Bad Request Exception"),
        Malformed::Failed => gateway(500, "900", "Unexpected Error"),
    }
}

/// Words the service's refusal of an account's request in the caller's language. An account without
/// a tenant is told so whatever else is wrong; no application can be without its tenant, so that is
/// looked up only here.
pub async fn refuse(call: &Call, account_id: i64, error: Error) -> Refusal {
    if !matches!(error, Error::NotFound(_) | Error::Invalid(_)) {
        return error.into();
    }
    let tenants = call.read(|facts| facts.select::<Tenant>(account_id, "owner_id", account_id));
    match tenants.await {
        Err(failure) => failure.into(),
        Ok(tenants) if tenants.is_empty() => Error::NotFound(Kind::Tenant).into(),
        Ok(_) => {
            let lines = call.headers.get_all("accept-language").iter();
            let language = language(lines.filter_map(|line| line.to_str().ok()));
            reject_in(language, &error).into()
        }
    }
}

/// The language that the `Accept-Language` lines (RFC 9110 section 12.5.4) like best among ours;
/// Korean when they have no say. A range whose weight cannot be read counts for nothing.
fn language<'a>(lines: impl Iterator<Item = &'a str>) -> Language {
    let mut best = (Language::Ko, 0.0);
    for range in lines.flat_map(|line| line.split(',')) {
        let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
        let Some(weight) = weight(parameter.trim()) else { continue };
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

/// A weight, 0 to 1 (RFC 9110 section 12.4.2).
fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    (name.eq_ignore_ascii_case("q") && is_decimal).then_some(weight)
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
            assert_eq!(language(lines.iter().copied()), expected, "{lines:?}");
        }
    }
}
