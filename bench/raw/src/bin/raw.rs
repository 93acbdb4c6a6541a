//! The yardstick: what the documented certificate edit and read cost with no store behind them.
//!
//! It authenticates with one keyed hash, decodes and checks the same body, and answers the same bytes. Every
//! measurement of Haksa is given as a ratio to this server, run minutes apart on the same machine.

use std::borrow::Cow;
use std::io::Write as _;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const API_KEY: &str = "demo-kolleges-key";
const HASH_KEY: &[u8] = b"demo hash key";
const UPDATED: &str = r#"{"statusCode":200,"message":"인증서가 수정되었습니다."}"#;
const UNAUTHORIZED: &str = r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token"}"#;
const BAD_REQUEST: &str =
    r#"{"statusCode":400,"error":"BadRequest","message":"잘못된 요청입니다."}"#;

/// The documented body of the edit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct AchievementEdit<'a> {
    #[serde(borrow)]
    course_begin_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    course_end_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    expiration_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    admin_comment: Option<Cow<'a, str>>,
    level: Option<f64>,
}

/// What the read answers.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(rename = "statusCode")]
    status_code: u16,
    message: &'a str,
    achievement: Achievement<'a>,
}

/// One certificate with its holder and its form.
#[derive(Serialize)]
struct Achievement<'a> {
    id: u64,
    admin_comment: Option<&'a str>,
    level: Option<f64>,
    nft_token: Option<&'a str>,
    issuance_route: &'a str,
    certificate_number: &'a str,
    course_begin_at: Option<&'a str>,
    course_end_at: Option<&'a str>,
    expiration_date: Option<&'a str>,
    is_received: bool,
    status: &'a str,
    issuance_method: &'a str,
    created_at: &'a str,
    updated_at: &'a str,
    user: Holder<'a>,
    evidences: [u8; 0],
    #[serde(rename = "achievementForm")]
    form: Form<'a>,
    #[serde(rename = "customAttributes")]
    custom_attributes: [u8; 0],
    #[serde(rename = "achievementFormId")]
    form_id: u64,
}

#[derive(Serialize)]
struct Holder<'a> {
    name: &'a str,
    email: &'a str,
}

#[derive(Serialize)]
struct Form<'a> {
    id: u64,
    name: &'a str,
    prefix: &'a str,
    description: &'a str,
}

fn is_authentic(headers: &HeaderMap, expected: &[u8]) -> bool {
    let Some(key) = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
    else {
        return false;
    };
    bool::from(keyed_hash(key).as_slice().ct_eq(expected))
}

fn keyed_hash(key: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(HASH_KEY).expect("HMAC takes a key of any length");
    mac.update(key.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn is_instant(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok()
        || text.parse::<Date>().is_ok_and(|date| date.to_zoned(TimeZone::UTC).is_ok())
}

fn answer(status: StatusCode, body: impl Into<axum::body::Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.into())
        .into_response()
}

fn edit(
    Path(id): Path<u64>,
    headers: &HeaderMap,
    expected: &'static [u8],
    body: &Bytes,
) -> Response {
    if !is_authentic(headers, expected) {
        return answer(StatusCode::UNAUTHORIZED, UNAUTHORIZED);
    }
    let Ok(edit) = serde_json::from_slice::<AchievementEdit<'_>>(body) else {
        return answer(StatusCode::BAD_REQUEST, BAD_REQUEST);
    };
    let instants =
        [&edit.course_begin_at, &edit.course_end_at, &edit.expiration_date, &edit.created_at];
    if !instants.into_iter().flatten().all(|text| is_instant(text)) {
        return answer(StatusCode::BAD_REQUEST, BAD_REQUEST);
    }
    std::hint::black_box((id, edit.admin_comment, edit.level));
    answer(StatusCode::OK, UPDATED)
}

fn read(Path(id): Path<u64>, headers: &HeaderMap, expected: &'static [u8]) -> Response {
    if !is_authentic(headers, expected) {
        return answer(StatusCode::UNAUTHORIZED, UNAUTHORIZED);
    }
    let achievement = Achievement {
        id,
        admin_comment: Some("재발급 요청으로 인해 수정"),
        level: Some(2.0),
        nft_token: None,
        issuance_route: "automatic",
        certificate_number: "SAND-202504-r9a1pt",
        course_begin_at: Some("2025-04-01T00:00:00.000Z"),
        course_end_at: Some("2025-07-01T00:00:00.000Z"),
        expiration_date: None,
        is_received: true,
        status: "ISSUED",
        issuance_method: "EMAIL",
        created_at: "2025-04-06T21:40:39.316Z",
        updated_at: "2025-04-06T21:40:39.316Z",
        user: Holder { name: "Example holder", email: "holder@example.com" },
        evidences: [],
        form: Form {
            id: 551,
            name: "Example form",
            prefix: "SAND",
            description: "What the holder has learned, in a sentence or two.",
        },
        custom_attributes: [],
        form_id: 551,
    };
    let found =
        Found { status_code: 200, message: "인증서가 조회되었습니다.", achievement };
    let body = serde_json::to_vec(&found).expect("text and numbers have a JSON form");
    answer(StatusCode::OK, body)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let expected: &'static [u8] = keyed_hash(API_KEY).leak();
    let router = Router::new().route(
        "/open-api/achievements/{id}",
        get(async move |path, headers| read(path, &headers, expected))
            .patch(async move |path, headers, body: Bytes| edit(path, &headers, expected, &body)),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut standard_output = std::io::stdout();
    writeln!(standard_output, r#"{{"base_url":"http://{}"}}"#, listener.local_addr()?)?;
    standard_output.flush()?;
    let listener = listener.tap_io(|stream| {
        // A connection that cannot be tuned is still served, only later.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}
