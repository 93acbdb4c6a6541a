//! What the fuzz targets do with their bytes: requests to the whole server, in one process, on the
//! demo account. A target panics when an answer breaks a promise, so that the fuzzer keeps the
//! input; the tests replay the inputs that are kept in `corpus/`.
//!
//! Every edit is a dry run, so nothing may ever change: each target watches the version of what it
//! edits.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use haksa::app::{App, Clock};
use haksa::config::Config;
use haksa::dialect::Arrival;
use haksa::domain::delivery::outbox::Outbox;
use haksa::store::Store;
use haksa::vault::{MasterKey, Vault};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use serde::de::IgnoredAny;
use serde_json::Value;
use sha2::Sha256;
use tower::ServiceExt as _;

const NOW: &str = "2026-04-23T09:15:30Z";
const NOW_MS: &str = "1776935730000";
const CERTIFICATE: &str = "/open-api/achievements/1539";
const CLASS: &str = "/partner/7/classes/11";
const COURSES: &str = "/partner/7/course";
const APPLICATION: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
const NEW_APPLICATION: &str = "/api/v1/applications/88d2009c-0000-4000-8000-59bf9afd5695";
const RELATIONSHIP: &str = "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233";
const ENROLLMENT: &str = "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";
const UNDO: &str = "/haksa/v1/changes/1/undo";
const KOLLEGES_KEY: &str = "demo-kolleges-key";
const PARTNER_TOKEN: &str = "demo-partner-token";
const NCLOUD_KEY: &str = "EXAMPLEACCESSKEY0001";
const NCLOUD_SECRET: &str = "exampleSecretKeyDoNotUse0123456789abcd";
const SOLAPI_KEY: &str = "NCSTESTKEY000001";
const SOLAPI_SECRET: &str = "TESTSECRET0000000000000000000001";
const ISPRING_TOKEN: &str = "demo-ispring-OWN-token";
const NATIVE_KEY: &str = "demo-admin-key";

/// A server on a database of its own, without a listener.
struct Server {
    runtime: tokio::runtime::Runtime,
    router: Router,
    clock: Clock,
    _folder: tempfile::TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::frozen(NOW.parse().unwrap());
        let router = runtime.block_on(async {
            let url = format!("sqlite:{}", folder.path().join("haksa.db").display());
            let store = Store::open(&url).await.unwrap();
            store.migrate().await.unwrap();
            let vault = Vault::new(&MasterKey::from_bytes([7; 32]));
            let (app, _running) =
                App::start(store, vault, clock.clone(), Outbox::default(), Config::default())
                    .unwrap();
            haksa::demo::load(&app).await.unwrap();
            haksa::http::router(app)
        });
        Self { runtime, router, clock, _folder: folder }
    }

    fn ask(&self, mut request: Request<Body>) -> Reply {
        let about = format!("{} {}", request.method(), request.uri());
        request.extensions_mut().insert(Arrival { at: self.clock.now(), ..Arrival::default() });
        let (parts, body) = self.runtime.block_on(async {
            let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        });
        let status = parts.status.as_u16();
        let body = String::from_utf8(body.to_vec()).expect("an answer is UTF-8");
        let media_type =
            parts.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        assert!(status < 500, "{about} gave {status}: {body}");
        if media_type.starts_with("application/json") || media_type.contains("+json") {
            // Python's whole numbers, which one of the vendors echoes, are beyond any type of ours.
            serde_json::from_str::<IgnoredAny>(&body).expect("an answer that says JSON is JSON");
        } else if media_type.starts_with("application/xml") {
            assert_well_formed(&body);
        } else {
            assert!(body.is_empty() || media_type.starts_with("text/plain"), "{about}: {body}");
        }
        let etag = parts.headers.get("etag").map(|value| value.to_str().unwrap().to_owned());
        Reply { status, etag, body }
    }
}

struct Reply {
    status: u16,
    etag: Option<String>,
    body: String,
}

fn assert_well_formed(xml: &str) {
    let mut reader = quick_xml::Reader::from_str(xml);
    while !matches!(reader.read_event().expect("XML"), quick_xml::events::Event::Eof) {}
}

/// A request in the making.
struct Draft(http::request::Builder);

impl Draft {
    fn new(method: &str, target: &str) -> Self {
        let builder = Request::builder().method(method).uri(target);
        Self(builder.header("haksa-dry-run", "true"))
    }

    fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::try_from(name).unwrap();
        Self(self.0.header(name, HeaderValue::from_bytes(value.as_ref()).unwrap()))
    }

    fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    fn ncloud(self, method: &str, target: &str) -> Self {
        self.header("x-ncp-apigw-timestamp", NOW_MS)
            .header("x-ncp-iam-access-key", NCLOUD_KEY)
            .header("x-ncp-apigw-signature-v2", ncloud_signature(method, target, NOW_MS))
    }

    /// Signed as no request before it: a signature is good once.
    fn solapi(self) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let salt = format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.header("authorization", solapi_header(NOW, &salt))
    }

    fn send(self, media_type: &str, body: &[u8]) -> Reply {
        SERVER.ask(self.header("content-type", media_type).0.body(body.to_vec().into()).unwrap())
    }
}

fn ncloud_signature(method: &str, target: &str, timestamp: &str) -> String {
    let message = format!("{method} {target}\n{timestamp}\n{NCLOUD_KEY}");
    STANDARD.encode(hmac(NCLOUD_SECRET, &message))
}

fn solapi_signature(date: &str, salt: &str) -> String {
    hex::encode(hmac(SOLAPI_SECRET, &format!("{date}{salt}")))
}

fn solapi_header(date: &str, salt: &str) -> String {
    let signature = solapi_signature(date, salt);
    format!("HMAC-SHA256 apiKey={SOLAPI_KEY}, date={date}, salt={salt}, signature={signature}")
}

fn hmac(secret: &str, message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A dry run either is refused or answers with the version that it would make: always the same one.
fn assert_unchanged(reply: &Reply) {
    // Where others are shown with the record, a hash of what they are stands behind the version.
    let version = reply.etag.as_deref().map(|tag| tag.trim_matches('"'));
    let version = version.map(|tag| tag.split_once('-').map_or(tag, |(version, _)| version));
    let is_possible = match reply.status {
        200 => matches!(version, Some("1" | "2")),
        201 => version == Some("1"),
        // 307 is the partner API's word on one slash too many.
        status => (400..500).contains(&status) || status == 307,
    };
    assert!(is_possible, "{} {:?} {}", reply.status, reply.etag, reply.body);
}

/// XML bodies of the enrollment edit.
pub fn xml_body(data: &[u8]) {
    let draft = Draft::new("POST", ENROLLMENT).header("authorization", ISPRING_TOKEN);
    assert_unchanged(&draft.send("application/xml", data));
}

/// JSON bodies; the first byte chooses the edit.
pub fn json_body(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let (draft, media_type) = match choice % 9 {
        0 => (Draft::new("PATCH", CERTIFICATE).bearer(KOLLEGES_KEY), "application/json"),
        1 => (Draft::new("PATCH", CLASS).bearer(PARTNER_TOKEN), "application/json"),
        2 => (Draft::new("PATCH", CLASS).bearer(PARTNER_TOKEN), "application/merge-patch+json"),
        3 => (Draft::new("POST", COURSES).bearer(PARTNER_TOKEN), "application/json"),
        4 => (Draft::new("PUT", APPLICATION).ncloud("PUT", APPLICATION), "application/json"),
        5 => {
            (Draft::new("PUT", NEW_APPLICATION).ncloud("PUT", NEW_APPLICATION), "application/json")
        }
        6 => (Draft::new("PATCH", RELATIONSHIP).solapi(), "application/json"),
        7 => (
            Draft::new("POST", ENROLLMENT).header("authorization", ISPRING_TOKEN),
            "application/json",
        ),
        _ => (Draft::new("POST", UNDO).bearer(NATIVE_KEY), "application/json"),
    };
    assert_unchanged(&draft.send(media_type, body));
}

/// Credentials; the first byte chooses the API, the rest is its header (or headers, a line each).
/// Whoever gets in must have known a secret.
pub fn authorization(data: &[u8]) {
    let Some((choice, given)) = data.split_first() else { return };
    let lines: Vec<&[u8]> = given.split(|byte| *byte == b'\n').collect();
    if lines.iter().any(|line| HeaderValue::from_bytes(line).is_err()) {
        return;
    }
    let text = String::from_utf8_lossy(given);
    let line = |index: usize| lines.get(index).copied().unwrap_or_default();
    let bearer = |target| Draft::new("GET", target).header("authorization", line(0));
    let (draft, proof) = match choice % 6 {
        0 => (bearer(CERTIFICATE), KOLLEGES_KEY.to_owned()),
        1 => (bearer(CLASS), PARTNER_TOKEN.to_owned()),
        2 => {
            let draft = Draft::new("GET", APPLICATION)
                .header("x-ncp-apigw-timestamp", line(0))
                .header("x-ncp-iam-access-key", line(1))
                .header("x-ncp-apigw-signature-v2", line(2));
            let timestamp = String::from_utf8_lossy(line(0));
            (draft, ncloud_signature("GET", APPLICATION, &timestamp))
        }
        3 => (bearer(RELATIONSHIP), solapi_signature(&part(&text, "date"), &part(&text, "salt"))),
        4 => (bearer(ENROLLMENT), "demo-ispring-".to_owned()),
        _ => (bearer("/haksa/v1/changes/1"), NATIVE_KEY.to_owned()),
    };
    let reply = draft.send("application/json", b"");
    let has_proof = text.to_ascii_lowercase().contains(&proof.to_ascii_lowercase());
    assert!(reply.status >= 400 || has_proof, "{text} got in: {}", reply.body);
}

/// The part of a SOLAPI header with that name, in whatever case.
fn part(header: &str, name: &str) -> String {
    let (_, parts) = header.trim().split_once(' ').unwrap_or_default();
    parts
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

/// Dates in each form that is read; the first byte chooses the field.
pub fn dates(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let quoted = Value::from(text).to_string();
    match choice % 8 {
        0 => {
            let body = format!("{{\"expiration_date\":{quoted}}}");
            let draft = Draft::new("PATCH", CERTIFICATE).bearer(KOLLEGES_KEY);
            assert_unchanged(&draft.send("application/json", body.as_bytes()));
        }
        1 => {
            let query =
                text.bytes().fold(String::new(), |query, byte| format!("{query}%{byte:02x}"));
            let target = format!("/open-api/achievements?startDate={query}&endDate={query}");
            if target.len() < 2048 {
                let reply =
                    Draft::new("GET", &target).bearer(KOLLEGES_KEY).send("application/json", b"");
                assert!([200, 400].contains(&reply.status), "{}", reply.body);
            }
        }
        // As text, and as whatever JSON it is: numbers are dates here too.
        2 => read_back(&quoted),
        3 => read_back(text),
        4 | 5 => {
            let name = if choice % 8 == 4 { "accessDate" } else { "dueDate" };
            let fields = format!(
                "{{\"{name}\":{quoted},\"dueDateType\":\"due_date\",\"lockAfterDueDate\":false}}"
            );
            let draft = Draft::new("POST", ENROLLMENT).header("authorization", ISPRING_TOKEN);
            assert_unchanged(&draft.send("application/json", fields.as_bytes()));
        }
        6 => {
            let header = solapi_header(text, "0123456789abcdef");
            if HeaderValue::from_str(&header).is_ok() {
                let reply = Draft::new("GET", RELATIONSHIP)
                    .header("authorization", header)
                    .send("application/json", b"");
                assert!([200, 400, 401, 403].contains(&reply.status), "{}", reply.body);
            }
        }
        _ => {
            if HeaderValue::from_str(text).is_ok() {
                let reply = Draft::new("GET", APPLICATION)
                    .header("x-ncp-apigw-timestamp", text)
                    .header("x-ncp-iam-access-key", NCLOUD_KEY)
                    .header("x-ncp-apigw-signature-v2", "AAAA")
                    .send("application/json", b"");
                assert_eq!(reply.status, 401, "{}", reply.body);
            }
        }
    }
}

/// A class's date that is accepted is answered in a form that means the same when it is sent again.
fn read_back(value: &str) {
    let edit = |value: &str| {
        let body = format!("{{\"start_at\":{value}}}");
        let draft = Draft::new("PATCH", CLASS).bearer(PARTNER_TOKEN);
        draft.send("application/json", body.as_bytes())
    };
    let reply = edit(value);
    assert_unchanged(&reply);
    if reply.status == 200 {
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let start_at = &body["start_at"];
        if !start_at.is_null() {
            let again: Value = serde_json::from_str(&edit(&start_at.to_string()).body).unwrap();
            assert_eq!(&again["start_at"], start_at, "{value}");
        }
    }
}

/// Paths with queries: a signature over exactly what is sent is accepted, and one over anything else
/// is not.
pub fn signed_query(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let target = format!("{APPLICATION}?{query}");
    // What a client may send as it is. Past a fragment nothing is sent.
    let Ok(uri) = target.parse::<http::Uri>() else { return };
    let Some(sent) = uri.path_and_query().map(ToString::to_string) else { return };
    if sent.len() > 8192 {
        return;
    }
    let ask = |signed: &str| {
        Draft::new("GET", &target).ncloud("GET", signed).send("application/json", b"").status
    };
    assert_ne!(ask(&sent), 401, "{sent}");
    assert_eq!(ask(&format!("{sent}x")), 401, "{sent}");
    assert_eq!(ask(APPLICATION), 401, "{sent}");
}
