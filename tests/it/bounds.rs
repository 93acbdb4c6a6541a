//! What callers may have of the server's memory, and that whoever has all of his part is nobody else's
//! trouble.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use haksa::budget::Held;
use haksa::config::Config;
use haksa::demo;
use haksa::domain::actor::Actor;
use haksa::domain::certificate::design::CreateBadge;
use haksa::domain::certificate::image::NewImage;
use haksa::domain::kind::Kind;
use haksa::payer::Payer;
use haksa::pipeline::{Envelope, Reply as Done};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Backend, Request, Server, on_both_stores};

/// More than a stranger may send.
const LONG: usize = 100 * 1024;
const APPLICATION: &str = r#"{"name": "portal", "applicationType": "web", "mbrLoginAllow": "ALLOW",
    "protocol": "OAUTH2", "redirectUris": ["https://app.example.com/cb"],
    "clientAuthMethod": "client_secret_basic", "accessType": "confidential",
    "grantTypes": ["authorization_code", "refresh_token"], "scopes": ["openid", "profile"],
    "consentPage": {"applicationName": {"ko": "포털"}, "useLanguages": ["ko"],
    "defaultLanguage": "ko", "usePurposeDesc": {"ko": "로그인"},
    "usePeriodDesc": {"ko": "탈퇴 시까지"}, "dataTransferAbroad": false}}"#;
const ENROLLMENT: &str = r#"{"accessDate": "2026-01-10", "dueDateType": "due_date",
    "dueDate": "2026-12-01 10:30:00", "lockAfterDueDate": true}"#;

on_both_stores!(
    a_known_caller_may_send_much,
    a_stranger_may_not,
    a_long_list_is_made_while_it_is_sent,
    history_comes_in_pages_of_bytes_too,
);

/// An edit of each dialect, or what is most like one, by a caller who is known by `key`, with a body
/// of `length` that says nothing more for it.
fn edits(server: &Server, length: usize, is_known: bool) -> [(&'static str, Request); 6] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let key = |text: &str| if is_known { text.to_owned() } else { "nobodys".to_owned() };
    let body = |text: &str| format!("{text}{}", " ".repeat(length - text.len()));
    let mac = |secret: &str, message: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key(secret).as_bytes()).unwrap();
        mac.update(message.as_bytes());
        mac.finalize().into_bytes()
    };
    let ncloud = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
    let at = server.clock.now().as_millisecond();
    let message = format!("PUT {ncloud}\n{at}\nEXAMPLEACCESSKEY0001");
    let ncloud_signature = mac("exampleSecretKeyDoNotUse0123456789abcd", &message);
    let date = server.clock.now().to_string();
    let salt = format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed));
    let signature = mac("TESTSECRET0000000000000000000001", &format!("{date}{salt}"));
    let signature = hex::encode(signature);
    let json = |method, target: &str, text: &str| {
        let request = server.request(method, target).body(body(text));
        request.header("content-type", "application/json")
    };
    let edits = [
        json("PATCH", "/open-api/achievements/1539", r#"{"level": 7}"#)
            .bearer(&key("demo-kolleges-key")),
        json("PATCH", "/partner/7/classes/11", r#"{"capacity": 40}"#)
            .bearer(&key("demo-partner-token")),
        json("PUT", ncloud, APPLICATION)
            .header("x-ncp-apigw-timestamp", at.to_string())
            .header("x-ncp-iam-access-key", "EXAMPLEACCESSKEY0001")
            .header("x-ncp-apigw-signature-v2", STANDARD.encode(ncloud_signature)),
        json(
            "PATCH",
            "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233",
            r#"{"metadata": {"role": "7"}}"#,
        )
        .header(
            "authorization",
            format!(
                "HMAC-SHA256 apiKey=NCSTESTKEY000001, date={date}, salt={salt}, \
                 signature={signature}"
            ),
        ),
        json("POST", "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59", ENROLLMENT)
            .header("authorization", key("demo-ispring-OWN-token")),
        json("PATCH", "/haksa/v1/models/1", r#"{"is_active": true}"#)
            .bearer(&key("demo-admin-key")),
    ];
    let mut names = ["kolleges", "partner", "ncloud", "solapi", "ispring", "native"].into_iter();
    edits.map(|edit| (names.next().expect("a name"), edit))
}

/// Who calls is found out before a long body is read, and nothing is used up by that.
async fn a_known_caller_may_send_much(server: Server) {
    for length in [64 * 1024, LONG, 1024 * 1024] {
        for (name, edit) in edits(&server, length, true) {
            let reply = edit.send().await;
            assert_eq!(reply.status, 200, "{name}, {length}: {}", reply.text());
        }
    }
    for (name, edit) in edits(&server, 1024 * 1024 + 1, true) {
        let status = edit.send().await.status;
        assert!(matches!(status, 400 | 413), "{name}: {status}");
    }
}

async fn a_stranger_may_not(server: Server) {
    for (name, edit) in edits(&server, LONG, false) {
        let status = edit.send().await.status;
        assert!(matches!(status, 401 | 403 | 413), "{name}: {status}");
    }
    let sign_in = |length: usize| {
        let body = r#"{"email": "nobody@example.com", "password": "x"}"#;
        let body = format!("{body}{}", " ".repeat(length - body.len()));
        server.request("POST", "/user/login").header("content-type", "application/json").body(body)
    };
    assert_eq!(sign_in(64 * 1024).send().await.status, 401);
    assert_eq!(sign_in(64 * 1024 + 1).send().await.status, 413);
    let chunks = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(2);
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let head = "POST /user/login HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Opens uploads that announce 8 MiB, and sends so much of them as is taken.
async fn announce(server: &Server, count: usize, length: usize) -> Vec<TcpStream> {
    let head = "POST /open-api/badge-designs HTTP/1.1\r\nhost: h\r\n\
        authorization: Bearer demo-kolleges-key\r\n\
        content-type: multipart/form-data; boundary=x\r\ncontent-length: 8388608\r\n\r\n";
    let sent = [head.as_bytes(), &vec![b'-'; length]].concat();
    let opening = (0..count).map(async |_| {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&sent)).await;
        stream
    });
    futures_util::future::join_all(opening).await
}

/// Many that announce much take nothing from anybody, the account's others included, and are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_takes_what_has_come_of_it() {
    let server = Server::start(Backend::Sqlite).await.patient(Config::default()).await;
    let mut opened = announce(&server, 24, 1).await;
    let begun = Instant::now();
    for key in ["demo-kolleges-other-key", "demo-kolleges-key"] {
        let upload = server.request("POST", "/open-api/badge-designs").bearer(key);
        let upload = upload.header("content-type", "multipart/form-data; boundary=x");
        let reply = upload.body(vec![b'-'; 2 * 1024 * 1024]).send().await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        let list = server.request("GET", "/open-api/badge-designs").bearer(key).send().await;
        assert!(matches!(list.status, 200 | 404), "{}", list.text());
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    let mut answer = String::new();
    opened[0].read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("too slowly") && begun.elapsed() < Duration::from_secs(10), "{answer}");
}

/// Much that came and stays is at the cost of its account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stays_is_its_accounts_trouble() {
    let server = Server::start(Backend::Sqlite).await.patient(Config::default()).await;
    let _opened = announce(&server, 8, 4 * 1024 * 1024).await;
    let begun = Instant::now();
    let upload =
        server.request("POST", "/open-api/badge-designs").bearer("demo-kolleges-other-key");
    let upload = upload.header("content-type", "multipart/form-data; boundary=x");
    let reply = upload.body(vec![b'-'; 8 * 1024 * 1024]).send().await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
}

/// What takes all that strangers may have, each place too.
async fn all_of_strangers(server: &Server) -> Vec<Held> {
    let budget = &server.app.memory.strangers;
    let mut all = budget.hold(Payer::Account(0));
    all.settle(1024 * 1024 * 1024);
    let mut held = vec![all];
    for payer in 1..=16 {
        let mut place = budget.hold(Payer::Account(-payer));
        place.wait(1).await.expect("a place");
        held.push(place);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_room_for_those_who_are_known() {
    let server = Server::start(Backend::Sqlite).await;
    let _strangers = all_of_strangers(&server).await;
    for (name, edit) in edits(&server, 1024, true) {
        let reply = edit.send().await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}

/// 503 and when to come again, in each dialect's words, once there is no room and no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_a_caller_is_asked_to_come_again() {
    let server = Server::start(Backend::Sqlite).await;
    let mut held = all_of_strangers(&server).await;
    let memory = &server.app.memory;
    for account in 1..=2 {
        let mut all = memory.bodies.hold(Payer::Account(-account));
        all.settle(1024 * 1024 * 1024);
        let mut place = memory.bodies.hold(Payer::Account(-account));
        place.wait(1).await.expect("a place");
        held.extend([all, place]);
    }
    let waiting = edits(&server, LONG, true).map(|(_, edit)| edit.send());
    for reply in futures_util::future::join_all(waiting).await {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(reply.header("retry-after"), "1");
    }
    // Nothing of it was done, so it can come again.
    drop(held);
    for (name, edit) in edits(&server, LONG, true) {
        assert_eq!(edit.send().await.status, 200, "{name}");
    }
}

/// The rows of a list of certificates, as they are written.
fn rows(body: &str) -> &str {
    let (_, rows) = body.split_once("\"achievements\":[").expect("rows begin");
    rows.rsplit_once("],\"totalPages\"").expect("rows end").0
}

async fn a_long_list_is_made_while_it_is_sent(server: Server) {
    let user =
        |n: usize| json!({"name": format!("받는 사람 {n}"), "email": format!("r{n}@a.example")});
    let users: Vec<Value> = (0..1100).map(user).collect();
    let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
    let issue = server.request("POST", "/open-api/achievements/issue").json(&body);
    assert_eq!(issue.bearer("demo-kolleges-key").send().await.status, 201);
    let list = |server: &Server, query: &str| {
        let target = format!("/open-api/achievements?{query}");
        server.request("GET", &target).bearer("demo-kolleges-key")
    };
    let all = list(&server, "pageSize=100000").send().await;
    assert_eq!((all.status, all.header("transfer-encoding")), (200, "chunked"));
    let all = all.text();
    assert!(all.ends_with("],\"totalPages\":1}"), "it ends as any other");
    // A page of less than a mebibyte is made at once, and one of a hundred is loaded at once.
    let hundreds = list(&server, "pageSize=500").send().await;
    assert_eq!(hundreds.header("content-length"), hundreds.body.len().to_string());
    assert_eq!(list(&server, "pageSize=1000").send().await.header("content-length"), "");
    let mut pages = Vec::new();
    for page in 1..=12 {
        let text = list(&server, &format!("pageSize=100&page={page}")).send().await.text();
        pages.push(rows(&text).to_owned());
    }
    assert_eq!(rows(&hundreds.text()), pages[..5].join(","));
    assert_eq!(rows(&all), pages.join(",").trim_end_matches(','));
    // A fault in the middle cuts the connection: half a list must not pass for one.
    let ids: Vec<i64> = serde_json::from_str::<Value>(&all).expect("JSON")["achievements"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|row| row["id"].as_i64())
        .collect();
    server.spoil(&format!("UPDATE achievement SET body = '{{' WHERE id = {}", ids[300])).await;
    // A server that has it in memory would not notice.
    let server = Server::start_on(&server.url).await;
    assert!(list(&server, "pageSize=100000").try_send().await.is_none());
    assert_eq!(list(&server, "pageSize=500").send().await.status, 500);
    assert_eq!(list(&server, "pageSize=100").send().await.status, 200);
}

async fn history_comes_in_pages_of_bytes_too(server: Server) {
    for turn in 0..14 {
        let comment = format!("{turn}{}", "가".repeat(19_000));
        let edit = server.request("PATCH", "/open-api/achievements/1539");
        let edit = edit.bearer("demo-kolleges-key").json(&json!({"admin_comment": comment}));
        assert_eq!(edit.send().await.status, 200);
    }
    for list in ["/haksa/v1/records/achievement/1539/history", "/haksa/v1/changes"] {
        let target = format!("{list}?limit=100");
        let (mut cursor, mut found, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let request = server.request("GET", &format!("{target}{cursor}"));
            let reply = request.bearer("demo-admin-key").send().await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(reply.body.len() < 1_200_000, "{list}: {} bytes", reply.body.len());
            let page = reply.json();
            let items = page["items"].as_array().expect("items");
            found.extend(items.iter().filter_map(|item| item["change_id"].as_i64()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let newest = server.numbers("SELECT max(id) FROM change").await[0];
        let own: Vec<i64> = (newest - 13..=newest).rev().collect();
        assert!(pages > 1 && found.starts_with(&own), "{list}: {pages} pages of {found:?}");
        assert!(found.is_sorted_by(|a, b| a > b), "{list}: {found:?}");
    }
    // One that has more than a page may is a page of its own.
    let id = server.numbers("SELECT max(id) FROM change").await[0];
    let changes = server.app.store.history(demo::ACCOUNT, id, 100, 10).await.expect("changes");
    assert_eq!(changes.iter().map(|change| change.id).collect::<Vec<_>>(), [id]);
}

/// Who has taken all that answers may take waits, and is told to come again; nobody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_take_of_their_accounts_part() {
    let server = Server::start(Backend::Sqlite).await;
    let list = |key: &str| server.request("GET", "/open-api/achievements/forms").bearer(key);
    let comment = json!({"description": "가".repeat(3000)});
    for (form, key) in [(551, "demo-kolleges-key"), (9000, "demo-kolleges-other-key")] {
        let target = format!("/open-api/achievements/forms/{form}");
        server.request("PATCH", &target).bearer(key).json(&comment).send().await;
    }
    let answers = &server.app.memory.answers;
    let mut all = answers.hold(Payer::Account(demo::ACCOUNT));
    assert!(all.grow(8 * 1024 * 1024), "what it may have");
    let mut place = answers.hold(Payer::Account(demo::ACCOUNT));
    place.wait(1).await.expect("a place");
    let (refused, other) =
        tokio::join!(list("demo-kolleges-key").send(), list("demo-kolleges-other-key").send());
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(other.status, 200);
    // What was done is told all the same.
    let edit = server.request("PATCH", "/open-api/achievements/1539").bearer("demo-kolleges-key");
    assert_eq!(edit.json(&json!({"level": 3})).send().await.status, 200);
    drop((all, place));
    assert_eq!(list("demo-kolleges-key").send().await.status, 200);
}

/// Many who look at one picture and do not read on have it in memory once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_shared_by_those_who_look() {
    const LENGTH: usize = 8 * 1024 * 1024;
    let server = Server::start(Backend::Sqlite).await.patient(Config::default()).await;
    let bytes = Bytes::from(vec![7; LENGTH]);
    let hash = hex::encode(Sha256::digest(&bytes));
    let image = NewImage::new(hash, bytes, "image/png", (1, 1));
    let command = CreateBadge { name: "배지".to_owned(), image, base_url: String::new() };
    let made =
        server.app.pipeline.run(command, Envelope::new(Actor::worker(demo::ACCOUNT), "test")).await;
    let Ok(Done::Done(outcome, _)) = made else { panic!("{made:?}") };
    let image = outcome.written.iter().find(|record| record.meta.kind == Kind::Image);
    let target = format!("/haksa/v1/images/{}", image.expect("a picture").meta.key);
    assert_eq!(server.request("GET", &target).send().await.body.len(), LENGTH);
    let before = crate::http::memory_mib();
    let mut looking = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        let request = format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200");
        looking.push(stream);
    }
    let grown = crate::http::memory_mib().saturating_sub(before);
    assert!(grown < 60, "40 looks took {grown} MiB");
}

/// An account's pictures are looked through one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_pictures_of_one_account_are_put_off() {
    let server = Server::start(Backend::Sqlite).await;
    let decoding = &server.app.memory.decoding;
    let first = decoding.take(demo::ACCOUNT).await.expect("a seat");
    let (mut second, mut third) =
        (Box::pin(decoding.take(demo::ACCOUNT)), Box::pin(decoding.take(demo::ACCOUNT)));
    for waiting in [&mut second, &mut third] {
        let wait = tokio::time::timeout(Duration::from_millis(10), waiting.as_mut());
        assert!(wait.await.is_err(), "one at once");
    }
    let upload = || {
        let part = "--x\r\ncontent-disposition: form-data; name=\"badge_image\"; \
            filename=\"a.png\"\r\n\r\nno picture\r\n--x--\r\n";
        let upload = server.request("POST", "/open-api/badge-designs").bearer("demo-kolleges-key");
        upload.header("content-type", "multipart/form-data; boundary=x").body(part)
    };
    let refused = upload().send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    drop((first, second, third));
    assert_eq!(upload().send().await.status, 400);
}

/// Idle connections give way before nobody else gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_give_way() {
    let mut config = Config::default();
    config.limits.connections = Some(16);
    let server = Server::start(Backend::Sqlite).await.patient(config).await;
    let mut idle = Vec::new();
    for n in 0..40 {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        // Half of them have sent half a head.
        if n % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.expect("it is taken");
        }
        idle.push(stream);
    }
    let begun = Instant::now();
    assert_eq!(server.request("GET", "/healthz").send().await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    // Those that rested longest have gone.
    let mut byte = [0];
    let gone = tokio::time::timeout(Duration::from_secs(5), idle[0].read(&mut byte)).await;
    assert!(matches!(gone, Ok(Ok(0) | Err(_))), "{gone:?}");
}
