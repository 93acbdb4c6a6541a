//! Certificates: `PATCH` and `GET` of one, `GET` of the list.

use serde_json::{Value, json};

use super::auth::authenticate;
use super::date;
use super::encode::Shown;
use super::error::{Detail, answer, answer_of, bad_request, bad_request_saying};
use crate::config::UnknownFields;
use crate::dialect::{Answer, Call, Refusal, json};
use crate::domain::command::{self, Edit};
use crate::domain::credential::achievement::{Achievement, AchievementEdit};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::person::fold;
use crate::domain::record::Key;
use crate::domain::time::Instant;
use crate::store::AchievementQuery;

const PAGE_SIZE: i64 = 15;
/// The largest page; a larger one that is asked for is as long as this.
const PAGE_SIZE_MAX: i64 = 100_000;
/// Certificates loaded at once.
const SLICE: usize = 1000;
/// Members of a body that are found at fault before the rest is left unread.
const DETAILS_MAX: usize = 100;

/// `PATCH /open-api/achievements/{achievementId}`, "인증서 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let id = path_id(call)?;
    let edit = decode(call)?;
    let key = id.map(Key::Int).ok_or(Error::NotFound(Kind::Achievement))?;
    let command = Edit::<Achievement> { key, edit, expected: call.expected() };
    let answered = call.submit(actor, command, |_, _| {
        Ok(answer(200, &json!({"statusCode": 200, "message": "인증서가 수정되었습니다."})))
    });
    Ok(answered.await?)
}

/// `GET /open-api/achievements/{achievementId}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let id = path_id(call)?.ok_or(Error::NotFound(Kind::Achievement))?;
    let shown = call
        .read(|facts| Shown::gather(command::read::<Achievement>(&actor, id, facts)?, facts))
        .await?;
    Ok(answer(200, &shown.whole()).etag(shown.version()))
}

/// `GET /open-api/achievements`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let page = whole(call, "page", 1, "Page")?;
    let page_size = whole(call, "pageSize", PAGE_SIZE, "PageSize")?.min(PAGE_SIZE_MAX);
    let (from, before) = (day(call, "startDate")?, day(call, "endDate")?);
    let query = AchievementQuery {
        search: call.query_parameter("search").map(|text| fold(&text)).filter(|s| !s.is_empty()),
        issued_from: from.map(|given| given.start().as_microsecond()),
        issued_before: before.map(|given| given.end().as_microsecond()),
        offset: (page - 1).saturating_mul(page_size),
        limit: page_size,
    };
    let (ids, total) = call.app.store.achievements(actor.account_id, &query).await?;
    let mut items = Vec::new();
    for ids in ids.chunks(SLICE) {
        let shown = call.read(|facts| Shown::gather_all(actor.account_id, ids, facts)).await?;
        for one in &shown {
            items.push(if items.is_empty() { b' ' } else { b',' });
            serde_json::to_writer(&mut items, &one.item()).map_err(Error::internal)?;
        }
        // A long list must not keep others from being served.
        tokio::task::yield_now().await;
    }
    let pages = total / page_size + i64::from(total % page_size != 0);
    let head =
        "{\"statusCode\":200,\"message\":\"인증서 목록이 조회되었습니다.\",\"achievements\":[";
    let tail = format!("],\"totalPages\":{pages}}}");
    let items = items.get(1..).unwrap_or_default();
    Ok(answer_of(200, [head.as_bytes(), items, tail.as_bytes()].concat()))
}

/// The id in the path: an error when it is no decimal number, none when no certificate can have it.
fn path_id(call: &Call) -> Result<Option<i64>, Refusal> {
    let text = call.parameter("achievementId");
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_request(&[Detail::new("achievementId", "must be a whole number")]).into());
    }
    Ok(text.parse().ok().filter(|id| *id > 0))
}

fn whole(call: &Call, name: &str, default: i64, label: &str) -> Result<i64, Refusal> {
    let Some(text) = call.query_parameter(name) else {
        return Ok(default);
    };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number beyond 64 bits is a page far past the end.
    let value = if is_number { text.parse().unwrap_or(i64::MAX) } else { 0 };
    if value < 1 {
        let message = format!("{label} must not be less than 1, {label} must be a positive number");
        return Err(bad_request_saying(&message, &[]).into());
    }
    Ok(value)
}

fn day(call: &Call, name: &str) -> Result<Option<date::Given>, Refusal> {
    match call.query_parameter(name) {
        None => Ok(None),
        Some(text) => date::parse(&text)
            .map(Some)
            .ok_or_else(|| bad_request(&[Detail::new(name, "must be an ISO 8601 date")]).into()),
    }
}

fn decode(call: &Call) -> Result<AchievementEdit, Refusal> {
    let mut edit = AchievementEdit::default();
    let body = call.body()?;
    if body.is_empty() {
        return Ok(edit);
    }
    let media_type = call.media_type();
    if !media_type.is_empty() && media_type != "application/json" {
        let reason = "must be application/json";
        return Err(bad_request(&[Detail::new("Content-Type", reason)]).into());
    }
    let Some(fields) = json::parse_object(body) else {
        return Err(bad_request(&[Detail::new("body", "must be a JSON object")]).into());
    };
    let mut details = Vec::new();
    for (name, value) in fields {
        let mut refuse = |reason: &str| details.push(Detail::new(name.as_str(), reason));
        match name.as_str() {
            "course_begin_at" => edit.course_begin_at = instant(&value, true, &mut refuse),
            "course_end_at" => edit.course_end_at = instant(&value, true, &mut refuse),
            "expiration_date" => edit.expiration_date = instant(&value, true, &mut refuse),
            "created_at" => edit.issued_at = instant(&value, false, &mut refuse),
            "admin_comment" => match value {
                Value::Null => edit.admin_comment = Patch::Null,
                Value::String(text) => edit.admin_comment = Patch::Value(text),
                _ => refuse("must be a string or null"),
            },
            "level" => match value {
                Value::Number(level) => edit.level = Patch::Value(level),
                _ => refuse("must be a number"),
            },
            _ if call.app.config.kolleges.unknown_fields == UnknownFields::Ignore => {}
            _ => refuse("is not a field of this request"),
        }
        if details.len() == DETAILS_MAX {
            break;
        }
    }
    if details.is_empty() { Ok(edit) } else { Err(bad_request(&details).into()) }
}

fn instant(value: &Value, is_nullable: bool, refuse: &mut impl FnMut(&str)) -> Patch<Instant> {
    match value {
        Value::Null if is_nullable => return Patch::Null,
        Value::String(text) => {
            if let Some(given) = date::parse(text) {
                return Patch::Value(given.start());
            }
        }
        _ => {}
    }
    refuse(if is_nullable {
        "must be an ISO 8601 date or null"
    } else {
        "must be an ISO 8601 date"
    });
    Patch::Absent
}
